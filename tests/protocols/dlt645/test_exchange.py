"""protocols/dlt645/exchange.py: which frame answers a question, and what its parts make."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645.answers import Answer, accepted, is_addressed, refused
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.commands import (
    FREEZE_NOW,
    BroadcastTime,
    ChangePassword,
    ChangeRate,
    ClearDemand,
    ClearEvents,
    ClearMeter,
    Relay,
    SecuredControl,
    Security,
    Terminal,
    Write,
    WriteAddress,
)
from protocols.dlt645.controls import CONTROLS
from protocols.dlt645.credentials import Credentials
from protocols.dlt645.exchange import (
    ASKED,
    DONE,
    MORE,
    PARTS_MAX,
    Exchange,
    matches_address,
    read,
    read_1997,
    read_address,
)
from protocols.dlt645.frame import ANY_ADDRESS, BROADCAST, Frame, decode_frame
from protocols.dlt645.identifiers import identifier_bytes
from protocols.dlt645.relay import ACTION_NAMES, RelayAction, RelayTerms
from protocols.dlt645.requests import request
from protocols.dlt645.values import decode_items
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
    exchange = Exchange(Frame("AAAAAAAA9012", 0x11, bytes.fromhex("01040004")))
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
    values = [quantity for _, quantity in decode_items(exchange.data())]
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


def test_a_part_may_be_asked_for_on_its_own() -> None:
    """Whoever takes a capture apart may begin there: identifier and number must still agree."""
    exchange = Exchange(frame_of("v136"))
    for stray in (Frame(METER, 0x92, b""), frame_of("v139"), frame_of("v135")):
        assert exchange.receive(stray) == ASKED
    assert exchange.receive(frame_of("v137")) == MORE
    assert exchange.request == frame_of("v138")
    assert exchange.receive(frame_of("v139")) == DONE
    assert exchange.data() == BLOCK_DI + BLOCK[8:]
    assert exchange.strays == 3


def test_a_late_part_is_one_part_and_the_last_number_ends() -> None:
    """The limit counts the parts of this exchange; no number follows 255."""
    exchange = Exchange(Frame(METER, 0x12, BLOCK_DI + b"\xfe"))
    assert exchange.receive(Frame(METER, 0xB2, BLOCK_DI + b"\x01\xfe")) == MORE
    assert exchange.request == Frame(METER, 0x12, BLOCK_DI + b"\xff")
    with pytest.raises(LineError, match="more than"):
        exchange.receive(Frame(METER, 0xB2, BLOCK_DI + b"\x01\xff"))


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


# ---- every function ----------------------------------------------------------------------------

ALL = tuple(sorted(CONTROLS))
TERMS = RelayTerms(tuple(ACTION_NAMES), (2,), True)
MINE = Credentials(2, "987654", "12345678")
SOON = MeterTime(2026, 12, 31, 23, 59, 59)
BODY = bytes(range(20))
NEW = "000000000042"
NEW_BYTES = b"\x42" + bytes(5)
RELAY = Relay(RelayAction.ARM, SOON, MINE, 0)

# Command, and what its one normal reply carries.
ANSWERED = {
    "write": (Write("04000103", (15,), MINE), b""),
    "freeze": (FREEZE_NOW, b""),
    "rate": (ChangeRate(9600), b"\x20"),
    "password": (ChangePassword(4, "111222", 2, "987654"), b"\x04\x22\x12\x11"),
    "clear demand": (ClearDemand(MINE), b""),
    "clear meter": (ClearMeter(MINE), b""),
    "clear events": (ClearEvents("030101FF", MINE), b""),
    "relay": (RELAY, b""),
    "secured relay": (SecuredControl(0x1C, "12345678", BODY), b""),
    "terminal": (Terminal(2), b"\x02"),
}
WRONG_DATA = [b"\x00", b"\x20\x20", b"\x02\x00\x00", b"\x04\x22\x12\x12", b"\x22\x12\x11",
              b"\x12\x11", b"\x02\x54\x76\x98", bytes(5), bytes(8), BODY]  # fmt: skip


def asked(command: object, address: str = METER) -> Exchange:
    """The exchange of a caller that may send everything."""
    return Exchange(request(address, command, ALL, TERMS))


@pytest.mark.parametrize("kind", ANSWERED)
def test_a_control_is_answered_by_its_own_reply_alone(kind: str) -> None:
    """Not by another meter, another function, other data, a part of more, or its own echo."""
    command, carried = ANSWERED[kind]
    exchange = asked(command)
    code = exchange.request.control
    strays = [
        exchange.request,
        Frame(OTHER, code | 0x80, carried),
        Frame(ANY_ADDRESS, code | 0x80, carried),
        Frame(BROADCAST, code | 0x80, carried),
        Frame(METER, (code ^ 1) | 0x80, carried),
        Frame(METER, 0x91, carried),
        Frame(METER, code | 0xA0, carried),
        Frame(METER, code | 0xC0, b""),
        Frame(METER, code | 0xC0, b"\x04\x00"),
        Frame(METER, code | 0xC0, b"\x04\x00\x00"),
        Frame(OTHER, code | 0xC0, b"\x04"),
        Frame(METER, code | 0x80, carried + b"\x00"),
        Frame(METER, code | 0x80, exchange.request.data),
        # Two bytes are the extended answer of a relay, see below.
        *[Frame(METER, code | 0x80, data) for data in WRONG_DATA if code != 0x1C or len(data) != 2],
    ]
    right = accepted(exchange.request, METER, carried)
    strays = [stray for stray in strays if stray != right]  # an echo is right where one is due
    for number, stray in enumerate(strays, 1):
        assert exchange.receive(stray) == ASKED, stray
        assert exchange.strays == number
    assert exchange.receive(Frame(METER, code | 0x80, carried)) == DONE
    assert (exchange.data(), exchange.answered_by) == (carried, METER)
    assert exchange.receive(Frame(METER, code | 0x80, carried)) == DONE
    assert exchange.strays == len(strays) + 1


@pytest.mark.parametrize("kind", ANSWERED)
@pytest.mark.parametrize("code", [0x01, 0x04, 0x06, 0xFE])
def test_a_refused_control_raises_what_the_meter_said(kind: str, code: int) -> None:
    """One error byte; a password that is wrong is no missing data."""
    exchange = asked(ANSWERED[kind][0])
    with pytest.raises(RefusedError) as caught:
        exchange.receive(refused(exchange.request, METER, code))
    assert caught.value.code == code
    assert type(caught.value) is (UnsupportedError if code & 2 else RefusedError)
    assert "987654" not in str(caught.value)


def test_the_vectors_answer_their_controls() -> None:
    """Relay, secured relay, write, rate, clear, and two refusals."""
    for name, answer in (("v064", "v065"), ("v074", "v075"), ("v141", "v142"), ("v148", "v149"),
                         ("v150", "v151")):  # fmt: skip
        question, reply = frame_of(name), frame_of(answer)
        exchange = Exchange(question._replace(address=reply.address))
        assert exchange.receive(reply) == DONE
    for name, answer in (("v141", "v143"), ("v145", "v144")):
        question, reply = frame_of(name), frame_of(answer)
        with pytest.raises(RefusedError) as caught:
            Exchange(question._replace(address=reply.address)).receive(reply)
        assert caught.value.code == BY_ID[answer]["expected"]["err"]


@pytest.mark.parametrize("name", ["v158", "v159", "v161"])
def test_a_faulty_reply_of_a_library_answers_nothing(name: str) -> None:
    """A write reply with data, a wildcard in the header, an answer to a broadcast."""
    for command, address in ((Write("04000103", (15,), MINE), METER), (WriteAddress(NEW), METER),
                             (FREEZE_NOW, METER), (FREEZE_NOW, BROADCAST)):  # fmt: skip
        exchange = asked(command, address)
        before = exchange.state
        assert exchange.receive(frame_of(name)) == before
        assert exchange.strays == 1


@pytest.mark.parametrize("command", [BroadcastTime(SOON), FREEZE_NOW])
def test_nobody_answers_a_broadcast(command: object) -> None:
    """The exchange is done when it is sent; whatever is heard is a stray."""
    exchange = asked(command, BROADCAST)
    assert exchange.state == DONE
    code = exchange.request.control
    for stray in (Frame(METER, code | 0x80, b""), Frame(BROADCAST, code | 0x80, b""),
                  Frame(METER, code | 0xC0, b"\x04")):  # fmt: skip
        assert exchange.receive(stray) == DONE
    assert (exchange.strays, exchange.data(), exchange.answered_by) == (3, b"", "")


def test_a_relay_may_answer_at_length() -> None:
    """Two bytes more of one source's meters; any other number of bytes answers nothing."""
    exchange = asked(RELAY)
    for data in (b"\x01", b"\x01\x00\x00", bytes(4)):
        assert exchange.receive(Frame(METER, 0x9C, data)) == ASKED
    assert exchange.receive(Frame(METER, 0x9C, b"\x20\x00")) == DONE
    assert (exchange.data(), exchange.strays) == (b"\x20\x00", 3)


def test_a_meter_answers_for_its_new_address() -> None:
    """95 comes from the new address, with or without it as data; a refusal from the old one."""
    for data in (b"", NEW_BYTES):
        exchange = asked(WriteAddress(NEW))
        for stray in (Frame(METER, 0x95, b""), Frame(NEW, 0x95, bytes(6)),
                      Frame(NEW, 0x95, b"\x42"), Frame(NEW, 0xD5, b"\x04")):  # fmt: skip
            assert exchange.receive(stray) == ASKED
        assert exchange.receive(Frame(NEW, 0x95, data)) == DONE
        assert (exchange.answered_by, exchange.strays) == (NEW, 4)
    with pytest.raises(RefusedError):
        asked(WriteAddress(NEW)).receive(Frame(METER, 0xD5, b"\x04"))


@pytest.mark.parametrize(
    "data", [b"", NEW_BYTES[:5], NEW_BYTES + b"\x00", bytes.fromhex("129078563413")]
)
def test_an_address_reply_must_say_its_own_address(data: bytes) -> None:
    """Header and data agree, six bytes; a reply with more to come is none."""
    exchange = read_address()
    assert exchange.receive(Frame(METER, 0x93, data)) == ASKED
    own = bytes.fromhex("129078563412")
    assert exchange.receive(Frame(METER, 0xB3, own)) == ASKED
    assert exchange.receive(Frame(METER, 0x13, own)) == ASKED
    assert exchange.receive(Frame(METER, 0x93, own)) == DONE
    assert (exchange.answered_by, exchange.strays, exchange.data()) == (METER, 3, own)


# ---- security ----------------------------------------------------------------------------------


def test_a_security_reply_repeats_the_identifier() -> None:
    """The vectors' identity authentication."""
    question, reply = frame_of("v153"), frame_of("v154")
    exchange = Exchange(question._replace(address=reply.address))
    wrong = reply._replace(data=b"\xff\x01\x00\x07" + reply.data[4:])
    assert exchange.receive(wrong) == ASKED
    assert exchange.receive(reply) == DONE
    assert exchange.data() == reply.data
    assert exchange.strays == 1


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        ("08 00", 0x0008, "identity authentication failed or expired"),
        ("02 00", 0x0002, "recharged already"),
        ("00 01", 0x0100, "meter suspended after too many failures"),
        ("00 80", 0x8000, "setting password wrong"),
        ("60 00", 0x0060, "purchase count wrong, recharge exceeds the hoarding limit"),
        ("00 02", 0x0200, "bit 9"),
        ("00 00", 0x0000, "no bit set"),
    ],
)
def test_a_security_refusal_has_two_bytes_low_first(data: str, code: int, said: str) -> None:
    """Bit 1 means recharged already here, so no refusal of this kind is missing data."""
    exchange = asked(Security("070102FF", "12345678", BODY))
    for stray in (b"\x08", b"\x08\x00\x00", b""):
        assert exchange.receive(Frame(METER, 0xC3, stray)) == ASKED
    with pytest.raises(RefusedError) as caught:
        exchange.receive(Frame(METER, 0xC3, bytes.fromhex(data)))
    assert (type(caught.value), caught.value.code) == (RefusedError, code)
    assert str(caught.value) == f"meter {METER} refused with error {code:04X} ({said})"


def test_the_security_vector_is_refused() -> None:
    """SERR bit 3."""
    reply = frame_of("v155")
    question = frame_of("v153")._replace(address=reply.address)
    with pytest.raises(RefusedError) as caught:
        Exchange(question).receive(reply)
    assert caught.value.code == BY_ID["v155"]["expected"]["serr"]
    assert len(caught.value.names) == 1


# ---- edition 1997 ------------------------------------------------------------------------------

READS_1997 = [vector for vector in VECTORS if vector.get("control") == "81"
              and vector["expect"] == "accept"]  # fmt: skip


@pytest.mark.parametrize("vector", READS_1997, ids=names(READS_1997))
def test_a_captured_reply_of_1997_answers_its_question(vector: dict[str, Any]) -> None:
    """Two bytes of identifier; a meter that echoes AA answers a question to any."""
    frame = decode_frame(wire(vector))
    if vector["id"] == "v131":
        exchange = Exchange(Frame(ANY_ADDRESS, 0x01, identifier_bytes(vector["di"])))
    else:
        exchange = read_1997(vector["address"], vector["di"])
        assert exchange.request == Frame(vector["address"], 0x01, frame.data[:2])
    assert exchange.receive(frame._replace(control=0x91)) == ASKED
    assert exchange.receive(frame._replace(data=b"\x99\x99" + frame.data[2:])) == ASKED
    assert exchange.receive(frame) == DONE
    assert exchange.data() == frame.data
    assert exchange.strays == 2


@pytest.mark.parametrize("address", [BROADCAST, ANY_ADDRESS, "12345678901A", ""])
def test_a_read_of_1997_asks_one_meter(address: str) -> None:
    """As the read of 2007."""
    with pytest.raises(CallerError):
        read_1997(address, "9010")


def test_a_follow_up_of_1997_has_no_number() -> None:
    """02 with the identifier alone; the parts are joined behind one identifier."""
    exchange = read_1997(METER, "901F")
    assert exchange.receive(Frame(METER, 0xA1, b"\x1f\x90" + bytes(6))) == MORE
    assert exchange.request == Frame(METER, 0x02, b"\x1f\x90")
    assert exchange.receive(Frame(METER, 0x81, b"\x1f\x90" + bytes(6))) == MORE
    assert exchange.receive(Frame(METER, 0x82, b"\x1f\x90\x01\x01")) == DONE
    assert exchange.data() == b"\x1f\x90" + bytes(6) + b"\x01\x01"
    assert [quantity.value for _, quantity in decode_items(exchange.data(), 2)] == [0, 1010000]
    assert exchange.strays == 1


def test_a_refusal_of_1997_has_its_own_words() -> None:
    """Bit 0 is illegal data there."""
    exchange = read_1997(frame_of("v112").address, "9010")
    with pytest.raises(UnsupportedError) as caught:
        exchange.receive(frame_of("v112"))
    assert caught.value.code == BY_ID["v112"]["expected"]["err"]
    with pytest.raises(RefusedError, match="illegal data"):
        read_1997(METER, "9010").receive(Frame(METER, 0xC1, b"\x01"))
    with pytest.raises(RefusedError, match="other error"):
        read(METER, DI).receive(Frame(METER, REFUSAL, b"\x01"))


# ---- parts cut anywhere ------------------------------------------------------------------------

BLOCK = bytes.fromhex("78563412 67452301 78563402 89674503 90785604".replace(" ", ""))
BLOCK_DI = identifier_bytes("0001FF00")


@pytest.mark.parametrize("cut", range(1, len(BLOCK) + 1))
def test_an_answer_may_be_cut_at_every_place(cut: int) -> None:
    """Also inside an item; a lost part is asked for again by the same request."""
    answer = Answer(BLOCK_DI, BLOCK, cut)
    exchange = read(METER, "0001FF00")
    state = exchange.receive(answer.first(exchange.request, METER))
    parts = 1
    while state == MORE:
        question = exchange.request
        number = question.data[4]
        assert question == Frame(METER, 0x12, BLOCK_DI + bytes((parts,)))
        lost = answer.following(question, METER, number)
        damaged = lost._replace(data=lost.data[:-1] + bytes((number ^ 0x40,)))
        assert exchange.receive(damaged) == MORE
        assert exchange.request == question
        state = exchange.receive(answer.following(question, METER, number))
        parts += 1
    assert exchange.data() == BLOCK_DI + BLOCK
    assert exchange.strays == parts - 1 == (len(BLOCK) - 1) // cut
    assert answer.following(exchange.request, METER, parts) is None


@given(st.binary(max_size=900), st.integers(1, 250), st.data())
def test_any_payload_comes_back_from_its_parts(payload: bytes, cut: int, source: Any) -> None:
    """With any cut, as long as the parts are few enough; repeated parts count once."""
    cut = max(cut, len(payload) // PARTS_MAX + 1)
    answer = Answer(BLOCK_DI, payload, cut)
    exchange = read(METER, "0001FF00")
    reply = answer.first(exchange.request, METER)
    while exchange.receive(reply) == MORE:
        if source.draw(st.booleans()):
            exchange.receive(reply)  # the line gives it twice
        question = decode_frame(exchange.request.to_bytes())
        reply = decode_frame(answer.following(question, METER, question.data[4]).to_bytes(2))
    assert exchange.state == DONE
    assert exchange.data() == BLOCK_DI + payload


# ---- the meter's side --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "is_meant"),
    [
        (METER, True), (OTHER, False), (ANY_ADDRESS, True), ("AAAAAAAA9012", True),
        ("AA3456789012", True), ("AAAAAAAAAA12", True), ("AAAAAAAA9013", False),
        ("A23456789012", False), ("1234567890AA", False), ("12AAAA789012", False),
        ("AA34AA789012", False), (BROADCAST, False), ("", False), ("AAAA", False),
    ],
)  # fmt: skip
def test_a_meter_knows_whether_it_is_meant(address: str, is_meant: bool) -> None:
    """Its full address, or AA pairs from the high end and the rest exact."""
    assert is_addressed(address, METER) is is_meant


def test_a_meter_refuses_with_the_bytes_of_its_function() -> None:
    """One error byte, two low byte first for the security function."""
    assert refused(Frame(METER, 0x11, b""), METER, 2) == Frame(METER, 0xD1, b"\x02")
    assert refused(Frame(METER, 0x03, b""), METER, 0x0102) == Frame(METER, 0xC3, b"\x02\x01")
    for control, code in ((0x11, 256), (0x11, -1), (0x03, 0x10000)):
        with pytest.raises(CallerError, match="does not fit"):
            refused(Frame(METER, control, b""), METER, code)


@pytest.mark.parametrize("cut", [0, -1, 251])
def test_a_part_has_a_byte_and_fits_into_a_frame(cut: int) -> None:
    """With identifier and number."""
    with pytest.raises(CallerError, match="a part has 1 to 250"):
        Answer(BLOCK_DI, BLOCK, cut)
    whole = Answer(BLOCK_DI, bytes(500), 250)
    first = whole.first(Frame(METER, 0x11, BLOCK_DI), METER)
    last = whole.following(Frame(METER, 0x12, BLOCK_DI + b"\x01"), METER, 1)
    assert (first.control, len(first.data)) == (0xB1, 254)
    assert (last.control, len(last.data)) == (0x92, 255)
    for number in (0, -1, 2):
        assert whole.following(Frame(METER, 0x12, BLOCK_DI), METER, number) is None


def test_an_empty_answer_is_one_part() -> None:
    """Nothing recorded: the identifier alone."""
    reply = Answer(BLOCK_DI, b"").first(Frame(METER, 0x11, BLOCK_DI), METER)
    assert reply == Frame(METER, 0x91, BLOCK_DI)
