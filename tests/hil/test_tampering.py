"""Theft and faults of metering: registers never fall, and every missing Wh has its cause."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.course import SLOT_MS, Course, CourseLoad, DailyCourse, energy_wh
from hil.generation import Generation
from hil.load import DAY_MS, EPOCH_MS, HOUR_MS, Load
from hil.meter import Dlt645Meter
from hil.tampering import BYPASS, KINDS, MAGNET, REVERSED, Metered, Tampering
from tests.hil.masters import FakeClock, shown

SLOTS = 20 * DAY_MS // SLOT_MS
NET = 16  # OBIS C of the only energy that may fall


@st.composite
def tamperings(draw: st.DrawFn) -> Tampering:
    begin, length = draw(st.integers(0, SLOTS)), draw(st.none() | st.integers(1, SLOTS))
    begin_ms = EPOCH_MS + begin * SLOT_MS
    return Tampering(
        draw(st.sampled_from(KINDS)),
        draw(st.integers(1, 100)),
        draw(st.integers(0, 3)),
        begin_ms,
        None if length is None else begin_ms + length * SLOT_MS,
    )


def course(seed: int = 1, plant_w: int = 0) -> Course:
    use = DailyCourse(Load(seed, 3), 3)
    return Generation(use, plant_w, seed) if plant_w else use


@given(
    st.integers(0, 100),
    st.sampled_from([0, 20_000]),
    st.lists(tamperings(), max_size=4),
    st.lists(st.integers(0, SLOTS * SLOT_MS), min_size=2, max_size=8),
)
@settings(max_examples=50, deadline=None)
def test_no_register_falls_under_any_theft(
    seed: int, plant_w: int, done: list[Tampering], moments: list[int]
) -> None:
    load = CourseLoad(Metered(course(seed, plant_w), done), seed)
    history = [load.shown(EPOCH_MS + ms) for ms in sorted(moments)]
    for before, after in pairwise(history):
        for key, value in before.items():
            if key[1] == 8 and key[0] != NET:
                assert (after[key] or 0) >= (value or 0), key
        for c in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 16):
            assert after[c, 8, 0] == sum(after[c, 8, rate] or 0 for rate in (1, 2, 3, 4))


@given(
    st.integers(0, 100),
    st.sampled_from([0, 20_000]),
    st.lists(tamperings(), max_size=4),
    st.integers(0, 5 * DAY_MS),
    st.integers(0, 5 * DAY_MS),
)
@settings(max_examples=50, deadline=None)
def test_the_causes_are_the_whole_difference(
    seed: int, plant_w: int, done: list[Tampering], begin: int, length: int
) -> None:
    true = course(seed, plant_w)
    metered = Metered(true, done)
    begin_ms, end_ms = EPOCH_MS + begin, EPOCH_MS + begin + length
    passed, counted = (
        one - other
        for one, other in (energy_wh(true, begin_ms, end_ms), energy_wh(metered, begin_ms, end_ms))
    )
    missing = metered.missing_wh(begin_ms, end_ms)
    assert set(missing) == {one.kind for one in done}
    assert sum(missing.values()) == pytest.approx(passed - counted, abs=1e-4)


def grown(load: CourseLoad, begin_ms: int, end_ms: int) -> dict[int, float]:
    """OBIS C -> kWh x 1000 that a meter counted."""
    before, after = load.shown(begin_ms), load.shown(end_ms)
    return {
        c: ((after[c, 8, 0] or 0) - (before[c, 8, 0] or 0)) / 1000
        for c in (1, 2, 21, 22, 41, 42, 61, 62)
    }


def test_a_bypass_starts_at_its_moment_and_keeps_its_share() -> None:
    begin_ms = EPOCH_MS + 3 * DAY_MS + 6 * HOUR_MS
    true = course(4)
    thief = Metered(true, [Tampering(BYPASS, 30, 0, begin_ms)])
    assert energy_wh(thief, EPOCH_MS, begin_ms) == energy_wh(true, EPOCH_MS, begin_ms)
    after = begin_ms + 3 * DAY_MS
    assert energy_wh(thief, begin_ms, after)[0] == pytest.approx(
        0.7 * energy_wh(true, begin_ms, after)[0]
    )


def test_a_magnet_counts_less_while_it_is_there_and_shows_nothing() -> None:
    begin_ms, end_ms = EPOCH_MS + DAY_MS, EPOCH_MS + 2 * DAY_MS
    true = course(4)
    load = CourseLoad(Metered(true, [Tampering(MAGNET, 80, 0, begin_ms, end_ms)]), 4)
    for day, part in enumerate((1.0, 0.2, 1.0)):
        first_ms = EPOCH_MS + day * DAY_MS
        true_wh = energy_wh(true, first_ms, first_ms + DAY_MS)[0]
        counted = grown(load, first_ms, first_ms + DAY_MS)
        assert counted[1] == pytest.approx(part * true_wh, abs=41) and counted[2] == 0
    meter = Dlt645Meter("000000000161", load, FakeClock(end_ms - HOUR_MS))
    assert shown(meter, "040005FF") == [0] * 7


def test_one_reversed_phase_of_three_makes_the_import_too_small() -> None:
    """The sum of the phases loses it twice; its own register of export shows where it went."""
    true = course(5)
    load = CourseLoad(Metered(true, [Tampering(REVERSED, phase=2)]), 5, energy_step_wh=1)
    honest = grown(CourseLoad(true, 5, energy_step_wh=1), EPOCH_MS, EPOCH_MS + DAY_MS)
    seen = grown(load, EPOCH_MS, EPOCH_MS + DAY_MS)
    assert (seen[21], seen[61]) == (honest[21], honest[61])
    assert (seen[41], seen[42]) == (0, honest[41]) and honest[41] > 1000
    assert seen[1] - seen[2] == pytest.approx(honest[1] - 2 * honest[41], abs=10)


def test_a_reversed_phase_is_told_by_signs_and_status_words() -> None:
    clock = FakeClock(EPOCH_MS + DAY_MS + 5 * HOUR_MS)
    begin_ms = EPOCH_MS + DAY_MS
    end_ms = EPOCH_MS + 2 * DAY_MS
    done = [Tampering(REVERSED, phase=3, begin_ms=begin_ms, end_ms=end_ms)]
    meter = Dlt645Meter("000000000161", CourseLoad(Metered(course(1), done), 1), clock)
    total, *phases = shown(meter, "0203FF00")
    assert phases[0] > 0 and phases[1] > 0 and phases[2] < 0
    assert abs(total - sum(phases)) <= 3
    bits = [shown(meter, f"0400050{word}")[0] for word in range(1, 8)]
    assert bits[1] == 1 << 2 | 1 << 6 and bits[3:6] == [0, 0, 1 << 6] and not bits[2]
    clock.now_ms = end_ms
    unbalance = 1 << 3  # of word 7: each phase has a load of its own
    assert [shown(meter, f"0400050{word}")[0] for word in range(1, 8)] == [0] * 6 + [unbalance]


def test_a_reversed_meter_of_one_phase_counts_the_other_way() -> None:
    use = DailyCourse(Load(6, 1), 1)
    begin_ms = EPOCH_MS + DAY_MS
    load = CourseLoad(Metered(use, [Tampering(REVERSED, 50, 1, begin_ms)]), 6, energy_step_wh=1)
    true_wh = energy_wh(use, begin_ms, begin_ms + DAY_MS)[0]
    seen = grown(load, begin_ms, begin_ms + DAY_MS)
    assert seen[1] == 0 and seen[2] == pytest.approx(true_wh, abs=4)
    clock = FakeClock(begin_ms + HOUR_MS)
    meter = Dlt645Meter("000000000161", load, clock)
    assert shown(meter, "04000501") == [1 << 4 | 1 << 5]


def test_a_pinned_status_word_hides_the_direction() -> None:
    done = [Tampering(REVERSED)]
    load = CourseLoad(Metered(course(1), done), 1)
    meter = Dlt645Meter("000000000161", load, FakeClock(EPOCH_MS + DAY_MS))
    meter.pin("04000502", 0)
    assert shown(meter, "04000502") == [0] and shown(meter, "04000501") != [0]


def test_each_cause_has_its_own_share_where_all_apply() -> None:
    """Of 1000 W the meter sees 600, then -600, then -300: 400, 1200 and -300 are not counted."""
    done = [Tampering(MAGNET, 50), Tampering(REVERSED), Tampering(BYPASS, 40)]
    use = DailyCourse(Load(6, 1, power_w=(999, 1001)), 1)
    true_wh = energy_wh(use, EPOCH_MS, EPOCH_MS + DAY_MS)[0]
    missing = Metered(use, done).missing_wh(EPOCH_MS, EPOCH_MS + DAY_MS)
    shares = {kind: wh / true_wh for kind, wh in missing.items()}
    assert shares == pytest.approx({BYPASS: 0.4, REVERSED: 1.2, MAGNET: -0.3})
