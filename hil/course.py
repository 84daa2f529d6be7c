"""What flows at a point of the network, in steps of a quarter of an hour, and a meter's load there.

Profiles, generation, sums and thefts need flows that can be added and that change direction, and
energies that still are exact at any moment. So a course is constant within each slot of 15 min of
UTC: energy in both directions is then a sum of rectangles, and the sum of two courses is exact.

* Active power is positive towards the consumer. A meter counts the algebraic sum of its phases: it
  imports or exports at a moment, never both. Its phases are counted by themselves.
* Energies of each direction and quadrant never fall; the net one (C = 16) may.
* Local time is taken to a whole slot.
* A load takes its power whatever the voltage, so its current grows while that is low. Nothing flows
  in a phase that is gone.
"""

import cmath
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from hil.load import DAY_MS, EPOCH_MS, HOUR_MS, PHASES_MAX, TARIFF_BY_HOUR, Flow, Load, Shown

SLOT_MS = 900_000
SLOTS_A_DAY = DAY_MS // SLOT_MS
_SLOT_H = SLOT_MS / HOUR_MS
# What is counted in each rate: OBIS C of active import and export, the four quadrants of reactive
# energy, and apparent import and export.
_COUNTED = (1, 2, 5, 6, 7, 8, 9, 10)
_QUADRANTS = {(False, False): 2, (True, False): 3, (True, True): 4, (False, True): 5}
_APPARENT = 6
_PHASE_STEP = 20  # OBIS C of L2 = C of L1 + 20
_VOLTAGE, _CURRENT, _ACTIVE, _REACTIVE, _POWER, _FACTOR = 32, 31, 36, 151, 29, 33  # C of L1
_FULL = 100
NOTHING: Flow = (0.0, 0.0)


class Course(Protocol):
    """The flow at a point by slot, counted from the day of installation. A pure function."""

    phases: int

    def flows(self, slot: int) -> tuple[Flow, ...]:
        """The flow of each phase during a slot."""


class Terminal(NamedTuple):
    """What stands at the terminals of one phase of a meter: `percent` of its voltage, and the flow
    that its current belongs to. A meter without voltage shows that current and counts nothing."""

    percent: int
    drawn: Flow


@runtime_checkable
class Wired(Protocol):
    """A course that knows more of its terminals than what flows."""

    def terminals(self, slot: int) -> tuple[Terminal, ...]:
        """The terminals of each phase during a slot."""


def terminals_of(course: Course, slot: int) -> tuple[Terminal, ...]:
    """The terminals of each phase during a slot; with full voltage where nobody says otherwise."""
    if isinstance(course, Wired):
        return course.terminals(slot)
    return tuple([Terminal(_FULL, flow) for flow in course.flows(slot)])


class Outage(NamedTuple):
    """The supply of one phase (0: all) has only `percent` of its voltage, or more than it should,
    in a span of UTC both ends of which are on a full quarter of an hour; `end_ms` None: for ever.
    At 0 the phase is gone."""

    percent: int = 0
    phase: int = 0
    begin_ms: int = EPOCH_MS
    end_ms: int | None = None

    def applies(self, slot: int, phase: int) -> bool:
        """Whether it acts on a phase (from 1) during a slot."""
        at_ms = EPOCH_MS + slot * SLOT_MS
        is_on = self.begin_ms <= at_ms and (self.end_ms is None or at_ms < self.end_ms)
        return is_on and self.phase in (0, phase)


class Supplied:
    """`course` at a point whose supply has `outages`; where several apply, the lowest voltage."""

    def __init__(self, course: Course, outages: Iterable[Outage]) -> None:
        self.phases = course.phases
        self._course = course
        self._outages = sorted(outages, key=lambda one: one.percent)

    def flows(self, slot: int) -> tuple[Flow, ...]:
        """The flow of each phase during a slot."""
        return tuple([one.drawn for one in self.terminals(slot)])

    def terminals(self, slot: int) -> tuple[Terminal, ...]:
        """The terminals of each phase during a slot."""
        found = []
        for phase, flow in enumerate(self._course.flows(slot), 1):
            there = [one.percent for one in self._outages if one.applies(slot, phase)]
            percent = there[0] if there else _FULL
            found.append(Terminal(percent, flow if percent else NOTHING))
        return tuple(found)


class DailyCourse:
    """A synthetic load in steps: the mean of each slot of its day."""

    def __init__(self, load: Load, phases: int, utc_offset_ms: int = 0) -> None:
        self.phases = phases
        self._shift = utc_offset_ms // SLOT_MS
        self._day = [
            load.mean_flows(slot * SLOT_MS, (slot + 1) * SLOT_MS) for slot in range(SLOTS_A_DAY)
        ]

    def flows(self, slot: int) -> tuple[Flow, ...]:
        """The flow of each phase during a slot."""
        return self._day[(slot + self._shift) % SLOTS_A_DAY]


class CourseLoad(Load):
    """A load that follows `course`; `ratio` is that of the current transformer before the meter,
    whose registers show the secondary side. The first readings come from `seed`."""

    def __init__(
        self,
        course: Course,
        seed: int,
        tariffs: int = 4,
        *,
        energy_step_wh: int = 10,
        utc_offset_ms: int = 0,
        ratio: int = 1,
    ) -> None:
        super().__init__(
            seed,
            course.phases,
            tariffs,
            energy_step_wh=energy_step_wh,
            utc_offset_ms=utc_offset_ms,
        )
        self._course = course
        self._ratio = ratio
        shift = utc_offset_ms // SLOT_MS
        self._rate_by_slot = [
            min(TARIFF_BY_HOUR[(slot + shift) % SLOTS_A_DAY * SLOT_MS // HOUR_MS], self._rates) - 1
            for slot in range(SLOTS_A_DAY)
        ]
        self._days = [self._first()]  # the counts at the begin of each day of UTC

    def _first(self) -> list[float]:
        """Counts of the day of installation: by rate what `_COUNTED` lists, then each phase's
        import and export; in Wh."""
        counts: list[float] = []
        for rate in range(self._rates):
            bases = [(phase, phase.base_wh[rate]) for phase in self._phases]
            row = [0.0] * len(_COUNTED)
            row[0] = sum(base for _, base in bases)
            row[2] = sum(base * phase.tangent for phase, base in bases)
            row[_APPARENT] = sum(base / phase.power_factor for phase, base in bases)
            counts += row
        for phase in self._phases:
            counts += [sum(phase.base_wh), 0.0]
        return counts

    @property
    def is_steady(self) -> bool:
        """Whether every phase always has its full voltage."""
        return not isinstance(self._course, Wired)

    def _terminals(self, at_ms: int) -> tuple[Terminal, ...]:
        return terminals_of(self._course, (at_ms - EPOCH_MS) // SLOT_MS)

    def _flows(self, at_ms: int) -> tuple[Flow, ...]:
        flows = [one.drawn for one in self._terminals(at_ms)]
        return tuple((p_w / self._ratio, q_w / self._ratio) for p_w, q_w in flows)

    def _instants(self, at_ms: int) -> Shown:
        shown = super()._instants(at_ms)
        percents = [one.percent for one in self._terminals(at_ms)]
        return shown if set(percents) == {_FULL} else _at_voltages(shown, percents)

    def _counts(self, at_ms: int) -> list[float]:
        days, day_ms = divmod(at_ms - EPOCH_MS, DAY_MS)
        while len(self._days) <= days:
            counts = list(self._days[-1])
            first = (len(self._days) - 1) * SLOTS_A_DAY
            for slot in range(first, first + SLOTS_A_DAY):
                self._count(counts, slot, _SLOT_H)
            self._days.append(counts)
        counts = list(self._days[days])
        whole, rest_ms = divmod(day_ms, SLOT_MS)
        first = days * SLOTS_A_DAY
        for slot in range(first, first + whole):
            self._count(counts, slot, _SLOT_H)
        self._count(counts, first + whole, rest_ms / HOUR_MS)
        return counts

    def _count(self, counts: list[float], slot: int, hours: float) -> None:
        hours /= self._ratio
        active = reactive = 0.0
        at = self._rates * len(_COUNTED)
        for p_w, q_w in self._course.flows(slot):
            active += p_w
            reactive += q_w
            counts[at + (p_w < 0)] += abs(p_w) * hours
            at += 2
        row = self._rate_by_slot[slot % SLOTS_A_DAY] * len(_COUNTED)
        is_export = active < 0
        counts[row + is_export] += abs(active) * hours
        counts[row + _QUADRANTS[is_export, reactive < 0]] += abs(reactive) * hours
        counts[row + _APPARENT + is_export] += math.hypot(active, reactive) * hours

    def _energies(self, at_ms: int) -> Shown:
        counts = self._counts(at_ms)
        shown: Shown = {}
        size = len(_COUNTED)
        kept: dict[int, list[int]] = {}
        for index, c in enumerate(_COUNTED):
            rates = [self._floor(counts[rate * size + index]) for rate in range(self._rates)]
            kept[c] = [sum(rates), *(rates if self.tariffs else [])]
        pairs = {3: (5, 6, 1), 4: (7, 8, 1), 15: (1, 2, 1), 16: (1, 2, -1)}
        for c, (one, other, sign) in pairs.items():
            kept[c] = [a + sign * b for a, b in zip(kept[one], kept[other], strict=True)]
        for c, energies in kept.items():
            for tariff, energy in enumerate(energies):
                shown[c, 8, tariff] = energy
        at = self._rates * size
        for index in range(PHASES_MAX):
            fitted = index < self._course.phases
            for c in (21 + 20 * index, 22 + 20 * index):
                shown[c, 8, 0] = self._floor(counts[at]) if fitted else None
                at += fitted
        return shown


def slots_between(begin_ms: int, end_ms: int) -> Iterator[tuple[int, float]]:
    """(slot, hours of it) between two moments of UTC."""
    for slot in range((begin_ms - EPOCH_MS) // SLOT_MS, -(-(end_ms - EPOCH_MS) // SLOT_MS)):
        slot_ms = EPOCH_MS + slot * SLOT_MS
        yield slot, (min(end_ms, slot_ms + SLOT_MS) - max(begin_ms, slot_ms)) / HOUR_MS


def energy_wh(course: Course, begin_ms: int, end_ms: int) -> tuple[float, float]:
    """Import and export in Wh between two moments of UTC, of the algebraic sum of the phases."""
    directions = [0.0, 0.0]
    for slot, hours in slots_between(begin_ms, end_ms):
        active_w = sum(p_w for p_w, _ in course.flows(slot))
        directions[active_w < 0] += abs(active_w) * hours
    return directions[0], directions[1]


def _at_voltages(shown: Shown, percents: list[int]) -> Shown:
    """Instantaneous values at full voltage as they are at `percents` of it, by phase."""
    shown = dict(shown)
    currents = []
    for index, percent in enumerate(percents):
        at = index * _PHASE_STEP
        volts = (shown[_VOLTAGE + at, 7, 0] or 0) * percent // _FULL // 100 * 100
        shown[_VOLTAGE + at, 7, 0] = volts
        if not volts:
            for c in (_ACTIVE, _REACTIVE, _POWER):
                shown[c + at, 7, 0] = 0
            shown[_FACTOR + at, 7, 0] = 1000
        elif percent != _FULL:
            shown[_CURRENT + at, 7, 0] = (shown[_POWER + at, 7, 0] or 0) * 1000 // volts
        currents.append(shown[_CURRENT + at, 7, 0] or 0)
    phases = range(0, len(percents) * _PHASE_STEP, _PHASE_STEP)
    p_mw = sum(shown[_ACTIVE + at, 7, 0] or 0 for at in phases)
    q_mw = sum(shown[_REACTIVE + at, 7, 0] or 0 for at in phases)
    s_mw = round(math.hypot(p_mw, q_mw) / 100) * 100
    shown[16, 7, 0], shown[131, 7, 0], shown[9, 7, 0] = p_mw, q_mw, s_mw
    shown[13, 7, 0] = round(1000 * p_mw / s_mw) if s_mw else 1000
    if not any(percents):
        shown[14, 7, 0] = 0  # no frequency without a voltage
    shown[90, 7, 0] = sum(currents)
    thirds = (cmath.rect(size, math.tau * index / 3) for index, size in enumerate(currents))
    shown[91, 7, 0] = round(abs(sum(thirds)))
    return shown
