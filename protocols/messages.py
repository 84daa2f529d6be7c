"""The messages between gateway and head end, and the table that says which key and topic each
needs.

| kind | topic | signed by | body |
| --- | --- | --- | --- |
| data | up/d | gateway | a batch of reading sets (`envelope/batch.py`), compressed |
| hello | up/h | gateway | nonce, boot, versions, where the journal stands |
| receipt | up/r | gateway | what became of an order, with the frames as evidence |
| event | up/e | gateway | events (`envelope/events.py`), with the frames as evidence |
| ack | dn/a | head end's ack key | what is stored; the only thing that empties an outbox |
| order | dn/c | head end's order key | one order for one meter of one gateway |
| config | dn/cfg | head end's configuration key | a gateway's configuration, or a dry run of one |

Bodies are arrays of plain values; `to_body` and `from_body` are pure and check every field, so
that a signed but faulty message is refused too.
"""

from collections import namedtuple

from protocols import topics
from protocols.dlt645.frame import is_meter_address
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
from protocols.errors import CallerError
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
EVIDENCE_MAX = 64  # frames of one receipt
EVIDENCE_FRAME_SIZE_MAX = 300  # bytes; a DL/T 645 frame has at most 267, a Modbus one 256
ORDER_READINGS_MAX = 256
ARGUMENTS_MAX = 16  # of one order
ARGUMENT_MAX = 1 << 53  # either way: what every JSON reader holds exactly
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
MESSAGE_KINDS = (DATA, HELLO, RECEIPT, ACK, ORDER, EVENT, CONFIG)
UPLINK_BY_SUFFIX = {kind.suffix: kind for kind in (DATA, HELLO, RECEIPT, EVENT)}
DOWNLINK_BY_SUFFIX = {kind.suffix: kind for kind in (ACK, ORDER, CONFIG)}


class Action:
    """What an order asks for."""

    READ = "read"  # the quantity `obis`, now
    BACKFILL = "backfill"  # arguments (from, to), UTC ms: fill from the meter's own records


ACTIONS = (Action.READ, Action.BACKFILL)


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
    namedtuple("Ack", ("epoch", "upto", "ranges", "head_end_time", "nonce", "receipts", "events"))
):
    """What the head end has stored of `epoch`: every sequence up to `upto`, and the `ranges`
    [(first, last), ...] above it. `nonce` answers a hello, so `head_end_time` (UTC ms) is fresh.
    `receipts`: [(order counter, state), ...] that are stored. `events`: every event up to this
    sequence is stored."""

    def to_body(self) -> list:
        """The array on the wire."""
        ranges = [list(one) for one in self.ranges]
        receipts = [list(one) for one in self.receipts]
        head = [VERSION, self.epoch, self.upto, ranges, self.head_end_time, self.nonce]
        return head + [receipts, self.events]

    @classmethod
    def from_body(cls, body: object) -> "Ack":
        """EnvelopeError("schema") unless every field fits."""
        epoch, upto, ranges, time, nonce, receipts, events = fields_of(body, VERSION, 7, 7)
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
        return cls(epoch, upto, pairs, time, nonce, told, events)


class Order(
    namedtuple("Order", ("order_id", "action", "meter_id", "meter_address", "obis", "arguments"))
):
    """One order for one meter. `meter_address` is what the head end believes; a gateway that has
    another one refuses. `arguments`: a tuple of integers and texts, as the action needs them. The
    counter and expiry are the message's signed claims."""

    def to_body(self) -> list:
        """The array on the wire; without arguments it ends before them."""
        body = [
            VERSION,
            self.order_id,
            self.action,
            self.meter_id,
            self.meter_address,
            self.obis.to_bytes(),
        ]
        return body + ([list(self.arguments)] if self.arguments else [])

    @classmethod
    def from_body(cls, body: object) -> "Order":
        """EnvelopeError("schema") unless every field fits, the arguments to the action too."""
        found = fields_of(body, VERSION, 5, 6)
        order_id, action, meter_id, address, obis = found[:5]
        require(is_bytes(order_id, ORDER_ID_SIZE) and isinstance(action, str) and action in ACTIONS)
        require(is_text(meter_id) and is_text(address) and is_bytes(obis, 6))
        arguments = _arguments(found[5]) if len(found) > 5 else ()
        if action == Action.BACKFILL:
            require(_is_span(arguments))
        else:
            require(not arguments)
        return cls(order_id, action, meter_id, address, Obis.from_bytes(obis), arguments)


def _arguments(values: object) -> tuple:
    # None are not sent as none, so that an order has one form.
    listed = values if isinstance(values, list) else []
    require(0 < len(listed) <= ARGUMENTS_MAX)
    for one in listed:
        is_short = isinstance(one, str) and len(one) <= TEXT_SIZE_MAX
        require(is_short or is_within(one, ARGUMENT_MAX))
    return tuple(listed)


def _is_span(arguments: tuple) -> bool:
    if len(arguments) != 2 or not all(is_count(one) for one in arguments):
        return False
    return bool(arguments[0] < arguments[1])


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
        order_id, counter, state, reason, at, quality, readings, evidence = fields_of(
            body, VERSION, 8, 8
        )
        require(is_bytes(order_id, ORDER_ID_SIZE) and is_count(counter) and is_count(at))
        require(isinstance(state, str) and state in RECEIPT_STATES)
        require(isinstance(reason, str) and len(reason) <= TEXT_SIZE_MAX)
        require(is_count(quality) and quality < len(TIME_QUALITY_NAMES))
        frames = frames_of(evidence, EVIDENCE_MAX, EVIDENCE_FRAME_SIZE_MAX)
        rows = tuple([_reading(row) for row in rows_of(readings, 0, ORDER_READINGS_MAX, 5)])
        return cls(order_id, counter, state, reason, at, quality, rows, frames)


def _reading(row: list) -> Reading:
    obis, value, scaler, unit, kind = row
    require(is_bytes(obis, 6) and is_within(scaler, SCALER_MAX))
    require(isinstance(unit, str) and unit in UNITS and is_count(kind) and kind in KIND_NAMES)
    if kind == Kind.TEXT:
        require(isinstance(value, str) and len(value) <= TEXT_SIZE_MAX)
    else:
        require(is_within(value, VALUE_MAX - 1))
    return Reading(Obis.from_bytes(obis), Quantity(value, scaler, unit, kind))


def check_target(order: Order, meter_address: str) -> None:
    """CallerError unless the order's address is the one that this gateway has for the meter, and a
    12-digit one names a single meter."""
    if order.meter_address != meter_address:
        raise CallerError("the meter's address is another one here")
    if len(meter_address) == 12 and not is_meter_address(meter_address):
        raise CallerError("the address does not name one meter")
