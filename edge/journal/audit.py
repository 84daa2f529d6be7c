"""The audit chain as rows: each entry's bytes with the hash of all up to it.

Nothing is ever edited. Entries that the head end has stored go by age; the last of them stays,
because the next message begins with its hash.
"""

import sqlite3
from collections.abc import Callable, Iterable
from typing import NamedTuple

from protocols.audit.chain import ENTRIES_SIZE_MAX, next_hash

_MARK = "audit_acknowledged"


class Draft(NamedTuple):
    """An entry before it has its sequence: `encode` gives its bytes. `at` UTC ms."""

    at: int
    encode: Callable[[int], bytes]


class Waiting(NamedTuple):
    """Entries of the next message: the sequence of the first, the hash before it (b"": it is the
    chain's first), and the bytes of each."""

    first: int
    previous: bytes
    entries: tuple[bytes, ...]


def append(db: sqlite3.Connection, first_hash: bytes, drafts: Iterable[Draft]) -> None:
    """Writes entries within the caller's transaction; `first_hash` is that of an empty chain."""
    row = db.execute("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1").fetchone()
    sequence, hashed = row or (0, first_hash)
    for draft in drafts:
        sequence += 1
        body = draft.encode(sequence)
        hashed = next_hash(hashed, body)
        db.execute("INSERT INTO audit VALUES (?,?,?,?)", (sequence, draft.at, body, hashed))


def head(db: sqlite3.Connection) -> int:
    """The highest sequence; 0 for none."""
    return int(db.execute("SELECT coalesce(max(sequence), 0) FROM audit").fetchone()[0])


def acknowledged(db: sqlite3.Connection) -> int:
    """The head end has stored the entries up to here."""
    row = db.execute("SELECT value FROM mark WHERE name = ?", (_MARK,)).fetchone()
    return int(row[0]) if row else 0


def acknowledge(db: sqlite3.Connection, upto: int) -> None:
    """The head end has stored the entries up to this one. A number that is too high, or lower than
    before, changes nothing."""
    if acknowledged(db) < upto <= head(db):
        db.execute("INSERT OR REPLACE INTO mark VALUES (?, ?)", (_MARK, upto))


def waiting(db: sqlite3.Connection, limit: int) -> Waiting:
    """What the head end has not stored, as much as a message may carry."""
    upto = acknowledged(db)
    before = db.execute("SELECT hash FROM audit WHERE sequence = ?", (upto,)).fetchone()
    rows = db.execute(
        "SELECT body FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?", (upto, limit)
    )
    entries, size = [], 0
    for (body,) in rows:
        size += len(body)
        if size > ENTRIES_SIZE_MAX:
            break
        entries.append(body)
    return Waiting(upto + 1, before[0] if before else b"", tuple(entries))


def purge(db: sqlite3.Connection, before_ms: int, limit: int) -> None:
    """Deletes stored entries of before a time, but for the last one of them."""
    db.execute(
        "DELETE FROM audit WHERE sequence IN (SELECT sequence FROM audit"
        " WHERE sequence < ? AND at < ? ORDER BY sequence LIMIT ?)",
        (acknowledged(db), before_ms, limit),
    )
