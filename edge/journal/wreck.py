"""Reads what can still be read of a journal that was put aside, and believes only what is whole.

SQLite keeps no checksum of a page. A page that it can not parse is passed over: reading goes on at
the next row that it finds. Of the rows that it does give, each field is checked as if it came from
outside, and a row is taken only with a sequence above the last one, so that a page of another place
tells nothing twice.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from edge.journal.orders import Receipt, StoredOrder
from edge.journal.ranges import Ranges
from edge.journal.readings import Layout, layout_from_text, readings_of
from protocols.envelope.events import decode_events, encode_events
from protocols.errors import BusbarError
from protocols.events import Event
from protocols.messages import ORDER_STATES, OrderState
from protocols.obis import Obis
from protocols.orders.states import FINAL_STATES
from protocols.quantity import KIND_NAMES, SCALER_MAX, UNITS, VALUE_MAX, Kind
from protocols.readings import FLAGS_MAX, ORIGIN_NAMES, TIME_QUALITY_NAMES, ReadingSet

STEP = 8  # sequences between two tries behind a page that can not be read; it held some 30
TRIES_MAX = 5_000  # of one portion
_BLIND_MAX = 1 << 20  # sequences tried where nothing tells how far they went
_KEYS_MAX = 1 << 12  # meters, boots or layouts that are tried one by one
_SIZE_MAX = 1 << 62
_BOOT_ID_SIZE = 16


class Found(NamedTuple):
    """A portion of a table: what was good, the sequence up to which it was read, how many rows were
    no good, and whether that was the end."""

    rows: list[tuple[int, Any]]
    upto: int
    spoiled: int
    is_end: bool


class Wreck:
    """A file of any version, opened so that nothing in it changes. sqlite3.Error when it is no
    database at all."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None
        )
        self._db.executescript(
            "PRAGMA query_only=ON; PRAGMA busy_timeout=5000; PRAGMA trusted_schema=OFF;"
            "PRAGMA cell_size_check=ON;"
        )
        self._db.row_factory = sqlite3.Row
        self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        self.epoch = self._mark("epoch")
        self._meters = dict(self._keyed("meter", "meter_id"))
        self._boots = dict(self._keyed("boot", "boot_id"))
        self._layouts: dict[int, Layout] = {}
        for key, content in self._keyed("layout", "content"):
            with contextlib.suppress(ValueError, TypeError, BusbarError):
                layout = layout_from_text(content)
                if all(_is_column(*column) for column in layout):
                    self._layouts[key] = layout

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def acknowledged(self) -> Ranges:
        """The sets that the head end has. Where that can not be read, none: what comes twice can be
        told apart, and what never comes is lost."""
        try:
            rows = [tuple(row) for row in self._db.execute("SELECT first, last FROM acknowledged")]
        except sqlite3.Error:
            return Ranges()
        return Ranges(row for row in rows if all(_is_whole(one, _SIZE_MAX) for one in row))

    def events_acknowledged(self) -> int:
        """The events that the head end has, up to this sequence."""
        upto = self._mark("events_acknowledged")
        return upto if _is_whole(upto, _SIZE_MAX) else 0

    def sets(self, after: int, limit: int) -> Found:
        """The reading sets behind a sequence, at most `limit`."""
        return self._portion("reading_set", after, limit, self._set)

    def events(self, after: int, limit: int) -> Found:
        """The events behind a sequence, at most `limit`."""
        return self._portion("event", after, limit, self._event)

    def receipts(self) -> tuple[list[StoredOrder], list[Receipt]]:
        """Receipts that the head end lacks, with their orders. An order that was not settled comes
        as one that was sent: whether it went out can not be known, and it must not go out again."""
        receipts = [
            (row["counter"], row["state"], row["body"])
            for row in self._whole_table("receipt")
            if not row["acknowledged"]
            and _is_whole(row["counter"], _SIZE_MAX)
            and row["state"] in ORDER_STATES
            and isinstance(row["body"], bytes)
        ]
        wanted = {counter for counter, _, _ in receipts}
        orders = []
        for row in self._whole_table("order_inbox"):
            one = StoredOrder(*tuple(row)[:5])
            if one.state not in FINAL_STATES:
                one = one._replace(state=OrderState.SENT)
                wanted.add(one.counter)
            kinds = (int, bytes, bytes, int)
            if one.counter in wanted and all(map(isinstance, one[:4], kinds)):
                orders.append(one)
        known = {one.counter for one in orders}
        return orders, [row for row in receipts if row[0] in known]

    def memos(self) -> list[tuple[str, str, Any]]:
        """What the gateway remembered."""
        return [
            (row["scope"], row["name"], row["value"])
            for row in self._whole_table("memo")
            if isinstance(row["scope"], str) and isinstance(row["name"], str)
        ]

    # ---- reading around the holes ---------------------------------------------------------------

    def _portion(self, table: str, after: int, limit: int, parse: Any) -> Found:
        good: list[tuple[int, Any]] = []
        spoiled, at, hole, at_once = 0, after + 1, 0, limit
        for _ in range(TRIES_MAX):
            before, count = at, 0
            try:
                for row in self._rows(table, at, min(at_once, limit - len(good))):
                    count += 1
                    if not _is_whole(row["sequence"], _SIZE_MAX) or row["sequence"] < at:
                        spoiled += 1
                        continue
                    if hole:  # sequences have no gaps: these rows were there
                        spoiled, hole = spoiled + row["sequence"] - hole, 0
                    at = row["sequence"] + 1
                    if (one := parse(row)) is None:
                        spoiled += 1
                    else:
                        good.append((at - 1, one))
                if not count:
                    return Found(good, at - 1, spoiled, True)
                at = max(at, before + 1)  # where rows say nothing of their place
                at_once = limit
            except sqlite3.Error:
                if at == before and at_once == 1:
                    hole, end = hole or at, self._end(table)
                    if at > end:
                        return Found(good, at - 1, spoiled + max(end - hole + 1, 0), True)
                    at = self._next_readable(table, at)
                # One by one up to the page that can not be read: a cursor that meets it loses the
                # row before it too.
                at_once = 1
            if len(good) >= limit:
                break
        return Found(good, at - 1, spoiled + (at - hole if hole else 0), False)

    def _rows(self, table: str, at: int, limit: int) -> sqlite3.Cursor:
        return self._db.execute(
            f"SELECT * FROM {table} WHERE sequence >= ? ORDER BY sequence LIMIT ?",  # noqa: S608
            (at, limit),
        )

    def _next_readable(self, table: str, at: int) -> int:
        """The first sequence behind `at` at which reading may go on."""
        at += STEP
        if self._can_read(table, at):
            while self._can_read(table, at - 1):
                at -= 1
        return at

    def _can_read(self, table: str, at: int) -> bool:
        try:
            self._rows(table, at, 1).fetchone()
        except sqlite3.Error:
            return False
        return True

    def _end(self, table: str) -> int:
        """The last sequence that the table can have."""
        queries = [f"SELECT max(sequence) FROM {table}"]  # noqa: S608
        if table == "reading_set":
            queries += [
                "SELECT (max(block) + 1 << 8) - 1 FROM block",  # BLOCK_BITS
                "SELECT max(last) + 1 FROM acknowledged",
            ]
        for query in queries:
            with contextlib.suppress(sqlite3.Error):
                end = self._db.execute(query).fetchone()[0]
                if _is_whole(end, _SIZE_MAX):
                    return int(end)
        samples = (1 << bit for bit in range(_BLIND_MAX.bit_length()))
        return _BLIND_MAX if any(self._can_read(table, one) for one in samples) else 0

    # ---- single rows ----------------------------------------------------------------------------

    def _set(self, row: sqlite3.Row) -> ReadingSet | None:
        layout, values = self._layouts.get(row["layout_key"]), row["values"]
        meter_id, boot_id = self._meters.get(row["meter_key"]), self._boots.get(row["boot_key"])
        keys = row.keys()
        origin = row["origin"] if "origin" in keys else 0
        flags = row["flags"] if "flags" in keys else 0
        if (
            layout is None
            or not (isinstance(meter_id, str) and 0 < len(meter_id) <= 64)
            or not (isinstance(boot_id, bytes) and len(boot_id) == _BOOT_ID_SIZE)
            or not all(_is_whole(row[name], _SIZE_MAX) for name in ("read_at", "boot_at"))
            or not _is_whole(row["quality"], len(TIME_QUALITY_NAMES) - 1)
            or not (_is_whole(origin, len(ORIGIN_NAMES) - 1) and _is_whole(flags, FLAGS_MAX))
        ):
            return None
        with contextlib.suppress(ValueError, TypeError):
            found = json.loads(values)
            if all(_is_value(one, kind) for one, (*_, kind) in zip(found, layout, strict=True)):
                times = (row["read_at"], row["boot_at"])
                readings = readings_of(layout, found)
                return ReadingSet(
                    meter_id, *times, boot_id, row["quality"], readings, origin, flags
                )
        return None

    def _event(self, row: sqlite3.Row) -> Event | None:
        names = ("quality", "number", "drift_s", "detail")
        with contextlib.suppress(ValueError, TypeError, BusbarError):
            evidence = json.loads(row["evidence"])
            frames = tuple((way, at, bytes.fromhex(text)) for way, at, text in evidence)
            stamps = (row["kind"], row["subject"], row["at"], row["boot_at"])
            rest = [row[name] for name in names]
            event = Event._make((*stamps, self._boots.get(row["boot_key"]), *rest, frames))
            checked: Event = decode_events(encode_events([(1, event)], 1))[1][0][1]
            return checked
        return None

    def _keyed(self, table: str, column: str) -> Iterator[tuple[int, Any]]:
        """(key, value) of the rows of a small table, each fetched by itself where it must be."""
        try:
            rows = list(self._db.execute(f"SELECT * FROM {table}"))  # noqa: S608
        except sqlite3.Error:
            rows = []
            for key in range(1, _KEYS_MAX):
                with contextlib.suppress(sqlite3.Error):
                    one = self._db.execute(
                        f"SELECT * FROM {table} WHERE {table}_key = ?",  # noqa: S608
                        (key,),
                    ).fetchone()
                    if one is not None:
                        rows.append(one)
        for row in rows:
            yield row[f"{table}_key"], row[column]

    def _whole_table(self, table: str) -> list[sqlite3.Row]:
        """The rows up to the first that can not be read."""
        rows: list[sqlite3.Row] = []
        with contextlib.suppress(sqlite3.Error):
            rows.extend(self._db.execute(f"SELECT * FROM {table}"))  # noqa: S608
        return rows

    def _mark(self, name: str) -> Any:
        with contextlib.suppress(sqlite3.Error, TypeError):
            return self._db.execute("SELECT value FROM mark WHERE name = ?", (name,)).fetchone()[0]
        return None


def memos_of(path: Path) -> list[tuple[str, str, Any]]:
    """The memos of a journal that was put aside, as far as they can be read."""
    with contextlib.suppress(sqlite3.Error):
        wreck = Wreck(path)
        try:
            return wreck.memos()
        finally:
            wreck.close()
    return []


def _is_whole(value: object, most: int) -> bool:
    return isinstance(value, int) and 0 <= value <= most


def _is_value(value: object, kind: int) -> bool:
    if kind == Kind.TEXT:
        return isinstance(value, str)
    return (
        isinstance(value, int) and not isinstance(value, bool) and -VALUE_MAX <= value <= VALUE_MAX
    )


def _is_column(obis: Obis, scaler: object, unit: object, kind: object) -> bool:
    is_scaler = isinstance(scaler, int) and -SCALER_MAX <= scaler <= SCALER_MAX
    return is_scaler and unit in UNITS and kind in KIND_NAMES and isinstance(obis, Obis)
