"""The checker of schedules, by itself: what it takes for stored, for explained, and for neither."""

from types import SimpleNamespace
from typing import Any

import pytest

from edge.collect.schedule import Schedule, Task
from edge.journal.held import Held, Slot
from protocols.events import Event
from protocols.readings import Origin, ReadingSet, TimeQuality
from tests.sim.rows import BrokenError
from tests.sim.slots import Slots

PERIOD_MS = 10_000
BOOT_ID = bytes(16)
SETS_MAX = 100
TASKS = tuple(Task(name, name, "", PERIOD_MS, True) for name in ("m-1", "m-2"))


class Life:
    """What an agent has in memory: sets with their slots, and events."""

    def __init__(self, slots: list[Slot] | None = None, commits: int = 0) -> None:
        self.held = Held()
        for name, slot in slots or ():
            one = ReadingSet(name, slot, slot, BOOT_ID, TimeQuality.NTP, (), Origin.LIVE, 0)
            self.held.add(one, (name, slot), SETS_MAX)
        self.commits = commits

    @property
    def agent(self) -> Any:
        """As much of an agent as the checker looks at."""
        writer = SimpleNamespace(held_sets=len(self.held), commits=self.commits, _held=self.held)
        worker = SimpleNamespace(schedule=Schedule(TASKS))
        return SimpleNamespace(_workers={"line": worker}, _writer=writer)


def event(kind: str, detail: str, boot_at: int = 0) -> Event:
    return Event(kind, "m-1", boot_at, boot_at, BOOT_ID, TimeQuality.NTP, 0, None, detail, ())


def followed(*lives: Life) -> Slots:
    """A checker that has seen these agents come and go, and one that lives."""
    slots = Slots()
    for life in (*lives, Life()):
        slots.follow(life.agent)
    return slots


def many(name: str, *numbers: int) -> list[Slot]:
    return [(name, number * PERIOD_MS) for number in numbers]


def test_a_hole_is_found_and_an_event_explains_it() -> None:
    """The slot of the hole is named; an event about it must count right."""
    slots = followed()
    slots.committed(many("m-1", 1, 2), [])
    slots.committed(many("m-1", 4), [])
    with pytest.raises(BrokenError, match="the slot 30000 of m-1 is neither"):
        slots.check_end()
    with pytest.raises(BrokenError, match="counts 2 slots, and names 1"):
        slots.committed([], [event("slots-missed", "m-1: 2 slots from 30000 to 30000 ms UTC: x")])
    slots.committed([], [event("slots-missed", "m-1: 1 slots from 30000 to 30000 ms UTC: x")])
    assert slots.check_end() == 4
    with pytest.raises(BrokenError, match="the slot 40000 of m-1 is stored twice"):
        slots.committed(many("m-1", 4), [])


def test_a_commit_that_survived_its_cut_holds_every_slot_that_waited_for_it() -> None:
    """While a disk refuses, several slots of one meter wait, and go together in the end."""
    slots = followed(Life(many("m-1", 2, 3, 4) + many("m-2", 2, 3, 4), commits=1))
    slots.committed(many("m-1", 1) + many("m-2", 1), [])
    slots.survived({"m-1", "m-2"}, {"m-1": 40_000, "m-2": 40_000}, [])
    slots.committed(many("m-1", 5) + many("m-2", 5), [])
    assert slots.check_end() == 10
    with pytest.raises(BrokenError, match="the slot 30000 of m-1 is stored twice"):
        slots.committed(many("m-1", 3), [])


def test_what_came_after_the_cut_commit_had_begun_is_not_in_it() -> None:
    """The journal's own memo says how far it went; a meter without a row in it has no slot in it,
    nor has a slot that nobody held."""
    slots = followed(Life(many("m-1", 2, 3, 4) + many("m-2", 2), commits=1))
    slots.committed(many("m-1", 1) + many("m-2", 1), [])
    slots.survived({"m-1"}, {"m-1": 30_000, "m-2": 20_000, "m-3": 10_000}, [])
    slots.committed(many("m-2", 2, 3), [])
    slots.committed(many("m-1", 5), [])
    with pytest.raises(BrokenError, match="the slot 40000 of m-1 is neither"):
        slots.check_end()


def test_what_an_earlier_life_lost_does_not_survive_a_later_one() -> None:
    """Only the last agent that had anything can have a commit that was cut; one that was refused
    at its start had nothing."""
    lost, cut = Life(many("m-1", 2), commits=1), Life(many("m-1", 3))
    slots = followed(lost, cut, Life())
    slots.committed(many("m-1", 1), [])
    slots.survived({"m-1"}, {"m-1": 30_000}, [])
    with pytest.raises(BrokenError, match="the slot 20000 of m-1 is neither"):
        slots.check_end()


def test_an_old_event_explains_nothing_of_a_new_time_line() -> None:
    """After a clock step the slots begin anew. The journal still holds the events of before."""
    old = event("slots-missed", "m-1: 1 slots from 20000 to 20000 ms UTC: x")
    slots = followed(Life(many("m-1", 3)))
    slots.committed(many("m-1", 1), [old])
    slots.committed(many("m-1", 3), [])
    slots.committed([], [event("clock-step", "UTC moved by -20.000 s")])
    slots.committed(many("m-1", 1), [])
    slots.survived({"m-1"}, {"m-1": 30_000}, [old])
    with pytest.raises(BrokenError, match="the slot 20000 of m-1 is neither"):
        slots.check_end()


def test_a_clock_step_that_survived_with_its_commit_begins_a_new_time_line() -> None:
    """Once: that the journal still holds it at the next start makes no second one."""
    step = event("clock-step", "UTC moved by +86400.000 s")
    slots = followed(Life(many("m-1", 2, 8640), commits=1))
    slots.committed(many("m-1", 1), [])
    slots.survived({"m-1"}, {"m-1": 86_400_000}, [step])
    slots.committed(many("m-1", 8641), [])
    slots.committed(many("m-1", 8643), [step])
    with pytest.raises(BrokenError, match="the slot 86420000 of m-1 is neither"):
        slots.check_end()
