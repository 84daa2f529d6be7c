"""protocols/dlt645/identifiers.py: what an identifier holds, and which identifier reads an OBIS."""

import random
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645 import identifiers, rows
from protocols.dlt645.identifiers import (
    EDITION_1997,
    EDITION_2007,
    TARIFF_MAX,
    Item,
    entry_of,
    identifier_bytes,
    identifier_of,
    identifier_text,
    items_of,
)
from protocols.errors import CallerError
from protocols.obis import CURRENT, Obis
from protocols.quantity import UNITS, Kind
from tests.protocols.dlt645.reference_rows import (
    EVENT_SIZES,
    ROWS,
    ROWS_1997,
    ROWS_BY_PATTERN,
    WITHOUT_LAYOUT,
)

REFERENCE = [
    tuple(line.split()) for line in (ROWS + ROWS_1997 + ROWS_BY_PATTERN).split("\n") if line
]
BASE = {"kWh": "Wh", "kvarh": "varh", "kVAh": "VAh", "kW": "W", "kvar": "var", "kVA": "VA"}
SIGNS = {"s": rows.SIGNED, "u": rows.UNSIGNED}
COMPOSED = re.compile(r"[(x+,]|record|mixed")  # of several values: compared below, by hand
UNKNOWN = [
    "0001000D", "0000000D",  # settlement 13
    "00014000", "0001FE00",  # tariff 64
    "0001FFFF", "00FF0000", "00FFFF00",  # two blocks at once, all items
    "000B0000", "00150100", "00450100", "00900102",
    "01800000", "010B0000",
    "02010000",  # there is no total voltage
    "02010400", "02030400", "02070000",  # phase 4, phase 0 of an angle
    "02030001", "020301FF", "020A0116", "020AFF01", "020C0101", "0280000C",
    "03130000", "0301010B", "03010400", "03300F00", "0332FF0B", "0331FF01",
    "04000110", "04000C00", "04000C0B", "04000B04", "040005FE", "04030000", "040501FE",
    "05080001", "05060000", "050600FF", "05060B01", "06070001", "06000003",
    "07000001", "10000001", "1D000002", "1D000901", "1E00FF0B", "20000001", "FFFFFFFF",
    "9080", "90FF", "9580", "B610", "B614", "C03F", "C320", "C32F", "D010", "FFFF",
]  # fmt: skip


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test fills a cache of its own."""
    monkeypatch.setattr(identifiers, "_cache", {})


def edition(di: str) -> int:
    """Which text an identifier belongs to."""
    return EDITION_1997 if len(di) == 4 else EDITION_2007


def every_identifier() -> Iterator[str]:
    """Of each row of the catalog the first, the second and the last identifier in each place."""
    for table in identifiers._TABLES:
        for row in rows.rows_of(identifiers._TABLES[table]):
            first = [row.values(place)[0] for place in range(len(row.places))]
            seen = {bytes(first).hex().upper()}
            for place in range(len(first)):
                for value in (*row.values(place)[1:2], row.values(place)[-1]):
                    seen.add(bytes([*first[:place], value, *first[place + 1 :]]).hex().upper())
            seen.add(bytes([row.values(place)[-1] for place in range(len(first))]).hex().upper())
            yield from sorted(
                one for one in seen if identifiers._find(bytes.fromhex(one))[0] == row
            )


EVERY = sorted(set(every_identifier()))


# ---- the reference, row by row -----------------------------------------------------------------


def test_the_reference_has_all_its_rows() -> None:
    """So that nothing below passes for want of lines, and each identifier stands there once."""
    assert len(REFERENCE) == 328 + 63 + 23
    assert len({row[0] for row in REFERENCE}) == len(REFERENCE)
    assert {len(row) for row in REFERENCE} == {7}


def test_no_row_of_the_catalog_goes_without_a_row_here() -> None:
    """So that a slip in any of them is seen."""
    compared = [row[0] for row in REFERENCE] + WITHOUT_LAYOUT
    compared += [di for dis in EVENT_SIZES.values() for di in dis.split()]
    seen = [identifiers._find(bytes.fromhex(di))[0] for di in compared]
    for text in set(identifiers._TABLES.values()):
        for row in rows.rows_of(text):
            assert row in seen


@pytest.mark.parametrize("row", REFERENCE, ids=[row[0] for row in REFERENCE])
def test_the_catalog_knows_every_identifier_of_the_reference(row: tuple[str, ...]) -> None:
    """With its access, and a name that says which phase, tariff, settlement or record."""
    di, _, _, _, _, access, _ = row
    entry = entry_of(identifier_bytes(di))
    assert entry is not None
    assert entry.access == access
    assert entry.name
    assert entry.sources >= 0
    assert entry.is_known == (not is_without_layout(di))


def is_without_layout(di: str) -> bool:
    """Blocks of freezes and load records are taken apart elsewhere."""
    return di in WITHOUT_LAYOUT or bool(re.fullmatch(r"05..FF..|06......", di))


def sizes_of(text: str, each: int) -> list[int]:
    """Payload sizes that a size such as `4(1+k)` allows, blocks of a few tariffs."""
    if text.isdigit():
        return [int(text)]
    assert re.fullmatch(r"\d(\(1\+k\)|k|n|p|m)", text), text
    assert int(text[0]) == each
    return [each * count for count in (1, 3, 5)]


SIMPLE = [row for row in REFERENCE if not COMPOSED.search(row[1])]


@pytest.mark.parametrize("row", SIMPLE, ids=[row[0] for row in SIMPLE])
def test_an_identifier_holds_what_the_reference_says(row: tuple[str, ...]) -> None:
    """Bytes, decimals, unit, sign and form of each item, and how many there are."""
    di, form, size, unit, sign, _, _ = row
    number = re.fullmatch(r"(\d+)\.(\d+)", form)
    if number:
        digits, decimals = int(number[1]) + int(number[2]), int(number[2])
        is_name = unit == "-" and digits in (12, 8)
        each = digits // 2
        scaler = (3 if unit in BASE else 0) - decimals
        wanted = (
            SIGNS[sign],
            each,
            scaler,
            "1" if unit in ("-", "times") else BASE.get(unit, unit),
        )
        if is_name:
            is_secret = entry_of(identifier_bytes(di)).access == "W"
            wanted = (rows.WRITE_ONLY if is_secret else rows.DIGITS, each, 0, "")
    else:
        each = 2 if di == "040005FF" else int(size)
        word = {"bits": rows.BITS, "ASCII": rows.ASCII, "bytes": rows.HEX}.get(form, form)
        wanted = (word, each, 0, "")
    for total in sizes_of(size, each):
        items = items_of(identifier_bytes(di), total)
        assert {type(item) for item in items} == {Item}
        assert len(items) == total // each
        assert {tuple(item[1:5]) for item in items} == {wanted}


WITH_OBIS = [row for row in REFERENCE if row[6] != "-" and "x" not in row[6]]


@pytest.mark.parametrize("row", WITH_OBIS, ids=[row[0] for row in WITH_OBIS])
def test_an_identifier_has_the_obis_of_the_reference(row: tuple[str, ...]) -> None:
    """Settlements back are value group F; the reference leaves F out."""
    di, obis = row[0], row[6]
    if len(di) == 8 and di[:2] in ("00", "01") and di[6:] != "00":
        obis += f"*{int(di[6:], 16)}"
    assert items_of(identifier_bytes(di), 0)[0].obis == Obis.from_text(obis)


@pytest.mark.parametrize("di", [row[0] for row in REFERENCE if row[6] == "-"])
def test_without_an_obis_in_the_reference_an_item_has_its_own_code(di: str) -> None:
    """Or one of the places that the reference leaves to the pattern: tariffs, settlements, phases,
    demands."""
    item = next(iter(items_of(identifier_bytes(di), 0)), None)
    if item is None:
        assert is_without_layout(di)
    elif (item.obis.a, item.obis.b) != (1, identifiers.OWN_CODE_B):
        assert re.fullmatch(r"00......|01......|02....00|02..FF00|0400010C", di), item.obis.text()
        if di[:2] in ("00", "01"):
            assert item.obis.d == (8 if di[:2] == "00" else 6)


@pytest.mark.parametrize(
    ("di", "size", "codes"),
    [
        ("00000100", 4, "16.8.1"),
        ("000A3F0C", 4, "10.8.63*12"),
        ("0001FF00", 20, "1.8.0 1.8.1 1.8.2 1.8.3 1.8.4"),
        ("0002FF01", 8, "2.8.0*1 2.8.1*1"),
        ("000100FF", 52, "1.8.0 " + " ".join(f"1.8.0*{back}" for back in range(1, 13))),
        ("000105FF", 52, "1.8.5 " + " ".join(f"1.8.5*{back}" for back in range(1, 13))),
        ("00170000", 4, "23.8.0"),
        ("002B0000", 4, "43.8.0"),
        ("00440000", 4, "68.8.0"),
        ("0046000C", 4, "70.8.0*12"),
        ("0201FF00", 6, "32.7.0 52.7.0 72.7.0"),
        ("0202FF00", 9, "31.7.0 51.7.0 71.7.0"),
        ("0203FF00", 12, "16.7.0 36.7.0 56.7.0 76.7.0"),
        ("0204FF00", 12, "131.7.0 151.7.0 171.7.0 191.7.0"),
        ("0205FF00", 12, "9.7.0 29.7.0 49.7.0 69.7.0"),
        ("0206FF00", 8, "13.7.0 33.7.0 53.7.0 73.7.0"),
        ("901F", 20, "1.8.0 1.8.1 1.8.2 1.8.3 1.8.4"),
        ("942F", 8, "2.8.0*1 2.8.1*1"),
        ("A01F", 6, "1.6.0 1.6.1"),
        ("B61F", 6, "32.7.0 52.7.0 72.7.0"),
        ("B62F", 6, "31.7.0 51.7.0 71.7.0"),
        ("B63F", 12, "16.7.0 36.7.0 56.7.0 76.7.0"),
        ("B64F", 8, "131.7.0 151.7.0 171.7.0 191.7.0"),
        ("B65F", 8, "13.7.0 33.7.0 53.7.0 73.7.0"),
    ],
)
def test_a_block_is_split_into_its_items(di: str, size: int, codes: str) -> None:
    """In the order of the wire, each under the code that it has on its own."""
    items = items_of(identifier_bytes(di), size)
    assert [item.obis for item in items] == [Obis.from_text(f"1-0:{one}") for one in codes.split()]
    assert sum(item.size for item in items) == size
    for item in items:
        alone = identifier_of(item.obis, edition(di))
        assert items_of(identifier_bytes(alone), item.size)[0] == item


# ---- records -----------------------------------------------------------------------------------

EVENTS = [(di, size) for size, dis in EVENT_SIZES.items() for di in dis.split()]


@pytest.mark.parametrize(("di", "size"), EVENTS)
def test_an_event_record_is_as_long_as_meters_build_it(di: str, size: int) -> None:
    """Whatever arrives: a record has one length."""
    for given_size in (0, size, 255):
        items = items_of(identifier_bytes(di), given_size)
        assert sum(item.size for item in items) == size
    assert [item.obis for item in items] == [
        identifiers.own_code(bytes.fromhex(di), index) for index in range(len(items))
    ]


E4 = "u6.2 u6.2 s6.2 s6.2"  # forward, reverse, combined reactive 1 and 2
PHASE = E4 + " u3.1 s3.3 s2.4 s2.4 s1.3"
AH = " u6.2" * 4
STAMP = "YYMMDDhhmmss"


@pytest.mark.parametrize(
    ("di", "layout"),
    [
        ("03010101", f"{STAMP} {STAMP} {E4} {PHASE} {PHASE} {PHASE}{AH}"),
        ("030B0101", f"{STAMP} {STAMP} {E4} {PHASE} {PHASE} {PHASE}"),
        ("03050001", f"{STAMP} s3.3 {STAMP}"),
        ("03090001", f"{STAMP} {STAMP} u2.2 {E4} {E4} {E4} {E4}"),
        ("03100001", "u6.0 u4.2 u4.2 u6.0 u6.0 u3.1 MMDDhhmm u3.1 MMDDhhmm"),
        ("03120101", f"{STAMP} {STAMP} u2.4 YYMMDDhhmm"),
        ("03300001", f"{STAMP} digits4" + " di" * 10),
        ("03300101", f"{STAMP} digits4" + " u6.2" * 24),
        ("03300201", f"{STAMP} digits4" + " u2.4 YYMMDDhhmm" * 24),
        ("03300301", f"{STAMP} digits4 di"),
        ("03300401", f"digits4 {STAMP} {STAMP}"),
        ("03300601", f"{STAMP} digits4" + " MMDDNN" * 28),
        ("03300701", f"{STAMP} digits4 bits1"),
        ("03300C01", f"{STAMP} digits4 DDhh DDhh DDhh"),
        ("03300D01", f"{STAMP} {STAMP}" + " u6.2" * 12),
        ("0333FF01", "YYMMDDhhmm u4.0 u6.2 u6.2 u6.2 u6.2"),
        ("1001FF01", f"{STAMP} {E4} {PHASE} {PHASE} {PHASE}{AH} {STAMP} {E4} {E4} {E4} {E4}"),
        ("1801FF01", f"{STAMP} {E4} {PHASE} {PHASE} {PHASE} {STAMP} {E4} {E4} {E4} {E4}"),
        ("1400FF01", f"{STAMP} {E4} {E4} {E4} {E4} {STAMP} {E4} {E4} {E4} {E4}"),
        ("1600FF01", f"{STAMP} {E4} {E4} {E4} {E4} u2.4 {STAMP} {E4} {E4} {E4} {E4}"),
        ("1D00FF01", f"{STAMP} digits4" + " u6.2" * 6),
        ("1F00FF01", f"{STAMP} {E4} {STAMP} {E4}"),
        ("03010000", "u6.0 u6.0 u6.0 u6.0 u6.0 u6.0"),
        ("03050000", "u6.0 u6.0"),
        ("03120000", "u6.0 u6.0 u6.0 u6.0 u6.0 u6.0"),
        ("03110001", f"{STAMP} {STAMP}"),
        ("05061001", "s2.4 s2.4 s2.4 s2.4 s2.4 s2.4 s2.4 s2.4"),
        ("01010000", "u2.4 YYMMDDhhmm"),
        ("01030000", "s2.4 YYMMDDhhmm"),
        ("01060000", "u2.4 YYMMDDhhmm"),
        ("01160000", "u2.4 YYMMDDhhmm"),
        ("012C000C", "s2.4 YYMMDDhhmm"),
        ("01400000", "s2.4 YYMMDDhhmm"),
        ("01190000", "u2.4 YYMMDDhhmm"),
        ("012E0000", "u2.4 YYMMDDhhmm"),
        ("01430000", "u2.4 YYMMDDhhmm"),
        ("011C0000", "u2.4 YYMMDDhhmm"),
        ("01310000", "u2.4 YYMMDDhhmm"),
        ("01460000", "u2.4 YYMMDDhhmm"),
        ("05060901", "u2.4 YYMMDDhhmm"),
        ("05000A02", "u2.4 YYMMDDhhmm"),
        ("04040101", "di digits1"),
        ("04010000", "MMDDNN"),
        ("04020008", "hhmmNN"),
        ("04030001", "YYMMDDNN"),
    ],
)
def test_a_record_holds_its_items_in_their_order(di: str, layout: str) -> None:
    """Sign, digits and decimals of each, times by their letters."""
    assert [short_form(item) for item in items_of(identifier_bytes(di), 0)] == layout.split()


def short_form(item: Item) -> str:
    """`u6.2` for six digits and two decimals unsigned; a time by its letters."""
    if item.form in (rows.UNSIGNED, rows.SIGNED):
        decimals = (3 if item.unit in BASE.values() else 0) - item.scaler
        return f"{item.form}{2 * item.size - decimals}.{decimals}"
    return item.form + (str(item.size) if item.form in (rows.DIGITS, rows.BITS) else "")


@pytest.mark.parametrize(
    ("di", "each"),
    [("04010000", 3), ("04010001", 3), ("05060101", 4), ("05000901", 8), ("040501FF", 4)],
)
def test_a_list_is_as_long_as_the_reply(di: str, each: int) -> None:
    """Year zones, day periods, tariffs of a freeze, prices: the meter's own number."""
    for count in (1, 2, 5, 14):
        assert sum(item.size for item in items_of(identifier_bytes(di), each * count)) == (
            each * count
        )
        # Bytes too many are not made items; the value decoder refuses the length.
        assert sum(item.size for item in items_of(identifier_bytes(di), each * count + 1)) == (
            each * count
        )
    assert sum(item.size for item in items_of(identifier_bytes(di), 0)) == each


def test_seven_status_words_and_what_follows_them() -> None:
    """One capture has 18 bytes: seven words, and four bytes that nobody explains."""
    items = items_of(identifier_bytes("040005FF"), 18)
    assert [(item.form, item.size) for item in items] == [(rows.BITS, 2)] * 7 + [(rows.HEX, 4)]
    assert items[2].obis == Obis.from_text("0-0:96.3.10")
    assert len({item.obis for item in items}) == 8
    assert len(items_of(identifier_bytes("040005FF"), 14)) == 7
    assert sum(item.size for item in items_of(identifier_bytes("040005FF"), 14 + 33)) == 14


@pytest.mark.parametrize("di", WITHOUT_LAYOUT)
@pytest.mark.parametrize("size", [0, 4, 13, 52, 200])
def test_what_nobody_tells_the_layout_of_holds_nothing(di: str, size: int) -> None:
    """It is known by name, and not guessed."""
    assert items_of(identifier_bytes(di), size) == ()
    assert entry_of(identifier_bytes(di)).is_known is False


@pytest.mark.parametrize("di", UNKNOWN)
def test_an_identifier_outside_the_catalog_holds_nothing(di: str) -> None:
    """Unknown is not guessed from the pattern."""
    assert [items_of(identifier_bytes(di), size) for size in (0, 2, 4, 20)] == [()] * 4
    assert entry_of(identifier_bytes(di)) is None


@pytest.mark.parametrize("size", [0, 1, 3, 5, 8])
def test_an_identifier_of_another_length_holds_nothing(size: int) -> None:
    """Two bytes are 1997, four are 2007, others are none."""
    assert items_of(b"\x00\x00\x01\x00\x00\x00\x00\x00"[:size], 4) == ()
    assert entry_of(bytes(size)) is None


# ---- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("di", "name"),
    [
        ("00010000", "forward active energy"),
        ("00010203", "forward active energy, tariff 2, settlement 3 back"),
        ("0001FF00", "forward active energy and the following"),
        ("002A0000", "reverse active energy phase B"),
        ("02010300", "voltage phase C"),
        ("02030000", "active power"),
        ("020A0215", "voltage harmonic 21 phase B"),
        ("04000602", "reactive combination word 1"),
        ("04000C03", "password of level 2"),
        ("04000A04", "load record interval, class 3"),
        ("0301020A", "loss of voltage phase B, record 10"),
        ("9412", "forward active energy, tariff 2, settlement 1 back"),
        ("B612", "voltage phase B"),
        ("B630", "active power"),
    ],
)
def test_an_identifier_has_a_name_in_words(di: str, name: str) -> None:
    """What a person reads beside the value."""
    assert entry_of(identifier_bytes(di)).name == name


def test_what_is_known_of_an_identifier_says_how_well() -> None:
    """Sources counted, captures marked; 0 sources: it follows from the pattern."""
    assert entry_of(identifier_bytes("00010000"))[1:] == ("R", 9, True, True)
    assert entry_of(identifier_bytes("04000F03"))[1:] == ("RW", 0, False, True)
    assert entry_of(identifier_bytes("04000C01"))[1:] == ("W", 2, False, True)
    assert entry_of(identifier_bytes("06010001"))[1:] == ("R", 8, False, False)


def test_every_item_of_a_record_says_which_it_is() -> None:
    """No two of a record share a name, unless they repeat one kind without a number."""
    labels = [item.name for item in items_of(identifier_bytes("1001FF01"), 195)]
    assert len(set(labels)) == len(labels) == 53
    labels = [item.name for item in items_of(identifier_bytes("04010000"), 9)]
    assert [label[-1] for label in labels] == ["1", "2", "3"]


# ---- both ways ---------------------------------------------------------------------------------


def test_every_row_of_the_catalog_is_tried() -> None:
    """The first, second and last identifier in each place of each row."""
    rows_there = sum(len(list(rows.rows_of(text))) for text in set(identifiers._TABLES.values()))
    assert len(EVERY) > rows_there > 300


@pytest.mark.parametrize("di", EVERY)
def test_the_identifier_of_an_items_obis_is_its_identifier(di: str) -> None:
    """identifier_of is the inverse of items_of, for every row of the catalog and both editions."""
    wire = identifier_bytes(di)
    assert entry_of(wire) is not None
    items = items_of(wire, 0)
    assert {type(item.obis) for item in items} <= {Obis}
    for item in items:
        assert identifier_of(item.obis, edition(di)) == di
        assert max(item.obis) <= 255
        assert item.unit in UNITS
        assert item.kind in vars(Kind).values()
    assert len({item.obis for item in items}) == len(items)


def test_no_two_identifiers_share_an_obis() -> None:
    """So a quantity is asked for in one way, and never read from two places."""
    for which in (EDITION_2007, EDITION_1997):
        codes = [
            item.obis
            for di in EVERY
            if edition(di) == which
            for item in items_of(identifier_bytes(di), 0)
        ]
        assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    "obis",
    [
        "1-0:1.8.64", "1-0:11.8.0", "1-0:1.8.0*13", "1-0:1.8.0*0", "1-1:1.8.0", "0-0:1.8.0",
        "2-0:1.8.0", "1-0:32.7.1", "1-0:12.7.0", "1-0:1.7.0", "1-0:92.7.0", "1-0:0.9.3",
        "0-0:96.1.2", "1-0:41.8.1", "1-0:81.8.0", "1-0:101.8.0", "1-0:1.6.64", "1-0:1.4.1",
        "1-128:0.1.0.0", "1-129:0.1.0*0", "1-128:2.1.1*0", "1-200:4.0.16*1", "1-127:4.0.16*1",
        "1-128:255.255.255*255", "1-128:4.0.5*255", "1-128:25.151.144*16", "1-130:1.1.0*0",
    ],
)  # fmt: skip
def test_an_obis_outside_the_catalog_has_no_identifier(obis: str) -> None:
    """The caller says so to the operator; nothing is asked on the wire."""
    numbers = [int(one) for one in re.split(r"[-:.*]", obis if "*" in obis else obis + "*255")]
    numbers += [CURRENT] * (6 - len(numbers))
    assert identifier_of(Obis(*numbers[:6])) == ""


def test_an_own_code_belongs_to_its_edition() -> None:
    """25.151 in C and D is 1997 in hexadecimal."""
    own = Obis(1, 128, 25, 151, 0xC3, 0x21)
    assert items_of(identifier_bytes("C321"), 3)[0].obis == own
    assert identifier_of(own, EDITION_1997) == "C321"
    assert identifier_of(own, EDITION_2007) == ""
    price = items_of(identifier_bytes("04001001"), 4)[0].obis
    assert price.text() == "1-128:4.0.16*1"
    assert (identifier_of(price), identifier_of(price, EDITION_1997)) == ("04001001", "")


@given(
    st.tuples(*[st.integers(0, 255)] * 6)
    | st.tuples(st.just(1), st.integers(126, 202), *[st.sampled_from([0, 1, 2, 3, 4, 255])] * 4)
    | st.tuples(st.just(1), st.just(0), st.integers(0, 90), st.sampled_from([4, 6, 7, 8]),
                st.integers(0, 70), st.integers(0, 14) | st.just(255))
)  # fmt: skip
def test_any_obis_has_an_identifier_that_reads_it_or_none(six: tuple[int, ...]) -> None:
    """Never an identifier that reads something else."""
    for which in (EDITION_2007, EDITION_1997):
        di = identifier_of(Obis(*six), which)
        if di:
            items = items_of(identifier_bytes(di), 72 * 8)
            assert edition(di) == which
            assert Obis(*six) in [item.obis for item in items]


@given(st.binary(max_size=5), st.integers(0, 300))
def test_any_identifier_holds_items_or_nothing(di: bytes, size: int) -> None:
    """The fuzz sentence of the look-up."""
    items = items_of(di, size)
    assert {type(item) for item in items} <= {Item}
    assert not items or entry_of(di) is not None
    assert {item.unit for item in items} <= set(UNITS)


# ---- the text of an identifier -----------------------------------------------------------------


def test_an_identifier_travels_low_byte_first() -> None:
    """00010203 is sent 03 02 01 00, and small letters are letters too."""
    assert identifier_bytes("0001020f") == identifier_bytes("0001020F") == b"\x0f\x02\x01\x00"
    assert identifier_text(b"\x0f\x02\x01\x00") == "0001020F"
    assert identifier_bytes("9010") == b"\x10\x90"
    assert identifier_text(b"\x10\x90\x55", 2) == "9010"


@given(st.text("0123456789ABCDEF", min_size=8, max_size=8), st.binary(max_size=4))
def test_identifier_text_and_bytes_are_inverse(di: str, behind: bytes) -> None:
    """Also in front of a payload."""
    assert identifier_text(identifier_bytes(di) + behind) == di


@pytest.mark.parametrize(
    "di",
    ["", "90", "901", "90100", "000100", "0001000", "000100000", "0001000G", "00 10000",
     "0x010000", "²" * 8, "²" * 4, "９０１０"],
)  # fmt: skip
def test_anything_else_is_no_identifier(di: str) -> None:
    """Eight hex digits, or four of edition 1997."""
    with pytest.raises(CallerError) as caught:
        identifier_bytes(di)
    assert str(caught.value) == f"{di!r} is not a data identifier of 8 hex digits, or 4 of 1997"


# ---- blocks and memory -------------------------------------------------------------------------


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


def test_the_cache_is_bounded_under_hostile_identifiers() -> None:
    """A capture full of made-up identifiers and sizes neither fills memory nor changes answers."""
    source = random.Random(645)
    for _ in range(3000):
        di = bytes((source.randrange(14), 0xFF, source.randrange(12), source.choice((0, 2))))
        items_of(di, source.randrange(256))
    assert len(identifiers._cache) <= identifiers._CACHE_SIZE_MAX
    for size in range(4, 257):
        assert len(items_of(identifier_bytes("000AFF00"), size)) == min(size // 4, 64)
    for size in range(4, 257):
        items_of(identifier_bytes("0101FF00"), size)
        items_of(identifier_bytes("0102FF00"), size)
    assert len(identifiers._cache) == identifiers._CACHE_SIZE_MAX


def test_unknown_identifiers_do_not_fill_the_cache() -> None:
    """What is not in the catalog is looked up again."""
    for number in range(2000):
        assert items_of(number.to_bytes(3, "big") + b"\x07", 4) == ()
    assert identifiers._cache == {}


def test_the_key_of_the_cache_is_the_identifier_and_the_size() -> None:
    """A meter with two tariffs and one with four are both read right, in either order."""
    di = bytearray(identifier_bytes("0001FF00"))
    assert [len(items_of(di, size)) for size in (12, 20, 12, 20)] == [3, 5, 3, 5]
    assert len(items_of(di, 20)) == 5
