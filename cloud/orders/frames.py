"""The frames of an order's evidence in words, for whoever asks what went over the wire.

What a frame does not tell for certain stays hex: `busbar-provision explain` says more about one. A
gateway blanks passwords, and the sums that would narrow them down, before it tells a frame.
"""

from protocols.dlt645 import commands
from protocols.dlt645.controls import Function, error_names, function_name
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.frame import OVERHEAD, PREAMBLE, Frame
from protocols.dlt645.identifiers import entry_of, identifier_bytes, identifier_text
from protocols.dlt645.relay import ACTION_NAMES
from protocols.dlt645.requests import decode_command
from protocols.dlt645.values import decode_items
from protocols.dlt645.words import word_texts
from protocols.errors import BusbarError
from protocols.modbus.exceptions import EXCEPTION_BIT, exception_name

_DI_SIZE = 4
_CONTROL_AT, _DATA_AT = 8, 10  # bytes of a frame in front of its control code, and its data
_SECRET_SIZE = 3
_OFFSET = 0x33  # of each byte of the data on the wire: the digits 00
_MODBUS = {
    1: "read coils", 2: "read discrete inputs", 3: "read holding registers",
    4: "read input registers", 5: "write coil", 6: "write register", 16: "write registers",
}  # fmt: skip
_MODBUS_SIZE_MIN = 5


def frame_words(data: bytes) -> str:
    """What the bytes say; "" when they are no frame that is known."""
    whole = _unmasked(data)
    found = Deframer()
    frames = found.feed(whole) + found.flush()
    if len(frames) == 1 and whole != data:
        return f"{_dlt645_words(frames[0])}, its password left out"
    if len(frames) == 1:
        return _dlt645_words(frames[0])
    function = data[1] & ~EXCEPTION_BIT if len(data) >= _MODBUS_SIZE_MIN else 0
    if frames or function not in _MODBUS:
        return ""
    words = f"unit {data[0]}: {_MODBUS[function]}"
    is_refused = data[1] & EXCEPTION_BIT and len(data) == _MODBUS_SIZE_MIN
    return f"{words}, refused: {exception_name(data[2])}" if is_refused else words


def _unmasked(data: bytes) -> bytes:
    """A request whose password and sum were blanked, with digits 0 and their sum; others as they
    are."""
    start = len(data) - len(data.lstrip(bytes((PREAMBLE,))))
    frame = bytearray(data[start:])
    if len(frame) < OVERHEAD + _SECRET_SIZE or frame[-2] != 0:
        return data
    first = _DATA_AT + (_DI_SIZE if frame[_CONTROL_AT] == Function.WRITE else 0) + 1
    if any(frame[first : first + _SECRET_SIZE]):
        return data
    frame[first : first + _SECRET_SIZE] = bytes((_OFFSET,)) * _SECRET_SIZE
    frame[-2] = sum(frame[:-2]) & 0xFF
    return bytes(frame)


def _dlt645_words(frame: Frame) -> str:
    who = f"{frame.address}: {function_name(frame.control)}"
    try:
        return f"{who}, {_reply_words(frame) if frame.is_reply else _request_words(frame)}"
    except BusbarError as error:
        return f"{who}, which does not fit: {error}"


def _request_words(frame: Frame) -> str:
    command = decode_command(frame)
    if isinstance(command, commands.Relay):
        action = ACTION_NAMES.get(command.action, f"{command.action:02X}")
        until = command.expiry
        when = f"until {until.text().replace('T', ' ')}" if until else "without an expiry"
        return f"{action}, {when} on the meter's clock, operator {command.credentials.operator}"
    di = getattr(command, "di", None)
    return _named(identifier_bytes(di)) if di else "asked"


def _reply_words(frame: Frame) -> str:
    if frame.is_abnormal:
        bits = error_names(frame.data[0]) if frame.data else ()
        return f"refused: {', '.join(bits) or 'no reason'}"
    if frame.function != Function.READ:
        return "accepted"
    di = bytes(frame.data[:_DI_SIZE])
    told = []
    for item, quantity in decode_items(frame.data):
        words = word_texts(di, quantity.value) if quantity is not None else ()
        value = " ".join(quantity.shown()).strip() if quantity is not None else "no value"
        told.append(", ".join(words) or f"{item.name} {value}".strip())
    return f"{_named(di)}: {'; '.join(told) or frame.data[_DI_SIZE:].hex(' ')}"


def _named(di: bytes) -> str:
    entry = entry_of(di)
    text = identifier_text(di, len(di))
    return f"{text} ({entry.name})" if entry is not None else text
