"""protocols/modbus/model.py: a meter model is data under a schema; each fault is one sentence."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import SettingError
from protocols.modbus.model import (
    FLOATS,
    REGISTERS_MAX,
    WORDS,
    WRITES_MAX,
    Model,
    Register,
    Write,
    check_model,
    read_model,
)
from protocols.obis import Obis
from protocols.quantity import UNITS, Kind
from tests.protocols.outcome import outcome

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
    """Multiplier 1, exponent 0, no resolution, no factors, the model's function, no patterns."""
    model = read_model("m", TABLE)
    assert type(model) is Model
    assert model[:4] == ("m", "A meter", 3, "big")
    assert (model.span_max, model.gap_max, model.writes) == (125, 8, ())
    assert model.registers == (
        Register(
            "energy",
            Obis(1, 0, 1, 8, 0, 255),
            72,
            "float32",
            1,
            3,
            0,
            "Wh",
            Kind.CUMULATIVE,
            (),
            3,
            (),
        ),
        Register(
            "ratio",
            Obis(1, 0, 0, 4, 2, 255),
            6,
            "uint16",
            1,
            0,
            None,
            "1",
            Kind.INSTANTANEOUS,
            (),
            3,
            (),
        ),
    )
    assert {type(one) for one in model.registers} == {Register}


@pytest.mark.parametrize(("kind", "words"), WORDS.items())
def test_a_register_spans_the_words_of_its_type(kind: str, words: int) -> None:
    """16 bits a word."""
    resolution = 0 if kind in FLOATS else None
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
        "unknown key 'colour'; allowed are title, function, word_order, source, span_max, gap_max",
    ),
    (changed(register=None), "[[register]] must stand 1 to 256 times"),
    (changed(register=[]), "[[register]] must stand 1 to 256 times"),
    (changed(register=ONE), "[[register]] must stand 1 to 256 times"),
    (changed(register=[RATIO] * 257), "[[register]] must stand 1 to 256 times"),
    (changed(register=[5]), "register 1 must be a table, not 5"),
]  # fmt: skip
UNITS_SAID = ", ".join([repr(unit) for unit in UNITS])
KINDS_SAID = "'cumulative', 'interval', 'instantaneous', 'maximum', 'status'"
TYPES_SAID = "'uint16', 'int16', 'uint32', 'int32', 'uint64', 'int64', 'float32', 'float64'"
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
    ({"type": "float16"}, f"type = 'float16' is not allowed; it must be one of {TYPES_SAID}"),
    ({"multiplier": 0}, ("multiplier = 0 is not allowed; it must be a whole number from 1 to "
                        "1000000")),
    ({"exponent": 10}, "exponent = 10 is not allowed; it must be a whole number from -9 to 9"),
    ({"resolution": -10}, ("resolution = -10 is not allowed; it must be a whole number from -9 to "
                          "9")),
    ({"resolution": None}, "resolution is missing; a float32 register needs one"),
    ({"type": "uint32"}, "resolution = 0 is only for float registers"),
    ({"unit": "kWh"}, f"unit = 'kWh' is not allowed; it must be one of {UNITS_SAID}"),
    ({"kind": "text"}, f"kind = 'text' is not allowed; it must be one of {KINDS_SAID}"),
    ({"kind": None}, f"kind is missing; it must be one of {KINDS_SAID}"),
    ({"times": []}, "times = [] is not allowed; it must be a list of register names"),
    ({"times": "ratio"}, "times = 'ratio' is not allowed; it must be a list of register names"),
    ({"scale": 1}, ("unknown key 'scale'; allowed are name, obis, address, type, multiplier, "
                   "exponent, resolution, unit, kind, times, function, absent")),
    ({"function": 6}, "function = 6 is not allowed; it must be one of 3, 4"),
    ({"absent": ["FFFF"]}, ("absent = 'FFFF' is not allowed; a float32 register takes 8 hex "
                           "digits")),
    ({"absent": ["0xFFFF00"]}, ("absent = ['0xFFFF00'] is not allowed; it must be a list of hex "
                               "numbers, 4 digits for each word")),
]  # fmt: skip
TOGETHER = [
    (with_register(1, name="energy"), "name 'energy' stands twice; names must differ"),
    (with_register(1, obis="1-0:1.8.0*255"), "obis 1-0:1.8.0*255 stands twice; codes must differ"),
    (with_register(times=["ratio", "ratio"]), "times of energy names a register twice"),
    (
        with_register(type="float64") | {"span_max": 3},
        "span_max = 3 is not allowed; energy alone takes 4 registers",
    ),
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


# ---- functions, patterns and limits of a request ------------------------------------------------


def test_a_register_may_name_its_own_function_and_patterns() -> None:
    """A model of two functions; patterns are kept as unsigned bits."""
    table = with_register(1, function=4, absent=["FFFF", "7fff"]) | {"span_max": 2, "gap_max": 0}
    model = read_model("m", table)
    assert [one.function for one in model.registers] == [3, 4]
    assert [one.absent for one in model.registers] == [(), (0xFFFF, 0x7FFF)]
    assert (model.span_max, model.gap_max) == (2, 0)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"span_max": 0}, "span_max = 0 is not allowed; it must be a whole number from 1 to 125"),
        ({"span_max": 126},
         "span_max = 126 is not allowed; it must be a whole number from 1 to 125"),
        ({"gap_max": 124}, "gap_max = 124 is not allowed; it must be a whole number from 0 to 123"),
        ({"span_max": 1}, "span_max = 1 is not allowed; energy alone takes 2 registers"),
    ],
)  # fmt: skip
def test_a_request_has_its_limits(keys: dict[str, Any], said: str) -> None:
    """The protocol's 125 registers, and the widest register of the model."""
    assert sentence(changed(**keys)) == said


# ---- the write map -----------------------------------------------------------------------------

OFF = {
    "name": "disconnect", "function": 5, "address": 16, "value": 0, "state_function": 1,
    "state_address": 16, "state_value": 0,
}  # fmt: skip
ON = {
    "name": "connect", "function": 6, "address": 512, "value": 0x55AA, "state_function": 3,
    "state_address": 513, "state_mask": 0x8001, "state_value": 0x8000,
}  # fmt: skip


def with_writes(*rows: Any) -> dict[str, Any]:
    """The table with a write map."""
    return changed(write=[dict(row) if isinstance(row, dict) else row for row in rows])


def test_a_write_map_is_read() -> None:
    """A coil is one bit, a register without mask is whole."""
    model = read_model("m", with_writes(OFF, ON))
    assert model.writes == (
        Write("disconnect", 5, 16, 0, 1, 16, 1, 0),
        Write("connect", 6, 512, 0x55AA, 3, 513, 0x8001, 0x8000),
    )
    assert {type(one) for one in model.writes} == {Write}
    whole = {key: value for key, value in ON.items() if key != "state_mask"}
    assert read_model("m", with_writes(whole)).writes[0].state_mask == 0xFFFF


NAMES_SAID = "'disconnect', 'arm', 'connect'"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([OFF | {"name": "open"}],
         f"write 1: name = 'open' is not allowed; it must be one of {NAMES_SAID}"),
        ([OFF | {"function": 15}],
         "write 1: function = 15 is not allowed; it must be one of 5, 6, 16"),
        ([OFF | {"value": 0xFF00}], "write 1: value = 65280 is not allowed; a coil takes 0 or 1"),
        ([OFF | {"state_mask": 1}], "write 1: state_mask is only for registers; a coil is one bit"),
        ([OFF | {"state_value": 2}],
         "write 1: state_value = 2 is not allowed; it has bits outside the mask 0001"),
        ([ON | {"state_value": 1, "state_mask": 2}],
         "write 1: state_value = 1 is not allowed; it has bits outside the mask 0002"),
        ([OFF, ON | {"name": "disconnect"}], "write 'disconnect' stands twice; names must differ"),
        ([OFF, OFF | {"name": "connect", "state_value": 1}],
         "disconnect and connect write the same"),
        ([OFF, OFF | {"name": "connect", "value": 1}],
         "disconnect and connect leave the same state; it must tell them apart"),
        ([5], "write 1 must be a table, not 5"),
        ([OFF] * (WRITES_MAX + 1), "[[write]] must stand 0 to 16 times"),
    ],
)  # fmt: skip
def test_a_faulty_write_map_is_told(rows: list[Any], said: str) -> None:
    """A relay that is driven by guess is worse than none."""
    assert sentence(with_writes(*rows)) == said


# ---- every fault at once -----------------------------------------------------------------------


def test_every_fault_of_a_file_is_told_once() -> None:
    """One sentence each, the head's first; what follows from another fault is not said again."""
    table = with_register(times=["ratio"], unit="kWh", kind="text", colour="red")
    table["register"][1]["address"] = -1
    table["function"] = 5
    del table["title"]
    table["write"] = [OFF | {"value": 7}]
    model, faults = check_model("m", table)
    assert model is None
    assert [one.partition("; ")[0] for one in faults] == [
        "meter model m: title is missing",
        "meter model m: function = 5 is not allowed",
        "meter model m: register 1: unknown key 'colour'",
        "meter model m: register 1: unit = 'kWh' is not allowed",
        "meter model m: register 1: kind = 'text' is not allowed",
        "meter model m: register 2: address = -1 is not allowed",
        "meter model m: write 1: value = 7 is not allowed",
    ]
    with pytest.raises(SettingError) as caught:
        read_model("m", table)
    assert str(caught.value) == faults[0]


def test_a_factor_with_a_fault_is_not_called_missing() -> None:
    """Its row is there; what is wrong with it is said once."""
    table = with_register(1, address=-1)
    table["register"][0]["times"] = ["ratio"]
    _, faults = check_model("m", table)
    assert [one.partition("; ")[0] for one in faults] == [
        "meter model m: register 2: address = -1 is not allowed"
    ]


def test_a_good_table_has_no_faults() -> None:
    """The check and the reader are one."""
    assert check_model("m", with_writes(OFF, ON)) == (read_model("m", with_writes(OFF, ON)), [])


ODD = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from(
        ["1-0:1.8.0", "float32", "float64", "uint16", "Wh", "cumulative", "ratio", "FFFF"]
    )
    | st.lists(st.text(max_size=3), max_size=2) | st.dictionaries(st.text(max_size=2), st.none())
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from([*sorted(TABLE), "span_max", "gap_max"]),
        ODD | st.lists(ODD, max_size=2),
        max_size=2,
    ),
    st.dictionaries(
        st.sampled_from([*ONE, "times", "multiplier", "function", "absent", "x"]), ODD, max_size=3
    ),
    st.lists(ODD | st.dictionaries(st.sampled_from(sorted(ON)), ODD).map(ON.__or__), max_size=2)
    | ODD,
)
def test_any_table_gives_a_model_or_a_sentence(
    head: dict[str, Any], row: dict[str, Any], writes: Any
) -> None:
    """The fuzz sentence: nothing but a Model or a SettingError that names the file."""
    table = with_register(**row) | {"write": writes} | head
    model, said = outcome(SettingError, read_model, "m", table)
    assert (model is None) == bool(check_model("m", table)[1])
    assert said.startswith("meter model m") or type(model) is Model
