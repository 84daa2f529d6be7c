"""protocols/dlt645/exchange.py: which frame answers a question, and what its parts make."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645.exchange import (
    ASKED,
    DONE,
    MORE,
    PARTS_MAX,
    Exchange,
    identifier_bytes,
    identifier_text,
    matches_address,
    read,
    read_address,
)
from protocols.dlt645.frame import ANY_ADDRESS, BROADCAST, Frame, Function, decode_frame
from protocols.dlt645.values import decode_values
from protocols.errors import CallerError, LineError, RefusedError, UnsupportedError
from tests.protocols.outcome import outcome
from tests.protocols.vectors import BY_ID, VECTORS, names, wire

METER = "123456789012"
OTHER = "123456789013"
DI = "00010000"
REPLY, MORE_FOLLOWS, REFUSAL = 0x91, 0xB1, 0xD1
FORWARD_ENERGY = bytes.fromhex("00000100") + bytes.fromhex("26000000")


def frame_of(name: str) -> Frame:
    """A vector's frame."""
    return decode_frame(wire(BY_ID[name]))


def pairs() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The vectors that are a read of the 2007 edition and its one reply."""
    found = []
    for asked, answered in pairwise(VECTORS):
        is_read = asked.get("control") == "11" and asked["expect"] == "accept"
        if is_read and answered.get("control") == "91" and asked.get("pair"):
            if asked["pair"] == answered.get("pair") and answered["expect"] == "accept":
                found.append((asked, answered))
    return found


PAIRS = pairs()


# ---- the request -------------------------------------------------------------------------------


def test_a_read_asks_one_meter_for_one_identifier() -> None:
    """The request is the frame of the vector, byte by byte."""
    exchange = read(METER, "0001FF00")
    assert exchange.request.to_bytes() == wire(BY_ID["v134"])
    assert type(exchange.request) is Frame
    assert (exchange.state, exchange.strays, exchange.answered_by) == (ASKED, 0, "")


@pytest.mark.parametrize(
    "address",
    [BROADCAST, ANY_ADDRESS, "AAAAAAAA9012", "12345678901A", "12345678901", "", "1234567890123"],
)
def test_a_read_of_several_meters_is_our_own_mistake(address: str) -> None:
    """Broadcast, wildcard and malformed addresses are refused before anything is sent."""
    with pytest.raises(CallerError):
        read(address, DI)


@pytest.mark.parametrize(
    "di", ["0001000", "000100000", "0001000G", "00 10000", "0x010000", "²" * 8]
)
def test_a_malformed_identifier_is_our_own_mistake(di: str) -> None:
    """Eight hex digits, nothing else."""
    with pytest.raises(CallerError):
        read(METER, di)


def test_an_identifier_travels_low_byte_first() -> None:
    """00010203 is sent 03 02 01 00, and small letters are letters too."""
    assert identifier_bytes("0001020f") == identifier_bytes("0001020F") == b"\x0f\x02\x01\x00"
    assert identifier_text(b"\x0f\x02\x01\x00") == "0001020F"


@given(st.text("0123456789ABCDEF", min_size=8, max_size=8), st.binary(max_size=4))
def test_identifier_text_and_bytes_are_inverse(di: str, behind: bytes) -> None:
    """Also in front of a payload."""
    assert identifier_text(identifier_bytes(di) + behind) == di


# ---- the answer --------------------------------------------------------------------------------


def test_there_are_captured_pairs_of_request_and_reply() -> None:
    """The test below does not pass for want of vectors."""
    assert len(PAIRS) >= 10


@pytest.mark.parametrize(("asked", "answered"), PAIRS, ids=names([pair[1] for pair in PAIRS]))
def test_a_captured_reply_answers_its_request(
    asked: dict[str, Any], answered: dict[str, Any]
) -> None:
    """A read built from the identifier gives the captured request, and takes the captured reply."""
    address = answered["address"]
    exchange = read(address, asked["di"])
    assert exchange.request == decode_frame(wire(asked))._replace(address=address)
    assert exchange.receive(decode_frame(wire(answered))) == DONE
    assert exchange.state == DONE
    assert exchange.data() == bytes.fromhex(answered["data_plain"])
    assert (exchange.answered_by, exchange.strays) == (address, 0)


@pytest.mark.parametrize("name", ["v028", "v029", "v033", "v034", "v043", "v094"])
def test_the_address_is_read_from_the_only_meter(name: str) -> None:
    """Request 13 goes to AA, the reply carries the real address in header and data."""
    exchange = read_address()
    assert exchange.request == Frame(ANY_ADDRESS, 0x13, b"")
    assert exchange.receive(frame_of(name)) == DONE
    assert exchange.answered_by == BY_ID[name]["expected"]["address"]
    assert bytes(reversed(exchange.data())).hex() == BY_ID[name]["expected"]["address"]


STRAYS = {
    "the echo of the request": Frame(METER, 0x11, FORWARD_ENERGY[:4]),
    "another meter": Frame(OTHER, REPLY, FORWARD_ENERGY),
    "another meter's refusal": Frame(OTHER, REFUSAL, b"\x02"),
    "a wildcard in the reply": Frame(ANY_ADDRESS, REPLY, FORWARD_ENERGY),
    "a late answer of another identifier": Frame(METER, REPLY, b"\x00\x00\x02\x00\x26\x00\x00\x00"),
    "the identifier in the wrong order": Frame(METER, REPLY, b"\x00\x01\x00\x00\x26\x00\x00\x00"),
    "half an identifier": Frame(METER, REPLY, b"\x00\x00\x01"),
    "no data": Frame(METER, REPLY, b""),
    "another function": Frame(METER, 0x94, FORWARD_ENERGY),
    "another function's refusal": Frame(METER, 0xD4, b"\x04"),
    "an address reply": Frame(METER, 0x93, bytes.fromhex("129078563412")),
    "a follow-up part": Frame(METER, 0x92, FORWARD_ENERGY + b"\x01"),
    "a refusal without its error": Frame(METER, REFUSAL, b""),
    "a refusal with two bytes": Frame(METER, REFUSAL, b"\x02\x00"),
    "a refusal that repeats the identifier": Frame(METER, REFUSAL, FORWARD_ENERGY[:4] + b"\x02"),
    "the 1997 edition": Frame(METER, 0x81, b"\x10\x90\x26\x00\x00\x00"),
}


@pytest.mark.parametrize("kind", STRAYS)
def test_a_frame_that_answers_something_else_is_counted_and_ignored(kind: str) -> None:
    """Late and foreign frames look perfectly valid; the match alone tells them apart."""
    exchange = read(METER, DI)
    assert exchange.receive(STRAYS[kind]) == ASKED
    assert (exchange.strays, exchange.state, exchange.answered_by) == (1, ASKED, "")
    assert exchange.receive(Frame(METER, REPLY, FORWARD_ENERGY)) == DONE
    assert exchange.data() == FORWARD_ENERGY
    assert exchange.strays == 1


def test_what_comes_after_the_answer_is_a_stray() -> None:
    """A repeated reply does not lengthen the value, and a refusal does not undo it."""
    exchange = read(METER, DI)
    for _ in range(3):
        assert exchange.receive(Frame(METER, REPLY, FORWARD_ENERGY)) == DONE
    assert exchange.receive(Frame(METER, REFUSAL, b"\x02")) == DONE
    assert exchange.data() == FORWARD_ENERGY
    assert exchange.strays == 3


def test_a_reply_without_a_payload_is_an_answer() -> None:
    """What its length means is judged where the value is decoded."""
    exchange = read(METER, DI)
    assert exchange.receive(Frame(METER, REPLY, FORWARD_ENERGY[:4])) == DONE
    assert exchange.data() == FORWARD_ENERGY[:4]


@given(
    st.text("0123456789A", min_size=12, max_size=12),
    st.integers(0, 255),
    st.binary(max_size=12) | st.binary(max_size=5).map(lambda tail: FORWARD_ENERGY[:4] + tail),
)
def test_any_frame_is_an_answer_a_refusal_or_a_stray(
    address: str, control: int, data: bytes
) -> None:
    """The fuzz sentence of the exchange."""
    exchange = read(METER, DI)
    state, reason = outcome(RefusedError, exchange.receive, Frame(address, control, data))
    kind = control & 0xDF if address == METER else 0
    if kind == REFUSAL and len(data) == 1:
        assert f"refused with error {data.hex().upper()} (" in reason
    elif kind == REPLY and data[:4] == FORWARD_ENERGY[:4]:
        assert (state, exchange.strays) == (MORE if control & 0x20 else DONE, 0)
    else:
        assert (state, exchange.strays) == (ASKED, 1)


# ---- narrowing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "answered", "matches"),
    [
        ("123456789012", "123456789012", True),
        ("123456789012", "123456789013", False),
        ("AAAAAAAA9012", "123456789012", True),
        ("AAAAAAAA9012", "999999999012", True),
        ("AAAAAAAA9012", "123456789013", False),
        ("AAAAAAAA9012", "123456781012", False),
        ("AAAAAAAAAAAA", "123456789012", True),
        ("AAAAAAAAAAAA", "AAAAAAAAAAAA", True),
        ("123456789012", "AAAAAAAAAAAA", False),
        ("123456789012", "12345678901", False),
        ("AAAAAAAAAAA", "123456789012", False),
    ],
)
def test_a_digits_in_the_question_match_any_digit_of_the_reply(
    asked: str, answered: str, matches: bool
) -> None:
    """The other digits must agree; a wildcard in the reply is no digit."""
    assert matches_address(asked, answered) is matches


def test_a_narrowed_question_takes_the_answer_of_a_meter_in_its_range() -> None:
    """The search asks with AA in the high bytes; the reply tells who it was."""
    exchange = Exchange("AAAAAAAA9012", Function.READ, "04000401")
    reply = bytes.fromhex("01040004 129078563412")
    assert exchange.receive(Frame("123456789013", REPLY, reply)) == ASKED
    assert exchange.receive(Frame(METER, REPLY, reply)) == DONE
    assert (exchange.answered_by, exchange.strays) == (METER, 1)


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", range(256))
def test_a_refusal_says_what_the_meter_said(code: int) -> None:
    """Missing data is unsupported, everything else is refused; unknown bits keep the raw number."""
    exchange = read(METER, DI)
    with pytest.raises(RefusedError) as caught:
        exchange.receive(Frame(METER, REFUSAL, bytes((code,))))
    error = caught.value
    assert type(error) is (UnsupportedError if code & 2 else RefusedError)
    assert error.code == code
    assert len(error.names) == code.bit_count()
    assert str(error).startswith(f"meter {METER} refused with error {code:02X} (")
    assert ", ".join(error.names) in str(error)
    assert code != 0 or "no bit set" in str(error)


@pytest.mark.parametrize(
    ("name", "di", "kind", "code"),
    [
        ("v024", DI, RefusedError, 4),
        ("v035", DI, UnsupportedError, 2),
        ("v056", "03010000", UnsupportedError, 2),
        ("v093", DI, RefusedError, 1),
    ],
)
def test_a_captured_refusal_is_raised(
    name: str, di: str, kind: type[RefusedError], code: int
) -> None:
    """The error numbers are those of the vectors."""
    frame = frame_of(name)
    with pytest.raises(RefusedError) as caught:
        read(frame.address, di).receive(frame)
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert code == BY_ID[name]["expected"]["err"]


# ---- follow-up ---------------------------------------------------------------------------------

PARTS = ("v135", "v137", "v139")


def joined() -> Exchange:
    """An exchange that stands before its first part."""
    return read(METER, "0001FF00")


def test_parts_are_joined_before_they_are_decoded() -> None:
    """A part may end inside an item; the whole gives the vector's joined values."""
    exchange = joined()
    assert exchange.receive(frame_of("v135")) == MORE
    assert exchange.request.to_bytes() == wire(BY_ID["v136"])
    assert exchange.receive(frame_of("v137")) == MORE
    assert exchange.request.to_bytes() == wire(BY_ID["v138"])
    assert exchange.receive(frame_of("v139")) == DONE
    expected = BY_ID["v139"]["expected"]["joined_values"]
    values = [quantity for _, quantity in decode_values(exchange.data())]
    assert [value.shown() for value in values] == [(f"{one:.2f}", "kWh") for one in expected]
    assert exchange.strays == 0


def test_a_lost_part_is_asked_for_again_with_the_same_sequence() -> None:
    """Nothing received changes nothing: the request stays the one that was not answered."""
    exchange = joined()
    exchange.receive(frame_of("v135"))
    asked = exchange.request
    assert exchange.receive(Frame(METER, 0xB2, b"\x00\xff\x01\x00\x11\x22\x02")) == MORE
    assert (exchange.request, exchange.strays) == (asked, 1)
    assert exchange.receive(frame_of("v137")) == MORE
    assert exchange.receive(frame_of("v139")) == DONE


@pytest.mark.parametrize("repeated", [0, 1, 2])
def test_a_part_that_arrives_twice_counts_once(repeated: int) -> None:
    """The first reply again, or a part again, is a stray to the next question."""
    exchange = joined()
    for number, name in enumerate(PARTS):
        exchange.receive(frame_of(name))
        if number == repeated:
            exchange.receive(frame_of(name))
    assert (exchange.state, exchange.strays) == (DONE, 1)
    assert len(exchange.data()) == 4 + 5 * 4


def test_a_part_out_of_order_is_not_joined() -> None:
    """Part 2 does not answer the question for part 1."""
    exchange = joined()
    exchange.receive(frame_of("v135"))
    assert exchange.receive(frame_of("v139")) == MORE
    assert (exchange.strays, len(exchange.data())) == (1, 4 + 8)


@pytest.mark.parametrize(
    "part",
    [
        Frame(OTHER, 0x92, b"\x00\xff\x01\x00\x11\x01"),
        Frame(METER, 0x92, b"\x00\xff\x02\x00\x11\x01"),
        Frame(METER, 0x92, b"\x00\xff\x01\x00\x11\x00"),
        Frame(METER, 0x92, b"\x00\xff\x01\x00"),
        Frame(METER, 0x91, b"\x00\xff\x01\x00\x11\x01"),
        Frame(METER, 0x12, b"\x00\xff\x01\x00\x01"),
        Frame(METER, 0xD1, b"\x02"),
    ],
)
def test_a_part_must_match_meter_function_identifier_and_sequence(part: Frame) -> None:
    """A stray part is counted, and the right one still completes the answer."""
    exchange = joined()
    exchange.receive(frame_of("v135"))
    assert exchange.receive(part) == MORE
    assert exchange.strays == 1
    exchange.receive(frame_of("v137"))
    assert exchange.receive(frame_of("v139")) == DONE


def test_a_last_part_may_hold_nothing_but_its_sequence() -> None:
    """A meter that announced more and has none closes so."""
    exchange = joined()
    exchange.receive(frame_of("v135"))
    assert exchange.receive(Frame(METER, 0x92, b"\x00\xff\x01\x00\x01")) == DONE
    assert len(exchange.data()) == 4 + 8


def test_the_identifier_is_not_taken_for_the_sequence() -> None:
    """A part without its sequence is a stray, even where DI3 happens to be that number."""
    exchange = read(METER, "01010000")
    di = identifier_bytes("01010000")
    assert di[-1] == 1
    exchange.receive(Frame(METER, MORE_FOLLOWS, di + bytes(8)))
    assert exchange.receive(Frame(METER, 0x92, di)) == MORE
    assert exchange.strays == 1


def test_a_part_may_be_refused() -> None:
    """The captured form of a refused follow-up ends the exchange as unsupported."""
    exchange = joined()
    exchange.receive(frame_of("v135"))
    with pytest.raises(UnsupportedError):
        exchange.receive(frame_of("v140"))


def test_an_answer_has_at_most_so_many_parts() -> None:
    """A meter that always announces more is a line error, not a full memory."""
    assert PARTS_MAX == 64
    exchange = joined()
    di = identifier_bytes("0001FF00")
    exchange.receive(Frame(METER, MORE_FOLLOWS, di + bytes(8)))
    for number in range(1, PARTS_MAX):
        assert exchange.receive(Frame(METER, 0xB2, di + bytes(8) + bytes((number,)))) == MORE
    assert exchange.request.data == di + bytes((PARTS_MAX,))
    with pytest.raises(LineError, match=f"more than {PARTS_MAX} parts"):
        exchange.receive(Frame(METER, 0xB2, di + bytes(8) + bytes((PARTS_MAX,))))


def test_an_answer_of_the_most_parts_is_whole() -> None:
    """The limit itself is allowed."""
    exchange = joined()
    di = identifier_bytes("0001FF00")
    exchange.receive(Frame(METER, MORE_FOLLOWS, di + b"\x00"))
    for number in range(1, PARTS_MAX + 1):
        control = 0x92 if number == PARTS_MAX else 0xB2
        state = exchange.receive(Frame(METER, control, di + bytes((number, number))))
    assert state == DONE
    assert exchange.data() == di + bytes(range(PARTS_MAX + 1))
