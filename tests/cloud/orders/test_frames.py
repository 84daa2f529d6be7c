"""An order's frames in words."""

import pytest

from cloud.orders.frames import frame_words
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.commands import Read, Relay
from protocols.dlt645.credentials import Credentials
from protocols.dlt645.frame import Frame
from protocols.dlt645.relay import RelayAction, RelayTerms
from protocols.dlt645.requests import request

ADDRESS = "123456789012"
TERMS = RelayTerms((RelayAction.DISCONNECT,), (2,), False)
CUT = Relay(
    RelayAction.DISCONNECT,
    MeterTime(2026, 11, 21, 9, 30, 5),
    Credentials(2, "123456", "87654321"),
    0,
)


def test_a_cut() -> None:
    words = frame_words(request(ADDRESS, CUT, terms=TERMS).to_bytes(4))
    assert words == (
        f"{ADDRESS}: relay control, disconnect, until 2026-11-21 09:30:05 on the meter's clock, "
        "operator 87654321"
    )
    assert "123456," not in words and "34 12" not in words


def test_what_was_blanked_is_told_and_nothing_else_is_made_up() -> None:
    """A gateway blanks password and sum; a frame whose sum alone is wrong stays unknown."""
    wire = request(ADDRESS, CUT, terms=TERMS).to_bytes(4).hex()
    blanked = bytes.fromhex(wire.replace("896745", "000000")[:-4] + "0016")
    assert frame_words(blanked) == (
        f"{ADDRESS}: relay control, disconnect, until 2026-11-21 09:30:05 on the meter's clock, "
        "operator 87654321, its password left out"
    )
    assert frame_words(bytes.fromhex(wire[:-4] + "0016")) == ""
    assert frame_words(bytes.fromhex(wire.replace("896745", "000000"))) == ""


def test_answers() -> None:
    assert (
        frame_words(Frame(ADDRESS, 0x9C, b"").to_bytes()) == f"{ADDRESS}: relay control, accepted"
    )
    refused = frame_words(Frame(ADDRESS, 0xDC, b"\x04").to_bytes())
    assert refused == f"{ADDRESS}: relay control, refused: password wrong or not authorised"


def test_status_word_3() -> None:
    asked = frame_words(request(ADDRESS, Read("04000503")).to_bytes())
    assert asked.startswith(f"{ADDRESS}: read, 04000503 (")
    told = frame_words(Frame(ADDRESS, 0x91, bytes.fromhex("03050004") + b"\x50\x00").to_bytes())
    assert "relay" in told and told.startswith(f"{ADDRESS}: read, 04000503 (")
    number = frame_words(
        Frame(ADDRESS, 0x91, bytes.fromhex("00000100") + bytes.fromhex("56341200")).to_bytes()
    )
    assert number.endswith("1234.56 kWh")


@pytest.mark.parametrize(
    ("data", "words"),
    [("0105000000008c3a", "unit 1: write coil"), ("01850283 91", "unit 1: write coil, refused: "),
     ("", ""), ("00", ""), ("ffffffffffff", ""), ("68", "")],
)  # fmt: skip
def test_modbus_and_what_is_no_frame(data: str, words: str) -> None:
    assert frame_words(bytes.fromhex(data)).startswith(words)
    assert words or frame_words(bytes.fromhex(data)) == ""


def test_a_frame_whose_content_does_not_fit() -> None:
    words = frame_words(Frame(ADDRESS, 0x91, b"\x03").to_bytes())
    assert words.startswith(f"{ADDRESS}: read, which does not fit")
