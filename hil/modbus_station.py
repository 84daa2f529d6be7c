"""Modbus RTU meters on a virtual line, answered by pymodbus's own serial server.

The server is a stranger on purpose: framing, CRC and exceptions are not ours. What the meters show
comes from a meter model (the same data that the agent reads with) and a load: this module is the
inverse of the model's decoding, written apart from it.

pymodbus is helped in two ways, both of them the behaviour of a real meter. Its framer keeps foreign
bytes and takes the next request for their continuation, and it answers for units that it does not
have; so a station hears only whole requests, with a good CRC, for one of its units (`accepts`).
"""

import asyncio
import struct
import threading
from collections.abc import Callable
from fractions import Fraction

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.framer.rtu import FramerRTU
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from hil.load import Load
from protocols.errors import BusbarError, CallerError
from protocols.modbus.model import Model, Register

Log = Callable[[dict[str, object]], None]

RESPONSE_DELAY_S = 0.02
REQUEST_SIZE_MIN = 4  # unit, function, CRC
GAP_WORDS_MAX = 16  # unused addresses between two registers that read as zero, as most meters do
START_DEADLINE_S = 5.0


class ModbusStationError(BusbarError):
    """The serial server did not start on its tty, or did not end."""


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
        # A phase that is not fitted shows zero: a Modbus register cannot be empty.
        return int(Fraction(shown or 0, 1000) / ratio / _step(register))

    def words(self, now_ms: int) -> dict[int, int]:
        """Address -> word of every register, all of one instant."""
        words: dict[int, int] = {}
        for register in self.model.registers:
            raw = encode_register(register, self.model.word_order, self.digits(register, now_ms))
            words.update(enumerate(raw, register.address))
        return words

    def device(self) -> SimDevice:
        """The unit as pymodbus serves it; its registers are renewed at every request."""
        words = self.words(self._clock())
        blocks = []
        for first, last in _areas(sorted(words)):
            values = [words.get(address, 0) for address in range(first, last + 1)]
            blocks.append(SimData(first, values=values, datatype=DataType.REGISTERS))
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
        if function != self.model.function:
            return ExcCodes.ILLEGAL_FUNCTION
        now_ms = self._clock()
        for at, word in self.words(now_ms).items():
            registers[at - start] = word
        for register in self.model.registers if self._log else ():
            if address <= register.address and register.address + register.words <= address + count:
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
    if register.type == "float32":
        raw = struct.pack(">f", float(_float_value(register, digits)))
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
    if register.type == "float32":
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
    """`digits` as a binary32 still holds them: above 2^24 the last ones are lost."""
    packed = struct.pack(">f", float(_float_value(register, digits)))
    kept = Fraction(struct.unpack(">f", packed)[0])
    exact = kept * register.multiplier * _ten_to(register.exponent) / _step(register)
    return int(exact + Fraction(1, 2)) if exact >= 0 else -int(-exact + Fraction(1, 2))


def _areas(addresses: list[int]) -> list[tuple[int, int]]:
    """(first, last) of the readable areas: the addresses, small gaps included."""
    areas = [(addresses[0], addresses[0])]
    for address in addresses[1:]:
        first, last = areas[-1]
        if address - last <= GAP_WORDS_MAX + 1:
            areas[-1] = (first, address)
        else:
            areas.append((address, address))
    return areas


class ModbusStation:
    """The Modbus meters of one line, served on one tty by a thread with its own event loop."""

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
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(tty_path, baud)), name=self.name, daemon=True
        )
        self._thread.start()
        if not self._ready.wait(START_DEADLINE_S) or self._error is not None:
            raise ModbusStationError(f"the Modbus server did not start: {self._error}")

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

    async def _serve(self, tty_path: str, baud: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        try:
            server = ModbusSerialServer(
                [meter.device() for meter in self.meters.values()],
                framer=FramerType.RTU,
                port=tty_path,
                baudrate=baud,
                parity="N",  # the pty's: see hil.line
            )
            await server.serve_forever(background=True)
        except Exception as error:  # noqa: BLE001  # handed to the thread that waits in `start`
            self._error = error
            self._ready.set()
            return
        self._ready.set()
        await self._ended.wait()
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus leaves it open
