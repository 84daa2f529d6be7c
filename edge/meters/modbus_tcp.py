"""Modbus TCP: the MBAP frame of a read, and the search for its answer.

* An answer is ours when transaction, protocol id 0, length, unit and function are: a late one, of
  an earlier transaction, is never taken for another (Modbus Messaging on TCP/IP 1.0b, 3.1.3).
* There is no checksum: TCP guards the bytes and their order on their way. A byte that is changed
  behind that, or a server that sends one answer in the middle of another, is not noticed here.
* The line drains before it asks, so the end of a late answer may stand in front of ours: each place
  where our transaction stands is tried.
"""

from pymodbus.framer.socket import FramerSocket
from pymodbus.pdu import DecodePDU

from edge.meters.modbus_pdu import BUFFER_SIZE_MAX, RegisterRead
from protocols.modbus.plan import Span

TRANSACTION_MAX = 0xFFFF
_HEADER_SIZE = 7  # transaction, protocol, length, unit
_PROTOCOL = b"\x00\x00"
_FRAMER = FramerSocket(DecodePDU(is_server=False))


class TcpRead:
    """A read of registers as `transaction`, 1 to TRANSACTION_MAX: a Conversation of `edge/line`."""

    silence_characters = 0.0  # the length ends a frame, not a silence
    drops_echo = False

    def __init__(self, unit: int, span: Span, transaction: int) -> None:
        self.read = RegisterRead(unit, span, transaction)
        self.request = _FRAMER.buildFrame(self.read.request())
        self._head = self.request[:2] + _PROTOCOL
        self._buffer = b""

    def receive(self, data: bytes) -> bool:
        """True when the answer is complete."""
        self._buffer = (self._buffer + data)[-BUFFER_SIZE_MAX:]
        at = self._buffer.find(self._head)
        while at >= 0:
            if self._answer_at(at):
                return True
            at = self._buffer.find(self._head, at + 1)
        return False

    def flush(self) -> bool:
        """Nothing to do: every place was tried already."""
        return False

    def _answer_at(self, at: int) -> bool:
        header = self._buffer[at : at + _HEADER_SIZE]
        pdu = self._buffer[at + _HEADER_SIZE :]
        size = self.read.answer_size(pdu[0]) if pdu else 0
        length = header[4:6]
        if not 0 < size <= len(pdu) or length != (size + 1).to_bytes(2, "big"):
            return False
        return header[6] == self.read.unit and self.read.take(pdu[:size])
