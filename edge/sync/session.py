"""The gateway's conversation with the head end, in one thread.

Up: hello, batches, receipts; each sealed at the moment it is sent. Down: acknowledgements, which
alone empty the outbox and set the clock of a gateway that has no other time; orders, which go to
the inbox.

Rows that were read before the gateway knew the time wait until it does (and are re-timed), at
most for UNSYNCED_HOLD_MS; then they go with their quality.
"""

import logging
import os
import queue
import sqlite3
import threading
from collections import Counter
from concurrent.futures import Future
from typing import Any

from edge.clock import Clock
from edge.journal.store import COUNTER_BLOCK, Journal, JournalReader, Row
from edge.journal.writer import Writer
from edge.orders.inbox import Inbox
from edge.sync.identity import Identity
from edge.sync.outbox import Outbox
from edge.sync.transport import Arrived, Connected, Disconnected, Refused, Transport
from protocols import topics
from protocols.envelope.batch import encode_batch
from protocols.envelope.claims import NONCE_SIZE, Claims, check_times
from protocols.envelope.keys import Use
from protocols.envelope.seal import (
    BODY_SIZE_MAX,
    MESSAGE_SIZE_MAX,
    Context,
    Opened,
    open_sealed,
    seal,
)
from protocols.envelope.suites import Provider
from protocols.errors import BusbarError, CallerError, EnvelopeError
from protocols.messages import (
    ACK,
    DATA,
    DOWNLINK_BY_SUFFIX,
    HEAD_END,
    HELLO,
    ORDER,
    RECEIPT,
    Ack,
    Hello,
    MessageKind,
)
from protocols.readings import TimeQuality

HELLO_MS = 300_000  # between greetings on a connection that stands
NONCES_MAX = 8  # of this boot that an order may answer
UNSYNCED_HOLD_MS = 3_600_000
REFUSED_PAUSE_MS = 5_000  # after the broker says that nobody listens
RECEIPTS_PER_TURN = 256  # far above what is ever open, so that none waits behind an older one
_TURN_MS_MIN = 100  # rows that can not go now (no connection, a full window) must not make it spin
_TURN_MS_MAX = 1_000

log = logging.getLogger("edge.sync")


class Session:
    """Everything that is said to and heard from the head end."""

    def __init__(
        self,
        identity: Identity,
        provider: Provider,
        journal: Journal,
        writer: Writer,
        inbox: Inbox,
        settings: dict[str, Any],
        meters: tuple[tuple[str, str], ...],
        version: str,
        clock: Clock,
        events: "queue.Queue[object]",
    ) -> None:
        self.transport: Transport  # given by the composition root before `start`
        self.refusals: Counter[str] = Counter()
        self.is_connected = False
        self.batches_sealed = 0
        self.acknowledged_at = 0  # boot ms of the last acknowledgement
        self.bytes_sent = 0
        self.readings_sent = 0
        self.outbox: Outbox = None  # type: ignore[assignment]
        self._identity = identity
        self._provider = provider
        self._journal = journal
        self._writer = writer
        self._inbox = inbox
        self._settings = settings
        self._meters = meters
        self._version = version
        self._clock = clock
        self._events = events
        self._reader: JournalReader = None  # type: ignore[assignment]
        self._counter = 0
        self._counter_end = 0
        self._last_ack = 0
        self._nonces: dict[bytes, int] = {}  # nonce -> boot ms when it was made
        self._hello_due = 0
        self._greeted_at = 0
        self._paused_until = 0
        self._receipts_sent: dict[tuple[int, str], int] = {}
        self._stopping = threading.Event()
        self._disk_refuses = False  # told once, not at each turn
        self._thread = threading.Thread(target=self._run, name="sync")

    # ---- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """After the writer has started."""
        self._reader = self._journal.reader()
        stored = self._writer.call(self._journal.acknowledged).result()
        settings = self._settings
        self.outbox = Outbox(
            stored,
            self._writer.head,
            settings["batch_sets"],
            settings["linger_ms"],
            settings["window"],
            settings["ack_timeout_ms"],
        )
        self._thread.start()
        self.transport.start()

    def stop(self) -> None:
        """Ends the connection and the thread; what is unsent stays in the journal."""
        self.transport.stop()
        self._stopping.set()
        self._thread.join()
        self._reader.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
                self._disk_refuses = False
            except (sqlite3.Error, OSError) as error:
                # Nothing was acknowledged by it. The journal tells when the disk takes rows again.
                if not self._disk_refuses:
                    log.error("uplink_waits reason=%r", str(error))
                self._disk_refuses = True
                self._stopping.wait(1)
            except Exception:
                # A fault of ours must not end the uplink for good; nothing was acknowledged by it.
                log.exception("turn_failed")
                self._stopping.wait(1)

    def turn(self) -> None:
        """Hears what came, then says what is due."""
        due_ms = self.outbox.next_in_ms(self._clock.boot_ms())
        timeout_ms = min(max(due_ms, _TURN_MS_MIN), _TURN_MS_MAX)
        try:
            event = self._events.get(timeout=timeout_ms / 1000)
            while True:
                self._hear(event)
                event = self._events.get_nowait()
        except queue.Empty:
            pass
        self._clock.tend()
        now = self._clock.boot_ms()
        self.outbox.note_head(self._writer.head, now)
        self.outbox.note_time(now)
        if self.is_connected and now >= self._paused_until:
            self._speak(now)

    # ---- hearing --------------------------------------------------------------------------------

    def _hear(self, event: object) -> None:
        if isinstance(event, Connected):
            log.info("broker_connected backlog_sets=%d", self.outbox.backlog)
            self.is_connected = True
            self._hello_due = 0
            self._paused_until = 0
            self._receipts_sent.clear()
            self.outbox.note_head(self._writer.head, self._clock.boot_ms())
            self.outbox.note_connected()
        elif isinstance(event, Disconnected):
            log.info("broker_disconnected reason=%r", event.reason)
            self.is_connected = False
            self.outbox.note_lost()
        elif isinstance(event, Refused):
            log.info("publish_refused reason=%r", event.reason)
            self._paused_until = self._clock.boot_ms() + REFUSED_PAUSE_MS
            self._hello_due = 0
            self.outbox.note_lost()
        elif isinstance(event, Arrived):
            self._hear_message(event)

    def _hear_message(self, message: Arrived) -> None:
        try:
            self._open(message)
        except BusbarError as error:
            reason = error.reason if isinstance(error, EnvelopeError) else "refused"
            self.refusals[reason] += 1
            log.warning("message_refused topic=%s reason=%s", message.topic, error)
        except Exception:
            # The disk refuses. An order stays with the broker; an acknowledgement comes again by
            # itself, and must not use up the messages that the broker sends without our word.
            if not message.topic.endswith(topics.ORDERS):
                message.acknowledge()
            raise
        message.acknowledge()

    def _open(self, message: Arrived) -> None:
        try:
            topic = topics.Topic.from_text(message.topic)
        except CallerError:
            raise EnvelopeError("topic") from None
        kind = DOWNLINK_BY_SUFFIX.get(topic.suffix)
        if kind is None or (topic.tenant, topic.gateway) != (
            self._identity.tenant,
            self._identity.gateway_id,
        ):
            raise EnvelopeError("topic")
        if message.retained and kind is ORDER:
            raise EnvelopeError("retained", "an order must not wait in the broker")
        context = Context(kind.name, HEAD_END, self._identity.gateway_id, message.topic)
        now = self._trusted_utc()
        opened = open_sealed(
            self._provider,
            self._identity.own_keys,
            self._identity.trusted,
            kind.use,
            now,
            context,
            message.payload,
        )
        if opened.claims.content_type != kind.content_type:
            raise EnvelopeError("content_type")
        body = self._provider.decode(self._provider.inflate(opened.body, BODY_SIZE_MAX))
        if kind is ACK:
            self._hear_ack(opened, Ack.from_body(body), now)
        else:
            ages = {nonce: self._clock.boot_ms() - made for nonce, made in self._nonces.items()}
            self._inbox.take(opened.claims, body, now, ages)

    def _hear_ack(self, opened: Opened, ack: Ack, now: int) -> None:
        if ack.epoch != self._journal.epoch or opened.claims.epoch != self._journal.epoch:
            raise EnvelopeError("epoch", "an acknowledgement of another journal")
        if opened.claims.sequence <= self._last_ack:
            raise EnvelopeError("replayed")
        if now and not ack.nonce:
            check_times(opened.claims, now)
        if ack.upto > self.outbox.head or any(last > self.outbox.head for _, last in ack.ranges):
            raise EnvelopeError("schema", "acknowledges what was never journaled")
        self._last_ack = opened.claims.sequence
        asked_at = self._nonces.get(ack.nonce)
        if asked_at is not None:
            self._clock.anchor(ack.head_end_time, asked_at)
            self._hello_due = self._clock.boot_ms() + HELLO_MS
        self.outbox.note_stored(self._call(self._journal.acknowledge, ack.upto, ack.ranges))
        self.acknowledged_at = self._clock.boot_ms()
        if ack.receipts:
            self._call(self._journal.acknowledge_receipts, ack.receipts)

    # ---- speaking -------------------------------------------------------------------------------

    def _speak(self, now: int) -> None:
        if self._clock.wants_time():
            early = self._greeted_at + self._settings["ack_timeout_ms"]
            self._hello_due = min(self._hello_due, early)
        if now >= self._hello_due:
            # Until it is answered it may be lost, and with it the time that readings wait for.
            self._hello_due = now + self._settings["ack_timeout_ms"]
            self._greeted_at = now
            self._send_hello(now)
        self._send_receipts(now)
        self.outbox.held_from = 0  # judged anew
        while self.is_connected:
            rows = self.outbox.next_range(now)
            if rows is None or not self._send_batch(*rows):
                return

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
            self._inbox.last_counter,
            self._meters,
        )
        self._send(HELLO, self._compress(hello.to_body()))

    def _send_receipts(self, now: int) -> None:
        timeout = self._settings["ack_timeout_ms"]
        for counter, state, body in self._reader.receipts(RECEIPTS_PER_TURN):
            if now - self._receipts_sent.get((counter, state), -timeout) >= timeout and self._send(
                RECEIPT, body
            ):
                self._receipts_sent[(counter, state)] = now

    def _send_batch(self, first: int, last: int) -> bool:
        """Whether the sender may go on with the next batch."""
        found = self._reader.rows(first, last)
        rows = self._sendable(found)
        if not rows:
            return bool(found)  # they wait for their time; others may go
        now = self._clock.boot_ms()
        while True:
            body = self._compress(encode_batch(rows, self.outbox.head))
            counter = self._send(DATA, body)
            if counter is not None:
                break
            if len(rows) == 1:
                raise CallerError(f"reading set {rows[0][0]} does not fit into a message")
            rows = rows[: len(rows) // 2]
        if not counter:
            return False
        self.outbox.note_sent(counter, rows[0][0], rows[-1][0], now)
        self.batches_sealed += 1
        self.readings_sent += sum(len(one.readings) for _, one in rows)
        return True

    def _sendable(self, rows: list[Row]) -> list[Row]:
        """The rows up to the first one whose time is still to come."""
        unsynced = [n for n, (_, one) in enumerate(rows) if one.quality == TimeQuality.UNSYNCED]
        if not unsynced:
            return rows
        moment = self._clock.moment()
        boot_id, quality = self._clock.boot_id, moment.quality
        if quality != TimeQuality.UNSYNCED and any(rows[n][1].boot_id == boot_id for n in unsynced):
            offset = moment.utc_ms - moment.boot_ms
            after = self._call(self._journal.flagged_sent)
            if self._call(self._journal.retime, boot_id, offset, after, quality):
                return self._reader.rows(rows[0][0], rows[-1][0])
        held = [
            n
            for n in unsynced
            if rows[n][1].boot_id == boot_id
            and self._clock.boot_ms() - rows[n][1].boot_at < UNSYNCED_HOLD_MS
        ]
        # With time at hand and nothing left to re-time, the rows were sent flagged before: they
        # stay so.
        if held and quality == TimeQuality.UNSYNCED:
            self.outbox.held_from = rows[held[0]][0]
            rows = rows[: held[0]]
        if any(one.quality == TimeQuality.UNSYNCED for _, one in rows):
            self._call(self._journal.note_flagged_sent, rows[-1][0])
        return rows

    def _send(self, kind: MessageKind, body: bytes) -> int | None:
        """Seals and publishes. The message counter; 0 when there is no connection, None when the
        message is too large for the broker."""
        identity = self._identity
        topic = topics.Topic(identity.tenant, identity.gateway_id, kind.suffix).text()
        now = self._clock.utc_ms()
        counter = self._next_counter()
        claims = Claims(counter, now, 0, b"", self._journal.epoch, kind.content_type)
        recipient = identity.trusted.current(HEAD_END, Use.OPEN, self._trusted_utc())
        context = Context(kind.name, identity.gateway_id, HEAD_END, topic)
        message = seal(
            self._provider, identity.signer, identity.signer_kid, recipient, context, claims, body
        )
        if len(message) > MESSAGE_SIZE_MAX:
            return None
        if not self.transport.publish(topic, message):
            return 0
        self.bytes_sent += len(message)
        return counter

    def _next_counter(self) -> int:
        if self._counter >= self._counter_end:
            self._counter = self._call(self._journal.reserve_counters)
            self._counter_end = self._counter + COUNTER_BLOCK
        self._counter += 1
        return self._counter - 1

    def _compress(self, body: object) -> bytes:
        return self._provider.deflate(self._provider.encode(body))

    def _trusted_utc(self) -> int:
        """UTC when the clock can be trusted, else 0."""
        moment = self._clock.moment()
        return moment.utc_ms if moment.quality >= TimeQuality.NTP else 0

    def _call(self, function: Any, *arguments: object) -> Any:
        future: Future[Any] = self._writer.call(function, *arguments)
        return future.result(timeout=60)
