"""I24: the delay of a cut is geometric and within its most; I11: hours and days, by civil time."""

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest

from cloud.orders.hours import Hours
from cloud.orders.policy import ORDER_RULES, OrderPolicy
from cloud.orders.timing import MEAN_PART, delayed, geometric
from protocols.errors import SettingError
from protocols.settings import read_table
from tests.cloud.orders.conftest import Maker
from tests.cloud.orders.headend import DAY, HOUR, MINUTE, MONDAY_10

FRIDAY_10 = MONDAY_10 + 4 * DAY


def test_i24_the_delay_is_geometric() -> None:
    """The same factor from each tenth to the next, its mean a quarter of its most, nothing outside;
    20,000 draws of a seed."""
    chance, most, count = random.Random(42), 1800, 20_000
    drawn = [geometric(chance, most) for _ in range(count)]
    assert min(drawn) == 0 and max(drawn) <= most
    tenths = [sum(180 * n <= one < 180 * (n + 1) for one in drawn) for n in range(10)]
    ratios = [later / earlier for earlier, later in pairwise(tenths[:7])]
    expected = (1 - MEAN_PART / (most + MEAN_PART)) ** 180
    assert all(abs(one - expected) < 0.08 for one in ratios), ratios
    assert most / 5 < sum(drawn) / count < most / 3
    assert len(set(drawn)) > 1000


@pytest.mark.parametrize("most", [0, -1])
def test_no_delay(most: int) -> None:
    """When the setting says so."""
    assert geometric(random.Random(1), most) == 0


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53])
def test_the_ends_of_chance(uniform: float) -> None:
    """Whatever the generator gives."""

    class Fixed:
        def random(self) -> float:
            return uniform

    assert 0 <= geometric(Fixed(), 1800) <= 1800


def test_i24_a_delay_does_not_lead_out_of_the_hours() -> None:
    """It is drawn again, and at last left out; never past the latest moment."""
    chance = random.Random(7)
    for _ in range(500):
        at = delayed(chance, 0, 10**9, 1800, lambda at: at > 60_000)
        assert 0 <= at <= 60_000
        assert delayed(chance, 0, 30_000, 1800, lambda at: False) <= 30_000
    assert delayed(chance, 0, 10**9, 1800, lambda at: True) == 0


def test_i24_cuts_are_spread_and_restores_are_not_delayed(make: Maker) -> None:
    """Drawn before signing; two head ends of one seed draw the same."""
    times = []
    for _ in range(2):
        head = make(meters=60, jitter_s=1800, seed=11)
        for n in range(1, 51):
            head.cut(f"m{n:04d}")
        rows = head.ask("orders_list", {"name": "a", "roles": ["auditor"]})["orders"]
        times.append(sorted(one["not_before"] - head.now for one in rows))
        assert head.row(head.propose("m0060", action="arm")).not_before == head.now
    assert times[0] == times[1]
    assert times[0][0] >= 0 and times[0][-1] <= 1_800_000 and len(set(times[0])) > 40


# ---- I11 ---------------------------------------------------------------------------------------


def policy_of(base: Path, calendar: object = None, **fields: object) -> OrderPolicy:
    if calendar is not None:
        text = calendar if isinstance(calendar, str) else json.dumps(calendar)
        (base / "calendar.json").write_text(text)
        fields["calendar"] = "calendar.json"
    return OrderPolicy.from_table(read_table(fields, ORDER_RULES, "[orders]"), base)


KNOWN = {"until": "2025-12-31", "blocked": ["2025-12-25"]}


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (MONDAY_10, ""),
        (MONDAY_10 - HOUR, ""),
        (MONDAY_10 - HOUR - 1, "window: outside"),
        (MONDAY_10 + 6 * HOUR - 1, ""),
        (MONDAY_10 + 6 * HOUR, "window: outside"),
        (MONDAY_10 - 10 * HOUR, "window: outside"),  # midnight
        (MONDAY_10 + 3 * DAY, ""),
        (FRIDAY_10, "window: outside"),
        (MONDAY_10 + 5 * DAY, "window: outside"),
        (MONDAY_10 + 6 * DAY, "window: outside"),
        (MONDAY_10 + 30 * DAY, "window: the day before a blocked day"),
        (MONDAY_10 + 31 * DAY, "window: a blocked day"),
        (MONDAY_10 + 36 * DAY, ""),  # the 30th: the 31st is known
        (MONDAY_10 + 37 * DAY, "calendar-ended"),  # the 31st: its next day is not known
        (MONDAY_10 + 42 * DAY, "calendar-ended"),
    ],
)
def test_i11_hours_and_days(tmp_path: Path, at: int, why: str) -> None:
    """In the meters' civil time: night, Friday, weekend, holiday, its eve, the calendar's end."""
    found = Hours(policy_of(tmp_path, KNOWN)).blocked(at)
    assert found.startswith(why) and bool(found) == bool(why)


def test_i11_civil_time_is_the_meters(tmp_path: Path) -> None:
    """The same moment is night elsewhere; summer time moves the window with the clock."""
    hours = Hours(policy_of(tmp_path, KNOWN, timezone="America/New_York"))
    assert hours.blocked(MONDAY_10).startswith("window")
    berlin = Hours(
        policy_of(tmp_path, {"until": "2026-12-31", "blocked": []}, timezone="Europe/Berlin")
    )
    winter, summer = 1_769_414_400_000, 1_782_115_200_000  # Mondays, 08:00 UTC
    assert berlin.blocked(winter) == "" and berlin.blocked(summer) == ""
    assert berlin.blocked(winter - 1) and not berlin.blocked(summer - HOUR)


@pytest.mark.parametrize(
    "calendar",
    [
        None,
        "no json",
        "[]",
        {},
        {"until": "2025-12-31"},
        {"until": 20251231, "blocked": []},
        {"until": "2025-13-31", "blocked": []},
        {"until": "2025-12-31", "blocked": ["tomorrow"]},
        {"until": "2025-12-31", "blocked": "2025-12-25"},
        "x" * 70_000,
    ],
)
def test_i11_an_unknown_calendar_blocks(tmp_path: Path, calendar: object) -> None:
    """No file, or one that does not read: nobody is cut, and gateways are told that it is over."""
    hours = Hours(policy_of(tmp_path, calendar))
    assert hours.blocked(MONDAY_10).startswith("calendar-ended")
    assert (hours.known_until(), hours.days(MONDAY_10)) == (0, ())


def test_i11_the_calendar_is_read_again(tmp_path: Path) -> None:
    """A new year holds without a restart; a file that breaks blocks."""
    hours = Hours(policy_of(tmp_path, KNOWN))
    assert hours.blocked(MONDAY_10) == ""
    assert hours.known_until() == 1_767_196_800_000  # the end of the 31st in Shanghai
    (tmp_path / "calendar.json").write_text("{")
    assert hours.is_blocked(MONDAY_10)
    (tmp_path / "calendar.json").write_text(json.dumps(KNOWN | {"blocked": ["2025-11-24"]}))
    assert "a blocked day" in hours.blocked(MONDAY_10)
    (tmp_path / "calendar.json").unlink()
    assert hours.is_blocked(MONDAY_10)


def test_i11_what_is_approved_at_night_waits(make: Maker) -> None:
    """Signed when the window opens, within what was frozen; sent only while it is open."""
    head = make(jitter_s=1800, seed=2)
    head.world.clock.now = MONDAY_10 + 12 * HOUR
    shown = head.cut()
    assert (shown["state"], shown["waits"]) == ("approved", "window: outside the windows")
    head.pass_time(10 * HOUR + 50 * MINUTE)  # Tuesday 08:50
    assert head.state(shown) == "approved" and head.orders_heard() == []
    head.pass_time(50 * MINUTE)
    ((claims, _),) = head.orders_heard()
    assert claims.issued_at >= MONDAY_10 + 23 * HOUR


def test_i11_a_queued_cut_is_not_sent_after_hours(make: Maker) -> None:
    """A calendar that changes in between: blocked at the moment of sending."""
    head = make(jitter_s=1800, seed=5)
    shown = head.cut()
    head.calendar.write_text(json.dumps({"until": "2026-12-31", "blocked": ["2025-11-24"]}))
    head.pass_time(50 * MINUTE)
    assert head.orders_heard() == [] and head.state(shown) == "expired"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"timezone": "Mars/Base"}, "a time zone of this machine"),
        ({"windows": []}, "a list of days and hours"),
        ({"windows": ["Mon 9-16"]}, "a list of days and hours"),
        ({"lease_h": 0}, "a whole number from 1 to 168"),
        ({"jitter_s": 3601}, "from 0 to 3600"),
        ({"cuts_gateway_day_percent": 101}, "from 1 to 100"),
        ({"ceiling": 1}, "unknown key 'ceiling'"),
    ],
)
def test_a_policy_is_checked(tmp_path: Path, fields: dict, said: str) -> None:
    """One sentence."""
    with pytest.raises(SettingError, match=said):
        policy_of(tmp_path, **fields)
