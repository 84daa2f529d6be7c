"""The gateway's conversation with the head end, in one thread.

Up: hello, receipts, audit entries, events, batches, in this order; each sealed at the moment it is
sent. Down: acknowledgements, which alone empty the outbox and set the clock of a gateway that has
no other time; orders, policies and stops, which go to the order desk; configurations.

All of it is about one journal epoch. When the journal is put aside while the gateway runs, the
conversation begins anew with the next one.
"""

import logging
import os
import queue
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from edge.clock import Clock
from edge.journal.damage import JournalReplacedError
from edge.journal.ranges import Ranges
from edge.journal.store import Journal, JournalReader
from edge.journal.writer import Writer
from edge.orders.desk import OrderDesk
from edge.sync.auditing import AuditFlow
from edge.sync.downlink import Downlink
from edge.sync.holding import Holding
from edge.sync.identity import Identity
from edge.sync.outbox import Outbox
from edge.sync.sender import MEMO_NAME, MEMO_SCOPE, Sender
from edge.sync.telling import EventFlow, ReceiptFlow
from edge.sync.transport import Arrived, Connected, Disconnected, Refused, Transport
from edge.sync.unheard import Unheard
from protocols import topics
from protocols.envelope.batch import encode_batch
from protocols.envelope.claims import NONCE_SIZE, Claims, check_times
from protocols.envelope.suites import Provider
from protocols.errors import BusbarError, CallerError, EnvelopeError
from protocols.messages import ACK, CONFIG, DATA, HELLO, RECEIPT, Ack, Config, Hello

HELLO_MS = 300_000  # between greetings on a connection that stands
NONCES_MAX = 8  # of this boot that an order may answer
REFUSED_PAUSE_MS = 5_000  # after the broker says that nobody listens
REFUSAL_REPEAT_S = 60  # between two events about refused messages
_TURN_MS_MIN = 100  # rows that can not go now (no connection, a full window) must not make it spin
_TURN_MS_MAX = 1_000

log = logging.getLogger("edge.sync")


class Session:
    """Everything that is said to and heard from the head end. `tell` is that of `Events`;
    `take_config(claims, config)` may refuse with a BusbarError."""

    def __init__(
        self,
        identity: Identity,
        provider: Provider,
        journal: Journal,
        writer: Writer,
        desk: OrderDesk,
        settings: dict[str, Any],
        meters: tuple[tuple[str, str], ...],
        version: str,
        clock: Clock,
        events: "queue.Queue[object]",
        tell: Callable[..., None],
        take_config: "Callable[[Claims, Config], object] | None" = None,
        chance: random.Random | None = None,
    ) -> None:
        self.refusals: Counter[str] = Counter()
        self.is_connected = False
        self.batches_sealed = 0
        self.events_sent = 0
        self.acknowledged_at = 0  # boot ms of the last acknowledgement
        self.progress_at = clock.boot_ms()  # boot ms of the last turn that ended
        self.readings_sent = 0
        self.outbox: Outbox = None  # type: ignore[assignment]
        self.event_flow: EventFlow = None  # type: ignore[assignment]
        self.audit_flow: AuditFlow = None  # type: ignore[assignment]
        self._journal = journal
        self._writer = writer
        self._desk = desk
        self._settings = settings
        self._meters = meters
        self._version = version
        self._clock = clock
        self._events = events
        self._tell = tell
        self._take_config = take_config or _refuse_config
        self._chance = chance or random.Random(os.urandom(16))  # noqa: S311 - jitter, not a secret
        self._downlink = Downlink(identity, provider)
        self.sender = Sender(
            identity, provider, journal, clock, settings["bytes_per_day"], self._call, tell
        )
        self._holding = Holding(journal, clock, self._call)
        self._receipts = ReceiptFlow(settings["ack_timeout_ms"])
        self._reader: JournalReader = None  # type: ignore[assignment]
        self._epoch = b""  # of the journal that all of this is about
        self._last_ack = 0
        self._nonces: dict[bytes, int] = {}  # nonce -> boot ms when it was made
        self._hello_due = 0
        self._greeted_at = 0
        self._paused_until = 0
        self._unheard = Unheard(clock)
        self._stopping = threading.Event()
        self._disk_refuses = False  # told once, not at each turn
        self._thread = threading.Thread(target=self._run, name="sync")

    @property
    def transport(self) -> Transport:
        """The connection; the composition root gives it before `start`."""
        return self.sender.transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self.sender.transport = transport

    @property
    def bytes_sent(self) -> int:
        """Of all messages since the start."""
        return self.sender.bytes_sent

    # ---- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """After the writer has started."""
        self._adopt()
        self.sender.begin_day(self._reader.memos(MEMO_SCOPE).get(MEMO_NAME))
        self._thread.start()
        self.transport.start()

    def stop(self) -> None:
        """Ends the connection and the thread; what is unsent stays in the journal."""
        self.transport.stop()
        self._stopping.set()
        self._thread.join()
        self.sender.end()
        self._reader.close()

    def reconfigure(self, settings: dict[str, Any], meters: tuple[tuple[str, str], ...]) -> None:
        """New settings of [uplink], and the meters that there are; an event of its own thread."""
        self._settings, self._meters = settings, meters
        self._receipts = ReceiptFlow(settings["ack_timeout_ms"])
        self.sender.configure(settings["bytes_per_day"])
        self._adopt()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
                self._disk_refuses = False
                self.progress_at = self._clock.boot_ms()
            except JournalReplacedError:
                log.info("uplink_renewed")  # by the next turn
            except (sqlite3.Error, OSError) as error:
                # Nothing was acknowledged by it. The journal tells when the disk takes rows again,
                # and a new start would not mend the disk.
                if not self._disk_refuses:
                    log.error("uplink_waits reason=%r", str(error))
                self._disk_refuses = True
                self.progress_at = self._clock.boot_ms()
                self._stopping.wait(1)
            except Exception:
                # A fault of ours must not end the uplink for good; nothing was acknowledged by it.
                log.exception("turn_failed")
                self._stopping.wait(1)

    def turn(self) -> None:
        """Hears what came, then says what is due."""
        due_ms = self.outbox.next_in_ms(self._clock.boot_ms())
        timeout_ms = min(max(due_ms, _TURN_MS_MIN), _TURN_MS_MAX)
        if self._desk.has_work:
            timeout_ms = 1
        if self._journal.epoch != self._epoch:
            self._adopt()
        try:
            event = self._events.get(timeout=timeout_ms / 1000)
            while True:
                self._hear(event)
                event = self._events.get_nowait()
        except queue.Empty:
            pass
        for one in self._unheard.due():
            self._hear_message(one)
        self._desk.work(self._reader, self.outbox.note_reopened)
        self._clock.tend()
        now = self._clock.boot_ms()
        self.outbox.note_head(self._writer.head, now)
        self.outbox.note_time(now)
        self.sender.look_at_day()
        if self.is_connected and now >= self._paused_until:
            self._speak(now)

    def _adopt(self) -> None:
        """Begins with the journal that there is now: at a start, and after it was put aside."""
        reader = self._journal.reader()
        if self._reader is not None:
            if reader.epoch != self._epoch:
                log.warning("epoch_changed epoch=%s", reader.epoch.hex())
            self._reader.close()
        self._reader, self._epoch = reader, reader.epoch
        self.sender.adopt(self._epoch)
        stored: Ranges = self._call(self._journal.acknowledged)
        settings = self._settings
        self.outbox = Outbox(
            stored,
            self._call(self._journal.head),
            settings["batch_sets"],
            settings["linger_ms"],
            settings["window"],
            settings["ack_timeout_ms"],
        )
        self.event_flow = EventFlow(settings["ack_timeout_ms"], reader.events_acknowledged())
        self.audit_flow = AuditFlow(settings["ack_timeout_ms"], self._desk.ledger.first_hash)
        self._receipts.note_connected()
        self.outbox.note_connected()
        self._hello_due = 0

    # ---- hearing --------------------------------------------------------------------------------

    def _hear(self, event: object) -> None:
        now = self._clock.boot_ms()
        if isinstance(event, Connected):
            log.info("broker_connected backlog_sets=%d", self.outbox.backlog)
            self.is_connected = True
            self._unheard.forget()
            self._hello_due = 0
            self._paused_until = 0
            self._receipts.note_connected()
            self.event_flow.note_lost()
            self.audit_flow.note_lost()
            self.outbox.note_head(self._writer.head, now)
            jitter_ms = self._chance.uniform(0, self._settings["catch_up_jitter_s"] * 1000)
            self.outbox.note_connected(now + round(jitter_ms))
        elif isinstance(event, Disconnected):
            log.info("broker_disconnected reason=%r", event.reason)
            self.is_connected = False
            self.outbox.note_lost()
            self.event_flow.note_lost()
            self.audit_flow.note_lost()
        elif isinstance(event, Refused):
            log.info("publish_refused reason=%r", event.reason)
            self._paused_until = now + REFUSED_PAUSE_MS
            self._hello_due = 0
            self.outbox.note_lost()
            self.event_flow.note_lost()
            self.audit_flow.note_lost()
        elif isinstance(event, Arrived):
            self._hear_message(event)
        elif callable(event):
            event()

    def _hear_message(self, message: Arrived) -> None:
        try:
            self._take(message)
        except BusbarError as error:
            reason = error.reason if isinstance(error, EnvelopeError) else "refused"
            self.refusals[reason] += 1
            log.warning("message_refused topic=%s reason=%s", message.topic, error)
            # A broker delivers again after each connection; of an acknowledgement that is nothing.
            if reason != "replayed" or not message.topic.endswith(topics.ACKNOWLEDGEMENTS):
                detail = f"{message.topic}: {error}"
                self._tell("message-refused", detail=detail, repeat_s=REFUSAL_REPEAT_S)
        except Exception:
            # The disk refuses. An order is heard again; an acknowledgement comes again by itself,
            # and must not use up the messages that the broker sends without our word.
            if message.topic.endswith(topics.ACKNOWLEDGEMENTS):
                message.acknowledge()
            else:
                self._unheard.keep(message)
            raise
        message.acknowledge()

    def _take(self, message: Arrived) -> None:
        now = self.sender.trusted_utc()
        kind, claims, body = self._downlink.open(message, now)
        if kind is ACK:
            self._hear_ack(claims, Ack.from_body(body), now)
        elif kind is CONFIG:
            self._take_config(claims, Config.from_body(body))
        else:
            ages = {nonce: self._clock.boot_ms() - made for nonce, made in self._nonces.items()}
            self._desk.hear(kind, claims, body, now, ages)

    def _hear_ack(self, claims: Claims, ack: Ack, utc_ms: int) -> None:
        if ack.epoch != self._epoch or claims.epoch != self._epoch:
            raise EnvelopeError("epoch", "an acknowledgement of another journal")
        if claims.sequence <= self._last_ack:
            raise EnvelopeError("replayed")
        if utc_ms and not ack.nonce:
            check_times(claims, utc_ms)
        if ack.upto > self.outbox.head or any(last > self.outbox.head for _, last in ack.ranges):
            raise EnvelopeError("schema", "acknowledges what was never journaled")
        if ack.events > self.event_flow.stored and ack.events > self._reader.event_head():
            raise EnvelopeError("schema", "acknowledges events that never were")
        if ack.audit > self._reader.audit_head():
            raise EnvelopeError("schema", "acknowledges audit entries that never were")
        self._last_ack = claims.sequence
        now = self._clock.boot_ms()
        asked_at = self._nonces.get(ack.nonce)
        if asked_at is not None:
            self._clock.anchor(ack.head_end_time, asked_at)
            self._hello_due = now + HELLO_MS
        self.outbox.note_stored(self._call(self._journal.acknowledge, ack.upto, ack.ranges), now)
        self.acknowledged_at = now
        if ack.events > self.event_flow.stored:
            self._call(self._journal.acknowledge_events, ack.events)
        self.event_flow.note_stored(ack.events)
        if ack.audit:
            self._call(self._desk.ledger.acknowledge, ack.audit)
            self.audit_flow.note_stored(ack.audit)
        if ack.receipts:
            self._call(self._journal.acknowledge_receipts, ack.receipts)

    # ---- speaking -------------------------------------------------------------------------------

    def _speak(self, now: int) -> None:
        if self._clock.wants_time() or self._desk.wants_policy:
            early = self._greeted_at + self._settings["ack_timeout_ms"]
            self._hello_due = min(self._hello_due, early)
        if now >= self._hello_due:
            # Until it is answered it may be lost, and with it the time that readings wait for.
            self._hello_due = now + self._settings["ack_timeout_ms"]
            self._greeted_at = now
            self._send_hello(now)
        for one in self._receipts.due(self._reader, now):
            if self.sender.send(RECEIPT, one[2]):
                self._receipts.note_sent(one, now)
        self.audit_flow.send(self._reader, self.sender, now)
        self.events_sent += self.event_flow.send(self._reader, self.sender, now)
        self.outbox.held_from = 0  # judged anew
        while self.is_connected and self.sender.allowance.takes_live:
            now = self._clock.boot_ms()
            self.outbox.note_head(self._writer.head, now)  # a live batch passes the next old one
            rows = self.outbox.next_range(now, self.sender.allowance.takes_backlog)
            if rows is None or not self._send_batch(*rows):
                break
        self.sender.keep_day()

    def _send_hello(self, now: int) -> None:
        nonce = os.urandom(NONCE_SIZE)
        self._nonces[nonce] = now
        while len(self._nonces) > NONCES_MAX:
            del self._nonces[next(iter(self._nonces))]
        hello = Hello(
            nonce,
            self._clock.boot_id,
            self._version,
            self.outbox.head,
            self.outbox.stored.contiguous_from(1),
            self._clock.quality(),
            self._desk.last_counter,
            self._meters,
        )
        self.sender.send(HELLO, self.sender.packed(hello.to_body()))

    def _send_batch(self, first: int, last: int) -> bool:
        """Whether the sender may go on with the next batch."""
        found = self._reader.rows(first, last)
        rows, held_from = self._holding.judge(self._reader, found)
        if held_from:
            self.outbox.held_from = held_from
        if not rows:
            return bool(found)  # they wait for their time; others may go
        now = self._clock.boot_ms()
        is_backlog = self.outbox.is_backlog(first)
        while True:
            body = self.sender.packed(encode_batch(rows, self.outbox.head))
            counter = self.sender.send(DATA, body, is_backlog)
            if counter is not None:
                break
            if len(rows) == 1:
                raise CallerError(f"reading set {rows[0][0]} does not fit into a message")
            self.outbox.note_too_large(len(rows))
            rows = rows[: len(rows) // 2]
        if not counter:
            return is_backlog and not self.sender.allowance.takes_backlog  # live rows may still go
        self.outbox.note_sent(counter, rows[0][0], rows[-1][0], now)
        self.batches_sealed += 1
        self.readings_sent += sum(len(one.readings) for _, one in rows)
        return True

    def _call(self, function: Any, *arguments: object) -> Any:
        future: Future[Any] = self._writer.call_in(self._epoch, function, *arguments)
        return future.result(timeout=60)


def _refuse_config(*_: object) -> None:
    """For a gateway whose configuration is not changed from afar."""
    raise EnvelopeError("schema", "this gateway takes no configuration")
