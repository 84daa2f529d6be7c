"""The meters' clocks, looked at as catch-up work of one line; corrected where that is permitted.

* A look compares the meter's clock with ours, each period and when a meter is back. It needs a good
  time of our own.
* A correction (see `clock_rules`) is made durable before it is sent, read back afterwards, and
  never repeated: a meter that ignored it is found by reading it.
"""

import contextlib
import json
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from edge.collect import clock_rules as rules
from edge.collect.catch_up import CatchUp, Frames, Means, Memos, Pending
from edge.collect.jobs import Job, Steps
from edge.collect.meter_time import (
    DAY_MS,
    MINUTE_MS,
    meter_time,
    utc_ms_of,
    utc_ms_of_text,
)
from edge.events import Tell
from edge.line.budget import character_s
from edge.line.line import Line, TooLateError
from edge.meters.dlt645_driver import Dlt645Driver
from edge.meters.dlt645_history import read_clock, read_raw, set_clock
from edge.settings import DLT645
from edge.timekeeping import Moment
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.identifiers import EDITION_2007
from protocols.dlt645.values import decode_items
from protocols.errors import BusbarError, UnsupportedError
from protocols.readings import TimeQuality

SCOPE = "meter-drift"  # of the memos: meter -> JSON of _Known
RETRY_MS = 600_000  # after a silence, and where a correction must wait for a better moment
VALID_MS = 7 * DAY_MS  # that a look says something about the clock
_HALF_SECOND_MS = 500  # a clock that shows whole seconds is, on average, so much further


class ClockWatch:
    """A Background of one line. `may_correct`: whether the signed policy of this gateway permits
    corrections."""

    def __init__(
        self, means: Means, tell: Tell, may_correct: Callable[[], bool] = lambda: False
    ) -> None:
        self._period_ms: int = means.collect["clock_period_s"] * 1000
        self._offset_min: int = means.collect["meter_utc_offset_min"]
        self._means = means
        self._tell = tell
        self._may_correct = may_correct
        self._meters = {
            name: _Meter(name) for name, watch in means.watches.items() if watch.protocol == DLT645
        }
        self._memos: Memos | None = means.memos
        self._pending = Pending()

    def drift_s(self, meter_id: str) -> int | None:
        """What the meter's clock is ahead of ours by the last look (s); None when it is not
        known."""
        meter = self._meters.get(meter_id)
        if meter is None or meter.known.drift_ms is None:
            return None
        if not 0 <= self._means.clock.utc_ms() - meter.known.seen_at <= VALID_MS:
            return None
        return round(meter.known.drift_ms / 1000)

    def next_job(self, now: Moment) -> Job | None:
        """A correction that is granted, or the look that is due longest."""
        if not self._pending.is_over() or not self._period_ms:
            return None
        self._recall()
        self._note_returns()
        if now.quality < TimeQuality.NTP:
            return None
        due = [
            one
            for one in self._meters.values()
            if (one.due_at <= now.boot_ms or one.granted_at is not None) and self._may_ask(one)
        ]
        if not due:
            return None
        meter = min(due, key=lambda one: (one.granted_at is None, one.due_at))
        work = self._correct if meter.granted_at is not None else self._look
        return CatchUp(meter.meter_id, partial(work, meter), partial(self._fail, meter))

    def _recall(self) -> None:
        """Not before: another worker may have had these meters until now."""
        if self._memos is not None:
            found = self._memos(SCOPE)
            for meter in self._meters.values():
                meter.known = _known_in(found.get(meter.meter_id))
            self._memos = None

    def _may_ask(self, meter: "_Meter") -> bool:
        return bool(self._means.watches[meter.meter_id].driver.edition) and meter.is_reached

    def _note_returns(self) -> None:
        """A meter that is back may have lost its time with its supply."""
        for meter in self._meters.values():
            is_reached = self._means.reaches(meter.meter_id)
            if is_reached and not meter.is_reached:
                meter.due_at = 0
            meter.is_reached = is_reached

    def _fail(self, meter: "_Meter", _error: BusbarError | None = None) -> None:
        meter.granted_at = None
        meter.due_at = self._means.clock.boot_ms() + min(RETRY_MS, self._period_ms)

    # ---- looking --------------------------------------------------------------------------------

    def _look(
        self, meter: "_Meter", line: Line, driver: Dlt645Driver, retries: int, frames: Frames
    ) -> Steps:
        drift_ms = yield from self._drift(meter, line, driver, retries)
        meter.due_at = self._means.clock.boot_ms() + self._period_ms
        known = self._judge(meter, drift_ms)
        if self._is_wanted(meter, drift_ms) and driver.edition == EDITION_2007:
            yield None
            meter.instants = None
            with contextlib.suppress(BusbarError):  # then nobody knows, and nothing is corrected
                meter.instants = yield from self._instants(line, driver, retries)
            if self._is_permitted(meter, drift_ms):
                utc_ms = self._means.clock.utc_ms()
                known.set_day = rules.day_of(utc_ms, self._offset_min)
                known.sets = [*rules.recent_sets(known.sets, utc_ms), utc_ms]
                self._remember(meter, known, is_granted=True)
                return
            meter.due_at = self._means.clock.boot_ms() + min(RETRY_MS, self._period_ms)
        self._remember(meter, known)

    def _drift(
        self, meter: "_Meter", line: Line, driver: Dlt645Driver, retries: int
    ) -> Generator[None, None, int]:
        """What the meter's clock is ahead of ours (ms)."""
        character = character_s(*self._means.watches[meter.meter_id].wire.characters)
        boot_ms = self._means.clock.boot_ms
        try:
            shown = yield from read_clock(
                line, driver, boot_ms, character, retries, not meter.is_in_parts
            )
        except UnsupportedError:
            if meter.is_in_parts or driver.edition != EDITION_2007:
                raise
            meter.is_in_parts = True
            yield
            shown = yield from read_clock(line, driver, boot_ms, character, retries, False)
        moment = self._means.clock.moment()
        our_ms = moment.utc_ms - moment.boot_ms + shown.boot_ms
        return utc_ms_of(shown.time, self._offset_min) + _HALF_SECOND_MS - our_ms

    def _judge(self, meter: "_Meter", drift_ms: int) -> "_Known":
        """What is known of it now; tells of a clock that is off."""
        utc_ms = self._means.clock.utc_ms()
        known = meter.known.copy()
        known.drift_ms, known.seen_at = drift_ms, utc_ms
        if abs(drift_ms) <= rules.TOLERATED_MS:
            known.told_ms = None
            return known
        words = _words(drift_ms)
        if not rules.is_drift_told(drift_ms, known.told_ms, utc_ms - known.told_at):
            known.told_ms, known.told_at = drift_ms, utc_ms
            self._tell("meter-clock-drift", meter.meter_id, f"it is {words}")
        sets = len(rules.recent_sets(known.sets, utc_ms))
        fault = ""
        if abs(drift_ms) > rules.FAULTY_MS:
            fault = f"it is {words}; that is more than may be corrected unasked"
        elif sets >= rules.SETS_MAX:
            fault = f"it is {words} after {sets} corrections in a month"
        if fault and not 0 <= utc_ms - known.faulty_at < DAY_MS:
            known.faulty_at = utc_ms
            self._tell("meter-clock-faulty", meter.meter_id, fault)
        return known

    def _instants(
        self, line: Line, driver: Dlt645Driver, retries: int
    ) -> Generator[None, None, rules.Instants]:
        """When the meter freezes and switches. One that it does not have it does not do; any other
        refusal ends the look, because a freeze might be near."""
        found: dict[str, Any] = {}
        wanted = (
            rules.DAILY_FREEZE, rules.HOURLY_FREEZE_START, rules.HOURLY_FREEZE_INTERVAL,
            *rules.SWITCHES,
        )  # fmt: skip
        for n, di in enumerate(wanted):
            if n:
                yield
            try:
                data = yield from read_raw(line, driver, di, retries)
            except UnsupportedError:
                continue
            items = decode_items(data)
            if items and items[0][1] is not None:
                found[di] = items[0][1].value
        recurring = []
        if rules.DAILY_FREEZE in found:
            recurring.append(rules.daily(found[rules.DAILY_FREEZE]))
        interval = found.get(rules.HOURLY_FREEZE_INTERVAL)
        if interval and rules.HOURLY_FREEZE_START in found:
            start = utc_ms_of_text(found[rules.HOURLY_FREEZE_START], 0)
            recurring.append((interval * MINUTE_MS, start))
        single = [utc_ms_of_text(found[di], 0) for di in rules.SWITCHES if di in found]
        return rules.Instants(tuple(recurring), tuple(single))

    # ---- correcting -----------------------------------------------------------------------------

    def _is_wanted(self, meter: "_Meter", drift_ms: int) -> bool:
        """Whether a correction may be thought of today."""
        utc_ms = self._means.clock.utc_ms()
        return (
            rules.is_correctable(drift_ms)
            and self._may_correct()
            and meter.known.set_day < rules.day_of(utc_ms, self._offset_min)
            and len(rules.recent_sets(meter.known.sets, utc_ms)) < rules.SETS_MAX
        )

    def _is_permitted(self, meter: "_Meter", drift_ms: int) -> bool:
        """Whether it may be now."""
        clock = self._means.clock
        return (
            meter.instants is not None
            and rules.is_correctable(drift_ms)
            and self._may_correct()
            and clock.quality() >= TimeQuality.NTP
            and not clock.is_in_doubt()
            and rules.is_quiet(drift_ms, clock.utc_ms(), self._offset_min, meter.instants)
        )

    def _correct(
        self, meter: "_Meter", line: Line, driver: Dlt645Driver, retries: int, frames: Frames
    ) -> Steps:
        """Once, whatever comes of it: that it was to be is in the journal."""
        granted_at, meter.granted_at = meter.granted_at, None
        before_ms = yield from self._drift(meter, line, driver, retries)
        yield None
        # So near to its grant, and away from midnight, it is still the day that it was granted for.
        is_stale = self._means.clock.boot_ms() - (granted_at or 0) > RETRY_MS
        if is_stale or not self._is_permitted(meter, before_ms):
            return
        character = character_s(*self._means.watches[meter.meter_id].wire.characters)
        try:
            set_clock(line, driver, self._means.clock.boot_ms, self._time_at, character)
        except TooLateError:
            return
        yield None
        outcome = "it did not answer afterwards"
        try:
            after_ms = yield from self._drift(meter, line, driver, retries)
            outcome = f"now {_words(after_ms)}"
            self._remember(meter, self._judge(meter, after_ms))
        except BusbarError:
            self._fail(meter)
        self._tell(
            "meter-clock-set",
            meter.meter_id,
            f"it was {_words(before_ms)}, {outcome}",
            tuple(frames),
        )

    def _time_at(self, boot_ms: int) -> MeterTime:
        moment = self._means.clock.moment()
        utc_ms = moment.utc_ms - moment.boot_ms + boot_ms
        return meter_time(utc_ms + _HALF_SECOND_MS, self._offset_min)  # the nearest second

    def _remember(self, meter: "_Meter", known: "_Known", is_granted: bool = False) -> None:
        def adopt() -> None:
            meter.known = known
            meter.granted_at = self._means.clock.boot_ms() if is_granted else None

        memo = (SCOPE, meter.meter_id, json.dumps(asdict(known)))
        self._pending.wait_for(self._means.keep(memos=[memo]), adopt, partial(self._fail, meter))


@dataclass
class _Known:
    """What outlives a restart; UTC ms."""

    drift_ms: int | None = None
    seen_at: int = 0
    told_ms: int | None = None
    told_at: int = 0
    faulty_at: int = 0
    set_day: int = -1
    sets: list[int] = field(default_factory=list)

    def copy(self) -> "_Known":
        """To be changed, and taken over once it is durable."""
        return _Known(**asdict(self))


class _Meter:
    """How far one meter is."""

    def __init__(self, meter_id: str) -> None:
        self.meter_id = meter_id
        self.known = _Known()
        self.due_at = 0  # boot ms
        self.is_reached = False
        self.is_in_parts = False  # it does not give date and time by one identifier
        self.granted_at: int | None = None  # boot ms, of a correction that is durable
        self.instants: rules.Instants | None = None  # None: not known


def _known_in(memo: Any) -> _Known:
    return _Known(**json.loads(memo or "{}"))


def _words(drift_ms: int) -> str:
    """ "45 s ahead"."""
    return f"{abs(drift_ms) / 1000:.0f} s {'ahead' if drift_ms > 0 else 'behind'}"
