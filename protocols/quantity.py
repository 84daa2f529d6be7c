"""A value carries its unit, scale and kind: value x 10^scaler unit, all integers.

`Quantity(26, 1, "Wh", Kind.CUMULATIVE)` is 260 Wh, shown as 0.26 kWh. No float ever holds a
reading: float32 turns 123456.78 into 123456.8.
"""

from collections import namedtuple

from protocols.errors import CallerError

# How people in the field write a base unit: (shown unit, power of ten between them).
_SHOWN = {
    "Wh": ("kWh", 3),
    "varh": ("kvarh", 3),
    "VAh": ("kVAh", 3),
    "W": ("kW", 3),
    "var": ("kvar", 3),
    "VA": ("kVA", 3),
}
VALUE_MAX = 1 << 62  # values stay below it either way: a sum of two still fits into 63 bits
SCALER_MAX = 18
UNITS = tuple(
    "Wh varh VAh W var VA V A Hz deg degC % 1".split()
    + [""]
    + "s ms min h Ah CNY CNY/kWh imp/kWh imp/kvarh m3 m3/h J".split()
)


class Kind:
    """What a value is over time (IEC 61968-9 calls it the accumulation of a reading type)."""

    CUMULATIVE = 1  # only grows: a register
    INTERVAL = 2  # belongs to a period
    INSTANTANEOUS = 3
    MAXIMUM = 4
    STATUS = 5  # bits in an integer, never added or averaged
    TEXT = 6  # digits or a meter clock: the value is a str


KIND_NAMES = {
    1: "cumulative",
    2: "interval",
    3: "instantaneous",
    4: "maximum",
    5: "status",
    6: "text",
}
KIND_BY_NAME = {name: code for code, name in KIND_NAMES.items()}


def decimal_text(value: int, scaler: int) -> str:
    """The exact decimal of value x 10^scaler, with the digits that the meter gave: (26, -2) is
    0.26."""
    if scaler >= 0:
        return str(value * 10**scaler)
    digits = str(abs(value))
    places = -scaler
    if len(digits) <= places:
        digits = "0" * (places + 1 - len(digits)) + digits
    return ("-" if value < 0 else "") + digits[:-places] + "." + digits[-places:]


class Quantity(namedtuple("Quantity", ("value", "scaler", "unit", "kind"))):
    """value x 10^scaler `unit` (COSEM's scaler and unit); a text kind has a str and scaler 0."""

    def __add__(self, other):  # type: ignore[no-untyped-def]
        """The sum of two quantities of one kind and unit; anything else is a programmer's error."""
        if not isinstance(other, Quantity) or (self.unit, self.kind) != (other.unit, other.kind):
            raise CallerError("only quantities of one unit and kind add up")
        if self.kind in (Kind.STATUS, Kind.TEXT):
            raise CallerError("status and text do not add up")
        scaler = min(self.scaler, other.scaler)
        total = self.value * 10 ** (self.scaler - scaler) + other.value * 10 ** (
            other.scaler - scaler
        )
        return Quantity(total, scaler, self.unit, self.kind)

    def shown(self) -> tuple:
        """(decimal text, unit) as people write it: energies and powers in thousands."""
        if self.kind == Kind.TEXT:
            return self.value, ""
        unit, thousands = _SHOWN.get(self.unit, (self.unit, 0))
        return decimal_text(self.value, self.scaler - thousands), unit
