"""Pain 14: the USB adapter was unplugged, and the gateway does not find it again."""

import os
import select
import threading
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.collect.line_plan import plan_line, wire
from edge.collect.plausible import Verdict
from edge.collect.poller import LineWorker, Surroundings
from edge.line.line import Line
from edge.line.port import PortLostError, SerialPort
from edge.meters.learned import Learned
from edge.settings import load_settings
from protocols.readings import ReadingSet
from tests.edge.fakes import FakeClock
from tests.edge.test_settings import GOOD, write_config
from tests.pains.gateway import HOUR_MS, MINUTE_MS, Gateway, dlt645, is_unbroken, slots_of
from tests.pains.meters import Bus, Dlt645

SOON_S = 15.0
REOPENED_MS_MAX = 10_000  # between two attempts to open the port


class Adapter:
    """A tty with a meter behind it, for as long as it is plugged in."""

    def __init__(self) -> None:
        self.meter = Dlt645(1, FakeClock())
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        held = b""
        while self._stop not in select.select([self.master, self._stop], [], [])[0]:
            held += os.read(self.master, 1000)
            if held.endswith(b"\x16"):
                for _, reply in self.meter.hear(held):
                    os.write(self.master, reply)
                held = b""

    def unplug(self) -> None:
        """Its tty is gone."""
        os.close(self._stopped)
        self._thread.join()
        for descriptor in (self._slave, self.master, self._stop):
            os.close(descriptor)


@pytest.fixture
def adapters() -> Iterator[list[Adapter]]:
    """Those that are plugged in."""
    plugged: list[Adapter] = []
    yield plugged
    for one in plugged:
        one.unplug()


class RealLine:
    """A line's worker with its own thread, a real port and real time; read each second."""

    def __init__(self, folder: Path, link: Path) -> None:
        table = GOOD | {
            "line": [{"id": "line-1", "port": str(link), "parity": "N", "baud": 115200}],
            "meter": [dlt645(1, period_s=1)],
        }
        settings = load_settings(write_config(folder, table))
        (section,) = settings.lines
        self.sets: deque[ReadingSet] = deque()
        self.told: deque[str] = deque()
        clock = SystemClock()
        around = Surroundings(
            clock,
            lambda one, _: self.sets.append(one),
            lambda kind, *_, **__: self.told.append(kind),
            lambda *_: Verdict(),
            lambda: False,
        )
        plan = plan_line(section, settings, {}, Learned(folder, clock))
        own = wire(section)
        line = Line("line-1", SerialPort(str(link), *own.characters), own, time.monotonic)
        self.worker = LineWorker(line, plan.watches, plan.tasks, around)


def await_true(condition: Callable[[], bool], what: str) -> None:
    """Within SOON_S."""
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.01)


def opened() -> set[str]:
    """What this process holds open."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(one.readlink()).removesuffix(" (deleted)"))
        except OSError:
            continue
    return found


def test_an_adapter_is_found_under_its_new_number(tmp_path: Path, adapters: list[Adapter]) -> None:
    """BlackZork/mqmgateway #9 (the open descriptor keeps ttyUSB0, so the adapter comes back as
    ttyUSB1 and is never found), aljen/modbus-relay #7, edgex #636: unplugged while it is polled, it
    is let go of at once, and found behind its by-path name, where another number is now."""
    link = tmp_path / "usb-0:1.2:1.0-port0"
    adapters.append(Adapter())
    link.symlink_to(adapters[0].path)
    one = RealLine(tmp_path, link)
    one.worker.start()
    try:
        await_true(lambda: len(one.sets) >= 1, "a reading")
        replacement = Adapter()  # before the first is gone, so that it gets another number
        old = adapters.pop()
        assert old.path in opened() and old.path != replacement.path
        old.unplug()
        adapters.append(replacement)
        await_true(lambda: "adapter-lost" in one.told, "the loss to be told")
        await_true(lambda: old.path not in opened(), "the old descriptor to be closed")
        link.unlink()
        link.symlink_to(replacement.path)
        before = len(one.sets)
        await_true(lambda: len(one.sets) >= before + 2, "readings from the new number")
        assert replacement.meter.asked >= 2
        assert replacement.path in opened()
    finally:
        one.worker.stop()
    assert list(one.told) == ["adapter-lost", "adapter-found"]


@pytest.mark.parametrize("gone_ms", [90_000, 6 * HOUR_MS])
def test_after_a_long_absence_all_is_read_at_once_and_no_meter_is_blamed(
    tmp_path: Path, clock: FakeClock, gone_ms: int
) -> None:
    """edgex #636, neuron #2148 (the driver stays disconnected until it is restarted): the other
    line reads on, and after the return each meter is read within its period."""
    buses = {name: Bus(Dlt645(n, clock)) for n, name in ((1, "line-1"), (2, "line-2"))}
    gateway = Gateway(tmp_path, clock, buses, [dlt645(1), dlt645(2, "line-2")])
    gateway.run_for(5 * MINUTE_MS)
    port = gateway.ports["line-1"]
    port.inject(0, PortLostError("unplugged"))
    port.open_errors.extend(["no such file or directory"] * 100_000)
    gateway.run_for(gone_ms)
    port.open_errors.clear()
    back_at = clock.utc_ms()
    gateway.run_for(5 * MINUTE_MS)
    stored = gateway.journaled_sets()
    after = [one.read_at for one in stored if one.meter_id == "m-1" and one.read_at >= back_at]
    assert min(after) <= back_at + REOPENED_MS_MAX + MINUTE_MS
    assert len(after) >= 4
    assert is_unbroken(slots_of(stored, "m-2"))
    for kind in ("adapter-lost", "adapter-found"):
        assert [one.subject for one in gateway.events_of(kind)] == ["line-1"]
    assert gateway.events_of("meter-down") == []
    assert port.count("open") <= 20 + gone_ms // REOPENED_MS_MAX
