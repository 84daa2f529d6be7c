"""How one meter does: what it showed last, and how long to leave it alone while it is silent.

* A meter is down when it has been silent for DOWN_FAILURES attempts and DOWN_MS: both, so that
  neither one lost frame nor a slow period decides.
* The pause before the next attempt grows from PAUSE_MS_FIRST to PAUSE_MS_MAX; each attempt on a
  silent meter is one probe without repetition. Its first answer ends all that.
"""

from typing import Any

from edge.line.line import Wire
from edge.meters.driver import Driver
from protocols.errors import BusbarError
from protocols.readings import Reading

PAUSE_MS_FIRST = 10_000  # before a meter that fell silent is probed again
PAUSE_MS_MAX = 600_000
DOWN_FAILURES = 3
DOWN_MS = 60_000


class MeterWatch:
    """One meter of a line."""

    def __init__(self, settings: dict[str, Any], driver: Driver, wire: Wire, retries: int) -> None:
        self.driver = driver
        self.wire = wire
        self.retries = retries
        self.line_id: str = settings["line"]
        self.protocol: str = settings["protocol"]
        self.period_s: int = settings["period_s"]
        self.readings: dict[str, tuple[Reading, ...]] = {}  # by group
        self.read_at = 0
        self.sweeps = 0
        self.sweep_ms = 0
        self.round_trip_ms: int | None = None  # of the last exchange
        self.failures = 0  # in a row
        self.last_error = ""
        self.paused_until = 0
        self.is_down = False
        self._silent_since = 0

    def shown(self) -> list[Reading]:
        """What it showed last, of all its groups."""
        return [reading for group in list(self.readings.values()) for reading in group]

    def note_failure(self, error: BusbarError, boot_ms: int) -> bool:
        """One attempt without an answer. True when the meter counts as down by it."""
        if not self.failures:
            self._silent_since = boot_ms
        pause = min(PAUSE_MS_FIRST << min(self.failures, 16), PAUSE_MS_MAX)
        self.failures += 1
        self.last_error = str(error)
        self.paused_until = boot_ms + pause
        silent_ms = boot_ms - self._silent_since
        goes_down = not self.is_down and self.failures >= DOWN_FAILURES and silent_ms >= DOWN_MS
        self.is_down = self.is_down or goes_down
        return goes_down

    def note_answer(self) -> bool:
        """It answered. True when it was down before."""
        was_down, self.is_down = self.is_down, False
        self.failures = 0
        self.last_error = ""
        self.paused_until = 0
        return was_down

    def note_sweep(
        self, group: str, readings: tuple[Reading, ...], read_at: int, sweep_ms: int
    ) -> None:
        """One sweep that was answered; UTC ms, and how long it took."""
        self.readings[group] = readings
        self.read_at, self.sweep_ms = read_at, sweep_ms
        self.sweeps += 1
