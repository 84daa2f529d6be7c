"""The time that was held, in a file of the state folder: a restart of the agent within one boot
goes on with it, and a later boot knows what time is over for sure.

One line with a checksum. It is replaced whole and synced, so a power cut leaves the old or the new
one; a line that is spoiled or missing costs the knowledge, nothing else.
"""

import contextlib
import os
import zlib
from pathlib import Path
from typing import NamedTuple

from edge.timekeeping import Point, Points
from protocols.readings import TimeQuality

NAME = "clock"
_FORM = "busbar-clock-1"
_BLANK_BOOT_ID = bytes(16)  # of a machine that does not tell its boots apart
_NUMBERS = 4  # of a point


class Saved(NamedTuple):
    """What was held, in which boot."""

    boot_id: bytes
    points: Points

    @property
    def utc_ms(self) -> int:
        """A time that is over."""
        return self.points.shown.offset_ms + self.points.shown.at

    def points_for(self, boot_id: bytes, boot_ms: int) -> Points | None:
        """The points, when they are of this boot."""
        is_same = self.boot_id == boot_id != _BLANK_BOOT_ID
        return self.points if is_same and max(one.at for one in self.points) <= boot_ms else None


def read(folder: Path) -> Saved | None:
    """What was saved last; None when there is nothing that can be read."""
    with contextlib.suppress(OSError, ValueError):
        text, check = (folder / NAME).read_text().rsplit(maxsplit=1)
        form, boot_id, *numbers = text.split()
        if form == _FORM and int(check) == zlib.crc32(text.encode()):
            shown = _point(numbers[:_NUMBERS])
            vouched = _point(numbers[_NUMBERS:])
            return Saved(bytes.fromhex(boot_id), Points(shown, vouched))
    return None


def write(folder: Path, saved: Saved) -> None:
    """Durable when it returns; OSError when the disk refuses."""
    numbers = [number for point in saved.points for number in _numbers(point)]
    text = " ".join([_FORM, saved.boot_id.hex(), *map(str, numbers)])
    path = folder / NAME
    temporary = path.with_suffix(".new")
    with temporary.open("w") as file:
        file.write(f"{text} {zlib.crc32(text.encode())}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _numbers(point: Point) -> tuple[int, int, int, int]:
    return point.at, point.offset_ms + point.at, point.error_ms, point.quality


def _point(numbers: list[str]) -> Point:
    at, utc_ms, error_ms, quality = map(int, numbers)
    if min(at, error_ms) < 0 or quality not in (TimeQuality.NTP, TimeQuality.SIGNED):
        raise ValueError("no point of time")
    return Point(utc_ms - at, at, error_ms, quality)
