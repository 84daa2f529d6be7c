"""Who draws what behind which meter of a world, and the truth of it.

A meter that nothing special is said about has a smooth synthetic load (`hil.load`). One with a
profile, a plant, a theft, an outage, or behind a totaliser follows a course in steps of 15 min, and
so does the totaliser itself. What a relay keeps from a consumer at run time is known to its own
meter only: totaliser and truth go on as if its contact were closed.
"""

from pathlib import Path
from typing import NamedTuple

from hil.course import Course, CourseLoad, DailyCourse, Outage, Supplied, energy_wh
from hil.feeder import Feeder
from hil.generation import Generation
from hil.load import EPOCH_MS, Load
from hil.profile import Profile, ProfileUse, read_profile
from hil.scenario import Scenario, Settings
from hil.tampering import Metered, Tampering

_MODBUS_STEP_WH = 1
_STEP_WH = 10


class Truth(NamedTuple):
    """Energies in Wh that really passed a point and that its meter counted, in a span of time;
    `missing_wh` says by cause what net energy (import less export) was not counted."""

    import_wh: float
    export_wh: float
    metered_import_wh: float
    metered_export_wh: float
    missing_wh: dict[str, float]
    loss_wh: float | None = None  # of a totaliser's lines and transformer


class Network:
    """The loads of a scenario, by LINE/NUMBER. SettingError for a profile that is none."""

    def __init__(self, scenario: Scenario) -> None:
        self._plans = scenario.electric()
        self._profiles: dict[Path, Profile] = {}
        self._true: dict[str, Course] = {}
        self._metered: dict[str, Metered] = {}
        self._feeders: dict[str, Feeder] = {}
        self._ratios = {feeder["meter"]: feeder["ct_ratio"] for feeder in scenario.feeders}
        plants = {one["meter"]: one for one in scenario.generations}
        for name, plan in self._plans.items():
            course = self._use(plan.settings)
            if name in plants:
                plant = plants[name]
                offset_ms = _offset_ms(plan.settings)
                course = Generation(course, plant["peak_w"], plant["seed"], offset_ms)
            self._true[name] = self._supplied(course, scenario, name)
        for feeder in scenario.feeders:
            name = feeder["meter"]
            one = Feeder(
                [self._true[member] for member in scenario.members(feeder)],
                self._plans[name].settings["phases"],
                feeder["resistance_mohm"] / 1000,
                feeder["no_load_w"],
            )
            self._feeders[name] = one
            self._true[name] = self._supplied(one, scenario, name)
        thefts = {theft["meter"] for theft in scenario.thefts}
        outages = {outage["meter"] for outage in scenario.outages}
        special = {*plants, *thefts, *outages, *self._feeders}
        special |= {name for feeder in scenario.feeders for name in scenario.members(feeder)}
        special |= {name for name, plan in self._plans.items() if plan.settings["profile"]}
        for name in sorted(special):
            done = [_tampering(one) for one in scenario.thefts if one["meter"] == name]
            self._metered[name] = Metered(self._true[name], done)

    def load(self, name: str) -> Load:
        """What a meter shows the registers of."""
        settings = self._plans[name].settings
        course = self._metered.get(name)
        if course is None:
            return _smooth(settings)
        return CourseLoad(
            course,
            settings["seed"],
            settings.get("tariffs", 0),
            energy_step_wh=_step_wh(settings),
            utc_offset_ms=_offset_ms(settings),
            ratio=self._ratios.get(name, 1),
        )

    def truth(self, begin_ms: int, end_ms: int) -> dict[str, Truth]:
        """What really passed between two moments of UTC, for each meter that follows a course."""
        return {
            name: Truth(
                *energy_wh(self._true[name], begin_ms, end_ms),
                *energy_wh(metered, begin_ms, end_ms),
                metered.missing_wh(begin_ms, end_ms),
                self._feeders[name].loss_wh(begin_ms, end_ms) if name in self._feeders else None,
            )
            for name, metered in self._metered.items()
        }

    @staticmethod
    def _supplied(course: Course, scenario: Scenario, name: str) -> Course:
        outages = [_outage(one) for one in scenario.outages if one["meter"] == name]
        return Supplied(course, outages) if outages else course

    def _use(self, settings: Settings) -> Course:
        offset_ms, phases = _offset_ms(settings), settings["phases"]
        path = settings["profile"]
        if not path:
            return DailyCourse(_smooth(settings), phases, offset_ms)
        if path not in self._profiles:
            self._profiles[path] = read_profile(path)
        percent = settings["profile_percent"]
        return ProfileUse(
            self._profiles[path],
            settings["seed"],
            phases,
            shift_days=settings["profile_shift_days"],
            scale=None if percent is None else percent / 100,
            utc_offset_ms=offset_ms,
        )


def _smooth(settings: Settings) -> Load:
    return Load(
        settings["seed"],
        settings["phases"],
        settings.get("tariffs", 0),
        power_w=(settings["power_min_w"], settings["power_max_w"]),
        energy_step_wh=_step_wh(settings),
        utc_offset_ms=_offset_ms(settings),
    )


def _step_wh(settings: Settings) -> int:
    return _STEP_WH if "tariffs" in settings else _MODBUS_STEP_WH


def _offset_ms(settings: Settings) -> int:
    offset_ms: int = settings.get("utc_offset_min", 0) * 60_000
    return offset_ms


def _tampering(theft: Settings) -> Tampering:
    return Tampering(theft["kind"], theft["percent"], theft["phase"], *_span(theft))


def _outage(outage: Settings) -> Outage:
    return Outage(outage["percent"], outage["phase"], *_span(outage))


def _span(row: Settings) -> tuple[int, int | None]:
    """Begin and end in UTC ms."""
    begin, end = (
        None if row[key] is None else int(row[key].timestamp() * 1000) for key in ("begin", "end")
    )
    return EPOCH_MS if begin is None else begin, end
