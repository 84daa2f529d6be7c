"""Gaps are filled from the meters' own history, as catch-up work of one line.

* A gap is what polls missed, or what the head end asks for again. It is kept in the journal, and so
  is how far it is filled, in one transaction with what was found: a restart goes on with it, and
  nothing is stored twice.
* The newest gap first, in steps of one exchange (see `filling`), each a job of its own.
* A register of an instant that the journal has already, live within NEAR_MS or from history, is not
  stored again.
* What a meter refuses is not asked again for a day. Only with a good time of our own, and only
  DL/T 645-2007: of other meters no public source tells what they keep.
* The end of a gap is an event: `backfilled`, or `backfill-incomplete` with the reason.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any

from edge.collect.catch_up import CatchUp, Frames, Means, Memos, Pending, gateway_event
from edge.collect.filling import SLACK_MS, Filler, Stamped
from edge.collect.gaps import Gap, from_text, to_text, with_gap
from edge.collect.history_sources import Source, sources_by_group
from edge.collect.jobs import Job, Steps
from edge.collect.meter_time import DAY_MS
from edge.line.line import Line
from edge.meters.dlt645_driver import Dlt645Driver
from edge.settings import DLT645
from edge.timekeeping import Moment
from protocols.dlt645.identifiers import EDITION_2007
from protocols.errors import BusbarError, CallerError, UnsupportedError
from protocols.obis import Obis
from protocols.readings import Flag, Origin, Reading, ReadingSet, TimeQuality

SCOPE = "gap"  # of the memos: meter -> its gaps
NEAR_MS = 60_000  # a live reading so near to a record's stamp is of the same instant
SUSPECT_S = 60  # a meter's clock that is off by more makes its stamps doubtful
DRIFT_WAIT_MS = 120_000  # for the first look at a meter's clock
MIDNIGHT_MS = 600_000  # no freeze is counted back from so near to midnight
LACKING_MS = DAY_MS  # before a meter is asked again for what it refused
FAILURES_MAX = 3  # in a row, of one source, before it counts as refused
PAUSE_MS_FIRST = 60_000
PAUSE_MS_MAX = 3_600_000

log = logging.getLogger("edge.collect")


class Backfill:
    """A Background of one line. `meters`: the checked sections of its meters; `sets_between`: as
    `JournalReader` has it; `may_store`: whether the journal has room for more than live
    readings."""

    def __init__(
        self,
        meters: Iterable[dict[str, Any]],
        means: Means,
        drift_s: Callable[[str], int | None],
        sets_between: Callable[[str, int, int], Iterable[tuple[int, ReadingSet]]],
        may_store: Callable[[], bool],
    ) -> None:
        collect = means.collect
        self._is_on: bool = collect["backfill"]
        self._are_clocks_read = collect["clock_period_s"] > 0
        self._days_ms: int = collect["backfill_days"] * DAY_MS
        self._means = means
        self._drift_s = drift_s
        self._sets_between = sets_between
        self._may_store = may_store
        self._meters = {
            meter["id"]: _Meter(meter, collect["meter_utc_offset_min"])
            for meter in meters
            if meter["protocol"] == DLT645
        }
        self._memos: Memos | None = means.memos
        self._lock = threading.Lock()  # of the gaps: orders come from another thread
        self._pending = Pending()

    def note_missed(
        self, meter_id: str, task: str, first: int, last: int, reason: str = ""
    ) -> None:
        """Slots first..last (UTC ms) of a task were not read. A task whose registers no history of
        a meter holds leaves no gap that could be filled."""
        meter = self._meters.get(meter_id)
        group = task.partition("/")[2]
        if meter and self._is_on and meter.sources_by_group.get(group):
            self._add(meter, Gap(first, last + meter.spans[group], reason))

    def request(self, meter_id: str, from_ms: int, to_ms: int) -> None:
        """The head end asks for from_ms <= t < to_ms, as far as it lies in the days that are filled
        at all. CallerError that says why when nothing can come of it. Any thread."""
        meter = self._meters.get(meter_id)
        now = self._means.clock.utc_ms()
        to_ms, limit = min(to_ms, now), now - self._days_ms
        if not self._is_on:
            raise CallerError("backfill is switched off")
        if meter is None:
            raise CallerError(f"{meter_id} keeps no history that is known")
        if not meter.sources:
            raise CallerError("no register that is read of this meter is in its history")
        if to_ms <= max(from_ms, limit):
            raise CallerError(f"nothing of it lies in the last {self._days_ms // DAY_MS} days")
        self._add(meter, Gap(max(from_ms, limit), to_ms, "it was asked for"))

    def gaps(self, meter_id: str) -> list[Gap]:
        """What is still to be filled."""
        meter = self._meters.get(meter_id)
        return list(meter.gaps) if meter else []

    def next_job(self, now: Moment) -> Job | None:
        """The next step of the newest gap that can be worked on."""
        if not self._pending.is_over():
            return None
        with self._lock:
            self._recall()
        if not any(one.gaps for one in self._meters.values()):
            return None
        self._save_again()
        if now.quality < TimeQuality.NTP or not self._may_store():
            return None
        for meter, gap in self._newest_first():
            if meter.pause_until > now.boot_ms:
                continue
            if gap.to_ms <= now.utc_ms - self._days_ms:
                self._close(meter, gap, "it lies too far back")
                return None
            source = self._next_source(meter, gap, now)
            edition = self._means.watches[meter.meter_id].driver.edition
            if source is None or edition not in (0, EDITION_2007):
                why = "" if source is None else f"edition {edition} keeps no known history"
                self._close(meter, gap, why)
                return None
            if not edition or not self._means.reaches(meter.meter_id):
                continue
            if self._waits_for_drift(meter, now):
                continue
            if not source.load_class and self._is_near_midnight(meter, now):
                continue
            return CatchUp(
                meter.meter_id,
                partial(self._fill, meter, gap, source),
                partial(self._fail, meter, source),
            )
        return None

    # ---- gaps -----------------------------------------------------------------------------------

    def _add(self, meter: "_Meter", gap: Gap) -> None:
        with self._lock:
            try:
                self._recall()
            except sqlite3.Error as error:  # the slots must be read all the same
                log.warning("gaps_unread reason=%r", str(error))
                meter.gaps = with_gap(meter.gaps, gap)
                meter.is_unsaved = True
                return
            meter.gaps = with_gap(meter.gaps, gap)
            self._save(meter)

    def _recall(self) -> None:
        """Not before the first turn: another worker may have had these meters until then."""
        if self._memos is not None:
            found = self._memos(SCOPE)
            for meter in self._meters.values():
                for gap in from_text(found.get(meter.meter_id)):
                    meter.gaps = with_gap(meter.gaps, gap)
            self._memos = None

    def _save(self, meter: "_Meter") -> None:
        """At once: the gap must be in the journal before the slot behind it is."""
        future = self._means.keep(memos=[_memo(meter, meter.gaps)])

        def look(done: "Future[Any]") -> None:
            meter.is_unsaved = done.exception() is not None

        future.add_done_callback(look)

    def _save_again(self) -> None:
        with self._lock:
            for meter in self._meters.values():
                if meter.is_unsaved:
                    meter.is_unsaved = False
                    self._save(meter)

    def _newest_first(self) -> list[tuple["_Meter", Gap]]:
        with self._lock:
            found = [(meter, gap) for meter in self._meters.values() for gap in meter.gaps]
        return sorted(found, key=lambda one: one[1].end, reverse=True)

    def _next_source(self, meter: "_Meter", gap: Gap, now: Moment) -> Source | None:
        """The source that is asked next; None when all are through."""
        limit = now.utc_ms - self._days_ms
        if gap.from_ms < limit:
            gap.from_ms = limit
            gap.note("its beginning lies too far back")
        while gap.source < len(meter.sources):
            source = meter.sources[gap.source]
            until, words = meter.lacking.get(source.name, (0, ""))
            if until > now.boot_ms:
                gap.next_source(words)
            elif not source.load_class and not meter.filler.has_freeze(gap):
                gap.next_source()
            else:
                return source
        return None

    def _waits_for_drift(self, meter: "_Meter", now: Moment) -> bool:
        """Whether a look at the meter's clock is about to tell what its stamps are worth."""
        if not self._are_clocks_read or self._drift_s(meter.meter_id) is not None:
            return False
        if meter.drift_due is None:
            meter.drift_due = now.boot_ms + DRIFT_WAIT_MS
        return now.boot_ms < meter.drift_due

    def _is_near_midnight(self, meter: "_Meter", now: Moment) -> bool:
        drift_ms = abs(self._drift_s(meter.meter_id) or 0) * 1000
        return meter.filler.is_near_midnight(now.utc_ms, MIDNIGHT_MS + drift_ms)

    def _close(self, meter: "_Meter", gap: Gap, why: str) -> None:
        gap.note(why)
        if gap.dropped:
            gap.note(f"{gap.dropped} records were void, or had stamps that cannot be")
        if not gap.found + gap.there:
            gap.note("the meter has nothing of that time")
        kind = "backfill-incomplete" if gap.why else "backfilled"
        words = f"{gap.found} reading sets from {gap.from_ms} to {gap.to_ms} ms UTC"
        if gap.reason:
            words = f"{words} ({gap.reason})"
        detail = f"{words}: {gap.why}" if gap.why else words
        event = gateway_event(self._means.clock, kind, meter.meter_id, detail)
        with self._lock:
            left = [one for one in meter.gaps if one is not gap]
            future = self._means.keep(events=[event], memos=[_memo(meter, left)])
        self._pending.wait_for(
            future, partial(self._replace, meter, gap, None), partial(self._pause, meter)
        )

    def _replace(self, meter: "_Meter", gap: Gap, after: Gap | None) -> None:
        with self._lock:
            meter.gaps = _replaced(meter.gaps, gap, after)

    # ---- one step -------------------------------------------------------------------------------

    def _fill(
        self,
        meter: "_Meter",
        gap: Gap,
        source: Source,
        line: Line,
        driver: Dlt645Driver,
        retries: int,
        _frames: Frames,
    ) -> Steps:
        drift_s = self._drift_s(meter.meter_id)
        utc_ms = self._means.clock.utc_ms()
        latest_ms = utc_ms + max(drift_s or 0, 0) * 1000 + SLACK_MS
        try:
            after, records = yield from meter.filler.fill(
                gap, source, utc_ms, latest_ms, line, driver, retries
            )
        except UnsupportedError:
            self._lack(meter, source, f"the meter gives no {source.name}")
            return
        meter.failures = 0
        sets, there = self._sets(meter, source, records, drift_s)
        after.found += len(sets)
        after.there += there
        if not sets:  # the journal hears of it with the next ones
            self._replace(meter, gap, after)
            return
        with self._lock:
            memo = _memo(meter, _replaced(meter.gaps, gap, after))
            future = self._means.keep(sets=sets, memos=[memo])
        self._pending.wait_for(
            future, partial(self._replace, meter, gap, after), partial(self._pause, meter)
        )

    def _sets(
        self, meter: "_Meter", source: Source, records: list[Stamped], drift_s: int | None
    ) -> tuple[list[ReadingSet], int]:
        """The reading sets of what is not stored yet, and how many records are stored whole."""
        known = self._known(meter.meter_id, records)
        is_suspect = drift_s is None or abs(drift_s) > SUSPECT_S
        sets, there = [], 0
        for stamp, readings in records:
            own = {one.obis: one for one in reversed(readings) if one.obis in source.codes}
            new = tuple(one for obis, one in reversed(own.items()) if obis not in known[stamp])
            there += bool(own) and not new
            if new:
                sets.append(self._set(meter.meter_id, source.origin, stamp, new, is_suspect))
        return sets, there

    def _known(self, meter_id: str, records: list[Stamped]) -> dict[int, set[Obis]]:
        """What the journal has of these instants."""
        known: dict[int, set[Obis]] = {stamp: set() for stamp, _ in records}
        if not known:
            return known
        rows = self._sets_between(meter_id, min(known) - NEAR_MS, max(known) + NEAR_MS + 1)
        for _, one in rows:
            near = NEAR_MS if one.origin == Origin.LIVE else 0
            for stamp, codes in known.items():
                if abs(one.read_at - stamp) <= near:
                    codes.update(reading.obis for reading in one.readings)
        return known

    def _set(
        self, meter_id: str, origin: int, at: int, readings: tuple[Reading, ...], is_suspect: bool
    ) -> ReadingSet:
        clock = self._means.clock
        flags = Flag.METER_CLOCK_SUSPECT if is_suspect else 0
        stamps = (at, clock.boot_ms(), clock.boot_id, clock.quality())
        return ReadingSet(meter_id, *stamps, readings, origin, flags)

    # ---- what fails -----------------------------------------------------------------------------

    def _lack(self, meter: "_Meter", source: Source, words: str) -> None:
        meter.lacking[source.name] = (self._means.clock.boot_ms() + LACKING_MS, words)
        meter.failures = 0

    def _fail(self, meter: "_Meter", source: Source, error: BusbarError) -> None:
        meter.failures += 1
        if meter.failures >= FAILURES_MAX:
            self._lack(meter, source, f"{source.name}: {error}")
            return
        self._pause(meter)

    def _pause(self, meter: "_Meter") -> None:
        pause = min(PAUSE_MS_FIRST << meter.failures, PAUSE_MS_MAX)
        meter.pause_until = self._means.clock.boot_ms() + pause


class _Meter:
    """One meter: its gaps, and what is known of its history. A failure is of whatever source was
    asked; one that is not the meter's to blame, a full disk say, is a pause all the same."""

    def __init__(self, settings: dict[str, Any], offset_min: int) -> None:
        self.meter_id: str = settings["id"]
        self.sources_by_group = sources_by_group(settings)
        self.spans = {row.get("name", ""): _span_ms(row) for row in (settings, *settings["groups"])}
        self.sources = _merged(self.sources_by_group.values())
        self.filler = Filler(offset_min)
        self.gaps: list[Gap] = []
        self.is_unsaved = False
        self.lacking: dict[str, tuple[int, str]] = {}  # source -> until (boot ms), why
        self.drift_due: int | None = None  # boot ms
        self.failures = 0  # in a row
        self.pause_until = 0  # boot ms


def _span_ms(group: dict[str, Any]) -> int:
    """How long the last of some missed slots lasts: an aligned one is an instant, at which the
    meter has a record as well; one of an interval is all of its period."""
    return 1 if group["align"] == "clock" else int(group["period_s"]) * 1000


def _merged(groups: Iterable[list[Source]]) -> list[Source]:
    """The sources of all groups, each once, in the order in which they are asked."""
    found: dict[str, Source] = {}
    for source in (one for group in groups for one in group):
        before = found.get(source.name, source)
        parts = tuple(sorted({*before.parts, *source.parts}))
        found[source.name] = source._replace(codes=before.codes | source.codes, parts=parts)
    return sorted(found.values(), key=lambda one: one.load_class)


def _replaced(gaps: list[Gap], gap: Gap, after: Gap | None) -> list[Gap]:
    """With `after` in the place of `gap`; unchanged when it has grown meanwhile."""
    found = []
    for one in gaps:
        if one is not gap:
            found.append(one)
        elif after is not None:
            found.append(after)
    return found


def _memo(meter: "_Meter", gaps: list[Gap]) -> tuple[str, str, str]:
    return SCOPE, meter.meter_id, to_text(gaps)
