"""The one adapter to pymodbus: request PDUs, RTU framing and the search for a reply.

pymodbus's own stream decoder throws away all it holds when the first byte is another unit's; here
each place where our unit and function stand is tried, so noise in front of a reply costs nothing.
"""

from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.exceptionresponse import ExceptionResponse
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from protocols.errors import RefusedError, UnsupportedError
from protocols.modbus.values import words_of

_REQUESTS = {3: ReadHoldingRegistersRequest, 4: ReadInputRegistersRequest}
EXCEPTION_NAMES = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target failed to respond",
}
_UNSUPPORTED = (1, 2)  # the meter does not have it: asking again will not help
_EXCEPTION_BIT = 0x80
_EXCEPTION_SIZE = 5
BUFFER_SIZE_MAX = 1024  # bytes that may arrive around one reply


class ReadRegisters:
    """A read of `count` registers from `address`: a Conversation of `edge/line`.

    Modbus RTU has no sequence number: a late reply of the same unit, function and length cannot be
    told from the one asked for. The line drains before it asks; the driver waits after a silence.
    """

    silence_characters = 3.5  # Modbus over serial line 1.02, 2.5.1.1
    drops_echo = True  # a read reply never equals its request

    def __init__(self, unit: int, function: int, address: int, count: int) -> None:
        self._framer = FramerRTU(DecodePDU(is_server=False))
        request = _REQUESTS[function](address=address, count=count, dev_id=unit)
        self.request = self._framer.buildFrame(request)
        self._unit = unit
        self._function = function
        self._address = address
        self._reply_size = 5 + 2 * count
        self._buffer = b""
        self.words: dict[int, int] = {}

    def receive(self, data: bytes) -> bool:
        """True when the reply is complete; then `words` maps address to word."""
        self._buffer = (self._buffer + data)[-BUFFER_SIZE_MAX:]
        for at in range(len(self._buffer) - _EXCEPTION_SIZE + 1):
            if self._buffer[at] == self._unit and self._reply_at(at):
                return True
        return False

    def flush(self) -> bool:
        """Nothing to do: every place was tried already."""
        return False

    def _reply_at(self, at: int) -> bool:
        function = self._buffer[at + 1]
        if function == self._function | _EXCEPTION_BIT:
            frame = self._frame(at, _EXCEPTION_SIZE)
            if frame:
                self._refuse(frame)
        if function != self._function:
            return False
        frame = self._frame(at, self._reply_size)
        if not frame or frame[2] != self._reply_size - 5:
            return False
        self.words = words_of(frame[3:-2], self._address)
        return True

    def _frame(self, at: int, size: int) -> bytes:
        """The `size` bytes at `at` when their CRC holds, else b""."""
        frame = self._buffer[at : at + size]
        if len(frame) < size:
            return b""
        return frame if FramerRTU.check_CRC(frame[:-2], frame[-2] << 8 | frame[-1]) else b""

    def _refuse(self, frame: bytes) -> None:
        reply = self._framer.decoder.decode(frame[1:-2])
        code = reply.exception_code if isinstance(reply, ExceptionResponse) else frame[2]
        name = EXCEPTION_NAMES.get(code, "exception without a name")
        message = f"unit {self._unit} refused with exception {code:02X} ({name})"
        if code in _UNSUPPORTED:
            raise UnsupportedError(message, code, (name,))
        raise RefusedError(message, code, (name,))
