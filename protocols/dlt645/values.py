"""Payload bytes to readings, and back for whoever plays a meter.

* Multi-byte numbers are packed BCD, low byte first; integers and a scaler, never a float.
* The sign of a signed item is the top bit of its highest byte: clear it, convert, negate.
* An item filled with FF has no value: it gives no reading, which is neither 0 nor 6553.5.
* A digit above 9 arrives under a good checksum now and then: the value is refused, not guessed.
* The everyday reply has a short way, `decode_reply`. It never says anything else than the long way
  of deframer, exchange and `decode_readings`; where it cannot be sure, it says nothing.
"""

from protocols.bcd import PAIRS, decode_bcd, decode_digits, encode_bcd
from protocols.dlt645.frame import (
    END,
    OFFSET,
    OVERHEAD,
    PREAMBLE,
    REPLY_BIT,
    Function,
    fault_at,
    frame_at,
)
from protocols.dlt645.identifiers import (
    BITS,
    CLOCK,
    DATE,
    DIGITS,
    SIGNED,
    TIME,
    UNSIGNED,
    Item,
    items_of,
)
from protocols.errors import ValueFormatError
from protocols.quantity import Quantity
from protocols.readings import Reading

_SIGN = 0x80
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


def decode_values(data: bytes) -> list:
    """(OBIS, Quantity or None) for each item of a read reply's data, identifier first.

    None means that the meter sent FF fill: no value. An unknown identifier gives an empty list.
    ValueFormatError when the length does not fit or a digit is above 9.
    """
    if len(data) < 4:
        raise ValueFormatError("a reply has at least the four bytes of its identifier")
    due = len(data) - 4
    items = items_of(data[:4], due)
    if not items:
        return []
    size = items[0].size
    if due != size * len(items):
        raise ValueFormatError(f"{due} bytes where {size * len(items)} are due")
    values = []
    at = 4
    for item in items:
        values.append((item.obis, _decode_item(item, data[at : at + size])))
        at += size
    return values


def decode_readings(data: bytes) -> list:
    """The readings of a read reply's data; items without a value are left out."""
    return [
        Reading(obis, quantity) for obis, quantity in decode_values(data) if quantity is not None
    ]


def _decode_item(item: Item, data: bytes) -> "Quantity | None":
    if data.count(b"\xff") == len(data):
        return None
    form = item.form
    if form == UNSIGNED:
        value = decode_bcd(data)
    elif form == SIGNED:
        top = data[-1]
        value = decode_bcd(data[:-1] + bytes((top & 0x7F,)))
        if top & _SIGN:
            value = -value
    elif form == BITS:
        value = data[0] | data[1] << 8
    else:
        text = _TEXTS[form](data)
        if form in (DATE, CLOCK) and not any(data[-3:]):
            return None  # a date of 00-00-00 says that there is none
        return Quantity(text, item.scaler, item.unit, item.kind)
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
    obis, form, size, scaler, unit, kind = items[0]
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


def _date_text(data: bytes) -> str:
    # The weekday (data[0], Sunday 0) is what somebody stored, not what the calendar says: left out.
    decode_bcd(data)
    day, month, year = [f"{byte:02x}" for byte in data[1:4]]
    return f"20{year}-{month}-{day}"


def _time_text(data: bytes) -> str:
    decode_bcd(data)
    second, minute, hour = [f"{byte:02x}" for byte in data]
    return f"{hour}:{minute}:{second}"


def _clock_text(data: bytes) -> str:
    return _date_text(data[3:]) + "T" + _time_text(data[:3])


_TEXTS = {DATE: _date_text, TIME: _time_text, CLOCK: _clock_text, DIGITS: decode_digits}


def encode_value(item: Item, value: "int | str | bytes | None") -> bytes:
    """The wire form of one item's value: an int, a digit string, or None for FF fill.

    For a meter's side of the exchange. Clock items take digits in wire order already packed.
    """
    if value is None:
        return bytes((_BLANK,)) * item.size
    if isinstance(value, bytes):
        if len(value) != item.size:
            raise ValueFormatError(f"{len(value)} bytes where {item.size} are due")
        return value
    if isinstance(value, str):
        if len(value) != 2 * item.size or any(digit not in "0123456789" for digit in value):
            raise ValueFormatError(f"{value!r} where {2 * item.size} digits are due")
        return bytes(reversed(bytes.fromhex(value)))
    if item.form == BITS:
        if not 0 <= value <= 0xFFFF:
            raise ValueFormatError(f"{value} is not a status word")
        return bytes((value & 0xFF, value >> 8 & 0xFF))
    wire = bytearray(encode_bcd(abs(value), item.size))
    if (value < 0 and item.form != SIGNED) or (item.form == SIGNED and wire[-1] & _SIGN):
        raise ValueFormatError(f"this item cannot hold {value}")
    if value < 0:
        wire[-1] |= _SIGN
    return bytes(wire)
