"""protocols/orders/states.py: the one table of an order's way, forward only."""

from itertools import pairwise

import pytest

from protocols.messages import RECEIPT_STATES as TOLD
from protocols.orders.states import (
    FINAL_STATES,
    ORDER_STATES,
    ORDER_STEPS,
    RECEIPT_STATES,
    UNSENT_STATES,
    OrderState,
    can_follow,
    settles,
)

FINAL = {
    "done", "confirmed", "contradicted", "not-done", "refused", "refused-by-meter", "expired",
    "cancelled", "superseded", "unknown",
}  # fmt: skip
EXITS = {"refused", "expired", "cancelled", "superseded"}
WAY = (
    "draft", "submitted", "approved", "signed", "queued", "published", "received", "verified",
    "prechecked", "armed", "sent", "acked", "verifying", "confirmed",
)  # fmt: skip


def reachable(state: str) -> set[str]:
    """All states after `state`, by walking the table."""
    found: set[str] = set()
    pending = list(ORDER_STEPS.get(state, ()))
    while pending:
        one = pending.pop()
        if one not in found:
            found.add(one)
            pending += ORDER_STEPS.get(one, ())
    return found


def test_the_order_states_are_one_table() -> None:
    """Every state is named once, and the steps lead from state to state."""
    named = {value for name, value in vars(OrderState).items() if name.isupper()}
    assert set(ORDER_STATES) == named
    assert len(ORDER_STATES) == len(named) == 24
    assert set(ORDER_STEPS) | {s for steps in ORDER_STEPS.values() for s in steps} == named


def test_final_means_final() -> None:
    """Ten ends, and no step out of any."""
    assert set(FINAL_STATES) == FINAL
    assert len(FINAL_STATES) == len(FINAL)
    assert not FINAL & set(ORDER_STEPS)


@pytest.mark.parametrize("state", ORDER_STEPS)
def test_there_are_no_dead_ends(state: str) -> None:
    """From everywhere an end can be reached, each step is named once, and there is no way back."""
    assert reachable(state) & FINAL
    assert state not in reachable(state)
    assert len(set(ORDER_STEPS[state])) == len(ORDER_STEPS[state])


@pytest.mark.parametrize("state", ORDER_STATES[1:])
def test_every_state_is_reached_from_a_draft(state: str) -> None:
    """No row stands apart."""
    assert state in reachable("draft")


def test_the_way_of_a_switch_is_one_line() -> None:
    """Each step of the law follows the one before it directly."""
    for state, following in pairwise(WAY):
        assert following in ORDER_STEPS[state]
    assert "quarantined" in ORDER_STEPS["signed"]
    assert ORDER_STEPS["quarantined"][0] == "queued"


@pytest.mark.parametrize("state", ORDER_STATES)
def test_a_state_follows_when_the_table_leads_there(state: str) -> None:
    """Steps in between may be lost on the way up; a way back does not exist."""
    for following in ORDER_STATES:
        assert can_follow(state, following) == (following in reachable(state))
    assert not can_follow(state, state)
    assert not can_follow(state, "nonsense")


@pytest.mark.parametrize(
    ("state", "following", "may"),
    [
        ("draft", "done", True),
        ("published", "sent", True),
        ("verified", "done", True),
        ("verified", "unknown", True),
        ("prechecked", "confirmed", True),  # a restore that finds the state it wants
        ("sent", "unknown", True),
        ("sent", "refused-by-meter", True),
        ("sent", "acked", True),
        ("acked", "confirmed", True),
        ("acked", "done", True),
        ("acked", "refused-by-meter", False),
        ("sent", "expired", False),
        ("sent", "verified", False),
        ("queued", "refused", True),
        ("done", "refused", False),
        ("expired", "done", False),
        ("unknown", "done", False),
        ("confirmed", "contradicted", False),
        ("not-done", "sent", False),
        ("refused", "verified", False),
        ("nonsense", "done", False),
    ],
)
def test_orders_go_forward_only(state: str, following: str, may: bool) -> None:
    """What is final stays."""
    assert can_follow(state, following) is may


def test_i24_an_order_may_be_stopped_until_it_is_sent() -> None:
    """In every state before, directly; in none after."""
    assert (*WAY[:4], "quarantined", *WAY[4:10]) == UNSENT_STATES
    for state in UNSENT_STATES:
        assert set(ORDER_STEPS[state]) >= EXITS
    for state in ("sent", "acked", "verifying"):
        assert not reachable(state) & (EXITS - {"refused"})
    assert not reachable("acked") & EXITS


def test_i15_nothing_is_sent_a_second_time() -> None:
    """No state after sent leads back, not even one that proves that nothing happened."""
    assert all("sent" not in reachable(state) for state in ("sent", "acked", "verifying"))
    assert not can_follow("not-done", "sent")
    assert "sent" in ORDER_STEPS["armed"]
    assert [state for state in ORDER_STEPS if "sent" in ORDER_STEPS[state]] == ["armed"]


def test_i16_an_answer_alone_confirms_nothing() -> None:
    """Only what was looked for is confirmed, or what the check before found."""
    assert [s for s in ORDER_STEPS if "confirmed" in ORDER_STEPS[s]] == ["prechecked", "verifying"]


def test_only_the_unknown_is_settled_later() -> None:
    """A late receipt may end the doubt, or say that it is being looked into, and nothing else."""
    pairs = {(a, b) for a in ORDER_STATES for b in ORDER_STATES if settles(a, b)}
    assert pairs == {("unknown", b) for b in (FINAL - {"unknown"}) | {"verifying"}}


def test_a_gateway_tells_its_own_states_alone() -> None:
    """None of those in which it does not have the order."""
    assert set(RECEIPT_STATES) == {
        "verified", "prechecked", "armed", "sent", "acked", "verifying", *FINAL
    }  # fmt: skip
    assert len(set(RECEIPT_STATES)) == len(RECEIPT_STATES)
    assert TOLD is RECEIPT_STATES
