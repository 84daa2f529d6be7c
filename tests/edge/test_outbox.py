"""The outbox: a model in plain sets runs beside it through any interleaving."""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.journal.ranges import Ranges
from edge.sync.outbox import PATIENCE_DOUBLINGS_MAX, Outbox

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
        assert len(numbers) <= self.batch
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
        self.outbox.note_stored(Ranges((n, n) for n in self.stored))

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
                self.outbox.note_stored(Ranges((n, n) for n in self.stored))
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
    outbox.note_stored(Ranges())
    assert sent(outbox, now) == [(1, 4)]
    outbox.note_time(now + TIMEOUT_MS + 1)
    assert outbox.flights == {}


def test_a_partial_acknowledgement_leaves_the_rest_under_way() -> None:
    """A flight ends when all its rows are stored."""
    outbox = make_outbox(head=4)
    outbox.note_connected()
    sent(outbox, 0)
    outbox.note_stored(Ranges([(1, 3)]))
    assert len(outbox.flights) == 1
    outbox.note_time(TIMEOUT_MS + 1)
    assert sent(outbox, TIMEOUT_MS + 1) == [(4, 4)]
    outbox.note_stored(Ranges([(1, 4)]))
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
