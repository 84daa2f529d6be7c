"""The sum law: a totaliser counts what its consumers truly draw, and what the lines lose."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.course import Course, CourseLoad, DailyCourse
from hil.feeder import Feeder
from hil.generation import Generation
from hil.load import DAY_MS, EPOCH_MS, HOUR_MS, Flow, Load
from hil.profile import ProfileUse, read_profile
from hil.scenario import read_scenario, shipped_scenarios
from hil.tampering import Metered, Tampering
from hil.world import World
from tests.hil.masters import FakeClock

OWN = read_profile(shipped_scenarios()["street.toml"].with_name("household.csv"))
SPAN_MS = 40 * DAY_MS


class Steady:
    """The same flow for ever."""

    def __init__(self, *flows: Flow) -> None:
        self.phases = len(flows)
        self._flows = flows

    def flows(self, slot: int) -> tuple[Flow, ...]:
        return self._flows


def grown_wh(course: Course, ms: int, ratio: int = 1) -> float:
    """Net energy that a meter with a last digit of 1 Wh has counted after `ms`."""
    load = CourseLoad(course, 1, 0, energy_step_wh=1, ratio=ratio)
    first, last = load.shown(EPOCH_MS), load.shown(EPOCH_MS + ms)
    net = [(last[c, 8, 0] or 0) - (first[c, 8, 0] or 0) for c in (1, 2)]
    return (net[0] - net[1]) / 1000


def households(seed: int, plant_w: int = 0) -> list[Course]:
    """Profiles of one phase, one of three, a synthetic load, and a plant."""
    return [
        *(ProfileUse(OWN, seed + number) for number in range(4)),
        ProfileUse(OWN, seed + 9, phases=3),
        DailyCourse(Load(seed, 2), 2),
        Generation(ProfileUse(OWN, seed + 8), plant_w, seed),
    ]


@given(st.integers(0, 1000), st.integers(0, SPAN_MS), st.integers(0, 30_000), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_the_totaliser_is_the_sum_and_the_loss_at_any_moment(
    seed: int, ms: int, plant_w: int, phases: int
) -> None:
    """Meters of their own, each cut to 1 Wh in each direction, against the totaliser."""
    members = households(seed, plant_w)
    feeder = Feeder(members, phases, 0.1, 50)
    lost_wh = feeder.loss_wh(EPOCH_MS, EPOCH_MS + ms)
    summed_wh = sum(grown_wh(member, ms) for member in members)
    assert abs(grown_wh(feeder, ms) - summed_wh - lost_wh) <= len(members) + 1
    assert lost_wh >= 50 * ms / HOUR_MS - 1e-6


def test_the_loss_is_that_of_ohms_law() -> None:
    """10 A in one phase and 20 A in another through 0.5 ohm, and 30 W always."""
    feeder = Feeder([Steady((2300, 0)), Steady((0, 4600))], 3, 0.5, 30)
    assert feeder.flows(0) == ((2300 + 50 + 10, 0), (200 + 10, 4600), (10, 0))
    assert feeder.loss_wh(EPOCH_MS, EPOCH_MS + 2 * HOUR_MS) == pytest.approx(560)
    twice = Feeder([Steady((4600, 0))], 1, 0.5, 0)
    assert twice.loss_wh(EPOCH_MS, EPOCH_MS + HOUR_MS) == pytest.approx(200)


def test_consumers_of_one_phase_are_dealt_out() -> None:
    members = [Steady((100, 1)), Steady((10, 0), (20, 0), (30, 0)), Steady((200, 2))]
    assert Feeder(members, 3).flows(5) == ((130, 1), (210, 2), (20, 0))
    assert Feeder(members, 1).flows(5) == ((360, 3),)


def test_a_theft_behind_it_changes_nothing_for_the_totaliser() -> None:
    house = ProfileUse(OWN, 1)
    thief = Metered(house, [Tampering("bypass", 60)])
    day_ms = 30 * DAY_MS
    assert grown_wh(Feeder([house], 1), day_ms) - grown_wh(thief, day_ms) == pytest.approx(
        0.6 * grown_wh(house, day_ms), abs=2
    )


def test_neighbours_export_is_not_seen_as_import() -> None:
    """What one makes the other uses: the totaliser counts the rest, and only that."""
    feeder = Feeder([Steady((-1000, 0)), Steady((1500, 0))], 1)
    load = CourseLoad(feeder, 1, 0, energy_step_wh=1)
    first, last = load.shown(EPOCH_MS), load.shown(EPOCH_MS + HOUR_MS)
    assert [((last[c, 8, 0] or 0) - (first[c, 8, 0] or 0)) // 1000 for c in (1, 2)] == [500, 0]


def test_transformers_divide_power_current_and_growth() -> None:
    feeder = Feeder(households(3), 3)
    plain, behind = CourseLoad(feeder, 1), CourseLoad(feeder, 1, ratio=40)
    now_ms = EPOCH_MS + 5 * DAY_MS
    for c in (16, 36, 31):
        expected = (plain.shown(now_ms)[c, 7, 0] or 0) / 40
        assert behind.shown(now_ms)[c, 7, 0] == pytest.approx(expected, abs=100)
    assert behind.shown(now_ms)[32, 7, 0] == plain.shown(now_ms)[32, 7, 0]
    assert grown_wh(feeder, 5 * DAY_MS, 40) == pytest.approx(
        grown_wh(feeder, 5 * DAY_MS) / 40, abs=1
    )


def test_a_stepped_load_has_the_energy_of_the_smooth_one() -> None:
    """Within each slot it is the mean; at each slot's end nothing is missing."""
    smooth = Load(5, 3, 0, energy_step_wh=1)
    stepped = DailyCourse(Load(5, 3, 0), 3)
    for quarters in (1, 50, 96, 1000):
        ms = quarters * 900_000
        grown = (smooth.shown(EPOCH_MS + ms)[1, 8, 0] or 0) / 1000
        first = (Load(5, 3, 0, energy_step_wh=1).shown(EPOCH_MS)[1, 8, 0] or 0) / 1000
        assert grown - first == pytest.approx(grown_wh(stepped, ms), abs=1.001)


def test_a_street_adds_up_as_its_file_says(tmp_path: Path) -> None:
    """The shipped street: true energies, loss, theft and plant, over two months."""
    scenario = read_scenario(shipped_scenarios()["street.toml"], 7, tmp_path)
    world = World(scenario, FakeClock())
    begin_ms = EPOCH_MS + 365 * DAY_MS + 1_234_567
    truth = world.truth(begin_ms, begin_ms + 60 * DAY_MS)
    totaliser = truth.pop("west/000000000100")
    assert len(truth) == 20 and totaliser.loss_wh is not None
    true_wh = sum(one.import_wh - one.export_wh for one in truth.values())
    assert totaliser.import_wh - totaliser.export_wh == pytest.approx(true_wh + totaliser.loss_wh)
    assert 0.01 < totaliser.loss_wh / totaliser.import_wh < 0.2
    assert [name for name, one in truth.items() if one.export_wh] == ["east/000000000114"]
    short = {
        name: one.import_wh - one.metered_import_wh
        for name, one in truth.items()
        if one.import_wh != one.metered_import_wh
    }
    assert list(short) == ["west/000000000107"]
    thief = truth["west/000000000107"]
    assert thief.missing_wh == {"bypass": pytest.approx(short["west/000000000107"])}
    assert 0.2 < thief.missing_wh["bypass"] / thief.import_wh < 0.3  # half, in half of the time
