"""What can go wrong with an answer on its way, as rules that a test or a world sets at run time.

* A rule says what happens, to whose answers, how often and how many times; the first rule that
  applies to an answer is the only one.
* Chance comes from the line's seeded generator: the same seed and traffic give the same faults.
* `applied` counts, so that a test can show that its fault really happened.

The echo of the master's own bytes is a property of the line, not a rule: an adapter echoes always.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pymodbus.framer.rtu import FramerRTU

from protocols.cjt188 import frame as cjt188
from protocols.dlt645.frame import PREAMBLE, Frame, decode_frame
from protocols.errors import CallerError, FrameError

Changed = tuple[float, bytes]  # seconds later than it would come, and the bytes


@dataclass
class Fault:
    """One rule; `station` is a meter's name on its line, "" for every one."""

    kind: str  # one of KINDS
    station: str = ""
    percent: int = 100  # of the answers that it could change
    count: int | None = None  # answers that it changes before it is spent; None: no end
    size: int = 3  # bytes of noise, bytes cut off, or bits flipped
    late_ms: int = 2000
    applied: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CallerError(f"fault kind {self.kind!r} is none of " + ", ".join(KINDS))


def apply_faults(
    faults: Sequence[Fault], station: str, reply: bytes, rng: random.Random
) -> Changed | None:
    """What becomes of `reply`: (extra delay in seconds, bytes), or None for silence."""
    for fault in faults:
        if fault.station not in ("", station) or (
            fault.count is not None and fault.applied >= fault.count
        ):
            continue
        if rng.randrange(100) < fault.percent:
            fault.applied += 1
            return _CHANGES[fault.kind](fault, rng, reply)
    return 0.0, reply


def _with_wrong_check(reply: bytes, rng: random.Random) -> bytes:
    # In both protocols the last byte but one is part of the check: CS before 16h, CRC low byte.
    return reply[:-2] + bytes((reply[-2] ^ rng.randrange(1, 256), reply[-1]))


def _from_neighbour(reply: bytes) -> bytes:
    """The same answer, well formed, from another address."""
    preamble = len(reply) - len(reply.lstrip(bytes((PREAMBLE,))))
    try:
        frame = decode_frame(reply)
    except FrameError:
        pass
    else:
        neighbour = f"{(int(frame.address) + 1) % 10**12:012d}"
        return Frame(neighbour, frame.control, frame.data).to_bytes(preamble)
    try:
        other = cjt188.decode_frame(reply)
    except FrameError:
        body = bytes((reply[0] % 247 + 1,)) + reply[1:-2]
        return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")
    neighbour = f"{(int(other.address) + 1) % 10**14:014d}"
    return cjt188.Frame(other.meter_type, neighbour, other.control, other.data).to_bytes(preamble)


def _with_noise(reply: bytes, at: int, noise: bytes) -> bytes:
    return reply[:at] + noise + reply[at:]


def _with_flips(reply: bytes, rng: random.Random, count: int) -> bytes:
    """`count` different bits of the answer the other way round, as noise does it."""
    flipped = bytearray(reply)
    for bit in rng.sample(range(8 * len(reply)), min(count, 8 * len(reply))):
        flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def _with_strays(reply: bytes, rng: random.Random, count: int) -> bytes:
    """`count` bytes of FE and 00 around the answer: transceivers that turn leave them."""
    strays = bytes(rng.choice((0xFE, 0x00)) for _ in range(count))
    at = rng.randrange(count + 1)
    return strays[:at] + reply + strays[at:]


_CHANGES: dict[str, Callable[[Fault, random.Random, bytes], Changed | None]] = {
    "silent": lambda fault, rng, reply: None,
    "late": lambda fault, rng, reply: (fault.late_ms / 1000, reply),
    "truncate": lambda fault, rng, reply: (0.0, reply[: max(1, len(reply) - fault.size)]),
    "checksum": lambda fault, rng, reply: (0.0, _with_wrong_check(reply, rng)),
    "address": lambda fault, rng, reply: (0.0, _from_neighbour(reply)),
    "noise_before": lambda fault, rng, reply: (
        0.0,
        _with_noise(reply, 0, rng.randbytes(fault.size)),
    ),
    "noise_inside": lambda fault, rng, reply: (
        0.0,
        _with_noise(reply, len(reply) // 2, rng.randbytes(fault.size)),
    ),
    "flip": lambda fault, rng, reply: (0.0, _with_flips(reply, rng, fault.size)),
    "stray": lambda fault, rng, reply: (0.0, _with_strays(reply, rng, fault.size)),
    "noise_after": lambda fault, rng, reply: (
        0.0,
        _with_noise(reply, len(reply), rng.randbytes(fault.size)),
    ),
}
KINDS = tuple(_CHANGES)
