"""`busbar-provision model`: what is wrong with a meter model, and what is odd about it.

A fault makes the gateway refuse the file. A warning is about what is allowed and seldom meant; the
rules of both stand in docs/meter-models.md.
"""

import json
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from protocols.dlt645.model import PROTOCOL as DLT645
from protocols.dlt645.model import MeterModel, read_meter_model
from protocols.dlt645.relay import ACTION_NAMES
from protocols.errors import SettingError
from protocols.modbus.commands import write_command
from protocols.modbus.model import FLOATS, Model, Register, check_model
from protocols.modbus.plan import plan_spans
from protocols.obis import Obis
from protocols.quantity import Kind

OK = 0
BAD_INPUT = 2
FILE_SIZE_MAX = 1 << 20  # bytes; 256 registers take about 50 kB
SMALLEST_ENERGY_WH_MAX = 10**8  # 100 MWh: what a meter of a flat or a shop counts in its life
REQUESTS_SHARE_MAX = 2  # requests x this > registers: hardly anything is merged
_SUFFIX = ".toml"
_FLOAT_BITS = {"float32": 24, "float64": 53}  # of a whole number that is exact
_INTEGER_BITS = {"uint16": 16, "int16": 15, "uint32": 32, "int32": 31, "uint64": 64, "int64": 63}
# OBIS value group C of one phase -> unit of D = 7 (now) and of D = 8 (energy).
_UNITS = {
    **dict.fromkeys((1, 2, 15, 16), ("W", "Wh")),
    **dict.fromkeys((3, 4, 5, 6, 7, 8, 131), ("var", "varh")),
    **dict.fromkeys((9, 10), ("VA", "VAh")),
    **dict.fromkeys((11, 90, 91), ("A", None)),
    12: ("V", None),
    13: ("1", None),
    14: ("Hz", None),
    81: ("deg", None),
}
_PHASED_MAX = 80  # C up to here repeats for L1, L2, L3 in steps of 20
_KIND_BY_D = {6: Kind.MAXIMUM, 7: Kind.INSTANTANEOUS, 8: Kind.CUMULATIVE}


@dataclass
class Report:
    """What was found in one file. `faults` empty: the gateway takes it."""

    path: str
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    title: str = ""
    registers: int = 0
    requests: int = 0
    writes: dict[str, str] = field(default_factory=dict)  # name -> request PDU to unit 1, in hex
    relay: str = ""  # of a DL/T 645 model: what its relay takes

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "ok": not self.faults, "requests_saved": self.requests_saved}

    @property
    def requests_saved(self) -> int:
        """Against one request for each register."""
        return self.registers - self.requests


def check(arguments: Sequence[str], *, as_json: bool = False) -> int:
    """Checks each file and prints what was found: 0 when a gateway takes them all, else 2."""
    reports = [check_file(Path(one)) for one in arguments]
    if as_json:
        print(json.dumps([report.to_json() for report in reports], indent=2, ensure_ascii=False))
    else:
        print("\n".join(line for report in reports for line in _text(report)))
    return BAD_INPUT if any(report.faults for report in reports) else OK


def list_models() -> int:
    """Prints the models that come with Busbar."""
    folder = files("protocols") / "meter_models"
    for place in sorted(folder.iterdir(), key=lambda one: one.name):
        if place.name.endswith(_SUFFIX):
            name = place.name[: -len(_SUFFIX)]
            model, _ = check_model(name, tomllib.loads(place.read_text(encoding="utf-8")))
            print(f"{name:<24}{_size(len(model.registers), len(_spans(model))):<32}{model.title}")
    for place in sorted((files("protocols") / "dlt645_models").iterdir(), key=lambda one: one.name):
        if place.name.endswith(_SUFFIX):
            name = place.name[: -len(_SUFFIX)]
            meter = read_meter_model(name, tomllib.loads(place.read_text(encoding="utf-8")))
            print(f"{name:<24}{'DL/T 645-2007':<32}{meter.title}")
    return OK


def check_file(path: Path) -> Report:
    """What is wrong with the model in a file, and odd about it. Never raises for its content."""
    report = Report(str(path))
    table = _table(path, report)
    if table is None:
        return report
    if table.get("protocol") == DLT645:
        _check_dlt645(path, table, report)
        return report
    model, report.faults = check_model(path.stem, table)
    if path.suffix != _SUFFIX:
        report.faults.append(f"{path.name}: a gateway only reads files that end in {_SUFFIX}")
    if model is not None:
        report.title = model.title
        report.registers = len(model.registers)
        report.requests = len(_spans(model))
        report.warnings = warnings(model)
        report.writes = {
            write.name: write_command(model, write.name, 1).pdu().hex(" ").upper()
            for write in model.writes
        }
    return report


def _check_dlt645(path: Path, table: dict[str, Any], report: Report) -> None:
    try:
        model = read_meter_model(path.stem, table)
    except SettingError as error:
        report.faults.append(str(error))
        return
    report.title = model.title
    report.relay = _relay_words(model)


def _relay_words(model: MeterModel) -> str:
    terms = model.terms
    secured = "secured control taken" if terms.secured else "no secured control"
    if not terms.plain:
        return "nothing with a password, " + secured
    names = ", ".join(ACTION_NAMES[one] for one in terms.plain)
    levels = ", ".join(f"{level:02d}" for level in terms.levels)
    return f"{names} with a password of level {levels}, {secured}"


def _table(path: Path, report: Report) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_SIZE_MAX + 1)
    except OSError as error:
        report.faults.append(f"cannot be read: {error.strerror}")
        return None
    if len(content) > FILE_SIZE_MAX:
        report.faults.append(f"has more than {FILE_SIZE_MAX} bytes; it must be a meter model")
        return None
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        report.faults.append(f"is not TOML: {error}")
        return None


def warnings(model: Model) -> list[str]:
    """What is allowed and seldom meant, one sentence each; registers of which the same is to be
    said share one."""
    found = [sentence for one in MODEL_WARNINGS for sentence in one(model)]
    names: dict[str, list[str]] = {}
    for warning in REGISTER_WARNINGS:
        for register in model.registers:
            sentence = warning(register)
            if sentence:
                names.setdefault(sentence, []).append(register.name)
    return found + [f"{', '.join(group)}: {sentence}" for sentence, group in names.items()]


def _overlaps(model: Model) -> Iterator[str]:
    rows = sorted(model.registers, key=lambda one: (one.function, one.address))
    for n, one in enumerate(rows):
        for other in rows[n + 1 :]:
            if one.function == other.function and other.address < one.address + one.words:
                yield f"{one.name} and {other.name} share register {other.address}"


def _many_requests(model: Model) -> Iterator[str]:
    registers, requests = len(model.registers), len(_spans(model))
    if requests > 2 and requests * REQUESTS_SHARE_MAX > registers:
        yield (
            f"{registers} registers take {requests} requests; they lie far apart, or gap_max ="
            f" {model.gap_max} or span_max = {model.span_max} is too small"
        )


def _relay_without_return(model: Model) -> Iterator[str]:
    names = {write.name for write in model.writes}
    if "disconnect" in names and not names & {"connect", "arm"}:
        yield "it can disconnect and never connect again"


def _kind_of_obis(register: Register) -> str:
    due = _KIND_BY_D.get(register.obis.d) if register.obis.a == 1 and register.obis.c else None
    if due is None or register.kind == due:
        return ""
    word = {Kind.MAXIMUM: "maximum", Kind.INSTANTANEOUS: "instantaneous"}.get(due, "cumulative")
    return f"obis {register.obis.text()} is {word} by its value group D; kind says otherwise"


def _unit_of_obis(register: Register) -> str:
    obis = register.obis
    units = _UNITS.get(_total(obis.c)) if obis.a == 1 else None
    if units is None or obis.d not in _KIND_BY_D:
        return ""
    due = units[1] if obis.d == 8 else units[0]
    if due is None:
        return f"obis {obis.text()} would be an energy of what has none"
    if register.unit == due:
        return ""
    return f"unit = {register.unit!r} does not fit {obis.name()}, which is in {due!r}"


def _total(c: int) -> int:
    """Value group C of the same quantity without its phase."""
    if c in (151, 171, 191):
        return 131
    return (c - 1) % 20 + 1 if c <= _PHASED_MAX else c


def _nameless(register: Register) -> str:
    obis: Obis = register.obis
    return f"obis {obis.text()} has no name in Busbar" if obis.name() == obis.text() else ""


def _other_phase(register: Register) -> str:
    for phase in ("l1", "l2", "l3"):
        if register.name.endswith("_" + phase) and phase.upper() not in register.obis.name():
            return f"its name says {phase.upper()}, obis {register.obis.text()} does not"
    return ""


def _narrow_energy(register: Register) -> str:
    if register.kind != Kind.CUMULATIVE or register.unit not in ("Wh", "varh", "VAh"):
        return ""
    if register.type in FLOATS:
        limit = 1 << _FLOAT_BITS[register.type]
        end, digit = _energy(limit, register.resolution), _energy(1, register.resolution)
        if limit * 10**register.resolution < SMALLEST_ENERGY_WH_MAX:
            return (
                f"a {register.type} carries its last digit of {digit} {register.unit} only up to"
                f" {end} {register.unit}"
            )
        return ""
    limit = (1 << _INTEGER_BITS[register.type]) * register.multiplier
    if limit * 10**register.exponent < SMALLEST_ENERGY_WH_MAX:
        end = _energy(limit, register.exponent)
        return f"its {register.type} begins again from 0 at {end} {register.unit}"
    return ""


def _energy(value: int, exponent: int) -> str:
    number = value * 10**exponent
    return f"{number:,.0f}" if number >= 1 else f"{number:g}"


MODEL_WARNINGS: tuple[Callable[[Model], Iterator[str]], ...] = (
    _overlaps,
    _many_requests,
    _relay_without_return,
)
REGISTER_WARNINGS: tuple[Callable[[Register], str], ...] = (
    _kind_of_obis,
    _unit_of_obis,
    _nameless,
    _other_phase,
    _narrow_energy,
)


def _spans(model: Model) -> list[Any]:
    return plan_spans(model.registers, model.gap_max, model.span_max)


def _size(registers: int, requests: int) -> str:
    return f"{registers} registers in {requests} request{'s' if requests > 1 else ''}"


def _text(report: Report) -> Iterator[str]:
    for sentence in report.faults:
        yield f"{report.path}: {sentence}"
    for sentence in report.warnings:
        yield f"{report.path}: warning: {sentence}"
    if report.relay:
        yield f"{report.path}: good: {report.title}; relay: {report.relay}"
    elif not report.faults:
        size = _size(report.registers, report.requests)
        yield f"{report.path}: good: {report.title}; {size}, {report.requests_saved} saved a sweep"
        for name, pdu in report.writes.items():
            yield f"{report.path}: {name} writes {pdu}"
