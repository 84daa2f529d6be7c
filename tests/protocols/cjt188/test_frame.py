"""protocols/cjt188/frame.py: captured frames in and out, and what is no frame."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.cjt188.frame import (
    ANY_ADDRESS,
    DATA_SIZE_MAX,
    FRAME_SIZE_MAX,
    OVERHEAD,
    Frame,
    decode_frame,
    fault_at,
    is_meter_address,
)
from protocols.errors import FrameError
from tests.protocols.cjt188.vectors import CLEAN, DOCUMENT, REJECTED, VECTORS, content, names, wire
from tests.protocols.outcome import outcome

REASONS = {"start1", "truncated", "checksum", "end", "trailing"}
FRAME = Frame(0x10, "78330011223344", 0x81, bytes.fromhex("1F90FE681600"))


def test_the_vectors_are_those_of_the_file() -> None:
    """Nothing was lost on the way, and every frame has a source."""
    counts = DOCUMENT["meta"]["counts"]
    assert len(VECTORS) == counts["total"] == 32
    assert (len(CLEAN), len(REJECTED)) == (30, 2)
    assert all(vector["source"] and vector["meaning"] for vector in VECTORS)


@pytest.mark.parametrize("vector", CLEAN, ids=names(CLEAN))
@pytest.mark.parametrize("preamble", [0, 1, 4, 13, 40])
def test_a_vector_is_decoded_and_built_again(vector: dict[str, Any], preamble: int) -> None:
    """Type, address, control and data as stated, behind any number of FE; and back, byte by
    byte."""
    data = wire(vector["id"])
    frame = decode_frame(b"\xfe" * preamble + data)
    assert type(frame) is Frame
    assert frame == content(vector)
    assert frame.to_bytes(preamble) == b"\xfe" * preamble + data


@pytest.mark.parametrize("vector", REJECTED, ids=names(REJECTED))
def test_a_frame_as_a_page_prints_it_with_a_wrong_sum_is_refused(vector: dict[str, Any]) -> None:
    """With the reason that the vector states."""
    with pytest.raises(FrameError) as caught:
        decode_frame(wire(vector["id"]))
    assert "reject:" + caught.value.reason == vector["expect"]


@pytest.mark.parametrize("vector", CLEAN, ids=names(CLEAN))
def test_no_flipped_bit_is_accepted(vector: dict[str, Any]) -> None:
    """Every single bit of every vector: the sum, the length or an end of the frame tells. A first
    byte that becomes FE is no exception: what is behind it does not start."""
    data = wire(vector["id"])
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            frame, reason = outcome(FrameError, decode_frame, bytes(flipped))
            assert frame is None
            assert reason in REASONS


@pytest.mark.parametrize("vector", CLEAN, ids=names(CLEAN))
def test_a_frame_that_is_cut_or_continued_is_refused(vector: dict[str, Any]) -> None:
    """At every length."""
    data = wire(vector["id"])
    for size in range(len(data)):
        assert outcome(FrameError, decode_frame, data[:size])[1] == "truncated"
    assert outcome(FrameError, decode_frame, data + b"\x00")[1] == "trailing"


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda data: b"\x68" + data))
def test_any_bytes_give_a_frame_or_a_frame_error(data: bytes) -> None:
    """The fuzz sentence; a frame that was found is built again from its parts."""
    frame, reason = outcome(FrameError, decode_frame, data)
    assert reason in REASONS if frame is None else data.endswith(frame.to_bytes())


@given(
    st.integers(0, 255),
    st.from_regex(r"[0-9]{14}", fullmatch=True),
    st.integers(0, 255),
    st.binary(max_size=DATA_SIZE_MAX),
)
def test_what_is_built_is_read_back(kind: int, address: str, control: int, data: bytes) -> None:
    """Leading zeros of the address included."""
    frame = Frame(kind, address, control, data)
    assert decode_frame(frame.to_bytes(2)) == frame
    assert len(frame.to_bytes()) == OVERHEAD + len(data) <= FRAME_SIZE_MAX


@pytest.mark.parametrize(
    "frame",
    [
        FRAME._replace(data=bytes(256)),
        FRAME._replace(control=256),
        FRAME._replace(control=-1),
        FRAME._replace(meter_type=256),
        FRAME._replace(meter_type=-1),
        FRAME._replace(address="123456789012"),
        FRAME._replace(address="7833001122334G"),
        FRAME._replace(address="²" * 14),
    ],
)
def test_parts_that_do_not_fit_are_refused(frame: Frame) -> None:
    """Nothing is cut off or wrapped around."""
    with pytest.raises(FrameError):
        frame.to_bytes()


def test_only_fourteen_digits_name_one_meter() -> None:
    """Wildcards, other lengths and other signs do not."""
    assert is_meter_address("00000000000001")
    for wrong in (ANY_ADDRESS, "0" * 13, "0" * 15, "", "²" * 14, "0000000000000A", 14, None):
        assert not is_meter_address(wrong)


def test_a_fault_is_told_with_as_few_bytes_as_it_takes() -> None:
    """The length byte is the eleventh."""
    data = FRAME.to_bytes()
    assert fault_at(b"", 0) == fault_at(data[:10], 0) == fault_at(data[:-1], 0) == "truncated"
    assert fault_at(b"\x67", 0) == "start1"
    assert fault_at(data[:-2] + bytes((data[-2] ^ 1, 0x16)), 0) == "checksum"
    assert fault_at(data[:-1] + b"\x17", 0) == "end"
    assert fault_at(b"\x00" + data, 1) == ""
