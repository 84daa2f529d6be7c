"""provisioning/search.py: meters of a line found through a port, in the time that they may take."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.line.port import PortLostError
from hil.line import Line
from hil.load import Load
from hil.meter import Dlt645Meter
from protocols.dlt645.search import Search
from provisioning import search as command
from provisioning.__main__ import main

BAUD = 2400
CHARACTER_S = 11 / BAUD
METERS = ("000000000161", "000000000162", "000000010162", "871200000162")


class Bus:
    """A port onto several meters in fake time: replies that overlap become their AND, as on a
    line where a 0 is stronger."""

    def __init__(self, *addresses: str, delays_s: tuple[float, ...] = ()) -> None:
        self.now = 0.0
        self.windows: list[float] = []
        self.is_open = False
        delays = delays_s or (0.02,) * len(addresses)
        self._meters = [
            Dlt645Meter(one, Load(1), lambda: 0, response_delay_s=delay)
            for one, delay in zip(addresses, delays, strict=True)
        ]
        self._bytes: list[tuple[float, int]] = []

    def clock(self) -> float:
        return self.now

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def write(self, data: bytes) -> None:
        assert self.is_open
        self.windows.append(self.now)
        ended = self.now + len(data) * CHARACTER_S
        slots: dict[int, int] = {}
        for meter in self._meters:
            for delay, reply in meter.feed(data, 1.0):
                first = round((ended + delay) / CHARACTER_S)
                for number, byte in enumerate(reply):
                    slots[first + number] = slots.get(first + number, 0xFF) & byte
        self._bytes = [((slot + 1) * CHARACTER_S, byte) for slot, byte in sorted(slots.items())]

    def read(self, timeout_s: float) -> bytes:
        until = self.now + timeout_s
        ready = [one for one in self._bytes if one[0] <= until]
        if not ready:
            self.now = until
            return b""
        self.now = max(self.now, ready[0][0])
        ready = [one for one in ready if one[0] <= self.now]
        self._bytes = self._bytes[len(ready) :]
        return bytes(byte for _, byte in ready)


def run(bus: Bus, **options: object) -> Search:
    """A whole search in fake time."""
    bus.open()
    return command.search(bus, BAUD, Search(**options), bus.clock)  # type: ignore[arg-type]


def test_all_meters_of_a_line_are_found() -> None:
    """Though three of them share their low digits, and two all but the highest."""
    bus = Bus(*METERS)
    found = run(bus)
    assert tuple(found.found) == METERS
    assert (found.conflicts, found.is_complete) == ([], True)
    # Nobody is asked before the longest delay of the one asked before is over.
    gaps = [later - earlier for earlier, later in zip(bus.windows, bus.windows[1:], strict=False)]
    assert min(gaps) >= command.RESPONSE_DELAY_S


@pytest.mark.parametrize("seed", range(4))
def test_slow_meters_are_waited_for(seed: int) -> None:
    """Up to the 500 ms that the standard allows, whatever the others do."""
    source = random.Random(seed)
    addresses = [f"{source.randrange(10**12):012d}" for _ in range(5)]
    delays = tuple(source.choice((0.02, 0.1, 0.25, 0.499)) for _ in addresses)
    print(f"seed {seed}: {addresses} {delays}")
    found = run(Bus(*addresses, delays_s=delays))
    assert found.found == sorted(addresses)


def test_the_limit_ends_a_search_and_says_so() -> None:
    """Nothing is claimed to be complete."""
    found = run(Bus(*METERS), probes_max=20)
    assert found.probes == 20
    assert not found.is_complete
    assert "ended after 20 probes" in "".join(command._text(found, False))


@pytest.fixture
def line(tmp_path: Path) -> Iterator[str]:
    """A virtual line with one meter."""
    meter = Dlt645Meter(METERS[0], Load(1), lambda: 0)
    with Line(tmp_path / "line1", paced=False) as one:
        one.attach(meter)
        yield str(one.link)


def test_the_command_finds_the_meter_of_a_line(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a technician calls it, over a tty; for a person and as JSON."""
    arguments = ["search", line, "--baud", "19200", "--parity", "N"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"meter {METERS[0]}\n"
    assert main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["found"] == [METERS[0]]
    assert said["is_complete"] is True


def test_what_cannot_be_done_is_one_sentence(
    line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A port that is not there, an address that is none, a line with nobody."""
    assert main(["search", str(tmp_path / "none")]) == 2
    assert "cannot be opened" in capsys.readouterr().err
    assert main(["search", line, "--known", "161"]) == 2
    assert "--known '161' is not allowed" in capsys.readouterr().err
    known = ["--known", METERS[0], "--parity", "N", "--probes", "1"]
    assert main(["search", line, *known]) == 1
    assert capsys.readouterr().out == "no DL/T 645-2007 meter but those known (1 probes)\n"
    assert main(["search", line, "--probes", "0"]) == 2
    assert "--probes 0 is not allowed; it must be at least 1" in capsys.readouterr().err


def test_a_port_is_closed_whatever_happens() -> None:
    """An adapter that goes away in the middle."""
    bus = Bus(*METERS)
    bus.read = lambda timeout_s: (_ for _ in ()).throw(PortLostError("unplugged"))  # type: ignore[method-assign]
    with pytest.raises(PortLostError):
        command.run(bus, BAUD, (), 10)
    assert not bus.is_open
