"""The outbox: a model in plain sets runs beside it through any interleaving."""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.journal.ranges import Ranges
from edge.sync.outbox import (
    BACKLOG_SETS_MAX,
    PATIENCE_DOUBLINGS_MAX,
    QUICK_MS,
    SLOW_MS,
    Outbox,
)

LINGER_MS = 1_000
TIMEOUT_MS = 5_000
COUNTERS = itertools.count(1)


def make_outbox(head: int = 0, stored: tuple[tuple[int, int], ...] = (), **more: int) -> Outbox:
    """Four sets a batch, three batches under way."""
    settings_ = {
        "batch_sets": 4,
        "linger_ms": LINGER_MS,
        "window": 3,
        "ack_timeout_ms": TIMEOUT_MS,
    }
    return Outbox(Ranges(stored), head, **(settings_ | more))


def sent(outbox: Outbox, now: int) -> list[tuple[int, int]]:
    """All that goes at this moment."""
    ranges = []
    while (rows := outbox.next_range(now)) is not None:
        outbox.note_sent(next(COUNTERS), *rows, now)
        ranges.append(rows)
        assert len(ranges) < 1000
    return ranges


class OutboxModel(RuleBasedStateMachine):
    """Commits, sends, acknowledgements, losses and time, in any order."""

    @initialize(
        head=st.integers(0, 30), batch=st.integers(1, 5), window=st.integers(2, 5), data=st.data()
    )
    def begin(self, head: int, batch: int, window: int, data: st.DataObject) -> None:
        """A journal that has rows and acknowledgements already."""
        stored = data.draw(st.sets(st.integers(1, head), max_size=10)) if head else set()
        self.stored: set[int] = set(stored)
        self.head = head
        self.now = 100_000
        self.counter = 0
        self.batch, self.window = batch, window
        self.outbox = make_outbox(
            head, tuple((n, n) for n in stored), batch_sets=batch, window=window
        )
        self.outbox.note_connected()
        self.live_from = head + 1

    @rule(more=st.integers(1, 9))
    def commit(self, more: int) -> None:
        """Reading sets come."""
        self.head += more
        self.outbox.note_head(self.head, self.now)

    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        """The session sends a batch, or a part of it when it is too large."""
        places = self.window - len(self.outbox.flights)
        rows = self.outbox.next_range(self.now)
        if rows is None:
            return
        first, last = rows
        numbers = set(range(first, last + 1))
        assert 1 <= first <= last <= self.head
        assert len(numbers) <= (self.batch if first >= self.live_from else self.outbox.backlog_sets)
        assert self.batch <= self.outbox.backlog_sets <= BACKLOG_SETS_MAX
        assert not numbers & self.stored
        assert not numbers & self.under_way()
        assert (last < self.live_from) or (first >= self.live_from)
        if last < self.live_from:
            assert places > 1, "the backlog took the live rows' place"
        last = data.draw(st.integers(first, last))
        self.counter += 1
        self.outbox.note_sent(self.counter, first, last, self.now)

    def under_way(self) -> set[int]:
        """Rows in flight, each of which must be in one flight only."""
        numbers = [
            n for one in self.outbox.flights.values() for n in range(one.first, one.last + 1)
        ]
        assert len(numbers) == len(set(numbers))
        return set(numbers)

    @rule(upto=st.floats(0, 1), data=st.data())
    def acknowledge(self, upto: float, data: st.DataObject) -> None:
        """The head end tells all that it has: a prefix and some ranges."""
        told = set(range(1, int(upto * self.head) + 1)) if data.draw(st.booleans()) else set()
        flights = sorted(self.outbox.flights.values())
        for one in data.draw(st.lists(st.sampled_from(flights), max_size=3)) if flights else ():
            told |= set(range(one.first, data.draw(st.integers(one.first, one.last)) + 1))
        self.stored |= told
        self.outbox.note_stored(Ranges((n, n) for n in self.stored), self.now)

    @rule(ms=st.integers(1, 40_000))
    def wait(self, ms: int) -> None:
        """Time passes."""
        self.now += ms
        self.outbox.note_head(self.head, self.now)
        self.outbox.note_time(self.now)

    @rule()
    def lose(self) -> None:
        """The connection goes."""
        self.outbox.note_lost()
        assert self.outbox.flights == {}

    @rule()
    def connect(self) -> None:
        """It comes back."""
        self.outbox.note_connected()
        self.live_from = self.head + 1
        assert self.outbox.flights == {}

    @invariant()
    def counts_agree(self) -> None:
        """Window, backlog and the next wait are as the model has them."""
        if hasattr(self, "outbox"):
            assert len(self.outbox.flights) <= self.window
            assert self.outbox.backlog == self.head - len(self.stored)
            assert self.outbox.next_in_ms(self.now) >= 1
            self.under_way()

    @precondition(lambda self: hasattr(self, "outbox"))
    @rule()
    def drain(self) -> None:
        """With a head end that answers, every row arrives, in as many rounds as batches need."""
        missing = set(range(1, self.head + 1)) - self.stored
        for _ in range(2 * len(missing) + 20):
            if self.stored >= set(range(1, self.head + 1)):
                break
            rows = self.outbox.next_range(self.now)
            if rows is not None:
                self.counter += 1
                self.outbox.note_sent(self.counter, *rows, self.now)
            else:
                self.stored |= self.under_way()
                self.outbox.note_stored(Ranges((n, n) for n in self.stored), self.now)
                self.wait(self.outbox.next_in_ms(self.now))
        assert self.stored >= set(range(1, self.head + 1))
        assert self.outbox.backlog == 0


OutboxModel.TestCase.settings = settings(max_examples=150, stateful_step_count=25)
TestOutbox = OutboxModel.TestCase


def test_live_rows_go_when_the_batch_is_full() -> None:
    """A full batch does not linger."""
    outbox = make_outbox()
    outbox.note_connected()
    outbox.note_head(3, 0)
    assert outbox.next_range(0) is None
    outbox.note_head(4, 0)
    assert sent(outbox, 0) == [(1, 4)]


def test_live_rows_go_when_the_oldest_has_lingered() -> None:
    """The time counts from the first row that waits."""
    outbox = make_outbox()
    outbox.note_connected()
    outbox.note_head(1, 100)
    outbox.note_head(2, 900)
    assert outbox.next_in_ms(900) == LINGER_MS - 800
    assert outbox.next_range(1_099) is None
    assert sent(outbox, 1_100) == [(1, 2)]
    outbox.note_head(3, 1_500)
    assert outbox.next_range(2_499) is None
    assert sent(outbox, 2_500) == [(3, 3)]


def test_live_goes_first_and_the_backlog_leaves_one_place() -> None:
    """A long outage must not delay what is read now."""
    outbox = make_outbox(head=100)
    outbox.note_connected()
    outbox.note_head(104, 0)
    assert sent(outbox, 0) == [(101, 104), (1, 4)]
    outbox.note_head(108, 1)
    assert sent(outbox, 1) == [(105, 108)]
    assert len(outbox.flights) == 3


def test_the_backlog_goes_oldest_first_around_what_is_stored() -> None:
    """Holes are filled in order."""
    outbox = make_outbox(head=12, stored=((3, 3), (6, 9)), window=8)
    outbox.note_connected()
    assert sent(outbox, 0) == [(1, 2), (4, 5), (10, 12)]


def test_an_overdue_batch_is_free_again_and_patience_doubles() -> None:
    """Each time-out doubles the wait up to a limit; an acknowledgement resets it."""
    outbox = make_outbox(head=4)
    outbox.note_connected()
    now = 0
    for doubling in [*range(PATIENCE_DOUBLINGS_MAX + 1), PATIENCE_DOUBLINGS_MAX]:
        assert sent(outbox, now) == [(1, 4)]
        patience = TIMEOUT_MS << doubling
        assert outbox.next_in_ms(now) == patience
        outbox.note_time(now + patience)
        assert len(outbox.flights) == 1
        now += patience + 1
        outbox.note_time(now)
        assert outbox.flights == {}
    assert outbox.resent_batches == PATIENCE_DOUBLINGS_MAX + 2
    outbox.note_stored(Ranges(), now)
    assert sent(outbox, now) == [(1, 4)]
    outbox.note_time(now + TIMEOUT_MS + 1)
    assert outbox.flights == {}


def test_a_partial_acknowledgement_leaves_the_rest_under_way() -> None:
    """A flight ends when all its rows are stored."""
    outbox = make_outbox(head=4)
    outbox.note_connected()
    sent(outbox, 0)
    outbox.note_stored(Ranges([(1, 3)]), 0)
    assert len(outbox.flights) == 1
    outbox.note_time(TIMEOUT_MS + 1)
    assert sent(outbox, TIMEOUT_MS + 1) == [(4, 4)]
    outbox.note_stored(Ranges([(1, 4)]), TIMEOUT_MS + 1)
    assert outbox.flights == {}
    assert outbox.backlog == 0


def test_a_lost_connection_frees_all_and_a_new_one_makes_them_backlog() -> None:
    """Nothing is known of what was under way."""
    outbox = make_outbox()
    outbox.note_connected()
    outbox.note_head(4, 0)
    assert sent(outbox, 0) == [(1, 4)]
    outbox.note_lost()
    outbox.note_head(6, 10)
    outbox.note_connected()
    assert sent(outbox, 10) == [(1, 4), (5, 6)]


@pytest.mark.parametrize("window", [2, 8])
def test_the_window_is_kept(window: int) -> None:
    """Never more batches under way than allowed."""
    outbox = make_outbox(head=1000, window=window)
    outbox.note_connected()
    outbox.note_head(2000, 0)
    assert len(sent(outbox, 0)) == window
    assert outbox.next_range(10**9) is None


# ---- the backlog's pace -------------------------------------------------------------------------


def drive(outbox: Outbox, round_trip_ms: int, rounds: int, now: int = 0) -> list[int]:
    """The sizes of the backlog's batches while each round trip takes so long."""
    sizes = []
    for _ in range(rounds):
        batches = sent(outbox, now)
        sizes += [last - first + 1 for first, last in batches]
        now += round_trip_ms
        stored = Ranges(outbox.stored)
        for first, last in batches:
            stored.add(first, last)
        outbox.note_stored(stored, now)
    return sizes


def test_on_a_quick_link_the_backlogs_batches_double_up_to_a_limit() -> None:
    """Each size is tried before the next."""
    outbox = make_outbox(head=100_000, window=2)
    outbox.note_connected()
    sizes = drive(outbox, QUICK_MS, 12)
    assert sizes == [4, 8, 16, 32, 64, 128, 256, 512, *[BACKLOG_SETS_MAX] * 4]


def test_on_a_slow_link_they_stay_as_live_ones_are() -> None:
    """A live batch then waits for what a window of small batches takes, and no longer."""
    outbox = make_outbox(head=1_000)
    outbox.note_connected()
    assert set(drive(outbox, SLOW_MS + 1, 10)) == {4}


def test_a_link_that_becomes_slow_makes_them_small_again() -> None:
    """Halved each time; in between they stay."""
    outbox = make_outbox(head=100_000, window=2)
    outbox.note_connected()
    drive(outbox, QUICK_MS, 5)
    assert outbox.backlog_sets == 128
    assert set(drive(outbox, SLOW_MS, 3, 10_000)) == {128}
    assert drive(outbox, SLOW_MS + 1, 7, 100_000) == [128, 64, 32, 16, 8, 4, 4]


def test_flights_of_an_older_size_say_nothing_new() -> None:
    """One answer for many batches is one step, not many."""
    outbox = make_outbox(head=1_000, window=8)
    outbox.note_connected()
    batches = sent(outbox, 0)
    assert len(batches) == 7
    outbox.note_stored(Ranges(batches), 10)
    assert outbox.backlog_sets == 8


def test_a_batch_that_is_overdue_makes_them_small_at_once() -> None:
    """And so does a new connection."""
    for loss in (lambda one: one.note_time(20_000), lambda one: one.note_connected()):
        outbox = make_outbox(head=100_000, window=2)
        outbox.note_connected()
        drive(outbox, QUICK_MS, 5)
        sent(outbox, 10_000)
        loss(outbox)
        assert outbox.backlog_sets == 4


def test_a_batch_that_does_not_fit_caps_the_size() -> None:
    """Until the next connection."""
    outbox = make_outbox(head=100_000, window=2)
    outbox.note_connected()
    drive(outbox, QUICK_MS, 5)
    outbox.note_too_large(128)
    assert max(drive(outbox, QUICK_MS, 5, 10_000)) == 64
    outbox.note_too_large(1)
    assert drive(outbox, QUICK_MS, 2, 20_000) == [1, 1]


def test_live_batches_keep_their_size_beside_a_large_backlog() -> None:
    """And go first."""
    outbox = make_outbox(head=100_000, window=8)
    outbox.note_connected()
    drive(outbox, QUICK_MS, 10)
    outbox.note_head(100_009, 50_000)
    first = sent(outbox, 50_000)[:3]
    assert first[:2] == [(100_001, 100_004), (100_005, 100_008)]
    assert first[2][1] - first[2][0] + 1 == BACKLOG_SETS_MAX


def test_the_backlog_waits_for_its_time_and_live_rows_do_not() -> None:
    """Unless it is no more than a batch."""
    outbox = make_outbox(head=100)
    outbox.note_connected(9_000)
    assert sent(outbox, 8_999) == []
    assert outbox.next_in_ms(8_990) == 10
    outbox.note_head(104, 8_999)
    assert sent(outbox, 8_999) == [(101, 104)]
    assert sent(outbox, 9_000) == [(1, 4)]
    small = make_outbox(head=4)
    small.note_connected(9_000)
    assert sent(small, 0) == [(1, 4)]


def test_without_the_backlog_only_live_rows_go() -> None:
    """When the day's bytes run out."""
    outbox = make_outbox(head=100)
    outbox.note_connected()
    outbox.note_head(104, 0)
    assert outbox.next_range(0, takes_backlog=False) == (101, 104)
    outbox.note_sent(1, 101, 104, 0)
    assert outbox.next_range(0, takes_backlog=False) is None
    assert outbox.next_range(0) == (1, 4)


def test_reopened_rows_go_again() -> None:
    """As backlog, and live ones still go first."""
    outbox = make_outbox(head=20, stored=((1, 20),))
    outbox.note_connected()
    assert sent(outbox, 0) == []
    outbox.note_reopened(Ranges([(1, 4), (9, 20)]))
    assert outbox.backlog == 4
    assert sent(outbox, 0) == [(5, 8)]
