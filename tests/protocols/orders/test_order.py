"""protocols/orders/order.py: one form for each order, and every field checked."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.envelope.claims import Claims
from protocols.errors import CallerError, EnvelopeError
from protocols.messages import ORDER_ID_SIZE
from protocols.obis import Obis
from protocols.orders.kinds import ACTIONS, ORDER_KINDS
from protocols.orders.order import (
    APPROVALS_MAX,
    NO_TERMS,
    SPAN_MS_MAX,
    Approval,
    Order,
    Terms,
    check_claims,
    check_target,
    is_party,
    is_person,
)
from tests.protocols.envelope.strategies import mutated, values
from tests.protocols.envelope.world import NOW, PROVIDER
from tests.protocols.faulty import LARGEST, ODD_COUNTS, ODD_TEXTS, odd_bytes, refused
from tests.protocols.orders.samples import HOUR, QIAN, ZHAO, any_orders, order, terms
from tests.protocols.outcome import outcome

READ = order("read").to_body()
BACKFILL = order("backfill").to_body()
CUT = order("disconnect", (ZHAO, QIAN)).to_body()
TOP_UP = order("top-up").to_body()
FREEZE = order("freeze").to_body()
GOOD = {"read": READ, "backfill": BACKFILL, "disconnect": CUT, "top-up": TOP_UP, "freeze": FREEZE}
ARGUMENTS, TERMS, APPROVALS = 6, 7, 8


@given(any_orders())
def test_an_order_comes_back_from_its_body(made: Order) -> None:
    """Through CBOR, with its types."""
    body = PROVIDER.decode(PROVIDER.encode(made.to_body()))
    found = Order.from_body(body)
    assert found == made
    assert (type(found), type(found.obis), type(found.terms)) == (Order, Obis, Terms)
    assert {type(one) for one in found.approvals} <= {Approval}
    assert found.to_body() == body
    assert found.kind is ORDER_KINDS[made.action]


@pytest.mark.parametrize(
    ("action", "size"),
    [(action, {"read": 6, "backfill": 7}.get(action, 9)) for action in ACTIONS],
)
def test_reads_are_as_short_as_ever_and_the_others_say_all(action: str, size: int) -> None:
    """A stored or frozen read of before opens; what changes something has all nine fields."""
    body = order(action).to_body()
    assert len(body) == size
    assert body[0] == 1
    assert Order.from_body(body) == order(action)


def test_what_is_frozen_is_all_but_the_approvals() -> None:
    """And a read has nothing to leave out."""
    made = order("disconnect", (ZHAO,))
    assert made.frozen() == made.to_body()[:-1]
    assert made._replace(approvals=()).frozen() == made.frozen()
    assert order("read").frozen() == READ
    assert Order.from_body(READ).terms == NO_TERMS
    assert Order.from_body(READ).approvals == ()


def test_an_order_is_named_by_sixteen_bytes() -> None:
    """Which nobody guesses."""
    assert ORDER_ID_SIZE == 16


# ---- faulty bodies -----------------------------------------------------------------------------

Case = tuple[str, int, Any]
FAULTS: list[Case] = [
    *[(name, 0, odd) for name in GOOD for odd in (0, 2, True, 1.0, "1", None, [])],
    *[(name, 1, odd) for name in GOOD for odd in odd_bytes(16)],
    *[(name, 2, odd) for name in GOOD
      for odd in ("", "READ", "trip", 1, None, ["read"], b"read", {})],
    *[(name, place, odd) for name in GOOD for place in (3, 4) for odd in ODD_TEXTS],
    *[(name, 5, odd) for name in GOOD for odd in odd_bytes(6)],
    *[(name, 5, b"\x01\x00\x01\x08\x00\xff") for name in ("disconnect", "top-up", "freeze")],
    *[("backfill", ARGUMENTS, odd) for odd in (
        None, 5, {}, "", [], [1], [1, 2, 3], [2, 1], [2, 2], [-1, 2], [1, True], [1, "2"],
        [1, 2.0], [1, None], [1, 2**53 + 1], [1, [2]], ["t" * 201, 2], [1] * 81, [1, 2**63])],
    *[("disconnect", ARGUMENTS, odd) for odd in (None, 5, {}, "", [1], [""], [[]], ())],
    *[("top-up", ARGUMENTS, odd) for odd in (
        [], [7, 10_000, "00112233", "070102FF"], [7, 10_000, "00112233", "070102FF", bytes(301)],
        [7, 10_000, "00112233", "070102FF", [1]], [7, 10_000, "00112233", "070102FF", 2.0])],
    *[(name, TERMS, odd) for name in ("disconnect", "freeze")
      for odd in (None, 5, [], {}, "", list(NO_TERMS), [1] * 10, tuple(terms("disconnect")))],
    *[("disconnect", APPROVALS, odd) for odd in (
        None, 5, {}, "", [5], [[]], [CUT[APPROVALS][0][:3]], [[*CUT[APPROVALS][0], 0]],
        CUT[APPROVALS][:1] * (APPROVALS_MAX + 1), [tuple(CUT[APPROVALS][0])])],
]  # fmt: skip


@pytest.mark.parametrize(("name", "at", "value"), FAULTS)
def test_a_faulty_field_is_refused(name: str, at: int, value: Any) -> None:
    """Signed is not the same as right."""
    body = copy.deepcopy(GOOD[name])
    body[at] = value
    assert refused(Order, body) == "schema"


@pytest.mark.parametrize("name", GOOD)
def test_a_body_of_another_size_is_refused(name: str) -> None:
    """A field too few or too many, one form for the other kind, and anything that is no list."""
    good = GOOD[name]
    for body in (good[:-1], [*good, 0], [*good, []], [], [1], None, 5, {}, "", b"", tuple(good)):
        assert refused(Order, body) == "schema"
    assert refused(Order, [*READ, [], CUT[TERMS], []]) == "schema"
    assert refused(Order, [*READ, []]) == "schema"
    assert refused(Order, [*READ, BACKFILL[ARGUMENTS]]) == "schema"
    assert refused(Order, CUT[:6]) == "schema"
    assert refused(Order, CUT[:7]) == "schema"


def test_faulty_arguments_are_named() -> None:
    """In the words of the arguments' own check."""
    with pytest.raises(EnvelopeError, match=r"^schema: disconnect takes no arguments$"):
        Order.from_body([*CUT[:6], [1], *CUT[7:]])


ORIGINATOR, COUNTER, ASKER, ASKED, REASON, FROM, UNTIL, LIFE, SELECTION, ASSURANCE = range(10)
TERM_FAULTS: list[tuple[int, Any]] = [
    *[(ORIGINATOR, odd) for odd in ("", "Head", "-a", "a" * 33, 5, None, b"a", [])],
    *[(COUNTER, odd) for odd in (0, *ODD_COUNTS)],
    *[(ASKER, odd) for odd in (
        "", "li", "person:", "person:Li", "person:-li", "person:" + "l" * 33, "people:li",
        "automation:", "Automation:fees", 5, None, b"person:li", [])],
    *[(ASKED, odd) for odd in (0, NOW + 24 * HOUR, *ODD_COUNTS)],
    *[(REASON, odd) for odd in ODD_TEXTS],
    *[(FROM, odd) for odd in (0, NOW + 24 * HOUR, NOW + 24 * HOUR - SPAN_MS_MAX - 1, *ODD_COUNTS)],
    *[(UNTIL, odd) for odd in (0, NOW, NOW + SPAN_MS_MAX + 1, *ODD_COUNTS)],
    *[(LIFE, odd) for odd in (0, 3_600_001, *ODD_COUNTS)],
    *[(SELECTION, odd) for odd in (b"s", bytes(31), bytes(33), "", "s" * 32, None, 0, [])],
    *[(ASSURANCE, odd) for odd in (2, *ODD_COUNTS)],
]  # fmt: skip


@pytest.mark.parametrize(("at", "value"), TERM_FAULTS)
def test_a_faulty_term_is_refused(at: int, value: Any) -> None:
    """What people approve is checked as closely as what is sent."""
    body = copy.deepcopy(CUT)
    body[TERMS][at] = value
    assert refused(Order, body) == "schema"


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (COUNTER, LARGEST), (ASKER, "automation:fees-1"), (ASKED, NOW + 24 * HOUR - 1),
        (FROM, NOW + 24 * HOUR - SPAN_MS_MAX), (UNTIL, NOW + SPAN_MS_MAX), (LIFE, 3_600_000),
        (LIFE, 1), (SELECTION, bytes(32)), (ASSURANCE, 1),
    ],
)  # fmt: skip
def test_the_limits_of_a_term_are_allowed(at: int, value: Any) -> None:
    """As far as named, and no further."""
    body = copy.deepcopy(CUT)
    body[TERMS][at] = value
    assert Order.from_body(body).to_body() == body


@pytest.mark.parametrize("action", ACTIONS)
def test_i13_a_kind_has_a_counter_exactly_when_it_has_a_family(action: str) -> None:
    """A write without a counter could be repeated; a read with one means nothing."""
    kind = ORDER_KINDS[action]
    if kind.is_plain():
        assert order(action).terms.meter_counter == 0
        return
    body = copy.deepcopy(order(action).to_body())
    body[TERMS][COUNTER] = 0 if kind.family else 1
    assert refused(Order, body) == "schema"


APPROVAL_FAULTS: list[tuple[int, Any]] = [
    *[(0, odd) for odd in ("", "zhao", "person:", "automation:zhao", "person:Zhao", 5, None, [])],
    *[(1, odd) for odd in odd_bytes(8)],
    *[(2, odd) for odd in (0, *ODD_COUNTS)],
    *[(3, odd) for odd in odd_bytes(64)],
]


@pytest.mark.parametrize(("at", "value"), APPROVAL_FAULTS)
def test_a_faulty_approval_is_refused(at: int, value: Any) -> None:
    """A rule does not approve, and half a signature is none."""
    body = copy.deepcopy(CUT)
    body[APPROVALS][1][at] = value
    assert refused(Order, body) == "schema"


@pytest.mark.parametrize(
    ("text", "is_one", "may_ask"),
    [
        ("person:li", True, True),
        ("person:li-2", True, True),
        ("person:" + "l" * 32, True, True),
        ("automation:fees", False, True),
        ("person:", False, False),
        ("person:automation:x", False, False),
        ("li", False, False),
        ("", False, False),
        (None, False, False),
    ],
)
def test_people_and_rules_have_names_of_one_form(text: Any, is_one: bool, may_ask: bool) -> None:
    """Lower case alone, so that one person has one name."""
    assert (is_person(text), is_party(text)) == (is_one, may_ask)


# ---- the fuzz sentence -------------------------------------------------------------------------


def check(body: Any) -> None:
    """from_body gives an order that makes the same body, or EnvelopeError("schema")."""
    found, reason = outcome(EnvelopeError, Order.from_body, body)
    if found is None:
        assert reason == "schema"
        return
    assert found.to_body() == body


@given(values() | st.lists(values(2), min_size=6, max_size=10))
def test_any_value_gives_an_order_or_an_envelope_error(body: Any) -> None:
    """Whatever CBOR can say."""
    check(body)


@pytest.mark.parametrize("name", GOOD)
@settings(max_examples=200)
@given(source=st.data())
def test_a_good_body_with_anything_changed_gives_an_order_or_an_envelope_error(
    name: str, source: st.DataObject
) -> None:
    """Places replaced, removed, doubled, swapped."""
    check(source.draw(mutated(GOOD[name])))


# ---- where and when ----------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("ordered", "here", "reason"),
    [
        ("123456789012", "123456789012", ""),
        ("unit 5", "unit 5", ""),
        ("000000000000", "000000000000", ""),
        ("123456789012", "123456789013", "the meter's address is another one here"),
        ("12345678901", "123456789012", "the meter's address is another one here"),
        ("AAAAAAAAAAAA", "123456789012", "the meter's address is another one here"),
        ("AAAAAAAAAAAA", "AAAAAAAAAAAA", "the address does not name one meter"),
        ("AAAAAAAA9012", "AAAAAAAA9012", "the address does not name one meter"),
        ("999999999999", "999999999999", "the address does not name one meter"),
        ("abcdefghijkl", "abcdefghijkl", "the address does not name one meter"),
    ],
)
def test_i20_an_order_names_one_meter_by_the_address_it_has_here(
    action: str, ordered: str, here: str, reason: str
) -> None:
    """Broadcast, wildcard and mistaken addresses never reach a line, whatever is asked."""
    made = order(action)._replace(meter_address=ordered)
    _, said = outcome(CallerError, check_target, made, here)
    assert said == reason


@given(st.text("0123456789A", min_size=12, max_size=12))
def test_i20_a_twelve_digit_address_has_a_digit_at_every_place(address: str) -> None:
    """A wildcard at any place names more than one meter, and 99…9 names all of them."""
    made = order("disconnect")._replace(meter_address=address)
    _, said = outcome(CallerError, check_target, made, address)
    is_one = "A" not in address and address != "9" * 12
    assert (said == "") is is_one


def claims(issued_at: int, expires_at: int) -> Claims:
    """The claims of a delivery."""
    return Claims(4, issued_at, expires_at, b"", bytes(8), 5)


@pytest.mark.parametrize(
    ("issued_at", "expires_at", "holds"),
    [
        (NOW, NOW + 1, True),
        (NOW, NOW + 900_000, True),
        (NOW, NOW + 900_001, False),  # longer than its life
        (NOW - 1, NOW + 1, False),  # before it is valid
        (NOW, NOW, False),
        (NOW + 1, NOW, False),
        (NOW + 24 * HOUR - 1, NOW + 24 * HOUR, True),
        (NOW + 24 * HOUR - 1, NOW + 24 * HOUR + 1, False),  # after it is valid
        (NOW, 0, False),  # for ever
    ],
)
def test_i14_a_delivery_lives_within_the_frozen_terms(
    issued_at: int, expires_at: int, holds: bool
) -> None:
    """Whoever signs a delivery can not lengthen what people approved."""
    _, reason = outcome(
        EnvelopeError, check_claims, order("disconnect"), claims(issued_at, expires_at)
    )
    assert reason == ("" if holds else "terms")


def test_i14_a_read_has_no_terms_to_live_within() -> None:
    """Its claims alone bound it."""
    assert check_claims(order("read"), claims(0, 1 << 50)) is None


@given(st.integers(-1000, 2000), st.integers(-1000, 3000), st.integers(1, 1000))
def test_i14_no_delivery_outlives_its_terms(start: int, end: int, life_ms: int) -> None:
    """For any terms and claims: begun in time, ended in time, and no longer than its life."""
    frozen = terms("disconnect", valid_from=NOW, valid_until=NOW + 1000, life_ms=life_ms)
    made = order("disconnect")._replace(terms=frozen)
    _, reason = outcome(EnvelopeError, check_claims, made, claims(NOW + start, NOW + end))
    is_within = start >= 0 and start < end <= 1000 and end - start <= life_ms
    assert (reason == "") is is_within
