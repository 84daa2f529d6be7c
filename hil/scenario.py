"""What a world is made of: lines, meters and faults, read from one TOML file and checked.

The rules below are the whole reference of the file. A wrong one gives a SettingError with one
sentence: which file, which key, which value, what is allowed.
"""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from hil import cjt188_meter
from hil.faults import KINDS
from hil.load import PHASES_MAX, TARIFFS_MAX
from hil.meter_clock import DRIFT_PPM_MAX
from hil.meter_port import PREAMBLE_MAX
from protocols.cjt188 import settings as cjt188
from protocols.dlt645.answers import CUT_SIZE, CUT_SIZE_MAX
from protocols.dlt645.frame import is_meter_address
from protocols.dlt645.relay import ACTION_BY_NAME
from protocols.errors import SettingError
from protocols.modbus.model import Model, read_model
from protocols.settings import (
    REQUIRED,
    Rule,
    choice,
    flag,
    matching,
    read_table,
    text,
    texts,
    whole,
)

LINES_MAX = 64  # of one world: one thread each
METERS_MAX = 1024
FAULTS_MAX = 64
DLT645 = "dlt645-2007"
DLT645_1997 = "dlt645-1997"
MODBUS = "modbus"
CJT188 = "cjt188"
BLANK = "blank"  # as a register's value: FF fill
_DIGITS = "0123456789"
BAUDS = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)


def _is_identifier(value: str) -> bool:
    return len(value) == 8 and all(digit in "0123456789ABCDEFabcdef" for digit in value)


def _is_password(value: str) -> bool:
    level, _, digits = value.partition(":")
    return len(level) == 1 and len(digits) == 6 and all(one in _DIGITS for one in level + digits)


def _models() -> tuple[str, ...]:
    found = files("protocols").joinpath("meter_models").iterdir()
    return tuple(sorted(Path(one.name).stem for one in found if one.name.endswith(".toml")))


LINE_RULES = (
    text("id", REQUIRED, "the line's name"),
    text("link", REQUIRED, "path of the tty for the agent, relative to the file"),
    choice("baud", BAUDS, 2400, "bit rate; a byte takes 11 bits"),
    flag("paced", True, "real wire time and response delays; false: everything at once"),
    flag("echo", False, "the adapter returns the agent's own bytes"),
    whole("turnaround_ms", 0, 1000, 0, "a request sooner than this after a reply is lost"),
    whole("seed", 0, 2**32, 0, "of the line's faults"),
)
_ANY_METER_RULES = (
    text("line", REQUIRED, "id of the line that it stands on"),
    choice("protocol", (DLT645, DLT645_1997, MODBUS, CJT188), REQUIRED, "what it speaks"),
    whole("response_delay_ms", 0, 60_000, 40, "silence before its answer; the standard: 20 to 500"),
)
_METER_RULES = (
    *_ANY_METER_RULES,
    choice("phases", tuple(range(1, PHASES_MAX + 1)), 3, "phases fitted, from the first"),
    whole("seed", 0, 2**32, 1, "of its load; meters of one seed show the same values"),
    whole("power_min_w", 1, 20_000, 200, "lowest power of a phase"),
    whole("power_max_w", 2, 20_000, 3000, "highest power of a phase"),
)
_ADDRESS_RULES = (
    matching(
        "address", is_meter_address, "12 digits, not all 9", REQUIRED, "its number on the line"
    ),
    whole("tariffs", 0, TARIFFS_MAX, TARIFFS_MAX, "rates that it keeps"),
    whole("cut", 1, CUT_SIZE_MAX, CUT_SIZE, "payload bytes of one reply; more go in parts"),
    whole("utc_offset_min", -720, 840, 0, "its clock minus UTC, in minutes"),
)
_DLT645_RULES = (
    *_METER_RULES,
    *_ADDRESS_RULES,
    whole("preamble", 0, PREAMBLE_MAX, 4, "FE bytes before its answer"),
    texts("refuses", _is_identifier, "identifiers of 8 hex digits", (), "answered with ERR 02"),
    whole("clock_offset_s", -86_400, 86_400, 0, "how far its clock is off at the start"),
    whole(
        "clock_drift_ppm", -DRIFT_PPM_MAX, DRIFT_PPM_MAX, 0, "how fast that grows, in millionths"
    ),
    texts(
        "passwords",
        _is_password,
        "a level, a colon and six digits, such as '2:123456'",
        (),
        "without any, nobody may change anything",
    ),
    texts(
        "relay_actions",
        ACTION_BY_NAME.__contains__,
        "actions (" + ", ".join(ACTION_BY_NAME) + ")",
        (),
        "what a password may do with its relay",
    ),
)
_DLT645_1997_RULES = (
    *_METER_RULES,
    *_ADDRESS_RULES,
    whole("preamble", 0, PREAMBLE_MAX, 0, "FE bytes before its answer"),
    flag("echoes_wildcard", False, "an AA address comes back as it was asked"),
    flag("answers_broadcast", False, "it answers reads at 99..99"),
    flag("has_separators", False, "AA behind each item of a block"),
)
_MODBUS_RULES = (
    *_METER_RULES,
    whole("unit", 1, 247, REQUIRED, "its number on the line"),
    choice("model", _models(), REQUIRED, "its register map"),
)
_CJT188_RULES = (
    *_ANY_METER_RULES,
    *cjt188.RULES,
    whole("preamble", 0, cjt188_meter.PREAMBLE_MAX, 4, "FE bytes before its answer"),
    whole("hourly", 0, 100_000, 12, "hundredths of a m3, and of a kWh, that it counts in an hour"),
)
RULES_BY_PROTOCOL = {
    DLT645: _DLT645_RULES,
    DLT645_1997: _DLT645_1997_RULES,
    MODBUS: _MODBUS_RULES,
    CJT188: _CJT188_RULES,
}
FAULT_RULES = (
    text("line", REQUIRED, "id of the line"),
    choice("kind", KINDS, REQUIRED, "what happens to an answer"),
    text("station", "", "address or unit of the meter; without it, every one"),
    whole("percent", 1, 100, 100, "of the answers"),
    whole("count", 1, 1_000_000, None, "answers until it is spent; without it, no end"),
    whole("size", 1, 200, 3, "bytes of noise, or bytes cut off"),
    whole("late_ms", 1, 600_000, 2000, "how late a late answer is"),
)

Settings = dict[str, Any]


class MeterPlan(NamedTuple):
    """One meter: its checked settings, its fixed registers, and a Modbus meter's model."""

    settings: Settings
    registers: dict[str, int | str]
    model: Model | None

    @property
    def name(self) -> str:
        """Address or unit: unique on the line."""
        return str(self.settings.get("address") or self.settings["unit"])


class Scenario(NamedTuple):
    """A checked world file; `base` is the folder that links are relative to."""

    base: Path
    where: str
    lines: list[Settings]
    meters: list[MeterPlan]
    faults: list[Settings]


def read_scenario(path: Path) -> Scenario:
    """The world in the file at `path`; SettingError with one sentence when it is none."""
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: is not TOML: {error}") from None
    for key in table:
        if key not in ("line", "meter", "fault"):
            raise SettingError(f"{path}: unknown key {key!r}; allowed are line, meter, fault")
    lines = [
        read_table(row, LINE_RULES, where)
        for row, where in _rows(table, path, "line", 1, LINES_MAX)
    ]
    meters = [_meter(row, where) for row, where in _rows(table, path, "meter", 0, METERS_MAX)]
    faults = [
        read_table(row, FAULT_RULES, where)
        for row, where in _rows(table, path, "fault", 0, FAULTS_MAX)
    ]
    scenario = Scenario(path.parent.resolve(), str(path), lines, meters, faults)
    _check_together(scenario)
    return scenario


def _rows(
    table: dict[str, Any], path: Path, name: str, least: int, most: int
) -> list[tuple[object, str]]:
    rows = table.get(name, [])
    if not isinstance(rows, list) or not least <= len(rows) <= most:
        raise SettingError(f"{path}: [[{name}]] must stand {least} to {most} times")
    return [(row, f"{path}: {name} {number}") for number, row in enumerate(rows, 1)]


def _meter(row: object, where: str) -> MeterPlan:
    table = dict(row) if isinstance(row, dict) else {}
    registers = _registers(table.pop("registers", {}), where)
    protocol = table.get("protocol")
    known = protocol if isinstance(protocol, str) else ""
    rules: tuple[Rule, ...] = RULES_BY_PROTOCOL.get(known, _METER_RULES)
    if known not in RULES_BY_PROTOCOL:  # say what is wrong with the protocol, not with its keys
        table = {key: value for key, value in table.items() if key == "protocol"}
        rules = tuple(rule for rule in rules if rule.name == "protocol")
    settings = read_table(table, rules, where)
    if protocol == CJT188:
        cjt188.read_dialect(settings, where)
        if registers:
            raise SettingError(
                f"{where}: registers is not allowed; a CJ/T 188 meter's follow the clock"
            )
        return MeterPlan(settings, {}, None)
    if settings["power_min_w"] >= settings["power_max_w"]:
        raise SettingError(
            f"{where}: power_max_w = {settings['power_max_w']} is not allowed; "
            f"it must be above power_min_w = {settings['power_min_w']}"
        )
    model = _load_model(settings["model"]) if protocol == MODBUS else None
    return MeterPlan(settings, registers, model)


def _registers(table: object, where: str) -> dict[str, int | str]:
    if not isinstance(table, dict):
        raise SettingError(f"{where}: registers must be a table, not {table!r}")
    for key, value in table.items():
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise SettingError(
                f"{where}: registers: {key} = {value!r} is not allowed; it must be a whole number "
                f"in the register's last digit, a text of digits, or {BLANK!r}"
            )
    return dict(table)


def _load_model(name: str) -> Model:
    file = files("protocols").joinpath("meter_models", f"{name}.toml")
    return read_model(name, tomllib.loads(file.read_text(encoding="utf-8")))


def _check_together(scenario: Scenario) -> None:
    where = scenario.where
    ids = [line["id"] for line in scenario.lines]
    for key in ("id", "link"):
        values = [line[key] for line in scenario.lines]
        for value in values:
            if values.count(value) > 1:
                raise SettingError(f"{where}: line {key} = {value!r} stands twice; it must differ")
    seen = set()
    for number, meter in enumerate(scenario.meters, 1):
        line = meter.settings["line"]
        if line not in ids:
            raise SettingError(_unknown_line(f"{where}: meter {number}", line, ids))
        if (line, meter.name) in seen:
            raise SettingError(
                f"{where}: meter {number}: {meter.name} stands twice on {line}; it must differ"
            )
        seen.add((line, meter.name))
    for number, fault in enumerate(scenario.faults, 1):
        if fault["line"] not in ids:
            raise SettingError(_unknown_line(f"{where}: fault {number}", fault["line"], ids))


def _unknown_line(where: str, line: str, ids: list[str]) -> str:
    words = ", ".join(repr(one) for one in ids)
    return f"{where}: line = {line!r} is not allowed; it must be one of {words}"
