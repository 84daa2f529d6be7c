"""How a person says what a CJ/T 188 meter is: the rules that gateway and virtual meters share."""

from protocols.cjt188.dialect import (
    AFTER,
    COOLING,
    DI_ORDERS,
    FIRST_ENERGIES,
    HEAT,
    HIGH_FIRST,
    METER_TYPES,
    SETTLEMENT,
    UNIT_POSITIONS,
    Dialect,
)
from protocols.cjt188.frame import is_meter_address
from protocols.errors import SettingError
from protocols.settings import REQUIRED, choice, matching

RULES = (
    matching("address", is_meter_address, "14 digits", REQUIRED, "on the bus"),
    choice("meter_type", tuple(METER_TYPES), REQUIRED, "what it measures"),
    choice(
        "di_order",
        DI_ORDERS,
        HIGH_FIRST,
        "identifier 901F on the wire; asked in the other order, it does not answer",
    ),
    choice(
        "unit_position",
        UNIT_POSITIONS,
        AFTER,
        "where a value's unit stands; set wrong, its answers are bad values",
    ),
    choice(
        "first_energy",
        FIRST_ENERGIES,
        SETTLEMENT,
        "first energy of a heat meter; no answer tells, so compare it with the display",
    ),
)


def read_dialect(settings: dict, where: str) -> Dialect:
    """The dialect in settings that follow RULES; SettingError when its parts exclude each other."""
    meter_type = METER_TYPES[settings["meter_type"]]
    if settings["first_energy"] == COOLING and meter_type != HEAT:
        raise SettingError(
            f"{where}: first_energy = {COOLING!r} is not allowed;"
            " it must be that of meter_type 'heat'"
        )
    return Dialect(
        meter_type, settings["di_order"], settings["unit_position"], settings["first_energy"]
    )
