"""The load behind a virtual meter: registers that move as a real consumer would move them."""

import math
import random

import pytest

from hil.load import DAY_MS, EPOCH_MS, HOUR_MS, TARIFF_BY_HOUR, Load

START_MS = EPOCH_MS + 400 * DAY_MS
ENERGIES = (1, 3, 9, 15, 16)


def test_total_energy_is_the_sum_of_the_tariffs_at_any_moment() -> None:
    load = Load(7)
    rng = random.Random(1)
    for now_ms in sorted(START_MS + rng.randrange(30 * DAY_MS) for _ in range(300)):
        shown = load.shown(now_ms)
        for c in ENERGIES:
            assert shown[c, 8, 0] == sum(shown[c, 8, tariff] or 0 for tariff in (1, 2, 3, 4))
            assert (shown[c, 8, 0] or 0) > 0


def test_no_energy_ever_falls_even_when_the_clock_is_set_back() -> None:
    load = Load(8)
    rng = random.Random(2)
    now_ms = START_MS
    before = load.shown(now_ms)
    for _ in range(500):
        now_ms += rng.randrange(-HOUR_MS, 2 * HOUR_MS)
        after = load.shown(now_ms)
        for key, value in before.items():
            if key[1] == 8:
                assert (after[key] or 0) >= (value or 0)
        before = after


def test_energy_is_the_integral_of_the_power_shown() -> None:
    load = Load(9)
    step_ms = 4_000
    begin = load.shown(START_MS)[1, 8, 0] or 0
    total_mj = 0  # a power in mW over ms gives microjoules; per step of s it gives millijoules
    for now_ms in range(START_MS, START_MS + DAY_MS, step_ms):
        total_mj += (load.shown(now_ms + step_ms // 2)[16, 7, 0] or 0) * step_ms // 1000
    grown_mwh = (load.shown(START_MS + DAY_MS)[1, 8, 0] or 0) - begin
    assert grown_mwh == pytest.approx(total_mj / 3600, rel=0.002)


def test_a_reading_depends_on_seed_and_time_only() -> None:
    often, once = Load(10), Load(10)
    for minute in range(0, 600, 7):
        often.shown(START_MS + minute * 60_000)
    late_ms = START_MS + 601 * 60_000
    assert often.shown(late_ms) == once.shown(late_ms)
    assert often.shown(late_ms) != Load(11).shown(late_ms)


@pytest.mark.parametrize("hour", range(24))
def test_only_the_rate_of_the_hour_grows(hour: int) -> None:
    load = Load(12, energy_step_wh=1)
    begin_ms = START_MS + hour * HOUR_MS
    before, after = load.shown(begin_ms), load.shown(begin_ms + HOUR_MS - 1)
    grown = [rate for rate in (1, 2, 3, 4) if after[1, 8, rate] != before[1, 8, rate]]
    assert grown == [TARIFF_BY_HOUR[hour]]


def test_the_rate_follows_the_meters_own_clock() -> None:
    load = Load(12, energy_step_wh=1, utc_offset_ms=8 * HOUR_MS)
    begin_ms = START_MS + 19 * HOUR_MS - 8 * HOUR_MS
    before, after = load.shown(begin_ms), load.shown(begin_ms + HOUR_MS)
    assert TARIFF_BY_HOUR[19] == 1
    assert [r for r in (1, 2, 3, 4) if after[1, 8, r] != before[1, 8, r]] == [1]


def test_fewer_rates_share_the_whole_energy() -> None:
    for tariffs in (0, 1, 2, 3):
        shown = Load(13, 3, tariffs).shown(START_MS)
        kept = {e for (c, d, e) in shown if (c, d) == (1, 8)}
        assert kept == set(range(tariffs + 1))
        if tariffs:
            rates = [shown[1, 8, e] or 0 for e in range(1, tariffs + 1)]
            assert shown[1, 8, 0] == sum(rates) and min(rates) > 0


def test_the_values_of_a_phase_belong_together() -> None:
    load = Load(14)
    for minute in range(0, 1440, 13):
        shown = load.shown(START_MS + minute * 60_000)
        powers = []
        for index in range(3):
            c = index * 20
            u, i, p, q, s, factor = (
                (shown[code + c, 7, 0] or 0) / 1000 for code in (32, 31, 36, 151, 29, 33)
            )
            assert 200 < u < 250 and 200 <= p <= 3000
            assert s == pytest.approx(u * i, abs=0.1)
            assert p == pytest.approx(s * factor, abs=0.0006 * s)
            assert s == pytest.approx(math.hypot(p, q), abs=0.1)
            powers.append(p)
        assert (shown[16, 7, 0] or 0) / 1000 == pytest.approx(sum(powers), abs=1e-6)
        assert 49_900 < (shown[14, 7, 0] or 0) < 50_100


def test_power_stays_in_its_range_and_varies() -> None:
    load = Load(15, power_w=(1000, 1200))
    powers = {load.shown(START_MS + minute * 60_000)[36, 7, 0] or 0 for minute in range(0, 1440, 5)}
    assert min(powers) >= 1_000_000 and max(powers) <= 1_200_000
    assert len(powers) > 100


def test_midnight_makes_no_jump() -> None:
    load = Load(16)
    before, after = (load.shown(START_MS + DAY_MS + ms) for ms in (-1, 0))
    for c in (36, 56, 76):
        assert abs((before[c, 7, 0] or 0) - (after[c, 7, 0] or 0)) <= 1000  # mW


def test_absent_phases_have_no_value_and_present_ones_carry_all() -> None:
    shown = Load(16, phases=1).shown(START_MS)
    assert [shown[c, 7, 0] is None for c in (32, 52, 72)] == [False, True, True]
    assert shown[41, 8, 0] is None
    assert shown[16, 7, 0] == shown[36, 7, 0]
    assert shown[91, 7, 0] == shown[31, 7, 0]  # what flows in comes back through the neutral
