"""The supplies, looked at as catch-up work of one line: what each should do, and does (I28).

* A look reads the status once a day, when the gateway has started, when a meter is back after a
  silence (its supply may have been away), and soon after an order.
* The contact says what it does; where it is open the current must agree.
* A disagreement is told once, and again after a day while it lasts. What was told is remembered in
  the transaction that tells it. A look moves nothing.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from edge.collect import supply_rules as rules
from edge.collect.catch_up import CatchUp, Frames, Means, Memos, Pending
from edge.collect.jobs import Job, Steps
from edge.collect.meter_time import DAY_MS
from edge.line.line import Line
from edge.meters.driver import Driver
from edge.timekeeping import Moment
from protocols.errors import BusbarError
from protocols.events import Event

SCOPE = "supply"  # of the memos: meter -> JSON of _Known
PERIOD_MS = DAY_MS
RETRY_MS = 600_000  # after a silence
AFTER_ORDER_MS = 60_000  # an order looks for its effect itself; this one comes behind it


class SupplyWatch:
    """A Background of one line. `intended(meter)` is OPEN, CLOSED or UNSETTLED of `supply_rules`,
    asked when a look has its answers."""

    def __init__(self, means: Means, intended: Callable[[str], str]) -> None:
        self._means = means
        self._clock = means.clock
        self._intended = intended
        self._meters = {
            name: _Meter(name)
            for name, watch in means.watches.items()
            if watch.driver.control is not None
        }
        self._memos: Memos | None = means.memos
        self._pending = Pending()

    def look_soon(self, meter_id: str) -> None:
        """An order has ended. Any thread."""
        meter = self._meters.get(meter_id)
        if meter is not None:
            meter.due_at = min(meter.due_at, self._clock.boot_ms() + AFTER_ORDER_MS)

    def next_job(self, now: Moment) -> Job | None:
        """The look that is due longest."""
        if not self._pending.is_over():
            return None
        self._recall()
        self._note_returns()
        due = [one for one in self._meters.values() if one.due_at <= now.boot_ms and one.is_reached]
        if not due:
            return None
        meter = min(due, key=lambda one: one.due_at)
        return CatchUp(meter.meter_id, partial(self._look, meter), partial(self._fail, meter))

    def _recall(self) -> None:
        if self._memos is not None:
            found = self._memos(SCOPE)
            for meter in self._meters.values():
                meter.known = _Known(**json.loads(found.get(meter.meter_id) or "{}"))
            self._memos = None

    def _note_returns(self) -> None:
        for meter in self._meters.values():
            is_reached = self._means.reaches(meter.meter_id)
            if is_reached and not meter.is_reached:
                meter.due_at = 0
            meter.is_reached = is_reached

    def _fail(self, meter: "_Meter", _error: BusbarError | None = None) -> None:
        meter.due_at = self._clock.boot_ms() + RETRY_MS

    def _look(
        self, meter: "_Meter", line: Line, driver: Driver, retries: int, frames: Frames
    ) -> Steps:
        control = driver.control
        if control is None:
            return
        state = yield from control.supply(line, retries)
        seen = rules.Supply(state.contact, state.keep_power)
        if state.is_open:
            yield None
            second = yield from control.second(line, retries, True, False)
            seen = seen._replace(current_ma=second.current_ma)
        meter.due_at = self._clock.boot_ms() + PERIOD_MS
        self._judge(meter, seen, control.no_current_ma, tuple(frames))

    def _judge(
        self, meter: "_Meter", seen: rules.Supply, no_current_ma: int, frames: tuple[Any, ...]
    ) -> None:
        """Keeps what was seen, and tells what is wrong with it."""
        intended = self._intended(meter.meter_id)
        now = self._clock.utc_ms()
        wrong = rules.troubles(intended, seen, no_current_ma)
        told = {kind: at for kind, at in meter.known.told.items() if kind in wrong and at <= now}
        fresh = sorted(kind for kind in wrong if now - told.get(kind, 0) >= DAY_MS)
        words = _words(intended, seen)
        events = [self._event(kind, meter.meter_id, words, frames) for kind in fresh]
        changed = rules.keep_power_event(meter.known.keep_power, seen.keep_power)
        if changed:
            events.append(self._event(changed, meter.meter_id, words, frames))
        keeps = seen.keep_power if seen.keep_power is not None else meter.known.keep_power
        known = _Known(seen.contact, keeps, now, told | dict.fromkeys(fresh, now))

        def adopt() -> None:
            meter.known = known

        memo = (SCOPE, meter.meter_id, json.dumps(asdict(known)))
        future = self._means.keep(events=events, memos=[memo])
        self._pending.wait_for(future, adopt, partial(self._fail, meter))

    def _event(self, kind: str, meter_id: str, words: str, frames: tuple[Any, ...]) -> Event:
        clock = self._clock
        stamps = (clock.utc_ms(), clock.boot_ms(), clock.boot_id, clock.quality())
        return Event(kind, meter_id, *stamps, 0, None, words, frames).fitted()


@dataclass
class _Known:
    """What outlives a restart; UTC ms."""

    contact: str = ""
    keep_power: bool | None = None
    seen_at: int = 0
    told: dict[str, int] = field(default_factory=dict)


class _Meter:
    """How far one meter is."""

    def __init__(self, meter_id: str) -> None:
        self.meter_id = meter_id
        self.known = _Known()
        self.due_at = 0  # boot ms
        self.is_reached = False


def _words(intended: str, seen: rules.Supply) -> str:
    """ "intended closed; the meter is disconnected, 2.310 A flow"."""
    words = f"intended {intended or 'not settled'}; the meter is {seen.contact}"
    if seen.current_ma is not None:
        words += f", {seen.current_ma / 1000:.3f} A flow"
    if seen.keep_power:
        words += ", keep-power is set"
    return words
