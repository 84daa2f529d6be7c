"""A head end in the test: its keys and the gateway's, what it sends, and what it hears."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from edge.sync.identity import Identity, TlsFiles
from protocols import topics
from protocols.envelope.claims import Claims
from protocols.envelope.keys import ESP256, HPKE_X25519, KeyRecord, KeySet, PrivateKey, Use
from protocols.envelope.seal import BODY_SIZE_MAX, Context, Opened, open_sealed, seal
from protocols.envelope.suites import Provider
from protocols.messages import (
    ACK,
    HEAD_END,
    NO_TERMS,
    ORDER,
    UPLINK_BY_SUFFIX,
    Ack,
    Action,
    MessageKind,
    Order,
)
from tests.edge.fakes import ENERGY, UTC_MS

TENANT, GATEWAY, OTHER_GATEWAY = "t1", "gw-1", "gw-2"
METER_ID, METER_ADDRESS = "m-1", "000000000161"
FOREVER = 1 << 60
PROVIDER = Provider()


class Heard(NamedTuple):
    """One message of the gateway, opened."""

    kind: MessageKind
    claims: Claims
    body: Any


def make_key(owner: str, use: str) -> PrivateKey:
    """A fresh key that holds forever."""
    algorithm = HPKE_X25519 if use == Use.OPEN else ESP256
    private, public = PROVIDER.generate(algorithm)
    record = KeyRecord(PROVIDER.kid(public), owner, use, algorithm, public, 0, FOREVER, False)
    return PrivateKey(record, private)


def make_order(number: int = 1, **fields: Any) -> Order:
    """A read of the energy of the gateway's meter."""
    values = {
        "order_id": number.to_bytes(16, "big"),
        "action": Action.READ,
        "meter_id": METER_ID,
        "meter_address": METER_ADDRESS,
        "obis": ENERGY,
        "arguments": (),
        "terms": NO_TERMS,
        "approvals": (),
    }
    return Order(**(values | fields))


class HeadEnd:
    """Everything signed by it is signed with the key of its use, unless the test gives another."""

    def __init__(self) -> None:
        self.ack_key = make_key(HEAD_END, Use.SIGN_ACK)
        self.order_key = make_key(HEAD_END, Use.SIGN_ORDER)
        self.open_key = make_key(HEAD_END, Use.OPEN)
        self.gateway_keys = {
            name: (make_key(name, Use.SIGN_DATA), make_key(name, Use.OPEN))
            for name in (GATEWAY, OTHER_GATEWAY)
        }
        self.last_ack = 0

    def identity(self, folder: Path) -> Identity:
        """The gateway's side."""
        sign, own = self.gateway_keys[GATEWAY]
        tls = TlsFiles(folder / "ca.pem", folder / "tls.pem", folder / "tls.key")
        return Identity(
            GATEWAY,
            TENANT,
            PROVIDER.signer(ESP256, sign.private),
            sign.record.kid,
            {own.record.kid: own},
            self.trusted(),
            tls,
        )

    def trusted(self) -> KeySet:
        """What a gateway trusts."""
        keys = (self.ack_key, self.order_key, self.open_key)
        return KeySet(tuple(key.record for key in keys))

    def write_files(self, folder: Path) -> None:
        """As `busbar-provision init` leaves them."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            {"record": key.record.to_json(), "private": key.private.hex()}
            for key in self.gateway_keys[GATEWAY]
        ]
        own = {"party": GATEWAY, "tenant": TENANT, "keys": rows}
        (folder / "keys.json").write_text(json.dumps(own))
        keys = [record.to_json() for record in self.trusted().records()]
        (folder / "keyset.json").write_text(json.dumps({"tenant": TENANT, "keys": keys}))
        for name in ("ca.pem", "tls.pem", "tls.key"):
            (folder / name).write_text("none")

    def open(self, topic: str, payload: bytes) -> Heard:
        """Opens what the gateway published."""
        parsed = topics.Topic.from_text(topic)
        kind = UPLINK_BY_SUFFIX[parsed.suffix]
        sign, _ = self.gateway_keys[parsed.gateway]
        opened: Opened = open_sealed(
            PROVIDER,
            {self.open_key.record.kid: self.open_key},
            KeySet((sign.record,)),
            kind.use,
            0,
            Context(kind.name, parsed.gateway, HEAD_END, topic),
            payload,
        )
        assert opened.claims.content_type == kind.content_type
        body = PROVIDER.decode(PROVIDER.inflate(opened.body, BODY_SIZE_MAX))
        return Heard(kind, opened.claims, body)

    def seal(
        self,
        kind: MessageKind,
        claims: Claims,
        body: object,
        key: PrivateKey | None = None,
        gateway: str = GATEWAY,
    ) -> tuple[str, bytes]:
        """(topic, payload) of anything, for any gateway, under any key."""
        topic = topics.Topic(TENANT, gateway, kind.suffix).text()
        key = key or (self.ack_key if kind is ACK else self.order_key)
        payload = seal(
            PROVIDER,
            PROVIDER.signer(ESP256, key.private),
            key.record.kid,
            self.gateway_keys[gateway][1].record,
            Context(kind.name, HEAD_END, gateway, topic),
            claims,
            PROVIDER.deflate(PROVIDER.encode(body)),
        )
        return topic, payload

    def ack(
        self,
        epoch: bytes,
        upto: int,
        ranges: tuple[tuple[int, int], ...] = (),
        nonce: bytes = b"",
        receipts: tuple[tuple[int, str], ...] = (),
        time: int = UTC_MS,
        sequence: int = 0,
        claimed_epoch: bytes = b"",
        key: PrivateKey | None = None,
        gateway: str = GATEWAY,
        events: int = 0,
        audit: int = 0,
    ) -> tuple[str, bytes]:
        """A sealed acknowledgement with the next sequence."""
        self.last_ack += 1
        claims = Claims(
            sequence or self.last_ack, time, 0, b"", claimed_epoch or epoch, ACK.content_type
        )
        body = Ack(epoch, upto, ranges, time, nonce, receipts, events, audit).to_body()
        return self.seal(ACK, claims, body, key, gateway)

    def order(
        self,
        epoch: bytes,
        counter: int,
        order: Order | None = None,
        issued_at: int = UTC_MS,
        valid_ms: int = 120_000,
        nonce: bytes = b"",
        key: PrivateKey | None = None,
        gateway: str = GATEWAY,
    ) -> tuple[str, bytes]:
        """A sealed order."""
        claims = Claims(counter, issued_at, issued_at + valid_ms, nonce, epoch, ORDER.content_type)
        return self.seal(ORDER, claims, (order or make_order()).to_body(), key, gateway)
