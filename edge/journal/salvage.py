"""Brings what a journal that was put aside still holds into the journal of now, once.

* Reading sets, events and receipts that the head end has not acknowledged. Their content is as it
  was: times, origin, flags. Their sequences are new, and of the new epoch.
* What was brought is noted by the file's epoch and its own sequences, in the transaction that
  brings it. A salvage that is cut off goes on, and one that is done again brings nothing twice.
* It goes in portions, between the writer's other work, and only while there is room.
"""

import json
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path

from edge.journal.ranges import Ranges
from edge.journal.store import Journal
from edge.journal.wreck import Found, Wreck
from protocols.events import Event

SETS_AT_ONCE = 500
EVENTS_AT_ONCE = 500
SCOPE = "salvage"  # memos: the epoch of a file -> what was brought from it
DONE_SCOPE = "salvaged"  # memos: name of a file -> its size and time when it was done
PATTERN = "journal-damaged-*.db"

log = logging.getLogger("edge.journal")


class Count:
    """What one file gave."""

    def __init__(self) -> None:
        self.sets = self.events = self.receipts = self.spoiled = 0

    def text(self) -> str:
        """In words, for the event and for a person."""
        return (
            f"{self.sets} reading sets, {self.events} events, {self.receipts} receipts;"
            f" {self.spoiled} rows could not be read"
        )


class Salvage:
    """One file. `turn` until it says that it is done; then `count` tells."""

    def __init__(self, journal: Journal, path: Path) -> None:
        self.path = path
        self.count = Count()
        self._journal = journal
        self._wreck = Wreck(path)
        epoch = self._wreck.epoch
        self._name = epoch.hex() if isinstance(epoch, bytes) and epoch else path.name
        kept = json.loads(journal.memos(SCOPE).get(self._name, "{}"))
        self._brought = {
            what: Ranges((first, last) for first, last in kept.get(what, ()))
            for what in ("sets", "events")
        }
        self._skip = self._wreck.acknowledged()
        self._upto = {
            "sets": self._skip.contiguous_from(1),
            "events": self._wreck.events_acknowledged(),
        }
        for what, upto in kept.get("upto", {}).items():  # it was cut off there
            self._upto[what] = max(self._upto[what], upto)
        self._steps = deque([self._bring_sets, self._bring_events, self._bring_receipts])

    def turn(self) -> bool:
        """Brings a portion; whether that was all. sqlite3.Error when the journal takes no more
        now."""
        if self._steps and self._steps[0]():
            self._steps.popleft()
        if self._steps:
            return False
        self._wreck.close()
        return True

    def close(self) -> None:
        """Leaves the rest for another time."""
        self._wreck.close()

    def _bring_sets(self) -> bool:
        found = self._wreck.sets(self._upto["sets"], SETS_AT_ONCE)
        self.count.sets += self._bring("sets", found, self._skip)
        return found.is_end

    def _bring_events(self) -> bool:
        found = self._wreck.events(self._upto["events"], EVENTS_AT_ONCE)
        self.count.events += self._bring("events", found, Ranges())
        return found.is_end

    def _bring_receipts(self) -> bool:
        orders, receipts = self._wreck.receipts()
        self._journal.take_in_orders(orders, receipts)
        self.count.receipts += len(receipts)
        self._journal.set_memo(SCOPE, self._name, self._note(self._brought, {}))
        return True

    def _bring(self, what: str, found: Found, skip: Ranges) -> int:
        """Commits what of a portion is new, with the note of it. How many rows."""
        rows = [
            row
            for row in found.rows
            if not any(one.contiguous_from(row[0]) >= row[0] for one in (skip, self._brought[what]))
        ]
        brought = self._brought | {what: Ranges(self._brought[what])}
        for sequence, _ in rows:
            brought[what].add(sequence, sequence)
        upto = self._upto | {what: found.upto}
        memo = (SCOPE, self._name, self._note(brought, upto))
        content = [one for _, one in rows]
        if what == "sets":
            self._journal.append(content, memos=[memo])
        else:
            self._journal.append((), events=content, memos=[memo])
        self._brought, self._upto = brought, upto
        self.count.spoiled += found.spoiled
        return len(rows)

    def _note(self, brought: dict[str, Ranges], upto: dict[str, int]) -> str:
        """What is kept of a salvage; `upto` while it is under way."""
        return json.dumps({what: list(ranges) for what, ranges in brought.items()} | {"upto": upto})


class Salvager:
    """Looks for files that were put aside and not salvaged, and works them off one after the
    other; or does `only` one, wherever it lies and whatever was done with it."""

    def __init__(self, journal: Journal, only: Path | None = None) -> None:
        self._journal = journal
        self._current = Salvage(journal, only) if only else None
        self._is_looking = not only

    def turn(self, tell: Callable[[str, Count], Event]) -> bool:
        """Brings a portion of a file, if there is one; whether there is more to do. `tell` makes
        the event of a file that is done from its name and its count."""
        if self._current is None and self._is_looking:
            self._current = self._next()
        if self._current is None:
            return False
        one = self._current
        if not one.turn():
            return True
        memo = (DONE_SCOPE, one.path.name, stamp(one.path))
        self._journal.append((), events=[tell(one.path.name, one.count)], memos=[memo])
        self._current = None
        return True

    def stop(self) -> None:
        """Closes what is open; the journal changed, or ends."""
        if self._current is not None:
            self._current.close()
            self._current = None

    def _next(self) -> Salvage | None:
        done = self._journal.memos(DONE_SCOPE)
        for path in sorted(self._journal.path.parent.glob(PATTERN)):
            if done.get(path.name) == stamp(path):
                continue
            try:
                return Salvage(self._journal, path)
            except sqlite3.Error as error:
                log.error("salvage_refused file=%s reason=%r", path.name, str(error))
                self._journal.set_memo(DONE_SCOPE, path.name, stamp(path))
        return None


def stamp(path: Path) -> str:
    """Tells a file from a later one of its name."""
    found = path.stat()
    return f"{found.st_size}:{found.st_mtime_ns}"
