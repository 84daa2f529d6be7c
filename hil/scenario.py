"""What a world is made of: lines, meters and faults, read from one TOML file and checked.

The rules are in `hil.scenario_rules`. A wrong one gives a SettingError with one
sentence: which file, which key, which value, what is allowed.
"""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from hil.scenario_rules import (
    BLANK,
    CJT188,
    DLT645,
    DLT645_1997,
    FAULT_RULES,
    FAULTS_MAX,
    FEEDER_RULES,
    FEEDERS_MAX,
    GENERATION_RULES,
    GENERATIONS_MAX,
    LINE_RULES,
    LINES_MAX,
    METER_RULES,
    METERS_MAX,
    MODBUS,
    OUTAGE_RULES,
    OUTAGES_MAX,
    RULES_BY_PROTOCOL,
    THEFT_RULES,
    THEFTS_MAX,
)
from protocols.cjt188 import settings as cjt188
from protocols.errors import SettingError
from protocols.modbus.model import Model, read_model
from protocols.settings import Rule, read_table

__all__ = [
    "BLANK",
    "CJT188",
    "DLT645",
    "DLT645_1997",
    "FAULT_RULES",
    "FEEDER_RULES",
    "GENERATION_RULES",
    "LINE_RULES",
    "MODBUS",
    "OUTAGE_RULES",
    "RULES_BY_PROTOCOL",
    "THEFT_RULES",
    "MeterPlan",
    "Scenario",
    "Settings",
    "find_scenario",
    "read_scenario",
    "shipped_scenarios",
]
SHIPPED = "scenarios"  # folder of the package
SEED_STEP = 1_000_003  # how far one step of a world's seed moves every seed in it
SEEDS = 2**32 + 1
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
    feeders: list[Settings]
    generations: list[Settings]
    thefts: list[Settings]
    outages: list[Settings]

    def electric(self) -> dict[str, MeterPlan]:
        """The meters of electricity as LINE/NUMBER, in the order of the file."""
        plans = [plan for plan in self.meters if plan.settings["protocol"] != CJT188]
        return {f"{plan.settings['line']}/{plan.name}": plan for plan in plans}

    def members(self, feeder: Settings) -> list[str]:
        """The meters behind a feeder's totaliser. A whole line stands for all of its meters except
        totalisers."""
        totalisers = [one["meter"] for one in self.feeders]
        return [
            name
            for name, plan in self.electric().items()
            if name in feeder["behind"]
            or (plan.settings["line"] in feeder["behind"] and name not in totalisers)
        ]


def shipped_scenarios() -> dict[str, Path]:
    """The worlds that come with this package, by file name."""
    folder = Path(str(files("hil").joinpath(SHIPPED)))
    return {path.name: path for path in sorted(folder.glob("*.toml"))}


def find_scenario(name: Path) -> tuple[Path, Path]:
    """The world file that `name` means, and the folder of its ttys: a path as it is, else a shipped
    one, whose ttys come into the current folder."""
    if not name.is_file() and str(name) in shipped_scenarios():
        return shipped_scenarios()[str(name)], Path.cwd()
    return name, name.parent


def read_scenario(path: Path, seed: int = 0, links: Path | None = None) -> Scenario:
    """The world in the file at `path`; SettingError with one sentence when it is none.

    `seed` moves every seed of the world, 0 leaves them; `links` is the folder of the ttys, without
    it the file's own.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: is not TOML: {error}") from None
    allowed = ("line", "meter", "fault", "feeder", "generation", "theft", "outage")
    for key in table:
        if key not in allowed:
            raise SettingError(f"{path}: unknown key {key!r}; allowed are {', '.join(allowed)}")

    def rows(name: str, rules: tuple[Rule, ...], most: int, least: int = 0) -> list[Settings]:
        return [read_table(row, rules, at) for row, at in _rows(table, path, name, least, most)]

    scenario = Scenario(
        (links or path.parent).resolve(),
        str(path),
        rows("line", LINE_RULES, LINES_MAX, 1),
        [_meter(row, where) for row, where in _rows(table, path, "meter", 0, METERS_MAX)],
        rows("fault", FAULT_RULES, FAULTS_MAX),
        rows("feeder", FEEDER_RULES, FEEDERS_MAX),
        rows("generation", GENERATION_RULES, GENERATIONS_MAX),
        rows("theft", THEFT_RULES, THEFTS_MAX),
        rows("outage", OUTAGE_RULES, OUTAGES_MAX),
    )
    _check_together(scenario)
    _check_network(scenario)
    for settings in (
        *scenario.lines,
        *(meter.settings for meter in scenario.meters),
        *scenario.generations,
    ):
        if "seed" in settings:
            settings["seed"] = (settings["seed"] + seed * SEED_STEP) % SEEDS
        if settings.get("profile"):
            settings["profile"] = path.parent.resolve() / settings["profile"]
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
    rules: tuple[Rule, ...] = RULES_BY_PROTOCOL.get(known, METER_RULES)
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


def _check_network(scenario: Scenario) -> None:
    meters = scenario.electric()
    for name, rows in (
        ("feeder", scenario.feeders),
        ("generation", scenario.generations),
        ("theft", scenario.thefts),
        ("outage", scenario.outages),
    ):
        for number, row in enumerate(rows, 1):
            where = f"{scenario.where}: {name} {number}: meter = {row['meter']!r}"
            if row["meter"] not in meters:
                raise SettingError(
                    f"{where} is not allowed; it must be a meter of electricity as LINE/NUMBER"
                )
            if (
                name in ("feeder", "generation")
                and [one["meter"] for one in rows].count(row["meter"]) > 1
            ):
                raise SettingError(f"{where} stands twice; it must differ")
    behind: list[str] = []
    for number, feeder in enumerate(scenario.feeders, 1):
        where = f"{scenario.where}: feeder {number}"
        _check_feeder(scenario, feeder, where)
        members = scenario.members(feeder)
        if not members:
            raise SettingError(f"{where}: no meter stands behind {feeder['meter']}")
        for one in members:
            if one in behind:
                raise SettingError(f"{where}: {one} stands behind another totaliser already")
        behind += members
    _check_spans(scenario)


def _check_spans(scenario: Scenario) -> None:
    meters = scenario.electric()
    for name, rows in (("theft", scenario.thefts), ("outage", scenario.outages)):
        for number, row in enumerate(rows, 1):
            where = f"{scenario.where}: {name} {number}"
            if row["phase"] > meters[row["meter"]].settings["phases"]:
                raise SettingError(f"{where}: phase = {row['phase']}: the meter has no such phase")
            if row["begin"] and row["end"] and row["end"] <= row["begin"]:
                raise SettingError(f"{where}: end = {row['end']} must be after its begin")


def _check_feeder(scenario: Scenario, feeder: Settings, where: str) -> None:
    meters = scenario.electric()
    lines = [line["id"] for line in scenario.lines]
    totalisers = [one["meter"] for one in scenario.feeders]
    for one in feeder["behind"]:
        if one not in lines and (one not in meters or one in totalisers):
            raise SettingError(
                f"{where}: behind = {one!r} is not allowed; it must be the id of a line, or a "
                "meter as LINE/NUMBER that is no totaliser"
            )
    settings = meters[feeder["meter"]].settings
    if settings["profile"] or feeder["meter"] in [one["meter"] for one in scenario.generations]:
        raise SettingError(
            f"{where}: {feeder['meter']} must not have a profile or a plant of its own"
        )
    if feeder["ct_ratio"] > 1 and settings["protocol"] == MODBUS:
        raise SettingError(
            f"{where}: ct_ratio = {feeder['ct_ratio']} is not allowed for a Modbus meter; fix the "
            "ratio's register in its registers instead"
        )
