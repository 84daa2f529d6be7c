"""edge.toml: the tables of its settings, and the one sentence that a wrong one gets.

The rule tables are the truth: the check, the message and docs/operations.md come from them.
"""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from edge.meters.dlt645_quantities import EDITION_AUTO, EDITIONS, check_readable
from protocols.cjt188 import settings as cjt188
from protocols.cjt188.values import codes_of
from protocols.dlt645.frame import is_meter_address
from protocols.dlt645.identifiers import identifier_bytes
from protocols.errors import BusbarError, SettingError
from protocols.obis import Obis
from protocols.settings import REQUIRED, choice, flag, matching, read_table, text, texts, whole
from protocols.topics import is_name

DLT645 = "dlt645-2007"
MODBUS = "modbus"  # RTU, on a tty or through a serial server
MODBUS_TCP = "modbus-tcp"
CJT188 = "cjt188"  # water, gas and heat meters
PROTOCOLS = (DLT645, MODBUS, MODBUS_TCP, CJT188)
_TCP_PORT = "socket://"
_NAME = "1 to 32 of a-z, 0-9 and -, not starting with -"
METERS_MAX = 1024
LINES_MAX = 32


def is_meter_id(value: str) -> bool:
    """Whether a text may name a meter: 1 to 64 printable characters without spaces."""
    return 0 < len(value) <= 64 and value.isascii() and value.isprintable() and " " not in value


def is_quantity(value: str) -> bool:
    """Whether a text is an OBIS code, or a DL/T 645 identifier of 8 hex digits, or 4 of 1997."""
    try:
        Obis.from_text(value) if ":" in value else identifier_bytes(value)
    except BusbarError:
        return False
    return True


GATEWAY_RULES = (
    matching("id", is_name, _NAME, REQUIRED, "the gateway's name: topics and certificate carry it"),
    matching("tenant", is_name, _NAME, REQUIRED, "whose gateway it is"),
    text("state_dir", REQUIRED, "folder of the journal, the counters and the status socket"),
    text("identity_dir", REQUIRED, "folder made by `busbar-provision init`"),
    choice("log", ("debug", "info", "warning"), "info", "how much is logged"),
)
MQTT_RULES = (
    text("host", REQUIRED, "the broker"),
    whole("port", 1, 65535, 8883, "its port"),
    choice("version", (5, 3), 5, "MQTT 5, or 3 for 3.1.1; never downgraded silently"),
    flag("tls", True, "mutual TLS with the identity's certificate"),
    whole("keepalive_s", 5, 1200, 60, "seconds between pings on an idle connection"),
    whole("reconnect_s_max", 1, 3600, 300, "longest wait between two attempts to connect (s)"),
)
JOURNAL_RULES = (
    whole("commit_sets", 1, 500, 50, "reading sets that are committed together"),
    whole("commit_interval_ms", 10, 60_000, 5_000, "longest time a reading waits for its commit"),
    whole("size_mb_max", 1, 100_000, 1024, "size of the journal file, at most"),
    whole("archive_days", 1, 3650, 90, "days that acknowledged readings are kept"),
    whole("ballast_kb", 0, 1_000_000, 16_384, "space kept back for a full disk"),
)
UPLINK_RULES = (
    whole("batch_sets", 1, 2000, 50, "reading sets of a batch, at most"),
    whole(
        "linger_ms",
        100,
        3_600_000,
        60_000,
        "longest time a live reading waits for its batch to fill",
    ),
    whole("window", 2, 64, 8, "batches sent and not yet acknowledged"),
    whole("ack_timeout_ms", 500, 600_000, 30_000, "then a batch is sent again, later each time"),
)
LINE_RULES = (
    matching("id", is_name, _NAME, REQUIRED, "name of the line"),
    text("port", REQUIRED, "/dev/…, socket://host:port or rfc2217://host:port"),
    choice("baud", (600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200), 2400, "bit/s"),
    choice("parity", ("E", "N", "O"), "E", "DL/T 645 uses even parity"),
    choice("stop_bits", (1, 2), 1, "stop bits"),
    whole(
        "response_timeout_ms",
        50,
        60_000,
        600,
        "silence after a request before it counts as no answer",
    ),
    whole("gap_ms", 5, 5_000, 500, "longest silence inside an answer"),
    whole(
        "turnaround_ms",
        0,
        1_000,
        1,
        "silence before a request (Modbus adds its own 3.5 characters)",
    ),
    whole("retries", 0, 10, 2, "times that a request without a good answer is repeated"),
)
_METER_RULES = (
    matching(
        "id", is_meter_id, "1 to 64 printable characters without spaces", REQUIRED, "our name of it"
    ),
    text("line", REQUIRED, "id of its line"),
    choice("protocol", PROTOCOLS, REQUIRED, "what it speaks"),
    whole("period_s", 1, 86_400, 900, "poll period, aligned to the wall clock"),
)
_OBIS_TEXTS = (
    "OBIS codes (1-0:1.8.0) or, for DL/T 645, identifiers of 8 hex digits (0001FF00), or 4 of"
    " edition 1997 (901F)"
)
DLT645_METER_RULES = (
    *_METER_RULES,
    matching("address", is_meter_address, "12 digits, not the broadcast", REQUIRED, "on the bus"),
    choice("edition", tuple(EDITIONS), EDITION_AUTO,
           "of DL/T 645; auto asks as in 2007, and as in 1997 when the meter is silent"),
    texts("quantities", is_quantity, _OBIS_TEXTS, (
        "1-0:1.8.0", "1-0:1.8.1", "1-0:1.8.2", "1-0:1.8.3", "1-0:1.8.4", "1-0:2.8.0",
        "1-0:32.7.0", "1-0:31.7.0", "1-0:16.7.0", "1-0:13.7.0",
    ), "what is read"),
)  # fmt: skip
_MODEL_RULES = (
    text("model", REQUIRED, "a meter model's name, such as eastron-sdm630"),
    texts(
        "quantities", is_quantity, _OBIS_TEXTS, None, "what is read; without it, the whole model"
    ),
)
MODBUS_METER_RULES = (
    *_METER_RULES,
    whole("unit", 1, 247, REQUIRED, "unit on the bus"),
    *_MODEL_RULES,
)
MODBUS_TCP_METER_RULES = (
    *_METER_RULES,
    # 0 and 255 name the device itself (Modbus Messaging on TCP/IP 1.0b, 4.4.2.1).
    whole("unit", 0, 255, REQUIRED, "unit behind the port; 255 or 1 where there is but one"),
    *_MODEL_RULES,
)
CJT188_METER_RULES = (
    *_METER_RULES,
    *cjt188.RULES,
    texts("quantities", is_quantity, "OBIS codes (8-0:1.0.0)", None,
          "what is kept; without it, all that it shows"),
)  # fmt: skip
_METER_RULES_BY_PROTOCOL = {
    DLT645: DLT645_METER_RULES,
    MODBUS: MODBUS_METER_RULES,
    MODBUS_TCP: MODBUS_TCP_METER_RULES,
    CJT188: CJT188_METER_RULES,
}
RULES = {
    "gateway": GATEWAY_RULES,
    "mqtt": MQTT_RULES,
    "journal": JOURNAL_RULES,
    "uplink": UPLINK_RULES,
    "line": LINE_RULES,
    **{f"meter ({name})": rules for name, rules in _METER_RULES_BY_PROTOCOL.items()},
}
_SECTIONS = ("gateway", "mqtt", "journal", "uplink", "line", "meter")


class Settings(NamedTuple):
    """The checked file. Each part is a dict with exactly the names of its rules; paths are
    absolute."""

    path: Path
    gateway: dict[str, Any]
    mqtt: dict[str, Any]
    journal: dict[str, Any]
    uplink: dict[str, Any]
    lines: tuple[dict[str, Any], ...]
    meters: tuple[dict[str, Any], ...]


def load_settings(path: Path) -> Settings:
    """Reads and checks edge.toml; SettingError with one sentence when anything in it is wrong."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: is not TOML: {error}") from error
    try:
        return _check(path, table)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from None


def _check(path: Path, table: dict[str, Any]) -> Settings:
    for key in table:
        if key not in _SECTIONS:
            raise SettingError(f"unknown section [{key}]; allowed are " + ", ".join(_SECTIONS))
    gateway = read_table(table.get("gateway", {}), GATEWAY_RULES, "[gateway]")
    for key in ("state_dir", "identity_dir"):
        gateway[key] = (path.parent / gateway[key]).resolve()
    lines = tuple(
        read_table(row, LINE_RULES, f"[[line]] {n + 1}")
        for n, row in enumerate(_rows(table, "line", LINES_MAX))
    )
    _check_unique(lines, "line", "id")
    _check_unique(lines, "line", "port")
    meters = tuple(
        _check_meter(row, n, lines) for n, row in enumerate(_rows(table, "meter", METERS_MAX))
    )
    _check_unique(meters, "meter", "id")
    _check_places(meters)
    _check_tcp(lines, meters)
    return Settings(
        path,
        gateway,
        read_table(table.get("mqtt", {}), MQTT_RULES, "[mqtt]"),
        read_table(table.get("journal", {}), JOURNAL_RULES, "[journal]"),
        read_table(table.get("uplink", {}), UPLINK_RULES, "[uplink]"),
        lines,
        meters,
    )


def _rows(table: dict[str, Any], name: str, most: int) -> list[Any]:
    rows = table.get(name)
    if not isinstance(rows, list) or not 0 < len(rows) <= most:
        raise SettingError(f"[[{name}]] must stand 1 to {most} times")
    return rows


def _check_meter(row: object, n: int, lines: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    where = f"[[meter]] {n + 1}"
    protocol = row.get("protocol") if isinstance(row, dict) else None
    if protocol is not None and protocol not in PROTOCOLS:
        # Before its keys are judged: they follow from the protocol.
        raise SettingError(
            f"{where}: protocol = {protocol!r} is not allowed;"
            " it must be one of " + ", ".join(repr(one) for one in PROTOCOLS)
        )
    meter = read_table(row, _METER_RULES_BY_PROTOCOL[protocol or DLT645], where)
    names = [line["id"] for line in lines]
    if meter["line"] not in names:
        raise SettingError(
            f"{where}: line = {meter['line']!r} is not allowed; it must be one of "
            + ", ".join(names)
        )
    for quantity in meter["quantities"] or ():
        if protocol != DLT645 and ":" not in quantity:
            raise SettingError(
                f"{where}: quantities: {quantity!r} is not allowed; it must be an OBIS code"
            )
        if protocol == DLT645:
            check_readable(quantity, meter["edition"], where)
    if protocol == CJT188:
        _check_cjt188(meter, where)
    return meter


def _check_cjt188(meter: dict[str, Any], where: str) -> None:
    """A dialect that there is, and quantities that such a meter shows."""
    codes = codes_of(cjt188.read_dialect(meter, where))
    for quantity in meter["quantities"] or ():
        if Obis.from_text(quantity) not in codes:
            raise SettingError(
                f"{where}: quantities: {quantity!r} is not allowed; a {meter['meter_type']} meter"
                " shows " + ", ".join(code.text() for code in codes)
            )


def _check_unique(rows: tuple[dict[str, Any], ...], name: str, key: str) -> None:
    values = [row[key] for row in rows]
    for n, value in enumerate(values):
        if value in values[:n]:
            raise SettingError(
                f"[[{name}]] {n + 1}: {key} = {value!r} is not allowed; it stands already at "
                f"[[{name}]] {values.index(value) + 1}"
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
        if protocol == MODBUS_TCP and not ports[line].startswith(_TCP_PORT):
            raise SettingError(
                f"{where}; its port is {ports[line]!r} and must be {_TCP_PORT}host:port"
            )
        if protocol != MODBUS_TCP and line in speakers:
            raise SettingError(
                f"{where}; {speakers[line]} there is {MODBUS_TCP!r}, and all meters of such a"
                " line must be"
            )


def meter_address(meter: dict[str, Any]) -> str:
    """A meter's address on its line as text: 12 digits (CJ/T 188: 14), or the Modbus unit."""
    return str(meter["address"] if "address" in meter else meter["unit"])
