"""One message at a time from topic and bytes to the open transaction; `commit` makes it durable and
then tells the gateways.

* Nothing that a message holds is stored unless every check has passed; what fails one is counted
  under the one word of its EnvelopeError and never comes back, because it would never become good.
* A replay is refused, and still answered with what is stored: after a crash of ours between commit
  and acknowledgement the broker delivers again, and the gateway must not wait for ever.
* A gateway is told only what is committed.
"""

import logging
from collections import Counter
from typing import NamedTuple, Protocol

from cloud.clock import Clock
from cloud.faults import fault_words
from cloud.ingest.acks import AckSender, Prepared, Wanted, prepare
from cloud.ingest.chains import ChainStore
from cloud.ingest.gate import Gate, Passed
from cloud.ingest.sets import BatchReader
from cloud.store.events import EventStore
from cloud.store.rows import EpochRow, GatewayRow, SetBatch
from cloud.store.writer import Writer
from protocols import topics
from protocols.envelope.claims import ReplayWindow
from protocols.envelope.events import decode_events
from protocols.errors import EnvelopeError
from protocols.events import Event, Severity, severity_of
from protocols.messages import AUDIT, DATA, EVENT, HELLO, AuditBatch, Hello, Receipt

log = logging.getLogger("cloud.ingest")

NO_GATEWAY = "(none)"  # for a topic that names no gateway
PRESENCE_WORDS = {b"on": "on", b"off": "off", b"lost": "lost"}
REFUSALS_LOGGED_FIRST = 20  # of one gateway and reason; after that every hundredth
REFUSALS_LOGGED_EVERY = 100
CONFLICTS_LOGGED_MAX = 10  # sequences in one alarm line


class EventMessage(NamedTuple):
    """Events, and the lowest sequence that their gateway will still send."""

    lowest: int
    rows: list[tuple[int, Event]]


Content = Hello | Receipt | EventMessage | AuditBatch | tuple[int, SetBatch]


class ReceiptBook(Protocol):
    """Who keeps receipts and moves orders by them."""

    def receive(self, gateway: GatewayRow, receipt: Receipt, now: int) -> None:
        """Store a receipt, once, and move its order."""

    def latest(self, gateway: GatewayRow) -> list[tuple[int, str]]:
        """[(counter, state), ...] of the gateway's latest stored receipts."""

    def greeted(self, gateway: GatewayRow) -> None:
        """A gateway said hello; its row is as the hello says."""

    def audit_stored(self, gateway: GatewayRow, sequence: int, chain_hash: bytes) -> None:
        """A gateway's audit chain has come to here."""

    def audit_broken(self, gateway: GatewayRow, detail: str) -> None:
        """A gateway's audit chain does not continue."""

    def committed(self) -> None:
        """What was received is durable now."""

    def rolled_back(self) -> None:
        """What was received since the last commit was undone."""


class Ingest:
    """The way up, in the writer's thread."""

    def __init__(
        self,
        store: Writer,
        gate: Gate,
        acks: AckSender,
        receipts: ReceiptBook,
        chains: ChainStore,
        clock: Clock,
    ) -> None:
        self._store = store
        self._chains = chains
        self._events = EventStore(store.db)
        self._gate = gate
        self._acks = acks
        self._receipts = receipts
        self._clock = clock
        self._batches = BatchReader()
        self._wanted: dict[tuple[str, bytes], Wanted] = {}
        self._pending: Counter[str] = Counter()
        self._logged: Counter[tuple[str, str]] = Counter()
        self._early_presence: dict[str, str] = {}  # of registered gateways that sent no hello yet
        self.counts: Counter[str] = Counter()  # since the start, committed

    # ---- one message ----------------------------------------------------------------------------

    def handle(self, topic: str, payload: bytes, retain: bool = False) -> str:
        """Check a message and take it into the open transaction. The reason word of its refusal, or
        "" when it was taken. Raises only what the database raises. RETAIN means nothing here."""
        self._pending["messages"] += 1
        try:
            parsed = self._gate.parse(topic)
        except EnvelopeError as error:
            return self._refuse(NO_GATEWAY, error)
        try:
            if parsed.suffix == topics.PRESENCE:
                self._take_presence(parsed.gateway, payload)
            else:
                self._take(self._open(parsed, payload))
        except EnvelopeError as error:
            return self._refuse(parsed.gateway, error)
        return ""

    def refuse_internal(self, topic: str) -> None:
        """Count a message on which our own code failed, so that it does not stop the others."""
        try:
            gateway_id = self._gate.parse(topic).gateway
        except EnvelopeError:
            gateway_id = NO_GATEWAY
        self._refuse(gateway_id, EnvelopeError("internal"))

    def _refuse(self, gateway_id: str, error: EnvelopeError) -> str:
        reason = error.reason
        self._store.count_refusal(gateway_id, reason, self._clock.utc_ms())
        self._pending["refused"] += 1
        key = (gateway_id if self._gate.is_known(gateway_id) else NO_GATEWAY, reason)
        self._logged[key] += 1
        count = self._logged[key]
        if count <= REFUSALS_LOGGED_FIRST or count % REFUSALS_LOGGED_EVERY == 0:
            log.warning("message_refused gateway=%s reason=%s count=%d", gateway_id, reason, count)
        return reason

    def _open(self, topic: topics.Topic, payload: bytes) -> Passed:
        try:
            return self._gate.open(topic, payload)
        except EnvelopeError:
            raise
        except Exception as error:
            log.error("check_failed error=%s", fault_words(error))
            raise EnvelopeError("internal") from error

    def _take(self, passed: Passed) -> None:
        claims = passed.claims
        known = self._store.find_gateway(passed.gateway_id)
        epoch = self._store.find_epoch(known, claims.epoch) if known else None
        try:
            window = (epoch.window if epoch else ReplayWindow(0, 0)).accept(claims.sequence)
        except EnvelopeError:
            if known is not None:
                self._answer_replay(passed, known)
            raise
        content = self._content(passed)
        now = self._clock.utc_ms()
        gateway = known or self._store.gateway(passed.gateway_id, now)
        epoch = epoch or self._store.epoch(gateway, claims.epoch, now)
        if isinstance(content, Hello):
            self._take_hello(gateway, epoch, passed, content, now)
        elif isinstance(content, Receipt):
            self._receipts.receive(gateway, content, now)
            self._want(gateway, claims.epoch).receipts[(content.counter, content.state)] = None
        elif isinstance(content, EventMessage):
            self._take_events(gateway, epoch, content, now)
        elif isinstance(content, AuditBatch):
            self._take_audit(gateway, epoch, passed, content, now)
        else:
            self._take_sets(gateway, epoch, *content, now)
        epoch.window = window
        gateway.last_seen_at = now
        self._store.mark_epoch(epoch)
        self._store.mark_gateway(gateway)

    def _content(self, passed: Passed) -> Content:
        try:
            body = self._gate.body(passed)
            if passed.kind is DATA:
                return self._batches.read(body)
            if passed.kind is EVENT:
                return EventMessage(*decode_events(body))
            if passed.kind is AUDIT:
                return AuditBatch.from_body(body)
            return Hello.from_body(body) if passed.kind is HELLO else Receipt.from_body(body)
        except EnvelopeError:
            raise
        except Exception as error:
            log.error("check_failed error=%s", fault_words(error))
            raise EnvelopeError("internal") from error

    def _take_sets(
        self, gateway: GatewayRow, epoch: EpochRow, head: int, sets: SetBatch, now: int
    ) -> None:
        added = self._store.add_sets(gateway, epoch, sets, now)
        self._pending["sets"] += added.stored
        self._pending["duplicates"] += added.duplicates
        self._note_conflicts("set", gateway, epoch, added.conflicts, now)
        epoch.head = max(epoch.head, head)
        if gateway.epoch_key is None:
            gateway.epoch_key = epoch.epoch_key
        if gateway.epoch_key == epoch.epoch_key:
            gateway.quality = sets.qualities[-1]
            gateway.boot_id = sets.boot_ids[-1]
        self._want(gateway, epoch.epoch)

    def _take_events(
        self, gateway: GatewayRow, epoch: EpochRow, message: EventMessage, now: int
    ) -> None:
        self._store.begin()
        added = self._events.add(epoch, message.lowest, message.rows, now)
        self._pending["events"] += len(added.stored)
        self._pending["duplicates"] += added.duplicates
        self._note_conflicts("event", gateway, epoch, added.conflicts, now)
        alarms = [one for one in added.stored if severity_of(one.kind) == Severity.ALARM]
        for one in alarms:
            log.warning(
                "alarm_told gateway=%s kind=%s subject=%r",
                gateway.gateway_id,
                one.kind,
                one.subject,
            )
        self._want(gateway, epoch.epoch)

    def _take_audit(
        self, gateway: GatewayRow, epoch: EpochRow, passed: Passed, batch: AuditBatch, now: int
    ) -> None:
        self._store.begin()
        name = gateway.gateway_id
        taken = self._chains.add(name, epoch, batch, passed.body, now)
        self._pending["audit"] += taken.stored
        if taken.stored:
            self._receipts.audit_stored(gateway, epoch.audit, taken.hash)
        if taken.broken:
            self._receipts.audit_broken(gateway, taken.broken)
        self._want(gateway, epoch.epoch)

    def _note_conflicts(
        self, what: str, gateway: GatewayRow, epoch: EpochRow, sequences: list[int], now: int
    ) -> None:
        if not sequences:
            return
        self._pending["conflicts"] += len(sequences)
        for _ in sequences:
            self._store.count_refusal(gateway.gateway_id, "conflict", now)
        log.error(
            "%s_conflicted gateway=%s epoch=%s count=%d sequences=%s",
            what,
            gateway.gateway_id,
            epoch.epoch.hex(),
            len(sequences),
            ",".join(map(str, sequences[:CONFLICTS_LOGGED_MAX])),
        )

    def _take_hello(
        self, gateway: GatewayRow, epoch: EpochRow, passed: Passed, hello: Hello, now: int
    ) -> None:
        sequence = passed.claims.sequence
        epoch.head = max(epoch.head, hello.head)
        wanted = self._want(gateway, epoch.epoch)
        wanted.nonce = hello.nonce
        wanted.receipts.update(dict.fromkeys(self._receipts.latest(gateway)))
        is_late = gateway.epoch_key == epoch.epoch_key and sequence < (gateway.hello_sequence or 0)
        if is_late:
            return
        gateway.epoch_key = epoch.epoch_key
        gateway.hello_at = now
        gateway.hello_sequence = sequence
        gateway.nonce = hello.nonce
        gateway.boot_id = hello.boot_id
        gateway.version = hello.version
        gateway.quality = hello.quality
        gateway.acknowledged = hello.acknowledged
        gateway.last_order = hello.last_order
        early = self._early_presence.pop(gateway.gateway_id, None)
        if early is not None:
            self._note_presence(gateway, early)
        self._store.announce_meters(gateway, hello.meters)
        self._receipts.greeted(gateway)
        log.info(
            "hello_taken gateway=%s epoch=%s head=%d acknowledged=%d meters=%d",
            gateway.gateway_id,
            epoch.epoch.hex(),
            hello.head,
            hello.acknowledged,
            len(hello.meters),
        )

    def _take_presence(self, gateway_id: str, payload: bytes) -> None:
        word = PRESENCE_WORDS.get(payload)
        if word is None:
            raise EnvelopeError("malformed", "presence")
        gateway = self._store.find_gateway(gateway_id)
        if gateway is not None:
            self._note_presence(gateway, word)
        elif self._gate.is_known(gateway_id):
            self._early_presence[gateway_id] = word  # it says so right before its first hello

    def _note_presence(self, gateway: GatewayRow, word: str) -> None:
        if gateway.presence != word:
            self._store.begin()
            gateway.presence = word
            gateway.presence_at = self._clock.utc_ms()
            self._store.mark_gateway(gateway)

    # ---- answers --------------------------------------------------------------------------------

    def _want(self, gateway: GatewayRow, epoch: bytes) -> Wanted:
        return self._wanted.setdefault((gateway.gateway_id, epoch), Wanted())

    def _answer_replay(self, passed: Passed, gateway: GatewayRow) -> None:
        wanted = self._want(gateway, passed.claims.epoch)
        wanted.receipts.update(dict.fromkeys(self._receipts.latest(gateway)))
        if passed.kind is HELLO and not wanted.nonce:
            wanted.nonce = gateway.nonce or b""

    def greet_all(self) -> None:
        """Tell every known gateway, with the next commit, what is stored of its current epoch."""
        for gateway_id in self._store.gateway_ids():
            gateway = self._store.find_gateway(gateway_id)
            epoch = self._store.current_epoch(gateway) if gateway else None
            if gateway and epoch and self._gate.is_known(gateway_id):
                latest = self._receipts.latest(gateway)
                self._want(gateway, epoch.epoch).receipts.update(dict.fromkeys(latest))

    def commit(self) -> None:
        """Make durable what was handled, then acknowledge it. When the database raises, nothing was
        told; call `rollback`."""
        prepared: list[Prepared] = []
        now = self._clock.utc_ms()
        for (gateway_id, name), wanted in self._wanted.items():
            gateway = self._store.find_gateway(gateway_id)
            epoch = self._store.find_epoch(gateway, name) if gateway else None
            if gateway and epoch:
                prepared += prepare(gateway, epoch, wanted, now)
                self._store.mark_gateway(gateway)
        self._store.commit()
        self._gate.age()
        self._wanted.clear()
        self.counts.update(self._pending)
        self._pending.clear()
        self._receipts.committed()
        self.counts["acks"] += self._acks.send(prepared)
        self._gate.age()

    def rollback(self) -> None:
        """Undo everything since the last commit."""
        self._store.rollback()
        self._gate.age()
        self._wanted.clear()
        self._pending.clear()
        self._receipts.rolled_back()
