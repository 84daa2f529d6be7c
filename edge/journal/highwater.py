"""The highest order counter (or configuration version) ever taken up, in a file of its own.

The journal may be lost with a broken card and start again; the replay window must not open with
it. Two copies are written in turn, each with a checksum and fsync: a power cut spoils one at
most, and the other holds a mark that is at most one order old, whose order was then not taken up
either.
"""

import contextlib
import os
import zlib
from pathlib import Path

ORDERS = "order-counter"
_COPIES = (".a", ".b")


class HighWater:
    """A number that only grows."""

    def __init__(self, folder: Path, name: str = ORDERS) -> None:
        self._paths = [folder / (name + copy) for copy in _COPIES]
        self.value = max(_read(path) for path in self._paths)

    def raise_to(self, value: int) -> None:
        """Durable when it returns; OSError when the disk refuses. A smaller value changes
        nothing."""
        if value <= self.value:
            return
        for path in sorted(
            self._paths, key=_read
        ):  # the older copy first, the newer stays whole meanwhile
            _write(path, value)
        self.value = value


def _read(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        number, check = path.read_text().split()
        if int(check) == zlib.crc32(number.encode()):
            return int(number)
    return 0


def _write(path: Path, value: int) -> None:
    number = str(value)
    temporary = path.with_suffix(path.suffix + ".new")
    with temporary.open("w") as file:
        file.write(f"{number} {zlib.crc32(number.encode())}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
