"""protocols/modbus/model.py: a meter model is data under a schema, and the shipped ones agree with
what public drivers read."""

import copy
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import SettingError
from protocols.modbus.model import REGISTERS_MAX, WORDS, Model, Register, read_model
from protocols.obis import Obis
from protocols.quantity import Kind
from tests.protocols.outcome import outcome

FOLDER = Path(__file__).parents[3] / "protocols" / "meter_models"
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.toml"))

# name, address on the wire, type, scale, unit of the public drivers (volkszaehler/mbmd at fb8f9c22
# and one more source each; facts only). `->` renames to ours; rows that we leave out are named.
SDM630 = """
voltage_l1 0 float32 1 V | voltage_l2 2 float32 1 V | voltage_l3 4 float32 1 V
current_l1 6 float32 1 A | current_l2 8 float32 1 A | current_l3 10 float32 1 A
active_power_l1 12 float32 1 W | active_power_l2 14 float32 1 W | active_power_l3 16 float32 1 W
apparent_power_l1 18 float32 1 VA | apparent_power_l2 20 float32 1 VA
apparent_power_l3 22 float32 1 VA
reactive_power_l1 24 float32 1 var | reactive_power_l2 26 float32 1 var
reactive_power_l3 28 float32 1 var
power_factor_l1 30 float32 1 1 | power_factor_l2 32 float32 1 1 | power_factor_l3 34 float32 1 1
current_total 48 float32 1 A | active_power 52 float32 1 W | apparent_power 56 float32 1 VA
reactive_power 60 float32 1 var | power_factor 62 float32 1 1
phase_angle 66 float32 1 deg | frequency 70 float32 1 Hz
energy_import->active_energy_import 72 float32 1 kWh
energy_export->active_energy_export 74 float32 1 kWh
reactive_import->reactive_energy_import 76 float32 1 kvarh
reactive_export->reactive_energy_export 78 float32 1 kvarh
energy_total->active_energy_both 342 float32 1 kWh
energy_import_l1->active_energy_import_l1 346 float32 1 kWh
energy_import_l2->active_energy_import_l2 348 float32 1 kWh
energy_import_l3->active_energy_import_l3 350 float32 1 kWh
energy_export_l1->active_energy_export_l1 352 float32 1 kWh
energy_export_l2->active_energy_export_l2 354 float32 1 kWh
energy_export_l3->active_energy_export_l3 356 float32 1 kWh
"""
DTSU666 = """
ct_ratio_IrAt->ct_ratio 6 uint16 1 1 | pt_ratio_UrAt->pt_ratio 7 uint16 0.1 1
voltage_l1l2 8192 float32 0.1 V | voltage_l2l3 8194 float32 0.1 V | voltage_l3l1 8196 float32 0.1 V
voltage_l1 8198 float32 0.1 V | voltage_l2 8200 float32 0.1 V | voltage_l3 8202 float32 0.1 V
current_l1 8204 float32 0.001 A | current_l2 8206 float32 0.001 A | current_l3 8208 float32 0.001 A
active_power 8210 float32 0.1 W | active_power_l1 8212 float32 0.1 W
active_power_l2 8214 float32 0.1 W | active_power_l3 8216 float32 0.1 W
reactive_power 8218 float32 0.1 var | reactive_power_l1 8220 float32 0.1 var
reactive_power_l2 8222 float32 0.1 var | reactive_power_l3 8224 float32 0.1 var
power_factor 8234 float32 0.001 1 | power_factor_l1 8236 float32 0.001 1
power_factor_l2 8238 float32 0.001 1 | power_factor_l3 8240 float32 0.001 1
frequency 8260 float32 0.01 Hz
energy_import->active_energy_import 4126 float32 1 kWh
energy_import_l1->active_energy_import_l1 4128 float32 1 kWh
energy_import_l2->active_energy_import_l2 4130 float32 1 kWh
energy_import_l3->active_energy_import_l3 4132 float32 1 kWh
energy_export->active_energy_export 4136 float32 1 kWh
energy_export_l1->active_energy_export_l1 4138 float32 1 kWh
energy_export_l2->active_energy_export_l2 4140 float32 1 kWh
energy_export_l3->active_energy_export_l3 4142 float32 1 kWh
"""
# model -> (function, word order, rows, what we leave out: no OBIS code of ours fits it)
FACTS = {
    "eastron-sdm630": (4, "big", SDM630, {"phase_angle"}),
    "chint-dtsu666": (3, "big", DTSU666, {"voltage_l1l2", "voltage_l2l3", "voltage_l3l1"}),
}
THOUSANDS = {"kWh": "Wh", "kvarh": "varh"}
# The DTSU666 shows the secondary side (notes of the same sources): the ratios of each unit.
RATIOS = {
    "V": {"pt_ratio"},
    "A": {"ct_ratio"},
    "W": {"ct_ratio", "pt_ratio"},
    "var": {"ct_ratio", "pt_ratio"},
    "Wh": {"ct_ratio", "pt_ratio"},
    "Hz": set(),
    "1": set(),
}
# Quantity -> OBIS value groups C and D (IEC 62056-6-1), the phases at C + 20, 40, 60.
OBIS = {
    "voltage": (12, 7), "current": (11, 7), "power_factor": (13, 7), "frequency": (14, 7),
    "active_power": (16, 7), "apparent_power": (9, 7), "reactive_power": (131, 7),
    "current_total": (90, 7), "active_energy_import": (1, 8), "active_energy_export": (2, 8),
    "reactive_energy_import": (3, 8), "reactive_energy_export": (4, 8),
    "active_energy_both": (15, 8),
}  # fmt: skip


def shipped(name: str) -> Model:
    """A model as the edge reads it."""
    with (FOLDER / f"{name}.toml").open("rb") as file:
        return read_model(name, tomllib.load(file))


def facts(name: str) -> dict[str, tuple[int, str, Fraction, str]]:
    """Our name -> address, type, scale to the base unit, base unit; without what is left out."""
    found = {}
    for row in FACTS[name][2].replace("|", "\n").strip().splitlines():
        theirs, address, kind, scale, unit = row.split()
        ours = theirs.rpartition("->")[2]
        factor = Fraction(scale) * (1000 if unit in THOUSANDS else 1)
        found[ours] = (int(address), kind, factor, THOUSANDS.get(unit, unit))
    return {ours: fact for ours, fact in found.items() if ours not in FACTS[name][3]}


# ---- the shipped models ------------------------------------------------------------------------


def test_every_shipped_model_is_checked_against_facts() -> None:
    """A new model brings its rows."""
    assert sorted(FACTS) == SHIPPED == ["chint-dtsu666", "eastron-sdm630"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_register_map_agrees_with_the_public_drivers(name: str) -> None:
    """Address, type, scale and unit of every register, and no register more or less."""
    model = shipped(name)
    assert (model.function, model.word_order) == FACTS[name][:2]
    assert {
        one.name: (
            one.address,
            one.type,
            one.multiplier * Fraction(10) ** one.exponent,
            one.unit,
        )
        for one in model.registers
    } == facts(name)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_names_each_quantity_by_its_obis_code(name: str) -> None:
    """Name and code say the same quantity and phase, in words too."""
    for one in shipped(name).registers:
        base, _, phase = one.name.partition("_l")
        if base in OBIS:
            c, d = OBIS[base]
            assert one.obis == Obis(1, 0, c + 20 * int(phase or 0), d, 0, 255)
            assert one.kind == (Kind.CUMULATIVE if d == 8 else Kind.INSTANTANEOUS)
            assert one.obis.name().endswith(f" L{phase}" if phase else one.obis.name())
        else:
            assert one.obis.name().endswith("transformer ratio")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_rounds_to_what_a_meter_shows(name: str) -> None:
    """A tenth of a volt or watt, a thousandth of an ampere, a watt-hour: what a meter shows."""
    for one in shipped(name).registers:
        if one.type == "float32":
            assert one.resolution == {
                "V": -1, "A": -3, "W": -1, "VA": -1, "var": -1, "1": -3, "Hz": -2,
                "Wh": 0, "varh": 0,
            }[one.unit]  # fmt: skip


def test_a_secondary_side_meter_is_scaled_by_its_ratios() -> None:
    """DTSU666: volts by one ratio, amperes by the other, power and energy by both."""
    for one in shipped("chint-dtsu666").registers:
        if not one.name.endswith("_ratio"):
            assert set(one.times) == RATIOS[one.unit]
    assert not any(one.times for one in shipped("eastron-sdm630").registers)


# ---- the schema --------------------------------------------------------------------------------

ONE = {
    "name": "energy", "obis": "1-0:1.8.0", "address": 72, "type": "float32", "resolution": 0,
    "exponent": 3, "unit": "Wh", "kind": "cumulative",
}  # fmt: skip
RATIO = {
    "name": "ratio", "obis": "1-0:0.4.2", "address": 6, "type": "uint16", "unit": "1",
    "kind": "instantaneous",
}  # fmt: skip
TABLE: dict[str, Any] = {
    "title": "A meter", "function": 3, "word_order": "big", "source": "a manual",
    "register": [ONE, RATIO],
}  # fmt: skip


def changed(**keys: Any) -> dict[str, Any]:
    """The table with other head keys; None leaves one out."""
    table = {**copy.deepcopy(TABLE), **keys}
    return {key: value for key, value in table.items() if value is not None}


def with_register(number: int = 0, **keys: Any) -> dict[str, Any]:
    """The table with other keys in one register; None leaves one out."""
    table = copy.deepcopy(TABLE)
    row = {**table["register"][number], **keys}
    table["register"][number] = {key: value for key, value in row.items() if value is not None}
    return table


def sentence(table: Any) -> str:
    """What the person is told, behind the name of the file."""
    with pytest.raises(SettingError) as caught:
        read_model("m", table)
    file, colon, said = str(caught.value).partition(": ")
    assert (file, colon) == ("meter model m", ": ")
    return said


def test_a_model_is_read_with_its_defaults() -> None:
    """Multiplier 1, exponent 0, no resolution, no factors."""
    model = read_model("m", TABLE)
    assert type(model) is Model
    assert model[:4] == ("m", "A meter", 3, "big")
    assert model.registers == (
        Register(
            "energy", Obis(1, 0, 1, 8, 0, 255), 72, "float32", 1, 3, 0, "Wh", Kind.CUMULATIVE, ()
        ),
        Register(
            "ratio", Obis(1, 0, 0, 4, 2, 255), 6, "uint16", 1, 0, None, "1", Kind.INSTANTANEOUS, ()
        ),
    )
    assert {type(one) for one in model.registers} == {Register}


@pytest.mark.parametrize(("kind", "words"), WORDS.items())
def test_a_register_spans_the_words_of_its_type(kind: str, words: int) -> None:
    """16 bits a word."""
    resolution = 0 if kind == "float32" else None
    model = read_model("m", with_register(type=kind, resolution=resolution))
    assert model.registers[0].words == words == int(kind.strip("uintfloa")) // 16


HEAD = [
    (changed(title=None), "title is missing; it must be a text of 1 to 255 characters"),
    (changed(source=None), "source is missing; it must be a text of 1 to 1000 characters"),
    (changed(function=None), "function is missing; it must be one of 3, 4"),
    (changed(function=6), "function = 6 is not allowed; it must be one of 3, 4"),
    (changed(function=3.0), "function = 3.0 is not allowed; it must be one of 3, 4"),
    (
        changed(word_order="middle"),
        "word_order = 'middle' is not allowed; it must be one of 'big', 'little'",
    ),
    (
        changed(colour="red"),
        "unknown key 'colour'; allowed are title, function, word_order, source",
    ),
    (changed(register=None), "[[register]] must stand 1 to 256 times"),
    (changed(register=[]), "[[register]] must stand 1 to 256 times"),
    (changed(register=ONE), "[[register]] must stand 1 to 256 times"),
    (changed(register=[RATIO] * 257), "[[register]] must stand 1 to 256 times"),
    (changed(register=[5]), "register 1 must be a table, not 5"),
]  # fmt: skip
UNITS_SAID = "'Wh', 'varh', 'VAh', 'W', 'var', 'VA', 'V', 'A', 'Hz', 'deg', 'degC', '%', '1', ''"
KINDS_SAID = "'cumulative', 'interval', 'instantaneous', 'maximum', 'status'"
TYPES_SAID = "'uint16', 'int16', 'uint32', 'int32', 'uint64', 'int64', 'float32'"
ROWS = [
    ({"name": None}, "name is missing; it must be a text of 1 to 255 characters"),
    ({"name": ""}, "name = '' is not allowed; it must be a text of 1 to 255 characters"),
    ({"obis": None}, "obis is missing; it must be an OBIS code such as 1-0:1.8.0"),
    ({"obis": "1.8.0"}, "obis = '1.8.0' is not allowed; it must be an OBIS code such as 1-0:1.8.0"),
    ({"obis": "²-0:1.8.0"}, ("obis = '²-0:1.8.0' is not allowed; it must be an OBIS code such as "
                            "1-0:1.8.0")),
    ({"address": -1}, "address = -1 is not allowed; it must be a whole number from 0 to 65535"),
    ({"address": 65536}, ("address = 65536 is not allowed; it must be a whole number from 0 to "
                         "65535")),
    ({"address": 65535}, "address = 65535 leaves no room for float32"),
    ({"type": "float64"}, f"type = 'float64' is not allowed; it must be one of {TYPES_SAID}"),
    ({"multiplier": 0}, ("multiplier = 0 is not allowed; it must be a whole number from 1 to "
                        "1000000")),
    ({"exponent": 10}, "exponent = 10 is not allowed; it must be a whole number from -9 to 9"),
    ({"resolution": -10}, ("resolution = -10 is not allowed; it must be a whole number from -9 to "
                          "9")),
    ({"resolution": None}, "resolution is missing; a float32 register needs one"),
    ({"type": "uint32"}, "resolution = 0 is only for float32 registers"),
    ({"unit": "kWh"}, f"unit = 'kWh' is not allowed; it must be one of {UNITS_SAID}"),
    ({"kind": "text"}, f"kind = 'text' is not allowed; it must be one of {KINDS_SAID}"),
    ({"kind": None}, f"kind is missing; it must be one of {KINDS_SAID}"),
    ({"times": []}, "times = [] is not allowed; it must be a list of register names"),
    ({"times": "ratio"}, "times = 'ratio' is not allowed; it must be a list of register names"),
    ({"scale": 1}, ("unknown key 'scale'; allowed are name, obis, address, type, multiplier, "
                   "exponent, resolution, unit, kind, times")),
]  # fmt: skip
TOGETHER = [
    (with_register(1, name="energy"), "name 'energy' stands twice; names must differ"),
    (with_register(1, obis="1-0:1.8.0*255"), "obis 1-0:1.8.0*255 stands twice; codes must differ"),
    (with_register(times=["ct"]), "times of energy names 'ct', no register here"),
    (
        with_register(times=["energy"]),
        "energy must be an integer register without times of its own",
    ),
]


@pytest.mark.parametrize(("table", "said"), HEAD)
def test_a_faulty_head_is_told_in_one_sentence(table: Any, said: str) -> None:
    """Key, value, and what is allowed."""
    assert sentence(table) == said


@pytest.mark.parametrize(("keys", "said"), ROWS)
def test_a_faulty_register_is_told_with_its_number(keys: dict[str, Any], said: str) -> None:
    """The person finds the row by counting."""
    assert sentence(with_register(**keys)) == f"register 1: {said}"
    moved = with_register(**keys)
    moved["register"].reverse()
    assert sentence(moved) == f"register 2: {said}"


@pytest.mark.parametrize(("table", "said"), TOGETHER)
def test_registers_that_do_not_fit_together_are_told(table: Any, said: str) -> None:
    """Names and codes differ, factors exist and are integers without factors."""
    assert sentence(table) == f"{said}"


@pytest.mark.parametrize(
    "factor",
    [
        {"type": "float32", "resolution": 0},
        {"times": ["energy"]},
    ],
)
def test_a_factor_is_a_plain_integer_register(factor: dict[str, Any]) -> None:
    """A factor with factors, or with rounding, would make the order of reading matter."""
    table = with_register(1, **factor)
    table["register"][0]["times"] = ["ratio"]
    assert sentence(table) == ("ratio must be an integer register without times of its own")


def test_the_limits_themselves_are_allowed() -> None:
    """256 registers, the last address, the smallest and the largest exponents."""
    rows = [
        {
            **RATIO, "name": f"r{n}", "obis": f"1-0:{n}.7.0", "address": 65535 - n,
            "exponent": n % 2 * 18 - 9,
        }
        for n in range(REGISTERS_MAX)
    ]  # fmt: skip
    model = read_model("m", changed(register=rows))
    assert len(model.registers) == 256
    last = read_model("m", with_register(address=65534)).registers[0]
    assert last.address + last.words == 65536


ODD = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from(["1-0:1.8.0", "float32", "uint16", "Wh", "cumulative", "ratio", "energy"])
    | st.lists(st.text(max_size=3), max_size=2) | st.dictionaries(st.text(max_size=2), st.none())
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(sorted(TABLE)), ODD | st.lists(ODD, max_size=2), max_size=2),
    st.dictionaries(st.sampled_from([*ONE, "times", "multiplier", "x"]), ODD, max_size=3),
)
def test_any_table_gives_a_model_or_a_sentence(head: dict[str, Any], row: dict[str, Any]) -> None:
    """The fuzz sentence: nothing but a Model or a SettingError that names the file."""
    table = with_register(**row) | head
    model, said = outcome(SettingError, read_model, "m", table)
    assert said.startswith("meter model m") or type(model) is Model
