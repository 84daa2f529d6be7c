"""The messages between gateway and head end, and the table that says which key and topic each
needs.

| kind | topic | signed by | body |
| --- | --- | --- | --- |
| data | up/d | gateway | a batch of reading sets (`envelope/batch.py`), compressed |
| hello | up/h | gateway | nonce, boot, versions, where the journal stands |
| receipt | up/r | gateway | what became of an order, with the frames as evidence |
| ack | dn/a | head end's ack key | what is stored; the only thing that empties an outbox |
| order | dn/c | head end's order key | one order for one meter of one gateway |

Bodies are arrays of plain values; `to_body` and `from_body` are pure and check every field, so
that a signed but faulty message is refused too.
"""

from collections import namedtuple

from protocols import topics
from protocols.dlt645.frame import is_meter_address
from protocols.envelope.claims import EPOCH_SIZE, NONCE_SIZE, is_count
from protocols.envelope.keys import Use
from protocols.errors import CallerError, EnvelopeError
from protocols.obis import Obis
from protocols.quantity import KIND_NAMES, SCALER_MAX, UNITS, VALUE_MAX, Kind, Quantity
from protocols.readings import TIME_QUALITY_NAMES, Reading

HEAD_END = "head-end"  # the name of the cloud side in every context
VERSION = 1
RANGES_MAX = 256  # of one acknowledgement; the rest follows with the next one
RECEIPTS_MAX = 256
METERS_MAX = 1024  # of one gateway
ORDER_ID_SIZE = 16
BOOT_ID_SIZE = 16
TEXT_SIZE_MAX = 200
EVIDENCE_MAX = 64  # frames of one receipt
EVIDENCE_FRAME_SIZE_MAX = 300  # bytes; a DL/T 645 frame has at most 267, a Modbus one 256
ORDER_READINGS_MAX = 256


class MessageKind(namedtuple("MessageKind", ("name", "suffix", "use", "content_type"))):
    """One row of the table above."""


DATA = MessageKind("data", topics.DATA, Use.SIGN_DATA, 1)
HELLO = MessageKind("hello", topics.HELLO, Use.SIGN_DATA, 2)
RECEIPT = MessageKind("receipt", topics.RECEIPTS, Use.SIGN_DATA, 3)
ACK = MessageKind("ack", topics.ACKNOWLEDGEMENTS, Use.SIGN_ACK, 4)
ORDER = MessageKind("order", topics.ORDERS, Use.SIGN_ORDER, 5)
MESSAGE_KINDS = (DATA, HELLO, RECEIPT, ACK, ORDER)
UPLINK_BY_SUFFIX = {kind.suffix: kind for kind in (DATA, HELLO, RECEIPT)}
DOWNLINK_BY_SUFFIX = {kind.suffix: kind for kind in (ACK, ORDER)}


class Action:
    """What an order asks for."""

    READ = "read"


ACTIONS = (Action.READ,)


class OrderState:
    """States of an order. Up to PUBLISHED the head end knows them, then the gateway tells."""

    DRAFT = "draft"
    SIGNED = "signed"
    QUEUED = "queued"
    PUBLISHED = "published"
    RECEIVED = "received"  # by the gateway; told together with VERIFIED
    VERIFIED = "verified"  # signature, binding, counter and expiry hold; durable on the gateway
    SENT = "sent"  # bytes may be on the wire
    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"
    UNKNOWN = "unknown"  # sent, and what came of it is not known


# from -> what may follow. A state that is not here is final.
ORDER_STEPS = {
    OrderState.DRAFT: (OrderState.SIGNED,),
    OrderState.SIGNED: (OrderState.QUEUED,),
    OrderState.QUEUED: (OrderState.PUBLISHED, OrderState.EXPIRED, OrderState.UNKNOWN),
    OrderState.PUBLISHED: (
        OrderState.RECEIVED,
        OrderState.VERIFIED,
        OrderState.REFUSED,
        OrderState.EXPIRED,
        OrderState.UNKNOWN,
    ),
    OrderState.RECEIVED: (OrderState.VERIFIED, OrderState.REFUSED, OrderState.EXPIRED),
    OrderState.VERIFIED: (
        OrderState.SENT,
        OrderState.REFUSED,
        OrderState.EXPIRED,
        OrderState.UNKNOWN,
    ),
    OrderState.SENT: (OrderState.DONE, OrderState.REFUSED, OrderState.UNKNOWN),
}
ORDER_STATES = (
    "draft", "signed", "queued", "published", "received", "verified", "sent",
    "done", "refused", "expired", "unknown",
)  # fmt: skip
RECEIPT_STATES = (
    OrderState.VERIFIED,
    OrderState.SENT,
    OrderState.DONE,
    OrderState.REFUSED,
    OrderState.EXPIRED,
    OrderState.UNKNOWN,
)


def can_follow(state: str, following: str) -> bool:
    """Whether an order in `state` may come to `following`, steps between them left out."""
    seen = [state]
    for one in seen:
        for step in ORDER_STEPS.get(one, ()):
            if step == following:
                return True
            if step not in seen:
                seen.append(step)
    return False


def settles(state: str, following: str) -> bool:
    """Whether a late receipt may say after all what became of an order that was unknown."""
    return state == OrderState.UNKNOWN and following in (
        OrderState.DONE,
        OrderState.REFUSED,
        OrderState.EXPIRED,
    )


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
        fields = _fields(body, 8)
        nonce, boot_id, version, head, acknowledged, quality, last_order, meters = fields
        _require(
            _is_bytes(nonce, NONCE_SIZE) and _is_bytes(boot_id, BOOT_ID_SIZE) and _is_text(version)
        )
        _require(is_count(head) and is_count(acknowledged) and is_count(last_order))
        _require(is_count(quality) and quality < len(TIME_QUALITY_NAMES))
        for meter_id, address in _pairs(meters, METERS_MAX):
            _require(_is_text(meter_id) and _is_text(address))
        return cls(*fields[:7], tuple([tuple(one) for one in meters]))  # type: ignore[call-arg]


class Ack(namedtuple("Ack", ("epoch", "upto", "ranges", "head_end_time", "nonce", "receipts"))):
    """What the head end has stored of `epoch`: every sequence up to `upto`, and the `ranges`
    [(first, last), ...] above it. `nonce` answers a hello, so `head_end_time` (UTC ms) is fresh.
    `receipts`: [(order counter, state), ...] that are stored."""

    def to_body(self) -> list:
        """The array on the wire."""
        ranges = [list(one) for one in self.ranges]
        receipts = [list(one) for one in self.receipts]
        return [VERSION, self.epoch, self.upto, ranges, self.head_end_time, self.nonce, receipts]

    @classmethod
    def from_body(cls, body: object) -> "Ack":
        """EnvelopeError("schema") unless every field fits."""
        epoch, upto, ranges, time, nonce, receipts = _fields(body, 6)
        _require(_is_bytes(epoch, EPOCH_SIZE) and is_count(upto) and is_count(time))
        _require(nonce == b"" or _is_bytes(nonce, NONCE_SIZE))
        last = upto
        for first, end in _pairs(ranges, RANGES_MAX):
            # Ranges rise above `upto` and do not overlap; one that touches is only not merged.
            _require(is_count(first) and is_count(end) and last < first <= end)
            last = end
        for counter, state in _pairs(receipts, RECEIPTS_MAX):
            _require(is_count(counter) and isinstance(state, str) and state in RECEIPT_STATES)
        pairs = tuple([tuple(one) for one in ranges])
        return cls(epoch, upto, pairs, time, nonce, tuple([tuple(one) for one in receipts]))


class Order(namedtuple("Order", ("order_id", "action", "meter_id", "meter_address", "obis"))):
    """One order for one meter. `meter_address` is what the head end believes; a gateway that has
    another one refuses. The counter and expiry are the message's signed claims."""

    def to_body(self) -> list:
        """The array on the wire."""
        return [
            VERSION,
            self.order_id,
            self.action,
            self.meter_id,
            self.meter_address,
            self.obis.to_bytes(),
        ]

    @classmethod
    def from_body(cls, body: object) -> "Order":
        """EnvelopeError("schema") unless every field fits."""
        order_id, action, meter_id, address, obis = _fields(body, 5)
        _require(
            _is_bytes(order_id, ORDER_ID_SIZE) and isinstance(action, str) and action in ACTIONS
        )
        _require(_is_text(meter_id) and _is_text(address) and _is_bytes(obis, 6))
        return cls(order_id, action, meter_id, address, Obis.from_bytes(obis))


class Receipt(
    namedtuple(
        "Receipt",
        ("order_id", "counter", "state", "reason", "at", "quality", "readings", "evidence"),
    )
):
    """What became of an order: `at` UTC ms, `readings` a tuple of Reading, `evidence` the frames as
    ((">" or "<", ms since the exchange began, bytes), ...)."""

    def to_body(self) -> list:
        """The array on the wire."""
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
        return head + [readings, evidence]

    @classmethod
    def from_body(cls, body: object) -> "Receipt":
        """EnvelopeError("schema") unless every field fits."""
        order_id, counter, state, reason, at, quality, readings, evidence = _fields(body, 8)
        _require(_is_bytes(order_id, ORDER_ID_SIZE) and is_count(counter) and is_count(at))
        _require(isinstance(state, str) and state in RECEIPT_STATES)
        _require(isinstance(reason, str) and len(reason) <= TEXT_SIZE_MAX)
        _require(is_count(quality) and quality < len(TIME_QUALITY_NAMES))
        _require(isinstance(readings, list) and len(readings) <= ORDER_READINGS_MAX)
        _require(isinstance(evidence, list) and len(evidence) <= EVIDENCE_MAX)
        for frame in evidence:
            _require(isinstance(frame, list) and len(frame) == 3 and frame[0] in ("<", ">"))
            _require(is_count(frame[1]) and isinstance(frame[2], bytes))
            _require(len(frame[2]) <= EVIDENCE_FRAME_SIZE_MAX)
        rows = tuple([_reading(row) for row in readings])
        frames = tuple([tuple(frame) for frame in evidence])
        return cls(order_id, counter, state, reason, at, quality, rows, frames)


def _reading(row: object) -> Reading:
    obis, value, scaler, unit, kind = (
        row if isinstance(row, list) and len(row) == 5 else (None,) * 5
    )
    _require(_is_bytes(obis, 6) and _is_within(scaler, SCALER_MAX))
    _require(isinstance(unit, str) and unit in UNITS and is_count(kind) and kind in KIND_NAMES)
    if kind == Kind.TEXT:
        _require(isinstance(value, str) and len(value) <= TEXT_SIZE_MAX)
    else:
        _require(_is_within(value, VALUE_MAX - 1))
    return Reading(Obis.from_bytes(bytes(obis or ())), Quantity(value, scaler, unit, kind))


def check_target(order: Order, meter_address: str) -> None:
    """CallerError unless the order's address is the one that this gateway has for the meter, and a
    12-digit one names a single meter."""
    if order.meter_address != meter_address:
        raise CallerError("the meter's address is another one here")
    if len(meter_address) == 12 and not is_meter_address(meter_address):
        raise CallerError("the address does not name one meter")


def _fields(body: object, count: int) -> list:
    if not isinstance(body, list) or len(body) != count + 1:
        raise EnvelopeError("schema", "message")
    _require(is_count(body[0]) and body[0] == VERSION)  # true and 1.0 are no version
    return body[1:]


def _pairs(value: object, most: int) -> list:
    pairs = value if isinstance(value, list) else [None]
    _require(len(pairs) <= most)
    for pair in pairs:
        _require(isinstance(pair, list) and len(pair) == 2)
    return pairs


def _require(holds: bool) -> None:
    if not holds:
        raise EnvelopeError("schema", "message field")


def _is_within(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -most <= value <= most


def _is_bytes(value: object, size: int) -> bool:
    return isinstance(value, bytes) and len(value) == size


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= TEXT_SIZE_MAX
