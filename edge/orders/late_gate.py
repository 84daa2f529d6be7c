"""The gate of an order that was sent in the life before: nothing passes it, and what a look finds
out is kept.

* The order stands as unknown. Only a verdict moves it; that a look is under way, or told nothing,
  is an entry of the audit chain.
* Once a newer order for the supply was taken up, what the meter shows is not this one's doing, and
  there is no verdict.
"""

from collections.abc import Callable

from edge.events import Evidence
from edge.orders.found import Found, RefusedHere
from edge.orders.records import Facts, Records, Step
from edge.orders.refused import Refused
from protocols.messages import Order, OrderState
from protocols.orders.states import FINAL_STATES
from protocols.readings import Reading

ENTRY = "order-looked"  # kind of the audit entry
_VERDICTS = (OrderState.CONFIRMED, OrderState.CONTRADICTED, OrderState.NOT_DONE)


class LateGate:
    """Of one order. `is_overtaken()` says whether a newer one was taken up; `on_end` is called when
    the look is over."""

    def __init__(
        self,
        counter: int,
        records: Records,
        refused: Refused,
        is_overtaken: Callable[[], bool],
        on_end: Callable[[], None],
    ) -> None:
        self._counter = counter
        self._records = records
        self._refused = refused
        self._is_overtaken = is_overtaken
        self._on_end = on_end

    def check(self, order: Order, found: Found) -> str:
        """A look may go on until its time is over."""
        return ""

    def arm(self, order: Order, found: Found) -> None:
        """Never: it was sent."""
        raise RefusedHere("internal", "an order that was sent before a restart is not armed again")

    def holds(self) -> bool:
        """Nothing goes out."""
        return False

    def note(
        self,
        order: Order,
        state: str,
        reason: str = "",
        facts: Facts = (),
        readings: tuple[Reading, ...] = (),
        evidence: Evidence = (),
    ) -> None:
        """Durable as soon as the disk takes it."""
        if state in _VERDICTS and not self._is_overtaken():
            step = Step(state, reason, readings, evidence, facts)
            self._records.keep(self._records.step(order, self._counter, step))
            self._refused.note(order, step)
        else:
            fields = {**dict(facts), "counter": self._counter, "state": state, "reason": reason}
            self._records.keep_entry(ENTRY, order.meter_id, order.order_id, fields)
        if state in FINAL_STATES:
            self._on_end()

    def credential_refused(self, credential: str, mark: str = "") -> None:
        """A look uses none."""
