"""All SQL of the gateway.

* WAL, synchronous FULL, one read-write connection in one thread: what is committed survives a power
  cut, and SQLite's checkpoint races cannot happen.
* A sequence is given once and never again: the newest row is never purged, so the next one is
  always higher. A new journal file gets a new epoch, so the head end never mixes the two up.
* Rows stay after their acknowledgement, as the gateway's archive, until age or space purges them.
* Only the head end's sealed acknowledgement marks a row as stored.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from edge.journal.damage import is_damage
from edge.journal.ranges import Ranges
from protocols.envelope.claims import EPOCH_SIZE
from protocols.obis import Obis
from protocols.quantity import Quantity
from protocols.readings import Reading, ReadingSet, TimeQuality

FILE_NAME = "journal.db"
PAGE_SIZE = 4096
COUNTER_BLOCK = 1024  # message counters reserved at a time, so that a crash can never reuse one
PURGE_ROWS_MAX = 2_000  # per transaction, so that readings never wait long for a purge
ORDERS_KEPT = 200  # so that a redelivered one still finds its result
_JOURNAL_SIZE_LIMIT = 4 * 1024 * 1024
_UNCLEAN, _CLEAN = 1, 0

Row = tuple[int, ReadingSet]


class StoredOrder(NamedTuple):
    """An order of the inbox."""

    counter: int
    order_id: bytes
    body: bytes
    expires_at: int
    state: str


class Journal:
    """The journal file. `open` is for its writer's thread; `reader` gives a connection that only
    reads."""

    def __init__(self, folder: Path, size_mb_max: int) -> None:
        self.path = folder / FILE_NAME
        self.epoch = b""
        self.salvaged = ""  # why the former file was put aside, if it was
        self._pages_max = size_mb_max * 1024 * 1024 // PAGE_SIZE
        self._db: sqlite3.Connection = None  # type: ignore[assignment]
        self._keys: dict[tuple[str, object], int] = {}
        self._layouts: dict[tuple[Any, ...], int] = {}
        self._next_sequence = 1

    # ---- life -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Opens or makes the file; a damaged one is put aside, and a new epoch begins."""
        try:
            self._open()
            damage = "" if self._mark("state") == _CLEAN else self._check()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                self._disconnect()
                raise
            damage = str(error)
        if damage:
            self.salvaged = damage
            self._put_aside()
            self._open()
        self._set_mark("state", _UNCLEAN)
        self.epoch = self._mark("epoch")
        self._next_sequence = self.head() + 1

    def close(self) -> None:
        """Closes cleanly: the next start need not check the file."""
        self._set_mark("state", _CLEAN)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    def reader(self) -> "JournalReader":
        """A connection for another thread, which can only read."""
        return JournalReader(self.path)

    def _open(self) -> None:
        self._disconnect()  # of an attempt that failed
        new = not self.path.exists()
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._db.executescript(
            f"PRAGMA page_size={PAGE_SIZE}; PRAGMA auto_vacuum=INCREMENTAL;"
            "PRAGMA journal_mode=WAL;"
            f"PRAGMA synchronous=FULL; PRAGMA journal_size_limit={_JOURNAL_SIZE_LIMIT};"
            "PRAGMA wal_autocheckpoint=1000; PRAGMA busy_timeout=5000; PRAGMA foreign_keys=ON;"
            "PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;"
            f"PRAGMA max_page_count={self._pages_max};"
        )
        if new or not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            schema = files("edge.journal").joinpath("schema.sql").read_text()
            self._db.executescript("BEGIN;" + schema)
            self._set_mark("epoch", os.urandom(EPOCH_SIZE))
            self._set_mark("state", _CLEAN)
            self._db.execute("COMMIT")
        self.path.chmod(0o600)

    def _check(self) -> str:
        result = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        return "" if result == "ok" else str(result)

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()

    def _put_aside(self) -> None:
        self._disconnect()
        number = 1
        while (aside := self.path.with_name(f"journal-damaged-{number}.db")).exists():
            number += 1
        for suffix in ("", "-wal", "-shm"):
            part = Path(str(self.path) + suffix)
            if part.exists():
                part.rename(str(aside) + suffix)

    # ---- writing --------------------------------------------------------------------------------

    def append(self, sets: Iterable[ReadingSet]) -> int:
        """Commits reading sets, gives them their sequences and returns the highest. All or
        nothing."""
        sequence = self._next_sequence
        rows = []
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for one in sets:
                rows.append(
                    (
                        sequence,
                        self._key("meter", "meter_id", one.meter_id),
                        self._layout(one.readings),
                        self._key("boot", "boot_id", one.boot_id),
                        one.read_at,
                        one.boot_at,
                        one.quality,
                        json.dumps([r.quantity.value for r in one.readings], separators=(",", ":")),
                    )
                )
                sequence += 1
            self._db.executemany("INSERT INTO reading_set VALUES (?,?,?,?,?,?,?,?)", rows)
            self._db.execute("COMMIT")
        except BaseException:
            self.roll_back()
            raise
        self._next_sequence = sequence
        return sequence - 1

    def acknowledge(self, upto: int, ranges: Iterable[tuple[int, int]]) -> Ranges:
        """Marks every sequence up to `upto` and the `ranges` as stored; returns all that are."""
        stored = self.acknowledged()
        before = list(stored)
        stored.add(1, upto)
        for first, last in ranges:
            stored.add(first, last)
        if list(stored) != before:
            with self.transaction():
                self._db.execute("DELETE FROM acknowledged")
                self._db.executemany("INSERT INTO acknowledged VALUES (?,?)", list(stored))
        return stored

    def retime(self, boot_id: bytes, offset_ms: int, after: int, quality: int) -> int:
        """Gives the unsynced rows of this boot with a sequence above `after` their UTC:
        boot time + offset. Returns how many."""
        with self.transaction():
            cursor = self._db.execute(
                "UPDATE reading_set SET read_at = boot_at + ?, quality = ?"
                " WHERE sequence > ? AND quality = ?"
                " AND boot_key = (SELECT boot_key FROM boot WHERE boot_id = ?)",
                (offset_ms, quality, after, TimeQuality.UNSYNCED, boot_id),
            )
        return cursor.rowcount

    def purge(self, before_ms: int, fill: float) -> int:
        """Deletes acknowledged rows read before `before_ms`, or while the file is fuller than
        `fill` (0..1) the oldest acknowledged ones; at most PURGE_ROWS_MAX. Returns how many. Of
        the orders the last ORDERS_KEPT stay, and all whose receipts the head end lacks."""
        upto = min(self.acknowledged().contiguous_from(1), self.head() - 1)
        crowded = self.fill() > fill
        with self.transaction():
            cursor = self._db.execute(
                "DELETE FROM reading_set WHERE sequence IN (SELECT sequence FROM reading_set"
                " WHERE sequence <= ? AND (? OR read_at < ?) ORDER BY sequence LIMIT ?)",
                (upto, crowded, before_ms, PURGE_ROWS_MAX),
            )
            self._db.execute(
                "DELETE FROM order_inbox"
                " WHERE counter <= (SELECT max(counter) FROM order_inbox) - ?"
                " AND counter NOT IN (SELECT counter FROM receipt WHERE NOT acknowledged)",
                (ORDERS_KEPT,),
            )
            self._db.execute(
                "DELETE FROM receipt WHERE counter NOT IN (SELECT counter FROM order_inbox)"
            )
        if cursor.rowcount:
            # executescript, because on Python 3.11 a fetched incremental_vacuum frees one page
            # only.
            self._db.executescript("PRAGMA incremental_vacuum(500)")
        return cursor.rowcount

    def reserve_counters(self) -> int:
        """The first of COUNTER_BLOCK message counters that nobody has used, nor will after a
        crash."""
        first = int(self._mark("message_counter") or 1)
        self._set_mark("message_counter", first + COUNTER_BLOCK)
        return first

    def note_flagged_sent(self, sequence: int) -> None:
        """Rows up to here may have been sent with an unsynced time, and are never re-timed."""
        self._set_mark("flagged_sent", max(sequence, self.flagged_sent()))

    def flagged_sent(self) -> int:
        """The mark of `note_flagged_sent`."""
        return int(self._mark("flagged_sent") or 0)

    def take_order(self, order: StoredOrder) -> None:
        """Makes an order durable before anything is done about it."""
        with self.transaction():
            self._db.execute("INSERT INTO order_inbox VALUES (?,?,?,?,?)", order)

    def move_order(self, counter: int, state: str, receipt: bytes) -> None:
        """Gives an order its new state together with the receipt that tells it (b"" for none)."""
        with self.transaction():
            self._db.execute("UPDATE order_inbox SET state = ? WHERE counter = ?", (state, counter))
            if receipt:
                self._db.execute(
                    "INSERT OR REPLACE INTO receipt (counter, state, body) VALUES (?,?,?)",
                    (counter, state, receipt),
                )

    def acknowledge_receipts(self, stored: Iterable[tuple[int, str]]) -> None:
        """Marks receipts that the head end has stored."""
        with self.transaction():
            self._db.executemany(
                "UPDATE receipt SET acknowledged = 1 WHERE counter = ? AND state = ?", list(stored)
            )

    def reopen_receipts(self, counter: int) -> None:
        """A redelivered order gets its stored result again."""
        with self.transaction():
            self._db.execute("UPDATE receipt SET acknowledged = 0 WHERE counter = ?", (counter,))

    def roll_back(self) -> None:
        """Leaves no transaction open; what was not committed was not accepted."""
        self._keys.clear()
        self._layouts.clear()
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def transaction(self) -> "_Transaction":
        """BEGIN IMMEDIATE … COMMIT, rolled back on any error."""
        return _Transaction(self, self._db)

    # ---- reading, in the writer's thread --------------------------------------------------------

    def head(self) -> int:
        """The highest sequence; 0 in a new journal."""
        return int(
            self._db.execute("SELECT coalesce(max(sequence), 0) FROM reading_set").fetchone()[0]
        )

    def acknowledged(self) -> Ranges:
        """What the head end has stored."""
        return Ranges(self._db.execute("SELECT first, last FROM acknowledged ORDER BY first"))

    def orders(self, states: tuple[str, ...]) -> list[StoredOrder]:
        """Orders in one of `states`, oldest first."""
        marks = ",".join("?" * len(states))
        rows = self._db.execute(
            f"SELECT * FROM order_inbox WHERE state IN ({marks}) ORDER BY counter",  # noqa: S608
            states,
        )
        return [StoredOrder(*row) for row in rows]

    def order_id(self, counter: int) -> bytes:
        """The order that had this counter; b"" if none was taken up."""
        row = self._db.execute(
            "SELECT order_id FROM order_inbox WHERE counter = ?", (counter,)
        ).fetchone()
        return row[0] if row else b""

    def fill(self) -> float:
        """Share of the largest size that is in use."""
        pages, free = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count")
        )
        return float(pages - free) / self._pages_max

    def _mark(self, name: str) -> Any:
        row = self._db.execute("SELECT value FROM mark WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _set_mark(self, name: str, value: object) -> None:
        self._db.execute("INSERT OR REPLACE INTO mark VALUES (?, ?)", (name, value))

    def _key(self, table: str, column: str, value: object) -> int:
        key = self._keys.get((table, value))
        if key is None:
            self._db.execute(f"INSERT OR IGNORE INTO {table} ({column}) VALUES (?)", (value,))  # noqa: S608
            row = self._db.execute(f"SELECT {table}_key FROM {table} WHERE {column} = ?", (value,))  # noqa: S608
            key = self._keys[(table, value)] = int(row.fetchone()[0])
        return key

    def _layout(self, readings: tuple[Reading, ...]) -> int:
        layout = tuple(
            (r.obis, r.quantity.scaler, r.quantity.unit, r.quantity.kind) for r in readings
        )
        key = self._layouts.get(layout)
        if key is None:
            content = json.dumps(
                [[obis.text(), *rest] for obis, *rest in layout], separators=(",", ":")
            )
            key = self._layouts[layout] = self._key("layout", "content", content)
        return key


class _Transaction:
    def __init__(self, journal: Journal, db: sqlite3.Connection) -> None:
        self._journal, self._db = journal, db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            try:
                self._db.execute("COMMIT")
            except BaseException:
                self._journal.roll_back()
                raise
        else:
            self._journal.roll_back()


class JournalReader:
    """A second connection that can only read, for the sync thread."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(
            "PRAGMA query_only=ON; PRAGMA wal_autocheckpoint=0; PRAGMA busy_timeout=5000;"
            "PRAGMA trusted_schema=OFF;"
        )
        self._layouts: dict[int, list[tuple[Any, ...]]] = {}

    def rows(self, first: int, last: int) -> list[Row]:
        """The reading sets first..last, in order."""
        return list(self._rows(first, last))

    def _rows(self, first: int, last: int) -> Iterator[Row]:
        cursor = self._db.execute(
            'SELECT sequence, meter_id, read_at, boot_at, boot_id, quality, layout_key, "values"'
            " FROM reading_set JOIN meter USING (meter_key) JOIN boot USING (boot_key)"
            " WHERE sequence BETWEEN ? AND ? ORDER BY sequence",
            (first, last),
        )
        for sequence, meter_id, read_at, boot_at, boot_id, quality, layout_key, values in cursor:
            readings = tuple(
                Reading(obis, Quantity(value, *rest))
                for (obis, *rest), value in zip(
                    self._layout(layout_key), json.loads(values), strict=True
                )
            )
            yield sequence, ReadingSet(meter_id, read_at, boot_at, boot_id, quality, readings)

    def receipts(self, limit: int) -> list[tuple[int, str, bytes]]:
        """Receipts that the head end has not stored, oldest first: (counter, state, body)."""
        cursor = self._db.execute(
            "SELECT counter, state, body FROM receipt WHERE acknowledged = 0"
            " ORDER BY rowid LIMIT ?",
            (limit,),
        )
        return list(cursor)

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def _layout(self, key: int) -> list[tuple[Any, ...]]:
        layout = self._layouts.get(key)
        if layout is None:
            content = self._db.execute(
                "SELECT content FROM layout WHERE layout_key = ?", (key,)
            ).fetchone()[0]
            layout = [(Obis.from_text(obis), *rest) for obis, *rest in json.loads(content)]
            self._layouts[key] = layout
        return layout
