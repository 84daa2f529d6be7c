"""protocols/quantity.py: exact decimals, and sums of one unit and kind only."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import CallerError
from protocols.quantity import (
    KIND_BY_NAME,
    KIND_NAMES,
    SCALER_MAX,
    UNITS,
    VALUE_MAX,
    Kind,
    Quantity,
    decimal_text,
)

VALUES = st.integers(-(10**18), 10**18)
SCALERS = st.integers(-18, 18)
ADDING = (Kind.CUMULATIVE, Kind.INTERVAL, Kind.INSTANTANEOUS, Kind.MAXIMUM)


@given(VALUES, SCALERS)
def test_decimal_text_is_exact(value: int, scaler: int) -> None:
    """The same number that decimal arithmetic gives, in plain digits."""
    text = decimal_text(value, scaler)
    assert Decimal(text) == Decimal(value).scaleb(scaler)
    assert text == f"{Decimal(value).scaleb(scaler):f}"
    assert len(text.partition(".")[2]) == max(-scaler, 0)
    assert set(text) <= set("-.0123456789")


@pytest.mark.parametrize(
    ("value", "scaler", "text"),
    [
        (26, -2, "0.26"),
        (-26, -2, "-0.26"),
        (5, -3, "0.005"),
        (-5, -1, "-0.5"),
        (0, -2, "0.00"),
        (0, 0, "0"),
        (0, 3, "0"),
        (12345678, -2, "123456.78"),
        (100, -2, "1.00"),
        (26, 1, "260"),
        (-26, 1, "-260"),
        (7, 0, "7"),
    ],
)
def test_decimal_text_keeps_the_digits_that_the_meter_gave(
    value: int, scaler: int, text: str
) -> None:
    """123456.78 stays 123456.78, and 1.00 does not become 1."""
    assert decimal_text(value, scaler) == text


@given(VALUES, SCALERS, VALUES, SCALERS, st.sampled_from(ADDING), st.sampled_from(UNITS))
def test_quantities_of_one_unit_and_kind_add_up(
    a: int, scaler_a: int, b: int, scaler_b: int, kind: int, unit: str
) -> None:
    """Exactly, at the finer of the two scales."""
    total = Quantity(a, scaler_a, unit, kind) + Quantity(b, scaler_b, unit, kind)
    assert type(total) is Quantity
    exact = Fraction(a) * Fraction(10) ** scaler_a + Fraction(b) * Fraction(10) ** scaler_b
    assert Fraction(total.value) * Fraction(10) ** total.scaler == exact
    assert (total.scaler, total.unit, total.kind) == (min(scaler_a, scaler_b), unit, kind)


ENERGY = Quantity(26, 1, "Wh", Kind.CUMULATIVE)


@pytest.mark.parametrize(
    "other",
    [
        Quantity(26, 1, "varh", Kind.CUMULATIVE),
        Quantity(26, 1, "Wh", Kind.INTERVAL),
        Quantity(26, 1, "Wh", Kind.MAXIMUM),
        Quantity("x", 0, "", Kind.TEXT),
        (26, 1, "Wh", Kind.CUMULATIVE),
        26,
        None,
    ],
)
def test_different_units_or_kinds_do_not_add_up(other: object) -> None:
    """A mistake of ours, not a number: a tuple of the same fields is no quantity either."""
    with pytest.raises(CallerError, match="one unit and kind"):
        ENERGY + other


@pytest.mark.parametrize(
    "one", [Quantity(80, 0, "", Kind.STATUS), Quantity("2026-11-21", 0, "", Kind.TEXT)]
)
def test_status_and_text_do_not_add_up(one: Quantity) -> None:
    """Bits and words have no sum."""
    with pytest.raises(CallerError, match="status and text"):
        one + one


@pytest.mark.parametrize(
    ("quantity", "shown"),
    [
        (Quantity(26, 1, "Wh", Kind.CUMULATIVE), ("0.26", "kWh")),
        (Quantity(-1234, 1, "varh", Kind.CUMULATIVE), ("-12.34", "kvarh")),
        (Quantity(5, 3, "VAh", Kind.CUMULATIVE), ("5", "kVAh")),
        (Quantity(5, 4, "Wh", Kind.CUMULATIVE), ("50", "kWh")),
        (Quantity(2512, -1, "W", Kind.INSTANTANEOUS), ("0.2512", "kW")),
        (Quantity(1, -1, "var", Kind.INSTANTANEOUS), ("0.0001", "kvar")),
        (Quantity(1, 0, "VA", Kind.INSTANTANEOUS), ("0.001", "kVA")),
        (Quantity(2301, -1, "V", Kind.INSTANTANEOUS), ("230.1", "V")),
        (Quantity(-1234, -3, "A", Kind.INSTANTANEOUS), ("-1.234", "A")),
        (Quantity(5003, -2, "Hz", Kind.INSTANTANEOUS), ("50.03", "Hz")),
        (Quantity(997, -3, "1", Kind.INSTANTANEOUS), ("0.997", "1")),
        (Quantity(80, 0, "", Kind.STATUS), ("80", "")),
        (Quantity("002241020208", 0, "", Kind.TEXT), ("002241020208", "")),
    ],
)
def test_people_see_thousands_of_energy_and_power(
    quantity: Quantity, shown: tuple[str, str]
) -> None:
    """kWh and kW, volts and amperes, each with the meter's own digits."""
    assert quantity.shown() == shown


@given(VALUES, SCALERS, st.sampled_from(UNITS))
def test_what_is_shown_is_the_value(value: int, scaler: int, unit: str) -> None:
    """The shown unit and the shown number together are the quantity."""
    text, shown = Quantity(value, scaler, unit, Kind.CUMULATIVE).shown()
    power = 3 if shown != unit else 0
    assert shown in (unit, "k" + unit)
    assert Decimal(text).scaleb(power) == Decimal(value).scaleb(scaler)


def test_kinds_and_their_names_belong_together() -> None:
    """The number on the wire and the word in a file are one table."""
    codes = {name.lower(): code for name, code in vars(Kind).items() if name.isupper()}
    assert codes == KIND_BY_NAME
    assert codes == {
        "cumulative": 1, "interval": 2, "instantaneous": 3, "maximum": 4, "status": 5, "text": 6,
    }  # fmt: skip
    assert {code: name for name, code in codes.items()} == KIND_NAMES
    assert len(set(UNITS)) == len(UNITS)


def test_the_limits_fit_into_63_bits() -> None:
    """A difference of two values is what SQLite and a batch still hold."""
    assert 2 * (VALUE_MAX - 1) < 1 << 63
    assert (VALUE_MAX, SCALER_MAX) == (1 << 62, 18)
