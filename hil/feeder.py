"""A totaliser behind a transformer: what all its consumers really draw, and what the lines lose.

* It sees true flows: no theft at a meter touches it. Use and export of neighbours cancel in it.
* Loss of a line = resistance x current^2 in each phase, with the slot's mean current at the nominal
  voltage; the transformer's no-load loss is constant and spread over the phases. Reactive losses
  are left out.
* Consumers of one phase are dealt out to L1, L2, L3 in their order.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

from hil.course import SLOTS_A_DAY, Course, slots_between
from hil.load import Flow

NOMINAL_V = 230


class Feeder:
    """The sum of `members` at a totaliser of `phases` phases, losses included."""

    def __init__(
        self,
        members: Sequence[Course],
        phases: int = 3,
        resistance_ohm: float = 0.0,
        no_load_w: float = 0.0,
    ) -> None:
        self.phases = phases
        self._resistance_ohm = resistance_ohm
        self._no_load_w = no_load_w
        self._members: list[tuple[Course, int]] = []
        next_phase = 0
        for member in members:
            self._members.append((member, next_phase))
            next_phase = (next_phase + member.phases) % phases
        self._row = lru_cache(2 * SLOTS_A_DAY)(self._row_of)

    def flows(self, slot: int) -> tuple[Flow, ...]:
        """The flow of each phase during a slot."""
        return self._row(slot)[0]

    def loss_wh(self, begin_ms: int, end_ms: int) -> float:
        """What is lost between two moments of UTC, in Wh."""
        return math.fsum(
            self._row(slot)[1] * hours for slot, hours in slots_between(begin_ms, end_ms)
        )

    def _row_of(self, slot: int) -> tuple[tuple[Flow, ...], float]:
        active, reactive = [0.0] * self.phases, [0.0] * self.phases
        for member, phase in self._members:
            for p_w, q_var in member.flows(slot):
                active[phase] += p_w
                reactive[phase] += q_var
                phase = (phase + 1) % self.phases  # noqa: PLW2901  # the member's next one
        losses = [
            self._resistance_ohm * (p_w**2 + q_var**2) / NOMINAL_V**2
            + self._no_load_w / self.phases
            for p_w, q_var in zip(active, reactive, strict=True)
        ]
        flows = [(p + loss, q) for p, q, loss in zip(active, reactive, losses, strict=True)]
        return tuple(flows), math.fsum(losses)
