"""OBIS codes (IEC 62056-6-1): A-B:C.D.E*F, the key of every quantity, and their names in words."""

from collections import namedtuple

from protocols.errors import CallerError

_SEPARATORS = "-:..*"
CURRENT = 255  # value group F: not a billing period, the value of now

# Value group C of electricity (A = 1): the quantity, for D = 8 (time integral) and D = 7 (instant).
_TOTALS = {
    1: "active {} import",
    2: "active {} export",
    3: "reactive {} import",
    4: "reactive {} export",
    5: "reactive {} quadrant 1",
    6: "reactive {} quadrant 2",
    7: "reactive {} quadrant 3",
    8: "reactive {} quadrant 4",
    9: "apparent {} import",
    10: "apparent {} export",
    15: "active {} sum of both directions",
    16: "active {} net",
    131: "reactive {} net",
}
_INSTANTS = {11: "current", 12: "voltage", 13: "power factor", 14: "frequency", 81: "phase angle",
             90: "current, sum of phases", 91: "neutral current"}  # fmt: skip
_OWN_B, _OWN_ITEMS = 128, 72  # value group B: the range of a manufacturer's own codes
_PHASE_STEP = (
    20  # C of L1, L2, L3 = C of the total + 20, 40, 60; for the net reactive power 151, 171, 191
)
_ABSTRACT = {
    (0, 96, 1, 0): "communication address",
    (0, 96, 1, 1): "meter number",
    (0, 96, 3, 10): "status word 3 (bit 4 relay open, bit 6 disconnect commanded)",
    (0, 1, 0, 0): "meter clock",
    (1, 0, 9, 1): "meter time",
    (1, 0, 9, 2): "meter date",
    (0, 96, 7, 21): "power-down count",
    (0, 96, 20, 0): "meter cover opened count",
    (1, 0, 4, 2): "current transformer ratio",
    (1, 0, 4, 3): "voltage transformer ratio",
    (0, 96, 5, 0): "operating status (CJ/T 188: bits 0, 1 valve, bit 2 battery low)",
    (0, 96, 8, 0): "operating time",
}
# Media of EN 13757-1 beside electricity: A -> (medium, (C, D) -> quantity).
_HEAT = {(1, 0): "energy", (1, 2): "energy, set date", (2, 0): "volume", (2, 2): "volume, set date",
         (8, 0): "power", (9, 0): "flow rate", (10, 0): "flow temperature",
         (11, 0): "return temperature"}  # fmt: skip
_WATER = {(1, 0): "volume", (1, 2): "volume, set date", (2, 0): "flow rate"}
_MEDIA = {
    5: ("cooling", _HEAT),
    6: ("heat", _HEAT),
    7: ("gas", {(3, 0): "volume"}),
    8: ("cold water", _WATER),
    9: ("hot water", _WATER),
}


class Obis(namedtuple("Obis", ("a", "b", "c", "d", "e", "f"))):
    """One OBIS code; six numbers 0..255."""

    @classmethod
    def from_text(cls, text: str) -> "Obis":
        """Reads `1-0:1.8.0*255`, or `1-0:1.8.0` for the value of now; CallerError otherwise."""
        rest = text if "*" in text else text + "*255"
        numbers = []
        for separator in _SEPARATORS:
            head, found, rest = rest.partition(separator)
            numbers.append(head if found else "?")
        numbers.append(rest)
        for number in numbers:
            # Not isdigit(): that takes signs such as a superscript two, which int() refuses.
            is_number = 0 < len(number) <= 3 and all(digit in "0123456789" for digit in number)
            if not is_number or int(number) > 255:
                raise CallerError(repr(text) + " is not an OBIS code such as 1-0:1.8.0")
        return cls(*[int(number) for number in numbers])

    @classmethod
    def from_bytes(cls, data: bytes) -> "Obis":
        """Reads the six bytes of a COSEM logical name."""
        if len(data) != 6:
            raise CallerError("an OBIS code has six bytes")
        return cls(*data)

    def to_bytes(self) -> bytes:
        """The six bytes of a COSEM logical name."""
        return bytes(self)

    def text(self) -> str:
        """`1-0:1.8.0*255`."""
        return f"{self.a}-{self.b}:{self.c}.{self.d}.{self.e}*{self.f}"

    def name(self) -> str:
        """The quantity in words; the code itself when it has no name here."""
        if self.a == 1 and _OWN_B <= self.b < _OWN_B + _OWN_ITEMS:
            # Made by protocols.dlt645.identifiers.own_code, for what has no code of its own.
            identifier = self.to_bytes()[2:].hex().upper()
            return f"DL/T 645 identifier {identifier}, item {self.b - _OWN_B + 1}"
        abstract = _ABSTRACT.get((self.a, self.c, self.d, self.e))
        if abstract:
            return abstract
        found = self._electric_name() if self.a == 1 else self._media_name()
        return found or self.text()

    def _media_name(self) -> str:
        medium, names = _MEDIA.get(self.a, ("", {}))
        quantity = names.get((self.c, self.d))
        if quantity is None or self.e:
            return ""
        back = "" if self.f == CURRENT else f", settlement {self.f} back"
        return f"{medium} {quantity}{back}"

    def _electric_name(self) -> str:
        if self.d == 4 and self.c == 1 and not self.e:
            return "active power, present demand"
        if self.d not in (6, 7, 8) or (self.d == 7 and self.e):  # E of an instant: a harmonic
            return ""
        total, phase = _split_phase(self.c)
        word = {6: "power, maximum demand", 7: "power", 8: "energy"}[self.d]
        if total in _TOTALS:
            name = _TOTALS[total].replace("{}", word)
        elif total in _INSTANTS and self.d == 7:
            name = _INSTANTS[total]
        else:
            return ""
        if phase:
            name += f" L{phase}"
        if self.e:
            name += f", rate {self.e}"
        if self.f != CURRENT:
            name += f", settlement {self.f} back"
        return name


def _split_phase(c: int) -> tuple:
    """C as (C of the total, phase 0..3)."""
    if c in _TOTALS or c in _INSTANTS:
        return c, 0
    if c in (151, 171, 191):
        return 131, (c - 131) // _PHASE_STEP
    for phase in (1, 2, 3):
        if 0 < c - phase * _PHASE_STEP <= _PHASE_STEP:
            return c - phase * _PHASE_STEP, phase
    return c, 0
