"""A capture of a line: hex as people paste it, and the frames in it.

* Frames are taken by position and length, never by a search for an end byte. A false start costs
  one byte, so a frame that begins inside damaged bytes is still found.
* What looks like a frame and is damaged is named for its first fault, but only on good evidence:
  two start bytes seven apart, or one start byte wrong and all the rest right. Else it is noise.
* Good frames come first: a damaged one never hides a good one.
* DL/T 645 and CJ/T 188 both begin with 68. Only DL/T 645 has another one seven bytes on, and it is
  tried first; a damaged CJ/T 188 frame is named only in a capture without any other frame.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from protocols.cjt188 import frame as cjt188
from protocols.dlt645.frame import (
    END,
    OVERHEAD,
    PREAMBLE,
    START,
    Frame,
    fault_at,
    frame_at,
    frame_size,
)
from protocols.errors import SettingError
from provisioning.cjt188_frames import damaged_at, damaged_frame
from provisioning.modbus_frames import ModbusFrame, find, find_damaged

CAPTURE_SIZE_MAX = 1 << 20  # bytes; over an hour of a full line at 2400 bit/s
TEXT_SIZE_MAX = 6 * CAPTURE_SIZE_MAX  # characters: "0x68, " a byte
NOISE = "noise"
_SECOND_START = 7  # position in a frame
_SEPARATORS = re.compile(r"[\s,;:\-]+")
_PREFIX = re.compile(r"0[xX]|\\x")


class Piece(NamedTuple):
    """One frame at `offset`; `fault` is "" for a good one. A damaged one has as much of its frame
    as can be made out, maybe None."""

    offset: int
    size: int
    fault: str
    frame: Frame | cjt188.Frame | ModbusFrame | None


class Suspect(NamedTuple):
    """A place where a frame should begin and has a fault."""

    offset: int
    fault: str


def parse_hex(text: str) -> bytes:
    """The bytes that a text shows; SettingError with one sentence when it is not hex."""
    if len(text) > TEXT_SIZE_MAX:
        raise SettingError(f"the capture is too long: at most {CAPTURE_SIZE_MAX} bytes are allowed")
    out = bytearray()
    for number, token in enumerate(filter(None, _SEPARATORS.split(text)), 1):
        digits = _PREFIX.sub("", token)
        if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits):
            raise SettingError(
                f"the capture is not hex at its piece {number}, {_fault_in(digits)}: allowed are "
                "pairs of 0-9 and A-F, with or without 0x, spaces, line ends, commas, colons and "
                "dashes"
            )
        out += bytes.fromhex(digits)
    if not out:
        raise SettingError("the capture is empty: give the bytes of a line in hex")
    if len(out) > CAPTURE_SIZE_MAX:
        raise SettingError(f"the capture is too long: at most {CAPTURE_SIZE_MAX} bytes are allowed")
    return bytes(out)


def _fault_in(digits: str) -> str:
    """What is wrong with a piece, without repeating its digits: they may be of a password."""
    for place, character in enumerate(digits, 1):
        if character not in "0123456789ABCDEFabcdef":
            return f"which has {character!r} at place {place}"
    return f"which has {len(digits)} hex digit{'' if len(digits) == 1 else 's'}"


def split(data: bytes) -> list[Piece]:
    """The frames of a capture in their order; without a single one, one piece says why."""
    good, suspects = _scan(data)
    damaged = _damaged(data, good, suspects)
    pieces = sorted(good + damaged, key=lambda piece: piece.offset)
    return pieces or [_nothing(data, suspects)]


def preamble_before(data: bytes, at: int, floor: int) -> int:
    """FE bytes right in front of `at`, not counting before `floor`."""
    start = at
    while start > floor and data[start - 1] == PREAMBLE:
        start -= 1
    return at - start


def _scan(data: bytes) -> tuple[list[Piece], list[Suspect]]:
    good: list[Piece] = []
    suspects: list[Suspect] = []
    asked: ModbusFrame | None = None
    at = 0
    while at < len(data):
        fault = fault_at(data, at)
        if not fault:
            good.append(Piece(at, frame_size(data, at), "", frame_at(data, at)))
            at += good[-1].size
            continue
        if fault != "start1" and not cjt188.fault_at(data, at):
            size = cjt188.frame_size(data, at)
            good.append(Piece(at, size, "", cjt188.frame_at(data, at)))
            at += size
            continue
        modbus = find(data, at, asked)
        if modbus is not None:
            good.append(Piece(at, modbus.size, "", modbus))
            asked = modbus if modbus.direction == "request" else None
            at += modbus.size
            continue
        if fault != "start1" or _fits_but_start(data, at):
            suspects.append(Suspect(at, fault))
        at += 1
    return good, suspects


def _damaged(data: bytes, good: Sequence[Piece], suspects: Sequence[Suspect]) -> list[Piece]:
    damaged: list[Piece] = []
    covered = 0
    following = iter([*good, Piece(len(data), 0, "", None)])
    limit = next(following)
    for suspect in suspects:
        while limit.offset <= suspect.offset:
            limit = next(following)
        # What begins inside a damaged frame is its content, not a frame of its own.
        if suspect.offset < covered or not _is_frame(data, suspect, limit.offset):
            continue
        end = _end(data, suspect.offset, limit.offset)
        frame = _rest_of_frame(data[suspect.offset : end])
        damaged.append(Piece(suspect.offset, end - suspect.offset, suspect.fault, frame))
        covered = end
    return damaged


def _is_frame(data: bytes, suspect: Suspect, limit: int) -> bool:
    at, fault = suspect
    if at + _SECOND_START < limit:
        return fault != "start2" or _fits_but_start(data, at)
    return fault == "truncated" and limit == len(data) and at > 0 and data[at - 1] == PREAMBLE


def _fits_but_start(data: bytes, at: int) -> bool:
    """Whether length, checksum and end fit a frame at `at` of which one start byte is wrong."""
    if len(data) - at < OVERHEAD:
        return False
    if (data[at] == START) == (data[at + _SECOND_START] == START):
        return False
    stop = at + OVERHEAD + data[at + 9]
    if stop > len(data) or data[stop - 1] != END:
        return False
    total = sum(data[at : stop - 2]) - data[at] - data[at + _SECOND_START] + 2 * START
    return total & 0xFF == data[stop - 2]


def _end(data: bytes, at: int, limit: int) -> int:
    """Where the damaged frame at `at` ends: where it says, or where the next good one begins."""
    if limit < len(data):
        limit -= preamble_before(data, limit, at + 1)
    return min(at + OVERHEAD + data[at + 9], limit) if at + 9 < limit else limit


def _rest_of_frame(part: bytes) -> Frame | None:
    """As much of a damaged frame as it can hold; None without its control byte."""
    if len(part) < 9:
        return None
    size = part[9] if len(part) > 9 else 0
    whole = part[:9] + bytes((min(size, max(len(part) - 10, 0)),)) + part[10:]
    return frame_at(whole, 0)


def _nothing(data: bytes, suspects: Sequence[Suspect]) -> Piece:
    """What to say of bytes without a single frame."""
    modbus = find_damaged(data) if data[0] != START else None
    if modbus is not None:
        return Piece(0, len(data), "checksum", modbus)
    for suspect in suspects:
        fault = damaged_at(data, suspect.offset)
        if fault:
            frame = damaged_frame(data, suspect.offset)
            return Piece(suspect.offset, len(data) - suspect.offset, fault, frame)
    if suspects:
        first = suspects[0]
        rest = data[first.offset :]
        known = _rest_of_frame(rest) if first.fault == "truncated" else None
        return Piece(first.offset, len(rest), first.fault, known)
    return Piece(0, len(data), NOISE, None)
