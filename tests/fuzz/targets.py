"""What is fuzzed, and the one sentence that each target must keep.

*Any bytes give frames, values or the error that is named for them, and nothing else; fed whole or
in pieces, the result is the same; memory stays bounded.*

A target is a function of bytes that raises when the sentence is broken. `TARGETS` names them, with
seeds to start from: a new parser is a function and a line here, and both `run.py` and the tests of
this folder take it up.
"""

from protocols.dlt645 import identifiers, requests, values
from protocols.dlt645.commands import SEQUENCE_MAX
from protocols.dlt645.controls import CONTROLS, EVERYDAY, IDENTIFIED, Function
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.exchange import ASKED, DONE, MORE, PARTS_MAX, Exchange
from protocols.dlt645.frame import FRAME_SIZE_MAX, Frame, decode_frame
from protocols.dlt645.identifiers import Item, identifier_of, items_of
from protocols.dlt645.records import Record, decode_freeze, decode_load_records
from protocols.dlt645.relay import ACTION_NAMES, RelayTerms
from protocols.dlt645.requests import decode_command, request
from protocols.dlt645.rows import SIGNED, UNSIGNED
from protocols.dlt645.values import decode_items, decode_readings, decode_reply, encode_value
from protocols.errors import BusbarError, CallerError, FrameError, ValueFormatError
from protocols.quantity import Quantity
from protocols.readings import Reading
from tests.fuzz.packages import PACKAGES
from tests.fuzz.target import Target
from tests.protocols.outcome import outcome
from tests.protocols.vectors import VECTORS, wire

METER = "123456789012"
EVERY_FUNCTION = tuple(sorted(CONTROLS))
EVERY_TERM = RelayTerms(tuple(ACTION_NAMES), tuple(range(10)), True)


def deframed(pieces: list[bytes]) -> tuple[list[Frame], int]:
    """(frames, discarded bytes) of a stream that arrives in these pieces."""
    deframer = Deframer()
    frames = []
    for piece in pieces:
        frames += deframer.feed(piece)
        # What waits begins like a frame, and no frame is longer.
        assert deframer.pending < FRAME_SIZE_MAX
    frames += deframer.flush()
    assert deframer.pending == 0
    return frames, deframer.discarded


def check_deframer(data: bytes) -> None:
    """The first byte says how the rest is cut."""
    size, stream = 1 + (data[0] if data else 0) % 40, data[1:]
    whole = deframed([stream])
    for step in (1, size):
        assert deframed([stream[at : at + step] for at in range(0, len(stream), step)]) == whole
    for frame in whole[0]:
        assert type(frame) is Frame
        # Its address may hold digits that no request has.
        body = bytes.fromhex(frame.address)[::-1] + b"\x68" + bytes((frame.control,))
        assert b"\x68" + body + bytes((len(frame.data),)) in stream
    frame, reason = outcome(FrameError, decode_frame, stream)
    assert reason or whole == ([frame], 0)
    check_short_way(stream)


def check_short_way(stream: bytes) -> None:
    """The everyday reply says what the long way says."""
    short = decode_reply(stream)
    assert len(values._replies) <= values._REPLIES_MAX
    if short is not None:
        frame = decode_frame(stream)
        assert short == (frame.address, frame.data[:4], decode_readings(frame.data))


def check_values(data: bytes) -> None:
    """The first byte chooses the edition: an identifier of four bytes, or of two."""
    size = 2 if data[:1] == b"\x02" else 4
    check_items(data[1:], size)
    check_short_way(Frame(METER, 0x91, data[1:256]).to_bytes())
    assert len(identifiers._cache) <= identifiers._CACHE_SIZE_MAX


def check_items(data: bytes, size: int) -> None:
    """Values or the named error; what is read as a number is written as the same bytes."""
    try:
        found = decode_items(data, size)
    except ValueFormatError:
        return
    at = size
    for item, quantity in found:
        assert type(item) is Item
        piece = data[at : at + item.size]
        at += item.size
        if quantity is None:
            continue
        assert type(quantity) is Quantity
        assert type(quantity.value) is (int if item.form in (SIGNED, UNSIGNED, "bits") else str)
        if item.form in (UNSIGNED, SIGNED) and quantity.value and size == 4:
            assert encode_value(item, quantity.value) == piece
    assert decode_readings(data, size) == [
        Reading(item.obis, quantity) for item, quantity in found if quantity is not None
    ]
    edition = identifiers.EDITION_1997 if size == 2 else identifiers.EDITION_2007
    for item, _ in found[:3]:
        di = identifier_of(item.obis, edition)
        if di and items_of(identifiers.identifier_bytes(di), 0):
            assert item.obis in [
                one.obis for one in items_of(identifiers.identifier_bytes(di), len(data))
            ]


def check_commands(data: bytes) -> None:
    """The first byte is the control byte. A command that is read out of a frame and may be sent is
    read out of its own frame once more."""
    frame = Frame(METER, data[0] if data else 0, data[1:256])
    try:
        command = decode_command(frame)
    except ValueFormatError:
        return
    if command is None:
        assert frame.control not in CONTROLS
        return
    assert repr(command)
    address = METER
    if frame.function == Function.BROADCAST_TIME:
        address = "9" * 12
    if frame.function == Function.READ_ADDRESS:
        address = "A" * 12
    try:
        again = request(address, command, EVERY_FUNCTION, EVERY_TERM)
    except CallerError:
        return
    assert again.function == frame.function
    assert decode_command(again) == command
    assert len(requests._heads) + len(requests._tails) <= requests._REMEMBERED_MAX + 2


def check_exchange(data: bytes) -> None:
    """A question (function, size, data), then what is heard (control byte, size, data each)."""
    if len(data) < 2:
        return
    asked = Frame(METER, data[0] & 0x1F, data[2 : 2 + data[1] % 40])
    exchange = Exchange(asked)
    at = 2 + len(asked.data)
    heard = 0
    while at + 1 < len(data):
        control, size = data[at], data[at + 1]
        frame = Frame(METER if size < 250 else "1" * 12, control, data[at + 2 : at + 2 + size])
        at += 2 + len(frame.data)
        heard += 1
        before = exchange.state
        state, reason = outcome(BusbarError, exchange.receive, frame)
        if reason:
            # Its own no, or more parts than any answer has.
            is_last = frame.data[-1:] == bytes((SEQUENCE_MAX,))
            assert frame.is_abnormal or heard > PARTS_MAX or is_last
            break
        assert state == exchange.state
        assert state in (ASKED, MORE, DONE)
        assert before != DONE or state == DONE
        assert exchange.request.address == METER
        exchange.request.to_bytes()
    assert exchange.strays <= heard
    assert len(exchange.data()) <= 4 + (1 + PARTS_MAX) * 255


def check_records(data: bytes) -> None:
    """The first byte says what is put around the rest, so that it reaches the inner layout."""
    mode, body = (data[0] % 4 if data else 0), data[1:]
    if mode == 1:  # a load block with the right length and checksum
        block = b"\xa0\xa0" + bytes((len(body[1:251]),)) + body[1:251]
        body = b"\x01\x00" + body[:1] + b"\x06" + block + bytes((sum(block) & 0xFF, 0xE5))
    elif mode == 2:
        body = b"\x01\xff" + body[:1] + b"\x05" + body[1:]
    elif mode == 3:
        body = b"\x01\x00" + body[:1] + b"\x06" + body[1:]
    records: list[Record] = []
    for decode in (decode_load_records, lambda one: [decode_freeze(one)]):
        try:
            records += decode(body)
        except ValueFormatError:
            continue
    for record in records:
        assert type(record) is Record
        assert record.time is None or type(record.time) is str
        assert record.fault in ("", "void", "checksum")
        assert not (record.fault and record.readings)
        assert {type(reading) for reading in record.readings} <= {Reading}
    assert len(records) <= 1 + len(body) // 10


_CLASSES = (17, 24, 8, 16, 16, 6)  # bytes of each class of a load record
_LOAD = bytes(5) + b"".join(bytes(size) + b"\xaa" for size in _CLASSES)
_DAILY = bytes(5) + b"\xaa" + b"".join(
    bytes(size) + b"\xaa" for size in (20, 20, 20, 20, 20, 20, 20, 20, 40, 40, 24)
)  # fmt: skip
_WIRES = [wire(vector) for vector in VECTORS]
_FRAMES = [
    Frame(vector["address"], int(vector["control"], 16), bytes.fromhex(vector["data_plain"]))
    for vector in VECTORS
    if vector["expect"].startswith("accept")
]
_REPLIES = [frame for frame in _FRAMES if frame.is_reply and len(frame.data) > 2]
_ASKED = [frame for frame in _FRAMES if not frame.is_reply]
_IDENTIFIED = [code for code in EVERYDAY if CONTROLS[code].reply == IDENTIFIED]


def _one_of(frame: Frame) -> bytes:
    return bytes((frame.control, len(frame.data))) + frame.data


CORE: dict[str, Target] = {
    "deframer": Target(check_deframer, [b"\x05" + one for one in _WIRES]),
    "values": Target(
        check_values,
        [bytes((2 if frame.control == 0x81 else 4,)) + frame.data for frame in _REPLIES]
        + [b"\x04" + di + bytes(size) for di, size in (
            (b"\x01\x01\x01\x03", 131), (b"\x01\x02\x30\x03", 202), (b"\xff\x05\x00\x04", 18),
            (b"\x01\xff\x01\x10", 195), (b"\x0b\x01\x00\x04", 2), (b"\x03\x04\x00\x04", 32),
        )],
    ),
    "commands": Target(
        check_commands, [bytes((frame.control,)) + frame.data for frame in _ASKED]
    ),
    "exchange": Target(
        check_exchange,
        [
            bytes((code, 4)) + frame.data[:4] + _one_of(frame)
            for code in _IDENTIFIED
            for frame in _REPLIES
        ]
        + [
            b"\x11\x04\x00\xff\x01\x00" + b"\xb1\x08\x00\xff\x01\x00\x01\x02\x03\x04"
            b"\xb2\x06\x00\xff\x01\x00\x01\x01" + b"\x92\x06\x00\xff\x01\x00\x01\x02"
        ],
    ),
    "records": Target(
        check_records,
        [b"\x01\x00" + _LOAD, b"\x01\x01" + _LOAD[:5] + bytes(17) + b"\xaa" * 6,
         b"\x02\x06" + _DAILY, b"\x02\x06" + bytes(269), b"\x02\x04" + bytes(13),
         b"\x02\x04" + bytes(5) + b"\xaa" + bytes(4) + b"\xaa" + bytes(4) + b"\xaa"],
    ),
}  # fmt: skip
TARGETS: dict[str, Target] = {**CORE, **PACKAGES}
