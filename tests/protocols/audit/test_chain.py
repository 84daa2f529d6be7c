"""protocols/audit/chain.py: entries that each carry the hash of all before them."""

import hashlib
from typing import Any

import cbor2
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocols.audit.chain import (
    ENTRIES_MAX,
    ENTRIES_SIZE_MAX,
    ENTRY_SIZE_MAX,
    FIELD_BYTES_SIZE_MAX,
    FIELD_NAME_SIZE_MAX,
    FIELD_NUMBER_MAX,
    FIELD_TEXT_SIZE_MAX,
    FIELDS_MAX,
    AuditBatch,
    Entry,
    check_chain,
    entry_bytes,
    first_hash,
    next_hash,
    parse_entry,
)
from protocols.errors import EnvelopeError
from tests.protocols.envelope.strategies import mutated, values
from tests.protocols.envelope.world import NOW, PROVIDER
from tests.protocols.faulty import LARGEST, ODD_COUNTS, odd_bytes, refused
from tests.protocols.outcome import outcome

EPOCH = b"epoch--1"
N16 = b"n" * 16
KINDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=48)
FIELD_VALUES = (
    st.text(max_size=20) | st.integers(-FIELD_NUMBER_MAX, FIELD_NUMBER_MAX) | st.binary(max_size=20)
)
ENTRIES = st.builds(
    Entry, st.integers(1, LARGEST), st.integers(0, LARGEST), st.integers(0, 3), KINDS,
    st.text(max_size=20), st.just(b"") | st.binary(min_size=16, max_size=16),
    st.dictionaries(st.text(min_size=1, max_size=20), FIELD_VALUES, max_size=5),
)  # fmt: skip
GOOD = Entry(1, NOW, 2, "order-armed", "m1", N16, {"relay": "connected", "records": 3})


def chain(entries: list[Entry], first: int = 1) -> AuditBatch:
    """The entries under rising sequences, as a message."""
    numbered = [entry._replace(sequence=first + n) for n, entry in enumerate(entries)]
    data = tuple(entry_bytes(PROVIDER, entry) for entry in numbered)
    return AuditBatch(first, first_hash("t1", "gw1", EPOCH), data)


def last_hash(batch: AuditBatch) -> bytes:
    """The hash after the last entry."""
    found: bytes = check_chain(PROVIDER, batch)[-1][1]
    return found


@given(ENTRIES)
def test_an_entry_comes_back_from_its_bytes(entry: Entry) -> None:
    """With its types, and the bytes are those of any other encoder of canonical CBOR."""
    data = entry_bytes(PROVIDER, entry)
    found = parse_entry(PROVIDER, data)
    assert (found, type(found)) == (entry, Entry)
    assert data == cbor2.dumps(list(entry), canonical=True)


def test_the_hashes_are_those_of_the_documented_bytes() -> None:
    """By the library alone."""
    start = hashlib.sha256(b"busbar/1/audit" + b"t1/gw1" + EPOCH).digest()
    assert first_hash("t1", "gw1", EPOCH) == start
    after = hashlib.sha256(b"\x00" + start + b"entry").digest()
    assert next_hash(start, b"entry") == after


def test_every_gateway_and_epoch_begins_elsewhere() -> None:
    """A chain is not moved to another one."""
    starts = {first_hash(*parts) for parts in (
        ("t1", "gw1", EPOCH), ("t2", "gw1", EPOCH), ("t1", "gw2", EPOCH), ("t1", "gw1", b"epoch--2")
    )}  # fmt: skip
    assert len(starts) == 4


@given(st.lists(ENTRIES, min_size=1, max_size=4), st.data())
def test_i29_any_change_of_an_entry_changes_all_hashes_after_it(
    entries: list[Entry], source: st.DataObject
) -> None:
    """And none before it."""
    at = source.draw(st.integers(0, len(entries) - 1))
    other = source.draw(ENTRIES)
    changed = [*entries[:at], other, *entries[at + 1 :]]
    assume(other._replace(sequence=1) != entries[at]._replace(sequence=1))
    before = [hashed for _, hashed in check_chain(PROVIDER, chain(entries))]
    after = [hashed for _, hashed in check_chain(PROVIDER, chain(changed))]
    assert before[:at] == after[:at]
    assert all(one != two for one, two in zip(before[at:], after[at:], strict=True))


@given(st.lists(ENTRIES, min_size=2, max_size=5), st.data())
def test_a_chain_in_pieces_is_the_same_chain(entries: list[Entry], source: st.DataObject) -> None:
    """The next message goes on from the hash of the last one."""
    whole = chain(entries)
    cut = source.draw(st.integers(1, len(entries) - 1))
    head = AuditBatch(1, whole.previous, whole.entries[:cut])
    tail = AuditBatch(1 + cut, last_hash(head), whole.entries[cut:])
    assert last_hash(tail) == last_hash(whole)
    rows = check_chain(PROVIDER, head) + check_chain(PROVIDER, tail)
    assert rows == check_chain(PROVIDER, whole)


@pytest.mark.parametrize("order", [(1, 3), (1, 1), (2, 1), (2, 3), (1, 2, 4)])
def test_a_gap_shows(order: tuple[int, ...]) -> None:
    """Left out, doubled, or in another order."""
    data = tuple(entry_bytes(PROVIDER, GOOD._replace(sequence=n)) for n in order)
    with pytest.raises(EnvelopeError) as caught:
        check_chain(PROVIDER, AuditBatch(1, bytes(32), data))
    assert caught.value.reason == "audit_gap"


# ---- faulty ones -------------------------------------------------------------------------------

FAULTS: list[tuple[int, Any]] = [
    *[(0, odd) for odd in (0, *ODD_COUNTS)],
    *[(1, odd) for odd in ODD_COUNTS],
    *[(2, odd) for odd in (4, *ODD_COUNTS)],
    *[(3, odd) for odd in ("", "Order", "a" * 49, "a b", None, 5, b"a", [])],
    *[(4, odd) for odd in ("m" * 65, None, 5, b"m1", [])],
    *[(5, odd) for odd in odd_bytes(16)],
    (5, ""),
    *[(6, odd) for odd in (
        None, 5, [], "", {"": 1}, {5: 1}, {b"a": 1}, {"n" * (FIELD_NAME_SIZE_MAX + 1): 1},
        {"a": None}, {"a": True}, {"a": 1.0}, {"a": []}, {"a": {}},
        {"a": FIELD_NUMBER_MAX + 1}, {"a": -FIELD_NUMBER_MAX - 1},
        {"a": "t" * (FIELD_TEXT_SIZE_MAX + 1)}, {"a": bytes(FIELD_BYTES_SIZE_MAX + 1)},
        {str(n): n for n in range(FIELDS_MAX + 1)})],
]  # fmt: skip


@pytest.mark.parametrize(("at", "value"), FAULTS)
def test_a_faulty_field_is_neither_written_nor_read(at: int, value: Any) -> None:
    """An entry that nobody could read back would end the chain."""
    fields = [*GOOD]
    fields[at] = value
    assert outcome(EnvelopeError, entry_bytes, PROVIDER, Entry(*fields)) == (None, "schema")
    data = cbor2.dumps(fields, canonical=True)
    assert outcome(EnvelopeError, parse_entry, PROVIDER, data)[0] is None


def test_the_limits_themselves_are_allowed() -> None:
    """As long and as many as named, within the size of an entry."""
    fields = {
        "n" * FIELD_NAME_SIZE_MAX: "t" * FIELD_TEXT_SIZE_MAX,
        "b": bytes(FIELD_BYTES_SIZE_MAX),
        "low": -FIELD_NUMBER_MAX,
        "high": FIELD_NUMBER_MAX,
        **{str(n): n for n in range(FIELDS_MAX - 4)},
    }
    entry = Entry(LARGEST, LARGEST, 3, "k" * 48, "s" * 64, N16, fields)
    assert parse_entry(PROVIDER, entry_bytes(PROVIDER, entry)) == entry


def test_an_entry_has_a_size() -> None:
    """Which many long fields together exceed."""
    fields = {str(n): bytes(FIELD_BYTES_SIZE_MAX) for n in range(9)}
    large = GOOD._replace(fields=fields)
    data = cbor2.dumps(list(large), canonical=True)
    assert len(data) > ENTRY_SIZE_MAX
    assert outcome(EnvelopeError, entry_bytes, PROVIDER, large) == (None, "schema")
    assert outcome(EnvelopeError, parse_entry, PROVIDER, data) == (None, "schema")


@pytest.mark.parametrize("data", [None, "", 5, [], b"", b"\x80", b"\xff", b"\x87\x01"])
def test_what_is_no_entry_is_refused(data: Any) -> None:
    """Nothing but an EnvelopeError."""
    found, reason = outcome(EnvelopeError, parse_entry, PROVIDER, data)
    assert found is None
    assert reason in ("schema", "malformed")


def test_an_epoch_has_eight_bytes() -> None:
    """Otherwise two gateways could begin alike."""
    for odd in odd_bytes(8):
        assert outcome(EnvelopeError, first_hash, "t1", "gw1", odd) == (None, "schema")


BODY = [1, 7, bytes(32), [b"entry", b"another"]]
BODY_FAULTS: list[tuple[int, Any]] = [
    *[(0, odd) for odd in (0, 2, True, 1.0, "1", None, [])],
    *[(1, odd) for odd in (0, *ODD_COUNTS)],
    *[(2, odd) for odd in odd_bytes(32)],
    *[(3, odd) for odd in (None, 5, "", {}, [], b"", (b"e",), [5], ["e"], [None],
                           [b"e"] * (ENTRIES_MAX + 1),
                           [bytes(ENTRIES_SIZE_MAX // 2)] * 2 + [b"e"])],
]  # fmt: skip


@pytest.mark.parametrize(("at", "value"), BODY_FAULTS)
def test_a_faulty_message_is_refused(at: int, value: Any) -> None:
    """Before any entry is looked at."""
    body = [*BODY]
    body[at] = value
    assert refused(AuditBatch, body) == "schema"


def test_a_message_comes_back_from_its_body() -> None:
    """The largest one too; one of another size does not."""
    assert AuditBatch.from_body(BODY) == (7, bytes(32), (b"entry", b"another"))
    assert AuditBatch.from_body(BODY).to_body() == BODY
    full = [1, LARGEST, bytes(32), [bytes(ENTRIES_SIZE_MAX // ENTRIES_MAX)] * ENTRIES_MAX]
    assert AuditBatch.from_body(full).to_body() == full
    for body in (BODY[:-1], [*BODY, 0], [], None, tuple(BODY)):
        assert refused(AuditBatch, body) == "schema"


@given(values() | mutated(BODY) | mutated([1, 1, bytes(32), [entry_bytes(PROVIDER, GOOD)]]))
def test_any_value_gives_a_chain_or_an_envelope_error(body: Any) -> None:
    """From the body to the last entry."""
    batch, reason = outcome(EnvelopeError, AuditBatch.from_body, body)
    if batch is None:
        assert reason == "schema"
        return
    assert batch.to_body() == body
    rows, reason = outcome(EnvelopeError, check_chain, PROVIDER, batch)
    if rows is None:
        assert reason in ("schema", "malformed", "audit_gap")
    else:
        assert [entry.sequence for entry, _ in rows] == [
            batch.first + place for place in range(len(rows))
        ]


@given(st.binary(max_size=40) | mutated([*GOOD]).map(lambda one: cbor2.dumps(one, canonical=True)))
def test_any_bytes_give_an_entry_or_an_envelope_error(data: bytes) -> None:
    """And what is read is written again as the same bytes."""
    entry, reason = outcome(EnvelopeError, parse_entry, PROVIDER, data)
    if entry is None:
        assert reason in ("schema", "malformed")
    else:
        assert entry_bytes(PROVIDER, entry) == data
