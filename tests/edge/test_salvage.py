"""What a damaged journal still holds comes into the new one: all that can be read, once, and
nothing that is not true."""

import os
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from edge.journal import salvage as salvage_module
from edge.journal import wreck as wreck_module
from edge.journal.events import stamped
from edge.journal.housekeeping import BUSY_MS, HOUSEKEEPING_MS
from edge.journal.salvage import Count, Salvage, Salvager
from edge.journal.store import Journal, StoredOrder
from edge.journal.wreck import Wreck
from protocols.events import Event
from protocols.readings import Flag, Origin, ReadingSet
from tests.edge.fakes import FakeClock, InlineWriter, make_set, move_order
from tests.edge.test_journal_damage import leaves, spoil
from tests.edge.test_journal_events import (
    OTHER_BOOT,
    make_event,
    make_version_0,
    meter_event,
    read_all,
    waiting,
)

SEED = 645
ROUNDS = 12
COUNT = 3_000


def make_one(number: int) -> ReadingSet:
    """Sets of several meters, boots, origins, flags and qualities."""
    return make_set(
        number,
        f"m-{number % 5}",
        origin=(Origin.LIVE, Origin.LIVE, Origin.FREEZE)[number % 3],
        flags=Flag.JUMP if number % 7 == 0 else 0,
        boot_id=OTHER_BOOT if number > COUNT // 2 else make_set().boot_id,
        quality=number % 4,
    )


def make_damaged(folder: Path, acknowledged: int = 1000) -> Path:
    """A full journal that lies where a damaged one was put; nothing in it is damaged yet."""
    journal = Journal(folder, 64)
    journal.open()
    for start in range(1, COUNT + 1, 500):
        journal.append([make_one(n) for n in range(start, start + 500)])
    journal.append((), events=[meter_event(n) for n in range(1, 301)] + [make_event()])
    journal.acknowledge(acknowledged, [(acknowledged + 11, acknowledged + 20)])
    journal.acknowledge_events(100)
    for counter, state in ((7, "done"), (8, "sent"), (9, "done"), (10, "verified")):
        journal.take_order(StoredOrder(counter, bytes([counter]) * 16, b"body", 99, "received"))
        move_order(journal, counter, state, b"r%d" % counter)
    journal.acknowledge_receipts([(9, "done")])
    journal._set_mark("state", 1)
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal._db.close()
    aside = folder / "journal-damaged-1.db"
    (folder / "journal.db").rename(aside)
    for rest in folder.glob("journal.db-*"):
        rest.unlink()
    return aside


def new_journal(folder: Path) -> Journal:
    """Where it is brought to."""
    journal = Journal(folder, 64)
    journal.open()
    return journal


def bring_all(journal: Journal, path: Path) -> Count:
    """Until it is done."""
    one = Salvage(journal, path)
    while not one.turn():
        pass
    return one.count


def lacking() -> dict[int, ReadingSet]:
    """What the head end has not got, by its old sequence."""
    return {n: make_one(n) for n in range(1001, COUNT + 1) if not 1011 <= n <= 1020}


def identity(one: ReadingSet) -> tuple[str, bytes, int]:
    """What tells a set from all others, also at the head end."""
    return one.meter_id, one.boot_id, one.boot_at


def test_all_that_the_head_end_lacks_is_brought(tmp_path: Path) -> None:
    """Sets, events and receipts as they were, in their order, under new sequences."""
    aside = make_damaged(tmp_path)
    journal = new_journal(tmp_path)
    journal.append([make_set(n, "new") for n in range(5)])
    count = bring_all(journal, aside)
    assert read_all(journal)[5:] == list(enumerate(lacking().values(), 6))
    expected = [*(meter_event(n) for n in range(101, 301)), make_event()]
    assert [one for _, one in waiting(journal)] == expected
    assert vars(count) == {"sets": 1990, "events": 201, "receipts": 3, "spoiled": 0}
    journal.close()


def test_an_order_out_of_a_damaged_journal_is_never_carried_out(tmp_path: Path) -> None:
    """Receipts go on to the head end; what was not settled counts as sent, so that the next start
    calls it unknown."""
    aside = make_damaged(tmp_path)
    journal = new_journal(tmp_path)
    bring_all(journal, aside)
    reader = journal.reader()
    receipts = [(7, "done", b"r7"), (8, "sent", b"r8"), (10, "verified", b"r10")]
    assert reader.receipts(9) == receipts
    assert [one.counter for one in journal.orders(("received", "verified"))] == []
    assert [one.counter for one in journal.orders(("sent",))] == [8, 10]
    journal.purge(0, 1.0)
    assert reader.receipts(9) == receipts
    reader.close()
    journal.close()


def test_a_second_salvage_brings_nothing_twice(tmp_path: Path) -> None:
    """Of the file, of a copy of it, after a restart."""
    aside = make_damaged(tmp_path)
    journal = new_journal(tmp_path)
    bring_all(journal, aside)
    before, events = read_all(journal), waiting(journal)
    journal.close()
    journal = new_journal(tmp_path)
    copy = tmp_path / "copy.db"
    shutil.copy(aside, copy)
    for path in (aside, copy):
        assert bring_all(journal, path).sets == 0
    assert (read_all(journal), waiting(journal)) == (before, events)
    journal.close()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_pages_that_are_spoiled_cost_their_rows_and_no_others(tmp_path: Path, seed: int) -> None:
    """Whatever page is noise: what is brought is true, comes once, and rows of good pages all
    come."""
    rng = random.Random(SEED + seed)
    aside = make_damaged(tmp_path)
    pages = leaves(aside)
    kept = ("meter", "boot", "layout", "acknowledged", "mark")
    spared = {0, *(page for table in kept for page in leaves(aside, table))}
    bad = set(rng.sample(pages, rng.randrange(1, 6)))
    if seed % 2:
        whole = range(1, aside.stat().st_size // 4096)
        bad |= set(rng.sample([page for page in whole if page not in spared], 3))
    rows_of_bad_pages = rows_on(aside, bad)
    spoil(aside, sorted(bad))
    journal = new_journal(tmp_path)
    count = bring_all(journal, aside)
    truth = {identity(one): one for one in lacking().values()}
    found = [one for _, one in read_all(journal)]
    assert len({identity(one) for one in found}) == len(found) == count.sets
    assert all(truth[identity(one)] == one for one in found), f"seed {SEED + seed}"
    missing = len(truth) - len(found)
    if not seed % 2:
        assert missing == rows_of_bad_pages
    if not seed % 2 and pages[-1] not in bad:  # it alone tells how far the sequences went
        assert count.spoiled == missing
    assert count.spoiled >= missing
    journal.close()


def rows_on(path: Path, pages: set[int]) -> int:
    """Rows of these leaves that the head end lacks."""
    db = sqlite3.connect(path)
    query = "SELECT pageno - 1, ncell FROM dbstat WHERE name = 'reading_set' AND pagetype = 'leaf'"
    cells = [(page, count) for page, count in db.execute(query + " ORDER BY path")]
    db.close()
    lost, first = 0, 1
    wanted = lacking()
    for page, count in cells:
        if page in pages:
            lost += sum(n in wanted for n in range(first, first + count))
        first += count
    return lost


def test_a_file_without_its_first_page_is_refused(tmp_path: Path) -> None:
    """Nothing tells what its pages are."""
    aside = make_damaged(tmp_path)
    spoil(aside, [0])
    journal = new_journal(tmp_path)
    with pytest.raises(sqlite3.DatabaseError):
        Salvage(journal, aside)
    journal.close()


def test_what_can_not_be_attributed_is_left_out(tmp_path: Path) -> None:
    """A set whose meter is not known may be anybody's: not even one comes under a wrong name."""
    aside = make_damaged(tmp_path)
    spoil(aside, leaves(aside, "meter"))
    journal = new_journal(tmp_path)
    count = bring_all(journal, aside)
    assert read_all(journal) == []
    assert (count.sets, count.spoiled, count.events) == (0, 2000, 201)
    journal.close()


def test_without_the_acknowledgements_all_is_brought(tmp_path: Path) -> None:
    """What comes twice can be told apart at the head end; what does not come is lost."""
    aside = make_damaged(tmp_path)
    spoil(aside, leaves(aside, "acknowledged"))
    journal = new_journal(tmp_path)
    assert bring_all(journal, aside).sets == COUNT
    journal.close()


@pytest.mark.parametrize(
    "column",
    [
        "meter_key = 99",
        "layout_key = 99",
        "boot_key = 99",
        "read_at = -5",
        "read_at = 'x'",
        "boot_at = 1.5",
        "quality = 4",
        "origin = 3",
        "flags = 64",
        "\"values\" = '[1]'",
        '"values" = \'[1,"x"]\'',
        "\"values\" = '[1,2.5]'",
        "\"values\" = '[true,2]'",
        "\"values\" = '[1,2'",
        "\"values\" = '[1,9223372036854775807]'",
        "\"values\" = x'00'",
    ],
)
def test_a_row_that_makes_no_sense_is_left_out(tmp_path: Path, column: str) -> None:
    """The page parses, a field does not: the row is counted, the others come."""
    aside = make_damaged(tmp_path)
    db = sqlite3.connect(aside, isolation_level=None)
    db.execute(f"UPDATE reading_set SET {column} WHERE sequence = 2000")
    db.close()
    journal = new_journal(tmp_path)
    count = bring_all(journal, aside)
    assert (count.sets, count.spoiled) == (1989, 1)
    assert make_one(2000) not in [one for _, one in read_all(journal)]
    journal.close()


def test_an_event_that_the_head_end_would_refuse_is_left_out(tmp_path: Path) -> None:
    """It would hold up all that follow."""
    aside = make_damaged(tmp_path)
    db = sqlite3.connect(aside, isolation_level=None)
    db.execute("UPDATE event SET kind = 'NO KIND' WHERE sequence = 200")
    db.execute("UPDATE event SET evidence = '[[1]]' WHERE sequence = 201")
    db.close()
    journal = new_journal(tmp_path)
    count = bring_all(journal, aside)
    assert (count.events, count.spoiled) == (199, 2)
    journal.close()


def test_a_salvage_that_is_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any moment: what was brought is noted with it."""
    monkeypatch.setattr(salvage_module, "SETS_AT_ONCE", 100)
    monkeypatch.setattr(salvage_module, "EVENTS_AT_ONCE", 50)
    aside = make_damaged(tmp_path)
    rng = random.Random(SEED)
    done = False
    while not done:
        journal = new_journal(tmp_path)
        one = Salvage(journal, aside)
        for _ in range(rng.randrange(1, 9)):
            done = one.turn()
            if done:
                break
        one.close()
        journal._db.close()  # a power cut
    journal = new_journal(tmp_path)
    assert [one for _, one in read_all(journal)] == list(lacking().values())
    assert len(waiting(journal)) == 201
    journal.close()


def test_a_journal_of_the_first_version_is_salvaged_too(tmp_path: Path) -> None:
    """It has no origins, no flags, no events and no memos."""
    (tmp_path / "old").mkdir()
    make_version_0(tmp_path / "old", 10)
    journal = new_journal(tmp_path)
    count = bring_all(journal, tmp_path / "old" / "journal.db")
    assert [one for _, one in read_all(journal)] == [make_set(n) for n in range(6, 11)]
    assert vars(count) == {"sets": 5, "events": 0, "receipts": 1, "spoiled": 0}
    journal.close()


def test_the_file_is_not_changed(tmp_path: Path) -> None:
    """What was put aside stays as evidence."""
    aside = make_damaged(tmp_path)
    spoil(aside, leaves(aside)[4:5])
    before = aside.read_bytes()
    journal = new_journal(tmp_path)
    bring_all(journal, aside)
    assert aside.read_bytes() == before
    journal.close()


def test_a_hole_without_an_end_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each portion is bounded, and all of them come to an end."""
    monkeypatch.setattr(wreck_module, "TRIES_MAX", 10)
    aside = make_damaged(tmp_path)
    spoil(aside, leaves(aside)[5:])
    wreck = Wreck(aside)
    after, portions, good = 0, 0, 0
    while True:
        found = wreck.sets(after, 100)
        good += len(found.rows)
        portions += 1
        after = found.upto
        if found.is_end:
            break
        assert portions < 1000
    assert 0 < good < COUNT
    wreck.close()


def test_a_better_copy_brings_only_what_was_missing(tmp_path: Path) -> None:
    """As made by SQLite's own `.recover`: it has the file's epoch and its sequences."""
    aside = make_damaged(tmp_path)
    better = tmp_path / "recovered.db"
    shutil.copy(aside, better)
    spoil(aside, leaves(aside)[-6:-3])
    journal = new_journal(tmp_path)
    first = bring_all(journal, aside)
    assert first.spoiled > 0
    second = bring_all(journal, better)
    assert second.sets == first.spoiled
    found = {identity(one): one for _, one in read_all(journal)}
    assert found == {identity(one): one for one in lacking().values()}
    assert journal.head() == len(found)
    assert len(waiting(journal)) == 201
    journal.close()


# ---- in the agent -------------------------------------------------------------------------------


def test_the_writer_salvages_by_itself(tmp_path: Path, clock: FakeClock) -> None:
    """In portions, between its other work, once; then it tells."""
    make_damaged(tmp_path)
    writer = InlineWriter(tmp_path, clock)
    writer.start()
    writer.submit(make_set(1, "new"))
    for _ in range(20):
        writer.work(everything=True)
        clock.advance(BUSY_MS)
    found = [one for _, one in read_all(writer.journal)]
    assert [one for one in found if one.meter_id != "new"] == list(lacking().values())
    assert (len(found), writer.head, writer.heads[-1]) == (1991, 1991, 1991)
    told = [one for _, one in waiting(writer.journal) if one.kind == "journal-salvaged"]
    assert len(told) == 1
    assert "journal-damaged-1.db: 1990 reading sets, 201 events, 3 receipts" in told[0].detail
    writer.stop()
    again = InlineWriter(tmp_path, clock)
    again.start()
    for _ in range(20):
        clock.advance(HOUSEKEEPING_MS)
        again.work(everything=True)
    kinds = [one.kind for _, one in waiting(again.journal)]
    assert (again.head, kinds.count("journal-salvaged")) == (1991, 1)
    again.stop()


def test_a_later_file_of_that_name_is_salvaged_too(tmp_path: Path, clock: FakeClock) -> None:
    """The person deleted the first one; names are used again."""
    journal = new_journal(tmp_path)
    salvager = Salvager(journal)

    def told(name: str, count: Count) -> Event:
        return stamped(clock, "journal-salvaged", f"{name}: {count.text()}")

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for number, folder in enumerate(("a", "b"), 1):
        (tmp_path / "journal-damaged-1.db").unlink(missing_ok=True)
        make_damaged(tmp_path / folder).rename(tmp_path / "journal-damaged-1.db")
        os.utime(tmp_path / "journal-damaged-1.db", (number, number))
        while salvager.turn(told):
            pass
        assert journal.head() == number * 1990
    journal.close()


def test_a_file_that_is_no_database_is_tried_once(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """And told once; the others are salvaged."""
    (tmp_path / "journal-damaged-0.db").write_bytes(b"no database at all" * 500)
    make_damaged(tmp_path)
    writer = InlineWriter(tmp_path, clock)
    writer.start()
    for _ in range(20):
        clock.advance(BUSY_MS)
        writer.work()
    assert writer.head == 1990
    assert [one.getMessage().split()[0] for one in caplog.records].count("salvage_refused") == 1
    writer.stop()


def test_no_salvage_where_there_is_no_room(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is salvaged must not have live readings shed."""
    make_damaged(tmp_path)
    writer = InlineWriter(tmp_path, clock)
    writer.start()
    with monkeypatch.context() as patch:
        patch.setattr(writer.journal, "fill", lambda: 0.81)
        for _ in range(5):
            clock.advance(HOUSEKEEPING_MS)
            writer.work(everything=True)
        assert writer.head == 0
    for _ in range(10):
        clock.advance(HOUSEKEEPING_MS)
        writer.work(everything=True)
    assert writer.head == 1990
    writer.stop()


def test_a_disk_that_refuses_interrupts_a_salvage(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on where it was."""
    make_damaged(tmp_path)
    writer = InlineWriter(tmp_path, clock)
    writer.start()
    writer.work()
    assert writer.head == 490  # 500 sequences were looked at, 10 of them acknowledged

    def refuse(*_: Any, **__: Any) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(writer.journal, "append", refuse)
        for _ in range(5):
            clock.advance(HOUSEKEEPING_MS)
            writer.work()
    assert writer.head == 490
    for _ in range(10):
        clock.advance(HOUSEKEEPING_MS)
        writer.work(everything=True)
    assert [one for _, one in read_all(writer.journal)] == list(lacking().values())
    writer.stop()
