"""The meters' own event records, collected as catch-up work of one line.

* Each period the counts of a meter are read, one identifier after the other; a count that moved
  makes its new records be read. What a meter refuses to count is not asked again until the agent
  starts anew.
* A meter keeps ten records of an event. What happened more often since the last look, or stands in
  a record without a readable stamp, makes one event `events-lost` with how many. On first sight the
  records that are there are collected, and nothing counts as lost.
* A new event while records are being read would shift them: the counts are read again behind them,
  and when they moved all begins anew.
* Counts are remembered in the transaction that makes their events durable. DL/T 645-2007 only.
"""

import json
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from edge.collect.catch_up import CatchUp, Frames, Means, Memos, Pending, gateway_event
from edge.collect.event_records import (
    FUTURE_MS_MAX,
    KINDS_OF,
    RECORDS_MAX,
    News,
    counts_of,
    news_of,
    read_record,
    record_identifier,
)
from edge.collect.jobs import Job, Steps
from edge.line.line import Line
from edge.meters.dlt645_driver import Dlt645Driver
from edge.meters.dlt645_history import read_raw
from edge.settings import DLT645
from edge.timekeeping import Moment
from protocols.dlt645.identifiers import EDITION_2007
from protocols.errors import (
    BusbarError,
    RefusedError,
    UnsupportedError,
    ValueFormatError,
)
from protocols.events import DRIFT_S_MAX, Event
from protocols.readings import TimeQuality

SCOPE = "event-counts"  # of the memos: meter -> JSON of kind -> count
ROUNDS_MAX = 3  # of counts and records, while events keep happening
RETRY_MS = 600_000  # after a silence, or when the journal took nothing

Found = Generator[None, None, list[Event]]


class MeterEvents:
    """A Background of one line. `drift_s`: what a clock is ahead of ours (s), None when that
    is not known."""

    def __init__(self, means: Means, drift_s: Callable[[str], int | None]) -> None:
        self._period_ms: int = means.collect["events_period_s"] * 1000
        self._offset_min: int = means.collect["meter_utc_offset_min"]
        self._means = means
        self._drift_s = drift_s
        self._meters = [
            _Meter(name)
            for name, watch in means.watches.items()
            if watch.protocol == DLT645 and self._period_ms
        ]
        self._memos: Memos | None = means.memos
        self._pending = Pending()

    def next_job(self, now: Moment) -> Job | None:
        """The next identifier of counts of the meter that is under way, or due."""
        if not self._pending.is_over():
            return None
        self._recall()
        due = [one for one in self._meters if one.due_at <= now.boot_ms and self._may_ask(one)]
        if not due:
            return None
        meter = max(due, key=lambda one: len(one.waiting))  # the one that is under way
        if not meter.waiting:
            meter.waiting = [one for one in KINDS_OF if one not in meter.lacking]
        if not meter.waiting:
            self._end_round(meter)
            return None
        return CatchUp(
            meter.meter_id,
            partial(self._look, meter, meter.waiting[0]),
            partial(self._put_off, meter),
        )

    def _recall(self) -> None:
        """Not before: another worker may have had these meters until now."""
        if self._memos is not None:
            found = self._memos(SCOPE)
            for meter in self._meters:
                meter.counts = _counts_in(found.get(meter.meter_id))
            self._memos = None

    def _may_ask(self, meter: "_Meter") -> bool:
        driver = self._means.watches[meter.meter_id].driver
        return driver.edition == EDITION_2007 and self._means.reaches(meter.meter_id)

    def _put_off(self, meter: "_Meter", _error: BusbarError | None = None) -> None:
        meter.due_at = self._means.clock.boot_ms() + min(RETRY_MS, self._period_ms)

    def _end_round(self, meter: "_Meter") -> None:
        meter.due_at = self._means.clock.boot_ms() + self._period_ms

    def _done(self, meter: "_Meter", counter: str) -> None:
        """With these counts, in this round."""
        meter.waiting.remove(counter)
        if not meter.waiting:
            self._end_round(meter)

    # ---- one identifier of counts ---------------------------------------------------------------

    def _look(
        self, meter: "_Meter", counter: str, line: Line, driver: Dlt645Driver, retries: int,
        frames: Frames,
    ) -> Steps:  # fmt: skip
        try:
            yield from self._collect(meter, counter, line, driver, retries, frames)
        except UnsupportedError:
            meter.lacking.add(counter)
            self._done(meter, counter)
        except (RefusedError, ValueFormatError):
            self._done(meter, counter)  # not this time

    def _collect(
        self, meter: "_Meter", counter: str, line: Line, driver: Dlt645Driver, retries: int,
        frames: Frames,
    ) -> Steps:  # fmt: skip
        counts = counts_of(counter, (yield from read_raw(line, driver, counter, retries)))
        for _ in range(ROUNDS_MAX):
            moved = [news_of(kind, meter.counts.get(kind), count) for kind, count in counts.items()]
            news = [one for one in moved if one is not None]
            if not news:
                self._done(meter, counter)
                return
            events: list[Event] = []
            for one in news:
                events += yield from self._records(meter, one, line, driver, retries, frames)
            if not any(one.fresh for one in news):
                self._remember(meter, counter, events, counts)
                return
            yield None
            before = counts
            counts = counts_of(counter, (yield from read_raw(line, driver, counter, retries)))
            if counts == before:
                self._remember(meter, counter, events, counts)
                return
            yield None
        reason = "it counted on while its records were read"
        lost = [told for one in news for told in self._losses(meter, one, one.fresh, reason)]
        self._remember(meter, counter, lost, before)

    def _remember(
        self, meter: "_Meter", counter: str, events: list[Event], counts: dict[str, int]
    ) -> None:
        merged = meter.counts | counts
        self._pending.wait_for(
            self._means.keep(events=events, memos=[(SCOPE, meter.meter_id, json.dumps(merged))]),
            partial(self._adopt, meter, counter, merged),
            partial(self._put_off, meter),
        )

    def _adopt(self, meter: "_Meter", counter: str, counts: dict[str, int]) -> None:
        meter.counts = counts
        self._done(meter, counter)

    # ---- the records of one kind ----------------------------------------------------------------

    def _records(
        self, meter: "_Meter", news: News, line: Line, driver: Dlt645Driver, retries: int,
        frames: Frames,
    ) -> Found:  # fmt: skip
        """The events of the new records, the oldest first, and what is told of those that are
        not."""
        wanted = min(news.fresh, RECORDS_MAX)
        found: list[Event] = []
        reasons = ["a meter keeps ten records"] if news.fresh > wanted else []
        for record in range(1, wanted + 1):
            yield
            frames.clear()
            di = record_identifier(news.kind, record)
            try:
                data = yield from read_raw(line, driver, di, retries)
                found.append(self._event(meter, news, record, data, frames))
            except UnsupportedError:
                reasons = ["the meter does not show these records"]
                break
            except (RefusedError, ValueFormatError) as error:
                reasons.append(str(error))
        found.reverse()
        reason = "; ".join(dict.fromkeys(reasons))
        return self._losses(meter, news, news.fresh - len(found), reason) + found

    def _event(
        self, meter: "_Meter", news: News, record: int, data: bytes, frames: Frames
    ) -> Event:
        clock, quality = self._means.clock, self._means.clock.quality()
        drift_s = self._drift_s(meter.meter_id)
        latest_ms = 1 << 62  # a gateway without the time does not know what is still to come
        if quality >= TimeQuality.NTP:
            latest_ms = clock.utc_ms() + max(drift_s or 0, 0) * 1000 + FUTURE_MS_MAX
        told = read_record(data, self._offset_min, latest_ms)
        return Event(
            news.kind,
            meter.meter_id,
            told.at,
            clock.boot_ms(),
            clock.boot_id,
            quality,
            news.number(record),
            None if drift_s is None else max(-DRIFT_S_MAX, min(drift_s, DRIFT_S_MAX)),
            told.detail,
            tuple(frames),
        ).fitted()

    def _losses(self, meter: "_Meter", news: News, lost: int, reason: str) -> list[Event]:
        told = []
        if news.fell_from is not None:
            told.append(f"its count fell from {news.fell_from} to {news.counted}: it was cleared")
        if lost and not news.is_first:
            told.append(f"{lost} of {news.fresh} up to number {news.counted}: {reason}")
        return [
            gateway_event(self._means.clock, "events-lost", meter.meter_id, f"{news.kind}: {words}")
            for words in told
        ]


class _Meter:
    """How far one meter is."""

    def __init__(self, meter_id: str) -> None:
        self.meter_id = meter_id
        self.counts: dict[str, int] = {}
        self.due_at = 0  # boot ms
        self.waiting: list[str] = []  # identifiers of counts, in the present round
        self.lacking: set[str] = set()


def _counts_in(memo: Any) -> dict[str, int]:
    return {str(kind): int(count) for kind, count in json.loads(memo or "{}").items()}
