"""The values of a DL/T 645 payload in words: names, units, what each bit says, kept records.

Decoding is that of `protocols.dlt645`; here its results get the names that people read.
"""

import re

from protocols.dlt645.identifiers import (
    EDITION_1997,
    EDITION_2007,
    OWN_CODE_B,
    Item,
    entry_of,
    identifier_bytes,
    identifier_of,
    identifier_text,
    items_of,
)
from protocols.dlt645.records import decode_freeze, decode_load_records
from protocols.dlt645.relay import relay_state
from protocols.dlt645.values import decode_item, decode_items
from protocols.dlt645.words import word_texts
from protocols.errors import ValueFormatError
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading
from provisioning.finding import ContentError, Kept, Value

_DATE_AND_TIME = re.compile(r"(?<=\d)T(?=\d\d:\d\d)")
_ADDITION = "+"  # marks what the text of 2007 does not have, see protocols.dlt645.words
_LOAD, _FREEZE, _WHOLE = 0x06, 0x05, 0xFF  # DI3, DI3, and DI1 of a whole freeze block
_STATUS_WORD_3 = b"\x03\x05\x00\x04"
_RELAY = {
    "connected": "the relay is closed",
    "disconnected": "the relay is open, as it was told",
    "armed": "the relay is open, and may be closed at the meter",
    "opening": "the relay was told to open, and is still closed",
}
_FAULTS = {
    "void": "the meter itself holds it for invalid",
    "checksum": "its checksum does not fit: no values",
}


def counted(number: int, noun: str) -> str:
    """The number and its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def content_error(error: ValueFormatError) -> ContentError:
    """What the core refuses, with the word for it: its sentences about sizes name bytes that are
    due."""
    return ContentError("length" if " due" in str(error) else "value", str(error))


def _refused(di: bytes, error: ValueFormatError) -> ContentError:
    reason = content_error(error).reason
    return ContentError(reason, f"{named(di)} is refused: {error}")


def named(di: bytes) -> str:
    """An identifier (wire order) in words, and itself."""
    entry = entry_of(di)
    name = entry.name if entry else "an identifier that is not in the catalog"
    return f"{name} ({identifier_text(di, len(di))})"


def is_record(di: bytes) -> bool:
    """Whether an identifier holds records with a time of their own: load records, freeze blocks."""
    return len(di) == 4 and (di[3] == _LOAD or (di[3] == _FREEZE and di[1] == _WHOLE))


def values_of(di: bytes, payload: bytes) -> list[Value]:
    """The values of a whole payload; none of an identifier whose layout nobody tells.
    ContentError."""
    try:
        found = decode_items(di + payload, len(di))
    except ValueFormatError as error:
        raise _refused(di, error) from None
    return [_value(item, quantity, len(di)) for item, quantity in found]


def values_of_part(di: bytes, payload: bytes) -> list[Value]:
    """The values of the complete items of a payload whose rest comes later. ContentError."""
    found = []
    at = 0
    for item in items_of(di, len(payload)):
        piece = payload[at : at + item.size]
        if len(piece) < item.size:
            break
        try:
            found.append(_value(item, decode_item(item, piece), len(di)))
        except ValueFormatError as error:
            raise _refused(di, error) from None
        at += item.size
    return found


def records_of(di: bytes, payload: bytes) -> list[Kept]:
    """The records of a whole payload of class 05 or 06. ContentError."""
    try:
        found = (
            decode_load_records(di + payload) if di[3] == _LOAD else [decode_freeze(di + payload)]
        )
    except ValueFormatError as error:
        raise _refused(di, error) from None
    return [
        Kept(
            record.time and record.time.replace("T", " "),
            tuple(_reading(one) for one in record.readings),
            _FAULTS.get(record.fault, record.fault),
        )
        for record in found
    ]


def told(values: list[Value]) -> str:
    """Values in a sentence: a single one itself, else how many."""
    return values[0].shown if len(values) == 1 else counted(len(values), "value")


def relay_words(di: bytes, values: list[Value]) -> str:
    """What status word 3 says of the relay; "" for every other identifier."""
    if di != _STATUS_WORD_3 or len(values) != 1 or values[0].quantity is None:
        return ""
    return "; " + _RELAY[relay_state(values[0].quantity.value)]


def _value(item: Item, quantity: Quantity | None, di_size: int) -> Value:
    obis = item.obis
    name = obis.name()
    is_own = obis.a == 1 and obis.b >= OWN_CODE_B
    if is_own or item.kind == Kind.STATUS or name == obis.text():
        name = item.name
    if quantity is None:
        return Value(name, obis, None, "no value")
    if quantity.kind != Kind.STATUS:
        return Value(name, obis, quantity, shown(quantity))
    edition = EDITION_2007 if di_size == 4 else EDITION_1997
    di = identifier_of(obis, edition)
    words = word_texts(identifier_bytes(di), quantity.value) if di else ()
    words = tuple(word.replace(_ADDITION, " (State Grid)") for word in words)
    return Value(name, obis, quantity, f"{quantity.value:0{2 * item.size}X} hex", words)


def _reading(reading: Reading) -> Value:
    return Value(reading.obis.name(), reading.obis, reading.quantity, shown(reading.quantity))


def shown(quantity: Quantity) -> str:
    value, unit = quantity.shown()
    if quantity.kind == Kind.TEXT:
        value = _DATE_AND_TIME.sub(" ", value)
    return value if unit in ("", "1") else f"{value} {unit}"
