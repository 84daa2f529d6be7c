"""The highest order counter (or configuration version) ever taken up, in a file of its own.

The journal may be lost with a broken card and start again; the replay window must not open with
it. There are two copies, each with a checksum. A mark is durable once one of them has it, and only
the older one is ever written: a power cut spoils that one at most, and the other holds a mark that
is at most one order old, whose order was then not taken up either.

A copy is overwritten in place, which costs one flush of the disk, without one for its name. That is
safe beside another copy that is on the disk for sure. What an earlier process left is not: it may
have died before its flush. So the first time each copy becomes a new file, which takes the name of
the old one only when it is whole.
"""

import contextlib
import logging
import os
import zlib
from pathlib import Path

ORDERS = "order-counter"
_COPIES = (".a", ".b")
_WIDTH = 32  # bytes of a copy: each number covers the one before

log = logging.getLogger("edge.journal")


class HighWater:
    """A number that only grows. Used by one thread at a time."""

    def __init__(self, folder: Path, name: str = ORDERS) -> None:
        self._held = {path: _read(path) for path in (folder / (name + copy) for copy in _COPIES)}
        self._is_durable = dict.fromkeys(self._held, False)  # written by this process, and flushed
        self.value = max(self._held.values())

    def raise_to(self, value: int) -> None:
        """Durable when it returns, in one copy; OSError when the disk refuses. A smaller value
        changes nothing."""
        if value > self.value:
            self._write(min(self._held, key=self._held.__getitem__), value)
            self.value = value

    def settle(self) -> None:
        """Gives the mark to the other copy too, when nobody waits for it. A disk that refuses costs
        a log line: the mark itself is safe."""
        try:
            for path in sorted(self._held, key=self._held.__getitem__):
                if not self._is_durable[path] or self._held[path] < self.value:
                    self._write(path, self.value)
        except OSError as error:
            log.warning("mark_copy_unwritten reason=%r", str(error))

    def _write(self, path: Path, value: int) -> None:
        write = _overwrite if all(self._is_durable.values()) else _replace
        self._held[path], self._is_durable[path] = 0, False  # while nobody knows what it holds
        write(path, value)
        self._held[path], self._is_durable[path] = value, True


def _read(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        number, check = path.read_text().split()
        if int(check) == zlib.crc32(number.encode()):
            return int(number)
    return 0


def replace_durably(path: Path, text: str) -> None:
    """Replaces the file whole; durable when it returns, and at each moment the old or the new."""
    temporary = path.with_suffix(path.suffix + ".new")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _content(value: int) -> str:
    number = str(value)
    return f"{number} {zlib.crc32(number.encode())}".ljust(_WIDTH - 1) + "\n"


def _overwrite(path: Path, value: int) -> None:
    with path.open("r+b") as file:
        file.write(_content(value).encode())
        file.flush()
        os.fdatasync(file.fileno())


def _replace(path: Path, value: int) -> None:
    replace_durably(path, _content(value))
