"""Modbus RTU frames in a capture, found by their checksum, and what they say.

Nothing marks a frame's begin, so a place is a frame when its function, the length that follows from
it and the CRC fit. Nothing tells a request from a reply either where both have the same length: the
frame before decides.
"""

from collections.abc import Iterator
from typing import NamedTuple

from pymodbus.framer.rtu import FramerRTU

from protocols.modbus.exceptions import EXCEPTION_BIT, exception_name
from provisioning.finding import MODBUS_RTU, REPLY, REQUEST, ContentError, Finding

UNIT_MAX = 247
BROADCAST = 0
_READS = {1: "coils", 2: "discrete inputs", 3: "holding registers", 4: "input registers"}
_READS_BITS = (1, 2)
_COUNT_MAX = {1: 2000, 2: 2000, 3: 125, 4: 125}  # that one read may ask for
_WRITE_COIL, _WRITE_REGISTER, _WRITE_COILS, _WRITE_REGISTERS = 5, 6, 15, 16
FUNCTION_NAMES = {
    **{code: "read " + what for code, what in _READS.items()},
    _WRITE_COIL: "write single coil",
    _WRITE_REGISTER: "write single holding register",
    _WRITE_COILS: "write multiple coils",
    _WRITE_REGISTERS: "write multiple holding registers",
}
_FIXED_SIZE = 8  # unit, function, two words, CRC
_EXCEPTION_SIZE = 5


class ModbusFrame(NamedTuple):
    """One frame: unit, function byte as on the wire, and what stands between it and the CRC."""

    unit: int
    code: int
    data: bytes
    direction: str

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return len(self.data) + 4

    @property
    def function(self) -> int:
        """The function without the exception bit."""
        return self.code & ~EXCEPTION_BIT

    def word(self, index: int) -> int:
        """The big-endian word at byte `index` of the data."""
        return int.from_bytes(self.data[index : index + 2], "big")


def find(data: bytes, at: int, asked: ModbusFrame | None) -> ModbusFrame | None:
    """The frame at `at`, or None. `asked` is the frame before, when it was a request."""
    for size, direction in _shapes(data, at, asked):
        body = data[at : at + size - 2]
        crc = int.from_bytes(data[at + size - 2 : at + size], "big")
        if at + size <= len(data) and FramerRTU.compute_CRC(body) == crc:
            return ModbusFrame(data[at], data[at + 1], body[2:], direction)
    return None


def find_damaged(data: bytes) -> ModbusFrame | None:
    """The frame that all of `data` would be if its CRC fitted, or None."""
    for size, direction in _shapes(data, 0, None):
        if size == len(data):
            return ModbusFrame(data[0], data[1], data[2:-2], direction)
    return None


def explain(frame: ModbusFrame, finding: Finding, asked: ModbusFrame | None) -> None:
    """Fills in what the frame says; `asked` is the request that it may answer."""
    finding.protocol = MODBUS_RTU
    finding.address = str(frame.unit)
    finding.control = frame.code
    finding.function = FUNCTION_NAMES[frame.function]
    finding.direction = frame.direction
    finding.data = frame.data
    who = "all units" if frame.unit == BROADCAST else f"unit {frame.unit}"
    if frame.code & EXCEPTION_BIT:
        finding.abnormal = True
        finding.error_code = frame.data[0]
        name = exception_name(frame.data[0])
        finding.error_bits = (name,)
        finding.meaning = f"{who} refuses: {name}"
        return
    if frame.direction == REQUEST:
        finding.meaning = f"asks {who} to {_request_words(frame)}"
        return
    try:
        finding.meaning = f"{who} {_reply_words(frame, asked)}"
    except ContentError as error:
        finding.fail(error)


def is_answer(asked: ModbusFrame | None, unit: int, function: int) -> bool:
    """Whether a reply of this unit and function fits the request before it."""
    return asked is not None and (asked.unit, asked.function) == (unit, function)


def _shapes(data: bytes, at: int, asked: ModbusFrame | None) -> Iterator[tuple[int, str]]:
    """(size, direction) of each frame that may begin here, the likeliest first."""
    head = data[at : at + 7]
    if len(head) < 3 or head[0] > UNIT_MAX or head[1] & ~EXCEPTION_BIT not in FUNCTION_NAMES:
        return
    function = head[1]
    if function & EXCEPTION_BIT:
        yield _EXCEPTION_SIZE, REPLY
        return
    is_due = is_answer(asked, head[0], function)
    if function in _READS:
        reply = _read_reply_size(head, asked if is_due else None)
        # A reply of three bytes is as long as a request, and asks for more than anybody may.
        is_likely = is_due or int.from_bytes(head[4:6], "big") > _COUNT_MAX[function]
        if reply and is_likely:
            yield reply, REPLY
        yield _FIXED_SIZE, REQUEST
        if reply and not is_likely:
            yield reply, REPLY
    elif function in (_WRITE_COIL, _WRITE_REGISTER):
        # The reply is the request once more.
        yield _FIXED_SIZE, REPLY if is_due else REQUEST
    else:
        yield _FIXED_SIZE, REPLY
        count = int.from_bytes(head[4:6], "big")
        due = count * 2 if function == _WRITE_REGISTERS else (count + 7) // 8
        if len(head) == 7 and head[6] == due:
            yield 9 + due, REQUEST


def _read_reply_size(head: bytes, asked: ModbusFrame | None) -> int:
    """Bytes of a reply to a read; 0 when its byte count can not be one."""
    count = head[2]
    if asked is not None and count != _due(asked):
        return 0
    if count == 0 or (head[1] not in _READS_BITS and count % 2):
        return 0
    return 5 + count


def _due(asked: ModbusFrame) -> int:
    """Bytes of values that a read asks for."""
    count = asked.word(2)
    return (count + 7) // 8 if asked.function in _READS_BITS else count * 2


def _request_words(frame: ModbusFrame) -> str:
    first, second = frame.word(0), frame.word(2)
    if frame.function in _READS:
        return f"read {second} {_READS[frame.function]} from {_number(first)}"
    if frame.function == _WRITE_COIL:
        value = {0xFF00: "1", 0: "0"}.get(second, f"{second:04X}, which is no coil value")
        return f"set coil {_number(first)} to {value}"
    if frame.function == _WRITE_REGISTER:
        return f"write {second} into holding register {_number(first)}"
    what = "coils" if frame.function == _WRITE_COILS else "holding registers"
    return f"write {second} {what} from {_number(first)}"


def _reply_words(frame: ModbusFrame, asked: ModbusFrame | None) -> str:
    first, second = frame.word(0), frame.word(2)
    if frame.function in (_WRITE_COIL, _WRITE_REGISTER):
        return "did so: " + _request_words(frame)
    if frame.function not in _READS:
        what = "coils" if frame.function == _WRITE_COILS else "holding registers"
        return f"wrote {second} {what} from {_number(first)}"
    what = _READS[frame.function]
    where = ""
    if asked is not None and is_answer(asked, frame.unit, frame.function):
        where = f" from {_number(asked.word(0))}"
    if frame.function in _READS_BITS:
        return f"answers with {what}{where}: {frame.data[1:].hex(' ').upper()}"
    words = [f"{frame.word(at):04X}" for at in range(1, len(frame.data), 2)]
    return f"answers with {len(words)} {what}{where}: {' '.join(words)}"


def _number(address: int) -> str:
    return f"{address} (0x{address:04X})"
