"""What a line does, and in which order: orders, on-demand reads, polls, catch-up.

A job is a generator over exchanges. Between two of them the line's worker carries out whatever is
more urgent, so an order waits for at most the exchange in flight. A job that has to wait for the
meter yields the boot time (ms) before which it has nothing to do, and the line works for others
meanwhile.
"""

import heapq
from collections.abc import Callable, Generator
from typing import Protocol

from edge.line.line import Line
from edge.meters.driver import Driver
from edge.timekeeping import Moment

Steps = Generator[int | None, None, None]


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
        """Does it, yields after each exchange, and reports by itself; must not raise. What it
        yields is None, or the boot time (ms) before which it has nothing to do. Closed, it was
        stopped on the way."""


class Background(Protocol):
    """Where catch-up work of one line comes from."""

    def next_job(self, now: Moment) -> Job | None:
        """What should be done next, if anything."""


class Waiting:
    """Jobs that wait, the most urgent first, then in the order of their arrival; and those begun
    that wait for a time."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Job]] = []
        self._count = 0
        self._parked: list[tuple[int, int, Job, Steps]] = []

    def __len__(self) -> int:
        return len(self._heap) + len(self._parked)

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

    def park(self, until_ms: int, job: Job, steps: Steps) -> None:
        """It goes on at that boot time (ms)."""
        self._count += 1
        self._parked.append((until_ms, self._count, job, steps))

    def is_parked(self, steps: Steps) -> bool:
        """Whether they wait for a time."""
        return any(one[3] is steps for one in self._parked)

    def pop_due(self, boot_ms: int, priority: int) -> tuple[Job, Steps] | None:
        """The one that waits longest of those whose time has come, and that are more urgent than
        `priority`."""
        due = [row for row in self._parked if row[0] <= boot_ms and row[2].priority < priority]
        if not due:
            return None
        row = min(due, key=lambda one: one[:2])
        self._parked.remove(row)
        return row[2], row[3]

    def next_in_ms(self, boot_ms: int, most: int) -> int:
        """Until one of those is due, at most `most`."""
        return max(0, min([row[0] - boot_ms for row in self._parked] + [most]))

    def close_parked(self) -> None:
        """Stops those that wait for a time."""
        parked, self._parked = self._parked, []
        for _, _, _, steps in parked:
            steps.close()
