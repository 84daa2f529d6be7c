"""When an order begins to hold: cuts after a random delay, restores one behind the other.

* The delay of a cut is geometric, cut off at the setting's most, and drawn before the order is
  signed (I24, fee-control 9.10): it limits how fast a load can go, and leaves time to stop.
* Restores of one area, or of one gateway where no areas are known, begin a fixed step apart: a
  feeder that comes back at once trips again.
"""

import math
import sqlite3
from collections.abc import Callable
from typing import Protocol

from cloud.store import sql_orders as sql
from cloud.store.orders import OrderRow

MEAN_PART = 4  # the mean of a delay is about this part of its most
REDRAWS = 16  # of a delay that leads out of the allowed hours
LOOK_BACK_MS = 7 * 86_400_000  # restores older than this do not delay a new one


class Chance(Protocol):
    """Where randomness comes from: secrets.SystemRandom, or a seeded generator of a test."""

    def random(self) -> float:
        """A number from 0 up to, but without, 1."""


def geometric(chance: Chance, most: int) -> int:
    """0..most, each a fixed factor less likely than the one before."""
    if most <= 0:
        return 0
    keep = 1 - MEAN_PART / (most + MEAN_PART)
    uniform = chance.random() * (1 - keep ** (most + 1))
    return min(int(math.log1p(-uniform) / math.log(keep)), most)


def delayed(
    chance: Chance, now: int, latest: int, most_s: int, is_blocked: Callable[[int], bool]
) -> int:
    """The not-before of a cut that is signed at `now` (UTC ms, allowed now): not after `latest`,
    and within the allowed hours."""
    for _ in range(REDRAWS):
        at = now + geometric(chance, most_s) * 1000
        if at <= latest and not is_blocked(at):
            return at
    return now


class Stagger:
    """The next free beginning of a restore, for each area."""

    def __init__(self, db: sqlite3.Connection, step_ms: int) -> None:
        self._db = db
        self._step_ms = step_ms
        self._last: dict[tuple[str, str], int] | None = None

    def forget(self) -> None:
        """What was given out is undone."""
        self._last = None

    def take(self, order: OrderRow, now: int) -> int:
        """The not-before of a restore (UTC ms)."""
        if self._last is None:
            rows = self._db.execute(sql.SELECT_LAST_RESTORES, (now - LOOK_BACK_MS,))
            self._last = {}
            for area, gateway_id, at in rows:
                key = _feeder(area, gateway_id)
                self._last[key] = max(at, self._last.get(key, 0))
        key = _feeder(order.area, order.gateway_id)
        at = max(now, order.valid_from, self._last.get(key, -self._step_ms) + self._step_ms)
        self._last[key] = at
        return at


def _feeder(area: str, gateway_id: str) -> tuple[str, str]:
    return (area, "") if area else ("", gateway_id)
