"""What a [[meter]] section must hold besides its own keys: its line, quantities that can be read,
register groups, a place of its own."""

from typing import Any, TypeGuard

from edge.meters.dlt645_quantities import check_readable
from edge.settings.control import check_control
from edge.settings.rules import (
    CJT188,
    DLT645,
    GROUP_RULES,
    GROUPS_MAX,
    METER_RULES_BY_PROTOCOL,
    MODBUS_TCP,
    PROTOCOLS,
    TCP_PORT,
    WIRE_KEYS,
)
from protocols.cjt188 import settings as cjt188
from protocols.cjt188.values import codes_of
from protocols.errors import SettingError
from protocols.obis import Obis
from protocols.settings import read_table


def check_meters(rows: list[Any], lines: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """The checked [[meter]] sections; SettingError otherwise."""
    meters = tuple(_check_meter(row, n, lines) for n, row in enumerate(rows))
    check_unique(meters, "meter", "id")
    _check_places(meters)
    _check_tcp(lines, meters)
    return meters


def meter_address(meter: dict[str, Any]) -> str:
    """A meter's address on its line as text: 12 digits (CJ/T 188: 14), or the Modbus unit."""
    return str(meter["address"] if "address" in meter else meter["unit"])


def wire_of(meter: dict[str, Any], line: dict[str, Any]) -> dict[str, Any]:
    """How one talks to the meter: its own settings, and for the rest those of its line."""
    return {key: line[key] if meter[key] is None else meter[key] for key in WIRE_KEYS}


def check_unique(rows: tuple[dict[str, Any], ...], name: str, key: str) -> None:
    """SettingError when two sections share a value."""
    values = [row[key] for row in rows]
    for n, value in enumerate(values):
        if value in values[:n]:
            raise SettingError(
                f"[[{name}]] {n + 1}: {key} = {value!r} is not allowed; it stands already at "
                f"[[{name}]] {values.index(value) + 1}"
            )


def _check_meter(row: object, n: int, lines: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    where = f"[[meter]] {n + 1}"
    apart = ("group", "control")
    own = {key: row[key] for key in row if key not in apart} if _is_table(row) else row
    protocol = own.get("protocol") if isinstance(own, dict) else None
    if protocol is not None and protocol not in PROTOCOLS:
        # Before its keys are judged: they follow from the protocol.
        raise SettingError(
            f"{where}: protocol = {protocol!r} is not allowed;"
            " it must be one of " + ", ".join(repr(one) for one in PROTOCOLS)
        )
    meter = read_table(own, METER_RULES_BY_PROTOCOL[protocol or DLT645], where)
    names = [line["id"] for line in lines]
    if meter["line"] not in names:
        raise SettingError(
            f"{where}: line = {meter['line']!r} is not allowed; it must be one of "
            + ", ".join(names)
        )
    _check_quantities(meter, meter["quantities"] or (), where)
    meter["groups"] = _check_groups(row, meter, where)
    control = row.get("control") if _is_table(row) else None
    meter["control"] = check_control(control, meter["protocol"], where)
    return meter


def _is_table(row: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(row, dict)


def _check_groups(row: object, meter: dict[str, Any], where: str) -> tuple[dict[str, Any], ...]:
    rows = row.get("group", []) if _is_table(row) else []
    if not isinstance(rows, list) or len(rows) > GROUPS_MAX:
        raise SettingError(f"{where}: [[meter.group]] must stand 0 to {GROUPS_MAX} times")
    places = [f"{where} [[meter.group]] {n + 1}" for n in range(len(rows))]
    groups = tuple(
        read_table(one, GROUP_RULES, place) for one, place in zip(rows, places, strict=True)
    )
    check_unique(groups, "meter.group", "name")
    for group, place in zip(groups, places, strict=True):
        _check_quantities(meter, group["quantities"], place)
    return groups


def _check_quantities(meter: dict[str, Any], quantities: tuple[str, ...], where: str) -> None:
    """Those that such a meter can be asked for."""
    if meter["protocol"] == DLT645:
        for quantity in quantities:
            check_readable(quantity, meter["edition"], where)
        return
    for quantity in quantities:
        if ":" not in quantity:
            raise SettingError(
                f"{where}: quantities: {quantity!r} is not allowed; it must be an OBIS code"
            )
    if meter["protocol"] == CJT188:
        _check_cjt188(meter, quantities, where)


def _check_cjt188(meter: dict[str, Any], quantities: tuple[str, ...], where: str) -> None:
    """A dialect that there is, and quantities that such a meter shows."""
    codes = codes_of(cjt188.read_dialect(meter, where))
    for quantity in quantities:
        if Obis.from_text(quantity) not in codes:
            raise SettingError(
                f"{where}: quantities: {quantity!r} is not allowed; a {meter['meter_type']} meter"
                " shows " + ", ".join(code.text() for code in codes)
            )


def _check_places(meters: tuple[dict[str, Any], ...]) -> None:
    places: dict[tuple[str, str], str] = {}
    for meter in meters:
        place = (meter["line"], meter_address(meter))
        if place in places:
            raise SettingError(
                f"[[meter]] {meter['id']}: address {place[1]} on line {place[0]} is taken by "
                f"{places[place]}; each meter needs its own"
            )
        places[place] = meter["id"]


def _check_tcp(lines: tuple[dict[str, Any], ...], meters: tuple[dict[str, Any], ...]) -> None:
    """Modbus TCP frames need a TCP port, and a line that carries them carries nothing else."""
    ports = {line["id"]: line["port"] for line in lines}
    speakers = {one["line"]: one["id"] for one in meters if one["protocol"] == MODBUS_TCP}
    # The ports first: a line that cannot carry such frames is no reason against its other meters.
    for meter in sorted(meters, key=lambda one: bool(one["protocol"] != MODBUS_TCP)):
        line, protocol = meter["line"], meter["protocol"]
        where = f"[[meter]] {meter['id']}: protocol = {protocol!r} is not allowed on line {line}"
        if protocol == MODBUS_TCP and not ports[line].startswith(TCP_PORT):
            raise SettingError(
                f"{where}; its port is {ports[line]!r} and must be {TCP_PORT}host:port"
            )
        if protocol != MODBUS_TCP and line in speakers:
            raise SettingError(
                f"{where}; {speakers[line]} there is {MODBUS_TCP!r}, and all meters of such a"
                " line must be"
            )
