"""protocols/orders/policy.py: what holds for all orders of a gateway, and what is not done."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import EnvelopeError
from protocols.orders.policy import (
    BLOCKED_DAYS_MAX,
    CLOCK_CORRECTION_S_MAX,
    HELD,
    PROTECTED_MAX,
    STOPPED_MAX,
    Policy,
    Stop,
)
from tests.protocols.envelope.strategies import mutated, values
from tests.protocols.envelope.world import NOW, PROVIDER
from tests.protocols.faulty import LARGEST, ODD_COUNTS, ODD_TEXTS, odd_bytes, refused
from tests.protocols.outcome import outcome

COUNT = st.integers(0, 100) | st.integers(0, LARGEST)
DAYS = st.dates().filter(lambda day: 2000 <= day.year <= 2199).map(
    lambda day: int(day.strftime("%Y%m%d"))
)  # fmt: skip
POLICIES = st.builds(
    Policy, st.integers(1, LARGEST), COUNT, COUNT, COUNT,
    st.sets(DAYS, max_size=5).map(sorted).map(tuple), COUNT, COUNT,
    st.sets(st.text(min_size=1, max_size=9), max_size=5).map(sorted).map(tuple),
    st.integers(0, CLOCK_CORRECTION_S_MAX),
)  # fmt: skip
IDS = st.lists(st.binary(min_size=16, max_size=16), max_size=5).map(tuple)
STOPS = st.builds(Stop, IDS, COUNT).filter(lambda one: one.order_ids or one.cuts_before)

N16 = b"n" * 16
POLICY = [1, NOW, 6, NOW + 1, NOW + 2, [20260101, 20260217], 0, 0, ["m1", "m7"], 300]
STOP = [1, [N16, b"o" * 16], NOW]
GOOD: dict[Any, list[Any]] = {Policy: POLICY, Stop: STOP}
DAYS_AT, PROTECTED_AT = 5, 8


@given(POLICIES | STOPS)
def test_a_message_comes_back_from_its_body(message: Any) -> None:
    """Through CBOR, with its types."""
    body = PROVIDER.decode(PROVIDER.encode(message.to_body()))
    found = type(message).from_body(body)
    assert (found, type(found)) == (message, type(message))
    assert all(not isinstance(field, list) for field in found)
    assert found.to_body() == body


FAULTS: list[tuple[Any, int, Any]] = [
    *[(kind, 0, odd) for kind in GOOD for odd in (0, 2, True, 1.0, "1", None, [])],
    *[(Policy, at, odd) for at in (1, 2, 3, 4, 6, 7, 9) for odd in ODD_COUNTS],
    (Policy, 1, 0), (Policy, 9, CLOCK_CORRECTION_S_MAX + 1),
    *[(Policy, DAYS_AT, odd) for odd in (
        None, 5, "", {}, (20260101,), [5], [20260230], ["20260101"], [True], [20260101.0],
        [20260217, 20260101], [20260101, 20260101],
        [20000101 + 10_000 * n for n in range(200)] + [20000102] )],
    *[(Policy, PROTECTED_AT, [odd]) for odd in ODD_TEXTS],
    *[(Policy, PROTECTED_AT, odd) for odd in (
        None, 5, "m1", {}, ("m1",), ["m7", "m1"], ["m1", "m1"],
        [f"m{n:05d}" for n in range(PROTECTED_MAX + 1)])],
    *[(Stop, 1, [odd]) for odd in odd_bytes(16)],
    *[(Stop, 1, odd) for odd in (None, 5, "", {}, b"", (N16,), [N16] * (STOPPED_MAX + 1))],
    *[(Stop, 2, odd) for odd in ODD_COUNTS],
]  # fmt: skip


@pytest.mark.parametrize("kind", GOOD)
def test_the_bodies_that_are_changed_here_are_good(kind: Any) -> None:
    """So each case below fails for its one change."""
    assert kind.from_body(GOOD[kind]).to_body() == GOOD[kind]


@pytest.mark.parametrize(("kind", "at", "value"), FAULTS)
def test_a_faulty_field_is_refused(kind: Any, at: int, value: Any) -> None:
    """Signed is not the same as right."""
    body = copy.deepcopy(GOOD[kind])
    body[at] = value
    assert refused(kind, body) == "schema"


@pytest.mark.parametrize("kind", GOOD)
def test_a_body_of_another_size_is_refused(kind: Any) -> None:
    """A field too few or too many, and anything that is no list."""
    good = GOOD[kind]
    for body in (good[:-1], [*good, 0], [], [1], None, 5, {}, "", b"", tuple(good)):
        assert refused(kind, body) == "schema"


def test_the_limits_themselves_are_allowed() -> None:
    """As many days, meters and orders as named."""
    days = [y * 10_000 + 100 + d for y in range(2000, 2020) for d in range(1, 21)]
    assert len(days) == BLOCKED_DAYS_MAX == 400
    meters = [f"m{n:04d}" for n in range(PROTECTED_MAX)]
    body = [1, LARGEST, LARGEST, HELD, 0, days, LARGEST, LARGEST, meters, CLOCK_CORRECTION_S_MAX]
    assert Policy.from_body(body).to_body() == body
    assert refused(Policy, [*body[:5], [*days, 20200101], *body[6:]]) == "schema"
    assert len(Stop.from_body([1, [N16] * STOPPED_MAX, 0]).order_ids) == STOPPED_MAX == 256


def test_i26_a_policy_without_a_lease_is_a_hold() -> None:
    """Zero is no time at all: nobody is disconnected."""
    held = Policy.from_body([*POLICY[:3], 0, *POLICY[4:]])
    assert held.cuts_until == HELD == 0


def test_i24_a_stop_stops_something() -> None:
    """Orders by name, cuts by time, or both; a stop of nothing is somebody's mistake."""
    assert Stop.from_body([1, [], 1]) == ((), 1)
    assert Stop.from_body([1, [N16], 0]) == ((N16,), 0)
    assert refused(Stop, [1, [], 0]) == "schema"


# ---- the fuzz sentence -------------------------------------------------------------------------


def check(kind: Any, body: Any) -> None:
    """from_body gives a message that makes the same body, or EnvelopeError("schema")."""
    found, reason = outcome(EnvelopeError, kind.from_body, body)
    if found is None:
        assert reason == "schema"
    else:
        assert found.to_body() == body


@given(st.sampled_from(list(GOOD)), values() | st.lists(values(2), min_size=3, max_size=11))
def test_any_value_gives_a_message_or_an_envelope_error(kind: Any, body: Any) -> None:
    """Whatever CBOR can say."""
    check(kind, body)


@pytest.mark.parametrize("kind", GOOD)
@settings(max_examples=200)
@given(source=st.data())
def test_a_good_body_with_anything_changed_gives_a_message_or_an_envelope_error(
    kind: Any, source: st.DataObject
) -> None:
    """Places replaced, removed, doubled, swapped."""
    check(kind, source.draw(mutated(GOOD[kind])))
