"""protocols/dlt645/values.py: payload bytes to exact readings, and back."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645 import identifiers
from protocols.dlt645.exchange import identifier_bytes, read
from protocols.dlt645.frame import Frame, decode_frame
from protocols.dlt645.identifiers import BITS, DIGITS, SIGNED, UNSIGNED, Item, items_of
from protocols.dlt645.values import decode_readings, decode_reply, decode_values, encode_value
from protocols.errors import CallerError, ValueFormatError
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading
from tests.protocols.vectors import BY_ID, VECTORS, decimals, names, wire

REPLIES = [
    vector
    for vector in VECTORS
    if vector["protocol"] == "2007"
    and vector.get("control") in ("91", "B1")
    and vector["expect"] == "accept"
]
# Identifiers of the vectors that the tables leave out: no OBIS code of their own, or no reading.
OUTSIDE = {"00440000", "05060001", "00900200", "03300D00", "1D000001"}
KNOWN = [vector for vector in REPLIES if vector["di"] not in OUTSIDE]
NUMBERS = [vector for vector in KNOWN if {"value", "values"} & set(vector["expected"])]
OTHERS = [vector for vector in KNOWN if vector not in NUMBERS]


def data(di: str, payload: str) -> bytes:
    """A reply's data: identifier and payload, both as on the wire."""
    return identifier_bytes(di) + bytes.fromhex(payload)


def one(di: str, payload: str) -> Quantity | None:
    """The only value of a reply."""
    ((_, quantity),) = decode_values(data(di, payload))
    assert quantity is None or type(quantity) is Quantity
    return quantity


def items() -> list[Item]:
    """One item of every form, size and sign that the tables know."""
    wires = list(identifiers._SINGLE_BY_WIRE)
    wires += [bytes((0, 0, di2, 0)) for di2 in identifiers._ENERGIES]
    wires += [bytes((0, at, di2, 2)) for di2 in identifiers._VARIABLES for at in (0, 1)]
    return [items_of(di, 4)[0] for di in wires if items_of(di, 4)]


def codes_of(item: Item) -> bytes:
    """The wire form of the identifier that reads the item."""
    return identifier_bytes(identifiers.identifier_of(item.obis))


# ---- the vectors -------------------------------------------------------------------------------


def test_every_value_vector_of_the_tables_is_tested() -> None:
    """No reply is left out unnoticed."""
    assert {vector["di"] for vector in REPLIES} >= OUTSIDE
    assert (len(REPLIES), len(NUMBERS), len(OTHERS)) == (36, 25, 6)


@pytest.mark.parametrize("vector", NUMBERS, ids=names(NUMBERS))
def test_a_vectors_numbers_are_read_exactly(vector: dict[str, Any]) -> None:
    """Value, decimal places, unit and missing phases are those of the vector."""
    expected = vector["expected"]
    wanted = expected.get("values", [expected.get("value")])
    unit = expected["unit"]
    found = decode_values(decode_frame(wire(vector)).data)
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
    ],
)
def test_a_vectors_text_is_read(name: str, obis: str, value: str) -> None:
    """Meter number, date without the stored weekday, time."""
    expected = BY_ID[name]["expected"]
    assert value == (expected.get("text") or expected.get("date") or expected.get("time"))
    quantity = Quantity(value, 0, "", Kind.TEXT)
    assert decode_values(decode_frame(wire(BY_ID[name])).data) == [(Obis.from_text(obis), quantity)]


@pytest.mark.parametrize(("name", "bits"), [("v068", [4, 6]), ("v069", [])])
def test_a_vectors_status_word_is_read(name: str, bits: list[int]) -> None:
    """Low byte first; bit 4 is the contact, bit 6 the command."""
    ((obis, quantity),) = decode_values(decode_frame(wire(BY_ID[name])).data)
    assert obis == Obis.from_text("0-0:96.3.10")
    assert quantity == Quantity(BY_ID[name]["expected"]["word"], 0, "", Kind.STATUS)
    assert [bit for bit in range(16) if quantity.value >> bit & 1] == bits


@pytest.mark.parametrize("di", sorted(OUTSIDE))
def test_an_unknown_identifier_gives_no_value(di: str) -> None:
    """It is neither guessed nor an error."""
    replies = [vector for vector in REPLIES if vector["di"] == di]
    assert replies
    for vector in replies:
        assert decode_values(decode_frame(wire(vector)).data) == []


def test_a_value_of_the_wrong_length_in_a_good_frame_is_refused() -> None:
    """A library's faulty reply: framing good, 10 bytes where a current has 3."""
    with pytest.raises(ValueFormatError, match="10 bytes where 3 are due"):
        decode_values(decode_frame(wire(BY_ID["v162"])).data)


def test_a_vectors_reply_becomes_readings() -> None:
    """Phases without a value are left out: no reading is not the reading 0."""
    assert decode_readings(decode_frame(wire(BY_ID["v047"])).data) == [
        Reading(Obis.from_text("1-0:32.7.0"), Quantity(2256, -1, "V", Kind.INSTANTANEOUS))
    ]


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
        ("02020100", "34 12 80", "-1.234", "A"),
        ("02030000", "99 99 79", "79.9999", "kW"),
        ("02030000", "01 00 80", "-0.0001", "kW"),
        ("02060000", "00 10", "1.000", "1"),
        ("02060000", "00 90", "-1.000", "1"),
        ("02010100", "01 23", "230.1", "V"),
        ("02010100", "99 99", "999.9", "V"),
        ("02800002", "03 50", "50.03", "Hz"),
        ("02800001", "34 12 80", "-1.234", "A"),
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
    ("di", "payload"),
    [
        ("00010000", "FF FF FF FF"),
        ("00000000", "FF FF FF FF"),
        ("02010100", "FF FF"),
        ("02020100", "FF FF FF"),
        ("04000101", "FF FF FF FF"),
        ("04000402", "FF FF FF FF FF FF"),
        ("04000503", "FF FF"),
    ],
)
def test_ff_fill_is_no_value(di: str, payload: str) -> None:
    """It is neither 0 nor 6553.5, and it is no error."""
    assert one(di, payload) is None
    assert decode_readings(data(di, payload)) == []


@pytest.mark.parametrize(
    ("di", "payload", "byte"),
    [
        ("00010000", "0E 00 00 00", "0e"),
        ("00010000", "00 00 0A 00", "0a"),
        ("00010000", "FF FF FF 00", "ff"),
        ("00010000", "FF FF FF 0F", "0f"),
        ("00010000", "00 00 00 A0", "a0"),
        ("00000000", "00 00 00 A0", None),
        ("00000000", "00 00 00 FA", "7a"),
        ("02010100", "F0 22", "f0"),
        ("04000101", "0A 01 11 25", "0a"),
        ("04000101", "01 01 11 2F", "2f"),
        ("04000102", "00 0C 00", "0c"),
        ("0400010C", "00 00 00 00 00 00 B0", "b0"),
        ("0400010C", "0D 00 00 00 00 00 00", "0d"),
        ("04000402", "00 00 00 0B 00 00", "0b"),
    ],
)
def test_a_digit_above_nine_is_refused(di: str, payload: str, byte: str | None) -> None:
    """It arrives under a good checksum now and then, and is not guessed."""
    if byte is None:  # the top bit is the sign here: -20000000
        assert one(di, payload) == Quantity(-20000000, 1, "Wh", Kind.CUMULATIVE)
        return
    with pytest.raises(ValueFormatError, match=f"byte {byte} is not two decimal digits"):
        decode_values(data(di, payload))


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
    ],
)
def test_a_wrong_length_is_refused(di: str, payload: str) -> None:
    """Neither the bytes there are nor those that are missing are guessed at."""
    with pytest.raises(ValueFormatError, match="bytes where"):
        decode_values(data(di, payload))


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_reply_shorter_than_an_identifier_is_refused(size: int) -> None:
    """There is nothing to look up."""
    with pytest.raises(ValueFormatError, match="four bytes"):
        decode_values(bytes(size))


def test_a_date_of_zeros_is_none() -> None:
    """No date was ever set; midnight of a real day, and the time 00:00:00, are values."""
    for di, sent in (("04000101", "00 00 00 00"), ("0400010C", "00 00 00 00 00 00 00")):
        assert [value for _, value in decode_values(data(di, sent))] == [None]
    assert decode_values(data("04000102", "00 00 00"))[0][1].value == "00:00:00"
    assert decode_values(data("0400010C", "00 00 00 03 01 01 25"))[0][1].value == (
        "2025-01-01T00:00:00"
    )


def test_a_wrong_length_says_what_was_due() -> None:
    """A block's length is that of its items together."""
    with pytest.raises(ValueFormatError, match=r"^4 bytes where 6 are due$"):
        decode_values(data("0201FF00", "00 00 00 00"))


def test_a_block_is_split_into_its_items() -> None:
    """Each item has its own OBIS, and one that is missing stands as None in its place."""
    values = decode_values(data("0203FF00", "12 25 00  FF FF FF  00 00 00  34 12 80"))
    assert [(obis.text(), quantity and quantity.value) for obis, quantity in values] == [
        ("1-0:16.7.0*255", 2512),
        ("1-0:36.7.0*255", None),
        ("1-0:56.7.0*255", 0),
        ("1-0:76.7.0*255", -1234),
    ]


def test_one_bad_item_refuses_its_block() -> None:
    """The frame is suspect as a whole; the meter can be asked for the items one by one."""
    with pytest.raises(ValueFormatError):
        decode_values(data("0201FF00", "56 22  0E 00  56 22"))


@pytest.mark.parametrize(
    ("di", "payload", "text"),
    [
        ("04000101", "06 21 11 26", "2026-11-21"),
        ("04000102", "55 53 21", "21:53:55"),
        ("0400010C", "55 53 21 06 21 11 26", "2026-11-21T21:53:55"),
        ("04000401", "12 90 78 56 34 12", "123456789012"),
        ("04000402", "01 00 00 00 00 00", "000000000001"),
    ],
)
def test_dates_and_digits_are_text_as_the_meter_has_them(di: str, payload: str, text: str) -> None:
    """High byte first, leading zeros kept; a meter's clock is reported, not judged."""
    assert one(di, payload) == Quantity(text, 0, "", Kind.TEXT)


def test_a_status_word_is_bits_and_not_digits() -> None:
    """Any byte is allowed, low byte first."""
    assert one("04000503", "50 00") == Quantity(0x0050, 0, "", Kind.STATUS)
    assert one("04000503", "FE FF") == Quantity(0xFFFE, 0, "", Kind.STATUS)
    assert one("04000503", "FF 0A") == Quantity(0x0AFF, 0, "", Kind.STATUS)


@given(st.binary(max_size=30) | st.tuples(
    st.sampled_from([codes_of(item) for item in items()] + [identifier_bytes("0001FF00")]),
    st.binary(max_size=24),
).map(b"".join))  # fmt: skip
def test_any_bytes_give_values_or_a_value_format_error(payload: bytes) -> None:
    """The fuzz sentence of the values."""
    try:
        values = decode_values(payload)
    except ValueFormatError:
        return
    for obis, quantity in values:
        assert type(obis) is Obis
        assert quantity is None or type(quantity.value) in (int, str)
    assert decode_readings(payload) == [Reading(*pair) for pair in values if pair[1] is not None]


# ---- the meter's side --------------------------------------------------------------------------


def numbers_of(item: Item) -> st.SearchStrategy[int]:
    """Every number that the item can carry."""
    if item.form == SIGNED:
        most = 8 * 10 ** (2 * item.size - 1) - 1  # 79...9: the top bit is the sign
        return st.integers(-most, most)
    return st.integers(0, 0xFFFE if item.form == BITS else 100**item.size - 1)


@pytest.mark.parametrize("item", items(), ids=lambda item: item.obis.text())
@given(source=st.data())
def test_encoding_is_the_inverse_of_decoding(item: Item, source: st.DataObject) -> None:
    """Every number of every item comes back from its wire form."""
    if item.form in (UNSIGNED, SIGNED, BITS):
        value: Any = source.draw(numbers_of(item))
        expected: Any = value
    elif item.form == DIGITS:
        value = expected = source.draw(st.text("0123456789", min_size=12, max_size=12))
    else:
        digits = source.draw(st.lists(st.integers(0, 99), min_size=item.size, max_size=item.size))
        value = bytes(number // 10 << 4 | number % 10 for number in digits)
        expected = None
    wired = encode_value(item, value)
    assert len(wired) == item.size
    ((obis, quantity),) = decode_values(codes_of(item) + wired)
    assert obis == item.obis
    if expected is not None:
        assert quantity == Quantity(expected, item.scaler, item.unit, item.kind)
    assert decode_values(codes_of(item) + encode_value(item, None)) == [(item.obis, None)]


CURRENT_L1 = items_of(identifier_bytes("02020100"), 3)[0]
VOLTAGE_L1 = items_of(identifier_bytes("02010100"), 2)[0]
STATUS = items_of(identifier_bytes("04000503"), 2)[0]
NUMBER = items_of(identifier_bytes("04000402"), 6)[0]
DATE = items_of(identifier_bytes("04000101"), 4)[0]


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
        (NUMBER, "12345678901"),
        (NUMBER, "1234567890"),
        (NUMBER, "12345678901234"),
        (NUMBER, "12345678901x"),
        (DATE, b"\x01\x02\x03"),
        (DATE, b""),
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


def test_every_status_word_can_be_sent() -> None:
    """All bits set included, though it reads as FF fill."""
    assert [encode_value(STATUS, word) for word in (0, 0x0050, 0xFFFF)] == [
        b"\x00\x00", b"\x50\x00", b"\xff\xff",
    ]  # fmt: skip


@pytest.mark.parametrize("vector", KNOWN, ids=names(KNOWN))
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


@pytest.mark.parametrize("item", items(), ids=lambda item: item.obis.text())
def test_a_short_way_exists_for_numbers_only(item: Item) -> None:
    """A status word whose bytes look like digits is not read as a number."""
    for payload in (bytes(item.size), b"\x12" * item.size):
        data = codes_of(item) + payload
        short = decode_reply(Frame("123456789012", 0x91, data).to_bytes(4))
        if item.form in (UNSIGNED, SIGNED):
            assert short == ("123456789012", data[:4], decode_readings(data))
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
