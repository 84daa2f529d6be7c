"""CJ/T 188 beside DL/T 645: every captured frame with its values, ambiguity told, keys hidden."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.cjt188.frame import Frame
from provisioning.explain import explain
from provisioning.finding import MASK
from tests.provisioning.vectors import CJT188_VECTORS, frame_of

CLEAN = [one for one in CJT188_VECTORS if one["expect"] == "accept"]
DAMAGED = [one for one in CJT188_VECTORS if one["expect"] == "reject:checksum"]
ANSWERS = [one for one in CLEAN if one["expected"]]
METER = "78330011223344"
FRAMES = st.builds(
    Frame, st.integers(0, 255), st.just(METER), st.integers(0, 255), st.binary(max_size=255)
)


def explained(wire: bytes) -> dict[str, Any]:
    """What a program sees of a capture of one frame."""
    (found,) = explain(wire)
    return found.to_json()


def names(vectors: list[dict[str, Any]]) -> list[str]:
    """Their ids."""
    return [one["id"] for one in vectors]


@pytest.mark.parametrize("vector", CLEAN, ids=names(CLEAN))
def test_a_good_frame_is_one_object(vector: dict[str, Any]) -> None:
    """Address, control, identifier whichever way it travels, and data are those stated."""
    found = explained(bytes.fromhex(vector["hex"]))
    assert (found["protocol"], found["ok"], found["error"]) == ("cjt188", True, None)
    assert (found["address"], found["control"]) == (vector["address"], vector["control"])
    assert (found["identifier"], found["seq"]) == (vector["di"], vector["serial"])
    assert found["data"] == vector["data"].replace(" ", "")
    assert found["direction"] == {"m2s": "request", "s2m": "reply"}[vector["direction"]]


@pytest.mark.parametrize("vector", ANSWERS, ids=names(ANSWERS))
def test_the_values_are_those_stated(vector: dict[str, Any]) -> None:
    """Without being told where this meter puts its units."""
    found = explained(bytes.fromhex(vector["hex"]))
    expected = vector["expected"]
    heat = ("first_energy", "energy", "volume", "flow_temperature", "return_temperature", "hours")
    order = heat if "energy" in expected else ("volume", "settlement")
    thousands = {"MWh": 1000}.get(expected.get("energy_unit"), 1)
    stated = [
        Decimal(expected[key]) * (thousands if "energy" in key else 1)
        for key in order
        if expected[key] is not None
    ]
    *values, status = (one for one in found["readings"] if one["obis"] != "0-0:1.0.0*255")
    assert [Decimal(one["value"]) for one in values] == stated
    clocks = [one["value"] for one in found["readings"] if one["obis"] == "0-0:1.0.0*255"]
    assert clocks == [expected["clock"]] * bool(expected["clock"])
    word = int.from_bytes(bytes.fromhex(expected["status"]), "little")
    assert status["value"] == str(word)
    assert status["words"][0] == f"valve: {('open', 'closed', 'bits 10', 'faulty')[word & 3]}"
    assert ("battery low" in status["words"]) == bool(word & 4)


@pytest.mark.parametrize("vector", DAMAGED, ids=names(DAMAGED))
def test_a_damaged_frame_is_named_for_its_fault(vector: dict[str, Any]) -> None:
    """As this protocol's, with its meter, and without values."""
    found = explained(bytes.fromhex(vector["hex"]))
    assert (found["protocol"], found["ok"], found["error"]) == ("cjt188", False, "checksum")
    assert (found["address"], found["readings"], found["data"]) == (vector["address"], [], "")


def test_both_protocols_stand_in_one_capture() -> None:
    """In their order, with preambles, and noise between."""
    ours, theirs = bytes.fromhex(CLEAN[0]["hex"]), frame_of("v002")
    found = explain(b"\xfe" + ours + theirs + b"\x68" + ours + b"\xfe\xfe" + theirs)
    assert [one.protocol for one in found] == ["cjt188", "dlt645-2007"] * 2
    assert [one.preamble for one in found] == [1, 0, 0, 2]


def test_a_cut_frame_is_told() -> None:
    """With whatever stands in front of the cut."""
    wire = bytes.fromhex(ANSWERS[0]["hex"])
    for cut in range(11, len(wire)):
        found = explained(wire[:cut])
        assert (found["protocol"], found["error"]) == ("cjt188", "truncated")


def test_units_that_fit_nowhere_give_no_values() -> None:
    """The frame stays."""
    data = bytes.fromhex("901F00 00000000FF 00000000FF 00000000000000 0000")
    found = explained(Frame(0x10, METER, 0x81, data).to_bytes())
    assert (found["ok"], found["error"], found["readings"]) == (True, "value", [])
    found = explained(Frame(0x10, METER, 0x81, data[:-1]).to_bytes())
    assert (found["error"], found["readings"]) == ("length", [])


def test_units_that_fit_in_both_places_give_no_values() -> None:
    """Litres whose code is two digits of the number as well: 0.29 or 29 litres, nobody knows."""
    data = bytes.fromhex("901F00 2900000029 2900000029 00000000000000 0000")
    found = explained(Frame(0x10, METER, 0x81, data).to_bytes())
    assert (found["error"], found["readings"]) == ("value", [])
    assert "in front of the values and behind them" in found["meaning"]


@pytest.mark.parametrize(
    ("control", "data"),
    [
        (0x04, "A0140112345678"),
        (0x04, "14A00112345678"),
        (0x04, "55550112345678"),
        (0x1F, "12345678"),
        (0x9F, "12345678"),
        (0x81, "A0140112345678"),
    ],
)
def test_no_key_is_told(control: int, data: str) -> None:
    """Keys, what is written under an unknown identifier, and makers' own functions."""
    (found,) = explain(Frame(0x10, METER, control, bytes.fromhex(data)).to_bytes())
    assert "12345678" not in repr(found).replace(" ", "")
    assert found.to_json()["data"].endswith(4 * MASK)


def test_the_valve_is_named() -> None:
    """Who opens and who closes it."""
    told = {one["id"]: explained(bytes.fromhex(one["hex"]))["meaning"] for one in CLEAN}
    assert told["R"] == "gas meter 00000000000003: open the valve"
    assert told["R2"] == "gas meter 00000000000003: close the valve"


@given(FRAMES)
def test_any_good_frame_is_one_object_or_a_dlt645_frame(frame: Frame) -> None:
    """Whatever its content: nothing raises, and it is never damaged."""
    found = explain(frame.to_bytes())
    assert found[0].ok
    assert len(found[0].shown_bytes()) == len(found[0].data)
