"""Carries out an order to fill a span of time again.

What the archive still has of the meter becomes unacknowledged, so that it goes up again unless the
head end tells that it has it; what the archive never had is asked of the meter, by whoever collects
from its own records.

The archive is looked through a portion at a time, beside the other work of the uplink. A restart in
between begins anew: nothing of it does harm twice.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from edge.clock import Clock
from edge.journal.ranges import Ranges
from edge.journal.store import Journal, JournalReader
from protocols.errors import BusbarError, CallerError
from protocols.messages import Order, OrderState

SPAN_MS_MAX = 62 * 86_400_000  # what meters with a load profile keep, at most
PORTION_SETS = 1_000  # looked at in one turn of the uplink
REOPENED_SETS_MAX = 20_000  # of one order: each may be a hole of its own in what is acknowledged

Backfill = Callable[[str, int, int], object]


def check_span(order: Order) -> None:
    """CallerError unless the span is one that an order may ask for."""
    from_ms, to_ms = order.arguments
    if to_ms - from_ms > SPAN_MS_MAX:
        raise CallerError(f"the span is longer than {SPAN_MS_MAX // 86_400_000} days")


class BackfillJob:
    """One order. `report(order, counter, state, reason)`; `call` runs a function of the journal in
    its writer's thread; `backfill(meter_id, from_ms, to_ms)` asks the meter, and may refuse with a
    BusbarError; None where nothing can."""

    def __init__(
        self,
        order: Order,
        counter: int,
        deadline_boot_ms: int,
        clock: Clock,
        report: Callable[..., None],
        journal: Journal,
        call: Callable[..., Any],
        backfill: Backfill | None,
    ) -> None:
        self._order = order
        self._counter = counter
        self._deadline = deadline_boot_ms
        self._clock = clock
        self._report = report
        self._journal = journal
        self._call = call
        self._backfill = backfill

    def steps(self, reader: JournalReader, reopened: Callable[[Ranges], None]) -> Iterator[None]:
        """Does it, and yields after each portion. `reopened` hears what is acknowledged still."""
        if self._clock.boot_ms() > self._deadline:
            self._tell(OrderState.EXPIRED, "expired before its turn")
            return
        from_ms, to_ms = self._order.arguments
        wanted = Ranges()
        found = reader.sets_between(self._order.meter_id, from_ms, to_ms)
        while portion := list(islice(found, PORTION_SETS)):
            for sequence, _ in portion:
                wanted.add(sequence, sequence)
            if wanted.count >= REOPENED_SETS_MAX:
                break
            yield
        before = reader.acknowledged().count
        stored = self._call(self._journal.reopen, list(wanted))
        reopened(stored)
        words = [f"{before - stored.count} of {wanted.count} reading sets go again"]
        if next(found, None) is not None:
            words.append("there are more, ask for a shorter span")
        words.append(self._ask(from_ms, to_ms))
        self._tell(OrderState.DONE, "; ".join(words))

    def _ask(self, from_ms: int, to_ms: int) -> str:
        if self._backfill is None:
            return "the meter's own records are not read here"
        try:
            self._backfill(self._order.meter_id, from_ms, to_ms)
        except BusbarError as error:
            return f"the meter is not asked: {error}"
        return "the meter is asked for its records"

    def _tell(self, state: str, reason: str) -> None:
        self._report(self._order, self._counter, state, reason)
