"""The gate of one order: the last look, the write-ahead record, and what is told of the rest.

* `check` looks, just before the write; `arm` looks once more, counts the ceiling and makes the
  intent durable; `holds` is asked by the line right before the first byte.
* A cut or a change is not begun while the record can not be written. A restore goes on, and is
  recorded later; a file of its own remembers it meanwhile.
* What was not sent ends as it was ended: expired, cancelled by a stop, superseded by a newer order.
  After "sent" none of these is told any more.
"""

import logging
import threading
from collections.abc import Callable

from edge.clock import Clock
from edge.events import Evidence
from edge.journal.ledger import Intent
from edge.orders.found import Found, RefusedHere
from edge.orders.prechecks import Case, Known, refusal_of, voided_by
from edge.orders.records import TROUBLES, Facts, Step
from edge.orders.unrecorded import Unrecorded
from protocols.messages import Order, OrderState
from protocols.orders.kinds import Effect
from protocols.orders.refusals import code_of, refusal
from protocols.orders.states import FINAL_STATES, UNSENT_STATES
from protocols.readings import Reading

# What a refusal of ours before "sent" really is.
_STATE_OF = {
    "expired": OrderState.EXPIRED,
    "stopped": OrderState.CANCELLED,
    "lower-counter": OrderState.SUPERSEDED,
}
Tell = Callable[..., None]
log = logging.getLogger("edge.orders")


class Gate:
    """Of one order; its job asks in its line's thread, and a stop may come in another."""

    def __init__(
        self,
        case: Case,
        counter: int,
        clock: Clock,
        tell: Tell,
        unrecorded: Unrecorded,
        on_end: Callable[[int], None],
    ) -> None:
        self._case = case  # of the moment when it was taken up
        self._counter = counter
        self._clock = clock
        self._tell = tell
        self._unrecorded = unrecorded
        self._on_end = on_end
        self._state: str = OrderState.VERIFIED
        self._lock = threading.RLock()

    @property
    def state(self) -> str:
        """What was told last."""
        return self._state

    @property
    def _known(self) -> Known:
        return self._case.known

    @property
    def _goes_on(self) -> bool:
        """Whether it goes on while the disk refuses."""
        return bool(self._case.order.kind.effect == Effect.RESTORES)

    def check(self, order: Order, found: Found) -> str:
        """A code of REFUSALS, or ""; the caller tells it with `note`."""
        if self._state not in UNSENT_STATES:
            return "stopped"
        return refusal_of(self._now(found))

    def arm(self, order: Order, found: Found) -> None:
        """Makes the audit entry, the intent and the state durable, and counts the ceiling.
        RefusedHere when it must not be, or can not."""
        with self._lock:
            code = self.check(order, found)
            if code:
                raise RefusedHere(code)
            known, moment = self._known, self._clock.moment()
            intent = Intent(
                self._counter,
                order.meter_id,
                order.action,
                order.kind.effect,
                moment.utc_ms,
                moment.boot_ms,
                self._clock.boot_id,
            )
            code = known.ceilings.reserve(intent, order, known.settings(), len(known.addresses))
            if code:
                raise RefusedHere(code)
            step = Step(OrderState.ARMED, facts=found.facts)
            record = known.records.step(order, self._counter, step, intent)
            try:
                known.records.write(record)
            except TROUBLES as error:
                if not self._goes_on:
                    known.ceilings.give_back(intent)
                    raise RefusedHere("audit-unavailable", str(error)) from error
                known.records.keep(record)
                self._unrecorded.add(self._counter)
                self._tell("audit-broken", order.meter_id, f"a restore goes on: {error}")
            self._state = OrderState.ARMED

    def holds(self) -> bool:
        """Whether the write may go out now: it was armed, it is not over, and nothing ended it."""
        if self._state not in (OrderState.ARMED, OrderState.SENT):
            return False
        return not voided_by(self._now(Found()))

    def note(
        self,
        order: Order,
        state: str,
        reason: str = "",
        facts: Facts = (),
        readings: tuple[Reading, ...] = (),
        evidence: Evidence = (),
    ) -> None:
        """Tells a step: its audit entry, receipt and state are durable when it returns. RefusedHere
        when that can not be and the order has not been sent, unless it is a restore; what comes
        after the sending waits in memory instead."""
        with self._lock:
            if self._state in FINAL_STATES:
                return  # it ended before, by a stop
            if state == OrderState.REFUSED and self._state in UNSENT_STATES:
                state = _STATE_OF.get(code_of(reason), state)
            self._check_step(state)
            records = self._known.records
            step = Step(state, reason, readings, evidence, facts)
            record = records.step(order, self._counter, step)
            if state in FINAL_STATES or self._state not in UNSENT_STATES or self._goes_on:
                records.keep(record)
            else:
                try:
                    records.write(record)
                except TROUBLES as error:
                    raise RefusedHere("audit-unavailable", str(error)) from error
            self._state = state
        self._follow(order, step)

    def look_for_stop(self) -> None:
        """A stop came: if it is about this order, and that was not sent, it ends here."""
        with self._lock:
            is_stopped = voided_by(self._now(Found())) == "stopped"
            if is_stopped and self._state in UNSENT_STATES:
                self.note(self._case.order, OrderState.REFUSED, refusal("stopped"))

    def credential_refused(self, credential: str, mark: str = "") -> None:
        """The meter refused it: none of it is tried at this meter before somebody has looked."""
        known, order = self._known, self._case.order
        known.refused_credentials.lock(order.meter_id, credential, mark)
        fields = {"credential": credential, "counter": self._counter}
        known.records.keep_entry("credential-refused", order.meter_id, order.order_id, fields)
        self._tell("credential-refused", order.meter_id, f"the credential {credential!r}")

    def _now(self, found: Found) -> Case:
        return self._case._replace(found=found, moment=self._clock.moment())

    def _check_step(self, state: str) -> None:
        """Sent without armed is a fault of ours, and must not come to a byte."""
        if state == OrderState.SENT and self._state != OrderState.ARMED:
            raise RefusedHere("internal", f"sent after {self._state}")

    def _follow(self, order: Order, step: Step) -> None:
        self._known.refused.note(order, step)
        if step.state in FINAL_STATES:
            self._on_end(self._counter)
