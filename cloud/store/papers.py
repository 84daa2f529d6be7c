"""What belongs to orders beside their rows: approvals, batches, request keys, counters, the hold,
stops and policies. The same connection and transaction as the Writer's."""

import json
import sqlite3
from typing import NamedTuple

from cloud.store import sql_orders as sql
from cloud.store.orders import OrderRow
from protocols.orders.order import ORDER_ID_SIZE, Approval


class BatchRow(NamedTuple):
    """One row of `order_batch`; `meters` JSON, sorted, and `selection` its SHA-256."""

    batch_id: bytes
    action: str
    requested_by: str
    reason: str
    incident: str
    created_at: int
    state: str
    selection: bytes
    meters: str
    load_w: int
    load_known: int

    def meter_ids(self) -> list[str]:
        """The frozen selection."""
        found: list[str] = json.loads(self.meters)
        return found


class HoldRow(NamedTuple):
    """The last change of the global hold."""

    is_held: bool
    at: int
    by: str
    reason: str


class PolicyRow(NamedTuple):
    """The last policy made for a gateway."""

    serial: int
    nonce: bytes
    made_at: int
    cuts_until: int


class StopRow(NamedTuple):
    """A stop that the broker has not taken yet."""

    stop_key: int
    gateway_id: str
    order_ids: tuple[bytes, ...]
    cuts_before: int
    at: int


class PaperStore:
    """Statements; the caller opens and ends the transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    # ---- approvals ------------------------------------------------------------------------------

    def add_approval(self, order: OrderRow, approval: Approval, at: int) -> None:
        """One person's; sqlite3.IntegrityError for the requester's, or a second one."""
        parameters = (approval.approver, order.requested_by, approval.kid, approval.at)
        self._db.execute(sql.INSERT_APPROVAL, (order.order_id, *parameters, approval.signature, at))

    def approvals(self, order_id: bytes) -> tuple[Approval, ...]:
        """Those of an order, in the order of their arrival."""
        rows = self._db.execute(sql.SELECT_APPROVALS, (order_id,))
        return tuple(Approval(*row) for row in rows)

    def approvers_of_batch(self, batch_id: bytes) -> dict[str, int]:
        """Who has approved how many orders of a batch."""
        return dict(self._db.execute(sql.SELECT_APPROVERS_OF_BATCH, (batch_id,)).fetchall())

    # ---- batches and keys -----------------------------------------------------------------------

    def add_batch(self, batch: BatchRow) -> None:
        """A new one."""
        self._db.execute(sql.INSERT_BATCH, batch)

    def batch(self, batch_id: bytes) -> BatchRow | None:
        """One by its id."""
        found = self._db.execute(sql.SELECT_BATCH, (batch_id,)).fetchone()
        return BatchRow(*found) if found else None

    def batches_by_prefix(self, prefix: str) -> list[BatchRow]:
        """At most two whose id in hex starts with `prefix`."""
        found = self._db.execute(sql.SELECT_BATCHES_BY_PREFIX, (prefix,))
        return [BatchRow(*row) for row in found]

    def move_batch(self, batch: BatchRow, state: str) -> BatchRow:
        """It is submitted, or void."""
        self._db.execute(sql.UPDATE_BATCH, (state, batch.batch_id))
        return batch._replace(state=state)

    def batch_states(self, batch_id: bytes) -> dict[str, int]:
        """How many orders of a batch are in which state."""
        return dict(self._db.execute(sql.SELECT_BATCH_STATES, (batch_id,)).fetchall())

    def add_key(self, requested_by: str, key: str, content: bytes, made_id: bytes) -> None:
        """The request of this key made this order or batch."""
        self._db.execute(sql.INSERT_KEY, (requested_by, key, content, made_id))

    def key(self, requested_by: str, key: str) -> tuple[bytes, bytes] | None:
        """(SHA-256 of the request, what it made) of a key that was used."""
        found = self._db.execute(sql.SELECT_KEY, (requested_by, key)).fetchone()
        return (found[0], found[1]) if found else None

    def next_counter(self, meter_id: str, family: str) -> int:
        """The next counter of the meter and family, given once and for ever."""
        found = self._db.execute(sql.SELECT_COUNTER, (meter_id, family)).fetchone()
        counter = (int(found[0]) if found else 0) + 1
        self._db.execute(sql.PUT_COUNTER, (meter_id, family, counter))
        return counter

    # ---- hold, policies, stops ------------------------------------------------------------------

    def hold(self) -> HoldRow:
        """Whether all cuts are held."""
        found = self._db.execute(sql.SELECT_HOLD).fetchone()
        return HoldRow(bool(found[0]), *found[1:]) if found else HoldRow(False, 0, "", "")

    def set_hold(self, hold: HoldRow) -> None:
        """What holds from now on."""
        self._db.execute(sql.INSERT_HOLD, (int(hold.is_held), *hold[1:]))

    def policy(self, gateway_id: str) -> PolicyRow | None:
        """The last one of a gateway."""
        found = self._db.execute(sql.SELECT_POLICY, (gateway_id,)).fetchone()
        return PolicyRow(*found) if found else None

    def put_policy(self, gateway_id: str, policy: PolicyRow) -> None:
        """A newer one."""
        self._db.execute(sql.PUT_POLICY, (gateway_id, *policy))

    def add_stop(
        self,
        gateway_id: str,
        order_ids: tuple[bytes, ...],
        cuts_before: int,
        at: int,
        by: str,
        reason: str,
    ) -> None:
        """A stop to be sent."""
        parameters = (gateway_id, b"".join(order_ids), cuts_before, at, by, reason)
        self._db.execute(sql.INSERT_STOP, parameters)

    def open_stops(self) -> list[StopRow]:
        """What the broker has not taken."""
        rows = self._db.execute(sql.SELECT_OPEN_STOPS).fetchall()
        return [StopRow(key, name, _ids(packed), *more) for key, name, packed, *more in rows]

    def take_stop(self, stop_key: int, at: int) -> None:
        """The broker took it."""
        self._db.execute(sql.TAKE_STOP, (at, stop_key))

    # ---- accounts -------------------------------------------------------------------------------

    def change(self, reference: str) -> tuple[str, str] | None:
        """(meter, change) of a reference that was told."""
        found = self._db.execute(sql.SELECT_CHANGE, (reference,)).fetchone()
        return (found[0], found[1]) if found else None

    def add_change(
        self, reference: str, meter_id: str, change: str, note: str, by: str, at: int
    ) -> None:
        """A payment or a flag."""
        self._db.execute(sql.INSERT_CHANGE, (reference, meter_id, change, note, by, at))


def _ids(packed: bytes) -> tuple[bytes, ...]:
    return tuple(packed[at : at + ORDER_ID_SIZE] for at in range(0, len(packed), ORDER_ID_SIZE))
