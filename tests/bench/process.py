"""What the kernel says about a running process (proc(5)), and how busy the machine is besides."""

import os
import time
from pathlib import Path
from typing import NamedTuple

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_BEHIND_NAME = ") "  # the name of the program may itself hold spaces and brackets
_USER_TICKS, _SYSTEM_TICKS = 11, 12  # fields of stat, counted behind the name


class Sample(NamedTuple):
    """A process at one instant. `at_s` is CLOCK_MONOTONIC."""

    at_s: float
    cpu_s: float
    resident_mb: float
    threads: int
    descriptors: int


def sample(pid: int) -> Sample:
    """The process as it is now; OSError when it is gone."""
    folder = Path(f"/proc/{pid}")
    stat = (folder / "stat").read_text().rpartition(_BEHIND_NAME)[2].split()
    ticks = int(stat[_USER_TICKS]) + int(stat[_SYSTEM_TICKS])
    status = _status(folder)
    return Sample(
        time.monotonic(),
        ticks * _TICK_S,
        _mb(status["VmRSS"]),
        int(status["Threads"]),
        len(list((folder / "fd").iterdir())),
    )


def peak_mb(pid: int) -> float:
    """The most resident memory that the process ever had."""
    return _mb(_status(Path(f"/proc/{pid}"))["VmHWM"])


def load_per_core() -> float:
    """Processes that ran or waited for a core in the last minute, ours included, per core."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def _status(folder: Path) -> dict[str, str]:
    rows = (line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return {name: value.strip() for name, value in rows}


def _mb(text: str) -> float:
    return int(text.split(maxsplit=1)[0]) / 1024
