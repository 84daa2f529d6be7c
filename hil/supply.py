"""What flows through a meter: its load behind its relay's contact, as of any moment.

* While the contact is open the load draws nothing: currents and powers are zero, energies stand,
  and what the load would have drawn is missing for ever after.
* A cleared meter counts from zero again. Tariffs still add up to the total, and no energy falls.
* Without power nothing flows either, and no voltage is there. The contact stays as it is.
* The past can be asked too, which is how freezes, load records and events come about.
"""

import copy
from dataclasses import dataclass

from hil.course import CourseLoad
from hil.load import EPOCH_MS, Load, Shown

_ENERGY = 8  # OBIS value group D
_INSTANTANEOUS = 7
_KEPT = (14, 32, 52, 72)  # frequency and voltages stand before the contact
_POWER_FACTORS = (13, 33, 53, 73)
_UNITY = 1000


@dataclass
class _Gap:
    """A time in which nothing flows; `after_ms` None while it lasts."""

    before_ms: int
    before: Shown
    after_ms: int | None = None
    after: Shown | None = None


class Supply:
    """The registers of `load`, in thousandths of their units, seen through a relay that may be open
    and a supply that may be cut."""

    def __init__(self, load: Load) -> None:
        self.tariffs = load.tariffs
        self.since_ms = EPOCH_MS  # when the registers began
        self._load = load
        self._unasked = copy.copy(load)  # a load shows no moment before the latest one asked
        self._latest_ms = EPOCH_MS
        self._gaps: list[_Gap] = []
        self._cuts: list[tuple[int, int | None]] = []
        self._is_open = False
        self._zero: Shown = {}

    @property
    def is_open(self) -> bool:
        """Whether the contact is open."""
        return self._is_open

    @property
    def is_steady(self) -> bool:
        """Whether there always was a full voltage, so that nobody needs to look."""
        is_full = not isinstance(self._load, CourseLoad) or self._load.is_steady
        return is_full and not self._cuts

    @property
    def edges_ms(self) -> list[int]:
        """When the contact moved, or power was cut or came back."""
        spans = [(gap.before_ms, gap.after_ms) for gap in self._gaps] + self._cuts
        return sorted({edge for span in spans for edge in span if edge is not None})

    @property
    def closings_ms(self) -> list[int]:
        """When the contact closed again, in order."""
        return [gap.after_ms for gap in self._gaps if gap.after_ms is not None]

    def now(self, now_ms: int) -> Shown:
        """What is shown now: a clock that goes back changes nothing."""
        at_ms = self._advance(now_ms)
        return self._net(self._load.shown(at_ms), at_ms)

    def at(self, at_ms: int) -> Shown:
        """What was shown at `at_ms`, at the earliest when the registers began."""
        at_ms = max(at_ms, self.since_ms)
        return self._net(self._drawn(at_ms), at_ms)

    def open(self, at_ms: int) -> None:
        """Opens the contact; a meter without power cannot."""
        if not self.is_open and not self.is_cut:
            self._is_open = True
            self._begin_gap(at_ms)

    def close(self, at_ms: int) -> None:
        """Closes the contact; a meter without power cannot."""
        if self.is_open and not self.is_cut:
            self._is_open = False
            self._end_gap(at_ms)

    @property
    def is_cut(self) -> bool:
        """Whether somebody has cut the power."""
        return bool(self._cuts) and self._cuts[-1][1] is None

    def cut(self, at_ms: int) -> None:
        """Cuts the power."""
        if not self.is_cut:
            at_ms = self._advance(at_ms)
            self._cuts.append((at_ms, None))
            if not self.is_open:
                self._begin_gap(at_ms)

    def restore(self, at_ms: int) -> None:
        """Gives the power back."""
        if self.is_cut:
            at_ms = self._advance(at_ms)
            self._cuts[-1] = (self._cuts[-1][0], at_ms)
            if not self.is_open:
                self._end_gap(at_ms)

    def clear(self, at_ms: int) -> None:
        """Sets every energy to zero."""
        at_ms = self._advance(at_ms)
        counted = self._net(self._drawn(at_ms), at_ms)
        for key, value in counted.items():
            if key[1] == _ENERGY and value is not None:
                self._zero[key] = (self._zero.get(key) or 0) + value
        self.since_ms = at_ms

    def _begin_gap(self, at_ms: int) -> None:
        at_ms = self._advance(at_ms)
        self._gaps.append(_Gap(at_ms, self._drawn(at_ms)))

    def _end_gap(self, at_ms: int) -> None:
        at_ms = self._advance(at_ms)
        self._gaps[-1].after_ms, self._gaps[-1].after = at_ms, self._drawn(at_ms)

    def _advance(self, at_ms: int) -> int:
        self._latest_ms = max(self._latest_ms, at_ms)
        return self._latest_ms

    def _drawn(self, at_ms: int) -> Shown:
        return copy.copy(self._unasked).shown(at_ms)

    def _net(self, drawn: Shown, at_ms: int) -> Shown:
        gaps = [gap for gap in self._gaps if gap.before_ms <= at_ms]
        if not gaps and not self._zero and not self._cuts:
            return drawn
        shown = dict(drawn)
        for gap in gaps:
            lasts = gap.after is None or gap.after_ms is None or at_ms < gap.after_ms
            after = drawn if lasts or gap.after is None else gap.after
            for key, value in shown.items():
                if value is None:
                    continue
                if key[1] == _ENERGY:
                    shown[key] = value - ((after[key] or 0) - (gap.before[key] or 0))
                elif lasts and key[1] == _INSTANTANEOUS and key[0] not in _KEPT:
                    shown[key] = _UNITY if key[0] in _POWER_FACTORS else 0
        is_dark = any(begin <= at_ms and (end is None or at_ms < end) for begin, end in self._cuts)
        for key in [(c, _INSTANTANEOUS, 0) for c in _KEPT] if is_dark else []:
            shown[key] = shown[key] and 0
        for key, zero in self._zero.items():
            shown[key] = (shown[key] or 0) - (zero or 0)
        return shown
