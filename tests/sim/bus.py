"""A half-duplex line in virtual time: bytes with their instants, collisions, noise, an adapter.

* A byte takes its 11 bits. Stations hear a burst when its last bit is out; the gateway's adapter
  gets its bytes in pieces of `chunk`, each when its last bit is out.
* Who talks while another talks destroys the bytes of both.
* A stream is a TCP connection: both ends may talk at once, and nothing is destroyed. Each answer
  comes whole, behind the one before it: no byte of a late one gets between those of another. What
  is on its way when it is closed is lost.
* An adapter that was pulled out loses what comes, and its port fails until it is back.
"""

import random
from collections import Counter
from collections.abc import Callable

from edge.line.port import PortLostError
from hil.faults import Fault, apply_faults
from hil.station import Station
from tests.sim.scheduler import SECOND, Process, Scheduler, Task, wait_ns

BITS_PER_BYTE = 11
KEPT_MAX = 4096  # bytes that the driver keeps for a reader that does not come
IDLE_S = 60.0  # a gap that ends whatever a station had heard


class _Nobody:
    """The source of noise."""

    name = "noise"

    def feed(self, data: bytes, gap_s: float) -> list[tuple[float, bytes]]:
        """Hears nothing."""
        return []


_NOBODY = _Nobody()


class _Burst:
    """Bytes of one talker; None is the gateway."""

    def __init__(
        self, source: Station | None, start_ns: int, byte_ns: int, data: bytes, connection: int
    ) -> None:
        self.source = source
        self.connection = connection
        self.start_ns = start_ns
        self.end_ns = start_ns + len(data) * byte_ns
        self.data = bytearray(data)


class Bus:
    """One line. `answers` is asked, before a station is, whether a fault changes who answers."""

    def __init__(
        self,
        scheduler: Scheduler,
        chance: random.Random,
        marks: Counter[str],
        baud: int,
        chunk: int,
    ) -> None:
        self.stations: list[Station] = []
        self.faults: list[Fault] = []
        self.echo = False
        self.is_stream = False
        self.connection = 0  # how often it was opened
        self.period_ms = 0  # how often its meters are read
        self.is_plugged = True
        self.hear_request: Callable[[bytes], None] = lambda data: None
        self.misled: Callable[[Station, bytes], Station] = lambda station, data: station
        self._scheduler = scheduler
        self._chance = chance
        self._marks = marks
        self._byte_ns = BITS_PER_BYTE * SECOND // baud
        self._chunk = chunk
        self._live: list[_Burst] = []
        self._quiet_since_ns = 0
        self._own_end_ns = 0
        self._answers_end_ns = 0  # of a stream
        self._kept = bytearray()
        self._port: SimPort | None = None

    # ---- the gateway's adapter ------------------------------------------------------------------

    def port(self, process: Process) -> "SimPort":
        """The adapter, as a process of the gateway uses it."""
        return SimPort(self, self._scheduler, process)

    def open(self, port: "SimPort") -> None:
        """PortLostError without an adapter."""
        self._check()
        self._kept.clear()
        self.connection += 1
        self._port = port

    def close(self, port: "SimPort") -> None:
        """Nobody reads any more."""
        if self._port is port:
            self._port = None

    def write(self, data: bytes) -> None:
        """The request begins when the adapter has sent what it holds."""
        self._check()
        begin = max(self._scheduler.now_ns, self._own_end_ns)
        self._own_end_ns = begin + len(data) * self._byte_ns
        self._scheduler.after(begin - self._scheduler.now_ns, lambda: self.talk(None, data))

    def take(self) -> bytes:
        """What has come."""
        self._check()
        data = bytes(self._kept)
        self._kept.clear()
        return data

    def set_plugged(self, is_plugged: bool) -> None:
        """Pulls the adapter out, or puts it back."""
        self.is_plugged = is_plugged
        if not is_plugged and self._port is not None:
            self._marks["stream_lost" if self.is_stream else "adapter_lost"] += 1
            self._port.wake()

    def _check(self) -> None:
        if not self.is_plugged:
            raise PortLostError("the adapter is unplugged")

    # ---- the wire -------------------------------------------------------------------------------

    def talk(self, source: Station | None, data: bytes) -> None:
        """Somebody begins to send now."""
        if not data:
            return
        now = self._scheduler.now_ns
        if self.is_stream and source is not None:
            if self._answers_end_ns > now:
                self._scheduler.after(self._answers_end_ns - now, _Talk(self, source, data))
                return
            self._answers_end_ns = now + len(data) * self._byte_ns
        burst = _Burst(source, now, self._byte_ns, data, self.connection)
        for other in self._live:
            if other.end_ns > now and other.source is not source and not self.is_stream:
                self._collide(other, burst)
        self._live.append(burst)
        if source is not None or self.echo:
            for at in range(0, len(data), self._chunk):
                end = min(at + self._chunk, len(data))
                self._scheduler.after(end * self._byte_ns, _Arrival(self, burst, at, end))
        self._scheduler.after(len(data) * self._byte_ns, lambda: self._complete(burst))

    def make_noise(self, noise: bytes) -> None:
        """Bytes of nobody."""
        self._marks["line_noise_heard"] += 1
        self.talk(_NOBODY, noise)

    def _collide(self, one: _Burst, two: _Burst) -> None:
        self._marks["collision"] += 1
        until = min(one.end_ns, two.end_ns)
        for burst in (one, two):
            first = max(0, (two.start_ns - burst.start_ns) // self._byte_ns)
            last = min(len(burst.data), -((burst.start_ns - until) // self._byte_ns))
            for at in range(first, last):
                burst.data[at] = self._chance.randrange(256)

    def is_lost(self, connection: int) -> bool:
        """Whether what was sent over the connection of that number can arrive no more."""
        return self.is_stream and self.connection != connection

    def arrive(self, data: bytes) -> None:
        """Bytes at the adapter."""
        if self.is_plugged and self._port is not None:
            self._kept += data
            del self._kept[:-KEPT_MAX]
            self._port.wake()

    def _complete(self, burst: _Burst) -> None:
        self._live.remove(burst)
        gap_s = max(0.0, (burst.start_ns - self._quiet_since_ns) / SECOND)
        self._quiet_since_ns = burst.end_ns
        data = bytes(burst.data)
        if burst.source is None:
            self.hear_request(data)
        for station in self.stations:
            if station is not burst.source:
                self._hear(station, data, gap_s)

    def _hear(self, station: Station, data: bytes, gap_s: float) -> None:
        for delay_s, reply in station.feed(data, gap_s):
            answering, answer = self._answer(station, data, reply)
            if answering is not station:  # as it is: under a changed address nobody could tell
                self._scheduler.after(round(delay_s * SECOND), _Talk(self, answering, answer))
                continue
            counts = [fault.applied for fault in self.faults]
            changed = apply_faults(self.faults, station.name, answer, self._chance)
            for fault, before in zip(self.faults, counts, strict=True):
                self._marks[f"answer_{fault.kind}"] += fault.applied - before
            if changed is not None:
                extra_s, sent = changed
                self._scheduler.after(
                    round((delay_s + extra_s) * SECOND), _Talk(self, answering, sent)
                )

    def _answer(self, station: Station, data: bytes, reply: bytes) -> tuple[Station, bytes]:
        """Who answers, and what: another meter, when a fault makes it believe that it was asked."""
        other = self.misled(station, data)
        if other is station:
            return station, reply
        readdressed = other.answer_instead(data)  # type: ignore[attr-defined]
        if not readdressed:
            return station, reply
        self._marks["answer_of_another"] += 1
        return other, readdressed


class _Arrival:
    """The end of a piece of a burst, at the adapter."""

    def __init__(self, bus: Bus, burst: _Burst, at: int, end: int) -> None:
        self._bus, self._burst, self._at, self._end = bus, burst, at, end

    def __call__(self) -> None:
        if not self._bus.is_lost(self._burst.connection):
            self._bus.arrive(bytes(self._burst.data[self._at : self._end]))


class _Talk:
    """An answer whose time has come."""

    def __init__(self, bus: Bus, station: Station, data: bytes) -> None:
        self._bus, self._station, self._data = bus, station, data
        self._connection = bus.connection

    def __call__(self) -> None:
        if not self._bus.is_lost(self._connection):
            self._bus.talk(self._station, self._data)


class SimPort:
    """The production interface `edge.line.port.Port`."""

    def __init__(self, bus: Bus, scheduler: Scheduler, process: Process) -> None:
        self._bus = bus
        self._scheduler = scheduler
        self._process = process
        self._reader: Task | None = None

    def open(self) -> None:
        """As the real one."""
        self._process.step("port")
        self._bus.open(self)

    def close(self) -> None:
        """As the real one."""
        self._bus.close(self)

    def write(self, data: bytes) -> None:
        """As the real one."""
        self._process.step("write")
        self._bus.write(data)

    def read(self, timeout_s: float) -> bytes:
        """As the real one."""
        self._process.step("read")
        until = self._scheduler.now_ns + wait_ns(timeout_s)
        while not (data := self._bus.take()) and self._scheduler.now_ns < until:
            self._reader = self._scheduler.current
            self._scheduler.park(until)
            self._reader = None
        return data

    def wake(self) -> None:
        """Something has come, or the adapter is gone."""
        if self._reader is not None:
            self._scheduler.wake(self._reader)
