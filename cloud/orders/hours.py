"""When cuts are allowed, in the meters' civil time, as the head end knows it (I11).

* The blocked days come from a file that says up to which day they are known. No file, one that does
  not read, or a day past its end: blocked, because a holiday that nobody entered looks like a
  working day.
* The file is read again when it has changed; one that does not read then blocks, and says so.
* The gateway judges by its own windows again when the order is sent.
"""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from cloud.orders.policy import OrderPolicy
from protocols.orders.calendar import is_day
from protocols.orders.policy import BLOCKED_DAYS_MAX
from protocols.orders.windows import blocked_by

log = logging.getLogger("cloud.orders")

FILE_SIZE_MAX = 65_536  # bytes
_DAYS_KEPT_BACK = 2  # of blocked days that are over, for a gateway whose clock is behind


class Hours:
    """Judges moments."""

    def __init__(self, policy: OrderPolicy) -> None:
        self._policy = policy
        self._zone = ZoneInfo(policy.timezone)
        self._stamp: tuple[int, int, int] | None = None
        self._until = 0  # yyyymmdd, the last day that is known
        self._days: tuple[int, ...] = ()

    def blocked(self, at: int) -> str:
        """Why nobody is cut at `at` (UTC ms); "" when cutting is allowed."""
        self._look()
        local = self._local(at)
        today = local.year * 10_000 + local.month * 100 + local.day
        known_until = self._until
        if self._policy.block_eves:
            known_until = self._day_before(known_until)
        if today > known_until:
            return "calendar-ended: the calendar of blocked days has ended, or there is none"
        moment = (local.year, local.month, local.day, local.hour, local.minute, local.weekday())
        found = blocked_by(self._policy.windows, moment, self._days, self._policy.block_eves)
        return f"window: {found}" if found else ""

    def is_blocked(self, at: int) -> bool:
        """Whether nobody is cut at `at` (UTC ms)."""
        return bool(self.blocked(at))

    def days(self, now: int) -> tuple[int, ...]:
        """The blocked days from now on, yyyymmdd rising, for a gateway's policy."""
        self._look()
        since = self._local(now) - timedelta(days=_DAYS_KEPT_BACK)
        first = since.year * 10_000 + since.month * 100 + since.day
        return tuple(day for day in self._days if day >= first)[:BLOCKED_DAYS_MAX]

    def known_until(self) -> int:
        """Until when (UTC ms) the blocked days are known; 0: they are not."""
        self._look()
        if not self._until:
            return 0
        end = _date(self._until, self._zone) + timedelta(days=1)
        return int(end.timestamp() * 1000)

    def _local(self, at: int) -> datetime:
        return datetime.fromtimestamp(at // 1000, UTC).astimezone(self._zone)

    def _day_before(self, day: int) -> int:
        if not day:
            return 0
        before = _date(day, self._zone) - timedelta(days=1)
        return before.year * 10_000 + before.month * 100 + before.day

    def _look(self) -> None:
        path = self._policy.calendar
        if path is None:
            return
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        except OSError:
            stamp = (0, 0, 0)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._until, self._days = _read(path)
            log.info("calendar_read days=%d until=%d", len(self._days), self._until)
        except (OSError, ValueError, TypeError, KeyError) as error:
            self._until, self._days = 0, ()
            log.error("calendar_refused path=%s error=%s", path, type(error).__name__)


def _read(path: Path) -> tuple[int, tuple[int, ...]]:
    """(last known day, blocked days) of {"until": "2026-12-31", "blocked": ["2026-10-01", ...]}."""
    if path.stat().st_size > FILE_SIZE_MAX:
        raise ValueError("too large")
    document = json.loads(path.read_text(encoding="utf-8"))
    until = _day(document["until"])
    days = tuple(sorted({_day(one) for one in document["blocked"]}))
    return until, days


def _day(text: object) -> int:
    if not isinstance(text, str) or len(text) != 10:
        raise ValueError("no day")
    found = int(text.replace("-", ""))
    if not is_day(found):
        raise ValueError("no day")
    return found


def _date(day: int, zone: ZoneInfo) -> datetime:
    return datetime(day // 10_000, day // 100 % 100, day % 100, tzinfo=zone)
