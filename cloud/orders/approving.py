"""Approvals: each a signature of one person over the digest of a frozen order.

* Checked here with the function that the gateway uses, over everything that is stored of the order:
  nothing rests on a row of the database alone (threats T3).
* Whoever asked does not approve; nobody approves twice (I3).
"""

import sqlite3
from typing import Any, NamedTuple

from cloud.orders.audit import Fields
from cloud.orders.office import Office
from cloud.orders.persons import APPROVER, Person
from cloud.store.orders import OrderRow
from protocols.envelope.claims import is_count
from protocols.errors import CallerError, EnvelopeError
from protocols.messages import Order
from protocols.orders.approvals import check_approvals, order_digest
from protocols.orders.kinds import ORDER_KINDS
from protocols.orders.order import KID_SIZE, ORDER_ID_SIZE, SIGNATURE_SIZE, Approval
from protocols.orders.refusals import REFUSALS, code_of
from protocols.orders.states import OrderState

APPROVALS_MAX = 1000  # of one request; a large batch takes several


class Given(NamedTuple):
    """An approval as it comes in."""

    order_id: bytes
    kid: bytes
    at: int
    signature: bytes

    @classmethod
    def from_json(cls, row: object) -> "Given":
        """CallerError with one sentence unless every field fits."""
        fields = row if isinstance(row, dict) else {}
        at = fields.get("at")
        if not isinstance(at, int) or not is_count(at):
            raise CallerError("at must be UTC ms")
        return cls(
            bytes_of(fields, "order", ORDER_ID_SIZE),
            bytes_of(fields, "kid", KID_SIZE),
            at,
            bytes_of(fields, "signature", SIGNATURE_SIZE),
        )


def bytes_of(fields: dict[str, Any], name: str, size: int) -> bytes:
    """A field in hexadecimal; CallerError."""
    try:
        found = bytes.fromhex(fields.get(name) or "")
    except (TypeError, ValueError):
        found = b""
    if len(found) != size:
        raise CallerError(f"{name} must be {2 * size} hexadecimal digits")
    return found


class Approving:
    """Takes approvals, in the open transaction."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def approve(self, given: Given, person: Person) -> OrderRow:
        """The order with one approval more, in its next state when they are enough."""
        person.check_role((APPROVER,), "approve")
        office = self._office
        row = office.order(given.order_id)
        person.check_area(row.area)
        if row.state not in (OrderState.SUBMITTED, OrderState.QUARANTINED):
            raise CallerError(f"order {row.order_id.hex()} is {row.state}, nothing to approve")
        if row.requested_by == person.party:
            raise CallerError("not allowed: whoever asked for an order does not approve it")
        known = office.papers.approvals(row.order_id)
        if any(one.approver == person.party for one in known):
            raise CallerError(f"{person.name} has approved this order already")
        if len(known) >= ORDER_KINDS[row.action].approvals:
            raise CallerError("this order has all the approvals that it needs")
        approval = Approval(person.party, given.kid, given.at, given.signature)
        is_enough = self._check(row, (*known, approval))
        office.store.begin()
        fields: Fields = {
            "by": person.party,
            "kid": given.kid,
            "signature": given.signature,
            "signed at": given.at,
        }
        office.life.note("order-approval", row, fields)
        try:
            office.papers.add_approval(row, approval, office.clock.utc_ms())
        except sqlite3.IntegrityError as error:
            raise CallerError("this person or key has approved this order already") from error
        if is_enough and row.state == OrderState.SUBMITTED:
            row = office.life.move(row, OrderState.APPROVED, by=person.party)
        return row

    def _check(self, row: OrderRow, approvals: tuple[Approval, ...]) -> bool:
        """Whether they are enough. CallerError when one does not hold."""
        try:
            self.check(row, approvals)
        except EnvelopeError as error:
            if error.reason == "approvals_missing":
                return False
            words = REFUSALS.get(code_of(error.reason), error.reason)
            raise CallerError(f"the approval does not hold: {words}") from error
        return True

    def check(self, row: OrderRow, approvals: tuple[Approval, ...]) -> Order:
        """The frozen order with its approvals, when they hold and are enough; EnvelopeError
        otherwise, also when the row is not what was frozen."""
        office = self._office
        order: Order = office.frozen(row)._replace(approvals=approvals)
        named = (order.order_id, order.action, order.meter_id, order.meter_address)
        if named != (row.order_id, row.action, row.meter_id, row.meter_address):
            raise EnvelopeError("schema", "the row is not what was frozen")
        digest = order_digest(office.provider, office.tenant, row.gateway_id, order)
        if digest != row.digest or order.terms.requested_by != row.requested_by:
            raise EnvelopeError("schema", "the digest is not that of the frozen order")
        now = office.clock.utc_ms()
        keys = office.approvers.keys()
        check_approvals(office.provider, keys, office.tenant, row.gateway_id, order, now)
        return order
