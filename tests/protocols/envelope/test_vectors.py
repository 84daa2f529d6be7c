"""tests/vectors/envelope.json: what was sealed once opens for ever, to the same content."""

import json
from typing import Any

import pytest

from protocols.audit.chain import AuditBatch, check_chain, first_hash
from protocols.envelope.batch import decode_batch
from protocols.envelope.claims import Claims
from protocols.envelope.events import decode_events
from protocols.envelope.keys import KeyRecord, KeySet, PrivateKey
from protocols.envelope.seal import BODY_SIZE_MAX, Context, open_sealed
from protocols.envelope.suites import Provider
from protocols.events import Event
from protocols.messages import (
    MESSAGE_KINDS,
    NO_TERMS,
    Ack,
    Config,
    Hello,
    Order,
    Policy,
    Receipt,
    Stop,
)
from protocols.orders.approvals import check_approvals, order_digest
from protocols.orders.order import check_claims
from protocols.readings import Reading
from tests.protocols.make_envelope_vectors import CASES, FILE, KEYS, parts_of

DOCUMENT = json.loads(FILE.read_text(encoding="utf-8"))
MESSAGES: list[dict[str, Any]] = DOCUMENT["messages"]
BY_NAME = {one["name"]: one for one in MESSAGES}
PROVIDER = Provider()
NOW = 1_763_700_000_000
FOREVER = (1 << 63) - 1

# What each message says, written out: a change of the body's form shows here.
READINGS = [
    (7, "m1", NOW, 5000, [
        ("1-0:1.8.0*255", "123456.78", "kWh"), ("1-0:32.7.0*255", "230.1", "V"),
        ("0-0:96.1.1*255", "000000000042", ""), ("0-0:96.3.10*255", "80", ""),
    ]),
    (9, "m1", NOW + 60_000, 65_000, [("1-0:1.8.0*255", "123456.81", "kWh")]),
    (10, "m1", NOW + 120_000, 125_000, [("1-0:1.8.0*255", "123456.80", "kWh")]),
]  # fmt: skip
DIGEST = "11da9729fa3975babdfd1a78bf7c57894dc22e03d18106738dca66ee9201480d"
AUDIT_HASH = "38cf7414de76449ae2a1f1948707501c38f30ec9735a460b5f3244e771eb65aa"
ORDER_ID, NONCE = b"order-id--16-b-r", b"nonce of a boot!"


def private_key(name: str) -> PrivateKey:
    """A key of the file, valid for ever: what is judged here is the form."""
    row = DOCUMENT["keys"][name]
    record = KeyRecord.from_json(row["record"])._replace(not_before=0, not_after=FOREVER)
    return PrivateKey(record, bytes.fromhex(row["private"]))


def claims_of(vector: dict[str, Any]) -> Claims:
    """The claims that the vector states."""
    fields = {**vector["claims"]}
    for name in ("nonce", "epoch"):
        fields[name] = bytes.fromhex(fields[name])
    return Claims(**fields)


def content_of(vector: dict[str, Any]) -> Any:
    """The decoded body of the opened message."""
    signer, recipient = private_key(vector["signer"]), private_key(vector["recipient"])
    found = open_sealed(
        PROVIDER,
        {recipient.record.kid: recipient},
        KeySet((signer.record,)),
        vector["use"],
        vector["now"],
        Context(**vector["context"]),
        bytes.fromhex(vector["message"]),
    )
    assert found == (claims_of(vector), bytes.fromhex(vector["body"]), signer.record)
    return PROVIDER.decode(PROVIDER.inflate(found.body, BODY_SIZE_MAX))


def test_there_is_a_frozen_message_of_every_kind_and_suite() -> None:
    """A new kind of message brings one (see make_envelope_vectors.py)."""
    assert {one["context"]["kind"] for one in MESSAGES} == {kind.name for kind in MESSAGE_KINDS}
    assert {one["name"] for one in MESSAGES} >= {case.name for case in CASES}
    assert {DOCUMENT["keys"][one["recipient"]]["record"]["algorithm"] for one in MESSAGES} == {
        -65601, -65602,
    }  # fmt: skip


def shown(reading: Reading) -> tuple[str, str, str]:
    """Code, exact decimal text and unit."""
    return (reading.obis.text(), *reading.quantity.shown())


@pytest.mark.parametrize("name", ["data", "data, x-wing"])
def test_a_frozen_batch_opens_to_its_readings(name: str) -> None:
    """Sequence, meter, times and exact decimal text of each reading."""
    head, rows = decode_batch(content_of(BY_NAME[name]))
    found = [
        (sequence, one.meter_id, one.read_at, one.boot_at, [shown(r) for r in one.readings])
        for sequence, one in rows
    ]
    assert (head, found) == (12, READINGS)
    marks = {(one.boot_id, one.quality, one.origin, one.flags) for _, one in rows}
    assert marks == {(b"b" * 16, 2, 0, 0)}


def test_a_frozen_batch_with_origins_and_flags_opens() -> None:
    """A roll-back under a doubtful clock, a freeze of the day before, a set that was shed whole."""
    head, rows = decode_batch(content_of(BY_NAME["data, with origins and flags"]))
    found = [
        (n, one.read_at, one.boot_at, one.origin, one.flags, [shown(r)[1] for r in one.readings])
        for n, one in rows
    ]
    assert (head, found) == (15, [
        (13, NOW + 180_000, 185_000, 0, 33, ["123456.90"]),
        (14, NOW - 86_400_000, 190_000, 1, 0, ["123000.00"]),
        (15, NOW + 240_000, 245_000, 0, 16, []),
    ])  # fmt: skip


def test_a_frozen_hello_opens() -> None:
    """Field by field."""
    hello = Hello.from_body(content_of(BY_NAME["hello"]))
    assert hello == (NONCE, b"b" * 16, "0.1.0", 12, 7, 2, 3, (("m1", "123456789012"),))


def test_a_frozen_acknowledgement_opens() -> None:
    """Field by field."""
    ack = Ack.from_body(content_of(BY_NAME["ack"]))
    assert ack == (b"epoch--1", 7, ((9, 9), (11, 20)), NOW, NONCE, ((3, "done"),), 5, 0)


def test_a_frozen_order_opens() -> None:
    """Field by field."""
    order = Order.from_body(content_of(BY_NAME["order"]))
    assert order == (ORDER_ID, "read", "m1", "123456789012", (1, 0, 1, 8, 0, 255), (), NO_TERMS, ())


def test_a_frozen_order_with_arguments_opens() -> None:
    """A day to be filled."""
    order = Order.from_body(content_of(BY_NAME["order, with arguments"]))
    assert order[1:] == (
        "backfill", "m1", "123456789012", (1, 0, 1, 8, 0, 255), (NOW - 86_400_000, NOW),
        NO_TERMS, (),
    )  # fmt: skip


def test_frozen_events_open() -> None:
    """The gateway's own, and a meter's with its count, its drift and its frames."""
    frames = ((">", 0, b"\x68\x11"), ("<", 120, b"\x68\x91\x16"))
    boot = b"b" * 16
    lowest, rows = decode_events(content_of(BY_NAME["event"]))
    assert lowest == 4
    assert rows == [
        (5, Event("started", "", NOW, 900, boot, 1, 0, None, "0.1.0, power", ())),
        (6, Event("meter-cover-opened", "m1", NOW - 3_600_000, 65_000, boot, 2, 2, -41, "",
                  frames)),
    ]  # fmt: skip


def test_a_frozen_configuration_opens() -> None:
    """A dry run of version 3."""
    config = Config.from_body(content_of(BY_NAME["config"]))
    assert config == (3, True, '[gateway]\nid = "gw1"\n')


def test_a_frozen_order_holds_with_its_approvals() -> None:
    """Its terms field by field, its digest, and the signatures of two people over it."""
    order = Order.from_body(content_of(BY_NAME["order, approved"]))
    assert order[:6] == (
        b"order-id--16-b-t", "disconnect", "m1", "123456789012", (0, 0, 0, 0, 0, 0), ()
    )  # fmt: skip
    assert order.terms == (
        "head-end", 4, "person:li", NOW - 3_600_000, "unpaid for 40 days", NOW - 60_000,
        NOW + 86_400_000, 900_000, b"", 0,
    )  # fmt: skip
    assert order_digest(PROVIDER, "t1", "gw1", order).hex() == DIGEST
    trusted = KeySet((private_key("approver").record, private_key("second approver").record))
    names = check_approvals(PROVIDER, trusted, "t1", "gw1", order, NOW)
    assert names == ("person:zhao", "person:qian")
    check_claims(order, claims_of(BY_NAME["order, approved"]))


def test_a_frozen_policy_opens() -> None:
    """Field by field."""
    assert Policy.from_body(content_of(BY_NAME["policy"])) == (
        NOW, 6, NOW + 14_400_000, NOW + 2_592_000_000, (20260101, 20260217), 0, 0, ("m7",), 300
    )  # fmt: skip


def test_a_frozen_stop_opens() -> None:
    """One order by name, and whatever cuts."""
    assert Stop.from_body(content_of(BY_NAME["stop"])) == ((b"order-id--16-b-t",), NOW)


def test_a_frozen_piece_of_an_audit_chain_opens() -> None:
    """Its entries, and the hash after the last one."""
    batch = AuditBatch.from_body(content_of(BY_NAME["audit"]))
    rows = check_chain(PROVIDER, batch)
    assert [entry for entry, _ in rows] == [
        (1, NOW, 2, "policy", "", b"", {"serial": NOW}),
        (2, NOW + 5, 2, "order-armed", "m1", b"order-id--16-b-t", {"relay": "connected"}),
    ]
    assert batch.previous == first_hash("t1", "gw1", b"epoch--1")
    assert rows[-1][1].hex() == AUDIT_HASH


def test_a_frozen_acknowledgement_of_audit_entries_opens() -> None:
    """With a field more than one that tells of none."""
    ack = Ack.from_body(content_of(BY_NAME["ack, of audit entries"]))
    assert ack == (b"epoch--1", 7, (), NOW, b"", ((6, "confirmed"),), 5, 12)


def test_a_frozen_receipt_with_facts_opens() -> None:
    """What was observed, in words."""
    receipt = Receipt.from_body(content_of(BY_NAME["receipt, with facts"]))
    assert receipt[:6] == (b"order-id--16-b-t", 6, "confirmed", "", NOW, 3)
    assert receipt.facts == (
        ("relay before", "connected"), ("relay after", "disconnected"), ("records", "+1")
    )  # fmt: skip


def test_a_frozen_receipt_opens() -> None:
    """Field by field."""
    receipt = Receipt.from_body(content_of(BY_NAME["receipt"]))
    assert receipt[:6] == (ORDER_ID, 4, "done", "", NOW, 3)
    assert [one.quantity.shown() for one in receipt.readings] == [
        ("0.26", "kWh"), ("000000000042", ""),
    ]  # fmt: skip
    assert receipt.evidence == ((">", 0, b"\x68\x11"), ("<", 120, b"\x68\x91\x16"))
    assert receipt.facts == ()


@pytest.mark.parametrize("name", BY_NAME)
def test_what_follows_from_the_inputs_is_made_as_it_was(name: str) -> None:
    """Context, headers, payload, what is signed, the signature and the info, byte by byte: only the
    encapsulated key and the ciphertext are new each time."""
    vector = BY_NAME[name]
    parts = parts_of(
        Context(**vector["context"]),
        private_key(vector["signer"]),
        private_key(vector["recipient"]),
        claims_of(vector),
        bytes.fromhex(vector["body"]),
    )
    message = parts.pop("message")
    assert parts == {part: vector[part] for part in parts}
    assert message != vector["message"]
    assert len(message) == len(vector["message"])


@pytest.mark.parametrize("name", KEYS)
def test_the_keys_are_the_ones_that_their_labels_give(name: str) -> None:
    """Derived, so that nobody takes them for real ones."""
    row = DOCUMENT["keys"][name]
    assert row == {"record": KEYS[name].record.to_json(), "private": KEYS[name].private.hex()}
    assert PROVIDER.kid(bytes.fromhex(row["record"]["public"])).hex() == row["record"]["kid"]
