"""Whether the hour, the calendar and the weather let a disconnect through, in the meter's local
civil time (I11). What is not known forbids."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from protocols.messages import Policy
from protocols.orders.windows import Window, blocked_by

_DAY_MS = 86_400_000
_OUTSIDE = "outside the windows"


def forbidden(utc_ms: int, settings: dict[str, Any], policy: Policy) -> str:
    """A code of REFUSALS, or "" when disconnecting is allowed at that time. `settings` are those of
    [orders]."""
    try:
        local = datetime.fromtimestamp(utc_ms / 1000, ZoneInfo(settings["timezone"]))
    except (ZoneInfoNotFoundError, ValueError, OverflowError, OSError):
        return "window"
    parts = (local.year, local.month, local.day, local.hour, local.minute, local.weekday())
    windows = tuple(map(Window.from_text, settings["windows"]))
    is_eve_blocked = settings["block_eves"]
    words = blocked_by(windows, parts, policy.blocked_days, is_eve_blocked)
    if words:
        return "window" if words == _OUTSIDE else "calendar-day"
    # Of an eve one must know tomorrow too.
    ends_at = policy.calendar_until - (_DAY_MS if is_eve_blocked else 0)
    if settings["block_without_calendar"] and utc_ms > ends_at:
        return "calendar-ended"
    return _weather(utc_ms, settings, policy)


def _weather(utc_ms: int, settings: dict[str, Any], policy: Policy) -> str:
    if utc_ms < policy.weather_blocked_until:
        return "weather"
    if policy.weather_known_until == 0:
        return "weather-unknown" if settings["block_without_weather"] else ""
    return "weather-unknown" if utc_ms > policy.weather_known_until else ""
