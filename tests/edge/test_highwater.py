"""The order counter's mark outlives torn and corrupt copies."""

import os
from pathlib import Path

import pytest

from edge.journal.highwater import HighWater

COPIES = ("order-counter.a", "order-counter.b")


def test_a_mark_is_there_after_a_restart(tmp_path: Path) -> None:
    """What raise_to returned from is what the next start reads."""
    mark = HighWater(tmp_path)
    assert mark.value == 0
    for value in (1, 7, 1000):
        mark.raise_to(value)
        assert HighWater(tmp_path).value == value


def test_a_mark_never_falls(tmp_path: Path) -> None:
    """A smaller value changes nothing, neither in memory nor on the disk."""
    mark = HighWater(tmp_path)
    mark.raise_to(9)
    before = {name: (tmp_path / name).read_bytes() for name in COPIES}
    for value in (3, 9, 0, 8):
        mark.raise_to(value)
        assert mark.value == 9
    assert {name: (tmp_path / name).read_bytes() for name in COPIES} == before


@pytest.mark.parametrize("spoiled", COPIES)
@pytest.mark.parametrize("content", [b"", b"41", b"41 0", b"99 1\n", b"\xff\xfe\x00", b"a b c"])
def test_one_spoiled_copy_does_no_harm(tmp_path: Path, spoiled: str, content: bytes) -> None:
    """A torn or corrupt copy is passed over; the other one holds the mark."""
    HighWater(tmp_path).raise_to(41)
    (tmp_path / spoiled).write_bytes(content)
    mark = HighWater(tmp_path)
    assert mark.value == 41
    mark.raise_to(42)
    assert HighWater(tmp_path).value == 42


@pytest.mark.parametrize("lost", COPIES)
def test_one_lost_copy_does_no_harm(tmp_path: Path, lost: str) -> None:
    """A copy that is gone is made again."""
    HighWater(tmp_path).raise_to(5)
    (tmp_path / lost).unlink()
    mark = HighWater(tmp_path)
    assert mark.value == 5
    mark.raise_to(6)
    assert (tmp_path / lost).exists()


def test_the_newer_copy_stays_whole_while_the_older_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the two copies leaves the new mark in one and the former in the other."""
    HighWater(tmp_path).raise_to(5)
    newer = "order-counter.a"
    (tmp_path / "order-counter.b").write_text("")
    written = []

    def crash(path: Path, value: int) -> None:
        written.append(path.name)
        raise OSError("power cut")

    monkeypatch.setattr("edge.journal.highwater._write", crash)
    with pytest.raises(OSError, match="power cut"):
        HighWater(tmp_path).raise_to(6)
    assert written == ["order-counter.b"]
    assert newer not in written
    assert HighWater(tmp_path).value == 5


def test_a_disk_that_refuses_raises_nothing_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark counts only once it is durable."""
    mark = HighWater(tmp_path)

    def refuse(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        mark.raise_to(8)
    assert mark.value == 0


def test_a_copy_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each copy fsync, then rename, then fsync of the folder: no power cut takes the mark."""
    steps: list[str] = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("sync"), sync(fd))[1])
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (steps.append("rename"), rename(self, to))[1]
    )
    HighWater(tmp_path).raise_to(7)
    assert steps == ["sync", "rename", "sync"] * len(COPIES)
