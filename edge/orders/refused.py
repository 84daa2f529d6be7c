"""How orders end badly: counted by the code of the refusal, and told as an event where somebody
should know."""

import threading
from collections import Counter
from collections.abc import Callable

from edge.orders.records import Step
from protocols.messages import Order, OrderState
from protocols.orders.refusals import code_of

REPEAT_S = 600  # between two events of a kind about a meter
_STATES = (OrderState.REFUSED, OrderState.CANCELLED, OrderState.SUPERSEDED, OrderState.EXPIRED)
# code -> the event that tells of it
EVENT_OF = {
    "no-policy": "policy-missing",
    "lease-ended": "lease-ended",
    "ceiling-hour": "ceiling-reached",
    "ceiling-day": "ceiling-reached",
    "identity": "meter-identity",
    "stopped": "order-stopped",
    "lower-counter": "counter-regressed",
    "audit-unavailable": "audit-broken",
}
# state -> the same
EVENT_OF_STATE = {
    OrderState.UNKNOWN: "order-unknown",
    OrderState.CONTRADICTED: "order-contradicted",
}


class Refused:
    """Any thread. `tell` is that of `Events`."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def counts(self) -> dict[str, int]:
        """How many of each code, since the start."""
        with self._lock:
            return dict(self._counts)

    def note(self, order: Order, step: Step) -> None:
        """A step of an order; one that ends well is none of ours."""
        detail = f"order {order.order_id.hex()} ({order.action}): {step.reason}"
        if step.state in EVENT_OF_STATE:
            self._tell(EVENT_OF_STATE[step.state], order.meter_id, detail)
        if step.state not in _STATES:
            return
        code = code_of(step.reason) or "other"
        with self._lock:
            self._counts[code] += 1
        # A newer order that passes an older one by is the normal course.
        if code in EVENT_OF and step.state != OrderState.SUPERSEDED:
            self._tell(EVENT_OF[code], order.meter_id, detail, repeat_s=REPEAT_S)
