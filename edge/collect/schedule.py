"""Which task is due: register groups of meters, on a clock that may be corrected.

* A slot of an aligned task is a multiple of its period in UTC: 900 s polls at :00, :15, :30 and
  :45. A slot of an interval task is the instant at which it began, one period after the last.
* A slot runs once, also across a restart (`last` comes from the journal), and missed slots coalesce
  into one run, which is told how many it stands for.
* UTC is set back only when it was wrong (see `edge/clock`): the slot that it falls into counts as
  run, and the next one is due. Set forward, one run is due at once.
* A step that is so small that nobody is told of it makes no new time: a slot that began, and by the
  new time is still to begin, was run.
* Before the gateway knows the time tasks run all the same; such a run is no slot.

Pure: the caller brings both clocks.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from edge.timekeeping import TOLERANCE_MS

IDLE_MS = 60_000  # how long nothing is due where nothing is scheduled
JUMP_MS = 1_000  # a larger change of UTC against boot time is a clock jump
MOVED = "UTC was put right"


class Task(NamedTuple):
    """One register group of one meter. `name` is the meter's id, or "meter/group"."""

    name: str
    meter_id: str
    group: str
    period_ms: int
    is_aligned: bool
    is_instant: bool = False  # it holds nothing but instantaneous values


class Missed(NamedTuple):
    """Slots that nobody ran: the first, the last (UTC ms), how many; and why, where the clock is
    why."""

    first: int
    last: int
    slots: int
    reason: str = ""


class _State:
    """How far one task is."""

    def __init__(self, last: int | None) -> None:
        self.taken: int | None = None  # slot that was begun last
        self.stored = last  # slot whose readings are in the journal
        self.turn = 0  # how many runs had been begun by then
        self.due_at: int | None = None  # of an interval task, on the boot clock
        self.moved = ""  # that UTC was put right since the slot that is stored


class Schedule:
    """The tasks of one line. `last`: task -> UTC ms of the last slot that is in the journal."""

    def __init__(self, tasks: Iterable[Task], last: dict[str, int] | None = None) -> None:
        self.tasks = {task.name: task for task in tasks}
        self._states = {name: _State((last or {}).get(name)) for name in self.tasks}
        self._turns = 0
        self._offset: int | None = None  # UTC minus boot time
        self.jumps = 0

    def due(self, utc_ms: int, boot_ms: int, may: Callable[[Task], bool] = bool) -> list[str]:
        """The tasks that `may` run, whose slot has come and is not begun: the one that was begun
        longest ago first, so that on an overloaded line all are late alike."""
        self._watch(utc_ms, boot_ms)
        waiting = []
        for name, task in self.tasks.items():
            state = self._states[name]
            if self._is_due(task, state, utc_ms, boot_ms) and may(task):
                waiting.append((state.turn, name))
        return [name for _, name in sorted(waiting)]

    def take(self, name: str, utc_ms: int, boot_ms: int) -> int:
        """Begins the present slot, and returns it (UTC ms)."""
        task, state = self.tasks[name], self._states[name]
        slot = utc_ms // task.period_ms * task.period_ms if task.is_aligned else utc_ms
        state.taken = slot
        state.due_at = boot_ms + task.period_ms
        self._turns += 1
        state.turn = self._turns
        return slot

    def give_back(self, name: str) -> None:
        """The run came to nothing: the slot is due again while it lasts."""
        state = self._states[name]
        state.taken, state.due_at = None, 0

    def store(self, name: str, slot: int) -> Missed | None:
        """The slot's readings are on their way into the journal; the slots between it and the last
        one that came so far."""
        task, state = self.tasks[name], self._states[name]
        before, state.stored = state.stored, slot
        reason, state.moved = state.moved, ""
        if before is None:
            return None
        period = task.period_ms
        if task.is_aligned:
            before -= before % period  # it may be of another period that the task had
        if slot < before + 2 * period:
            return None
        count = (slot - before) // period - 1
        return Missed(before + period, before + count * period, count, reason)

    def slots(self) -> dict[str, int]:
        """Task -> the last slot whose readings are in the journal or on their way (UTC ms)."""
        states = self._states.items()
        return {name: state.stored for name, state in states if state.stored is not None}

    def next_in_ms(self, utc_ms: int, boot_ms: int) -> int:
        """Time until some task is due next, when none is due now."""
        waits = (
            task.period_ms - utc_ms % task.period_ms
            if task.is_aligned
            else max((self._states[name].due_at or 0) - boot_ms, 1)
            for name, task in self.tasks.items()
        )
        return min(waits, default=IDLE_MS)  # a line may have no meters yet

    def _is_due(self, task: Task, state: _State, utc_ms: int, boot_ms: int) -> bool:
        if task.is_aligned:
            slot = utc_ms // task.period_ms * task.period_ms
            # A slot that is far in the future was named by a clock that was wrong.
            begun_ms = utc_ms + TOLERANCE_MS
            begun = [one for one in (state.taken, state.stored) if one is not None]
            return max((one for one in begun if one <= begun_ms), default=-1) < slot
        if state.due_at is None and state.stored is not None and state.taken is None:
            ago = utc_ms - state.stored  # of the life before
            state.due_at = boot_ms + (task.period_ms - ago if 0 <= ago < task.period_ms else 0)
        return boot_ms >= (state.due_at or 0)

    def _watch(self, utc_ms: int, boot_ms: int) -> None:
        offset = utc_ms - boot_ms
        if self._offset is not None and abs(offset - self._offset) > JUMP_MS:
            self.jumps += 1
            for name, state in self._states.items():
                period = self.tasks[name].period_ms
                state.moved = MOVED
                if state.taken is not None:
                    state.taken = min(state.taken, utc_ms // period * period)
        self._offset = offset
