"""The rule tables of a world file: every key, what it may be, its default and its meaning.

They are the whole reference of the file; docs/hil.md is made from them.
"""

from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

from hil import cjt188_meter
from hil.course import SLOT_MS
from hil.faults import KINDS
from hil.load import EPOCH_MS, PHASES_MAX, TARIFFS_MAX
from hil.meter_clock import DRIFT_PPM_MAX
from hil.meter_judgements import USUAL
from hil.meter_port import PREAMBLE_MAX
from hil.meter_quirks import QUIRKS
from hil.tampering import KINDS as TAMPERING_KINDS
from protocols.cjt188 import settings as cjt188
from protocols.dlt645.answers import CUT_SIZE, CUT_SIZE_MAX
from protocols.dlt645.frame import is_meter_address
from protocols.dlt645.relay import ACTION_BY_NAME
from protocols.settings import (
    REQUIRED,
    Rule,
    choice,
    flag,
    matching,
    text,
    texts,
    whole,
)

LINES_MAX = 64  # of one world: one thread each
METERS_MAX = 1024
FAULTS_MAX = 64
FEEDERS_MAX = 16
GENERATIONS_MAX = 1024
THEFTS_MAX = 256
OUTAGES_MAX = 256
DLT645 = "dlt645-2007"
DLT645_1997 = "dlt645-1997"
MODBUS = "modbus"
CJT188 = "cjt188"
BLANK = "blank"  # as a register's value: FF fill
_DIGITS = "0123456789"
_EPOCH = datetime.fromtimestamp(EPOCH_MS / 1000, UTC)
_NOTHING = timedelta(0)
BAUDS = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)


def _is_identifier(value: str) -> bool:
    return len(value) == 8 and all(digit in "0123456789ABCDEFabcdef" for digit in value)


def _is_password(value: str) -> bool:
    level, _, digits = value.partition(":")
    return len(level) == 1 and len(digits) == 6 and all(one in _DIGITS for one in level + digits)


def _models() -> tuple[str, ...]:
    found = files("protocols").joinpath("meter_models").iterdir()
    return tuple(sorted(Path(one.name).stem for one in found if one.name.endswith(".toml")))


def _moment(name: str, meaning: str) -> Rule:
    """A moment of UTC on a full quarter of an hour, after the day of installation."""

    def allows(value: object) -> bool:
        if not isinstance(value, datetime) or value.tzinfo is None:
            return False
        return value >= _EPOCH and (value - _EPOCH) % timedelta(milliseconds=SLOT_MS) == _NOTHING

    allowed = "a full quarter of an hour with its offset, such as 2026-03-01T08:15:00Z"
    return Rule(name, allows, allowed, None, meaning, {})


LINE_RULES = (
    text("id", REQUIRED, "the line's name"),
    text("link", REQUIRED, "path of the tty for the agent, relative to the file"),
    choice("baud", BAUDS, 2400, "bit rate; a byte takes 11 bits"),
    flag("paced", True, "real wire time and response delays; false: everything at once"),
    flag("echo", False, "the adapter returns the agent's own bytes"),
    whole("turnaround_ms", 0, 1000, 0, "a request sooner than this after a reply is lost"),
    whole("seed", 0, 2**32, 0, "of the line's faults"),
    flag("follows_tty", False, "the agent talks at the rate of its tty, not at baud"),
)
_ANY_METER_RULES = (
    text("line", REQUIRED, "id of the line that it stands on"),
    choice("protocol", (DLT645, DLT645_1997, MODBUS, CJT188), REQUIRED, "what it speaks"),
    whole("response_delay_ms", 0, 60_000, 40, "silence before its answer; the standard: 20 to 500"),
)
METER_RULES = (
    *_ANY_METER_RULES,
    choice("phases", tuple(range(1, PHASES_MAX + 1)), 3, "phases fitted, from the first"),
    whole("seed", 0, 2**32, 1, "of its load; meters of one seed show the same values"),
    whole("power_min_w", 1, 20_000, 200, "lowest power of a phase"),
    whole("power_max_w", 2, 20_000, 3000, "highest power of a phase"),
    text("profile", None, "CSV of interval data to replay instead, relative to the file"),
    whole("profile_shift_days", 0, 36_500, None, "first day of it; without it, from the seed"),
    whole("profile_percent", 1, 100_000, None, "of its use; without it, 70 to 130 from the seed"),
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
    *METER_RULES,
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
    flag("has_local_account", False, "overdrawn while 00900201 shows more than 04001003 allows"),
    texts(
        "quirks",
        QUIRKS.__contains__,
        "quirks (" + ", ".join(QUIRKS) + ")",
        (),
        "how it deceives whoever gives it orders",
    ),
    whole("voltage_v", 100, 300, USUAL.voltage_mv // 1000, "what events of the supply go by"),
    whole("base_a", 1, 200, USUAL.base_ma // 1000, "base current, likewise"),
    whole("max_a", 1, 1000, USUAL.max_ma // 1000, "largest current, likewise"),
)
_DLT645_1997_RULES = (
    *METER_RULES,
    *_ADDRESS_RULES,
    whole("preamble", 0, PREAMBLE_MAX, 0, "FE bytes before its answer"),
    flag("echoes_wildcard", False, "an AA address comes back as it was asked"),
    flag("answers_broadcast", False, "it answers reads at 99..99"),
    flag("has_separators", False, "AA behind each item of a block"),
)
_MODBUS_RULES = (
    *METER_RULES,
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
    whole("size", 1, 200, 3, "bytes of noise, bytes cut off, or bits flipped"),
    whole("late_ms", 1, 600_000, 2000, "how late a late answer is"),
)
FEEDER_RULES = (
    text("meter", REQUIRED, "the totaliser, as LINE/NUMBER"),
    texts("behind", bool, "ids of lines, or meters as LINE/NUMBER", REQUIRED, "what it adds up"),
    whole("resistance_mohm", 0, 100_000, 0, "of each phase; the loss grows with current squared"),
    whole("no_load_w", 0, 1_000_000, 0, "loss that is always there"),
    whole("ct_ratio", 1, 10_000, 1, "current transformer before a DL/T 645 totaliser"),
)
GENERATION_RULES = (
    text("meter", REQUIRED, "behind which the plant stands, as LINE/NUMBER"),
    whole("peak_w", 1, 1_000_000, 3000, "its power at noon of a clear day"),
    whole("seed", 0, 2**32, 1, "of its days and clouds"),
)
THEFT_RULES = (
    text("meter", REQUIRED, "whose readings it falsifies, as LINE/NUMBER"),
    choice("kind", TAMPERING_KINDS, REQUIRED, "what is done to it"),
    whole("percent", 1, 100, 50, "of the current that bypass or magnet keep from the meter"),
    choice("phase", tuple(range(PHASES_MAX + 1)), 0, "which phase; 0: all"),
    _moment("begin", "since when; without it, since the installation"),
    _moment("end", "until when; without it, for ever"),
)
OUTAGE_RULES = (
    text("meter", REQUIRED, "whose supply it is, as LINE/NUMBER"),
    whole("percent", 0, 200, 0, "of the voltage that is there; at 0 nothing flows"),
    choice("phase", tuple(range(PHASES_MAX + 1)), 0, "which phase; 0: all"),
    _moment("begin", "since when; without it, since the installation"),
    _moment("end", "until when; without it, for ever"),
)
