"""Catch-up jobs: what they report, how their findings are kept, and what they leave to polls."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from edge.collect.backfill import Backfill
from edge.collect.catch_up import CatchUp, Frames, Pending, gateway_event
from edge.collect.clock_watch import ClockWatch
from edge.collect.groups import tasks_of
from edge.collect.jobs import Priority, Steps
from edge.collect.meter_events import MeterEvents
from edge.collect.meter_time import meter_time, utc_ms_of, utc_ms_of_text
from edge.collect.poller import ORDERS_MAX, LineWorker, Surroundings, Verdict
from edge.line.line import Line, NoAnswerError
from edge.meters.dlt645_driver import Dlt645Driver
from edge.meters.dlt645_history import read_raw
from protocols.dlt645.clock import MeterTime
from protocols.errors import BusbarError
from protocols.readings import Origin, ReadingSet, TimeQuality
from tests.edge.fakes import FakeClock, FakeQueue, NoThread
from tests.edge.history_rig import DAY_MS, HOUR_MS, MINUTE_MS, Rig, utc_of

NOON = "2026-09-21T12:20:00"


class Bench:
    """The real worker of a line of virtual meters, with all three producers."""

    def __init__(self, folder: Path, count: int = 2) -> None:
        clock = FakeClock()
        clock.set_utc(utc_of(NOON))
        self.rig = rig = Rig(folder, count, clock=clock)
        self.missed: list[int] = []
        tasks = [task for section in rig.sections for task in tasks_of(section)]
        tasks = [task._replace(period_ms=MINUTE_MS) for task in tasks]
        around = Surroundings(clock, self._submit, rig.tell, lambda *_: Verdict(), lambda: False)
        self.worker = LineWorker(rig.line, rig.watches, tasks, around)
        self.worker._jobs = FakeQueue(clock, ORDERS_MAX)
        self.worker._thread = NoThread()  # type: ignore[assignment]
        means = rig.means()._replace(reaches=self.worker.reaches)
        self.clocks = ClockWatch(means, rig.tell)
        drift_s = self.clocks.drift_s
        self.events = MeterEvents(means, drift_s)
        self.fill = Backfill(rig.sections, means, drift_s, rig.reader.sets_between, lambda: True)
        self.worker.background += [self.clocks, self.events, self.fill]

    def _submit(self, one: ReadingSet, slot: Any) -> None:
        self.rig.writer.submit(one, slot)
        self.rig.writer.work()

    def run_for(self, ms: int) -> None:
        """Turns until so much fake time has passed."""
        end = self.rig.clock.boot_ms() + ms
        while self.rig.clock.boot_ms() < end:
            self.worker.turn()


def test_catch_up_fills_the_pauses_between_polls(tmp_path: Path) -> None:
    """Two hours: every live slot in time, and beside them events, clocks and a day's gap."""
    bench = Bench(tmp_path)
    rig = bench.rig
    first, last = utc_of("2026-09-20T09:00:00"), utc_of("2026-09-21T09:00:00")
    for meter in rig.meters.values():
        meter.open_cover()
        for number in range(2, 8):
            meter.pin(f"04000A{number:02X}", 15)
    for name in rig.meters:
        bench.fill.note_missed(name, name, first, last)
    bench.run_for(2 * HOUR_MS)
    for name in rig.meters:
        own = [one for one in rig.sets() if one.meter_id == name]
        live = [one.read_at for one in own if one.origin == Origin.LIVE]
        assert [at // MINUTE_MS for at in live] == list(
            range(live[0] // MINUTE_MS, live[0] // MINUTE_MS + len(live))
        )
        assert len(live) >= 119
        assert max(at % MINUTE_MS for at in live[1:]) < 10_000
        old = [one for one in own if one.origin != Origin.LIVE]
        assert sorted(one.read_at for one in old) == list(range(first, last + 1, 15 * MINUTE_MS))
        assert {one.flags for one in old} == {0}  # the clock was looked at first
        assert bench.clocks.drift_s(name) == 0
    told = [(one.kind, one.subject) for one in rig.events()]
    assert sorted(told) == [
        (kind, name) for kind in ("backfilled", "meter-cover-opened") for name in ("m-0", "m-1")
    ]


def test_without_polls_yet_nobody_is_asked(tmp_path: Path) -> None:
    """A meter that has not answered since the start costs catch-up work nothing."""
    bench = Bench(tmp_path, 1)
    bench.rig.hook = lambda *_: None
    bench.fill.note_missed("m-0", "m-0", utc_of(NOON) - HOUR_MS, utc_of(NOON))
    bench.run_for(HOUR_MS)
    assert all(one.data[3:4] in (b"\x00", b"\x02") for one in bench.rig.asked)


def make_job(work: Any, failures: list[str]) -> CatchUp:
    """A job of the only meter."""
    return CatchUp("m-0", work, lambda error: failures.append(str(error)))


def test_a_job_reports_what_fails_and_raises_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Silence, refusals, and faults of ours, which are logged besides."""
    rig = Rig(tmp_path, refuses=("00010000",))
    failures: list[str] = []

    def refused(line: Line, driver: Dlt645Driver, retries: int, frames: Frames) -> Steps:
        yield from read_raw(line, driver, "00010000", retries)

    def silent(*_: Any) -> Steps:
        yield
        raise NoAnswerError("no answer")

    def broken(*_: Any) -> Steps:
        yield
        raise KeyError("secret")

    for work in (refused, silent, broken):
        job = make_job(work, failures)
        assert (job.priority, job.may_send) == (Priority.CATCH_UP, None)
        list(rig.steps(job))
    assert len(failures) == 3
    assert "refused" in failures[0]
    assert failures[1] == "no answer"
    assert failures[2] == "a fault of the gateway: KeyError"
    assert "catch_up_failed meter=m-0" in caplog.text


def test_what_is_pending_is_taken_up_once() -> None:
    """When it is kept, and when it is refused."""
    outcomes: list[str] = []
    pending = Pending()
    assert pending.is_over()
    for error in (None, OSError("full")):
        future: Future[int] = Future()
        pending.wait_for(
            future, lambda: outcomes.append("kept"), lambda: outcomes.append("refused")
        )
        assert not pending.is_over()
        if error:
            future.set_exception(error)
        else:
            future.set_result(1)
        assert pending.is_over()
        assert pending.is_over()
    assert outcomes == ["kept", "refused"]


def test_an_event_fits_the_wire(clock: FakeClock) -> None:
    """And is the gateway's own: no count, no drift."""
    event = gateway_event(clock, "backfilled", "m-0", "x" * 500)
    assert (event.number, event.drift_s, event.quality) == (0, None, TimeQuality.NTP)
    assert (event.at, event.boot_at, event.boot_id) == (
        clock.utc_ms(),
        clock.boot_ms(),
        clock.boot_id,
    )
    assert len(event.detail) == 200


@pytest.mark.parametrize("offset_min", [0, 480, -210])
def test_meter_time_there_and_back(offset_min: int) -> None:
    """Local time is so much ahead of UTC; 24:00 is the next day's beginning."""
    time = MeterTime(2026, 2, 28, 23, 59, 58)
    at = utc_ms_of(time, offset_min)
    assert at == 1_772_323_198_000 - offset_min * MINUTE_MS
    assert meter_time(at + 999, offset_min) == time
    assert utc_ms_of_text("2026-02-28T23:59:58", offset_min) == at
    assert utc_ms_of_text("2026-02-28T24:00", offset_min) == at + 2_000
    assert utc_ms_of_text("2026-02-28T00:00", offset_min) == at + 2_000 - DAY_MS


def test_errors_of_the_bus_are_busbar_errors() -> None:
    """So that a job catches them by their root."""
    assert issubclass(NoAnswerError, BusbarError)
