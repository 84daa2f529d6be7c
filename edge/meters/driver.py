"""What every driver offers: how one meter is read over its line, one exchange at a time.

A driver's work is a generator: it yields after every exchange, so that the line's worker can put an
order in between. A request without a good answer is repeated; what a meter says it does not have is
dropped from the schedule, or is asked for by an order.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge.line.budget import Cost
from edge.line.line import Line
from edge.meters.control import Control
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


def groups_of(settings: dict[str, Any]) -> dict[str, tuple[str, ...] | None]:
    """The register groups of a meter's section: name -> quantities; None for all it has."""
    own = {"": settings["quantities"]}
    return own | {group["name"]: group["quantities"] for group in settings.get("groups", ())}


class Driver(Protocol):
    """How one meter is read."""

    meter_id: str
    address: str
    edition: int  # of DL/T 645; 0 while it is not known, or where there is none
    counters: MeterCounters
    unsupported: set[str]
    control: Control | None  # None: it is only read

    def sweep(self, line: Line, retries: int, group: str = "") -> Reads:
        """Reads what a register group holds, "" being the meter's own. LineError when the meter
        does not answer at all."""

    def read(self, line: Line, obis: Obis, retries: int) -> Reads:
        """Reads one quantity now. UnsupportedError when there is no way to ask this meter for
        it."""

    def costs(self, group: str = "") -> list[Cost]:
        """The exchanges of a sweep of the group, as far as the protocol tells them."""
