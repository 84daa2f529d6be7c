"""Items that are no number: digits, characters, identifiers, bytes and times, as people read them.

All of them travel last byte first. A time is written in the catalog as its digits are read, such as
YYMMDDhhmm; here it becomes `2025-03-04T05:06`. The weekday (WW, Sunday 0) is what somebody stored,
not what the calendar says, and is left out.
"""

from protocols.bcd import decode_digits
from protocols.dlt645.clock import days_of_month
from protocols.dlt645.rows import (
    ASCII,
    BITS,
    DIGITS,
    HEX,
    IDENTIFIER,
    SIGNED,
    UNSIGNED,
    WRITE_ONLY,
)
from protocols.errors import ValueFormatError

_DATE = ("YY", "MM", "DD")
_CLOCK = ("hh", "mm", "ss")
_LEAST_MOST = {
    "MM": (1, 12),
    "DD": (1, 31),
    "WW": (0, 7),  # some meters count Sunday as 7
    "hh": (0, 24),  # a period may end at 24:00
    "mm": (0, 59),
    "ss": (0, 59),
}
_UNSET = "99"  # a settlement day that is not used
_BLANKS = "\x00 "
_PLAIN_FORMS = (DIGITS, HEX, IDENTIFIER, UNSIGNED, SIGNED, BITS)  # every other form is a time


def decode_text(form: str, data: bytes) -> "str | None":
    """The text of an item's bytes; None when the meter says that there is none (a date of zeros,
    all nines). ValueFormatError when the bytes are no such item."""
    if form == ASCII:
        return _characters(data)
    if form in (HEX, IDENTIFIER):
        return bytes(reversed(data)).hex().upper()
    if form == WRITE_ONLY:
        raise ValueFormatError("a password is never read")
    digits = decode_digits(data)
    return digits if form == DIGITS else time_text(form, digits)


def time_text(form: str, digits: str) -> "str | None":
    """`digits` in reading order as a date, a time or both; None: there is none."""
    pairs = [(form[at : at + 2], digits[at : at + 2]) for at in range(0, len(form), 2)]
    days = [text for code, text in pairs if code in _DATE]
    if (days and all(text == "00" for text in days)) or digits == _UNSET * len(pairs):
        return None
    if not _is_time({code: int(text) for code, text in pairs}):
        raise ValueFormatError(f"{digits} is not a time of the form {form}")
    date = "-".join([("20" + text if code == "YY" else text) for code, text in pairs
                     if code in _DATE])  # fmt: skip
    clock = ":".join([text for code, text in pairs if code in _CLOCK])
    number = "".join([f" {int(text)}" for code, text in pairs if code == "NN"])
    return date + ("T" if date and clock else "") + clock + number


def _is_time(numbers: dict) -> bool:
    """Whether the numbers of a time stand in their ranges, the day in its month."""
    for code, number in numbers.items():
        least, most = _LEAST_MOST.get(code, (0, 99))
        if not least <= number <= most:
            return False
    if numbers.get("hh") == 24 and (numbers.get("mm") or numbers.get("ss")):
        return False
    if "MM" not in numbers:
        return True
    # Without a year it may be a leap year.
    return numbers["DD"] <= days_of_month(2000 + numbers.get("YY", 0), numbers["MM"])


def encode_text(form: str, size: int, text: str) -> bytes:
    """The wire form of a text item: characters for ASCII, hex digits for bytes and identifiers, and
    else its digits in reading order. ValueFormatError when it does not fit, is no time, or is a
    password: those travel in commands of their own."""
    if form == WRITE_ONLY:
        raise ValueFormatError("a password is no value")
    if form == ASCII:
        if len(text) > size or any(not " " <= one <= "~" for one in text):
            raise ValueFormatError(f"{text!r} where at most {size} characters are due")
        return bytes(reversed((text + "\x00" * (size - len(text))).encode()))
    allowed = "0123456789ABCDEFabcdef" if form in (HEX, IDENTIFIER) else "0123456789"
    if len(text) != 2 * size or any(digit not in allowed for digit in text):
        raise ValueFormatError(f"{text!r} where {2 * size} digits are due")
    if form not in _PLAIN_FORMS:
        time_text(form, text)
    return bytes(reversed(bytes.fromhex(text)))


def _characters(data: bytes) -> "str | None":
    text = "".join([chr(byte) for byte in reversed(data)]).strip(_BLANKS)
    if any(not " " <= one <= "~" for one in text):
        raise ValueFormatError("bytes " + data.hex() + " are not text")
    return text or None
