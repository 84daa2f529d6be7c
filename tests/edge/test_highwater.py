"""The order counter's mark outlives torn and corrupt copies."""

import logging
import os
from pathlib import Path

import pytest

from edge.journal.highwater import HighWater

COPIES = ("order-counter.a", "order-counter.b")
FLUSHED_FILE, RENAMED, FLUSHED_FOLDER = "flushed file", "renamed", "flushed folder"
IN_PLACE = "flushed in place"


def settled(folder: Path, value: int) -> HighWater:
    """A mark that both copies hold."""
    mark = HighWater(folder)
    mark.raise_to(value)
    mark.settle()
    return mark


def contents(folder: Path) -> dict[str, bytes]:
    """The copies as they are."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def refuse(*_: object) -> None:
    """A disk that is full."""
    raise OSError(28, "No space left on device")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the disk."""
    told: list[str] = []
    sync, data_sync, rename = os.fsync, os.fdatasync, Path.replace

    def traced_sync(file: int) -> None:
        is_file = Path(f"/proc/self/fd/{file}").readlink().is_file()
        told.append(FLUSHED_FILE if is_file else FLUSHED_FOLDER)
        sync(file)

    def traced_data_sync(file: int) -> None:
        told.append(IN_PLACE)
        data_sync(file)

    def traced_rename(path: Path, to: Path) -> Path:
        told.append(RENAMED)
        return rename(path, to)

    monkeypatch.setattr(os, "fsync", traced_sync)
    monkeypatch.setattr(os, "fdatasync", traced_data_sync)
    monkeypatch.setattr(Path, "replace", traced_rename)
    return told


@pytest.mark.parametrize("settles", [True, False])
def test_a_mark_is_there_after_a_restart(tmp_path: Path, settles: bool) -> None:
    """What raise_to returned from is what the next start reads, whatever its width."""
    mark = HighWater(tmp_path)
    assert mark.value == 0
    for value in (1, 7, 1000, (1 << 63) - 2, (1 << 63) - 1):
        mark.raise_to(value)
        assert HighWater(tmp_path).value == value
        if settles:
            mark.settle()
            assert HighWater(tmp_path).value == value


def test_a_mark_never_falls(tmp_path: Path) -> None:
    """A smaller value changes nothing, neither in memory nor on the disk."""
    mark = settled(tmp_path, 9)
    before = contents(tmp_path)
    for value in (3, 9, 0, 8):
        mark.raise_to(value)
        assert mark.value == 9
    assert contents(tmp_path) == before


@pytest.mark.parametrize("spoiled", COPIES)
@pytest.mark.parametrize("content", [b"", b"41", b"41 0", b"99 1\n", b"\xff\xfe\x00", b"a b c"])
def test_one_spoiled_copy_does_no_harm(tmp_path: Path, spoiled: str, content: bytes) -> None:
    """A torn or corrupt copy is passed over; the other one holds the mark."""
    settled(tmp_path, 41)
    (tmp_path / spoiled).write_bytes(content)
    mark = HighWater(tmp_path)
    assert mark.value == 41
    mark.raise_to(42)
    assert HighWater(tmp_path).value == 42


@pytest.mark.parametrize("lost", COPIES)
def test_one_lost_copy_does_no_harm(tmp_path: Path, lost: str) -> None:
    """A copy that is gone is made again."""
    settled(tmp_path, 5)
    (tmp_path / lost).unlink()
    mark = HighWater(tmp_path)
    assert mark.value == 5
    mark.raise_to(6)
    assert (tmp_path / lost).exists()


def test_settling_gives_both_copies_the_mark(tmp_path: Path) -> None:
    """Until then one of them holds the mark before."""
    mark = settled(tmp_path, 5)
    mark.raise_to(6)
    assert len(set(contents(tmp_path).values())) == 2
    mark.settle()
    assert len(set(contents(tmp_path).values())) == 1
    for lost in COPIES:
        kept = (tmp_path / lost).read_bytes()
        (tmp_path / lost).unlink()
        assert HighWater(tmp_path).value == 6
        (tmp_path / lost).write_bytes(kept)


@pytest.mark.parametrize("settles", [True, False])
@pytest.mark.parametrize("restarts", [True, False])
def test_a_copy_that_is_cut_leaves_the_mark_in_the_other(
    tmp_path: Path, settles: bool, restarts: bool
) -> None:
    """At each write: whatever became of the copy that was written, the mark before is there."""
    mark = HighWater(tmp_path)
    for value in range(1, 8):
        before = contents(tmp_path)
        mark.raise_to(value)
        changed = contents(tmp_path).items() - before.items()
        assert len(changed) == 1
        ((name, whole),) = changed
        (tmp_path / name).write_bytes(whole[:1])
        assert HighWater(tmp_path).value == value - 1
        (tmp_path / name).write_bytes(whole)
        if settles:
            mark.settle()
        if restarts:
            mark = HighWater(tmp_path)


def test_the_only_copy_with_the_mark_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that refuses again and again is asked for the same copy; so is that of a restart."""
    mark = settled(tmp_path, 5)
    mark.raise_to(6)
    older = next(name for name in COPIES if b"5 " in (tmp_path / name).read_bytes())
    newer = next(name for name in COPIES if name != older)
    whole = (tmp_path / newer).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", refuse)
        patch.setattr("os.fdatasync", refuse)
        for one in (mark, mark, HighWater(tmp_path)):
            with pytest.raises(OSError, match="No space"):
                one.raise_to(7)
            assert (tmp_path / newer).read_bytes() == whole
            assert one.value == 6
    mark.raise_to(7)
    assert (tmp_path / newer).read_bytes() == whole
    (tmp_path / older).write_bytes(b"")
    assert HighWater(tmp_path).value == 6


def test_a_disk_that_refuses_raises_nothing_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark counts only once it is durable."""
    mark = HighWater(tmp_path)
    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        mark.raise_to(8)
    assert mark.value == 0


def test_a_disk_that_refuses_the_other_copy_is_told_and_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The mark is durable before, so nothing stops for the copy."""
    mark = settled(tmp_path, 5)
    mark.raise_to(6)
    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", refuse)
        with caplog.at_level(logging.WARNING):
            mark.settle()
    assert [one.getMessage().split()[0] for one in caplog.records] == ["mark_copy_unwritten"]
    assert mark.value == 6
    mark.settle()
    assert len(set(contents(tmp_path).values())) == 1


def test_a_raised_mark_costs_one_flush(tmp_path: Path, steps: list[str]) -> None:
    """Once both copies are settled; the other copy's comes when it is settled again."""
    mark = settled(tmp_path, 5)
    steps.clear()
    for value in (6, 7, 8):
        mark.raise_to(value)
        assert steps == [IN_PLACE]
        mark.settle()
        mark.settle()
        assert steps == [IN_PLACE] * 2
        steps.clear()


def test_what_an_earlier_process_left_becomes_a_new_file(tmp_path: Path, steps: list[str]) -> None:
    """It may not be on the disk. For each copy flush, rename, flush of the folder: no power cut
    takes the mark."""
    settled(tmp_path, 5)
    steps.clear()
    mark = HighWater(tmp_path)
    mark.raise_to(6)
    assert steps == [FLUSHED_FILE, RENAMED, FLUSHED_FOLDER]
    mark.settle()
    assert steps == [FLUSHED_FILE, RENAMED, FLUSHED_FOLDER] * len(COPIES)


def test_a_copy_whose_flush_failed_becomes_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[str]
) -> None:
    """Nobody knows what the disk has of it."""
    mark = settled(tmp_path, 5)
    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", refuse)
        with pytest.raises(OSError, match="No space"):
            mark.raise_to(6)
    steps.clear()
    mark.raise_to(6)
    assert steps == [FLUSHED_FILE, RENAMED, FLUSHED_FOLDER]
