"""Approvals: signatures of people over the digest of a frozen order.

* The digest covers the tenant, the gateway and every field of the order but the approvals
  themselves. Any change of any of them voids every approval, and an approval of one order fits no
  other.
* A key that approves does nothing else (`Use.APPROVE`), and belongs to one person.
* Whoever asked does not approve, and nobody approves twice, not even with a second key (I3).
* Head end and gateway make the same check with the same function; the gateway alone decides.

Pure: the caller brings the time.
"""

import hashlib

from protocols.envelope.claims import SKEW_MS
from protocols.envelope.keys import KeySet, Use
from protocols.envelope.provider import CryptoProvider
from protocols.errors import EnvelopeError
from protocols.orders.order import Approval, Order

APPROVAL_AGE_MAX_MS = 72 * 3_600_000
_ORDER, _APPROVAL = "busbar/1/order", "busbar/1/approval"


def order_digest(provider: CryptoProvider, tenant: str, gateway_id: str, order: Order) -> bytes:
    """SHA-256 of what is approved: 32 bytes."""
    parts = [_ORDER, tenant, gateway_id] + order.frozen()
    return hashlib.sha256(provider.encode(parts)).digest()


def approval_bytes(provider: CryptoProvider, digest: bytes, approver: str, at: int) -> bytes:
    """What an approver signs: the digest, the own name and the time in UTC ms."""
    return provider.encode([_APPROVAL, digest, approver, at])


def check_approvals(
    provider: CryptoProvider,
    trusted: KeySet,
    tenant: str,
    gateway_id: str,
    order: Order,
    now: int,
) -> tuple:
    """The names of the people who approved, when they are enough; every approval must hold, also
    one that is not needed. `now` is UTC ms, 0 when it is not known: then the age of an approval
    and the validity of its key are not judged.

    EnvelopeError: approvals_missing, approver_twice, approver_is_requester, approval_time,
    unknown_key, key_owner, key_use, revoked_key, key_time, bad_signature.
    """
    digest = order_digest(provider, tenant, gateway_id, order)
    names: list = []
    keys: list = []
    for approval in order.approvals:
        record = trusted.find(approval.kid, approval.approver, Use.APPROVE, now)
        # One key under two names is one person, whatever the key file says; so are a point written
        # in the long form and its negative, which have the same x.
        point = record.public[1:33]
        if approval.approver in names or point in keys:
            raise EnvelopeError("approver_twice")
        if approval.approver == order.terms.requested_by:
            raise EnvelopeError("approver_is_requester")
        _check_time(order, approval, now)
        signed = approval_bytes(provider, digest, approval.approver, approval.at)
        provider.verify(record.algorithm, record.public, signed, approval.signature)
        names.append(approval.approver)
        keys.append(point)
    if len(names) < order.kind.approvals:
        raise EnvelopeError("approvals_missing", f"{len(names)} of {order.kind.approvals}")
    return tuple(names)


def _check_time(order: Order, approval: Approval, now: int) -> None:
    if not order.terms.requested_at <= approval.at <= order.terms.valid_until:
        raise EnvelopeError("approval_time")
    if now and not now - APPROVAL_AGE_MAX_MS <= approval.at <= now + SKEW_MS:
        raise EnvelopeError("approval_time")
