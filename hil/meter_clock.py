"""A meter's own clock: local time that may be wrong, and what may set it.

The rules of the broadcast are those of public meter firmware: at most 5 min off, once a day, not
within 5 min of midnight. A meter that does not like one says nothing.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from protocols.dlt645.clock import MeterTime

BROADCAST_MS_MAX = 300_000  # how far a broadcast may move the clock, and its distance to midnight
DRIFT_PPM_MAX = 100_000
_DAY_MS = 86_400_000
_MILLION = 1_000_000


class MeterClock:
    """Shows `clock()` (UTC ms) plus `utc_offset_ms` plus its own error: `offset_ms` at the start,
    growing by `drift_ppm` millionths."""

    def __init__(
        self,
        clock: Callable[[], int],
        utc_offset_ms: int = 0,
        offset_ms: int = 0,
        drift_ppm: int = 0,
    ) -> None:
        self._clock = clock
        self._utc_offset_ms = utc_offset_ms
        self._error_ms = offset_ms
        self._drift_ppm = drift_ppm
        self._set_at_ms = clock()
        self._day_of_broadcast = -1

    def utc_ms(self) -> int:
        """The true time."""
        return self._clock()

    def local_ms(self, at_ms: int | None = None) -> int:
        """Local time in ms since 1970 at `at_ms` UTC, or now."""
        at_ms = self._clock() if at_ms is None else at_ms
        drift_ms = (at_ms - self._set_at_ms) * self._drift_ppm // _MILLION
        return at_ms + self._utc_offset_ms + self._error_ms + drift_ms

    def time(self, at_ms: int | None = None) -> MeterTime:
        """What it shows at `at_ms` UTC, or now; the century is left out, as on the wire."""
        return time_of(self.local_ms(at_ms))

    def digits(self, layout: str) -> str:
        """What it shows now, in a strftime layout."""
        return _datetime(self.local_ms()).strftime(layout)

    def set(self, time: MeterTime) -> None:
        """Sets it."""
        self._set_at_ms = self._clock()
        self._error_ms = _ms_of(time) - self._set_at_ms - self._utc_offset_ms

    def hear_broadcast(self, time: MeterTime) -> bool:
        """Follows a broadcast if it is allowed; whether it was."""
        own_ms, told_ms = self.local_ms(), _ms_of(time)
        day = own_ms // _DAY_MS
        if (
            abs(told_ms - own_ms) > BROADCAST_MS_MAX
            or day == self._day_of_broadcast
            or _is_near_midnight(own_ms)
            or _is_near_midnight(told_ms)
        ):
            return False
        self.set(time)
        self._day_of_broadcast = day
        return True


def time_of(local_ms: int) -> MeterTime:
    """Local ms since 1970 as the meter says it."""
    moment = _datetime(local_ms)
    return MeterTime(2000 + moment.year % 100, *moment.timetuple()[1:6])


def _ms_of(time: MeterTime) -> int:
    return int(datetime(*time, tzinfo=UTC).timestamp()) * 1000


def _datetime(local_ms: int) -> datetime:
    return datetime.fromtimestamp(local_ms // 1000, UTC)


def _is_near_midnight(local_ms: int) -> bool:
    of_day_ms = local_ms % _DAY_MS
    return min(of_day_ms, _DAY_MS - of_day_ms) < BROADCAST_MS_MAX
