"""protocols/orders/windows.py: hours and days on which nobody is disconnected."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import SettingError
from protocols.orders.windows import Window, blocked_by, is_window

WORKDAYS = (Window.from_text("Mon-Thu 09:00-16:00"),)
DATES = st.dates(date(2000, 1, 1), date(2198, 12, 31))


def local(day: date, hour: int = 12, minute: int = 0) -> tuple[int, ...]:
    """The civil time of that day."""
    return (day.year, day.month, day.day, hour, minute, day.weekday())


def number(day: date) -> int:
    """yyyymmdd."""
    return int(day.strftime("%Y%m%d"))


@pytest.mark.parametrize(
    ("text", "window", "shown"),
    [
        ("Mon-Thu 09:00-16:00", ((0, 1, 2, 3), 540, 960), "Mon,Tue,Wed,Thu 09:00-16:00"),
        ("Mon 00:00-24:00", ((0,), 0, 1440), "Mon 00:00-24:00"),
        ("Wed,Mon 09:05-09:06", ((0, 2), 545, 546), "Mon,Wed 09:05-09:06"),
        ("Mon-Tue,Tue-Wed,Sun 10:00-11:00", ((0, 1, 2, 6), 600, 660),
         "Mon,Tue,Wed,Sun 10:00-11:00"),
    ],
)  # fmt: skip
def test_a_window_is_written_as_days_and_hours(
    text: str, window: tuple[object, ...], shown: str
) -> None:
    """And comes back from its own text."""
    found = Window.from_text(text)
    assert (found, type(found)) == (window, Window)
    assert found.text() == shown
    assert Window.from_text(shown) == found
    assert is_window(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "Mon", "09:00-16:00", "Mon 09:00", "Mon 09:00-", "Mon 16:00-09:00", "Mon 09:00-09:00",
        "Thu-Mon 09:00-16:00", "Mo 09:00-16:00", "mon 09:00-16:00", "Mon,  09:00-16:00",
        "Mon 9:00-16:00", "Mon 09:00-24:01", "Mon 09:60-16:00", "Mon 09:00-16:00 ",
        "Mon  09:00-16:00", "Mon-Thu-Fri 09:00-16:00", "Mon 0x:00-16:00", "Mon 22:00-25:00",
        "Mon -1:00-16:00",
    ],
)  # fmt: skip
def test_anything_else_is_no_window(text: str) -> None:
    """With one sentence that says what is allowed."""
    assert not is_window(text)
    with pytest.raises(SettingError, match="it must be days and hours such as"):
        Window.from_text(text)


@given(st.sets(st.integers(0, 6), min_size=1), st.integers(0, 1439), st.integers(1, 1440))
def test_every_window_has_a_text(days: set[int], first: int, length: int) -> None:
    """Whatever days and hours, within one day."""
    window = Window(tuple(sorted(days)), first, min(first + length, 1440))
    assert Window.from_text(window.text()) == window


@pytest.mark.parametrize(
    ("hour", "minute", "reason"),
    [
        (8, 59, "outside the windows"), (9, 0, ""), (15, 59, ""), (16, 0, "outside the windows"),
        (0, 0, "outside the windows"), (23, 59, "outside the windows"),
    ],
)  # fmt: skip
def test_i11_the_first_minute_counts_and_the_last_does_not(
    hour: int, minute: int, reason: str
) -> None:
    """On a Monday."""
    assert blocked_by(WORKDAYS, local(date(2026, 11, 23), hour, minute), (), True) == reason


@given(DATES, st.integers(0, 23), st.integers(0, 59))
def test_i11_outside_every_window_nobody_is_disconnected(day: date, hour: int, minute: int) -> None:
    """Any day, any minute; without a window, never."""
    is_open = day.weekday() <= 3 and 9 <= hour < 16
    assert (blocked_by(WORKDAYS, local(day, hour, minute), (), True) == "") is is_open
    assert blocked_by((), local(day, hour, minute), (), True) == "outside the windows"


@given(DATES, st.integers(-3, 3), st.booleans())
def test_i11_a_blocked_day_and_its_eve_block(day: date, away: int, is_eve_blocked: bool) -> None:
    """Over the ends of months and years; the eve only where it is wanted."""
    always = (Window(tuple(range(7)), 0, 1440),)
    holiday = number(day + timedelta(days=away))
    reason = {0: "a blocked day", 1: "the day before a blocked day" if is_eve_blocked else ""}
    found = blocked_by(always, local(day), (20000101, holiday), is_eve_blocked)
    if number(day) == 20000101:
        assert found == "a blocked day"
    else:
        assert found == reason.get(away, "")


def test_i11_the_eve_of_a_new_year_is_in_the_old_one() -> None:
    """31 December before a blocked 1 January."""
    always = (Window(tuple(range(7)), 0, 1440),)
    eve = (2026, 12, 31, 12, 0, 3)
    assert blocked_by(always, eve, (20270101,), True) == "the day before a blocked day"
    assert blocked_by(always, eve, (20270101,), False) == ""


def test_two_windows_are_one_or_the_other() -> None:
    """A morning and an afternoon."""
    both = (Window((0,), 540, 600), Window((0,), 840, 900))
    minutes = {hour for hour in range(24) if not blocked_by(both, (2026, 11, 23, hour, 0, 0), (),
                                                             True)}  # fmt: skip
    assert minutes == {9, 14}
