"""One line's worker: polls what is due, and lets in what is more urgent after each exchange.

* Orders go before on-demand reads, those before polls, and polls before catch-up work; but after
  CATCH_UP_EVERY exchanges of polls one of catch-up has its turn, so that it never starves.
* A meter that does not answer costs its line one probe per pause, and the pause grows: the others
  keep their periods. It is read as before from its first answer on, and its slot is due again as
  long as it lasts.
* Only what was read is handed on: a refused, missing or damaged value is a counter, never a number.
  A slot that nobody could read is told as missed, with the reason.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from edge.clock import Clock
from edge.collect.jobs import Background, Job, Priority, Steps, Waiting
from edge.collect.plausible import Verdict
from edge.collect.schedule import JUMP_MS, Missed, Schedule, Task
from edge.collect.watch import MeterWatch
from edge.events import Evidence, Tell
from edge.line.line import Line
from edge.line.port import PortLostError
from edge.meters.driver import Driver
from edge.timekeeping import Moment
from protocols.errors import LineError
from protocols.messages import EVIDENCE_FRAME_SIZE_MAX, EVIDENCE_MAX
from protocols.readings import Flag, Origin, Reading, ReadingSet, TimeQuality

ORDERS_MAX = 64  # that wait for one line
CATCH_UP_EVERY = 8  # exchanges of polls before one of catch-up has its turn
PORT_PAUSE_MS = 500  # between polls while the port is lost
_WAIT_MS_MAX = 1_000  # so that a clock jump is seen within a second
_REPEAT_S = 3_600

log = logging.getLogger("edge.collect")

Slot = tuple[str, int]  # task, UTC ms
OnMissed = Callable[[str, str, int, int, str], None]  # meter, task, first and last slot, reason


class Surroundings(NamedTuple):
    """What a worker needs of the rest of the gateway."""

    clock: Clock
    submit: Callable[[ReadingSet, Slot | None], None]  # to the journal; never blocks
    tell: Tell
    judge: Callable[[str, tuple[Reading, ...], int], Verdict]  # meter, readings, boot ms
    is_crowded: Callable[[], bool]  # the journal has no room for instantaneous values


class LineWorker:
    """The thread of one line. `background` may be filled until `start`."""

    def __init__(
        self,
        line: Line,
        watches: dict[str, MeterWatch],
        tasks: Iterable[Task],
        surroundings: Surroundings,
    ) -> None:
        self.line = line
        self.watches = watches
        self.background: list[Background] = []
        self.schedule = Schedule(tasks)
        self.progress_at = 0  # boot ms of the last turn, for the watchdog
        self.is_down = False
        self.on_missed: OnMissed | None = None  # who fills gaps
        self.on_stop: Callable[[], None] | None = None  # in the caller's thread, at the end
        self._around = surroundings
        self._clock = surroundings.clock
        self._jobs: queue.Queue[Job | None] = queue.Queue(ORDERS_MAX)
        self._waiting = Waiting()
        self._catch_up: tuple[Job, Steps] | None = None
        self._polled = 0  # exchanges since catch-up work had its turn
        self._is_port_lost = False
        self._paused_until = 0
        self._reasons: dict[str, str] = {}  # task -> why its last slot was not read
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"line-{line.line_id}")

    def start(
        self, last_slots: dict[str, int] | None = None, reason: str = "the gateway did not run"
    ) -> None:
        """Starts the thread. `last_slots`: task -> last slot that is in the journal (UTC ms);
        `reason`: why those after it were missed."""
        self.schedule = Schedule(self.schedule.tasks.values(), last_slots)
        self._reasons = dict.fromkeys(self.schedule.tasks, reason)
        self._thread.start()

    def ask_stop(self) -> None:
        """To end after the exchange in flight; `stop` waits for it."""
        self._stopping.set()
        self.wake()

    def stop(self) -> None:
        """Ends after the exchange in flight, and closes the port."""
        self.ask_stop()
        self._thread.join()
        self.line.close()
        if self.on_stop is not None:
            self.on_stop()

    def wake(self) -> None:
        """Ends a wait."""
        with contextlib.suppress(queue.Full):  # then it is awake
            self._jobs.put_nowait(None)

    def offer(self, job: Job) -> bool:
        """Queues a job by its priority; False when too many wait."""
        if len(self._waiting) >= ORDERS_MAX:
            return False
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def waiting(self) -> list[Job]:
        """The jobs that had no turn, once it has stopped; it has them no longer."""
        self._take_jobs()
        return self._waiting.pop_all()

    def reaches(self, meter_id: str) -> bool:
        """Whether the meter is worth asking: it answered when it was asked last."""
        watch = self.watches[meter_id]
        return not self._is_port_lost and not watch.failures and bool(watch.sweeps)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
            except Exception:
                # A fault of ours in one sweep must not silence a whole line of meters.
                log.exception("turn_failed line=%s", self.line.line_id)
                self._stopping.wait(1)
        self._waiting.close_parked()

    def turn(self) -> None:
        """One step: what is most urgent, or a short wait."""
        self.progress_at = self._clock.boot_ms()
        self._let_in(Priority.POLL)
        if self._stopping.is_set():
            return
        moment = self._clock.moment()  # what is due now begins now: UTC may move at any time
        utc_ms, boot_ms = moment.utc_ms, moment.boot_ms
        due = self.schedule.due(utc_ms, boot_ms, lambda task: self._may_poll(task, boot_ms))
        if due:
            self._carry_out(self._sweep(self.schedule.tasks[due[0]], moment))
        elif not self._advance_catch_up():
            self._wait(self.schedule.next_in_ms(utc_ms, boot_ms))

    def _wait(self, wait_ms: int) -> None:
        wait_ms = self._waiting.next_in_ms(self._clock.boot_ms(), min(wait_ms, _WAIT_MS_MAX))
        try:
            job = self._jobs.get(timeout=wait_ms / 1000)
        except queue.Empty:
            return
        if job is not None:
            self._waiting.put(job)

    # ---- jobs -----------------------------------------------------------------------------------

    def _let_in(self, priority: int) -> None:
        """Carries out all that is more urgent."""
        while not self._stopping.is_set():
            self._take_jobs()
            parked = self._waiting.pop_due(self._clock.boot_ms(), priority)
            if parked is not None:
                self._carry_out(*parked)
                continue
            urgent = self._waiting.pop_above(priority)
            if urgent is None:
                return
            self._carry_out(urgent)

    def _take_jobs(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    self._waiting.put(job)

    def _carry_out(self, job: Job, steps: Steps | None = None) -> None:
        """Until it ends, or has to wait; `steps` of one that waited."""
        steps = steps or self._begin(job)
        try:
            while self._step(job, steps) and not self._stopping.is_set():
                self._let_in(job.priority)
                if job.priority == Priority.POLL:
                    self._polled += 1
                    if self._polled >= CATCH_UP_EVERY and self._advance_catch_up():
                        self._let_in(job.priority)
        finally:
            if not self._waiting.is_parked(steps):
                steps.close()

    def _begin(self, job: Job) -> Steps:
        watch = self.watches[job.meter_id]
        retries = 0 if job.priority == Priority.POLL and watch.failures else watch.retries
        return job.steps(self.line, watch.driver, retries)

    def _step(self, job: Job, steps: Steps) -> bool:
        """One exchange, with the line as this meter and this job need it; False at the end, and
        where it has to wait."""
        line, watch = self.line, self.watches[job.meter_id]
        line.use(watch.wire)
        before = line.counters.exchanges
        line.recording, line.may_send = job.recording, job.may_send
        try:
            until_ms = next(steps)
        except StopIteration:
            return False
        finally:
            line.recording = line.may_send = None
            if line.counters.exchanges > before:
                watch.round_trip_ms = line.round_trip_ms
        if until_ms is None:
            return True
        self._waiting.park(until_ms, job, steps)
        return False

    def _advance_catch_up(self) -> bool:
        """One exchange of catch-up work; False when there is none."""
        self._polled = 0
        if self._catch_up is None:
            job = self._next_catch_up()
            if job is None:
                return False
            self._catch_up = (job, self._begin(job))
        job, steps = self._catch_up
        goes_on = False
        try:
            goes_on = self._step(job, steps)
        finally:
            if not goes_on:
                self._catch_up = None
        return True

    def _next_catch_up(self) -> Job | None:
        now = self._clock.moment()
        for producer in list(self.background):
            job = producer.next_job(now)
            if job is not None:  # the next time the others are asked first
                self.background.remove(producer)
                self.background.append(producer)
                return job
        return None

    # ---- polls ----------------------------------------------------------------------------------

    def _may_poll(self, task: Task, boot_ms: int) -> bool:
        if boot_ms < max(self._paused_until, self.watches[task.meter_id].paused_until):
            return False
        if task.is_instant and self._around.is_crowded():
            self._reasons[task.name] = "the journal is nearly full"
            return False
        return True

    def _sweep(self, task: Task, moment: Moment) -> "_Sweep":
        slot = self.schedule.take(task.name, moment.utc_ms, moment.boot_ms)
        return _Sweep(self, task, slot, moment)

    def sweep_failed(self, task: Task, error: LineError) -> None:
        """Nothing was read: the slot is due again, after a pause."""
        self.schedule.give_back(task.name)
        self._reasons[task.name] = str(error)
        watch, tell = self.watches[task.meter_id], self._around.tell
        boot_ms = self._clock.boot_ms()
        if isinstance(error, PortLostError):  # the line's trouble: no meter pauses for it
            watch.last_error = str(error)
            self._paused_until = boot_ms + PORT_PAUSE_MS
            if not self._is_port_lost:
                self._is_port_lost = True
                tell("adapter-lost", self.line.line_id, str(error))
            return
        self._note_port()
        if watch.note_failure(error, boot_ms):
            tell("meter-down", task.meter_id, str(error))
        if not self.is_down and all(one.is_down for one in self.watches.values()):
            self.is_down = True
            tell("line-down", self.line.line_id, "no meter of the line answers")

    def sweep_done(self, sweep: "_Sweep", readings: tuple[Reading, ...], strays: int) -> None:
        """The meter answered, and these are the values that it had."""
        task, moment, tell = sweep.task, sweep.moment, self._around.tell
        watch = self.watches[task.meter_id]
        self._note_port()
        if watch.note_answer():
            tell("meter-up", task.meter_id)
        if self.is_down:
            self.is_down = False
            tell("line-up", self.line.line_id)
        watch.note_sweep(
            task.group, readings, moment.utc_ms, self._clock.boot_ms() - moment.boot_ms
        )
        if strays:
            words = f"{strays} frames that were no answer to it"
            tell("foreign-answer", task.meter_id, words, sweep.evidence(), _REPEAT_S)
        if not readings:
            self._reasons[task.name] = watch.last_error = "it answered without a value"
            tell("slots-missed", task.meter_id, f"{task.name}: no value", repeat_s=_REPEAT_S)
            return
        self._submit(sweep, readings)

    def _submit(self, sweep: "_Sweep", readings: tuple[Reading, ...]) -> None:
        task, around = sweep.task, self._around
        moment, is_same_time = self._in_present_time(sweep.moment)
        verdict = around.judge(task.meter_id, readings, moment.boot_ms)
        for kind, detail in verdict.findings:
            around.tell(kind, task.meter_id, detail, sweep.evidence())
        # A clock that starts at 1970 may lag behind the boot; the head end refuses such a pair.
        read_at = max(moment.utc_ms, moment.boot_ms)
        slot = None
        if moment.quality != TimeQuality.UNSYNCED and is_same_time:  # else the slot has no name
            slot = (task.name, sweep.slot)
            missed = self.schedule.store(task.name, sweep.slot)
            if missed is not None:  # told before it: no slot is durable whose gap is not
                self._tell_missed(task, missed)
            self._reasons.pop(task.name, None)
        one = ReadingSet(
            task.meter_id,
            read_at,
            moment.boot_ms,
            self._clock.boot_id,
            moment.quality,
            readings,
            Origin.LIVE,
            verdict.flags | (Flag.CLOCK_SUSPECT if moment.is_in_doubt else 0),
        )
        around.submit(one, slot)

    def _in_present_time(self, moment: Moment) -> tuple[Moment, bool]:
        """The same instant by the clock as it is now, and whether UTC was not put right since."""
        now = self._clock.moment()
        shift_ms = (now.utc_ms - now.boot_ms) - (moment.utc_ms - moment.boot_ms)
        if abs(shift_ms) <= JUMP_MS:
            return moment, True
        return now._replace(utc_ms=moment.utc_ms + shift_ms, boot_ms=moment.boot_ms), False

    def _tell_missed(self, task: Task, missed: Missed) -> None:
        reason = self._reasons.get(task.name) or missed.reason
        tell = self._around.tell
        tell(
            "slots-missed",
            task.meter_id,
            f"{task.name}: {missed.slots} slots from {missed.first} to {missed.last} ms UTC: "
            + (reason or "the line was busy"),
        )
        if self.on_missed is not None:
            self.on_missed(
                task.meter_id, task.name, missed.first, missed.last, reason or "the line was busy"
            )
        if not reason:
            busy_s = sum(one.sweep_ms for one in self.watches.values()) / 1000
            detail = f"the last sweeps of its meters took {busy_s:.1f} s"
            tell("over-budget", self.line.line_id, detail, repeat_s=_REPEAT_S)

    def _note_port(self) -> None:
        if self._is_port_lost:
            self._is_port_lost = False
            self._around.tell("adapter-found", self.line.line_id)


class _Sweep:
    """A poll of one register group: a Job."""

    priority = Priority.POLL
    may_send = None

    def __init__(self, worker: LineWorker, task: Task, slot: int, moment: Moment) -> None:
        self.meter_id = task.meter_id
        self.recording: list[tuple[str, int, bytes]] = []
        self.task = task
        self.slot = slot
        self.moment = moment
        self._worker = worker

    def steps(self, line: Line, driver: Driver, retries: int) -> Steps:
        """Reads the group, and hands on what came of it."""
        before = driver.counters.strays
        try:
            readings = yield from driver.sweep(line, retries, self.task.group)
        except LineError as error:
            self._worker.sweep_failed(self.task, error)
            return
        self._worker.sweep_done(self, tuple(readings), driver.counters.strays - before)

    def evidence(self) -> Evidence:
        """The frames of the sweep, as many as an event may carry."""
        return tuple(
            (way, at_ms, data[:EVIDENCE_FRAME_SIZE_MAX])
            for way, at_ms, data in self.recording[:EVIDENCE_MAX]
        )
