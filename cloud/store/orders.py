"""Orders and receipts in the store: the same connection and transaction as the Writer's.

`order_event` is append-only; `meter_order.state` is the last of its events.
"""

import sqlite3
from typing import NamedTuple

from cloud.store import sql
from cloud.store.rows import GatewayRow


class OrderRow(NamedTuple):
    """One row of `meter_order`."""

    order_id: bytes
    gateway_id: str
    meter_id: str
    meter_address: str
    action: str
    obis: str
    counter: int
    state: str
    created_at: int
    expires_at: int


class QueuedOrder(NamedTuple):
    """An order that the broker has not taken yet, with its sealed message."""

    order_id: bytes
    gateway_id: str
    message: bytes
    expires_at: int


class ReceiptRow(NamedTuple):
    """One stored receipt; `readings` and `evidence` are JSON."""

    state: str
    reason: str
    at: int
    quality: int
    readings: str
    evidence: str
    received_at: int


class OrderStore:
    """Statements about orders; the caller opens and ends the transaction with the Writer."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, gateway: GatewayRow, order: OrderRow) -> None:
        """A new order and its first event."""
        self._db.execute(
            sql.INSERT_ORDER,
            (
                order.order_id,
                gateway.gateway_key,
                order.meter_id,
                order.meter_address,
                order.action,
                order.obis,
                order.counter,
                order.state,
                order.created_at,
                order.expires_at,
            ),
        )
        self._db.execute(
            sql.INSERT_ORDER_EVENT, (order.order_id, order.state, order.created_at, None, "")
        )

    def move(
        self, order_id: bytes, state: str, at: int, told_at: int | None = None, reason: str = ""
    ) -> None:
        """The order has come to `state` at `at` (UTC ms ours; `told_at` the gateway's)."""
        self._db.execute(sql.UPDATE_ORDER_STATE, (state, order_id))
        self._db.execute(sql.INSERT_ORDER_EVENT, (order_id, state, at, told_at, reason))

    def keep_message(self, order_id: bytes, message: bytes | None) -> None:
        """The sealed message, or None when the broker has taken it."""
        self._db.execute(sql.UPDATE_ORDER_MESSAGE, (message, order_id))

    def find(self, order_id: bytes) -> OrderRow | None:
        """The order's row."""
        found = self._db.execute(sql.SELECT_ORDER, (order_id,)).fetchone()
        return OrderRow(*found) if found else None

    def queued(self) -> list[QueuedOrder]:
        """What waits for the broker, each gateway's in rising counter."""
        return [QueuedOrder(*row) for row in self._db.execute(sql.SELECT_QUEUED)]

    def count_open(self) -> int:
        """How many orders are not final."""
        return int(self._db.execute(sql.COUNT_OPEN_ORDERS).fetchone()[0])

    def overdue(self, before: int) -> list[OrderRow]:
        """The orders that are not final and expired before `before` (UTC ms)."""
        found = self._db.execute(sql.SELECT_OVERDUE, (before,)).fetchall()
        return [row for row in (self.find(order_id) for (order_id,) in found) if row]

    def add_receipt(
        self, gateway: GatewayRow, counter: int, order_id: bytes, receipt: ReceiptRow
    ) -> bool:
        """Whether it is new; (gateway, counter, state) is stored once."""
        cursor = self._db.execute(
            sql.INSERT_RECEIPT,
            (
                gateway.gateway_key,
                counter,
                receipt.state,
                order_id,
                receipt.reason,
                receipt.at,
                receipt.quality,
                receipt.readings,
                receipt.evidence,
                receipt.received_at,
            ),
        )
        return cursor.rowcount == 1

    def latest_receipts(self, gateway: GatewayRow, count_max: int) -> list[tuple[int, str]]:
        """[(counter, state), ...], newest first."""
        parameters = (gateway.gateway_key, count_max)
        return self._db.execute(sql.SELECT_LATEST_RECEIPTS, parameters).fetchall()

    def receipts(self, order: OrderRow) -> list[ReceiptRow]:
        """The receipts of an order, in the order of their arrival."""
        parameters = (order.order_id, order.gateway_id, order.counter)
        found = self._db.execute(sql.SELECT_RECEIPTS_OF_ORDER, parameters)
        return [ReceiptRow(*row) for row in found]
