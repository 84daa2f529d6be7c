"""protocols/dlt645/records.py: load records and freeze blocks.

No captured block is public. Those here are derived: typed by hand from the layout that public meter
firmware builds and concentrators take apart, so a mistake in that layout would be in both.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645.identifiers import identifier_bytes
from protocols.dlt645.records import Record, decode_freeze, decode_load_records
from protocols.errors import ValueFormatError
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading

TIME = "15 10 21 11 26"
SAID = "2026-11-21T10:15"
# Each class as a meter sends it, and what it says: OBIS, value, scaler, unit.
CLASSES = [
    (
        "01 23  02 23  FF FF   34 12 00  34 12 80  FF FF FF   03 50",
        "32.7.0 2301 -1 V;52.7.0 2302 -1 V;31.7.0 1234 -3 A;51.7.0 -1234 -3 A;14.7.0 5003 -2 Hz",
    ),
    (
        "12 25 00  01 00 80  00 00 00  FF FF FF   31 43 00  00 00 00  01 00 00  00 00 90",
        (
            "16.7.0 2512 -1 W;36.7.0 -1 -1 W;56.7.0 0 -1 W;131.7.0 4331 -1 var;151.7.0 0 -1 var;"
            "171.7.0 1 -1 var;191.7.0 -100000 -1 var"
        ),
    ),
    ("97 09  00 10  00 90  FF FF", "13.7.0 997 -3 1;33.7.0 1000 -3 1;53.7.0 -1000 -3 1"),
    (
        "78 56 34 12  26 00 00 00  34 12 00 80  01 00 00 00",
        "1.8.0 12345678 1 Wh;2.8.0 26 1 Wh;3.8.0 -1234 1 varh;4.8.0 1 1 varh",
    ),
    (
        "01 00 00 00  02 00 00 00  03 00 00 00  FF FF FF FF",
        "5.8.0 1 1 varh;6.8.0 2 1 varh;7.8.0 3 1 varh",
    ),
    ("12 25 00  01 00 80", "1.4.0 2512 -1 W;OWN -1 -1 var"),
]
OWN = Obis(1, 128, 2, 128, 0, 5)  # the present reactive demand has no code of its own
KINDS = {"W": Kind.INSTANTANEOUS, "var": Kind.INSTANTANEOUS, "V": Kind.INSTANTANEOUS,
         "A": Kind.INSTANTANEOUS, "Hz": Kind.INSTANTANEOUS, "1": Kind.INSTANTANEOUS,
         "Wh": Kind.CUMULATIVE, "varh": Kind.CUMULATIVE}  # fmt: skip


def readings(text: str) -> tuple[Reading, ...]:
    """`OBIS value scaler unit` separated by semicolons, as readings."""
    found = []
    for one in text.split(";"):
        code, value, scaler, unit = one.split()
        obis = OWN if code == "OWN" else Obis.from_text(f"1-0:{code}")
        found.append(Reading(obis, Quantity(int(value), int(scaler), unit, KINDS[unit])))
    return tuple(found)


def block(body: str, start: str = "A0 A0") -> bytes:
    """A block around time and classes: its length and its sum are what they should be."""
    inside = bytes.fromhex(body)
    head = bytes.fromhex(start) + bytes((len(inside),)) + inside
    return head + bytes((sum(head) % 256, 0xE5))


def load(di: str, *blocks: bytes) -> bytes:
    """The data of a reply: identifier and blocks without a separator."""
    return identifier_bytes(di) + b"".join(blocks)


EVERYTHING = block(f"{TIME} " + " AA ".join(one for one, _ in CLASSES) + " AA")
ALL_READINGS = readings(";".join(said for _, said in CLASSES))
EMPTY = block(f"{TIME} AA AA AA AA AA AA")


# ---- load records ------------------------------------------------------------------------------


def test_a_full_block_is_as_long_as_firmware_builds_it() -> None:
    """103 bytes; L = 62h counts from the time to the last AA; the sum is over all before it."""
    assert (len(EVERYTHING), EVERYTHING[2]) == (103, 0x62)
    assert EVERYTHING[:3].hex() == "a0a062"
    assert EVERYTHING[-2:].hex(" ") == "71 e5"
    assert EMPTY.hex(" ") == "a0 a0 0b 15 10 21 11 26 aa aa aa aa aa aa c4 e5"


def test_a_full_block_is_read_value_by_value() -> None:
    """Under the codes that the quantities have on their own; FF fill is left out."""
    (record,) = decode_load_records(load("06000001", EVERYTHING))
    assert type(record) is Record
    assert record == Record(SAID, ALL_READINGS, "")
    assert {type(one) for one in record.readings} == {Reading}
    assert {type(one.quantity) for one in record.readings} == {Quantity}


@pytest.mark.parametrize("recorded", range(64))
def test_a_class_that_is_not_recorded_is_its_separator_alone(recorded: int) -> None:
    """Every combination of the six classes."""
    there = [number for number in range(6) if recorded >> number & 1]
    body = "".join((one if number in there else "") + " AA " for number, (one, _) in
                   enumerate(CLASSES))  # fmt: skip
    (record,) = decode_load_records(load("06000000", block(TIME + body)))
    wanted = [reading for number in there for reading in readings(CLASSES[number][1])]
    assert record == Record(SAID, tuple(wanted), "")


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize(
    "form", ["all separators", "none before", "none behind", "its own", "bare"]
)
def test_one_class_alone_may_come_with_or_without_the_others_separators(
    number: int, form: str
) -> None:
    """The identifier says which class it is; meters differ in what they put around it."""
    before, behind = number, 6 - number
    if form in ("none before", "its own", "bare"):
        before = 0
    if form == "its own":
        behind = 1
    if form in ("none behind", "bare"):
        behind = 0
    body = f"{TIME} {'AA ' * before} {CLASSES[number][0]} {'AA ' * behind}"
    (record,) = decode_load_records(load(f"060{number + 1}0002", block(body)))
    assert record == Record(SAID, readings(CLASSES[number][1]), "")


@pytest.mark.parametrize("number", range(6))
def test_one_class_that_was_not_recorded_gives_no_readings(number: int) -> None:
    """The time is there, values are not."""
    for body in (TIME, f"{TIME} AA", f"{TIME} AA AA AA AA AA AA"):
        (record,) = decode_load_records(load(f"060{number + 1}0001", block(body)))
        assert record == Record(SAID, (), "")


@pytest.mark.parametrize("number", range(6))
def test_another_class_than_the_one_asked_for_is_refused(number: int) -> None:
    """Its size is not that of the class in the identifier; 4 and 5 have one size, and differ in
    what the meter was asked for."""
    for other in range(6):
        data = load(f"060{number + 1}0001", block(f"{TIME} {CLASSES[other][0]} AA"))
        if len(bytes.fromhex(CLASSES[other][0])) == len(bytes.fromhex(CLASSES[number][0])):
            assert len(decode_load_records(data)) == 1
            continue
        with pytest.raises(ValueFormatError):
            decode_load_records(data)


def test_several_blocks_follow_each_other() -> None:
    """In the order of the wire, a void and a damaged one in their places without values."""
    void = block(f"{TIME} AA AA AA AA AA AA", "E0 E0")
    damaged = bytearray(EVERYTHING)
    damaged[20] ^= 0x01
    records = decode_load_records(load("06000001", EVERYTHING, void, bytes(damaged), EMPTY))
    assert records == [
        Record(SAID, ALL_READINGS, ""),
        Record(None, (), "void"),
        Record(None, (), "checksum"),
        Record(SAID, (), ""),
    ]
    assert decode_load_records(load("06000001")) == []


@pytest.mark.parametrize("at", range(103))
def test_every_damaged_byte_of_a_block_is_seen(at: int) -> None:
    """The record has no values, or what stands there is no block at all."""
    for flip in (0x01, 0x10, 0x80, 0xFF):
        damaged = bytearray(EVERYTHING)
        damaged[at] ^= flip
        try:
            records = decode_load_records(load("06000001", bytes(damaged), EMPTY))
        except ValueFormatError:
            continue
        assert records[0].readings == ()
        assert records[0].fault == "checksum"


@pytest.mark.parametrize("size", range(4 + 103 + 16))
def test_a_reply_cut_anywhere_gives_whole_records_or_is_refused(size: int) -> None:
    """Never a record of half a block."""
    data = load("06000001", EVERYTHING, EMPTY)[:size]
    try:
        records = decode_load_records(data)
    except ValueFormatError:
        assert size not in (4, 4 + 103)
        return
    assert size in (4, 4 + 103)
    assert records == [Record(SAID, ALL_READINGS, "")][: size > 4]


@pytest.mark.parametrize(
    "body",
    [
        f"{TIME} AA AA AA AA AA",
        f"{TIME} AA AA AA AA AA AA AA",
        f"{TIME} 01 23 AA AA AA AA AA AA",
        f"{TIME} {CLASSES[0][0]} AA AA AA AA AA",
        f"{TIME} {CLASSES[0][0]} AA AA AA AA AA AA 00",
        f"{TIME} {CLASSES[0][0].replace('03 50', '0A 50')} AA AA AA AA AA AA",
        f"{TIME} {CLASSES[0][0].replace('03 50', '03')} AA AA AA AA AA AA",
        f"{TIME} {CLASSES[1][0]} AA AA AA AA AA AA",
        "60 10 21 11 26 AA AA AA AA AA AA",
        "15 10 31 11 26 AA AA AA AA AA AA",
        "15 10 21 13 26 AA AA AA AA AA AA",
        "15 1A 21 11 26 AA AA AA AA AA AA",
        "15 10 21 11",
        "",
    ],
)
def test_a_block_whose_inside_does_not_fit_is_refused(body: str) -> None:
    """Separators missing or too many, a class too short, a digit above 9, no such time."""
    with pytest.raises(ValueFormatError):
        decode_load_records(load("06000001", block(body)))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x01\x00\x00", b"\x01\x00\x00\x05" + EVERYTHING, b"\x01\x00\x00\x00" + EVERYTHING,
        load("06000001", b"\xa0" + EVERYTHING), load("06000001", EVERYTHING[1:]),
        load("06000001", b"\xa0\xe0" + EVERYTHING[2:]),
        load("06000001", EVERYTHING[:-1] + b"\x16"),
        load("06000001", EVERYTHING, b"\xaa"), load("06000001", EVERYTHING, b"\x00" * 20),
        load("06070001", block(f"{TIME} 01 23")), load("06100101", block(f"{TIME} 01 23")),
    ],
)  # fmt: skip
def test_what_is_no_sequence_of_blocks_is_refused(data: bytes) -> None:
    """Another identifier, other marks, something between or behind the blocks, no such class."""
    with pytest.raises(ValueFormatError):
        decode_load_records(data)


@pytest.mark.parametrize("time", ["00 00 00 00 00", "FF FF FF FF FF"])
def test_a_record_may_say_no_time(time: str) -> None:
    """Zeros or fill: none was set."""
    (record,) = decode_load_records(load("06000001", block(f"{time} AA AA AA AA AA AA")))
    assert record == Record(None, (), "")


# ---- freezes -----------------------------------------------------------------------------------

# Parts of a daily freeze of a meter with two tariffs: total, 1, 2.
ENERGY = "03 00 00 00  02 00 00 00  01 00 00 00"
NET = "03 00 00 80  FF FF FF FF  01 00 00 00"
DEMAND = "12 25 00 15 10 21 11 26  01 00 00 00 00 00 00 00  FF FF FF FF FF FF FF FF"
PARTS = [ENERGY, ENERGY, NET, NET, ENERGY, ENERGY, ENERGY, ENERGY, DEMAND, DEMAND, CLASSES[1][0]]


def expected_freeze(parts: list[str]) -> tuple[Reading, ...]:
    """What those parts say, in their order; a part that is "" says nothing."""
    found: list[Reading] = []
    for number, part in enumerate(parts):
        if not part:
            continue
        if number == 10:
            found.extend(readings(CLASSES[1][1]))
            continue
        c = number + 1 if number < 8 else number - 7
        if number >= 8:
            for tariff, value in enumerate((2512, 1)):
                code = Obis(1, 0, c, 6, tariff, 255)
                found.append(Reading(code, Quantity(value, -1, "W", Kind.MAXIMUM)))
                if not tariff:
                    when = Quantity(SAID, 0, "", Kind.TEXT)
                    found.append(Reading(Obis(1, 129, 1, c, 0, 0), when))
            continue
        values = (-3, None, 1) if part == NET else (3, 2, 1)
        unit = "Wh" if c <= 2 else "varh"
        for tariff, value in enumerate(values):
            if value is not None:
                code = Obis(1, 0, c, 8, tariff, 255)
                found.append(Reading(code, Quantity(value, 1, unit, Kind.CUMULATIVE)))
    return tuple(found)


def freeze(di: str, body: str) -> bytes:
    """The data of a reply: identifier and block."""
    return identifier_bytes(di) + bytes.fromhex(body)


SEPARATED = f"{TIME} AA " + " AA ".join(PARTS) + " AA"
JOINED = f"{TIME} " + " ".join(PARTS)


@pytest.mark.parametrize("di", ["0506FF01", "0500FF0C", "0501FF03", "0507FF02"])
@pytest.mark.parametrize("body", [SEPARATED, JOINED])
def test_a_freeze_block_is_read_with_or_without_separators(di: str, body: str) -> None:
    """Time, registers and demands by tariff, powers; the tariffs follow from the length."""
    record = decode_freeze(freeze(di, body))
    assert type(record) is Record
    assert record == Record(SAID, expected_freeze(PARTS), "")


@pytest.mark.parametrize("missing", range(11))
def test_a_part_that_is_switched_off_is_its_separator_alone(missing: int) -> None:
    """Only where separators are sent; without them nobody could tell."""
    parts = [part if number != missing else "" for number, part in enumerate(PARTS)]
    body = f"{TIME} AA " + " AA ".join(parts) + " AA"
    assert decode_freeze(freeze("0506FF01", body)).readings == expected_freeze(parts)
    with pytest.raises(ValueFormatError):
        decode_freeze(freeze("0506FF01", f"{TIME} " + " ".join(parts)))


def test_everything_switched_off_is_a_time() -> None:
    """Twelve separators, no readings."""
    assert decode_freeze(freeze("0506FF01", TIME + " AA" * 12)) == Record(SAID, (), "")


@pytest.mark.parametrize(
    "body",
    [
        f"{TIME} 78 56 34 12 26 00 00 00",
        f"{TIME} AA 78 56 34 12 AA 26 00 00 00 AA",
    ],
)
def test_an_hourly_block_has_two_totals(body: str) -> None:
    """13 bytes, or 16 with separators."""
    record = decode_freeze(freeze("0504FF01", body))
    assert record == Record(SAID, readings("1.8.0 12345678 1 Wh;2.8.0 26 1 Wh"), "")
    assert decode_freeze(freeze("0504FF01", f"{TIME} AA AA AA")).readings == ()
    off = decode_freeze(freeze("0504FF01", f"{TIME} AA AA 26 00 00 00 AA"))
    assert off.readings == readings("2.8.0 26 1 Wh")


@pytest.mark.parametrize("tariffs", [0, 1, 4, 8, 63])
def test_the_number_of_tariffs_follows_from_the_length(tariffs: int) -> None:
    """29 bytes and 48 for the total and each tariff: 269 bytes are four tariffs."""
    size = 29 + 48 * (1 + tariffs)
    record = decode_freeze(freeze("0506FF01", TIME) + bytes(size - 5))
    assert sum(one.obis.d == 8 for one in record.readings) == 8 * (1 + tariffs)
    assert sum(one.obis.d == 7 for one in record.readings) == 8
    for wrong in (size - 6, size - 4, size - 5 + 24):
        with pytest.raises(ValueFormatError):
            decode_freeze(freeze("0506FF01", TIME) + bytes(wrong))


@pytest.mark.parametrize("body", [SEPARATED, JOINED])
def test_a_freeze_cut_anywhere_is_refused(body: str) -> None:
    """Its parts must fill it exactly; one byte more is refused too."""
    whole = freeze("0506FF01", body)
    for size in range(len(whole)):
        with pytest.raises(ValueFormatError):
            decode_freeze(whole[:size])
    for more in (b"\x00", b"\xaa"):
        with pytest.raises(ValueFormatError):
            decode_freeze(whole + more)


@pytest.mark.parametrize("body", [f"{TIME} 78 56 34 12 26 00 00 00",
                                  f"{TIME} AA 78 56 34 12 AA 26 00 00 00 AA"])  # fmt: skip
def test_an_hourly_freeze_cut_anywhere_is_refused(body: str) -> None:
    """As the daily one."""
    whole = freeze("0504FF01", body)
    for size in range(len(whole)):
        with pytest.raises(ValueFormatError):
            decode_freeze(whole[:size])
    with pytest.raises(ValueFormatError):
        decode_freeze(whole + b"\xaa")


@pytest.mark.parametrize(
    "data",
    [
        b"", bytes(8), freeze("0506FF01", ""), freeze("05060101", JOINED),
        freeze("0406FF01", JOINED), freeze("0506FF01", JOINED.replace("31 43", "3A 43")),
        freeze("0506FF01", SEPARATED.replace("31 43", "3A 43")),
        freeze("0506FF01", JOINED.replace(TIME, "15 10 21 13 26")),
        freeze("0506FF01", "15 25 21 11 26" + SEPARATED[len(TIME):]),
        freeze("0504FF01", f"{TIME} AA 78 56 34 12 78 56 34 12 AA AA"),
        freeze("0504FF01", f"{TIME} AA 78 56 34 AA 26 00 00 00 AA"),
        freeze("0504FF01", JOINED), freeze("0506FF01", f"{TIME} 78 56 34 12 26 00 00 00"),
    ],
)  # fmt: skip
def test_what_is_no_freeze_block_is_refused(data: bytes) -> None:
    """Another identifier, a digit above 9, no such time, a part of another size."""
    with pytest.raises(ValueFormatError):
        decode_freeze(data)


# ---- any bytes ---------------------------------------------------------------------------------

pairs = st.integers(0, 99).map(lambda pair: pair // 10 << 4 | pair % 10) | st.sampled_from(
    [0xAA, 0xFF, 0x00, 0xA0, 0xE5]
)


@given(st.sampled_from(["06000001", "06010001", "06060002", "06070000", "0600FFFF"]),
       st.lists(pairs, max_size=120).map(bytes), st.booleans())  # fmt: skip
def test_any_bytes_give_load_records_or_a_value_format_error(
    di: str, inside: bytes, framed: bool
) -> None:
    """The fuzz sentence of the load records, reaching the inside by a right sum."""
    body = block(inside.hex()) if framed else inside
    try:
        records = decode_load_records(identifier_bytes(di) + body)
    except ValueFormatError:
        return
    assert {type(record) for record in records} <= {Record}
    assert len(records) <= len(body) // 10
    assert all(record.fault == "" or record.readings == () for record in records)


@given(st.sampled_from(["0500FF01", "0504FF01", "0506FF01", "05FFFFFF"]),
       st.lists(pairs, max_size=400).map(bytes))  # fmt: skip
def test_any_bytes_give_a_freeze_or_a_value_format_error(di: str, inside: bytes) -> None:
    """The fuzz sentence of the freezes."""
    try:
        record = decode_freeze(identifier_bytes(di) + inside)
    except ValueFormatError:
        return
    assert type(record) is Record
    assert len(record.readings) * 2 <= len(inside)
