"""protocols/envelope/batch.py: reading sets as columns, there and back, and nothing else."""

import copy
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.envelope.batch import (
    READINGS_MAX,
    SETS_MAX,
    TEXT_SIZE_MAX,
    VERSION,
    VERSION_MARKED,
    decode_batch,
    encode_batch,
)
from protocols.envelope.seal import BODY_SIZE_MAX
from protocols.errors import EnvelopeError
from protocols.obis import Obis
from protocols.quantity import SCALER_MAX, UNITS, VALUE_MAX, Kind, Quantity
from protocols.readings import FLAGS_MAX, Flag, Origin, Reading, ReadingSet, TimeQuality
from tests.protocols.envelope.strategies import mutated, values
from tests.protocols.envelope.world import CLOUD_OPEN, CLOUD_OPEN_XWING, NOW, PROVIDER, sealed
from tests.protocols.outcome import outcome

LARGEST = (1 << 63) - 1
Row = tuple[int, ReadingSet]

# ---- random reading sets -----------------------------------------------------------------------

NUMBER_KINDS = (Kind.CUMULATIVE, Kind.INTERVAL, Kind.INSTANTANEOUS, Kind.MAXIMUM, Kind.STATUS)
VALUES = st.integers(-1000, 1000) | st.integers(-VALUE_MAX + 1, VALUE_MAX - 1)
CODES = st.tuples(*[st.integers(0, 255)] * 6).map(lambda six: Obis(*six))
QUANTITIES = st.builds(
    Quantity,
    VALUES,
    st.integers(-SCALER_MAX, SCALER_MAX),
    st.sampled_from(UNITS),
    st.sampled_from(NUMBER_KINDS),
) | st.builds(
    Quantity, st.text(max_size=TEXT_SIZE_MAX), st.just(0), st.just(""), st.just(Kind.TEXT)
)
LAYOUTS = st.lists(
    st.builds(Reading, CODES, QUANTITIES), min_size=1, max_size=5, unique_by=lambda one: one.obis
).map(tuple)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Row], int]:
    """Rows of a few meters, layouts and boots, and a head at or above the last sequence."""
    layouts = draw(st.lists(LAYOUTS, min_size=1, max_size=3))
    names = draw(st.lists(st.text(min_size=1, max_size=TEXT_SIZE_MAX), min_size=1, max_size=3))
    boots = draw(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=2))
    marks = st.tuples(st.integers(0, 2), st.integers(0, FLAGS_MAX))
    marks = draw(st.sampled_from((st.just((0, 0)), marks)))
    rows, sequence = [], 0
    for _ in range(draw(st.integers(1, 8))):
        sequence += draw(st.integers(1, 3) | st.integers(1, 1 << 40))
        readings = draw(st.sampled_from(layouts))
        if draw(st.booleans()):  # the same registers with other values
            readings = tuple(
                one
                if one.quantity.kind == Kind.TEXT
                else one._replace(quantity=one.quantity._replace(value=draw(VALUES)))
                for one in readings
            )
        boot_at = draw(st.integers(0, 10**9) | st.integers(0, 1 << 61))
        offset = draw(st.integers(0, 10**12) | st.integers(0, 1 << 61))
        quality = draw(st.integers(0, 3))
        origin, flags = draw(marks)
        if flags & Flag.SHED and draw(st.booleans()):
            readings = ()
        one = ReadingSet(
            draw(st.sampled_from(names)), boot_at + offset, boot_at,
            draw(st.sampled_from(boots)), quality, readings, origin, flags,
        )  # fmt: skip
        rows.append((sequence, one))
    return rows, sequence + draw(st.integers(0, 5))


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(batches())
def test_a_batch_comes_back_as_it_was(batch: tuple[list[Row], int]) -> None:
    """Every field of every reading set, through CBOR and compression, with its types."""
    rows, head = batch
    body = PROVIDER.encode(encode_batch(rows, head))
    back = PROVIDER.decode(PROVIDER.inflate(PROVIDER.deflate(body), BODY_SIZE_MAX))
    assert decode_batch(back) == (head, rows)
    for _, one in decode_batch(back)[1]:
        assert type(one) is ReadingSet
        assert {type(reading) for reading in one.readings} <= {Reading}
        assert {type(reading.quantity) for reading in one.readings} <= {Quantity}
        assert {type(reading.obis) for reading in one.readings} <= {Obis}


# ---- realistic data and its size ---------------------------------------------------------------

ITEMS = [
    ("1-0:1.8.0", 1, "Wh", 1), ("1-0:1.8.1", 1, "Wh", 1), ("1-0:1.8.2", 1, "Wh", 1),
    ("1-0:1.8.3", 1, "Wh", 1), ("1-0:1.8.4", 1, "Wh", 1), ("1-0:32.7.0", -1, "V", 3),
    ("1-0:31.7.0", -3, "A", 3), ("1-0:16.7.0", -1, "W", 3), ("1-0:13.7.0", -3, "1", 3),
    ("1-0:14.7.0", -2, "Hz", 3),
]  # fmt: skip


def realistic(meters: int, polls: int, seed: int) -> list[Row]:
    """Ten DL/T 645 items a meter: energies that creep, a voltage, a current that wanders."""
    source = random.Random(seed)
    boot = source.randbytes(16)
    energies = [[source.randrange(1000, 3_000_000) for _ in range(4)] for _ in range(meters)]
    rows: list[Row] = []
    for poll in range(polls):
        for meter in range(meters):
            energies[meter][source.randrange(4)] += source.randrange(3)
            current, voltage = source.randrange(100, 30_000), source.randrange(2250, 2350)
            shown = [
                sum(energies[meter]), *energies[meter], voltage, current,
                voltage * current // 1000, source.randrange(850, 1000),
                source.randrange(4995, 5006),
            ]  # fmt: skip
            at = NOW + poll * 60_000 + meter * 1100 + source.randrange(60)
            readings = tuple(
                Reading(Obis.from_text(code), Quantity(value, scaler, unit, kind))
                for (code, scaler, unit, kind), value in zip(ITEMS, shown, strict=True)
            )
            one = ReadingSet(
                f"{202611000000 + meter * 37 + 1:012d}", at, at - NOW + 100_000_123, boot,
                TimeQuality.NTP, readings, Origin.LIVE, 0,
            )  # fmt: skip
            rows.append((len(rows) + 1, one))
    return rows


def size_of(rows: list[Row], **how: Any) -> int:
    """Bytes on the wire, sealed."""
    return len(sealed(body=PROVIDER.deflate(PROVIDER.encode(encode_batch(rows, len(rows)))), **how))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("meters", "polls", "most", "most_xwing"), [(10, 5, 3.0, 5.2), (50, 1, 5.0, 7.2)]
)
def test_a_reading_costs_few_bytes(
    meters: int, polls: int, most: float, most_xwing: float, seed: int
) -> None:
    """500 readings, sealed: the radio link is the gateway's dearest resource."""
    rows = realistic(meters, polls, seed)
    readings = sum(len(one.readings) for _, one in rows)
    assert readings == 500
    assert size_of(rows, recipient=CLOUD_OPEN) <= most * readings
    assert size_of(rows, recipient=CLOUD_OPEN_XWING) <= most_xwing * readings


def test_the_largest_batch_fits_into_a_message() -> None:
    """2000 sets of ten readings stay below the caps of body and message."""
    rows = realistic(50, SETS_MAX // 50, 7)
    body = PROVIDER.encode(encode_batch(rows, SETS_MAX))
    assert len(rows) == SETS_MAX
    assert len(body) < BODY_SIZE_MAX
    assert size_of(rows) < 256 * 1024 // 2
    assert decode_batch(PROVIDER.decode(body)) == (SETS_MAX, rows)


def test_the_wire_form_is_the_documented_one() -> None:
    """Two meters, one with a text and without its second register the next time, by hand."""
    code, other = Obis(1, 0, 1, 8, 0, 255), Obis(0, 0, 96, 1, 1, 255)

    def energy(value: int) -> Reading:
        return Reading(code, Quantity(value, 1, "Wh", Kind.CUMULATIVE))

    number = Reading(other, Quantity("0012", 0, "", Kind.TEXT))
    rows = [
        (5, ReadingSet("m1", 1000, 900, b"b" * 16, 2, (energy(70), number), 0, 0)),
        (6, ReadingSet("m2", 1010, 910, b"b" * 16, 2, (energy(500),), 0, 0)),
        (9, ReadingSet("m1", 1100, 50, b"c" * 16, 0, (energy(75),), 0, 0)),
        (10, ReadingSet("m1", 1200, 150, b"c" * 16, 1, (energy(78), number), 0, 0)),
        (11, ReadingSet("m2", 1201, 151, b"c" * 16, 1, (energy(499),), 0, 0)),
    ]
    assert encode_batch(rows, 12) == [
        1,
        12,
        [b"b" * 16, b"c" * 16],
        ["m1", "m2"],
        [[bytes(code), 1, "Wh", 1, bytes(other), 0, "", 6], [bytes(code), 1, "Wh", 1]],
        [5, 1, 3, 1, 1],
        [0, 1, 0, 0, 1],
        [0, 1, 1, 0, 1],
        [0, 0, 1, 1, 1],
        [1000, 10, 90, 100, 1],
        [100, 0, 950, 0, 0],
        [2, 2, 0, 1, 1],
        [[70, 8], ["0012", "0012"], [500, 75, -1]],
    ]
    assert decode_batch(encode_batch(rows, 12)) == (12, rows)
    assert VERSION == 1
    marked = [*rows[:2], (9, rows[2][1]._replace(origin=Origin.LOAD_RECORD)), *rows[3:]]
    marked[4] = (11, rows[4][1]._replace(readings=(), flags=Flag.SHED | Flag.STUCK))
    plain = encode_batch(rows, 12)
    plain[4].append([])
    plain[7] = [0, 1, 1, 0, 2]
    plain[12] = [[70, 8], ["0012", "0012"], [500, 75]]
    assert encode_batch(marked, 12) == [
        2, *plain[1:12], [0, 0, 2, 0, 0], [0, 0, 0, 0, 20], plain[12]
    ]  # fmt: skip
    assert decode_batch(encode_batch(marked, 12)) == (12, marked)
    assert VERSION_MARKED == 2


@pytest.mark.parametrize("field", ["origin", "flags"])
def test_only_what_is_marked_takes_the_longer_form(field: str) -> None:
    """One origin or one flag among the sets is enough; without any, not a byte is added."""
    rows = realistic(3, 2, 5)
    assert encode_batch(rows, 6)[0] == VERSION
    for at in range(6):
        one = (rows[at][0], rows[at][1]._replace(**{field: 1}))
        body = encode_batch([*rows[:at], one, *rows[at + 1 :]], 6)
        assert (body[0], len(body)) == (VERSION_MARKED, 15)
        assert [*body[1:12], body[14]] == encode_batch(rows, 6)[1:]


def test_an_encoded_batch_does_not_change_its_rows() -> None:
    """The journal's rows are sealed again after a loss."""
    rows = realistic(2, 2, 1)
    before = copy.deepcopy(rows)
    assert encode_batch(rows, 4) == encode_batch(rows, 4)
    assert rows == before


# ---- what is no batch --------------------------------------------------------------------------

GOOD = encode_batch(realistic(2, 2, 3), 9)
HEAD, BOOTS, METERS, LAYOUTS_AT, SEQUENCES, METER_AT, LAYOUT_AT, BOOT_AT = range(1, 9)
READ_AT, OFFSETS, QUALITIES, COLUMNS = range(9, 13)


MARKED = [
    (n, one._replace(origin=n % 3, flags=Flag.JUMP * (n % 2))) for n, one in realistic(2, 2, 3)
]
GOOD_MARKED = encode_batch(MARKED, 9)


def marked(at: int, value: Any) -> list[Any]:
    """The good body of version 2 with one field replaced."""
    body = copy.deepcopy(GOOD_MARKED)
    body[at] = value
    return body


def changed(at: int, value: Any) -> list[Any]:
    """The good body with one field replaced."""
    body = copy.deepcopy(GOOD)
    body[at] = value(body[at]) if callable(value) else value
    return body


def refused(body: Any) -> str:
    """The reason of the EnvelopeError."""
    with pytest.raises(EnvelopeError) as caught:
        decode_batch(body)
    return caught.value.reason


def layout(**changes: Any) -> Any:
    """The first register of the first layout with another code, scaler, unit or kind."""

    def change(layouts: list[Any]) -> list[Any]:
        for name, value in changes.items():
            layouts[0][("obis", "scaler", "unit", "kind").index(name)] = value
        return layouts

    return changed(LAYOUTS_AT, change)


BAD: dict[str, Any] = {
    "not a list": {"body": GOOD},
    "nothing": [],
    "a field too few": GOOD[:-1],
    "a field too many": [*GOOD, []],
    "version 0": changed(0, 0),
    "version 2 without its columns": changed(0, 2),
    "version 3": marked(0, 3),
    "version 1 with columns of version 2": marked(0, 1),
    "version 2 as a float": marked(0, 2.0),
    "version 2 with one column more": [*GOOD_MARKED, []],
    "version 2 with one column less": GOOD_MARKED[:-1],
    "origin 3": marked(12, [1, 2, 0, 3]),
    "origin negative": marked(12, [1, 2, 0, -1]),
    "origin true": marked(12, [1, 2, 0, True]),
    "origins too few": marked(12, [1, 2, 0]),
    "origins too many": marked(12, [1, 2, 0, 1, 1]),
    "origins no list": marked(12, b"0000"),
    "flags too many bits": marked(13, [2, 0, 2, 64]),
    "flags negative": marked(13, [2, 0, 2, -1]),
    "flags a float": marked(13, [2, 0, 2, 0.0]),
    "flags too few": marked(13, [2, 0, 2]),
    "flags too many": marked(13, [2, 0, 2, 0, 0]),
    "flags none": marked(13, None),
    "version true": changed(0, True),
    "version 1.0": changed(0, 1.0),
    "head below the last sequence": changed(HEAD, 3),
    "head negative": changed(HEAD, -1),
    "head true": changed(HEAD, True),
    "head too large": changed(HEAD, LARGEST + 1),
    "head a float": changed(HEAD, 9.0),
    "boot id too short": changed(BOOTS, [b"b" * 15]),
    "boot id too long": changed(BOOTS, [b"b" * 17]),
    "boot id a text": changed(BOOTS, ["b" * 16]),
    "no boot": changed(BOOTS, []),
    "boots a map": changed(BOOTS, {}),
    "boots a map of boots": changed(BOOTS, {b"b" * 16: 0}),
    "meters a map of meters": changed(METERS, {"m1": 0, "m2": 0}),
    "meters a text": changed(METERS, "m1"),
    "layouts a map": changed(LAYOUTS_AT, lambda ls: {0: ls[0]}),
    "columns a map": changed(COLUMNS, lambda c: dict(enumerate(c))),
    "meter id empty": changed(METERS, lambda m: ["", *m[1:]]),
    "meter id too long": changed(METERS, lambda m: ["m" * 65, *m[1:]]),
    "meter id bytes": changed(METERS, lambda m: [b"m1", *m[1:]]),
    "meter id a number": changed(METERS, lambda m: [1, *m[1:]]),
    "a meter too few": changed(METERS, lambda m: m[:1]),
    "no layout": changed(LAYOUTS_AT, []),
    "an empty layout": changed(LAYOUTS_AT, [[]]),
    "a layout that is no list": changed(LAYOUTS_AT, [5]),
    "a layout that is a text": changed(LAYOUTS_AT, ["abcd"]),
    "a layout cut off": changed(LAYOUTS_AT, lambda ls: [ls[0][:-1]]),
    "a layout with a code twice": changed(
        LAYOUTS_AT, lambda ls: [ls[0][:4] + ls[0][:4] + ls[0][8:]]
    ),
    "a layout too wide": changed(
        LAYOUTS_AT,
        [[x for n in range(257) for x in (bytes((n % 256, n // 256, 0, 0, 0, 0)), 0, "", 1)]],
    ),
    "a code of five bytes": layout(obis=b"12345"),
    "a code as text": layout(obis="1-0:1.8.0"),
    "a code as numbers": layout(obis=[1, 0, 1, 8, 0, 255]),
    "scaler too large": layout(scaler=19),
    "scaler too small": layout(scaler=-19),
    "scaler true": layout(scaler=True),
    "scaler a float": layout(scaler=1.0),
    "unit unknown": layout(unit="kWh"),
    "unit a number": layout(unit=1),
    "unit a list": layout(unit=["Wh"]),
    "kind 0": layout(kind=0),
    "kind 7": layout(kind=7),
    "kind true": layout(kind=True),
    "kind a float": layout(kind=1.0),
    "kind a list": layout(kind=[1]),
    "kind text with numbers": layout(kind=Kind.TEXT),
    "no sets": [*GOOD[:SEQUENCES], *[[]] * 8],
    "sequence 0": changed(SEQUENCES, [0, 1, 1, 1]),
    "sequence negative": changed(SEQUENCES, [-1, 1, 1, 1]),
    "sequence twice": changed(SEQUENCES, [1, 0, 1, 1]),
    "sequence falls": changed(SEQUENCES, [5, -1, 1, 1]),
    "sequence too large": changed(SEQUENCES, [LARGEST, 1, 1, 1]),
    "sequence true": changed(SEQUENCES, [True, 1, 1, 1]),
    "sequence a float": changed(SEQUENCES, [1.0, 1, 1, 1]),
    "sequence none": changed(SEQUENCES, [None, 1, 1, 1]),
    "sequences too few": changed(SEQUENCES, [1, 1, 1]),
    "sequences too many": changed(SEQUENCES, [1, 1, 1, 1, 1]),
    "meter index too large": changed(METER_AT, [0, 1, 2, 1]),
    "meter index negative": changed(METER_AT, [0, 1, -1, 1]),
    "meter index true": changed(METER_AT, [0, True, 0, 1]),
    "meter index a text": changed(METER_AT, [0, "1", 0, 1]),
    "layout index too large": changed(LAYOUT_AT, [0, 0, 0, 1]),
    "layout index negative": changed(LAYOUT_AT, [0, 0, 0, -1]),
    "boot index too large": changed(BOOT_AT, [0, 0, 0, 1]),
    "boot index negative": changed(BOOT_AT, [0, 0, 0, -1]),
    "read_at negative": changed(READ_AT, [-5, 0, 0, 0]),
    "read_at becomes negative": changed(READ_AT, [5, -6, 10, 10]),
    "read_at too large": changed(READ_AT, [LARGEST, 1, 0, 0]),
    "read_at a float": changed(READ_AT, lambda r: [float(r[0]), *r[1:]]),
    "boot before the beginning": changed(OFFSETS, [NOW * 2, 0, 0, 0]),
    "boot after the reading": changed(OFFSETS, [-1, 0, 0, 0]),
    "quality 4": changed(QUALITIES, [2, 2, 2, 4]),
    "quality negative": changed(QUALITIES, [2, 2, 2, -1]),
    "quality true": changed(QUALITIES, [2, 2, 2, True]),
    **{
        f"field {at} too {word}": changed(at, value)
        for at in range(METER_AT, QUALITIES + 1)
        for word, value in (("short", lambda c: c[:-1]), ("long", lambda c: [*c, c[-1]]))
    },
    "a column too few": changed(COLUMNS, lambda c: c[:-1]),
    "a column too many": changed(COLUMNS, lambda c: [*c, []]),
    "a column that is no list": changed(COLUMNS, lambda c: [5, *c[1:]]),
    "a column that is bytes": changed(COLUMNS, lambda c: [b"\x00\x00\x00\x00", *c[1:]]),
    "a column too short": changed(COLUMNS, lambda c: [c[0][:-1], *c[1:]]),
    "a column too long": changed(COLUMNS, lambda c: [[*c[0], 0], *c[1:]]),
    "a column with a null behind": changed(COLUMNS, lambda c: [[*c[0], None], *c[1:]]),
    "a column with a null and more behind": changed(COLUMNS, lambda c: [[*c[0], None, 5], *c[1:]]),
    "a value that is null": changed(COLUMNS, lambda c: [[None, *c[0][1:]], *c[1:]]),
    "a value that is true": changed(COLUMNS, lambda c: [[True, *c[0][1:]], *c[1:]]),
    "a value that is a float": changed(COLUMNS, lambda c: [[1.0, *c[0][1:]], *c[1:]]),
    "a value that is a text": changed(COLUMNS, lambda c: [["1", *c[0][1:]], *c[1:]]),
    "a value too large": changed(COLUMNS, lambda c: [[VALUE_MAX, 0, -1, 0], *c[1:]]),
    "a value too small": changed(COLUMNS, lambda c: [[-VALUE_MAX, 0, 1, 0], *c[1:]]),
    "a sum too large": changed(COLUMNS, lambda c: [[VALUE_MAX - 1, 0, VALUE_MAX - 1, 0], *c[1:]]),
}


def test_the_body_that_is_changed_here_is_good() -> None:
    """So each case below fails for its one change."""
    assert decode_batch(GOOD) == (9, realistic(2, 2, 3))
    assert decode_batch(copy.deepcopy(GOOD)) == decode_batch(GOOD)
    assert decode_batch(GOOD_MARKED) == (9, MARKED)


@pytest.mark.parametrize("case", BAD)
def test_a_faulty_body_is_refused(case: str) -> None:
    """Signed is not the same as right: every field is checked."""
    assert refused(BAD[case]) == "schema"


@pytest.mark.parametrize("value", [VALUE_MAX - 1, -VALUE_MAX + 1, 0, -1])
def test_the_largest_values_are_allowed(value: int) -> None:
    """In a first value, and in a difference over the whole range."""
    quantity = Quantity(value, -SCALER_MAX, "Wh", Kind.CUMULATIVE)
    other = quantity._replace(value=-value)
    code = Obis(1, 0, 1, 8, 0, 255)
    rows = [
        (n + 1, ReadingSet("m" * TEXT_SIZE_MAX, n, 0, bytes(16), 3, (Reading(code, one),), 2, 63))
        for n, one in enumerate((quantity, other, quantity))
    ]
    body = encode_batch(rows, LARGEST)
    assert decode_batch(PROVIDER.decode(PROVIDER.encode(body))) == (LARGEST, rows)


def test_the_limits_of_a_batch_hold() -> None:
    """2000 sets, 256 readings a set, 64 characters of text: allowed; one more: refused."""
    text = Quantity("t" * TEXT_SIZE_MAX, 0, "", Kind.TEXT)
    wide = tuple(Reading(Obis(0, 0, 0, 0, 0, n), text) for n in range(READINGS_MAX))
    rows = [(1, ReadingSet("m1", 5, 5, bytes(16), 0, wide, 0, 0))]
    assert decode_batch(encode_batch(rows, 1)) == (1, rows)
    wider = (*wide, realistic(1, 1, 1)[0][1].readings[0])
    assert refused(encode_batch([(1, rows[0][1]._replace(readings=wider))], 1)) == "schema"
    long = (wide[0]._replace(quantity=text._replace(value="t" * 65)), *wide[1:])
    assert refused(encode_batch([(1, rows[0][1]._replace(readings=long))], 1)) == "schema"
    one = realistic(1, 1, 1)[0][1]
    many = [(n + 1, one) for n in range(SETS_MAX)]
    assert decode_batch(encode_batch(many, SETS_MAX))[1] == many
    assert refused(encode_batch([*many, (SETS_MAX + 1, one)], SETS_MAX + 1)) == "schema"


def test_a_set_without_readings_is_refused() -> None:
    """An empty set says nothing, unless it says that its values were shed."""
    empty = realistic(1, 1, 1)[0][1]._replace(readings=())
    assert refused(encode_batch([(1, empty)], 1)) == "schema"
    assert refused(encode_batch([(1, empty._replace(flags=FLAGS_MAX - Flag.SHED))], 1)) == "schema"
    shed = [(1, empty._replace(flags=Flag.SHED)), (2, realistic(1, 1, 1)[0][1])]
    assert decode_batch(encode_batch(shed, 2)) == (2, shed)
    assert refused([1, *encode_batch(shed, 2)[1:12], encode_batch(shed, 2)[14]]) == "schema"


# ---- the fuzz sentence -------------------------------------------------------------------------


def check(body: Any) -> None:
    """decode_batch gives rows that are encoded again, or EnvelopeError("schema")."""
    found, reason = outcome(EnvelopeError, decode_batch, body)
    assert reason == "schema" or decode_batch(encode_batch(found[1], found[0])) == found


@given(values() | st.lists(values(2), min_size=13, max_size=15))
def test_any_value_gives_a_batch_or_an_envelope_error(body: Any) -> None:
    """Whatever CBOR can say, bools, floats, null and huge numbers included."""
    check(body)


@settings(max_examples=300)
@given(mutated(GOOD) | mutated(GOOD_MARKED) | mutated(encode_batch(realistic(1, 1, 5), 1)))
def test_a_good_body_with_anything_changed_gives_a_batch_or_an_envelope_error(body: Any) -> None:
    """Places replaced, removed, doubled, swapped."""
    check(body)
