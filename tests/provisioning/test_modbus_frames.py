"""Modbus RTU in a capture: requests, replies, exceptions, and who answers whom.

The frames are printed in the Modbus application protocol and serial line guides, or built by
pymodbus, which is an implementation that is not ours.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU

from provisioning.explain import explain


def sealed(*frames: str) -> bytes:
    """Frames with their CRC, one behind the other."""
    wire = b""
    for frame in frames:
        body = bytes.fromhex(frame)
        wire += body + FramerRTU.compute_CRC(body).to_bytes(2, "big")
    return wire


def rows(data: bytes) -> list[dict[str, Any]]:
    """What a program sees."""
    return [finding.to_json() for finding in explain(data)]


def test_a_frame_that_was_seen_elsewhere_is_read() -> None:
    """A request whose CRC is printed in many guides: ours is not the only judge."""
    (found,) = rows(bytes.fromhex("01 03 00 00 00 0A C5 CD"))
    assert (found["protocol"], found["ok"], found["error"]) == ("modbus-rtu", True, None)
    assert (found["address"], found["control"], found["direction"]) == ("1", "03", "request")
    assert (found["function"], found["data"]) == ("read holding registers", "0000000A")
    assert (found["di"], found["abnormal"], found["more"]) == (None, False, False)
    assert found["meaning"] == "asks unit 1 to read 10 holding registers from 0 (0x0000)"


@pytest.mark.parametrize(
    ("frame", "direction", "function", "words"),
    [
        ("11 01 00 13 00 25", "request", "read coils", "read 37 coils from 19"),
        ("11 01 05 CD 6B B2 0E 1B", "reply", "read coils", "coils: CD 6B B2 0E 1B"),
        ("11 02 00 C4 00 16", "request", "read discrete inputs", "22 discrete inputs from 196"),
        ("11 02 03 AC DB 35", "reply", "read discrete inputs", "AC DB 35"),
        ("11 03 06 02 2B 00 00 00 64", "reply", "read holding registers", "022B 0000 0064"),
        ("11 04 00 08 00 01", "request", "read input registers", "1 input registers from 8"),
        ("11 04 02 00 0A", "reply", "read input registers", "1 input registers: 000A"),
        ("11 05 00 AC FF 00", "request", "write single coil", "set coil 172 (0x00AC) to 1"),
        ("11 05 00 AC 00 00", "request", "write single coil", "to 0"),
        ("11 05 00 AC 12 34", "request", "write single coil", "no coil value"),
        ("11 06 00 01 00 03", "request", "write single holding register", "write 3 into"),
        ("11 0F 00 13 00 0A 02 CD 01", "request", "write multiple coils", "write 10 coils"),
        ("11 0F 00 13 00 0A", "reply", "write multiple coils", "wrote 10 coils from 19"),
        ("11 10 00 01 00 02 04 00 0A 01 02", "request", "write multiple holding registers", "2"),
        ("11 10 00 01 00 02", "reply", "write multiple holding registers", "wrote 2 holding"),
        ("00 06 00 01 00 03", "request", "write single holding register", "asks all units"),
    ],
)
def test_each_function_is_named(frame: str, direction: str, function: str, words: str) -> None:
    """Alone, by its length and content."""
    (found,) = rows(sealed(frame))
    assert (found["ok"], found["direction"], found["function"]) == (True, direction, function)
    assert words in found["meaning"]
    assert found["data"] == frame.replace(" ", "")[4:]


@pytest.mark.parametrize(
    ("code", "name"), [(1, "illegal function"), (2, "illegal data address"), (0x55, "unknown")]
)
def test_an_exception_is_named(code: int, name: str) -> None:
    """As an abnormal reply."""
    (found,) = rows(sealed(f"0A 81 {code:02X}"))
    assert (found["abnormal"], found["direction"], found["control"]) == (True, "reply", "81")
    assert (found["function"], found["error"], found["error_code"]) == ("read coils", None, code)
    assert name in found["meaning"]


def test_a_reply_names_the_registers_that_were_asked_for() -> None:
    """The request before it knows the addresses, the reply does not."""
    found = rows(sealed("01 03 01 00 00 02", "01 03 04 00 0A 01 02"))
    assert [one["direction"] for one in found] == ["request", "reply"]
    assert found[1]["meaning"] == (
        "unit 1 answers with 2 holding registers from 256 (0x0100): 000A 0102"
    )


@pytest.mark.parametrize("other", ["02 03 04 00 0A 01 02", "01 04 04 00 0A 01 02"])
def test_another_units_or_functions_reply_borrows_no_address(other: str) -> None:
    """Only the answer to the question does."""
    found = rows(sealed("01 03 01 00 00 02", other))
    assert "from" not in found[1]["meaning"]


def test_a_written_register_is_told_twice() -> None:
    """A reply to a write is its request once more; what came before tells which is which."""
    found = rows(sealed("01 06 00 01 00 03", "01 06 00 01 00 03", "01 06 00 01 00 03"))
    assert [one["direction"] for one in found] == ["request", "reply", "request"]


def test_eight_bytes_are_told_by_what_was_asked() -> None:
    """01 01 03 .. is a request for address 03.. or a reply of three bytes."""
    ambiguous = "01 01 03 00 00 18"
    assert rows(sealed(ambiguous))[0]["direction"] == "request"
    found = rows(sealed("01 01 00 00 00 18", ambiguous))
    assert [one["direction"] for one in found] == ["request", "reply"]
    found = rows(sealed("01 01 00 00 00 08", ambiguous))
    assert [one["direction"] for one in found] == ["request", "request"]


def test_both_protocols_share_a_capture() -> None:
    """Noise between, and a unit number that is a start byte of the other protocol."""
    dlt645 = bytes.fromhex("FE FE 68 61 01 00 00 00 00 68 11 04 33 33 34 33 14 16")
    modbus = sealed("68 03 00 00 00 02")
    found = rows(modbus + b"\x99\x99" + dlt645 + b"\x00" + modbus)
    assert [one["protocol"] for one in found] == ["modbus-rtu", "dlt645-2007", "modbus-rtu"]
    assert [one["address"] for one in found] == ["104", "000000000161", "104"]


def test_a_wrong_crc_is_no_frame() -> None:
    """Alone it is a damaged frame; between good ones nothing tells it from noise."""
    wire = bytearray(sealed("01 03 00 00 00 02"))
    wire[-1] ^= 1
    (found,) = rows(bytes(wire))
    assert (found["ok"], found["error"], found["protocol"]) == (False, "checksum", "modbus-rtu")
    good = sealed("01 03 00 00 00 02")
    assert [one["ok"] for one in rows(good + bytes(wire) + good)] == [True, True]


def test_a_unit_number_has_a_limit() -> None:
    """248 and above are reserved: such bytes are no frame, whatever their CRC."""
    assert [one["ok"] for one in rows(sealed("F7 03 00 00 00 02"))] == [True]
    assert [one["ok"] for one in rows(sealed("F8 03 00 00 00 02"))] == [False]


@given(
    st.integers(0, 247),
    st.sampled_from([3, 4]),
    st.lists(st.integers(0, 65535), min_size=1, max_size=125),
)
def test_every_reply_of_registers_is_found(unit: int, function: int, words: list[int]) -> None:
    """Between noise that is none of either protocol."""
    values = b"".join(word.to_bytes(2, "big") for word in words)
    body = bytes((unit, function, len(values))) + values
    wire = b"\xff\xff" + sealed(body.hex()) + b"\xff"
    replies = [one for one in rows(wire) if one["data"] == body[2:].hex().upper()]
    assert [one["ok"] for one in replies] == [True]
