"""What waits in memory for its commit: bounded, the oldest dropped first, and the loss counted.

Not safe by itself: whoever shares it holds the writer's lock.
"""

from collections import deque
from typing import NamedTuple

from edge.journal.space import NOTHING_SHED
from protocols.events import Event
from protocols.readings import ReadingSet

EVENTS_HELD_MAX = 1_000
Slot = tuple[str, int]  # task, UTC ms of its period's start


class Taken(NamedTuple):
    """What one commit is about: all that waited when it began."""

    sets: list[ReadingSet]
    slots: list[Slot]
    events: list[Event]


class Held:
    """Reading sets with their slots, and events."""

    def __init__(self) -> None:
        self.sets_lost = 0
        self.events_lost = 0
        self.untold_sets = NOTHING_SHED  # dropped since an event told of it
        self.untold_events = 0
        self._sets: deque[tuple[ReadingSet, Slot | None]] = deque()
        self._events: deque[Event] = deque()

    def __len__(self) -> int:
        return len(self._sets)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._sets and not self._events

    def add(self, one: ReadingSet, slot: Slot | None, most: int) -> None:
        """Takes a reading set; beyond `most` the oldest goes."""
        self._sets.append((one, slot))
        if len(self._sets) > most:
            dropped, _ = self._sets.popleft()
            self.sets_lost += 1
            self.untold_sets = self.untold_sets.plus(dropped.read_at)

    def note(self, event: Event) -> None:
        """Takes an event; beyond EVENTS_HELD_MAX the oldest goes."""
        self._events.append(event)
        if len(self._events) > EVENTS_HELD_MAX:
            self._events.popleft()
            self.events_lost += 1
            self.untold_events += 1

    def all(self) -> Taken:
        """Everything, which stays until it is committed."""
        sets = [one for one, _ in self._sets]
        return Taken(sets, [slot for _, slot in self._sets if slot], list(self._events))

    def remove(self, taken: Taken) -> None:
        """These are committed, and what was dropped before is told with them. What was dropped
        since was among them: it is committed all the same."""
        committed = {id(one) for one in (*taken.sets, *taken.events)}
        while self._sets and id(self._sets[0][0]) in committed:
            self._sets.popleft()
        while self._events and id(self._events[0]) in committed:
            self._events.popleft()
        self.untold_sets, self.untold_events = NOTHING_SHED, 0
