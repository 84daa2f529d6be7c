"""protocols/envelope/keys.py: who owns a key, what it may do, from when to when."""

import json
import logging
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.envelope.keys import (
    ALGORITHMS,
    ESP256,
    HPKE_X25519,
    HPKE_XWING,
    USES,
    KeyRecord,
    KeySet,
    PrivateKey,
    Use,
)
from protocols.errors import EnvelopeError
from tests.protocols.envelope.strategies import values
from tests.protocols.envelope.world import DATA_KEY, GATEWAY, HEAD_END, NOW, key
from tests.protocols.outcome import outcome

RECORD = DATA_KEY.record
ROW = RECORD.to_json()


def refused(function: Any, *arguments: Any) -> str:
    """The reason of the EnvelopeError."""
    with pytest.raises(EnvelopeError) as caught:
        function(*arguments)
    return caught.value.reason


def record(**changes: Any) -> KeyRecord:
    """A record that differs from the gateway's in some fields."""
    return RECORD._replace(**changes)


# ---- records -----------------------------------------------------------------------------------


def test_the_algorithms_are_the_documented_numbers() -> None:
    """ESP256 of RFC 9864, and two in private use."""
    assert (ESP256, HPKE_X25519, HPKE_XWING) == ALGORITHMS == (-9, -65601, -65602)
    assert USES == (
        Use.SIGN_DATA, Use.SIGN_ACK, Use.SIGN_ORDER, Use.SIGN_CONFIG, Use.APPROVE, Use.OPEN
    )  # fmt: skip
    assert len(set(USES)) == 6


RECORDS = st.builds(
    KeyRecord,
    st.binary(min_size=8, max_size=8),
    st.text(min_size=1, max_size=32),
    st.sampled_from(USES),
    st.sampled_from(ALGORITHMS),
    st.binary(max_size=40),
    st.integers(0, 1 << 62),
    st.integers(0, 1 << 62),
    st.integers(0, 1) | st.integers(0, 1 << 62),
)


@given(RECORDS)
def test_a_record_comes_back_from_a_file(one: KeyRecord) -> None:
    """Record and JSON row are inverse, through text."""
    found = KeyRecord.from_json(json.loads(json.dumps(one.to_json())))
    assert found == one
    assert type(found) is KeyRecord


def test_a_row_of_a_file_is_readable() -> None:
    """Hex for bytes, numbers for numbers."""
    expected = {
        "kid": RECORD.kid.hex(),
        "owner": "gw1",
        "use": "sign-data",
        "algorithm": -9,
        "public": RECORD.public.hex(),
        "not_before": RECORD.not_before,
        "not_after": RECORD.not_after,
        "revoked": 0,
    }
    assert RECORD.to_json() == expected
    assert (len(RECORD.kid), len(RECORD.public)) == (8, 33)


@pytest.mark.parametrize("field", sorted(ROW))
def test_every_field_of_a_record_must_be_there(field: str) -> None:
    """A record without terms would hold for ever."""
    assert refused(KeyRecord.from_json, {k: v for k, v in ROW.items() if k != field}) == "key_file"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kid", ""), ("kid", "00" * 7), ("kid", "00" * 9), ("kid", "zz" * 8),
        ("kid", 5), ("kid", None),
        ("owner", 5), ("owner", None), ("owner", ["gw1"]),
        ("use", "sign"), ("use", ""), ("use", None), ("use", ["sign-data"]), ("use", 1),
        ("algorithm", -7), ("algorithm", 0), ("algorithm", "-9"), ("algorithm", -9.0),
        ("algorithm", None), ("algorithm", [-9]),
        ("public", "zz"), ("public", 5), ("public", None), ("public", []),
        ("not_before", "0"), ("not_before", None), ("not_before", 0.5), ("not_before", []),
        ("not_after", "9"), ("not_after", None), ("not_after", {}),
        ("revoked", "no"), ("revoked", None), ("revoked", []),
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_kind_is_no_key_record(field: str, value: Any) -> None:
    """Refused when the file is read, not when a message needs the key."""
    assert refused(KeyRecord.from_json, {**ROW, field: value}) == "key_file"


@pytest.mark.parametrize("row", [None, 5, "row", [], [ROW], b"", True])
def test_something_else_than_a_row_is_no_key_record(row: Any) -> None:
    """EnvelopeError, not an AttributeError."""
    assert refused(KeyRecord.from_json, row) == "key_file"


@given(
    st.dictionaries(
        st.sampled_from(sorted(ROW)), values(1) | st.text("0f", max_size=16), max_size=3
    )
)
def test_any_row_gives_a_record_that_can_be_judged_or_an_envelope_error(row: Any) -> None:
    """The fuzz sentence: what was read can be looked up at any time without another error."""
    one, reason = outcome(EnvelopeError, KeyRecord.from_json, {**ROW, **row})
    if one is None:
        assert reason == "key_file"
        return
    keys = KeySet((one,))
    for now in (0, NOW):
        found, reason = outcome(EnvelopeError, keys.find, one.kid, one.owner, one.use, now)
        assert found is one or reason in ("revoked_key", "key_time")
        found, reason = outcome(EnvelopeError, keys.current, one.owner, one.use, now)
        assert found is one or reason == "unknown_key"


# ---- private keys ------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_private_key_never_shows_its_bytes(
    algorithm: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Printed, formatted, logged or inside another value, it tells its name alone."""
    one = key("canary", GATEWAY, Use.OPEN if algorithm != ESP256 else Use.SIGN_DATA, algorithm)
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("key=%s list=%r", one, [one])
        logging.getLogger("test").info("%s", one)
    holder = EnvelopeError("key_file", f"{one}")
    told = f"{one} {one!r} {one!s} {[one]} { ({'key': one}) } {holder} {caplog.text}"
    assert told.count("PrivateKey(" + one.record.kid.hex() + ")") >= 7
    for form in (
        one.private.hex(),
        repr(one.private),
        repr(one.private)[2:-1],
        str(list(one.private)),
    ):
        assert form not in told


def test_a_private_key_is_still_its_bytes() -> None:
    """Only the text hides them."""
    assert pickle.loads(pickle.dumps(DATA_KEY)).private == DATA_KEY.private
    assert len(DATA_KEY.private) == 32


# ---- key sets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "asked", "reason"),
    [
        ({}, {}, ""),
        ({}, {"kid": b"\x00" * 8}, "unknown_key"),
        ({}, {"kid": b""}, "unknown_key"),
        ({}, {"kid": RECORD.kid[:7]}, "unknown_key"),
        ({}, {"owner": "gw2"}, "key_owner"),
        ({}, {"owner": HEAD_END}, "key_owner"),
        ({}, {"use": Use.SIGN_ACK}, "key_use"),
        ({}, {"use": Use.SIGN_ORDER}, "key_use"),
        ({}, {"use": Use.OPEN}, "key_use"),
        ({"revoked": 1}, {}, "revoked_key"),
        ({"revoked": NOW}, {}, "revoked_key"),
        ({"revoked": NOW + 1}, {}, "revoked_key"),
        ({"revoked": 1}, {"now": 0}, "revoked_key"),
        ({"not_after": NOW - 1}, {}, "key_time"),
        ({"not_after": NOW}, {}, ""),
        ({"not_before": NOW + 1}, {}, "key_time"),
        ({"not_before": NOW}, {}, ""),
        ({"not_after": NOW - 1}, {"now": 0}, ""),
        ({"not_before": NOW + 1}, {"now": 0}, ""),
        ({"revoked": 1, "not_after": 1}, {}, "revoked_key"),
        ({"revoked": 1}, {"use": Use.OPEN}, "key_use"),
        ({"revoked": 1}, {"owner": "gw2"}, "key_owner"),
    ],
)
def test_a_key_is_found_for_its_owner_use_and_time_only(
    changes: dict[str, Any], asked: dict[str, Any], reason: str
) -> None:
    """Each reason has its own word, so that a misuse is named for what it is."""
    one = record(**changes)
    keys = KeySet((one,))
    question = {"kid": one.kid, "owner": GATEWAY, "use": Use.SIGN_DATA, "now": NOW, **asked}
    if reason:
        assert refused(keys.find, *question.values()) == reason
    else:
        assert keys.find(*question.values()) is one


def test_an_empty_key_set_knows_nobody() -> None:
    """No default key."""
    assert KeySet().records() == ()
    assert refused(KeySet().find, RECORD.kid, GATEWAY, Use.SIGN_DATA, NOW) == "unknown_key"
    assert refused(KeySet().current, GATEWAY, Use.SIGN_DATA, NOW) == "unknown_key"


def test_a_key_is_found_by_any_bytes() -> None:
    """A memoryview of a buffer does as well."""
    keys = KeySet((RECORD,))
    assert keys.find(memoryview(RECORD.kid), GATEWAY, Use.SIGN_DATA, NOW) is RECORD
    assert keys.records() == (RECORD,)


def test_the_current_key_is_the_newest_valid_one() -> None:
    """Not revoked, not expired, not of the future, of this owner and use."""
    old = record(kid=b"old-----", not_before=1)
    new = record(kid=b"new-----", not_before=NOW - 5)
    others = (
        record(kid=b"future--", not_before=NOW + 1),
        record(kid=b"revoked-", not_before=NOW - 1, revoked=1),
        record(kid=b"expired-", not_before=NOW - 2, not_after=NOW - 1),
        record(kid=b"other---", not_before=NOW - 1, owner="gw2"),
        record(kid=b"ack-----", not_before=NOW - 1, use=Use.SIGN_ACK),
    )
    edge = record(kid=b"edge----", not_before=NOW, not_after=NOW)
    assert KeySet((old, new, edge)).current(GATEWAY, Use.SIGN_DATA, NOW) is edge
    assert KeySet((old, new, edge)).current(GATEWAY, Use.SIGN_DATA, NOW + 1) is new
    for order in ((old, new, *others), (*others, new, old)):
        assert KeySet(order).current(GATEWAY, Use.SIGN_DATA, NOW) is new
    assert KeySet((old, *others)).current(GATEWAY, Use.SIGN_DATA, NOW) is old
    assert refused(KeySet(others).current, GATEWAY, Use.SIGN_DATA, NOW) == "unknown_key"


def test_without_a_time_validity_is_not_judged() -> None:
    """A gateway that does not know the time still needs a key to say hello."""
    late = record(kid=b"late----", not_before=NOW + 5)
    gone = record(kid=b"gone----", not_before=3, not_after=5)
    assert KeySet((gone, late)).current(GATEWAY, Use.SIGN_DATA, 0) is late
    assert KeySet((gone,)).current(GATEWAY, Use.SIGN_DATA, 0) is gone
    revoked = record(revoked=1)
    assert refused(KeySet((revoked,)).current, GATEWAY, Use.SIGN_DATA, 0) == "unknown_key"


def test_a_missing_key_is_told_with_owner_and_use() -> None:
    """The operator sees what to provision."""
    with pytest.raises(EnvelopeError, match="no valid open key of gw1"):
        KeySet().current(GATEWAY, Use.OPEN, NOW)


def test_a_private_key_is_no_record() -> None:
    """Two values with equal fields are told apart by their type."""
    assert type(DATA_KEY) is PrivateKey
    assert isinstance(DATA_KEY.record, KeyRecord)
