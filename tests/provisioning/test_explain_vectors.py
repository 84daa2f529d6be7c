"""Every vector through `explain`: frames that real meters sent, and what is known of them."""

from decimal import Decimal
from typing import Any

import pytest

from provisioning.explain import explain
from provisioning.finding import MASK
from tests.provisioning.vectors import VECTORS, frame_of

ACCEPTED = [v for v in VECTORS if v["expect"] in ("accept", "accept-frame")]
REJECTED = [v for v in VECTORS if v["expect"].startswith("reject")]
STREAMS = [v for v in VECTORS if v["expect"] == "stream"]
PARTS_ALONE = {"v137", "v139"}  # a part alone has no readings: it may begin inside an item
# What `accept-frame` holds against the frames whose content is wrong.
REFUSED = {"v084": "length", "v111": "length", "v158": "length", "v160": "value", "v162": "length"}


# Vectors with a byte that may be of a password.
MASKED = {"v064", "v066", "v072", "v073", "v074", "v085", "v086", "v087", "v096", "v132", "v141",
          "v145", "v146", "v147", "v150", "v158"}  # fmt: skip
TEXTS = ("text", "date", "time", "datetime")


def explained(vector: dict[str, Any]) -> list[dict[str, Any]]:
    """What a program sees of a vector."""
    return [finding.to_json() for finding in explain(bytes.fromhex(vector["hex"]))]


def plain(vector: dict[str, Any]) -> str:
    """The data of a vector as `data` shows it."""
    return str(vector["data_plain"]).replace(" ", "")


def same(shown: str, data: str) -> bool:
    """Whether `shown` is `data` but for masks."""
    pairs = zip(shown, data, strict=True)
    return len(shown) == len(data) and all(one in (MASK[0], two) for one, two in pairs)


def stated_values(vector: dict[str, Any]) -> list[Any]:
    """The values that a vector states, None for FF fill."""
    expected = vector["expected"]
    for key in TEXTS:
        if key in expected:
            return [expected[key]]
    if "word" in expected:
        return [Decimal(expected["word"])]
    if "value" in expected:
        return [Decimal(expected["value"])]
    return [None if one is None else Decimal(one) for one in expected.get("values", [])]


def test_the_vectors_are_all_there() -> None:
    """None is left out by what it expects."""
    assert len(ACCEPTED) + len(REJECTED) + len(STREAMS) == len(VECTORS) == 162
    assert len(ACCEPTED) == 149
    assert len(STREAMS) == 1


@pytest.mark.parametrize("vector", ACCEPTED, ids=lambda v: v["id"])
def test_a_good_frame_is_one_object(vector: dict[str, Any]) -> None:
    """Address, control, edition, identifier and data are those stated."""
    (found,) = explained(vector)
    assert found["ok"]
    assert found["address"] == vector["address"]
    assert found["control"] == vector["control"]
    assert same(found["data"], plain(vector))
    assert (MASK in found["data"]) == (vector["id"] in MASKED)
    assert found["direction"] == {"m2s": "request", "s2m": "reply"}[vector["direction"]]
    assert found["preamble"] == vector["preamble"]
    assert found["abnormal"] == ("err" in vector["expected"] or "serr" in vector["expected"])
    assert found["more"] == (vector["control"] in ("B1", "B2"))
    assert found["error"] == REFUSED.get(vector["id"])
    if vector["protocol"] in ("2007", "1997"):
        assert found["protocol"] == f"dlt645-{vector['protocol']}"
    if "di" in vector and not (vector["protocol"] == "1997" and found["error"]):
        assert found["identifier"] == vector["di"]
        assert found["di"] == (vector["di"] if len(vector["di"]) == 8 else None)


@pytest.mark.parametrize("vector", ACCEPTED, ids=lambda v: v["id"])
def test_the_values_are_those_stated(vector: dict[str, Any]) -> None:
    """Values to the digit with their unit, FF fill as no value, and nothing where nothing is."""
    (found,) = explained(vector)
    values = stated_values(vector)
    if vector["id"] in PARTS_ALONE or found["control"] not in ("81", "91", "B1"):
        values = []
    read = _text if any(key in vector["expected"] for key in TEXTS) else Decimal
    assert [read(one["value"]) for one in found["readings"]] == [v for v in values if v is not None]
    assert len(found["no_value"]) == values.count(None)
    if "unit" in vector["expected"]:
        unit = {"times": "1"}.get(vector["expected"]["unit"], vector["expected"]["unit"])
        assert {one["unit"] for one in found["readings"]} <= {unit}
    assert all(one["name"] and one["obis"] for one in found["readings"])


def _text(value: str) -> str:
    return value.replace("T", " ")


@pytest.mark.parametrize("vector", ACCEPTED, ids=lambda v: v["id"])
def test_the_details_are_those_stated(vector: dict[str, Any]) -> None:
    """Error bytes, parts, orders, times, rates and addresses."""
    (found,) = explained(vector)
    expected = vector["expected"]
    names = {"pa": "level", "operator": "operator", "n1": "n1", "n2": "n2", "expiry": "expiry"}
    names |= {"baud": "baud", "new_address": "new_address", "address": "address"}
    if "plaintext_host_order" in expected:
        names = {"pa": "level", "operator": "operator"}
    for key, name in names.items():
        if key in expected:
            assert found["details"][name] == expected[key]
    if found["control"] == "08":
        assert found["details"]["time"] == expected["datetime"]
    assert found["error_code"] == expected.get("err", expected.get("serr"))
    assert bool(found["error_bits"]) == found["abnormal"]
    if "seq" in expected:
        assert found["seq"] == expected["seq"]


@pytest.mark.parametrize("vector", REJECTED, ids=lambda v: v["id"])
def test_a_damaged_frame_is_named_for_its_fault(vector: dict[str, Any]) -> None:
    """One object that is not ok, with the reason stated and no reading."""
    (found,) = explained(vector)
    assert not found["ok"]
    assert found["error"] == vector["expect"].partition(":")[2]
    assert found["readings"] == []
    assert found["protocol"] == f"dlt645-{vector['protocol']}"


@pytest.mark.parametrize("vector", STREAMS, ids=lambda v: v["id"])
def test_a_stream_gives_its_frames(vector: dict[str, Any]) -> None:
    """The frames stated, in order, and no object for the noise between."""
    found = explained(vector)
    frames = vector["expected"]["frames"]
    assert [(one["address"], one["control"]) for one in found] == [
        (one["address"], one["control"]) for one in frames
    ]
    assert all(same(a["data"], plain(b)) for a, b in zip(found, frames, strict=True))
    assert all(one["ok"] for one in found)


def test_all_good_vectors_in_one_capture_are_all_found() -> None:
    """A good frame never hides the next one, whatever stands in it."""
    capture = b"".join(frame_of(vector["id"]) for vector in ACCEPTED)
    assert [one.address for one in explain(capture)] == [v["address"] for v in ACCEPTED]


def test_a_follow_up_answer_is_joined() -> None:
    """The last part carries the readings of all; the first one those of its complete items."""
    ids = ("v134", "v135", "v136", "v137", "v138", "v139")
    found = [one.to_json() for one in explain(b"".join(map(frame_of, ids)))]
    assert [len(one["readings"]) for one in found] == [0, 2, 0, 0, 0, 5]
    joined = next(v for v in VECTORS if v["id"] == "v139")["expected"]["joined_values"]
    assert [Decimal(one["value"]) for one in found[-1]["readings"]] == joined
    assert [one["seq"] for one in found] == [None, None, 1, 1, 2, 2]
    assert found[-1]["details"]["joined_parts"] == 3
