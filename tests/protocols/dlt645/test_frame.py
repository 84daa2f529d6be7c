"""protocols/dlt645/frame.py: one frame to bytes and back, and the first fault by name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645.controls import (
    CONTROLS,
    ERROR_BITS,
    EVERYDAY,
    FUNCTION_NAMES,
    Function,
    error_names,
    function_name,
    security_error_names,
)
from protocols.dlt645.frame import (
    BROADCAST,
    DATA_SIZE_MAX,
    FRAME_SIZE_MAX,
    OVERHEAD,
    PREAMBLE_SIZE,
    Frame,
    address_bytes,
    decode_frame,
    fault_at,
    frame_at,
    frame_size,
    is_meter_address,
)
from protocols.errors import FrameError, LineError
from tests.protocols.outcome import outcome
from tests.protocols.vectors import BY_ID, CLEAN, REJECTED, STREAMS, content, names, wire

GOOD = wire(BY_ID["v135"])[4:]
REASONS = {"start1", "start2", "truncated", "checksum", "end", "trailing"}
ADDRESSES = st.text("0123456789A", min_size=12, max_size=12)
FRAMES = st.builds(Frame, ADDRESSES, st.integers(0, 255), st.binary(max_size=DATA_SIZE_MAX))


def test_every_vector_is_clean_or_rejected_or_a_stream() -> None:
    """No vector is left out of the tests below."""
    assert len(CLEAN) + len(REJECTED) + len(STREAMS) == 162
    assert (len(CLEAN), len(REJECTED), len(STREAMS)) == (149, 12, 1)


@pytest.mark.parametrize("vector", CLEAN, ids=names(CLEAN))
def test_a_clean_vector_decodes_to_its_fields(vector: dict[str, Any]) -> None:
    """Address, control byte and data come out as the vector states them."""
    frame = decode_frame(wire(vector))
    assert type(frame) is Frame
    assert tuple(frame) == content(vector)
    assert len(frame.data) == vector["length"]


@pytest.mark.parametrize("vector", CLEAN, ids=names(CLEAN))
def test_a_clean_vector_is_encoded_to_the_same_bytes(vector: dict[str, Any]) -> None:
    """The bytes on the wire follow from address, control, data and the number of FE bytes."""
    frame = Frame(*content(vector))
    assert frame.to_bytes(vector["preamble"]) == wire(vector)


@pytest.mark.parametrize("vector", CLEAN, ids=names(CLEAN))
def test_a_clean_vector_tells_its_direction(vector: dict[str, Any]) -> None:
    """D7 is set in what a meter sends, D6 only in a refusal."""
    frame = decode_frame(wire(vector))
    assert frame.is_reply == (vector["direction"] == "s2m")
    assert frame.is_abnormal == bool({"err", "serr"} & set(vector["expected"]))


@pytest.mark.parametrize("vector", REJECTED, ids=names(REJECTED))
def test_a_broken_vector_is_refused_for_its_fault(vector: dict[str, Any]) -> None:
    """FrameError names the fault that the vector states."""
    with pytest.raises(FrameError) as caught:
        decode_frame(wire(vector))
    assert caught.value.reason == vector["expect"].partition(":")[2]


def test_a_stream_is_not_one_frame() -> None:
    """The tail of an old frame in front is a fault of the first byte."""
    with pytest.raises(FrameError) as caught:
        decode_frame(wire(STREAMS[0]))
    assert caught.value.reason == "start1"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: b"", "truncated"),
        (lambda b: b"\xfe" * 9, "truncated"),
        (lambda b: b[:1], "truncated"),
        (lambda b: b[:7], "truncated"),
        (lambda b: b[:9], "truncated"),
        (lambda b: b[:-1], "truncated"),
        (lambda b: b"\x00" + b, "start1"),
        (lambda b: b[:7] + b"\x16" + b[8:], "start2"),
        (lambda b: b[:7] + b"\x16", "start2"),
        (lambda b: b[:-2] + bytes((b[-2] ^ 1,)) + b[-1:], "checksum"),
        (lambda b: b[:-1] + b"\x17", "end"),
        (lambda b: b + b"\x00", "trailing"),
        (lambda b: b + b, "trailing"),
        (lambda b: b + b"\xfe", "trailing"),
    ],
)
def test_the_first_fault_is_named(change: Any, reason: str) -> None:
    """Each check has its own word."""
    assert decode_frame(GOOD).control == 0xB1
    with pytest.raises(FrameError) as caught:
        decode_frame(change(GOOD))
    assert caught.value.reason == reason
    assert isinstance(caught.value, LineError)


def test_a_second_start_byte_that_is_missing_is_seen_before_the_length() -> None:
    """Eight bytes are enough to tell a false start."""
    assert fault_at(GOOD[:7] + b"\x00", 0) == "start2"
    assert fault_at(GOOD[:7], 0) == "truncated"
    assert fault_at(GOOD[:8], 0) == "truncated"
    assert fault_at(b"\x69", 0) == "start1"


def test_a_frame_is_found_at_any_offset_of_a_buffer() -> None:
    """fault_at, frame_size and frame_at take a position, and bytes or a bytearray."""
    for buffer in (b"\x68" + GOOD + b"\x68", bytearray(b"\x68" + GOOD + b"\x68")):
        assert fault_at(buffer, 0) == "start2"
        assert fault_at(buffer, 1) == ""
        assert fault_at(buffer, 2) == "start1"
        assert fault_at(buffer, len(GOOD) + 1) == "truncated"
        assert fault_at(buffer, len(GOOD) + 2) == "truncated"
        assert frame_size(buffer, 1) == len(GOOD)
        assert frame_at(buffer, 1) == decode_frame(GOOD)
        assert type(frame_at(buffer, 1).data) is bytes


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 30])
def test_any_number_of_preamble_bytes_stands_in_front(count: int) -> None:
    """FE bytes are outside the frame and its checksum."""
    frame = decode_frame(b"\xfe" * count + GOOD)
    assert frame == decode_frame(GOOD)
    assert frame.to_bytes(count) == b"\xfe" * count + GOOD


def test_a_master_sends_four_preamble_bytes() -> None:
    """Meters need them to wake their receiver."""
    assert Frame("123456789012", 0x11, b"").to_bytes(PREAMBLE_SIZE)[:5] == b"\xfe\xfe\xfe\xfe\x68"
    assert Frame("123456789012", 0x11, b"").to_bytes()[:1] == b"\x68"


@given(FRAMES, st.integers(0, 8))
def test_encoding_and_decoding_are_inverse(frame: Frame, preamble: int) -> None:
    """Every frame survives the wire, whatever its data holds."""
    sent = frame.to_bytes(preamble)
    assert len(sent) == preamble + OVERHEAD + len(frame.data)
    assert decode_frame(sent) == frame


@given(FRAMES)
def test_the_wire_form_follows_the_standard_byte_by_byte(frame: Frame) -> None:
    """Start bytes, address low byte first, data + 33h modulo 256, sum modulo 256, end byte."""
    sent = frame.to_bytes()
    pairs = [frame.address[at : at + 2] for at in range(0, 12, 2)]
    assert sent[0] == sent[7] == 0x68
    assert sent[1:7].hex().upper() == "".join(reversed(pairs))
    assert (sent[8], sent[9]) == (frame.control, len(frame.data))
    assert [(byte - 0x33) % 256 for byte in sent[10:-2]] == list(frame.data)
    assert sent[-2] == sum(sent[:-2]) % 256
    assert sent[-1] == 0x16


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda tail: GOOD[:10] + tail))
def test_any_bytes_give_a_frame_or_a_frame_error(data: bytes) -> None:
    """The fuzz sentence of the frame codec."""
    frame, reason = outcome(FrameError, decode_frame, data)
    assert reason in REASONS or len(frame.address) == 12


@given(FRAMES, st.integers(0), st.integers(1, 255))
def test_a_damaged_byte_never_gives_another_frame_silently(
    frame: Frame, at: int, flip: int
) -> None:
    """One changed byte is refused: the sum of all bytes, or the structure, no longer fits."""
    sent = bytearray(frame.to_bytes())
    sent[at % len(sent)] ^= flip
    with pytest.raises(FrameError) as caught:
        decode_frame(bytes(sent))
    assert caught.value.reason in REASONS


def test_a_length_byte_may_say_up_to_255() -> None:
    """The standard's own limits (200, 50) are broken in the field; L is the limit."""
    frame = Frame("123456789012", 0x91, bytes(range(255)))
    assert len(frame.to_bytes()) == FRAME_SIZE_MAX
    assert decode_frame(frame.to_bytes()) == frame


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Frame("123456789012", 0x91, bytes(256)), "length"),
        (Frame("123456789012", 256, b""), "length"),
        (Frame("123456789012", -1, b""), "length"),
        (Frame("12345678901", 0x11, b""), "address"),
        (Frame("1234567890123", 0x11, b""), "address"),
        (Frame("", 0x11, b""), "address"),
        (Frame("12345678901B", 0x11, b""), "address"),
        (Frame("12345678901a", 0x11, b""), "address"),
        (Frame("12345678901²", 0x11, b""), "address"),
        (Frame("12345678901 ", 0x11, b""), "address"),
    ],
)
def test_a_frame_that_does_not_fit_is_not_sent(frame: Frame, reason: str) -> None:
    """Too much data, no control byte, no address: FrameError before a byte exists."""
    with pytest.raises(FrameError) as caught:
        frame.to_bytes()
    assert caught.value.reason == reason


def test_an_address_that_is_no_decimal_is_still_shown() -> None:
    """A frame from a faulty meter decodes; its address reads as the wire has it."""
    body = bytearray(GOOD)
    body[1], body[-2] = 0xBC, (body[-2] + 0xBC - 0x12) & 0xFF
    assert decode_frame(bytes(body)).address == "1234567890BC"


def test_an_address_travels_low_byte_first() -> None:
    """123456789012 is sent 12 90 78 56 34 12; A digits stay wildcards."""
    assert address_bytes("123456789012") == bytes.fromhex("129078563412")
    assert address_bytes("AAAAAAAA9012") == bytes.fromhex("1290AAAAAAAA")


@pytest.mark.parametrize(
    ("control", "function", "reply", "abnormal", "more"),
    [
        (0x11, 0x11, False, False, False),
        (0x91, 0x11, True, False, False),
        (0xB1, 0x11, True, False, True),
        (0xD1, 0x11, True, True, False),
        (0xB2, 0x12, True, False, True),
        (0xD2, 0x12, True, True, False),
        (0x9C, 0x1C, True, False, False),
        (0x1F, 0x1F, False, False, False),
        (0x00, 0x00, False, False, False),
    ],
)
def test_the_control_byte_is_read_bit_by_bit(
    control: int, function: int, reply: bool, abnormal: bool, more: bool
) -> None:
    """D7 reply, D6 refused, D5 more follows, D4..D0 function."""
    frame = Frame("123456789012", control, b"")
    assert (frame.function, frame.is_reply, frame.is_abnormal, frame.has_more) == (
        function,
        reply,
        abnormal,
        more,
    )


def test_the_function_codes_are_those_of_the_2007_edition() -> None:
    """Numbers and names belong together, and the reply keeps the name of its request."""
    codes = {name: code for name, code in vars(Function).items() if name.isupper()}
    assert codes == {
        "SECURITY": 0x03, "BROADCAST_TIME": 0x08, "READ": 0x11, "READ_MORE": 0x12,
        "READ_ADDRESS": 0x13, "WRITE": 0x14, "WRITE_ADDRESS": 0x15, "FREEZE": 0x16,
        "CHANGE_RATE": 0x17, "CHANGE_PASSWORD": 0x18, "CLEAR_DEMAND": 0x19,
        "CLEAR_METER": 0x1A, "CLEAR_EVENTS": 0x1B, "RELAY": 0x1C, "TERMINAL": 0x1D,
        "READ_1997": 0x01, "READ_MORE_1997": 0x02, "READ_AGAIN_1997": 0x03,
    }  # fmt: skip
    assert (
        set(FUNCTION_NAMES)
        == set(CONTROLS)
        == {code for name, code in codes.items() if not name.endswith("1997")}
    )
    assert function_name(0x91) == function_name(0xD1) == function_name(0x11) == "read"
    assert function_name(0xDC) == "relay control"
    assert {code: function_name(code) for code in range(0x13) if code not in FUNCTION_NAMES} == {
        **dict.fromkeys((0, 5, 6, 7, 9, 0x0B, 0x0D, 0x0E), "vendor function"),
        0x01: "read", 0x02: "read following data", 0x04: "write", 0x0A: "write address",
        0x0C: "change rate", 0x0F: "change password", 0x10: "clear maximum demand",
    }  # fmt: skip
    assert function_name(0x81) == "read"
    assert function_name(0x1F) == function_name(0x00) == "vendor function"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0x00, ()),
        (0x01, ("other error",)),
        (0x02, ("no requested data",)),
        (0x04, ("password wrong or not authorised",)),
        (0x08, ("rate cannot be changed",)),
        (0x06, ("no requested data", "password wrong or not authorised")),
        (0xFE, ERROR_BITS[1:]),
        (0xFF, ERROR_BITS),
    ],
)
def test_the_error_byte_is_read_bit_by_bit(code: int, said: tuple[str, ...]) -> None:
    """Several bits may be set; each has its words, the lowest first."""
    assert error_names(code) == said


def test_the_error_bits_agree_with_the_vectors() -> None:
    """Bit 1 is missing data, bit 2 the password."""
    for name, said in (("v035", "no requested data"), ("v024", "password")):
        code = decode_frame(wire(BY_ID[name])).data[0]
        assert code == BY_ID[name]["expected"]["err"]
        assert len(error_names(code)) == 1
        assert error_names(code)[0].startswith(said)


def test_what_a_gateway_does_not_send_every_day() -> None:
    """Clears, a new address, a new password: behind a permission of their own."""
    assert set(CONTROLS) - set(EVERYDAY) == {0x15, 0x18, 0x19, 0x1A, 0x1B}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0x0000, ()),
        (0x0001, ("other error",)),
        (0x0002, ("recharged already",)),
        (0x0008, ("identity authentication failed or expired",)),
        (0x0060, ("purchase count wrong", "recharge exceeds the hoarding limit")),
        (0x8180, ("address wrong", "meter suspended after too many failures",
                  "setting password wrong")),
        (0x4200, ("bit 9", "bit 14")),
    ],
)  # fmt: skip
def test_the_security_error_is_read_bit_by_bit(code: int, said: tuple[str, ...]) -> None:
    """Sixteen bits; those without a name keep their number."""
    assert security_error_names(code) == said


@pytest.mark.parametrize("address", ["123456789012", "000000000000", "999999999998"])
def test_twelve_digits_name_one_meter(address: str) -> None:
    """All-zero included: captures show it."""
    assert is_meter_address(address)


@pytest.mark.parametrize(
    "address",
    [
        BROADCAST, "AAAAAAAAAAAA", "AAAAAAAA9012", "12345678901A", "12345678901", "1234567890123",
        "", "12345678901²", "１２３４５６７８９０１２", 123456789012, None, b"123456789012",
    ],
)  # fmt: skip
def test_anything_else_does_not_name_one_meter(address: object) -> None:
    """Broadcast, wildcards, other lengths, other digits, other types."""
    assert not is_meter_address(address)


def test_a_frame_error_says_reason_and_detail() -> None:
    """The reason is one word for a counter, the text is for a person."""
    assert str(FrameError("checksum")) == "checksum"
    assert str(FrameError("trailing", "2 bytes")) == "trailing: 2 bytes"
    with pytest.raises(FrameError, match=r"^trailing: 3 bytes behind the frame$"):
        decode_frame(b"\xfe\xfe" + GOOD + b"abc")
