"""Events in the store: the same connection and transaction as the Writer's.

* An event is stored once, by epoch and sequence; one that comes again with other content keeps the
  first.
* `EpochRow.events` is the highest sequence up to which every event is stored, or will never come
  because its gateway does not have it any more; it moves in the transaction that stores them, and
  the caller marks the epoch as changed.
"""

import json
import sqlite3
from typing import Any, NamedTuple

from cloud.store import sql
from cloud.store.rows import EpochRow
from protocols.events import Event


class EventsAdded(NamedTuple):
    """What became of a message's events: those that are new, how many were stored already, and the
    sequences whose content differs from what is stored."""

    stored: list[Event]
    duplicates: int
    conflicts: list[int]


class EventStore:
    """Statements about events; the caller opens and ends the transaction with the Writer."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(
        self, epoch: EpochRow, lowest: int, rows: list[tuple[int, Event]], received_at: int
    ) -> EventsAdded:
        """Store those of [(sequence, event), ...] that are new; changes `epoch.events`. Below
        `lowest` nothing more will come."""
        fresh: list[tuple[Any, ...]] = []
        stored: list[Event] = []
        conflicts = []
        for sequence, event in rows:
            parameters = (epoch.epoch_key, sequence)
            content = (*event[:9], frames_text(event.evidence))
            known = self._db.execute(sql.SELECT_EVENT, parameters).fetchone()
            if known is None:
                fresh.append((*parameters, *content, received_at))
                stored.append(event)
            elif known != content:
                conflicts.append(sequence)
        self._db.executemany(sql.INSERT_EVENT, fresh)
        epoch.events = self._contiguous(epoch, lowest)
        return EventsAdded(stored, len(rows) - len(stored) - len(conflicts), conflicts)

    def _contiguous(self, epoch: EpochRow, lowest: int) -> int:
        upto = max(epoch.events, lowest - 1)
        for (sequence,) in self._db.execute(sql.SELECT_EVENT_SEQUENCES, (epoch.epoch_key, upto)):
            if sequence != upto + 1:
                break
            upto = sequence
        return upto


def frames_text(evidence: tuple[tuple[str, int, bytes], ...]) -> str:
    """The stored text of an event's frames."""
    frames = [[way, at_ms, data.hex()] for way, at_ms, data in evidence]
    return json.dumps(frames, separators=(",", ":"))


def frames_from_text(text: str) -> tuple[tuple[str, int, bytes], ...]:
    """The frames of a stored text."""
    return tuple((way, at_ms, bytes.fromhex(data)) for way, at_ms, data in json.loads(text))
