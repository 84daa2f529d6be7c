"""Which readings are registers that only grow, how fast they can, and what power they count.

Net energies are none, because they may fall; nor are settlements, which leap once a month, nor
codes of a manufacturer's own, of which we know nothing.
"""

from collections.abc import Iterable

from protocols.obis import CURRENT, Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading

# The fastest that a register can grow, in its unit per hour, where no breaker says less.
WATTS_MAX = 4_000 * 500 * 3  # the largest breaker that edge.toml can state
HEAT_W_MAX = 100_000_000  # 1,000 m3/h of water that lose 86 K
VOLUME_M3_MAX = 10_000

_J_PER_WH = 3_600
_ELECTRICITY = 1  # OBIS A field
_ENERGY, _POWER = 8, 7  # OBIS D field
_OWN_B = 128  # OBIS B field: from here on, codes of a manufacturer's own
_PHASES_C = 80  # OBIS C field: total, L1, L2, L3 are below it, a step apart
_PHASE_STEP = 20
_IMPORT, _EXPORT, _SUM, _NET = 1, 2, 15, 16  # OBIS C field of active energy and power
_ENERGIES = frozenset([*range(1, 11), _SUM])  # what only grows, of a total or a phase
_MEDIA = {5: (1, 2), 6: (1, 2), 7: (3,), 8: (1,), 9: (1,)}  # OBIS A field -> C of present registers


def is_register(reading: Reading) -> bool:
    """Whether it only grows, and is of now."""
    obis, quantity = reading.obis, reading.quantity
    if quantity.kind != Kind.CUMULATIVE or obis.f != CURRENT or obis.b >= _OWN_B:
        return False
    if obis.a == _ELECTRICITY:
        is_energy = obis.d == _ENERGY and obis.c < _PHASES_C and obis.c % _PHASE_STEP in _ENERGIES
        return is_energy and quantity.unit in ("Wh", "varh", "VAh")
    return obis.d == 0 and obis.c in _MEDIA.get(obis.a, ()) and quantity.unit in ("Wh", "J", "m3")


def rate(reading: Reading, watts: int) -> int:
    """The fastest that a register can grow, in its unit per hour."""
    if reading.obis.a == _ELECTRICITY:
        return watts
    rates = {"m3": VOLUME_M3_MAX, "Wh": HEAT_W_MAX, "J": HEAT_W_MAX * _J_PER_WH}
    return rates[reading.quantity.unit]


def powers_mw(readings: Iterable[Reading]) -> dict[tuple[int, int], int]:
    """The active powers of a set, by OBIS B and C."""
    return {
        (obis.b, obis.c): _milli(quantity)
        for obis, quantity in readings
        if (obis.a, obis.d, obis.e, obis.f) == (_ELECTRICITY, _POWER, 0, CURRENT)
        and (quantity.unit, quantity.kind) == ("W", Kind.INSTANTANEOUS)
    }


def load_mw(obis: Obis, powers: dict[tuple[int, int], int]) -> int:
    """What a register is certainly counting, by the powers read with it; 0 where that is not known,
    as of a single rate. Of import and export only the difference is certain: meters add up their
    phases in two ways."""
    way = obis.c % _PHASE_STEP
    if obis.a != _ELECTRICITY or obis.e or way not in (_IMPORT, _EXPORT, _SUM):
        return 0
    phase = obis.c - way
    net = powers.get((obis.b, phase + _NET))
    if net is None:
        net = powers.get((obis.b, phase + _IMPORT), 0) - powers.get((obis.b, phase + _EXPORT), 0)
    return {_IMPORT: max(net, 0), _EXPORT: max(-net, 0), _SUM: abs(net)}[way]


def other_way(obis: Obis) -> Obis:
    """The export that goes with an import, and the other way round; any other code itself."""
    way = obis.c % _PHASE_STEP
    if way not in (_IMPORT, _EXPORT):
        return obis
    return obis._replace(c=obis.c - way + _IMPORT + _EXPORT - way)


def _milli(quantity: Quantity) -> int:
    """The value in thousandths of its unit, rounded down."""
    scaler = quantity.scaler + 3
    return int(quantity.value * 10**scaler if scaler >= 0 else quantity.value // 10**-scaler)
