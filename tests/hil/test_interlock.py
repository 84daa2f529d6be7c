"""The interlock, exhaustively: every function, marked and not, every form of address, every cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU

from hil.scenario import CJT188, DLT645, DLT645_1997, MODBUS
from protocols.cjt188.frame import Frame as WaterFrame
from protocols.dlt645.controls import CONTROLS, FUNCTION_NAMES_1997
from protocols.dlt645.frame import ANY_ADDRESS, BROADCAST, OFFSET, Frame, decode_frame
from tests.bench_kit.interlock import ORDERS, Interlock, InterlockError, Known

MARKED, PLAIN, STRANGER = "000000000161", "000000000162", "000000000163"
MARKED_UNIT, PLAIN_UNIT, STRANGER_UNIT = 17, 18, 19
WATER_MARKED, WATER_PLAIN = "00000000000188", "00000000000189"
READS = {0x01, 0x02, 0x11, 0x12, 0x13}
MODBUS_READS = {1, 2, 3, 4}
OPEN_ADDRESSES = [BROADCAST, ANY_ADDRESS, "AAAAAAAA0161", "AA0000000161"]
EVERY_ORDER = frozenset(range(256))


class Spy:
    """A port that takes down what reaches it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def read(self, timeout_s: float) -> bytes:
        return b"heard"


def marked(protocol: str, address: str, allows: frozenset[int] = EVERY_ORDER) -> Known:
    """A sacrificial meter that allows everything, unless told otherwise."""
    return Known(protocol, address, True, allows)


def plain(protocol: str, address: str) -> Known:
    """A meter that somebody pays by."""
    return Known(protocol, address, False, frozenset())


MIXED = [
    marked(DLT645, MARKED),
    plain(DLT645, PLAIN),
    marked(MODBUS, str(MARKED_UNIT)),
    plain(MODBUS, str(PLAIN_UNIT)),
    marked(CJT188, WATER_MARKED),
    plain(CJT188, WATER_PLAIN),
]
ALL_MARKED = [one for one in MIXED if one.is_sacrificial]


def passes(meters: list[Known], *pieces: bytes) -> bool:
    """Whether the pieces go out, all as they are; a refusal lets nothing of them out."""
    spy = Spy()
    port = Interlock(spy, meters)
    refusal = ""
    try:
        for piece in pieces:
            port.write(piece)
    except InterlockError as error:
        refusal = str(error)
    out = b"".join(spy.written)
    assert out in (b"".join(pieces), b"")
    assert not refusal or (refusal.startswith("nothing was sent: ") and out == b"")
    return out == b"".join(pieces)


def modbus(unit: int, function: int, rest: bytes = bytes(4)) -> bytes:
    """A request with a good CRC, by pymodbus."""
    body = bytes((unit, function)) + rest
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


MODBUS_RESTS = {
    0x0F: b"\x00\x01\x00\x08\x01\xff",
    0x10: b"\x00\x01\x00\x01\x02\x12\x34",
    0x15: b"\x07\x06\x00\x04\x00\x07\x00\x00",
    0x16: b"\x00\x04\x00\xf2\x00\x25",
    0x17: b"\x00\x03\x00\x06\x00\x0e\x00\x01\x02\x00\xff",
}


# --- DL/T 645: every control byte, every address ------------------------------------------------


@pytest.mark.parametrize("control", range(256))
@pytest.mark.parametrize("preamble", [0, 4])
def test_every_control_byte_at_every_address(control: int, preamble: int) -> None:
    """A read goes to everybody; anything else to the marked meter, or to all where all are."""
    is_read = control in READS

    def goes(meters: list[Known], address: str) -> bool:
        return passes(meters, Frame(address, control, b"\x00\x01\x02\x03").to_bytes(preamble))

    assert goes(MIXED, MARKED)
    assert goes(MIXED, PLAIN) == is_read
    assert goes(MIXED, STRANGER) == is_read
    assert goes([], MARKED) == is_read
    for address in OPEN_ADDRESSES:
        assert goes(MIXED, address) == is_read
        assert goes(ALL_MARKED, address)
        assert goes([], address) == is_read
        # One unmarked meter of another protocol is enough: it hears the same wire.
        assert goes([*ALL_MARKED, plain(MODBUS, "99")], address) == is_read


@pytest.mark.parametrize("control", range(256))
def test_a_function_that_is_not_allowed_by_name(control: int) -> None:
    """Sacrificial is not enough: the file says for what."""
    frame = Frame(MARKED, control, b"").to_bytes()
    assert passes([marked(DLT645, MARKED, frozenset())], frame) == (control in READS)
    only = frozenset({control})
    assert passes([marked(DLT645, MARKED, only)], frame)
    to_all = Frame(BROADCAST, control, b"").to_bytes()
    two = [marked(DLT645, MARKED, only), marked(DLT645, PLAIN, frozenset())]
    assert passes(two, to_all) == (control in READS)


def test_the_words_of_the_file_are_all_functions_but_the_reads() -> None:
    """Each function of both editions can be named, and no read need be."""
    assert set(ORDERS[DLT645].values()) == set(CONTROLS) - READS
    assert set(ORDERS[DLT645_1997].values()) == set(FUNCTION_NAMES_1997) - READS
    assert set(ORDERS[MODBUS].values()) == {0x05, 0x06, 0x0F, 0x10}
    assert set(ORDERS[CJT188].values()) == {0x04}


def test_the_name_of_another_protocol_does_not_count() -> None:
    """A sacrificial unit 17 does not open the meter with address 17."""
    frame = Frame("000000000017", 0x1C, b"").to_bytes()
    assert not passes([marked(MODBUS, "17"), plain(DLT645, "000000000017")], frame)
    assert not passes([marked(MODBUS, "000000000017")], frame)


# --- Modbus and CJ/T 188 ------------------------------------------------------------------------


@pytest.mark.parametrize("function", range(1, 256))
def test_every_modbus_function_at_every_unit(function: int) -> None:
    """Reads to all; writes to the marked unit, and to unit 0 where all are; the rest is no frame,
    or a frame that nobody can allow by name."""
    rest = MODBUS_RESTS.get(function, bytes(4))
    is_read = function in MODBUS_READS
    is_frame = is_read or function in {5, 6, 8, *MODBUS_RESTS}
    assert passes(MIXED, modbus(MARKED_UNIT, function, rest)) == is_frame
    assert passes(MIXED, modbus(PLAIN_UNIT, function, rest)) == is_read
    assert passes(MIXED, modbus(STRANGER_UNIT, function, rest)) == is_read
    assert passes(MIXED, modbus(0, function, rest)) == is_read
    assert passes(ALL_MARKED, modbus(0, function, rest)) == is_frame
    named = frozenset(ORDERS[MODBUS].values())
    by_name = [marked(MODBUS, str(MARKED_UNIT), named)]
    assert passes(by_name, modbus(MARKED_UNIT, function, rest)) == (is_read or function in named)


@pytest.mark.parametrize("control", range(256))
@pytest.mark.parametrize("preamble", [0, 3])
def test_every_control_byte_of_a_water_meter(control: int, preamble: int) -> None:
    """01 and 03 read; everything else is none."""
    is_read = control in (0x01, 0x03)

    def goes(meters: list[Known], address: str) -> bool:
        frame = WaterFrame(0x10, address, control, b"\x90\x1f\x00")
        return passes(meters, frame.to_bytes(preamble))

    assert goes(MIXED, WATER_MARKED)
    assert goes(MIXED, WATER_PLAIN) == is_read
    assert goes(MIXED, "00000000000190") == is_read
    assert goes(MIXED, "AAAAAAAAAAAAAA") == is_read
    assert goes(ALL_MARKED, "AAAAAAAAAAAAAA")


# --- cuts, garbage, frames in frames ------------------------------------------------------------

READ = Frame(PLAIN, 0x11, b"\x00\x00\x01\x00").to_bytes(4)
TRIP = Frame(PLAIN, 0x1C, bytes(16)).to_bytes(4)
WRITE = modbus(PLAIN_UNIT, 0x06)
REGISTERS = modbus(PLAIN_UNIT, 0x03)
WATER = WaterFrame(0x10, WATER_PLAIN, 0x01, b"\x90\x1f\x00").to_bytes(2)
GOOD, BAD = [READ, REGISTERS, WATER], [TRIP, WRITE, TRIP[4:]]


@pytest.mark.parametrize("frame", GOOD, ids=["dlt645", "modbus", "cjt188"])
def test_a_read_in_pieces_goes_out_when_it_is_whole(frame: bytes) -> None:
    """Every cut in two, and byte by byte; until then nothing, and no reading."""
    for at in range(1, len(frame)):
        spy = Spy()
        port = Interlock(spy, MIXED)
        port.write(frame[:at])
        assert spy.written == []
        with pytest.raises(InterlockError):
            port.read(0.0)
        port.write(frame[at:])
        assert b"".join(spy.written) == frame
        assert port.read(0.0) == b"heard"
    assert passes(MIXED, *(bytes((byte,)) for byte in frame))


@pytest.mark.parametrize("frame", BAD, ids=["dlt645", "modbus", "bare"])
def test_an_order_in_pieces_never_goes_out(frame: bytes) -> None:
    """Not one byte of it, whatever the cut."""
    for at in range(1, len(frame)):
        assert not passes(MIXED, frame[:at], frame[at:])
    assert not passes(MIXED, *(bytes((byte,)) for byte in frame))


@pytest.mark.parametrize("noise", [b"\x00", b"\xfe\x00", b"\x16", b"\x68", b"\xaa" * 20])
def test_garbage_around_a_frame_is_refused(noise: bytes) -> None:
    """In front and behind, of reads too: what is no frame is not sent."""
    for frame in (READ, REGISTERS, TRIP, WRITE):
        assert not passes(MIXED, frame + noise)
        assert not passes(MIXED, noise + frame)


def test_a_refusal_forgets_what_it_held() -> None:
    """The next good frame goes out alone."""
    spy = Spy()
    port = Interlock(spy, MIXED)
    for bad in (TRIP, b"\x00\x00\x00", TRIP[:9] + b"\x00" * 40):
        with pytest.raises(InterlockError):
            port.write(bad)
        port.write(READ)
    assert spy.written == [READ] * 3
    port.write(READ[:5])
    port.close()
    port.open()
    port.write(READ)
    assert spy.written == [READ] * 4
    assert spy.is_open


def test_two_frames_in_one_write_are_no_frame() -> None:
    """The second would go out unseen by whoever counts frames."""
    assert not passes(MIXED, READ + READ)
    assert not passes(MIXED, READ + TRIP)
    assert not passes(MIXED, REGISTERS + WRITE)


def test_an_order_inside_a_read_is_an_order() -> None:
    """A meter that missed the beginning hears the frame inside."""
    inner = without_offset(TRIP[4:])
    assert not passes(MIXED, Frame(MARKED, 0x11, inner).to_bytes(4))
    assert passes(MIXED, Frame(MARKED, 0x11, inner[:-1]).to_bytes(4))
    assert not passes(MIXED, Frame(MARKED, 0x11, without_offset(WRITE)).to_bytes(4))


def without_offset(data: bytes) -> bytes:
    """What a frame must carry so that `data` stand on the wire."""
    return bytes((byte - OFFSET) & 0xFF for byte in data)


def test_an_order_across_two_writes_is_an_order() -> None:
    """It begins in the data of one allowed frame and ends in those of the next."""
    head = Frame(PLAIN, 0x1C, bytes(14)).to_bytes()[:10]
    cover = Frame(MARKED, 0x14, without_offset(head)).to_bytes()
    begun = head + cover[-2:]  # the order's first two data bytes are the cover's end
    start = Frame(PLAIN, 0x11, bytes(4)).to_bytes()[:10]
    check = sum(begun + start + bytes(2)) & 0xFF
    rest = Frame(PLAIN, 0x11, without_offset(bytes((0, 0, check, 0x16)))).to_bytes()
    order = (cover + rest)[10 : 10 + 26]
    assert decode_frame(order).function == 0x1C
    assert passes(MIXED, cover)
    assert passes(MIXED, rest)
    spy = Spy()
    port = Interlock(spy, MIXED)
    port.write(cover)
    with pytest.raises(InterlockError):
        port.write(rest)
    assert spy.written == [cover]


def test_bytes_of_two_protocols_are_judged_as_both() -> None:
    """A unit 104 is 68h, the start byte of the others: its requests are Modbus all the same."""
    assert passes(MIXED, modbus(0x68, 3))
    assert not passes(MIXED, modbus(0x68, 6))
    assert passes([marked(MODBUS, "104")], modbus(0x68, 6))


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_give_a_frame_or_the_named_error(pieces: list[bytes]) -> None:
    """Nothing but whole frames ever goes out."""
    spy = Spy()
    port = Interlock(spy, MIXED)
    for piece in pieces:
        try:
            port.write(piece)
        except InterlockError:
            continue
    for out in spy.written:
        assert passes(MIXED, out)


@given(
    st.sampled_from([*GOOD, *BAD]),
    st.lists(st.integers(1, 40), max_size=5),
    st.binary(max_size=3),
    st.binary(max_size=3),
)
def test_no_cut_and_no_garbage_lets_an_order_out(
    frame: bytes, cuts: list[int], before: bytes, behind: bytes
) -> None:
    """Cut anywhere, with anything around: the orders stay inside."""
    stream = before + frame + behind
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    spy = Spy()
    port = Interlock(spy, MIXED)
    for start, stop in pairwise(edges):
        try:
            port.write(stream[start:stop])
        except InterlockError:
            continue
    out = b"".join(spy.written)
    assert all(order[-12:] not in out for order in BAD)
