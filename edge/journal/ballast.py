"""Space kept back on the disk, so that a full one still takes acknowledgements and deletions."""

import logging
import os
from pathlib import Path

log = logging.getLogger("edge.journal")


class Ballast:
    """Space kept back on the disk, given up when it is full."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._is_kept = False  # told once, not at each attempt

    def fill(self) -> None:
        """Takes the space, if there is twice as much."""
        if not self._size or self._is_there() or self._free() < 2 * self._size:
            return
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError as error:
            log.warning("ballast_refused reason=%r", error.strerror)
            self.release()

    def resize(self, size: int) -> None:
        """Another size; `fill` takes it."""
        if size != self._size:
            self.release()
            self._size = size

    def release(self) -> None:
        """Gives the space back, unless the disk refuses even that."""
        try:
            self._path.unlink(missing_ok=True)
            self._is_kept = False
        except OSError as error:
            if not self._is_kept:
                log.warning("ballast_kept reason=%r", error.strerror)
            self._is_kept = True

    def room(self) -> bool:
        """Whether readings may take space: the ballast lies there, or as much is free besides."""
        return not self._size or self._is_there() or self._free() > self._size

    def _is_there(self) -> bool:
        try:
            return self._path.exists()
        except OSError:
            return False

    def _free(self) -> int:
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return 0
        return disk.f_bavail * disk.f_frsize
