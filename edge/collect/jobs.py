"""What a line does, and in which order: orders, on-demand reads, polls, catch-up.

A job is a generator over exchanges. Between two of them the line's worker carries out whatever is
more urgent, so an order waits for at most the exchange in flight.
"""

import heapq
from collections.abc import Callable, Generator
from typing import Protocol

from edge.line.line import Line
from edge.meters.driver import Driver
from edge.timekeeping import Moment

Steps = Generator[None, None, None]


class Priority:
    """How urgent a job is, the most urgent first."""

    ORDER = 0
    ON_DEMAND = 1
    POLL = 2
    CATCH_UP = 3


class Job(Protocol):
    """Something to do for one meter. While it runs, the line records its exchanges in `recording`
    and asks `may_send` right before each request, where they are not None."""

    @property
    def meter_id(self) -> str:
        """Whom it is for."""

    @property
    def priority(self) -> int:
        """One of Priority."""

    @property
    def recording(self) -> list[tuple[str, int, bytes]] | None:
        """Where its frames are kept."""

    @property
    def may_send(self) -> Callable[[], bool] | None:
        """Whether its next request still holds."""

    def steps(self, line: Line, driver: Driver, retries: int) -> Steps:
        """Does it, yields after each exchange, and reports by itself; must not raise. Closed, it
        was stopped on the way."""


class Background(Protocol):
    """Where catch-up work of one line comes from."""

    def next_job(self, now: Moment) -> Job | None:
        """What should be done next, if anything."""


class Waiting:
    """Jobs that wait, the most urgent first, then in the order of their arrival."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Job]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, job: Job) -> None:
        """One more."""
        self._count += 1
        heapq.heappush(self._heap, (job.priority, self._count, job))

    def pop_all(self) -> list[Job]:
        """All of them, in order; none waits any more."""
        jobs = [job for _, _, job in sorted(self._heap, key=lambda row: row[:2])]
        self._heap = []
        return jobs

    def pop_above(self, priority: int) -> Job | None:
        """The most urgent one, if it is more urgent than `priority`."""
        if self._heap and self._heap[0][0] < priority:
            return heapq.heappop(self._heap)[2]
        return None
