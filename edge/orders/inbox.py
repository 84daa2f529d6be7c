"""The gateway decides: which orders are taken up, and what is said about each.

* An order that opens under the order key is judged here: counter, expiry, journal epoch, meter,
  address. A forged one never gets this far and gets no receipt.
* Taken up means durable: first the counter's high-water mark, then the row, then anything else. A
  crash in between loses the order, which then is never carried out; it can not be carried out
  twice.
* A counter seen before is refused; if it is the same order, its stored receipts are told again.
* After a restart, an order that was not sent yet goes on while it is valid. One that was sent is
  unknown: nobody saw the answer.
* A read goes to the meter's line; a backfill is work of the uplink, which calls `work`.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from edge.clock import Clock
from edge.journal.highwater import HighWater
from edge.journal.ranges import Ranges
from edge.journal.store import Journal, JournalReader, StoredOrder
from edge.journal.writer import Writer
from edge.orders.backfill_job import Backfill, BackfillJob, check_span
from edge.orders.executor import OrderJob
from protocols.envelope.claims import Claims, check_order
from protocols.errors import BusbarError, CallerError, EnvelopeError
from protocols.messages import Action, Order, OrderState, Receipt, check_target
from protocols.readings import Reading, TimeQuality

BACKFILLS_MAX = 16  # that wait; each keeps the uplink busy for a while

log = logging.getLogger("edge.orders")


class Inbox:
    """Orders of this gateway. Used by the sync thread; jobs report from their line's thread."""

    def __init__(
        self,
        journal: Journal,
        writer: Writer,
        high_water: HighWater,
        addresses: dict[str, str],
        offer: Callable[[str, OrderJob], bool],
        compress: Callable[[object], bytes],
        expand: Callable[[bytes], object],
        clock: Clock,
        wake: Callable[[], None],
        backfill: Backfill | None = None,
    ) -> None:
        self._journal = journal
        self._writer = writer
        self._high_water = high_water
        self._addresses = addresses
        self._offer = offer
        self._compress = compress
        self._expand = expand
        self._clock = clock
        self._wake = wake
        self._backfill = backfill
        self._backfills: deque[BackfillJob] = deque()
        self._steps: Iterator[None] | None = None  # of the first of them

    @property
    def has_work(self) -> bool:
        """Whether `work` has something to do."""
        return bool(self._backfills)

    @property
    def last_counter(self) -> int:
        """The highest order counter taken up."""
        return self._high_water.value

    def resume(self) -> None:
        """After a start: goes on with what was taken up, and settles what is not known."""
        self._high_water.settle()  # the first write of a copy costs most, and now no order waits
        states = (OrderState.VERIFIED, OrderState.SENT)
        for stored in self._call(self._journal.orders, states):
            order = Order.from_body(self._expand(stored.body))
            if stored.state == OrderState.SENT:
                self.report(
                    order, stored.counter, OrderState.UNKNOWN, "the gateway restarted meanwhile"
                )
                continue
            trusted = self._clock.quality() >= TimeQuality.NTP
            left = stored.expires_at - self._clock.utc_ms() if trusted else -1
            self._start(order, stored.counter, left)

    def take(self, claims: Claims, body: object, now: int, nonce_ages: dict[bytes, int]) -> None:
        """Judges an order that opened. `now` is trusted UTC or 0. Raises EnvelopeError when it is
        not taken up; then a receipt says why, unless it is a replay of somebody else's
        message."""
        order = Order.from_body(body)
        counter = claims.sequence
        if counter <= self._high_water.value:
            if self._call(self._journal.order_id, counter) == order.order_id:
                self._call(self._journal.reopen_receipts, counter)
            raise EnvelopeError("replayed")
        self._high_water.raise_to(counter)
        stored = StoredOrder(
            counter, order.order_id, self._compress(body), claims.expires_at, OrderState.RECEIVED
        )
        self._call(self._journal.take_order, stored)
        try:
            # The counter was judged above, against the mark that has just been raised.
            check_order(claims, counter - 1, now, nonce_ages)
            self._judge(order, claims)
        except BusbarError as error:
            expired = isinstance(error, EnvelopeError) and error.reason == "expired"
            self.report(
                order, counter, OrderState.EXPIRED if expired else OrderState.REFUSED, str(error)
            )
            raise
        left = claims.expires_at - (now or claims.issued_at + nonce_ages[claims.nonce])
        self.report(order, counter, OrderState.VERIFIED, "")
        self._start(order, counter, left)
        self._high_water.settle()

    def work(self, reader: JournalReader, reopened: Callable[[Ranges], None]) -> None:
        """A portion of the backfill that is next, if one is."""
        if not self._backfills:
            return
        if self._steps is None:
            self._steps = self._backfills[0].steps(reader, reopened)
        try:
            next(self._steps)
        except StopIteration:
            self._backfills.popleft()
            self._steps = None
        except Exception:
            self._steps = None  # the disk refused, or the journal was put aside: once more
            raise

    def report(
        self,
        order: Order,
        counter: int,
        state: str,
        reason: str,
        readings: tuple[Reading, ...] = (),
        evidence: tuple[tuple[str, int, bytes], ...] = (),
    ) -> None:
        """Makes a state and its receipt durable, and has it sent."""
        receipt = Receipt(
            order.order_id,
            counter,
            state,
            reason[:200],
            self._clock.utc_ms(),
            self._clock.quality(),
            readings,
            evidence,
        )
        self._call(self._journal.move_order, counter, state, self._compress(receipt.to_body()))
        log.info("order_moved counter=%d state=%s reason=%r", counter, state, reason)
        self._wake()

    def _judge(self, order: Order, claims: Claims) -> None:
        if claims.epoch != self._journal.epoch:
            raise CallerError("the order is for another journal of this gateway")
        if order.action not in (Action.READ, Action.BACKFILL):
            raise CallerError(f"this gateway can not carry out {order.action!r}")
        if order.action == Action.BACKFILL:
            check_span(order)
        self._check_meter(order)

    def _check_meter(self, order: Order) -> None:
        address = self._addresses.get(order.meter_id)
        if address is None:
            raise CallerError("this gateway does not have that meter")
        check_target(order, address)

    def _start(self, order: Order, counter: int, left_ms: int) -> None:
        deadline = self._clock.boot_ms() + left_ms
        try:
            self._check_meter(order)  # once more: after a restart the meter may be another one
        except CallerError as error:
            self.report(order, counter, OrderState.REFUSED, str(error))
            return
        if order.action == Action.BACKFILL:
            self._queue_backfill(order, counter, deadline)
            return
        job = OrderJob(order, counter, deadline, self._clock, self.report)
        if not self._offer(order.meter_id, job):
            self.report(order, counter, OrderState.REFUSED, "too many orders wait for that line")

    def _queue_backfill(self, order: Order, counter: int, deadline: int) -> None:
        if len(self._backfills) >= BACKFILLS_MAX:
            self.report(order, counter, OrderState.REFUSED, "too many backfills wait")
            return
        self._backfills.append(
            BackfillJob(
                order,
                counter,
                deadline,
                self._clock,
                self.report,
                self._journal,
                self._call,
                self._backfill,
            )
        )

    def _call(self, function: Any, *arguments: object) -> Any:
        return self._writer.call(function, *arguments).result(timeout=60)
