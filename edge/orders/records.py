"""The record of everything that happens to orders: the audit entry and, in the same transaction,
the state with its receipt. The entry is never behind the effect (I29).

* What must not happen unrecorded is written with `write`, which raises when the disk refuses.
* What happened, or happens all the same (a restore), is told with `keep`: it waits in memory until
  the disk takes it, in its order, and nothing else is written before it.
"""

import hashlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from edge.clock import Clock
from edge.events import Evidence
from edge.journal.audit import Draft
from edge.journal.damage import JournalReplacedError
from edge.journal.ledger import Intent, Ledger, Moved
from edge.journal.writer import Writer
from edge.orders.intended import Intended
from protocols.audit.chain import FIELD_NAME_SIZE_MAX, FIELD_TEXT_SIZE_MAX, Entry, entry_bytes
from protocols.envelope.fields import TEXT_SIZE_MAX
from protocols.envelope.suites import Provider
from protocols.errors import EnvelopeError
from protocols.events import SUBJECT_SIZE_MAX
from protocols.messages import FACT_NAME_SIZE_MAX, FACTS_MAX, Order, Receipt
from protocols.readings import Reading

KEPT_MAX = 5_000  # records in memory while the disk refuses; then nothing more is begun
WRITE_S_MAX = 60
TROUBLES = (sqlite3.Error, OSError, RuntimeError, JournalReplacedError)  # a time-out is an OSError
_SEQUENCE_MAX = (1 << 63) - 1

Facts = tuple[tuple[str, str], ...]
log = logging.getLogger("edge.orders")


class Record(NamedTuple):
    """One write of the ledger."""

    drafts: tuple[Draft, ...]
    moved: Moved | None = None
    intent: Intent | None = None
    supply: str = ""  # the meter whose intended state is written with it


class Step(NamedTuple):
    """An order's new state, and what is told with it."""

    state: str
    reason: str = ""
    readings: tuple[Reading, ...] = ()
    evidence: Evidence = ()
    facts: Facts = ()


class Records:
    """For every thread. `wake` has the uplink look for what is new."""

    def __init__(
        self,
        writer: Writer,
        ledger: Ledger,
        clock: Clock,
        provider: Provider,
        wake: Callable[[], None],
        intended: Intended,
    ) -> None:
        self._intended = intended
        self._writer = writer
        self._ledger = ledger
        self._clock = clock
        self._provider = provider
        self._wake = wake
        self._kept: deque[Record] = deque()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Records in memory that the disk did not take yet."""
        return len(self._kept)

    @property
    def is_writable(self) -> bool:
        """Whether the last word of the disk was that it takes records."""
        return not self._kept and not self._writer.trouble

    @property
    def is_full(self) -> bool:
        """Whether memory holds no more."""
        return len(self._kept) >= KEPT_MAX

    def entry(
        self, kind: str, subject: str = "", order_id: bytes = b"", fields: Any = None
    ) -> Draft:
        """An entry of now; what does not fit is cut, and says so."""
        at, quality = self._clock.utc_ms(), self._clock.quality()
        whole = _fitted(fields or {})

        def encode(sequence: int) -> bytes:
            return entry_bytes(
                self._provider,
                Entry(sequence, at, quality, kind, subject[:SUBJECT_SIZE_MAX], order_id, whole),
            )

        try:
            encode(_SEQUENCE_MAX)
        except EnvelopeError:
            whole = {**dict(list(whole.items())[:8]), "cut": 1}
        return Draft(at, encode)

    def step(self, order: Order, counter: int, step: Step, intent: Intent | None = None) -> Record:
        """The record of an order's step: its receipt, and an entry that names the receipt's
        hash."""
        receipt = Receipt(
            order.order_id,
            counter,
            step.state,
            step.reason[:TEXT_SIZE_MAX],
            self._clock.utc_ms(),
            self._clock.quality(),
            step.readings,
            step.evidence,
            _cut(step.facts),
        )
        body = self._provider.deflate(self._provider.encode(receipt.to_body()))
        fields = {
            "action": order.action,
            "counter": counter,
            "state": step.state,
            "receipt": hashlib.sha256(body).digest(),
        }
        if step.reason:
            fields["reason"] = receipt.reason
        facts = {name: text for name, text in receipt.facts if name not in fields}
        draft = self.entry("order", order.meter_id, order.order_id, {**fields, **facts})
        is_supply = self._intended.follow(order, counter, step.state)
        moved = Moved(counter, step.state, body)
        return Record((draft,), moved, intent, order.meter_id if is_supply else "")

    def write(self, record: Record) -> None:
        """Durable when it returns; one of TROUBLES when it can not be."""
        with self._lock:
            self._drain()
            self._call(record)
        self._note(record)

    def keep(self, record: Record) -> None:
        """Durable as soon as the disk takes it."""
        try:
            self.write(record)
        except TROUBLES as error:
            log.error("record_waits reason=%r", str(error))
            with self._lock:
                self._kept.append(record)
            self._note(record)

    def keep_entry(
        self, kind: str, subject: str = "", order_id: bytes = b"", fields: Any = None
    ) -> None:
        """An entry that is about no step of an order."""
        self.keep(Record((self.entry(kind, subject, order_id, fields),)))

    def flush(self) -> bool:
        """Tries what waits again; whether nothing waits."""
        if self._kept:
            try:
                with self._lock:
                    self._drain()
            except TROUBLES:
                return False
            self._wake()
        return True

    def report(
        self,
        order: Order,
        counter: int,
        state: str,
        reason: str,
        readings: tuple[Reading, ...] = (),
        evidence: Evidence = (),
    ) -> None:
        """A step of a read or of a backfill; durable when it returns."""
        self.write(self.step(order, counter, Step(state, reason, readings, evidence)))

    def _drain(self) -> None:
        while self._kept:
            self._call(self._kept[0])
            self._kept.popleft()

    def _call(self, record: Record) -> None:
        drafts, moved, intent, meter_id = record
        memos = self._intended.memos(meter_id) if meter_id else []
        call = self._writer.call(self._ledger.record, drafts, moved, intent, memos)
        call.result(timeout=WRITE_S_MAX)

    def _note(self, record: Record) -> None:
        if record.moved is not None:
            counter, state, _ = record.moved
            log.info("order_moved counter=%d state=%s", counter, state)
        self._wake()


def _cut(facts: Facts) -> Facts:
    named = {name[:FACT_NAME_SIZE_MAX]: text[:TEXT_SIZE_MAX] for name, text in facts}
    return tuple(named.items())[:FACTS_MAX]


def _fitted(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name[:FIELD_NAME_SIZE_MAX]: value[:FIELD_TEXT_SIZE_MAX] if isinstance(value, str) else value
        for name, value in fields.items()
    }
