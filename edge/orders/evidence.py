"""The frames of an order as its receipt may carry them."""

from collections.abc import Iterable

from edge.events import Evidence
from protocols.messages import EVIDENCE_FRAME_SIZE_MAX


def pieces_of(frames: Iterable[tuple[str, int, bytes]]) -> Evidence:
    """The transcript in pieces, none larger than a receipt takes; as many as it has."""
    return tuple(
        (direction, at, data[start : start + EVIDENCE_FRAME_SIZE_MAX])
        for direction, at, data in frames
        for start in range(0, len(data), EVIDENCE_FRAME_SIZE_MAX)
    )
