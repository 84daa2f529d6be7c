"""The CJ/T 188 frame: 68 T A0..A6 C L DATA CS 16.

Rules (CJ/T 188-2004 as ten and more public sources agree, captures among them):

* T is what the meter measures: 10 to 13 water, 20 and 21 heat and cooling, 30 gas.
* The address is seven bytes, low byte first; here always 14 digits in reading order. In a request
  AA instead of every byte asks any meter.
* DATA travels as it is, without the offset of DL/T 645.
* CS is the sum modulo 256 of every byte from 68 to the last data byte.
* A sender may put FE bytes in front; they are outside the checksum. A receiver takes any number.
* 68, 16 and FE inside a frame are legal: parse by position and length, never by search.
"""

from collections import namedtuple

from protocols.errors import FrameError

START = 0x68
END = 0x16
PREAMBLE = 0xFE
OVERHEAD = 13  # bytes of a frame without data
DATA_SIZE_MAX = 255  # what L can say
FRAME_SIZE_MAX = OVERHEAD + DATA_SIZE_MAX
PREAMBLE_SIZE = 4  # what we send; captures show 0 to 13

ANY_ADDRESS = "AAAAAAAAAAAAAA"
ANY_TYPE = 0xAA  # one source asks for an address so

READ = 0x01
READ_ADDRESS = 0x03
REPLY_BIT = 0x80
ABNORMAL_BIT = 0x40

_LENGTH_AT = 10
_DATA_AT = 11


class Frame(namedtuple("Frame", ("meter_type", "address", "control", "data"))):
    """One frame: T, 14-digit address in reading order, control byte C, data."""

    def to_bytes(self, preamble: int = 0) -> bytes:
        """The wire form behind `preamble` FE bytes; FrameError when a part does not fit."""
        if len(self.data) > DATA_SIZE_MAX:
            raise FrameError("length", f"{len(self.data)} data bytes")
        if not 0 <= self.control <= 255 or not 0 <= self.meter_type <= 255:
            raise FrameError("length", "control and type are one byte each")
        body = bytearray((START, self.meter_type))
        body.extend(_address_bytes(self.address))
        body.extend(bytes((self.control, len(self.data))))
        body.extend(self.data)
        body.extend(bytes((sum(body) & 0xFF, END)))
        return bytes([PREAMBLE] * preamble) + bytes(body)


def is_meter_address(address: object) -> bool:
    """Whether `address` names one meter: 14 decimal digits."""
    return (
        isinstance(address, str)
        and len(address) == 14
        and all(digit in "0123456789" for digit in address)
    )


def fault_at(buffer: "bytes | bytearray", at: int) -> str:
    """What keeps a frame from standing at `at`: "" for a whole frame, "truncated" for more bytes
    needed, else start1, checksum or end. Reads at most FRAME_SIZE_MAX bytes."""
    size = len(buffer) - at
    if size < 1:
        return "truncated"
    if buffer[at] != START:
        return "start1"
    if size <= _LENGTH_AT:
        return "truncated"
    stop = at + frame_size(buffer, at)
    if len(buffer) < stop:
        return "truncated"
    if sum(buffer[at : stop - 2]) & 0xFF != buffer[stop - 2]:
        return "checksum"
    return "" if buffer[stop - 1] == END else "end"


def frame_size(buffer: "bytes | bytearray", at: int) -> int:
    """Bytes of the frame that starts at `at`, whose length byte is there."""
    return OVERHEAD + int(buffer[at + _LENGTH_AT])


def frame_at(buffer: "bytes | bytearray", at: int) -> Frame:
    """The frame at `at`, which `fault_at` found whole."""
    address = f"{int.from_bytes(buffer[at + 2 : at + 9], 'little'):014X}"
    stop = at + frame_size(buffer, at) - 2
    return Frame(buffer[at + 1], address, buffer[at + 9], bytes(buffer[at + _DATA_AT : stop]))


def decode_frame(data: bytes) -> Frame:
    """Exactly one frame with any number of FE in front; FrameError names the first fault."""
    at = 0
    while at < len(data) and data[at] == PREAMBLE:
        at += 1
    fault = fault_at(data, at)
    if fault:
        raise FrameError(fault)
    rest = len(data) - at - frame_size(data, at)
    if rest:
        raise FrameError("trailing", f"{rest} bytes behind the frame")
    return frame_at(data, at)


def _address_bytes(address: str) -> bytes:
    """Seven wire bytes, low byte first."""
    if len(address) != 14 or any(digit not in "0123456789A" for digit in address):
        raise FrameError("address", repr(address) + " is not 14 digits")
    return bytes(reversed(bytes.fromhex(address)))
