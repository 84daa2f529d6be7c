"""Theft and faults of metering: what a meter sees of the flow that really passes.

| kind | what the meter sees |
| --- | --- |
| bypass | the current less `percent`, which flows around the meter |
| reversed | the current in the wrong direction: import is counted as export, or, where other phases import more, is taken off the sum |
| magnet | the current less `percent`, which the magnet hides from its transformers |
| no_voltage | the current, but no voltage in that phase: its circuit is cut, and nothing is counted |

They belong to the meter, not to its load: a totaliser sees the true flow. Where several apply, they
follow each other in this order, and the difference of each is its own. Registers only ever count
what the meter sees from the moment on, so no energy falls. A reversed phase shows in the signs,
status words and events of the meter, a phase without voltage in the last two; a bypass and a magnet
show only by what is left of the current (the standard of 2007 has no bit for a magnetic field).
"""  # noqa: E501  # rows of a table

from collections.abc import Iterable
from typing import NamedTuple

from hil.course import SLOT_MS, Course, Terminal, slots_between, terminals_of
from hil.load import EPOCH_MS, Flow

BYPASS, REVERSED, MAGNET, NO_VOLTAGE = "bypass", "reversed", "magnet", "no_voltage"
KINDS = (BYPASS, REVERSED, MAGNET, NO_VOLTAGE)


class Tampering(NamedTuple):
    """One of KINDS on one phase (0: all) of a meter, in a span of UTC that both ends of which are
    on a full quarter of an hour; `end_ms` None: for ever."""

    kind: str
    percent: int = 50
    phase: int = 0
    begin_ms: int = EPOCH_MS
    end_ms: int | None = None

    @property
    def factor(self) -> float:
        """What the meter counts of each ampere."""
        fixed = {REVERSED: -1.0, NO_VOLTAGE: 0.0}
        return fixed.get(self.kind, 1 - self.percent / 100)

    def applies(self, slot: int, phase: int) -> bool:
        """Whether it acts on a phase (from 1) during a slot."""
        at_ms = EPOCH_MS + slot * SLOT_MS
        is_on = self.begin_ms <= at_ms and (self.end_ms is None or at_ms < self.end_ms)
        return is_on and self.phase in (0, phase)


class Metered:
    """`course` as a meter sees it."""

    def __init__(self, course: Course, tamperings: Iterable[Tampering]) -> None:
        self.phases = course.phases
        self._course = course
        self._tamperings = sorted(tamperings, key=lambda one: KINDS.index(one.kind))

    def flows(self, slot: int) -> tuple[Flow, ...]:
        """What the meter sees of each phase during a slot."""
        true = self._course.flows(slot)
        if not self._tamperings:
            return true
        seen = list(true)
        for one in self._tamperings:
            seen = self._through(one, slot, seen)
        return tuple(seen)

    def terminals(self, slot: int) -> tuple[Terminal, ...]:
        """The terminals of each phase during a slot: a current that the meter does not count for
        want of a voltage is there all the same."""
        percents, flows = zip(*terminals_of(self._course, slot), strict=True)
        drawn, cut = list(flows), [False] * self.phases
        for one in self._tamperings:
            if one.kind == NO_VOLTAGE:
                cut = [cut[at] or one.applies(slot, at + 1) for at in range(self.phases)]
            else:
                drawn = self._through(one, slot, drawn)
        return tuple(
            [
                Terminal(0 if is_cut else percent, flow)
                for is_cut, percent, flow in zip(cut, percents, drawn, strict=True)
            ]
        )

    def missing_wh(self, begin_ms: int, end_ms: int) -> dict[str, float]:
        """By kind: net energy (import less export) that really passed between two moments of UTC
        and was not counted. The sum is the whole difference."""
        missing = {one.kind: 0.0 for one in self._tamperings}
        for slot, hours in slots_between(begin_ms, end_ms):
            seen = list(self._course.flows(slot))
            for one in self._tamperings:
                after = self._through(one, slot, seen)
                hidden_w = sum(p for p, _ in seen) - sum(p for p, _ in after)
                missing[one.kind] += hidden_w * hours
                seen = after
        return missing

    @staticmethod
    def _through(one: Tampering, slot: int, seen: list[Flow]) -> list[Flow]:
        return [
            (p_w * one.factor, q_var * one.factor) if one.applies(slot, phase) else (p_w, q_var)
            for phase, (p_w, q_var) in enumerate(seen, 1)
        ]
