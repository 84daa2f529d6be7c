"""Data identifiers: what one holds, how long, in which unit, under which OBIS.

The catalog's text tables say it; here is the look-up, both ways. What was looked up is remembered,
because a gateway asks for the same few hundred identifiers again and again. Those of edition 1997
are here too: they have two bytes.

An OBIS code holds under the usual composition words (04000601..03); a meter set otherwise keeps the
code and changes its meaning. What has no code of its own gets one of the manufacturer's range
(IEC 62056-6-1, value group B 128 to 199): `1-128:4.0.16*1` is the first item of 04001001.
"""

from collections import namedtuple

from protocols.dlt645.catalog import energy, events, freezes
from protocols.dlt645.catalog.edition_1997 import IDENTIFIERS
from protocols.dlt645.catalog.variables import PARAMETERS, VARIABLES
from protocols.dlt645.rows import (
    AS_MANY,
    AT_LEAST,
    BITS,
    HEX,
    SIGNED,
    UNSIGNED,
    Row,
    fields_of,
    rows_of,
)
from protocols.errors import CallerError
from protocols.obis import Obis
from protocols.quantity import Kind

DATE = "YYMMDDWW"
TIME = "hhmmss"
CLOCK = "YYMMDDWWhhmmss"

TARIFF_MAX = 63
OWN_CODE_B = 128  # first value group B of the manufacturer's codes; the item's number is added
OWN_CODE_ITEMS_MAX = 72
_SURPLUS_MAX = 32  # bytes kept raw behind a block that may be longer than it should
_CACHE_SIZE_MAX = 512  # identifiers remembered; hostile captures must not grow it without end

EDITION_2007 = 2007
EDITION_1997 = 1997

# By the highest byte of the identifier; those of 1997, two bytes, are one table.
_TABLES = {
    0x00: energy.ENERGY,
    0x01: energy.DEMAND,
    0x02: VARIABLES,
    0x03: events.EVENTS,
    0x04: PARAMETERS,
    0x05: freezes.FREEZES,
    0x06: freezes.LOADS,
    EDITION_1997: IDENTIFIERS,
}
for _class in range(0x10, 0x20):
    _TABLES[_class] = events.AMENDED
_LAYOUTS = {}
for _one in (energy.LAYOUTS, events.LAYOUTS, freezes.LAYOUTS):
    _LAYOUTS.update(_one)
_OWN_CODE_1997 = b"\x19\x97"  # stands where 2007 has its two highest bytes
_layouts: dict = {}
_cache: dict = {}


class Item(namedtuple("Item", ("obis", "form", "size", "scaler", "unit", "kind", "name"))):
    """One value of an identifier: `size` bytes in `form`, value x 10^scaler unit."""


class Entry(namedtuple("Entry", ("name", "access", "sources", "is_captured", "is_known"))):
    """What the catalog says of an identifier as a whole: `access` R, W or RW, in how many public
    sources it is known (0: it follows from the pattern), whether a captured reply was decoded so,
    and whether the layout of its data is known."""


def identifier_bytes(di: str) -> bytes:
    """Wire form (DI0 first) of an identifier such as "00010000", or "9010" of 1997; CallerError
    when it is none."""
    if len(di) not in (4, 8) or any(digit not in "0123456789ABCDEFabcdef" for digit in di):
        raise CallerError(repr(di) + " is not a data identifier of 8 hex digits, or 4 of 1997")
    return bytes(reversed(bytes.fromhex(di)))


def identifier_text(wire: bytes, size: int = 4) -> str:
    """The identifier as printed, DI3 first."""
    return bytes(reversed(bytes(wire[:size]))).hex().upper()


def items_of(di: bytes, size: int) -> tuple:
    """The items that `size` payload bytes of the identifier `di` (wire order) hold, in their order.

    Empty for an identifier that is not in the catalog, or whose layout nobody tells. Of a block
    that a meter fills as far as it goes (tariffs, say) the number of items follows from the size.
    """
    key = (bytes(di), size)
    found = _cache.get(key)
    if found is None:
        found = _find_items(bytes(reversed(key[0])), size)
        if found and len(_cache) < _CACHE_SIZE_MAX:
            _cache[key] = found
    return found


def entry_of(di: bytes) -> "Entry | None":
    """What the catalog says of the identifier `di` (wire order) as a whole; None: not in it."""
    code = bytes(reversed(di))
    row, block = _find(code)
    if row is None:
        return None
    if block >= 0:
        first = bytearray(code)
        first[block] = row.values(block)[0]
        name = row.filled(row.name, bytes(first)) + " and the following"
    else:
        name = row.filled(row.name, code)
    is_known = bool(_layout(row)[0])
    return Entry(name, row.access, row.source_count, row.is_captured, is_known)


def identifier_of(obis: Obis, edition: int = EDITION_2007) -> str:
    """The identifier that reads `obis` from a meter of `edition`, or "" when the catalog has
    none."""
    if obis.a == 1 and OWN_CODE_B <= obis.b < OWN_CODE_B + OWN_CODE_ITEMS_MAX:
        code = bytes((obis.c, obis.d, obis.e, obis.f))
        if edition == EDITION_1997:
            code = code[2:] if code[:2] == _OWN_CODE_1997 else b""
        row, block = _find(code)
        is_there = row is not None and block < 0 and obis.b - OWN_CODE_B < _item_count(row)
        if is_there and obis.b == OWN_CODE_B and row.obis:
            is_there = False  # the first item has a standard code, and goes by it
        return code.hex().upper() if is_there else ""
    for table in sorted(_TABLES):
        if (table == EDITION_1997) == (edition == EDITION_1997):
            for row in rows_of(_TABLES[table]):
                code = row.solved(obis)
                if code:
                    return code.hex().upper()
    return ""


def own_code(code: bytes, index: int) -> Obis:
    """The manufacturer's OBIS of item `index` of the identifier `code`, highest byte first."""
    c, d, e, f = code if len(code) == 4 else _OWN_CODE_1997 + code
    return Obis(1, OWN_CODE_B + index, c, d, e, f)


def _find(code: bytes) -> tuple:
    """(row, place of the block or -1) of an identifier, highest byte first; (None, -1): unknown."""
    if len(code) in (2, 4):
        table = code[0] if len(code) == 4 else EDITION_1997
        for row in rows_of(_TABLES.get(table, "")):
            block = row.block_place(code)
            if block > -2:
                return row, block
    return None, -1


def _layout(row: Row) -> tuple:
    """(fields, whether they repeat) of a row."""
    found = _layouts.get(row.layout)
    if found is None:
        found = _layouts[row.layout] = fields_of(row.layout, _LAYOUTS)
    return found


def _item_count(row: Row) -> int:
    """Items of one identifier of this row, at most."""
    fields, repeats = _layout(row)
    return OWN_CODE_ITEMS_MAX if repeats and fields else len(fields)


def _find_items(code: bytes, size: int) -> tuple:
    row, block = _find(code)
    if row is None:
        return ()
    if block < 0:
        return _single(row, code, size)
    members = row.values(block)
    mark = row.block_mark(block)
    items: list = []
    for member in members:
        one = bytearray(code)
        one[block] = member
        found = _single(_find(bytes(one))[0], bytes(one), 0)
        due = sum([item.size for item in found])
        # At least the first, so that a block cut short is of a wrong length, not unknown.
        if mark == AS_MANY and items and size < due:
            break
        items.extend(found)
        size -= due
    if mark == AT_LEAST and 0 < size <= _SURPLUS_MAX:
        name = "what follows the block"
        items.append(Item(own_code(code, 0), HEX, size, 0, "", Kind.TEXT, name))
    return tuple(items)


def _single(row: Row, code: bytes, size: int) -> tuple:
    """The items of one identifier, none of whose bytes asks for all."""
    fields, repeats = _layout(row)
    if not fields:
        return ()
    name = row.filled(row.name, code)
    rounds = 1
    if repeats:
        rounds = size // sum([field.size for field in fields])
        rounds = max(1, min(rounds, OWN_CODE_ITEMS_MAX // len(fields)))
    items: list = []
    for turn in range(rounds):
        for field in fields:
            label = name + (": " + field.label if field.label else "")
            if rounds > 1:
                label += f" {turn + 1}"
            obis = own_code(code, len(items))
            if row.obis and not items:
                obis = Obis.from_text(row.filled(row.obis, code))
            items.append(Item(obis, field.form, field.size, field.scaler, field.unit,
                              _kind(row, field.form), label))  # fmt: skip
    return tuple(items)


def _kind(row: Row, form: str) -> int:
    if form in (UNSIGNED, SIGNED):
        return row.kind_code()
    return Kind.STATUS if form == BITS else Kind.TEXT
