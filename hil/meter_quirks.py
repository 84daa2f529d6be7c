"""How a meter may deceive whoever gives it orders; each is a habit that was seen or must be feared.

A quirk is set for good (a world's `quirks`) or by a test at run time, in `Dlt645Meter.quirks`.
"""

from protocols.dlt645.relay import OPEN_BIT, OPEN_COMMAND_BIT

IGNORES_ORDERS = "ignores_orders"  # it accepts relay controls and writes, and does nothing
DROPS_REPLIES = "drops_replies"  # it does what it is told, and its answer is lost
STUCK_CONTACT = "stuck_contact"  # the command bit follows, the contact never moves
SHOWS_OPEN = "shows_open"  # status word 3 says open whatever the contact does
SHOWS_CLOSED = "shows_closed"  # and closed
KEEPS_NO_RECORDS = "keeps_no_records"  # of its relay
QUIRKS = (
    IGNORES_ORDERS,
    DROPS_REPLIES,
    STUCK_CONTACT,
    SHOWS_OPEN,
    SHOWS_CLOSED,
    KEEPS_NO_RECORDS,
)
_BITS = 1 << OPEN_BIT | 1 << OPEN_COMMAND_BIT


def shown_word(word: int, quirks: set[str]) -> int:
    """Status word 3 as such a meter shows it."""
    if SHOWS_OPEN in quirks:
        return word | _BITS
    return word & ~_BITS if SHOWS_CLOSED in quirks else word
