"""Modbus TCP: which bytes are an answer, and which are never taken for one.

The frames here are packed by hand after the specification, not by the product or by pymodbus.
"""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.meters.modbus_pdu import BUFFER_SIZE_MAX
from edge.meters.modbus_tcp import TcpRead
from protocols.errors import RefusedError, UnsupportedError
from protocols.modbus.plan import Span

UNIT, TRANSACTION = 7, 0x0102
SPAN = Span(3, 0x10, 2)
WORDS = (0x1234, 0x5678)


def frame(pdu: bytes, transaction: int = TRANSACTION, unit: int = UNIT, protocol: int = 0) -> bytes:
    """A PDU behind its MBAP header, as the specification draws it."""
    return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1, unit) + pdu


def reply(*words: int, function: int = 3) -> bytes:
    """The PDU of a read reply."""
    return struct.pack(f">BB{len(words)}H", function, 2 * len(words), *words)


def refusal(code: int, function: int = 3) -> bytes:
    """The PDU of an exception."""
    return bytes((function | 0x80, code))


GOOD = frame(reply(*WORDS))


def ask(transaction: int = TRANSACTION) -> TcpRead:
    """Reads two registers."""
    return TcpRead(UNIT, SPAN, transaction)


def expect_good(conversation: TcpRead) -> None:
    """It holds exactly what GOOD says."""
    assert list(conversation.read.words.values()) == list(WORDS)


@pytest.mark.parametrize("function", [3, 4])
@pytest.mark.parametrize("unit", [0, 1, 247, 255])
def test_a_request_is_as_the_specification_draws_it(function: int, unit: int) -> None:
    """Transaction, protocol 0, six more bytes, unit, function, address, count."""
    conversation = TcpRead(unit, Span(function, 0xABCD, 125), 0xFFFE)
    assert conversation.request == struct.pack(
        ">HHHBBHH", 0xFFFE, 0, 6, unit, function, 0xABCD, 125
    )
    assert conversation.silence_characters == 0
    assert not conversation.drops_echo


def test_an_answer_is_taken() -> None:
    """Whole, and nothing before it is."""
    conversation = ask()
    assert not conversation.receive(b"")
    assert conversation.receive(GOOD)
    expect_good(conversation)


@pytest.mark.parametrize("cut", range(1, len(GOOD)))
def test_an_answer_is_taken_wherever_it_is_split(cut: int) -> None:
    """Not before its last byte, and the same as whole."""
    conversation = ask()
    assert not conversation.receive(GOOD[:cut])
    assert not conversation.read.words
    assert conversation.receive(GOOD[cut:])
    expect_good(conversation)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(frame(reply(*WORDS), TRANSACTION - 1), id="the transaction before"),
        pytest.param(frame(reply(*WORDS), 0), id="transaction 0"),
        pytest.param(frame(reply(*WORDS), 0x0201), id="swapped transaction"),
        pytest.param(frame(reply(*WORDS), unit=8), id="another unit"),
        pytest.param(frame(reply(*WORDS), unit=0), id="unit 0"),
        pytest.param(frame(reply(*WORDS), protocol=1), id="another protocol"),
        pytest.param(frame(reply(*WORDS), protocol=0x100), id="another protocol, high byte"),
        pytest.param(frame(reply(*WORDS, function=4)), id="another function"),
        pytest.param(frame(reply(1)), id="one register"),
        pytest.param(frame(reply(1, 2, 3)), id="three registers"),
        pytest.param(frame(b"\x03\x06\x00\x01\x00\x02"), id="a byte count that lies"),
        pytest.param(GOOD[:5] + b"\x08" + GOOD[6:], id="a length one more"),
        pytest.param(GOOD[:5] + b"\x06" + GOOD[6:], id="a length one less"),
        pytest.param(GOOD[:4] + b"\x01\x07" + GOOD[6:], id="a length with a high byte"),
        pytest.param(frame(refusal(2), TRANSACTION - 1), id="an exception to another transaction"),
        pytest.param(frame(refusal(2), unit=8), id="another unit's exception"),
        pytest.param(frame(refusal(2, function=4)), id="an exception to another function"),
        pytest.param(frame(refusal(2) + b"\x00"), id="an exception that is too long"),
        pytest.param(frame(b"\x03"), id="a function alone"),
        pytest.param(frame(b""), id="no PDU"),
        pytest.param(ask().request, id="our own request"),
        pytest.param(bytes(64), id="zeros"),
    ],
)
def test_what_is_no_answer_is_passed_over(wrong: bytes) -> None:
    """By itself, in pieces, and in front of the answer, which is found behind it."""
    conversation = ask()
    assert not conversation.receive(wrong)
    assert not conversation.flush()
    assert not conversation.read.words
    assert conversation.receive(GOOD)
    expect_good(conversation)
    assert ask().receive(wrong + GOOD)
    conversation = ask()
    assert [conversation.receive(bytes((byte,))) for byte in wrong].count(True) == 0
    assert conversation.receive(GOOD)


@pytest.mark.parametrize("kept", range(len(GOOD)))
def test_the_end_of_a_late_answer_is_passed_over(kept: int) -> None:
    """The line drained its beginning before it asked."""
    late = frame(reply(9, 9), TRANSACTION - 1)
    conversation = ask()
    assert conversation.receive(late[kept:] + GOOD)
    expect_good(conversation)


@pytest.mark.parametrize(
    ("code", "error", "name"),
    [
        (1, UnsupportedError, "illegal function"),
        (2, UnsupportedError, "illegal data address"),
        (3, RefusedError, "illegal data value"),
        (6, RefusedError, "busy"),
        (11, RefusedError, "failed to respond"),
        (99, RefusedError, "exception"),
    ],
)
def test_an_exception_is_named(code: int, error: type[Exception], name: str) -> None:
    """With its unit and its number; what will not change is told apart from what may."""
    for function in (3, 4):
        conversation = TcpRead(UNIT, Span(function, 0, 1), TRANSACTION)
        with pytest.raises(RefusedError) as caught:
            conversation.receive(frame(refusal(code, function)))
        assert type(caught.value) is error
        assert caught.value.code == code
        assert f"unit 7 refused with exception {code:02X} (" in str(caught.value)
        assert name in str(caught.value)


def test_the_search_is_bounded() -> None:
    """A flood in front of it fills no memory, and the answer is found behind."""
    conversation = ask()
    for _ in range(50):
        assert not conversation.receive(GOOD[:7] * 30)
        assert len(conversation._buffer) <= BUFFER_SIZE_MAX
    assert conversation.receive(GOOD)
    expect_good(conversation)


@pytest.mark.parametrize("seed", range(20))
def test_an_answer_is_found_in_seeded_noise(seed: int) -> None:
    """Random bytes in front and random pieces: the same words."""
    rng = random.Random(seed)
    for _ in range(20):
        stream = rng.randbytes(rng.randrange(200)) + GOOD
        conversation = ask()
        done = False
        while stream:
            size = rng.randrange(1, 40)
            done, stream = conversation.receive(stream[:size]), stream[size:]
        assert done, f"seed {seed}"
        expect_good(conversation)


def test_a_header_with_one_wrong_bit_is_no_answer() -> None:
    """All of the eight bytes that name the exchange; what comes behind has no check in Modbus
    TCP."""
    for bit in range(8 * 8):
        damaged = bytearray(GOOD)
        damaged[bit // 8] ^= 1 << bit % 8
        conversation = ask()
        try:
            assert not conversation.receive(bytes(damaged)), bit
        except RefusedError:
            pytest.fail(f"bit {bit} made an exception of it")


PIECES = st.one_of(
    st.binary(max_size=300),
    st.just(struct.pack(">HH", TRANSACTION, 0)),
    st.binary(min_size=4, max_size=4).map(lambda one: frame(b"\x03\x04" + one)),
    st.integers(0, 255).map(lambda one: frame(refusal(one))),
)


@given(st.lists(PIECES, max_size=6), st.sampled_from((3, 4)))
def test_any_bytes_give_words_or_a_named_error(pieces: list[bytes], function: int) -> None:
    """Nothing else, and words only of a frame that stands in the bytes."""
    conversation = TcpRead(UNIT, Span(function, 5, 2), TRANSACTION)
    stream = b"".join(pieces)
    refused = b""
    try:
        done = any(conversation.receive(piece) for piece in pieces)
    except RefusedError as error:
        done, refused = False, frame(refusal(error.code, function))
    words = conversation.read.words
    assert refused in stream
    assert done == bool(words)
    assert not done or frame(reply(*words.values(), function=function)) in stream


@given(st.data())
def test_frames_built_around_the_answer_never_change_it(data: st.DataObject) -> None:
    """Foreign frames of the same shape, any number, cut anywhere: the words are ours."""
    foreign = st.builds(
        frame,
        st.lists(st.integers(0, 0xFFFF), min_size=2, max_size=2).map(lambda one: reply(*one)),
        st.integers(0, 0xFFFF).filter(lambda one: one != TRANSACTION),
    )
    before = b"".join(data.draw(st.lists(foreign, max_size=4)))
    conversation = ask()
    stream = before[data.draw(st.integers(0, len(before))) :] + GOOD
    cut = data.draw(st.integers(0, len(stream)))
    assert conversation.receive(stream[:cut]) or conversation.receive(stream[cut:])
    expect_good(conversation)
