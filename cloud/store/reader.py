"""The reading side of the store: what the commands ask. Any number of these beside the one
writer."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from cloud.store import sql
from cloud.store.configs import ConfigRow, config_row
from cloud.store.database import open_reader
from cloud.store.events import frames_from_text
from cloud.store.ledger import Ledger
from cloud.store.orders import OrderRow
from protocols.events import Event

TIME_MAX = (1 << 63) - 1


class StoredSet(NamedTuple):
    """One reading set as stored: `layout` [[obis, scaler, unit, kind], ...], `values` beside it."""

    gateway_id: str
    sequence: int
    read_at: int
    boot_at: int
    quality: int
    received_at: int
    layout: list[list[Any]]
    values: list[Any]
    origin: int
    flags: int


class StoredEvent(NamedTuple):
    """One event as stored, and when the head end heard of it."""

    gateway_id: str
    sequence: int
    event: Event
    received_at: int


class GatewaySummary(NamedTuple):
    """One gateway in a list; `stored` is the contiguous part of its current epoch."""

    gateway_id: str
    last_seen_at: int
    quality: int | None
    version: str | None
    hello_at: int | None
    presence: str | None
    meters: list[tuple[str, str]]
    head: int
    stored: int
    missing: int


class EpochSummary(NamedTuple):
    """What is stored of one epoch: by the ledger, and whether the rows say the same."""

    epoch: bytes
    head: int
    first_seen_at: int
    ledger: Ledger
    agrees: bool


class Reader:
    """Queries; use it in a `with`."""

    def __init__(self, path: Path) -> None:
        """StoreError when there is no database of ours."""
        self._db = open_reader(path)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def meters(self, meter_id: str, gateway_id: str | None = None) -> list[tuple[int, str]]:
        """[(meter_key, gateway_id), ...] of a meter's name: one for each gateway that had it."""
        return self._db.execute(sql.SELECT_METER_KEYS, (meter_id, gateway_id)).fetchall()

    def sets(
        self, meter: tuple[int, str], start: int = 0, stop: int = TIME_MAX
    ) -> Iterator[StoredSet]:
        """A meter's reading sets with start <= read_at < stop (UTC ms), rising."""
        return self._sets(sql.SELECT_METER_SETS, meter, start, stop)

    def latest_sets(
        self, meter: tuple[int, str], start: int = 0, stop: int = TIME_MAX
    ) -> Iterator[StoredSet]:
        """The same, latest first."""
        return self._sets(sql.SELECT_METER_SETS_LATEST, meter, start, stop)

    def _sets(
        self, statement: str, meter: tuple[int, str], start: int, stop: int
    ) -> Iterator[StoredSet]:
        meter_key, gateway_id = meter
        layouts: dict[str, list[Any]] = {}
        for row in self._db.execute(statement, (meter_key, start, stop)):
            sequence, read_at, boot_at, quality, received_at, content, values, *marks = row
            layout = layouts.get(content)
            if layout is None:
                layout = layouts[content] = json.loads(content)
            yield StoredSet(
                gateway_id,
                sequence,
                read_at,
                boot_at,
                quality,
                received_at,
                layout,
                json.loads(values),
                *marks,
            )

    def gateways(self) -> list[GatewaySummary]:
        """Every gateway that was ever heard."""
        found = []
        for row in self._db.execute(sql.SELECT_GATEWAYS).fetchall():
            gateway_id, last_seen_at, quality, version, hello_at, presence, epoch_key, head = row
            ledger = self._ledger(epoch_key)
            meters = self._db.execute(sql.SELECT_GATEWAY_METERS, (gateway_id,)).fetchall()
            missing = sum(last - first + 1 for first, last in ledger.missing(head or 0))
            found.append(
                GatewaySummary(
                    gateway_id,
                    last_seen_at,
                    quality,
                    version,
                    hello_at,
                    presence,
                    meters,
                    head or 0,
                    ledger.contiguous(),
                    missing,
                )
            )
        return found

    def epochs(self, gateway_id: str) -> list[EpochSummary]:
        """The gateway's epochs, first seen first; none for a gateway that was never heard. The rows
        are counted and their gaps found, so this reads the whole key of each epoch."""
        self._db.execute("BEGIN")  # ledger and rows of one moment
        try:
            found = []
            for epoch_key, epoch, head, first_seen_at in self._db.execute(
                sql.SELECT_EPOCHS, (gateway_id,)
            ).fetchall():
                ledger = self._ledger(epoch_key)
                rows = self._db.execute(sql.SELECT_ROW_RANGES, (epoch_key,)).fetchall()
                agrees = rows == ledger.ranges()
                found.append(EpochSummary(epoch, head, first_seen_at, ledger, agrees))
            return found
        finally:
            self._db.execute("COMMIT")

    def _ledger(self, epoch_key: int | None) -> Ledger:
        return Ledger(self._db.execute(sql.SELECT_RANGES, (epoch_key,)).fetchall())

    def is_gateway(self, gateway_id: str) -> bool:
        """Whether this gateway was ever heard."""
        return bool(self._db.execute(sql.SELECT_GATEWAY_KEY, (gateway_id,)).fetchone())

    def latest_events(self, gateway_id: str | None = None, since: int = 0) -> Iterator[StoredEvent]:
        """Events that the head end heard of at `since` (UTC ms) or later, the latest first."""
        for row in self._db.execute(sql.SELECT_EVENTS_LATEST, (gateway_id, since)):
            name, _, sequence, *fields, evidence, received_at = row
            event = Event._make((*fields, frames_from_text(evidence)))
            yield StoredEvent(name, sequence, event, received_at)

    def configs(self, gateway_id: str, count_max: int) -> list[ConfigRow]:
        """The latest configurations that were sent to a gateway, the latest first."""
        found = self._db.execute(sql.SELECT_CONFIGS, (gateway_id, count_max))
        return [config_row(row) for row in found]

    def refusals(self) -> list[tuple[str, str, int, int, int]]:
        """[(gateway_id, reason, count, first_at, last_at), ...]."""
        return self._db.execute(sql.SELECT_REFUSALS).fetchall()

    def orders(self, count_max: int) -> list[OrderRow]:
        """The latest orders, newest first."""
        return [OrderRow(*row) for row in self._db.execute(sql.SELECT_ORDERS, (count_max,))]
