"""What became of an order that was sent when the gateway stopped: a look, and nothing else.

What the meter showed before the command was kept with the intent, and what it shows now is judged
against that as if nothing had come between. Nothing is ever sent here. Of an order whose effect
cannot be told so, what was read stands in the receipt, and it stays unknown.
"""

from edge.clock import Clock
from edge.line.line import Line
from edge.meters.control import Contact, Control, Second, SupplyState
from edge.orders.line_work import Gate, LineTerms, LineWork, Reads
from edge.orders.observing import Seen
from edge.orders.records import Facts
from edge.orders.switching import After
from protocols.orders.kinds import Observation
from protocols.orders.order import Order
from protocols.orders.states import OrderState

RESTARTED = "the gateway restarted meanwhile"
_JUDGED = (Observation.OPEN, Observation.READY, Observation.CLOSED, Observation.KEEP_POWER)
_CONTACTS = (Contact.CONNECTED, Contact.DISCONNECTED, Contact.ARMED, Contact.OPENING)


class AftermathJob(LineWork):
    """Of one order; `known` are the facts of its intent."""

    def __init__(
        self, order: Order, counter: int, deadline_boot_ms: int, clock: Clock, gate: Gate,
        terms: LineTerms, known: Facts,
    ) -> None:  # fmt: skip
        super().__init__(order, counter, deadline_boot_ms, clock, gate, terms)
        self.is_sent = True  # whatever happens here, it is not refused any more
        self.facts.update(known)

    def drop(self, reason: str) -> None:
        """Nobody looked."""
        self.end(OrderState.UNKNOWN, reason)

    def work(self, line: Line, control: Control, retries: int) -> Reads:
        """Whose meter it is, and what it shows."""
        before = seen_before(self.facts)
        if before is None or self.order.kind.observed_by not in _JUDGED:
            self.end(OrderState.UNKNOWN, RESTARTED)
            return
        yield from self.look_before(lambda: self._identify(line, control, retries))
        operator = control.operator(self.order.action)
        yield from After(self, line, control, retries, before, operator).verify(RESTARTED)

    def _identify(self, line: Line, control: Control, retries: int) -> Reads:
        yield from self.identify(line, control, retries)


def seen_before(facts: dict[str, str]) -> Seen | None:
    """What was seen ahead of the command, from the facts of its receipts; None when they do not
    say."""
    words = facts.get("relay before", "")
    contact, _, rest = words.partition(" (")
    if contact not in _CONTACTS:
        return None
    raw = rest.partition(")")[0]
    state = SupplyState(contact, words.endswith(", keep-power"), False, raw)
    return Seen(state, Second(_number(facts, "current before"), _number(facts, "records before")))


def _number(facts: dict[str, str], name: str) -> int | None:
    digits = facts.get(name, "").removesuffix(" mA")
    return int(digits) if digits.isdecimal() else None
