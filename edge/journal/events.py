"""Events as rows, with a sequence of their own."""

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from edge.clock import Clock
from edge.journal.readings import Keys, compact
from protocols.events import Event

COLUMNS = (
    "sequence, kind, subject, at, boot_at, boot_id, quality, number, drift_s, detail, evidence"
)
EventRow = tuple[int, Event]


def stamped(clock: Clock, kind: str, detail: str) -> Event:
    """An event of the gateway itself, as of now."""
    stamps = (clock.utc_ms(), clock.boot_ms(), clock.boot_id, clock.quality())
    return Event(kind, "", *stamps, 0, None, detail, ()).fitted()


def evidence_text(one: Event) -> str:
    """The frames as they are stored."""
    return compact([[way, at_ms, data.hex()] for way, at_ms, data in one.evidence])


def head(db: sqlite3.Connection) -> int:
    """The highest sequence ever given; 0 for none."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    return int(row[0]) if row else 0


def insert(db: sqlite3.Connection, keys: Keys, events: Iterable[Event]) -> None:
    """Writes events within the caller's transaction. A meter's event that is there already gets no
    second row, and uses up no sequence: the head end counts on those being without a hole."""
    sequence = head(db)
    for one in events:
        what = (one.subject, one.kind, one.number, one.at)
        if one.number and _is_there(db, what):
            continue
        sequence += 1
        db.execute(
            "INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (
                sequence,
                one.kind,
                one.subject,
                one.at,
                one.boot_at,
                keys.boot(db, one.boot_id),
                one.quality,
                one.number,
                one.drift_s,
                one.detail,
                evidence_text(one),
            ),
        )


def _is_there(db: sqlite3.Connection, what: tuple[Any, ...]) -> bool:
    found = db.execute(
        "SELECT 1 FROM event WHERE subject = ? AND kind = ? AND number = ? AND at = ?"
        " AND number > 0",
        what,
    )
    return found.fetchone() is not None


def from_row(row: tuple[Any, ...]) -> EventRow:
    """The event of a row of COLUMNS."""
    sequence, *fields, evidence = row
    frames = [(way, at_ms, bytes.fromhex(text)) for way, at_ms, text in json.loads(evidence)]
    return sequence, Event._make((*fields, tuple(frames)))


def purge(db: sqlite3.Connection, upto: int, before_ms: int, limit: int) -> int:
    """Deletes events up to a sequence that happened before a time; how many."""
    cursor = db.execute(
        "DELETE FROM event WHERE sequence IN (SELECT sequence FROM event"
        " WHERE sequence <= ? AND at < ? ORDER BY sequence LIMIT ?)",
        (upto, before_ms, limit),
    )
    return cursor.rowcount
