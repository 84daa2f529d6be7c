"""Events, slots and memos: durable with the readings, once, and known by their sequence."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.journal import opening
from edge.journal.damage import JournalRefusedError, JournalReplacedError
from edge.journal.readings import BLOCK_BITS
from edge.journal.store import Journal
from protocols.events import Event
from protocols.readings import Flag, Origin, ReadingSet, TimeQuality
from tests.edge.fakes import BOOT_ID, BOOT_MS, UTC_MS, make_set

FAR = 1 << 62
OTHER_BOOT = bytes(reversed(BOOT_ID))


def make_event(
    number: int = 0, kind: str = "line-down", subject: str = "line-1", **more: Any
) -> Event:
    """One of the gateway's, or a meter's when it has a number."""
    fields = {
        "kind": kind,
        "subject": subject,
        "at": UTC_MS + number,
        "boot_at": BOOT_MS + number,
        "boot_id": BOOT_ID,
        "quality": TimeQuality.NTP,
        "number": number,
        "drift_s": -3 if number else None,
        "detail": f"detail {number}",
        "evidence": ((">", 0, b"\x68\x01"), ("<", 70, b"\x16")),
    }
    return Event(**(fields | more))


def meter_event(number: int, **more: Any) -> Event:
    """A meter's own record."""
    return make_event(number, "meter-cover-opened", "m-1", **more)


def waiting(journal: Journal, limit: int = 1000) -> list[tuple[int, Event]]:
    """What the uplink would send."""
    reader = journal.reader()
    found = reader.events(limit)
    reader.close()
    return found


def read_all(journal: Journal) -> list[tuple[int, ReadingSet]]:
    """Everything, through the connection that only reads."""
    reader = journal.reader()
    rows = reader.rows(1, FAR)
    reader.close()
    return rows


def reopened(journal: Journal, folder: Path) -> Journal:
    """A clean restart."""
    journal.close()
    again = Journal(folder, 64)
    again.open()
    return again


def test_events_are_read_back_as_they_were(tmp_path: Path) -> None:
    """With their frames and their drift, numbered from 1, also after a restart."""
    journal = Journal(tmp_path, 64)
    journal.open()
    told = [make_event(), meter_event(7), make_event(subject="", evidence=(), detail="")]
    assert journal.append([make_set(1)], events=told) == 1
    expected = list(enumerate(told, 1))
    assert waiting(journal) == expected
    assert waiting(journal, 2) == expected[:2]
    journal = reopened(journal, tmp_path)
    assert waiting(journal) == expected
    assert type(waiting(journal)[0][1]) is Event
    journal.close()


def test_a_meters_event_is_kept_once(journal: Journal) -> None:
    """However often its records are collected; and no sequence is used up by the second time."""
    journal.append((), events=[meter_event(1), meter_event(1), meter_event(2)])
    journal.append((), events=[meter_event(2, boot_at=BOOT_MS + 9), meter_event(3)])
    assert waiting(journal) == [(1, meter_event(1)), (2, meter_event(2)), (3, meter_event(3))]
    others = [
        meter_event(3, at=UTC_MS + 99),  # the meter's counter went round
        make_event(3, "meter-cover-opened", "m-2"),
        make_event(3, "meter-power-failed", "m-1"),
    ]
    journal.append((), events=others)
    assert waiting(journal)[3:] == list(enumerate(others, 4))


def test_the_gateways_events_may_look_alike(journal: Journal) -> None:
    """A line that goes down twice within a millisecond did so twice."""
    journal.append((), events=[make_event(), make_event()])
    assert waiting(journal) == [(1, make_event()), (2, make_event())]


def test_acknowledged_events_are_not_sent_again(tmp_path: Path) -> None:
    """The mark only rises, never beyond what there is, and outlives a restart."""
    journal = Journal(tmp_path, 64)
    journal.open()
    journal.append((), events=[meter_event(n) for n in range(1, 6)])
    journal.acknowledge_events(3)
    journal.acknowledge_events(2)
    journal.acknowledge_events(6)
    assert [n for n, _ in waiting(journal)] == [4, 5]
    journal = reopened(journal, tmp_path)
    assert [n for n, _ in waiting(journal)] == [4, 5]
    journal.acknowledge_events(5)
    assert waiting(journal) == []
    journal.close()


def test_an_events_sequence_is_never_used_again(tmp_path: Path) -> None:
    """Not when all are acknowledged and purged, nor after a restart."""
    journal = Journal(tmp_path, 64)
    journal.open()
    journal.append((), events=[meter_event(n) for n in range(1, 6)])
    journal.acknowledge_events(5)
    journal.purge(FAR, 1.0)
    assert journal._db.execute("SELECT count(*) FROM event").fetchone() == (0,)
    journal = reopened(journal, tmp_path)
    journal.append((), events=[meter_event(9)])
    assert waiting(journal) == [(6, meter_event(9))]
    journal.close()


def test_purge_keeps_events_that_the_head_end_lacks(journal: Journal) -> None:
    """By age only: want of space deletes no event."""
    journal.append((), events=[meter_event(n) for n in range(1, 6)])
    journal.acknowledge_events(3)
    journal.purge(0, 0.0)
    assert journal._db.execute("SELECT count(*) FROM event").fetchone() == (5,)
    journal.purge(UTC_MS + 2, 1.0)
    assert [n for (n,) in journal._db.execute("SELECT sequence FROM event")] == [2, 3, 4, 5]
    journal.purge(FAR, 1.0)
    assert [n for (n,) in journal._db.execute("SELECT sequence FROM event")] == [4, 5]


def test_sets_slots_events_and_memos_are_one_transaction(journal: Journal) -> None:
    """What fails in the end leaves nothing of the beginning."""

    def memos() -> Iterator[tuple[str, str, object]]:
        yield ("meter-event", "m-1", 7)
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        journal.append([make_set(1)], [("m-1", UTC_MS)], [make_event()], memos())
    assert (read_all(journal), waiting(journal)) == ([], [])
    assert (journal.memos("slot"), journal.memos("meter-event")) == ({}, {})
    assert journal.append([make_set(1)], [("m-1", UTC_MS)], [make_event()]) == 1
    assert journal.memos("slot") == {"m-1": UTC_MS}
    assert waiting(journal) == [(1, make_event())]


def test_memos_are_kept_by_scope_and_name(tmp_path: Path) -> None:
    """Numbers, texts and bytes; the last word counts."""
    journal = Journal(tmp_path, 64)
    journal.open()
    journal.set_memo("a", "n", 1)
    journal.set_memo("a", "n", 2)
    journal.set_memo("a", "t", "text")
    journal.set_memo("b", "n", b"bytes")
    journal = reopened(journal, tmp_path)
    assert journal.memos("a") == {"n": 2, "t": "text"}
    assert journal.memos("b") == {"n": b"bytes"}
    journal.clear_memo("a", "n")
    journal.clear_memo("c", "n")
    assert journal.memos("a") == {"t": "text"}
    reader = journal.reader()
    assert reader.memos("b") == {"n": b"bytes"}
    reader.close()
    journal.close()


# ---- asked for again ----------------------------------------------------------------------------


def test_what_the_head_end_asks_for_again_is_unacknowledged(journal: Journal) -> None:
    """Only rows that are still here: a hole that can never be filled would stop the uplink."""
    journal.append([make_set(n) for n in range(1, 21)])
    journal.acknowledge(20, [])
    journal.purge(UTC_MS + 6_000, 1.0)
    assert list(journal.reopen([(1, 10)])) == [(1, 5), (11, 20)]
    assert list(journal.acknowledged()) == [(1, 5), (11, 20)]
    assert list(journal.reopen([(15, 999)])) == [(1, 5), (11, 14)]
    assert list(journal.acknowledge(20, [])) == [(1, 20)]
    assert list(journal.reopen([(9, 3)])) == [(1, 20)]


def test_only_what_was_read_live_is_re_timed(journal: Journal) -> None:
    """A freeze has the meter's time, whatever the gateway's clock was."""
    unsynced = TimeQuality.UNSYNCED
    sets = [
        make_set(1, quality=unsynced),
        make_set(2, quality=unsynced, origin=Origin.FREEZE),
        make_set(3, quality=unsynced, origin=Origin.LOAD_RECORD),
    ]
    journal.append(sets)
    assert journal.retime(BOOT_ID, 1_000_000, 0, TimeQuality.SIGNED) == 1
    found = [one for _, one in read_all(journal)]
    assert found[0].read_at == BOOT_MS + 1000 + 1_000_000
    assert found[1:] == sets[1:]


def test_a_call_for_another_epoch_is_refused(journal: Journal) -> None:
    """An acknowledgement of the journal that was put aside must not empty the new one."""
    journal.require_epoch(journal.epoch)
    with pytest.raises(JournalReplacedError):
        journal.require_epoch(b"8 bytes.")


# ---- by time ------------------------------------------------------------------------------------

BLOCK = 1 << BLOCK_BITS


def test_sets_are_found_by_meter_and_time(journal: Journal) -> None:
    """Over many blocks, in the order of their sequences, from one instant up to another."""
    count = 5 * BLOCK + 17
    sets = [make_set(n, f"m-{n % 3}") for n in range(1, count)]
    late = make_set(700, "m-1", origin=Origin.LOAD_RECORD, boot_at=FAR)
    for start in range(0, len(sets), 100):
        journal.append(sets[start : start + 100])
    journal.append([late])
    reader = journal.reader()
    expected = [
        (n, one)
        for n, one in enumerate([*sets, late], 1)
        if one.meter_id == "m-1" and UTC_MS + 400_000 <= one.read_at < UTC_MS + 900_000
    ]
    assert list(reader.sets_between("m-1", UTC_MS + 400_000, UTC_MS + 900_000)) == expected
    assert expected[-1] == (count, late)
    assert len(list(reader.sets_between(None, 0, FAR))) == count
    assert list(reader.sets_between("m-9", 0, FAR)) == []
    times = reader.slots_between("m-1", UTC_MS + 400_000, UTC_MS + 900_000)
    assert times == sorted({one.read_at for _, one in expected})
    assert reader.slots_between("m-1", 0, FAR, Origin.LOAD_RECORD) == [late.read_at]
    reader.close()


def test_times_are_found_after_they_were_set_anew_and_rows_went(journal: Journal) -> None:
    """The table of times follows the rows."""
    sets = [make_set(n, quality=TimeQuality.UNSYNCED) for n in range(1, 2 * BLOCK)]
    journal.append(sets)
    journal.retime(BOOT_ID, FAR // 2, 300, TimeQuality.SIGNED)
    reader = journal.reader()
    later = reader.slots_between("m-1", FAR // 2, FAR)
    assert len(later) == 2 * BLOCK - 1 - 300
    assert later[0] == FAR // 2 + BOOT_MS + 301_000
    journal.acknowledge(2 * BLOCK - 1, [])
    while journal.purge(FAR, 1.0):
        pass
    assert reader.slots_between("m-1", 0, FAR) == later[-1:]
    assert journal._db.execute("SELECT block FROM block").fetchall() == [(1,)]
    reader.close()


def test_events_are_found_by_subject_and_time(journal: Journal) -> None:
    """Acknowledged or not."""
    journal.append((), events=[meter_event(n) for n in range(1, 6)] + [make_event(3)])
    journal.acknowledge_events(6)
    reader = journal.reader()
    found = list(reader.events_between("m-1", UTC_MS + 2, UTC_MS + 4))
    assert found == [(2, meter_event(2)), (3, meter_event(3))]
    assert [n for n, _ in reader.events_between(None, UTC_MS + 3, UTC_MS + 4)] == [3, 6]
    reader.close()


# ---- files of other versions --------------------------------------------------------------------


def make_version_0(folder: Path, rows: int) -> bytes:
    """A journal as the first version left it: half acknowledged, with an order; its epoch."""
    journal = Journal(folder, 64)
    db = sqlite3.connect(journal.path, isolation_level=None)
    db.executescript("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;")
    db.executescript(Path(opening.__file__).with_name("schema.sql").read_text())
    db.execute("INSERT INTO mark VALUES ('epoch', ?), ('state', 1)", (b"eightbyt",))
    db.execute("INSERT INTO meter VALUES (1, 'm-1')")
    db.execute("INSERT INTO boot VALUES (1, ?)", (BOOT_ID,))
    content = '[["1-0:1.8.0*255",1,"Wh",1],["1-0:32.7.0*255",-1,"V",3]]'
    db.execute("INSERT INTO layout VALUES (1, ?)", (content,))
    for n in range(1, rows + 1):
        values = f"[{n},{2300 + n % 7}]"
        row = (n, 1, 1, 1, UTC_MS + n * 1000, BOOT_MS + n * 1000, TimeQuality.NTP, values)
        db.execute("INSERT INTO reading_set VALUES (?,?,?,?,?,?,?,?)", row)
    db.execute("INSERT INTO acknowledged VALUES (1, ?)", (rows // 2,))
    db.execute("INSERT INTO order_inbox VALUES (7, ?, ?, 99, 'sent')", (bytes(16), b"body"))
    db.execute("INSERT INTO receipt VALUES (7, 'sent', ?, 0)", (b"r",))
    db.close()
    return b"eightbyt"


def test_a_journal_of_the_first_version_is_brought_forward(tmp_path: Path) -> None:
    """In place: rows, sequences, acknowledgements, orders and the epoch are as they were."""
    epoch = make_version_0(tmp_path, 1000)
    journal = Journal(tmp_path, 64)
    journal.open()
    assert (journal.salvaged, journal.epoch) == ("", epoch)
    assert opening.version_of(journal._db) == opening.VERSION
    assert read_all(journal) == [(n, make_set(n)) for n in range(1, 1001)]
    assert list(journal.acknowledged()) == [(1, 500)]
    assert journal.order_id(7) == bytes(16)
    reader = journal.reader()
    assert reader.receipts(5) == [(7, "sent", b"r")]
    assert reader.slots_between("m-1", UTC_MS + 700_000, UTC_MS + 702_000) == [
        UTC_MS + 700_000,
        UTC_MS + 701_000,
    ]
    reader.close()
    flagged = make_set(1001, flags=Flag.JUMP, origin=Origin.FREEZE)
    assert journal.append([flagged], [("m-1", 5)], [make_event()]) == 1001
    journal = reopened(journal, tmp_path)
    assert read_all(journal)[-1] == (1001, flagged)
    assert waiting(journal) == [(1, make_event())]
    journal.close()


def test_a_new_journal_is_like_one_that_was_brought_forward(tmp_path: Path) -> None:
    """The same tables and indexes."""
    (tmp_path / "old").mkdir()
    make_version_0(tmp_path / "old", 3)
    schemas = []
    for folder in (tmp_path, tmp_path / "old"):
        journal = Journal(folder, 64)
        journal.open()
        query = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
        schemas.append(journal._db.execute(query).fetchall())
        journal.close()
    assert schemas[0] == schemas[1]


def test_a_step_forward_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction: the next start does it whole."""
    make_version_0(tmp_path, 10)
    real = opening._texts
    with monkeypatch.context() as patch:
        patch.setattr(opening, "_texts", lambda version: [*real(version), "SELECT nonsense;"])
        with pytest.raises(sqlite3.OperationalError, match="nonsense"):
            Journal(tmp_path, 64).open()
    db = sqlite3.connect(tmp_path / "journal.db")
    assert opening.version_of(db) == 0
    assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'event'").fetchone() == (0,)
    db.close()
    assert [one.name for one in tmp_path.glob("*damaged*")] == []
    journal = Journal(tmp_path, 64)
    journal.open()
    assert len(read_all(journal)) == 10
    journal.close()


def test_a_journal_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """One sentence, and no new journal in its place."""
    journal = Journal(tmp_path, 64)
    journal.open()
    journal.append([make_set(1)])
    journal._db.execute("PRAGMA user_version=99")
    journal.close()
    with pytest.raises(JournalRefusedError, match="is of version 99"):
        Journal(tmp_path, 64).open()
    assert [one.name for one in tmp_path.glob("*damaged*")] == []
