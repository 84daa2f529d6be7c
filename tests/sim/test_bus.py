"""The lines of the worlds by themselves: two answers on a TCP connection, and on a serial line."""

import random
from collections import Counter

import pytest

from edge.line.line import Line, NoAnswerError, Wire
from edge.meters.modbus_tcp import TcpRead
from protocols.modbus.plan import Span
from tests.sim.bus import Bus, SimPort
from tests.sim.scheduler import MS, SECOND, Process, Scheduler

BAUD = 10_000_000
CHUNK = 16  # bytes: an answer of SIZE comes in eight pieces
SIZE = 117
TIMEOUT_MS = 300
SEEDS = range(20)
SPAN = Span(4, 0, 54)


class Rig:
    """A bus and the gateway's port to it; the test itself is the gateway's thread."""

    def __init__(self, seed: int, is_stream: bool) -> None:
        chance = random.Random(seed)
        self.scheduler = Scheduler(chance)
        self.marks: Counter[str] = Counter()
        self.bus = Bus(self.scheduler, chance, self.marks, BAUD, CHUNK)
        self.bus.is_stream = is_stream
        self.port: SimPort = self.bus.port(Process("gateway"))

    def monotonic(self) -> float:
        """Seconds."""
        return self.scheduler.now_ns / SECOND

    def received(self) -> bytes:
        """All that comes until nothing does."""
        parts = iter(lambda: self.port.read(1.0), b"")
        return b"".join(parts)


class Unit:
    """A unit behind a TCP port: every register of its answer is the transaction's number. The
    first answer comes `late_s` later than the others."""

    name = "unit"

    def __init__(self, late_s: float) -> None:
        self._delays = [0.1 + late_s]

    def feed(self, data: bytes, gap_s: float) -> list[tuple[float, bytes]]:
        """One answer a request."""
        words = data[:2] * SPAN.count
        header = data[:4] + (len(words) + 3).to_bytes(2, "big") + data[6:8]
        return [(self._delays.pop() if self._delays else 0.1, header + bytes([len(words)]) + words)]


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_on_a_stream_come_whole(seed: int) -> None:
    """However much of one is on its way when the next is sent, and three at once."""
    rig = Rig(seed, is_stream=True)
    answers = [bytes([number]) * SIZE for number in range(4)]
    unit = Unit(0)
    rig.port.open()
    moments = (0, 0, seed * 5_000, seed * 10_000)  # ns; an answer takes 128 700
    for moment, answer in zip(moments, answers, strict=True):
        rig.scheduler.after(moment, lambda answer=answer: rig.bus.talk(unit, answer))
    stream = rig.received()
    assert sorted(stream[at : at + SIZE] for at in range(0, len(stream), SIZE)) == answers
    assert rig.marks["collision"] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_late_answer_beside_the_right_one_changes_nothing(seed: int) -> None:
    """The driver takes its own, whichever the server sends first."""
    rig = Rig(seed, is_stream=True)
    late_s = TIMEOUT_MS / 1000 + (seed - len(SEEDS) / 2) * 10e-6  # around the other's beginning
    rig.bus.stations.append(Unit(late_s))
    wire = Wire(BAUD, "N", 1, TIMEOUT_MS, gap_ms=100, turnaround_ms=0)
    line = Line("tcp", rig.port, wire, rig.monotonic)
    with pytest.raises(NoAnswerError):
        line.converse(TcpRead(2, SPAN, 1))
    second = TcpRead(2, SPAN, 2)
    line.converse(second)
    assert set(second.read.words.values()) == {2}
    assert len(second.read.words) == SPAN.count
    third = TcpRead(2, SPAN, 3)
    line.converse(third)
    assert set(third.read.words.values()) == {3}


def test_what_is_on_its_way_when_a_stream_is_closed_is_lost() -> None:
    """Half of one answer had come; the one that waited behind it never does."""
    rig = Rig(0, is_stream=True)
    unit = Unit(0)
    rig.port.open()
    rig.bus.talk(unit, b"\x01" * SIZE)
    rig.bus.talk(unit, b"\x02" * SIZE)
    first = rig.port.read(1.0)
    assert first == b"\x01" * CHUNK
    rig.port.close()
    rig.port.open()
    assert rig.received() == b""
    rig.bus.talk(unit, b"\x03" * SIZE)
    assert rig.received() == b"\x03" * SIZE


def test_two_who_talk_at_once_on_a_serial_line_destroy_each_other() -> None:
    """No byte of both is as it was sent, but for chance; what one says alone is."""
    rig = Rig(1, is_stream=False)
    rig.port.open()
    rig.bus.talk(Unit(0), bytes(SIZE))
    rig.bus.talk(Unit(0), bytes(SIZE))
    heard = rig.received()
    assert rig.marks["collision"] == 1
    assert len(heard) == 2 * SIZE
    assert heard.count(0) < SIZE // 4
    rig.scheduler.sleep(MS)
    rig.bus.talk(Unit(0), bytes(SIZE))
    assert rig.received() == bytes(SIZE)
