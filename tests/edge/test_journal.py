"""The journal: what is committed stays, a sequence is given once, and only acknowledged rows go."""

import itertools
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.journal.store import COUNTER_BLOCK, ORDERS_KEPT, Journal, StoredOrder
from protocols.obis import Obis
from protocols.quantity import UNITS, Kind, Quantity
from protocols.readings import FLAGS_MAX, Reading, ReadingSet, TimeQuality
from tests.edge.fakes import BOOT_ID, BOOT_MS, UTC_MS, make_set, move_order

OTHER_BOOT = bytes(reversed(BOOT_ID))
FAR = 1 << 62
# Each example has a folder of its own inside the test's.
HOSTILE = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)


def reopened(journal: Journal, folder: Path) -> Journal:
    """A clean restart."""
    journal.close()
    again = Journal(folder, 64)
    again.open()
    return again


def read_all(journal: Journal) -> list[tuple[int, ReadingSet]]:
    """Everything, through the connection that only reads."""
    reader = journal.reader()
    rows = reader.rows(1, FAR)
    reader.close()
    return rows


obis = st.builds(Obis, *[st.integers(0, 255)] * 6)
numbers = st.builds(
    Quantity,
    st.integers(-FAR, FAR),
    st.integers(-9, 9),
    st.sampled_from(UNITS),
    st.sampled_from((Kind.CUMULATIVE, Kind.INSTANTANEOUS, Kind.STATUS)),
)
texts = st.builds(Quantity, st.text(max_size=20), st.just(0), st.just(""), st.just(Kind.TEXT))
reading_sets = st.builds(
    ReadingSet,
    st.text("abcdefgh-0123456789", min_size=1, max_size=4),
    st.integers(0, FAR),
    st.integers(0, FAR),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 3),
    st.lists(st.builds(Reading, obis, numbers | texts), max_size=5).map(tuple),
    st.integers(0, 2),
    st.integers(0, FLAGS_MAX),
)


@settings(max_examples=40, suppress_health_check=HOSTILE)
@given(st.lists(st.lists(reading_sets, max_size=6), max_size=4))
def test_what_is_appended_is_read_back(tmp_path: Path, groups: list[list[ReadingSet]]) -> None:
    """Any reading sets come back equal, in order, numbered from 1, also after a restart."""
    with TemporaryDirectory(dir=tmp_path) as name:
        journal = Journal(Path(name), 64)
        journal.open()
        for group in groups:
            journal.append(group)
        expected = list(enumerate((one for group in groups for one in group), 1))
        assert read_all(journal) == expected
        journal = reopened(journal, Path(name))
        rows = read_all(journal)
        assert rows == expected
        assert all(type(one) is ReadingSet for _, one in rows)
        assert all(type(r.obis) is Obis for _, one in rows for r in one.readings)
        journal.close()


def test_append_tells_the_highest_sequence(journal: Journal) -> None:
    """Sequences rise by one, and an empty append gives none."""
    assert journal.append([make_set(1), make_set(2)]) == 2
    assert journal.append([]) == 2
    assert journal.append([make_set(3)]) == 3
    assert journal.head() == 3


def test_a_commit_waits_for_the_disk(journal: Journal) -> None:
    """FULL: in WAL mode NORMAL does not sync a commit, and a power cut takes it back."""
    pragmas = {
        name: journal._db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "journal_mode")
    }
    assert pragmas == {"synchronous": 2, "journal_mode": "wal"}


def test_the_file_is_for_its_owner_only(journal: Journal) -> None:
    """Consumption shows when people are at home."""
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600


def test_a_sequence_is_never_used_again(tmp_path: Path) -> None:
    """After everything is acknowledged, purged as far as possible and reopened, numbers go on."""
    journal = Journal(tmp_path, 64)
    journal.open()
    seen = set()
    for round_ in range(4):
        last = journal.append([make_set(n) for n in range(5)])
        fresh = set(range(last - 4, last + 1))
        assert not fresh & seen, round_
        seen |= fresh
        journal.acknowledge(last, [])
        assert journal.purge(FAR, 1.0) >= 4
        assert journal.head() == last
        journal = reopened(journal, tmp_path)
        assert journal.head() == last
    journal.close()


def test_a_failing_append_leaves_nothing(journal: Journal) -> None:
    """An error in the middle commits no row, gives no sequence away and spoils no later append."""

    def sets() -> Iterator[ReadingSet]:
        yield make_set(1, "new-meter", boot_id=OTHER_BOOT)
        raise ValueError("in the middle")

    journal.append([make_set(0)])
    with pytest.raises(ValueError, match="in the middle"):
        journal.append(sets())
    assert journal.head() == 1
    assert journal.append([make_set(2, "new-meter", boot_id=OTHER_BOOT)]) == 2
    assert read_all(journal) == [
        (1, make_set(0)),
        (2, make_set(2, "new-meter", boot_id=OTHER_BOOT)),
    ]


def test_an_append_that_the_disk_refuses_leaves_nothing(tmp_path: Path) -> None:
    """At the size limit all sets of an append are refused, and smaller ones still fit."""
    journal = Journal(tmp_path, 1)
    journal.open()
    journal.append([make_set(0)])
    with pytest.raises(sqlite3.OperationalError, match="full"):
        journal.append([make_set(n) for n in range(30_000)])
    assert journal.head() == 1
    assert journal.append([make_set(1)]) == 2
    assert len(read_all(journal)) == 2
    journal.close()


def test_a_commit_that_the_disk_refuses_is_rolled_back(tmp_path: Path) -> None:
    """Order and receipt stay as they were, and the next transaction works."""
    journal = Journal(tmp_path, 1)
    journal.open()
    journal.take_order(StoredOrder(1, b"i" * 16, b"body", 99, "received"))
    with pytest.raises(sqlite3.OperationalError, match="full"):
        move_order(journal, 1, "verified", b"x" * 4_000_000)
    assert journal.orders(("received",))[0].counter == 1
    move_order(journal, 1, "verified", b"x")
    assert journal.orders(("received",)) == []
    journal.close()


@settings(max_examples=40, suppress_health_check=HOSTILE)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 12),
            st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=3),
        ),
        max_size=6,
    )
)
def test_acknowledgements_add_up(
    tmp_path: Path, acks: list[tuple[int, list[tuple[int, int]]]]
) -> None:
    """Whatever order they come in, the stored set is their union, told and kept alike."""
    with TemporaryDirectory(dir=tmp_path) as name:
        journal = Journal(Path(name), 64)
        journal.open()
        naive: set[int] = set()
        for upto, ranges in acks:
            naive |= set(range(1, upto + 1))
            naive |= {n for first, more in ranges for n in range(first, first + more + 1)}
            told = journal.acknowledge(upto, [(first, first + more) for first, more in ranges])
            assert list(told) == list(journal.acknowledged())
        journal = reopened(journal, Path(name))
        kept = {n for first, last in journal.acknowledged() for n in range(first, last + 1)}
        assert kept == naive
        journal.close()


def test_retime_touches_only_unsynced_rows_of_this_boot_above_the_mark(journal: Journal) -> None:
    """Rows of another boot, of a known time, or sent already keep the time that they have."""
    unsynced = TimeQuality.UNSYNCED
    journal.append(
        [
            make_set(1, quality=unsynced),  # at the mark: sent
            make_set(2, quality=unsynced, boot_id=OTHER_BOOT),
            make_set(3, quality=TimeQuality.RTC),
            make_set(4, quality=TimeQuality.NTP),
            make_set(5, quality=unsynced),
            make_set(6, quality=unsynced, read_at=17),
        ]
    )
    before = dict(read_all(journal))
    assert journal.retime(BOOT_ID, 1_000_000, 1, TimeQuality.SIGNED) == 2
    after = dict(read_all(journal))
    assert {n for n in after if after[n] != before[n]} == {5, 6}
    for n in (5, 6):
        assert after[n].read_at == BOOT_MS + n * 1000 + 1_000_000
        assert after[n].boot_at == before[n].boot_at
        assert after[n].quality == TimeQuality.SIGNED
    assert journal.retime(BOOT_ID, 5, 1, TimeQuality.SIGNED) == 0
    assert journal.retime(b"\x77" * 16, 5, 0, TimeQuality.SIGNED) == 0


def test_the_mark_of_flagged_rows_never_falls(journal: Journal) -> None:
    """A batch that is sent a second time must not open the rows behind it to re-timing."""
    assert journal.flagged_sent() == 0
    journal.note_flagged_sent(100)
    journal.note_flagged_sent(50)
    assert journal.flagged_sent() == 100


@pytest.mark.parametrize("crowded", [False, True])
def test_purge_takes_acknowledged_rows_only(journal: Journal, crowded: bool) -> None:
    """By age or by space, a row that the head end lacks stays, and so does all behind it."""
    journal.append([make_set(n) for n in range(1, 11)])
    journal.acknowledge(4, [(6, 10)])
    assert journal.purge(0 if crowded else FAR, 0.0 if crowded else 1.0) == 4
    assert [n for n, _ in read_all(journal)] == [5, 6, 7, 8, 9, 10]
    assert journal.purge(FAR, 0.0) == 0


def test_purge_by_age_keeps_what_is_young(journal: Journal) -> None:
    """Acknowledged rows stay as the archive until they are older than the limit."""
    journal.append([make_set(n) for n in range(1, 11)])
    journal.acknowledge(10, [])
    assert journal.purge(UTC_MS + 4 * 1000, 1.0) == 3
    assert [n for n, _ in read_all(journal)] == [4, 5, 6, 7, 8, 9, 10]


def test_purge_never_takes_the_head(journal: Journal) -> None:
    """The newest row holds the place of the sequence."""
    journal.append([make_set(n) for n in range(1, 4)])
    journal.acknowledge(3, [])
    journal.purge(FAR, 0.0)
    assert [n for n, _ in read_all(journal)] == [3]


def test_purge_is_done_in_portions(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """One purge deletes at most PURGE_ROWS_MAX rows, oldest first."""
    monkeypatch.setattr("edge.journal.store.PURGE_ROWS_MAX", 3)
    journal.append([make_set(n) for n in range(1, 11)])
    journal.acknowledge(10, [])
    assert [journal.purge(FAR, 1.0) for _ in range(4)] == [3, 3, 3, 0]


def test_purge_gives_the_space_back(tmp_path: Path) -> None:
    """What was deleted can be used again: the fill falls."""
    journal = Journal(tmp_path, 2)
    journal.open()
    journal.append([make_set(n) for n in range(8_000)])
    full = journal.fill()
    assert full > 0.1
    journal.acknowledge(8_000, [])
    while journal.purge(FAR, 1.0):
        pass
    assert journal.fill() < full / 2
    journal.close()


def test_counters_are_never_reserved_twice(tmp_path: Path) -> None:
    """Not within a run, not after a clean restart, not after a crash."""
    journal = Journal(tmp_path, 64)
    journal.open()
    firsts = [journal.reserve_counters(), journal.reserve_counters()]
    journal = reopened(journal, tmp_path)
    firsts.append(journal.reserve_counters())
    journal._db.close()  # a crash: nothing is told to anybody
    journal = Journal(tmp_path, 64)
    journal.open()
    firsts.append(journal.reserve_counters())
    assert firsts[0] >= 1
    assert all(b - a >= COUNTER_BLOCK for a, b in itertools.pairwise(firsts))
    journal.close()


def test_orders_and_receipts_are_kept(tmp_path: Path) -> None:
    """State and receipt move together; a receipt stays open until it is acknowledged."""
    journal = Journal(tmp_path, 64)
    journal.open()
    journal.take_order(StoredOrder(7, b"i" * 16, b"body", 99, "received"))
    move_order(journal, 7, "verified", b"r1")
    move_order(journal, 7, "sent", b"r2")
    with pytest.raises(sqlite3.IntegrityError):
        journal.take_order(StoredOrder(7, b"j" * 16, b"other", 99, "received"))
    journal = reopened(journal, tmp_path)
    assert journal.orders(("verified",)) == []
    assert journal.orders(("sent", "verified")) == [StoredOrder(7, b"i" * 16, b"body", 99, "sent")]
    assert (journal.order_id(7), journal.order_id(8)) == (b"i" * 16, b"")
    reader = journal.reader()
    assert reader.receipts(9) == [(7, "verified", b"r1"), (7, "sent", b"r2")]
    assert reader.receipts(1) == [(7, "verified", b"r1")]
    journal.acknowledge_receipts([(7, "verified"), (8, "sent")])
    assert reader.receipts(9) == [(7, "sent", b"r2")]
    journal.acknowledge_receipts([(7, "sent")])
    assert reader.receipts(9) == []
    journal.reopen_receipts(7)
    assert len(reader.receipts(9)) == 2
    reader.close()
    journal.close()


def test_old_orders_go_but_not_what_the_head_end_lacks(journal: Journal) -> None:
    """The last ORDERS_KEPT stay, and an old one until each of its receipts is stored."""
    for counter in range(1, ORDERS_KEPT + 4):
        journal.take_order(StoredOrder(counter, bytes(16), b"body", 99, "received"))
        move_order(journal, counter, "done", b"receipt")
        if counter != 2:
            journal.acknowledge_receipts([(counter, "done")])
    journal.purge(0, 1.0)
    kept = [order.counter for order in journal.orders(("done",))]
    assert kept == [2, *range(4, ORDERS_KEPT + 4)]
    reader = journal.reader()
    assert reader.receipts(10) == [(2, "done", b"receipt")]
    reader.close()
    journal.acknowledge_receipts([(2, "done")])
    journal.purge(0, 1.0)
    assert [order.counter for order in journal.orders(("done",))] == kept[1:]


def test_a_receipt_outlives_the_journal_that_had_its_order(journal: Journal) -> None:
    """The order was under way when the journal was put aside: what became of it is told."""
    move_order(journal, 7, "done", b"receipt")
    journal.purge(0, 1.0)
    reader = journal.reader()
    assert reader.receipts(10) == [(7, "done", b"receipt")]
    journal.acknowledge_receipts([(7, "done")])
    journal.purge(0, 1.0)
    assert journal._db.execute("SELECT count(*) FROM receipt").fetchone() == (0,)
    reader.close()


def test_a_reader_can_not_write(journal: Journal) -> None:
    """There is one writer."""
    reader = journal.reader()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM reading_set")
    reader.close()


def damage_header(path: Path) -> None:
    """Not a database any more."""
    path.write_bytes(b"\x00" * 100 + path.read_bytes()[100:])


def damage_pages(path: Path) -> None:
    """Pages behind the first are noise."""
    content = bytearray(path.read_bytes())
    content[4096:-4096] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    """The end of the file is gone."""
    path.write_bytes(path.read_bytes()[:-8192])


@pytest.mark.parametrize("damage", [damage_header, damage_pages, cut_off])
def test_a_damaged_file_is_put_aside(tmp_path: Path, damage: object) -> None:
    """It is kept for salvage, a new journal with a new epoch works, and the reason is told."""
    journal = Journal(tmp_path, 64)
    journal.open()
    journal.append([make_set(n) for n in range(200)])
    epoch = journal.epoch
    journal._set_mark("state", 1)
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal._db.close()  # a power cut: not closed cleanly
    damage(journal.path)  # type: ignore[operator]
    damaged = journal.path.read_bytes()
    again = Journal(tmp_path, 64)
    again.open()
    assert again.salvaged
    assert again.epoch != epoch
    assert len(again.epoch) == 8
    aside = (tmp_path / "journal-damaged-1.db").read_bytes()
    assert aside[4096:] == damaged[4096:]  # SQLite touches the head of a file when it opens it
    assert again.head() == 0
    assert again.append([make_set(1)]) == 1
    assert read_all(again) == [(1, make_set(1))]
    again.close()


def test_each_damaged_file_gets_its_own_name(tmp_path: Path) -> None:
    """An earlier one is never written over."""
    (tmp_path / "journal-damaged-1.db").write_bytes(b"older")
    (tmp_path / "journal.db").write_bytes(b"no database at all" * 500)
    journal = Journal(tmp_path, 64)
    journal.open()
    assert (tmp_path / "journal-damaged-1.db").read_bytes() == b"older"
    assert (tmp_path / "journal-damaged-2.db").exists()
    journal.close()


def test_the_epoch_stays_with_the_file(tmp_path: Path) -> None:
    """A restart is no new journal, and a new journal has another epoch."""
    journal = Journal(tmp_path, 64)
    journal.open()
    epoch = journal.epoch
    journal = reopened(journal, tmp_path)
    assert journal.epoch == epoch
    assert journal.salvaged == ""
    journal.close()
    (tmp_path / "other").mkdir()
    other = Journal(tmp_path / "other", 64)
    other.open()
    assert other.epoch != epoch
    other.close()


def test_a_crash_while_the_file_is_made_leaves_no_half_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start makes it anew, with an epoch."""

    def crash(size: int) -> bytes:
        raise OSError("power cut")

    journal = Journal(tmp_path, 64)
    with monkeypatch.context() as patch:
        patch.setattr("os.urandom", crash)
        with pytest.raises(OSError, match="power cut"):
            journal.open()
    journal._disconnect()
    again = Journal(tmp_path, 64)
    again.open()
    assert again.salvaged == ""
    assert len(again.epoch) == 8
    again.close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_FULL, "database or disk is full"),
        (sqlite3.SQLITE_BUSY, "database is locked"),
        (sqlite3.SQLITE_CANTOPEN, "unable to open database file"),
        (sqlite3.SQLITE_READONLY, "attempt to write a readonly database"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "disk I/O error"),
    ],
)
def test_a_disk_that_refuses_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    """Rows that the head end lacks are not put aside because the disk is full or the file busy."""
    journal = Journal(tmp_path, 64)
    journal.open()
    journal.append([make_set(1)])
    journal.close()

    def refuse(self: Journal) -> None:
        error = sqlite3.OperationalError(words)
        error.sqlite_errorcode = code
        raise error

    again = Journal(tmp_path, 64)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_open", refuse)
        with pytest.raises(sqlite3.OperationalError, match=words):
            again.open()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["journal.db"]
    again.open()
    assert read_all(again) == [(1, make_set(1))]
    again.close()


def test_a_broken_schema_is_damage(tmp_path: Path) -> None:
    """A good database that is no journal is put aside too."""
    other = sqlite3.connect(tmp_path / "journal.db")
    other.execute("CREATE TABLE something (x)")
    other.close()
    journal = Journal(tmp_path, 64)
    journal.open()
    assert "no such table" in journal.salvaged
    assert journal.append([make_set(1)]) == 1
    journal.close()
