"""protocols/dlt645/clock.py: a meter's time as it travels."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645.clock import MeterTime, days_of_month, time_from_bytes
from protocols.errors import CallerError, ValueFormatError

# A meter knows no zone, and neither do these.
MOMENTS = st.datetimes(
    datetime.datetime(2000, 1, 1),  # noqa: DTZ001
    datetime.datetime(2099, 12, 31, 23, 59, 59),  # noqa: DTZ001
)


def meter_time(moment: datetime.datetime) -> MeterTime:
    """The same moment as a meter has it."""
    return MeterTime(*moment.timetuple()[:6])


@given(MOMENTS)
def test_every_moment_of_the_century_comes_back(moment: datetime.datetime) -> None:
    """Six BCD bytes, seconds first; the calendar is Python's."""
    time = meter_time(moment)
    assert time.is_valid()
    assert time.to_bytes().hex() == moment.strftime("%S%M%H%d%m%y")
    assert time.text() == moment.strftime("%Y-%m-%dT%H:%M:%S")
    again = time_from_bytes(time.to_bytes())
    assert again == time
    assert type(again) is MeterTime


@pytest.mark.parametrize("year", range(2000, 2100))
def test_every_month_has_its_days(year: int) -> None:
    """Python's calendar says so."""
    for month in range(1, 13):
        after = datetime.date(year + month // 12, month % 12 + 1, 1)
        last = (after - datetime.timedelta(days=1)).day
        assert days_of_month(year, month) == last
        assert MeterTime(year, month, last, 0, 0, 0).is_valid()
        assert not MeterTime(year, month, last + 1, 0, 0, 0).is_valid()


@given(st.binary(min_size=6, max_size=6))
def test_six_bytes_are_a_time_none_or_refused(data: bytes) -> None:
    """The fuzz sentence of the clock: what is accepted goes back to the same bytes."""
    try:
        moment = time_from_bytes(data)
    except ValueFormatError:
        return
    assert moment is None if data == bytes(6) else moment.to_bytes() == data


@pytest.mark.parametrize(
    "data", ["60 00 00 01 01 26", "00 60 00 01 01 26", "00 00 24 01 01 26", "00 00 00 00 01 26",
             "00 00 00 32 01 26", "00 00 00 31 04 26", "00 00 00 29 02 26", "00 00 00 01 13 26",
             "00 00 00 01 00 26", "0A 00 00 01 01 26", "00 00 00 01 01 A6", "FF FF FF FF FF FF"]
)  # fmt: skip
def test_what_is_no_moment_is_refused(data: str) -> None:
    """Ranges, the day in its month, digits above 9, fill."""
    with pytest.raises(ValueFormatError):
        time_from_bytes(bytes.fromhex(data))


def test_a_time_that_does_not_exist_has_no_wire_form() -> None:
    """CallerError says which."""
    with pytest.raises(CallerError, match=r"^2026-02-29T00:00:00 is no time from 2000 to 2099$"):
        MeterTime(2026, 2, 29, 0, 0, 0).to_bytes()
