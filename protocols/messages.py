"""The messages between gateway and head end, and the table that says which key and topic each
needs.

| kind | topic | signed by | body |
| --- | --- | --- | --- |
| data | up/d | gateway | a batch of reading sets (`envelope/batch.py`), compressed |
| hello | up/h | gateway | nonce, boot, versions, where the journal stands |
| receipt | up/r | gateway | what became of an order, with the frames as evidence |
| event | up/e | gateway | events (`envelope/events.py`), with the frames as evidence |
| audit | up/l | gateway | entries of its audit chain (`audit/chain.py`) |
| ack | dn/a | head end's ack key | what is stored; the only thing that empties an outbox |
| order | dn/c | head end's order key | one order for one meter of one gateway (`orders/order.py`) |
| policy | dn/p | head end's order key | what holds for all its orders (`orders/policy.py`) |
| stop | dn/s | head end's order key | orders that are not carried out (`orders/policy.py`) |
| config | dn/cfg | head end's configuration key | a gateway's configuration, or a dry run of one |

Bodies are arrays of plain values; `to_body` and `from_body` are pure and check every field, so
that a signed but faulty message is refused too.
"""

from collections import namedtuple

from protocols import topics
from protocols.audit.chain import AuditBatch
from protocols.envelope.claims import EPOCH_SIZE, NONCE_SIZE, is_count
from protocols.envelope.fields import (
    TEXT_SIZE_MAX,
    fields_of,
    frames_of,
    is_bytes,
    is_text,
    is_within,
    pairs_of,
    require,
    rows_of,
)
from protocols.envelope.keys import Use
from protocols.obis import Obis
from protocols.orders.arguments import ARGUMENT_MAX, ARGUMENTS_MAX
from protocols.orders.kinds import ACTIONS, Action
from protocols.orders.order import NO_TERMS, ORDER_ID_SIZE, Order, check_target
from protocols.orders.policy import Policy, Stop
from protocols.orders.states import (
    ORDER_STATES,
    ORDER_STEPS,
    RECEIPT_STATES,
    OrderState,
    can_follow,
    settles,
)
from protocols.quantity import KIND_NAMES, SCALER_MAX, UNITS, VALUE_MAX, Kind, Quantity
from protocols.readings import TIME_QUALITY_NAMES, Reading

# What is defined beside, and belongs to messages all the same.
__all__ = [
    "ACTIONS",
    "ARGUMENTS_MAX",
    "ARGUMENT_MAX",
    "NO_TERMS",
    "ORDER_ID_SIZE",
    "ORDER_STATES",
    "ORDER_STEPS",
    "RECEIPT_STATES",
    "Action",
    "AuditBatch",
    "Order",
    "OrderState",
    "Policy",
    "Stop",
    "can_follow",
    "check_target",
    "settles",
]

HEAD_END = "head-end"  # the name of the cloud side in every context
VERSION = 1
RANGES_MAX = 256  # of one acknowledgement; the rest follows with the next one
RECEIPTS_MAX = 256
METERS_MAX = 1024  # of one gateway
BOOT_ID_SIZE = 16
EVIDENCE_MAX = 64  # frames of one receipt
EVIDENCE_FRAME_SIZE_MAX = 300  # bytes; a DL/T 645 frame has at most 267, a Modbus one 256
ORDER_READINGS_MAX = 256
FACTS_MAX = 32  # of one receipt
FACT_NAME_SIZE_MAX = 48  # characters
CONFIG_SIZE_MAX = 65_536  # bytes of UTF-8


class MessageKind(namedtuple("MessageKind", ("name", "suffix", "use", "content_type"))):
    """One row of the table above."""


DATA = MessageKind("data", topics.DATA, Use.SIGN_DATA, 1)
HELLO = MessageKind("hello", topics.HELLO, Use.SIGN_DATA, 2)
RECEIPT = MessageKind("receipt", topics.RECEIPTS, Use.SIGN_DATA, 3)
ACK = MessageKind("ack", topics.ACKNOWLEDGEMENTS, Use.SIGN_ACK, 4)
ORDER = MessageKind("order", topics.ORDERS, Use.SIGN_ORDER, 5)
EVENT = MessageKind("event", topics.EVENTS, Use.SIGN_DATA, 6)
CONFIG = MessageKind("config", topics.CONFIGURATION, Use.SIGN_CONFIG, 7)
POLICY = MessageKind("policy", topics.POLICY, Use.SIGN_ORDER, 8)
STOP = MessageKind("stop", topics.STOPS, Use.SIGN_ORDER, 9)
AUDIT = MessageKind("audit", topics.AUDIT, Use.SIGN_DATA, 10)
MESSAGE_KINDS = (DATA, HELLO, RECEIPT, ACK, ORDER, EVENT, CONFIG, POLICY, STOP, AUDIT)
UPLINK_BY_SUFFIX = {kind.suffix: kind for kind in (DATA, HELLO, RECEIPT, EVENT, AUDIT)}
DOWNLINK_BY_SUFFIX = {kind.suffix: kind for kind in (ACK, ORDER, CONFIG, POLICY, STOP)}


class Hello(
    namedtuple(
        "Hello",
        ("nonce", "boot_id", "version", "head", "acknowledged", "quality", "last_order", "meters"),
    )
):
    """A gateway's greeting: a nonce of this boot, its software version, the highest sequence
    journaled, the highest contiguous one acknowledged, its time quality, the highest order
    counter it has taken up, and its meters ((meter_id, meter_address), ...)."""

    def to_body(self) -> list:
        """The array on the wire."""
        return [VERSION] + list(self[:7]) + [[list(one) for one in self.meters]]

    @classmethod
    def from_body(cls, body: object) -> "Hello":
        """EnvelopeError("schema") unless every field fits."""
        fields = fields_of(body, VERSION, 8, 8)
        nonce, boot_id, version, head, acknowledged, quality, last_order, meters = fields
        require(
            is_bytes(nonce, NONCE_SIZE) and is_bytes(boot_id, BOOT_ID_SIZE) and is_text(version)
        )
        require(is_count(head) and is_count(acknowledged) and is_count(last_order))
        require(is_count(quality) and quality < len(TIME_QUALITY_NAMES))
        for meter_id, address in pairs_of(meters, METERS_MAX):
            require(is_text(meter_id) and is_text(address))
        return cls(*fields[:7], tuple([tuple(one) for one in meters]))  # type: ignore[call-arg]


class Ack(
    namedtuple(
        "Ack",
        ("epoch", "upto", "ranges", "head_end_time", "nonce", "receipts", "events", "audit"),
    )
):
    """What the head end has stored of `epoch`: every sequence up to `upto`, and the `ranges`
    [(first, last), ...] above it. `nonce` answers a hello, so `head_end_time` (UTC ms) is fresh.
    `receipts`: [(order counter, state), ...] that are stored. `events`: every event up to this
    sequence is stored; `audit`: every entry of the audit chain up to this sequence is."""

    def to_body(self) -> list:
        """The array on the wire; with nothing of an audit chain stored it ends before it."""
        ranges = [list(one) for one in self.ranges]
        receipts = [list(one) for one in self.receipts]
        head = [VERSION, self.epoch, self.upto, ranges, self.head_end_time, self.nonce]
        return head + [receipts, self.events] + ([self.audit] if self.audit else [])

    @classmethod
    def from_body(cls, body: object) -> "Ack":
        """EnvelopeError("schema") unless every field fits."""
        fields = fields_of(body, VERSION, 7, 8)
        epoch, upto, ranges, time, nonce, receipts, events = fields[:7]
        audit = fields[7] if len(fields) > 7 else 0
        require(is_count(audit) and (audit > 0 or len(fields) == 7))
        require(is_bytes(epoch, EPOCH_SIZE) and is_count(upto) and is_count(time))
        require(nonce == b"" or is_bytes(nonce, NONCE_SIZE))
        require(is_count(events))
        last = upto
        for first, end in pairs_of(ranges, RANGES_MAX):
            # Ranges rise above `upto` and do not overlap; one that touches is only not merged.
            require(is_count(first) and is_count(end) and last < first <= end)
            last = end
        for counter, state in pairs_of(receipts, RECEIPTS_MAX):
            require(is_count(counter) and isinstance(state, str) and state in RECEIPT_STATES)
        pairs = tuple([tuple(one) for one in ranges])
        told = tuple([tuple(one) for one in receipts])
        return cls(epoch, upto, pairs, time, nonce, told, events, audit)


class Config(namedtuple("Config", ("version", "is_dry_run", "text"))):
    """A gateway's configuration as the `text` of its TOML file. A gateway takes versions that rise;
    a dry run is judged and told, and changes nothing."""

    def to_body(self) -> list:
        """The array on the wire."""
        return [VERSION, self.version, self.is_dry_run, self.text]

    @classmethod
    def from_body(cls, body: object) -> "Config":
        """EnvelopeError("schema") unless every field fits."""
        version, is_dry_run, text = fields_of(body, VERSION, 3, 3)
        require(is_count(version) and version > 0 and isinstance(is_dry_run, bool))
        require(isinstance(text, str) and 0 < len(text.encode()) <= CONFIG_SIZE_MAX)
        return cls(version, is_dry_run, text)


class Receipt(
    namedtuple(
        "Receipt",
        (
            "order_id",
            "counter",
            "state",
            "reason",
            "at",
            "quality",
            "readings",
            "evidence",
            "facts",
        ),
    )
):
    """What became of an order: `at` UTC ms, `readings` a tuple of Reading, `evidence` the frames as
    ((">" or "<", ms since the exchange began, bytes), ...), `facts` what was observed as ((name,
    text), ...), each name once."""

    def to_body(self) -> list:
        """The array on the wire; without facts it ends before them."""
        readings = [
            [
                r.obis.to_bytes(),
                r.quantity.value,
                r.quantity.scaler,
                r.quantity.unit,
                r.quantity.kind,
            ]
            for r in self.readings
        ]
        evidence = [list(one) for one in self.evidence]
        head = [
            VERSION,
            self.order_id,
            self.counter,
            self.state,
            self.reason,
            self.at,
            self.quality,
        ]
        facts = [list(one) for one in self.facts]
        return head + [readings, evidence] + ([facts] if facts else [])

    @classmethod
    def from_body(cls, body: object) -> "Receipt":
        """EnvelopeError("schema") unless every field fits."""
        fields = fields_of(body, VERSION, 8, 9)
        order_id, counter, state, reason, at, quality, readings, evidence = fields[:8]
        require(is_bytes(order_id, ORDER_ID_SIZE) and is_count(counter) and is_count(at))
        require(isinstance(state, str) and state in RECEIPT_STATES)
        require(isinstance(reason, str) and len(reason) <= TEXT_SIZE_MAX)
        require(is_count(quality) and quality < len(TIME_QUALITY_NAMES))
        frames = frames_of(evidence, EVIDENCE_MAX, EVIDENCE_FRAME_SIZE_MAX)
        rows = tuple([_reading(row) for row in rows_of(readings, 0, ORDER_READINGS_MAX, 5)])
        facts = _facts(fields[8]) if len(fields) > 8 else ()
        return cls(order_id, counter, state, reason, at, quality, rows, frames, facts)


def _facts(value: object) -> tuple:
    # None are not sent as none, so that a receipt has one form.
    names = []
    for name, text in rows_of(value, 1, FACTS_MAX, 2):
        require(isinstance(name, str) and 0 < len(name) <= FACT_NAME_SIZE_MAX)
        require(isinstance(text, str) and len(text) <= TEXT_SIZE_MAX and name not in names)
        names.append(name)
    return tuple([tuple(one) for one in value])  # type: ignore[attr-defined]


def _reading(row: list) -> Reading:
    obis, value, scaler, unit, kind = row
    require(is_bytes(obis, 6) and is_within(scaler, SCALER_MAX))
    require(isinstance(unit, str) and unit in UNITS and is_count(kind) and kind in KIND_NAMES)
    if kind == Kind.TEXT:
        require(isinstance(value, str) and len(value) <= TEXT_SIZE_MAX)
    else:
        require(is_within(value, VALUE_MAX - 1))
    return Reading(Obis.from_bytes(obis), Quantity(value, scaler, unit, kind))
