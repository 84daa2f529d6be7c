"""protocols/envelope/claims.py: signed claims, replays, times, and which order may be taken up."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.envelope.claims import (
    EPOCH_SIZE,
    NONCE_SIZE,
    REPLAY_WINDOW,
    SKEW_MS,
    Claims,
    ReplayWindow,
    check_order,
    check_times,
    is_count,
)
from protocols.errors import EnvelopeError
from tests.protocols.envelope.strategies import SCALARS, values
from tests.protocols.outcome import outcome

LARGEST = (1 << 63) - 1
COUNT = st.integers(0, LARGEST)
CLAIMS = st.builds(
    Claims,
    COUNT,
    COUNT,
    COUNT,
    st.just(b"") | st.binary(min_size=NONCE_SIZE, max_size=NONCE_SIZE),
    st.binary(min_size=EPOCH_SIZE, max_size=EPOCH_SIZE),
    COUNT,
)
GOOD: dict[Any, Any] = {1: 7, 2: 1000, 3: 0, 5: b"epoch--1", 6: 1}
NOW = 1_763_700_000_000
NONCE = b"n" * NONCE_SIZE


def refused(function: Any, *arguments: Any) -> str:
    """The reason of the EnvelopeError."""
    with pytest.raises(EnvelopeError) as caught:
        function(*arguments)
    return caught.value.reason


# ---- the map -----------------------------------------------------------------------------------


@given(CLAIMS)
def test_claims_come_back_from_their_map(claims: Claims) -> None:
    """Map and claims are inverse; an empty nonce is left out."""
    found = Claims.from_map(claims.to_map())
    assert found == claims
    assert type(found) is Claims
    assert (4 in claims.to_map()) == bool(claims.nonce)


def test_the_numbers_of_the_claims_are_the_documented_ones() -> None:
    """Sequence 1, issued 2, expires 3, nonce 4, epoch 5, content type 6."""
    assert Claims(7, 8, 9, NONCE, b"epoch--1", 2).to_map() == {
        1: 7, 2: 8, 3: 9, 4: NONCE, 5: b"epoch--1", 6: 2,
    }  # fmt: skip
    assert (EPOCH_SIZE, NONCE_SIZE) == (8, 16)
    assert (SKEW_MS, REPLAY_WINDOW) == (120_000, 1024)


@pytest.mark.parametrize("key", [1, 2, 3, 5, 6])
def test_every_claim_but_the_nonce_must_be_there(key: int) -> None:
    """A missing claim is not a zero."""
    assert Claims.from_map(GOOD) == Claims(7, 1000, 0, b"", b"epoch--1", 1)
    assert refused(Claims.from_map, {k: v for k, v in GOOD.items() if k != key}) == "schema"


@pytest.mark.parametrize(
    "change",
    [
        {1: -1}, {1: LARGEST + 1}, {1: True}, {1: 7.0}, {1: "7"}, {1: None}, {1: b"\x07"}, {1: []},
        {2: -1}, {2: False}, {3: -1}, {3: None}, {6: -1}, {6: True}, {6: "1"},
        {5: b""}, {5: b"epoch-1"}, {5: b"epoch--11"}, {5: "epoch--1"}, {5: None},
        {4: b"n" * 15}, {4: b"n" * 17}, {4: "n" * 16}, {4: None}, {4: 0},
        {7: 0}, {0: 0}, {-1: 0}, {"1": 7}, {b"": 0}, {(): 0}, {None: 0},
    ],
)  # fmt: skip
def test_a_claim_out_of_range_is_refused(change: dict[Any, Any]) -> None:
    """Wrong value, wrong size, wrong type, unknown claim."""
    assert refused(Claims.from_map, {**GOOD, **change}) == "schema"


@pytest.mark.parametrize("odd", [True, 1.0])
def test_a_key_that_only_equals_a_number_is_refused(odd: Any) -> None:
    """CBOR's true and 1.0 are other bytes than 1, so they are other keys."""
    claims = {key: value for key, value in GOOD.items() if key != 1}
    assert refused(Claims.from_map, {odd: 7, **claims}) == "schema"


@pytest.mark.parametrize("value", [None, [], "", b"", 0, [[1, 7]], (), {}, [GOOD]])
def test_something_else_than_a_map_is_refused(value: Any) -> None:
    """Also the empty map."""
    assert refused(Claims.from_map, value) == "schema"


@given(values() | st.dictionaries(st.integers(-1, 8) | SCALARS, values(1), max_size=7))
def test_any_value_gives_claims_or_an_envelope_error(value: Any) -> None:
    """The fuzz sentence of the claims."""
    claims, reason = outcome(EnvelopeError, Claims.from_map, value)
    assert reason == "schema" or Claims.from_map(claims.to_map()) == claims


@given(st.dictionaries(st.sampled_from([1, 2, 3, 4, 5, 6]), values(1), max_size=2))
def test_good_claims_with_any_field_changed(change: dict[int, Any]) -> None:
    """What comes through is in range, whatever was put in."""
    claims, reason = outcome(EnvelopeError, Claims.from_map, {**GOOD, **change})
    if reason:
        return
    assert all(
        type(one) is int and 0 <= one <= LARGEST for one in (claims[0], *claims[1:3], claims[5])
    )
    assert len(claims.epoch) == 8
    assert len(claims.nonce) in (0, 16)


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (0, True), (1, True), (LARGEST, True), (LARGEST + 1, False), (-1, False), (True, False),
        (False, False), (1.0, False), ("1", False), (None, False), (b"", False),
    ],
)  # fmt: skip
def test_a_count_is_what_sqlite_can_hold(value: Any, holds: bool) -> None:
    """0..2^63-1, and a truth value is no number."""
    assert is_count(value) is holds


# ---- replays -----------------------------------------------------------------------------------


class NaiveWindow:
    """The same rule with a set: everything seen, and nothing below the window."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.highest = 0

    def accepts(self, sequence: int) -> bool:
        """Whether the sequence is new; it is remembered."""
        if sequence in self.seen or sequence <= self.highest - REPLAY_WINDOW:
            return False
        self.seen.add(sequence)
        self.highest = max(self.highest, sequence)
        return True


STEPS = st.integers(-3, 3) | st.integers(-1030, 1030) | st.integers(-(10**6), 10**6)


@given(st.lists(STEPS, max_size=60), st.sampled_from((0, 5, 5000)))
def test_a_window_says_what_a_set_of_everything_seen_says(steps: list[int], first: int) -> None:
    """Oracle: a set. Steps around the highest, over the window's edge, and far jumps."""
    naive, window = NaiveWindow(), ReplayWindow(0, 0)
    for step in [first, *steps]:
        sequence = max(window.highest + step, 0)
        if naive.accepts(sequence):
            window = window.accept(sequence)
            assert type(window) is ReplayWindow
        else:
            assert refused(window.accept, sequence) == "replayed"
        assert window.highest == naive.highest
        assert window.seen < 1 << REPLAY_WINDOW
        assert window.seen == sum(
            1 << window.highest - one for one in naive.seen if window.highest - one < REPLAY_WINDOW
        )


def test_a_window_takes_each_of_its_sequences_once_in_any_order() -> None:
    """Messages may overtake each other by the whole window."""
    window = ReplayWindow(0, 0).accept(2000)
    for sequence in range(2000 - REPLAY_WINDOW + 1, 2000):
        window = window.accept(sequence)
    assert window.seen == (1 << REPLAY_WINDOW) - 1
    for sequence in (2000, 1999, 2000 - REPLAY_WINDOW + 1, 2000 - REPLAY_WINDOW, 0):
        assert refused(window.accept, sequence) == "replayed"


def test_a_refused_sequence_does_not_change_the_window() -> None:
    """A window is a value: accepting gives a new one."""
    window = ReplayWindow(0, 0).accept(5)
    assert refused(window.accept, 5) == "replayed"
    assert window == ReplayWindow(5, 1)
    assert window.accept(4) == ReplayWindow(5, 3)
    assert window == ReplayWindow(5, 1)


@pytest.mark.parametrize("behind", [REPLAY_WINDOW, REPLAY_WINDOW + 1, 9 * REPLAY_WINDOW])
def test_what_lies_behind_the_window_is_refused(behind: int) -> None:
    """Nobody knows any more whether it was there; the last place inside is still taken."""
    window = ReplayWindow(10 * REPLAY_WINDOW, 1)
    with pytest.raises(EnvelopeError) as caught:
        window.accept(window.highest - behind)
    assert caught.value.reason == "replayed"
    assert window.accept(window.highest - REPLAY_WINDOW + 1).seen == 1 | 1 << REPLAY_WINDOW - 1


def test_a_far_jump_forgets_the_window() -> None:
    """Sequences are not kept for a range that is out of reach."""
    window = ReplayWindow(10, 1).accept(10 + REPLAY_WINDOW)
    assert window == ReplayWindow(10 + REPLAY_WINDOW, 1)
    assert ReplayWindow(10, 1).accept(9 + REPLAY_WINDOW).seen == 1 | 1 << REPLAY_WINDOW - 1
    assert ReplayWindow(10, 1).accept(LARGEST).seen == 1
    assert ReplayWindow(11, 3).accept(10 + REPLAY_WINDOW).seen == 1 | 1 << REPLAY_WINDOW - 1


# ---- times -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("issued", "expires", "reason"),
    [
        (NOW, 0, ""),
        (NOW - 10**12, 0, ""),
        (NOW + SKEW_MS, 0, ""),
        (NOW + SKEW_MS + 1, 0, "not_yet"),
        (NOW, NOW, ""),
        (NOW, NOW - 1, "expired"),
        (NOW, NOW + 1, ""),
        (NOW + SKEW_MS + 1, 1, "not_yet"),
    ],
)
def test_a_message_holds_from_its_issue_to_its_expiry(
    issued: int, expires: int, reason: str
) -> None:
    """A sender's clock may be two minutes ahead; the last moment still counts."""
    claims = Claims(1, issued, expires, b"", b"epoch--1", 4)
    if reason:
        assert refused(check_times, claims, NOW) == reason
    else:
        assert check_times(claims, NOW) is None


def order(**changes: Any) -> Claims:
    """An order of a minute, counter 8."""
    base = Claims(8, NOW, NOW + 60_000, NONCE, b"epoch--1", 5)
    return base._replace(**changes)


ORDERS = {
    "trusted clock, in time": (order(), 7, NOW + 1, {}, ""),
    "trusted clock, first order": (order(), 0, NOW + 1, {}, ""),
    "trusted clock, counter skipped": (order(), 1, NOW + 1, {}, ""),
    "trusted clock, any nonce": (order(nonce=b"other-nonce-here"), 7, NOW, {NONCE: 5}, ""),
    "trusted clock, no nonce": (order(nonce=b""), 7, NOW, {}, ""),
    "trusted clock, last moment": (order(), 7, NOW + 60_000, {}, ""),
    "trusted clock, expired": (order(), 7, NOW + 60_001, {}, "expired"),
    "trusted clock, our clock a little behind": (order(), 7, NOW - SKEW_MS, {}, ""),
    "trusted clock, from the future": (order(), 7, NOW - SKEW_MS - 1, {}, "not_yet"),
    "trusted clock, expired despite a nonce": (order(), 7, NOW + 60_001, {NONCE: 1}, "expired"),
    "replayed": (order(), 8, NOW, {}, "replayed"),
    "older counter": (order(), 9, NOW, {}, "replayed"),
    "replayed before expired": (order(), 8, NOW + 60_001, {}, "replayed"),
    "replayed, untrusted clock": (order(), 8, 0, {NONCE: 1}, "replayed"),
    "no expiry": (order(expires_at=0), 7, NOW, {}, "expired"),
    "expires with its issue": (order(expires_at=NOW), 7, NOW, {}, "expired"),
    "expires before its issue": (order(expires_at=NOW - 1), 7, NOW - 5, {}, "expired"),
    "no expiry, untrusted clock": (order(expires_at=0), 7, 0, {NONCE: 1}, "expired"),
    "untrusted clock, fresh nonce": (order(), 7, 0, {NONCE: 0}, ""),
    "untrusted clock, nonce as old as the order holds": (order(), 7, 0, {NONCE: 60_000}, ""),
    "untrusted clock, nonce too old": (order(), 7, 0, {NONCE: 60_001}, "expired"),
    "untrusted clock, no nonce announced": (order(), 7, 0, {}, "clock_untrusted"),
    "untrusted clock, nonce of another boot": (order(), 7, 0, {b"m" * 16: 1}, "clock_untrusted"),
    "untrusted clock, no nonce": (order(nonce=b""), 7, 0, {NONCE: 1}, "clock_untrusted"),
    "untrusted clock, issue time does not matter": (
        order(issued_at=5, expires_at=60_005), 7, 0, {NONCE: 60_000}, "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDERS)
def test_whether_an_order_may_be_taken_up(case: str) -> None:
    """Counter, expiry and time; without a trusted clock only an answer to this boot's nonce."""
    claims, last, now, ages, reason = ORDERS[case]
    if reason:
        assert refused(check_order, claims, last, now, ages) == reason
    else:
        assert check_order(claims, last, now, ages) is None


@given(CLAIMS, COUNT, st.integers(0, LARGEST), st.integers(0, 10**6))
def test_an_order_is_taken_up_or_refused_by_a_known_word(
    claims: Claims, last: int, now: int, age: int
) -> None:
    """The fuzz sentence: four reasons, and never an old counter."""
    ages = {claims.nonce: age} if claims.nonce else {}
    _, reason = outcome(EnvelopeError, check_order, claims, last, now, ages)
    assert reason in ("", "replayed", "expired", "not_yet", "clock_untrusted")
    assert reason or (claims.sequence > last and claims.expires_at > claims.issued_at)
