"""Meters that nobody here wrote, polled by the packaged gateway, arrive exactly in the head end's
store.

PyPI `dlt645` plays the DL/T 645-2007 meter over TCP (it also answers frames for other addresses, a
known fault, so it is alone on its line); pymodbus's own server plays two Modbus meters, one with
RTU frames over TCP, one with Modbus TCP.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dlt645
import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from hil.deployment import Deployment, MeterPlan, Plan
from tests.system.conftest import assert_exactly_once, fast_plan

pytestmark = [pytest.mark.system, pytest.mark.stranger, pytest.mark.timeout(120)]

ADDRESS = "123456789012"
UNIT = 7
# What the stranger is told to show, and what must stand in the store.
DLT645_VALUES = (
    (0x00010000, 123456.78, "1-0:1.8.0*255", "123456.78", "kWh"),
    (0x00010100, 0.26, "1-0:1.8.1*255", "0.26", "kWh"),
    (0x00020000, 7502.64, "1-0:2.8.0*255", "7502.64", "kWh"),
    (0x02010100, 230.1, "1-0:32.7.0*255", "230.1", "V"),
    (0x02020100, -1.234, "1-0:31.7.0*255", "-1.234", "A"),
    (0x02030000, -12.3456, "1-0:16.7.0*255", "-12.3456", "kW"),
    (0x02060000, 0.997, "1-0:13.7.0*255", "0.997", "1"),
    (0x02800002, 50.03, "1-0:14.7.0*255", "50.03", "Hz"),
)
# Register addresses are the SDM630 manual's, written here once more and not read from our model.
MODBUS_VALUES = (
    (0x0000, 230.14, "1-0:32.7.0*255", "230.1", "V"),
    (0x0034, -1234.5, "1-0:16.7.0*255", "-1.2345", "kW"),
    (0x0046, 49.98, "1-0:14.7.0*255", "49.98", "Hz"),
    (0x0048, 1234.5, "1-0:1.8.0*255", "1234.500", "kWh"),
    (0x0156, 2469.25, "1-0:15.8.0*255", "2469.250", "kWh"),
)
_FLOATS = 200  # input registers 0 to 399


def test_strangers_values_arrive_exactly(deploy: Callable[[Plan], Deployment]) -> None:
    """All protocols in one run, against two foreign implementations, value by value."""
    with (
        foreign_dlt645_meter() as dlt645_port,
        foreign_modbus_meter(FramerType.RTU) as modbus_port,
        foreign_modbus_meter(FramerType.SOCKET) as modbus_tcp_port,
    ):
        deployment = deploy(_plan(dlt645_port, modbus_port, modbus_tcp_port))
        deployment.start()
        deployment.await_true(lambda: _sweeps(deployment) >= 3, "three sweeps of each meter")
    # The meters are gone now: nothing new is stored while the two sides are compared.
    assert_exactly_once(deployment)
    _check(deployment, "house", DLT645_VALUES)
    _check(deployment, "shop", MODBUS_VALUES)
    _check(deployment, "plant", MODBUS_VALUES)


@contextmanager
def foreign_dlt645_meter() -> Iterator[int]:
    """PyPI dlt645's meter; the TCP port that it listens at."""
    meter = dlt645.MeterServerService.new_tcp_server("127.0.0.1", 0, 30.0)
    assert meter.set_address("129078563412")  # in wire order, as this library wants it
    for di, value, *_ in DLT645_VALUES:
        setter = meter.set_00 if di < 0x01000000 else meter.set_02
        assert setter(di, value)
    assert meter.start()
    try:
        yield meter.server.ln.getsockname()[1]
    finally:
        meter.stop()


@contextmanager
def foreign_modbus_meter(framer: FramerType) -> Iterator[int]:
    """pymodbus's server with its own float encoding; the TCP port that it listens at."""
    floats = [0.0] * _FLOATS
    for address, value, *_ in MODBUS_VALUES:
        floats[address // 2] = value
    device = SimDevice(id=UNIT, simdata=[SimData(0, values=floats, datatype=DataType.FLOAT32)])
    loop = asyncio.new_event_loop()
    started: threading.Event = threading.Event()
    found: list[Any] = []

    async def serve() -> None:
        server = ModbusTcpServer(device, framer=framer, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        found.extend((server, server.transport.sockets[0].getsockname()[1]))
        started.set()

    def run() -> None:
        task = loop.create_task(serve())
        loop.run_forever()
        assert task.done()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    try:
        yield found[1]
    finally:
        asyncio.run_coroutine_threadsafe(found[0].shutdown(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _plan(dlt645_port: int, modbus_port: int, modbus_tcp_port: int) -> Plan:
    house = {
        "protocol": "dlt645-2007",
        "address": ADDRESS,
        "period_s": 1,
        "quantities": [row[2] for row in DLT645_VALUES],
    }
    shop = {"protocol": "modbus", "unit": UNIT, "model": "eastron-sdm630", "period_s": 1}
    plant = {**shop, "protocol": "modbus-tcp"}
    return fast_plan()._replace(
        lines={},
        foreign_lines={
            "line1": f"socket://127.0.0.1:{dlt645_port}",
            "line2": f"socket://127.0.0.1:{modbus_port}",
            "line3": f"socket://127.0.0.1:{modbus_tcp_port}",
        },
        meters=(
            MeterPlan("house", "line1", {}, house),
            MeterPlan("shop", "line2", {}, shop),
            MeterPlan("plant", "line3", {}, plant),
        ),
    )


def _sweeps(deployment: Deployment) -> int:
    return min((meter["sweeps"] for meter in deployment.status().get("meters", [])), default=0)


def _check(deployment: Deployment, meter: str, wanted: tuple[tuple[Any, ...], ...]) -> None:
    codes = {row[2] for row in wanted}
    rows = deployment.head_end_json("readings", meter)
    found = {(row["obis"], row["value"], row["unit"]) for row in rows if row["obis"] in codes}
    assert found == {row[2:] for row in wanted}
