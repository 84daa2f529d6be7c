"""protocols/cjt188/settings.py: how a person says what a meter is."""

from typing import Any

import pytest

from protocols.cjt188.dialect import COOLING, FIRST_ENERGIES, METER_TYPES, Dialect
from protocols.cjt188.settings import RULES, read_dialect
from protocols.cjt188.values import layout_of
from protocols.errors import SettingError
from protocols.settings import read_table

GOOD: dict[str, Any] = {"address": "00201510270588", "meter_type": "cold-water"}


def read(**changes: object) -> Dialect:
    """The dialect of the good table with some values changed."""
    return read_dialect(read_table(GOOD | changes, RULES, "meter"), "meter")


def test_the_defaults_are_what_most_captured_meters_do() -> None:
    """High byte first, unit behind the value, settlement energy first."""
    found = read()
    assert type(found) is Dialect
    assert found == (0x10, "901F", "after", "settlement")


@pytest.mark.parametrize("name", METER_TYPES)
@pytest.mark.parametrize("first", FIRST_ENERGIES)
def test_every_dialect_that_is_read_has_a_layout(name: str, first: str) -> None:
    """And what has none is refused: only a heat meter counts cooling first."""
    if first == COOLING and name != "heat":
        with pytest.raises(SettingError, match="it must be that of meter_type 'heat'"):
            read(meter_type=name, first_energy=first)
        return
    assert layout_of(read(meter_type=name, first_energy=first))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("address", "0020151027058"),
        ("address", "AAAAAAAAAAAAAA"),
        ("meter_type", "16"),
        ("di_order", "901f"),
        ("unit_position", "behind"),
        ("first_energy", ""),
    ],
)
def test_a_wrong_value_gets_one_sentence(key: str, value: str) -> None:
    """With the key, the value and what is allowed."""
    with pytest.raises(SettingError) as caught:
        read(**{key: value})
    assert str(caught.value).startswith(f"meter: {key} = {value!r} is not allowed; it must be")
