"""A damaged journal is put aside; a disk that errs once costs nothing, at a start or while it
runs."""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from edge.journal import opening
from edge.journal.damage import JournalRefusedError, JournalReplacedError
from edge.journal.folder import FolderBusyError, own_folder
from edge.journal.store import Journal
from edge.journal.writer import RENEW_MS, RETRY_MS, Writer
from protocols.errors import SettingError
from tests.edge.fakes import FakeClock, InlineWriter, make_set
from tests.edge.test_journal_events import make_event, read_all, waiting

FAR = 1 << 62


def sqlite_error(words: str, code: int) -> sqlite3.DatabaseError:
    """As SQLite would raise it."""
    error = sqlite3.DatabaseError(words)
    error.sqlite_errorcode = code
    return error


UNREADABLE = sqlite_error("disk I/O error", sqlite3.SQLITE_IOERR_READ)
MALFORMED = sqlite_error("database disk image is malformed", sqlite3.SQLITE_CORRUPT)


def make_journal(folder: Path, sets: int = 10, clean: bool = False) -> bytes:
    """A journal as a power cut (or a clean stop) leaves it; its epoch."""
    journal = Journal(folder, 64)
    journal.open()
    journal.append([make_set(n) for n in range(1, sets + 1)], [("m-1", 77)], [make_event()])
    journal.set_memo("meter-event", "m-1", 5)
    epoch = journal.epoch
    if clean:
        journal.close()
    else:
        journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        journal._db.close()
    return epoch


def spoil(path: Path, pages: Iterable[int] | None = None) -> None:
    """Noise in these pages, or in all but the first."""
    content = bytearray(path.read_bytes())
    for page in pages or range(1, len(content) // 4096):
        content[page * 4096 : (page + 1) * 4096] = b"\xa5" * 4096
    path.write_bytes(content)


def leaves(path: Path, table: str = "reading_set") -> list[int]:
    """The pages (from 0) that hold rows of a table."""
    db = sqlite3.connect(path)
    query = "SELECT pageno - 1 FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path"
    try:
        found = [page for (page,) in db.execute(query, (table,))]
    except sqlite3.OperationalError:
        pytest.skip("this SQLite has no dbstat")
    finally:
        db.close()
    return found


def times(count: int, error: Exception, real: Callable[..., Any]) -> Callable[..., Any]:
    """Fails so often, and then works."""
    left = [count]

    def fail_first(*arguments: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise error
        return real(*arguments, **named)

    return fail_first


# ---- at a start ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["_open", "_check"])
@pytest.mark.parametrize(("failures", "code"), [(1, "IOERR_READ"), (3, "IOERR_READ"), (2, "BUSY")])
def test_a_passing_error_puts_no_journal_aside(
    tmp_path: Path,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    failures: int,
    code: str,
) -> None:
    """EIO or a lock a few times, and then it opens."""
    epoch = make_journal(tmp_path)
    error = sqlite_error(code, getattr(sqlite3, f"SQLITE_{code}"))
    monkeypatch.setattr(Journal, where, times(failures, error, getattr(Journal, where)))
    writer = InlineWriter(tmp_path, clock)
    writer.start()
    assert (writer.journal.epoch, writer.head, writer.journal.salvaged) == (epoch, 10, "")
    assert list(tmp_path.glob("*damaged*")) == []
    writer.stop()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UNREADABLE, "disk I/O error"),
        (sqlite_error("database is locked", sqlite3.SQLITE_BUSY), "locked"),
        (sqlite_error("unable to open database file", sqlite3.SQLITE_CANTOPEN), "unable to open"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
    ],
)
def test_a_lasting_error_refuses_the_start_in_one_sentence(
    tmp_path: Path,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    words: str,
) -> None:
    """And the journal is where it was."""
    epoch = make_journal(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_open", times(1000, error, Journal._open))
        with pytest.raises(JournalRefusedError) as caught:
            InlineWriter(tmp_path, clock).start()
    assert str(caught.value).startswith(f"{tmp_path}/journal.db can not be opened (")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.glob("*damaged*")) == []
    again = Journal(tmp_path, 64)
    again.open()
    assert (again.epoch, len(read_all(again))) == (epoch, 10)
    again.close()


def test_wrong_bytes_that_come_once_are_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second look decides."""
    epoch = make_journal(tmp_path)
    monkeypatch.setattr(Journal, "_check", times(1, MALFORMED, Journal._check))
    journal = Journal(tmp_path, 64)
    journal.open()
    assert (journal.epoch, journal.salvaged) == (epoch, "")
    journal.close()


def test_a_disk_that_gives_no_bytes_says_nothing_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's check tells an unreadable page and a bad one in like words; reading tells them
    apart."""
    epoch = make_journal(tmp_path)
    words = "*** in database main *** On page 3: unable to get the page. error code=266"
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_check", lambda self: words)
        patch.setattr(opening, "read_through", lambda path: times(1, OSError(5, "EIO"), int)())
        with pytest.raises(OSError, match="EIO"):
            Journal(tmp_path, 64).open()
    journal = Journal(tmp_path, 64)
    journal.open()
    assert (journal.epoch, journal.salvaged) == (epoch, "")
    journal.close()


def test_slots_and_memos_outlive_a_damaged_file(tmp_path: Path) -> None:
    """A slot that was run is not run again because the card lost a page."""
    make_journal(tmp_path, 2000)
    path = tmp_path / "journal.db"
    spoil(path, leaves(path)[3:6])
    journal = Journal(tmp_path, 64)
    journal.open()
    assert journal.salvaged
    assert journal.memos("slot") == {"m-1": 77}
    assert journal.memos("meter-event") == {"m-1": 5}
    journal.close()


def test_a_journal_that_was_put_aside_is_told(tmp_path: Path, clock: FakeClock) -> None:
    """By an event of the new one."""
    make_journal(tmp_path)
    spoil(tmp_path / "journal.db")
    writer = InlineWriter(tmp_path, clock)
    writer.start()
    writer.work(everything=True)
    kinds = [one.kind for _, one in waiting(writer.journal)]
    assert kinds[0] == "journal-aside"
    writer.stop()


# ---- while it runs ------------------------------------------------------------------------------


class RenewingWriter(InlineWriter):
    """Tells of new epochs."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        super().__init__(folder, clock, commit_sets=500)
        self.epochs: list[bytes] = []
        self.on_new_epoch = lambda: self.epochs.append(self.journal.epoch)


def damage_under(writer: Writer, pages: Iterable[int] | None = None) -> None:
    """These pages, or all behind the first, go bad on the disk while the file is open."""
    writer.journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spoil(writer.journal.path, pages)
    writer.journal._db.execute("PRAGMA shrink_memory")


def test_damage_while_it_runs_begins_a_new_journal(tmp_path: Path, clock: FakeClock) -> None:
    """Without a restart: what is held goes into the new one, the session hears of the epoch, and
    what was read before is still in the file put aside."""
    writer = RenewingWriter(tmp_path, clock)
    writer.start()
    old = writer.journal.epoch
    for n in range(2000):
        writer.submit(make_set(n))
        writer.work()
    damage_under(writer)
    for n in range(2000, 2005):
        writer.submit(make_set(n), ("m-1", n))
    for _ in range(5):
        writer.work(everything=True)
        clock.advance(RETRY_MS)
    assert writer.epochs == [writer.journal.epoch]
    assert writer.journal.epoch != old
    assert (writer.trouble, writer.held_sets, writer.sets_lost) == ("", 0, 0)
    assert read_all(writer.journal)[-5:] == [(n - 1999, make_set(n)) for n in range(2000, 2005)]
    assert writer.head == writer.heads[-1] == writer.journal.head()
    assert "journal-aside" in [one.kind for _, one in waiting(writer.journal)]
    assert (tmp_path / "journal-damaged-1.db").exists()
    writer.stop()


def test_damage_that_a_reader_meets_is_looked_into(tmp_path: Path, clock: FakeClock) -> None:
    """The writer only writes at the end, and may never see it."""
    writer = RenewingWriter(tmp_path, clock)
    writer.start()
    for n in range(2000):
        writer.submit(make_set(n))
        writer.work()
    damage_under(writer, leaves(writer.journal.path)[2:4])
    reader = writer.journal.reader()
    with pytest.raises(sqlite3.DatabaseError) as caught:
        reader.rows(1, FAR)
    reader.close()
    assert writer._wait_ms() > 0
    writer.suspect(caught.value)
    assert writer._wait_ms() == 0
    writer.work()
    assert len(writer.epochs) == 1
    writer.stop()


def test_a_suspicion_that_proves_wrong_costs_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """The file is whole: the epoch stays, and it is not examined again and again."""
    writer = RenewingWriter(tmp_path, clock)
    writer.start()
    writer.submit(make_set(0))
    writer.work(everything=True)
    epoch, looks = writer.journal.epoch, []
    real = writer.journal.open

    def count(**named: bool) -> None:
        looks.append(clock.boot_ms())
        real(**named)

    writer.journal.open = count  # type: ignore[method-assign,assignment]
    for _ in range(10):
        writer.suspect(MALFORMED)
        writer.work()
        clock.advance(RENEW_MS / 5)
    assert len(looks) == 2
    assert (writer.journal.epoch, writer.epochs) == (epoch, [])
    assert len(read_all(writer.journal)) == 1
    writer.suspect(UNREADABLE)  # the disk's fault, not the file's
    assert writer._suspicion == ""
    writer.stop()


def test_a_disk_that_gives_nothing_is_no_reason_to_close(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that is gone for a while looks like damage: the open journal waits for its return."""
    writer = RenewingWriter(tmp_path, clock)
    writer.start()
    epoch, db = writer.journal.epoch, writer.journal._db
    with monkeypatch.context() as patch:
        patch.setattr(opening, "read_through", times(1000, OSError(5, "EIO"), int))
        for _ in range(5):
            writer.suspect(MALFORMED)
            writer.work()
            clock.advance(RETRY_MS)
            assert writer._wait_ms() > 0
    assert (writer.journal.epoch, writer.journal._db is db) == (epoch, True)
    writer.stop()


def test_a_disk_that_refuses_the_new_journal_is_tried_again(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls fail meanwhile, readings are held, and nothing ends the thread."""
    writer = RenewingWriter(tmp_path, clock)
    writer.start()
    writer.submit(make_set(0))
    writer.work(everything=True)
    full = sqlite_error("database or disk is full", sqlite3.SQLITE_FULL)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_open", times(1000, full, Journal._open))
        writer.suspect(MALFORMED)
        for n in range(1, 20):
            writer.submit(make_set(n))
            writer.work()
            clock.advance(RETRY_MS)
        with pytest.raises(sqlite3.Error):
            writer.call(writer.journal.head).result(0)
        assert writer.trouble
        assert writer.held_sets == 19
    for _ in range(3):
        clock.advance(RETRY_MS)
        writer.work(everything=True)
    assert (writer.trouble, writer.held_sets, writer.head) == ("", 0, 20)
    assert [one for _, one in read_all(writer.journal)] == [make_set(n) for n in range(20)]
    writer.stop()


def test_a_call_that_was_meant_for_the_old_journal_is_refused(
    tmp_path: Path, clock: FakeClock
) -> None:
    """An acknowledgement that arrives after the journal was put aside empties nothing."""
    writer = RenewingWriter(tmp_path, clock)
    writer.start()
    old = writer.journal.epoch
    assert writer.call_in(old, writer.journal.head).result(0) == 0
    for n in range(2000):
        writer.submit(make_set(n))
        writer.work()
    damage_under(writer)
    writer.suspect(MALFORMED)
    future = Writer.call_in(writer, old, writer.journal.acknowledge, 5, [])
    writer.work()
    with pytest.raises(JournalReplacedError):
        future.result(0)
    assert list(writer.journal.acknowledged()) == []
    writer.stop()


def test_the_reader_of_the_old_file_knows_its_epoch(tmp_path: Path, clock: FakeClock) -> None:
    """So that its rows never go out as rows of the new one."""
    writer = RenewingWriter(tmp_path, clock)
    writer.start()
    old, reader = writer.journal.epoch, writer.journal.reader()
    for n in range(2000):
        writer.submit(make_set(n))
        writer.work()
    damage_under(writer)
    writer.suspect(MALFORMED)
    writer.work()
    assert (reader.epoch, writer.journal.epoch != old) == (old, True)
    fresh = writer.journal.reader()
    assert fresh.epoch == writer.journal.epoch
    fresh.close()
    reader.close()
    writer.stop()


# ---- the state folder ---------------------------------------------------------------------------


def test_the_state_folder_is_made_and_its_name_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each new folder's parent, outermost first; a folder that is there costs no sync."""
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda one: (synced.append(Path(f"/proc/self/fd/{one}").readlink()), real(one))
    )
    folder = tmp_path / "a" / "b"
    os.close(own_folder(folder, tmp_path / "edge.toml"))
    assert synced == [tmp_path, tmp_path / "a"]
    assert folder.stat().st_mode & 0o777 == 0o700
    os.close(own_folder(folder, tmp_path / "edge.toml"))
    assert len(synced) == 2


def test_a_state_folder_has_one_owner(tmp_path: Path) -> None:
    """The second is refused until the first lets go; one that can not be made, for good."""
    lock = own_folder(tmp_path, tmp_path / "edge.toml")
    with pytest.raises(FolderBusyError, match="in use by a running agent"):
        own_folder(tmp_path, tmp_path / "edge.toml")
    os.close(lock)
    os.close(own_folder(tmp_path, tmp_path / "edge.toml"))
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="must be a folder that we may write"):
        own_folder(tmp_path / "file" / "x", tmp_path / "edge.toml")
