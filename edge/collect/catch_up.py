"""Catch-up work on DL/T 645 meters: a job for the line's worker, and how its findings are kept.

What a producer finds and how far it is stand in one transaction of the journal. So nothing is
remembered as done that is not stored, and what a power cut interrupts is done again.
"""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol, cast

from edge.clock import Clock
from edge.collect.jobs import Priority, Steps
from edge.collect.watch import MeterWatch
from edge.line.line import Line
from edge.meters.dlt645_driver import Dlt645Driver
from edge.meters.driver import Driver
from protocols.errors import BusbarError
from protocols.events import Event, Severity, severity_of
from protocols.readings import ReadingSet

log = logging.getLogger("edge.collect")

Frames = list[tuple[str, int, bytes]]
Memo = tuple[str, str, Any]  # scope, name, value
Memos = Callable[[str], dict[str, Any]]  # `JournalReader.memos`: scope -> name -> value
Work = Callable[[Line, Dlt645Driver, int, Frames], Steps]


class Keep(Protocol):
    """Makes reading sets, events and memos durable, all or nothing. Never blocks; the future has an
    exception when nothing was kept."""

    def __call__(
        self,
        sets: Iterable[ReadingSet] = (),
        events: Iterable[Event] = (),
        memos: Iterable[Memo] = (),
    ) -> "Future[Any]":
        """Hands them to the journal's writer."""


class Means(NamedTuple):
    """What the producers of one line's catch-up work share: its meters, whether one can be reached,
    [collect], and what the journal keeps and has kept."""

    watches: dict[str, MeterWatch]
    reaches: Callable[[str], bool]
    clock: Clock
    collect: dict[str, Any]
    keep: Keep
    memos: Memos


class CatchUp:
    """A Job of `edge/collect/jobs`: `work(line, driver, retries, frames so far)`, and
    `on_failure` when the meter does not answer, refuses, or says what is no value."""

    priority = Priority.CATCH_UP
    may_send = None

    def __init__(
        self, meter_id: str, work: Work, on_failure: Callable[[BusbarError], None]
    ) -> None:
        self.meter_id = meter_id
        self.recording: Frames = []
        self._work = work
        self._on_failure = on_failure

    def steps(self, line: Line, driver: Driver, retries: int) -> Steps:
        """Does the work. A fault of ours is logged, and counts as a failure."""
        meter = cast(Dlt645Driver, driver)  # producers take no other meters
        try:
            yield from self._work(line, meter, retries, self.recording)
        except BusbarError as error:
            self._on_failure(error)
        except Exception as error:
            log.exception("catch_up_failed meter=%s", self.meter_id)
            self._on_failure(BusbarError(f"a fault of the gateway: {type(error).__name__}"))


class Pending:
    """What is on its way into the journal; one at a time for each producer."""

    def __init__(self) -> None:
        self._future: Future[Any] | None = None
        self._on_kept: Callable[[], None] = _nothing
        self._on_refused: Callable[[], None] = _nothing

    def wait_for(
        self,
        future: "Future[Any]",
        on_kept: Callable[[], None],
        on_refused: Callable[[], None],
    ) -> None:
        """Goes on once the future has its result."""
        self._future, self._on_kept, self._on_refused = future, on_kept, on_refused

    def is_over(self) -> bool:
        """Whether nothing is under way any more; its outcome is taken up now."""
        future = self._future
        if future is None:
            return True
        if not future.done():
            return False
        self._future = None
        error = future.exception()
        if error is None:
            self._on_kept()
        else:
            log.warning("not_kept reason=%r", str(error))
            self._on_refused()
        return self._future is None


def gateway_event(clock: Clock, kind: str, subject: str, detail: str) -> Event:
    """An event of the gateway that goes with what it tells of; logged here, like all of them."""
    level = logging.INFO if severity_of(kind) == Severity.INFO else logging.WARNING
    log.log(level, "event kind=%s subject=%s detail=%r", kind, subject, detail)
    stamps = (clock.utc_ms(), clock.boot_ms(), clock.boot_id, clock.quality())
    return Event(kind, subject, *stamps, 0, None, detail, ()).fitted()


def _nothing() -> None:
    pass
