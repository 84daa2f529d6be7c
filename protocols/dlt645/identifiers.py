"""Data identifiers of edition 2007 as data: what an item is, how long, in which unit, under which
OBIS.

The tables follow public meter sources, not the standard's text. A row's OBIS holds under the
usual composition words (04000601..03); a meter set otherwise keeps the code and changes its
meaning.
"""

from collections import namedtuple

from protocols.dlt645.exchange import identifier_bytes, identifier_text
from protocols.obis import CURRENT, Obis
from protocols.quantity import Kind

UNSIGNED = "u"
SIGNED = "s"  # the sign is the top bit of the highest byte
DIGITS = "digits"
BITS = "bits"
DATE = "date"  # WW DD MM YY
TIME = "time"  # ss mm hh
CLOCK = "clock"  # ss mm hh WW DD MM YY

ALL = 0xFF  # an identifier byte that means "every one in this position"
TARIFF_MAX = 63
_CACHE_SIZE_MAX = 512  # identifiers remembered; hostile captures must not grow it without end


class Item(namedtuple("Item", ("obis", "form", "size", "scaler", "unit", "kind"))):
    """One value of an identifier: `size` bytes in `form`, value x 10^scaler unit."""


# DI3 = 00: DI2 -> (OBIS C, form, unit). DI1 is the tariff (0 total), DI0 the settlement (0 now).
_ENERGIES = {
    0x00: (16, SIGNED, "Wh"),
    0x01: (1, UNSIGNED, "Wh"),
    0x02: (2, UNSIGNED, "Wh"),
    0x03: (3, SIGNED, "varh"),
    0x04: (4, SIGNED, "varh"),
    0x05: (5, UNSIGNED, "varh"),
    0x06: (6, UNSIGNED, "varh"),
    0x07: (7, UNSIGNED, "varh"),
    0x08: (8, UNSIGNED, "varh"),
    0x09: (9, UNSIGNED, "VAh"),
    0x0A: (10, UNSIGNED, "VAh"),
    0x15: (21, UNSIGNED, "Wh"),
    0x16: (22, UNSIGNED, "Wh"),
    0x29: (41, UNSIGNED, "Wh"),
    0x2A: (42, UNSIGNED, "Wh"),
    0x3D: (61, UNSIGNED, "Wh"),
    0x3E: (62, UNSIGNED, "Wh"),
}
_ENERGY_SIZE = 4  # NNNNNN.NN kWh, so the last digit is 10 Wh
_ENERGY_SCALER = 1

# DI3 = 02, DI0 = 00: DI2 -> (OBIS C by DI1, form, size, scaler, unit). A phase's C follows the
# total's.
_VARIABLES = {
    0x01: ((None, 32, 52, 72), UNSIGNED, 2, -1, "V"),
    0x02: ((None, 31, 51, 71), SIGNED, 3, -3, "A"),
    0x03: ((16, 36, 56, 76), SIGNED, 3, -1, "W"),
    0x04: ((131, 151, 171, 191), SIGNED, 3, -1, "var"),
    0x05: ((9, 29, 49, 69), SIGNED, 3, -1, "VA"),
    0x06: ((13, 33, 53, 73), SIGNED, 2, -3, "1"),
}

_SINGLE = {
    "02800001": Item(Obis(1, 0, 91, 7, 0, CURRENT), SIGNED, 3, -3, "A", Kind.INSTANTANEOUS),
    "02800002": Item(Obis(1, 0, 14, 7, 0, CURRENT), UNSIGNED, 2, -2, "Hz", Kind.INSTANTANEOUS),
    "04000101": Item(Obis(1, 0, 0, 9, 2, CURRENT), DATE, 4, 0, "", Kind.TEXT),
    "04000102": Item(Obis(1, 0, 0, 9, 1, CURRENT), TIME, 3, 0, "", Kind.TEXT),
    "0400010C": Item(Obis(0, 0, 1, 0, 0, CURRENT), CLOCK, 7, 0, "", Kind.TEXT),
    "04000401": Item(Obis(0, 0, 96, 1, 0, CURRENT), DIGITS, 6, 0, "", Kind.TEXT),
    "04000402": Item(Obis(0, 0, 96, 1, 1, CURRENT), DIGITS, 6, 0, "", Kind.TEXT),
    "04000503": Item(Obis(0, 0, 96, 3, 10, CURRENT), BITS, 2, 0, "", Kind.STATUS),
}
_SINGLE_BY_WIRE = {identifier_bytes(di): item for di, item in _SINGLE.items()}

_cache: dict = {}


def items_of(di: bytes, size: int) -> tuple:
    """The items that `size` payload bytes of the identifier `di` (wire order) hold, in their order.

    Empty for an identifier that is not in the tables. For a block (FF in the tariff or phase
    position) the number of items follows from the size: a meter sends as many tariffs as it has.
    """
    key = (bytes(di), size)
    found = _cache.get(key)
    if found is None:
        found = _find_items(key[0], size)
        if found and len(_cache) < _CACHE_SIZE_MAX:
            _cache[key] = found
    return found


def identifier_of(obis: Obis) -> str:
    """The identifier that reads `obis` from a 2007 meter, or "" when these tables have none."""
    for di, item in _SINGLE.items():
        if item.obis == obis:
            return di
    if obis.a != 1 or obis.b != 0 or obis.f != CURRENT:
        return ""
    if obis.d == 8 and obis.e <= TARIFF_MAX:
        for di2, row in _ENERGIES.items():
            if row[0] == obis.c:
                return identifier_text(bytes((0, obis.e, di2, 0)))
    if obis.d == 7 and obis.e == 0:
        for di2, (codes, *_) in _VARIABLES.items():
            if obis.c in codes:
                return identifier_text(bytes((0, codes.index(obis.c), di2, 2)))
    return ""


def _find_items(di: bytes, size: int) -> tuple:
    di0, di1, di2, di3 = di
    single = _SINGLE_BY_WIRE.get(di)
    if single:
        return (single,)
    if di3 == 0 and di2 in _ENERGIES and di0 <= 12:
        return _energy_items(_ENERGIES[di2], di1, di0, size)
    if di3 == 2 and di2 in _VARIABLES and di0 == 0:
        return _variable_items(_VARIABLES[di2], di1)
    return ()


def _energy_items(row: tuple, tariff: int, settlement: int, size: int) -> tuple:
    c, form, unit = row
    if tariff == ALL:
        # At least the total, so that a block cut short is of a wrong length, not unknown.
        tariffs = range(max(1, min(size // _ENERGY_SIZE, TARIFF_MAX + 1)))
    elif tariff <= TARIFF_MAX:
        tariffs = range(tariff, tariff + 1)
    else:
        return ()
    f = settlement or CURRENT
    return tuple(
        [
            Item(
                Obis(1, 0, c, 8, rate, f), form, _ENERGY_SIZE, _ENERGY_SCALER, unit, Kind.CUMULATIVE
            )
            for rate in tariffs
        ]
    )


def _variable_items(row: tuple, position: int) -> tuple:
    codes, form, size, scaler, unit = row
    if position == ALL:
        wanted = [c for c in codes if c is not None]
    elif position < len(codes) and codes[position] is not None:
        wanted = [codes[position]]
    else:
        return ()
    return tuple(
        [
            Item(Obis(1, 0, c, 7, 0, CURRENT), form, size, scaler, unit, Kind.INSTANTANEOUS)
            for c in wanted
        ]
    )
