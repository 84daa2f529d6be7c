"""What each supply should do, by the orders that this gateway has carried out (I28).

* A meter that nobody has ordered should be closed: whoever pays is supplied.
* From the moment when an order may go out nothing is settled, until its effect was seen. Of one
  that had none, what was intended before holds again; of one whose outcome nobody knows, nothing.
* It goes into the journal in the transaction of the step itself, ahead of the effect, and is taken
  along when the journal is put aside. Where even that is lost a supply counts as closed: that may
  raise an alarm too many, and never hides one.
"""

import json
import logging
import threading
from typing import NamedTuple

from edge.collect.supply_rules import CLOSED, OPEN, UNSETTLED
from edge.journal.store import Memo
from protocols.messages import Order, OrderState
from protocols.orders.kinds import Action

SCOPE = "intended"  # of the memos: meter -> JSON of _Held
WANTED = {Action.DISCONNECT: OPEN, Action.ARM: CLOSED, Action.CONNECT: CLOSED}
_IN_DOUBT = (
    OrderState.ARMED,
    OrderState.SENT,
    OrderState.ACKED,
    OrderState.VERIFYING,
    OrderState.UNKNOWN,
    OrderState.CONTRADICTED,
)
_WITHOUT_EFFECT = (
    OrderState.NOT_DONE,
    OrderState.REFUSED,
    OrderState.REFUSED_BY_METER,
    OrderState.EXPIRED,
    OrderState.CANCELLED,
    OrderState.SUPERSEDED,
)

log = logging.getLogger("edge.orders")


class _Held(NamedTuple):
    """`former`: what holds again when the order of this counter has no effect."""

    state: str = CLOSED
    former: str = CLOSED
    counter: int = 0


class Intended:
    """Any thread."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    def recall(self, memos: dict[str, str]) -> None:
        """Takes what was kept."""
        for meter_id, text in memos.items():
            try:
                self._held[meter_id] = _Held(*json.loads(text))
            except (TypeError, ValueError) as error:
                log.error("intended_unreadable meter=%s reason=%r", meter_id, str(error))

    def of(self, meter_id: str) -> str:
        """OPEN, CLOSED or UNSETTLED."""
        return self._held.get(meter_id, _Held()).state

    def follow(self, order: Order, counter: int, state: str) -> bool:
        """A step of an order; whether it is one that orders a supply. What an older order comes to
        while a newer one is under way says nothing about the supply of now."""
        wanted = WANTED.get(order.action)
        if wanted is None:
            return False
        with self._lock:
            held = self._held.get(order.meter_id, _Held())
            if counter < held.counter:
                return True
            if state in _IN_DOUBT:
                former = held.former if held.counter == counter else held.state
                self._held[order.meter_id] = _Held(UNSETTLED, former, counter)
            elif state == OrderState.CONFIRMED:
                self._held[order.meter_id] = _Held(wanted, wanted, counter)
            elif state in _WITHOUT_EFFECT and held.counter == counter:
                self._held[order.meter_id] = _Held(held.former, held.former, counter)
        return True

    def memos(self, *meter_ids: str) -> list[Memo]:
        """What is to be kept of these meters, and of all when none is named."""
        with self._lock:
            return [
                (SCOPE, meter_id, json.dumps(held))
                for meter_id, held in self._held.items()
                if not meter_ids or meter_id in meter_ids
            ]
