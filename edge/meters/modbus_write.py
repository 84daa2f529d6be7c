"""One Modbus PDU to one unit, framed for RTU or TCP: a write of a model's write map, or the read of
the state that it leads to.

The answer to a write is the echo of its request, so an adapter that returns our own bytes passes
for the unit's yes. That proves nothing either way: the state is read behind it.
"""

from pymodbus.framer.rtu import FramerRTU

from edge.meters.modbus_pdu import EXCEPTION_SIZE
from edge.meters.modbus_rtu import RtuRead
from edge.meters.modbus_tcp import TcpRead
from protocols.modbus.exceptions import EXCEPTION_BIT
from protocols.modbus.model import READ_COILS, READ_INPUTS, WRITE_COIL, WRITE_REGISTERS

_ECHO_SIZE = 5  # of a write's answer: function, address, value or count
_WRITES = range(WRITE_COIL, WRITE_REGISTERS + 1)
_PROTOCOL = b"\x00\x00"


class _Pdu:
    """A request, and its answer in `answer` as it came; an exception is an answer too."""

    def __init__(self, unit: int, pdu: bytes) -> None:
        self.unit = unit
        self.answer = b""
        self._function = pdu[0]

    def answer_size(self, function: int) -> int:
        """Bytes of an answer that begins with `function`; 0 when such a one is none."""
        if function == self._function | EXCEPTION_BIT:
            return EXCEPTION_SIZE
        if function != self._function:
            return 0
        if function in _WRITES:
            return _ECHO_SIZE
        return 3 if function in (READ_COILS, READ_INPUTS) else 4

    def take(self, pdu: bytes) -> bool:
        """Keeps it; what it says is judged by the command."""
        self.answer = pdu
        return True


class RtuPdu(RtuRead):
    """On a serial line: a Conversation of `edge/line`."""

    drops_echo = False

    def __init__(self, unit: int, pdu: bytes) -> None:
        body = bytes((unit,)) + pdu
        self._pdu = _Pdu(unit, pdu)
        self.read = self._pdu  # type: ignore[assignment]  # what it is asked is the same
        self.request = body + FramerRTU.compute_CRC(body).to_bytes(2, "big")
        self._buffer = b""

    @property
    def answer(self) -> bytes:
        """The answer's PDU."""
        return self._pdu.answer


class TcpPdu(TcpRead):
    """In a TCP connection."""

    def __init__(self, unit: int, pdu: bytes, transaction: int) -> None:
        self._pdu = _Pdu(unit, pdu)
        self.read = self._pdu  # type: ignore[assignment]  # what it is asked is the same
        self._head = transaction.to_bytes(2, "big") + _PROTOCOL
        self.request = self._head + (len(pdu) + 1).to_bytes(2, "big") + bytes((unit,)) + pdu
        self._buffer = b""

    @property
    def answer(self) -> bytes:
        """The answer's PDU."""
        return self._pdu.answer
