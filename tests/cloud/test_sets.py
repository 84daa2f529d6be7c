"""Reading a batch by columns gives what reading it by values gives, for every body there is."""

import copy
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloud.ingest.sets import BatchReader
from protocols.envelope.batch import decode_batch, encode_batch
from protocols.errors import EnvelopeError
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Flag, Origin, Reading, ReadingSet
from tests.cloud.world import BOOT, NOW

CODES = [Obis.from_text(f"1-0:{c}.8.0") for c in range(1, 7)]
SOME = (
    0,
    1,
    -1,
    True,
    None,
    1.0,
    1 << 62,
    -(1 << 63),
    1 << 64,
    "x",
    b"x" * 16,
    [],
    [1],
    {},
    {1: 2},
)


def make_rows(seed: int) -> list[tuple[int, ReadingSet]]:
    """Sets of a few meters and layouts, in some order, with holes."""
    chance = random.Random(seed)
    layouts = [
        [(code, chance.randrange(-3, 3), "Wh", Kind.CUMULATIVE) for code in chance.sample(CODES, n)]
        for n in (1, 4, 6)
    ]
    if chance.random() < 0.3:
        layouts.append([(CODES[0], 0, "", Kind.TEXT), (CODES[1], 0, "V", 3)])
    rows, sequence, is_marked = [], 0, chance.random() < 0.5
    for _ in range(chance.randrange(1, 40)):
        sequence += chance.choice((1, 1, 1, 5))
        readings = tuple(
            Reading(
                code,
                Quantity(
                    "text" if kind == Kind.TEXT else chance.randrange(-9, 1 << 40),
                    scaler,
                    unit,
                    kind,
                ),
            )
            for code, scaler, unit, kind in layouts[chance.randrange(len(layouts))]
        )
        at = NOW + chance.randrange(10_000_000)
        boot = BOOT if chance.random() < 0.8 else bytes(16)
        marks = (chance.randrange(3), chance.randrange(64)) if is_marked else (0, 0)
        if marks[1] & Flag.SHED and seed % 7 == 0:
            readings = ()
        meter = f"meter-{chance.randrange(1 if seed % 3 == 0 else 8)}"
        rows.append(
            (sequence, ReadingSet(meter, at, at - NOW, boot, chance.randrange(4), readings, *marks))
        )
    return rows


def outcome(reader: BatchReader, body: Any) -> Any:
    try:
        return reader.read(body)
    except EnvelopeError as error:
        return error.reason


def check_same(learned: BatchReader, body: Any) -> Any:
    """The reader that knows the layouts against one that decodes by values."""
    found = outcome(learned, copy.deepcopy(body))
    assert found == outcome(BatchReader(), copy.deepcopy(body))
    return found


@given(st.integers(0, 100_000))
def test_columns_and_values_give_the_same(seed: int) -> None:
    """Any layouts, meters and order; the second time by columns."""
    rows = make_rows(seed)
    body = encode_batch(rows, rows[-1][0] + seed % 3)
    reader = BatchReader()
    head, sets = reader.read(body)
    assert reader.read(body) == (head, sets)
    assert decode_batch(body) == (head, rows)
    assert sets.sequences == [sequence for sequence, _ in rows]
    assert sets.content(0)[:5] == (
        rows[0][1].meter_id,
        rows[0][1].read_at,
        rows[0][1].boot_at,
        rows[0][1].boot_id,
        rows[0][1].quality,
    )
    assert sets.origins == [one.origin for _, one in rows]
    assert sets.flags == [one.flags for _, one in rows]


def test_numbers_go_by_columns() -> None:
    """The quick way is taken: known layouts, numbers, one or many meters, marked or not."""
    told = set()
    for seed in range(60):
        body = encode_batch(make_rows(seed), 10_000)
        reader = BatchReader()
        is_rare = any(Kind.TEXT in flat[3::4] or not flat for flat in body[4])
        assert reader._by_columns(body) is None
        reader.read(body)
        assert (reader._by_columns(body) is None) == is_rare
        told.add((body[0], is_rare))
    assert told == {(1, False), (1, True), (2, False), (2, True)}


def test_origins_and_flags_are_told() -> None:
    """By columns as by values; a set that was shed whole has no values, and is there."""
    code = CODES[0]
    live = ReadingSet("m", NOW, 1, BOOT, 2, (Reading(code, Quantity(5, 1, "Wh", 1)),), 0, 0)
    rows = [
        (1, live),
        (2, live._replace(origin=Origin.FREEZE)),
        (3, live._replace(flags=Flag.JUMP)),
    ]
    reader = BatchReader()
    for _ in range(2):
        sets = reader.read(encode_batch(rows, 3))[1]
        assert (sets.origins, sets.flags) == ([0, 1, 0], [0, 0, 2])
        assert sets.content(1)[7:] == (1, 0)
    plain = reader.read(encode_batch(rows[:1], 3))[1]
    assert (plain.origins, plain.flags) == ([0], [0])
    shed = [(4, live._replace(readings=(), flags=Flag.SHED))]
    sets = reader.read(encode_batch(shed, 4))[1]
    assert (sets.layouts, sets.values, sets.flags) == (["[]"], ["[]"], [16])


@given(st.integers(0, 100_000), st.randoms(use_true_random=False))
def test_a_damaged_body_is_judged_alike(seed: int, chance: random.Random) -> None:
    """One to three places of a good body replaced, added or left out: same result, same reason."""
    rows = make_rows(seed)
    body = encode_batch(rows, rows[-1][0])
    reader = BatchReader()
    reader.read(body)
    for _ in range(chance.randrange(1, 4)):
        target: Any = body
        while True:
            at = chance.randrange(len(target)) if target else 0
            if target and isinstance(target[at], list) and chance.random() < 0.85:
                target = target[at]
                continue
            break
        action = chance.random()
        if action < 0.6 and target:
            target[at] = copy.deepcopy(chance.choice(SOME))
        elif action < 0.8 and target:
            del target[at]
        else:
            target.insert(at, copy.deepcopy(chance.choice(SOME)))
    check_same(reader, body)


def test_a_layout_that_only_looks_known_is_not_taken() -> None:
    """1, True and 1.0 are equal in Python; in a layout only the first is a scaler or kind."""
    one = ReadingSet("m", NOW, 1, BOOT, 2, (Reading(CODES[0], Quantity(5, 1, "Wh", 1)),), 0, 0)
    good = encode_batch([(1, one)], 1)
    reader = BatchReader()
    reader.read(good)
    for at in (1, 3):
        for value in (True, 1.0):
            body = copy.deepcopy(good)
            body[4][0][at] = value
            assert check_same(reader, body) == "schema"


def test_marks_out_of_range_are_refused_alike() -> None:
    """An origin or a bit that does not exist, behind sets that are known."""
    one = ReadingSet("m", NOW, 1, BOOT, 2, (Reading(CODES[0], Quantity(5, 1, "Wh", 1)),), 2, 63)
    good = encode_batch([(1, one)], 1)
    reader = BatchReader()
    assert reader.read(good)[1].flags == [63]
    for at, values in ((12, (3, -1, True, 1.0)), (13, (64, -1, True, 0.0))):
        for value in values:
            body = copy.deepcopy(good)
            body[at] = [value]
            assert check_same(reader, body) == "schema"


def test_the_layouts_remembered_are_bounded(monkeypatch: Any) -> None:
    """Beyond the limit batches are read by values, and nothing grows."""
    monkeypatch.setattr("cloud.ingest.sets.LAYOUTS_KNOWN_MAX", 2)
    reader = BatchReader()
    for n in range(5):
        reading = Reading(CODES[n], Quantity(n, 1, "Wh", 1))
        reader.read(encode_batch([(1, ReadingSet("m", NOW, 1, BOOT, 2, (reading,), 0, 0))], 1))
    assert len(reader._texts) == 2
