"""Packed BCD as DL/T 645 sends it: low byte first, two decimal digits a byte."""

from protocols.errors import CallerError, ValueFormatError

# A table instead of arithmetic per nibble: decoding is the gateway's hot path. -1: not two digits.
PAIRS = [(b >> 4) * 10 + (b & 15) if (b >> 4) < 10 and (b & 15) < 10 else -1 for b in range(256)]


def decode_bcd(data: bytes) -> int:
    """The unsigned number in `data`; ValueFormatError when a digit is above 9."""
    value = 0
    for byte in reversed(data):
        pair = PAIRS[byte]
        if pair < 0:
            raise ValueFormatError("byte " + bytes((byte,)).hex() + " is not two decimal digits")
        value = value * 100 + pair
    return value


def encode_bcd(value: int, size: int) -> bytes:
    """`size` bytes, low byte first; CallerError when the number does not fit."""
    if value < 0 or value >= 100**size:
        raise CallerError(f"{value} does not fit into {size} BCD bytes")
    out = bytearray(size)
    for index in range(size):
        pair = value % 100
        out[index] = (pair // 10) << 4 | (pair % 10)
        value //= 100
    return bytes(out)


def decode_digits(data: bytes) -> str:
    """A digit string in reading order (high byte first), leading zeros kept."""
    decode_bcd(data)
    return bytes(reversed(data)).hex()
