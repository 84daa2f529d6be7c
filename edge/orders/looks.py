"""Looks at what became of the orders about a supply that were sent before a restart: reads alone,
on the meter's line, which judge by what was kept with the intent."""

import logging
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple, Protocol

from edge.clock import Clock
from edge.collect.jobs import Job
from edge.journal.store import Journal
from edge.orders.late_gate import LateGate
from edge.orders.prechecks import Known
from edge.orders.records import Facts
from protocols.envelope.seal import BODY_SIZE_MAX
from protocols.envelope.suites import Provider
from protocols.errors import BusbarError
from protocols.messages import Order, OrderState, Receipt
from protocols.orders.kinds import Family

log = logging.getLogger("edge.orders")


class MakeLook(Protocol):
    """What makes the job of a look."""

    def __call__(
        self, order: Order, counter: int, clock: Clock, gate: LateGate, known: Facts
    ) -> Job:
        """`known` are the facts that were kept with the order's intent."""


class Looks(NamedTuple):
    """`offer` takes a job to a meter's line; `on_end(order, counter)` when a look is over."""

    journal: Journal
    provider: Provider
    clock: Clock
    known: Known
    offer: Callable[[str, Job], bool]
    make: MakeLook | None
    on_end: Callable[[Order, int], None]

    def into(self, order: Order, counter: int) -> None:
        """Of an order that stands as unknown; of another kind, or for a meter that has moved,
        nothing."""
        is_here = self.known.addresses.get(order.meter_id) == order.meter_address
        if self.make is None or order.kind.family != Family.SUPPLY or not is_here:
            return
        gate = LateGate(
            counter,
            self.known.records,
            self.known.refused,
            lambda: self._is_overtaken(order),
            lambda: self.on_end(order, counter),
        )
        job = self.make(order, counter, self.clock, gate, self._facts(counter))
        if not self.offer(order.meter_id, job):
            gate.note(order, OrderState.UNKNOWN, "its line is busy")

    def _is_overtaken(self, order: Order) -> bool:
        originator, own = order.terms.originator, order.terms.meter_counter
        return bool(self.known.counters.value(originator, order.meter_id, Family.SUPPLY) > own)

    def _facts(self, counter: int) -> Facts:
        with closing(self.journal.reader()) as reader:
            body = reader.receipt(counter, OrderState.ARMED)
        if not body:
            return ()
        try:
            content = self.provider.decode(self.provider.inflate(body, BODY_SIZE_MAX))
            return tuple(Receipt.from_body(content).facts)
        except BusbarError as error:  # of another version: the start goes on
            log.error("receipt_unreadable counter=%d reason=%r", counter, str(error))
            return ()
