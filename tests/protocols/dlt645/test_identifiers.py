"""protocols/dlt645/identifiers.py: what an identifier holds, and which identifier reads an OBIS."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645 import identifiers
from protocols.dlt645.exchange import identifier_bytes
from protocols.dlt645.identifiers import TARIFF_MAX, Item, identifier_of, items_of
from protocols.obis import CURRENT, Obis
from protocols.quantity import UNITS, Kind

# Identifier, payload bytes, OBIS codes, bytes each, signed, scaler, unit: the plain cases of the
# tables that public meter sources agree on, written out here once more.
TABLE = [
    ("00000000", 4, "16.8.0", 4, True, 1, "Wh"),
    ("00010000", 4, "1.8.0", 4, False, 1, "Wh"),
    ("00010100", 4, "1.8.1", 4, False, 1, "Wh"),
    ("00010200", 4, "1.8.2", 4, False, 1, "Wh"),
    ("00010300", 4, "1.8.3", 4, False, 1, "Wh"),
    ("00010400", 4, "1.8.4", 4, False, 1, "Wh"),
    ("00013F00", 4, "1.8.63", 4, False, 1, "Wh"),
    ("0001FF00", 20, "1.8.0 1.8.1 1.8.2 1.8.3 1.8.4", 4, False, 1, "Wh"),
    ("00020000", 4, "2.8.0", 4, False, 1, "Wh"),
    ("00020100", 4, "2.8.1", 4, False, 1, "Wh"),
    ("0002FF00", 12, "2.8.0 2.8.1 2.8.2", 4, False, 1, "Wh"),
    ("00030000", 4, "3.8.0", 4, True, 1, "varh"),
    ("00040000", 4, "4.8.0", 4, True, 1, "varh"),
    ("00050000", 4, "5.8.0", 4, False, 1, "varh"),
    ("00060000", 4, "6.8.0", 4, False, 1, "varh"),
    ("00070000", 4, "7.8.0", 4, False, 1, "varh"),
    ("00080000", 4, "8.8.0", 4, False, 1, "varh"),
    ("00090000", 4, "9.8.0", 4, False, 1, "VAh"),
    ("000A0000", 4, "10.8.0", 4, False, 1, "VAh"),
    ("00150000", 4, "21.8.0", 4, False, 1, "Wh"),
    ("00160000", 4, "22.8.0", 4, False, 1, "Wh"),
    ("00290000", 4, "41.8.0", 4, False, 1, "Wh"),
    ("002A0000", 4, "42.8.0", 4, False, 1, "Wh"),
    ("003D0000", 4, "61.8.0", 4, False, 1, "Wh"),
    ("003E0000", 4, "62.8.0", 4, False, 1, "Wh"),
    ("02010100", 2, "32.7.0", 2, False, -1, "V"),
    ("02010200", 2, "52.7.0", 2, False, -1, "V"),
    ("02010300", 2, "72.7.0", 2, False, -1, "V"),
    ("0201FF00", 6, "32.7.0 52.7.0 72.7.0", 2, False, -1, "V"),
    ("02020100", 3, "31.7.0", 3, True, -3, "A"),
    ("02020200", 3, "51.7.0", 3, True, -3, "A"),
    ("02020300", 3, "71.7.0", 3, True, -3, "A"),
    ("0202FF00", 9, "31.7.0 51.7.0 71.7.0", 3, True, -3, "A"),
    ("02030000", 3, "16.7.0", 3, True, -1, "W"),
    ("02030100", 3, "36.7.0", 3, True, -1, "W"),
    ("02030200", 3, "56.7.0", 3, True, -1, "W"),
    ("02030300", 3, "76.7.0", 3, True, -1, "W"),
    ("0203FF00", 12, "16.7.0 36.7.0 56.7.0 76.7.0", 3, True, -1, "W"),
    ("02040000", 3, "131.7.0", 3, True, -1, "var"),
    ("02040100", 3, "151.7.0", 3, True, -1, "var"),
    ("02040200", 3, "171.7.0", 3, True, -1, "var"),
    ("02040300", 3, "191.7.0", 3, True, -1, "var"),
    ("0204FF00", 12, "131.7.0 151.7.0 171.7.0 191.7.0", 3, True, -1, "var"),
    ("02050000", 3, "9.7.0", 3, True, -1, "VA"),
    ("02050100", 3, "29.7.0", 3, True, -1, "VA"),
    ("02050200", 3, "49.7.0", 3, True, -1, "VA"),
    ("02050300", 3, "69.7.0", 3, True, -1, "VA"),
    ("02060000", 2, "13.7.0", 2, True, -3, "1"),
    ("02060100", 2, "33.7.0", 2, True, -3, "1"),
    ("02060200", 2, "53.7.0", 2, True, -3, "1"),
    ("02060300", 2, "73.7.0", 2, True, -3, "1"),
    ("0206FF00", 8, "13.7.0 33.7.0 53.7.0 73.7.0", 2, True, -3, "1"),
    ("02800001", 3, "91.7.0", 3, True, -3, "A"),
    ("02800002", 2, "14.7.0", 2, False, -2, "Hz"),
]
OTHERS = [
    ("04000101", "1-0:0.9.2", "date", 4, Kind.TEXT),
    ("04000102", "1-0:0.9.1", "time", 3, Kind.TEXT),
    ("0400010C", "0-0:1.0.0", "clock", 7, Kind.TEXT),
    ("04000401", "0-0:96.1.0", "digits", 6, Kind.TEXT),
    ("04000402", "0-0:96.1.1", "digits", 6, Kind.TEXT),
    ("04000503", "0-0:96.3.10", "bits", 2, Kind.STATUS),
]
UNKNOWN = [
    "00440000",  # phase C quadrant 4 reactive: in a vector, without an OBIS code of its own
    "0001000D", "000100FF",  # settlement 13, all settlements
    "00014000", "0001FE00",  # tariff 64
    "000B0000", "00FF0000",
    "02010000",  # there is no total voltage
    "02010400", "02030400",  # phase 4
    "02030001", "020301FF",
    "02070100", "02080100",
    "01010000", "03010000", "04000103", "05060001", "06000001", "FFFFFFFF", "0000000D",
]  # fmt: skip


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test fills a cache of its own."""
    monkeypatch.setattr(identifiers, "_cache", {})


def known() -> list[tuple[str, int]]:
    """Every identifier of the tables, with the payload size of its blocks at 5 tariffs."""
    found = [(di, items_of(identifier_bytes(di), 0)[0].size) for di, *_ in OTHERS]
    for di2 in identifiers._ENERGIES:
        for tariff in (0, 1, 4, TARIFF_MAX):
            found += [(f"00{di2:02X}{tariff:02X}{back:02X}", 4) for back in (0, 1, 12)]
        found.append((f"00{di2:02X}FF00", 20))
    for di2, (codes, _, size, _, _) in identifiers._VARIABLES.items():
        found += [(f"02{di2:02X}{at:02X}00", size) for at, c in enumerate(codes) if c is not None]
        found.append((f"02{di2:02X}FF00", size * len([c for c in codes if c is not None])))
    return [*found, ("02800001", 3), ("02800002", 2)]


@pytest.mark.parametrize(("di", "size", "codes", "each", "signed", "scaler", "unit"), TABLE)
def test_an_identifier_holds_what_the_reference_says(
    di: str, size: int, codes: str, each: int, signed: bool, scaler: int, unit: str
) -> None:
    """OBIS, length, sign, last digit and unit of each item, in the order of the wire."""
    items = items_of(identifier_bytes(di), size)
    kind = Kind.CUMULATIVE if di.startswith("00") else Kind.INSTANTANEOUS
    form = identifiers.SIGNED if signed else identifiers.UNSIGNED
    assert [item.obis.text() for item in items] == [f"1-0:{code}*255" for code in codes.split()]
    assert {tuple(item[1:]) for item in items} == {(form, each, scaler, unit, kind)}
    assert {type(item) for item in items} == {Item}


@pytest.mark.parametrize(("di", "obis", "form", "size", "kind"), OTHERS)
def test_dates_digits_and_status_have_their_own_form(
    di: str, obis: str, form: str, size: int, kind: int
) -> None:
    """They carry no unit and no scaler."""
    assert items_of(identifier_bytes(di), size) == (
        Item(Obis.from_text(obis), form, size, 0, "", kind),
    )


@pytest.mark.parametrize("di", UNKNOWN)
@pytest.mark.parametrize("size", [0, 2, 4, 20])
def test_an_identifier_outside_the_tables_holds_nothing(di: str, size: int) -> None:
    """Unknown is not guessed from the pattern."""
    assert items_of(identifier_bytes(di), size) == ()


def test_a_block_holds_as_many_tariffs_as_the_meter_sent() -> None:
    """Total and tariffs, four bytes each, up to tariff 63."""
    for tariffs in range(1, TARIFF_MAX + 2):
        items = items_of(identifier_bytes("0001FF00"), 4 * tariffs)
        assert [item.obis.e for item in items] == list(range(tariffs))
    assert len(items_of(identifier_bytes("0001FF00"), 4 * 100)) == TARIFF_MAX + 1


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_block_has_at_least_its_total(size: int) -> None:
    """A block that is too short for one item is of a wrong length, not of an unknown identifier."""
    assert [item.obis.e for item in items_of(identifier_bytes("0001FF00"), size)] == [0]


@pytest.mark.parametrize(("back", "f"), [(0, CURRENT), (1, 1), (12, 12)])
def test_a_settlement_is_value_group_f(back: int, f: int) -> None:
    """DI0 counts settlements back; 0 is now."""
    item = items_of(bytes((back, 2, 1, 0)), 4)[0]
    assert item.obis == Obis(1, 0, 1, 8, 2, f)


def test_units_and_kinds_are_those_of_quantities() -> None:
    """Every item can become a Quantity that a batch carries."""
    items = [item for di, size in known() for item in items_of(identifier_bytes(di), size)]
    assert {item.unit for item in items} <= set(UNITS)
    assert {item.kind for item in items} == {
        Kind.CUMULATIVE, Kind.INSTANTANEOUS, Kind.TEXT, Kind.STATUS,
    }  # fmt: skip


def test_no_two_identifiers_of_one_item_share_an_obis() -> None:
    """An OBIS code has one identifier, so a quantity is asked for in one way."""
    codes = [
        items[0].obis
        for di, size in known()
        if len(items := items_of(identifier_bytes(di), size)) == 1
    ]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(("di", "size"), known())
def test_the_identifier_of_an_items_obis_is_its_identifier(di: str, size: int) -> None:
    """identifier_of is the inverse of items_of; a settlement back has no identifier here."""
    items = items_of(identifier_bytes(di), size)
    assert items
    for item in items:
        back = identifier_of(item.obis)
        if item.obis.f != CURRENT:
            assert back == ""
        elif len(items) == 1:
            assert back == di
        else:
            assert items_of(identifier_bytes(back), item.size) == (item,)


@pytest.mark.parametrize(
    "obis",
    [
        "1-0:1.8.64", "1-0:11.8.0", "1-0:1.8.0*1", "1-1:1.8.0", "0-0:1.8.0", "2-0:1.8.0",
        "1-0:32.7.1", "1-0:12.7.0", "1-0:1.7.0", "1-0:1.6.0", "1-0:0.9.3", "0-0:96.1.2",
    ],
)  # fmt: skip
def test_an_obis_outside_the_tables_has_no_identifier(obis: str) -> None:
    """The caller says so to the operator; nothing is asked on the wire."""
    assert identifier_of(Obis.from_text(obis)) == ""


@given(st.tuples(*[st.integers(0, 255)] * 6).map(lambda six: Obis(*six)))
def test_any_obis_has_an_identifier_that_reads_it_or_none(obis: Obis) -> None:
    """Never an identifier that reads something else."""
    di = identifier_of(obis)
    if di:
        size = 4 if di.startswith("00") else items_of(identifier_bytes(di), 0)[0].size
        assert [item.obis for item in items_of(identifier_bytes(di), size)] == [obis]


def test_the_cache_is_bounded_under_hostile_identifiers() -> None:
    """A capture full of made-up identifiers and sizes neither fills memory nor changes answers."""
    source = random.Random(645)
    for _ in range(20_000):
        di = bytes((source.randrange(14), 0xFF, source.randrange(12), source.choice((0, 2))))
        items_of(di, source.randrange(256))
    assert len(identifiers._cache) <= identifiers._CACHE_SIZE_MAX
    for size in range(4, 257):
        assert len(items_of(identifier_bytes("000AFF00"), size)) == min(size // 4, 64)
    assert len(identifiers._cache) == identifiers._CACHE_SIZE_MAX


def test_unknown_identifiers_do_not_fill_the_cache() -> None:
    """What is not in the tables is looked up again."""
    for number in range(2000):
        assert items_of(number.to_bytes(3, "big") + b"\x07", 4) == ()
    assert identifiers._cache == {}


def test_the_key_of_the_cache_is_the_identifier_and_the_size() -> None:
    """A meter with two tariffs and one with four are both read right, in either order."""
    di = bytearray(identifier_bytes("0001FF00"))
    assert [len(items_of(di, size)) for size in (12, 20, 12, 20)] == [3, 5, 3, 5]
    assert len(items_of(di, 20)) == 5
