"""The wall clock of a running gateway is stepped by a day: no reading gets a false time and says
that it is good.

The gateway is a process of its own whose CLOCK_REALTIME a small library shifts (`wall_clock.c`).
Debian's libfaketime does not serve: it shifts CLOCK_BOOTTIME too, and told not to, makes every
sleep of Python fail. Here boot time is the kernel's own, as it is when somebody sets a real clock,
and tells the test when a reading was really taken.
"""

import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hil.deployment import Deployment, Part
from protocols.readings import TimeQuality
from tests.system.conftest import assert_exactly_once, fast_plan

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SOURCE = Path(__file__).with_name("wall_clock.c")
NS = 1_000_000_000
DAY_NS = 86_400 * NS
SYNCED, UNSYNCED = 0, 5  # TIME_OK and TIME_ERROR of adjtimex(2)
TIME_ERROR_MS = 2_000  # of a time that says it is good, on a busy machine
FAULT_S = 8  # longer than the gateway holds to what the kernel said
SETS_MIN = 8
_ROWS = "SELECT sequence, quality, read_at, boot_at FROM reading_set ORDER BY sequence"


class WallClock:
    """The clock of the gateway's process."""

    def __init__(self, path: Path, library: Path) -> None:
        self.path = path
        self.environment = (f"WALL_CLOCK={path}", f"LD_PRELOAD={library}")
        self.set(0, UNSYNCED)

    def set(self, offset_ns: int, state: int) -> None:
        """Off by so much from now on, and what the kernel says of it."""
        numbers = struct.pack("=qq", offset_ns, state)
        if self.path.exists():
            with self.path.open("r+b") as file:  # in place: it is mapped
                file.write(numbers)
        else:
            self.path.write_bytes(numbers)


class Row(NamedTuple):
    """A reading set of the journal; the error of its time in ms."""

    sequence: int
    quality: int
    error_ms: int


class Stepped(NamedTuple):
    """A deployment whose gateway has a clock to be set."""

    deployment: Deployment
    clock: WallClock

    def rows(self) -> list[Row]:
        """All reading sets so far."""
        true_ms = (time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // 1_000_000
        uri = f"file:{self.deployment.state / 'journal.db'}?mode=ro"
        db = sqlite3.connect(uri, uri=True)
        found = db.execute(_ROWS).fetchall()
        db.close()
        return [Row(number, good, read - boot - true_ms) for number, good, read, boot in found]

    def await_quality(self, quality: int) -> None:
        """Until a reading set says so."""
        self.deployment.await_true(
            lambda: any(one.quality == quality for one in self.rows()), f"quality {quality}"
        )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, require: Callable[..., None]) -> Path:
    """The library that shifts the clock."""
    require("gcc", Path("/usr/include/stdio.h"))
    path = tmp_path_factory.mktemp("wall-clock") / "wall_clock.so"
    command = ("gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", path, SOURCE)
    subprocess.run(command, check=True)
    return path


@pytest.fixture
def stepped(tmp_path: Path, library: Path, require: Callable[..., None]) -> Iterator[Stepped]:
    """Not yet started."""
    require("mosquitto")
    deployment = Deployment(tmp_path, fast_plan(), "mosquitto")
    clock = WallClock(tmp_path / "wall-clock", library)
    deployment.gateway = Part(
        tmp_path,
        "gateway",
        ("/usr/bin/env", *clock.environment, sys.executable, "-m", "edge", "run", "--config",
         str(deployment.edge_config)),
    )  # fmt: skip
    yield Stepped(deployment, clock)
    deployment.stop()


def assert_no_false_time(stepped: Stepped) -> None:
    """Every time that says it is good is good."""
    false = [
        one
        for one in stepped.rows()
        if one.quality >= TimeQuality.NTP and abs(one.error_ms) > TIME_ERROR_MS
    ]
    assert false == []


def test_the_library_shifts_the_wall_clock_alone(library: Path, tmp_path: Path) -> None:
    """Boot time, monotonic time and sleeps stay what they are."""
    clock = WallClock(tmp_path / "wall-clock", library)
    clock.set(DAY_NS, SYNCED)
    code = (
        "import ctypes, time; time.sleep(0.01); b = ctypes.create_string_buffer(512);"
        "print(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.monotonic_ns(),"
        " ctypes.CDLL(None).adjtimex(b))"
    )
    command = ("/usr/bin/env", *clock.environment, sys.executable, "-c", code)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    wall, boot, monotonic, state = map(int, told)
    assert 0 <= time.time_ns() + DAY_NS - wall < 5 * NS
    assert 0 <= time.clock_gettime_ns(time.CLOCK_BOOTTIME) - boot < 5 * NS
    assert 0 <= time.monotonic_ns() - monotonic < 5 * NS
    assert state == SYNCED


@pytest.mark.parametrize("days", [1, -1])
def test_a_gateway_starts_on_the_wrong_day(stepped: Stepped, days: int) -> None:
    """Its kernel knows no time; it takes the head end's, and a second step changes nothing."""
    deployment, clock = stepped
    clock.set(days * DAY_NS, UNSYNCED)
    deployment.start()
    stepped.await_quality(TimeQuality.SIGNED)
    clock.set(-days * DAY_NS, UNSYNCED)
    time.sleep(FAULT_S)
    assert assert_exactly_once(deployment) >= SETS_MIN
    assert_no_false_time(stepped)


@pytest.mark.parametrize("days", [1, -1])
def test_a_synchronised_clock_is_stepped(stepped: Stepped, days: int) -> None:
    """Somebody sets it; the kernel says at once that it is not synchronised any more."""
    deployment, clock = stepped
    clock.set(0, SYNCED)
    deployment.start()
    stepped.await_quality(TimeQuality.NTP)
    clock.set(days * DAY_NS, UNSYNCED)
    time.sleep(FAULT_S)
    clock.set(0, SYNCED)
    time.sleep(1)
    assert assert_exactly_once(deployment) >= SETS_MIN
    assert_no_false_time(stepped)
