"""Which reading sets go next: pure arithmetic over sequences.

* Live rows (committed since the connection stands) go first, when a batch is full or the oldest
  has waited for `linger_ms`. The backlog goes beside them, oldest first, and leaves one place of
  the window to the live rows.
* The backlog's batches grow while they come back quickly and shrink while they do not: a fast link
  is filled, and on a slow one a live batch does not queue behind long ones.
* A batch that is not acknowledged in time is free to be sent again; the patience doubles each
  time, and the next acknowledgement resets it. A lost connection frees all.
* Only `note_stored`, which the head end's sealed acknowledgement calls, takes a row out.
"""

from typing import NamedTuple

from edge.journal.ranges import Ranges

PATIENCE_DOUBLINGS_MAX = 4
BACKLOG_SETS_MAX = 1_000  # of one batch; half of what a message may hold
QUICK_MS = 500  # a backlog batch that comes back within this: the next ones are twice as large
SLOW_MS = 1_500  # one that takes longer: half as large


class Flight(NamedTuple):
    """A batch under way: its rows, and when it was sent (boot ms)."""

    first: int
    last: int
    sent_at: int
    is_backlog: bool


class Outbox:
    """The rows that the head end does not have."""

    def __init__(
        self,
        stored: Ranges,
        head: int,
        batch_sets: int,
        linger_ms: int,
        window: int,
        ack_timeout_ms: int,
    ) -> None:
        self.stored = stored
        self.head = head
        self.flights: dict[int, Flight] = {}  # message counter -> flight
        self.resent_batches = 0
        self.held_from = 0  # rows from here on wait for their time, others may go; 0 = none
        self.backlog_sets = batch_sets  # of a backlog's batch, at most
        self._batch_sets = batch_sets
        self._backlog_sets_max = max(BACKLOG_SETS_MAX, batch_sets)
        self._sized_at = 0
        self._backlog_at = 0
        self._linger_ms = linger_ms
        self._window = window
        self._ack_timeout_ms = ack_timeout_ms
        self._live_from = head + 1
        self._live_since = 0
        self._doublings = 0

    @property
    def backlog(self) -> int:
        """Reading sets journaled and not acknowledged."""
        return self.head - self.stored.count

    def note_head(self, head: int, now: int) -> None:
        """Rows up to `head` are committed."""
        if not self._waiting_live():
            self._live_since = now
        self.head = max(self.head, head)

    def note_stored(self, stored: Ranges, now: int) -> None:
        """The head end has these; flights that it has wholly are done."""
        self.stored = stored
        self._doublings = 0
        for counter, flight in list(self.flights.items()):
            if not stored.missing(flight.first, flight.last):
                del self.flights[counter]
                if flight.is_backlog and flight.sent_at >= self._sized_at:
                    self._resize(now - flight.sent_at, now)

    def note_reopened(self, stored: Ranges) -> None:
        """The head end asked for rows again: only these are stored."""
        self.stored = stored

    def note_sent(self, counter: int, first: int, last: int, now: int) -> None:
        """A batch is under way."""
        is_live = last >= self._live_from
        self.flights[counter] = Flight(first, last, now, not is_live)
        if is_live:
            self._live_since = now

    def note_too_large(self, count: int) -> None:
        """So many rows do not fit into a message."""
        self._backlog_sets_max = max(count // 2, 1)
        self.backlog_sets = min(self.backlog_sets, self._backlog_sets_max)

    def note_connected(self, backlog_at: int = 0) -> None:
        """What is journaled by now is backlog; it waits until `backlog_at`, unless it is no more
        than a batch."""
        self.note_lost()
        self._live_from = self.head + 1
        self._backlog_at = backlog_at if self.backlog > self._batch_sets else 0
        self._backlog_sets_max = max(BACKLOG_SETS_MAX, self._batch_sets)
        self.backlog_sets = self._batch_sets

    def note_lost(self) -> None:
        """Nothing is known of what was under way."""
        self.flights.clear()

    def note_time(self, now: int) -> None:
        """Frees flights whose acknowledgement is overdue."""
        patience = self._ack_timeout_ms << self._doublings
        overdue = [counter for counter, one in self.flights.items() if now - one.sent_at > patience]
        for counter in overdue:
            del self.flights[counter]
        if overdue:
            self.resent_batches += len(overdue)
            self.backlog_sets = min(self.backlog_sets, self._batch_sets)
            self._doublings = min(self._doublings + 1, PATIENCE_DOUBLINGS_MAX)

    def next_range(self, now: int, takes_backlog: bool = True) -> tuple[int, int] | None:
        """The rows of the next batch, or None while none should go."""
        places = self._window - len(self.flights)
        if places <= 0:
            return None
        live = self._waiting_live()
        waiting = sum(last - first + 1 for first, last in live)
        if waiting >= self._batch_sets or (waiting and now - self._live_since >= self._linger_ms):
            return self._cut(live[0], self._batch_sets)
        if places > 1 and takes_backlog and now >= self._backlog_at:
            old = self._waiting(1, self._live_from - 1)
            if old:
                return self._cut(old[0], self.backlog_sets)
        return None

    def next_in_ms(self, now: int) -> int:
        """Time until `next_range` or `note_time` may have something new to say."""
        waits = [
            one.sent_at + (self._ack_timeout_ms << self._doublings) - now
            for one in self.flights.values()
        ]
        if self._waiting_live():
            waits.append(self._live_since + self._linger_ms - now)
        if now < self._backlog_at:
            waits.append(self._backlog_at - now)
        return max(min(waits, default=self._linger_ms), 1)

    def _waiting_live(self) -> list[tuple[int, int]]:
        return self._waiting(self._live_from, self.head)

    def _waiting(self, first: int, last: int) -> list[tuple[int, int]]:
        if self.held_from:
            last = min(last, self.held_from - 1)
        if last < first:
            return []
        taken = Ranges(self.stored)
        for flight in self.flights.values():
            taken.add(flight.first, flight.last)
        return taken.missing(first, last)

    def is_backlog(self, first: int) -> bool:
        """Whether this row was there before the connection."""
        return first < self._live_from

    def _cut(self, rows: tuple[int, int], sets: int) -> tuple[int, int]:
        return rows[0], min(rows[1], rows[0] + sets - 1)

    def _resize(self, round_trip_ms: int, now: int) -> None:
        """Once for a size: the other flights of the old one say nothing new."""
        if round_trip_ms <= QUICK_MS:
            sets = min(2 * self.backlog_sets, self._backlog_sets_max)
        elif round_trip_ms > SLOW_MS:
            sets = max(self.backlog_sets // 2, min(self._batch_sets, self._backlog_sets_max))
        else:
            return
        if sets != self.backlog_sets:
            self.backlog_sets, self._sized_at = sets, now
