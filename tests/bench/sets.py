"""Seeded reading sets as a house has them: ten registers, energies that grow, powers that move."""

import random

from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading, ReadingSet, TimeQuality

_ENERGIES = tuple(Obis.from_text(f"1-0:1.8.{rate}") for rate in range(5))
_U, _I, _P, _PF, _F = (Obis.from_text(f"1-0:{c}.7.0") for c in (32, 31, 16, 13, 14))
_START_MS = 1_763_700_000_000
_BOOT_MS = 86_400_000


def reading_sets(meters: int, polls: int, seed: int = 1) -> list[ReadingSet]:
    """`polls` sweeps over `meters` meters, one a minute, in the order of a gateway's reads."""
    chance = random.Random(seed)
    boot_id = chance.randbytes(16)
    rates = {meter: [chance.randrange(3_000_000) for _ in range(4)] for meter in range(meters)}
    sets = []
    for poll in range(polls):
        for meter in range(meters):
            rates[meter][chance.randrange(4)] += chance.randrange(3)
            at = poll * 60_000 + meter * 1_100 + chance.randrange(60)
            readings = tuple(_readings(rates[meter], chance))
            address = f"{202611000000 + meter * 37:012d}"
            utc, boot = _START_MS + at, _BOOT_MS + at
            sets.append(ReadingSet(address, utc, boot, boot_id, TimeQuality.NTP, readings, 0, 0))
    return sets


def _readings(rates: list[int], chance: random.Random) -> list[Reading]:
    energies = [sum(rates), *rates]
    current, voltage = chance.randrange(100, 30_000), chance.randrange(2_250, 2_350)
    instants = (
        (_U, voltage, -1, "V"),
        (_I, current, -3, "A"),
        (_P, voltage * current // 1_000, -1, "W"),
        (_PF, chance.randrange(850, 1_000), -3, "1"),
        (_F, chance.randrange(4_995, 5_006), -2, "Hz"),
    )
    return [
        *(
            Reading(obis, Quantity(value, 1, "Wh", Kind.CUMULATIVE))
            for obis, value in zip(_ENERGIES, energies, strict=True)
        ),
        *(
            Reading(obis, Quantity(value, scaler, unit, Kind.INSTANTANEOUS))
            for obis, value, scaler, unit in instants
        ),
    ]


def numbered(sets: list[ReadingSet], first: int = 1) -> list[tuple[int, ReadingSet]]:
    """With their sequences."""
    return list(enumerate(sets, first))
