"""Reading sets as rows: written once, given their time once, found by their time.

A row points to its meter, its boot and its layout, which stand once each; "values" is a JSON array
in the order of the layout.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from protocols.obis import Obis
from protocols.quantity import Quantity
from protocols.readings import Origin, Reading, ReadingSet, TimeQuality

BLOCK_BITS = 8  # 256 sequences share a row of the table of times
_HOUR_MS = 3_600_000
_UNSYNCED = (
    "WHERE sequence > ? AND quality = ? AND origin = ?"
    " AND boot_key = (SELECT boot_key FROM boot WHERE boot_id = ?)"
)
Layout = list[tuple[Any, ...]]  # of (Obis, scaler, unit, kind)


class Keys:
    """What the writer knows of the tables of meters, boots and layouts."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, object], int] = {}
        self._layouts: dict[tuple[Any, ...], int] = {}

    def forget(self) -> None:
        """After a transaction that was rolled back, and with it the keys that it had made."""
        self._keys.clear()
        self._layouts.clear()

    def key(self, db: sqlite3.Connection, table: str, column: str, value: object) -> int:
        """The key of a value in one of the three tables, made when it is new."""
        key = self._keys.get((table, value))
        if key is None:
            db.execute(f"INSERT OR IGNORE INTO {table} ({column}) VALUES (?)", (value,))  # noqa: S608
            row = db.execute(f"SELECT {table}_key FROM {table} WHERE {column} = ?", (value,))  # noqa: S608
            key = self._keys[(table, value)] = int(row.fetchone()[0])
        return key

    def boot(self, db: sqlite3.Connection, boot_id: bytes) -> int:
        """The key of a boot."""
        return self.key(db, "boot", "boot_id", boot_id)

    def layout(self, db: sqlite3.Connection, readings: Sequence[Reading]) -> int:
        """The key of a set's layout."""
        layout = tuple(
            (r.obis, r.quantity.scaler, r.quantity.unit, r.quantity.kind) for r in readings
        )
        key = self._layouts.get(layout)
        if key is None:
            content = compact([[obis.text(), *rest] for obis, *rest in layout])
            key = self._layouts[layout] = self.key(db, "layout", "content", content)
        return key


def compact(value: object) -> str:
    """JSON as it is stored."""
    return json.dumps(value, separators=(",", ":"))


def row_of(db: sqlite3.Connection, keys: Keys, sequence: int, one: ReadingSet) -> tuple[Any, ...]:
    """The row of a set."""
    return (
        sequence,
        keys.key(db, "meter", "meter_id", one.meter_id),
        keys.layout(db, one.readings),
        keys.boot(db, one.boot_id),
        one.read_at,
        one.boot_at,
        one.quality,
        compact([r.quantity.value for r in one.readings]),
        one.origin,
        one.flags,
    )


def insert(db: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    """Writes rows of `row_of`, and notes their times."""
    db.executemany("INSERT INTO reading_set VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
    times: dict[int, tuple[int, int]] = {}
    for row in rows:
        # In whole hours: the row is then written once for a block and not with each commit.
        block, hour = row[0] >> BLOCK_BITS, row[4] // _HOUR_MS * _HOUR_MS
        earliest, latest = times.get(block, (hour, hour))
        times[block] = (min(earliest, hour), max(latest, hour + _HOUR_MS))
    db.executemany(
        "INSERT INTO block VALUES (?,?,?) ON CONFLICT (block) DO UPDATE SET"
        " earliest = min(earliest, excluded.earliest), latest = max(latest, excluded.latest)"
        " WHERE excluded.earliest < earliest OR excluded.latest > latest",
        [(block, *ends) for block, ends in times.items()],
    )


def retime(db: sqlite3.Connection, boot_id: bytes, offset_ms: int, after: int, quality: int) -> int:
    """Gives what this boot read live, unsynced, with a sequence above `after` its UTC: boot time +
    offset. Returns how many rows."""
    which = (after, TimeQuality.UNSYNCED, Origin.LIVE, boot_id)
    ends = db.execute(
        f"SELECT min(sequence) >> ?, max(sequence) >> ? FROM reading_set {_UNSYNCED}",  # noqa: S608
        (BLOCK_BITS, BLOCK_BITS, *which),
    ).fetchone()
    if ends[0] is None:
        return 0
    cursor = db.execute(
        f"UPDATE reading_set SET read_at = boot_at + ?, quality = ? {_UNSYNCED}",  # noqa: S608
        (offset_ms, quality, *which),
    )
    db.execute(
        "INSERT OR REPLACE INTO block SELECT sequence >> ?, min(read_at), max(read_at)"
        " FROM reading_set WHERE sequence >= ? AND sequence < ? GROUP BY 1",
        (BLOCK_BITS, ends[0] << BLOCK_BITS, ends[1] + 1 << BLOCK_BITS),
    )
    return cursor.rowcount


def layout_from_text(content: str) -> Layout:
    """The layout that a row of that table holds."""
    return [(Obis.from_text(obis), *rest) for obis, *rest in json.loads(content)]


def readings_of(layout: Layout, values: Iterable[Any]) -> tuple[Reading, ...]:
    """The readings of a row."""
    return tuple(
        Reading(obis, Quantity(value, *rest))
        for (obis, *rest), value in zip(layout, values, strict=True)
    )
