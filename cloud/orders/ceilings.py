"""How many cuts one person may ask for, and one area or gateway may have, in an hour and in a day.

* What is over a ceiling is quarantined, not queued, and a second person releases it (I23). The
  gateway has ceilings of its own, which nobody here can lift.
* Counted are requests by person when they are frozen, and cuts by area and gateway when they pass
  on to the queue. A person who releases them adds them to the count.
* An area that is not known ("") is one area: the ceiling is that of the fleet.
"""

import sqlite3
from bisect import bisect_right
from typing import NamedTuple

from cloud.orders.policy import OrderPolicy
from cloud.store import sql_orders as sql
from cloud.store.orders import OrderRow

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_DROP_AT = 1000  # moments older than a day, before they are dropped


class Ceiling(NamedTuple):
    """One ceiling: in words, how long back it counts, and how many it allows."""

    words: str
    back_ms: int
    most: int


class Ceilings:
    """Counts, in memory; read from the database at the start and after a rollback."""

    def __init__(self, db: sqlite3.Connection, policy: OrderPolicy) -> None:
        self._db = db
        self._policy = policy
        self._moments: dict[tuple[str, str], list[int]] | None = None
        self._meters: dict[str, int] = {}

    def forget(self) -> None:
        """What was counted is undone."""
        self._moments = None
        self._meters.clear()

    def meters_changed(self, gateway_id: str) -> None:
        """A gateway announced its meters."""
        self._meters.pop(gateway_id, None)

    def over_by_request(self, requested_by: str, now: int) -> str:
        """Which of a person's ceilings one more request is over; "" when none. Counts it."""
        policy = self._policy
        ceilings = (
            Ceiling(f"{requested_by} an hour", HOUR_MS, policy.cuts_operator_hour),
            Ceiling(f"{requested_by} a day", DAY_MS, policy.cuts_operator_day),
        )
        key = ("asked", requested_by)
        found = self._over(key, ceilings, now)
        self._add(key, now)
        return found

    def over_by_place(self, order: OrderRow, now: int) -> str:
        """Which ceilings of area and gateway one more cut is over; "" when none."""
        policy, gateway, area = self._policy, order.gateway_id, order.area
        share = max(self._count_meters(gateway) * policy.cuts_gateway_day_percent // 100, 1)
        of_gateway = (
            Ceiling(f"gateway {gateway} an hour", HOUR_MS, policy.cuts_gateway_hour),
            Ceiling(f"gateway {gateway} a day", DAY_MS, share),
        )
        of_area = (
            Ceiling(f"area {area!r} an hour", HOUR_MS, policy.cuts_area_hour),
            Ceiling(f"area {area!r} a day", DAY_MS, policy.cuts_area_day),
        )
        found = self._over(("gateway", gateway), of_gateway, now)
        return found or self._over(("area", area), of_area, now)

    def count(self, order: OrderRow, now: int) -> None:
        """A cut passes on to the queue."""
        self._add(("gateway", order.gateway_id), now)
        self._add(("area", order.area), now)

    def _over(self, key: tuple[str, str], ceilings: tuple[Ceiling, ...], now: int) -> str:
        moments = self._loaded(now).get(key, [])
        for one in ceilings:
            counted = len(moments) - bisect_right(moments, now - one.back_ms)
            if counted >= one.most:
                return f"{one.words}: {one.most}"
        return ""

    def _add(self, key: tuple[str, str], now: int) -> None:
        moments = self._loaded(now).setdefault(key, [])
        # A clock that steps back must not make room.
        moments.append(max(now, moments[-1]) if moments else now)
        old = bisect_right(moments, now - DAY_MS)
        if old > _DROP_AT:
            del moments[:old]

    def _loaded(self, now: int) -> dict[tuple[str, str], list[int]]:
        if self._moments is None:
            self._moments = {}
            since = now - DAY_MS
            for requested_by, at in self._db.execute(sql.SELECT_ASKED, (since,)):
                self._moments.setdefault(("asked", requested_by), []).append(at)
            for area, gateway_id, at in self._db.execute(sql.SELECT_COUNTED, (since,)):
                self._moments.setdefault(("area", area), []).append(at)
                self._moments.setdefault(("gateway", gateway_id), []).append(at)
        return self._moments

    def _count_meters(self, gateway_id: str) -> int:
        if gateway_id not in self._meters:
            found = self._db.execute(sql.COUNT_METERS_OF_GATEWAY, (gateway_id,)).fetchone()
            self._meters[gateway_id] = int(found[0])
        return self._meters[gateway_id]
