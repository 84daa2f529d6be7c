"""protocols/dlt645/values.py: the short way of a reply says what the long way says, or nothing."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.dlt645 import values as module
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.frame import Frame, decode_frame
from protocols.dlt645.identifiers import identifier_bytes, items_of
from protocols.dlt645.rows import SIGNED, UNSIGNED
from protocols.dlt645.values import decode_readings, decode_reply
from protocols.errors import FrameError, ValueFormatError
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading

ADDRESS = "123456789012"
READ_REPLY = 0x91
IDENTIFIERS = (
    "00000000 00010000 00020100 00030001 000A3F0C 00150000 0001FF00 00014000 "
    "02010100 02010200 0201FF00 02020100 02030000 02030300 02040200 02050000 02060000 0206FF00 "
    "02800001 02800002 04000103 04000306 00900200 03110000 04000101 04000102 0400010C 04000401 "
    "04000402 04000503 01010000 FFFFFFFF"
).split()

digit_pairs = st.integers(0, 99).map(lambda pair: pair // 10 << 4 | pair % 10)
payload_bytes = digit_pairs | st.sampled_from([0x80, 0x99, 0xFF, 0x0A, 0xA0]) | st.integers(0, 255)
payloads = st.one_of(
    st.lists(digit_pairs, min_size=2, max_size=4),
    st.lists(payload_bytes, max_size=12),
    st.integers(0, 8).map(lambda size: [0xFF] * size),
).map(bytes)
identifiers = st.sampled_from(IDENTIFIERS).map(identifier_bytes) | st.binary(max_size=4)
addresses = st.sampled_from([ADDRESS, "681668166816", "FEFEFEFEFEFE"]) | st.binary(
    min_size=6, max_size=6
).map(lambda data: data.hex().upper())
controls = st.sampled_from([READ_REPLY] * 6 + [0xB1, 0xD1, 0x92, 0x93, 0x11]) | st.integers(0, 255)


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """A frame with a good checksum, whatever it says."""
    data = draw(identifiers) + draw(payloads)
    address = bytes(reversed(bytes.fromhex(draw(addresses))))
    shifted = bytes((byte + 0x33) & 0xFF for byte in data)
    body = b"\x68" + address + b"\x68" + bytes((draw(controls), len(data))) + shifted
    return b"\xfe" * draw(st.integers(0, 6)) + body + bytes((sum(body) & 0xFF, 0x16))


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(a frame, the same with a few bytes changed, lost, added or cut off)."""
    whole = draw(wires())
    wire = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(wire)))
        lost = draw(st.integers(0, 2))
        wire[at : at + lost] = draw(st.binary(max_size=3) | st.sampled_from([b"\xfe", b"\x68"]))
    return whole, bytes(wire)


def long_way(wire: bytes) -> tuple[str, bytes, list[Reading]] | None:
    """What `decode_reply` must say, by the general decoders."""
    try:
        frame = decode_frame(wire)
    except FrameError:
        return None
    deframer = Deframer()
    assert deframer.feed(wire) == [frame]
    assert (deframer.discarded, deframer.pending) == (0, 0)
    if frame.control != READ_REPLY or len(frame.data) < 4:
        return None
    items = items_of(frame.data[:4], len(frame.data) - 4)
    if len(items) != 1 or items[0].form not in (UNSIGNED, SIGNED):
        return None
    if not 2 <= items[0].size <= 4:  # a byte, or a number of many: the long way
        return None
    try:
        readings = decode_readings(frame.data)
    except ValueFormatError:
        return None
    return (frame.address, frame.data[:4], readings) if readings else None


def check(wire: bytes) -> None:
    """The short way, with its memory as it is and empty, says what the long way says."""
    expected = long_way(wire)
    for _ in range(2):
        given = decode_reply(wire)
        assert given == expected
        if given:
            ((reading,),) = given[2:]
            assert (type(reading), type(reading.obis)) == (Reading, Obis)
            assert (type(reading.quantity), type(reading.quantity.value)) == (Quantity, int)
        module._replies.clear()


@given(wires())
def test_a_good_frame_says_the_same_both_ways(wire: bytes) -> None:
    """Any meter, control byte, identifier, length and value; fill, signs, digits above 9."""
    check(wire)


@given(damaged())
def test_a_damaged_frame_says_the_same_both_ways(pair: tuple[bytes, bytes]) -> None:
    """Also when its undamaged form was seen right before."""
    whole, wire = pair
    decode_reply(whole)
    check(wire)


@given(wires(), wires(), st.binary(max_size=4))
def test_more_than_a_frame_is_left_to_the_deframer(one: bytes, two: bytes, noise: bytes) -> None:
    """Two frames, noise in front, noise behind."""
    for wire in (one + two, noise + one, one + noise):
        check(wire)


@given(st.binary(max_size=40))
@example(b"")
@example(b"\xfe" * 9)
@example(b"\x68" * 14)
def test_any_bytes_say_the_same_both_ways(wire: bytes) -> None:
    """Bytes that were never a frame."""
    check(wire)


@pytest.mark.parametrize("di", ["00010000", "00000000", "02010100", "02030000", "02060000"])
def test_every_byte_of_a_reply_may_have_any_value(di: str) -> None:
    """Each byte in turn takes all values, under its old checksum and under a good one."""
    size = items_of(identifier_bytes(di), 4)[0].size
    whole = Frame(ADDRESS, READ_REPLY, identifier_bytes(di) + b"\x12\x34\x56\x78"[:size])
    wire = whole.to_bytes()
    for at in range(len(wire)):
        for byte in range(256):
            other = bytearray(wire)
            other[at] = byte
            decode_reply(wire)
            check(bytes(other))
            other[-2] = sum(other[:-2]) & 0xFF
            decode_reply(wire)
            check(bytes(other))


def test_the_everyday_reply_takes_the_short_way() -> None:
    """So the comparisons above do not compare nothing with nothing."""
    wire = Frame(ADDRESS, READ_REPLY, bytes.fromhex("00000302 122580")).to_bytes(4)
    power = Quantity(-2512, -1, "W", Kind.INSTANTANEOUS)
    reading = Reading(Obis(1, 0, 16, 7, 0, 255), power)
    assert decode_reply(wire) == (ADDRESS, bytes.fromhex("00000302"), [reading])


def test_what_is_remembered_is_bounded_and_goes_on_learning() -> None:
    """A capture with more meters than any line has: the memory starts again, never stops."""
    module._replies.clear()
    count = module._REPLIES_MAX + 10
    addresses = random.Random(645).sample(range(10**12), count)
    for address in addresses:
        frame = Frame(f"{address:012d}", READ_REPLY, bytes.fromhex("00010102 0123"))
        assert decode_reply(frame.to_bytes())
        assert 0 < len(module._replies) <= module._REPLIES_MAX
    assert len(module._replies) == 10


def test_only_good_frames_are_remembered() -> None:
    """Noise that looks like a head does not push out the meters'."""
    module._replies.clear()
    wire = Frame(ADDRESS, READ_REPLY, bytes.fromhex("00010102 0123")).to_bytes()
    assert decode_reply(wire[:-2] + b"\x00\x16") is None
    assert decode_reply(wire[:-1]) is None
    assert module._replies == {}


def test_without_tuple_new_the_readings_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """MicroPython has no `tuple.__new__`: there the class itself is called."""
    wire = Frame(ADDRESS, READ_REPLY, bytes.fromhex("00010102 0123")).to_bytes()
    expected = decode_reply(wire)
    monkeypatch.setattr(module, "_build", module._call)
    given = decode_reply(wire)
    assert given == expected
    assert [type(one) for one in given[2]] == [Reading]
