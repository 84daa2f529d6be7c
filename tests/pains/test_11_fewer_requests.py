"""Pain 11: a request for each value."""

import struct
from pathlib import Path
from typing import Any

import pytest

from edge.meters.learned import Learned
from edge.meters.modbus_driver import ModbusDriver
from edge.meters.models import load_models
from protocols.obis import Obis
from tests.edge.fakes import Answer, FakeClock, FakePort, finish, make_line
from tests.edge.test_drivers_modbus import refusal, reply
from tests.pains.gateway import Gateway, dlt645
from tests.pains.meters import Bus, Dlt645, frame_645


class Device:
    """A Modbus unit that has all registers but some, and counts what it is asked."""

    def __init__(self, *lacks: int) -> None:
        self.lacks = set(lacks)
        self.requests = 0

    def answer(self, request: bytes) -> Answer:
        """As read by its first three fields."""
        self.requests += 1
        unit, function, at, count = struct.unpack(">BBHH", request[:6])
        asked = range(at, at + count)
        if self.lacks.intersection(asked):
            return [(30.0, refusal(2, unit, function))]
        return [(30.0, reply(*(0x3F80 if n % 2 == 0 else 0 for n in asked), unit=unit,
                             function=function))]  # fmt: skip


def driver_of(folder: Path, clock: FakeClock, model: str) -> tuple[ModbusDriver, int]:
    """Of one of the models that we ship, and how many registers that has."""
    settings: dict[str, Any] = {
        "id": "m-1", "protocol": "modbus", "unit": 7, "model": model, "quantities": None,
    }  # fmt: skip
    found = load_models((settings,), folder / "edge.toml")[model]
    return ModbusDriver(settings, found, Learned(folder, clock).of("m-1", found)), len(
        found.registers
    )


@pytest.mark.parametrize(
    ("model", "most"), [("eastron-sdm630", 3), ("eastron-sdm120", 3), ("abb-b23", 4)]
)
def test_registers_that_lie_together_are_one_request(
    tmp_path: Path, clock: FakeClock, model: str, most: int
) -> None:
    """edgex #629, telegraf #11273, wb-mqtt-serial PR #491 (a request for each value): a sweep
    over a whole meter takes a handful."""
    device = Device()
    driver, registers = driver_of(tmp_path, clock, model)
    line = make_line(clock, FakePort(clock, answer=device.answer))
    readings = finish(driver.sweep(line, 0))
    assert device.requests <= most
    assert len(readings) >= registers * 3 // 4
    assert registers >= 3 * most


def test_a_hole_in_the_map_costs_its_register_and_no_other(
    tmp_path: Path, clock: FakeClock
) -> None:
    """edgex device-modbus-go (a read aborts at the first request that fails), telegraf #13659: what
    the meter lacks is left out, learned once, and costs one request more from then on."""
    device = Device(12, 13)
    driver, registers = driver_of(tmp_path, clock, "eastron-sdm630")
    line = make_line(clock, FakePort(clock, answer=device.answer))
    whole = len(finish(driver.sweep(line, 0)))
    device.requests = 0
    assert len(finish(driver.sweep(line, 0))) == whole >= registers - 2
    assert device.requests <= 4


def test_a_block_of_dlt645_is_one_request(tmp_path: Path, clock: FakeClock) -> None:
    """wb-mqtt-serial PR #491: the total and four tariffs in one exchange, and a meter that has no
    blocks is asked for the items from then on, without a refusal a time."""
    meter = Dlt645(1, clock)
    block = "0001FF00"
    values = {f"0001{n:02X}00": 1_000 + n for n in range(5)}
    meter.value = values.__getitem__  # type: ignore[method-assign]
    plain = meter._reply

    def answer_block(request: bytes) -> bytes | None:
        if bytes.fromhex("33 32 34 33") not in request:
            return plain(request)
        if block in meter.lacks:
            return frame_645(meter.address, 0xD1, b"\x02")
        data = b"".join(bytes(reversed(bytes.fromhex(f"{n:08d}"))) for n in values.values())
        return frame_645(meter.address, 0x91, bytes.fromhex("00FF0100") + data)

    meter._reply = answer_block  # type: ignore[method-assign]
    section = dlt645(1, quantities=[block])
    gateway = Gateway(tmp_path, clock, {"line-1": Bus(meter)}, [section])
    gateway.run_for(10_000)
    (one,) = gateway.journaled_sets()
    codes = [Obis.from_text(f"1-0:1.8.{n}") for n in range(5)]
    assert {r.obis: r.quantity.value for r in one.readings} == dict(
        zip(codes, values.values(), strict=True)
    )
    assert meter.asked == 1
