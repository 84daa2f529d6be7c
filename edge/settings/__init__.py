"""edge.toml, read and checked: the one sentence that a wrong one gets."""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

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
    RULES,
    SECTIONS,
    UPLINK_RULES,
)
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
    "load_settings",
    "meter_address",
    "wire_of",
]


class Settings(NamedTuple):
    """The checked file. Each part is a dict with exactly the names of its rules; paths are
    absolute. A meter has `groups` besides, its register groups in the same form."""

    path: Path
    gateway: dict[str, Any]
    mqtt: dict[str, Any]
    journal: dict[str, Any]
    uplink: dict[str, Any]
    collect: dict[str, Any]
    local: dict[str, Any]
    lines: tuple[dict[str, Any], ...]
    meters: tuple[dict[str, Any], ...]


def load_settings(path: Path) -> Settings:
    """Reads and checks edge.toml; SettingError with one sentence when anything in it is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"{path}: is not TOML: {error}") from error
    return check_settings(path, text)


def check_settings(path: Path, text: str) -> Settings:
    """The settings that `text` holds, as if it stood in the file `path`."""
    try:
        return _check(path, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path}: is not TOML: {error}") from error
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from None


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
        lines,
        meters,
    )


def _rows(table: dict[str, Any], name: str, most: int) -> list[Any]:
    rows = table.get(name)
    if not isinstance(rows, list) or not 0 < len(rows) <= most:
        raise SettingError(f"[[{name}]] must stand 1 to {most} times")
    return rows
