"""When disconnecting is allowed: hours of the week, and days on which it is not (I11).

* Judged in the meter's local civil time, which the caller brings; at the head end, and again at the
  gateway when the order is sent.
* Without a window nothing is allowed.
* A blocked day blocks whole; with `is_eve_blocked` the day before it too.
"""

from collections import namedtuple

from protocols.errors import SettingError
from protocols.orders.calendar import day_after, day_of

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY_MIN = 1440  # minutes of a day
OUTSIDE, BLOCKED_DAY = "outside the windows", "a blocked day"
EVE = "the day before a blocked day"
ALLOWED = 'days and hours such as "Mon-Thu 09:00-16:00" or "Mon,Wed 09:00-12:00"'


class Window(namedtuple("Window", ("weekdays", "from_min", "until_min"))):
    """Hours of some days: `weekdays` a tuple of 0 = Monday to 6, from `from_min` on and before
    `until_min`, in minutes of the day. It does not reach over midnight."""

    @classmethod
    def from_text(cls, text: str) -> "Window":
        """SettingError unless it is days and hours such as "Mon-Thu 09:00-16:00"."""
        days, _, hours = text.partition(" ")
        first, _, last = hours.partition("-")
        weekdays, from_min, until_min = _weekdays(days), _minute(first), _minute(last)
        if not weekdays or from_min < 0 or from_min >= until_min:
            raise SettingError(f"{text!r} is no window; it must be {ALLOWED}")
        return cls(weekdays, from_min, until_min)

    def text(self) -> str:
        """As it is written in settings, each day by itself."""
        days = ",".join([WEEKDAYS[day] for day in self.weekdays])
        return f"{days} {_clock(self.from_min)}-{_clock(self.until_min)}"


def is_window(text: str) -> bool:
    """Whether `text` is a window, for a table of settings."""
    try:
        Window.from_text(text)
    except SettingError:
        return False
    return True


def blocked_by(windows: tuple, local: tuple, blocked_days: tuple, is_eve_blocked: bool) -> str:
    """Why disconnecting is not allowed at `local`, (year, month, day, hour, minute, weekday with
    0 = Monday): OUTSIDE, BLOCKED_DAY or EVE; "" when it is. `blocked_days` are yyyymmdd."""
    year, month, day, hour, minute, weekday = local
    today = day_of(year, month, day)
    if today in blocked_days:
        return BLOCKED_DAY
    if is_eve_blocked and day_after(today) in blocked_days:
        return EVE
    now_min = hour * 60 + minute
    for one in windows:
        if weekday in one.weekdays and one.from_min <= now_min < one.until_min:
            return ""
    return OUTSIDE


def _weekdays(text: str) -> tuple:
    """The days of "Mon", "Mon-Thu" or "Mon,Wed"; empty when it is none of them."""
    found: list = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
            return ()
        start = WEEKDAYS.index(first)
        end = WEEKDAYS.index(last) if dash else start
        if end < start:
            return ()
        found += [day for day in range(start, end + 1) if day not in found]
    return tuple(sorted(found))


def _minute(text: str) -> int:
    """Minutes of "hh:mm", up to 24:00; -1 when it is none."""
    hour, colon, minute = text.partition(":")
    parts = hour + minute
    if len(hour) != 2 or not colon or len(minute) != 2:
        return -1
    if not all(one in "0123456789" for one in parts):
        return -1
    found = int(hour) * 60 + int(minute)
    return found if int(minute) < 60 and found <= DAY_MIN else -1


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
