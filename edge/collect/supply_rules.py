"""What a supply should do against what it does: one table, and no opinion beyond it.

`intended` is what the orders that were carried out want; `actual` is what the meter said. A meter
that permits closing (armed) is as it should be: somebody has to press its key.
"""

from typing import NamedTuple

from edge.meters.control import Contact

OPEN, CLOSED, UNSETTLED = "open", "closed", ""  # UNSETTLED: an order whose outcome is not known

# (intended, contact) -> the event of the disagreement
DISAGREEMENTS = {
    (OPEN, Contact.CONNECTED): "closed-while-cut",
    (CLOSED, Contact.DISCONNECTED): "open-while-paid",
    (CLOSED, Contact.OPENING): "open-while-paid",
}
CURRENT = "current-while-open"


class Supply(NamedTuple):
    """What was seen of a meter's supply: `contact` one of Contact, the largest current in mA (None:
    not told, or not asked because the contact is closed)."""

    contact: str
    keep_power: bool | None
    current_ma: int | None = None


def troubles(intended: str, seen: Supply, no_current_ma: int) -> frozenset[str]:
    """The kinds of events that tell what is wrong."""
    found = set()
    disagreement = DISAGREEMENTS.get((intended, seen.contact))
    if disagreement is not None:
        found.add(disagreement)
    is_open = seen.contact in (Contact.DISCONNECTED, Contact.ARMED)
    if is_open and seen.current_ma is not None and seen.current_ma > no_current_ma:
        found.add(CURRENT)
    return frozenset(found)


def keep_power_event(before: bool | None, now: bool | None) -> str:
    """The event of a keep-power bit that changed; "" when it did not, or nobody can tell."""
    if before is None or now is None or before == now:
        return ""
    return "keep-power-set" if now else "keep-power-lifted"
