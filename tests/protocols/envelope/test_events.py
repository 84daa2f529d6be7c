"""protocols/envelope/events.py: events there and back, and nothing else."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.envelope.events import EVENTS_MAX, VERSION, decode_events, encode_events
from protocols.envelope.seal import BODY_SIZE_MAX
from protocols.errors import EnvelopeError
from protocols.events import (
    DETAIL_SIZE_MAX,
    DRIFT_S_MAX,
    EVENT_FRAME_SIZE_MAX,
    EVENT_FRAMES_MAX,
    EVENT_KINDS,
    SUBJECT_SIZE_MAX,
    Event,
)
from tests.protocols.envelope.strategies import mutated, values
from tests.protocols.envelope.world import PROVIDER
from tests.protocols.outcome import outcome

LARGEST = (1 << 63) - 1
NOW = 1_763_700_000_000
COUNT = st.integers(0, 100) | st.integers(0, LARGEST)
FRAMES = st.lists(st.tuples(st.sampled_from("<>"), COUNT, st.binary(max_size=30)), max_size=4).map(
    tuple
)
EVENTS = st.builds(
    Event,
    st.sampled_from(sorted(EVENT_KINDS)) | st.just("something-of-next-year"),
    st.text(max_size=SUBJECT_SIZE_MAX),
    COUNT,
    COUNT,
    st.binary(min_size=16, max_size=16),
    st.integers(0, 3),
    COUNT,
    st.none() | st.integers(-DRIFT_S_MAX, DRIFT_S_MAX),
    st.text(max_size=DETAIL_SIZE_MAX),
    FRAMES,
)
SEQUENCES = st.sets(st.integers(1, 200) | st.integers(1, LARGEST), min_size=1, max_size=5)
ONE = Event("jump", "m1", NOW, 5000, b"b" * 16, 2, 0, None, "by 9113 kWh", ((">", 0, b"\x68"),))
OTHER = ONE._replace(kind="meter-clear", number=3, drift_s=-41, evidence=())
GOOD = encode_events([(5, ONE), (9, OTHER)], 4)


@given(SEQUENCES.map(sorted), st.data())
def test_events_come_back_as_they_were(sequences: list[int], source: st.DataObject) -> None:
    """Every field, through CBOR, with their types."""
    rows = [(sequence, source.draw(EVENTS)) for sequence in sequences]
    lowest = source.draw(st.integers(1, sequences[0]))
    told, found = decode_events(PROVIDER.decode(PROVIDER.encode(encode_events(rows, lowest))))
    assert (told, found) == (lowest, rows)
    for _, one in found:
        assert type(one) is Event
        assert {type(frame) for frame in one.evidence} <= {tuple}


def test_the_wire_form_is_the_documented_one() -> None:
    """By hand."""
    assert [1, 4, [
        [5, "jump", "m1", NOW, 5000, b"b" * 16, 2, 0, None, "by 9113 kWh", [[">", 0, b"\x68"]]],
        [9, "meter-clear", "m1", NOW, 5000, b"b" * 16, 2, 3, -41, "by 9113 kWh", []],
    ]] == GOOD  # fmt: skip
    assert VERSION == 1


def refused(body: Any) -> str:
    """The reason of the EnvelopeError."""
    with pytest.raises(EnvelopeError) as caught:
        decode_events(body)
    return caught.value.reason


COUNTS = (-1, LARGEST + 1, True, 1.0, "1", None, b"", [])
FAULTS: list[tuple[int, Any]] = [
    *[(0, odd) for odd in (0, *COUNTS)],
    *[(1, odd) for odd in ("", "Jump", "a b", "k" * 49, None, 5, b"jump", ["jump"])],
    *[(2, odd) for odd in ("s" * 65, None, 5, b"m1", [])],
    *[(at, odd) for at in (3, 4, 7) for odd in COUNTS],
    *[(5, odd) for odd in (bytes(15), bytes(17), "b" * 16, None, 5)],
    *[(6, odd) for odd in (4, *COUNTS)],
    *[(8, odd) for odd in (DRIFT_S_MAX + 1, -DRIFT_S_MAX - 1, True, 1.0, "1", b"", [])],
    *[(9, odd) for odd in ("d" * 201, None, 5, b"", [])],
    *[(10, odd) for odd in (None, 5, "", {}, [5], [[]], [[">", 0]], [[">", 0, b"", 1]],
                            [["=", 0, b""]], [[[">"], 0, b""]], [[">", -1, b""]],
                            [[">", True, b""]], [[">", 0, "68"]], [[">", 0, bytes(301)]],
                            [[">", 0, b""]] * 65)],
]  # fmt: skip


@pytest.mark.parametrize(("at", "value"), FAULTS)
def test_a_faulty_field_is_refused(at: int, value: Any) -> None:
    """In the first event, and the second is lost with it: a message is taken whole."""
    body = copy.deepcopy(GOOD)
    body[2][0][at] = value
    assert refused(body) == "schema"


@pytest.mark.parametrize(
    "body",
    [
        None, 5, {}, [], [1], [1, 1], [1, 1, []], [1, 1, [5]], [1, 1, None], [2, 1, GOOD[2]],
        [True, 1, GOOD[2]], [1.0, 1, GOOD[2]], [1, GOOD[2]], [1, 1, GOOD[2], 0],
        [1, 1, [GOOD[2][0][:-1]]], [1, 1, [[*GOOD[2][0], 0]]], [1, 1, [tuple(GOOD[2][0])]],
        [1, 1, [GOOD[2][1], GOOD[2][0]]], [1, 1, [GOOD[2][0], GOOD[2][0]]],
        *[[1, odd, GOOD[2]] for odd in (0, 6, *COUNTS)],
    ],
)  # fmt: skip
def test_what_is_no_body_of_events_is_refused(body: Any) -> None:
    """Another version or size, none at all, sequences that do not rise, or begin below the
    lowest."""
    assert refused(body) == "schema"


def test_the_limits_themselves_are_allowed() -> None:
    """A hundred events; the largest of each fits into a message of its own."""
    many = [(n + 1, OTHER) for n in range(EVENTS_MAX)]
    assert decode_events(encode_events(many, 1)) == (1, many)
    assert refused(encode_events([*many, (EVENTS_MAX + 1, OTHER)], 1)) == "schema"
    frames = tuple((">", LARGEST, bytes(EVENT_FRAME_SIZE_MAX)) for _ in range(EVENT_FRAMES_MAX))
    largest = Event(
        "k" * 48, "s" * 64, LARGEST, LARGEST, bytes(16), 3, LARGEST, -DRIFT_S_MAX, "d" * 200, frames
    )
    body = encode_events([(LARGEST, largest)], LARGEST)
    assert decode_events(body) == (LARGEST, [(LARGEST, largest)])
    assert len(PROVIDER.encode(body)) < BODY_SIZE_MAX // 40


def check(body: Any) -> None:
    """Events that make the same body, or EnvelopeError("schema")."""
    found, reason = outcome(EnvelopeError, decode_events, body)
    assert reason == "schema" or encode_events(found[1], found[0]) == body


@given(values() | st.tuples(st.just(1), st.integers(0, 9), st.lists(values(2))).map(list))
def test_any_value_gives_events_or_an_envelope_error(body: Any) -> None:
    """Whatever CBOR can say."""
    check(body)


@settings(max_examples=300)
@given(mutated(GOOD))
def test_a_good_body_with_anything_changed_gives_events_or_an_envelope_error(body: Any) -> None:
    """Places replaced, removed, doubled, swapped."""
    check(body)
