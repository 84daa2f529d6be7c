"""Implementations that are not ours, on both sides of the virtual line.

Our meters and our agent share one codec and would share its mistakes; these do not.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from dlt645 import MeterClientService, MeterServerService, disable_logging
from pymodbus.client import ModbusSerialClient

from hil.line import Line
from hil.load import Load
from hil.meter import Dlt645Meter
from hil.modbus_station import HOST, ModbusMeter, ModbusStation
from protocols.dlt645.exchange import read
from protocols.dlt645.identifiers import identifier_bytes
from protocols.dlt645.values import decode_readings
from tests.hil.masters import ADDRESS, FakeClock, Master, ask, load_model, make_meter, shown
from tests.hil.test_meter_watch import HOUR_MS, LOW, NOON_MS, USUAL, at

pytestmark = pytest.mark.stranger

WIRE_ADDRESS = "129078563412"  # the library takes and gives addresses low byte first
UNIT = 17
OTHER_MASTER = Path(__file__).parents[2] / "build" / "python-dlt645"
READ_WITH_OTHER_MASTER = """
import sys, dlt645, serial
port = serial.Serial(sys.argv[1], 2400, timeout=5)
address = dlt645.get_addr(port)
print(address, dlt645.get_active_energy(address, port))
"""
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


WRITES: tuple[tuple[str, str, str], ...] = (
    ("04001401", "0005", "02563412"),
    ("04000103", "20", "02563412"),
    ("04000B01", "0122", "02563412"),
)
NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)


# What it sends as documents print it comes to us in the wrong order, or as a wrong code.
WRONG_ORDERS: dict[str, Callable[[Any], object]] = {
    "time": lambda client: client.broadcast_time_sync(NOON + timedelta(minutes=1)),
    "daily freeze": lambda client: client.freeze(99, 99, 12, 30),
    "monthly freeze": lambda client: client.freeze(99, 1, 12, 30),
    "4800 bit/s": lambda client: client.change_baud_rate(4800),
    "9600 bit/s": lambda client: client.change_baud_rate(9600),
    "19200 bit/s": lambda client: client.change_baud_rate(19200),
    "clear demand": lambda client: client.clear_demand(0x01010000, "02563412"),
    "clear meter": lambda client: client.clear_meter("02563412"),
    "password": lambda client: client.change_password("02563412", "02111111"),
}
# Right, or right by chance.
RIGHT_ORDERS: dict[str, Callable[[Any], object]] = {
    "freeze": lambda client: client.freeze(99, 99, 99, 99),
    "1200 bit/s": lambda client: client.change_baud_rate(1200),
    "clear events": lambda client: client.clear_event("02563412"),
    "address": lambda client: client.write_address("050000000000"),
}


def test_a_foreign_master_writes_to_our_meter_and_orders_things(
    make_line: Callable[..., Line],
) -> None:
    """Judged by our meter's state, because its own results do not tell a refusal."""
    meter = make_meter(FakeClock(int(NOON.timestamp()) * 1000))
    client = client_at(make_line(meter))
    try:
        for di, value, password in WRITES:
            client.write_04(int(di, 16), value, password)
            reply = ask(meter, ADDRESS, 0x11, identifier_bytes(di))
            assert reply is not None and reply.data[4:][::-1].hex() == value
        client.write_04(0x04001401, "0007", "02999999")
        assert shown(meter, "04001401") == [5]
        # It reads the time from the wrong end, and wants a moment there: 05-06-04 03:25.
        meter.pin("01010000", bytes.fromhex("452301" + "0506040325"))
        assert Decimal(str(client.read_01(0x01010000).value.value)) == Decimal("1.2345")
        meter.unpin("01010000")
        changed = []
        for name, call in (WRONG_ORDERS | RIGHT_ORDERS).items():
            before = _state(meter)
            call(client)
            # A broadcast is over when it hears the answer to a read.
            assert client.read_00(0x00010000) is not None
            if _state(meter) != before:
                changed.append(name)
        assert changed == list(RIGHT_ORDERS)
    finally:
        client.disconnect()


def test_a_foreign_master_takes_our_records_of_events_apart(
    make_line: Callable[..., Line],
) -> None:
    """Item by item, by tables of its own; what is not known it shows as fifteens."""
    clock, meter = at(LOW, USUAL, USUAL)
    clock.now_ms = NOON_MS + 2 * HOUR_MS
    meter.cut_power()
    clock.now_ms += 1_000
    meter.restore_power()
    client = client_at(make_line(meter))
    try:
        lost = [item.value for item in client.read_03(0x03010101)]
        assert len(lost) == 37
        assert lost[:6] == ["260202120100", "260202130100", "00000100", *["00000000"] * 3]
        assert lost[6:10] == ["00000000", "00000000", "15" * 8, "15" * 8]
        assert lost[10:15] == ["1000", "002500", "002500", "000000", "1000"]
        assert lost[19:24] == ["2200", "001000", "002200", "000000", "1000"]
        assert lost[33:] == ["00000447", "00000247", "00000100", "00000100"]
        (first, *_) = client.read_03(0x03010000)
        # It takes the two numbers from the wrong end, as it does a demand and its time.
        assert first.value.event == ("000060", "000001")
        assert [item.value for item in client.read_03(0x03110000)] == ["000001"]
        down = [item.value for item in client.read_03(0x03110001)]
        assert down == ["260202140000", "260202140001"]
        unbalance = [item.value for item in client.read_03(0x030A0001)]
        assert unbalance[:4] == ["260202120100", "260202130100", "6000", "00000100"]
    finally:
        client.disconnect()


def _state(meter: Dlt645Meter) -> list[object]:
    identifiers = ("0400010C", "01010000", "00010000", "05000001", "05010001", "03300300")
    return [
        meter.name,
        meter.rate,
        meter.access.lets_in(2, "123456"),
        *(shown(meter, di) for di in identifiers),
    ]


def test_another_foreign_master_finds_and_reads_our_meter(
    make_line: Callable[..., Line], require: Callable[..., None]
) -> None:
    """Its module has the name of the other one's, so it lives in a folder of its own. It drops FE
    and cuts at 16 inside a frame: the value is chosen to have neither."""
    require(OTHER_MASTER)
    meter = Dlt645Meter(ADDRESS, Load(1), FakeClock())
    meter.pin("00000000", 2345678)
    line = make_line(meter)
    done = subprocess.run(
        [sys.executable, "-c", READ_WITH_OTHER_MASTER, str(line.link)],
        env={"PYTHONPATH": str(OTHER_MASTER)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.split() == [ADDRESS, "23456.78"], done.stderr


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


def test_mbpoll_reads_our_modbus_meter_over_tcp(require: Callable[..., None]) -> None:
    require("mbpoll")
    meter = ModbusMeter(UNIT, load_model("eastron-sdm630"), Load(2, 3, 0), FakeClock())
    meter.pin("voltage_l1", 2301)
    meter.pin("voltage_l2", 2312)
    station = ModbusStation([meter])
    port = station.start_tcp()
    try:
        command = ["mbpoll", "-m", "tcp", "-p", str(port), "-a", str(UNIT), "-0", "-1", "-q"]
        reads = ["-r", "0", "-c", "2", "-t", "3:float", "-B"]
        done = subprocess.run(
            [*command, *reads, HOST], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        rows = [row.split(":") for row in done.stdout.splitlines() if row.startswith("[")]
        assert [value.strip() for _, value in rows] == ["230.1", "231.2"]
        reads = ["-r", "1000", "-c", "1", "-t", "3"]
        done = subprocess.run(
            [*command, *reads, HOST], capture_output=True, text=True, timeout=20, check=False
        )
        assert "Illegal data address" in done.stdout + done.stderr
    finally:
        station.stop()


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
