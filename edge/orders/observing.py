"""What a switching order has brought about, judged from what the meter shows before and after.

* Two independent observations confirm it (I16): the contact, and either one more record with our
  operator in it, or a current that fits. The meter's "yes" is none.
* A contact that says open while current flows is a lie of one of the two: contradicted (T14).
* A permission to close ends in an open contact that may be closed at the key, and that is success
  (I17).
* What was not seen when the time is over was not done, unless what was seen contradicts that.

Pure: readings come in, a verdict goes out.
"""

from typing import NamedTuple

from edge.meters.control import Contact, Second, SupplyState
from edge.orders.line_work import Verdict
from protocols.orders.kinds import Action
from protocols.orders.states import OrderState

WANTED = {
    Action.DISCONNECT: (Contact.DISCONNECTED,),
    Action.ARM: (Contact.ARMED, Contact.CONNECTED),
    Action.CONNECT: (Contact.CONNECTED,),
}
LOOKS_MIN = 2  # with an open contact before a current counts against it: its register may lag


class Seen(NamedTuple):
    """One look."""

    state: SupplyState
    second: Second


class Terms(NamedTuple):
    """What the judgement goes by."""

    action: str
    operator: str  # ours, as it would stand in a record
    no_current_ma: int
    has_external_breaker: bool  # whose contact the meter's own does not show


def judge(terms: Terms, before: Seen, now: Seen, looks: int, is_last: bool) -> Verdict | None:
    """The verdict of a look, None for "look again"; `looks` counts those with an open contact."""
    state, second = now
    flows = _flows(terms, second)
    if state.is_open and flows and (looks >= LOOKS_MIN or is_last):
        words = f"its contact is open while {second.current_ma} mA flow"
        return Verdict(OrderState.CONTRADICTED, words)
    is_reached = state.contact in WANTED[terms.action]
    if is_reached and not (state.is_open and flows):
        shown = _shown_by(terms, before, now)
        if shown:
            return Verdict(OrderState.CONFIRMED, f"its contact, and {shown}")
    return _at_the_end(terms, before, now, is_reached) if is_last else None


def _flows(terms: Terms, second: Second) -> bool:
    return second.current_ma is not None and second.current_ma > terms.no_current_ma


def _shown_by(terms: Terms, before: Seen, now: Seen) -> str:
    """The second observation in words, "" for none."""
    state, second = now
    had_current = _flows(terms, before.second)
    must_move = before.state.is_open != state.is_open
    if _is_recorded(terms, before, now) and not terms.has_external_breaker:
        return f"its record {second.records} names operator {second.operator}"
    if second.current_ma is None:
        return ""
    if not state.is_open:
        return f"{second.current_ma} mA flow" if _flows(terms, second) else ""
    if had_current:
        return "its current has stopped"
    if not must_move:
        return "no current flows, as before"
    return ""  # nothing flowed before either: that nothing flows now proves nothing


def _is_recorded(terms: Terms, before: Seen, now: Seen) -> bool:
    counts = (before.second.records, now.second.records)
    is_new = None not in counts and counts[0] != counts[1]
    return is_new and bool(terms.operator) and now.second.operator == terms.operator


def _at_the_end(terms: Terms, before: Seen, now: Seen, is_reached: bool) -> Verdict:
    state, second = now
    if is_reached:
        if state.is_open and second.records is not None:
            words = "its contact is open, and it has recorded nothing"
            return Verdict(OrderState.CONTRADICTED, words)
        return Verdict(OrderState.UNKNOWN, "its contact alone says so; " + _unseen(second))
    if _is_recorded(terms, before, now):
        return Verdict(OrderState.CONTRADICTED, "it has recorded what its contact does not show")
    if state.contact != before.state.contact:
        return Verdict(OrderState.CONTRADICTED, f"it has followed in part: {state.contact}")
    return Verdict(OrderState.NOT_DONE, f"it is {state.contact}, as before")


def _unseen(second: Second) -> str:
    """Why there is no second observation."""
    return "no current is told" if second.current_ma is None else "no current tells it from before"
