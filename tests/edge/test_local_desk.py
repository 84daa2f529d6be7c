"""What is asked at the socket: a read by the line's worker, the events, the journal as it grows."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.collect.jobs import Job, Priority
from edge.journal.follow import Follower, last_run
from edge.journal.store import Journal
from edge.local import desk as desk_module
from edge.local.desk import NAMED_MAX, Desk, View
from edge.local.lines import FAILED, READ_S_MAX, WRONG, RequestError
from edge.local.read_job import ReadJob
from edge.local.server import Answers
from edge.local.tail import AT_ONCE, follow
from protocols.obis import Obis
from protocols.readings import Flag, Origin, TimeQuality
from tests.edge.fakes import BOOT_ID, UTC_MS, FakeClock, make_set
from tests.edge.test_journal_events import make_event, meter_event
from tests.edge.test_poller import Bench

OBIS = "1-0:1.8.0"


class Counter:
    """A desk in front of a bench's line; `take` says whether the line takes jobs."""

    def __init__(self, bench: Bench, journal: Journal) -> None:
        self.bench = bench
        self.jobs: list[Job] = []
        self.take = True
        view = View(
            bench.clock,
            lambda: {"all": 1},
            lambda: [{"meter": name} for name in bench.worker.watches],
            self._offer,
            lambda: Follower(journal.path),
            lambda: journal.epoch,
        )
        self.desk = Desk(view)

    def _offer(self, meter_id: str, job: Job) -> bool:
        self.jobs.append(job)
        return self.take and self.bench.worker.offer(job)

    def ask(self, request: str, **arguments: Any) -> Answers:
        """As the server does."""
        return self.desk.handlers[request]({"request": request, **arguments})

    def answer(self, request: str, **arguments: Any) -> dict[str, Any]:
        """The one answer."""
        return next(one for one in self.ask(request, **arguments) if one is not None)


@pytest.fixture
def counter(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """With two meters; nobody waits in real time."""
    monkeypatch.setattr(desk_module, "_LOOK_S", 0)
    return Counter(Bench(2), journal)


def run_read(counter: Counter, **arguments: Any) -> dict[str, Any]:
    """A read, the line's worker going on whenever the desk waits."""
    for answer in counter.ask("read", **arguments):
        if answer is not None:
            return answer
        counter.bench.worker.turn()
    raise AssertionError("no answer")


def test_a_read_gives_value_time_and_frames(counter: Counter) -> None:
    """It goes before polls, by the line's worker, and leaves no reading set of its own."""
    result = run_read(counter, meter="m-1", obis=OBIS)
    assert result["problem"] == ""
    assert result["readings"] == [
        {"obis": "1-0:1.8.0*255", "name": "active energy import", "value": "0.26", "unit": "kWh"}
    ]
    assert (result["meter"], result["quality"]) == ("m-1", "ntp")
    assert UTC_MS <= result["read_at"] <= counter.bench.clock.utc_ms()
    assert [way for way, _, _ in result["frames"]] == [">", "<"]
    assert bytes.fromhex(result["frames"][0][2]) == counter.bench.port.written()[0]
    assert counter.jobs[0].priority == Priority.ON_DEMAND
    assert [one.meter_id for one in counter.bench.sets] == ["m-0"]  # the poll that came after it


def test_a_read_of_a_silent_meter_says_so(counter: Counter) -> None:
    """With every request that was made, and no value."""
    counter.bench.meters.silent.add(counter.bench.addresses[0])
    result = run_read(counter, meter="m-0", obis=OBIS)
    assert result["problem"] == "line line-1: no answer"
    assert result["readings"] == []
    assert [way for way, _, _ in result["frames"]] == [">"] * 3


def test_a_read_of_what_no_meter_can_be_asked_for_says_so(counter: Counter) -> None:
    """A code without an identifier: refused, and nothing was sent."""
    result = run_read(counter, meter="m-0", obis="1-0:99.99.99")
    assert "cannot be read" in result["problem"]
    assert (result["readings"], result["frames"]) == ([], [])


@pytest.mark.parametrize("meter", ["m-7", "", None, 3, ["m-0"]])
def test_an_unknown_meter_is_told_with_what_is_allowed(counter: Counter, meter: Any) -> None:
    """One sentence; nothing is offered to a line."""
    with pytest.raises(RequestError, match=r"is not allowed; it must be m-0, m-1$") as caught:
        counter.answer("read", meter=meter, obis=OBIS)
    assert (caught.value.code, counter.jobs) == (WRONG, [])


def test_of_many_meters_some_are_named(journal: Journal) -> None:
    """A sentence stays one."""
    many = Counter(Bench(NAMED_MAX + 2), journal)
    with pytest.raises(RequestError, match=f"m-{NAMED_MAX - 1} and 2 more$"):
        many.answer("read", meter="x", obis=OBIS)


@pytest.mark.parametrize("obis", ["energy", "1-0:1.8", "1-0:1.8.999", "", None, 1, "00010000"])
def test_what_is_no_obis_code_is_told(counter: Counter, obis: Any) -> None:
    """With an example of one."""
    with pytest.raises(RequestError, match=r"is not an OBIS code such as 1-0:1\.8\.0") as caught:
        counter.answer("read", meter="m-0", obis=obis)
    assert (caught.value.code, counter.jobs) == (WRONG, [])


def test_a_crowded_line_refuses_a_read(counter: Counter) -> None:
    """One sentence, and it may be tried again."""
    counter.take = False
    with pytest.raises(RequestError, match="too many jobs wait") as caught:
        counter.answer("read", meter="m-0", obis=OBIS)
    assert caught.value.code == FAILED


def test_a_read_that_nobody_waits_for_sends_nothing(counter: Counter) -> None:
    """The client left before its turn."""
    answers = counter.ask("read", meter="m-0", obis=OBIS)
    assert next(answers) is None
    answers.close()
    counter.bench.worker._let_in(Priority.POLL)
    job = counter.jobs[0]
    assert isinstance(job, ReadJob)
    assert (job.result["problem"], job.result["frames"]) == ("nobody waits for it", [])
    assert counter.bench.port.written() == []


def test_a_read_that_is_left_on_the_way_is_not_repeated(counter: Counter) -> None:
    """The meter is silent; the second request is not made."""
    counter.bench.meters.silent.add(counter.bench.addresses[0])
    job = ReadJob("m-0", Obis.from_text(OBIS), counter.bench.clock)
    steps = job.steps(counter.bench.worker.line, counter.bench.worker.watches["m-0"].driver, 2)
    line = counter.bench.worker.line
    line.recording, line.may_send = job.recording, job.may_send
    next(steps)
    job.cancel()
    assert list(steps) == []
    assert job.result["problem"] == "nobody waits for it"
    assert len(counter.bench.port.written()) == 1


def test_a_read_without_a_turn_ends(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    """After its longest wait, and then it sends nothing any more."""
    monkeypatch.setattr(desk_module.time, "monotonic", clock.monotonic)
    answers = (clock.advance(1_000) for _ in counter.ask("read", meter="m-0", obis=OBIS))
    with pytest.raises(RequestError, match=f"no turn for it within {READ_S_MAX} s") as caught:
        list(answers)
    assert caught.value.code == FAILED
    assert clock.monotonic() > READ_S_MAX
    assert counter.jobs[0].may_send is not None
    assert not counter.jobs[0].may_send()


@pytest.mark.parametrize("end", ["close", "drop", "fault"])
def test_a_read_that_is_ended_from_outside_tells_why(counter: Counter, end: str) -> None:
    """The worker stops, the line is configured anew, or we have a fault: somebody waits for it."""
    job = ReadJob("m-0", Obis.from_text(OBIS), counter.bench.clock)
    driver: Any = counter.bench.worker.watches["m-0"].driver
    line = counter.bench.worker.line
    counter.bench.meters.silent.add(counter.bench.addresses[0])
    if end == "close":
        steps = job.steps(line, driver, 2)
        next(steps)
        steps.close()
        assert job.result["problem"] == "the line's worker stopped"
    elif end == "drop":
        job.drop("no longer there")
        assert job.result["problem"] == "no longer there"
    else:
        list(job.steps(line, None, 2))  # type: ignore[arg-type]
        assert job.result["problem"] == "a fault of the gateway: AttributeError"
    assert job.done.is_set()


def test_status_and_meters_are_the_snapshots(counter: Counter) -> None:
    """As they were taken."""
    assert counter.answer("status") == {"all": 1}
    assert counter.answer("meters") == {
        "utc_ms": UTC_MS, "meters": [{"meter": "m-0"}, {"meter": "m-1"}],
    }  # fmt: skip


# ---- events -------------------------------------------------------------------------------------


def kinds(counter: Counter, **arguments: Any) -> list[tuple[str, int]]:
    """Kind and sequence of what `events` gives."""
    found = counter.answer("events", **arguments)["events"]
    return [(one["kind"], one["sequence"]) for one in found]


def test_the_last_events_come_oldest_first(counter: Counter, journal: Journal) -> None:
    """Acknowledged or not, by severity and time."""
    journal.append([], (), [make_event(kind="started", subject="", at=UTC_MS - 5)])
    journal.append([], (), [make_event(), make_event(kind="meter-down", at=UTC_MS + 9)])
    journal.acknowledge_events(2)
    assert kinds(counter) == [("started", 1), ("line-down", 2), ("meter-down", 3)]
    assert kinds(counter, severity="warning") == [("line-down", 2), ("meter-down", 3)]
    assert kinds(counter, severity="alarm") == [("line-down", 2)]
    assert kinds(counter, since=UTC_MS) == [("line-down", 2), ("meter-down", 3)]
    assert kinds(counter, limit=1) == [("meter-down", 3)]
    assert kinds(counter, limit=1, severity="alarm") == [("line-down", 2)]


def test_an_event_is_shown_with_all_that_is_kept_of_it(counter: Counter, journal: Journal) -> None:
    """A meter's, with its number, its clock's drift and the frames."""
    journal.append([], (), [meter_event(7)])
    assert counter.answer("events")["events"] == [
        {
            "type": "event",
            "sequence": 1,
            "at": UTC_MS + 7,
            "quality": "ntp",
            "severity": "alarm",
            "kind": "meter-cover-opened",
            "subject": "m-1",
            "number": 7,
            "drift_s": -3,
            "detail": "detail 7",
            "evidence": [[">", 0, "6801"], ["<", 70, "16"]],
        }
    ]


def test_the_search_goes_back_page_by_page(counter: Counter, journal: Journal) -> None:
    """Behind thousands of newer ones, over a hole that a purge left, each once."""
    journal.append([], (), [make_event()])
    journal.append([], (), [make_event(kind="meter-up") for _ in range(1700)])
    journal._db.execute("DELETE FROM event WHERE sequence BETWEEN 300 AND 900")
    assert kinds(counter, severity="alarm") == [("line-down", 1)]
    found = [sequence for _, sequence in kinds(counter, limit=1000)]
    assert found == [*range(101, 300), *range(901, 1702)]


@pytest.mark.parametrize(
    "arguments",
    [{"severity": "loud"}, {"severity": 3}, {"since": "yesterday"}, {"since": True}, {"limit": 0},
     {"limit": 1001}, {"limit": None}, {"limit": 1.5}],
)  # fmt: skip
def test_what_events_does_not_take_is_told(counter: Counter, arguments: dict[str, Any]) -> None:
    """One sentence with what is allowed."""
    with pytest.raises(RequestError, match="must be") as caught:
        counter.answer("events", **arguments)
    assert caught.value.code == WRONG


def test_a_journal_that_can_not_be_read_is_one_sentence(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the events and the tail alike."""

    def refuse() -> Follower:
        raise sqlite3.OperationalError("disk I/O error")

    counter.desk._view = counter.desk._view._replace(follower=refuse)
    for request in ("events", "tail"):
        with pytest.raises(RequestError, match=r"can not be read now \(disk I/O error\)"):
            counter.answer(request)


# ---- tail ---------------------------------------------------------------------------------------


def tail_of(journal: Journal) -> Answers:
    """From now on, without real waits."""
    return follow(lambda: Follower(journal.path), lambda: journal.epoch, lambda _: None)


def until_quiet(answers: Answers) -> list[dict[str, Any]]:
    """All that comes before there is nothing more."""
    found: list[dict[str, Any]] = []
    while (item := next(answers)) is not None:
        found.append(item)
    return found


def test_the_tail_begins_now_and_misses_nothing(journal: Journal) -> None:
    """Sets with their values, origin and flags, and events; each once, in the journal's order."""
    journal.append([make_set(0)], (), [make_event()])
    tail = tail_of(journal)
    assert until_quiet(tail) == []
    doubtful = make_set(2, origin=Origin.FREEZE, flags=Flag.JUMP, quality=TimeQuality.RTC)
    journal.append([make_set(1), doubtful], (), [make_event(kind="jump", subject="m-1")])
    event, first, second = until_quiet(tail)
    assert (event["type"], event["kind"], event["sequence"]) == ("event", "jump", 2)
    assert (first["type"], first["sequence"], first["meter"]) == ("readings", 2, "m-1")
    assert (first["origin"], first["flags"], first["quality"]) == ("live", [], "ntp")
    assert [one["value"] for one in first["readings"]] == ["0.01", "230.1"]
    assert (second["origin"], second["flags"], second["quality"]) == ("freeze", ["jump"], "rtc")
    assert until_quiet(tail) == []
    journal.append([make_set(n) for n in range(3, 4 + 2 * AT_ONCE)])
    found = [one["sequence"] for one in until_quiet(tail)]
    assert found == [*range(4, 4 + 2 * AT_ONCE + 1)]


def test_acknowledged_events_are_in_the_tail(journal: Journal) -> None:
    """However fast the head end is."""
    tail = tail_of(journal)
    until_quiet(tail)
    journal.append([], (), [make_event()])
    journal.acknowledge_events(1)
    assert [one["kind"] for one in until_quiet(tail)] == ["line-down"]


def test_the_tail_goes_on_with_a_new_journal(tmp_path: Path, journal: Journal) -> None:
    """From its beginning: what is in it came after the old one."""
    other = Journal(tmp_path / "other", 64)
    other.path.parent.mkdir()
    other.open()
    current = [journal]
    tail = follow(
        lambda: Follower(current[0].path), lambda: current[0].epoch, lambda _: None
    )  # fmt: skip
    journal.append([make_set(0)])
    assert until_quiet(tail) == []
    journal.append([make_set(1)])
    assert len(until_quiet(tail)) == 1
    other.append([make_set(5)], (), [make_event()])
    current[0] = other
    found: list[dict[str, Any]] = []
    for _ in range(4):
        found += until_quiet(tail)
    assert [(one["type"], one["sequence"]) for one in found] == [("event", 1), ("readings", 1)]
    tail.close()
    other.close()


# ---- how the last run ended ---------------------------------------------------------------------


@pytest.fixture
def past(tmp_path: Path) -> Callable[[bool, bool], Any]:
    """A journal that was left: closed in order or not, with the memo of its boot or not."""

    def make(is_closed: bool, has_memo: bool) -> Any:
        journal = Journal(tmp_path, 64)
        journal.open()
        if has_memo:
            journal.set_memo("agent", "boot_id", BOOT_ID)
        if is_closed:
            journal.close()
        else:
            journal.abandon()
        return last_run(journal.path, "agent", "boot_id")

    return make


def test_a_journal_tells_how_the_last_run_ended(past: Callable[[bool, bool], Any]) -> None:
    """Before it is opened again, and without changing it."""
    assert past(True, False) == (True, b"")
    assert past(True, True) == (True, BOOT_ID)
    assert past(False, False) == (False, BOOT_ID)
    assert past(False, True) == (False, BOOT_ID)
    assert past(True, False) == (True, BOOT_ID)


def test_without_a_journal_there_was_no_run(tmp_path: Path) -> None:
    """And one that is no journal tells nothing; it is not made, and not mended."""
    path = tmp_path / "journal.db"
    assert last_run(path, "agent", "boot_id") is None
    assert not path.exists()
    path.write_bytes(b"no journal" * 1000)
    assert last_run(path, "agent", "boot_id") == (None, b"")
    assert path.read_bytes() == b"no journal" * 1000
