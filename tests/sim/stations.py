"""The virtual meters of hil/ on a simulated bus. Each tells what it showed, and when."""

import tomllib
from collections.abc import Callable, Coroutine
from functools import lru_cache
from importlib.resources import files
from typing import Any

from pymodbus.framer.rtu import FramerRTU

from hil.load import Load
from hil.meter import Dlt645Meter
from hil.modbus_station import ModbusMeter
from protocols.dlt645.frame import Frame, decode_frame
from protocols.errors import FrameError
from protocols.modbus.model import Model, read_model

# So much that every reading differs from the one before it.
POWER_W = (5_000, 25_000)
_SILENCE_S = 0.002  # ends a Modbus frame at every rate that the worlds use
_REQUEST_SIZE = 8
_READS = (3, 4)
Log = Callable[[dict[str, object]], None]


class Dlt645Station(Dlt645Meter):
    """A DL/T 645 meter that may answer for its neighbour."""

    def answer_instead(self, request: bytes) -> bytes:
        """Its own answer to what another was asked; b"" when it has none."""
        try:
            frame = decode_frame(request)
        except FrameError:
            return b""
        reply = self.answer(Frame(self.name, frame.control, frame.data))
        return reply.to_bytes(self.preamble) if reply else b""


class ModbusRtuStation:
    """A Modbus RTU meter: framing and CRC by pymodbus, registers by hil."""

    def __init__(self, meter: ModbusMeter) -> None:
        self.name = meter.name
        self._meter = meter
        self._heard = b""

    def feed(self, data: bytes, gap_s: float) -> list[tuple[float, bytes]]:
        """[(response delay, reply)] to a whole request for its unit."""
        self._heard = data if gap_s > _SILENCE_S else (self._heard + data)[-_REQUEST_SIZE:]
        heard = self._heard
        if len(heard) != _REQUEST_SIZE or heard[0] != self._meter.unit or not _is_good(heard):
            return []
        return [(self._meter.response_delay_s, self._reply(heard))]

    def answer_instead(self, request: bytes) -> bytes:
        """Its own answer to what another was asked; b"" when it has none."""
        if len(request) != _REQUEST_SIZE or not _is_good(request):
            return b""
        return self._reply(bytes((self._meter.unit,)) + request[1:])

    def _reply(self, request: bytes) -> bytes:
        function = request[1]
        first, count = (int.from_bytes(request[at : at + 2], "big") for at in (2, 4))
        registers = [0] * count
        refused = (
            1
            if function not in _READS
            else _run(self._meter._renew(function, first, first, count, registers, None))
        )
        if refused:
            return _framed(bytes((self._meter.unit, function | 0x80, int(refused))))
        payload = b"".join(word.to_bytes(2, "big") for word in registers)
        return _framed(bytes((self._meter.unit, function, len(payload))) + payload)


def dlt645(
    address: str, seed: int, clock: Callable[[], int], delay_s: float, log: Log
) -> Dlt645Station:
    """A three-phase meter."""
    load = Load(seed, phases=3, tariffs=2, power_w=POWER_W)
    return Dlt645Station(address, load, clock, response_delay_s=delay_s, log=log)


def modbus(
    unit: int, model: str, seed: int, clock: Callable[[], int], delay_s: float, log: Log
) -> ModbusRtuStation:
    """A meter by its model."""
    load = Load(seed, phases=3, tariffs=0, power_w=POWER_W)
    return ModbusRtuStation(
        ModbusMeter(unit, _model(model), load, clock, response_delay_s=delay_s, log=log)
    )


def _is_good(frame: bytes) -> bool:
    return FramerRTU.compute_CRC(frame[:-2]).to_bytes(2, "big") == frame[-2:]


def _framed(body: bytes) -> bytes:
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


def _run(steps: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a meter's registers waited")


@lru_cache(maxsize=16)
def _model(name: str) -> Model:
    place = files("protocols") / "meter_models" / f"{name}.toml"
    return read_model(name, tomllib.loads(place.read_text(encoding="utf-8")))
