"""edge/orders/observing.py: what confirms an order, over every state that a meter may show."""

import itertools

import pytest

from edge.meters.control import Contact, Second, SupplyState
from edge.meters.dlt645_control import supply_of
from edge.orders.observing import WANTED, Seen, Terms, judge
from protocols.orders.kinds import Action
from protocols.orders.states import OrderState

OPERATOR = "00000001"
CONTACTS = (Contact.CONNECTED, Contact.DISCONNECTED, Contact.ARMED, Contact.OPENING)
CURRENTS = (None, 0, 50, 51, 5_000)
COUNTS = ((None, None), (3, 3), (3, 4), (999_999, 0))
OPERATORS = (OPERATOR, "00000077", "")


def seen(contact: str, current: int | None, records: int | None, operator: str = "") -> Seen:
    """One look."""
    return Seen(SupplyState(contact, False, False, ""), Second(current, records, operator))


def every_case() -> list[tuple[Terms, Seen, Seen]]:
    """All that two looks can show."""
    cases = []
    for action, was, now, before_ma, after_ma, counts, operator, external in itertools.product(
        WANTED, CONTACTS, CONTACTS, CURRENTS, CURRENTS, COUNTS, OPERATORS, (False, True)
    ):
        terms = Terms(action, OPERATOR, 50, external)
        before = seen(was, before_ma, counts[0])
        cases.append((terms, before, seen(now, after_ma, counts[1], operator)))
    return cases


CASES = every_case()


def test_i16_nothing_is_confirmed_by_less_than_two_observations() -> None:
    """I16: in each of some ten thousand cases the contact stands as ordered, and a record of ours
    or a current agrees; an external breaker is told by current alone."""
    confirmed = 0
    for terms, before, now in CASES:
        verdict = judge(terms, before, now, 2, True)
        assert verdict is not None
        if verdict.state != OrderState.CONFIRMED:
            continue
        confirmed += 1
        state, second = now
        assert state.contact in WANTED[terms.action]
        flows = second.current_ma is not None and second.current_ma > 50
        is_ours = (
            second.records not in (None, before.second.records)
            and second.operator == OPERATOR
            and before.second.records is not None
        )
        assert not (state.is_open and flows)
        if terms.has_external_breaker or not is_ours:
            assert second.current_ma is not None
            had = before.second.current_ma is not None and before.second.current_ma > 50
            assert flows if not state.is_open else (had or before.state.is_open)
    assert confirmed > 500


def test_t14_an_open_contact_with_a_current_is_always_contradicted() -> None:
    """T14: whatever the records say; one look alone may be too early."""
    for terms, before, now in CASES:
        if not now.state.is_open or (now.second.current_ma or 0) <= 50:
            continue
        for looks, is_last in ((2, False), (2, True), (1, True)):
            verdict = judge(terms, before, now, looks, is_last)
            assert verdict is not None and verdict.state == OrderState.CONTRADICTED
        assert judge(terms, before, now, 1, False) is None


def test_not_done_is_said_of_a_meter_that_shows_no_change_at_all() -> None:
    """Neither its contact nor a record."""
    for terms, before, now in CASES:
        verdict = judge(terms, before, now, 2, True)
        assert verdict is not None
        if verdict.state == OrderState.NOT_DONE:
            assert now.state.contact == before.state.contact
            assert now.state.contact not in WANTED[terms.action]


def test_before_the_end_only_what_is_certain_is_said() -> None:
    """A look in between ends nothing for want of an effect."""
    for terms, before, now in CASES:
        verdict = judge(terms, before, now, 2, False)
        if verdict is not None:
            assert verdict.state in (OrderState.CONFIRMED, OrderState.CONTRADICTED)


def test_i17_an_armed_meter_is_the_success_of_an_arm_and_of_nothing_else() -> None:
    """I17: the contact is still open."""
    before = seen(Contact.DISCONNECTED, 0, 3)
    now = seen(Contact.ARMED, 0, 3)
    for action, state in (
        (Action.ARM, OrderState.CONFIRMED),
        (Action.CONNECT, OrderState.CONTRADICTED),
        (Action.DISCONNECT, OrderState.CONTRADICTED),
    ):
        verdict = judge(Terms(action, OPERATOR, 50, False), before, now, 2, True)
        assert verdict is not None and verdict.state == state


@pytest.mark.parametrize(
    ("word", "contact", "is_open"),
    [
        (0x0000, Contact.CONNECTED, False),
        (0x0050, Contact.DISCONNECTED, True),  # captured after a trip
        (0x0010, Contact.ARMED, True),
        (0x0040, Contact.OPENING, False),
    ],
)
def test_the_supply_is_derived_from_command_and_contact(
    word: int, contact: str, is_open: bool
) -> None:
    """fee-control 7.3: bits 4 and 6; bit 12 keeps power, bits 8 and 9 say what is prepaid."""
    for extra, keeps, prepaid in ((0, False, False), (0x1000, True, False), (0x0200, False, True)):
        state = supply_of(word | extra)
        assert (state.contact, state.is_open) == (contact, is_open)
        assert (state.keep_power, state.has_own_account) == (keeps, prepaid)
        assert state.raw == f"{word | extra:04X}"
