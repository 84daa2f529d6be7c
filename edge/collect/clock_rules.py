"""When a meter's clock may be corrected: the one table of reasons against it.

* Its error is more than 30 s and at most 290 s: below it hardly matters, and a meter refuses more
  than 5 min without a word.
* Never across a change of date, nor within 5 min of an hour mark (settlements are on one), of a
  freeze of the meter, or of a switch of its tables: none may be skipped or happen twice.
* Once per meter and civil day, and not again when two corrections in a month did not hold: such a
  clock is faulty.
* Only with a good time of our own, and only where the gateway's signed policy permits it.

The limits are those of public meter firmware and of a grid company's rule for such meters; the
text of the standard was not available.
"""

from typing import NamedTuple

from edge.collect.meter_time import DAY_MS, HOUR_MS, MINUTE_MS, local_ms

TOLERATED_MS = 30_000
CORRECTED_MS_MAX = 290_000
FAULTY_MS = 300_000
DISTANCE_MS = 300_000  # to hour marks, freezes and switches
MONTH_MS = 31 * DAY_MS
SETS_MAX = 2  # in a month

# Where a meter says when it acts, besides its settlements.
DAILY_FREEZE = "04001203"
HOURLY_FREEZE_START = "04001201"
HOURLY_FREEZE_INTERVAL = "04001202"
SWITCHES = ("04000106", "04000107", "04000108", "04000109")


class Instants(NamedTuple):
    """When the meter acts, as local ms: (period, phase) of what recurs, and single moments."""

    recurring: tuple[tuple[int, int], ...] = ()
    single: tuple[int, ...] = ()


def is_drift_told(drift_ms: int, told_ms: int | None, ago_ms: int) -> bool:
    """Whether a clock that is off so much has been told of; again when it changes by as much as is
    tolerated, and daily."""
    if told_ms is None:
        return False
    return abs(drift_ms - told_ms) < TOLERATED_MS and 0 <= ago_ms < DAY_MS


def is_correctable(drift_ms: int) -> bool:
    """Whether the error is large enough, and not too large."""
    return TOLERATED_MS < abs(drift_ms) <= CORRECTED_MS_MAX


def day_of(utc_ms: int, offset_min: int) -> int:
    """The civil day at the meter, as a number."""
    return local_ms(utc_ms, offset_min) // DAY_MS


def recent_sets(sets: list[int], utc_ms: int) -> list[int]:
    """Corrections of the last month."""
    return [one for one in sets if utc_ms - MONTH_MS < one]


def is_quiet(drift_ms: int, utc_ms: int, offset_min: int, instants: Instants) -> bool:
    """Whether nothing happens at the meter between its time and ours, nor near them."""
    now = local_ms(utc_ms, offset_min)
    low, high = sorted((now, now + drift_ms))
    if low // DAY_MS != high // DAY_MS:
        return False
    low, high = low - DISTANCE_MS, high + DISTANCE_MS
    recurring = ((HOUR_MS, 0), *instants.recurring)
    return not any(_is_between(low, high, *one) for one in recurring) and not any(
        low < one < high for one in instants.single
    )


def _is_between(low: int, high: int, period: int, phase: int) -> bool:
    """Whether phase + n × period lies strictly between."""
    return (high - phase - 1) // period > (low - phase) // period


def daily(clock: str) -> tuple[int, int]:
    """What recurs each day at `hh:mm`."""
    hours, minutes = clock.split(":")
    return DAY_MS, int(hours) * HOUR_MS + int(minutes) * MINUTE_MS
