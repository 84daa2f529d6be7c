"""Bytes in, frames out, by the rules of the DL/T 645 deframer: at most one frame is held back, a
false start costs one byte, and any bytes, cut anywhere, give the same frames.

One start byte and a sum prove less than DL/T 645's two: among foreign bytes one false start in
65 536 is a frame. What it says is believed only when the exchange finds that it answers.
"""

from protocols.cjt188.frame import PREAMBLE, START, fault_at, frame_at, frame_size


class Deframer:
    """A stream of one direction of one line. `discarded` counts bytes that belonged to no frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.discarded = 0

    @property
    def pending(self) -> int:
        """Bytes held for a frame that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list:
        """The frames that `data` completes, in order."""
        self._buffer.extend(data)
        return self._take(False)

    def flush(self) -> list:
        """The frames behind false starts; afterwards nothing is pending."""
        return self._take(True)

    def _take(self, final: bool) -> list:
        frames = []
        buffer = self._buffer
        at = 0
        while at < len(buffer):
            fault = fault_at(buffer, at)
            if not fault:
                frames.append(frame_at(buffer, at))
                at += frame_size(buffer, at)
            elif fault == "truncated" and not final:
                break
            elif fault == "start1":
                at = self._skip_to_start(at)
            else:
                self.discarded += 1
                at += 1
        buffer[:at] = b""
        return frames

    def _skip_to_start(self, at: int) -> int:
        """The next start byte from `at`: noise is passed over in one search, not byte by byte."""
        found = self._buffer.find(bytes((START,)), at)
        stop = len(self._buffer) if found < 0 else found
        skipped = bytes(self._buffer[at:stop])
        self.discarded += len(skipped) - skipped.count(bytes((PREAMBLE,)))
        return stop
