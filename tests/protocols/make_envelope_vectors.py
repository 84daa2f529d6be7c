"""Adds frozen envelope vectors to tests/vectors/envelope.json; run on purpose, from the root:

    PYTHONPATH=. python -m tests.protocols.make_envelope_vectors

What stands in the file stays: messages sealed once must open for ever. A new kind of message, or a
new suite, gets a line in CASES and one run of this script; the difference is reviewed like code.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from protocols.audit.chain import AuditBatch, Entry, entry_bytes, first_hash
from protocols.envelope.batch import encode_batch
from protocols.envelope.claims import Claims
from protocols.envelope.events import encode_events
from protocols.envelope.keys import ESP256, PrivateKey, Use
from protocols.envelope.seal import Context, seal
from protocols.envelope.suites import Provider
from protocols.events import Event
from protocols.messages import NO_TERMS, Ack, Config, Hello, Order, Policy, Receipt, Stop
from protocols.obis import Obis
from protocols.orders.approvals import approval_bytes, order_digest
from protocols.orders.order import NO_OBIS, Approval, Terms
from protocols.quantity import Kind, Quantity
from protocols.readings import Flag, Origin, Reading, ReadingSet, TimeQuality
from tests.protocols.envelope.world import (
    ACK_KEY,
    APPROVER_KEY,
    CLOUD_OPEN,
    CLOUD_OPEN_XWING,
    CONFIG_KEY,
    DATA_KEY,
    GATEWAY,
    GATEWAY_OPEN,
    HEAD_END,
    NOW,
    ORDER_KEY,
    PROVIDER,
    SECOND_APPROVER_KEY,
)

FILE = Path(__file__).parent.parent / "vectors" / "envelope.json"
ABOUT = (
    "Sealed messages that must open for ever, and the parts of each that follow from its inputs"
    " alone. The keys are for tests and known to everybody. Bytes are hex; ctx, protected, payload,"
    " sig_structure, signature, inner and info are named as in the wire format:"
    " outer = 16([protected_outer, {-4: enc}, HPKE(inner, info)]),"
    " inner = 18([protected_inner, {}, payload, signature])."
    " Written by tests/protocols/make_envelope_vectors.py."
)
KEYS = {
    "gw1 data": DATA_KEY,
    "gw1 open": GATEWAY_OPEN,
    "head-end ack": ACK_KEY,
    "head-end order": ORDER_KEY,
    "head-end config": CONFIG_KEY,
    "approver": APPROVER_KEY,
    "second approver": SECOND_APPROVER_KEY,
    "head-end open": CLOUD_OPEN,
    "head-end open x-wing": CLOUD_OPEN_XWING,
}
UP, DOWN = (GATEWAY, HEAD_END), (HEAD_END, GATEWAY)
EPOCH, NONCE = b"epoch--1", b"nonce of a boot!"

ENERGY, VOLTAGE = Obis.from_text("1-0:1.8.0"), Obis.from_text("1-0:32.7.0")
NUMBER, STATUS = Obis.from_text("0-0:96.1.1"), Obis.from_text("0-0:96.3.10")
NUMBER_TEXT = Quantity("000000000042", 0, "", Kind.TEXT)


def _set(at: int, energy: int, *more: Reading) -> ReadingSet:
    one = Reading(ENERGY, Quantity(energy, 1, "Wh", Kind.CUMULATIVE))
    readings = (one, *more)
    return ReadingSet("m1", NOW + at, 5000 + at, b"b" * 16, TimeQuality.NTP, readings, 0, 0)


BATCH = encode_batch(
    [
        (
            7,
            _set(
                0,
                12345678,
                Reading(VOLTAGE, Quantity(2301, -1, "V", Kind.INSTANTANEOUS)),
                Reading(NUMBER, NUMBER_TEXT),
                Reading(STATUS, Quantity(0x0050, 0, "", Kind.STATUS)),
            ),
        ),
        (9, _set(60_000, 12345681)),
        (10, _set(120_000, 12345680)),
    ],
    12,
)
MARKED_BATCH = encode_batch(
    [
        (13, _set(180_000, 12345690)._replace(flags=Flag.ROLL_BACK | Flag.CLOCK_SUSPECT)),
        (14, _set(-86_400_000, 12300000)._replace(boot_at=190_000, origin=Origin.FREEZE)),
        (15, _set(240_000, 0)._replace(readings=(), flags=Flag.SHED)),
    ],
    15,
)
ASKED = Terms(
    "head-end",
    4,
    "person:li",
    NOW - 3_600_000,
    "unpaid for 40 days",
    NOW - 60_000,
    NOW + 86_400_000,
    900_000,
    b"",
    0,
)
CUT = Order(b"order-id--16-b-t", "disconnect", "m1", "123456789012", NO_OBIS, (), ASKED, ())


def _approved(order: Order) -> Order:
    """With the signatures of two people."""
    digest = order_digest(PROVIDER, "t1", GATEWAY, order)
    approvals = []
    for key in (APPROVER_KEY, SECOND_APPROVER_KEY):
        signed = approval_bytes(PROVIDER, digest, key.record.owner, NOW - 1_800_000)
        signature = PROVIDER.signer(ESP256, key.private).sign(signed)
        approvals.append(Approval(key.record.owner, key.record.kid, NOW - 1_800_000, signature))
    return order._replace(approvals=tuple(approvals))


APPROVED = _approved(CUT)
BODIES = {
    "batch": BATCH,
    "hello": Hello(NONCE, b"b" * 16, "0.1.0", 12, 7, 2, 3, (("m1", "123456789012"),)).to_body(),
    "receipt": Receipt(
        b"order-id--16-b-r",
        4,
        "done",
        "",
        NOW,
        TimeQuality.SIGNED,
        (Reading(ENERGY, Quantity(26, 1, "Wh", Kind.CUMULATIVE)), Reading(NUMBER, NUMBER_TEXT)),
        ((">", 0, b"\x68\x11"), ("<", 120, b"\x68\x91\x16")),
        (),
    ).to_body(),
    "receipt of a switch": Receipt(
        b"order-id--16-b-t",
        6,
        "confirmed",
        "",
        NOW,
        TimeQuality.SIGNED,
        (),
        ((">", 0, b"\x68\x11"), ("<", 120, b"\x68\x91\x16")),
        (("relay before", "connected"), ("relay after", "disconnected"), ("records", "+1")),
    ).to_body(),
    "ack": Ack(EPOCH, 7, ((9, 9), (11, 20)), NOW, NONCE, ((3, "done"),), 5, 0).to_body(),
    "ack of audit": Ack(EPOCH, 7, (), NOW, b"", ((6, "confirmed"),), 5, 12).to_body(),
    "order": Order(
        b"order-id--16-b-r", "read", "m1", "123456789012", ENERGY, (), NO_TERMS, ()
    ).to_body(),
    "backfill": Order(
        b"order-id--16-b-s",
        "backfill",
        "m1",
        "123456789012",
        ENERGY,
        (NOW - 86_400_000, NOW),
        NO_TERMS,
        (),
    ).to_body(),
    "disconnect": APPROVED.to_body(),
    "policy": Policy(
        NOW, 6, NOW + 14_400_000, NOW + 30 * 86_400_000, (20260101, 20260217), 0, 0, ("m7",), 300
    ).to_body(),
    "stop": Stop((b"order-id--16-b-t",), NOW).to_body(),
    "audit": AuditBatch(
        1,
        first_hash("t1", GATEWAY, EPOCH),
        (
            entry_bytes(PROVIDER, Entry(1, NOW, 2, "policy", "", b"", {"serial": NOW})),
            entry_bytes(
                PROVIDER,
                Entry(
                    2, NOW + 5, 2, "order-armed", "m1", b"order-id--16-b-t", {"relay": "connected"}
                ),
            ),
        ),
    ).to_body(),
    "marked batch": MARKED_BATCH,
    "events": encode_events(
        [
            (
                5,
                Event(
                    "started", "", NOW, 900, b"b" * 16, TimeQuality.RTC, 0, None, "0.1.0, power", ()
                ),
            ),
            (
                6,
                Event(
                    "meter-cover-opened",
                    "m1",
                    NOW - 3_600_000,
                    65_000,
                    b"b" * 16,
                    TimeQuality.NTP,
                    2,
                    -41,
                    "",
                    ((">", 0, b"\x68\x11"), ("<", 120, b"\x68\x91\x16")),
                ),
            ),
        ],
        4,
    ),
    "config": Config(3, True, '[gateway]\nid = "gw1"\n').to_body(),
}


class Case(NamedTuple):
    """One message: who seals what for whom."""

    name: str
    kind: str
    suffix: str
    parties: tuple[str, str]
    signer: str
    use: str
    recipient: str
    claims: Claims
    body: str


CASES = (
    Case("data", "data", "up/d", UP, "gw1 data", Use.SIGN_DATA, "head-end open",
         Claims(7, NOW, 0, b"", EPOCH, 1), "batch"),
    Case("data, x-wing", "data", "up/d", UP, "gw1 data", Use.SIGN_DATA, "head-end open x-wing",
         Claims(8, NOW, 0, b"", EPOCH, 1), "batch"),
    Case("hello", "hello", "up/h", UP, "gw1 data", Use.SIGN_DATA, "head-end open",
         Claims(9, NOW, 0, b"", EPOCH, 2), "hello"),
    Case("receipt", "receipt", "up/r", UP, "gw1 data", Use.SIGN_DATA, "head-end open",
         Claims(10, NOW, 0, b"", EPOCH, 3), "receipt"),
    Case("ack", "ack", "dn/a", DOWN, "head-end ack", Use.SIGN_ACK, "gw1 open",
         Claims(5, NOW, NOW + 86_400_000, b"", EPOCH, 4), "ack"),
    Case("order", "order", "dn/c", DOWN, "head-end order", Use.SIGN_ORDER, "gw1 open",
         Claims(4, NOW, NOW + 120_000, NONCE, EPOCH, 5), "order"),
    Case("order, with arguments", "order", "dn/c", DOWN, "head-end order", Use.SIGN_ORDER,
         "gw1 open", Claims(5, NOW, NOW + 120_000, NONCE, EPOCH, 5), "backfill"),
    Case("data, with origins and flags", "data", "up/d", UP, "gw1 data", Use.SIGN_DATA,
         "head-end open", Claims(11, NOW, 0, b"", EPOCH, 1), "marked batch"),
    Case("event", "event", "up/e", UP, "gw1 data", Use.SIGN_DATA, "head-end open",
         Claims(12, NOW, 0, b"", EPOCH, 6), "events"),
    Case("config", "config", "dn/cfg", DOWN, "head-end config", Use.SIGN_CONFIG, "gw1 open",
         Claims(3, NOW, NOW + 86_400_000, b"", EPOCH, 7), "config"),
    Case("receipt, with facts", "receipt", "up/r", UP, "gw1 data", Use.SIGN_DATA, "head-end open",
         Claims(13, NOW, 0, b"", EPOCH, 3), "receipt of a switch"),
    Case("ack, of audit entries", "ack", "dn/a", DOWN, "head-end ack", Use.SIGN_ACK, "gw1 open",
         Claims(6, NOW, NOW + 86_400_000, b"", EPOCH, 4), "ack of audit"),
    Case("order, approved", "order", "dn/c", DOWN, "head-end order", Use.SIGN_ORDER,
         "gw1 open", Claims(6, NOW, NOW + 900_000, NONCE, EPOCH, 5), "disconnect"),
    Case("policy", "policy", "dn/p", DOWN, "head-end order", Use.SIGN_ORDER, "gw1 open",
         Claims(NOW, NOW, NOW + 86_400_000, NONCE, bytes(8), 8), "policy"),
    Case("stop", "stop", "dn/s", DOWN, "head-end order", Use.SIGN_ORDER, "gw1 open",
         Claims(NOW, NOW, NOW + 86_400_000, b"", bytes(8), 9), "stop"),
    Case("audit", "audit", "up/l", UP, "gw1 data", Use.SIGN_DATA, "head-end open",
         Claims(14, NOW, 0, b"", EPOCH, 10), "audit"),
)  # fmt: skip


class RecordingProvider(Provider):
    """Notes what is encrypted, and how."""

    def __init__(self) -> None:
        self.inner = self.info = b""

    def encrypt(
        self, algorithm: int, public: bytes, plaintext: bytes, info: bytes
    ) -> tuple[bytes, bytes]:
        """The real encryption, noted."""
        self.inner, self.info = plaintext, info
        return super().encrypt(algorithm, public, plaintext, info)


class RecordingSigner:
    """Notes what is signed."""

    def __init__(self, private: bytes) -> None:
        self._signer = Provider().signer(ESP256, private)
        self.signed = b""

    def sign(self, data: bytes) -> bytes:
        """The real signature, noted."""
        self.signed = data
        return self._signer.sign(data)


def parts_of(
    context: Context, signer: PrivateKey, recipient: PrivateKey, claims: Claims, body: bytes
) -> dict[str, str]:
    """The message, and what of it follows from the inputs alone, in hex."""
    provider, noted = RecordingProvider(), RecordingSigner(signer.private)
    message = seal(
        provider,
        noted,
        signer.record.kid,
        recipient.record,
        context,
        claims,
        body,  # type: ignore[arg-type]
    )
    protected_inner, _, payload, signature = provider.untagged(provider.inner, 18)  # type: ignore[misc]
    protected_outer = provider.untagged(message, 16)[0]  # type: ignore[index]
    parts = {
        "ctx": provider.encode(context.parts()),
        "protected_inner": protected_inner,
        "payload": payload,
        "sig_structure": noted.signed,
        "signature": signature,
        "inner": provider.inner,
        "protected_outer": protected_outer,
        "info": provider.info,
        "message": message,
    }
    return {name: part.hex() for name, part in parts.items()}


def vector_of(case: Case) -> dict[str, Any]:
    """One entry of the file."""
    provider = Provider()
    topic = f"busbar/1/t1/{GATEWAY}/{case.suffix}"
    context = Context(case.kind, *case.parties, topic)
    body = provider.deflate(provider.encode(BODIES[case.body]))
    signer, recipient = KEYS[case.signer], KEYS[case.recipient]
    claims = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in case.claims._asdict().items()
    }
    return {
        "name": case.name,
        "context": context._asdict(),
        "signer": case.signer,
        "use": case.use,
        "recipient": case.recipient,
        "now": NOW,
        "claims": claims,
        "body": body.hex(),
        **parts_of(context, signer, recipient, case.claims, body),
    }


def main() -> None:
    """Keeps what stands in the file and adds what is missing."""
    old: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    keys = {
        name: {"record": one.record.to_json(), "private": one.private.hex()}
        for name, one in KEYS.items()
    } | old.get("keys", {})
    messages = old.get("messages", [])
    known = {one["name"] for one in messages}
    messages += [vector_of(case) for case in CASES if case.name not in known]
    document = {"about": ABOUT, "keys": keys, "messages": messages}
    FILE.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
