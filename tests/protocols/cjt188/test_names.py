"""protocols/obis.py: the names of heat, gas and water quantities."""

import pytest

from protocols.obis import Obis


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("5-0:1.0.0", "cooling energy"),
        ("6-0:1.0.0", "heat energy"),
        ("6-0:1.2.0", "heat energy, set date"),
        ("6-0:2.0.0", "heat volume"),
        ("6-0:2.2.0", "heat volume, set date"),
        ("6-0:8.0.0", "heat power"),
        ("6-0:9.0.0", "heat flow rate"),
        ("6-0:10.0.0", "heat flow temperature"),
        ("6-0:11.0.0", "heat return temperature"),
        ("7-0:3.0.0", "gas volume"),
        ("7-0:3.0.0*1", "gas volume, settlement 1 back"),
        ("8-0:1.0.0", "cold water volume"),
        ("8-0:1.2.0", "cold water volume, set date"),
        ("8-0:2.0.0", "cold water flow rate"),
        ("9-0:1.0.0", "hot water volume"),
        ("0-0:96.8.0", "operating time"),
        ("0-0:96.5.0", "operating status (CJ/T 188: bits 0, 1 valve, bit 2 battery low)"),
    ],
)
def test_a_quantity_has_a_name_in_words(text: str, name: str) -> None:
    """What a person reads beside the value."""
    assert Obis.from_text(text).name() == name


@pytest.mark.parametrize(
    "text",
    [
        "6-0:1.0.1", "6-0:3.0.0", "7-0:3.2.0", "7-0:1.0.0", "8-0:1.8.0", "8-0:3.0.0", "4-0:1.0.0",
        "10-0:1.0.0", "6-0:1.8.0",
    ],
)  # fmt: skip
def test_a_code_without_a_name_shows_itself(text: str) -> None:
    """A wrong name would be worse than the code."""
    assert Obis.from_text(text).name() == text + "*255"


def test_names_differ() -> None:
    """Two codes of one value group F never share a name."""
    codes = [Obis(a, 0, c, d, 0, 255) for a in range(4, 11) for c in range(13) for d in range(4)]
    assert len({code.name() for code in codes}) == len(codes)
