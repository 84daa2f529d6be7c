"""How full the journal is, and the file system that it lies on: what is told, and what stops."""

import os
from pathlib import Path

CROWDED = 0.80  # of the journal's size: above it acknowledged rows go, then values are thinned
FULL = 0.95  # above it lines stop polling groups that are all instantaneous
CALM = 0.05  # that far below a level it is left, so that no level is told again and again
_MB = 1 << 20


class Levels:
    """The level of now. `share` is the worse of the journal's share of its size and the file
    system's; that of the file system counts while it has less room than the journal may still
    take."""

    def __init__(self, folder: Path, size_max: int) -> None:
        self.share = 0.0
        self.level = 0.0  # 0, CROWDED or FULL
        self._folder = folder
        self._size_max = size_max

    def resize(self, size_max: int) -> None:
        """Another cap of the journal (bytes)."""
        self._size_max = size_max

    def measure(self, fill: float) -> tuple[str, str]:
        """Takes the journal's fill (0..1) and looks at the disk. The kind and the detail of the
        event that this calls for, or ("", "")."""
        disk, free = self._disk(self._size_max * (1 - fill))
        self.share = max(fill, disk)
        level = max((one for one in (CROWDED, FULL) if self._is_above(one)), default=0.0)
        before, self.level = self.level, level
        if level == before:
            return "", ""
        detail = f"journal {fill:.0%} of {self._size_max // _MB} MB"
        if disk:
            detail += f", file system {disk:.0%} full, {free // _MB} MB free"
        kinds = {FULL: "disk-95", CROWDED: "disk-80" if level > before else "", 0.0: ""}
        if not level:
            return "disk-recovered", detail
        return kinds[level], detail

    def _is_above(self, level: float) -> bool:
        return self.share >= (level - CALM if self.level >= level else level)

    def _disk(self, wanted: float) -> tuple[float, int]:
        """(share of the file system that is used, bytes that are free); (0, 0) when it has the
        `wanted` bytes, or says nothing."""
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return 0.0, 0
        free = found.f_bavail * found.f_frsize
        if free >= wanted:
            return 0.0, 0
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        return used / max(used + free, 1), free
