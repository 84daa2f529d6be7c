"""Values that are none of what a field must be, and the reason for which a body is refused."""

from typing import Any

import pytest

from protocols.envelope.fields import TEXT_SIZE_MAX
from protocols.errors import EnvelopeError

LARGEST = (1 << 63) - 1
ODD_TEXTS: tuple[Any, ...] = ("", "t" * (TEXT_SIZE_MAX + 1), b"t", 5, None, ["t"], True)
ODD_COUNTS: tuple[Any, ...] = (-1, LARGEST + 1, True, False, 1.0, "1", None, b"", [])


def odd_bytes(size: int) -> tuple[Any, ...]:
    """What is not so many bytes."""
    return (bytes(size - 1), bytes(size + 1), "x" * size, size, None, [])


def refused(kind: Any, body: Any) -> str:
    """The reason of the EnvelopeError that `kind.from_body` raises."""
    with pytest.raises(EnvelopeError) as caught:
        kind.from_body(body)
    return caught.value.reason
