"""edge.toml, read and checked: the one sentence that a wrong one gets."""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from edge.settings.control import PARTS
from edge.settings.meters import check_meters, check_unique, meter_address, wire_of
from edge.settings.rules import (
    CJT188,
    COLLECT_RULES,
    DLT645,
    GATEWAY_RULES,
    JOURNAL_RULES,
    LINE_RULES,
    LINES_MAX,
    LOCAL_RULES,
    METERS_MAX,
    MODBUS,
    MODBUS_TCP,
    MQTT_RULES,
    ORDERS_RULES,
    SECTIONS,
    UPLINK_RULES,
)
from edge.settings.rules import RULES as SECTION_RULES
from protocols.errors import SettingError
from protocols.settings import read_table

__all__ = [
    "CJT188",
    "DLT645",
    "LINES_MAX",
    "METERS_MAX",
    "MODBUS",
    "MODBUS_TCP",
    "RULES",
    "Settings",
    "check_settings",
    "check_tables",
    "load_settings",
    "meter_address",
    "parse",
    "read_text",
    "wire_of",
]


RULES = SECTION_RULES | PARTS


class Settings(NamedTuple):
    """The checked file. Each part is a dict with exactly the names of its rules; paths are
    absolute. A meter has `groups` besides, its register groups in the same form, and `control`,
    what orders may do with it, or None."""

    path: Path
    gateway: dict[str, Any]
    mqtt: dict[str, Any]
    journal: dict[str, Any]
    uplink: dict[str, Any]
    collect: dict[str, Any]
    local: dict[str, Any]
    orders: dict[str, Any]
    lines: tuple[dict[str, Any], ...]
    meters: tuple[dict[str, Any], ...]


def load_settings(path: Path) -> Settings:
    """Reads and checks edge.toml; SettingError with one sentence when anything in it is wrong."""
    return check_settings(path, read_text(path))


def read_text(path: Path) -> str:
    """The file's text; SettingError when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"{path}: is not TOML: {error}") from error


def parse(path: Path | str, text: str) -> dict[str, Any]:
    """The tables that `text` holds, not checked; SettingError names `path`."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise SettingError(f"{path}: is not TOML: it is nested too deep") from None
    except ValueError as error:  # a number of too many digits is not a TOMLDecodeError
        raise SettingError(f"{path}: is not TOML: {error}") from error


def check_settings(path: Path, text: str) -> Settings:
    """The settings that `text` holds, as if it stood in the local file `path`."""
    settings = check_tables(path, parse(path, text))
    if settings.collect["correct_meter_clocks"]:
        # Whoever can edit the file must not be able to move the clocks that bills go by.
        raise SettingError(
            f"{path}: [collect]: correct_meter_clocks = True is not allowed;"
            " only a remote configuration, which is signed, may say true"
        )
    return settings


def check_tables(path: Path, tables: dict[str, Any], name: str = "") -> Settings:
    """The settings of parsed tables; SettingError with one sentence, which calls them `name` or
    the path."""
    try:
        return _check(path, tables)
    except SettingError as error:
        raise SettingError(f"{name or path}: {error}") from None


def _check(path: Path, table: dict[str, Any]) -> Settings:
    for key in table:
        if key not in SECTIONS:
            raise SettingError(f"unknown section [{key}]; allowed are " + ", ".join(SECTIONS))
    gateway = read_table(table.get("gateway", {}), GATEWAY_RULES, "[gateway]")
    for key in ("state_dir", "identity_dir"):
        gateway[key] = (path.parent / gateway[key]).resolve()
    lines = tuple(
        read_table(row, LINE_RULES, f"[[line]] {n + 1}")
        for n, row in enumerate(_rows(table, "line", LINES_MAX))
    )
    check_unique(lines, "line", "id")
    check_unique(lines, "line", "port")
    meters = check_meters(_rows(table, "meter", METERS_MAX), lines)
    return Settings(
        path,
        gateway,
        read_table(table.get("mqtt", {}), MQTT_RULES, "[mqtt]"),
        read_table(table.get("journal", {}), JOURNAL_RULES, "[journal]"),
        read_table(table.get("uplink", {}), UPLINK_RULES, "[uplink]"),
        read_table(table.get("collect", {}), COLLECT_RULES, "[collect]"),
        read_table(table.get("local", {}), LOCAL_RULES, "[local]"),
        read_table(table.get("orders", {}), ORDERS_RULES, "[orders]"),
        lines,
        meters,
    )


def _rows(table: dict[str, Any], name: str, most: int) -> list[Any]:
    rows = table.get(name)
    if not isinstance(rows, list) or not 0 < len(rows) <= most:
        raise SettingError(f"[[{name}]] must stand 1 to {most} times")
    return rows
