"""Line arithmetic: what an exchange costs, and whether a period holds all meters of a line."""

from typing import Any

_START_AND_DATA_BITS = 9
TYPICAL_RESPONSE_S = 0.1  # between the standard's 20 and 500 ms; for estimates alone
TYPICAL_TCP_RESPONSE_S = 0.05  # a network's round trip and the meter's own delay
_DLT645_REQUEST, _DLT645_REPLY = 20, 24  # bytes with 4 FE: read of one 4-byte item
_MODBUS_REQUEST, _MODBUS_REPLY_OVERHEAD = 8, 5


def character_s(baud: int, parity: str, stop_bits: int) -> float:
    """Seconds that one character takes: start, 8 data, parity and stop bits."""
    return (_START_AND_DATA_BITS + (parity != "N") + stop_bits) / baud


def dlt645_read_s(character: float) -> float:
    """A read of one item with a typical response delay."""
    return (_DLT645_REQUEST + _DLT645_REPLY) * character + TYPICAL_RESPONSE_S


def modbus_read_s(character: float, registers: int) -> float:
    """A read of `registers` registers, the silence of 3.5 characters included."""
    size = _MODBUS_REQUEST + _MODBUS_REPLY_OVERHEAD + 2 * registers
    return (size + 3.5) * character + TYPICAL_RESPONSE_S


def modbus_tcp_read_s() -> float:
    """A read over Modbus TCP: the wire takes no time, whatever the count of registers. The serial
    line behind a converter is not known here, and comes on top."""
    return TYPICAL_TCP_RESPONSE_S


def load(sweeps: list[tuple[float, int]]) -> float:
    """Share of a line's time that its sweeps take, [(seconds of a sweep, period in s), ...];
    above 1 the periods cannot be kept."""
    return sum(seconds / period for seconds, period in sweeps)


def line_character_s(line: dict[str, Any]) -> float:
    """`character_s` of a line's settings."""
    return character_s(line["baud"], line["parity"], line["stop_bits"])
