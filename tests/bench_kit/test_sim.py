"""The wire of bench `sim`: times to the character, collisions, echo, and the adapter's end."""

import pytest

from edge.line.port import PortLostError
from hil.faults import Fault
from tests.bench_kit.bench import NOON_MS
from tests.bench_kit.meters import BenchMeter
from tests.bench_kit.sim import SimClock, SimWire

CHARACTER_S = 0.01
ASK = b"ask"


class Parrot:
    """A station that answers ASK with `reply`, and takes down all that it hears, and after what
    silence."""

    def __init__(self, name: str, reply: bytes, delay_s: float = 0.1) -> None:
        self.name = name
        self.heard: list[tuple[bytes, float]] = []
        self._answers = [(delay_s, reply)] if reply else []

    def feed(self, data: bytes, gap_s: float) -> list[tuple[float, bytes]]:
        self.heard.append((data, gap_s))
        return self._answers if data == ASK else []


def make_wire(*stations: Parrot, echo: bool = False) -> tuple[SimClock, SimWire]:
    """An open wire with these stations."""
    clock = SimClock()
    wire = SimWire(clock, CHARACTER_S, echo=echo, seed=1)
    for station in stations:
        meter = BenchMeter("dlt645-2007", "000000000161", {})
        meter.station = station
        wire.attach(meter)
    wire.open()
    return clock, wire


def hear(clock: SimClock, wire: SimWire, seconds: float = 1.0) -> list[tuple[int, bytes]]:
    """What comes within the time: (ms since now, bytes)."""
    began_s = clock.monotonic()
    found = []
    while (left_s := began_s + seconds - clock.monotonic()) > 0:
        data = wire.read(left_s)
        if data:
            found.append((round(1000 * (clock.monotonic() - began_s)), data))
    return found


def test_every_byte_comes_when_its_last_bit_would() -> None:
    """Three characters out, the delay, and one character each; the clock is moved by nothing
    else."""
    station = Parrot("a", b"yes!")
    clock, wire = make_wire(station)
    wire.write(ASK)
    assert hear(clock, wire) == [(140, b"y"), (150, b"e"), (160, b"s"), (170, b"!")]
    assert clock.monotonic() == pytest.approx(1001.0)
    assert clock.utc_ms() == NOON_MS + 1000


def test_stations_hear_the_gateway_and_each_other_but_not_themselves() -> None:
    """Whole transmissions, with the silence before them."""
    speaker, listener = Parrot("a", b"yes!"), Parrot("b", b"")
    clock, wire = make_wire(speaker, listener)
    wire.write(ASK)
    hear(clock, wire)
    assert [data for data, _ in speaker.heard] == [ASK]
    assert [data for data, _ in listener.heard] == [ASK, b"yes!"]
    assert listener.heard[-1][1] == pytest.approx(0.1)


def test_two_who_talk_at_once_destroy_what_differs() -> None:
    """As many bytes as the longer answer; where both say the same, that is heard."""
    clock, wire = make_wire(Parrot("a", b"--same--"), Parrot("b", b"++same++and more"))
    wire.write(ASK)
    heard = b"".join(data for _, data in hear(clock, wire))
    assert len(heard) == 16
    assert heard[2:6] == b"same"
    assert heard[8:] == b"and more"
    assert all(heard[at : at + 1] not in (b"-", b"+") for at in (0, 1, 6, 7))


def test_a_late_answer_destroys_the_next_request() -> None:
    """Nobody hears it as it was."""
    station = Parrot("a", b"yes!")
    clock, wire = make_wire(station)
    fault = Fault("late", count=1, late_ms=500)
    wire.set_faults([fault])
    wire.write(ASK)
    assert hear(clock, wire, 0.64) == [(640, b"y")]
    wire.write(ASK)
    hear(clock, wire)
    assert fault.applied == 1
    assert len(station.heard) == 2
    assert station.heard[1][0] != ASK


def test_an_echo_comes_with_the_request() -> None:
    """Before any answer, in its own time."""
    clock, wire = make_wire(Parrot("a", b"yes!"), echo=True)
    wire.write(ASK)
    assert hear(clock, wire)[:4] == [(10, b"a"), (20, b"s"), (30, b"k"), (140, b"y")]


def test_an_adapter_that_is_gone() -> None:
    """Reads, writes and openings fail; put in again, it must be opened again."""
    clock, wire = make_wire(Parrot("a", b"yes!"))
    wire.write(ASK)
    wire.unplug()
    for attempt in (lambda: wire.read(1.0), lambda: wire.write(ASK), wire.open):
        with pytest.raises(PortLostError):
            attempt()
    wire.replug()
    with pytest.raises(PortLostError):
        wire.read(1.0)
    wire.open()
    assert hear(clock, wire) == []
    wire.write(ASK)
    assert len(hear(clock, wire)) == 4
