"""What one meter's answers mean where meters of CJ/T 188 disagree: settings, never guesses.

Public captures show both of each, and no rule tells in advance which a meter has:

* The order of the identifier's two bytes: 90 1F (9 of 17 sources) or 1F 90. A meter that is asked
  in the other order is silent or refuses.
* The unit byte stands behind its value (15 of 17 sources) or in front of it. Read the wrong way,
  the units are unknown and the answer is refused (see `values`).
* The first energy of a heat meter is the settlement day's (the standard), or the cooling energy
  (makers whose meters count both, and answer with T = 25). The bytes do not tell which, so whoever
  sets up the meter compares it with the display.
"""

from collections import namedtuple

from protocols.errors import CallerError

PRESENT = "901F"  # the present values
ADDRESS = "810A"

METER_TYPES = {
    "cold-water": 0x10,
    "hot-water": 0x11,
    "drinking-water": 0x12,
    "reclaimed-water": 0x13,
    "heat": 0x20,
    "cooling": 0x21,
    "gas": 0x30,
}
HEAT = METER_TYPES["heat"]
_HEAT_GROUP = 0x20

HIGH_FIRST, LOW_FIRST = "901F", "1F90"  # named as 901F then looks on the wire
DI_ORDERS = (HIGH_FIRST, LOW_FIRST)
AFTER, BEFORE = "after", "before"
UNIT_POSITIONS = (AFTER, BEFORE)
SETTLEMENT, COOLING = "settlement", "cooling"
FIRST_ENERGIES = (SETTLEMENT, COOLING)


class Dialect(namedtuple("Dialect", ("meter_type", "di_order", "unit_position", "first_energy"))):
    """T of a meter as a number, and one of DI_ORDERS, UNIT_POSITIONS and FIRST_ENERGIES each. A
    first energy of cooling is a heat meter's alone."""


def identifier_bytes(di: str, order: str) -> bytes:
    """The two bytes of an identifier such as 901F in this order; CallerError when it is none."""
    if len(di) != 4 or any(digit not in "0123456789ABCDEF" for digit in di):
        raise CallerError(repr(di) + " is not an identifier such as 901F")
    if order not in DI_ORDERS:
        raise CallerError(repr(order) + " is not an order such as 901F")
    high_first = bytes.fromhex(di)
    return high_first if order == HIGH_FIRST else bytes(reversed(high_first))


def answers_for(asked: int, answered: int) -> bool:
    """Whether a meter that says T `answered` may be the one asked as `asked`: within 2x all are
    heat meters, and captured ones that are asked as 20 answer as 25."""
    return asked == answered or (asked & 0xF0 == answered & 0xF0 == _HEAT_GROUP)
