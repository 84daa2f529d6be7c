"""The follow-up parts of one answer, found again across the frames of a capture.

A part may cut inside an item, so parts mean something only when all of them are there in order.
Edition 2007 numbers them from 1; edition 1997 does not, so there a damaged frame ends them all.
"""

from protocols.dlt645.exchange import PARTS_MAX

_Key = tuple[str, str]


class Parts:
    """The open answers of a capture, by address and identifier."""

    def __init__(self) -> None:
        self._open: dict[_Key, list[bytes]] = {}
        self._unnumbered: set[_Key] = set()

    def begin(self, key: _Key, payload: bytes, *, is_numbered: bool = True) -> None:
        """The first part, which has no number."""
        self._open[key] = [payload]
        if not is_numbered:
            self._unnumbered.add(key)

    def add(self, key: _Key, seq: int, payload: bytes) -> bytes | None:
        """The payload so far, this part included; None when the parts before it are not there."""
        parts = self._open.get(key)
        if parts is None:
            return None
        if 1 <= seq == len(parts) - 1 and parts[seq] == payload:
            return b"".join(parts)  # asked for and sent once more
        if seq != len(parts) or seq > PARTS_MAX:
            self.end(key)
            return None
        parts.append(payload)
        return b"".join(parts)

    def next_number(self, key: _Key) -> int:
        """The number that the next part would have; 0 when no answer is open."""
        return len(self._open.get(key, ()))

    def end(self, key: _Key) -> None:
        """The answer is complete, or given up."""
        self._open.pop(key, None)
        self._unnumbered.discard(key)

    def end_unnumbered(self) -> None:
        """A frame was damaged: it may have been a part that nobody would miss."""
        for key in tuple(self._unnumbered):
            self.end(key)
