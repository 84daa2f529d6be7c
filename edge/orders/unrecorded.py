"""Restores that went out while the journal could not be written: their counters, in a file that
takes no new space on the disk. After a restart they are unknown, not refused.
"""

import logging
import os
from pathlib import Path

NAME = "unrecorded-restores"
SIZE = 4096  # bytes, taken when the disk still has room
_WIDTH = 20  # digits of a counter, with the space behind it

log = logging.getLogger("edge.orders")


class Unrecorded:
    """Any thread, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        try:
            if not self._path.exists() or self._path.stat().st_size != SIZE:
                self._path.write_bytes(b" " * SIZE)
            self.counters = [int(one) for one in self._path.read_text("ascii").split()]
        except (OSError, ValueError) as error:
            log.warning("unrecorded_lost reason=%r", str(error))
            self.counters = []

    def add(self, counter: int) -> None:
        """Written over what is there, and synced; a disk that refuses even that is logged."""
        self._write([*self.counters, counter][-(SIZE // _WIDTH) :])

    def clear(self) -> None:
        """The journal has them by now."""
        if self.counters:
            self._write([])

    def _write(self, counters: list[int]) -> None:
        self.counters = counters
        text = "".join(f"{one:<{_WIDTH}d}" for one in counters)
        try:
            descriptor = os.open(self._path, os.O_WRONLY)
            try:
                os.pwrite(descriptor, text.encode().ljust(SIZE), 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("unrecorded_refused reason=%r", str(error))
