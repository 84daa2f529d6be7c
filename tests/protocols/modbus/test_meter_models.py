"""The shipped meter models: they agree with what public drivers read, and words that were worked
out by hand give the readings that they stand for."""

import struct
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest

from protocols.modbus.model import Model, read_model
from protocols.modbus.plan import plan_spans
from protocols.modbus.values import decode_registers
from protocols.obis import Obis
from protocols.quantity import Kind
from tests.protocols.modbus.meter_facts import FACTS

FOLDER = Path(__file__).parents[3] / "protocols" / "meter_models"
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.toml"))
THOUSANDS = {"kWh": "Wh", "kvarh": "varh", "kW": "W", "kvar": "var", "kVA": "VA"}
# The meters that show the secondary side (notes of the same sources): the ratios of each unit.
SECONDARY = {"chint-dtsu666", "acrel-adl400"}
BOTH = {"ct_ratio", "pt_ratio"}
RATIOS = {
    "V": {"pt_ratio"}, "A": {"ct_ratio"}, "W": BOTH, "var": BOTH, "VA": BOTH, "Wh": BOTH,
    "varh": BOTH, "Hz": set(), "1": set(),
}  # fmt: skip
# Quantity -> OBIS value groups C and D (IEC 62056-6-1), the phases at C + 20, 40, 60.
OBIS = {
    "voltage": (12, 7), "current": (11, 7), "power_factor": (13, 7), "frequency": (14, 7),
    "active_power": (16, 7), "apparent_power": (9, 7), "reactive_power": (131, 7),
    "current_total": (90, 7), "current_neutral": (91, 7), "active_energy_import": (1, 8),
    "active_energy_export": (2, 8), "reactive_energy_import": (3, 8),
    "reactive_energy_export": (4, 8), "active_energy_both": (15, 8),
}  # fmt: skip
# What a meter shows: a tenth of a volt or watt, a thousandth of an ampere, a watt-hour.
RESOLUTION = {"V": -1, "A": -3, "W": -1, "VA": -1, "var": -1, "1": -3, "Hz": -2, "Wh": 0, "varh": 0}
TEN_WATT_HOURS = {"eastron-sdm120"}  # its source gives the last digit: 0.01 kWh


def shipped(name: str) -> Model:
    """A model as the edge reads it."""
    with (FOLDER / f"{name}.toml").open("rb") as file:
        return read_model(name, tomllib.load(file))


def facts(name: str) -> dict[str, tuple[int, str, Fraction, str]]:
    """Our name -> address, type, scale to the base unit, base unit; without what is left out."""
    found = {}
    for row in FACTS[name].rows.replace("|", "\n").strip().splitlines():
        theirs, address, kind, scale, unit = row.split()
        ours = theirs.rpartition("->")[2]
        factor = Fraction(scale) * (1000 if unit in THOUSANDS else 1)
        if theirs not in FACTS[name].out:
            found[ours] = (int(address), kind, factor, THOUSANDS.get(unit, unit))
    return found


def test_every_family_is_shipped_and_checked_against_facts() -> None:
    """A new model brings its rows; none of the twelve is lost."""
    assert sorted(FACTS) == SHIPPED
    assert len(SHIPPED) == 12


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_register_map_agrees_with_the_public_drivers(name: str) -> None:
    """Address, type, scale and unit of every register, and no register more or less."""
    model = shipped(name)
    assert (model.function, model.word_order) == FACTS[name][:2]
    assert {
        one.name: (one.address, one.type, one.multiplier * Fraction(10) ** one.exponent, one.unit)
        for one in model.registers
    } == facts(name)
    assert {one.function for one in model.registers} == {model.function}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_names_each_quantity_by_its_obis_code(name: str) -> None:
    """Name and code say the same quantity, phase and rate, in words too."""
    for one in shipped(name).registers:
        whole, _, rate = one.name.partition("_rate")
        base, _, phase = whole.partition("_l")
        if base in OBIS:
            c, d = OBIS[base]
            assert one.obis == Obis(1, 0, c + 20 * int(phase or 0), d, int(rate or 0), 255)
            assert one.kind == (Kind.CUMULATIVE if d == 8 else Kind.INSTANTANEOUS)
            assert phase == "" or f" L{phase}" in one.obis.name()
            assert one.obis.name() != one.obis.text()
        else:
            assert one.obis.name().endswith("transformer ratio")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_rounds_to_what_a_meter_shows(name: str) -> None:
    """No digit that the meter never measured, and none less than it has."""
    for one in shipped(name).registers:
        if one.type.startswith("float"):
            is_coarse = name in TEN_WATT_HOURS and one.kind == Kind.CUMULATIVE
            assert one.resolution == (1 if is_coarse else RESOLUTION[one.unit])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_secondary_side_meter_is_scaled_by_its_ratios(name: str) -> None:
    """Volts by one ratio, amperes by the other, power and energy by both."""
    for one in shipped(name).registers:
        is_scaled = name in SECONDARY and not one.name.endswith("_ratio")
        assert set(one.times) == (RATIOS[one.unit] if is_scaled else set())


@pytest.mark.parametrize("name", SHIPPED)
def test_only_abb_has_fill_patterns(name: str) -> None:
    """All ones of an unsigned number, 7FFF... of a signed one; nobody else's sources name any."""
    for one in shipped(name).registers:
        bits = 16 * one.words
        pattern = (1 << bits) - 1 if one.type[0] == "u" else (1 << bits - 1) - 1
        assert one.absent == ((pattern,) if name == "abb-b23" else ())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_model_says_its_doubts(name: str) -> None:
    """The number of agreeing sources, and that nobody read a real meter with it."""
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    source = tomllib.loads(text)["source"]
    word = {1: "One source only", 2: "two agree", 3: "three agree"}[FACTS[name].sources]
    assert word in source
    assert "Not checked on a real meter" in source
    assert ("# Left out: " in text) == bool(FACTS[name].out)


def test_no_shipped_model_can_write() -> None:
    """None of these families has a relay or a coil in the sources: nothing is guessed."""
    assert [name for name in SHIPPED if shipped(name).writes] == []


# ---- words worked out by hand ------------------------------------------------------------------

# Of a number by its type, not by our code: 230.1 V = 2301 x 0.1; 4366199Ah = 230.1 as binary32
# (sign 0, exponent 134 - 127 = 7, 1.79765625...); a double of 12345678 Wh is 41678C29C0000000h.
WORDS = [
    ("abb-b23", {20480: 0, 20481: 0, 20482: 0x0001, 20483: 0xE240}, "1-0:1.8.0", "1234.56", "kWh"),
    ("abb-b23", {23296: 0, 23297: 2301}, "1-0:32.7.0", "230.1", "V"),
    ("abb-b23", {23316: 0xFFFF, 23317: 0xFF9C}, "1-0:16.7.0", "-0.00100", "kW"),
    ("abb-b23", {23354: 0xFC19}, "1-0:13.7.0", "-0.999", "1"),
    ("abb-b23", {23340: 0x1388}, "1-0:14.7.0", "50.00", "Hz"),
    ("acrel-adl400", {10: 1, 11: 0xE240, 141: 1, 142: 40}, "1-0:1.8.0", "49382.40", "kWh"),
    ("acrel-adl400", {97: 2301, 141: 100}, "1-0:32.7.0", "23010.0", "V"),
    ("acrel-adl400", {100: 523, 142: 40}, "1-0:31.7.0", "209.20", "A"),
    ("acrel-adl400", {362: 0xFFFF, 363: 0xFF9C, 141: 1, 142: 40}, "1-0:16.7.0", "-4.000", "kW"),
    ("chint-ddsu666", {8196: 0x3FC0, 8197: 0}, "1-0:16.7.0", "1.5000", "kW"),
    ("chint-ddsu666", {16384: 0x449A, 16385: 0x522D}, "1-0:1.8.0", "1234.568", "kWh"),
    ("chint-dtsu666", {8198: 0x450F, 8199: 0xD000, 6: 1, 7: 10}, "1-0:32.7.0", "230.1", "V"),
    ("chint-dtsu666", {4126: 0x449A, 4127: 0x522D, 6: 40, 7: 10}, "1-0:1.8.0", "49382.720", "kWh"),
    ("eastron-sdm120", {0: 0x4366, 1: 0x199A}, "1-0:32.7.0", "230.1", "V"),
    ("eastron-sdm120", {72: 0x449A, 73: 0x522D}, "1-0:1.8.0", "1234.57", "kWh"),
    ("eastron-sdm630", {0: 0x4366, 1: 0x199A}, "1-0:32.7.0", "230.1", "V"),
    ("eastron-sdm630", {52: 0xC47A, 53: 0}, "1-0:16.7.0", "-1.0000", "kW"),
    ("gavazzi-em340", {0: 2301, 1: 0}, "1-0:32.7.0", "230.1", "V"),
    ("gavazzi-em340", {40: 0xFFFE, 41: 0xFFFF}, "1-0:16.7.0", "-0.0002", "kW"),
    ("gavazzi-em340", {52: 0xE240, 53: 1}, "1-0:1.8.0", "12345.6", "kWh"),
    ("gavazzi-em340", {51: 500}, "1-0:14.7.0", "50.0", "Hz"),
    ("gavazzi-em24-din", {66: 0xE240, 67: 1}, "1-0:1.8.0", "12345.6", "kWh"),
    ("gavazzi-em24-din", {53: 0xFC19}, "1-0:13.7.0", "-0.999", "1"),
    ("janitza-umg96rm", {19068: 0x4996, 19069: 0xB438}, "1-0:1.8.0", "1234.567", "kWh"),
    ("schneider-iem3x55", {3203: 0, 3204: 0, 3205: 0x00BC, 3206: 0x614E}, "1-0:1.8.0", "12345.678",
     "kWh"),
    ("schneider-iem3x55", {3059: 0x3FC0, 3060: 0}, "1-0:16.7.0", "1.5000", "kW"),
    ("siemens-pac2200", {801: 0x4167, 802: 0x8C29, 803: 0xC000, 804: 0}, "1-0:1.8.1", "12345.678",
     "kWh"),
    ("siemens-pac2200", {1: 0x4366, 2: 0x199A}, "1-0:32.7.0", "230.1", "V"),
    ("siemens-pac1600", {7: 0, 8: 52300}, "1-0:31.7.0", "5.2300", "A"),
    ("siemens-pac1600", {6687: 0x00BC, 6688: 0x614E}, "1-0:1.8.0", "12345.678", "kWh"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "words", "obis", "value", "unit"), WORDS)
def test_words_of_each_family_give_the_reading_that_they_stand_for(
    name: str, words: dict[int, int], obis: str, value: str, unit: str
) -> None:
    """At least one pattern a model, of each type and sign that it has."""
    model = shipped(name)
    found = {
        one.obis.text(): one.quantity for one in decode_registers(model, model.registers, words)
    }
    assert found[f"{obis}*255"].shown() == (value, unit)
    ratios = {"1-0:0.4.2*255", "1-0:0.4.3*255"}
    assert set(found) - ratios == {f"{obis}*255"}


def test_the_patterns_were_worked_out_right() -> None:
    """The floats among them, by the platform: three that are exact, two that are nearest."""
    assert struct.unpack(">d", bytes.fromhex("41678C29C0000000")) == (12345678.0,)
    assert struct.unpack(">f", bytes.fromhex("4366199A")) == pytest.approx((230.1,), abs=1e-5)
    assert struct.unpack(">f", bytes.fromhex("450FD000")) == (2301.0,)
    assert struct.unpack(">f", bytes.fromhex("449A522D")) == pytest.approx((1234.568,), abs=1e-4)
    assert struct.unpack(">f", bytes.fromhex("4996B438")) == (1234567.0,)
    assert {name for name, *_ in WORDS} == set(SHIPPED)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("abb-b23", {20480: 0xFFFF, 20481: 0xFFFF, 20482: 0xFFFF, 20483: 0xFFFF}),
        ("abb-b23", {23296: 0xFFFF, 23297: 0xFFFF}),
        ("abb-b23", {23316: 0x7FFF, 23317: 0xFFFF}),
        ("abb-b23", {23340: 0xFFFF}),
        ("abb-b23", {23354: 0x7FFF}),
        ("schneider-iem3x55", {3059: 0x7FC0, 3060: 0}),
        ("schneider-iem3x55", {3059: 0xFFC0, 3060: 0}),
        ("siemens-pac2200", {801: 0x7FF8, 802: 0, 803: 0, 804: 0}),
    ],
)
def test_what_a_meter_fills_in_is_no_reading(name: str, words: dict[int, int]) -> None:
    """ABB's patterns, and NaN of either width."""
    model = shipped(name)
    assert decode_registers(model, model.registers, words) == []


# ---- requests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spans"),
    [
        ("abb-b23", [(20480, 8), (21600, 24), (23296, 45), (23354, 4)]),
        ("acrel-adl400", [(10, 12), (40, 12), (97, 6), (119, 1), (141, 2), (356, 28)]),
        ("chint-ddsu666", [(8192, 16), (16384, 12)]),
        ("chint-dtsu666", [(6, 2), (4126, 18), (8198, 44), (8260, 2)]),
        ("eastron-sdm120", [(0, 32), (70, 10)]),
        ("eastron-sdm630", [(0, 36), (48, 32), (342, 16)]),
        ("gavazzi-em24-din", [(0, 24), (40, 16), (66, 10), (92, 2)]),
        ("gavazzi-em340", [(0, 54), (64, 16)]),
        ("janitza-umg96rm", [(19000, 52), (19062, 16)]),
        ("schneider-iem3x55",
         [(2999, 6), (3027, 6), (3053, 24), (3109, 2), (3203, 24), (3517, 12)]),
        ("siemens-pac1600", [(1, 30), (49, 12), (6687, 4)]),
        ("siemens-pac2200", [(1, 42), (63, 8), (801, 12)]),
    ],
)  # fmt: skip
def test_the_shipped_models_take_few_requests(name: str, spans: list[tuple[int, int]]) -> None:
    """Two to six a sweep, against one for each register."""
    model = shipped(name)
    found = plan_spans(model.registers, model.gap_max, model.span_max)
    assert [(one.address, one.count) for one in found] == spans
    assert max(count for _, count in spans) <= model.span_max
