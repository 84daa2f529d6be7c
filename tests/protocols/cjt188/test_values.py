"""protocols/cjt188/values.py: captured answers to readings, and what is refused, not guessed."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.cjt188.dialect import (
    AFTER,
    BEFORE,
    COOLING,
    DI_ORDERS,
    HEAT,
    METER_TYPES,
    SETTLEMENT,
    UNIT_POSITIONS,
    Dialect,
)
from protocols.cjt188.values import UNITS, codes_of, decode_present, layout_of, present_size
from protocols.errors import ValueFormatError
from protocols.obis import Obis
from protocols.quantity import UNITS as ALL_UNITS
from protocols.quantity import Kind, Quantity, decimal_text
from protocols.readings import Reading
from tests.protocols.cjt188.vectors import (
    ANSWERS,
    BY_ID,
    COLD_WATER,
    HEAT_ANSWERS,
    WATER_ANSWERS,
    dialect_of,
    names,
    payload,
)
from tests.protocols.outcome import outcome

WATER = Dialect(COLD_WATER, "901F", AFTER, SETTLEMENT)
HEAT_METER = Dialect(HEAT, "1F90", AFTER, SETTLEMENT)
DIALECTS = [
    *(
        Dialect(kind, order, position, SETTLEMENT)
        for kind in METER_TYPES.values()
        for order in DI_ORDERS
        for position in UNIT_POSITIONS
    ),
    *(Dialect(HEAT, "1F90", position, COOLING) for position in UNIT_POSITIONS),
]
CLOCK, STATUS, HOURS = "0-0:1.0.0", "0-0:96.5.0", "0-0:96.8.0"
SCALERS = {"kWh": 3, "MWh": 6}  # of the units that the vectors' energies have, over Wh


def by_code(readings: list[Reading]) -> dict[str, Quantity]:
    """Code -> quantity; no code twice."""
    assert all(type(one) is Reading for one in readings)
    found = {one.obis.text().removesuffix("*255"): one.quantity for one in readings}
    assert len(found) == len(readings)
    return found


def number(quantity: Quantity) -> Fraction:
    """Its exact value in the base unit."""
    return Fraction(quantity.value) * Fraction(10) ** quantity.scaler


# ---- the vectors -------------------------------------------------------------------------------


def test_there_are_enough_captures() -> None:
    """The tests below do not pass for want of vectors."""
    assert (len(WATER_ANSWERS), len(HEAT_ANSWERS)) == (13, 6)


@pytest.mark.parametrize("vector", WATER_ANSWERS, ids=names(WATER_ANSWERS))
def test_a_captured_water_meter_says_what_it_says(vector: dict[str, Any]) -> None:
    """Volumes, clock and status as stated; what is null there is not given at all."""
    found = by_code(decode_present(payload(vector), dialect_of(vector)))
    due = vector["expected"]
    for code, key in (("8-0:1.0.0", "volume"), ("8-0:1.2.0", "settlement")):
        quantity = found.pop(code, None)
        if due[key] is None:
            assert quantity is None
            continue
        assert quantity is not None
        assert decimal_text(quantity.value, quantity.scaler) == due[key]
        assert (quantity.unit, quantity.kind) == ("m3", Kind.CUMULATIVE)
    check_clock_and_status(found, due)
    assert found == {}


@pytest.mark.parametrize("vector", HEAT_ANSWERS, ids=names(HEAT_ANSWERS))
def test_a_captured_heat_meter_says_what_it_says(vector: dict[str, Any]) -> None:
    """In its own dialect; power and flow rate are not given."""
    found = by_code(decode_present(payload(vector), dialect_of(vector)))
    due = vector["expected"]
    first = "5-0:1.0.0" if vector["first_energy"] == "cooling" else "6-0:1.2.0"
    for code, key in ((first, "first_energy"), ("6-0:1.0.0", "energy")):
        energy = found.pop(code)
        assert number(energy) == Fraction(due[key]) * 10 ** SCALERS[due["energy_unit"]]
        assert (energy.unit, energy.kind) == ("Wh", Kind.CUMULATIVE)
    volume = found.pop("6-0:2.0.0")
    assert decimal_text(volume.value, volume.scaler) == due["volume"]
    assert (volume.unit, volume.kind) == ("m3", Kind.CUMULATIVE)
    for code, key in (("6-0:10.0.0", "flow_temperature"), ("6-0:11.0.0", "return_temperature")):
        temperature = found.pop(code)
        assert decimal_text(temperature.value, temperature.scaler) == due[key]
        assert (temperature.unit, temperature.kind) == ("degC", Kind.INSTANTANEOUS)
    assert found.pop(HOURS) == Quantity(int(due["hours"]), 0, "h", Kind.CUMULATIVE)
    check_clock_and_status(found, due)
    assert found == {}


def check_clock_and_status(found: dict[str, Quantity], due: dict[str, Any]) -> None:
    """Takes them out of `found`."""
    clock = None if due["clock"] is None else Quantity(due["clock"], 0, "", Kind.TEXT)
    assert found.pop(CLOCK, None) == clock
    word = int.from_bytes(bytes.fromhex(due["status"]), "little")
    assert found.pop(STATUS) == Quantity(word, 0, "", Kind.STATUS)


def test_the_volume_that_its_source_states_in_words() -> None:
    """B3: 556677.00 m3."""
    found = by_code(decode_present(payload(BY_ID["B3"]), dialect_of(BY_ID["B3"])))
    assert found["8-0:1.0.0"] == Quantity(55667700, -2, "m3", Kind.CUMULATIVE)
    assert found["8-0:1.0.0"].shown() == ("556677.00", "m3")


# ---- the conflicts -----------------------------------------------------------------------------


@pytest.mark.parametrize("vector", ANSWERS, ids=names(ANSWERS))
def test_the_unit_on_the_wrong_side_is_refused_and_never_a_number(vector: dict[str, Any]) -> None:
    """P and Q, whose units stand first, read as if they stood behind; all others the other way."""
    own = dialect_of(vector)
    other = BEFORE if own.unit_position == AFTER else AFTER
    with pytest.raises(ValueFormatError):
        decode_present(payload(vector), own._replace(unit_position=other))


@pytest.mark.parametrize("name", ["P", "Q"])
def test_a_unit_on_the_wrong_side_is_told_as_an_unknown_unit(name: str) -> None:
    """A person who set up the meter sees what to change."""
    dialect = dialect_of(BY_ID[name])._replace(unit_position=AFTER)
    with pytest.raises(ValueFormatError, match="00 is no unit of energy"):
        decode_present(payload(BY_ID[name]), dialect)


def field(position: str, digits: int, unit: int) -> bytes:
    """Four bytes of BCD and a unit, on this side."""
    wire = bytes.fromhex(f"{digits:08d}")[::-1]
    return bytes((unit,)) + wire if position == BEFORE else wire + bytes((unit,))


REGISTERS = st.integers(0, 99_999_999)


@given(
    st.sampled_from(UNIT_POSITIONS),
    st.tuples(*[REGISTERS] * 5),
    st.sampled_from([code for code, row in UNITS.items() if row[0] == "energy"]),
)
def test_no_heat_meter_in_cubic_metres_is_misread(
    position: str, registers: tuple[int, ...], unit: int
) -> None:
    """Whatever its registers show, the wrong side gives an error: 2C is no digits."""
    units = (unit, unit, 0x17, 0x35, 0x2C)
    body = b"".join(field(position, *one) for one in zip(registers, units, strict=True))
    right = HEAT_METER._replace(unit_position=position)
    assert by_code(decode_present(body + bytes(18), right))["6-0:1.0.0"].value == registers[1]
    wrong = right._replace(unit_position=BEFORE if position == AFTER else AFTER)
    with pytest.raises(ValueFormatError):
        decode_present(body + bytes(18), wrong)


@given(st.sampled_from(UNIT_POSITIONS), st.tuples(REGISTERS, REGISTERS))
def test_no_water_meter_in_cubic_metres_is_misread(
    position: str, registers: tuple[int, int]
) -> None:
    """The same for water and gas."""
    body = b"".join(field(position, one, 0x2C) for one in registers) + bytes(9)
    right = WATER._replace(unit_position=position)
    assert by_code(decode_present(body, right))["8-0:1.0.0"].value == registers[0]
    with pytest.raises(ValueFormatError):
        decode_present(body, WATER._replace(unit_position=BEFORE if position == AFTER else AFTER))


@pytest.mark.parametrize(
    ("position", "registers", "is_refused"),
    [
        (AFTER, (1_234_529, 1_200_029), False),
        (AFTER, (1_234_529, 1_200_030), True),
        (BEFORE, (29_000_001, 29_000_000), False),
        (BEFORE, (29_000_001, 28_999_999), True),
    ],
)
def test_litres_on_the_wrong_side_are_refused_but_for_a_coincidence(
    position: str, registers: tuple[int, int], is_refused: bool
) -> None:
    """29 is two digits as well: what the module says of itself."""
    body = b"".join(field(position, one, 0x29) for one in registers) + bytes(9)
    wrong = WATER._replace(unit_position=BEFORE if position == AFTER else AFTER)
    assert (outcome(ValueFormatError, decode_present, body, wrong)[0] is None) is is_refused


def test_the_first_energy_is_what_the_setting_says() -> None:
    """The bytes do not tell: the same answer gives another code, never the same one twice."""
    data = payload(BY_ID["O"])
    cooling = by_code(decode_present(data, HEAT_METER._replace(first_energy=COOLING)))
    settlement = by_code(decode_present(data, HEAT_METER))
    assert (
        cooling["5-0:1.0.0"] == settlement["6-0:1.2.0"] == Quantity(27411, 1, "Wh", Kind.CUMULATIVE)
    )
    assert "6-0:1.2.0" not in cooling
    assert "5-0:1.0.0" not in settlement


@pytest.mark.parametrize(("at", "unit"), [(10, 0x17), (15, 0x35)])
def test_power_and_flow_rate_are_not_given(at: int, unit: int) -> None:
    """Their decimals are not proven, nor that they are plain digits (a flow may run backwards):
    whatever stands there, nothing comes out, no zero, and no error."""
    data = bytearray(payload(BY_ID["N"]))
    before = decode_present(bytes(data), HEAT_METER)
    data[at : at + 4] = bytes.fromhex("5A 34 12 F0")
    assert data[at + 4] == unit
    assert decode_present(bytes(data), HEAT_METER) == before
    codes = {code.text() for code in codes_of(HEAT_METER)}
    assert not codes & {"6-0:8.0.0*255", "6-0:9.0.0*255"}


# ---- units -------------------------------------------------------------------------------------

IN_BASE = {
    0x01: ("J", 1), 0x02: ("Wh", 1), 0x05: ("Wh", 10**3), 0x08: ("Wh", 10**6), 0x0A: ("Wh", 10**8),
    0x0B: ("J", 10**3), 0x0E: ("J", 10**6), 0x11: ("J", 10**9), 0x13: ("J", 10**11),
}  # fmt: skip


def test_each_energy_unit_is_its_multiple_of_the_base() -> None:
    """12.34 of it; every other code is refused, known ones of another measure too."""
    for code in range(256):
        data = bytearray(payload(BY_ID["N"]))
        data[5:10] = bytes.fromhex("34 12 00 00") + bytes((code,))
        result, told = outcome(ValueFormatError, decode_present, bytes(data), HEAT_METER)
        if code not in IN_BASE:
            assert told == f"{code:02X} is no unit of energy"
            continue
        unit, factor = IN_BASE[code]
        energy = by_code(result)["6-0:1.0.0"]
        assert (energy.unit, number(energy)) == (unit, Fraction(1234, 100) * factor)


def test_a_volume_is_in_cubic_metres_or_litres() -> None:
    """12.34 l are 0.01234 m3; anything else is refused."""
    for code in range(256):
        data = bytearray(payload(BY_ID["B"]))
        data[0:5] = bytes.fromhex("34 12 00 00") + bytes((code,))
        result, told = outcome(ValueFormatError, decode_present, bytes(data), WATER)
        if code not in (0x29, 0x2C):
            assert told == f"{code:02X} is no unit of volume"
            continue
        volume = by_code(result)["8-0:1.0.0"]
        litres = 1 if code == 0x29 else 1000
        assert (volume.unit, number(volume)) == ("m3", Fraction(1234, 100_000) * litres)


@pytest.mark.parametrize(
    ("at", "codes", "measure"),
    [(14, {0x14, 0x17, 0x1A}, "power"), (19, {0x32, 0x35}, "flow rate")],
)
def test_the_units_of_what_is_not_given_are_judged_too(
    at: int, codes: set[int], measure: str
) -> None:
    """A wrong one is a sign that the answer is not read as it was meant."""
    for code in range(256):
        data = bytearray(payload(BY_ID["N"]))
        data[at] = code
        told = outcome(ValueFormatError, decode_present, bytes(data), HEAT_METER)[1]
        assert told == ("" if code in codes else f"{code:02X} is no unit of {measure}")


def test_every_unit_is_a_unit_of_the_house() -> None:
    """And of one of the four measures."""
    assert {row[1] for row in UNITS.values()} == {"J", "Wh", "W", "m3", "m3/h"} <= set(ALL_UNITS)
    assert {row[0] for row in UNITS.values()} == {"energy", "power", "volume", "flow rate"}


# ---- no value, and no value of its item --------------------------------------------------------


def test_fill_bytes_give_no_reading() -> None:
    """FF with or without its unit, on either side; an all-FF answer says nothing at all."""
    data = payload(BY_ID["B"])
    for fill in (b"\xff" * 4 + b"\x2c", b"\xff" * 5):
        assert "8-0:1.0.0" not in by_code(decode_present(fill + data[5:], WATER))
    first = WATER._replace(unit_position=BEFORE)
    fill = b"\x2c" + b"\xff" * 4
    assert set(by_code(decode_present(fill * 2 + data[10:], first))) == {STATUS}
    for dialect in DIALECTS:
        assert decode_present(b"\xff" * present_size(dialect), dialect) == []


def test_a_fill_does_not_hide_an_unknown_unit() -> None:
    """FF in a value with a unit of something else beside it."""
    data = payload(BY_ID["B"])
    with pytest.raises(ValueFormatError, match="05 is no unit of volume"):
        decode_present(b"\xff" * 4 + b"\x05" + data[5:], WATER)


@pytest.mark.parametrize("at", [0, 1, 2, 3, 5, 20, 25, 26, 28, 31, 33])
@pytest.mark.parametrize("bad", [0x0A, 0xA0, 0xFF])
def test_a_digit_above_nine_refuses_the_whole_answer(at: int, bad: int) -> None:
    """No other value of an answer that is not read as it was meant is worth having."""
    data = bytearray(payload(BY_ID["N"]))
    data[at] = bad
    with pytest.raises(ValueFormatError, match="is not two decimal digits"):
        decode_present(bytes(data), HEAT_METER)


@pytest.mark.parametrize(
    "clock",
    [
        "00 00 00 00 00 00 00", "FF FF FF FF FF FF FF", "60 20 20 00 00 00 00",
        "31 01 22 11 05 15 19", "31 01 22 11 05 15 00", "31 01 22 31 02 15 20",
        "31 01 24 11 05 15 20", "31 60 22 11 05 15 20", "31 01 22 11 13 15 20",
        "31 01 22 00 05 15 20", "3A 01 22 11 05 15 20", "FF FF FF FF FF FF 20",
    ],
)  # fmt: skip
def test_a_clock_that_is_no_time_is_none(clock: str) -> None:
    """The registers beside it still count."""
    data = payload(BY_ID["B3"])
    found = by_code(decode_present(data[:10] + bytes.fromhex(clock) + data[17:], WATER))
    assert CLOCK not in found
    assert found["8-0:1.0.0"].value == 55667700


@pytest.mark.parametrize("vector", ANSWERS, ids=names(ANSWERS))
def test_a_wrong_length_is_refused(vector: dict[str, Any]) -> None:
    """Shorter or longer by any bytes, and the other layout."""
    data = payload(vector)
    for size in range(len(data)):
        with pytest.raises(ValueFormatError, match=f"{size} bytes where {len(data)} are due"):
            decode_present(data[:size], dialect_of(vector))
    with pytest.raises(ValueFormatError):
        decode_present(data + b"\x00", dialect_of(vector))
    other = COLD_WATER if len(data) == 43 else HEAT
    with pytest.raises(ValueFormatError):
        decode_present(data, dialect_of(vector)._replace(meter_type=other, first_energy=SETTLEMENT))


# ---- media -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("cold-water", "8-0:1.0.0 8-0:1.2.0"),
        ("hot-water", "9-0:1.0.0 9-0:1.2.0"),
        ("drinking-water", "8-0:1.0.0 8-0:1.2.0"),
        ("reclaimed-water", "8-0:1.0.0 8-0:1.2.0"),
        ("gas", "7-0:3.0.0 7-0:3.0.0*1"),
        ("heat", "6-0:1.2.0 6-0:1.0.0 6-0:2.0.0 6-0:10.0.0 6-0:11.0.0 0-0:96.8.0"),
        ("cooling", "5-0:1.2.0 5-0:1.0.0 5-0:2.0.0 5-0:10.0.0 5-0:11.0.0 0-0:96.8.0"),
    ],
)
def test_the_type_decides_the_medium(name: str, codes: str) -> None:
    """Value group A of EN 13757-1, in the order of the answer; clock and status follow."""
    dialect = Dialect(METER_TYPES[name], "901F", AFTER, SETTLEMENT)
    due = [Obis.from_text(code) for code in (*codes.split(), CLOCK, STATUS)]
    assert list(codes_of(dialect)) == due
    assert all(":" not in code.name().split(" (")[0] for code in due)


def test_the_sizes_are_those_of_the_captured_answers() -> None:
    """L is 16h for water and gas, 2Eh for heat, identifier and SER included."""
    sizes = {present_size(dialect) + 3 for dialect in DIALECTS}
    assert sizes == {0x16, 0x2E}
    with pytest.raises(KeyError):
        layout_of(WATER._replace(meter_type=0x40))
    with pytest.raises(KeyError):
        layout_of(WATER._replace(first_energy=COOLING))


# ---- the fuzz sentence -------------------------------------------------------------------------


def answers(dialect: Dialect) -> st.SearchStrategy[bytes]:
    """Payloads of the right size, some of them near a captured one."""
    size = present_size(dialect)
    near = payload(BY_ID["B3"] if size == 19 else BY_ID["N"])
    changes = st.dictionaries(st.integers(0, size - 1), st.integers(0, 255), max_size=4)
    spoilt = changes.map(lambda new: bytes(new.get(at, byte) for at, byte in enumerate(near)))
    return st.binary(min_size=size, max_size=size) | spoilt | st.binary(max_size=60)


@given(st.data())
def test_any_bytes_give_readings_or_a_value_format_error(data: st.DataObject) -> None:
    """And nothing else; what comes out is what this type of meter has, once each."""
    dialect = data.draw(st.sampled_from(DIALECTS))
    readings, told = outcome(ValueFormatError, decode_present, data.draw(answers(dialect)), dialect)
    if readings is None:
        assert told
        return
    codes = [one.obis for one in readings]
    assert len(set(codes)) == len(codes)
    assert set(codes) <= set(codes_of(dialect))
    for one in readings:
        is_text = one.quantity.kind == Kind.TEXT
        assert isinstance(one.quantity.value, str if is_text else int)
        assert one.quantity.unit in ALL_UNITS
