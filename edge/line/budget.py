"""Line arithmetic: what an exchange costs, in characters and in waiting."""

from typing import NamedTuple

_START_AND_DATA_BITS = 9
TYPICAL_RESPONSE_S = 0.1  # between the standard's 20 and 500 ms; for estimates alone
TYPICAL_TCP_RESPONSE_S = 0.05  # a network's round trip and the meter's own delay


class Cost(NamedTuple):
    """One exchange: bytes with their preamble, characters of silence, seconds of waiting."""

    sent: int
    received: int
    silence_characters: float = 0.0
    response_s: float = TYPICAL_RESPONSE_S
    is_serial: bool = True  # else a network, whose wire takes no time that counts


def character_s(baud: int, parity: str, stop_bits: int) -> float:
    """Seconds that one character takes: start, 8 data, parity and stop bits."""
    return (_START_AND_DATA_BITS + (parity != "N") + stop_bits) / baud


def seconds(cost: Cost, character: float, turnaround_s: float = 0.0) -> float:
    """What an exchange takes on a line with this character time (s)."""
    if not cost.is_serial:
        return cost.response_s
    characters = cost.sent + cost.received + cost.silence_characters
    return characters * character + cost.response_s + turnaround_s


def load(sweeps: list[tuple[float, int]]) -> float:
    """Share of a line's time that its sweeps take, [(seconds of a sweep, period in ms), ...];
    above 1 the periods cannot be kept."""
    return sum(1000 * one_s / period_ms for one_s, period_ms in sweeps)
