"""What one talker sends over a line, and what becomes of it where another one talks too."""

import random
from dataclasses import dataclass, field

from hil.line_rate import byte_s
from hil.station import Station


@dataclass
class Transmission:
    """Bytes of one talker from `start_s` on, one every `step_s` (0: all at once); None as source is
    the agent."""

    source: Station | None
    start_s: float
    data: bytearray
    baud: int
    step_s: float
    written: int = 0  # of them, to the agent
    shared: set[int] = field(default_factory=set)  # bytes that the agent hears from another

    @property
    def end_s(self) -> float:
        """When its last byte is over."""
        return self.start_s + len(self.data) * self.step_s


def transmission(
    source: Station | None, start_s: float, data: bytes, baud: int, is_paced: bool
) -> Transmission:
    """What a talker at `baud` sends; without wire time on a line that is not paced."""
    return Transmission(source, start_s, bytearray(data), baud, byte_s(baud) if is_paced else 0.0)


def collide(one: Transmission, two: Transmission, rng: random.Random, is_shared: bool) -> bool:
    """Whether they overlap, `two` the later; bytes that do, and differ, are destroyed in both.
    `is_shared`: the agent hears both, so each byte only once."""
    if one.step_s != two.step_s:
        return one.start_s < two.end_s and two.start_s < one.end_s  # noise to each other anyway
    if one.step_s:
        offset = round((two.start_s - one.start_s) / one.step_s)
    elif one.start_s == two.start_s:
        offset = 0
    else:
        return False
    overlap = range(max(0, offset), min(len(one.data), offset + len(two.data)))
    for index in overlap:
        if one.data[index] != two.data[index - offset]:
            one.data[index] = two.data[index - offset] = rng.randrange(256)
        if is_shared:
            two.shared.add(index - offset)
    return len(overlap) > 0
