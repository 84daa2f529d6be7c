"""What gateways tell of orders, and what silence means.

* A receipt moves the state only along the table, and only for the order, counter and gateway that
  were signed. One that names no order of ours is an orphan: stored, told and audited (threats T3).
* Silence is a state: after expiry and a grace, an order that certainly never left is `expired`, and
  any other is `unknown`: never a success (threats T5). A late receipt settles it.
* A payment that met a cut on its way ends in a restore (I8).
"""

import logging

from cloud.audit.bundle import CHAIN_KIND
from cloud.ingest.sets import json_text
from cloud.orders.accounts import Accounts
from cloud.orders.alarms import (
    AUDIT_BROKEN,
    CONTRADICTED,
    COUNTER_REGRESSED,
    ORPHAN,
    UNKNOWN,
    raise_alarm,
)
from cloud.orders.audit import Fields
from cloud.orders.office import Office
from cloud.orders.reading import RECEIPT_GRACE_MS
from cloud.orders.restoring import Restoring
from cloud.orders.sending import Sending
from cloud.store.orders import OrderRow, ReceiptRow
from cloud.store.rows import GatewayRow
from protocols.messages import Receipt
from protocols.orders.kinds import Effect
from protocols.orders.states import OrderState

log = logging.getLogger("cloud.orders")

SWITCH_GRACE_MS = 600_000  # the same for what is observed after it was sent: polls, and the way up
RECEIPTS_TOLD_AGAIN = 64  # of a gateway that says hello or repeats itself
_HERE = (
    OrderState.DRAFT,
    OrderState.SUBMITTED,
    OrderState.APPROVED,
    OrderState.SIGNED,
    OrderState.QUARANTINED,
)
_TOLD = {OrderState.CONTRADICTED: CONTRADICTED, OrderState.UNKNOWN: UNKNOWN}


class Receiving:
    """Moves orders by what is told and what is not, in the open transaction."""

    def __init__(
        self, office: Office, sending: Sending, accounts: Accounts, restoring: Restoring
    ) -> None:
        self._office = office
        self._sending = sending
        self._accounts = accounts
        self._restoring = restoring

    def receive(self, gateway: GatewayRow, receipt: Receipt, now: int) -> None:
        """Store a receipt, once, and move its order."""
        office = self._office
        office.store.begin()
        stored = ReceiptRow(
            receipt.state,
            receipt.reason,
            receipt.at,
            receipt.quality,
            json_text([[one.obis.text(), *one.quantity] for one in receipt.readings]),
            json_text([[way, ms, data.hex()] for way, ms, data in receipt.evidence]),
            now,
            json_text([list(one) for one in receipt.facts]),
        )
        if not office.orders.add_receipt(gateway, receipt.counter, receipt.order_id, stored):
            return
        row = office.orders.find(receipt.order_id)
        wanted = (gateway.gateway_id, receipt.counter)
        if row is None or (row.gateway_id, row.counter) != wanted:
            self._tell_orphan(gateway, receipt)
            return
        moved = office.life.told(row, receipt.state, receipt.at, receipt.reason)
        if moved is None:
            log.info(
                "receipt_late order=%s state=%s is=%s", row.order_id.hex(), receipt.state, row.state
            )
            return
        if row.state == OrderState.QUEUED:
            office.orders.keep_message(row.order_id, None)
        self._follow(moved, receipt)

    def _follow(self, row: OrderRow, receipt: Receipt) -> None:
        if row.effect == Effect.READS:
            return
        kind = _TOLD.get(row.state)
        if kind is not None:
            detail = f"{row.action} of meter {row.meter_id}: {receipt.reason or row.state}"
            raise_alarm(self._office, kind, row.meter_id, detail, row)
        self._accounts.follow(row)
        self._restoring.follow(row, receipt.reason)

    def _tell_orphan(self, gateway: GatewayRow, receipt: Receipt) -> None:
        name, counter = gateway.gateway_id, receipt.counter
        log.warning("receipt_unmatched gateway=%s counter=%d", name, counter)
        detail = (
            f"gateway {name} tells {receipt.state} of order {receipt.order_id.hex()}, counter"
            f" {counter}, which was not made here: {receipt.reason}"
        )
        if not self._office.life.was_told(ORPHAN, receipt.order_id.hex(), 0):
            subject = receipt.order_id.hex()
            raise_alarm(self._office, ORPHAN, subject, detail, None, name)

    def latest(self, gateway: GatewayRow) -> list[tuple[int, str]]:
        """[(counter, state), ...] of the gateway's latest stored receipts."""
        return self._office.orders.latest_receipts(gateway, RECEIPTS_TOLD_AGAIN)

    def greeted(self, gateway: GatewayRow) -> None:
        """A gateway said hello: does it still know how far it has counted? (threats T10)"""
        known = self._office.orders.highest_receipt(gateway)
        if gateway.last_order < known:
            name = gateway.gateway_id
            detail = f"its highest order is {gateway.last_order}; it told of {known} before"
            if not self._office.life.was_told(COUNTER_REGRESSED, name, gateway.hello_at or 0):
                raise_alarm(self._office, COUNTER_REGRESSED, name, detail, None, name)

    def audit_stored(self, gateway: GatewayRow, sequence: int, chain_hash: bytes) -> None:
        """A gateway's audit chain has come to here: its hash binds all before it into our log."""
        fields: Fields = {"sequence": sequence, "hash": chain_hash}
        self._office.audit.note(CHAIN_KIND, gateway.gateway_id, fields)

    def audit_broken(self, gateway: GatewayRow, detail: str) -> None:
        """A gateway's audit chain does not continue."""
        name = gateway.gateway_id
        raise_alarm(self._office, AUDIT_BROKEN, name, detail, None, name)

    def sweep(self) -> None:
        """End the orders whose time and grace are over."""
        office, now = self._office, self._office.clock.utc_ms()
        for row in office.orders.overdue(now - RECEIPT_GRACE_MS):
            has_left = row.state not in _HERE and (row.state != OrderState.QUEUED or row.is_sealed)
            late_at = row.expires_at + SWITCH_GRACE_MS
            if has_left and row.effect != Effect.READS and now <= late_at:
                continue
            # The gateway may have it, and may have carried it out: then silence is not known.
            is_here = self._sending.ended(row.order_id) or not has_left
            office.store.begin()
            office.orders.keep_message(row.order_id, None)
            if is_here:
                office.life.move(row, OrderState.EXPIRED, "no_receipt" if has_left else "expired")
                continue
            office.life.move(row, OrderState.UNKNOWN, "no_receipt")
            if row.effect != Effect.READS:
                detail = f"{row.action} of meter {row.meter_id}: nothing was heard of it"
                raise_alarm(office, UNKNOWN, row.meter_id, detail, row)
