"""protocols/orders/calendar.py: days as integers, against the library of CPython."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.orders.calendar import day_after, day_of, days_of, is_day, parts_of

DATES = st.dates(date(2000, 1, 1), date(2199, 12, 30))


def number(day: date) -> int:
    """yyyymmdd."""
    return int(day.strftime("%Y%m%d"))


@given(DATES)
def test_a_day_has_a_number_and_a_day_after(day: date) -> None:
    """Leap years and ends of years included."""
    assert day_of(day.year, day.month, day.day) == number(day)
    assert parts_of(number(day)) == (day.year, day.month, day.day)
    assert is_day(number(day))
    assert day_after(number(day)) == number(day + timedelta(days=1))


@pytest.mark.parametrize(
    "value",
    [
        0, -20260101, 20260100, 20260132, 20260001, 20261301, 20260229, 21000229, 19991231,
        22000101, 260101, 202601011, True, "20260101", 20260101.0, None, b"", [],
    ],
)  # fmt: skip
def test_what_is_no_day_is_none(value: Any) -> None:
    """A date that does not exist blocks nothing, so it is refused."""
    assert not is_day(value)


@given(st.integers(0, 30_000_000))
def test_exactly_the_days_of_the_calendar_are_days(value: int) -> None:
    """Compared with the library."""
    year, month, day = parts_of(value)
    try:
        exists = bool(date(year, month, day)) and 2000 <= year <= 2199
    except ValueError:
        exists = False
    assert is_day(value) is exists


@pytest.mark.parametrize(("year", "days"), [(2000, 29), (2023, 28), (2024, 29), (2100, 28)])
def test_february_follows_the_gregorian_rule(year: int, days: int) -> None:
    """Every fourth year, but not every hundredth, but every four hundredth."""
    assert days_of(year, 2) == days
