"""A meter's local civil time as it travels: BCD, two digits of year, 2000 to 2099."""

from collections import namedtuple

from protocols.bcd import decode_bcd
from protocols.errors import CallerError, ValueFormatError

_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class MeterTime(namedtuple("MeterTime", ("year", "month", "day", "hour", "minute", "second"))):
    """Local time of a meter; it knows no zone and no summer time. Check with `is_valid`."""

    def is_valid(self) -> bool:
        """Whether it is a moment of the calendar that two digits of year can say."""
        return (
            2000 <= self.year <= 2099
            and 1 <= self.month <= 12
            and 1 <= self.day <= days_of_month(self.year, self.month)
            and 0 <= self.hour <= 23
            and 0 <= self.minute <= 59
            and 0 <= self.second <= 59
        )

    def text(self) -> str:
        """`2026-11-21T10:15:00`."""
        return (
            f"{self.year:04d}-{self.month:02d}-{self.day:02d}"
            f"T{self.hour:02d}:{self.minute:02d}:{self.second:02d}"
        )

    def to_bytes(self) -> bytes:
        """ss mm hh DD MM YY, the order on the wire: seconds first, though documents print
        YYMMDDhhmmss. CallerError when it is no moment."""
        if not self.is_valid():
            raise CallerError(self.text() + " is no time from 2000 to 2099")
        numbers = (self.second, self.minute, self.hour, self.day, self.month, self.year - 2000)
        return bytes([number // 10 << 4 | number % 10 for number in numbers])


def days_of_month(year: int, month: int) -> int:
    """Days of a month from 2000 to 2099, where every fourth year is a leap year."""
    return 29 if month == 2 and year % 4 == 0 else _DAYS[month - 1]


def time_from_bytes(data: bytes) -> "MeterTime | None":
    """The time in ss mm hh DD MM YY; None when all are zero, which captures show where nothing was
    set. ValueFormatError when it is no time."""
    if not any(data):
        return None
    numbers = [decode_bcd(data[at : at + 1]) for at in range(6)]
    second, minute, hour, day, month, year = numbers
    moment = MeterTime(2000 + year, month, day, hour, minute, second)
    if not moment.is_valid():
        raise ValueFormatError(moment.text() + " is no time")
    return moment
