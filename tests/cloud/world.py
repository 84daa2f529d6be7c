"""A head end without a broker, and gateways made of nothing but `protocols`: what the tests talk
to."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from cloud.app import Core
from cloud.identity.keyring import Registry, load_own_keys
from cloud.ingest.acks import Outbound
from cloud.ingest.mailbox import Mailbox
from cloud.service import Service
from cloud.settings import Settings, load_settings
from protocols import topics
from protocols.envelope.batch import encode_batch
from protocols.envelope.claims import Claims
from protocols.envelope.events import encode_events
from protocols.envelope.keys import ESP256, HPKE_X25519, KeyRecord, KeySet, PrivateKey, Use
from protocols.envelope.seal import BODY_SIZE_MAX, Context, Opened, open_sealed, seal
from protocols.envelope.suites import Provider
from protocols.events import Event
from protocols.messages import (
    ACK,
    DATA,
    EVENT,
    HEAD_END,
    HELLO,
    ORDER,
    RECEIPT,
    Ack,
    Hello,
    MessageKind,
    Order,
    Receipt,
)
from protocols.obis import Obis
from protocols.quantity import Quantity
from protocols.readings import Reading, ReadingSet

TENANT = "t1"
NOW = 1_763_700_000_000
FOREVER = 1 << 60
BOOT = bytes(range(16))
PROVIDER = Provider()
CODES = ("1-0:1.8.0", "1-0:1.8.1", "1-0:32.7.0", "1-0:31.7.0", "1-0:16.7.0")
TERMS = ((1, "Wh", 1), (1, "Wh", 1), (-1, "V", 3), (-3, "A", 3), (-1, "W", 3))


def make_key(owner: str, use: str, revoked: int = 0) -> PrivateKey:
    algorithm = HPKE_X25519 if use == Use.OPEN else ESP256
    private, public = PROVIDER.generate(algorithm)
    record = KeyRecord(PROVIDER.kid(public), owner, use, algorithm, public, 0, FOREVER, revoked)
    return PrivateKey(record, private)


def reading_set(sequence: int, meter: str = "meter-1", at: int = NOW) -> ReadingSet:
    """A set whose values follow from its sequence."""
    readings = tuple(
        Reading(Obis.from_text(code), Quantity(sequence * 1000 + n, *terms))
        for n, (code, terms) in enumerate(zip(CODES, TERMS, strict=True))
    )
    return ReadingSet(meter, at + sequence * 60_000, sequence * 60_000, BOOT, 2, readings, 0, 0)


def event(serial: int = 0, kind: str = "started", **fields: object) -> Event:
    """One event, unlike those of other serials."""
    values: dict = {
        "kind": kind,
        "subject": "",
        "at": NOW - 60_000 + serial,
        "boot_at": 5_000,
        "boot_id": BOOT,
        "quality": 2,
        "number": 0,
        "drift_s": None,
        "detail": f"number {serial}",
        "evidence": (),
    }
    return Event(**(values | fields))


class FakeClock:
    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def utc_ms(self) -> int:
        return self.now

    def monotonic_ms(self) -> int:
        return self.now


class FakeBroker:
    """Takes what the head end publishes while `is_up`."""

    def __init__(self) -> None:
        self.is_up = True
        self.sent: list[Outbound] = []
        self.tokens: list[bytes] = []
        self.renewed = 0

    def publish(self, message: Outbound) -> bool:
        if self.is_up:
            self.sent.append(message)
        return self.is_up

    def publish_tracked(self, message: Outbound, token: bytes) -> bool:
        if self.is_up:
            self.tokens.append(token)
        return self.publish(message)

    def renew(self) -> None:
        self.renewed += 1

    def take(self) -> list[Outbound]:
        sent, self.sent = self.sent, []
        return sent


class Gateway:
    """Seals what a gateway seals, opens what it opens."""

    def __init__(self, name: str, head_end: dict[str, PrivateKey]) -> None:
        self.name = name
        self.signing = make_key(name, Use.SIGN_DATA)
        self.opening = make_key(name, Use.OPEN)
        self.head_end = head_end
        self.epoch = os.urandom(8)
        self.nonce = os.urandom(16)
        self.sequence = 0

    def topic(self, suffix: str) -> str:
        return topics.Topic(TENANT, self.name, suffix).text()

    def seal(
        self,
        kind: MessageKind,
        value: object,
        *,
        topic: str = "",
        body: bytes | None = None,
        sequence: int | None = None,
        signing: PrivateKey | None = None,
        recipient: KeyRecord | None = None,
        content_type: int | None = None,
        epoch: bytes | None = None,
    ) -> tuple[str, bytes]:
        """(topic, payload); what is named replaces what an honest gateway would use."""
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        key = signing or self.signing
        topic = topic or self.topic(kind.suffix)
        payload = seal(
            PROVIDER,
            PROVIDER.signer(ESP256, key.private),
            key.record.kid,
            recipient or self.head_end[Use.OPEN].record,
            Context(kind.name, self.name, HEAD_END, topic),
            Claims(
                sequence,
                NOW,
                0,
                b"",
                epoch or self.epoch,
                kind.content_type if content_type is None else content_type,
            ),
            PROVIDER.deflate(PROVIDER.encode(value)) if body is None else body,
        )
        return topic, payload

    def data(
        self, sequences: Iterable[int], meter: str = "meter-1", head: int = 0, **changes: object
    ) -> tuple[str, bytes]:
        rows = [(sequence, reading_set(sequence, meter)) for sequence in sequences]
        return self.batch(rows, head, **changes)

    def batch(self, rows: list, head: int = 0, **changes: object) -> tuple[str, bytes]:
        value = encode_batch(rows, head or rows[-1][0])
        return self.seal(DATA, value, **changes)  # type: ignore[arg-type]

    def hello(
        self, head: int = 0, meters: tuple = (("meter-1", "202611000001"),), last_order: int = 0
    ) -> tuple[str, bytes]:
        hello = Hello(self.nonce, BOOT, "0.1.0", head, 0, 3, last_order, meters)
        return self.seal(HELLO, hello.to_body())

    def receipt(
        self, order: Order, counter: int, state: str, **changes: object
    ) -> tuple[str, bytes]:
        fields: dict = {"reason": "", "at": NOW, "quality": 3, "readings": (), "evidence": ()}
        fields["facts"] = ()
        fields.update(changes)
        receipt = Receipt(order.order_id, counter, state, **fields)
        return self.seal(RECEIPT, receipt.to_body())

    def events(
        self, rows: list[tuple[int, Event]], lowest: int = 1, **changes: object
    ) -> tuple[str, bytes]:
        return self.seal(EVENT, encode_events(rows, lowest), **changes)  # type: ignore[arg-type]

    def open(self, message: Outbound, kind: MessageKind) -> tuple[Opened, object]:
        """What the head end sent, checked as a gateway checks it: (Opened, the body's value)."""
        assert message.topic == self.topic(kind.suffix)
        context = Context(kind.name, HEAD_END, self.name, message.topic)
        own = {self.opening.record.kid: self.opening}
        trusted = KeySet(tuple(key.record for key in self.head_end.values()))
        opened = open_sealed(PROVIDER, own, trusted, kind.use, 0, context, message.payload)
        assert opened.claims.content_type == kind.content_type
        return opened, PROVIDER.decode(PROVIDER.inflate(opened.body, BODY_SIZE_MAX))

    def open_ack(self, message: Outbound) -> tuple[Claims, Ack]:
        opened, body = self.open(message, ACK)
        return opened.claims, Ack.from_body(body)

    def open_order(self, message: Outbound) -> tuple[Claims, Order]:
        opened, body = self.open(message, ORDER)
        return opened.claims, Order.from_body(body)


class World:
    """An identity directory, a configuration, and gateways in its registry."""

    def __init__(self, base: Path, names: tuple[str, ...] = ("gw1",)) -> None:
        self.base = base
        self.identity = base / "identity"
        self.identity.mkdir()
        self.own = {
            use: make_key(HEAD_END, use) for use in (Use.SIGN_ACK, Use.SIGN_ORDER, Use.OPEN)
        }
        self.gateways = {name: Gateway(name, self.own) for name in names}
        self.version = 0
        self.config = base / "cloud.toml"
        self.clock = FakeClock()
        self.broker = FakeBroker()
        self.write_keys()
        self.write_registry()
        self.write_config()

    @property
    def gateway(self) -> Gateway:
        return next(iter(self.gateways.values()))

    def write_keys(self) -> None:
        keys = [
            {"record": k.record.to_json(), "private": k.private.hex()} for k in self.own.values()
        ]
        document = {"party": HEAD_END, "tenant": TENANT, "keys": keys}
        (self.identity / "keys.json").write_text(json.dumps(document))

    def write_registry(self, revoked: tuple[bytes, ...] = ()) -> None:
        self.version += 1
        records = []
        for gateway in self.gateways.values():
            for key in (gateway.signing, gateway.opening):
                record = key.record
                if record.kid in revoked:
                    record = record._replace(revoked=NOW)
                records.append(record.to_json())
        document = {"tenant": TENANT, "version": self.version, "keys": records}
        path = self.identity / "registry.json"
        fresh = path.with_suffix(".new")  # another inode, as the tool writes it
        fresh.write_text(json.dumps(document))
        fresh.replace(path)

    def write_config(self, port: int = 8883, version: int = 5) -> None:
        self.config.write_text(
            f'[head_end]\ntenant = "{TENANT}"\nstate_dir = "state"\nidentity_dir = "identity"\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\nversion = {version}\ntls = false\n'
        )

    def settings(self) -> Settings:
        return load_settings(self.config)

    def core(self) -> Core:
        """The head end over this world's database; close its store."""
        settings = self.settings()
        settings.state_dir.mkdir(exist_ok=True)
        own = load_own_keys(self.identity, TENANT, self.clock)
        registry = Registry(self.identity / "registry.json", TENANT)
        return Core(settings, own, registry, self.broker, self.clock)

    def service(self, core: Core, messages: int = 40) -> Service:
        mailbox = Mailbox(1000)
        return Service(
            mailbox,
            core.ingest,
            core.desk,
            core.configs,
            self.broker,
            self.clock,
            messages,
            20,
        )
