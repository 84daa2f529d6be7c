"""The seam to the billing engine, which is not here yet: a stub decides, marked as such, and what
the order path does with its answer is real (I6, I7, I9, I10).

The decisions stand in a table: what a link of the evidence may be short of, and that each of them
holds the cut. Whether a link *is* short of it, the billing engine will say.
"""

import pytest

from cloud.orders.debt import Decision
from protocols.errors import CallerError
from protocols.orders.states import OrderState
from tests.cloud.orders.headend import BILLING, OLGA
from tests.orders.rig import MINUTE, SECOND, Rig

# invariant -> what is missing, as a billing engine would say it
SHORT_OF = {
    "i06": ("the reading is 9 days old", "the audit of the bill failed", "no baseline"),
    "i07": ("estimated", "negative delta", "clock suspect", "meter replaced"),
    "i10": ("no receipt on any channel", "notice period runs until Monday", "no final reminder"),
}
CASES = [(one, words) for one, rows in SHORT_OF.items() for words in rows]


class StubDecision:
    """Stands in for the billing engine: it says what the test says."""

    def __init__(self) -> None:
        self.lacks = ""
        self.asked = 0

    def decide(self, meter_id: str, requested_by: str, now: int) -> Decision:
        """As the seam wants it."""
        self.asked += 1
        return Decision(not self.lacks, f"stub: {self.lacks or 'all links hold'}")


@pytest.fixture
def debt(rig: Rig) -> StubDecision:
    """In the place of the decision that is built in."""
    stub = StubDecision()
    office = rig.head.core.desk.office
    object.__setattr__(office, "debt", stub)
    return stub


def is_held_from_the_start(rig: Rig, debt: StubDecision, words: str) -> bool:
    """It is not even frozen, and nothing goes out."""
    debt.lacks = words
    with pytest.raises(CallerError, match="stub"):
        rig.head.propose("m1")
    rig.run(5 * SECOND)
    return rig.relay_frames() == 0 and debt.asked == 1


def is_held_at_dispatch(rig: Rig, debt: StubDecision, words: str) -> bool:
    """Everything held while people approved it, and does not any more when its turn comes."""
    shown = rig.head.propose("m1")
    shown = rig.head.approve(shown, "anna")
    debt.lacks = words
    rig.head.approve(shown, "ben")
    rig.run(5 * SECOND)
    debt.asked = 0
    is_cancelled = rig.head.state(shown) == OrderState.CANCELLED
    is_told = words in str(rig.shown(shown)["story"]["states"])
    return is_cancelled and is_told and rig.relay_frames() == 0


@pytest.mark.parametrize("words", SHORT_OF["i06"])
def test_i06_a_missing_link_of_the_evidence_holds_the_cut(
    rig: Rig, debt: StubDecision, words: str
) -> None:
    """Stub decision: at the start and at dispatch."""
    assert is_held_at_dispatch(rig, debt, words)
    assert is_held_from_the_start(rig, debt, words)


@pytest.mark.parametrize("words", SHORT_OF["i07"])
def test_i07_a_doubtful_interval_cuts_nobody(rig: Rig, debt: StubDecision, words: str) -> None:
    """Stub decision: the same."""
    assert is_held_at_dispatch(rig, debt, words)
    assert is_held_from_the_start(rig, debt, words)


@pytest.mark.parametrize("words", SHORT_OF["i10"])
def test_i10_without_proof_of_notice_nobody_is_cut(
    rig: Rig, debt: StubDecision, words: str
) -> None:
    """Stub decision: the same."""
    assert is_held_at_dispatch(rig, debt, words)
    assert is_held_from_the_start(rig, debt, words)


def test_i06_with_all_links_the_cut_goes_out(rig: Rig, debt: StubDecision) -> None:
    """Stub decision: it was asked twice at least, and the last time just before the sending."""
    assert rig.carry_out("disconnect")["state"] == OrderState.CONFIRMED
    assert debt.asked >= 2


def test_i09_a_payment_counts_once(rig: Rig) -> None:
    """Stub payments: the same reference five times, also over a restart, is one restore and one
    permission on the line."""
    rig.carry_out("disconnect")
    paid = {"meter": "m1", "change": "paid", "reference": "receipt-77"}
    answers = []
    for n in range(5):
        answers.append(rig.head.ask("account_changed", BILLING, **paid)["restore"])
        if n == 2:
            rig.restart_head()
    assert len({one for one in answers if one}) == 1
    rig.run(MINUTE)
    assert rig.relay_frames() == 2
    orders = rig.head.ask("orders_list", OLGA)["orders"]
    assert sorted(one["action"] for one in orders) == ["arm", "disconnect"]
