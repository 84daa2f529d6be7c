"""The journal file, and all that its one writer does with it.

* WAL, synchronous FULL, one read-write connection in one thread: what is committed survives a power
  cut, and SQLite's checkpoint races cannot happen.
* A sequence is given once and never again: the newest row is never purged, so the next one is
  always higher. A new journal file gets a new epoch, so the head end never mixes the two up.
* Rows stay after their acknowledgement, as the gateway's archive, until age or space purges them.
* Only the head end's sealed acknowledgement marks a row as stored.
* All SQL of the gateway is in this package; what belongs to one table stands in a module of its
  own.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge.journal import audit as audit_rows
from edge.journal import events as event_rows
from edge.journal import opening, readings, space
from edge.journal import orders as order_rows
from edge.journal.damage import JournalReplacedError, is_damage
from edge.journal.opening import ASIDE, JOURNAL_SIZE_LIMIT, PAGE_SIZE, REASON
from edge.journal.orders import ORDERS_KEPT, StoredOrder
from edge.journal.ranges import Ranges
from edge.journal.reader import JournalReader, Row
from edge.journal.space import NOTHING_SHED, Shed, Thinning
from edge.journal.transaction import RESERVE_PAGES, Transaction
from edge.journal.wreck import memos_of
from protocols.envelope.claims import EPOCH_SIZE
from protocols.events import Event
from protocols.readings import ReadingSet

__all__ = ["ORDERS_KEPT", "Journal", "JournalReader", "Row", "StoredOrder"]

FILE_NAME = "journal.db"
COUNTER_BLOCK = 1024  # message counters reserved at a time, so that a crash can never reuse one
PURGE_ROWS_MAX = 2_000  # per transaction, so that readings never wait long for a purge
SLOT = "slot"  # scope of the memos that say which slot of a task was run last
_UNCLEAN, _CLEAN = 1, 0

Memo = tuple[str, str, Any]  # scope, name, value


class Journal:
    """The journal file. `open` is for its writer's thread; `reader` gives a connection that only
    reads."""

    def __init__(self, folder: Path, size_mb_max: int) -> None:
        self.path = folder / FILE_NAME
        self.epoch = b""
        self.salvaged = ""  # why the former file was put aside, if it was
        self.untold_aside = ""  # the same, until an event of it is durable; also of a life before
        self.is_open = False
        self.pages_max = size_mb_max * 1024 * 1024 // PAGE_SIZE
        self._db: sqlite3.Connection = None  # type: ignore[assignment]
        self._keys = readings.Keys()
        self._next_sequence = 1

    # ---- life -----------------------------------------------------------------------------------

    def open(self, suspect: bool = False) -> None:
        """Opens or makes the file, and brings it forward to this version. A damaged one is put
        aside, and a new epoch begins; it is examined after an unclean end, or when it is `suspect`.
        sqlite3.Error or OSError when the disk refuses, JournalRefusedError for a later one's."""
        damage = self._damage(suspect) and self._damage_again()
        if damage:
            self.salvaged = damage
            self._renew(damage)
        self._db.execute(f"PRAGMA max_page_count={self.pages_max}")
        self._set_mark("state", _UNCLEAN)
        self.epoch = self._mark("epoch")
        self._next_sequence = self.head() + 1
        self.untold_aside = self.memos(ASIDE).get(REASON, "")
        self.is_open = True

    def resize(self, size_mb_max: int) -> None:
        """Another cap; a file that is larger takes no more until it is smaller."""
        self.pages_max = size_mb_max * 1024 * 1024 // PAGE_SIZE
        self._db.execute(f"PRAGMA max_page_count={self.pages_max}")

    def close(self) -> None:
        """Closes cleanly: the next start need not check the file."""
        self._set_mark("state", _CLEAN)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._disconnect()

    def reader(self) -> JournalReader:
        """A connection for another thread, which can only read."""
        return JournalReader(
            sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        )

    def abandon(self) -> None:
        """Closes a file that met damage, as it is; what was not committed was not accepted."""
        self._disconnect()

    def can_be_read(self) -> bool:
        """Whether the disk gives the bytes of the file, good or bad."""
        try:
            opening.read_through(self.path)
        except OSError:
            return False
        return True

    def _open(self) -> None:
        self._disconnect()  # of an attempt that failed
        opening.finish_renewal(self.path)
        self._connect(self.path)

    def _connect(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(
            f"PRAGMA page_size={PAGE_SIZE}; PRAGMA auto_vacuum=INCREMENTAL;"
            "PRAGMA journal_mode=WAL;"
            f"PRAGMA synchronous=FULL; PRAGMA journal_size_limit={JOURNAL_SIZE_LIMIT};"
            "PRAGMA wal_autocheckpoint=1000; PRAGMA busy_timeout=5000; PRAGMA foreign_keys=ON;"
            "PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF; PRAGMA cache_size=-512;"
        )
        if opening.is_new(self._db):
            opening.build(self._db)
            self._set_mark("epoch", os.urandom(EPOCH_SIZE))
            self._set_mark("state", _CLEAN)
            self._db.execute("COMMIT")
        path.chmod(0o600)

    def _damage(self, suspect: bool) -> str:
        """Opens the file; in words what is wrong with it, "" for nothing."""
        try:
            self._open()
            if missing := opening.missing_table(self._db):
                return missing
            damage = "" if self._mark("state") == _CLEAN and not suspect else self._check()
            if not damage:
                opening.bring_forward(self._db, self.path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                self._disconnect()
                raise
            damage = str(error)
        return damage

    def _damage_again(self) -> str:
        """A second look at a file that seemed damaged: the disk may have given wrong bytes once. A
        disk that gives none (OSError) says nothing of the file."""
        self._disconnect()
        opening.read_through(self.path)
        return self._damage(suspect=True)

    def _check(self) -> str:
        return opening.check(self._db)

    def _disconnect(self) -> None:
        self.is_open = False
        self._keys.forget()
        if self._db is not None:
            self._db.close()

    def _renew(self, damage: str) -> None:
        """Puts the file aside. The new one is whole before the old one goes, with what the gateway
        remembers (a slot that was run is not run again) and has to tell: a disk that refuses, or a
        crash, leaves one of the two."""
        self._disconnect()
        fresh = opening.begin_renewal(self.path)
        self._connect(fresh)
        with self.transaction():
            self._write_memos([*memos_of(self.path), (ASIDE, REASON, damage)])
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._disconnect()
        opening.put_aside(self.path)
        self._open()

    # ---- reading sets, events and what goes with them -------------------------------------------

    def append(
        self,
        sets: Iterable[ReadingSet],
        slots: Iterable[tuple[str, int]] = (),
        events: Iterable[Event] = (),
        memos: Iterable[Memo] = (),
    ) -> int:
        """Commits reading sets, gives them their sequences and returns the highest; with them the
        slots (task, UTC ms) that they are of, events and memos. All or nothing."""
        sequence = self._next_sequence
        rows = []
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for one in sets:
                rows.append(readings.row_of(self._db, self._keys, sequence, one))
                sequence += 1
            readings.insert(self._db, rows)
            event_rows.insert(self._db, self._keys, events)
            self._write_memos((SLOT, *slot) for slot in slots)
            self._write_memos(memos)
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
            self._write_acknowledged(stored)
        return stored

    def reopen(self, ranges: Iterable[tuple[int, int]]) -> Ranges:
        """The head end asks for these again: of them, the rows that are still here become
        unacknowledged. Returns all that are acknowledged."""
        stored, lowest, head = self.acknowledged(), self._first(), self.head()
        before = list(stored)
        for first, last in ranges:
            stored.remove(max(first, lowest), min(last, head))
        if list(stored) != before:
            self._write_acknowledged(stored)
        return stored

    def acknowledge_events(self, upto: int) -> None:
        """The head end has stored the events up to this sequence. A number that is too high, or
        lower than before, changes nothing."""
        if self.events_acknowledged() < upto <= event_rows.head(self._db):
            self._set_mark("events_acknowledged", upto)

    def events_acknowledged(self) -> int:
        """The mark of `acknowledge_events`."""
        return int(self._mark("events_acknowledged") or 0)

    def retime(self, boot_id: bytes, offset_ms: int, after: int, quality: int) -> int:
        """Gives the unsynced rows of this boot with a sequence above `after` their UTC:
        boot time + offset. Only what was read live. Returns how many."""
        with self.transaction():
            return readings.retime(self._db, boot_id, offset_ms, after, quality)

    def memos(self, scope: str) -> dict[str, Any]:
        """What was kept under this scope, by name."""
        return dict(self._db.execute("SELECT name, value FROM memo WHERE scope = ?", (scope,)))

    def set_memo(self, scope: str, name: str, value: Any) -> None:
        """Keeps a number, a text or bytes over restarts."""
        self._write_memos([(scope, name, value)])

    def clear_memo(self, scope: str, name: str) -> None:
        """Forgets it."""
        self._db.execute("DELETE FROM memo WHERE scope = ? AND name = ?", (scope, name))

    # ---- room -----------------------------------------------------------------------------------

    def purge(self, before_ms: int, fill: float) -> int:
        """Deletes acknowledged rows read before `before_ms`, or while the file is fuller than
        `fill` (0..1) the oldest acknowledged ones; at most PURGE_ROWS_MAX. Returns how many. Of
        the orders the last ORDERS_KEPT stay, and all whose receipts the head end lacks."""
        upto = min(self.acknowledged().contiguous_from(1), self.head() - 1)
        crowded = self.fill() > fill
        with self.transaction():
            gone = space.purge_sets(self._db, upto, None if crowded else before_ms, PURGE_ROWS_MAX)
            event_rows.purge(self._db, self.events_acknowledged(), before_ms, PURGE_ROWS_MAX)
            order_rows.purge(self._db)
            audit_rows.purge(self._db, before_ms, PURGE_ROWS_MAX)
        if gone:
            space.give_back(self._db)
        return gone

    def thin(self, thinning: Thinning, before_ms: int) -> Shed:
        """Thins the next rows of a pass, and adds them to what was shed and not told yet."""
        with self.transaction():
            shed = thinning.portion(self._db, self._keys, before_ms)
            if shed.sets:
                self._set_mark("shed", json.dumps(self.untold_shed().and_also(shed)))
        if shed.sets:
            space.give_back(self._db)
        return shed

    def untold_shed(self) -> Shed:
        """What was shed since the last event that told of it."""
        return Shed(*json.loads(self._mark("shed") or json.dumps(NOTHING_SHED)))

    def tell_shed(self, event: Event) -> None:
        """Makes the event durable that tells of it, and counts anew."""
        with self.transaction():
            event_rows.insert(self._db, self._keys, [event])
            self._set_mark("shed", json.dumps(NOTHING_SHED))

    def fill(self) -> float:
        """Share of the largest size that is in use."""
        return space.fill(self._db, self.pages_max)

    # ---- marks, orders and receipts -------------------------------------------------------------

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
        with self.transaction(RESERVE_PAGES):
            order_rows.take(self._db, order)

    def take_in_orders(
        self, found: Iterable[StoredOrder], receipts: Iterable[order_rows.Receipt]
    ) -> None:
        """Orders and receipts out of a journal that was put aside; those that are here stay."""
        with self.transaction():
            order_rows.take_in(self._db, found, receipts)

    def acknowledge_receipts(self, stored: Iterable[tuple[int, str]]) -> None:
        """Marks receipts that the head end has stored."""
        with self.transaction():
            order_rows.acknowledge(self._db, stored)

    def reopen_receipts(self, counter: int) -> None:
        """A redelivered order gets its stored result again."""
        with self.transaction():
            order_rows.reopen(self._db, counter)

    def orders(self, states: tuple[str, ...]) -> list[StoredOrder]:
        """Orders in one of `states`, oldest first."""
        return order_rows.in_states(self._db, states)

    def order_id(self, counter: int) -> bytes:
        """The order that had this counter; b"" if none was taken up."""
        return order_rows.order_id(self._db, counter)

    # ---- reading, in the writer's thread --------------------------------------------------------

    def head(self) -> int:
        """The highest sequence; 0 in a new journal."""
        return int(
            self._db.execute("SELECT coalesce(max(sequence), 0) FROM reading_set").fetchone()[0]
        )

    def acknowledged(self) -> Ranges:
        """What the head end has stored."""
        return Ranges(self._db.execute("SELECT first, last FROM acknowledged ORDER BY first"))

    def require_epoch(self, epoch: bytes) -> None:
        """JournalReplacedError when this is not the journal of that epoch any more."""
        if epoch != self.epoch:
            raise JournalReplacedError("the journal was put aside meanwhile")

    # ---- transactions ---------------------------------------------------------------------------

    def roll_back(self) -> None:
        """Leaves no transaction open; what was not committed was not accepted."""
        self._keys.forget()
        with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def transaction(self, beyond: int = 0) -> Transaction:
        """BEGIN IMMEDIATE … COMMIT, rolled back on any error; in it the file may grow by so many
        pages beyond its cap."""
        return Transaction(self._db, self.roll_back, self.pages_max, beyond)

    def _first(self) -> int:
        row = self._db.execute("SELECT coalesce(min(sequence), 1) FROM reading_set").fetchone()
        return int(row[0])

    def _write_acknowledged(self, stored: Ranges) -> None:
        with self.transaction():
            self._db.execute("DELETE FROM acknowledged")
            self._db.executemany("INSERT INTO acknowledged VALUES (?,?)", list(stored))

    def _write_memos(self, memos: Iterable[Memo]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO memo VALUES (?,?,?)", list(memos))

    def _mark(self, name: str) -> Any:
        row = self._db.execute("SELECT value FROM mark WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _set_mark(self, name: str, value: object) -> None:
        self._db.execute("INSERT OR REPLACE INTO mark VALUES (?, ?)", (name, value))
