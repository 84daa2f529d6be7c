"""Pain 6: several kinds of meters on one line."""

from pathlib import Path
from typing import Any

from hil.cjt188_meter import Cjt188Meter
from protocols.cjt188.settings import read_dialect
from tests.edge.fakes import Answer, FakeClock
from tests.edge.test_drivers_modbus import crc
from tests.pains.gateway import HOUR_MS, Gateway, dlt645, is_unbroken, modbus, slots_of
from tests.pains.meters import Bus, Dlt645, Meter, Modbus, frame_645
from tests.pains.test_05_values_of_others import check_owner

WATER = {
    "id": "w-1",
    "line": "line-1",
    "protocol": "cjt188",
    "address": "00201510270588",
    "meter_type": "cold-water",
    "period_s": 60,
}


class Choosy:
    """A bus whose meters hear only what is sent with their characters."""

    def __init__(self, *meters: tuple[tuple[int, str, int], Any]) -> None:
        self.meters = meters
        self.port: Any = None
        self.line: tuple[int, str, int] = (2400, "E", 1)

    def answer(self, request: bytes) -> Answer:
        """Of those that understand it."""
        characters = self.port.characters or self.line
        heard = [meter for own, meter in self.meters if own == characters]
        return [piece for meter in heard for piece in hear(meter, request)]


def hear(meter: Any, request: bytes) -> Answer:
    """Of ours, or of one of hil."""
    if isinstance(meter, Meter):
        return meter.hear(request)
    return [(delay_s * 1000, reply) for delay_s, reply in meter.feed(request, 1.0)]


def test_mixed_protocols_rates_and_parities_share_a_line(tmp_path: Path, clock: FakeClock) -> None:
    """thingsboard-gateway #905, #760 (slaves of one port need the same settings, or take each
    other's connection), telegraf #7523, edgex #685, #14: DL/T 645 at 2400 8E1, Modbus at 9600 8N1
    and 19200 8O1, and CJ/T 188, on one pair of wires."""
    meters: dict[str, Meter] = {
        "m-1": Dlt645(1, clock),
        "u-2": Modbus(2, clock),
        "u-3": Modbus(3, clock),
    }
    bus = Choosy(
        ((2400, "E", 1), meters["m-1"]),
        ((9600, "N", 1), meters["u-2"]),
        ((19200, "O", 1), meters["u-3"]),
    )
    sections = [
        dlt645(1),
        modbus(2, baud=9600, parity="N"),
        modbus(3, baud=19200, parity="O"),
        WATER,
    ]
    gateway = Gateway(tmp_path, clock, {"line-1": bus}, sections)  # type: ignore[dict-item]
    dialect = read_dialect(gateway.checked.meters[-1], "w-1")
    water = Cjt188Meter(str(WATER["address"]), dialect, clock.utc_ms)
    bus.meters += (((2400, "E", 1), water),)
    bus.port = gateway.ports["line-1"]
    gateway.run_for(HOUR_MS)
    stored = gateway.journaled_sets()
    for name in ("m-1", "u-2", "u-3", "w-1"):
        slots = slots_of(stored, name)
        assert len(slots) >= 60, name
        assert is_unbroken(slots), name
    for one in stored:
        if one.meter_id in meters:
            check_owner(one, meters[one.meter_id])
    assert gateway.workers["line-1"].line.counters.silences == 0
    assert gateway.workers["line-1"].line.counters.port_losses == 0


def test_foreign_frames_do_not_drop_the_link(tmp_path: Path, clock: FakeClock) -> None:
    """neuron #2148 (a foreign broadcast frame drops the serial link): another master broadcasts the
    time, writes to Modbus unit 0 and asks meters that are not ours, between and amid exchanges."""
    meters: dict[str, Meter] = {"m-1": Dlt645(1, clock), "u-2": Modbus(2, clock)}
    broadcast = frame_645("999999999999", 0x08, bytes.fromhex("000000010126"))
    foreign = frame_645("000000000777", 0x91, bytes.fromhex("00000100 78563412"))
    unit_0 = bytes.fromhex("00 06 00 01 00 03")
    noise = [broadcast, foreign, unit_0 + crc(unit_0), b"\x68", b"\x00\xff\x00"]
    gateway = Gateway(tmp_path, clock, {"line-1": Bus(*meters.values())}, [dlt645(1), modbus(2)])
    port = gateway.ports["line-1"]
    write, count = port.write, 0

    def write_amid(data: bytes) -> None:
        nonlocal count
        write(data)
        port.inject(len(data) * 11 / 2.4 + 10, noise[count % len(noise)])
        port.inject(5_000, noise[count % len(noise)])
        count += 1

    port.write = write_amid  # type: ignore[method-assign]
    gateway.run_for(HOUR_MS)
    stored = gateway.journaled_sets()
    for name, meter in meters.items():
        slots = slots_of(stored, name)
        assert len(slots) >= 60 and is_unbroken(slots), name
        for one in stored:
            if one.meter_id == name:
                assert len(one.readings) == 2
                check_owner(one, meter)
    assert (port.count("open"), port.count("close")) == (1, 0)
