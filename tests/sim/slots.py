"""The checker of schedules: every slot of an aligned task is in the journal exactly once, or an
event says that it was missed.

A clock that was found wrong begins a new time line: slots that it named before are void. So are
those of a journal that was damaged, as far as they were not yet committed again.
"""

import re
from collections import defaultdict

from edge.agent import Agent
from edge.collect.schedule import JUMP_MS, Task
from edge.journal.held import Slot
from protocols.events import Event
from tests.sim.rows import BrokenError

_MISSED = re.compile(r"(\S+): (\d+) slots from (\d+) to (\d+) ms UTC: ")
_MOVED = re.compile(r"UTC moved by ([+-][\d.]+) s")

EventName = tuple[str, str, bytes, int, str]


def _voids(event: Event) -> bool:
    """Whether what slots were called before counts no longer."""
    moved = _MOVED.search(event.detail) if event.kind in ("clock-step", "clock-synced") else None
    is_other_time = moved is not None and abs(float(moved[1])) * 1000 > JUMP_MS
    return is_other_time or event.kind == "journal-aside"


def _name_of(event: Event) -> EventName:
    return event.kind, event.subject, event.boot_id, event.boot_at, event.detail


class Slots:
    """Of one gateway."""

    def __init__(self) -> None:
        self.accounted_for = 0
        self._tasks: dict[str, Task] = {}
        self._stored: dict[str, set[int]] = defaultdict(set)
        self._missed: dict[str, set[int]] = defaultdict(set)
        self._heard: set[EventName] = set()  # events that were committed, and what they say
        self._agent: Agent | None = None
        self._held: list[Slot] = []  # by the last agent that had anything, when it died

    def follow(self, agent: Agent) -> None:
        """A new agent with its tasks, and the end of the one before it."""
        before, self._agent = self._agent, agent
        if before is not None and (before._writer.held_sets or before._writer.commits):
            self._held = before._writer._held.all().slots
        for worker in agent._workers.values():
            self._tasks |= worker.schedule.tasks

    def forget(self) -> None:
        """The journal was damaged, or its clock was wrong: up to here all must be accounted for."""
        self.accounted_for += self.check_end()
        self._stored.clear()
        self._missed.clear()

    def committed(self, slots: list[Slot], events: list[Event]) -> None:
        """One transaction of the journal."""
        new = [event for event in events if _name_of(event) not in self._heard]  # not salvaged
        self._heard |= {_name_of(event) for event in new}
        if any(_voids(event) for event in new):
            self.forget()  # and what comes with it may be named by the old time
            return
        for event in new:
            if event.kind == "slots-missed":
                self._note_missed(event.detail)
        for task, slot in slots:
            if slot in self._stored[task]:
                raise BrokenError(f"the slot {slot} of {task} is stored twice")
            self._stored[task].add(slot)

    def survived(self, meters: set[str], last: dict[str, int], told: list[Event]) -> None:
        """A commit that a crash cut is whole all the same: of the slots of these meters that waited
        for it, those up to the last ones that the journal names, and what was told with them."""
        whole = []
        for name, task in self._tasks.items():
            own = [slot for one, slot in self._held if one == name]
            if task.meter_id in meters and last.get(name) in own:
                upto = len(own) - own[::-1].index(last[name])
                whole += [(name, slot) for slot in own[:upto]]
        self.committed(whole, told)

    def _note_missed(self, detail: str) -> None:
        found = _MISSED.match(detail)
        if found is None:
            return
        name, count, first, last = found[1], *map(int, found.groups()[1:])
        own = range(first, last + 1, self._tasks[name].period_ms)
        if len(own) != count:
            raise BrokenError(f"an event about {name} counts {count} slots, and names {len(own)}")
        self._missed[name].update(own)

    def check_end(self) -> int:
        """Between the first slot and the last nothing is unexplained. How many there are."""
        total = 0
        for name, stored in self._stored.items():
            task = self._tasks[name]
            if not task.is_aligned or not stored:
                continue
            due = range(min(stored), max(stored) + 1, task.period_ms)
            total += len(due)
            for slot in due:
                if slot not in stored and slot not in self._missed[name]:
                    raise BrokenError(f"the slot {slot} of {name} is neither stored nor explained")
        return total
