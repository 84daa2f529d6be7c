"""protocols/dlt645/values.py and texts.py: payload bytes to exact readings, and back."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dlt645.deframer import Deframer
from protocols.dlt645.exchange import read
from protocols.dlt645.frame import Frame, decode_frame
from protocols.dlt645.identifiers import (
    EDITION_1997,
    Item,
    identifier_bytes,
    identifier_of,
    items_of,
)
from protocols.dlt645.rows import (
    ASCII,
    BITS,
    DIGITS,
    HEX,
    IDENTIFIER,
    SIGNED,
    UNSIGNED,
    WRITE_ONLY,
)
from protocols.dlt645.values import (
    decode_item,
    decode_items,
    decode_readings,
    decode_reply,
    encode_value,
)
from protocols.errors import CallerError, FrameError, ValueFormatError
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading
from tests.protocols.dlt645.reference_rows import (
    EVENT_SIZES,
    ROWS,
    ROWS_1997,
    ROWS_BY_PATTERN,
)
from tests.protocols.vectors import BY_ID, VECTORS, decimals, names, wire

READ_REPLIES = {"91": 4, "B1": 4, "81": 2}  # control byte -> bytes of the identifier
REPLIES = [
    vector
    for vector in VECTORS
    if vector.get("control") in READ_REPLIES and vector["expect"] == "accept"
]
NUMBERS = [vector for vector in REPLIES if {"value", "values"} & set(vector["expected"])]
OTHERS = [vector for vector in REPLIES if vector not in NUMBERS]
ODD = [vector for vector in VECTORS if vector["expect"] == "accept-frame"]
REFERENCE = [line.split() for line in (ROWS + ROWS_1997 + ROWS_BY_PATTERN).split("\n") if line]


def data(di: str, payload: str) -> bytes:
    """A reply's data: identifier and payload, both as on the wire."""
    return identifier_bytes(di) + bytes.fromhex(payload)


def one(di: str, payload: str) -> Quantity | None:
    """The only value of a reply."""
    ((_, quantity),) = decode_items(data(di, payload), len(di) // 2)
    assert quantity is None or type(quantity) is Quantity
    return quantity


def payload_items(di: str) -> tuple[Item, ...]:
    """The items of one identifier, blocks at their shortest."""
    return items_of(identifier_bytes(di), 0)


# ---- the vectors -------------------------------------------------------------------------------


def test_every_reply_of_the_vectors_is_tested() -> None:
    """Both editions; none is left out unnoticed."""
    assert (len(REPLIES), len(NUMBERS), len(OTHERS), len(ODD)) == (53, 46, 7, 12)
    assert {vector["protocol"] for vector in REPLIES} == {"2007", "1997"}


@pytest.mark.parametrize("vector", NUMBERS, ids=names(NUMBERS))
def test_a_vectors_numbers_are_read_exactly(vector: dict[str, Any]) -> None:
    """Value, decimal places, unit and missing phases are those of the vector."""
    expected = vector["expected"]
    wanted = expected.get("values", [expected.get("value")])
    unit = "1" if expected["unit"] == "times" else expected["unit"]
    found = decode_items(decode_frame(wire(vector)).data, READ_REPLIES[vector["control"]])
    texts = [quantity and quantity.shown() for _, quantity in found]
    places = decimals(vector)
    assert texts == [None if w is None else (f"{Decimal(w):.{places}f}", unit) for w in wanted]


@pytest.mark.parametrize(
    ("name", "obis", "value"),
    [
        ("v027", "0-0:96.1.1", "002241020208"),
        ("v048", "1-0:0.9.2", "2016-01-11"),
        ("v092", "1-0:0.9.2", "2025-11-01"),
        ("v050", "1-0:0.9.1", "21:53:55"),
        ("v052", "1-128:5.6.0*1", "2015-10-09T00:00"),
    ],
)
def test_a_vectors_text_is_read(name: str, obis: str, value: str) -> None:
    """Meter number, date without the stored weekday, time, moment of a freeze."""
    expected = BY_ID[name]["expected"]
    stated = expected.get("text") or expected.get("date") or expected.get("time")
    assert value == (stated or expected["datetime"].replace(" ", "T"))
    ((item, quantity),) = decode_items(decode_frame(wire(BY_ID[name])).data)
    assert item.obis == Obis.from_text(obis)
    assert quantity == Quantity(value, 0, "", Kind.TEXT)


@pytest.mark.parametrize(("name", "bits"), [("v068", [4, 6]), ("v069", [])])
def test_a_vectors_status_word_is_read(name: str, bits: list[int]) -> None:
    """Low byte first; bit 4 is the contact, bit 6 the command."""
    ((item, quantity),) = decode_items(decode_frame(wire(BY_ID[name])).data)
    assert item.obis == Obis.from_text("0-0:96.3.10")
    assert quantity == Quantity(BY_ID[name]["expected"]["word"], 0, "", Kind.STATUS)
    assert [bit for bit in range(16) if quantity.value >> bit & 1] == bits


@pytest.mark.parametrize("vector", ODD, ids=names(ODD))
def test_an_odd_vector_is_a_frame_whose_value_is_refused_or_unknown(vector: dict[str, Any]) -> None:
    """The frame is good and kept; no value is made of it."""
    frame = decode_frame(wire(vector))
    assert frame.data.hex() == vector["data_plain"].replace(" ", "").lower()
    try:
        found = decode_items(frame.data)
    except ValueFormatError:
        return
    assert found == []


def test_a_value_of_the_wrong_length_in_a_good_frame_is_refused() -> None:
    """A library's faulty reply: framing good, 10 bytes where a current has 3."""
    with pytest.raises(ValueFormatError, match="10 bytes where 3 are due"):
        decode_items(decode_frame(wire(BY_ID["v162"])).data)


def test_a_vectors_reply_becomes_readings() -> None:
    """Phases without a value are left out: no reading is not the reading 0."""
    assert decode_readings(decode_frame(wire(BY_ID["v047"])).data) == [
        Reading(Obis.from_text("1-0:32.7.0"), Quantity(2256, -1, "V", Kind.INSTANTANEOUS))
    ]


FLIPPED = [vector for vector in VECTORS if vector["expect"] == "accept"]


@pytest.mark.parametrize("vector", FLIPPED, ids=names(FLIPPED))
def test_no_flipped_bit_gives_another_meaning(vector: dict[str, Any]) -> None:
    """Every single bit of every good vector: the flipped frame is refused, and in a stream only a
    flip in the FE bytes in front leaves a frame, the same one."""
    sent = wire(vector)
    whole = decode_frame(sent)
    for bit in range(8 * len(sent)):
        other = bytearray(sent)
        other[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            decode_frame(bytes(other))
        assert decode_reply(bytes(other)) is None
        deframer = Deframer()
        frames = deframer.feed(bytes(other)) + deframer.flush()
        assert frames == ([whole] if bit // 8 < vector["preamble"] else [])


# ---- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("di", "payload", "text", "unit"),
    [
        ("00010000", "78 56 34 12", "123456.78", "kWh"),
        ("00010000", "26 00 00 00", "0.26", "kWh"),
        ("00010000", "99 99 99 99", "999999.99", "kWh"),
        ("00000000", "34 12 00 80", "-12.34", "kWh"),
        ("00000000", "99 99 99 79", "799999.99", "kWh"),
        ("00000000", "99 99 99 F9", "-799999.99", "kWh"),
        ("00000000", "00 00 00 80", "0.00", "kWh"),
        ("00030000", "01 00 00 80", "-0.01", "kvarh"),
        ("00170000", "01 00 00 80", "-0.01", "kvarh"),
        ("00800000", "01 00 00 80", "-0.01", "kWh"),
        ("02020100", "34 12 80", "-1.234", "A"),
        ("02030000", "99 99 79", "79.9999", "kW"),
        ("02030000", "01 00 80", "-0.0001", "kW"),
        ("02060000", "00 10", "1.000", "1"),
        ("02060000", "00 90", "-1.000", "1"),
        ("02010100", "01 23", "230.1", "V"),
        ("02010100", "99 99", "999.9", "V"),
        ("02070100", "00 36", "360.0", "deg"),
        ("020A0115", "05 01", "1.05", "%"),
        ("02800001", "34 12 80", "-1.234", "A"),
        ("02800002", "03 50", "50.03", "Hz"),
        ("02800007", "55 82", "-25.5", "degC"),
        ("0280000A", "78 56 34 12", "12345678", "min"),
        ("02800020", "23 81 05 00", "5.8123", "CNY/kWh"),
        ("00900200", "56 98 01 00", "198.56", "CNY"),
        ("04000103", "15", "15", "min"),
        ("04000105", "80 00", "80", "ms"),
        ("04000306", "00 02 00", "200", "1"),
        ("04000409", "00 64 00", "6400", "imp/kWh"),
        ("04000D01", "23 81", "8.123", "1"),
        ("04000E01", "00 00 06", "6.0000", "kW"),
        ("03300D00", "27 00 00", "27", "1"),
        ("1D000001", "00 00 00", "0", "1"),
        ("9010", "48 62 10 00", "1062.48", "kWh"),
        ("9110", "01 00 00 80", "800000.01", "kvarh"),
        ("B611", "00 01", "100", "V"),
        ("B621", "34 12", "12.34", "A"),
        ("B630", "12 25 00", "0.2512", "kW"),
        ("B640", "34 12", "12.34", "kvar"),
        ("B650", "97 09", "0.997", "1"),
        ("A010", "12 25 00", "0.2512", "kW"),
        ("B212", "12 00", "12", "1"),
    ],
)
def test_a_number_is_exact_with_its_sign(di: str, payload: str, text: str, unit: str) -> None:
    """The sign is the top bit of the highest byte, not a digit; the decimals are the meter's."""
    quantity = one(di, payload)
    assert quantity is not None
    assert type(quantity.value) is int
    assert quantity.shown() == (text, unit)


def test_an_unsigned_item_has_no_sign_bit() -> None:
    """In a voltage and a forward energy the top digit is a digit."""
    assert one("02010100", "00 80") == Quantity(8000, -1, "V", Kind.INSTANTANEOUS)
    assert one("00010000", "00 00 00 80") == Quantity(80000000, 1, "Wh", Kind.CUMULATIVE)


@pytest.mark.parametrize(
    ("di", "kind"),
    [
        ("00010000", Kind.CUMULATIVE),
        ("01010000", Kind.MAXIMUM),
        ("02010100", Kind.INSTANTANEOUS),
        ("00900200", Kind.INSTANTANEOUS),
        ("03110000", Kind.CUMULATIVE),
        ("04000103", Kind.INSTANTANEOUS),
        ("04000503", Kind.STATUS),
        ("04000402", Kind.TEXT),
        ("A010", Kind.MAXIMUM),
    ],
)
def test_a_value_says_what_it_is_over_time(di: str, kind: int) -> None:
    """A register, a maximum, a state: adding two kinds would be an error."""
    assert payload_items(di)[0].kind == kind


FILLED = [row[0] for row in REFERENCE if payload_items(row[0])]


@pytest.mark.parametrize("di", FILLED)
def test_ff_fill_is_no_value(di: str) -> None:
    """In every identifier: neither 0 nor 6553.5, and no error."""
    size = sum(item.size for item in payload_items(di))
    values = decode_items(identifier_bytes(di) + b"\xff" * size, len(di) // 2)
    assert [quantity for _, quantity in values] == [None] * len(payload_items(di))
    assert decode_readings(identifier_bytes(di) + b"\xff" * size, len(di) // 2) == []


@pytest.mark.parametrize(
    ("di", "payload", "byte"),
    [
        ("00010000", "0E 00 00 00", "0e"),
        ("00010000", "00 00 0A 00", "0a"),
        ("00010000", "FF FF FF 00", "ff"),
        ("00010000", "FF FF FF 0F", "0f"),
        ("00010000", "00 00 00 A0", "a0"),
        ("00000000", "00 00 00 FA", "7a"),
        ("02010100", "F0 22", "f0"),
        ("04000101", "0A 01 11 25", "0a"),
        ("04000101", "01 01 11 2F", "2f"),
        ("04000102", "00 0C 00", "0c"),
        ("0400010C", "00 00 00 00 00 00 B0", "b0"),
        ("0400010C", "0D 00 00 00 00 00 00", "0d"),
        ("04000402", "00 00 00 0B 00 00", "0b"),
        ("9010", "00 00 0E 00", "0e"),
    ],
)
def test_a_digit_above_nine_is_refused(di: str, payload: str, byte: str) -> None:
    """It arrives under a good checksum now and then, and is not guessed."""
    with pytest.raises(ValueFormatError, match=f"byte {byte} is not two decimal digits"):
        decode_items(data(di, payload), len(di) // 2)


def test_a_signed_top_digit_above_nine_may_be_a_sign() -> None:
    """A0 in the highest byte is minus 20."""
    assert one("00000000", "00 00 00 A0") == Quantity(-20000000, 1, "Wh", Kind.CUMULATIVE)


@pytest.mark.parametrize(
    ("di", "payload"),
    [
        ("00010000", ""),
        ("00010000", "00 00 00"),
        ("00010000", "00 00 00 00 00"),
        ("0001FF00", ""),
        ("0001FF00", "00 00 00"),
        ("0001FF00", "00 00 00 00 00"),
        ("0001FF00", "00 " * 4 * 65),
        ("0201FF00", "00 00 00 00"),
        ("0201FF00", "00 00 00 00 00 00 00 00"),
        ("02800002", "50"),
        ("04000101", "01 01 25"),
        ("04000402", "00 00 00 00 00"),
        ("04000503", "00 00 00"),
        ("040005FF", "00 " * 13),
        ("040005FF", "00 " * (14 + 33)),
        ("01010000", "00 00 00"),
        ("03300401", "00 " * 15),
        ("9010", "00 00 00"),
        ("9010", "00 00 00 00 00"),
        ("901F", "00 00 00 00 AA AA"),
        ("901F", "AA 00 00 00 00"),
    ],
)
def test_a_wrong_length_is_refused(di: str, payload: str) -> None:
    """Neither the bytes there are nor those that are missing are guessed at."""
    with pytest.raises(ValueFormatError):
        decode_items(data(di, payload), len(di) // 2)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_reply_shorter_than_an_identifier_is_refused(size: int) -> None:
    """There is nothing to look up."""
    with pytest.raises(ValueFormatError, match="at least the 4 bytes of its identifier"):
        decode_items(bytes(size))


def test_a_wrong_length_says_what_was_due() -> None:
    """A block's length is that of its items together."""
    with pytest.raises(ValueFormatError, match=r"^4 bytes where 6 are due$"):
        decode_items(data("0201FF00", "00 00 00 00"))


@pytest.mark.parametrize("di", ["FFFFFFFF", "0506FF01", "06000001", "03300501", "040604FF"])
def test_an_unknown_identifier_or_layout_gives_no_value(di: str) -> None:
    """It is neither guessed nor an error."""
    assert decode_items(data(di, "00 " * 13)) == []


# ---- blocks and records ------------------------------------------------------------------------


def test_a_block_is_split_into_its_items() -> None:
    """Each item has its own OBIS, and one that is missing stands as None in its place."""
    values = decode_items(data("0203FF00", "12 25 00  FF FF FF  00 00 00  34 12 80"))
    assert [(item.obis.text(), quantity and quantity.value) for item, quantity in values] == [
        ("1-0:16.7.0*255", 2512),
        ("1-0:36.7.0*255", None),
        ("1-0:56.7.0*255", 0),
        ("1-0:76.7.0*255", -1234),
    ]


def test_one_bad_item_refuses_its_block() -> None:
    """The frame is suspect as a whole; the meter can be asked for the items one by one."""
    with pytest.raises(ValueFormatError):
        decode_items(data("0201FF00", "56 22  0E 00  56 22"))


def test_a_block_of_eighteen_status_bytes_keeps_seven_words_and_the_rest_raw() -> None:
    """One capture has four bytes more than seven words; nobody explains them."""
    words = "01 00 02 00 50 00 04 00 05 00 06 00 07 80"
    values = [quantity for _, quantity in decode_items(data("040005FF", words + "DE AD BE EF"))]
    assert values[:7] == [Quantity(w, 0, "", Kind.STATUS) for w in (1, 2, 0x50, 4, 5, 6, 0x8007)]
    assert values[7] == Quantity("EFBEADDE", 0, "", Kind.TEXT)
    assert len(decode_items(data("040005FF", words))) == 7


def test_a_demand_is_a_maximum_and_its_time() -> None:
    """Three bytes of value, then mm hh DD MM YY."""
    (_, power), (_, time) = decode_items(data("01010000", "12 25 01 15 10 21 11 26"))
    assert power == Quantity(12512, -1, "W", Kind.MAXIMUM)
    assert time == Quantity("2026-11-21T10:15", 0, "", Kind.TEXT)
    (_, power), (_, time) = decode_items(data("01010000", "00 00 00 00 00 00 00 00"))
    assert (power.value, time) == (0, None)


def test_an_event_record_is_read_item_by_item() -> None:
    """Relay opened: time, operator, six registers (derived: no capture of a record is public)."""
    payload = "55 53 21 06 11 26  78 56 34 12" + " 26 00 00 00" * 5 + " FF FF FF FF"
    values = decode_items(data("1D00FF01", payload))
    assert [quantity and quantity.shown()[0] for _, quantity in values] == [
        "2026-11-06T21:53:55", "12345678", "0.26", "0.26", "0.26", "0.26", "0.26", None,
    ]  # fmt: skip


def test_a_clock_setting_record_names_its_operator_first() -> None:
    """Unlike every other record of its class."""
    values = decode_items(data("03300401", "78 56 34 12  00 00 00 01 01 26  30 00 00 01 01 26"))
    assert [quantity.value for _, quantity in values] == [
        "12345678", "2026-01-01T00:00:00", "2026-01-01T00:00:30",
    ]  # fmt: skip


def test_a_programming_record_names_what_was_programmed() -> None:
    """Identifiers in reading order, FF fill where fewer than ten were."""
    payload = "00 00 12 01 01 26  01 00 00 00" + " 03 01 00 04" + " FF FF FF FF" * 9
    values = [quantity for _, quantity in decode_items(data("03300001", payload))]
    assert values[2].value == "04000103"
    assert values[3:] == [None] * 9


@pytest.mark.parametrize(("size", "dis"), EVENT_SIZES.items())
def test_a_record_of_another_length_is_refused(size: int, dis: str) -> None:
    """One byte less and one more, for every kind of record."""
    for di in dis.split():
        assert decode_items(identifier_bytes(di) + b"\xff" * size)
        for wrong in (size - 1, size + 1, 0):
            with pytest.raises(ValueFormatError):
                decode_items(identifier_bytes(di) + b"\xff" * wrong)


@pytest.mark.parametrize(
    ("di", "payload", "values"),
    [
        ("901F", "39 00 00 00  03 00 00 00", ["0.39", "0.03"]),
        ("901F", "39 00 00 00  03 00 00 00 AA", ["0.39", "0.03"]),
        ("901F", "39 00 00 00 AA 03 00 00 00 AA", ["0.39", "0.03"]),
        ("B61F", "20 02 21 02 22 02", ["220", "221", "222"]),
        ("B61F", "20 02 AA 21 02 AA 22 02 AA", ["220", "221", "222"]),
        ("A01F", "12 25 00 34 12 00 AA", ["0.2512", "0.1234"]),
    ],
)
def test_a_block_of_1997_may_have_separators(di: str, payload: str, values: list[str]) -> None:
    """Some meters put AA behind each item or behind the block, others nothing."""
    found = decode_items(data(di, payload), 2)
    assert [quantity.shown()[0] for _, quantity in found] == values


def test_a_status_byte_of_1997_may_be_aa() -> None:
    """Where all bits are allowed it is no separator."""
    assert one("C020", "AA") == Quantity(0xAA, 0, "", Kind.STATUS)


# ---- texts and times ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("di", "payload", "text"),
    [
        ("04000101", "06 21 11 26", "2026-11-21"),
        ("04000101", "07 29 02 24", "2024-02-29"),
        ("04000102", "55 53 21", "21:53:55"),
        ("04000102", "00 00 00", "00:00:00"),
        ("0400010C", "55 53 21 06 21 11 26", "2026-11-21T21:53:55"),
        ("0400010C", "00 00 00 03 01 01 25", "2025-01-01T00:00:00"),
        ("04000106", "00 00 01 01 27", "2027-01-01T00:00"),
        ("04000A01", "30 12 29 02", "02-29T12:30"),
        ("04000B01", "00 01", "01T00"),
        ("04001203", "15 00", "00:15"),
        ("04010000", "03 01 01", "01-01 3"),
        ("04010001", "02 00 24", "24:00 2"),
        ("04030001", "05 01 10 26", "2026-10-01 5"),
        ("04000401", "12 90 78 56 34 12", "123456789012"),
        ("04000402", "01 00 00 00 00 00", "000000000001"),
        ("C010", "06 21 11 26", "2026-11-21"),
        ("C011", "55 53 21", "21:53:55"),
        ("B210", "30 12 31 12", "12-31T12:30"),
    ],
)
def test_times_and_digits_are_text_as_people_read_them(di: str, payload: str, text: str) -> None:
    """High byte first, leading zeros kept; the stored weekday is left out."""
    assert one(di, payload) == Quantity(text, 0, "", Kind.TEXT)


@pytest.mark.parametrize(
    ("di", "payload"),
    [
        ("04000101", "00 00 00 00"),
        ("0400010C", "00 00 00 00 00 00 00"),
        ("05060001", "00 00 00 00 00"),
        ("04000B02", "99 99"),
        ("04000B02", "00 00"),
        ("04010000", "00 00 00"),
        ("04000403", "00 " * 32),
        ("04000403", "20 " * 32),
    ],
)
def test_what_was_never_set_is_none(di: str, payload: str) -> None:
    """A date of zeros, a settlement day of nines, a text of blanks."""
    assert one(di, payload) is None


@pytest.mark.parametrize(
    ("di", "payload"),
    [
        ("04000101", "01 30 02 25"),
        ("04000101", "01 29 02 25"),
        ("04000101", "01 31 04 25"),
        ("04000101", "01 32 01 25"),
        ("04000101", "01 01 13 25"),
        ("04000101", "01 01 00 25"),
        ("04000101", "01 00 01 25"),
        ("04000101", "08 01 01 25"),
        ("04000102", "60 00 00"),
        ("04000102", "00 60 00"),
        ("04000102", "00 00 25"),
        ("04000102", "01 00 24"),
        ("05060001", "01 24 09 10 15"),
        ("04000A01", "00 00 30 02"),
        ("04000B01", "00 32"),
        ("04000B01", "99 28"),
        ("04010000", "01 31 06"),
        ("B210", "00 00 31 11"),
    ],
)
def test_an_impossible_time_is_refused(di: str, payload: str) -> None:
    """Month, day of the month, hour, minute, second, weekday; 24:00 ends a day, 24:01 does not."""
    with pytest.raises(ValueFormatError, match="is not a time of the form"):
        decode_items(data(di, payload), len(di) // 2)


def test_characters_travel_last_first_with_padding() -> None:
    """Filled with zeros or blanks on either side."""
    for padding in ("00", "20"):
        sent = f"{padding} " * 3 + "35 34 2D 41 42 43" + f" {padding}"
        assert one("0400040B", sent).value == "CBA-45"
    assert one("04000404", "00 00 56 30 32 32").value == "220V"


@pytest.mark.parametrize("byte", ["07", "1F", "7F", "80", "E9"])
def test_bytes_that_are_no_characters_are_refused(byte: str) -> None:
    """Neither replaced nor shown."""
    with pytest.raises(ValueFormatError, match="are not text"):
        decode_items(data("04000407", f"41 {byte} 41 41"))


def test_a_status_word_is_bits_and_not_digits() -> None:
    """Any byte is allowed, low byte first."""
    assert one("04000503", "50 00") == Quantity(0x0050, 0, "", Kind.STATUS)
    assert one("04000503", "FE FF") == Quantity(0xFFFE, 0, "", Kind.STATUS)
    assert one("04000503", "FF 0A") == Quantity(0x0AFF, 0, "", Kind.STATUS)
    assert one("04000601", "05") == Quantity(5, 0, "", Kind.STATUS)


@pytest.mark.parametrize("di", ["04000C01", "04000C0A", "C212"])
def test_a_password_is_never_read_nor_written_as_a_value(di: str) -> None:
    """Not even when a meter sends one; the error does not repeat it."""
    with pytest.raises(ValueFormatError) as caught:
        decode_items(data(di, "56 34 12 02"), len(di) // 2)
    assert "12" not in str(caught.value)
    for value in ("02123456", "0212345", "021234567"):
        with pytest.raises(ValueFormatError) as caught:
            encode_value(payload_items(di)[0], value)
        assert "12" not in str(caught.value)


# ---- any bytes ---------------------------------------------------------------------------------

KNOWN_DIS = st.sampled_from([identifier_bytes(row[0]) for row in REFERENCE])


@given(
    st.binary(max_size=30) | st.tuples(KNOWN_DIS, st.binary(max_size=60)).map(b"".join),
    st.sampled_from([2, 4]),
)
def test_any_bytes_give_values_or_a_value_format_error(payload: bytes, size: int) -> None:
    """The fuzz sentence of the values."""
    try:
        values = decode_items(payload, size)
    except ValueFormatError:
        return
    for item, quantity in values:
        assert type(item) is Item
        assert quantity is None or type(quantity.value) in (int, str)
    assert decode_readings(payload, size) == [
        Reading(item.obis, quantity) for item, quantity in values if quantity is not None
    ]


# ---- the meter's side --------------------------------------------------------------------------


def a_value(item: Item) -> st.SearchStrategy[Any]:
    """Every value that the item can carry, as `encode_value` takes it."""
    most = 100**item.size - 1
    if item.form == SIGNED:
        most = 8 * 10 ** (2 * item.size - 1) - 1  # 79...9: the top bit is the sign
        return st.integers(-most, most)
    if item.form == UNSIGNED:
        return st.integers(0, most)
    if item.form == BITS:
        return st.integers(0, 256**item.size - 2)  # all set reads as fill
    if item.form == ASCII:
        characters = st.characters(min_codepoint=32, max_codepoint=126)
        return st.text(characters, max_size=item.size)
    digits = "0123456789ABCDEF" if item.form in (HEX, IDENTIFIER) else "0123456789"
    if item.form in (HEX, IDENTIFIER, DIGITS):
        return st.text(digits, min_size=2 * item.size, max_size=2 * item.size)
    return st.tuples(*[_part(item.form[at : at + 2]) for at in range(0, len(item.form), 2)]).map(
        "".join
    )


def _part(code: str) -> st.SearchStrategy[str]:
    """Digits of one part of a time, each date on a day that every month has."""
    least, most = {"MM": (1, 12), "DD": (1, 28), "hh": (0, 23), "mm": (0, 59), "ss": (0, 59),
                   "WW": (0, 6)}.get(code, (0, 98))  # fmt: skip
    return st.integers(least, most).map("{:02d}".format)


WRITTEN = [row[0] for row in REFERENCE if payload_items(row[0])]


@pytest.mark.parametrize("di", WRITTEN)
@settings(max_examples=12)  # of each of 360 identifiers
@given(source=st.data())
def test_encoding_is_the_inverse_of_decoding(di: str, source: st.DataObject) -> None:
    """Every value of every item of the reference comes back from its wire form."""
    for item in payload_items(di)[:20]:
        if item.form == WRITE_ONLY:
            continue
        value = source.draw(a_value(item))
        sent = encode_value(item, value)
        assert len(sent) == item.size
        quantity = decode_item(item, sent)
        if type(value) is int:
            assert quantity == Quantity(value, item.scaler, item.unit, item.kind)
        elif item.form == ASCII:
            assert (quantity.value if quantity else "") == value.strip()
        elif item.form in (HEX, IDENTIFIER, DIGITS):
            assert quantity is None or quantity.value == value
        else:
            assert_same_time(item.form, value, quantity)
        assert encode_value(item, sent) == sent
        assert decode_item(item, encode_value(item, None)) is None


def assert_same_time(form: str, digits: str, quantity: Quantity | None) -> None:
    """The digits of the text are those written, without the weekday and with the century."""
    pairs = {form[at : at + 2]: digits[at : at + 2] for at in range(0, len(form), 2)}
    number = pairs.pop("NN", None)
    pairs.pop("WW", None)
    if "YY" in pairs:
        pairs["YY"] = "20" + pairs["YY"]
    assert quantity is not None
    shown = quantity.value.split(" ")
    assert shown[0].translate({ord(sign): "" for sign in "-T:"}) == "".join(pairs.values())
    assert shown[1:] == ([] if number is None else [str(int(number))])


CURRENT_L1 = items_of(identifier_bytes("02020100"), 3)[0]
VOLTAGE_L1 = items_of(identifier_bytes("02010100"), 2)[0]
STATUS = items_of(identifier_bytes("04000503"), 2)[0]
NUMBER = items_of(identifier_bytes("04000402"), 6)[0]
DATE = items_of(identifier_bytes("04000101"), 4)[0]
MODEL = items_of(identifier_bytes("0400040B"), 10)[0]
FILING = items_of(identifier_bytes("04800004"), 8)[0]


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (CURRENT_L1, 800_000),
        (CURRENT_L1, -800_000),
        (CURRENT_L1, 999_999),
        (VOLTAGE_L1, -1),
        (VOLTAGE_L1, 10_000),
        (STATUS, 0x10000),
        (STATUS, -1),
        (NUMBER, 123456789012),
        (NUMBER, "12345678901"),
        (NUMBER, "1234567890"),
        (NUMBER, "12345678901234"),
        (NUMBER, "12345678901x"),
        (NUMBER, "12345678901²"),
        (NUMBER, "12345678901A"),
        (DATE, b"\x01\x02\x03"),
        (DATE, b""),
        (DATE, "26110"),
        (DATE, "25023001"),
        (DATE, "25130101"),
        (DATE, "2511010A"),
        (MODEL, "12345678901"),
        (MODEL, "é"),
        (MODEL, "a\n"),
        (FILING, "0" * 15),
        (FILING, "0" * 15 + "G"),
    ],
)
def test_a_value_that_does_not_fit_its_item_is_refused(item: Item, value: Any) -> None:
    """A simulated meter never sends what reads as something else."""
    with pytest.raises((ValueFormatError, CallerError)):
        encode_value(item, value)


def test_a_wrong_digit_string_is_told_with_what_is_due() -> None:
    """Twelve digits for a meter number."""
    with pytest.raises(ValueFormatError, match=r"^'123' where 12 digits are due$"):
        encode_value(NUMBER, "123")


def test_the_wire_form_of_texts() -> None:
    """Last character first, digits low byte first, a date WW DD MM YY."""
    assert encode_value(MODEL, "AB") == b"\x00" * 8 + b"BA"
    assert encode_value(NUMBER, "123456789012").hex() == "129078563412"
    assert encode_value(DATE, "26112106").hex() == "06211126"


def test_every_status_word_can_be_sent() -> None:
    """All bits set included, though it reads as FF fill."""
    assert [encode_value(STATUS, word) for word in (0, 0x0050, 0xFFFF)] == [
        b"\x00\x00", b"\x50\x00", b"\xff\xff",
    ]  # fmt: skip


# ---- the short way -----------------------------------------------------------------------------

OF_2007 = [vector for vector in REPLIES if vector["protocol"] == "2007"]


@pytest.mark.parametrize("vector", OF_2007, ids=names(OF_2007))
def test_the_short_way_says_what_the_long_way_says_or_nothing(vector: dict[str, Any]) -> None:
    """Numbers of one item take it; status words, dates, digits, blocks and FF fill do not."""
    frame = decode_frame(wire(vector))
    short = decode_reply(wire(vector))
    form = items_of(frame.data[:4], len(frame.data) - 4)[0].form
    is_number = "value" in vector["expected"] and form in (UNSIGNED, SIGNED)
    assert (short is not None) == is_number
    if short:
        assert short == (vector["address"], frame.data[:4], decode_readings(frame.data))
        assert {type(one) for one in short[2]} == {Reading}


SINGLE = [row[0] for row in REFERENCE if len(row[0]) == 8 and len(payload_items(row[0])) == 1]


@pytest.mark.parametrize("di", SINGLE)
def test_a_short_way_exists_for_numbers_only(di: str) -> None:
    """A status word whose bytes look like digits is not read as a number."""
    (item,) = payload_items(di)
    for payload in (bytes(item.size), b"\x12" * item.size):
        said = identifier_bytes(di) + payload
        short = decode_reply(Frame("123456789012", 0x91, said).to_bytes(4))
        if item.form in (UNSIGNED, SIGNED) and 2 <= item.size <= 4:
            assert short == ("123456789012", said[:4], decode_readings(said))
        else:
            assert short is None


def test_a_simulated_reply_reads_back_through_an_exchange() -> None:
    """Encoder, frame, exchange and decoder fit together."""
    exchange = read("123456789012", "02020100")
    payload = exchange.request.data + encode_value(CURRENT_L1, -1234)
    exchange.receive(decode_frame(exchange.request._replace(control=0x91, data=payload).to_bytes()))
    assert [str(reading.described()["value"]) for reading in decode_readings(exchange.data())] == [
        "-1.234"
    ]


def test_a_reading_of_1997_is_asked_for_by_its_own_edition() -> None:
    """The same OBIS code has another identifier there."""
    (reading,) = decode_readings(data("9010", "26 00 00 00"), 2)
    assert identifier_of(reading.obis) == "00010000"
    assert identifier_of(reading.obis, EDITION_1997) == "9010"
