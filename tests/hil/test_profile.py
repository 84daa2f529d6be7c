"""Interval data replayed by virtual meters: what the file says is what the meter counts."""

import csv
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.course import SLOT_MS, CourseLoad, energy_wh
from hil.load import DAY_MS, EPOCH_MS, HOUR_MS, TARIFF_BY_HOUR
from hil.profile import ProfileUse, read_profile
from hil.scenario import shipped_scenarios
from protocols.errors import SettingError

OWN = shipped_scenarios()["street.toml"].with_name("household.csv")
REAL = Path(__file__).parents[3] / "shared" / "data" / "lcl-household-half-hourly.csv"
HEADER = "interval_start_local,kwh\n"


@pytest.fixture(params=[OWN, REAL], ids=["own", "real"])
def data(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    if not path.is_file():
        pytest.skip("the real interval data are not on this machine")
    return path


def rows_of(path: Path) -> list[tuple[datetime, float]]:
    """Read apart from the module under test."""
    with path.open() as file:
        return [
            (datetime.fromisoformat(row["interval_start_local"]), float(row["kwh"]))
            for row in csv.DictReader(file)
        ]


def parse(tmp_path: Path, text: str) -> tuple[float, ...]:
    path = tmp_path / "use.csv"
    path.write_text(text)
    return read_profile(path).powers_w


def test_a_whole_turn_is_the_files_sum(data: Path) -> None:
    profile = read_profile(data)
    use = ProfileUse(profile, 3, shift_days=5, scale=2.0)
    turn_ms = profile.days * DAY_MS
    whole_wh = 2000 * sum(kwh for _, kwh in rows_of(data))
    for begin_ms in (EPOCH_MS, EPOCH_MS + 11 * HOUR_MS + 123_456):
        assert energy_wh(use, begin_ms, begin_ms + turn_ms) == (pytest.approx(whole_wh), 0)


def test_every_day_of_the_file_comes_at_its_shifted_day(data: Path) -> None:
    rows = rows_of(data)
    by_day: dict[int, float] = {}
    for start, kwh in rows:
        day = (start.date() - rows[0][0].date()).days
        by_day[day] = by_day.get(day, 0.0) + kwh * 1000
    profile = read_profile(data)
    use = ProfileUse(profile, 1, shift_days=3, scale=1.0)
    for day in range(profile.days + 3):
        begin_ms = EPOCH_MS + day * DAY_MS
        expected = by_day.get((day + 3) % profile.days, 0.0)
        assert energy_wh(use, begin_ms, begin_ms + DAY_MS)[0] == pytest.approx(expected), day


def test_a_gap_is_no_use(tmp_path: Path) -> None:
    powers = parse(
        tmp_path,
        HEADER + "2026-01-01 22:30:00,0.5\n2026-01-01 23:00:00,0.25\n2026-01-03 00:30:00,1.0\n",
    )
    assert len(powers) == 3 * 96
    used = {at: power for at, power in enumerate(powers) if power}
    assert used == {90: 1000.0, 91: 1000.0, 92: 500.0, 93: 500.0, 194: 2000.0, 195: 2000.0}


@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_each_grid_keeps_its_energy(tmp_path: Path, minutes: int) -> None:
    rows = [f"2026-01-01 {m // 60:02d}:{m % 60:02d}:00,0.1\n" for m in range(0, 1440, minutes)]
    powers = parse(tmp_path, HEADER + "".join(rows))
    assert sum(powers) / 4 == pytest.approx(100 * len(rows))


@given(st.lists(st.integers(0, 20 * DAY_MS), min_size=2, max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_meters_register_is_the_integral_at_any_moment(moments: list[int]) -> None:
    profile = read_profile(OWN)
    use = ProfileUse(profile, 9, phases=3)
    load = CourseLoad(use, 9, 0, energy_step_wh=1)
    first = load.shown(EPOCH_MS)[1, 8, 0] or 0
    before = 0
    for ms in sorted(moments):
        shown = load.shown(EPOCH_MS + ms)
        grown_wh = ((shown[1, 8, 0] or 0) - first) / 1000
        true_wh = energy_wh(use, EPOCH_MS, EPOCH_MS + ms)[0]
        assert grown_wh <= true_wh + 1e-6 and true_wh - grown_wh < 1 + 1e-6
        assert grown_wh >= before
        phases = sum(shown[c, 8, 0] or 0 for c in (21, 41, 61)) / 1000
        assert abs((shown[1, 8, 0] or 0) / 1000 - phases) <= 3
        before = int(grown_wh)


def test_rates_take_what_falls_into_their_hours_of_local_time() -> None:
    offset_ms = 8 * HOUR_MS
    use = ProfileUse(read_profile(OWN), 4, utc_offset_ms=offset_ms)
    load = CourseLoad(use, 4, energy_step_wh=1, utc_offset_ms=offset_ms)
    local_midnight_ms = EPOCH_MS + 9 * DAY_MS - offset_ms
    for hour in range(24):
        begin_ms = local_midnight_ms + hour * HOUR_MS
        before, after = load.shown(begin_ms), load.shown(begin_ms + HOUR_MS)
        grown = [rate for rate in (1, 2, 3, 4) if after[1, 8, rate] != before[1, 8, rate]]
        assert grown == [TARIFF_BY_HOUR[hour]]
        assert after[1, 8, 0] == sum(after[1, 8, rate] or 0 for rate in (1, 2, 3, 4))


def test_local_evening_is_the_files_evening() -> None:
    """The use of 19 h in the file is that of 19 h on the meter's clock."""
    profile = read_profile(OWN)
    use = ProfileUse(profile, 4, shift_days=0, scale=1.0, utc_offset_ms=8 * HOUR_MS)
    slot = (19 - 8) * 4
    assert use.flows(slot)[0][0] == pytest.approx(profile.powers_w[19 * 4])


def test_seeds_differ_and_repeat() -> None:
    profile = read_profile(OWN)
    uses = [ProfileUse(profile, seed) for seed in (1, 2, 3, 4, 5, 6, 1)]
    assert len({one.scale for one in uses}) == 6
    assert len({one.shift_days for one in uses}) > 1
    assert all(one.shift_days % 7 == 0 and 0.7 <= one.scale <= 1.3 for one in uses)
    assert [uses[0].flows(slot) for slot in range(200)] == [
        uses[-1].flows(slot) for slot in range(200)
    ]


def test_the_values_of_a_moment_fit_together() -> None:
    use = ProfileUse(read_profile(OWN), 2, phases=1)
    load = CourseLoad(use, 2)
    for slot in range(0, 96, 5):
        shown = load.shown(EPOCH_MS + slot * SLOT_MS + 1)
        u, i, p, q, s, factor = ((shown[c, 7, 0] or 0) / 1000 for c in (32, 31, 36, 151, 29, 33))
        assert p == pytest.approx(use.flows(slot)[0][0], abs=0.06)
        assert s == pytest.approx(u * i, abs=0.2)
        assert s**2 == pytest.approx(p**2 + q**2, rel=0.01)
        assert factor == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "its intervals are 0:00:00; they must be 15, 30 or 60 min"),
        ("time,kwh\n", "line 1 must be interval_start_local,kwh"),
        (HEADER + "2026-01-01 00:00:00,0.1\n", "they must be 15, 30 or 60 min"),
        (HEADER + "2026-01-01 00:00:00,x\n", "line 2: '2026-01-01 00:00:00,x' is not"),
        (HEADER + "2026-01-01 00:00:00,-0.1\n", "line 2"),
        (HEADER + "2026-01-01 00:00:00,nan\n", "line 2"),
        (HEADER + "2026-01-01 00:00:00,inf\n", "line 2"),
        (HEADER + "2026-01-01T00:00:00Z,1\n", "line 2"),
        (HEADER + "2026-01-01 00:00:00\n", "line 2"),
        (HEADER + "2026-01-01 00:30:00,1\n2026-01-01 00:00:00,1\n", "line 3"),
        (HEADER + "2026-01-01 00:00:00,1\n2026-01-01 00:00:00,1\n", "line 3"),
        (HEADER + "2026-01-01 00:00:00,1\n2026-01-01 00:20:00,1\n", "0:20:00"),
        (
            HEADER + "2026-01-01 00:00:00,1\n2026-01-01 00:30:00,1\n2026-01-01 01:15:00,1\n",
            "2026-01-01 01:15:00 is not on the grid",
        ),
    ],
)
def test_a_wrong_file_gets_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "use.csv"))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        read_profile(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingError, match="is not CSV"):
        read_profile(tmp_path / "bytes.csv")
