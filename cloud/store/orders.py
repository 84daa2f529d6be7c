"""Orders and receipts in the store: the same connection and transaction as the Writer's.

`order_event` is append-only; `meter_order.state` is the last of its events. A row's `counter` is
below 0 until its message is sealed: no two orders of a gateway share one.
"""

import sqlite3
from typing import NamedTuple

from cloud.store import sql_orders as sql
from cloud.store.rows import GatewayRow

NO_ARGUMENTS = b"\x80"  # CBOR


class OrderRow(NamedTuple):
    """One row of the view `whole_order`. Times UTC ms."""

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
    effect: str = "reads"
    family: str = ""
    arguments: bytes = NO_ARGUMENTS  # CBOR
    assurance: int = 0
    requested_by: str = ""
    reason: str = ""
    incident: str = ""
    batch_id: bytes | None = None
    area: str = ""
    meter_counter: int = 0
    valid_from: int = 0
    valid_until: int = 0
    life_ms: int = 0
    submitted_at: int | None = None
    not_before: int | None = None
    body: bytes | None = None
    digest: bytes | None = None
    account: str | None = None
    counted_at: int | None = None
    quarantine: str = ""
    stop_at: int | None = None
    escalation: int = 0
    is_sealed: int = 0


class QueuedOrder(NamedTuple):
    """An order whose sealed message the broker has not taken yet."""

    order_id: bytes
    gateway_id: str
    expires_at: int


class ReceiptRow(NamedTuple):
    """One stored receipt; `readings`, `evidence` and `facts` are JSON."""

    state: str
    reason: str
    at: int
    quality: int
    readings: str
    evidence: str
    received_at: int
    facts: str = "[]"


class OrderStore:
    """Statements about orders; the caller opens and ends the transaction with the Writer."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._lowest: dict[str, int] = {}  # counters of drafts, below 0

    def forget(self) -> None:
        """What was remembered is undone."""
        self._lowest.clear()

    def draft_counter(self, gateway_id: str) -> int:
        """A counter below 0 that no order of the gateway has: until its message has one."""
        lowest = self._lowest.get(gateway_id)
        if lowest is None:
            lowest = int(self.db.execute(sql.SELECT_LOWEST_COUNTER, (gateway_id,)).fetchone()[0])
        self._lowest[gateway_id] = lowest = min(lowest, 0) - 1
        return lowest

    def add(self, order: OrderRow) -> None:
        """A new order and its first event."""
        self.db.execute(
            sql.INSERT_ORDER,
            (*order[:19], order.valid_from, order.valid_until, order.life_ms),
        )
        self.db.execute(
            sql.INSERT_ORDER_EVENT, (order.order_id, order.state, order.created_at, None, "")
        )

    def move(
        self, order_id: bytes, state: str, at: int, told_at: int | None = None, reason: str = ""
    ) -> None:
        """The order has come to `state` at `at` (UTC ms ours; `told_at` the gateway's)."""
        self.db.execute(sql.UPDATE_ORDER_STATE, (state, order_id))
        self.db.execute(sql.INSERT_ORDER_EVENT, (order_id, state, at, told_at, reason))

    def freeze(
        self, order: OrderRow, at: int, counter: int, body: bytes, digest: bytes, account: str
    ) -> OrderRow:
        """What people approve from now on."""
        parameters = (at, counter, body, digest, account, order.order_id)
        self.db.execute(sql.FREEZE_ORDER, parameters)
        return order._replace(
            submitted_at=at, meter_counter=counter, body=body, digest=digest, account=account
        )

    def set_times(self, order: OrderRow, not_before: int, expires_at: int) -> OrderRow:
        """When it begins to hold, and when that ends."""
        self.db.execute(sql.TIME_ORDER, (not_before, expires_at, order.order_id))
        return order._replace(not_before=not_before, expires_at=expires_at)

    def count(self, order: OrderRow, at: int) -> OrderRow:
        """It passed the ceilings."""
        self.db.execute(sql.COUNT_ORDER, (at, order.order_id))
        return order._replace(counted_at=at)

    def quarantine(self, order: OrderRow, ceilings: str) -> OrderRow:
        """It is over these ceilings."""
        self.db.execute(sql.QUARANTINE_ORDER, (ceilings, order.order_id))
        return order._replace(quarantine=ceilings)

    def seal(self, order: OrderRow, counter: int, message: bytes) -> None:
        """Its message and the message's counter."""
        self.db.execute(sql.SEAL_ORDER, (counter, message, order.order_id))

    def stop(self, order_id: bytes, at: int) -> None:
        """A stop was asked for: it is not sent again."""
        self.db.execute(sql.STOP_ORDER, (at, order_id))

    def escalate(self, order_id: bytes, level: int) -> None:
        """A restore is late; people were told."""
        self.db.execute(sql.ESCALATE_ORDER, (level, order_id))

    def keep_message(self, order_id: bytes, message: bytes | None) -> None:
        """The sealed message, or None when the broker has taken it."""
        self.db.execute(sql.UPDATE_ORDER_MESSAGE, (message, order_id))

    def find(self, order_id: bytes) -> OrderRow | None:
        """The order's row."""
        found = self.db.execute(sql.SELECT_ORDER, (order_id,)).fetchone()
        return OrderRow(*found) if found else None

    def select(self, statement: str, *parameters: object) -> list[OrderRow]:
        """The rows of a statement of `sql_orders` over `whole_order`."""
        return [OrderRow(*row) for row in self.db.execute(statement, parameters).fetchall()]

    def queued(self) -> list[QueuedOrder]:
        """What waits for the broker, each gateway's in rising counter."""
        return [QueuedOrder(*row) for row in self.db.execute(sql.SELECT_QUEUED)]

    def message(self, order_id: bytes) -> bytes:
        """The sealed message of a queued order."""
        found: bytes = self.db.execute(sql.SELECT_MESSAGE, (order_id,)).fetchone()[0]
        return found

    def count_open_reads(self) -> int:
        """How many reads are not final."""
        return int(self.db.execute(sql.COUNT_OPEN_READS).fetchone()[0])

    def overdue(self, before: int) -> list[OrderRow]:
        """The orders that are not final and expired before `before` (UTC ms)."""
        return self.select(sql.SELECT_OVERDUE, before)

    def lowest_waiting(self, gateway_id: str) -> int | None:
        """The lowest counter of the gateway's sealed messages that the broker has not taken."""
        found = self.db.execute(sql.SELECT_LOWEST_WAITING, (gateway_id,)).fetchone()[0]
        return None if found is None else int(found)

    def events(self, order_id: bytes) -> list[tuple[str, int, int | None, str]]:
        """[(state, at, told_at, reason), ...] of an order."""
        return self.db.execute(sql.SELECT_ORDER_EVENTS, (order_id,)).fetchall()

    # ---- receipts -------------------------------------------------------------------------------

    def add_receipt(
        self, gateway: GatewayRow, counter: int, order_id: bytes, receipt: ReceiptRow
    ) -> bool:
        """Whether it is new; (gateway, counter, state) is stored once."""
        cursor = self.db.execute(
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
                receipt.facts,
            ),
        )
        return cursor.rowcount == 1

    def latest_receipts(self, gateway: GatewayRow, count_max: int) -> list[tuple[int, str]]:
        """[(counter, state), ...], newest first."""
        parameters = (gateway.gateway_key, count_max)
        return self.db.execute(sql.SELECT_LATEST_RECEIPTS, parameters).fetchall()

    def highest_receipt(self, gateway: GatewayRow) -> int:
        """The highest counter that a stored receipt of the gateway has; 0 for none."""
        found = self.db.execute(sql.SELECT_HIGHEST_RECEIPT, (gateway.gateway_key,)).fetchone()[0]
        return int(found or 0)

    def receipts(self, order: OrderRow) -> list[ReceiptRow]:
        """The receipts of an order, in the order of their arrival."""
        parameters = (order.order_id, order.gateway_id, order.counter)
        found = self.db.execute(sql.SELECT_RECEIPTS_OF_ORDER, parameters)
        return [ReceiptRow(*row) for row in found]
