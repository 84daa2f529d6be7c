"""Between UTC and the local time of meters, which knows no zone and no summer time."""

from datetime import UTC, datetime, timedelta

from protocols.dlt645.clock import MeterTime

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_END_OF_DAY = "T24:00"


def utc_ms_of(time: MeterTime, offset_min: int) -> int:
    """UTC ms of a meter's time; `offset_min` is what its clock is ahead of UTC."""
    return (datetime(*time, tzinfo=UTC) - _EPOCH) // _MS - offset_min * MINUTE_MS


def utc_ms_of_text(text: str, offset_min: int) -> int:
    """The same of `2026-11-21T10:15` or `2026-11-21T10:15:00`; 24:00 is the end of its day."""
    day, is_end, _ = text.partition(_END_OF_DAY)
    local = datetime.fromisoformat(day if is_end else text).replace(tzinfo=UTC)
    return (local - _EPOCH) // _MS + (DAY_MS if is_end else 0) - offset_min * MINUTE_MS


def local_ms(utc_ms: int, offset_min: int) -> int:
    """Local time as ms since 1970, for arithmetic of days and hours."""
    return utc_ms + offset_min * MINUTE_MS


def meter_time(utc_ms: int, offset_min: int) -> MeterTime:
    """The second of local time that begins at or before `utc_ms`."""
    moment = _EPOCH + timedelta(milliseconds=local_ms(utc_ms, offset_min))
    return MeterTime(*moment.timetuple()[:6])
