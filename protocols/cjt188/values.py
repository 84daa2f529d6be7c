"""The present values (901F) to readings.

Layouts (CJ/T 188-2004; eight sources and ten captures for water and gas, seven captures for heat):

    water, gas   volume | settlement day's volume | clock 7 | ST 2
    heat         settlement day's energy | energy | power | flow rate | volume |
                 flow temperature 3 | return temperature 3 | hours 3 | clock 7 | ST 2

* A value with a unit is four bytes of packed BCD, low byte first, two decimals, and the unit's
  code behind it or in front (see `dialect`). Integers and a scaler, never a float.
* Everything is judged before anything is given: a unit that is unknown or does not measure what
  stands there, a digit above 9 or a wrong length refuses the whole answer. So a meter in m3 whose
  units stand on the other side never gives a number, since 2C is no digits. Code 29, litre, is two
  digits too: there a number comes out when both volumes end in .29 (or are above 290 000 litres).
* Power and flow rate are not given: every capture has zero there, and public sources disagree on
  their decimals. Their units are judged all the same, their digits are not.
* A value of FF bytes is none. So is a clock of zeros, FF or no calendar date: no capture of a bad
  clock had a bad register beside it.
* ST is one status word, first byte low: bits 0 and 1 valve (00 open, 01 closed, 11 abnormal), bit 2
  battery low, high byte the maker's.

Codes (EN 13757-1): medium A = 8 cold water (drinking and reclaimed water too), 9 hot water, 7 gas,
6 heat, 5 cooling. The settlement day's value is D = 2, a value of a set date. Gas has another
meaning for D = 2 (volume at base conditions), so there it is F = 1, the last settlement.
"""

from collections import namedtuple

from protocols.bcd import decode_bcd
from protocols.cjt188.dialect import BEFORE, COOLING, METER_TYPES, SETTLEMENT, Dialect
from protocols.dlt645.clock import time_from_bytes
from protocols.errors import ValueFormatError
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading

ENERGY, POWER, VOLUME, FLOW = "energy", "power", "volume", "flow rate"
TEMPERATURE, HOURS, CLOCK, STATUS = "temperature", "hours", "clock", "status"

# Code -> (what it measures, base unit, scaler of a value with two decimals).
UNITS = {
    0x01: (ENERGY, "J", -2),
    0x02: (ENERGY, "Wh", -2),
    0x05: (ENERGY, "Wh", 1),  # kWh
    0x08: (ENERGY, "Wh", 4),  # MWh
    0x0A: (ENERGY, "Wh", 6),  # 100 MWh
    0x0B: (ENERGY, "J", 1),  # kJ
    0x0E: (ENERGY, "J", 4),  # MJ
    0x11: (ENERGY, "J", 7),  # GJ
    0x13: (ENERGY, "J", 9),  # 100 GJ
    0x14: (POWER, "W", -2),
    0x17: (POWER, "W", 1),  # kW
    0x1A: (POWER, "W", 4),  # MW
    0x29: (VOLUME, "m3", -5),  # litre
    0x2C: (VOLUME, "m3", -2),
    0x32: (FLOW, "m3/h", -5),  # litre per hour
    0x35: (FLOW, "m3/h", -2),
}
_SIZES = {ENERGY: 5, POWER: 5, VOLUME: 5, FLOW: 5, TEMPERATURE: 3, HOURS: 3, CLOCK: 7, STATUS: 2}
_CENTURY = b"\x20"
_TAIL = ((CLOCK, "0-0:1.0.0"), (STATUS, "0-0:96.5.0"))


class Field(namedtuple("Field", ("form", "obis"))):
    """One value of an answer: what it is, and its code; None: it is not given."""


def _fields(*rows: tuple) -> tuple:
    return tuple([Field(form, Obis.from_text(code) if code else None) for form, code in rows])


def _flow(code: str, settlement: str) -> tuple:
    """Water or gas."""
    return _fields((VOLUME, code), (VOLUME, settlement), *_TAIL)


def _heat(medium: int, first: str) -> tuple:
    """Heat or cooling; `first` is the code of the first energy."""
    return _fields(
        (ENERGY, first),
        (ENERGY, f"{medium}-0:1.0.0"),
        (POWER, ""),
        (FLOW, ""),
        (VOLUME, f"{medium}-0:2.0.0"),
        (TEMPERATURE, f"{medium}-0:10.0.0"),
        (TEMPERATURE, f"{medium}-0:11.0.0"),
        (HOURS, "0-0:96.8.0"),
        *_TAIL,
    )


_COLD = _flow("8-0:1.0.0", "8-0:1.2.0")
_LAYOUTS = {
    (METER_TYPES["cold-water"], SETTLEMENT): _COLD,
    (METER_TYPES["hot-water"], SETTLEMENT): _flow("9-0:1.0.0", "9-0:1.2.0"),
    (METER_TYPES["drinking-water"], SETTLEMENT): _COLD,
    (METER_TYPES["reclaimed-water"], SETTLEMENT): _COLD,
    (METER_TYPES["heat"], SETTLEMENT): _heat(6, "6-0:1.2.0"),
    (METER_TYPES["heat"], COOLING): _heat(6, "5-0:1.0.0"),
    (METER_TYPES["cooling"], SETTLEMENT): _heat(5, "5-0:1.2.0"),
    (METER_TYPES["gas"], SETTLEMENT): _flow("7-0:3.0.0", "7-0:3.0.0*1"),
}


def layout_of(dialect: Dialect) -> tuple:
    """The fields of a meter's present values in order; KeyError for a dialect that there is not."""
    return _LAYOUTS[dialect.meter_type, dialect.first_energy]


def codes_of(dialect: Dialect) -> tuple:
    """The codes of the readings that a meter can give."""
    return tuple([field.obis for field in layout_of(dialect) if field.obis is not None])


def present_size(dialect: Dialect) -> int:
    """Bytes of the present values behind identifier and SER."""
    return sum([_SIZES[field.form] for field in layout_of(dialect)])


def decode_present(payload: bytes, dialect: Dialect) -> list:
    """The readings in what stood behind identifier and SER; values that the meter does not have
    are left out. ValueFormatError when any part of the answer is not what the dialect says."""
    due = present_size(dialect)
    if len(payload) != due:
        raise ValueFormatError(f"{len(payload)} bytes where {due} are due")
    readings = []
    at = 0
    for field in layout_of(dialect):
        data = payload[at : at + _SIZES[field.form]]
        at += len(data)
        quantity = _decode(field.form, data, dialect)
        if quantity is not None and field.obis is not None:
            readings.append(Reading(field.obis, quantity))
    return readings


def _decode(form: str, data: bytes, dialect: Dialect) -> "Quantity | None":
    """One field's value; None: there is none."""
    if data.count(b"\xff") == len(data):
        return None
    if form == CLOCK:
        return _clock(data)
    if form == STATUS:
        return Quantity(int.from_bytes(data, "little"), 0, "", Kind.STATUS)
    if form == TEMPERATURE:
        return Quantity(decode_bcd(data), -2, "degC", Kind.INSTANTANEOUS)
    if form == HOURS:
        return Quantity(decode_bcd(data), 0, "h", Kind.CUMULATIVE)
    is_before = dialect.unit_position == BEFORE
    code, number = (data[0], data[1:]) if is_before else (data[-1], data[:-1])
    measured, unit, scaler = UNITS.get(code, ("", "", 0))
    if measured != form:
        raise ValueFormatError(f"{code:02X} is no unit of {form}")
    if number.count(b"\xff") == len(number):
        return None
    if form in (POWER, FLOW):
        return None
    return Quantity(decode_bcd(number), scaler, unit, Kind.CUMULATIVE)


def _clock(data: bytes) -> "Quantity | None":
    """ss mm hh DD MM YY and the century."""
    try:
        moment = time_from_bytes(data[:6])
    except ValueFormatError:
        return None
    if moment is None or data[6:] != _CENTURY:
        return None
    return Quantity(moment.text(), 0, "", Kind.TEXT)
