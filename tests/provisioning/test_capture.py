"""Hex as people paste it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import SettingError
from provisioning.capture import CAPTURE_SIZE_MAX, TEXT_SIZE_MAX, parse_hex, split

WIRE = bytes.fromhex("6861FE16")


@pytest.mark.parametrize(
    "text",
    [
        "6861fe16",
        "68 61 FE 16",
        " 68,61,\tfe , 16\n",
        "68:61:fe:16",
        "68-61-FE-16",
        "0x68 0x61 0xFE 0X16",
        "0x68,0x61,0xfe,0x16",
        "0x6861fe16",
        "0x680x610xFE0x16",
        r"\x68\x61\xfe\x16",
        "6861\r\nfe16\r\n",
    ],
)
def test_every_usual_way_to_write_bytes_is_read(text: str) -> None:
    """Case, prefixes and separators do not matter."""
    assert parse_hex(text) == WIRE


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("68 6", "piece 2, which has 1 hex digit:"),
        ("hello", "piece 1, which has 'h' at place 1:"),
        ("68 61 0x", "piece 3, which has 0 hex digits:"),
        ("68 6g", "piece 2, which has 'g' at place 2:"),
        ("68 16161", "piece 2, which has 5 hex digits:"),
        ("68 " + "z" * 100, "piece 2, which has 'z' at place 1:"),
        ("６８", "piece 1, which has '６' at place 1:"),
        ("", "empty"),
        (" \n ,", "empty"),
    ],
)
def test_what_is_no_hex_gets_one_sentence(text: str, sentence: str) -> None:
    """What, where, and what is allowed; never the digits, which may be of a password."""
    with pytest.raises(SettingError) as caught:
        parse_hex(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_capture_has_a_size_limit() -> None:
    """The limit is allowed, one byte more is not, and a flood of spaces is not either."""
    assert len(parse_hex("55" * CAPTURE_SIZE_MAX)) == CAPTURE_SIZE_MAX
    for text in ("55" * (CAPTURE_SIZE_MAX + 1), " " * (TEXT_SIZE_MAX + 1)):
        with pytest.raises(SettingError, match="too long"):
            parse_hex(text)


@given(st.binary(min_size=1))
def test_what_was_written_is_read(data: bytes) -> None:
    """With and without separators."""
    assert parse_hex(data.hex()) == parse_hex(data.hex(":")) == data


@given(st.text())
def test_any_text_is_bytes_or_one_sentence(text: str) -> None:
    """Nothing but SettingError."""
    try:
        told = "the capture is " + parse_hex(text).hex()
    except SettingError as error:
        told = str(error)
    assert told.startswith("the capture is ")


def test_a_false_start_before_a_frame_is_no_frame() -> None:
    """A 68 just seven bytes before a good frame borrows its start byte, and is noise."""
    good = bytes.fromhex("68610100000000681104333334331416")
    pieces = split(b"\x68\x01\x02\x03\x04\x05\x06" + good)
    assert [(piece.offset, piece.fault) for piece in pieces] == [(7, "")]
