"""What time alone brings to people's attention: restores that are late, orders that never ended,
reviews that are due.

* A restore is an SLO: 30 minutes to READY, 24 hours and it is field work (I30). Each is told once.
* Once a day whatever is still unknown or contradicted is told again, and so is a review that is due
  (I12): a review removes nothing.
"""

from cloud.orders.alarms import ESCALATED, LATE, REVIEW_DUE, UNSETTLED, raise_alarm
from cloud.orders.office import Office
from cloud.store import sql_orders as sql
from cloud.store.orders import OrderRow

MINUTE_MS = 60_000
DAY_MS = 86_400_000
LOOK_EVERY_MS = 10_000
LOOK_DAILY_EVERY_MS = 3_600_000  # for what is told once a day
LOOK_BACK_MS = 30 * DAY_MS
SHOWN_MAX = 10  # orders named in one alarm
_LEVEL_LATE, _LEVEL_ESCALATED = 1, 2


class Watch:
    """Looks at the clock, in the open transaction."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._next_look = 0
        self._next_daily = 0

    def sweep(self) -> None:
        """Tell what is due."""
        now = self._office.clock.utc_ms()
        if 0 < self._next_look - now <= LOOK_EVERY_MS:
            return
        self._next_look = now + LOOK_EVERY_MS
        policy = self._office.policy
        late_ms = policy.restore_late_min * MINUTE_MS
        limit_ms = policy.restore_escalate_h * 60 * MINUTE_MS
        # The limit first: a restore that is found after it is told once.
        self._tell_restores(_LEVEL_ESCALATED, ESCALATED, now - limit_ms, now)
        self._tell_restores(_LEVEL_LATE, LATE, now - late_ms, now)
        if not 0 < self._next_daily - now <= LOOK_DAILY_EVERY_MS:
            self._next_daily = now + LOOK_DAILY_EVERY_MS
            self._tell_daily(now)

    def _tell_restores(self, level: int, kind: str, before: int, now: int) -> None:
        office = self._office
        rows = office.orders.select(sql.SELECT_OPEN_RESTORES, level, now - LOOK_BACK_MS, before)
        for row in rows:
            office.orders.escalate(row.order_id, level)
        if len(rows) > SHOWN_MAX:
            # A bulk restore takes longer than its target by its staggering alone.
            raise_alarm(office, kind, "", _named(rows))
            return
        for row in rows:
            minutes = (now - row.created_at) // MINUTE_MS
            detail = f"{row.action} of meter {row.meter_id} is {row.state} after {minutes} minutes"
            raise_alarm(office, kind, row.meter_id, detail, row)

    def _tell_daily(self, now: int) -> None:
        office, since = self._office, now - DAY_MS + 1
        rows = office.orders.select(sql.SELECT_UNSETTLED, now - LOOK_BACK_MS, now - DAY_MS)
        if rows and not office.life.was_told(UNSETTLED, "", since):
            raise_alarm(office, UNSETTLED, "", _named(rows))
        for entry in office.never_cut.entries():
            if entry.is_removed or entry.review_at is None or entry.review_at > now:
                continue
            if not office.life.was_told(REVIEW_DUE, entry.meter_id, since):
                detail = f"entry {entry.entry} ({entry.flag}) of meter {entry.meter_id}"
                raise_alarm(office, REVIEW_DUE, entry.meter_id, detail)


def _named(rows: list[OrderRow]) -> str:
    shown = ", ".join(f"{row.order_id.hex()[:8]} {row.state}" for row in rows[:SHOWN_MAX])
    more = f" and {len(rows) - SHOWN_MAX} more" if len(rows) > SHOWN_MAX else ""
    return f"{len(rows)} orders: {shown}{more}"
