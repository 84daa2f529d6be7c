"""The DL/T 645 frame: 68 A0..A5 68 C L DATA CS 16.

Rules (DL/T 645-2007 clause 5, as far as public sources agree):

* The address is six bytes, low byte first; here always 12 digits in reading order.
* DATA travels with 33h added to each byte modulo 256; here always with the offset removed.
* CS is the sum modulo 256 of every byte from the first 68 to the last data byte, as sent.
* A sender may put FE bytes in front; they are outside the checksum. A receiver takes any number.
* 68, 16 and FE inside a frame are legal: parse by position and length, never by search.
"""

from collections import namedtuple

from protocols.errors import FrameError

START = 0x68
END = 0x16
PREAMBLE = 0xFE
OFFSET = 0x33
OVERHEAD = 12  # bytes of a frame without data
DATA_SIZE_MAX = 255  # what L can say; the standard's own limits (200, 50) are broken in the field
FRAME_SIZE_MAX = OVERHEAD + DATA_SIZE_MAX
PREAMBLE_SIZE = 4  # what a master sends; meters need it to wake their receiver

BROADCAST = "999999999999"
ANY_ADDRESS = "AAAAAAAAAAAA"

REPLY_BIT = 0x80
ABNORMAL_BIT = 0x40
MORE_BIT = 0x20
FUNCTION_MASK = 0x1F


_PLUS = [(byte + OFFSET) & 0xFF for byte in range(256)]
_MINUS = [(byte - OFFSET) & 0xFF for byte in range(256)]


class Frame(namedtuple("Frame", ("address", "control", "data"))):
    """One frame: 12-digit address in reading order, control byte, data without the 33h offset."""

    @property
    def function(self) -> int:
        """D4..D0."""
        return self.control & FUNCTION_MASK

    @property
    def is_reply(self) -> bool:
        """D7: sent by a meter."""
        return bool(self.control & REPLY_BIT)

    @property
    def is_abnormal(self) -> bool:
        """D6: the meter refuses; data is the error byte."""
        return bool(self.control & ABNORMAL_BIT)

    @property
    def has_more(self) -> bool:
        """D5: further parts must be asked for."""
        return bool(self.control & MORE_BIT)

    def to_bytes(self, preamble: int = 0) -> bytes:
        """The wire form behind `preamble` FE bytes; FrameError when a part does not fit."""
        if len(self.data) > DATA_SIZE_MAX or not 0 <= self.control <= 255:
            raise FrameError("length", f"{len(self.data)} data bytes")
        body = bytearray((START,))
        body.extend(address_bytes(self.address))
        body.extend(bytes((START, self.control, len(self.data))))
        body.extend(bytes([_PLUS[byte] for byte in self.data]))
        body.extend(bytes((sum(body) & 0xFF, END)))
        return bytes([PREAMBLE] * preamble) + bytes(body)


def address_bytes(address: str) -> bytes:
    """Six wire bytes, low byte first; digits, or A pairs for wildcards."""
    if len(address) != 12 or any(digit not in "0123456789A" for digit in address):
        raise FrameError("address", repr(address) + " is not 12 digits")
    return bytes(reversed(bytes.fromhex(address)))


def is_meter_address(address: object) -> bool:
    """Whether `address` names exactly one meter: 12 decimal digits and not the broadcast."""
    return (
        isinstance(address, str)
        and len(address) == 12
        and all(digit in "0123456789" for digit in address)
        and address != BROADCAST
    )


def fault_at(buffer: "bytes | bytearray", at: int) -> str:
    """What keeps a frame from standing at `at`: "" for a whole frame, "truncated" for more bytes
    needed, else start1, start2, checksum or end. Reads at most FRAME_SIZE_MAX bytes."""
    size = len(buffer) - at
    if size < 1:
        return "truncated"
    if buffer[at] != START:
        return "start1"
    if size > 7 and buffer[at + 7] != START:
        return "start2"
    if size < 10:
        return "truncated"
    stop = at + OVERHEAD + buffer[at + 9]
    if len(buffer) < stop:
        return "truncated"
    if sum(buffer[at : stop - 2]) & 0xFF != buffer[stop - 2]:
        return "checksum"
    return "" if buffer[stop - 1] == END else "end"


def frame_size(buffer: "bytes | bytearray", at: int) -> int:
    """Bytes of the frame at `at`, which `fault_at` found whole."""
    return OVERHEAD + int(buffer[at + 9])


def frame_at(buffer: "bytes | bytearray", at: int) -> Frame:
    """The frame at `at`, which `fault_at` found whole."""
    length = buffer[at + 9]
    address = f"{int.from_bytes(buffer[at + 1 : at + 7], 'little'):012X}"
    data = bytes([_MINUS[byte] for byte in buffer[at + 10 : at + 10 + length]])
    return Frame(address, buffer[at + 8], data)


def decode_frame(data: bytes) -> Frame:
    """Exactly one frame with any number of FE in front; FrameError names the first fault."""
    at = 0
    while at < len(data) and data[at] == PREAMBLE:
        at += 1
    fault = fault_at(data, at)
    if fault:
        raise FrameError(fault)
    if at + frame_size(data, at) != len(data):
        raise FrameError(
            "trailing", f"{len(data) - at - frame_size(data, at)} bytes behind the frame"
        )
    return frame_at(data, at)
