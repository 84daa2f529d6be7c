"""What reads the journal beside its writer: the uplink, backfill, and the commands of a person."""

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from edge.journal import audit, orders
from edge.journal import events as event_rows
from edge.journal.ranges import Ranges
from edge.journal.readings import BLOCK_BITS, Layout, layout_from_text, readings_of
from protocols.readings import ReadingSet

Row = tuple[int, ReadingSet]
_BLOCKS_AT_ONCE = 16  # short reads: a long one keeps the writer from shortening its log
_ROW = (
    'SELECT sequence, meter_id, read_at, boot_at, boot_id, quality, layout_key, "values", origin,'
    " flags FROM reading_set JOIN meter USING (meter_key) JOIN boot USING (boot_key)"
)


class JournalReader:
    """A connection that can only read. `epoch` is that of the file that it reads: after the journal
    was put aside it still reads the old one, and `Journal.reader` gives one for the new."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        # executescript, because on Python 3.11 a PRAGMA that is executed runs its first step only.
        self._db.executescript(
            "PRAGMA query_only=ON; PRAGMA wal_autocheckpoint=0; PRAGMA busy_timeout=5000;"
            "PRAGMA trusted_schema=OFF; PRAGMA cache_size=-512;"
        )
        self._layouts: dict[int, Layout] = {}
        self.epoch: bytes = self._mark("epoch") or b""

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    # ---- reading sets ---------------------------------------------------------------------------

    def rows(self, first: int, last: int) -> list[Row]:
        """The reading sets first..last, in order."""
        return list(
            self._rows(_ROW + " WHERE sequence BETWEEN ? AND ? ORDER BY sequence", (first, last))
        )

    def sets_between(self, meter_id: str | None, from_ms: int, to_ms: int) -> Iterator[Row]:
        """The reading sets of a meter (of all for None) with from_ms <= read_at < to_ms, by
        sequence."""
        query = _ROW + (
            " WHERE sequence >= ? AND sequence < ? AND read_at >= ? AND read_at < ?"
            " AND (? OR meter_id = ?) ORDER BY sequence"
        )
        for first, last in self._blocks(from_ms, to_ms):
            ends = (first << BLOCK_BITS, last + 1 << BLOCK_BITS)
            yield from list(self._rows(query, (*ends, from_ms, to_ms, meter_id is None, meter_id)))

    def slots_between(
        self, meter_id: str, from_ms: int, to_ms: int, origin: int | None = None
    ) -> list[int]:
        """The instants (`read_at`) with from_ms <= read_at < to_ms of which the journal has a set
        of this meter, rising, each once; of one Origin, or of any."""
        found: set[int] = set()
        for first, last in self._blocks(from_ms, to_ms):
            found.update(
                row[0]
                for row in self._db.execute(
                    "SELECT read_at FROM reading_set WHERE sequence >= ? AND sequence < ?"
                    " AND read_at >= ? AND read_at < ? AND (? OR origin = ?)"
                    " AND meter_key = (SELECT meter_key FROM meter WHERE meter_id = ?)",
                    (
                        first << BLOCK_BITS,
                        last + 1 << BLOCK_BITS,
                        from_ms,
                        to_ms,
                        origin is None,
                        origin,
                        meter_id,
                    ),
                )
            )
        return sorted(found)

    def head(self) -> int:
        """The highest sequence; 0 in a new journal."""
        return self._number("SELECT coalesce(max(sequence), 0) FROM reading_set")

    def first(self) -> int:
        """The lowest sequence that is there; 0 for none."""
        return self._number("SELECT coalesce(min(sequence), 0) FROM reading_set")

    def acknowledged(self) -> Ranges:
        """What the head end has stored."""
        return Ranges(self._db.execute("SELECT first, last FROM acknowledged ORDER BY first"))

    # ---- events, receipts, memos ----------------------------------------------------------------

    def events(self, limit: int) -> list[event_rows.EventRow]:
        """Events that the head end has not stored, in order."""
        upto = self._mark("events_acknowledged") or 0
        cursor = self._db.execute(
            f"SELECT {event_rows.COLUMNS} FROM event JOIN boot USING (boot_key)"  # noqa: S608
            " WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (upto, limit),
        )
        return [event_rows.from_row(row) for row in cursor]

    def events_between(
        self, subject: str | None, from_ms: int, to_ms: int
    ) -> Iterator[event_rows.EventRow]:
        """The events of a subject (of all for None) with from_ms <= at < to_ms, by sequence."""
        cursor = self._db.execute(
            f"SELECT {event_rows.COLUMNS} FROM event JOIN boot USING (boot_key)"  # noqa: S608
            " WHERE at >= ? AND at < ? AND (? OR subject = ?) ORDER BY sequence",
            (from_ms, to_ms, subject is None, subject),
        )
        return (event_rows.from_row(row) for row in cursor.fetchall())

    def event_head(self) -> int:
        """The highest sequence of an event."""
        return event_rows.head(self._db)

    def events_acknowledged(self) -> int:
        """Up to where the head end has stored the events."""
        return int(self._mark("events_acknowledged") or 0)

    def receipts(self, limit: int) -> list[orders.Receipt]:
        """Receipts that the head end has not stored, oldest first: (counter, state, body)."""
        return orders.open_receipts(self._db, limit)

    def receipt(self, counter: int, state: str) -> bytes:
        """The receipt that told this state of an order; b"" for none."""
        return orders.receipt(self._db, counter, state)

    def audit_entries(self, limit: int) -> audit.Waiting:
        """Entries of the audit chain that the head end has not stored."""
        return audit.waiting(self._db, limit)

    def audit_head(self) -> int:
        """The highest sequence of the audit chain."""
        return audit.head(self._db)

    def audit_acknowledged(self) -> int:
        """Up to where the head end has stored the audit chain."""
        return audit.acknowledged(self._db)

    def order_rows(self, limit: int) -> list[orders.StoredOrder]:
        """The last orders, the latest first."""
        return orders.latest(self._db, limit)

    def memos(self, scope: str) -> dict[str, Any]:
        """What was kept under this scope, by name."""
        return dict(self._db.execute("SELECT name, value FROM memo WHERE scope = ?", (scope,)))

    def _blocks(self, from_ms: int, to_ms: int) -> Iterator[tuple[int, int]]:
        """Where rows of these times may be, as runs of blocks of at most _BLOCKS_AT_ONCE."""
        cursor = self._db.execute(
            "SELECT block FROM block WHERE latest >= ? AND earliest < ? ORDER BY block",
            (from_ms, to_ms),
        )
        for first, last in Ranges((block, block) for (block,) in cursor.fetchall()):
            for start in range(first, last + 1, _BLOCKS_AT_ONCE):
                yield start, min(start + _BLOCKS_AT_ONCE - 1, last)

    def _rows(self, query: str, arguments: tuple[Any, ...]) -> Iterator[Row]:
        for row in self._db.execute(query, arguments):
            sequence, meter_id, read_at, boot_at, boot_id, quality, layout, values, *rest = row
            readings = readings_of(self._layout(layout), json.loads(values))
            yield (
                sequence,
                ReadingSet(meter_id, read_at, boot_at, boot_id, quality, readings, *rest),
            )

    def _layout(self, key: int) -> Layout:
        layout = self._layouts.get(key)
        if layout is None:
            row = self._db.execute("SELECT content FROM layout WHERE layout_key = ?", (key,))
            layout = self._layouts[key] = layout_from_text(row.fetchone()[0])
        return layout

    def _mark(self, name: str) -> Any:
        row = self._db.execute("SELECT value FROM mark WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _number(self, query: str, arguments: tuple[Any, ...] = ()) -> int:
        return int(self._db.execute(query, arguments).fetchone()[0])
