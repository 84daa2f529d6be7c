"""Modbus meters, answered by pymodbus's own server: RTU on a virtual line, or TCP.

The server is a stranger on purpose: framing, CRC and exceptions are not ours. What the meters show
comes from a meter model (the same data that the agent reads with) and a load: this module is the
inverse of the model's decoding, written apart from it.

On a line pymodbus is helped in two ways, both of them the behaviour of a real meter. Its framer
keeps foreign bytes and takes the next request for their continuation, and it answers for units that
it does not have; so a station hears only whole requests, with a good CRC, for one of its units
(`accepts`).
"""

import asyncio
import struct
import threading
from collections.abc import Callable, Iterable
from fractions import Fraction

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.framer.rtu import FramerRTU
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from hil.load import Load
from protocols.errors import BusbarError, CallerError
from protocols.modbus.model import Model, Register

Log = Callable[[dict[str, object]], None]

RESPONSE_DELAY_S = 0.02
REQUEST_SIZE_MIN = 4  # unit, function, CRC
GAP_WORDS_MAX = 16  # unused addresses between two registers that read as zero, as most meters do
START_DEADLINE_S = 5.0
HOST = "127.0.0.1"
_FLOAT_FORMATS = {"float32": ">f", "float64": ">d"}

_Server = ModbusSerialServer | ModbusTcpServer


class ModbusStationError(BusbarError):
    """The server did not start on its tty or port, or did not end."""


class ModbusMeter:
    """One unit that shows `model`'s registers; they follow `load` at `clock()` (UTC ms).

    The load is the primary side; a model with transformer ratios (`times`) shows values divided by
    them. A ratio is 1 until it is pinned.
    """

    def __init__(
        self,
        unit: int,
        model: Model,
        load: Load,
        clock: Callable[[], int],
        *,
        response_delay_s: float = RESPONSE_DELAY_S,
        log: Log | None = None,
    ) -> None:
        if not 1 <= unit <= 247:
            raise CallerError(f"{unit} is no Modbus unit; it must be from 1 to 247")
        self.unit = unit
        self.name = str(unit)
        self.model = model
        self.response_delay_s = response_delay_s
        self._load = load
        self._clock = clock
        self._log = log
        self._pins: dict[str, int] = {}
        self._ratios = {factor for one in model.registers for factor in one.times}
        places: dict[int, set[int]] = {}
        for one in model.registers:
            here = range(one.address, one.address + one.words)
            places.setdefault(one.function, set()).update(here)
        self._areas = {function: _readable(here) for function, here in places.items()}

    def pin(self, register: str, value: int) -> None:
        """Fixes a register: `value` is in its last digit (10^resolution of its unit for a float
        register, the raw number else). CallerError when the model has no room for it."""
        found = [one for one in self.model.registers if one.name == register]
        if not found:
            raise CallerError(f"{self.model.name} has no register {register!r}")
        encode_register(found[0], self.model.word_order, value)
        self._pins[register] = value

    def unpin(self, register: str) -> None:
        """Lets a register follow the load again."""
        self._pins.pop(register, None)

    def digits(self, register: Register, now_ms: int) -> int:
        """What the register shows, in its last digit."""
        pinned = self._pins.get(register.name)
        if pinned is not None:
            return pinned
        if register.name in self._ratios:
            return int(1 / _step(register))
        obis = register.obis
        shown = self._load.shown(now_ms).get((obis.c, obis.d, obis.e))
        ratio = Fraction(1)
        for factor in register.times:
            other = next(one for one in self.model.registers if one.name == factor)
            ratio *= self.digits(other, now_ms) * _step(other)
        # A phase that is not fitted shows zero: a Modbus register cannot be empty. One without a
        # sign shows the size alone.
        digits = int(Fraction(shown or 0, 1000) / ratio / _step(register))
        return abs(digits) if register.type.startswith("u") else digits

    def words(self, function: int, now_ms: int) -> dict[int, int]:
        """Address -> word of all that `function` reads, gaps included, all of one instant."""
        words = dict.fromkeys(self._areas.get(function, ()), 0)
        for register in self.model.registers:
            if register.function == function:
                digits = self.digits(register, now_ms)
                raw = encode_register(register, self.model.word_order, digits)
                words.update(enumerate(raw, register.address))
        return words

    def device(self) -> SimDevice:
        """The unit as pymodbus serves it; its registers are renewed at every request."""
        addresses = sorted({address for area in self._areas.values() for address in area})
        blocks = [SimData(one, values=[0], datatype=DataType.REGISTERS) for one in addresses]
        return SimDevice(id=self.unit, simdata=blocks, action=self._renew)

    async def _renew(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if function not in self._areas:
            return ExcCodes.ILLEGAL_FUNCTION
        asked = range(address, address + count)
        if not self._areas[function].issuperset(asked):
            return ExcCodes.ILLEGAL_ADDRESS  # only the other function has it
        now_ms = self._clock()
        words = self.words(function, now_ms)
        for at in asked:
            registers[at - start] = words[at]
        for register in self.model.registers if self._log else ():
            places = range(register.address, register.address + register.words)
            if register.function == function and places[0] in asked and places[-1] in asked:
                self._record(register, now_ms)
        return None

    def _record(self, register: Register, now_ms: int) -> None:
        if self._log is None:
            return
        value = self.digits(register, now_ms)
        scaler = register.resolution
        if scaler is None:
            value, scaler = value * register.multiplier, register.exponent
        else:
            value = _float_digits(register, value)
        self._log(
            {
                "t_ms": now_ms,
                "meter": self.name,
                "register": register.name,
                "value": value,
                "obis": register.obis.text(),
                "scaler": scaler,
                "unit": register.unit,
            }
        )


def encode_register(register: Register, word_order: str, digits: int) -> list[int]:
    """The words that show `digits`, in address order; CallerError when they have no room."""
    if register.type in _FLOAT_FORMATS:
        form = _FLOAT_FORMATS[register.type]
        raw = struct.pack(form, float(_float_value(register, digits)))
    else:
        size = 2 * register.words
        try:
            raw = digits.to_bytes(size, "big", signed=register.type.startswith("i"))
        except OverflowError:
            raise CallerError(f"{digits} does not fit into {register.name}") from None
    words = [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]
    return words if word_order == "big" else words[::-1]


def _step(register: Register) -> Fraction:
    """The last digit in the register's unit."""
    if register.type in _FLOAT_FORMATS:
        return _ten_to(register.resolution)
    step: Fraction = register.multiplier * _ten_to(register.exponent)
    return step


def _ten_to(exponent: int) -> Fraction:
    power: int = 10 ** abs(exponent)
    return Fraction(power) if exponent >= 0 else Fraction(1, power)


def _float_value(register: Register, digits: int) -> Fraction:
    """The number in the float register: its own unit is multiplier x 10^exponent."""
    unit: Fraction = register.multiplier * _ten_to(register.exponent)
    return digits * _step(register) / unit


def _float_digits(register: Register, digits: int) -> int:
    """`digits` as a binary32 or binary64 still holds them: above 2^24 or 2^53 the last ones are
    lost."""
    form = _FLOAT_FORMATS[register.type]
    packed = struct.pack(form, float(_float_value(register, digits)))
    kept = Fraction(struct.unpack(form, packed)[0])
    exact = kept * register.multiplier * _ten_to(register.exponent) / _step(register)
    return int(exact + Fraction(1, 2)) if exact >= 0 else -int(-exact + Fraction(1, 2))


def _readable(addresses: Iterable[int]) -> set[int]:
    """What is readable: the addresses, small gaps included."""
    readable: set[int] = set()
    last = -1
    for address in sorted(addresses):
        is_near = readable and address - last <= GAP_WORDS_MAX + 1
        readable.update(range(last + 1 if is_near else address, address + 1))
        last = address
    return readable


class ModbusStation:
    """Modbus meters served on one tty, or at one TCP port, by a thread with its own event loop."""

    def __init__(self, meters: list[ModbusMeter], name: str = "modbus") -> None:
        self.name = name
        self.meters = {meter.unit: meter for meter in meters}
        if len(self.meters) != len(meters) or not meters:
            raise CallerError("a Modbus station has one or more meters of different units")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Event | None = None
        self._ready = threading.Event()
        self._error: Exception | None = None
        self._servers: list[_Server] = []

    def accepts(self, burst: bytes) -> bool:
        """Whether `burst` is one whole request for a unit of this station."""
        if len(burst) < REQUEST_SIZE_MIN or burst[0] not in self.meters:
            return False
        return FramerRTU.compute_CRC(burst[:-2]).to_bytes(2, "big") == burst[-2:]

    def delay_of(self, request: bytes) -> float:
        """The response delay (s) of the unit that `request` is for."""
        meter = self.meters.get(request[0]) if request else None
        return meter.response_delay_s if meter else RESPONSE_DELAY_S

    def start(self, tty_path: str, baud: int = 9600) -> None:
        """Begins to answer at `tty_path`; ModbusStationError when the server does not start."""
        self._start(
            lambda devices: ModbusSerialServer(
                devices,
                framer=FramerType.RTU,
                port=tty_path,
                baudrate=baud,
                parity="N",  # the pty's: see hil.line
            )
        )

    def start_tcp(self) -> int:
        """Begins to answer Modbus TCP at HOST, at once and without a line's time; the port."""
        server = self._start(lambda devices: ModbusTcpServer(devices, address=(HOST, 0)))
        sockets = server.transport.sockets  # type: ignore[attr-defined]  # it is asyncio's server
        port: int = sockets[0].getsockname()[1]
        return port

    def _start(self, make_server: Callable[[list[SimDevice]], _Server]) -> _Server:
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(make_server)), name=self.name, daemon=True
        )
        self._thread.start()
        if not self._ready.wait(START_DEADLINE_S) or self._error is not None:
            raise ModbusStationError(f"the Modbus server did not start: {self._error}")
        return self._servers[0]

    def stop(self) -> None:
        """Ends the server and its thread. May be called twice."""
        if self._thread is None:
            return
        if self._loop is not None and self._ended is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(START_DEADLINE_S)
        if self._thread.is_alive():
            raise ModbusStationError("the Modbus server did not end")
        self._thread = None

    async def _serve(self, make_server: Callable[[list[SimDevice]], _Server]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        try:
            server = make_server([meter.device() for meter in self.meters.values()])
            self._servers.append(server)
            await server.serve_forever(background=True)
        except Exception as error:  # noqa: BLE001  # handed to the thread that waits in `start`
            self._error = error
            self._ready.set()
            return
        self._ready.set()
        await self._ended.wait()
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus leaves it open
