"""Days as integers yyyymmdd, without a library: enough to know whether one exists and which is
next."""

_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
YEAR_MIN, YEAR_MAX = 2000, 2199


def is_day(value: object) -> bool:
    """Whether `value` is a day of 2000..2199 as yyyymmdd."""
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    year, month, day = parts_of(value)
    if not YEAR_MIN <= year <= YEAR_MAX or not 1 <= month <= 12:
        return False
    return 1 <= day <= days_of(year, month)


def parts_of(value: int) -> tuple:
    """(year, month, day) of yyyymmdd."""
    return value // 10000, value // 100 % 100, value % 100


def day_of(year: int, month: int, day: int) -> int:
    """yyyymmdd."""
    return year * 10000 + month * 100 + day


def days_of(year: int, month: int) -> int:
    """How many days the month has (Gregorian)."""
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and is_leap else _DAYS[month - 1]


def day_after(value: int) -> int:
    """The next day, as yyyymmdd."""
    year, month, day = parts_of(value)
    if day < days_of(year, month):
        return value + 1
    return day_of(year, month + 1, 1) if month < 12 else day_of(year + 1, 1, 1)
