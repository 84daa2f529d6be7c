"""How often this gateway may cut, and how often a meter may be switched (I22, I23).

* Counted are intents: what was about to go to a meter, whether it arrived or not. They are durable
  before the first byte, and kept over a restart; here they stand in memory.
* Hours and days roll: 3,600 s and 24 h back from now, not the calendar's.
* Within a boot ages are of the clock that does not jump. Of an earlier boot they are by UTC, and an
  intent of the future is one of now.
* After the journal was lost nothing is known of the day before: for a day nothing is cut.
* Of a meter's daily maximum the last operation is always a restore, because restores are counted
  and not refused; the dwell holds for what moves a contact by itself.
"""

import threading
from collections.abc import Iterable
from typing import Any

from edge.clock import Clock
from edge.journal.ledger import Intent
from edge.timekeeping import Moment
from protocols.messages import Action, Order
from protocols.orders.kinds import Effect

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
KEPT_MS = 2 * DAY_MS
SWITCHING = (Action.DISCONNECT, Action.ARM, Action.CONNECT)
MOVES_CONTACT = (Action.DISCONNECT, Action.CONNECT)


class Ceilings:
    """Any thread may use it. `uncounted_until`: UTC ms up to which the past is not known."""

    def __init__(self, clock: Clock, intents: Iterable[Intent], uncounted_until: int = 0) -> None:
        self.uncounted_until = uncounted_until
        self._clock = clock
        self._intents = {one.counter: one for one in intents}
        self._lock = threading.Lock()

    def refuse(self, order: Order, settings: dict[str, Any], meters: int) -> str:
        """The code under which an order is refused now, or ""."""
        with self._lock:
            return self._judge(order, settings, meters)

    def reserve(self, intent: Intent, order: Order, settings: dict[str, Any], meters: int) -> str:
        """The same, and when nothing forbids it, counts the intent: of two that ask at once, one
        has the last place."""
        with self._lock:
            code = self._judge(order, settings, meters)
            if not code:
                moment = self._clock.moment()
                self._intents = {
                    one.counter: one
                    for one in self._intents.values()
                    if self._age_ms(one, moment) < KEPT_MS
                }
                self._intents[intent.counter] = intent
            return code

    def give_back(self, intent: Intent) -> None:
        """It was not made durable, and nothing was sent."""
        with self._lock:
            self._intents.pop(intent.counter, None)

    def cuts(self, span_ms: int) -> int:
        """How many cuts there were in the last so many ms."""
        with self._lock:
            return self._cuts(self._clock.moment(), span_ms)

    def stale(self) -> list[Intent]:
        """Those that nothing counts any more."""
        with self._lock:
            moment = self._clock.moment()
            return [one for one in self._intents.values() if self._age_ms(one, moment) >= KEPT_MS]

    def _judge(self, order: Order, settings: dict[str, Any], meters: int) -> str:
        moment = self._clock.moment()
        code = self._meter_code(order, settings, moment)
        if code or order.kind.effect != Effect.CUTS:
            return code
        if self._cuts(moment, HOUR_MS) >= settings["cuts_per_hour"]:
            return "ceiling-hour"
        if moment.utc_ms < self.uncounted_until:
            return "ceiling-day"
        if self._cuts(moment, DAY_MS) >= per_day(settings, meters):
            return "ceiling-day"
        return ""

    def _meter_code(self, order: Order, settings: dict[str, Any], moment: Moment) -> str:
        if order.action not in MOVES_CONTACT:
            return ""
        effect = order.kind.effect
        past = [
            (one, self._age_ms(one, moment))
            for one in self._intents.values()
            if one.meter_id == order.meter_id and one.action in SWITCHING
        ]
        if any(one.effect != effect and age < settings["dwell_s"] * 1000 for one, age in past):
            return "dwell"
        today = sum(age < DAY_MS for _, age in past)
        if effect == Effect.CUTS and today >= settings["operations_per_day"]:
            return "daily-maximum"
        return ""

    def _cuts(self, moment: Moment, span_ms: int) -> int:
        return sum(
            one.effect == Effect.CUTS and self._age_ms(one, moment) < span_ms
            for one in self._intents.values()
        )

    def _age_ms(self, intent: Intent, moment: Moment) -> int:
        if intent.boot_id == self._clock.boot_id:
            return max(moment.boot_ms - intent.boot_at, 0)
        return max(moment.utc_ms - intent.at, 0)


def per_day(settings: dict[str, Any], meters: int) -> int:
    """How many cuts a day may have: the percentage of the meters, rounded down, and one at
    least."""
    return max(meters * int(settings["cuts_per_day_percent"]) // 100, 1)
