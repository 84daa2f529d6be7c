"""Reads one quantity of one meter now, for a person: a Job of `edge/collect/jobs`.

It goes before polls and after orders. What it gives is shown, and neither journaled nor sent.
"""

import logging
import threading
from collections.abc import Generator
from typing import Any

from edge.clock import Clock
from edge.collect.jobs import Priority, Steps
from edge.line.line import Line, TooLateError
from edge.meters.driver import Driver
from edge.timekeeping import Moment
from protocols.errors import BusbarError, LineError, RefusedError
from protocols.obis import Obis
from protocols.readings import TIME_QUALITY_NAMES, Reading

log = logging.getLogger("edge.local")


class ReadJob:
    """`done` is set when `result` is there: what a person sees. A cancelled one sends nothing
    more."""

    priority = Priority.ON_DEMAND

    def __init__(self, meter_id: str, obis: Obis, clock: Clock) -> None:
        self.meter_id = meter_id
        self.recording: list[tuple[str, int, bytes]] = []
        self.may_send = self._is_wanted
        self.done = threading.Event()
        self.result: dict[str, Any] = {}
        self._obis = obis
        self._clock = clock
        self._cancelled = False

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._cancelled = True

    def steps(self, line: Line, driver: Driver, retries: int) -> Steps:
        """Sets the result, whatever comes."""
        problem = "the line's worker stopped"
        readings: tuple[Reading, ...] = ()
        moment = self._clock.moment()
        try:
            problem, readings = yield from self._read(line, driver, retries)
        finally:
            self._finish(moment, problem, readings)

    def drop(self, reason: str) -> None:
        """It will never be carried out."""
        self._finish(self._clock.moment(), reason, ())

    def _finish(self, moment: Moment, problem: str, readings: tuple[Reading, ...]) -> None:
        self.result = {
            "meter": self.meter_id,
            "obis": self._obis.text(),
            "read_at": moment.utc_ms,
            "quality": TIME_QUALITY_NAMES[moment.quality],
            "problem": problem,
            "readings": [reading.described() for reading in readings],
            "frames": [[way, at_ms, data.hex()] for way, at_ms, data in self.recording],
        }
        self.done.set()

    def _is_wanted(self) -> bool:
        return not self._cancelled

    def _read(
        self, line: Line, driver: Driver, retries: int
    ) -> Generator[None, None, tuple[str, tuple[Reading, ...]]]:
        if self._cancelled:
            return "nobody waits for it", ()
        try:
            readings = tuple((yield from driver.read(line, self._obis, retries)))
        except RefusedError as error:
            return f"the meter refuses: {error}", ()
        except TooLateError:
            return "nobody waits for it", ()
        except LineError as error:
            return str(error), ()
        except BusbarError as error:
            return f"the answer is no value: {error}", ()
        except Exception as error:
            log.exception("read_failed meter=%s", self.meter_id)
            return f"a fault of the gateway: {type(error).__name__}", ()
        return ("", readings) if readings else ("the meter has no value for it", ())
