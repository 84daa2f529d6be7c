"""Modbus units that nobody here wrote, read by the production driver, line and port.

libmodbus (Debian) serves through a small program of the tests, compiled here; pymodbus's server
runs in a thread. Both over RTU, at a pseudo terminal, and over TCP. The same map for both: 60
registers with a hole; each shows its own address, input registers of libmodbus plus 8000h.
"""

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge.line.line import REOPEN_MS_FIRST, Line, Wire
from edge.line.port import PortLostError, SerialPort
from edge.meters.learned import Learned
from edge.meters.modbus_driver import ModbusDriver
from hil.broker import bound
from hil.line import Line as VirtualLine
from protocols.modbus.model import Model
from tests.edge.fakes import FakeClock, finish
from tests.edge.test_drivers_modbus import make_model

pytestmark = [pytest.mark.stranger, pytest.mark.timeout(60)]

UNIT = 17
SOURCE = Path(__file__).parents[1] / "strangers" / "libmodbus_server.c"
HEADER = Path("/usr/include/modbus/modbus.h")
FIRST, END, HOLE = 100, 160, range(120, 124)
INPUT_OFFSET = {"libmodbus": 0x8000, "pymodbus": 0}
# name, address, type, function; what is in the hole or outside must be missing, and nothing else.
ROWS = (
    ("first", 100, "uint16", 3),
    ("wide", 110, "uint32", 3),
    ("before the hole", 118, "uint32", 3),
    ("half in the hole", 119, "uint32", 3),
    ("in the hole", 121, "uint16", 3),
    ("end of the hole", 122, "uint32", 3),
    ("behind the hole", 124, "uint64", 3),
    ("last", 159, "uint16", 3),
    ("half outside", 159, "uint32", 3),
    ("outside", 163, "uint16", 3),
    ("input", 102, "int16", 4),
    ("input in the hole", 120, "uint16", 4),
    ("input behind the hole", 126, "uint16", 4),
)


def model_of(*rows: tuple[str, int, str, int]) -> Model:
    """A model with one code a row."""
    return make_model(
        *(
            {
                "name": name,
                "obis": f"1-0:96.5.{n}",
                "address": address,
                "type": kind,
                "function": fc,
            }
            for n, (name, address, kind, fc) in enumerate(rows)
        )
    )


def shown(peer: str, address: int, kind: str, function: int) -> int:
    """What the unit shows there, worked out from the map alone."""
    offset = INPUT_OFFSET[peer] if function == 4 else 0
    words = int(kind.removeprefix("u").removeprefix("int")) // 16
    raw = b"".join((address + n + offset).to_bytes(2, "big") for n in range(words))
    return int.from_bytes(raw, "big", signed=kind.startswith("int"))


@pytest.fixture(scope="session")
def libmodbus(tmp_path_factory: pytest.TempPathFactory, require: Callable[..., None]) -> Path:
    """The compiled program."""
    require("gcc", HEADER)
    program = tmp_path_factory.mktemp("libmodbus") / "server"
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(SOURCE)]
    command += [f"-I{HEADER.parent}", "-lmodbus"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return program


@contextmanager
def process(*command: str) -> Iterator[str]:
    """A program until the end of the block; the word behind its "ready"."""
    with subprocess.Popen(bound(command), stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        try:
            words = one.stdout.readline().split()
            assert words[:1] == ["ready"]
            yield words[-1]
        finally:
            one.kill()


@contextmanager
def pymodbus_server(make: Callable[[SimDevice], Any]) -> Iterator[Any]:
    """pymodbus's server with the map, in a thread."""
    blocks = [
        SimData(part.start, values=list(part), datatype=DataType.REGISTERS)
        for part in (range(FIRST, HOLE.start), range(HOLE.stop, END))
    ]
    loop = asyncio.new_event_loop()

    async def start() -> Any:
        server = make(SimDevice(id=UNIT, simdata=blocks))
        await server.serve_forever(background=True)
        return server

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield server
        asyncio.run_coroutine_threadsafe(server.shutdown(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def opened(port: str) -> Iterator[Line]:
    """The production line."""
    serial = SerialPort(port, 9600, "N", 1)
    line = Line("line", serial, Wire(9600, "N", 1, 600, 100, 1), time.monotonic)
    try:
        yield line
    finally:
        line.close()


@pytest.fixture(params=["libmodbus", "pymodbus"])
def peer(request: pytest.FixtureRequest) -> str:
    """Who serves."""
    name: str = request.param
    return name


@pytest.fixture(params=["modbus", "modbus-tcp"])
def protocol(request: pytest.FixtureRequest) -> str:
    """How."""
    name: str = request.param
    return name


@pytest.fixture
def line(
    tmp_path: Path, request: pytest.FixtureRequest, peer: str, protocol: str
) -> Iterator[Line]:
    """The line that leads to the unit."""
    program = str(request.getfixturevalue("libmodbus")) if peer == "libmodbus" else ""
    with ExitStack() as stack:
        if protocol == "modbus":
            virtual = stack.enter_context(VirtualLine(tmp_path / "tty", paced=False, baud=9600))
            tty = virtual.attach_external(peer)
            if program:
                stack.enter_context(process(program, "rtu", tty, "9600", str(UNIT)))
            else:
                stack.enter_context(
                    pymodbus_server(
                        lambda device: ModbusSerialServer(
                            device, framer=FramerType.RTU, port=tty, baudrate=9600, parity="N"
                        )
                    )
                )
            port = str(virtual.link)
        elif program:
            port = "socket://127.0.0.1:" + stack.enter_context(process(program, "tcp", str(UNIT)))
        else:
            server = stack.enter_context(
                pymodbus_server(lambda one: ModbusTcpServer(one, address=("127.0.0.1", 0)))
            )
            port = f"socket://127.0.0.1:{server.transport.sockets[0].getsockname()[1]}"
        yield stack.enter_context(opened(port))


def make_driver(folder: Path, protocol: str, model: Model) -> ModbusDriver:
    """As after a start of the agent."""
    settings = {"id": "m", "protocol": protocol, "unit": UNIT, "quantities": None}
    return ModbusDriver(settings, model, Learned(folder, FakeClock()).of("m", model))


def test_every_register_that_is_there_is_read_and_no_other(
    tmp_path: Path, line: Line, peer: str, protocol: str
) -> None:
    """In the sweep that learns the holes already, in the next ones and after a restart without a
    refusal; each value is the one that was put there."""
    model = model_of(*ROWS)
    wanted = {
        name: shown(peer, address, kind, function)
        for name, address, kind, function in ROWS
        if "in the" not in name and "outside" not in name and not name.startswith("end")
    }
    assert len(wanted) == 7
    names = {one.obis: one.name for one in model.registers}
    refusals = []
    driver = make_driver(tmp_path, protocol, model)
    for is_restart in (False, False, True):
        driver = make_driver(tmp_path, protocol, model) if is_restart else driver
        readings = finish(driver.sweep(line, 0))
        assert {names[one.obis]: one.quantity.value for one in readings} == wanted
        assert driver.unsupported == {row[0] for row in ROWS} - set(wanted)
        assert driver.counters.silences == 0
        refusals.append(driver.counters.exceptions.get("illegal data address", 0))
    assert refusals[0] == refusals[1] > refusals[2] == 0
    assert line.counters.silences == line.counters.stale_bytes == 0


@pytest.mark.parametrize("peer", ["libmodbus"], indirect=True)
def test_a_unit_that_is_busy_is_not_dropped(tmp_path: Path, line: Line, protocol: str) -> None:
    """Exception 06 by its name, at every sweep again."""
    driver = make_driver(tmp_path, protocol, model_of(("busy", 150, "uint16", 3)))
    for count in (1, 2):
        assert finish(driver.sweep(line, 0)) == []
        assert driver.counters.exceptions == {"server device busy": count}
    assert driver.unsupported == set()


@pytest.mark.parametrize("peer", ["libmodbus"], indirect=True)
@pytest.mark.parametrize("protocol", ["modbus-tcp"], indirect=True)
def test_a_unit_that_hangs_up_is_called_again(tmp_path: Path, line: Line, protocol: str) -> None:
    """The connection is lost in the middle of an exchange, and there again after the pause."""
    with pytest.raises(PortLostError):
        finish(make_driver(tmp_path, protocol, model_of(("x", 155, "uint16", 3))).sweep(line, 0))
    assert not line.is_open
    line._now = lambda: time.monotonic() + REOPEN_MS_FIRST / 1000  # the pause is over
    (reading,) = finish(
        make_driver(tmp_path, protocol, model_of(("y", 156, "uint16", 3))).sweep(line, 0)
    )
    assert reading.quantity.value == 156
