"""edge/clock_file.py: what was held comes back whole or not at all."""

import os
import zlib
from pathlib import Path

import pytest

from edge import clock_file
from edge.clock_file import NAME, Saved
from edge.timekeeping import Point, Points
from protocols.readings import TimeQuality
from tests.edge.fakes import BOOT_ID, BOOT_MS, UTC_MS

POINTS = Points(
    Point(UTC_MS - BOOT_MS, BOOT_MS, 502, TimeQuality.NTP),
    Point(UTC_MS - BOOT_MS + 7, BOOT_MS - 9, 103, TimeQuality.SIGNED),
)
SAVED = Saved(BOOT_ID, POINTS)


def test_it_comes_back(tmp_path: Path) -> None:
    """And what replaces it too. Nothing is left beside it."""
    assert clock_file.read(tmp_path) is None
    clock_file.write(tmp_path, SAVED)
    assert clock_file.read(tmp_path) == SAVED
    later = Saved(b"B" * 16, Points(POINTS.vouched, POINTS.vouched))
    clock_file.write(tmp_path, later)
    found = clock_file.read(tmp_path)
    assert found == later
    assert type(found) is Saved and type(found.points) is Points
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert SAVED.utc_ms == UTC_MS


def test_any_change_of_a_character_is_found(tmp_path: Path) -> None:
    """Each one, and each shorter file."""
    clock_file.write(tmp_path, SAVED)
    path = tmp_path / NAME
    text = path.read_bytes().rstrip()
    for at in range(len(text)):
        path.write_bytes(text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :])
        assert clock_file.read(tmp_path) is None
        path.write_bytes(text[:at])
        assert clock_file.read(tmp_path) is None


@pytest.mark.parametrize(
    "line",
    [
        "busbar-clock-2 {boot} 1 2 3 2 1 2 3 2",
        "busbar-clock-1 xx 1 2 3 2 1 2 3 2",
        "busbar-clock-1 {boot} 1 2 3 2 1 2 3",
        "busbar-clock-1 {boot} 1 2 3 2 1 2 3 2 1",
        "busbar-clock-1 {boot} -1 2 3 2 1 2 3 2",
        "busbar-clock-1 {boot} 1 2 -3 2 1 2 3 2",
        "busbar-clock-1 {boot} 1 2 3 1 1 2 3 2",
        "busbar-clock-1 {boot} 1 2 3 2 1 2 3 4",
        "busbar-clock-1 {boot} 1 2 3 2 1 2 3 two",
        "busbar-clock-1",
    ],
)
def test_what_is_no_point_is_not_read(tmp_path: Path, line: str) -> None:
    """Whatever its checksum says."""
    text = line.format(boot=BOOT_ID.hex())
    (tmp_path / NAME).write_text(f"{text} {zlib.crc32(text.encode())}")
    assert clock_file.read(tmp_path) is None
    text = f"busbar-clock-1 {BOOT_ID.hex()} 1 2 3 2 1 2 3 3"
    (tmp_path / NAME).write_text(f"{text} {zlib.crc32(text.encode())}")
    assert clock_file.read(tmp_path) is not None


def test_points_are_of_one_boot() -> None:
    """Another boot, a boot that cannot be told from others, a boot time that is still to come."""
    assert SAVED.points_for(BOOT_ID, BOOT_MS) == POINTS
    assert SAVED.points_for(b"B" * 16, BOOT_MS) is None
    assert SAVED.points_for(BOOT_ID, BOOT_MS - 1) is None
    assert Saved(bytes(16), POINTS).points_for(bytes(16), BOOT_MS) is None


def test_it_is_on_the_disk_before_the_old_one_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file is synced, put in place, and its folder is synced. A refusal changes nothing."""
    clock_file.write(tmp_path, SAVED)
    later = Saved(b"B" * 16, POINTS)
    seen: list[tuple[bool, Saved | None]] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        is_folder = Path(f"/proc/self/fd/{descriptor}").is_dir()
        seen.append((is_folder, clock_file.read(tmp_path)))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    clock_file.write(tmp_path, later)
    assert seen == [(False, SAVED), (True, later)]

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        clock_file.write(tmp_path, SAVED)
    assert clock_file.read(tmp_path) == later
