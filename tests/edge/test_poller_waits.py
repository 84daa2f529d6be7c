"""Jobs that wait for their meter: the line polls meanwhile, and they go on in their time."""

from collections.abc import Iterator
from typing import Any

from edge.collect.jobs import Priority, Waiting
from edge.collect.poller import ORDERS_MAX
from edge.line.line import Line
from tests.edge.test_poller import Bench, Job


class Patient:
    """An order that looks at its meter, waits 5 s, and looks again."""

    may_send = None
    priority = Priority.ORDER

    def __init__(self, bench: Bench, meter_id: str = "m-0", rounds: int = 3) -> None:
        self.meter_id = meter_id
        self.recording: list[tuple[str, int, bytes]] = []
        self.looked: list[int] = []
        self.is_closed = False
        self._bench = bench
        self._rounds = rounds

    def steps(self, line: Line, driver: Any, retries: int) -> Iterator[int | None]:
        """Looks, and waits."""
        try:
            for _ in range(self._rounds):
                self.looked.append(self._bench.clock.boot_ms())
                yield None
                yield self._bench.clock.boot_ms() + 5_000
        except GeneratorExit:
            self.is_closed = True
            raise


def test_polls_go_on_while_an_order_waits() -> None:
    """And it has its turn when its time has come, not a period later."""
    bench = Bench(2, period_s=1)
    job = Patient(bench)
    assert bench.worker.offer(job)
    bench.run_for(20_000)
    assert len(job.looked) == 3
    gaps = [after - before for before, after in zip(job.looked, job.looked[1:], strict=False)]
    assert all(5_000 <= gap <= 5_300 for gap in gaps)
    assert len(bench.reads_of(1)) >= 19


def test_an_idle_line_wakes_for_an_order_that_waits() -> None:
    """It does not sleep past its time."""
    bench = Bench(1, period_s=3_600)
    bench.run_for(5_000)
    job = Patient(bench)
    bench.worker.offer(job)
    bench.run_for(30_000)
    gaps = [after - before for before, after in zip(job.looked, job.looked[1:], strict=False)]
    assert len(gaps) == 2 and all(5_000 <= gap <= 5_050 for gap in gaps)


def test_one_order_waits_and_the_next_one_runs() -> None:
    """Nobody stands in a queue behind a contact that takes its time."""
    bench = Bench(2, period_s=3_600)
    first, second = Patient(bench), Patient(bench, "m-1", rounds=1)
    bench.worker.offer(first)
    bench.worker.offer(second)
    bench.run_for(12_000)
    assert second.looked[0] < first.looked[1]


def test_a_read_on_demand_waits_for_no_parked_order() -> None:
    """The line is free for it."""
    bench = Bench(1, period_s=3_600)
    job, read = Patient(bench), Job("m-0")
    bench.worker.offer(job)
    bench.run_for(1_000)
    bench.worker.offer(read)
    bench.run_for(1_000)
    assert read.ran and len(job.looked) == 1


def test_a_line_that_stops_closes_what_waits() -> None:
    """So that it can say that it did not end; it is no job without a turn."""
    bench = Bench(1)
    job = Patient(bench)
    bench.worker.offer(job)
    bench.run_for(1_000)
    bench.worker.ask_stop()
    bench.worker._run()
    assert job.is_closed
    assert bench.worker.waiting() == []


def test_orders_that_wait_for_a_time_count_as_waiting() -> None:
    """A line does not take up more than it may."""
    bench = Bench(1, period_s=3_600)
    for _ in range(ORDERS_MAX):
        assert bench.worker.offer(Patient(bench, rounds=1_000))
    bench.run_for(1_000)
    assert not bench.worker.offer(Patient(bench))


def test_those_whose_time_has_come_go_on_in_their_order() -> None:
    """Longest due first, then by arrival; less urgent ones stay."""
    waiting, bench = Waiting(), Bench(1)
    jobs = [Patient(bench) for _ in range(3)]
    steps = [job.steps(None, None, 0) for job in jobs]  # type: ignore[arg-type]
    for until, job, one in zip((300, 200, 200), jobs, steps, strict=True):
        waiting.park(until, job, one)
    assert waiting.next_in_ms(150, 1_000) == 50
    assert waiting.next_in_ms(500, 1_000) == 0
    assert waiting.pop_due(199, Priority.POLL) is None
    assert waiting.pop_due(400, Priority.ORDER) is None
    assert waiting.pop_due(400, Priority.POLL) == (jobs[1], steps[1])
    assert waiting.pop_due(400, Priority.POLL) == (jobs[2], steps[2])
    assert waiting.pop_due(400, Priority.POLL) == (jobs[0], steps[0])
    assert len(waiting) == 0
