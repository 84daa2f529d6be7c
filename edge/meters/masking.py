"""Frames as evidence, without the passwords in them.

Blanked with 00, which no byte of a password can be on the wire: its digits, and its checksum, which
would narrow the password down. What came back to a request with a password is kept as far as it is
a good reply; an adapter's echo, or what noise left of one, is blanked too.
"""

from protocols.dlt645.controls import Function
from protocols.dlt645.credentials import LEVEL_MAX
from protocols.dlt645.frame import (
    OVERHEAD,
    PREAMBLE,
    REPLY_BIT,
    Frame,
    fault_at,
    frame_at,
)

_BLANK = 0
_DATA_AT = 10  # bytes of a frame in front of its data
_LEVELS_AT = {  # where the level stands in the data; three bytes of password follow
    Function.WRITE: 4,
    Function.CLEAR_DEMAND: 0,
    Function.CLEAR_METER: 0,
    Function.CLEAR_EVENTS: 0,
    Function.RELAY: 0,
}


def mask_passwords(frames: list[tuple[str, int, bytes]]) -> int:
    """Blanks them in place; in how many requests. [(">" or "<", ms, bytes), ...]."""
    count = 0
    is_secret = False
    for n, (way, at_ms, data) in enumerate(frames):
        if way == ">":
            masked = _masked(data)
            is_secret = masked != data
            count += is_secret
            frames[n] = (way, at_ms, masked)
        elif is_secret:
            frames[n] = (way, at_ms, _replies_of(data))
    return count


def _masked(wire: bytes) -> bytes:
    """A request without its password, as long as it was."""
    start = len(wire) - len(wire.lstrip(bytes((PREAMBLE,))))
    if fault_at(wire, start):
        return wire
    frame: Frame = frame_at(wire, start)
    level_at = _LEVELS_AT.get(frame.control)
    if level_at is None or len(frame.data) < level_at + 4 or frame.data[level_at] > LEVEL_MAX:
        return wire  # the secured forms carry no password
    out = bytearray(wire)
    first = start + _DATA_AT + level_at + 1
    out[first : first + 3] = bytes((_BLANK,)) * 3
    out[start + _DATA_AT + len(frame.data)] = _BLANK
    return bytes(out)


def _replies_of(heard: bytes) -> bytes:
    """What was heard, with everything blanked that is neither a good reply nor its preamble."""
    out = bytearray(byte if byte == PREAMBLE else _BLANK for byte in heard)
    at = 0
    while at < len(heard):
        if not fault_at(heard, at):
            frame: Frame = frame_at(heard, at)
            size = OVERHEAD + len(frame.data)
            if frame.control & REPLY_BIT:
                out[at : at + size] = heard[at : at + size]
            at += size
        else:
            at += 1
    return bytes(out)
