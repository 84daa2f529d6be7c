"""A plant behind a meter: what is exported is never counted as import."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.course import SLOT_MS, CourseLoad, energy_wh
from hil.generation import Generation
from hil.load import DAY_MS, EPOCH_MS, HOUR_MS, Flow
from hil.meter import Dlt645Meter
from hil.modbus_station import ModbusMeter
from tests.hil.masters import FakeClock, load_model, shown


class Steady:
    """The same flow for ever."""

    def __init__(self, *flows: Flow) -> None:
        self.phases = len(flows)
        self._flows = flows

    def flows(self, slot: int) -> tuple[Flow, ...]:
        return self._flows


NOON = EPOCH_MS + 200 * DAY_MS + 12 * HOUR_MS
NIGHT = EPOCH_MS + 200 * DAY_MS


def plant(peak_w: int = 5000, seed: int = 1, use_w: float = 400.0) -> Generation:
    return Generation(Steady((use_w, 100.0)), peak_w, seed)


def test_the_sun_shines_by_day_within_its_peak_and_each_day_differs() -> None:
    made = [plant().generated_w(slot) for slot in range(96 * 30)]
    assert all(0 <= power <= 5000 for power in made)
    assert max(made[:24]) == 0 == max(made[72:96]) and min(made[24:72]) > 0
    days = [sum(made[day * 96 : day * 96 + 96]) for day in range(30)]
    assert len(set(days)) == 30 and max(days) > 1.5 * min(days)


def test_noon_is_the_meters_own() -> None:
    here, east = plant(), Generation(Steady((0.0, 0.0)), 5000, 1, 8 * HOUR_MS)
    assert east.generated_w(48 - 32) == here.generated_w(48)


def test_seeds_repeat_and_differ() -> None:
    one, same, other = (plant(seed=seed) for seed in (7, 7, 8))
    slots = range(96)
    assert [one.generated_w(slot) for slot in slots] == [same.generated_w(slot) for slot in slots]
    assert one.generated_w(48) != other.generated_w(48)


@given(st.integers(0, 3000), st.integers(1, 8000), st.integers(0, 5 * DAY_MS))
@settings(max_examples=60, deadline=None)
def test_import_and_export_never_mix(use_w: int, peak_w: int, ms: int) -> None:
    """Each direction is the integral of its own sign, at any moment; the difference is the net."""
    course = Generation(Steady((float(use_w), 0.0)), peak_w, 3)
    load = CourseLoad(course, 1, 0, energy_step_wh=1)
    first = load.shown(EPOCH_MS)
    last = load.shown(EPOCH_MS + ms)
    grown = {c: ((last[c, 8, 0] or 0) - (first[c, 8, 0] or 0)) / 1000 for c in (1, 2, 15, 16)}
    wanted = {1: 0.0, 2: 0.0}
    for slot in range(-(-ms // SLOT_MS)):
        hours = min(SLOT_MS, ms - slot * SLOT_MS) / HOUR_MS
        net_w = use_w - course.generated_w(slot)
        wanted[1] += max(net_w, 0) * hours
        wanted[2] += max(-net_w, 0) * hours
    assert grown[1] == pytest.approx(wanted[1], abs=1.001)
    assert grown[2] == pytest.approx(wanted[2], abs=1.001)
    assert (grown[15], grown[16]) == (grown[1] + grown[2], grown[1] - grown[2])


def test_only_one_direction_counts_at_a_time() -> None:
    load = CourseLoad(plant(), 1, energy_step_wh=1)
    directions = set()
    before = load.shown(NIGHT)
    for ms in range(SLOT_MS, DAY_MS + 1, SLOT_MS):
        after = load.shown(NIGHT + ms)
        grown = [(after[c, 8, 0] or 0) > (before[c, 8, 0] or 0) for c in (1, 2)]
        power = load.shown(NIGHT + ms)[16, 7, 0]
        assert power is not None
        assert sum(grown) == 1
        directions.add(tuple(grown))
        before = after
    assert directions == {(True, False), (False, True)}


def test_a_dlt645_meter_shows_signs_and_status_words() -> None:
    clock = FakeClock(NIGHT)
    meter = Dlt645Meter("000000000161", CourseLoad(plant(), 1), clock)
    words = ("04000501", "04000502", "04000504", "04000505")
    assert [shown(meter, di) for di in words] == [[0]] * 4
    night = [shown(meter, di)[0] for di in ("00010000", "00020000", "02030000", "02060000")]
    assert night[2] == 4000 and night[3] > 0
    clock.now_ms = NOON
    noon = [shown(meter, di)[0] for di in ("00010000", "00020000", "02030000", "02060000")]
    assert noon[0] > night[0] and noon[1] > night[1]
    assert noon[2] < -4000 and -1000 <= noon[3] < 0
    assert [shown(meter, di) for di in words] == [[1 << 4], [1], [1 << 6], [0]]
    clock.now_ms = NOON + HOUR_MS
    later = [shown(meter, di)[0] for di in ("00010000", "00020000")]
    assert later[0] == noon[0] and later[1] > noon[1]


def test_a_modbus_meter_shows_a_negative_power_and_its_export() -> None:
    clock = FakeClock(NOON)
    load = CourseLoad(plant(), 1, 0, energy_step_wh=1)
    meter = ModbusMeter(17, load_model("eastron-sdm630"), load, clock)
    registers = {one.name: one for one in meter.model.registers}
    assert meter.digits(registers["active_power"], clock()) < 0
    export = registers["active_energy_export"]
    before = meter.digits(export, clock())
    assert meter.digits(export, clock() + HOUR_MS) > before > 0


def test_a_modbus_register_without_a_sign_shows_the_size_alone() -> None:
    clock = FakeClock(NOON)
    load = CourseLoad(plant(), 1, 0, energy_step_wh=1)
    meter = ModbusMeter(1, load_model("abb-b23"), load, clock)
    (signed,) = [one for one in meter.model.registers if one.obis.text() == "1-0:16.7.0*255"]
    assert signed.type.startswith("i") and meter.digits(signed, clock()) < 0
    unsigned = signed._replace(type="u" + signed.type[1:])
    assert meter.digits(unsigned, clock()) == -meter.digits(signed, clock())


def test_a_plant_takes_nothing_from_the_reactive_energy() -> None:
    course, load = plant(), CourseLoad(plant(), 1, 0, energy_step_wh=1)
    first, last = load.shown(NIGHT), load.shown(NIGHT + DAY_MS)
    grown = {c: ((last[c, 8, 0] or 0) - (first[c, 8, 0] or 0)) / 1000 for c in (3, 4, 5, 6, 7, 8)}
    assert grown[3] == pytest.approx(2400, abs=2) and grown[3] == grown[5] + grown[6]
    assert grown[5] > 0 < grown[6] and grown[4] == grown[7] == grown[8] == 0
    assert energy_wh(course, NIGHT, NIGHT + DAY_MS)[1] > 0
