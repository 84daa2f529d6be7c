"""The snapshot: what only the journal tells, and what changes over time."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.journal.ranges import Ranges
from edge.latency import OrderLatency
from edge.orders.executor import OrderJob
from edge.snapshot import DRIFT_SCOPE, UTILISATION_MS, Parts, Snapshot, memory_bytes
from protocols.readings import TimeQuality
from tests.edge.fakes import UTC_MS, FakeClock, InlineWriter, make_set
from tests.edge.head_end import make_order
from tests.edge.test_journal_events import make_event
from tests.edge.test_poller import Bench


class World:
    """A snapshot of a bench's line and a real journal."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(2)
        self.clock = self.bench.clock
        self.writer = InlineWriter(folder, self.clock, commit_interval_ms=10)
        self.writer.start()
        self.outbox = SimpleNamespace(backlog=0, stored=Ranges(), flights={}, resent_batches=0)
        sender = SimpleNamespace(bytes_sent=0, allowance=SimpleNamespace(bytes_today=0))
        self.session = SimpleNamespace(
            is_connected=False, outbox=self.outbox, batches_sealed=0, readings_sent=0,
            refusals=Counter(), sender=sender,
        )  # fmt: skip
        self.latency = OrderLatency(self.clock)
        parts = Parts(
            "gw-1", "1.2.3", self.clock, self.writer.journal, self.writer,
            self.session, lambda: [self.bench.worker], self.latency,  # type: ignore[arg-type]
            dict, dict,
        )  # fmt: skip
        self.snapshot = Snapshot(parts)
        self.snapshot.begin()

    def note(self, *events: Any) -> None:
        """Into the journal."""
        self.writer.journal.append([], (), events)


@pytest.fixture
def world(tmp_path: Path) -> Any:
    """With a journal that is closed in the end."""
    (tmp_path / "state").mkdir()
    one = World(tmp_path / "state")
    yield one
    one.writer.stop()


def test_events_are_counted_from_the_start_of_the_agent(tmp_path: Path) -> None:
    """By kind, each once however often one asks; those of an earlier life are not."""
    first = World(tmp_path)
    first.note(make_event(), make_event(kind="meter-up"))
    first.writer.stop()
    second = World(tmp_path)
    assert second.snapshot.take()["events"] == {}
    second.note(make_event(), make_event())
    assert second.snapshot.take()["events"] == {"line-down": 2}
    second.note(make_event(kind="line-up"))
    second.writer.journal.acknowledge_events(5)
    for _ in range(2):
        assert second.snapshot.take()["events"] == {"line-down": 2, "line-up": 1}
    second.writer.stop()


def test_events_of_a_new_journal_count_from_its_beginning(world: World, tmp_path: Path) -> None:
    """It was begun while the agent ran."""
    world.note(make_event(), make_event())
    assert world.snapshot.take()["events"] == {"line-down": 2}
    other = InlineWriter(tmp_path, world.clock)
    other.start()
    other.journal.append([], (), [make_event(kind="journal-aside")])
    world.snapshot._parts = world.snapshot._parts._replace(journal=other.journal)
    for _ in range(2):
        assert world.snapshot.take()["events"] == {"line-down": 2, "journal-aside": 1}
    other.stop()


def test_the_age_of_the_backlog_is_that_of_its_oldest_set(world: World) -> None:
    """The first that the head end lacks, also where it has later ones; none without a backlog."""
    assert world.snapshot.take()["uplink"]["backlog_age_ms"] is None
    world.writer.journal.append([make_set(n) for n in range(4)])
    world.outbox.stored = Ranges([(1, 1), (3, 3)])
    world.outbox.backlog = 2
    world.clock.set_utc(UTC_MS + 61_000)
    uplink = world.snapshot.take()["uplink"]
    assert (uplink["backlog_age_ms"], uplink["backlog_sets"]) == (60_000, 2)


def test_the_busy_share_is_that_of_the_last_minute(world: World) -> None:
    """Whoever asks, and how often; a line that was built anew begins anew."""
    counters = world.bench.worker.line.counters

    def share() -> float:
        return float(world.snapshot.take()["lines"][0]["utilisation"])

    assert share() == 0
    for _ in range(60):
        world.clock.advance(1_000)
        counters.busy_ms += 800
        shown = share()
        assert share() == shown
    assert shown == pytest.approx(0.8)
    for _ in range(60):
        world.clock.advance(1_000)
        counters.busy_ms += 200
        shown = share()
    assert shown == pytest.approx(0.2, abs=0.02)
    assert len(world.snapshot._busy["line-1"]) <= UTILISATION_MS // 1000 + 2
    counters.busy_ms = 0
    assert share() == 0
    world.clock.advance(10_000)
    counters.busy_ms = 20_000
    assert share() == 1


def test_a_meter_shows_its_age_and_its_clock(world: World) -> None:
    """What is not known is None, and a memo that is no number is none."""
    journal = world.writer.journal
    journal.set_memo(DRIFT_SCOPE, "m-0", -42)
    journal.set_memo(DRIFT_SCOPE, "m-1", "late")
    world.bench.worker.turn()
    read_at = world.bench.worker.watches["m-0"].read_at
    world.clock.set_utc(read_at + 5_000)
    first, second = world.snapshot.meters()
    assert (first["meter"], first["drift_s"], first["read_age_ms"]) == ("m-0", -42, 5_000)
    assert (first["state"], first["is_answering"]) == ("answering", True)
    assert (second["drift_s"], second["read_age_ms"], second["state"]) == (None, None, "waiting")
    assert world.snapshot.take()["meters"] == world.snapshot.meters()


def test_a_silent_meter_is_told_from_one_that_is_down(world: World) -> None:
    """And the line for systemd counts who answers."""
    world.bench.meters.silent.add(world.bench.addresses[1])
    world.bench.worker.turn()
    world.bench.worker.turn()
    assert [one["state"] for one in world.snapshot.meters()] == ["answering", "silent"]
    assert world.snapshot.meters()[1]["last_error"] == "line line-1: no answer"
    assert world.snapshot.summary() == (
        "1 of 2 meters answer, 0 of 1 lines are down, broker NOT connected, backlog 0 sets"
    )
    world.bench.worker.watches["m-1"].is_down = True
    world.session.is_connected = True
    assert [one["state"] for one in world.snapshot.meters()] == ["answering", "down"]
    assert "broker connected" in world.snapshot.summary()


def test_the_clock_is_shown_as_it_is(world: World) -> None:
    """A bound only where there is one."""
    assert world.snapshot.take()["clock_error_ms"] == 500
    world.clock.set_quality(TimeQuality.RTC)
    world.clock.set_doubt(True)
    told = world.snapshot.take()
    assert (told["clock_quality"], told["clock_quality_level"]) == ("rtc", 1)
    assert (told["clock_error_ms"], told["clock_in_doubt"]) == (None, True)


def test_a_journal_that_can_not_be_read_leaves_the_rest(world: World) -> None:
    """What was counted before stays; nothing is invented."""
    world.note(make_event())
    world.snapshot.take()
    gone = SimpleNamespace(path=Path("/nowhere/journal.db"), epoch=b"")
    world.snapshot._parts = world.snapshot._parts._replace(journal=gone)  # type: ignore[arg-type]
    told = world.snapshot.take()
    assert told["events"] == {"line-down": 1}
    assert told["uplink"]["backlog_age_ms"] is None
    assert [one["meter"] for one in told["meters"]] == ["m-0", "m-1"]


def test_the_wait_of_an_order_ends_with_its_first_byte(clock: FakeClock) -> None:
    """Once for each order; one that may not be sent any more does not count."""
    latency = OrderLatency(clock)
    deadline = clock.boot_ms() + 1_000

    def order() -> OrderJob:
        job = OrderJob(make_order(1), 1, deadline, clock, lambda *_: None)
        latency.watch(job)
        return job

    job = order()
    clock.advance(70)
    assert job.may_send()
    clock.advance(500)
    assert job.may_send()  # a repetition
    second = order()
    clock.advance(130)
    assert second.may_send()
    assert latency.figures() == {
        "sent": 2, "waited_ms": 200, "last_waited_ms": 130, "longest_waited_ms": 130,
    }  # fmt: skip
    late = order()
    clock.advance(2_000)
    assert not late.may_send()
    assert latency.figures()["sent"] == 2


def test_the_memory_is_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes; 0 where nothing tells it."""
    status = Path("/proc/self/status").read_text()
    (line,) = [one for one in status.splitlines() if one.startswith("VmRSS")]
    assert memory_bytes() == pytest.approx(int(line.split()[1]) * 1024, rel=0.2)
    monkeypatch.setattr("edge.snapshot._STATE_PATH", Path("/nowhere"))
    assert memory_bytes() == 0
