"""protocols/obis.py: OBIS codes as text, bytes and words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645 import identifiers
from protocols.dlt645.rows import rows_of
from protocols.errors import CallerError
from protocols.obis import CURRENT, Obis

CODES = st.tuples(*[st.integers(0, 255)] * 6).map(lambda six: Obis(*six))


@given(CODES)
def test_text_and_bytes_are_inverse(obis: Obis) -> None:
    """Every code comes back from both of its forms, as an Obis."""
    assert Obis.from_text(obis.text()) == obis
    assert Obis.from_bytes(obis.to_bytes()) == obis
    assert type(Obis.from_text(obis.text())) is type(Obis.from_bytes(obis.to_bytes())) is Obis
    assert len(obis.to_bytes()) == 6


def test_the_value_of_now_may_be_left_out() -> None:
    """Without F the code means F = 255."""
    assert (
        Obis.from_text("1-0:1.8.0") == Obis.from_text("1-0:1.8.0*255") == Obis(1, 0, 1, 8, 0, 255)
    )
    assert Obis.from_text("1-0:1.8.0*1").f == 1
    assert CURRENT == 255
    assert Obis(1, 0, 1, 8, 0, CURRENT).text() == "1-0:1.8.0*255"


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "1-0", "1-0:1.8", "1.0.1.8.0.255", "1-0:1.8.0.255", "1-0:1.8.0*", "1-0:1.8.0*256",
        "256-0:1.8.0", "1-0:1.8.-1", "-1-0:1.8.0", "1-0:1.8.0*255*255", "1-0:1.8.0 ", " 1-0:1.8.0",
        "1-0:1.8.x", "1-0:1,8.0", "1-0:0001.8.0", "1-0:1.8.0\n", "1-0:1..0", "1:0-1.8.0",
        "1-0:1.8.+1", "1-0:1_0.8.0", "²-0:1.8.0", "1-0:1.8.²", "1-0:1.8.0*²", "1-0:1.8.٣",
        "１-0:1.8.0",
    ],
)  # fmt: skip
def test_anything_else_is_no_obis_code(text: str) -> None:
    """CallerError with the text in it; other signs that count as digits elsewhere are none here."""
    with pytest.raises(CallerError) as caught:
        Obis.from_text(text)
    assert str(caught.value) == f"{text!r} is not an OBIS code such as 1-0:1.8.0"


@given(st.text(max_size=20) | st.from_regex(r"\d-\d:\d{1,4}\.\w\.\d(\*\d+)?", fullmatch=True))
def test_any_text_is_a_code_or_a_caller_error(text: str) -> None:
    """The fuzz sentence: what is accepted has six numbers of 0..255."""
    try:
        obis = Obis.from_text(text)
    except CallerError:
        return
    assert all(0 <= number <= 255 for number in obis)


@pytest.mark.parametrize("size", [0, 5, 7])
def test_six_bytes_make_a_code(size: int) -> None:
    """CallerError for any other size."""
    with pytest.raises(CallerError):
        Obis.from_bytes(bytes(size))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1-0:1.8.0", "active energy import"),
        ("1-0:1.8.2", "active energy import, rate 2"),
        ("1-0:2.8.0", "active energy export"),
        ("1-0:3.8.0", "reactive energy import"),
        ("1-0:5.8.0", "reactive energy quadrant 1"),
        ("1-0:9.8.0", "apparent energy import"),
        ("1-0:15.8.0", "active energy sum of both directions"),
        ("1-0:16.8.0", "active energy net"),
        ("1-0:1.8.1*3", "active energy import, rate 1, settlement 3 back"),
        ("1-0:21.8.0", "active energy import L1"),
        ("1-0:42.8.0", "active energy export L2"),
        ("1-0:61.8.0", "active energy import L3"),
        ("1-0:1.6.0", "active power, maximum demand import"),
        ("1-0:1.6.2", "active power, maximum demand import, rate 2"),
        ("1-0:16.7.0", "active power net"),
        ("1-0:36.7.0", "active power net L1"),
        ("1-0:56.7.0", "active power net L2"),
        ("1-0:76.7.0", "active power net L3"),
        ("1-0:131.7.0", "reactive power net"),
        ("1-0:151.7.0", "reactive power net L1"),
        ("1-0:171.7.0", "reactive power net L2"),
        ("1-0:191.7.0", "reactive power net L3"),
        ("1-0:29.7.0", "apparent power import L1"),
        ("1-0:32.7.0", "voltage L1"),
        ("1-0:52.7.0", "voltage L2"),
        ("1-0:72.7.0", "voltage L3"),
        ("1-0:31.7.0", "current L1"),
        ("1-0:51.7.0", "current L2"),
        ("1-0:71.7.0", "current L3"),
        ("1-0:33.7.0", "power factor L1"),
        ("1-0:13.7.0", "power factor"),
        ("1-0:14.7.0", "frequency"),
        ("1-0:90.7.0", "current, sum of phases"),
        ("1-0:91.7.0", "neutral current"),
        ("0-0:96.1.0", "communication address"),
        ("0-0:96.1.1", "meter number"),
        ("0-0:96.3.10", "status word 3 (bit 4 relay open, bit 6 disconnect commanded)"),
        ("0-0:1.0.0", "meter clock"),
        ("1-0:0.9.1", "meter time"),
        ("1-0:0.9.2", "meter date"),
        ("1-0:0.4.2", "current transformer ratio"),
        ("1-0:0.4.3", "voltage transformer ratio"),
    ],
)
def test_a_quantity_has_a_name_in_words(text: str, name: str) -> None:
    """What a person reads beside the value."""
    assert Obis.from_text(text).name() == name


@pytest.mark.parametrize(
    "text",
    [
        "1-0:132.7.0", "1-0:150.7.0", "1-0:152.7.0", "1-0:190.7.0", "1-0:199.7.0", "1-0:200.7.0",
        "1-0:255.7.0", "1-0:20.7.0", "1-0:37.7.0", "1-0:80.7.0", "1-0:99.1.0", "1-0:12.8.0",
        "1-0:32.7.1", "1-0:81.7.4", "1-0:1.9.0", "2-0:1.8.0", "0-0:96.1.2", "0-0:1.8.0",
        "1-0:0.9.3",
    ],
)  # fmt: skip
def test_a_code_without_a_name_shows_itself(text: str) -> None:
    """A wrong name would be worse than the code."""
    assert Obis.from_text(text).name() == text + "*255"


@given(CODES)
def test_every_code_has_some_name(obis: Obis) -> None:
    """Never empty, never an exception, and one line."""
    assert obis.name() == obis.name().strip() != ""


def test_every_quantity_of_the_identifier_tables_has_a_name() -> None:
    """A reading without words would be a riddle in the console."""
    for table, text in identifiers._TABLES.items():
        edition = 2 if table == identifiers.EDITION_1997 else 4
        for row in rows_of(text):
            code = bytes(row.values(place)[0] for place in range(edition))
            for item in identifiers.items_of(code[::-1], 0):
                name = item.obis.name()
                assert name.startswith("DL/T 645 identifier") == (item.obis.b >= 128)
                assert item.obis.text() not in name


def test_an_own_code_names_its_identifier_and_item() -> None:
    """What the manufacturer's range stands for; beyond it the code shows itself."""
    assert Obis(1, 128, 4, 0, 16, 1).name() == "DL/T 645 identifier 04001001, item 1"
    assert Obis(1, 199, 3, 48, 2, 1).name() == "DL/T 645 identifier 03300201, item 72"
    for b in (127, 200):
        assert Obis(1, b, 4, 0, 16, 1).name() == f"1-{b}:4.0.16*1"


def test_names_of_the_instantaneous_quantities_differ() -> None:
    """Two value groups C never share a name."""
    names = [Obis(1, 0, c, 7, 0, CURRENT).name() for c in range(256)]
    assert len(set(names)) == 256
