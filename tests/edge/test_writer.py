"""The writer: group commits, calls, and a disk that is full."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.journal import writer as writer_module
from edge.journal.store import Journal
from edge.journal.writer import HOUSEKEEPING_MS, RETRY_MS, Ballast, Writer
from protocols.events import Event
from protocols.readings import ReadingSet
from tests.edge.fakes import BOOT_MS, UTC_MS, FakeClock, InlineWriter, make_set
from tests.edge.test_journal_events import make_event


@pytest.fixture
def writer(tmp_path: Path, clock: FakeClock) -> Iterator[InlineWriter]:
    """An open one; 5 sets or 1,000 ms."""
    one = InlineWriter(tmp_path, clock)
    one.start()
    yield one
    one.stop()


def committed(writer: Writer) -> list[ReadingSet]:
    """What another connection sees."""
    reader = writer.journal.reader()
    rows = reader.rows(1, 1 << 62)
    reader.close()
    return [one for _, one in rows]


def test_sets_are_committed_together_by_count(writer: InlineWriter) -> None:
    """Nothing before `commit_sets`, then all in one commit, told once."""
    for n in range(4):
        writer.submit(make_set(n))
        writer.work()
    assert (writer.commits, writer.held_sets, committed(writer), writer.heads) == (0, 4, [], [])
    writer.submit(make_set(4))
    writer.work()
    assert (writer.commits, writer.held_sets, writer.heads, writer.head) == (1, 0, [5], 5)
    assert committed(writer) == [make_set(n) for n in range(5)]


def test_sets_are_committed_by_the_interval(writer: InlineWriter, clock: FakeClock) -> None:
    """The oldest waits `commit_interval_ms` and no longer, the next group its own interval."""
    writer.submit(make_set(0))
    clock.advance(600)
    writer.submit(make_set(1))
    clock.advance(399)
    writer.work()
    assert writer.commits == 0
    assert writer._wait_ms() == 1
    clock.advance(1)
    writer.work()
    assert (writer.commits, writer.sets_committed) == (1, 2)
    writer.submit(make_set(2))
    clock.advance(999)
    writer.work()
    assert writer.commits == 1
    clock.advance(1)
    writer.work()
    assert writer.commits == 2


def test_the_thread_sleeps_until_something_is_due(writer: InlineWriter, clock: FakeClock) -> None:
    """Housekeeping, an interval or a call end the wait, and nothing else does."""
    writer.work()
    assert writer._wait_ms() == HOUSEKEEPING_MS
    writer.submit(make_set(0))
    assert writer._wait_ms() == 1_000
    for n in range(4):
        writer.submit(make_set(n))
    assert writer._wait_ms() == 0
    clock.advance(1)
    Writer.call(writer, int)
    assert writer._wait_ms() == 0


def test_calls_run_before_the_commit_that_is_due(writer: InlineWriter) -> None:
    """A call that was asked for sees the journal as it was."""
    for n in range(5):
        writer.submit(make_set(n))
    future = Writer.call(writer, writer.journal.head)
    assert not future.done()
    writer.work()
    assert (future.result(0), writer.head) == (0, 5)


def test_an_error_of_a_call_reaches_its_future(writer: InlineWriter) -> None:
    """It ends neither the writer nor what others asked for, and its transaction is rolled back."""

    def fail() -> None:
        writer.journal._db.execute("BEGIN IMMEDIATE")
        writer.journal._set_mark("half", 1)
        raise KeyError("mine")

    first = Writer.call(writer, fail)
    second = Writer.call(writer, writer.journal._mark, "half")
    writer.work()
    with pytest.raises(KeyError, match="mine"):
        first.result(0)
    assert second.result(0) is None
    writer.submit(make_set(1))
    writer.work(everything=True)
    assert len(committed(writer)) == 1


def test_too_many_calls_are_refused(writer: InlineWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stuck writer fills no memory; those that were taken still run."""
    monkeypatch.setattr(writer_module, "CALLS_MAX", 3)
    futures = [Writer.call(writer, int) for _ in range(5)]
    assert [one.done() for one in futures] == [False, False, False, True, True]
    with pytest.raises(RuntimeError, match="no calls"):
        futures[3].result(0)
    writer.work()
    assert [one.result(0) for one in futures[:3]] == [0, 0, 0]


def test_stop_commits_what_is_held(tmp_path: Path, clock: FakeClock) -> None:
    """An ordinary stop loses nothing, closes cleanly and takes no more calls."""
    writer = Writer(
        Journal(tmp_path, 64),
        {"commit_sets": 500, "commit_interval_ms": 60_000, "archive_days": 1, "ballast_kb": 0},
        clock,
        lambda head: None,
    )
    writer.start()
    writer.submit(make_set(0))
    assert writer.call(writer.journal.head).result(10) == 0
    writer.stop()
    with pytest.raises(RuntimeError, match="no calls"):
        writer.call(int).result(0)
    journal = Journal(tmp_path, 64)
    journal._open()
    assert (journal._mark("state"), journal.head()) == (0, 1)
    journal.close()


def refuse(*_: object) -> None:
    """A disk that is full."""
    raise sqlite3.OperationalError("database or disk is full")


def test_a_refusing_disk_loses_nothing(
    writer: InlineWriter, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sets are held, trouble is told, tries are spaced, and all is committed once there is room."""
    tries: list[int] = []

    def refuse_append(*_: object) -> int:
        tries.append(clock.boot_ms() - BOOT_MS)
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(writer.journal, "append", refuse_append)
        for n in range(10):
            writer.submit(make_set(n))
            writer.work()
        assert "full" in writer.trouble
        assert (writer.held_sets, writer.sets_lost, tries) == (10, 0, [0])
        for _ in range(100):
            assert writer._wait_ms() > 0
            clock.advance(100)
            writer.work()
        assert tries == list(range(0, 10_001, RETRY_MS))
    clock.advance(RETRY_MS)
    writer.work()
    assert (writer.trouble, writer.held_sets, writer.sets_lost) == ("", 0, 0)
    assert committed(writer) == [make_set(n) for n in range(10)]


def test_beyond_the_limit_the_oldest_are_dropped_and_counted(
    writer: InlineWriter, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded; the newest readings are worth more."""
    monkeypatch.setattr(writer_module, "HELD_SETS_MAX", 20)
    with monkeypatch.context() as patch:
        patch.setattr(writer.journal, "append", refuse)
        for n in range(100):
            writer.submit(make_set(n))
            writer.work()
        assert (writer.held_sets, writer.sets_lost) == (20, 80)
    clock.advance(RETRY_MS)
    writer.work()
    assert committed(writer) == [make_set(n) for n in range(80, 100)]
    assert writer.sets_lost == 80


def test_the_size_limit_spares_what_the_head_end_lacks(tmp_path: Path, clock: FakeClock) -> None:
    """At max_page_count acknowledged rows make room, and nothing else does."""
    writer = InlineWriter(tmp_path, clock, size_mb_max=1, commit_sets=1000)
    writer.start()
    number = 0
    while not writer.trouble:
        for _ in range(1000):
            writer.submit(make_set(number))
            number += 1
        writer.work()
        assert number < 100_000
    before = committed(writer)
    assert before == [make_set(n) for n in range(len(before))]
    clock.advance(RETRY_MS)
    writer.work()
    assert "full" in writer.trouble
    assert committed(writer) == before
    writer.call(writer.journal.acknowledge, len(before), [])
    for _ in range(2):  # the first try makes room
        clock.advance(RETRY_MS)
        writer.work()
    assert (writer.trouble, writer.held_sets, writer.sets_lost) == ("", 0, 0)
    kept = committed(writer)
    assert kept[-1] == make_set(number - 1)
    assert kept == [make_set(n) for n in range(number - len(kept), number)]
    writer.stop()


def test_housekeeping_deletes_old_acknowledged_rows(tmp_path: Path, clock: FakeClock) -> None:
    """Once a minute, by age; the fill is measured."""
    writer = InlineWriter(tmp_path, clock, archive_days=1)
    writer.start()
    for n in range(10):
        writer.submit(make_set(n))
    writer.work()
    writer.call(writer.journal.acknowledge, 10, [])
    assert len(committed(writer)) == 10
    clock.advance(86_400_000 + 5_500)
    writer.work()
    assert committed(writer) == [make_set(n) for n in range(6, 10)]
    assert writer.fill > 0
    writer.stop()


@pytest.mark.parametrize("where", ["_keep_house", "_commit", "_on_commit"])
def test_a_fault_of_ours_does_not_end_the_thread(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A surprise in one turn is logged, and the next turn commits."""
    writer = InlineWriter(tmp_path, clock)
    writer.start()
    real = getattr(writer, where)
    turns = 0

    def fail_once(*arguments: object) -> object:
        nonlocal turns
        turns += 1
        if turns == 1:
            raise OSError(30, "Read-only file system")
        return real(*arguments)

    monkeypatch.setattr(writer, where, fail_once)
    for n in range(5):
        writer.submit(make_set(n))
    waits = 0

    def wait(seconds: float | None = None) -> bool:
        nonlocal waits
        waits += 1
        clock.advance(HOUSEKEEPING_MS)
        if waits == 3:
            writer._stopping = True
        return True

    monkeypatch.setattr(writer._wake, "wait", wait)
    writer._run()
    assert writer.heads[-1:] == [5] or where == "_on_commit"
    journal = Journal(tmp_path, 64)
    journal.open()
    assert journal.head() == 5
    journal.close()


@pytest.mark.parametrize("broken", ["unlink", "statvfs"])
def test_a_read_only_disk_is_trouble_and_no_more(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A card that was remounted read-only refuses the ballast too: sets are held all the same."""
    writer = InlineWriter(tmp_path, clock, ballast_kb=64)
    writer.start()

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(writer.journal, "append", refuse)
        patch.setattr(Path, "unlink", read_only) if broken == "unlink" else patch.setattr(
            os, "statvfs", read_only
        )
        for n in range(5):
            writer.submit(make_set(n))
        writer.work()
        clock.advance(RETRY_MS)
        writer.work()
        assert writer.trouble
        assert writer.held_sets == 5
    clock.advance(RETRY_MS)
    writer.work()
    assert len(committed(writer)) == 5
    writer.stop()


def test_the_ballast_is_taken_and_given_up(tmp_path: Path, clock: FakeClock) -> None:
    """Its size is allocated at the start, released in trouble and taken again afterwards."""
    writer = InlineWriter(tmp_path, clock, ballast_kb=64)
    writer.start()
    ballast = tmp_path / "ballast"
    assert ballast.stat().st_size == 64 * 1024
    assert ballast.stat().st_blocks * 512 >= 64 * 1024
    writer._meet_trouble(sqlite3.OperationalError("full"))
    assert not ballast.exists()
    writer.submit(make_set(0))
    clock.advance(HOUSEKEEPING_MS)
    writer.work()
    assert writer.trouble == ""
    assert ballast.exists()
    writer.stop()


def test_a_purge_that_the_disk_refuses_ends_nothing(
    writer: InlineWriter, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in housekeeping nor in trouble."""
    monkeypatch.setattr(writer.journal, "purge", refuse)
    writer.submit(make_set(0))
    clock.advance(HOUSEKEEPING_MS)
    writer.work()
    assert len(committed(writer)) == 1
    writer._meet_trouble(sqlite3.OperationalError("full"))
    assert writer.trouble == "full"


def test_a_ballast_that_the_disk_refuses_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it would be space lost for nothing."""

    def refuse_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse_space)
    Ballast(tmp_path / "ballast", 4096).fill()
    assert list(tmp_path.iterdir()) == []


def test_no_ballast_where_there_is_no_room_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small disk is not filled by it, and size 0 means none."""
    Ballast(tmp_path / "none", 0).fill()
    small = Ballast(tmp_path / "small", 4096)
    monkeypatch.setattr(small, "_free", lambda: 8191)
    small.fill()
    assert list(tmp_path.iterdir()) == []
    assert small.room()
    monkeypatch.setattr(small, "_free", lambda: 4096)
    assert not small.room()


# ---- a real small disk --------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_up(folder: Path) -> Path:
    """Somebody else takes every block that is left."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    return filler


def test_a_full_disk_and_room_again(small_disk: Path, clock: FakeClock) -> None:
    """Polling goes on, committed rows stay readable, acknowledgements get through, and held sets
    are committed after room appears."""
    writer = InlineWriter(small_disk, clock, commit_sets=50, ballast_kb=256)
    writer.start()
    number = 0

    def poll(groups: int) -> None:
        nonlocal number
        for _ in range(groups):
            for _ in range(50):
                writer.submit(make_set(number))
                number += 1
            clock.advance(RETRY_MS)
            writer.work()

    poll(2)
    filler = fill_up(small_disk)
    poll(12)
    assert writer.trouble
    assert writer.held_sets > 0
    assert not (small_disk / "ballast").exists()
    before = committed(writer)
    assert before == [make_set(n) for n in range(len(before))]
    assert len(before) + writer.held_sets == number
    writer.call(writer.journal.acknowledge, 10, []).result(0)
    assert writer.journal.acknowledged().contiguous_from(1) == 10
    filler.unlink()
    clock.advance(HOUSEKEEPING_MS)
    writer.work()
    assert (writer.trouble, writer.held_sets, writer.sets_lost) == ("", 0, 0)
    assert committed(writer)[-(number - 100) :] == [make_set(n) for n in range(100, number)]
    clock.advance(HOUSEKEEPING_MS)
    writer.work()
    assert (small_disk / "ballast").exists()
    writer.stop()


@pytest.mark.parametrize("clean", [True, False])
def test_a_start_on_a_full_disk_keeps_the_journal(
    small_disk: Path, clock: FakeClock, clean: bool
) -> None:
    """Whether it ended cleanly or not: the ballast makes room, and no row is put aside."""
    writer = InlineWriter(small_disk, clock, ballast_kb=256)
    writer.start()
    for n in range(5):
        writer.submit(make_set(n))
    writer.work()
    epoch = writer.journal.epoch
    if clean:
        writer.stop()
    else:
        writer.journal._db.close()
    fill_up(small_disk)
    again = InlineWriter(small_disk, clock, ballast_kb=256)
    again.start()
    assert (again.head, again.journal.epoch, again.journal.salvaged) == (5, epoch, "")
    assert committed(again) == [make_set(n) for n in range(5)]
    again.stop()


# ---- slots, events, losses ----------------------------------------------------------------------


def told(writer: Writer) -> list[Event]:
    """Events that the uplink would send."""
    reader = writer.journal.reader()
    found = [one for _, one in reader.events(10_000)]
    reader.close()
    return found


def test_a_slot_is_durable_with_its_set(writer: InlineWriter) -> None:
    """Neither before nor after it, and the last one of a task counts."""
    for n in range(4):
        writer.submit(make_set(n), ("m-1", n) if n else None)
        writer.work()
    assert writer.journal.memos("slot") == {}
    writer.submit(make_set(4), ("m-1/fast", 99))
    writer.work()
    assert writer.journal.memos("slot") == {"m-1": 3, "m-1/fast": 99}


def test_a_slot_whose_set_was_dropped_is_not_told_as_run(
    writer: InlineWriter, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schedule may run it again; and an event tells how many sets were dropped."""
    monkeypatch.setattr(writer_module, "HELD_SETS_MAX", 5)
    with monkeypatch.context() as patch:
        patch.setattr(writer.journal, "append", refuse)
        for n in range(8):
            writer.submit(make_set(n), (f"task-{n}", n))
            writer.work()
    clock.advance(RETRY_MS)
    writer.work()
    assert writer.journal.memos("slot") == {f"task-{n}": n for n in range(3, 8)}
    (shed,) = [one for one in told(writer) if one.kind == "values-shed"]
    assert f"3 whole reading sets from {UTC_MS} to {UTC_MS + 2000}" in shed.detail
    writer.submit(make_set(9))
    clock.advance(RETRY_MS)
    writer.work()
    assert [one.kind for one in told(writer)].count("values-shed") == 1


def test_events_are_committed_with_the_group(writer: InlineWriter, clock: FakeClock) -> None:
    """By the interval, with or without a reading set; upstream hears of them."""
    writer.note(make_event())
    clock.advance(999)
    writer.work()
    assert told(writer) == []
    clock.advance(1)
    writer.work()
    assert (told(writer), writer.commits, writer.heads) == ([make_event()], 1, [0])
    writer.note(make_event(detail="second"))
    for n in range(5):
        writer.submit(make_set(n))
    writer.work()
    assert (len(told(writer)), writer.heads) == (2, [0, 5])


def test_an_event_wakes_the_thread(writer: InlineWriter, clock: FakeClock) -> None:
    """As a reading set does."""
    writer.work()
    clock.advance(10_000)
    writer.note(make_event())
    assert writer._wait_ms() == 1_000


def test_events_that_memory_can_not_hold_are_counted_and_told(
    writer: InlineWriter, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest go."""
    monkeypatch.setattr("edge.journal.held.EVENTS_HELD_MAX", 10)
    with monkeypatch.context() as patch:
        patch.setattr(writer.journal, "append", refuse)
        for n in range(1, 26):
            writer.note(make_event(detail=str(n)))
    assert writer.events_lost == 15
    clock.advance(RETRY_MS)
    writer.work()
    found = told(writer)
    assert [one.detail for one in found[:-1]] == [str(n) for n in range(16, 26)]
    assert (found[-1].kind, found[-1].detail) == ("events-lost", "15 that memory could not hold")


def test_trouble_and_its_end_are_told(
    writer: InlineWriter, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each, however long it lasts; the first was held while the disk refused."""
    with monkeypatch.context() as patch:
        patch.setattr(writer.journal, "append", refuse)
        for n in range(20):
            writer.submit(make_set(n))
            clock.advance(RETRY_MS)
            writer.work()
    for _ in range(2):
        clock.advance(RETRY_MS)
        writer.work()
    found = told(writer)
    assert [one.kind for one in found] == ["disk-refuses", "disk-recovered"]
    assert found[0].at == UTC_MS + 2 * RETRY_MS - RETRY_MS
    assert "disk is full" in found[0].detail


@pytest.mark.parametrize(
    "broken",
    [
        {"kind": "NOT A KIND"},
        {"boot_id": b"short"},
        {"at": -1},
        {"quality": 9},
        {"detail": None},
        {"evidence": (("?", 1, b""),)},
        {"subject": "x" * 65},
    ],
)
def test_an_event_that_could_never_be_sent_is_refused(
    writer: InlineWriter, broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It would hold up all behind it; what is only too long is cut."""
    writer.note(make_event(**broken))
    writer.note(make_event(detail="d" * 500, evidence=((">", 0, b"b" * 400),) * 70))
    writer.work(everything=True)
    (kept,) = told(writer)
    assert (len(kept.detail), len(kept.evidence)) == (200, 64)
    assert [one.getMessage().split()[0] for one in caplog.records] == ["event_refused"]


def test_an_ordinary_stop_commits_events(tmp_path: Path, clock: FakeClock) -> None:
    """The event of the stop itself among them."""
    writer = InlineWriter(tmp_path, clock)
    writer.start()
    writer.note(make_event(kind="stopped", subject=""))
    writer.stop()
    journal = Journal(tmp_path, 64)
    journal.open()
    reader = journal.reader()
    assert [one.kind for _, one in reader.events(5)] == ["stopped"]
    reader.close()
    journal.close()
