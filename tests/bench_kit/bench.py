"""What a test asks of a bench, whatever the bench is made of.

A test takes the fixture `bench`, names with `@pytest.mark.needs(…)` the features without which it
means nothing, and talks to meters through the gateway's own line and drivers. The words are those
of `features`; which of them a bench has stands in its own module.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from edge.line.budget import character_s
from edge.line.line import Line, Wire
from edge.line.port import Port
from hil.faults import Fault
from tests.bench_kit.meters import BenchMeter

NOON_MS = 1_770_033_600_000  # 2026-02-02 12:00:00 UTC: far from the midnight that meters shun


class Clock(Protocol):
    """The time of a bench."""

    def monotonic(self) -> float:
        """Seconds that never jump."""

    def utc_ms(self) -> int:
        """What the meters' clocks follow: virtual meters live on 2026-02-02, from noon on."""

    def advance(self, seconds: float) -> None:
        """Lets time pass: at once in virtual time, else by waiting."""


class WallClock:
    """Real time; for virtual meters it began at noon when the bench was built."""

    def __init__(self, is_noon: bool = True) -> None:
        real_ms = time.time_ns() // 1_000_000
        self._offset_ms = NOON_MS - real_ms if is_noon else 0

    def monotonic(self) -> float:
        """This machine's."""
        return time.monotonic()

    def utc_ms(self) -> int:
        """This machine's, moved to noon where the meters are virtual."""
        return time.time_ns() // 1_000_000 + self._offset_ms

    def advance(self, seconds: float) -> None:
        """Sleeps."""
        time.sleep(seconds)


class FarEnd(Protocol):
    """The other end of a line: where the meters are."""

    def attach(self, meter: BenchMeter) -> None:
        """Puts a virtual meter there."""

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """Replaces the rules of what happens to answers."""

    def unplug(self) -> None:
        """Takes the adapter out."""

    def replug(self) -> None:
        """Puts it in again."""


class BenchLine:
    """One line: `port` is where the gateway's bytes go, `master` its line over that port."""

    def __init__(
        self,
        port: Port,
        settings: dict[str, Any],
        clock: Clock,
        far_end: FarEnd,
        find_meter: Callable[..., BenchMeter],
    ) -> None:
        """`settings` are baud, parity, stop_bits and the times of edge.toml's [[line]]."""
        self.port = port
        self.baud: int = settings["baud"]
        # A pty carries no parity bit, and is paced all the same as if it did.
        self.character_s = character_s(self.baud, settings["parity"], settings["stop_bits"])
        self.response_timeout_s = settings["response_timeout_ms"] / 1000
        wire = Wire(*(settings[key] for key in Wire._fields))
        self.master = Line("bench", port, wire, clock.monotonic)
        self.set_faults = far_end.set_faults
        self.unplug = far_end.unplug
        self.replug = far_end.replug
        self._find_meter = find_meter

    def meter(self, protocol: str, address: str = "", **options: Any) -> BenchMeter:
        """A meter on this line. Where the meters are virtual it is made, with `options` as its
        class takes them; where they are real it is one that the bench file names, and
        the test is skipped when there is none. `allows` names a function that it must permit."""
        return self._find_meter(self, protocol, address, **options)


class Bench:
    """Lines, meters, a clock, and the words for what it can do."""

    name = ""
    features: frozenset[str] = frozenset()
    clock: Clock

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines: list[BenchLine] = []

    def line(self, **options: Any) -> BenchLine:
        """A line at `baud` and with the times of `options`, as far as the bench can choose."""
        line = self._make_line(**options)
        self._lines.append(line)
        return line

    def meter(self, protocol: str, address: str = "", **options: Any) -> BenchMeter:
        """A meter on the first line, which is made when there is none."""
        line = self._lines[0] if self._lines else self.line()
        return line.meter(protocol, address, **options)

    def close(self) -> None:
        """Ends everything that was made here."""
        for line in self._lines:
            line.master.close()

    def _make_line(self, **options: Any) -> BenchLine:
        raise NotImplementedError


LINE_DEFAULTS = {
    "baud": 9600,
    "parity": "E",
    "stop_bits": 1,
    "response_timeout_ms": 300,
    "gap_ms": 100,
    "turnaround_ms": 1,
}


def line_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Settings of a line whose wire is ours: the defaults, and what of `options` are settings."""
    return LINE_DEFAULTS | {key: options[key] for key in LINE_DEFAULTS if key in options}
