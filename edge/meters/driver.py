"""What every driver offers: how one meter is read over its line, one exchange at a time.

A driver's work is a generator: it yields after every exchange, so that the line's worker can put an
order in between. A request without a good answer is repeated; what a meter says it does not have is
dropped from the schedule, or is asked for by an order.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Protocol

from edge.line.line import Line
from protocols.obis import Obis
from protocols.readings import Reading

Reads = Generator[None, None, list[Reading]]


@dataclass
class MeterCounters:
    """What happened with one meter since the agent started."""

    exchanges: int = 0
    retries: int = 0
    silences: int = 0
    refusals: int = 0
    bad_values: int = 0
    strays: int = 0
    exceptions: dict[str, int] = field(default_factory=dict)  # refusals of a Modbus unit, by name


class Driver(Protocol):
    """How one meter is read."""

    meter_id: str
    address: str
    counters: MeterCounters
    unsupported: set[str]

    def sweep(self, line: Line, retries: int) -> Reads:
        """Reads what is scheduled. LineError when the meter does not answer at all."""

    def read(self, line: Line, obis: Obis, retries: int) -> Reads:
        """Reads one quantity now. UnsupportedError when there is no way to ask this meter for
        it."""

    def estimate_s(self, character_s: float) -> float:
        """Seconds that a sweep takes on a line with this character time."""
