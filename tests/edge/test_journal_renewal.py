"""A new journal takes the place of a damaged one: whatever comes between, nothing is forgotten, and
it is told."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.journal import opening
from edge.journal.damage import JournalRefusedError
from edge.journal.held import EVENTS_HELD_MAX
from edge.journal.store import Journal
from protocols.events import Event
from tests.edge.fakes import FakeClock, InlineWriter, make_set
from tests.edge.test_journal_damage import leaves, make_journal, spoil, sqlite_error
from tests.edge.test_journal_events import make_event, read_all, waiting

FULL = sqlite_error("database or disk is full", sqlite3.SQLITE_FULL)
CUT = OSError("the power went")


def damaged(folder: Path) -> bytes:
    """A journal whose rows are damaged, and what it remembers is not; its epoch."""
    epoch = make_journal(folder, 2000)
    spoil(folder / "journal.db", leaves(folder / "journal.db")[3:6])
    return epoch


def asides(writer: InlineWriter) -> list[Event]:
    """What is durable about a journal that was put aside."""
    return [one for _, one in waiting(writer.journal, 5_000) if one.kind == "journal-aside"]


def failing(real: Callable[..., Any], error: Exception, good: int) -> Callable[..., Any]:
    """Works so often, and never again."""
    left = [good]

    def fail(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return real(*arguments)

    return fail


def check_renewed(folder: Path, clock: FakeClock, epoch: bytes) -> None:
    """The next start has a new journal that remembers, and tells once."""
    writer = InlineWriter(folder, clock)
    writer.start()
    assert writer.journal.epoch != epoch
    assert writer.journal.memos("slot") == {"m-1": 77}
    assert writer.journal.memos("meter-event") == {"m-1": 5}
    writer.submit(make_set(1), ("m-1", 78))
    writer.work(everything=True)
    (told,) = asides(writer)
    assert "journal" not in told.detail and len(told.detail) > 10  # the reason, in SQLite's words
    writer.stop()
    again = InlineWriter(folder, clock)
    again.start()
    again.work(everything=True)
    assert len(asides(again)) == 1
    assert (1, make_set(1)) in read_all(again.journal)
    assert len(list(folder.glob("journal-damaged-*.db"))) == 1
    assert not (folder / "journal-new.db").exists()
    again.stop()


@pytest.mark.parametrize("where", ["_set_mark", "_write_memos"])
def test_a_disk_that_is_full_then_leaves_the_damaged_file_in_its_place(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The start is refused; the next one finds all as it was."""
    epoch = damaged(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, where, failing(getattr(Journal, where), FULL, 0))
        with pytest.raises(JournalRefusedError):
            InlineWriter(tmp_path, clock).start()
    assert list(tmp_path.glob("journal-damaged-*.db")) == []
    check_renewed(tmp_path, clock, epoch)


@pytest.mark.parametrize("good", range(4))
def test_a_crash_on_the_way_to_the_new_file_is_made_good(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    """At any of the renames: of the old file, of its log, of its index, of the new file."""
    epoch = damaged(tmp_path)
    path = tmp_path / "journal.db"
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_disconnect", _leaving(path))
        patch.setattr(Path, "replace", failing(Path.replace, CUT, good))
        with pytest.raises(OSError, match="the power went"):
            Journal(tmp_path, 64).open()
    assert path.exists() == (good == 0)
    check_renewed(tmp_path, clock, epoch)
    if good:  # else SQLite has taken it away, for it was none
        assert (tmp_path / "journal-damaged-1.db-wal").read_bytes() == b"log"


def _leaving(path: Path) -> Callable[[Journal], None]:
    """SQLite removes the log and the index where it can; here it leaves them."""
    real = Journal._disconnect

    def disconnect(self: Journal) -> None:
        real(self)
        if path.exists():
            Path(f"{path}-wal").write_bytes(b"log")
            Path(f"{path}-shm").write_bytes(b"index")

    return disconnect


def test_an_empty_file_that_a_reader_made_meanwhile_is_in_nobodys_way(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite makes a file when it is asked to open one that is not there."""
    epoch = damaged(tmp_path)
    real = opening.put_aside

    def put_aside(path: Path) -> None:
        real(path)
        path.touch()

    with monkeypatch.context() as patch:
        patch.setattr(opening, "put_aside", put_aside)
        journal = Journal(tmp_path, 64)
        journal.open()
    assert journal.memos("slot") == {"m-1": 77}
    journal.close()
    check_renewed(tmp_path, clock, epoch)


def test_an_event_that_was_not_committed_is_told_by_the_next_start(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The power went before the first commit of the new journal."""
    epoch = damaged(tmp_path)
    cut = InlineWriter(tmp_path, clock)
    cut.start()
    assert cut.journal.salvaged == cut.journal.untold_aside != ""
    cut.journal._db.close()
    check_renewed(tmp_path, clock, epoch)


def test_an_event_that_memory_could_not_hold_is_told_by_the_next_start(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It was the oldest, and is what the others came from."""
    epoch = damaged(tmp_path)
    writer = InlineWriter(tmp_path, clock)
    writer.start()
    for _ in range(EVENTS_HELD_MAX):
        writer.note(make_event())
    writer.work(everything=True)
    assert asides(writer) == []
    writer.stop()
    check_renewed(tmp_path, clock, epoch)


def test_what_an_interrupted_renewal_left_is_in_nobodys_way(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A new file that was being written when the power went holds anything at all."""
    epoch = damaged(tmp_path)
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"journal-new.db{suffix}").write_bytes(b"torn" * 3000)
    check_renewed(tmp_path, clock, epoch)


def test_each_aside_has_a_name_that_none_had(tmp_path: Path) -> None:
    """Also where an earlier one was taken away."""
    for name in ("journal-damaged-2.db", "journal-damaged-old.db", "journal.db"):
        (tmp_path / name).write_bytes(b"no database at all" * 500)
    journal = Journal(tmp_path, 64)
    journal.open()
    assert (tmp_path / "journal-damaged-3.db").exists()
    assert not (tmp_path / "journal-damaged-1.db").exists()
    journal.close()
