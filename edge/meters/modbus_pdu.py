"""The one adapter to pymodbus's PDUs: a read of registers, and what its answer says.

Framing stands in `modbus_rtu` and `modbus_tcp`, which also search for the answer.
"""

from pymodbus.pdu import DecodePDU
from pymodbus.pdu.exceptionresponse import ExceptionResponse
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from protocols.errors import RefusedError, UnsupportedError
from protocols.modbus.exceptions import EXCEPTION_BIT, UNSUPPORTED, exception_name
from protocols.modbus.plan import Span
from protocols.modbus.values import words_of

BUFFER_SIZE_MAX = 1024  # bytes that may arrive around one answer
EXCEPTION_SIZE = 2  # of its PDU: function and code
_REPLY_OVERHEAD = 2  # function and byte count
_REQUESTS = {3: ReadHoldingRegistersRequest, 4: ReadInputRegistersRequest}
_DECODER = DecodePDU(is_server=False)

ReadRequest = ReadHoldingRegistersRequest | ReadInputRegistersRequest


class RegisterRead:
    """One read of `span` from `unit`; `words` holds its answer, as `decode_registers` takes it."""

    def __init__(self, unit: int, span: Span, transaction: int = 0) -> None:
        self.unit = unit
        self.words: dict[int, int] = {}
        self._span = span
        self._transaction = transaction

    def request(self) -> ReadRequest:
        """The request, to be framed."""
        return _REQUESTS[self._span.function](
            address=self._span.address,
            count=self._span.count,
            dev_id=self.unit,
            transaction_id=self._transaction,
        )

    def answer_size(self, function: int) -> int:
        """Bytes of an answer's PDU that begins with `function`; 0 when such a one is no answer to
        this request."""
        if function == self._span.function:
            size: int = _REPLY_OVERHEAD + 2 * self._span.count
            return size
        return EXCEPTION_SIZE if function == self._span.function | EXCEPTION_BIT else 0

    def take(self, pdu: bytes) -> bool:
        """Takes an answer of `answer_size` bytes. False when its byte count lies; RefusedError, or
        UnsupportedError when asking again will not help, for an exception."""
        if pdu[0] & EXCEPTION_BIT:
            self._refuse(pdu)
        if pdu[1] != len(pdu) - _REPLY_OVERHEAD:
            return False
        self.words = words_of(pdu[_REPLY_OVERHEAD:], self._span.address, self._span.function)
        return True

    def _refuse(self, pdu: bytes) -> None:
        reply = _DECODER.decode(pdu)
        code = reply.exception_code if isinstance(reply, ExceptionResponse) else pdu[1]
        name = exception_name(code)
        message = f"unit {self.unit} refused with exception {code:02X} ({name})"
        if code in UNSUPPORTED:
            raise UnsupportedError(message, code, (name,))
        raise RefusedError(message, code, (name,))
