"""The notation of the catalog: which identifiers a row stands for, and what its layout says.

`catalog/__init__.py` explains the notation; nothing here knows a single identifier.
"""

from collections import namedtuple

from protocols.errors import CallerError
from protocols.obis import CURRENT, Obis
from protocols.quantity import Kind

UNSIGNED = "u"
SIGNED = "s"  # the sign is the top bit of the highest byte
DIGITS = "digits"
BITS = "bits"
ASCII = "ascii"
HEX = "hex"
WRITE_ONLY = "write only"  # digits of a password: never read, never shown
IDENTIFIER = "di"
# Every other form is a time, written as its digits are read: "YYMMDDhhmm".

ALL = 0xFF  # an identifier byte that means "every one in this place"
PHASE_STEP = 20  # between the OBIS value groups C of total, L1, L2 and L3
UNKNOWN_LAYOUT = "?"
EXACTLY = "+"
AS_MANY = "*"
AT_LEAST = "~"

_THOUSANDS = {"kWh": "Wh", "kvarh": "varh", "kVAh": "VAh", "kW": "W", "kvar": "var", "kVA": "VA"}
_WORDS = {"DIGITS": DIGITS, "BITS": BITS, "ASCII": ASCII, "HEX": HEX,
          "SECRET": WRITE_ONLY}  # fmt: skip
_KINDS = {"c": Kind.CUMULATIVE, "x": Kind.MAXIMUM, "i": Kind.INSTANTANEOUS, "-": Kind.TEXT}


class Field(namedtuple("Field", ("label", "form", "size", "scaler", "unit"))):
    """One value of a layout: `size` bytes in `form`, value x 10^scaler unit."""


class Row(namedtuple("Row", ("places", "access", "sources", "kind", "layout", "obis", "name"))):
    """One line of a table; `places` are its identifier bytes, highest first, as written."""

    @property
    def is_captured(self) -> bool:
        """Whether a captured reply was decoded with this layout."""
        return self.sources[-1] == "c"

    @property
    def source_count(self) -> int:
        """Independent public sources that know the identifier; 0: it follows from the pattern."""
        return int(self.sources.rstrip("c"))

    def values(self, place: int) -> list:
        """The bytes that may stand in a place, without the block."""
        text = self.places[place].rstrip(EXACTLY + AS_MANY + AT_LEAST)
        if "/" in text:
            return [int(one, 16) for one in text.split("/")]
        return list(range(int(text[:2], 16), int(text[-2:], 16) + 1))

    def block_mark(self, place: int) -> str:
        """How a block in this place is meant; "" where none is allowed."""
        mark = self.places[place][-1]
        return mark if mark in (EXACTLY, AS_MANY, AT_LEAST) else ""

    def block_place(self, code: bytes) -> int:
        """The place where `code` (highest byte first) asks for all; -1: it asks for one; -2: this
        row does not have it."""
        block = -1
        for place, byte in enumerate(code):
            text = self.places[place]
            if not _holds(text, byte):
                if byte != _all_of(text, len(code)) or block >= 0 or not self.block_mark(place):
                    return -2
                block = place
        return block

    def kind_code(self) -> int:
        """The Kind of its numbers."""
        return _KINDS[self.kind]

    def filled(self, template: str, code: bytes) -> str:
        """`template` (OBIS or name) for the identifier `code`, highest byte first."""
        out = ""
        while template:
            head, found, rest = template.partition("{")
            out += head
            if not found:
                break
            inside, _, template = rest.partition("}")
            out += self._placed(inside, code)
        return out

    def _placed(self, inside: str, code: bytes) -> str:
        place = len(code) - 1 - int(inside[1])
        byte, letter = code[place], inside[0]
        if letter == "w":
            return inside[2:].split("/")[self.values(place).index(byte)]
        offset = int(inside[2:] or "0")
        if letter == "n":
            return str(byte + offset)
        if letter == "p":
            phase = self._phase(place, byte)
            if len(inside) > 2:
                return str(offset + PHASE_STEP * phase)
            return (" phase " + "ABC"[phase - 1]) if phase else ""
        rank = self.values(place).index(byte)
        if letter == "T":
            return str(rank)
        if letter == "F":
            return str(rank or CURRENT)
        if not rank:
            return ""
        return f", tariff {rank}" if letter == "t" else f", settlement {rank} back"

    def _phase(self, place: int, byte: int) -> int:
        """1 to 3 for A to C, 0 for the total: a rank among alternatives, or the low digit."""
        if "/" in self.places[place]:
            return self.values(place).index(byte) + 1
        return byte & 0x0F

    def solved(self, obis: Obis) -> bytes:
        """The identifier of this row whose first item is `obis`, highest byte first; b"" for
        none."""
        if not self.obis:
            return b""
        code = bytearray([self.values(place)[0] for place in range(len(self.places))])
        rest = self.obis if "*" in self.obis else self.obis + f"*{CURRENT}"
        for number, separator in zip(obis, "-:..*\n"):
            token, _, rest = rest.partition(separator)
            if token[0] == "{":
                place = len(code) - 1 - int(token[2])
                values = self.values(place)
                rank = self._rank_for(place, token, number)
                if not 0 <= rank < len(values):
                    return b""
                code[place] = values[rank]
            elif int(token) != number:
                return b""
        return bytes(code)

    def _rank_for(self, place: int, token: str, number: int) -> int:
        """Which of the place's values makes the placeholder `token` show `number`; else -1."""
        if token[1] == "T":
            return number
        if token[1] == "F":
            return 0 if number == CURRENT else number or -1
        phase, odd = divmod(number - int(token[3:-1]), PHASE_STEP)
        if odd or not 0 <= phase <= 3:
            return -1
        first = 1 if "/" in self.places[place] else self.values(place)[0] & 0x0F
        return phase - first


def _holds(text: str, byte: int) -> bool:
    """Whether a place as written has `byte`, without building its list: this is the search."""
    text = text.rstrip(EXACTLY + AS_MANY + AT_LEAST)
    if "/" in text:
        return f"{byte:02X}" in text.split("/")
    return int(text[:2], 16) <= byte <= int(text[-2:], 16)


def _all_of(text: str, size: int) -> int:
    """The byte that asks for all of a place: FF, in edition 1997 F in the low digit."""
    return ALL if size > 2 else int(text[:2], 16) | 0x0F


def rows_of(table: str):  # type: ignore[no-untyped-def]
    """The rows of a text table, one at a time: on a board the text stays in flash, and its rows
    together would not fit into the memory."""
    at = 0
    while at < len(table):
        end = table.find("\n", at)
        end = len(table) if end < 0 else end
        if end > at:
            yield _row(table[at:end])
        at = end + 1


def _row(line: str) -> Row:
    code, access, sources, kind, layout, obis, name = line.split(None, 6)
    return Row(code.split("."), access, sources, kind, layout, "" if obis == "-" else obis, name)


def fields_of(layout: str, named: dict) -> tuple:
    """(fields, whether they repeat as long as the reply holds) of a layout; no fields for an
    unknown one. CallerError when the layout is not written as it should be."""
    if layout == UNKNOWN_LAYOUT:
        return (), False
    repeats = layout[-1] == AS_MANY
    layout = layout.rstrip(AS_MANY)
    if layout[0] == "@":
        layout = named[layout[1:]]
    fields: list = []
    for part in _parts(layout):
        fields.extend(_fields(part))
    return tuple(fields), repeats


def _parts(layout: str) -> list:
    """The layout cut at its outer commas."""
    parts = [""]
    depth = 0
    for character in layout:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _fields(part: str) -> list:
    if part[0] == "(":
        inside, _, count = part[1:].rpartition(")x")
        once: list = []
        for one in _parts(inside):
            once.extend(_fields(one))
        return once * int(count)
    label, found, rest = part.rpartition("=")
    form, _, unit = rest.partition(":")
    return [_field(label if found else "", form, unit)]


def _field(label: str, form: str, unit: str) -> Field:
    if form == "DI":
        return Field(label, IDENTIFIER, 4, 0, "")
    for word, code in _WORDS.items():
        if form.startswith(word):
            return Field(label, code, int(form[len(word) :]), 0, "")
    digits = form.lstrip("s")
    whole, _, decimals = digits.partition(".")
    number = whole + decimals
    if len(number) % 2:
        raise CallerError(repr(form) + " does not fill whole bytes")
    if number.strip("N"):  # a time: some letters are not N
        return Field(label, form, len(form) // 2, 0, "")
    base = _THOUSANDS.get(unit, unit)
    scaler = (3 if base != unit else 0) - len(decimals)
    sign = SIGNED if form[0] == "s" else UNSIGNED
    return Field(label, sign, len(number) // 2, scaler, base or "1")
