"""Implementations that are not ours, on both sides of the virtual line.

Our meters and our agent share one codec and would share its mistakes; these do not.
"""

import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from dlt645 import MeterClientService, MeterServerService, disable_logging
from pymodbus.client import ModbusSerialClient

from hil.line import Line
from hil.load import Load
from hil.meter import Dlt645Meter
from hil.modbus_station import ModbusMeter, ModbusStation
from protocols.dlt645.exchange import read
from protocols.dlt645.values import decode_readings
from tests.hil.masters import FakeClock, Master, load_model

pytestmark = pytest.mark.stranger

ADDRESS = "123456789012"
WIRE_ADDRESS = "129078563412"  # the library takes and gives addresses low byte first
UNIT = 17
VALUES = {
    "00010000": (12345678, Decimal("123456.78")),
    # It takes every energy for a signed one, so 800000.00 and above would come out negative.
    "00010200": (79999999, Decimal("799999.99")),
    "00000000": (-1234, Decimal("-12.34")),
    "02010100": (2301, Decimal("230.1")),
    "02020100": (-1234, Decimal("-1.234")),
    "02030000": (-123456, Decimal("-12.3456")),
    "02060000": (997, Decimal("0.997")),
    "02800002": (5003, Decimal("50.03")),
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    disable_logging()


@pytest.fixture
def modbus(make_line: Callable[..., Line]) -> Iterator[tuple[Line, ModbusMeter]]:
    """A paced line with a Modbus meter, and a DL/T 645 one that hears everything."""
    meter = ModbusMeter(UNIT, load_model("eastron-sdm630"), Load(2, 3, 0), FakeClock())
    station = ModbusStation([meter])
    line = make_line(Dlt645Meter(ADDRESS, Load(1), FakeClock()), paced=True, baud=9600)
    station.start(
        line.attach_external(station.name, accepts=station.accepts, delay_of=station.delay_of)
    )
    yield line, meter
    station.stop()


def client_at(line: Line) -> Any:
    client = MeterClientService.new_rtu_client(str(line.link), line.baud, 8, 1, "N", 2.0)
    assert client.set_address(WIRE_ADDRESS) and client.connect()
    return client


@pytest.mark.parametrize("preamble", [0, 4, 7])
def test_a_foreign_master_reads_our_meter_exactly(
    make_line: Callable[..., Line], preamble: int
) -> None:
    meter = Dlt645Meter(ADDRESS, Load(1), FakeClock(), preamble=preamble)
    client = client_at(make_line(meter))
    try:
        for di, (digits, value) in VALUES.items():
            meter.pin(di, digits)
            item = (client.read_00 if di.startswith("00") else client.read_02)(int(di, 16))
            assert item is not None, di
            assert Decimal(str(item.value)) == value
    finally:
        client.disconnect()


def test_a_foreign_master_reads_our_meter_at_wire_speed(make_line: Callable[..., Line]) -> None:
    meter = Dlt645Meter(ADDRESS, Load(1), FakeClock())
    meter.pin("02010100", 2299)
    client = client_at(make_line(meter, paced=True, baud=2400))
    try:
        assert client.read_02(0x02010100).value == 229.9
        assert client.read_address().value == WIRE_ADDRESS
    finally:
        client.disconnect()


def test_a_foreign_master_takes_our_refusal_for_no_value(
    make_line: Callable[..., Line],
) -> None:
    client = client_at(make_line(Dlt645Meter(ADDRESS, Load(1), FakeClock())))
    try:
        assert client.read_00(0x00010C01) is None
        assert client.read_00(0x00010000) is not None
    finally:
        client.disconnect()


def test_a_foreign_meter_answers_on_our_line(make_line: Callable[..., Line]) -> None:
    line = make_line(paced=True, baud=9600)
    tty = line.attach_external("foreign", delay_of=lambda request: 0.03)
    meter = MeterServerService.new_rtu_server(tty, 8, 1, 9600, "N", 1.0)
    assert meter.set_address(WIRE_ADDRESS)
    assert meter.set_00(0x00010000, 123456.78) and meter.set_02(0x02020100, -1.234)
    assert meter.start()
    try:
        with Master(line.link) as master:
            for di, value, scaler in (("00010000", 12345678, 1), ("02020100", -1234, -3)):
                (reading,) = decode_readings(master.exchange(read(ADDRESS, di)))
                assert (reading.quantity.value, reading.quantity.scaler) == (value, scaler)
    finally:
        meter.stop()
    totals = line.statistics()
    assert totals.replies == 2
    assert 0.0599 < totals.response_delay_s < 1.0


def test_mbpoll_reads_our_modbus_meter(
    modbus: tuple[Line, ModbusMeter], require: Callable[..., None]
) -> None:
    require("mbpoll")
    line, meter = modbus
    for register, digits in (("voltage_l1", 2301), ("voltage_l2", 2312), ("voltage_l3", 0)):
        meter.pin(register, digits)
    command = ["mbpoll", "-m", "rtu", "-a", str(UNIT), "-b", "9600", "-P", "none"]
    command += ["-0", "-r", "0", "-c", "3", "-t", "3:float", "-B", "-1", "-q", str(line.link)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [row.split(":") for row in done.stdout.splitlines() if row.startswith("[")]
    assert [(name, value.strip()) for name, value in rows] == [
        ("[0]", "230.1"),
        ("[2]", "231.2"),
        ("[4]", "0"),
    ]


def test_pymodbus_reads_our_modbus_meter_between_frames_of_the_other_protocol(
    modbus: tuple[Line, ModbusMeter],
) -> None:
    line, meter = modbus
    meter.pin("active_power", -12345)
    for _ in range(3):
        with Master(line.link) as master:
            master.exchange(read(ADDRESS, "0001FF00"))
            assert master.is_quiet()  # the silence between frames that Modbus RTU asks of a master
        client = ModbusSerialClient(str(line.link), baudrate=9600, parity="N", timeout=2)
        assert client.connect()
        try:
            reply = client.read_input_registers(52, count=2, device_id=UNIT)
            value = client.convert_from_registers(reply.registers, client.DATATYPE.FLOAT32)
            assert value == pytest.approx(-1234.5)
            assert client.read_holding_registers(52, count=2, device_id=UNIT).isError()
        finally:
            client.close()
