"""bench.toml: which adapter, and which meters behind it may suffer what.

The rule tables are the whole reference of the file; docs/bench.md shows them. A wrong file gives a
SettingError with one sentence.
"""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from hil.scenario import CJT188, DLT645, DLT645_1997, MODBUS
from protocols.cjt188 import settings as cjt188
from protocols.dlt645.frame import is_meter_address
from protocols.errors import SettingError
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
from tests.bench_kit.interlock import ORDERS, Known
from tests.bench_kit.meters import ALL_PROTOCOLS, MODEL

METERS_MAX = 64
BAUDS = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)

LINE_RULES = (
    text("port", REQUIRED, "the adapter, /dev/serial/by-id/…"),
    text("answers_on", None, "a second adapter, wired back to back: virtual meters answer there"),
    choice("baud", BAUDS, 2400, "bit/s"),
    choice("parity", ("E", "N", "O"), "E", "DL/T 645 uses even parity"),
    choice("stop_bits", (1, 2), 1, "stop bits"),
    whole("response_timeout_ms", 50, 60_000, 600, "silence before it counts as no answer"),
    whole("gap_ms", 5, 5_000, 200, "longest silence inside an answer"),
    whole("turnaround_ms", 0, 1_000, 5, "silence before a request"),
    flag("echo", False, "the adapter returns what we send"),
    flag("paced", True, "bytes take their time; false for a chip that is modelled"),
)


def _is_unit(value: str) -> bool:
    return value.isascii() and value.isdecimal() and str(int(value)) == value and int(value) < 248


def _is_password(value: str) -> bool:
    level, _, digits = value.partition(":")
    return len(level) == 1 and len(digits) == 6 and (level + digits).isdecimal()


def _rules(protocol: str, *own: Rule) -> tuple[Rule, ...]:
    names = ORDERS[protocol]
    return (
        choice("protocol", ALL_PROTOCOLS, REQUIRED, "what it speaks"),
        *own,
        flag("sacrificial", False, "it may be set, switched and cleared, and feeds nobody"),
        texts(
            "allows",
            names.__contains__,
            "functions (" + ", ".join(names) + ")",
            (),
            "what may be done to it besides reading; needs `sacrificial`",
        ),
    )


_ADDRESS = matching(
    "address", is_meter_address, "12 digits, not the broadcast", REQUIRED, "on the line"
)
METER_RULES = {
    DLT645: _rules(
        DLT645,
        _ADDRESS,
        matching(
            "password",
            _is_password,
            "a level, a colon and six digits, such as '2:123456'",
            None,
            "for relay control",
        ),
    ),
    DLT645_1997: _rules(DLT645_1997, _ADDRESS),
    MODBUS: _rules(
        MODBUS,
        matching("address", _is_unit, "a unit from '1' to '247'", REQUIRED, "on the line"),
        text("model", MODEL, "a meter model's name"),
    ),
    CJT188: _rules(CJT188, *cjt188.RULES),
}
RULES = {
    "bench.toml [line]": LINE_RULES,
    **{f"bench.toml [meter ({name})]": rules for name, rules in METER_RULES.items()},
}


class BenchFile(NamedTuple):
    """A checked bench.toml."""

    line: dict[str, Any]
    meters: tuple[dict[str, Any], ...]

    def known(self) -> list[Known]:
        """The meters as the interlock wants them."""
        return [
            Known(
                one["protocol"],
                one["address"],
                one["sacrificial"],
                frozenset(ORDERS[one["protocol"]][name] for name in one["allows"]),
            )
            for one in self.meters
        ]


def read_bench_file(path: Path) -> BenchFile:
    """The bench in the file at `path`; SettingError with one sentence when it is none."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: is not TOML: {error}") from None
    for key in table:
        if key not in ("line", "meter"):
            raise SettingError(f"{path}: unknown key {key!r}; allowed are line, meter")
    line = read_table(table.get("line", {}), LINE_RULES, f"{path}: line")
    rows = table.get("meter", [])
    if not isinstance(rows, list) or len(rows) > METERS_MAX:
        raise SettingError(f"{path}: [[meter]] must stand at most {METERS_MAX} times")
    meters = tuple(_meter(row, f"{path}: meter {n}") for n, row in enumerate(rows, 1))
    _check_together(path, line, meters)
    return BenchFile(line, meters)


def _meter(row: object, where: str) -> dict[str, Any]:
    protocol = row.get("protocol") if isinstance(row, dict) else None
    rules = METER_RULES.get(protocol) if isinstance(protocol, str) else None
    if rules is None:  # say what is wrong with the protocol, not with its keys
        row = {"protocol": protocol} if protocol is not None else row and {}
        rules = METER_RULES[DLT645][:1]
    meter = read_table(row, rules, where)
    if meter["allows"] and not meter["sacrificial"]:
        raise SettingError(f"{where}: allows is not allowed; it needs sacrificial = true")
    return meter


def _check_together(path: Path, line: dict[str, Any], meters: tuple[dict[str, Any], ...]) -> None:
    if line["answers_on"] is None and not meters:
        raise SettingError(f"{path}: has neither answers_on nor a [[meter]]; it needs one of them")
    if line["answers_on"] is not None and meters:
        raise SettingError(
            f"{path}: meter 1 is not allowed; with answers_on nothing else may be on the line"
        )
    if line["answers_on"] == line["port"]:
        raise SettingError(f"{path}: line: answers_on is the port; it must be another adapter")
    seen = [
        (one["protocol"] == MODBUS, one["protocol"] == CJT188, one["address"]) for one in meters
    ]
    for number, one in enumerate(seen, 1):
        if one in seen[: number - 1]:
            raise SettingError(f"{path}: meter {number}: {one[2]} stands twice; it must differ")
