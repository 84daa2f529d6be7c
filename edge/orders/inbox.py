"""The gateway decides: which orders are taken up, and what is said about each.

* An order that opens under the order key is judged here. A forged one never gets this far and gets
  no receipt.
* Taken up means durable: first the counter's high-water mark, then the row, then the guards, then
  the meter's counter, then anything else. A crash in between loses the order, which then is never
  carried out; it can not be carried out twice.
* A counter seen before is refused; if it is the same order, its stored receipts are told again.
* A restart moves nothing: what was not sent is refused, reads alone go on while they hold. What was
  sent is unknown, because nobody saw the answer; a look at the meter may tell more.
* A backfill is work of the uplink, which calls `work`; everything else goes to the meter's line.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from edge.clock import Clock
from edge.collect.jobs import Job
from edge.journal.highwater import HighWater
from edge.journal.ranges import Ranges
from edge.journal.store import Journal, JournalReader, StoredOrder
from edge.journal.writer import Writer
from edge.orders.backfill_job import Backfill, BackfillJob
from edge.orders.executor import OrderJob
from edge.orders.guards import AUTHORITY, PERMISSION, Asked, Facts, judge
from edge.orders.records import TROUBLES, Record, Records, Step
from edge.orders.refused import Refused
from protocols.envelope.claims import Claims
from protocols.envelope.seal import BODY_SIZE_MAX
from protocols.envelope.suites import Provider
from protocols.errors import BusbarError, EnvelopeError
from protocols.messages import Action, Order, OrderState, check_target
from protocols.orders.kinds import Effect, Family
from protocols.orders.order import NO_OBIS, NO_TERMS
from protocols.orders.refusals import code_of, refusal
from protocols.orders.states import UNSENT_STATES
from protocols.readings import TimeQuality

BACKFILLS_MAX = 16  # that wait; each keeps the uplink busy for a while
WRITE_S_MAX = 60
_SENT_STATES = (OrderState.SENT, OrderState.ACKED, OrderState.VERIFYING)

log = logging.getLogger("edge.orders")


class Ways(NamedTuple):
    """Where orders go: `offer` to a meter's line, `carry_out` an order that changes something
    (order, counter, claims, deadline in boot ms; "" or the code of a refusal), `look_into` what
    became of one that was sent before a restart, and `backfill` asks a meter for its records."""

    offer: Callable[[str, Job], bool]
    carry_out: Callable[[Order, int, Claims, int], str]
    look_into: Callable[[Order, int], None]
    backfill: Backfill | None = None


class Inbox:
    """Orders of this gateway. Used by the sync thread; jobs report from their line's thread."""

    def __init__(
        self,
        journal: Journal,
        writer: Writer,
        high_water: HighWater,
        addresses: dict[str, str],
        facts: Facts,
        records: Records,
        refused: Refused,
        ways: Ways,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._writer = writer
        self._high_water = high_water
        self._addresses = addresses
        self._facts = facts  # but for what each order brings
        self._records = records
        self._refused = refused
        self._ways = ways
        self._clock = clock
        # Whose mark is durable while the disk refuses the row: they may come again. In memory, so
        # that behind a restart the mark alone counts.
        self._begun: set[int] = set()
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

    def resume(self, unrecorded: list[int]) -> None:
        """After a start: settles what was taken up before. `unrecorded`: counters of restores that
        went out while the journal could not be written."""
        self._high_water.settle()  # the first write of a copy costs most, and now no order waits
        for stored in self._call(self._journal.orders, (*UNSENT_STATES, *_SENT_STATES)):
            order = order_of(stored, self._facts.provider)
            is_sent = stored.state in _SENT_STATES or stored.counter in unrecorded
            if is_sent:
                step = Step(OrderState.UNKNOWN, "the gateway restarted meanwhile")
                self._records.keep(self._records.step(order, stored.counter, step))
                if not order.kind.is_plain():
                    self._refused.note(order, step)
                    self._ways.look_into(order, stored.counter)
            elif order.kind.is_plain() and stored.state != OrderState.RECEIVED:
                trusted = self._clock.quality() >= TimeQuality.NTP
                left = stored.expires_at - self._clock.utc_ms() if trusted else -1
                self._start_plain(order, stored.counter, self._clock.boot_ms() + left)
            else:
                self._refuse(order, stored.counter, refusal("restarted"))

    def take(self, claims: Claims, body: object, now: int, nonce_ages: dict[bytes, int]) -> None:
        """Judges an order that opened. `now` is trusted UTC or 0. Raises EnvelopeError when it is
        not taken up; then a receipt says why, unless it is a replay of somebody else's
        message."""
        order = Order.from_body(body)
        counter = claims.sequence
        if counter <= self._high_water.value:
            known = self._call(self._journal.order_id, counter)
            if known == order.order_id:
                self._call(self._journal.reopen_receipts, counter)
            if known or counter not in self._begun:
                raise EnvelopeError("replayed")
        self._begun.add(counter)
        self._high_water.raise_to(counter)
        provider = self._facts.provider
        packed = provider.deflate(provider.encode(body))
        row = StoredOrder(counter, order.order_id, packed, claims.expires_at, OrderState.RECEIVED)
        self._call(self._journal.take_order, row)
        self._begun.discard(counter)
        try:
            reason = self._judge(order, claims, now, nonce_ages)
        except OSError as error:  # its counter is not durable: it must not run, and has an end
            reason = refusal("audit-unavailable", str(error))
        if reason:
            self._refuse(order, counter, reason)
            raise EnvelopeError(code_of(reason).replace("-", "_"), reason)
        left = claims.expires_at - (now or claims.issued_at + nonce_ages[claims.nonce])
        deadline = self._clock.boot_ms() + left
        verified = self._records.step(order, counter, Step(OrderState.VERIFIED))
        if order.kind.is_plain():
            self._records.write(verified)
            self._start_plain(order, counter, deadline)
        elif self._is_recorded(order, counter, verified):
            code = self._ways.carry_out(order, counter, claims, deadline)
            if code:
                self._refuse(order, counter, refusal(code))
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

    def _judge(self, order: Order, claims: Claims, now: int, nonce_ages: dict[bytes, int]) -> str:
        facts = self._facts._replace(
            now=now,
            is_in_doubt=self._clock.is_in_doubt(),
            nonce_ages=nonce_ages,
            epoch=self._journal.epoch,
            address=self._addresses.get(order.meter_id),
        )
        asked = Asked(order, claims, facts)
        reason = judge(AUTHORITY, asked)
        if reason:
            return reason
        family, terms = order.kind.family, order.terms
        if family != Family.NONE:
            facts.counters.raise_to(terms.originator, order.meter_id, family, terms.meter_counter)
        return judge(PERMISSION, asked)

    def _is_recorded(self, order: Order, counter: int, verified: Record) -> bool:
        """Whether it may go on: a restore does, also when the disk takes it only later (T23)."""
        if order.kind.effect == Effect.RESTORES:
            self._records.keep(verified)
            return True
        try:
            self._records.write(verified)
        except TROUBLES:
            self._refuse(order, counter, refusal("audit-unavailable"))
            return False
        return True

    def _start_plain(self, order: Order, counter: int, deadline: int) -> None:
        address = self._addresses.get(order.meter_id)
        try:  # once more: after a restart the meter may be another one
            if address is None:
                raise EnvelopeError("unknown_meter")
            check_target(order, address)
        except BusbarError:
            code = "unknown-meter" if address is None else "wrong-address"
            self._refuse(order, counter, refusal(code))
            return
        if order.action == Action.BACKFILL:
            self._queue_backfill(order, counter, deadline)
            return
        job = OrderJob(order, counter, deadline, self._clock, self._records.report)
        if not self._ways.offer(order.meter_id, job):
            self._refuse(order, counter, refusal("busy"))

    def _queue_backfill(self, order: Order, counter: int, deadline: int) -> None:
        if len(self._backfills) >= BACKFILLS_MAX:
            self._refuse(order, counter, refusal("busy", "too many backfills wait"))
            return
        self._backfills.append(
            BackfillJob(
                order,
                counter,
                deadline,
                self._clock,
                self._records.report,
                self._journal,
                self._call,
                self._ways.backfill,
            )
        )

    def _refuse(self, order: Order, counter: int, reason: str) -> None:
        state = OrderState.EXPIRED if code_of(reason) == "expired" else OrderState.REFUSED
        step = Step(state, reason)
        self._records.keep(self._records.step(order, counter, step))
        self._refused.note(order, step)

    def _call(self, function: Any, *arguments: object) -> Any:
        return self._writer.call(function, *arguments).result(timeout=WRITE_S_MAX)


def order_of(stored: StoredOrder, provider: Provider) -> Order:
    """The order of a row; of a body that this version does not know a name that nothing carries
    out."""
    try:
        return Order.from_body(provider.decode(provider.inflate(stored.body, BODY_SIZE_MAX)))
    except BusbarError:
        log.error("order_unreadable counter=%d", stored.counter)
        return Order(stored.order_id, Action.FREEZE, "", "", NO_OBIS, (), NO_TERMS, ())
