"""protocols/messages.py: what gateway and head end tell each other."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import messages, topics
from protocols.envelope.fields import TEXT_SIZE_MAX
from protocols.envelope.keys import USES, Use
from protocols.errors import EnvelopeError
from protocols.messages import (
    ACK,
    AUDIT,
    CONFIG,
    CONFIG_SIZE_MAX,
    DATA,
    DOWNLINK_BY_SUFFIX,
    EVENT,
    EVIDENCE_FRAME_SIZE_MAX,
    EVIDENCE_MAX,
    FACT_NAME_SIZE_MAX,
    FACTS_MAX,
    HEAD_END,
    HELLO,
    MESSAGE_KINDS,
    METERS_MAX,
    ORDER,
    ORDER_READINGS_MAX,
    POLICY,
    RANGES_MAX,
    RECEIPT,
    RECEIPT_STATES,
    RECEIPTS_MAX,
    STOP,
    UPLINK_BY_SUFFIX,
    VERSION,
    Ack,
    Config,
    Hello,
    MessageKind,
    Receipt,
)
from protocols.obis import Obis
from protocols.quantity import SCALER_MAX, UNITS, VALUE_MAX, Kind, Quantity
from protocols.readings import Reading
from tests.protocols import faulty
from tests.protocols.envelope.strategies import mutated, values
from tests.protocols.envelope.world import PROVIDER
from tests.protocols.faulty import LARGEST, ODD_COUNTS, ODD_TEXTS, refused
from tests.protocols.outcome import outcome

COUNT = st.integers(0, 100) | st.integers(0, LARGEST)
TEXT = st.text(min_size=1, max_size=20)
BYTES = {size: st.binary(min_size=size, max_size=size) for size in (8, 16)}
CODES = st.tuples(*[st.integers(0, 255)] * 6).map(lambda six: Obis(*six))
NUMBERS = st.builds(
    Quantity,
    st.integers(-VALUE_MAX + 1, VALUE_MAX - 1),
    st.integers(-SCALER_MAX, SCALER_MAX),
    st.sampled_from(UNITS),
    st.sampled_from((1, 2, 3, 4, 5)),
)
TEXTS = st.builds(Quantity, st.text(max_size=20), st.just(0), st.just(""), st.just(Kind.TEXT))
READINGS = st.lists(st.builds(Reading, CODES, NUMBERS | TEXTS), max_size=4).map(tuple)

HELLOS = st.builds(
    Hello, BYTES[16], BYTES[16], TEXT, COUNT, COUNT, st.integers(0, 3), COUNT,
    st.lists(st.tuples(TEXT, TEXT), max_size=4).map(tuple),
)  # fmt: skip
CONFIGS = st.builds(Config, st.integers(1, LARGEST), st.booleans(), TEXT)
RECEIPTS = st.builds(
    Receipt, BYTES[16], COUNT, st.sampled_from(RECEIPT_STATES), st.text(max_size=20), COUNT,
    st.integers(0, 3), READINGS,
    st.lists(st.tuples(st.sampled_from("<>"), COUNT, st.binary(max_size=20)), max_size=4)
    .map(tuple),
    st.dictionaries(TEXT, st.text(max_size=20), max_size=4).map(lambda one: tuple(one.items())),
)  # fmt: skip


@st.composite
def acks(draw: st.DrawFn) -> Ack:
    """An acknowledgement with rising ranges."""
    upto = draw(COUNT)
    edges = sorted(draw(st.sets(st.integers(upto + 1, LARGEST + upto), max_size=6)))
    ranges = tuple(zip(edges[::2], edges[1::2], strict=False))
    ranges = tuple(one for one in ranges if one[1] <= LARGEST)
    receipts = draw(st.lists(st.tuples(COUNT, st.sampled_from(RECEIPT_STATES)), max_size=3))
    nonce = draw(st.just(b"") | BYTES[16])
    told = tuple(receipts)
    return Ack(draw(BYTES[8]), upto, ranges, draw(COUNT), nonce, told, draw(COUNT), draw(COUNT))


ANY = HELLOS | acks() | RECEIPTS | CONFIGS


@given(ANY)
def test_a_message_comes_back_from_its_body(message: Any) -> None:
    """Through CBOR, with its types: Obis, Reading, Quantity, tuples."""
    body = PROVIDER.decode(PROVIDER.encode(message.to_body()))
    found = type(message).from_body(body)
    assert found == message
    assert type(found) is type(message)
    assert all(not isinstance(field, list) for field in found)
    if isinstance(message, Receipt):
        assert {type(one) for one in found.readings} <= {Reading}
        assert {type(one.quantity) for one in found.readings} <= {Quantity}
        assert {type(one.obis) for one in found.readings} <= {Obis}


@given(ANY)
def test_a_body_starts_with_its_version_and_is_plain(message: Any) -> None:
    """Only what CBOR knows by itself."""

    def plain(value: Any) -> bool:
        if type(value) is list:
            return all(map(plain, value))
        return type(value) in (int, bytes, str, bool)

    assert message.to_body()[0] == VERSION
    assert plain(message.to_body())


# ---- the table ---------------------------------------------------------------------------------


def test_the_kinds_are_those_of_the_documented_table() -> None:
    """Name, topic, key and content type of each; a new kind gets a row here and there."""
    assert MESSAGE_KINDS == (
        ("data", "up/d", "sign-data", 1),
        ("hello", "up/h", "sign-data", 2),
        ("receipt", "up/r", "sign-data", 3),
        ("ack", "dn/a", "sign-ack", 4),
        ("order", "dn/c", "sign-order", 5),
        ("event", "up/e", "sign-data", 6),
        ("config", "dn/cfg", "sign-config", 7),
        ("policy", "dn/p", "sign-order", 8),
        ("stop", "dn/s", "sign-order", 9),
        ("audit", "up/l", "sign-data", 10),
    )
    assert {type(kind) for kind in MESSAGE_KINDS} == {MessageKind}
    for kind in MESSAGE_KINDS:
        assert f"| {kind.name} | {kind.suffix} |" in str(messages.__doc__)
        assert kind.suffix in topics.SUFFIXES
        assert kind.use in USES
    assert MESSAGE_KINDS == (
        DATA, HELLO, RECEIPT, ACK, ORDER, EVENT, CONFIG, POLICY, STOP, AUDIT
    )  # fmt: skip


def test_a_topic_tells_the_kind_and_the_way() -> None:
    """Up and down do not share a topic, a name or a content type."""
    assert UPLINK_BY_SUFFIX == {
        "up/d": DATA, "up/h": HELLO, "up/r": RECEIPT, "up/e": EVENT, "up/l": AUDIT
    }  # fmt: skip
    assert DOWNLINK_BY_SUFFIX == {
        "dn/a": ACK, "dn/c": ORDER, "dn/cfg": CONFIG, "dn/p": POLICY, "dn/s": STOP
    }  # fmt: skip
    for column in (0, 1, 3):
        assert len({kind[column] for kind in MESSAGE_KINDS}) == len(MESSAGE_KINDS)
    uses = {kind.use for kind in DOWNLINK_BY_SUFFIX.values()}
    assert uses == {Use.SIGN_ACK, Use.SIGN_ORDER, Use.SIGN_CONFIG}


def test_the_head_end_has_a_name_that_no_gateway_can_have_in_its_place() -> None:
    """It stands in every context."""
    assert HEAD_END == "head-end"


# ---- faulty bodies -----------------------------------------------------------------------------

N16, N8 = b"n" * 16, b"e" * 8
GOOD: dict[type, list[Any]] = {
    Hello: [1, N16, b"b" * 16, "0.1.0", 12, 7, 2, 3, [["m1", "123456789012"], ["m2", "unit 5"]]],
    Ack: [1, N8, 7, [[9, 9], [11, 20]], 1_763_700_000_000, N16, [[3, "done"], [4, "refused"]], 5],
    Config: [1, 7, True, "[gateway]\n"],
    Receipt: [
        1, N16, 3, "done", "", 1_763_700_000_000, 2,
        [[b"\x01\x00\x01\x08\x00\xff", 26, 1, "Wh", 1],
         [b"\x00\x00\x60\x01\x01\xff", "0012", 0, "", 6]],
        [[">", 0, b"\x68"], ["<", 120, b"\x68\x16"]],
    ],
}  # fmt: skip
FACTS = [["relay before", "connected"], ["relay after", ""]]
Case = tuple[type, int, Any]


def odd_texts(kind: type, at: int) -> list[Case]:
    """What is no text of 1..200 characters."""
    return [(kind, at, odd) for odd in ODD_TEXTS]


def odd_bytes(kind: type, at: int, size: int) -> list[Case]:
    """What is not so many bytes."""
    return [(kind, at, odd) for odd in faulty.odd_bytes(size)]


def odd_counts(kind: type, at: int) -> list[Case]:
    """What is no count."""
    return [(kind, at, odd) for odd in ODD_COUNTS]


def first(at: int, value: Any) -> Callable[[Any], Any]:
    """Field `at` of the first entry of a list replaced."""

    def change(entries: list[Any]) -> list[Any]:
        entries[0][at] = value
        return entries

    return change


FAULTS: list[Case] = [
    *[(kind, 0, odd) for kind in GOOD for odd in (0, 2, True, 1.0, "1", None, [])],
    *odd_bytes(Hello, 1, 16), *odd_bytes(Hello, 2, 16), *odd_texts(Hello, 3),
    *odd_counts(Hello, 4), *odd_counts(Hello, 5), *odd_counts(Hello, 6), *odd_counts(Hello, 7),
    (Hello, 6, 4),
    *[(Hello, 8, odd) for odd in (None, 5, "m1", {}, {"m1": "a"}, [5], ["m1"], [["m1"]],
                                  [["m1", "a", "b"]], [("m1", 5)], [[5, "a"]], [["", "a"]],
                                  [["m1", ""]], [["m1", None]], [["m", "a"]] * (METERS_MAX + 1))],
    *odd_bytes(Ack, 1, 8), *odd_counts(Ack, 2), *odd_counts(Ack, 4),
    *[(Ack, 5, odd) for odd in (b"n", N16 + b"n", "", "n" * 16, None, 0, [])],
    *[(Ack, 3, odd) for odd in (None, 5, {}, "", [5], [[9]], [[9, 9, 9]], [[7, 8]], [[5, 9]],
                                [[10, 9]], [[9, 12], [12, 13]], [[11, 20], [9, 9]],
                                [[9, 9], [9, 9]], [[9.0, 9]], [[True, 9]], [["9", 9]], [[9, None]],
                                [[9, LARGEST + 1]], [[-1, 9]],
                                [[2 * n + 9, 2 * n + 9] for n in range(RANGES_MAX + 1)])],
    *[(Ack, 6, odd) for odd in (None, 5, {}, [5], [[3]], [[3, "done", 1]], [[3, "sent it"]],
                                [[3, "draft"]], [[3, "published"]], [[3, None]], [[3, ["done"]]],
                                [[-1, "done"]], [[True, "done"]], [["3", "done"]],
                                [[3, "done"]] * (RECEIPTS_MAX + 1))],
    *odd_counts(Ack, 7),
    *odd_counts(Config, 1), (Config, 1, 0),
    *[(Config, 2, odd) for odd in (0, 1, None, "true", [])],
    *[(Config, 3, odd) for odd in ("", None, 5, b"a", ["a"], "a" * (CONFIG_SIZE_MAX + 1),
                                   "\u00e9" * (CONFIG_SIZE_MAX // 2 + 1))],
    *odd_bytes(Receipt, 1, 16), *odd_counts(Receipt, 2), *odd_counts(Receipt, 5),
    *odd_counts(Receipt, 6), (Receipt, 6, 4),
    *[(Receipt, 3, odd) for odd in ("", "draft", "received", "DONE", None, 1, ["done"], b"done")],
    *[(Receipt, 4, odd) for odd in ("r" * (TEXT_SIZE_MAX + 1), None, b"", 5, [])],
    *[(Receipt, 7, odd) for odd in (None, 5, "", {}, [5], [[]], [None], [[1, 2, 3, 4]])],
    (Receipt, 7, lambda rows: rows[:1] * (ORDER_READINGS_MAX + 1)),
    *[(Receipt, 7, first(0, odd)) for odd in (b"12345", b"1234567", "1-0:1.8.0", None, 5)],
    *[(Receipt, 7, first(1, odd))
      for odd in (VALUE_MAX, -VALUE_MAX, True, 1.0, None, b"", [], "26")],
    *[(Receipt, 7, first(2, odd)) for odd in (19, -19, True, 1.0, None, "1")],
    *[(Receipt, 7, first(3, odd)) for odd in ("kWh", 1, None, b"Wh", ["Wh"])],
    *[(Receipt, 7, first(4, odd)) for odd in (0, 7, 6, True, 1.0, None, "1", [1])],
    (Receipt, 7, lambda rows: [[*rows[1][:1], "t" * (TEXT_SIZE_MAX + 1), *rows[1][2:]]]),
    (Receipt, 7, lambda rows: [[*rows[1][:1], 12, *rows[1][2:]]]),
    *[(Receipt, 8, odd) for odd in (None, 5, "", {}, [5], [[]], [[">", 0]], [[">", 0, b"", 1]])],
    (Receipt, 8, [[">", 0, b""]] * (EVIDENCE_MAX + 1)),
    *[(Receipt, 8, first(0, odd)) for odd in ("", "=", ">>", None, 1, b">", [">"])],
    *[(Receipt, 8, first(1, odd)) for odd in (-1, True, 1.0, None, "0")],
    *[(Receipt, 8, first(2, odd)) for odd in ("68", None, 5, bytes(EVIDENCE_FRAME_SIZE_MAX + 1))],
]  # fmt: skip


@pytest.mark.parametrize("kind", GOOD)
def test_the_bodies_that_are_changed_here_are_good(kind: Any) -> None:
    """So each case below fails for its one change."""
    assert kind.from_body(GOOD[kind]).to_body() == GOOD[kind]


@pytest.mark.parametrize(("kind", "at", "value"), FAULTS)
def test_a_faulty_field_is_refused(kind: Any, at: int, value: Any) -> None:
    """Signed is not the same as right."""
    body = copy.deepcopy(GOOD[kind])
    body[at] = value(body[at]) if callable(value) else value
    assert refused(kind, body) == "schema"


@pytest.mark.parametrize("kind", GOOD)
def test_a_body_of_another_size_is_refused(kind: Any) -> None:
    """A field too few or too many, and anything that is no list."""
    for body in (
        GOOD[kind][:-1],
        [*GOOD[kind], 0],
        [*GOOD[kind], []],
        [],
        [1],
        None,
        5,
        {},
        "",
        b"",
        tuple(GOOD[kind]),
    ):
        assert refused(kind, body) == "schema"


def test_the_limits_themselves_are_allowed() -> None:
    """As many meters, ranges, receipts, readings and frames as named."""
    assert (METERS_MAX, RANGES_MAX, RECEIPTS_MAX, ORDER_READINGS_MAX) == (1024, 256, 256, 256)
    assert (TEXT_SIZE_MAX, EVIDENCE_MAX, EVIDENCE_FRAME_SIZE_MAX) == (200, 64, 300)
    hello = [*GOOD[Hello][:8], [["m" * TEXT_SIZE_MAX, "a"]] * METERS_MAX]
    assert len(Hello.from_body(hello).meters) == METERS_MAX
    ranges = [[2 * n + 9, 2 * n + 9] for n in range(RANGES_MAX)]
    ack = [1, N8, 7, ranges, LARGEST, b"", [[LARGEST, "done"]] * RECEIPTS_MAX, LARGEST]
    assert len(Ack.from_body(ack).ranges) == RANGES_MAX
    assert len(Ack.from_body(ack).receipts) == RECEIPTS_MAX
    row = [bytes(6), VALUE_MAX - 1, -SCALER_MAX, "Wh", 1]
    text = [bytes(6), "t" * TEXT_SIZE_MAX, SCALER_MAX, "", 6]
    assert Receipt.from_body([*GOOD[Receipt][:7], [text], []]).readings[0].quantity.value == text[1]
    frame = [">", LARGEST, bytes(EVIDENCE_FRAME_SIZE_MAX)]
    receipt = [*GOOD[Receipt][:7], [row] * ORDER_READINGS_MAX, [frame] * EVIDENCE_MAX]
    receipt[4] = "r" * TEXT_SIZE_MAX
    assert len(Receipt.from_body(receipt).readings) == ORDER_READINGS_MAX
    assert len(Receipt.from_body(receipt).evidence) == EVIDENCE_MAX
    assert len(PROVIDER.encode(receipt)) < 1024 * 1024
    assert CONFIG_SIZE_MAX == 65_536
    for text in ("c" * CONFIG_SIZE_MAX, "\u00e9" * (CONFIG_SIZE_MAX // 2)):
        assert Config.from_body([1, LARGEST, False, text]).text == text


@pytest.mark.parametrize("audit", [*ODD_COUNTS, 0])
def test_an_acknowledgement_tells_of_audit_entries_or_ends_before(audit: Any) -> None:
    """One form: none are not told as none, so an older gateway understands it."""
    assert Ack.from_body(GOOD[Ack]).audit == 0
    assert Ack.from_body([*GOOD[Ack], 1]).audit == 1
    assert Ack.from_body([*GOOD[Ack], LARGEST]).to_body() == [*GOOD[Ack], LARGEST]
    assert refused(Ack, [*GOOD[Ack], audit]) == "schema"
    assert refused(Ack, [*GOOD[Ack], 1, 1]) == "schema"


@pytest.mark.parametrize(
    "facts",
    [
        None, 5, "", {}, [], [5], [[]], ["ab"], [["a"]], [["a", "b", "c"]], [("a", "b")],
        [["", "b"]], [["n" * (FACT_NAME_SIZE_MAX + 1), "b"]], [[5, "b"]], [[None, "b"]],
        [["a", None]], [["a", 5]], [["a", b"b"]], [["a", "t" * (TEXT_SIZE_MAX + 1)]],
        [["a", "b"], ["a", "c"]], [[str(n), ""] for n in range(FACTS_MAX + 1)],
    ],
)  # fmt: skip
def test_a_receipt_has_facts_or_ends_before(facts: Any) -> None:
    """Names once each, with words; a receipt stored before facts were told is still one."""
    assert Receipt.from_body(GOOD[Receipt]).facts == ()
    told = [*GOOD[Receipt], FACTS]
    assert Receipt.from_body(told).facts == (("relay before", "connected"), ("relay after", ""))
    assert Receipt.from_body(told).to_body() == told
    assert refused(Receipt, [*GOOD[Receipt], facts]) == "schema"
    assert refused(Receipt, [*told, 0]) == "schema"


def test_as_many_facts_as_named_are_allowed() -> None:
    """With names and texts of the full size."""
    assert (FACTS_MAX, FACT_NAME_SIZE_MAX) == (32, 48)
    facts = [[f"{n:048d}", "t" * TEXT_SIZE_MAX] for n in range(FACTS_MAX)]
    assert len(Receipt.from_body([*GOOD[Receipt], facts]).facts) == FACTS_MAX


@pytest.mark.parametrize(
    ("upto", "ranges"),
    [
        (0, []),
        (0, [[2, 2]]),
        (7, [[8, 9]]),  # touches: only not merged, and no less true
        (7, [[9, 9], [10, 10]]),
        (7, [[9, 9], [LARGEST, LARGEST]]),
        (LARGEST, []),
    ],
)
def test_ranges_rise_above_what_is_complete(upto: int, ranges: list[list[int]]) -> None:
    """They neither overlap nor fall; the smallest of them is one number."""
    ack = Ack.from_body([1, N8, upto, ranges, 0, b"", [], 0])
    assert ack.ranges == tuple((first, last) for first, last in ranges)


# ---- the fuzz sentence -------------------------------------------------------------------------


def check(kind: Any, body: Any) -> None:
    """from_body gives a message that makes the same body, or EnvelopeError("schema")."""
    message, reason = outcome(EnvelopeError, kind.from_body, body)
    if message is None:
        assert reason == "schema"
        return
    assert type(message) is kind
    assert message.to_body() == body
    for reading in message.readings if kind is Receipt else ():
        assert all(isinstance(word, str) for word in reading.described().values())


@given(st.sampled_from(list(GOOD)), values() | st.lists(values(2), min_size=6, max_size=9))
def test_any_value_gives_a_message_or_an_envelope_error(kind: Any, body: Any) -> None:
    """Whatever CBOR can say."""
    check(kind, body)


@pytest.mark.parametrize("kind", GOOD)
@settings(max_examples=200)
@given(source=st.data())
def test_a_good_body_with_anything_changed_gives_a_message_or_an_envelope_error(
    kind: Any, source: st.DataObject
) -> None:
    """Places replaced, removed, doubled, swapped; what passes can be shown to a person."""
    check(kind, source.draw(mutated(GOOD[kind])))
