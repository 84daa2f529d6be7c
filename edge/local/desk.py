"""What may be asked at the agent's socket, and who answers it."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

from edge.clock import Clock
from edge.collect.jobs import Job
from edge.journal.follow import Follower
from edge.local.lines import EVENTS_MAX, FAILED, READ_S_MAX, STATUS, WRONG, RequestError
from edge.local.read_job import ReadJob
from edge.local.server import Answers, Handler
from edge.local.tail import event_row, follow
from protocols.errors import CallerError
from protocols.events import SEVERITIES
from protocols.obis import Obis

NAMED_MAX = 20  # meters that a sentence names
_LOOK_S = 0.2
_PAGE = 500


class View(NamedTuple):
    """What the requests need of the agent."""

    clock: Clock
    snapshot: Callable[[], dict[str, Any]]
    meters: Callable[[], list[dict[str, Any]]]  # the rows of the snapshot
    offer: Callable[[str, Job], bool]  # to the line of a meter
    follower: Callable[[], Follower]
    epoch: Callable[[], bytes]


class Desk:
    """`handlers` may be filled with more before the server starts."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.handlers: dict[str, Handler] = {
            STATUS: self._status,
            "meters": self._meters,
            "read": self._read,
            "events": self._events,
            "tail": self._tail,
        }

    def _status(self, _: dict[str, Any]) -> Answers:
        yield self._view.snapshot()

    def _meters(self, _: dict[str, Any]) -> Answers:
        yield {"utc_ms": self._view.clock.utc_ms(), "meters": self._view.meters()}

    def _read(self, asked: dict[str, Any]) -> Answers:
        """One quantity of one meter, by its line's worker."""
        job = ReadJob(self._meter_of(asked), _obis_of(asked), self._view.clock)
        if not self._view.offer(job.meter_id, job):
            raise RequestError("too many jobs wait for the line of that meter; try again", FAILED)
        try:
            ends_at = time.monotonic() + READ_S_MAX
            while not job.done.wait(_LOOK_S):
                yield None
                if time.monotonic() > ends_at:
                    raise RequestError(f"the line had no turn for it within {READ_S_MAX} s", FAILED)
            yield job.result
        finally:
            job.cancel()

    def _events(self, asked: dict[str, Any]) -> Answers:
        """The last events, the latest last."""
        least, since = asked.get("severity"), asked.get("since", 0)
        limit = asked.get("limit", EVENTS_MAX)
        if least is not None and least not in SEVERITIES:
            raise RequestError("severity must be one of " + ", ".join(SEVERITIES), WRONG)
        if not _is_whole(since) or not _is_whole(limit) or not 1 <= limit <= EVENTS_MAX:
            raise RequestError(
                f"since must be UTC ms, and limit a whole number from 1 to {EVENTS_MAX}", WRONG
            )
        wanted = SEVERITIES[SEVERITIES.index(least) :] if least else SEVERITIES
        found: list[dict[str, Any]] = []
        try:
            with closing(self._view.follower()) as reader:
                last = reader.event_head()
                while last > 0 and len(found) < limit:
                    first = max(last - _PAGE, 0)
                    # Where events were purged the page goes on behind its end.
                    page = [row for row in reader.events_after(first, _PAGE) if row[0] <= last]
                    found = [
                        row
                        for row in map(event_row, page)
                        if row["severity"] in wanted and row["at"] >= since
                    ] + found
                    last = first
                    yield None
        except sqlite3.Error as error:
            raise RequestError(f"the journal can not be read now ({error})", FAILED) from error
        yield {"events": found[-limit:]}

    def _tail(self, _: dict[str, Any]) -> Answers:
        yield from follow(self._view.follower, self._view.epoch)

    def _meter_of(self, asked: dict[str, Any]) -> str:
        names = [row["meter"] for row in self._view.meters()]
        found = asked.get("meter")
        if found in names:
            return str(found)
        words = ", ".join(names[:NAMED_MAX])
        more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
        raise RequestError(f"meter {found!r} is not allowed; it must be {words}{more}", WRONG)


def _obis_of(asked: dict[str, Any]) -> Obis:
    text = asked.get("obis")
    try:
        return Obis.from_text(text if isinstance(text, str) else "")
    except CallerError as error:
        raise RequestError(str(error), WRONG) from None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
