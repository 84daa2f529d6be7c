"""Room in the journal: what goes when it grows too full, and in which order.

1. Acknowledged reading sets, the oldest first.
2. Instantaneous values older than THIN_AGE_MS, but for one set an hour of each meter and layout.
   The set stays, with its sequence, its energies and Flag.SHED, so that the head end can prove that
   nothing is missing; it may be left with no reading at all.

Nothing else ever goes for want of space: no energy, no event, no order, no receipt.
"""

import json
import sqlite3
from typing import NamedTuple

from edge.journal.readings import BLOCK_BITS, Keys, compact
from protocols.quantity import Kind
from protocols.readings import Flag

THIN_AGE_MS = 7 * 86_400_000
THIN_ROWS_MAX = 2_000  # looked at in one transaction
_HOUR_MS = 3_600_000
_LAYOUT, _READ_AT, _VALUES, _ORIGIN, _FLAGS = 2, 4, 7, 8, 9  # places in a row
# What is added up or billed is kept whatever kind a meter model gives it.
_KEPT_UNITS = ("Wh", "varh", "VAh", "J", "m3", "Ah", "CNY")


class Shed(NamedTuple):
    """Sets that lost values, and the times of the first and the last of them (UTC ms)."""

    sets: int
    first: int
    last: int

    def plus(self, read_at: int) -> "Shed":
        """One more."""
        return self.and_also(Shed(1, read_at, read_at))

    def and_also(self, other: "Shed") -> "Shed":
        """Both together."""
        if not (self.sets and other.sets):
            return self if self.sets else other
        sets = self.sets + other.sets
        return Shed(sets, min(self.first, other.first), max(self.last, other.last))


NOTHING_SHED = Shed(0, 0, 0)


def fill(db: sqlite3.Connection, pages_max: int) -> float:
    """Share of the largest size that is in use."""
    pages, free = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")
    )
    return float(pages - free) / pages_max


def purge_sets(db: sqlite3.Connection, upto: int, before_ms: int | None, limit: int) -> int:
    """Deletes the oldest `limit` sets up to a sequence, of those read before a time or of all;
    how many."""
    cursor = db.execute(
        "DELETE FROM reading_set WHERE sequence IN (SELECT sequence FROM reading_set"
        " WHERE sequence <= ? AND (? OR read_at < ?) ORDER BY sequence LIMIT ?)",
        (upto, before_ms is None, before_ms, limit),
    )
    if cursor.rowcount:
        db.execute(
            "DELETE FROM block WHERE block < (SELECT min(sequence) >> ? FROM reading_set)",
            (BLOCK_BITS,),
        )
    return cursor.rowcount


def give_back(db: sqlite3.Connection) -> None:
    """Returns free pages to the file system."""
    # executescript, because on Python 3.11 a fetched incremental_vacuum frees one page only.
    db.executescript("PRAGMA incremental_vacuum(500)")


class Thinning:
    """One pass over the rows, from the oldest to the newest."""

    def __init__(self) -> None:
        self.is_finished = False
        self._after = 0
        self._hours: dict[tuple[int, int, int], int] = {}  # meter, layout, origin -> hour kept
        self._bare: dict[int, tuple[list[int], int]] = {}  # layout -> places kept, their layout

    def portion(self, db: sqlite3.Connection, keys: Keys, before_ms: int) -> Shed:
        """Goes on by THIN_ROWS_MAX rows, in the caller's transaction. Rows are deleted and written
        again together, because SQLite gives no page back for a row that became shorter."""
        # The newest row holds the place of the sequence, and is left alone.
        rows = db.execute(
            "SELECT * FROM reading_set WHERE sequence > ?"
            " AND sequence < (SELECT max(sequence) FROM reading_set) ORDER BY sequence LIMIT ?",
            (self._after, THIN_ROWS_MAX),
        ).fetchall()
        if not rows:
            self.is_finished = True
            return NOTHING_SHED
        shed, thinned = NOTHING_SHED, []
        for row in rows:
            one = self._thin(db, keys, row) if row[_READ_AT] < before_ms else row
            thinned.append(one)
            if one is not row:
                shed = shed.plus(row[_READ_AT])
        if shed.sets:
            db.execute(
                "DELETE FROM reading_set WHERE sequence BETWEEN ? AND ?", (rows[0][0], rows[-1][0])
            )
            db.executemany("INSERT INTO reading_set VALUES (?,?,?,?,?,?,?,?,?,?)", thinned)
        self._after = rows[-1][0]
        return shed

    def _thin(self, db: sqlite3.Connection, keys: Keys, row: tuple) -> tuple:  # type: ignore[type-arg]
        layout, values = row[_LAYOUT], json.loads(row[_VALUES])
        kept, bare = self._bare_of(db, keys, layout)
        if len(kept) == len(values):
            return row
        whose, hour = (row[1], layout, row[_ORIGIN]), row[_READ_AT] // _HOUR_MS
        if self._hours.get(whose) != hour:
            self._hours[whose] = hour
            return row
        one = list(row)
        one[_LAYOUT], one[_VALUES] = bare, compact([values[place] for place in kept])
        one[_FLAGS] |= Flag.SHED
        return tuple(one)

    def _bare_of(self, db: sqlite3.Connection, keys: Keys, layout: int) -> tuple[list[int], int]:
        if layout not in self._bare:
            text = db.execute("SELECT content FROM layout WHERE layout_key = ?", (layout,))
            content = json.loads(text.fetchone()[0])
            kept = [
                place
                for place, (_, _, unit, kind) in enumerate(content)
                if kind != Kind.INSTANTANEOUS or unit in _KEPT_UNITS
            ]
            bare = compact([content[place] for place in kept])
            self._bare[layout] = (kept, keys.key(db, "layout", "content", bare))
        return self._bare[layout]
