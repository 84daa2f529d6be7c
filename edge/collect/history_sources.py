"""What of a meter's own history can fill a gap, by the registers that are scheduled for it.

Daily freezes first: what is billed by. Then the two classes of load records that hold energies. All
are stamped by the meter.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from edge.meters.driver import groups_of
from protocols.dlt645.identifiers import identifier_bytes, items_of
from protocols.obis import Obis
from protocols.readings import Origin

_BLOCK_SIZE_MAX = 1024  # bytes of a block: as many items as it can have
_CLASS_ENERGIES = {4: (1, 2, 3, 4), 5: (5, 6, 7, 8)}  # of load records -> energies 00nn0000


class Source(NamedTuple):
    """`load_class` 0: the daily freezes; `parts` of a freeze that are wanted."""

    name: str
    origin: int
    load_class: int
    codes: frozenset[Obis]
    parts: tuple[int, ...] = ()


def codes_of(quantities: Iterable[str]) -> frozenset[Obis]:
    """The OBIS codes of settings: those that they name, and those that identifiers hold."""
    codes: set[Obis] = set()
    for quantity in quantities:
        if ":" in quantity:
            codes.add(Obis.from_text(quantity))
        else:
            codes.update(
                item.obis for item in items_of(identifier_bytes(quantity), _BLOCK_SIZE_MAX)
            )
    return frozenset(codes)


def sources_by_group(meter: dict[str, Any]) -> dict[str, list[Source]]:
    """The sources of each register group of a checked meter section."""
    return {name: sources_of(wanted or ()) for name, wanted in groups_of(meter).items()}


def sources_of(quantities: Iterable[str]) -> list[Source]:
    """The sources that hold any of these quantities."""
    wanted = codes_of(quantities)
    energies = {part: _codes(f"00{part:02X}FF00") & wanted for part in range(1, 9)}
    parts = tuple(part for part, codes in energies.items() if codes)
    found = []
    if parts:
        frozen = frozenset().union(*energies.values())
        found.append(Source("daily freezes", Origin.FREEZE, 0, frozen, parts))
    for number, kept in _CLASS_ENERGIES.items():
        codes = frozenset().union(*(_codes(f"00{one:02X}0000") for one in kept)) & wanted
        if codes:
            name = f"load records of class {number}"
            found.append(Source(name, Origin.LOAD_RECORD, number, codes))
    return found


def _codes(di: str) -> frozenset[Obis]:
    return frozenset(item.obis for item in items_of(identifier_bytes(di), _BLOCK_SIZE_MAX))
