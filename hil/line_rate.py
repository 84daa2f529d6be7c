"""Talkers of different rates on one line: what a byte takes, and what another rate makes of it.

A UART samples at its own rate, so a frame sent at another one is noise to it: about as many bytes
as the frame lasts, of no meaning. Which ones depends on levels and phases that no line here has;
they are random.
"""

import random
import termios

BITS_PER_BYTE = 11  # start, 8 data, even parity, stop
_BAUD_BY_SPEED = {
    getattr(termios, f"B{baud}"): baud
    for baud in (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
}


def byte_s(baud: int) -> float:
    """Seconds of one byte at `baud`."""
    return BITS_PER_BYTE / baud


def tty_baud(descriptor: int, otherwise: int) -> int:
    """The rate that a tty is set to; `otherwise` when it is none that a line knows."""
    speed = termios.tcgetattr(descriptor)[4]
    return _BAUD_BY_SPEED.get(speed, otherwise)


def heard_at(data: bytes, sent_baud: int, heard_baud: int, rng: random.Random) -> bytes:
    """What a UART at `heard_baud` makes of `data` sent at `sent_baud`."""
    if sent_baud == heard_baud or not data:
        return data
    return rng.randbytes(max(1, len(data) * heard_baud // sent_baud))
