"""One line's worker: polls what is due, and lets an order in after the exchange that is in flight.

* A meter that does not answer costs its line one probe per pause, and the pause grows: the others
  keep their periods. It is read as before from its first answer on.
* Only what was read is handed on: a refused, missing or damaged value is a counter, never a number.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

from edge.clock import Clock
from edge.collect.schedule import Schedule
from edge.line.line import Line
from edge.line.port import PortLostError
from edge.meters.driver import Driver
from protocols.errors import BusbarError, LineError
from protocols.readings import Reading, ReadingSet

ORDERS_MAX = 64  # that wait for one line
PAUSE_MS_FIRST = 10_000  # before a meter that fell silent is probed again
PAUSE_MS_MAX = 600_000
_WAIT_MS_MAX = 1_000  # so that a clock jump is seen within a second

log = logging.getLogger("edge.collect")


class Job(Protocol):
    """Something to do for one meter between two polls."""

    meter_id: str

    def run(self, line: Line, driver: Driver, retries: int) -> None:
        """Does it, and reports by itself; must not raise."""


class MeterWatch:
    """How one meter does: its last readings, and the pause while it is silent."""

    def __init__(self, settings: dict[str, Any], driver: Driver) -> None:
        self.driver = driver
        self.line_id: str = settings["line"]
        self.protocol: str = settings["protocol"]
        self.period_s: int = settings["period_s"]
        self.readings: tuple[Reading, ...] = ()
        self.read_at = 0
        self.sweeps = 0
        self.sweep_ms = 0
        self.failures = 0  # in a row
        self.last_error = ""
        self.paused_until = 0

    def note_failure(self, error: BusbarError, boot_ms: int) -> None:
        """One sweep without an answer."""
        pause = min(PAUSE_MS_FIRST << min(self.failures, 16), PAUSE_MS_MAX)
        self.failures += 1
        self.last_error = str(error)
        self.paused_until = boot_ms + min(
            pause, max(self.period_s * 1000, PAUSE_MS_FIRST) * self.failures
        )

    def note_sweep(self, readings: tuple[Reading, ...], read_at: int, sweep_ms: int) -> None:
        """One sweep that was answered."""
        self.readings, self.read_at, self.sweep_ms = readings, read_at, sweep_ms
        self.sweeps += 1
        self.failures = 0
        self.last_error = ""
        self.paused_until = 0


class LineWorker:
    """The thread of one line."""

    def __init__(
        self,
        line: Line,
        retries: int,
        watches: dict[str, MeterWatch],
        clock: Clock,
        submit: Callable[[ReadingSet], None],
    ) -> None:
        self.line = line
        self.watches = watches
        self.schedule = Schedule({name: watch.period_s * 1000 for name, watch in watches.items()})
        self.progress_at = 0  # boot ms of the last turn, for the watchdog
        self._retries = retries
        self._clock = clock
        self._submit = submit
        self._jobs: queue.Queue[Job | None] = queue.Queue(ORDERS_MAX)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"line-{line.line_id}")

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the exchange in flight, and closes the port."""
        self._stopping.set()
        self.wake()
        self._thread.join()
        self.line.close()

    def wake(self) -> None:
        """Ends a wait."""
        with contextlib.suppress(queue.Full):  # then it is awake
            self._jobs.put_nowait(None)

    def offer(self, job: Job) -> bool:
        """Queues a job before all waiting polls; False when too many wait."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
            except Exception:
                # A fault of ours in one sweep must not silence a whole line of meters.
                log.exception("turn_failed line=%s", self.line.line_id)
                self._stopping.wait(1)

    def turn(self) -> None:
        """One step: an order, or a sweep that is due, or a short wait for either."""
        self.progress_at = self._clock.boot_ms()
        self._run_jobs()
        if self._stopping.is_set():
            return
        due = self.schedule.due(self._clock.utc_ms(), self._clock.boot_ms())
        if due:
            self._sweep(due[0])
            return
        wait_ms = min(self.schedule.next_in_ms(self._clock.utc_ms()), _WAIT_MS_MAX)
        try:
            job = self._jobs.get(timeout=wait_ms / 1000)
        except queue.Empty:
            return
        if job is not None:
            self._run_job(job)

    def _run_jobs(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                self._run_job(job)

    def _run_job(self, job: Job) -> None:
        job.run(self.line, self.watches[job.meter_id].driver, self._retries)

    def _sweep(self, name: str) -> None:
        watch = self.watches[name]
        read_at, boot_at = self._clock.utc_ms(), self._clock.boot_ms()
        quality = self._clock.quality()
        self.schedule.take(name, read_at)
        if boot_at < watch.paused_until:
            return
        retries = 0 if watch.failures else self._retries
        try:
            readings = tuple(self._drive(watch.driver, retries))
        except PortLostError as error:
            watch.last_error = str(error)  # the line's trouble: no meter pauses for it
            return
        except LineError as error:
            watch.note_failure(error, self._clock.boot_ms())
            if watch.failures == 1:
                log.warning(
                    "meter_silenced line=%s meter=%s reason=%r", self.line.line_id, name, str(error)
                )
            return
        if watch.failures:
            log.info("meter_answered line=%s meter=%s", self.line.line_id, name)
        watch.note_sweep(readings, read_at, self._clock.boot_ms() - boot_at)
        if readings:
            # A clock that starts at 1970 may lag behind the boot; the head end refuses such a pair.
            read_at = max(read_at, boot_at)
            self._submit(ReadingSet(name, read_at, boot_at, self._clock.boot_id, quality, readings))

    def _drive(self, driver: Driver, retries: int) -> list[Reading]:
        steps = driver.sweep(self.line, retries)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                readings: list[Reading] = end.value
                return readings
            if self._stopping.is_set():
                steps.close()
                return []
            self._run_jobs()
