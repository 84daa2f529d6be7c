"""Payload bytes to readings, and back for whoever plays a meter.

* Multi-byte numbers are packed BCD, low byte first; integers and a scaler, never a float.
* The sign of a signed item is the top bit of its highest byte: clear it, convert, negate.
* An item filled with FF has no value: it gives no reading, which is neither 0 nor 6553.5.
* A digit above 9 arrives under a good checksum now and then: the value is refused, not guessed.
* The everyday reply has a short way, `decode_reply`. It never says anything else than the long way
  of deframer, exchange and `decode_readings`; where it cannot be sure, it says nothing.
"""

from protocols.bcd import PAIRS, decode_bcd, encode_bcd
from protocols.dlt645.controls import Function
from protocols.dlt645.frame import END, OFFSET, OVERHEAD, PREAMBLE, REPLY_BIT, fault_at, frame_at
from protocols.dlt645.identifiers import Item, items_of
from protocols.dlt645.rows import BITS, SIGNED, UNSIGNED
from protocols.dlt645.texts import decode_text, encode_text
from protocols.errors import ValueFormatError
from protocols.quantity import Quantity
from protocols.readings import Reading

_SIGN = 0x80
_DI_SIZE_1997 = 2
_SEPARATOR_1997 = b"\xaa"
_BLANK = 0xFF

_PREAMBLES = bytes((PREAMBLE,))
_HEAD_SIZE = 14  # 68 A0..A5 68 C L DI0..DI3: what replies of one meter to one question share
_REPLIES_MAX = 1024  # heads remembered, about 400 bytes each: a gateway's meters x their items
_REFUSED = -(100**4)  # a digit above 9: below zero whatever the other three bytes add


def _worths(place: int, mask: int) -> list:
    """What each byte as sent is worth in a place of a number: offset and digits in one look-up."""
    pairs = [PAIRS[(byte - OFFSET) & mask] for byte in range(256)]
    return [pair * 100**place if pair >= 0 else _REFUSED for pair in pairs]


_PLACES = [_worths(place, 0xFF) for place in range(4)]
_SIGNED_PLACES = [_worths(place, 0x7F) for place in range(4)]  # a top byte without its sign bit
_NOTHING = [0] * 256

_replies: dict = {}  # head of a good reply -> what _learn_reply says of it


def _call(kind: type, fields: tuple) -> tuple:
    return kind(*fields)


# On CPython the call of a namedtuple runs a Python function, which costs as much again as the tuple
# that it makes; a reply makes two. MicroPython has no __new__, and its call is native already.
_build = getattr(tuple, "__new__", _call)


def decode_items(data: bytes, di_size: int = 4) -> list:
    """(Item, Quantity or None) for each item of a read reply's data, identifier first.

    None means that the meter has no value: FF fill, or a date of zeros. An identifier that is not
    in the catalog, or whose layout nobody tells, gives an empty list. `di_size` is 2 for edition
    1997. ValueFormatError when the length does not fit or a digit is above 9.
    """
    if len(data) < di_size:
        raise ValueFormatError(f"a reply has at least the {di_size} bytes of its identifier")
    items = items_of(data[:di_size], len(data) - di_size)
    if not items:
        return []
    payload = data[di_size:]
    if di_size == _DI_SIZE_1997:
        payload = _without_separators(payload, items[0].size)
        items = items_of(data[:di_size], len(payload))
    due = sum([item.size for item in items])
    if len(payload) != due:
        raise ValueFormatError(f"{len(payload)} bytes where {due} are due")
    values = []
    at = 0
    for item in items:
        values.append((item, decode_item(item, payload[at : at + item.size])))
        at += item.size
    return values


def _without_separators(payload: bytes, size: int) -> bytes:
    """A block of 1997 without the AA that some meters put behind each item. AA is no BCD byte."""
    kept = b""
    at = 0
    while at < len(payload):
        kept += payload[at : at + size]
        at += size
        if payload[at : at + 1] == _SEPARATOR_1997:
            at += 1
    return kept


def decode_readings(data: bytes, di_size: int = 4) -> list:
    """The readings of a read reply's data; items without a value are left out."""
    return [
        Reading(item.obis, quantity)
        for item, quantity in decode_items(data, di_size)
        if quantity is not None
    ]


def decode_item(item: Item, data: bytes) -> "Quantity | None":
    """The value of one item's bytes; None when the meter has none."""
    if data.count(b"\xff") == len(data):
        return None
    form = item.form
    value: object
    if form == UNSIGNED:
        value = decode_bcd(data)
    elif form == SIGNED:
        top = data[-1]
        value = decode_bcd(data[:-1] + bytes((top & 0x7F,)))
        if top & _SIGN:
            value = -value
    elif form == BITS:
        value = int.from_bytes(data, "little")
    else:
        value = decode_text(form, data)
        if value is None:
            return None
    return Quantity(value, item.scaler, item.unit, item.kind)


def decode_reply(wire: bytes) -> "tuple | None":
    """(address, identifier in wire order, readings) when `wire` is exactly one good frame behind
    any number of FE: the whole reply to a read of one number, and the number is there.

    None for everything else, from noise to FF fill: feed it to a Deframer, which tells what it is.
    """
    frame = wire.lstrip(_PREAMBLES)
    try:
        known = _replies[frame[:_HEAD_SIZE]]
    except KeyError:
        known = _learn_reply(frame)
        if not known:
            return None
    address, di, size, head_sum, worths, signed, obis, scaler, unit, kind = known
    first, second, third, fourth = worths
    if (
        len(frame) != size
        or (head_sum + sum(frame[_HEAD_SIZE:-2]) - frame[-2]) & 0xFF
        or frame[-1] != END
    ):
        return None
    # A shorter number has nothing in its upper places; checksum and end byte stand there.
    value = first[frame[14]] + second[frame[15]] + third[frame[16]] + fourth[frame[17]]
    if value < 0:
        return None
    if signed and (frame[-3] - OFFSET) & _SIGN:
        value = -value
    return address, di, [_build(Reading, (obis, _build(Quantity, (value, scaler, unit, kind))))]


def _learn_reply(frame: bytes) -> "tuple | None":
    """What all replies that begin like this one have in common; None when it is not their kind.

    Only a good frame is learned from, so line noise does not push the meters' heads out.
    """
    if fault_at(frame, 0):
        return None
    address, control, data = frame_at(frame, 0)
    if control != Function.READ | REPLY_BIT or len(data) < 4:
        return None
    items = items_of(data[:4], len(data) - 4)
    if len(items) != 1 or items[0].size != len(data) - 4:
        return None
    obis, form, size, scaler, unit, kind, _ = items[0]
    if form not in (UNSIGNED, SIGNED) or not 2 <= size <= 4:
        return None
    signed = form == SIGNED
    top = (_SIGNED_PLACES if signed else _PLACES)[size - 1]
    worths = (_PLACES[: size - 1] + [top, _NOTHING, _NOTHING])[:4]
    head = frame[:_HEAD_SIZE]
    known = (address, data[:4], OVERHEAD + len(data), sum(head), worths, signed, obis, scaler, unit,
             kind)  # fmt: skip
    if len(_replies) >= _REPLIES_MAX:
        _replies.clear()  # rather than never learning again: meters come and go
    _replies[head] = known
    return known


def encode_value(item: Item, value: "int | str | bytes | None") -> bytes:
    """The wire form of one item's value: an int in the item's scale, a text (`texts.encode_text`),
    bytes as they are, or None for FF fill. ValueFormatError when it does not fit."""
    if value is None:
        return bytes((_BLANK,)) * item.size
    if isinstance(value, bytes):
        if len(value) != item.size:
            raise ValueFormatError(f"{len(value)} bytes where {item.size} are due")
        return value
    if isinstance(value, str):
        return encode_text(item.form, item.size, value)
    if item.form == BITS:
        if not 0 <= value < 1 << 8 * item.size:
            raise ValueFormatError(f"{value} is not a word of {item.size} bytes")
        return value.to_bytes(item.size, "little")
    if item.form not in (SIGNED, UNSIGNED) or abs(value) >= 100**item.size:
        raise ValueFormatError(f"this item cannot hold {value}")
    wire = bytearray(encode_bcd(abs(value), item.size))
    if (value < 0 and item.form != SIGNED) or (item.form == SIGNED and wire[-1] & _SIGN):
        raise ValueFormatError(f"this item cannot hold {value}")
    if value < 0:
        wire[-1] |= _SIGN
    return bytes(wire)
