"""Modbus RTU: the frame of a read, and the search for its answer.

pymodbus's own stream decoder throws away all it holds when the first byte is another unit's; here
each place where our unit and function stand is tried, so noise in front of an answer costs nothing.
CRC-16 finds every single wrong bit and every burst of up to 16 (Modbus over serial line 1.02, 2.5.1
and 6.2).
"""

from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import DecodePDU

from edge.meters.modbus_pdu import BUFFER_SIZE_MAX, EXCEPTION_SIZE, RegisterRead
from protocols.modbus.plan import Span

_FRAME_OVERHEAD = 3  # unit and CRC
_FRAMER = FramerRTU(DecodePDU(is_server=False))


class RtuRead:
    """A read of registers: a Conversation of `edge/line`.

    Modbus RTU has no sequence number: a late reply of the same unit, function and length cannot be
    told from the one asked for. The line drains before it asks; the driver waits after a silence.
    """

    silence_characters = 3.5  # Modbus over serial line 1.02, 2.5.1.1
    drops_echo = True  # a read reply never equals its request

    def __init__(self, unit: int, span: Span) -> None:
        self.read = RegisterRead(unit, span)
        self.request = _FRAMER.buildFrame(self.read.request())
        self._buffer = b""

    def receive(self, data: bytes) -> bool:
        """True when the answer is complete."""
        self._buffer = (self._buffer + data)[-BUFFER_SIZE_MAX:]
        for at in range(len(self._buffer) - _FRAME_OVERHEAD - EXCEPTION_SIZE + 1):
            if self._buffer[at] == self.read.unit and self._answer_at(at):
                return True
        return False

    def flush(self) -> bool:
        """Nothing to do: every place was tried already."""
        return False

    def _answer_at(self, at: int) -> bool:
        size = self.read.answer_size(self._buffer[at + 1])
        frame = self._buffer[at : at + _FRAME_OVERHEAD + size]
        if not size or len(frame) < _FRAME_OVERHEAD + size:
            return False
        if not FramerRTU.check_CRC(frame[:-2], frame[-2] << 8 | frame[-1]):
            return False
        return self.read.take(frame[1:-2])
