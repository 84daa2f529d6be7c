"""Meters of a bench: virtual ones by protocol, with one energy that the test knows, and real ones.

The virtual meters are those of `hil/`. A Modbus unit that answers without pymodbus's server, in
virtual time or on a second adapter, gets its framing here; its CRC is pymodbus's.
"""

from collections.abc import Callable
from typing import Any

from pymodbus.framer.rtu import FramerRTU

from edge.meters.cjt188_driver import Cjt188Driver
from edge.meters.dlt645_driver import Dlt645Driver
from edge.meters.driver import Driver
from edge.meters.modbus_driver import ModbusDriver
from edge.settings.rules import CJT188_METER_RULES, DLT645_METER_RULES, MODBUS_METER_RULES
from hil.cjt188_meter import Cjt188Meter
from hil.load import EPOCH_MS, HOUR_MS, Load
from hil.meter import Dlt645Meter
from hil.meter_1997 import Dlt645Meter1997
from hil.modbus_station import ModbusMeter
from hil.scenario import CJT188, DLT645, DLT645_1997, MODBUS
from hil.station import Station
from protocols.cjt188 import settings as cjt188
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.settings import read_table
from tests.hil.masters import ALL_TERMS, load_model

ALL_PROTOCOLS = (DLT645, DLT645_1997, MODBUS, CJT188)
ENERGY = {
    DLT645: Obis.from_text("1-0:1.8.0"),
    DLT645_1997: Obis.from_text("1-0:1.8.0"),
    MODBUS: Obis.from_text("1-0:1.8.0"),
    CJT188: Obis.from_text("8-0:1.0.0"),
}
MODEL = "eastron-sdm120"
PASSWORD = "123456"  # of level 2 of every virtual DL/T 645 meter
OPERATOR = "00000001"
_ADDRESSES = {
    DLT645: "000000000161",
    DLT645_1997: "000000001997",
    MODBUS: "17",
    CJT188: "00000000000188",
}
_ABSENT = {
    DLT645: "999999999998",
    DLT645_1997: "999999999997",
    MODBUS: "246",
    CJT188: "99999999999998",
}
_SHOWN = 1234567  # the known energy, in its last digit


class _NoHoles:
    """Nothing was learned of a meter's missing registers, and nothing is kept."""

    holes = ()

    def due(self) -> None:
        """No hole is tried again."""

    def keep(self, holes: object) -> None:
        """Forgets them."""

    def refused_again(self, hole: object) -> None:
        """There is none."""


class BenchMeter:
    """One meter: how the gateway reads it, and what the test knows of it.

    `station` is the virtual meter, None for a real one. `energy` is the quantity that a read of
    `energy_code` must give, None where nobody knows.
    """

    def __init__(self, protocol: str, address: str, settings: dict[str, Any]) -> None:
        self.protocol = protocol
        self.address = address
        self.password: str = settings.get("password", f"2:{PASSWORD}")
        self.energy_code = ENERGY[protocol]
        self.energy: Quantity | None = None
        self.station: Any = None
        self._settings = settings

    def driver(self, *quantities: str) -> Driver:
        """A fresh driver of the gateway for it; without `quantities`, for its energy alone."""
        return make_driver(
            self.protocol,
            self.address,
            self._settings,
            quantities or (self.energy_code.text(),),
        )

    def absent(self) -> Driver:
        """A driver for a meter of this protocol that is not there."""
        return make_driver(
            self.protocol,
            _ABSENT[self.protocol],
            self._settings,
            (self.energy_code.text(),),
        )


def make_driver(
    protocol: str, address: str, settings: dict[str, Any], quantities: tuple[str, ...]
) -> Driver:
    """The gateway's driver, from settings that its own rules have checked."""
    row: dict[str, Any] = {"id": "m", "line": "bench", "quantities": list(quantities)}
    if protocol == MODBUS:
        model = settings.get("model", MODEL)
        row |= {"protocol": MODBUS, "unit": int(address), "model": model}
        checked = read_table(row, MODBUS_METER_RULES, "bench")
        return ModbusDriver(checked, load_model(model), _NoHoles())  # type: ignore[arg-type]
    row |= {"protocol": protocol, "address": address}
    if protocol == CJT188:
        dialect = [rule.name for rule in cjt188.RULES if rule.name in settings]
        row |= {"meter_type": "cold-water"} | {name: settings[name] for name in dialect}
        row["address"] = address
        return Cjt188Driver(read_table(row, CJT188_METER_RULES, "bench"))
    row |= {"protocol": DLT645, "edition": "1997" if protocol == DLT645_1997 else "2007"}
    return Dlt645Driver(read_table(row, DLT645_METER_RULES, "bench"))


def make_meter(
    protocol: str, address: str, utc_ms: Callable[[], int], options: dict[str, Any]
) -> BenchMeter:
    """A virtual meter that shows a known energy; `options` go to its class in `hil/`."""
    address = address or _ADDRESSES[protocol]
    meter = BenchMeter(protocol, address, {})
    if protocol == DLT645:
        allowed = {"passwords": {2: PASSWORD}, "relay_terms": ALL_TERMS}
        meter.station = Dlt645Meter(address, Load(1), utc_ms, **allowed | options)
        meter.station.pin("00010000", _SHOWN)
        meter.energy = Quantity(_SHOWN, 1, "Wh", Kind.CUMULATIVE)
    elif protocol == DLT645_1997:
        meter.station = Dlt645Meter1997(address, Load(1), utc_ms, **options)
        meter.station.pin("9010", _SHOWN)
        meter.energy = Quantity(_SHOWN, 1, "Wh", Kind.CUMULATIVE)
    elif protocol == MODBUS:
        model = load_model(MODEL)
        meter.station = ModbusMeter(int(address), model, Load(1, 1, 0), utc_ms, **options)
        (energy,) = [one for one in model.registers if one.obis == meter.energy_code]
        meter.station.pin(energy.name, _SHOWN)
        meter.energy = Quantity(_SHOWN, energy.resolution, energy.unit, Kind.CUMULATIVE)
    else:
        plain = make_driver(protocol, address, {}, (meter.energy_code.text(),))
        stopped_ms = EPOCH_MS + 100 * HOUR_MS  # its register follows its clock
        meter.station = Cjt188Meter(
            address,
            plain._dialect,  # type: ignore[attr-defined]
            lambda: stopped_ms,
            **{"hourly": 123} | options,
        )
        meter.energy = Quantity(12_300, -2, "m3", Kind.CUMULATIVE)
    return meter


class RtuUnit:
    """A Modbus meter as a station that is fed bytes: reads of registers, and exception 02."""

    def __init__(self, meter: ModbusMeter, utc_ms: Callable[[], int]) -> None:
        self.name = meter.name
        self._meter = meter
        self._utc_ms = utc_ms
        self._heard = b""

    def feed(self, data: bytes, gap_s: float = 0.0) -> list[tuple[float, bytes]]:
        """The answer to a request that `data` completes."""
        self._heard = (self._heard + data)[-8:]
        unit, function = self._heard[0], self._heard[1] if len(self._heard) > 1 else 0
        if len(self._heard) < 8 or unit != self._meter.unit or function not in (3, 4):
            return []
        if _crc(self._heard[:-2]) != self._heard[-2:]:
            return []
        first, count = (int.from_bytes(self._heard[at : at + 2], "big") for at in (2, 4))
        self._heard = b""
        words = self._meter.words(function, self._utc_ms())
        wanted = [words.get(address) for address in range(first, first + count)]
        if None in wanted:
            body = bytes((unit, function | 0x80, 2))
        else:
            body = bytes((unit, function, 2 * count))
            body += b"".join(word.to_bytes(2, "big") for word in wanted if word is not None)
        return [(self._meter.response_delay_s, body + _crc(body))]


def _crc(body: bytes) -> bytes:
    return FramerRTU.compute_CRC(body).to_bytes(2, "big")


def as_station(meter: BenchMeter, utc_ms: Callable[[], int]) -> Station:
    """What is fed bytes, in the place of a tty with a server at it."""
    if isinstance(meter.station, ModbusMeter):
        return RtuUnit(meter.station, utc_ms)
    station: Station = meter.station
    return station
