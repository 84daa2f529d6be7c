"""The workers of all lines: built, started, stopped, and exchanged one by one while the others run.

* What replaces a worker is built before the old one stops, so a line stands still for no longer
  than the exchange in flight.
* A slot that the old worker has handed on is known to the new one, also before its commit: nothing
  is read twice. What the old one had begun and not finished is due again: nothing is lost.
* Jobs that waited at the old worker wait at the new one; those whose meter is gone are dropped.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

from edge.collect.jobs import Job
from edge.collect.poller import LineWorker
from edge.settings import Settings
from protocols.modbus.model import Model

REBUILT = "its line was configured anew"  # why a slot was missed meanwhile

Build = Callable[[dict[str, Any], Settings, dict[str, Model]], LineWorker]


@runtime_checkable
class Droppable(Protocol):
    """A job that somebody waits for."""

    def drop(self, reason: str) -> None:
        """It will never be carried out."""


class Lines:
    """`build` makes the worker of a [[line]] section; `slots` tells task -> last slot (UTC ms) that
    is in the journal."""

    def __init__(self, build: Build, slots: Callable[[], dict[str, int]]) -> None:
        self.workers: dict[str, LineWorker] = {}  # replaced as a whole, never changed
        self._build = build
        self._slots = slots
        self._line_of: dict[str, str] = {}
        self._lock = threading.Lock()

    def fill(self, settings: Settings, models: dict[str, Model]) -> None:
        """Builds all of them."""
        self.workers = {line["id"]: self._build(line, settings, models) for line in settings.lines}
        self._line_of = {meter["id"]: meter["line"] for meter in settings.meters}

    def start(self) -> None:
        """Starts all of them."""
        slots = self._slots()
        for worker in self.workers.values():
            worker.start(slots)

    def stop(self) -> None:
        """Ends all of them, each after the exchange in flight."""
        with self._lock:
            _stop(self.workers.values())

    def offer(self, meter_id: str, job: Job) -> bool:
        """To the line of a meter; False when too many jobs wait there, or the meter is not
        ours."""
        with self._lock:
            return self._offer(meter_id, job)

    def reachable(self) -> set[str]:
        """The meters that answered when they were asked last."""
        return {
            meter_id
            for worker in self.workers.values()
            for meter_id in worker.watches
            if worker.reaches(meter_id)
        }

    def expected(self) -> set[str]:
        """The meters that answered last, or were not asked yet."""
        return self.reachable() | {
            meter_id
            for worker in self.workers.values()
            for meter_id, watch in worker.watches.items()
            if not (watch.sweeps or watch.failures or watch.last_error)
        }

    def replace(
        self,
        leaving: Iterable[str],
        settings: Settings,
        models: dict[str, Model],
        meanwhile: Callable[[], None],
    ) -> None:
        """Ends the workers `leaving`, and starts one for each line of the settings that then has
        none. `meanwhile` is called in between."""
        kept = {name: worker for name, worker in self.workers.items() if name not in set(leaving)}
        fresh = {
            line["id"]: self._build(line, settings, models)
            for line in settings.lines
            if line["id"] not in kept
        }
        with self._lock:
            former = [worker for name, worker in self.workers.items() if name not in kept]
            _stop(former)
            slots = self._slots()
            for worker in former:
                slots |= worker.schedule.slots()
            meanwhile()
            self.workers = {
                line["id"]: kept.get(line["id"]) or fresh[line["id"]] for line in settings.lines
            }
            self._line_of = {meter["id"]: meter["line"] for meter in settings.meters}
            _inherit(former, fresh)
            for worker in former:
                for job in worker.waiting():
                    if not self._offer(job.meter_id, job) and isinstance(job, Droppable):
                        job.drop("the gateway's configuration changed before its turn")
            for worker in fresh.values():
                worker.start(slots, REBUILT)

    def _offer(self, meter_id: str, job: Job) -> bool:
        line_id = self._line_of.get(meter_id)
        return line_id is not None and self.workers[line_id].offer(job)


def _stop(workers: Iterable[LineWorker]) -> None:
    stopping = list(workers)
    for worker in stopping:
        worker.ask_stop()  # all at once: each may have an exchange in flight
    for worker in stopping:
        worker.stop()


def _inherit(former: list[LineWorker], fresh: dict[str, LineWorker]) -> None:
    """Who was down stays so until it answers: then its return is told."""
    down = {name for one in former for name, watch in one.watches.items() if watch.is_down}
    for worker in fresh.values():
        for name, watch in worker.watches.items():
            watch.is_down = name in down
    for worker in former:
        if worker.is_down and worker.line.line_id in fresh:
            fresh[worker.line.line_id].is_down = True
