"""Which meter is due: periods aligned to the wall clock, on a clock that may be corrected.

* A slot is a multiple of the period in UTC: a period of 900 s polls at :00, :15, :30 and :45.
* A slot is polled at most once, and missed slots coalesce into one poll.
* When UTC is set back, the slots until it catches up are not skipped: the schedule starts again
  at the next slot of the new time. When it is set forward, one poll is due at once.

Pure: the caller brings both clocks.
"""

IDLE_MS = 60_000  # how long nothing is due where nothing is scheduled
JUMP_MS = 1_000  # a larger change of UTC against boot time is a clock jump


class Schedule:
    """The tasks of one line: name -> period in ms."""

    def __init__(self, periods_ms: dict[str, int]) -> None:
        self._periods = dict(periods_ms)
        self._done: dict[str, int] = {}  # name -> last slot taken
        self._taken: dict[str, int] = {}  # name -> how many had been taken by then
        self._takes = 0
        self._offset: int | None = None  # UTC minus boot time
        self.jumps = 0

    def due(self, utc_ms: int, boot_ms: int) -> list[str]:
        """The tasks whose slot has come and is not taken, the one that was taken longest ago
        first: on an overloaded line all are late alike."""
        self._watch(utc_ms, boot_ms)
        waiting = []
        for name, period in self._periods.items():
            if self._done.get(name, -1) < utc_ms // period * period:
                waiting.append((self._taken.get(name, 0), name))
        return [name for _, name in sorted(waiting)]

    def take(self, name: str, utc_ms: int) -> int:
        """Marks the task's present slot as taken, and returns it."""
        slot = utc_ms // self._periods[name] * self._periods[name]
        self._done[name] = slot
        self._takes += 1
        self._taken[name] = self._takes
        return slot

    def next_in_ms(self, utc_ms: int) -> int:
        """Time until some task is due next, when none is due now."""
        waits = (period - utc_ms % period for period in self._periods.values())
        return min(waits, default=IDLE_MS)  # a line may have no meters yet

    def _watch(self, utc_ms: int, boot_ms: int) -> None:
        offset = utc_ms - boot_ms
        if self._offset is not None and abs(offset - self._offset) > JUMP_MS:
            self.jumps += 1
            for name, slot in self._done.items():
                period = self._periods[name]
                self._done[name] = min(slot, utc_ms // period * period)
        self._offset = offset
