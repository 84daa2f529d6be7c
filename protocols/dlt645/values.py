"""Payload bytes to readings, and back for whoever plays a meter.

* Multi-byte numbers are packed BCD, low byte first; integers and a scaler, never a float.
* The sign of a signed item is the top bit of its highest byte: clear it, convert, negate.
* An item filled with FF has no value: it gives no reading, which is neither 0 nor 6553.5.
* A digit above 9 arrives under a good checksum now and then: the value is refused, not guessed.
"""

from protocols.bcd import decode_bcd, decode_digits, encode_bcd
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


def decode_values(data: bytes) -> list:
    """(OBIS, Quantity or None) for each item of a read reply's data, identifier first.

    None means that the meter sent FF fill: no value. An unknown identifier gives an empty list.
    ValueFormatError when the length does not fit or a digit is above 9.
    """
    if len(data) < 4:
        raise ValueFormatError("a reply has at least the four bytes of its identifier")
    payload = data[4:]
    items = items_of(data[:4], len(payload))
    if not items:
        return []
    if len(payload) != items[0].size * len(items):
        raise ValueFormatError(f"{len(payload)} bytes where {items[0].size * len(items)} are due")
    values = []
    at = 0
    for item in items:
        values.append((item.obis, _decode_item(item, payload[at : at + item.size])))
        at += item.size
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
        return Quantity(_TEXTS[form](data), item.scaler, item.unit, item.kind)
    return Quantity(value, item.scaler, item.unit, item.kind)


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
        return bytes(reversed(bytes.fromhex(value)))
    if item.form == BITS:
        return bytes((value & 0xFF, value >> 8 & 0xFF))
    wire = bytearray(encode_bcd(abs(value), item.size))
    if value < 0:
        if item.form != SIGNED or wire[-1] & _SIGN:
            raise ValueFormatError("this item cannot hold that negative value")
        wire[-1] |= _SIGN
    return bytes(wire)
