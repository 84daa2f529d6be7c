"""Checks of the fields of a message body. Whatever fails one raises EnvelopeError("schema"): well
sealed is not the same as right."""

from protocols.envelope.claims import is_count
from protocols.errors import EnvelopeError

TEXT_SIZE_MAX = 200  # characters


def fields_of(body: object, version: int, least: int, most: int) -> list:
    """What follows the version in an array of `least` to `most` fields."""
    if not isinstance(body, list) or not least < len(body) <= most + 1:
        raise EnvelopeError("schema", "message")
    require(is_count(body[0]) and body[0] == version)  # true and 1.0 are no version
    return body[1:]


def pairs_of(value: object, most: int) -> list:
    """At most `most` arrays of two."""
    return rows_of(value, 0, most, 2)


def rows_of(value: object, least: int, most: int, size: int) -> list:
    """`least` to `most` arrays of `size` fields each."""
    rows = value if isinstance(value, list) else [None]
    require(least <= len(rows) <= most)
    for row in rows:
        require(isinstance(row, list) and len(row) == size)
    return rows


def frames_of(value: object, most: int, size_max: int) -> tuple:
    """Evidence: ((">" or "<", ms, bytes), ...), at most `most` frames of `size_max` bytes."""
    for way, at_ms, data in rows_of(value, 0, most, 3):
        require(way in ("<", ">") and isinstance(way, str) and is_count(at_ms))
        require(isinstance(data, bytes) and len(data) <= size_max)
    return tuple([tuple(row) for row in value])  # type: ignore[attr-defined]


def require(holds: bool) -> None:
    """EnvelopeError("schema") unless it does."""
    if not holds:
        raise EnvelopeError("schema", "message field")


def is_within(value: object, most: int) -> bool:
    """Whether `value` is an integer (a bool is none) of -most..most."""
    return isinstance(value, int) and not isinstance(value, bool) and -most <= value <= most


def is_bytes(value: object, size: int) -> bool:
    """Whether `value` is so many bytes."""
    return isinstance(value, bytes) and len(value) == size


def is_text(value: object) -> bool:
    """Whether `value` is a text of 1..TEXT_SIZE_MAX characters."""
    return isinstance(value, str) and 0 < len(value) <= TEXT_SIZE_MAX
