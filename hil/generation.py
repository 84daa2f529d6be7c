"""A photovoltaic plant behind a meter: what it makes covers the use first, the rest is exported.

Between 6 and 18 h local time the power is a bell that reaches `peak_w` at noon of a clear day; each
day has a clearness of its own, and each slot a cloud of its own, both from the seed. The plant
feeds all phases of its meter alike and makes active power only.
"""

import math
import random
from functools import lru_cache

from hil.course import SLOT_MS, SLOTS_A_DAY, Course
from hil.load import Flow

SUNRISE, SUNSET = SLOTS_A_DAY // 4, SLOTS_A_DAY * 3 // 4  # in slots of the day
CLEARNESS = (0.25, 1.0)  # of a day
CLOUDS = (0.85, 1.0)  # of a slot
_DAYS_KEPT = 8


class Generation:
    """`use` with a plant of `peak_w` behind the same meter."""

    def __init__(self, use: Course, peak_w: int, seed: int, utc_offset_ms: int = 0) -> None:
        self.phases = use.phases
        self._use = use
        self._peak_w = peak_w
        self._seed = seed
        self._shift = utc_offset_ms // SLOT_MS
        self._day = lru_cache(_DAYS_KEPT)(self._day_of)

    def generated_w(self, slot: int) -> float:
        """What the plant makes during a slot, in W."""
        day, within = divmod(slot + self._shift, SLOTS_A_DAY)
        return self._day(day)[within]

    def flows(self, slot: int) -> tuple[Flow, ...]:
        """The flow of each phase during a slot: use less generation."""
        part_w = self.generated_w(slot) / self.phases
        return tuple([(p_w - part_w, q_var) for p_w, q_var in self._use.flows(slot)])

    def _day_of(self, day: int) -> list[float]:
        rng = random.Random(self._seed << 32 | day & 0xFFFF_FFFF)
        clearness = rng.uniform(*CLEARNESS)
        bell = (
            math.sin(math.pi * (slot + 0.5 - SUNRISE) / (SUNSET - SUNRISE))
            if SUNRISE <= slot < SUNSET
            else 0.0
            for slot in range(SLOTS_A_DAY)
        )
        return [self._peak_w * clearness * rng.uniform(*CLOUDS) * one for one in bell]
