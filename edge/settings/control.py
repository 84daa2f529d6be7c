"""What an order may do with a meter: the table [meter.control] of its section.

A meter without one takes no order but reads. These settings are the installer's: a remote
configuration may leave a table out, which takes a permission away, and not change one or add it.
"""

from typing import Any

from edge.meters.control import ASSURANCES, USUAL
from edge.settings.rules import DLT645, MODBUS, MODBUS_TCP
from protocols.dlt645.credentials import LEVEL_MAX
from protocols.errors import SettingError
from protocols.orders.kinds import Action
from protocols.settings import choice, flag, matching, read_table, text, texts, whole

_DIGITS = "0123456789"
_HEX = _DIGITS + "ABCDEF"
_LEVELS = tuple(f"{level:02d}" for level in range(LEVEL_MAX + 1))
ACTIONS = (
    Action.DISCONNECT,
    Action.ARM,
    Action.CONNECT,
    Action.KEEP_POWER_ON,
    Action.KEEP_POWER_OFF,
    Action.ALARM_ON,
    Action.ALARM_OFF,
)
BREAKERS = ("internal", "external")


def _has(size: int, digits: str) -> Any:
    return lambda value: len(value) == size and all(one in digits for one in value)


_ANY_RULES = (
    choice("breaker", BREAKERS, "internal",
           "what interrupts the supply; of an external one the meter's own contact says nothing"),
    whole("no_current_ma", 0, 10_000, 50, "current at or below which nothing flows (mA)"),
)  # fmt: skip
DLT645_CONTROL_RULES = (
    texts("plain", ACTIONS.__contains__, "actions (" + ", ".join(ACTIONS) + ")", (),
          "what its model takes with a password"),
    texts("levels", _LEVELS.__contains__, "password levels 00 to 09", (),
          "at which it takes that"),
    flag("parameters", False, "whether it takes prices, tables, amounts and its clock so too"),
    flag("secured", False, "whether it has a security module that an external signer talks to"),
    text("asset_number", None, "its asset code (04000403), read again before each order", 32),
    matching("meter_number", _has(12, _DIGITS), "12 digits", None,
             "its meter number (04000402), likewise"),
    matching("esam_number", _has(16, _HEX), "16 hex digits", None,
             "of its security module, compared at each authentication"),
    choice("assurance", ASSURANCES, USUAL,
           "lower: its status proves nothing, so that an order must accept that"),
    *_ANY_RULES,
)  # fmt: skip
MODBUS_CONTROL_RULES = _ANY_RULES
CONTROL_RULES = {
    DLT645: DLT645_CONTROL_RULES,
    MODBUS: MODBUS_CONTROL_RULES,
    MODBUS_TCP: MODBUS_CONTROL_RULES,
}
PARTS = {  # for the reference
    "meter.control (dlt645-2007)": DLT645_CONTROL_RULES,
    "meter.control (modbus, modbus-tcp)": MODBUS_CONTROL_RULES,
}


def check_control(table: object, protocol: str, where: str) -> dict[str, Any] | None:
    """The checked table; None without one. SettingError otherwise."""
    if table is None:
        return None
    rules = CONTROL_RULES.get(protocol)
    if rules is None:
        raise SettingError(f"{where}: [meter.control] is not allowed; {protocol} is only read")
    found = read_table(table, rules, f"{where} [meter.control]")
    if protocol == DLT645 and bool(found["plain"]) != bool(found["levels"]):
        raise SettingError(
            f"{where} [meter.control]: plain and levels must both be given, or neither"
        )
    return found


def keep_control(base: dict[str, Any] | None, table: dict[str, Any] | None, where: str) -> None:
    """SettingError when a remote configuration wants another table than edge.toml has."""
    if table is not None and table != base:
        raise SettingError(
            f"{where} [meter.control] is not allowed; it must be as edge.toml has it, or left out"
        )
