"""Bench `real`: real adapters. Either a second adapter answers, back to back, with the virtual
meters of the other benches on it, or real meters do.

Every byte to the adapter passes the interlock. Towards the second adapter nothing else may be
wired; the meters there are virtual, and so they are sacrificial.
"""

import random
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from edge.line.port import PortLostError, SerialPort
from hil.faults import Fault, apply_faults
from hil.scenario import DLT645
from hil.station import Station
from protocols.errors import CallerError, SettingError
from tests.bench_kit.bench import Bench, BenchLine, WallClock
from tests.bench_kit.bench_file import BenchFile, read_bench_file
from tests.bench_kit.features import FEATURES
from tests.bench_kit.interlock import ORDERS, Interlock, Known
from tests.bench_kit.meters import BenchMeter, as_station, make_meter

_POLL_S = 0.02
_STOP_S = 5.0
_LOOPBACK = {"virtual-meter", "faults", "sacrificial-meter"}


class Answerer:
    """Virtual meters behind a second adapter. The UART does the pacing; a reply is written when its
    delay is over, one after the other."""

    def __init__(self, port: SerialPort, clock: WallClock, seed: int = 0) -> None:
        self._port = port
        self._clock = clock
        self._rng = random.Random(seed)
        self._stations: list[Station] = []
        self._faults: list[Fault] = []
        self._due: list[tuple[float, bytes]] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answerer", daemon=True)
        self.error: Exception | None = None

    def start(self) -> None:
        """PortLostError when the second adapter cannot be opened."""
        self._port.open()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)
        self._port.close()

    def attach(self, meter: BenchMeter) -> None:
        """Puts a virtual meter there."""
        with self._lock:
            self._stations.append(as_station(meter, self._clock.utc_ms))

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """Replaces the rules."""
        rules = list(faults)
        with self._lock:
            self._faults = rules

    def unplug(self) -> None:
        """Nobody can do that from here."""
        raise CallerError("a real adapter is unplugged by hand")

    replug = unplug

    def _run(self) -> None:
        heard_s = time.monotonic()
        while not self._stopping.is_set():
            wait_s = self._due[0][0] - time.monotonic() if self._due else _POLL_S
            try:
                data = self._port.read(min(max(wait_s, 0.0), _POLL_S))
                now_s = time.monotonic()
                if data:
                    self._hear(data, now_s - heard_s, now_s)
                    heard_s = now_s
                while self._due and self._due[0][0] <= time.monotonic():
                    self._port.write(self._due.pop(0)[1])
            except PortLostError as error:
                self.error = error
                return

    def _hear(self, data: bytes, gap_s: float, now_s: float) -> None:
        with self._lock:
            for station in self._stations:
                for delay_s, reply in station.feed(data, gap_s):
                    changed = apply_faults(self._faults, station.name, reply, self._rng)
                    if changed is not None:
                        self._due.append((now_s + delay_s + changed[0], changed[1]))
            self._due.sort(key=lambda one: one[0])


class RealMeters:
    """A far end that nobody here can reach: a feature that is missing keeps the tests away."""

    def attach(self, meter: BenchMeter) -> None:
        """Real meters are wired by hand."""
        raise CallerError("a real meter is wired by hand")

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """Real meters do as they like."""
        raise CallerError("a real meter's answers cannot be changed")

    def unplug(self) -> None:
        """Nobody can do that from here."""
        raise CallerError("a real adapter is unplugged by hand")

    replug = unplug


class RealBench(Bench):
    """What bench.toml names."""

    name = "real"

    def __init__(self, folder: Path, file: BenchFile) -> None:
        super().__init__(folder)
        self.file = file
        self.features = features_of(file)
        self._is_loopback = file.line["answers_on"] is not None
        self.clock: WallClock = WallClock(is_noon=self._is_loopback)
        self._answerers: list[Answerer] = []

    def close(self) -> None:
        """Ends the second adapter's thread; its fault is the test's."""
        super().close()
        for one in self._answerers:
            one.stop()
        faults = [str(one.error) for one in self._answerers if one.error is not None]
        if faults:
            raise PortLostError(faults[0])

    def _make_line(self, **options: Any) -> BenchLine:
        for name in ("baud", "parity", "stop_bits"):
            if options.get(name, self.file.line[name]) != self.file.line[name]:
                pytest.skip(f"bench real has {name} {self.file.line[name]}")
        settings = self.file.line
        bits = (settings["baud"], settings["parity"], settings["stop_bits"])
        interlock = Interlock(SerialPort(settings["port"], *bits), self.file.known())
        if not self._is_loopback:
            return BenchLine(interlock, settings, self.clock, RealMeters(), self._find)
        answerer = Answerer(SerialPort(settings["answers_on"], *bits), self.clock)
        answerer.start()
        self._answerers.append(answerer)

        def make(
            on: BenchLine, protocol: str, address: str, allows: str = "", **more: Any
        ) -> BenchMeter:
            meter = make_meter(protocol, address, self.clock.utc_ms, more)
            every = frozenset(ORDERS[protocol].values())
            interlock.allow(Known(protocol, meter.address, True, every))
            answerer.attach(meter)
            return meter

        return BenchLine(interlock, settings, self.clock, answerer, make)

    def _find(
        self, on: BenchLine, protocol: str, address: str, allows: str = "", **options: Any
    ) -> BenchMeter:
        """A meter of the file. One that allows what is asked, or the first; no test that needs
        `options` comes here, because they need virtual meters."""
        if options:
            raise CallerError("a real meter takes no options: the test needs 'virtual-meter'")
        for row in self.file.meters:
            if (
                row["protocol"] == protocol
                and address in ("", row["address"])
                and (not allows or allows in row["allows"])
                and (allows != "relay control" or row["password"])
            ):
                return BenchMeter(protocol, row["address"], row)
        what = f" that allows {allows}" if allows else ""
        pytest.skip(f"bench real has no {protocol} meter{what}")


def make_bench(folder: Path, bench_file: Path | None) -> Bench:
    """This bench, as its file says; SettingError when there is none, or it says nothing good."""
    if bench_file is None:
        raise SettingError("--bench real needs --bench-file FILE; see docs/bench.md")
    return RealBench(folder, read_bench_file(bench_file))


def features_of(file: BenchFile) -> frozenset[str]:
    """What the wiring of a bench file can do."""
    found = {"paced"} if file.line["paced"] else set()
    if file.line["parity"] != "N":
        found.add("parity")
    if file.line["echo"]:
        found.add("echo")
    if file.line["answers_on"] is not None:
        found |= _LOOPBACK
    elif any(one["sacrificial"] for one in file.meters):
        found.add("sacrificial-meter")
    return frozenset(found & set(FEATURES))


def listed_meters(bench: Bench) -> list[str]:
    """The DL/T 645-2007 meters that the bench file names; none where the meters are virtual."""
    meters = bench.file.meters if isinstance(bench, RealBench) else ()
    return sorted(one["address"] for one in meters if one["protocol"] == DLT645)
