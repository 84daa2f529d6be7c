"""What a meter kept with its own time: load records (class 06) and freeze blocks (class 05).

Both carry separators that some makers leave out. A byte of a value is BCD or FF fill, never AA, so
a separator cannot be mistaken as long as items are stepped over by their size. No captured block is
public: the layouts are those that public meter firmware builds and concentrators take apart.

A load record is `A0 A0 L time classes CS E5`: L counts from the time to the last separator, CS is
the sum modulo 256 from the first A0 to there, each of the six classes ends with AA, and one that is
not recorded is that AA alone. A meter asked for one class may leave the others' AA out. E0 E0 marks
a block that the meter itself holds for invalid.
"""

from collections import namedtuple

from protocols.dlt645.identifiers import identifier_bytes, items_of
from protocols.dlt645.texts import decode_text
from protocols.dlt645.values import decode_item
from protocols.errors import ValueFormatError
from protocols.readings import Reading

TIME_FORM = "YYMMDDhhmm"
_TIME_SIZE = 5
_SEPARATOR = 0xAA
_SEPARATOR_BYTE = b"\xaa"
_BLOCK_START = b"\xa0\xa0"
_BLOCK_VOID = b"\xe0\xe0"
_BLOCK_END = b"\xe5"
_BLOCK_HEAD_SIZE = 3  # A0 A0 L
_BLOCK_TAIL_SIZE = 2  # CS E5
_LOAD_TABLE = 0x06
_FREEZE_TABLE = 0x05
_HOURLY = 0x04  # DI2 of a freeze

# What the items of a record would be called if they were read on their own.
_LOAD_CLASSES = (
    ("0201FF00", "0202FF00", "02800002"),
    ("0203FF00", "0204FF00"),
    ("0206FF00",),
    ("00010000", "00020000", "00030000", "00040000"),
    ("00050000", "00060000", "00070000", "00080000"),
    ("02800004", "02800005"),
)
_FREEZE_PARTS = (
    ("0001FF00",),
    ("0002FF00",),
    ("0003FF00",),
    ("0004FF00",),
    ("0005FF00",),
    ("0006FF00",),
    ("0007FF00",),
    ("0008FF00",),
    ("0101FF00",),
    ("0102FF00",),
    ("0203FF00", "0204FF00"),
)
_HOURLY_PARTS = (("00010000",), ("00020000",))
_TARIFF_SIZES = (4,) * 8 + (8, 8)  # of the parts that repeat for each tariff
_FREEZE_FIXED_SIZE = 29  # time and powers of a block without separators
_FREEZE_TARIFF_SIZE = 48  # what each tariff, and the total, add to it
_TARIFFS_MAX = 63


class Record(namedtuple("Record", ("time", "readings", "fault"))):
    """What stood in the meter's memory: its local time as text (None: it says none), readings under
    the codes of the quantities themselves, and "" or what is wrong with it: "void" (the meter says
    so) or "checksum". A record with a fault has no readings."""


def decode_load_records(data: bytes) -> list:
    """The records of a reply to a read of class 06, identifier first, in their order.

    ValueFormatError when what stands there is no sequence of whole blocks."""
    if len(data) < 4 or data[3] != _LOAD_TABLE:
        raise ValueFormatError("this is no reply with load records")
    records = []
    at = 4
    while at < len(data):
        record, size = _load_record(data[at:], data[2])
        records.append(record)
        at += size
    return records


def decode_freeze(data: bytes) -> Record:
    """The record of a reply to a read of a whole freeze block (05nnFFmm), identifier first.

    ValueFormatError when its parts do not fill it exactly."""
    if len(data) < 4 + _TIME_SIZE or data[3] != _FREEZE_TABLE or data[1] != 0xFF:
        raise ValueFormatError("this is no reply with a freeze block")
    parts = _HOURLY_PARTS if data[2] == _HOURLY else _FREEZE_PARTS
    time = _time_of(data[4 : 4 + _TIME_SIZE])
    payload = data[4 + _TIME_SIZE :]
    if payload[:1] == _SEPARATOR_BYTE:
        pieces = _separated(payload[1:], parts)
    else:
        pieces = _joined(payload, parts)
    readings: list = []
    for part, piece in zip(parts, pieces):
        if piece:
            readings.extend(_readings(part, piece))
    return Record(time, tuple(readings), "")


def _time_of(data: bytes) -> "str | None":
    if data == b"\xff" * _TIME_SIZE:
        return None
    return decode_text(TIME_FORM, data)


def _load_record(data: bytes, wanted: int) -> tuple:
    """(record, its size) of the block that `data` begins with; `wanted` is the class asked for."""
    if len(data) < _BLOCK_HEAD_SIZE + _TIME_SIZE + _BLOCK_TAIL_SIZE:
        raise ValueFormatError("a load record ends too early")
    size = _BLOCK_HEAD_SIZE + data[2] + _BLOCK_TAIL_SIZE
    head, end = data[:2], data[size - 1 : size]
    if head not in (_BLOCK_START, _BLOCK_VOID) or data[2] < _TIME_SIZE or end != _BLOCK_END:
        raise ValueFormatError("a load record is not framed by A0 A0 and E5")
    if head == _BLOCK_VOID:
        return Record(None, (), "void"), size
    if sum(data[: size - _BLOCK_TAIL_SIZE]) & 0xFF != data[size - _BLOCK_TAIL_SIZE]:
        return Record(None, (), "checksum"), size
    body = data[_BLOCK_HEAD_SIZE : size - _BLOCK_TAIL_SIZE]
    time = _time_of(body[:_TIME_SIZE])
    readings: list = []
    for names, piece in _load_pieces(body[_TIME_SIZE:], wanted):
        readings.extend(_readings(names, piece))
    return Record(time, tuple(readings), ""), size


def _load_pieces(body: bytes, wanted: int) -> list:
    """(identifiers, bytes) for each class that stands in a block's body."""
    if wanted:
        names = _LOAD_CLASSES[wanted - 1] if wanted <= len(_LOAD_CLASSES) else ()
        piece = body.strip(_SEPARATOR_BYTE)
        return [(names, piece)] if piece else []
    pieces = []
    at = 0
    for names in _LOAD_CLASSES:
        due = sum([_size_of(name) for name in names])
        if body[at : at + 1] != _SEPARATOR_BYTE:
            pieces.append((names, body[at : at + due]))
            at += due
        if body[at : at + 1] != _SEPARATOR_BYTE:
            raise ValueFormatError("a class of a load record does not end with AA")
        at += 1
    if at != len(body):
        raise ValueFormatError(f"{len(body) - at} bytes too many in a load record")
    return pieces


def _size_of(name: str) -> int:
    """Bytes of one identifier inside a record."""
    return sum([item.size for item in items_of(identifier_bytes(name), 0)])


def _separated(payload: bytes, parts: tuple) -> list:
    """The bytes of each part; each ends with AA, and one that is switched off is that AA alone."""
    pieces = []
    at = 0
    for number in range(len(parts)):
        step = _TARIFF_SIZES[number] if number < len(_TARIFF_SIZES) else 24
        start = at
        while at < len(payload) and payload[at] != _SEPARATOR:
            at += step
        if at >= len(payload):
            raise ValueFormatError("a part of a freeze block does not end with AA")
        pieces.append(payload[start:at])
        at += 1
    if at != len(payload):
        raise ValueFormatError(f"{len(payload) - at} bytes too many in a freeze block")
    return pieces


def _joined(payload: bytes, parts: tuple) -> list:
    """The bytes of each part of a block without separators, all of them present."""
    if len(parts) == len(_HOURLY_PARTS):
        sizes: tuple = (4, 4)
    else:
        rest = len(payload) + _TIME_SIZE - _FREEZE_FIXED_SIZE
        rates = rest // _FREEZE_TARIFF_SIZE
        if rest % _FREEZE_TARIFF_SIZE or not 1 <= rates <= _TARIFFS_MAX + 1:
            raise ValueFormatError(f"{len(payload)} bytes are no freeze block")
        sizes = tuple([rates * size for size in _TARIFF_SIZES]) + (24,)
    if len(payload) != sum(sizes):
        raise ValueFormatError(f"{len(payload)} bytes where {sum(sizes)} are due")
    pieces = []
    at = 0
    for size in sizes:
        pieces.append(payload[at : at + size])
        at += size
    return pieces


def _readings(names: tuple, data: bytes) -> list:
    """The readings of the items of `names`, which fill `data` exactly."""
    readings = []
    at = 0
    for name in names:
        items = items_of(identifier_bytes(name), len(data) - at)
        for item in items:
            piece = data[at : at + item.size]
            if len(piece) != item.size:
                raise ValueFormatError("a part of a record ends too early")
            quantity = decode_item(item, piece)
            if quantity is not None:
                readings.append(Reading(item.obis, quantity))
            at += item.size
    if at != len(data):
        raise ValueFormatError(f"{len(data) - at} bytes too many in a part of a record")
    return readings
