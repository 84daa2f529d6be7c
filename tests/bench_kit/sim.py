"""Bench `sim`: one process, one virtual clock. Waiting costs nothing, and every time is exact.

A byte arrives when its last bit would have arrived. Everybody hears everybody but himself; bytes
of two who talk at once are destroyed where they differ. Nothing here knows the rules of
`hil/line.py` but by its words: the two are compared by the tests that run on both.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.line.port import PortLostError
from hil.faults import Fault, apply_faults
from hil.station import Station
from tests.bench_kit.bench import NOON_MS, Bench, BenchLine, line_settings
from tests.bench_kit.features import FEATURES
from tests.bench_kit.meters import BenchMeter, as_station, make_meter

_EPSILON_S = 1e-9  # far below a bit: sums of floats that ought to be equal


class SimClock:
    """Time that only `advance` and the wire move."""

    def __init__(self) -> None:
        self._now_s = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self._now_s

    def utc_ms(self) -> int:
        """It was noon when the bench was built."""
        return NOON_MS + round((self._now_s - 1000.0) * 1000)

    def advance(self, seconds: float) -> None:
        """At once."""
        self._now_s += seconds


@dataclass
class _Burst:
    """Bytes of one talker; None as source is the gateway."""

    source: Station | None
    start_s: float
    end_s: float
    data: bytearray
    told: int = 0  # of them, to the gateway
    covered: set[int] = field(default_factory=set)  # bytes that it hears as another talker's


class SimWire:
    """A Port for the gateway, and the far end where meters are attached."""

    def __init__(self, clock: SimClock, character_s: float, *, echo: bool, seed: int) -> None:
        self._clock = clock
        self._character_s = character_s
        self._echo = echo
        self._rng = random.Random(seed)
        self._stations: list[Station] = []
        self._faults: list[Fault] = []
        self._live: list[_Burst] = []
        self._heard = bytearray()
        self._quiet_since_s = 0.0
        self._is_plugged = True
        self._is_open = False

    # --- the far end -------------------------------------------------------------------------

    def attach(self, meter: BenchMeter) -> None:
        """Puts a virtual meter on the wire."""
        self._stations.append(as_station(meter, self._clock.utc_ms))

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """Replaces the rules; the objects stay the caller's."""
        self._faults = list(faults)

    def unplug(self) -> None:
        """The adapter is gone, and so is what was under way."""
        self._is_plugged = False
        self._live.clear()

    def replug(self) -> None:
        """It is back; whoever had it open must open it again."""
        self._is_plugged = True
        self._is_open = False

    # --- the port ----------------------------------------------------------------------------

    def open(self) -> None:
        """PortLostError while it is unplugged."""
        if not self._is_plugged:
            raise PortLostError("the virtual adapter is unplugged")
        self._is_open = True
        self._heard.clear()

    def close(self) -> None:
        """Harmless when closed."""
        self._is_open = False

    def write(self, data: bytes) -> None:
        """The bytes leave one after the other, and `write` returns at once."""
        self._check()
        self._settle()
        own = [one.end_s for one in self._live if one.source is None]
        self._begin(None, max([self._clock.monotonic(), *own]), data)

    def read(self, timeout_s: float) -> bytes:
        """Moves the clock to the first byte, or to the end of the wait."""
        self._check()
        limit_s = self._clock.monotonic() + timeout_s
        self._settle()
        while not self._heard:
            due_s = min((self._due_s(one) for one in self._live), default=limit_s + 1)
            step_s = min(due_s, limit_s) - self._clock.monotonic()
            self._clock.advance(max(step_s, 0.0))
            if due_s > limit_s:
                return b""
            self._settle()
        heard = bytes(self._heard)
        self._heard.clear()
        return heard

    def _check(self) -> None:
        if not (self._is_plugged and self._is_open):
            self._is_open = False
            raise PortLostError("the virtual adapter is unplugged, or not open")

    # --- the wire ----------------------------------------------------------------------------

    def _is_heard(self, one: _Burst) -> bool:
        return one.source is not None or self._echo

    def _due_s(self, one: _Burst) -> float:
        """When something happens to it next."""
        if not self._is_heard(one):
            return one.end_s
        return min(one.end_s, one.start_s + (one.told + 1) * self._character_s)

    def _begin(self, source: Station | None, start_s: float, data: bytes) -> None:
        new = _Burst(source, start_s, start_s + len(data) * self._character_s, bytearray(data))
        for other in self._live:
            if other.source is not source:
                self._collide(other, new)
        self._live.append(new)

    def _collide(self, one: _Burst, two: _Burst) -> None:
        offset = round((two.start_s - one.start_s) / self._character_s)
        for index in range(max(0, offset), min(len(one.data), offset + len(two.data))):
            if one.data[index] != two.data[index - offset]:
                one.data[index] = two.data[index - offset] = self._rng.randrange(256)
            if self._is_heard(one):
                two.covered.add(index - offset)

    def _settle(self) -> None:
        """Does what is due by now, in the order of time."""
        while True:
            now_s = self._clock.monotonic() + _EPSILON_S
            due = [one for one in self._live if self._due_s(one) <= now_s]
            if not due:
                return
            one = min(due, key=self._due_s)
            done = int((self._due_s(one) + _EPSILON_S - one.start_s) / self._character_s)
            if self._is_heard(one):
                told = range(one.told, done)
                self._heard.extend(one.data[at] for at in told if at not in one.covered)
                one.told = done
            if done >= len(one.data):
                self._live.remove(one)
                self._complete(one)

    def _complete(self, one: _Burst) -> None:
        gap_s = one.start_s - self._quiet_since_s
        self._quiet_since_s = one.end_s
        for station in self._stations:
            if station is one.source:
                continue
            for delay_s, reply in station.feed(bytes(one.data), gap_s):
                changed = apply_faults(self._faults, station.name, reply, self._rng)
                if changed is not None:
                    extra_s, data = changed
                    self._begin(station, one.end_s + delay_s + extra_s, data)


class SimBench(Bench):
    """Everything in virtual time."""

    name = "sim"
    features = frozenset(FEATURES) - {"parity"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.clock: SimClock = SimClock()

    def _make_line(self, **options: Any) -> BenchLine:
        settings = line_settings(options)
        character_s = 11 / settings["baud"]
        wire = SimWire(
            self.clock, character_s, echo=options.get("echo", False), seed=options.get("seed", 0)
        )

        def make(
            line: BenchLine, protocol: str, address: str, allows: str = "", **more: Any
        ) -> BenchMeter:
            meter = make_meter(protocol, address, self.clock.utc_ms, more)
            wire.attach(meter)
            return meter

        return BenchLine(wire, settings, self.clock, wire, make)


def make_bench(folder: Path, bench_file: Path | None) -> Bench:
    """This bench; it needs no file."""
    return SimBench(folder)
