"""The virtual meters of hil/ on a simulated bus. Each tells what it showed, and when.

What a meter shows comes from its load or its clock alone: no decoder of ours has a say in it, nor
in what the checkers take for the truth. Modbus frames are put together here by hand (CRC by
pymodbus); so is the request that a meter answers in the place of another.
"""

import tomllib
from collections.abc import Callable, Coroutine
from functools import lru_cache
from importlib.resources import files
from typing import Any

from pymodbus.framer.rtu import FramerRTU

from hil.cjt188_meter import Cjt188Meter
from hil.load import Load
from hil.meter import Dlt645Meter
from hil.meter_1997 import Dlt645Meter1997
from hil.modbus_station import ModbusMeter
from protocols.cjt188.dialect import AFTER, HIGH_FIRST, METER_TYPES, SETTLEMENT, Dialect
from protocols.modbus.model import Model, read_model
from tests.sim.equipment import (
    CJT188,
    DLT645,
    DLT645_1997,
    FLOW_CODES,
    MODBUS,
    MODBUS_TCP,
    Meter,
)

# So much that every reading differs from the one before it.
POWER_W = (5_000, 25_000)
HOURLY = 6_000  # hundredths of a m3 or kWh: eight digits last 16 666 h from the installation, of
# which 15 084 have passed when a world begins
_SILENCE_S = 0.002  # ends a Modbus frame at every rate that the worlds use
_REQUEST_SIZE = 8
_MBAP_SIZE = 6  # transaction, protocol, length
_READS = (3, 4)
_LONG_S = 60.0  # a silence before a request that ends whatever was heard
_FRAME_MIN = 12  # of DL/T 645: two starts, address, control, length, checksum, end
_AFTER_START = 1
Log = Callable[[dict[str, object]], None]
Clock = Callable[[], int]


class _Bcd:
    """A meter whose address stands in its frames as BCD, low byte first, from `_address_at` on."""

    _address_at: int
    name: str

    def answer_instead(self, request: bytes) -> bytes:
        """Its own answer to what another was asked; b"" when it has none."""
        frame = bytearray(request.lstrip(b"\xfe"))
        if len(frame) < _FRAME_MIN:
            return b""
        own = bytes(reversed(bytes.fromhex(self.name)))
        frame[self._address_at : self._address_at + len(own)] = own
        frame[-2] = sum(frame[:-2]) & 0xFF
        answers = self.feed(bytes(frame), _LONG_S)  # type: ignore[attr-defined]
        return bytes(answers[0][1]) if answers else b""


class Dlt645Station(_Bcd, Dlt645Meter):
    """A DL/T 645-2007 meter that may answer for its neighbour."""

    _address_at = _AFTER_START


class Dlt645Station1997(_Bcd, Dlt645Meter1997):
    """The same of edition 1997."""

    _address_at = _AFTER_START


class Cjt188Station(_Bcd, Cjt188Meter):
    """A CJ/T 188 meter that may answer for its neighbour; its type stands before the address."""

    _address_at = _AFTER_START + 1


class ModbusRtuStation:
    """A Modbus RTU meter: framing by hand, registers by hil."""

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
        return [(self._meter.response_delay_s, _framed(_answer(self._meter, heard[:-2])))]

    def answer_instead(self, request: bytes) -> bytes:
        """Its own answer to what another was asked; b"" when it has none."""
        if len(request) != _REQUEST_SIZE or not _is_good(request):
            return b""
        return _framed(_answer(self._meter, request[:-2]))


class ModbusTcpStation:
    """A unit behind a TCP port. Requests come whole: the wire of a world does not split them."""

    def __init__(self, meter: ModbusMeter) -> None:
        self.name = meter.name
        self._meter = meter

    def feed(self, data: bytes, gap_s: float) -> list[tuple[float, bytes]]:
        """[(response delay, reply)] to a request for its unit."""
        if len(data) != _MBAP_SIZE + _REQUEST_SIZE - 2 or data[_MBAP_SIZE] != self._meter.unit:
            return []
        return [(self._meter.response_delay_s, self.answer_instead(data))]

    def answer_instead(self, request: bytes) -> bytes:
        """Its own answer, under the transaction of the request."""
        reply = _answer(self._meter, request[_MBAP_SIZE:])
        return request[:4] + len(reply).to_bytes(2, "big") + reply


def station(meter: Meter, seed: int, clock: Clock, log: Log) -> Any:
    """The station of a meter; `clock()` is UTC ms."""
    return _MAKERS[meter.protocol](meter, seed, clock, log)


def _dlt645(meter: Meter, seed: int, clock: Clock, log: Log) -> Dlt645Station:
    load = Load(seed, phases=3, tariffs=2, power_w=POWER_W)
    return Dlt645Station(meter.address, load, clock, response_delay_s=meter.delay_s, log=log)


def _dlt645_1997(meter: Meter, seed: int, clock: Clock, log: Log) -> Dlt645Station1997:
    load = Load(seed, phases=3, tariffs=2, power_w=POWER_W)
    return Dlt645Station1997(meter.address, load, clock, response_delay_s=meter.delay_s, log=log)


def _rtu(meter: Meter, seed: int, clock: Clock, log: Log) -> ModbusRtuStation:
    return ModbusRtuStation(_modbus(meter, seed, clock, log))


def _tcp(meter: Meter, seed: int, clock: Clock, log: Log) -> ModbusTcpStation:
    return ModbusTcpStation(_modbus(meter, seed, clock, log))


def _modbus(meter: Meter, seed: int, clock: Clock, log: Log) -> ModbusMeter:
    load = Load(seed, phases=3, tariffs=0, power_w=POWER_W)
    model = _model(meter.model)
    return ModbusMeter(
        int(meter.address), model, load, clock, response_delay_s=meter.delay_s, log=log
    )


def _cjt188(meter: Meter, seed: int, clock: Clock, log: Log) -> Cjt188Station:
    """Its log says what it counted; here that gets the codes under which a gateway tells it."""
    dialect = Dialect(METER_TYPES[meter.model], HIGH_FIRST, AFTER, SETTLEMENT)

    def tell(record: dict[str, object]) -> None:
        for word, obis, scaler, unit in FLOW_CODES[meter.model]:
            told = {"t_ms": record["t_ms"], "value": record[word]}
            log(told | {"obis": obis, "scaler": scaler, "unit": unit})

    return Cjt188Station(
        meter.address, dialect, clock, hourly=HOURLY, response_delay_s=meter.delay_s, log=tell
    )


_MAKERS: dict[str, Callable[[Meter, int, Clock, Log], Any]] = {
    DLT645: _dlt645,
    DLT645_1997: _dlt645_1997,
    MODBUS: _rtu,
    MODBUS_TCP: _tcp,
    CJT188: _cjt188,
}


def _answer(meter: ModbusMeter, request: bytes) -> bytes:
    """Unit and PDU of the answer to unit, function, first register, count."""
    function = request[1]
    first, count = (int.from_bytes(request[at : at + 2], "big") for at in (2, 4))
    registers = [0] * count
    refused = (
        1
        if function not in _READS
        else _run(meter._renew(function, first, first, count, registers, None))
    )
    if refused:
        return bytes((meter.unit, function | 0x80, int(refused)))
    payload = b"".join(word.to_bytes(2, "big") for word in registers)
    return bytes((meter.unit, function, len(payload))) + payload


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
