"""protocols/bcd.py: packed decimal digits, low byte first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.bcd import decode_bcd, decode_digits, encode_bcd
from protocols.errors import CallerError, ValueFormatError


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("", 0),
        ("00", 0),
        ("26 00 00 00", 26),
        ("78 56 34 12", 12345678),
        ("99", 99),
        ("09 90", 9009),
    ],
)
def test_digits_are_read_low_byte_first(data: str, value: int) -> None:
    """The first byte holds the last two digits."""
    assert decode_bcd(bytes.fromhex(data)) == value


@given(st.binary(max_size=8))
def test_every_byte_is_two_digits_or_refused(data: bytes) -> None:
    """What the hex digits say, or ValueFormatError: nothing else."""
    text = bytes(reversed(data)).hex()
    if text.isdecimal() or not text:
        assert decode_bcd(data) == int(text or "0")
        assert decode_digits(data) == text
    else:
        with pytest.raises(ValueFormatError, match=r"^byte [0-9a-f]{2} is not two decimal digits$"):
            decode_bcd(data)
        with pytest.raises(ValueFormatError):
            decode_digits(data)


@pytest.mark.parametrize("bad", ["0A", "A0", "FF", "00 0F", "F0 00", "7B"])
def test_a_digit_above_nine_is_refused(bad: str) -> None:
    """In either half of any byte."""
    with pytest.raises(ValueFormatError):
        decode_bcd(bytes.fromhex(bad))


@given(st.integers(0, 10**12 - 1), st.integers(6, 9))
def test_encoding_is_the_inverse_of_decoding(value: int, size: int) -> None:
    """Every number comes back, padded with zeros to its size."""
    data = encode_bcd(value, size)
    assert len(data) == size
    assert decode_bcd(data) == value
    assert int(decode_digits(data)) == value


@pytest.mark.parametrize(("value", "size"), [(-1, 4), (100, 1), (1, 0), (10**8, 4)])
def test_a_number_that_does_not_fit_is_our_own_mistake(value: int, size: int) -> None:
    """CallerError before a wrong byte exists."""
    with pytest.raises(CallerError, match=f"^{value} does not fit into {size} BCD bytes$"):
        encode_bcd(value, size)


def test_the_largest_number_fits() -> None:
    """All nines, and nothing in no bytes."""
    assert encode_bcd(99_999_999, 4) == b"\x99\x99\x99\x99"
    assert encode_bcd(0, 0) == b""


def test_a_digit_string_keeps_its_leading_zeros() -> None:
    """A meter number is text, not a number."""
    assert decode_digits(bytes.fromhex("01 00 00 00 00 00")) == "000000000001"
