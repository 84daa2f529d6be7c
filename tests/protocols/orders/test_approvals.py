"""protocols/orders/approvals.py: signatures of people over the digest of a frozen order."""

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from protocols.envelope.claims import SKEW_MS
from protocols.envelope.keys import ESP256, KeySet, PrivateKey, Use
from protocols.errors import EnvelopeError
from protocols.orders.approvals import (
    APPROVAL_AGE_MAX_MS,
    approval_bytes,
    check_approvals,
    order_digest,
)
from protocols.orders.kinds import ACTIONS, ORDER_KINDS
from protocols.orders.order import Order
from tests.protocols.envelope.world import DAY, GATEWAY, NOW, ORDER_KEY, PROVIDER, key
from tests.protocols.orders.samples import (
    HOUR,
    PEOPLE,
    QIAN,
    SUN,
    TENANT,
    TRUSTED,
    ZHAO,
    any_orders,
    any_terms,
    approve,
    order,
    terms,
)
from tests.protocols.outcome import outcome

# SEC 2, version 2.0, 2.4.2: n of secp256r1.
ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CRITICAL = sorted(action for action in ACTIONS if ORDER_KINDS[action].is_critical)
APPROVED = order("disconnect", (ZHAO, QIAN))


def judged(made: Order, trusted: KeySet = TRUSTED, now: int = NOW, **where: str) -> str:
    """The reason of a refusal; "" when the approvals hold."""
    tenant, gateway = where.get("tenant", TENANT), where.get("gateway", GATEWAY)
    _, reason = outcome(
        EnvelopeError, check_approvals, PROVIDER, trusted, tenant, gateway, made, now
    )
    return reason


def digest(made: Order, tenant: str = TENANT, gateway: str = GATEWAY) -> bytes:
    """What people sign."""
    return order_digest(PROVIDER, tenant, gateway, made)


def with_approvals(made: Order, *approvals: Any) -> Order:
    """The order with exactly these."""
    return made._replace(approvals=approvals)


# ---- the digest --------------------------------------------------------------------------------


def test_the_digest_is_that_of_the_documented_bytes() -> None:
    """SHA-256 of canonical CBOR, the tenant and the gateway before the body."""
    made = order("disconnect")
    encoded = PROVIDER.encode(["busbar/1/order", TENANT, GATEWAY, *made.to_body()[:-1]])
    assert digest(made) == hashlib.sha256(encoded).digest()
    assert len(digest(made)) == 32


def test_i03_approvals_do_not_change_what_is_approved() -> None:
    """The second approver signs the same digest as the first."""
    assert digest(order("disconnect")) == digest(APPROVED)


FIELDS = ("order_id", "action", "meter_id", "meter_address", "obis", "arguments")


@given(any_orders(), any_orders(), st.sampled_from(FIELDS))
def test_i03_any_change_of_a_field_changes_the_digest(one: Order, other: Order, name: str) -> None:
    """Each field by itself, whatever it was and became."""
    if name == "action":  # of the same form: the form follows from the kind
        assume(one.kind.is_plain() == other.kind.is_plain())
    changed = one._replace(**{name: getattr(other, name)})
    assume(changed != one)
    assert digest(changed) != digest(one)


@given(st.data(), st.sampled_from(terms("disconnect")._fields))
def test_i03_any_change_of_a_term_changes_the_digest(source: st.DataObject, name: str) -> None:
    """Each of the ten."""
    kind = ORDER_KINDS["disconnect"]
    one, other = source.draw(any_terms(kind)), source.draw(any_terms(kind))
    changed = one._replace(**{name: getattr(other, name)})
    assume(changed != one)
    made = order("disconnect")
    assert digest(made._replace(terms=changed)) != digest(made._replace(terms=one))


@given(any_orders(), any_orders())
def test_i03_two_orders_have_two_digests(one: Order, other: Order) -> None:
    """Unless they differ in their approvals alone."""
    same = one.frozen() == other.frozen()
    assert (digest(one) == digest(other)) is same


@pytest.mark.parametrize(
    ("tenant", "gateway"), [("t2", GATEWAY), (TENANT, "gw2"), ("t1gw", "1"), (GATEWAY, TENANT)]
)
def test_i03_an_order_for_another_gateway_has_another_digest(tenant: str, gateway: str) -> None:
    """So an approval travels nowhere else."""
    assert digest(APPROVED, tenant, gateway) != digest(APPROVED)
    assert judged(APPROVED, tenant=tenant, gateway=gateway) == "bad_signature"


# ---- what is enough ----------------------------------------------------------------------------


@pytest.mark.parametrize("action", CRITICAL)
def test_i03_a_critical_order_needs_two_people(action: str) -> None:
    """Two hold, in any order; one or none does not; three do."""
    for people in ((ZHAO, QIAN), (QIAN, ZHAO), (ZHAO, QIAN, SUN)):
        made = order(action, people)
        names = check_approvals(PROVIDER, TRUSTED, TENANT, GATEWAY, made, NOW)
        assert names == tuple(one.record.owner for one in people)
    assert judged(order(action)) == "approvals_missing"
    assert judged(order(action, (ZHAO,))) == "approvals_missing"


@pytest.mark.parametrize("action", ACTIONS)
def test_i03_each_kind_needs_as_many_as_its_row_says(action: str) -> None:
    """One person fewer is not enough; a read is nobody's to approve."""
    needed = ORDER_KINDS[action].approvals
    assert judged(order(action, PEOPLE[:needed])) == ""
    if needed:
        assert judged(order(action, PEOPLE[: needed - 1])) == "approvals_missing"


def test_i03_nobody_approves_twice() -> None:
    """Not with the same signature, not with a later one, not with a second key."""
    made = order("disconnect")
    first = approve(made, ZHAO)
    second_key = key("zhao's other", "person:zhao", Use.APPROVE)
    trusted = KeySet((*TRUSTED.records(), second_key.record))
    for again in (first, approve(made, ZHAO, NOW - 1), approve(made, second_key)):
        assert judged(with_approvals(made, first, again), trusted) == "approver_twice"


def test_i03_one_key_under_two_names_is_one_person() -> None:
    """Even where the key file was made by somebody who thought otherwise."""
    made = order("disconnect")
    other = ZHAO.record._replace(owner="person:alias", kid=b"another!")
    alias = PrivateKey(other, ZHAO.private)
    trusted = KeySet((*TRUSTED.records(), other))
    both = with_approvals(made, approve(made, ZHAO), approve(made, alias))
    assert judged(both, trusted) == "approver_twice"
    assert judged(with_approvals(made, approve(made, QIAN), approve(made, alias)), trusted) == ""


def test_i03_whoever_asks_does_not_approve() -> None:
    """Also not beside two others; for a rule that asks, people approve."""
    asked = order("disconnect")._replace(terms=terms("disconnect", requested_by="person:zhao"))
    for people in ((ZHAO, QIAN), (QIAN, ZHAO), (QIAN, SUN, ZHAO)):
        made = with_approvals(asked, *[approve(asked, one) for one in people])
        assert judged(made) == "approver_is_requester"
    assert judged(with_approvals(asked, approve(asked, QIAN), approve(asked, SUN))) == ""
    rule = order("disconnect")._replace(terms=terms("disconnect", requested_by="automation:zhao"))
    assert judged(with_approvals(rule, approve(rule, ZHAO), approve(rule, QIAN))) == ""


def test_i03_a_connect_needs_another_person_than_its_requester() -> None:
    """One approval, and not one's own."""
    asked = order("connect")._replace(terms=terms("connect", requested_by="person:zhao"))
    assert judged(with_approvals(asked, approve(asked, ZHAO))) == "approver_is_requester"
    assert judged(with_approvals(asked, approve(asked, QIAN))) == ""


# ---- whose signature ---------------------------------------------------------------------------


@given(any_orders())
@settings(max_examples=50)
def test_i03_approvals_of_one_order_fit_no_other(other: Order) -> None:
    """Whatever the other one is."""
    assume(not other.kind.is_plain() and other.frozen() != APPROVED.frozen())
    moved = other._replace(
        approvals=APPROVED.approvals,
        terms=other.terms._replace(
            requested_by="person:li", requested_at=NOW - HOUR, valid_until=NOW + HOUR
        ),
    )
    assert judged(moved) == "bad_signature"


def test_i03_one_secret_in_two_forms_is_one_person() -> None:
    """The point written out, and its negative: both sign with what zhao knows."""
    made = order("disconnect")
    number = int.from_bytes(ZHAO.private, "big")
    negative = (ORDER_OF_P256 - number).to_bytes(32, "big")
    for private, encoding in (
        (ZHAO.private, PublicFormat.UncompressedPoint),
        (negative, PublicFormat.CompressedPoint),
    ):
        point = ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1()).public_key()
        public = point.public_bytes(Encoding.X962, encoding)
        record = ZHAO.record._replace(owner="person:alias", kid=b"another!", public=public)
        alias, trusted = PrivateKey(record, private), KeySet((*TRUSTED.records(), record))
        by_alias = approve(made, alias)
        assert judged(with_approvals(made, by_alias, approve(made, QIAN)), trusted) == ""
        assert judged(with_approvals(made, approve(made, ZHAO), by_alias), trusted) == (
            "approver_twice"
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"order_id": b"order-id--16-b-u"},
        {"meter_id": "m2"},
        {"meter_address": "123456789013"},
        {"terms": terms("disconnect", meter_counter=5)},
        {"terms": terms("disconnect", valid_until=NOW + 25 * HOUR)},
        {"terms": terms("disconnect", life_ms=900_001)},
        {"terms": terms("disconnect", reason="unpaid for 41 days")},
        {"terms": terms("disconnect", requested_by="person:wu")},
        {"terms": terms("disconnect", selection=bytes(32))},
        {"terms": terms("disconnect", assurance=1)},
    ],
)
def test_i03_any_change_voids_the_approvals(changes: dict[str, Any]) -> None:
    """A meter more, an hour more, a word more."""
    assert judged(APPROVED) == ""
    assert judged(APPROVED._replace(**changes)) == "bad_signature"


@given(st.integers(0, 63), st.integers(1, 255))
@settings(max_examples=50)
def test_a_damaged_signature_is_none(at: int, flip: int) -> None:
    """Any byte of it."""
    first, second = APPROVED.approvals
    damaged = bytearray(first.signature)
    damaged[at] ^= flip
    made = with_approvals(APPROVED, first._replace(signature=bytes(damaged)), second)
    assert judged(made) == "bad_signature"


def test_the_name_and_the_time_are_signed_too() -> None:
    """A signature is not lent to another person, nor to another day."""
    first, second = APPROVED.approvals
    later = with_approvals(APPROVED, first._replace(at=first.at + 1), second)
    assert judged(later) == "bad_signature"
    lent = first._replace(approver=SUN.record.owner, kid=SUN.record.kid)
    assert judged(with_approvals(APPROVED, lent, second)) == "bad_signature"
    renamed = first._replace(approver="person:sun")
    assert judged(with_approvals(APPROVED, renamed, second)) == "key_owner"


def test_an_approval_is_no_message_of_another_kind() -> None:
    """What is signed says what it is, and of which order."""
    assert PROVIDER.decode(approval_bytes(PROVIDER, b"d" * 32, "person:zhao", NOW)) == [
        "busbar/1/approval", b"d" * 32, "person:zhao", NOW
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("terms_of_key", "reason"),
    [
        ({"revoked": NOW - 1}, "revoked_key"),
        ({"not_after": NOW - 1}, "key_time"),
        ({"not_before": NOW + 1}, "key_time"),
    ],
)
def test_a_key_out_of_its_terms_approves_nothing(terms_of_key: dict[str, int], reason: str) -> None:
    """Revoked now counts, whenever it signed."""
    record = ZHAO.record._replace(**terms_of_key)
    assert judged(APPROVED, KeySet((record, QIAN.record))) == reason


def test_i02_only_a_person_s_approval_key_approves() -> None:
    """An unknown one does not, nor the head end's order key under a person's name."""
    assert judged(APPROVED, KeySet((QIAN.record,))) == "unknown_key"
    assert judged(APPROVED, KeySet(())) == "unknown_key"
    for use in (Use.SIGN_ORDER, Use.SIGN_ACK, Use.SIGN_DATA, Use.SIGN_CONFIG, Use.OPEN):
        wrong = ZHAO.record._replace(use=use)
        assert judged(APPROVED, KeySet((wrong, QIAN.record))) == "key_use"
    made = order("disconnect")
    by_head_end = approve(made, ORDER_KEY)._replace(approver="person:zhao")
    forged = with_approvals(made, by_head_end, approve(made, QIAN))
    assert judged(forged, KeySet((ORDER_KEY.record, *TRUSTED.records()))) == "key_owner"


def test_a_key_that_does_not_sign_approves_nothing() -> None:
    """The algorithm is the record's, and an approval brings none."""
    record = ZHAO.record._replace(algorithm=-65601)
    assert record.algorithm != ESP256
    assert judged(APPROVED, KeySet((record, QIAN.record))) == "bad_signature"


def test_one_approval_too_many_must_hold_as_well() -> None:
    """Two good ones do not cover a third that is forged."""
    third = approve(APPROVED, SUN)._replace(signature=bytes(64))
    made = with_approvals(APPROVED, *APPROVED.approvals, third)
    assert judged(made) == "bad_signature"


# ---- when --------------------------------------------------------------------------------------


def approved_at(at: int, **of_terms: int) -> Order:
    """An order whose first approval was given at this time."""
    made = order("disconnect")._replace(terms=terms("disconnect", **of_terms))
    return with_approvals(made, approve(made, ZHAO, at), approve(made, QIAN, NOW))


@pytest.mark.parametrize(
    ("at", "of_terms", "reason"),
    [
        (NOW - HOUR, {}, ""),
        (NOW - HOUR - 1, {}, "approval_time"),  # before it was asked for
        (NOW + SKEW_MS, {}, ""),
        (NOW + SKEW_MS + 1, {}, "approval_time"),  # of the future
        (NOW + 2, {"valid_until": NOW + 1}, "approval_time"),  # when it was over
        (NOW - APPROVAL_AGE_MAX_MS, {"requested_at": NOW - 4 * DAY}, ""),
        (NOW - APPROVAL_AGE_MAX_MS - 1, {"requested_at": NOW - 4 * DAY}, "approval_time"),
    ],
)
def test_i03_an_approval_is_fresh(at: int, of_terms: dict[str, int], reason: str) -> None:
    """Given after the request, not long ago, and not in advance."""
    assert judged(approved_at(at, **of_terms)) == reason
    assert APPROVAL_AGE_MAX_MS == 72 * HOUR


def test_without_a_clock_the_frozen_times_alone_are_judged() -> None:
    """A cut is blocked then by other rules; a connect may run."""
    old = approved_at(NOW - APPROVAL_AGE_MAX_MS - 1, requested_at=NOW - 4 * DAY)
    assert judged(old, now=0) == ""
    assert judged(approved_at(NOW - HOUR - 1), now=0) == "approval_time"
    record = ZHAO.record._replace(not_after=NOW - 1)
    assert judged(APPROVED, KeySet((record, QIAN.record)), now=0) == ""
    revoked = ZHAO.record._replace(revoked=1)
    assert judged(APPROVED, KeySet((revoked, QIAN.record)), now=0) == "revoked_key"
