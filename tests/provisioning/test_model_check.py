"""provisioning/model_check.py: every fault of a model file is told, and what is odd about it."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.model import check_model, read_model
from provisioning.__main__ import main
from provisioning.model_check import (
    FILE_SIZE_MAX,
    MODEL_WARNINGS,
    REGISTER_WARNINGS,
    check_file,
    warnings,
)

FOLDER = Path(__file__).parents[2] / "protocols" / "meter_models"
SHIPPED = sorted(FOLDER.glob("*.toml"))
GOOD = """
title = "A meter"
function = 3
word_order = "big"
source = "a manual"

[[register]]
name = "active_energy_import"
obis = "1-0:1.8.0"
address = 10
type = "uint32"
unit = "Wh"
kind = "cumulative"

[[register]]
name = "voltage_l1"
obis = "1-0:32.7.0"
address = 14
type = "uint16"
exponent = -1
unit = "V"
kind = "instantaneous"
"""
RELAY = """
[[write]]
name = "disconnect"
function = 5
address = 16
value = 0
state_function = 1
state_address = 16
state_value = 0

[[write]]
name = "connect"
function = 5
address = 16
value = 1
state_function = 1
state_address = 16
state_value = 1
"""
# A float32 holds what these meters send, and no register of theirs in our sources holds more: the
# limit is the meter's, and the person should know it.
FLOAT32_ENERGY = {"chint-ddsu666", "chint-dtsu666", "eastron-sdm630", "janitza-umg96rm"}


def write(tmp_path: Path, text: str, name: str = "my-meter.toml") -> Path:
    """A model file."""
    path = tmp_path / name
    path.write_text(text)
    return path


def warned(text: str) -> list[str]:
    """What is odd about a model."""
    return warnings(read_model("m", tomllib.loads(text)))


# ---- the shipped models ------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_model_passes_its_own_check(path: Path) -> None:
    """No fault, and no warning but the one that is the meter's own limit."""
    report = check_file(path)
    assert report.faults == []
    odd = [one for one in report.warnings if "a float32 carries its last digit" not in one]
    assert odd == []
    assert bool(report.warnings) == (path.stem in FLOAT32_ENERGY)
    assert 1 < report.requests < report.registers == report.requests + report.requests_saved


def test_the_command_lists_what_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a model, by the name that goes into edge.toml."""
    assert main(["model", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines][: len(SHIPPED)] == [path.stem for path in SHIPPED]
    assert lines[5].split(maxsplit=6)[:6] == [
        "eastron-sdm630",
        *"35 registers in 3 requests".split(),
    ]


# ---- the command -------------------------------------------------------------------------------


def test_a_good_file_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0; registers, requests, what reading together saves, and what a write sends."""
    path = write(tmp_path, GOOD + RELAY)
    assert main(["model", "check", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: good: A meter; 2 registers in 1 request, 1 saved a sweep",
        f"{path}: disconnect writes 05 00 10 00 00",
        f"{path}: connect writes 05 00 10 FF 00",
    ]


def test_every_fault_of_every_file_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2; one line a fault, with the file's name, and the good file's summary besides."""
    bad = write(tmp_path, GOOD.replace("function = 3", "function = 6").replace('"V"', '"kV"'))
    good = write(tmp_path, GOOD, "good.toml")
    assert main(["model", "check", str(bad), str(good)]) == 2
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == (
        f"{bad}: meter model my-meter: function = 6 is not allowed; it must be one of 3, 4"
    )
    assert second.startswith(f"{bad}: meter model my-meter: register 2: unit = 'kV' is not allowed")
    assert third.startswith(f"{good}: good: ")


def test_a_program_gets_the_same_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One object a file."""
    bad = write(tmp_path, "title = 5")
    good = write(tmp_path, GOOD + RELAY, "good.toml")
    assert main(["model", "check", "--json", str(good), str(bad)]) == 2
    first, second = json.loads(capsys.readouterr().out)
    assert first == {
        "path": str(good), "ok": True, "faults": [], "warnings": [], "title": "A meter",
        "registers": 2, "requests": 1, "requests_saved": 1,
        "writes": {"disconnect": "05 00 10 00 00", "connect": "05 00 10 FF 00"}, "relay": "",
    }  # fmt: skip
    assert (second["ok"], second["registers"]) == (False, 0)
    assert "title = 5 is not allowed" in second["faults"][0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"title = ", "is not TOML: "),
        (b"\xff\xfe", "is not TOML: "),
        (b"a = " + b"[" * 5000, "is not TOML: "),
        (b"#" * (FILE_SIZE_MAX + 1), f"has more than {FILE_SIZE_MAX} bytes"),
        (b"", "meter model my-meter: title is missing"),
    ],
)
def test_what_is_no_model_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    """A sentence, never a traceback."""
    path = tmp_path / "my-meter.toml"
    path.write_bytes(content)
    report = check_file(path)
    assert report.faults[0].startswith(said)
    assert report.warnings == []


def test_a_file_that_is_not_there_or_not_named_so_is_told(tmp_path: Path) -> None:
    """A gateway would not find it either."""
    assert check_file(tmp_path / "none.toml").faults == [
        "cannot be read: No such file or directory"
    ]
    assert check_file(tmp_path).faults == ["cannot be read: Is a directory"]
    assert check_file(write(tmp_path, GOOD, "meter.tml")).faults == [
        "meter.tml: a gateway only reads files that end in .toml"
    ]


# ---- warnings ----------------------------------------------------------------------------------


def test_the_good_file_is_not_odd() -> None:
    """The ground on which each oddity below is planted."""
    assert warned(GOOD + RELAY) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("address = 14", "address = 11", "active_energy_import and voltage_l1 share register 11"),
        ('"cumulative"', '"instantaneous"',
         ("active_energy_import: obis 1-0:1.8.0*255 is cumulative by its value group D; kind says "
          "otherwise")),
        ('"V"', '"A"',
         "voltage_l1: unit = 'A' does not fit voltage L1, which is in 'V'"),
        ('"Wh"', '"varh"',
         "active_energy_import: unit = 'varh' does not fit active energy import, which is in 'Wh'"),
        ('"1-0:32.7.0"', '"1-0:52.7.0"',
         "voltage_l1: its name says L1, obis 1-0:52.7.0*255 does not"),
        ('"uint32"', '"float32"\nresolution = 0',
         "active_energy_import: a float32 carries its last digit of 1 Wh only up to 16,777,216 Wh"),
        ('"uint32"', '"float32"\nresolution = 1', None),
        ('"uint32"', '"float64"\nresolution = 0', None),
        ('"uint32"', '"int32"\nexponent = -2',
         "active_energy_import: its int32 begins again from 0 at 21,474,836 Wh"),
        ('"uint32"', '"uint16"\nexponent = 1',
         "active_energy_import: its uint16 begins again from 0 at 655,360 Wh"),
        ('"uint32"', '"uint64"\nexponent = -3', None),
        ('"1-0:32.7.0"', '"1-0:32.77.0"', "voltage_l1: obis 1-0:32.77.0*255 has no name in Busbar"),
        ('"1-0:32.7.0"', '"1-0:32.8.0"',
         "voltage_l1: obis 1-0:32.8.0*255 would be an energy of what has none"),
    ],
)  # fmt: skip
def test_what_is_odd_is_told(old: str, new: str, said: str | None) -> None:
    """Each oddity by itself; what is only near to one is not told."""
    assert GOOD.count(old) == 1
    found = warned(GOOD.replace(old, new))
    assert said in found if said else found == []


def test_the_units_of_a_phase_are_those_of_the_total() -> None:
    """Reactive power has its phases at 151, 171 and 191."""
    reactive = GOOD.replace("1-0:32.7.0", "1-0:151.7.0")
    assert warned(reactive.replace('"V"', '"var"')) == []
    (found,) = warned(reactive)
    assert found.endswith("does not fit reactive power net L1, which is in 'var'")


def test_two_requests_are_never_too_many() -> None:
    """A model of two far blocks is what it is."""
    assert warned(GOOD.replace("address = 14", "address = 1400")) == []


def test_the_same_oddity_is_told_once() -> None:
    """With all its registers."""
    energies = "".join(
        f'[[register]]\nname = "e{n}"\nobis = "1-0:1.8.{n}"\naddress = {20 + 2 * n}\n'
        'type = "float32"\nresolution = 0\nunit = "Wh"\nkind = "cumulative"\n'
        for n in range(1, 4)
    )
    (found,) = warned(GOOD + energies)
    assert found.startswith("e1, e2, e3: a float32 carries")


def test_registers_that_lie_far_apart_are_told() -> None:
    """Nothing is saved by reading together."""
    far = "".join(
        f'[[register]]\nname = "p{n}"\nobis = "1-0:{16 + 20 * n}.7.0"\naddress = {100 * n}\n'
        'type = "int32"\nunit = "W"\nkind = "instantaneous"\n'
        for n in range(1, 4)
    )
    (found,) = warned(GOOD + far)
    assert found == (
        "5 registers take 4 requests; they lie far apart, or gap_max = 8 or span_max = 125 is too "
        "small"
    )


def test_a_relay_that_never_comes_back_is_told() -> None:
    """Disconnect without connect or arm."""
    assert warned(GOOD + RELAY.split('[[write]]\nname = "connect"', maxsplit=1)[0]) == [
        "it can disconnect and never connect again"
    ]


def test_every_warning_is_tried_above() -> None:
    """A new one brings its row."""
    assert (len(MODEL_WARNINGS), len(REGISTER_WARNINGS)) == (3, 5)


ODD: Any = (
    st.sampled_from(["Wh", "V", "", "cumulative", "maximum", "status", "float32", "int16"])
    | st.integers(-2, 70000)
    | st.builds("{}-{}:{}.{}.{}".format, *[st.integers(0, 255)] * 5)
)


@given(st.dictionaries(
    st.sampled_from("obis unit kind type address exponent resolution multiplier".split()), ODD,
    max_size=4,
))  # fmt: skip
def test_any_model_is_judged(row: dict[str, Any]) -> None:
    """The fuzz sentence: whatever the schema allows gets its warnings, and no traceback."""
    table = tomllib.loads(GOOD)
    table["register"][0] |= row
    model, faults = check_model("m", table)
    assert bool(faults) == (model is None)
    if model is not None:
        assert all(isinstance(one, str) and one for one in warnings(model))
