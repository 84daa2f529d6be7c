"""The gateway as it is delivered, which also writes down when what happened to its orders.

    python -m tests.bench.stamped_gateway EDGE.toml STAMPS.json

Only the doors are watched: a message of the broker comes in, a job is offered to a line, an
exchange begins and ends, bytes were handed to the port. Every line gets catch-up work without end,
each eighth job of it for a silent meter. At the end the stamps are written: a list of [what,
CLOCK_MONOTONIC s, line, detail].
"""

import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from edge import __main__ as program
from edge import agent as _  # noqa: F401  # all of it is there before something of it is replaced
from edge.collect.jobs import Priority, Steps
from edge.collect.poller import LineWorker
from edge.collect.watch import MeterWatch
from edge.line.line import Line
from edge.line.port import SerialPort
from edge.meters.driver import Driver
from edge.sync import transport
from edge.timekeeping import Moment
from protocols.errors import BusbarError
from protocols.obis import Obis
from protocols.topics import ORDERS

ARRIVED, OFFERED, BEGUN, ENDED, WRITTEN = "arrived", "offered", "begun", "ended", "written"
CATCH_UP_QUANTITY = "1-0:2.8.0"
SILENT_NAME = "silent"  # how the id of a meter starts that is not there
SILENT_EVERY = 8

_stamps: list[tuple[str, float, str, str]] = []


def _stamp(what: str, line: str, detail: str = "") -> None:
    _stamps.append((what, time.monotonic(), line, detail))


class _CatchUp:
    """A read of least priority: a Job. Of a silent meter too, whatever its pause."""

    priority = Priority.CATCH_UP
    recording = None
    may_send = None

    def __init__(self, meter_id: str) -> None:
        self.meter_id = meter_id

    def steps(self, line: Line, driver: Driver, retries: int) -> Steps:
        """One value, which nobody wants."""
        del retries
        try:
            yield from driver.read(line, Obis.from_text(CATCH_UP_QUANTITY), 0)
        except BusbarError:
            return


class _Endless:
    """Catch-up work of a line: a Background."""

    def __init__(self, watches: dict[str, MeterWatch]) -> None:
        self._silent = [one for one in watches if one.startswith(SILENT_NAME)]
        self._others = [one for one in watches if one not in self._silent]
        self._jobs = 0

    def next_job(self, now: Moment) -> _CatchUp:
        """The meters in turn."""
        del now
        self._jobs += 1
        turn, rest = divmod(self._jobs, SILENT_EVERY)
        meters, at = (self._others, self._jobs) if rest else (self._silent, turn)
        return _CatchUp(meters[at % len(meters)])


def _watch(owner: Any, name: str, line_of: Callable[..., str], *stamps: str) -> None:
    """Stamps calls of a method: before them, and where there is a second name, behind them too."""
    inner = getattr(owner, name)

    @wraps(inner)
    def outer(self: Any, *arguments: Any) -> Any:
        _stamp(stamps[0], line_of(self))
        try:
            return inner(self, *arguments)
        finally:
            for late in stamps[1:]:
                _stamp(late, line_of(self))

    setattr(owner, name, outer)


def _watch_writes() -> None:
    inner = SerialPort.write

    def write(self: SerialPort, data: bytes) -> None:
        inner(self, data)
        _stamp(WRITTEN, "", data.hex())

    SerialPort.write = write  # type: ignore[method-assign]


def _watch_arrivals() -> None:
    inner = transport.Arrived

    def arrived(topic: str, *rest: Any) -> transport.Arrived:
        if topic.endswith(ORDERS):
            _stamp(ARRIVED, "")
        return inner(topic, *rest)

    # Whoever asks what is an Arrived has imported the class by now, and still knows it.
    transport.Arrived = arrived  # type: ignore[assignment,misc]


def _keep_busy() -> None:
    inner = LineWorker.start

    def start(self: LineWorker, *arguments: Any) -> None:
        self.background.append(_Endless(self.watches))
        inner(self, *arguments)

    LineWorker.start = start  # type: ignore[method-assign, assignment]


def main(config: str, stamps: str) -> int:
    """`busbar-edge run`, watched."""
    _watch(Line, "converse", lambda line: line.line_id, BEGUN, ENDED)
    _watch(LineWorker, "offer", lambda worker: worker.line.line_id, OFFERED)
    _watch_writes()
    _watch_arrivals()
    _keep_busy()
    try:
        return program.main(["run", "--config", config])
    finally:
        Path(stamps).write_text(json.dumps(_stamps))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
