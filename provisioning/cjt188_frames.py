"""A CJ/T 188 frame (water, heat and gas meters) in words.

Meters disagree on the order of an identifier's bytes and on the place of a unit, and no frame says
which it has. Here an identifier is taken in the order in which it is a known one, and values are
shown when exactly one place of the units makes sense of all of them.
"""

from protocols.cjt188.dialect import HIGH_FIRST, METER_TYPES, SETTLEMENT, UNIT_POSITIONS, Dialect
from protocols.cjt188.frame import (
    ABNORMAL_BIT,
    ANY_ADDRESS,
    ANY_TYPE,
    REPLY_BIT,
    Frame,
    fault_at,
    frame_at,
)
from protocols.cjt188.values import decode_present
from protocols.errors import ValueFormatError
from protocols.quantity import Kind
from protocols.readings import Reading
from provisioning.dlt645_secrets import EVERYTHING
from provisioning.dlt645_values import content_error, counted, shown
from provisioning.finding import CJT188, REPLY, REQUEST, ContentError, Finding, Value

_MORE_BIT = 0x20
_FUNCTION_MASK = 0x1F
_READ, _READ_ADDRESS, _WRITE = 0x01, 0x03, 0x04
_FUNCTIONS = {
    _READ: "read",
    _READ_ADDRESS: "read address",
    _WRITE: "write",
    0x09: "read key version",
    0x15: "write address",
    0x16: "set the register",
}
_TYPES = {code: name.replace("-", " ") + " meter" for name, code in METER_TYPES.items()}
_HEAT, _HEAT_GROUP = METER_TYPES["heat"], 0x20
_OTHER_TYPES = (0x19, 0x22, 0x25, 0x29, 0x39, 0x40, 0x49, 0xAA)  # that a frame may show as well
_PRESENT, _VALVE, _KEY = "901F", "A017", "A014"
_NAMES = {
    _PRESENT: "present values",
    "810A": "address",
    "A010": "price table",
    "A011": "settlement day",
    "A012": "reading day",
    "A013": "purchase",
    _KEY: "key",
    "A015": "clock",
    "A016": "register",
    _VALVE: "valve",
    "A018": "address",
} | {f"D1{0x20 + month:02X}": f"settled values, {month + 1} months back" for month in range(12)}
_VALVE_WORDS = {0x55: "open the valve", 0x99: "close the valve"}
_VALVE_STATES = ("open", "closed", "bits 10", "faulty")
_HEAD_SIZE = 3  # identifier and SER
_LENGTH_AT, _CONTROL_AT = 10, 9


def damaged_at(data: bytes, at: int) -> str:
    """What is wrong with the frame of this protocol at `at`; "" unless type, control byte and all
    else speak for one."""
    if len(data) - at <= _LENGTH_AT:
        return ""
    is_type = data[at + 1] in _TYPES or data[at + 1] in _OTHER_TYPES
    if not is_type or data[at + _CONTROL_AT] & _FUNCTION_MASK not in _FUNCTIONS:
        return ""
    fault = str(fault_at(data, at))
    stop = at + _LENGTH_AT + 1 + data[at + _LENGTH_AT] + 2
    return fault if fault in ("truncated", "end") or data[stop - 1 : stop] == b"\x16" else ""


def damaged_frame(data: bytes, at: int) -> Frame:
    """As much of it as its head says."""
    return frame_at(data[at : at + _LENGTH_AT] + b"\x00" * 3, 0)


def explain(frame: Frame, finding: Finding) -> None:
    """Fills in what a good frame says."""
    explain_header(frame, finding)
    try:
        what = _reply(frame, finding) if finding.direction == REPLY else _request(frame, finding)
    except ContentError as error:
        finding.error = error.reason
        what = str(error)
    finding.hidden = _hidden(frame, finding)
    verb = ""
    if finding.direction == REPLY:
        verb = f" refuses the {finding.function}" if finding.abnormal else " answers"
    finding.meaning = f"{_who(frame)}{verb}: {what}"


def explain_header(frame: Frame, finding: Finding) -> None:
    """Fills in who and which function; of a damaged frame that is all."""
    finding.protocol = CJT188
    finding.data = bytes(frame.data)
    finding.address = frame.address
    finding.control = frame.control
    finding.direction = REPLY if frame.control & REPLY_BIT else REQUEST
    finding.abnormal = frame.control & (REPLY_BIT | ABNORMAL_BIT) == REPLY_BIT | ABNORMAL_BIT
    finding.more = frame.control & (REPLY_BIT | _MORE_BIT) == REPLY_BIT | _MORE_BIT
    finding.function = _FUNCTIONS.get(frame.control & _FUNCTION_MASK, "vendor function")


def _hidden(frame: Frame, finding: Finding) -> tuple[slice, ...]:
    """Keys, and what may be one."""
    function = frame.control & _FUNCTION_MASK
    if function not in _FUNCTIONS:
        return EVERYTHING
    if finding.di == _KEY or (function == _WRITE and finding.di is None):
        return (slice(_HEAD_SIZE, None),)
    return ()


def _who(frame: Frame) -> str:
    kind = _TYPES.get(frame.meter_type, f"meter of type {frame.meter_type:02X}")
    if frame.meter_type == ANY_TYPE:
        kind = "meter"
    return f"any {kind}" if frame.address == ANY_ADDRESS else f"{kind} {frame.address}"


def _identifier(frame: Frame, finding: Finding) -> str:
    if len(frame.data) < _HEAD_SIZE:
        raise ContentError("length", f"{counted(len(frame.data), 'byte')} where 3 or more are due")
    high_first = frame.data[:2].hex().upper()
    low_first = high_first[2:] + high_first[:2]
    finding.seq = frame.data[2]
    if high_first not in _NAMES and low_first not in _NAMES:
        return f"an identifier that is not known ({high_first} as sent)"
    finding.di = high_first if high_first in _NAMES else low_first
    return f"{_NAMES[finding.di]} ({finding.di})"


def _request(frame: Frame, finding: Finding) -> str:
    name = _identifier(frame, finding)
    function = frame.control & _FUNCTION_MASK
    if function == _WRITE and finding.di == _VALVE and len(frame.data) == _HEAD_SIZE + 1:
        return _VALVE_WORDS.get(frame.data[3], f"valve order {frame.data[3]:02X}")
    size = len(frame.data) - _HEAD_SIZE
    if function == _READ_ADDRESS:
        return "read the address"
    return f"{finding.function} {name}" + (f", {counted(size, 'byte')}" if size else "")


def _reply(frame: Frame, finding: Finding) -> str:
    if finding.abnormal:
        return f"data {frame.data.hex(' ').upper() or 'none'}"
    name = _identifier(frame, finding)
    payload = frame.data[_HEAD_SIZE:]
    function = frame.control & _FUNCTION_MASK
    if function == _READ_ADDRESS:
        return f"its address is {frame.address}"
    if function != _READ or finding.di != _PRESENT:
        return f"{name}, {counted(len(payload), 'byte')}" + (", not decoded" if payload else "")
    finding.values = _values(payload, frame.meter_type)
    is_heat = frame.meter_type & 0xF0 == _HEAT_GROUP
    note = "; the settlement day's energy may be cooling energy instead" if is_heat else ""
    return f"{name}: {counted(len(finding.values), 'value')}{note}"


def _values(payload: bytes, meter_type: int) -> list[Value]:
    if meter_type not in _TYPES and meter_type & 0xF0 == _HEAT_GROUP:
        meter_type = _HEAT  # makers' own types of heat meters, 25 say
    found: list[list[Reading]] = []
    error = ContentError("value", "values of this type of meter are not known")
    for position in UNIT_POSITIONS if meter_type in _TYPES else ():
        try:
            dialect = Dialect(meter_type, HIGH_FIRST, position, SETTLEMENT)
            found.append(decode_present(payload, dialect))
        except ValueFormatError as refusal:
            error = content_error(refusal)
    if len(found) > 1:
        raise ContentError("value", "units fit in front of the values and behind them")
    if not found:
        raise error
    return [_value(reading) for reading in found[0]]


def _value(reading: Reading) -> Value:
    obis, quantity = reading
    if quantity.kind != Kind.STATUS:
        return Value(obis.name(), obis, quantity, shown(quantity))
    word = quantity.value
    words = [f"valve: {_VALVE_STATES[word & 3]}", *(["battery low"] if word & 4 else [])]
    words += [f"bit {bit}" for bit in range(3, 16) if word >> bit & 1]
    return Value("status", obis, quantity, f"{word:04X} hex", tuple(words))
