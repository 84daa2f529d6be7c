"""protocols/cjt188/exchange.py: which frame answers a question."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.cjt188.deframer import Deframer
from protocols.cjt188.dialect import (
    AFTER,
    DI_ORDERS,
    HEAT,
    METER_TYPES,
    SETTLEMENT,
    Dialect,
    answers_for,
    identifier_bytes,
)
from protocols.cjt188.exchange import ASKED, DONE, Exchange, read_address, read_present
from protocols.cjt188.frame import ANY_ADDRESS, Frame, decode_frame
from protocols.errors import CallerError, RefusedError
from tests.protocols.cjt188.vectors import (
    ANSWERS,
    BY_ID,
    COLD_WATER,
    dialect_of,
    names,
    payload,
    wire,
)

METER = "15000000000012"
OTHER = "15000000000013"
WATER = Dialect(COLD_WATER, "901F", AFTER, SETTLEMENT)
HEAT_METER = WATER._replace(meter_type=HEAT)
SERIAL = 7
HEAD = bytes.fromhex("901F07")
REPLY = Frame(COLD_WATER, METER, 0x81, HEAD + bytes(19))


def ask() -> Exchange:
    """A question to the water meter."""
    return read_present(METER, WATER, SERIAL)


@pytest.mark.parametrize("name", ["A1", "I", "K", "Q2", "O2"])
def test_a_request_is_the_captured_one(name: str) -> None:
    """Byte by byte, in the order of identifier that its meter has."""
    vector = BY_ID[name]
    exchange = read_present(vector["address"], dialect_of(vector), vector["serial"])
    assert exchange.request.to_bytes() == wire(name)
    assert (exchange.state, exchange.strays, exchange.answered_by) == (ASKED, 0, "")


def test_the_request_for_an_address_is_the_captured_one() -> None:
    """To AA; the reply's header has the address."""
    exchange = read_address("901F", 0)
    assert exchange.request.to_bytes() == wire("K4")
    assert exchange.receive(decode_frame(wire("K3"))) == DONE
    assert (exchange.answered_by, exchange.answered_type) == ("00000000000012", COLD_WATER)
    assert exchange.data() == b""


@pytest.mark.parametrize("vector", ANSWERS, ids=names(ANSWERS))
def test_a_captured_reply_answers_its_question(vector: dict[str, Any]) -> None:
    """Of the meter asked, with the identifier and the SER asked; T = 25 answers 20."""
    exchange = read_present(vector["address"], dialect_of(vector), vector["serial"])
    assert exchange.receive(decode_frame(wire(vector["id"]))) == DONE
    assert exchange.data() == payload(vector)
    assert (exchange.answered_by, exchange.strays) == (vector["address"], 0)
    assert exchange.answered_type == int(vector["meter_type"], 16)


@pytest.mark.parametrize("vector", ANSWERS, ids=names(ANSWERS))
def test_any_address_takes_the_answer_of_any_meter(vector: dict[str, Any]) -> None:
    """As the requests J2 and M2 ask."""
    asked = read_present(vector["address"], dialect_of(vector), vector["serial"]).request
    exchange = Exchange(asked._replace(address=ANY_ADDRESS))
    assert exchange.receive(decode_frame(wire(vector["id"]))) == DONE
    assert exchange.answered_by == vector["address"]


@pytest.mark.parametrize("address", [ANY_ADDRESS, "1500000000001F"])
def test_an_answer_without_a_meters_address_is_none(address: str) -> None:
    """Not even to a question to any: whose value would it be?"""
    exchange = Exchange(ask().request._replace(address=ANY_ADDRESS))
    assert exchange.receive(REPLY._replace(address=address)) == ASKED
    assert exchange.strays == 1


STRAYS = {
    "the echo of the request": Frame(COLD_WATER, METER, 0x01, HEAD),
    "another meter": REPLY._replace(address=OTHER),
    "a wildcard in the reply": REPLY._replace(address=ANY_ADDRESS),
    "an address that is no digits": REPLY._replace(address="1500000000001F"),
    "another type": REPLY._replace(meter_type=0x11),
    "a heat meter": REPLY._replace(meter_type=0x20),
    "a late answer": REPLY._replace(data=bytes.fromhex("901F06") + bytes(19)),
    "another identifier": REPLY._replace(data=bytes.fromhex("D12007") + bytes(19)),
    "the identifier in the other order": REPLY._replace(data=bytes.fromhex("1F9007") + bytes(19)),
    "half an identifier": REPLY._replace(data=b"\x90"),
    "no data": REPLY._replace(data=b""),
    "a written value": REPLY._replace(control=0x84),
    "an address reply": REPLY._replace(control=0x83),
    "a part of a longer answer": REPLY._replace(control=0xA1),
    "another function's refusal": REPLY._replace(control=0xC4),
    "another meter's refusal": REPLY._replace(address=OTHER, control=0xC1),
}


@pytest.mark.parametrize("kind", STRAYS)
def test_a_frame_that_answers_something_else_is_counted_and_ignored(kind: str) -> None:
    """The match alone tells it apart, and the right answer still counts."""
    exchange = ask()
    assert exchange.receive(STRAYS[kind]) == ASKED
    assert (exchange.strays, exchange.answered_by, exchange.data()) == (1, "", b"")
    assert exchange.receive(REPLY) == DONE
    assert (exchange.data(), exchange.strays) == (bytes(19), 1)


def test_what_comes_after_the_answer_is_a_stray() -> None:
    """A second reply changes nothing, a refusal undoes nothing."""
    exchange = ask()
    exchange.receive(REPLY)
    assert exchange.receive(REPLY._replace(data=HEAD + b"\x01" * 19)) == DONE
    assert exchange.receive(REPLY._replace(control=0xC1)) == DONE
    assert (exchange.data(), exchange.strays) == (bytes(19), 2)


@pytest.mark.parametrize("data", [b"", b"\x07\x02\x00", HEAD + b"\x01"])
def test_a_refusal_is_the_meters_own_no(data: bytes) -> None:
    """C1 with whatever it carries, which the error tells."""
    exchange = ask()
    with pytest.raises(RefusedError) as caught:
        exchange.receive(REPLY._replace(control=0xC1, data=data))
    assert METER in str(caught.value)
    assert caught.value.code == int.from_bytes(data, "little")
    with pytest.raises(RefusedError):
        read_address("901F", 0).receive(REPLY._replace(control=0xC3, data=data))


def test_an_address_reply_repeats_what_was_asked_and_no_more() -> None:
    """Identifier and SER."""
    exchange = read_address("1F90", 9, COLD_WATER)
    assert exchange.request.data == bytes.fromhex("0A8109")
    wrong = (b"", b"\x0a\x81\x08", b"\x81\x0a\x09", b"\x0a\x81\x09\x00")
    for data in wrong:
        assert exchange.receive(Frame(COLD_WATER, METER, 0x83, data)) == ASKED
    assert exchange.receive(Frame(COLD_WATER, METER, 0x83, b"\x0a\x81\x09")) == DONE
    assert exchange.strays == len(wrong)


@pytest.mark.parametrize("asked", METER_TYPES.values())
def test_only_heat_meters_answer_for_one_another(asked: int) -> None:
    """20 and 21 take 2x; everybody else takes himself alone."""
    takes = {answered for answered in range(256) if answers_for(asked, answered)}
    assert takes == (set(range(0x20, 0x30)) if asked in (0x20, 0x21) else {asked})


@pytest.mark.parametrize("address", [ANY_ADDRESS, "", "1500000000001", "1500000000001A"])
def test_a_read_of_several_meters_is_our_own_mistake(address: str) -> None:
    """Refused before anything is sent."""
    with pytest.raises(CallerError):
        read_present(address, WATER, 0)


@pytest.mark.parametrize("di", ["", "901", "901F0", "901f", "901G", "²" * 4])
def test_a_malformed_identifier_is_our_own_mistake(di: str) -> None:
    """Four hex digits in capitals."""
    for order in DI_ORDERS:
        with pytest.raises(CallerError):
            identifier_bytes(di, order)
    with pytest.raises(CallerError):
        identifier_bytes("901F", "high")


FRAMES = st.builds(
    Frame,
    st.sampled_from((0x10, 0x20, 0x25, 0xAA)) | st.integers(0, 255),
    st.sampled_from((METER, OTHER, ANY_ADDRESS)),
    st.sampled_from((0x81, 0xC1, 0x01, 0xA1)) | st.integers(0, 255),
    st.binary(max_size=25) | st.binary(max_size=22).map(lambda data: HEAD + data),
)


@given(FRAMES)
def test_any_frame_answers_or_is_a_stray_or_refuses(frame: Frame) -> None:
    """The fuzz sentence; what answers is of the meter asked, with its type, identifier and SER."""
    exchange = ask()
    try:
        state = exchange.receive(frame)
    except RefusedError:
        assert frame[:3] == (COLD_WATER, METER, 0xC1)
        return
    is_answer = frame[:3] == (COLD_WATER, METER, 0x81) and frame.data[:3] == HEAD
    assert state == (DONE if is_answer else ASKED)
    assert exchange.strays == (not is_answer)


TRANSCRIPT = """
>> 68 20 32 41 31 40 00 00 00 01 03 90 1F 01 20 16                the question of Q
<< 68 20 32 41 31 40 00 00 00 01 03 90 1F 01 20 16                its echo
<< 68 10 45 41 10 05 15 33 78 81 16 90 1F AA 00 59 59 00 2C       a neighbour, J
<< FF FF FF FF 2C FF FF FF FF FF FF FF 00 00 C2 16
<< 68 20 32 41 31 40 00 00 00 81 2E 90 1F 00 08 02 00 00 00       Q with the SER before, late
<< 08 02 00 00 00 17 00 00 00 00 35 00 00 00 00 2C 34 10 00 00
<< 35 25 00 66 25 00 00 00 00 53 00 12 10 07 15 20 00 00 30 16
<< FE FE 68 20 32 41 31 40 00 00 00 81 2E 90 1F 01 08 02 00 00    the answer
<< 00 08 02 00 00 00 17 00 00 00 00 35 00 00 00 00 2C 34 10 00
<< 00 35 25 00 66 25 00 00 00 00 53 00 12 10 07 15 20 00 00 31
<< 16
"""


def test_a_conversation_on_a_busy_line() -> None:
    """Echo, a neighbour's answer and a late one of the meter itself are strays; the answer is
    taken from bytes cut anywhere."""
    lines = [line[:66].split("   ")[0].split() for line in TRANSCRIPT.strip().splitlines()]
    asked = bytes.fromhex("".join(lines[0][1:]))
    heard = [bytes.fromhex("".join(line[1:])) for line in lines[1:]]
    exchange = read_present("00000040314132", HEAT_METER, 1)
    assert exchange.request.to_bytes() == asked
    deframer = Deframer()
    states = [exchange.receive(frame) for piece in heard for frame in deframer.feed(piece)]
    assert states == [ASKED, ASKED, ASKED, DONE]
    assert (exchange.strays, deframer.discarded, deframer.pending) == (3, 0, 0)
    assert exchange.data() == payload(BY_ID["Q"])
