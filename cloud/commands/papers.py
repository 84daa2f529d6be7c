"""What is to be approved, fetched from the head end and believed in nothing.

A frozen order is its bytes. The digest is computed from them here; whatever the head end says
beside them must agree, or nobody signs. For a batch that holds for every order of it, and for the
selection as a whole: as many as it says, all alike, and their meters are what the hash covers.
"""

import hashlib
import json
from typing import Any, NamedTuple

from cloud.commands.door import Door
from cloud.commands.tables import printable, shown_time
from protocols.envelope.claims import SKEW_MS
from protocols.envelope.suites import Provider
from protocols.errors import CallerError, EnvelopeError
from protocols.orders.approvals import order_digest
from protocols.orders.order import Order
from protocols.orders.states import OrderState
from protocols.topics import is_name

ID_DIGITS_MIN, ID_DIGITS = 4, 32
PAGE = 500
BATCH_MAX = 2000
APPROVABLE = (OrderState.SUBMITTED, OrderState.QUARANTINED)


class Frozen(NamedTuple):
    """One frozen order and its digest as computed here; its state and who approved it, as the head
    end says."""

    order: Order
    gateway: str
    digest: bytes
    state: str
    approvers: tuple[str, ...]

    def waits_for(self, approver: str) -> bool:
        """Whether a signature of that person is still of use."""
        return self.state in APPROVABLE and approver not in self.approvers


class BatchPapers(NamedTuple):
    """What one call of `approve` is about; `batch` is what the head end says of a batch, None for
    a single order."""

    orders: list[Frozen]
    batch: dict[str, Any] | None
    batch_id: str


def check_id(text: str) -> str:
    """The id or its beginning, or CallerError."""
    is_hex = all(one in "0123456789abcdef" for one in text)
    if not is_hex or not ID_DIGITS_MIN <= len(text) <= ID_DIGITS:
        raise CallerError(f"an id has {ID_DIGITS_MIN} to {ID_DIGITS} hex digits, in lower case")
    return text


def fetch(door: Door, provider: Provider, wanted: str) -> BatchPapers:
    """The order or the batch of that id. CallerError when there is none, or it does not hold
    together."""
    check_id(wanted)
    kind, found = find(door, wanted)
    if kind == "order":
        return BatchPapers([judge(found, provider, wanted)], None, "")
    return _batch(door, provider, found, wanted)


def find(door: Door, wanted: str) -> tuple[str, dict[str, Any]]:
    """("order" or "batch", what the head end says of it); CallerError when there is neither."""
    check_id(wanted)
    try:
        return "order", door.call("order_get", order=wanted)
    except CallerError as no_order:
        try:
            return "batch", door.call("batch_get", batch=wanted, limit=PAGE)
        except CallerError:
            raise no_order from None


def judge(answer: dict[str, Any], provider: Provider, wanted: str) -> Frozen:
    """The frozen order in an answer, or CallerError."""
    if not answer.get("body"):
        raise CallerError("it is not frozen yet: whoever asked for it submits it first")
    tenant, gateway = answer.get("tenant"), answer.get("gateway")
    try:
        order = Order.from_body(provider.decode(bytes.fromhex(answer["body"])))
    except (TypeError, ValueError, EnvelopeError):
        raise CallerError("the head end's answer holds no frozen order") from None
    if not (isinstance(tenant, str) and is_name(tenant)):
        raise _lie("tenant")
    if not (isinstance(gateway, str) and is_name(gateway)):
        raise _lie("gateway")
    told = {
        "order": order.order_id.hex(),
        "action": order.action,
        "meter": order.meter_id,
        "address": order.meter_address,
        "requested_by": order.terms.requested_by,
        "reason": order.terms.reason,
    }
    for name, value in told.items():
        if answer.get(name) != value:
            raise _lie(name)
    if not order.order_id.hex().startswith(wanted):
        raise _lie("order")
    digest = order_digest(provider, tenant, gateway, order)
    if answer.get("digest") != digest.hex():
        raise _lie("digest")
    if order.kind.approvals == 0:
        raise CallerError(f"{order.action} takes no approval")
    return Frozen(order, gateway, digest, str(answer.get("state")), _approvers(answer))


def check_fresh(one: Frozen, me: str, now: int) -> None:
    """CallerError when a signature of `me` at `now` (UTC ms) would be refused everywhere."""
    terms = one.order.terms
    if terms.requested_by == me:
        raise CallerError("you asked for it yourself: others approve it")
    if now > terms.valid_until:
        raise CallerError(f"its time ended at {shown_time(terms.valid_until)}")
    if now < terms.requested_at:
        is_slow = terms.requested_at - now <= SKEW_MS
        why = "this machine's clock is behind" if is_slow else "this machine's clock is wrong"
        raise CallerError(f"it was asked for at {shown_time(terms.requested_at)}: {why}")


def _approvers(answer: dict[str, Any]) -> tuple[str, ...]:
    rows = answer.get("approvals")
    found = rows if isinstance(rows, list) else []
    names = [row.get("approver") if isinstance(row, dict) else row for row in found]
    return tuple(one for one in names if isinstance(one, str))


def _batch(door: Door, provider: Provider, batch: dict[str, Any], wanted: str) -> BatchPapers:
    batch_id = str(batch.get("batch"))
    if not batch_id.startswith(wanted):
        raise _lie("batch")
    orders: list[Frozen] = []
    page = batch
    while rows := page.get("orders"):
        for row in rows:
            whole = _whole(door, row, batch.get("tenant"))
            orders.append(judge(whole, provider, str(row.get("order"))))
        if len(orders) > BATCH_MAX:
            raise _lie("count")
        page = door.call("batch_get", batch=batch_id, offset=len(orders), limit=PAGE)
    if not orders:
        raise CallerError("the batch has no orders that wait")
    _check_batch(batch, orders)
    return BatchPapers(orders, batch, batch_id)


def _whole(door: Door, row: dict[str, Any], tenant: object) -> dict[str, Any]:
    """A row with its frozen bytes, asked for when the page does not have them."""
    if "body" in row:
        return {**row, "tenant": row.get("tenant", tenant)}
    found: dict[str, Any] = door.call("order_get", order=str(row.get("order")))
    return found


def _check_batch(batch: dict[str, Any], orders: list[Frozen]) -> None:
    """CallerError unless the orders are alike, and are the selection."""
    alike = {(one.order.action, one.order.arguments, _common(one.order)) for one in orders}
    if len(alike) != 1:
        raise CallerError("the orders of the batch are not alike: nothing is signed")
    if batch.get("count") != len(orders):
        raise _lie("count")
    meters = sorted(one.order.meter_id for one in orders)
    if len(set(meters)) != len(meters):
        raise _lie("selection")
    selection = hashlib.sha256(json.dumps(meters).encode()).hexdigest()
    if selection != orders[0].order.terms.selection.hex() or batch.get("selection") != selection:
        raise _lie("selection")


def _common(order: Order) -> tuple[Any, ...]:
    """The terms without what differs from meter to meter."""
    terms = order.terms._replace(meter_counter=0)
    return tuple(terms)


def _lie(name: str) -> CallerError:
    return CallerError(
        f"what the head end says of {printable(name)} is not what is to be signed: nothing is"
        " signed; tell whoever runs it"
    )
