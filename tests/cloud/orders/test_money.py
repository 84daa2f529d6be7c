"""Payments and flags (I8), over the seam that the billing engine takes later: `account_changed`."""

import pytest

from cloud.orders.debt import Decision, PeopleAnswer
from protocols.errors import CallerError
from protocols.messages import Order
from tests.cloud.orders.conftest import Maker
from tests.cloud.orders.headend import BILLING, DAY, MINUTE, OLGA, HeadEnd

PAID = {"meter": "m0001", "change": "paid", "reference": "pay-1"}
# How far the cut has come when the payment is told, and what the payment does.
STEPS = [
    ("draft", "cancelled"),
    ("submitted", "cancelled"),
    ("queued", "cancelled"),
    ("published", "stopping"),
    ("verified", "stopping"),
    ("prechecked", "stopping"),
    ("armed", "stopping"),
    ("sent", "restore"),
    ("acked", "restore"),
    ("verifying", "restore"),
    ("confirmed", "restore"),
    ("unknown", "restore"),
    ("contradicted", "restore"),
]
PATH = ["verified", "prechecked", "armed", "sent", "acked", "verifying"]


def cut_to(head: HeadEnd, state: str) -> tuple[dict, Order | None, int]:
    """A cut in this state."""
    shown = head.propose(submit=state != "draft")
    if state in ("draft", "submitted"):
        return shown, None, 0
    head.approve(shown, "anna", "ben")
    if state == "queued":
        return shown, None, 0
    head.dispatch()
    ((claims, order),) = head.orders_heard()
    head.puback()
    path = PATH[: PATH.index(state) + 1] if state in PATH else [*PATH, state]
    if state != "published":
        head.tell(order, claims.sequence, *path)
    return shown, order, claims.sequence


@pytest.mark.parametrize(("state", "outcome"), STEPS)
def test_i8_a_payment_at_every_step(head: HeadEnd, state: str, outcome: str) -> None:
    """Before SENT it cancels the cut, after it it restores."""
    shown, _, _ = cut_to(head, state)
    answer = head.ask("account_changed", BILLING, **PAID)
    cancelled = [shown["order"]] if outcome == "cancelled" else []
    stopping = [shown["order"]] if outcome == "stopping" else []
    assert (answer["cancelled"], answer["stopping"]) == (cancelled, stopping)
    assert bool(answer["restore"]) == (outcome == "restore")
    if outcome == "restore":
        row = head.row(answer["restore"])
        assert (row.action, row.state) == ("arm", "queued")
        assert row.requested_by == "automation:head-end" and "pay-1" in row.reason
    if outcome == "cancelled":
        assert head.state(shown) == "cancelled"
    head.wait(MINUTE)
    assert "disconnect" not in [order.action for _, order in head.orders_heard()]


@pytest.mark.parametrize("end", ["sent", "confirmed", "unknown"])
def test_i8_a_payment_that_the_stop_did_not_overtake(head: HeadEnd, end: str) -> None:
    """The gateway had sent it: what it tells makes the restore, once."""
    _, order, counter = cut_to(head, "published")
    assert order is not None
    head.ask("account_changed", BILLING, **PAID)
    head.tell(order, counter, *(["verified", end] if end == "sent" else ["verified", "sent", end]))
    head.wait(MINUTE)
    assert [one.action for _, one in head.orders_heard()] == ["arm"]
    arms = head.ask("orders_list", OLGA, action="arm")["orders"]
    assert len(arms) == 1 and "pay-1" in arms[0]["reason"]


def test_i8_a_payment_restores_whatever_was_asked_since(head: HeadEnd) -> None:
    """The meter is open by an older cut, and a newer request waits: both are put right."""
    cut_to(head, "confirmed")
    again = head.propose()
    answer = head.ask("account_changed", BILLING, **PAID)
    assert answer["cancelled"] == [again["order"]] and answer["restore"]


def test_i8_a_payment_counts_once(head: HeadEnd) -> None:
    """The same reference again changes nothing; for something else it is an error (T19)."""
    cut_to(head, "confirmed")
    assert head.ask("account_changed", BILLING, **PAID)["restore"]
    assert head.ask("account_changed", BILLING, **PAID)["restore"] == ""
    with pytest.raises(CallerError, match="reference 'pay-1' was used for another change"):
        head.ask("account_changed", BILLING, **{**PAID, "meter": "m0002"})
    second = head.ask("account_changed", BILLING, **{**PAID, "reference": "pay-2"})
    assert second["restore"] == ""  # one is on its way
    with pytest.raises(CallerError, match="change must be paid or flag"):
        head.ask("account_changed", BILLING, **{**PAID, "change": "gift", "reference": "x"})
    with pytest.raises(CallerError, match="not allowed"):
        head.ask("account_changed", {"name": "tom", "roles": ["technician"]}, **PAID)


def test_i8_a_flag_cancels_and_does_not_restore(head: HeadEnd) -> None:
    """A dispute that opens: nothing more is cut; nothing is switched on for it either."""
    cut_to(head, "confirmed")
    waiting = head.propose("m0002")
    flag = {"change": "flag", "note": "dispute"}
    answer = head.ask("account_changed", OLGA, meter="m0001", reference="f-1", **flag)
    assert answer["restore"] == ""
    answer = head.ask("account_changed", OLGA, meter="m0002", reference="f-2", **flag)
    assert answer["cancelled"] == [waiting["order"]]


def test_i8_a_payment_after_a_restore_restores_nothing(head: HeadEnd) -> None:
    """The meter's last word is not a cut."""
    shown = head.propose(submit=False)
    head.ask("order_cancel", OLGA, order=shown["order"], reason="no")
    assert head.ask("account_changed", BILLING, **PAID)["restore"] == ""
    assert head.propose()["state"] == "submitted"  # a new request rests on the new state


class Billing:
    """A stand-in of the billing engine: holds the meters that it is told to hold."""

    def __init__(self) -> None:
        self.held: set[str] = set()

    def decide(self, meter_id: str, requested_by: str, now: int) -> Decision:
        return Decision(meter_id not in self.held, "stub of this test: reading is 40 days old")


def test_i6_the_debt_is_decided_again_at_dispatch(make: Maker) -> None:
    """Stub decision, marked as such: a link that fails between approval and sending holds the
    cut, whoever approved it (I6, I7)."""
    head = make()
    billing = Billing()
    object.__setattr__(head.core.desk.office, "debt", billing)
    shown = head.cut()
    billing.held.add("m0001")
    head.dispatch()
    assert head.orders_heard() == [] and head.state(shown) == "cancelled"
    with pytest.raises(CallerError, match="held: stub of this test"):
        head.propose()
    head.wait(DAY)


def test_the_stub_says_that_it_is_one() -> None:
    """Nobody takes the decision of people for evidence of debt."""
    answer = PeopleAnswer().decide("m", "person:olga", 1)
    assert answer.may_cut and answer.basis.startswith("stub: no billing engine")
    assert not PeopleAnswer().decide("m", "automation:rule", 1).may_cut
