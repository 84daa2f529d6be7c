"""Which readings are flagged: by named cases and at the bounds. Time is an argument."""

from typing import Any

import pytest

from edge.collect.plausible import (
    CONFIRMATIONS,
    LISTED_MAX,
    REPEAT_MS,
    STUCK_READINGS,
    Limits,
    Plausibility,
    Verdict,
    limits_of,
)
from protocols.events import DETAIL_SIZE_MAX, EVENT_KINDS
from protocols.obis import Obis
from protocols.quantity import VALUE_MAX, Kind, Quantity
from protocols.readings import Flag, Origin, Reading, TimeQuality
from tests.edge.fakes import BOOT_MS, FakeClock, make_set

QUARTER_MS = 900_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
HOUSE = Limits(63, 3, 230)  # 43.47 kW
FINE = Verdict()


def energy(value: int, scaler: int = 1, code: str = "1-0:1.8.0", unit: str = "Wh") -> Reading:
    """A register; in 0.01 kWh, as DL/T 645 has it."""
    return Reading(Obis.from_text(code), Quantity(value, scaler, unit, Kind.CUMULATIVE))


def power(watts: int, code: str = "1-0:16.7.0") -> Reading:
    """Active power, in 0.1 W as DL/T 645 has it."""
    return Reading(Obis.from_text(code), Quantity(watts * 10, -1, "W", Kind.INSTANTANEOUS))


class Bench:
    """One meter, read in steps of time."""

    def __init__(self, limits: Limits = HOUSE) -> None:
        self.plausibility = Plausibility({"m-1": limits})
        self.now = BOOT_MS

    def read(self, *readings: Reading, after_ms: int = QUARTER_MS) -> Verdict:
        """The verdict on a sweep so long after the last."""
        self.now += after_ms
        return self.plausibility.judge("m-1", readings, self.now)

    def counts(self, *values: int, **more: Any) -> list[int]:
        """The flags of 1.8.0 at these counts, a quarter of an hour apart."""
        return [self.read(energy(value, **more)).flags for value in values]


def kinds(verdict: Verdict) -> list[str]:
    """The kinds of what is told."""
    return [kind for kind, _ in verdict.findings]


# ---- what others' users met --------------------------------------------------------------------


def test_a_spike_of_9113_kwh_is_flagged_and_the_reading_after_it_is_good() -> None:
    """home-assistant #138077: a late reply gave a spike; it must not become the baseline."""
    bench = Bench()
    assert bench.counts(123_450, 123_470) == [0, 0]
    spike = bench.read(energy(123_480 + 911_300))
    assert spike.flags == Flag.JUMP
    assert spike.findings == (
        (
            "jump",
            (
                "1-0:1.8.0 rose from 1234.70 kWh to 10347.80 kWh, by more than the 17.39 kWh that"
                " are possible in 1200 s"
            ),
        ),
    )
    assert bench.read(energy(123_490)) == FINE


def test_one_reading_of_zero_bills_nobody_81250_kwh() -> None:
    """hacs-idm-heatpump #322: 0.0 between two good readings was billed as 0 -> 81,250 kWh."""
    bench = Bench()
    bench.counts(8_125_000)
    zero = bench.read(energy(0))
    assert zero.flags == Flag.ROLL_BACK
    assert zero.findings == (
        ("roll-back", "1-0:1.8.0 fell to 0.00 kWh from 81250.00 kWh 900 s before"),
    )
    assert bench.read(energy(8_125_010)) == FINE


def test_25567_kwh_in_a_slot_are_flagged_without_a_breaker_rating_too() -> None:
    """evcc PR #30267: the default bound is the largest breaker that edge.toml can state."""
    bench = Bench(Limits())
    assert bench.counts(100_000, 100_100) == [0, 0]
    assert bench.counts(100_100 + 2_556_700) == [Flag.JUMP]
    assert bench.counts(100_200) == [0]


# ---- growth ------------------------------------------------------------------------------------


def test_the_bound_is_the_rating_with_its_margin_and_one_count() -> None:
    """63 A x 230 V x 3 x 1.2 in 15 min and the 5 min that a reading may be late: 17.388 kWh."""
    for grown, flags in ((1_739, 0), (1_740, Flag.JUMP)):
        assert Bench().counts(0, 10, 10 + grown) == [0, 0, flags]


@pytest.mark.parametrize(
    ("limits", "grown"),
    [
        (Limits(63, 1, 230), 580),
        (Limits(63, 3, 115), 870),
        (Limits(10, 3, 230), 277),
        (Limits(), 240_001),  # 4,000 A x 500 V x 3
    ],
)
def test_rating_phases_and_voltage_make_the_bound(limits: Limits, grown: int) -> None:
    """Each of them counts."""
    assert Bench(limits).counts(0, 10, 10 + grown) == [0, 0, 0]
    assert Bench(limits).counts(0, 10, 11 + grown) == [0, 0, Flag.JUMP]


def test_the_limits_are_those_of_the_settings() -> None:
    """A meter section as the settings check it."""
    meter = {"breaker_a": 40, "phases": 1, "voltage_v": 220}
    assert limits_of(meter) == Limits(40, 1, 220)
    assert limits_of(meter).watts() == 8_800


@pytest.mark.parametrize("unit", ["varh", "VAh"])
def test_reactive_and_apparent_energy_have_the_same_bound(unit: str) -> None:
    """No load draws more of them than of active power."""
    code = {"varh": "1-0:3.8.0", "VAh": "1-0:9.8.0"}[unit]
    assert Bench().counts(0, 10, 1_749, code=code, unit=unit) == [0, 0, 0]
    assert Bench().counts(0, 10, 1_750, code=code, unit=unit) == [0, 0, Flag.JUMP]


@pytest.mark.parametrize(
    ("code", "unit", "grown"),
    [  # in counts of 10 units: per hour 10,000 m3, 100 MW; 1,200 s, 1.2 and a count
        ("8-0:1.0.0", "m3", 401),
        ("9-0:1.0.0", "m3", 401),
        ("7-0:3.0.0", "m3", 401),
        ("6-0:2.0.0", "m3", 401),
        ("6-0:1.0.0", "Wh", 4_000_001),
        ("5-0:1.0.0", "J", 14_400_000_001),
    ],
)
def test_volumes_and_heat_have_bounds_of_their_own(code: str, unit: str, grown: int) -> None:
    """A breaker says nothing of them."""
    assert Bench().counts(0, 1, 1 + grown, code=code, unit=unit) == [0, 0, 0]
    assert Bench().counts(0, 1, 2 + grown, code=code, unit=unit) == [0, 0, Flag.JUMP]
    assert Bench().counts(5, 4, code=code, unit=unit) == [0, Flag.ROLL_BACK]


@pytest.mark.parametrize(
    "reading",
    [
        energy(0, code="1-0:16.8.0"),  # net: may fall
        energy(0, code="1-0:36.8.0"),
        energy(0, code="1-0:131.8.0", unit="varh"),
        energy(0, code="1-0:1.8.0*1"),  # of the last settlement: leaps
        energy(0, code="6-0:1.2.0"),
        energy(0, code="1-128:0.128.0"),  # a manufacturer's own
        energy(0, code="1-129:1.8.0"),
        energy(0, code="1-0:83.8.0"),  # losses, of total and phases in another order
        energy(0, code="4-0:1.0.0"),  # a heat cost allocator begins anew each year
        energy(0, code="1-0:1.8.0", unit="Ah"),
        energy(0, code="0-0:96.8.0", unit="h"),
        Reading(Obis.from_text("1-0:1.8.0"), Quantity(0, 1, "Wh", Kind.INTERVAL)),
        Reading(Obis.from_text("0-0:1.0.0"), Quantity("240101", 0, "", Kind.TEXT)),
        power(0),
    ],
)
def test_what_may_fall_is_not_judged(reading: Reading) -> None:
    """Only registers that grow."""
    bench = Bench()
    bench.read(reading._replace(quantity=reading.quantity._replace(value=VALUE_MAX - 1)))
    assert bench.read(reading) == FINE


def test_a_register_may_be_brought_up_to_date_late() -> None:
    """A meter that counts every 5 min shows at once what went through in that time."""
    bench = Bench()
    bench.counts(0)
    flags = []
    for second in range(10, 7_200, 10):  # at the full rating
        reading = energy(second // 300 * 362)
        flags.append(bench.read(reading, after_ms=10_000).flags)
    assert not any(flags)


def test_a_register_that_stands_for_long_may_not_leap_for_it() -> None:
    """A night without load does not excuse a spike in the morning."""
    for grown, flags in ((1_739, 0), (1_740, Flag.JUMP)):
        bench = Bench()
        bench.counts(0, *[10] * 40)
        assert bench.counts(10 + grown) == [flags]


def test_the_bound_grows_with_an_outage() -> None:
    """Three days without a reading."""
    bench = Bench()
    bench.counts(0, 10)
    assert bench.read(energy(370_000), after_ms=3 * DAY_MS) == FINE
    assert bench.read(energy(370_000 + 380_000), after_ms=3 * DAY_MS).flags == Flag.JUMP


def test_values_of_two_scalers_are_compared_exactly() -> None:
    """A coarser value is lower by less than one of its counts without having fallen."""
    bench = Bench()
    assert bench.read(energy(12_399)) == FINE  # 123.99 kWh
    assert bench.read(energy(123, scaler=3)) == FINE
    assert bench.read(energy(12_398)).flags == Flag.ROLL_BACK  # the higher value stayed
    assert bench.read(energy(122, scaler=3)).flags == Flag.ROLL_BACK
    assert bench.read(energy(1_240_000, scaler=-1)).flags == 0
    assert bench.read(energy(12_399)).flags == Flag.ROLL_BACK


def test_values_of_two_units_are_not_compared() -> None:
    """Each has a baseline of its own."""
    bench = Bench()
    assert bench.counts(5_000, code="6-0:1.0.0", unit="J") == [0]
    assert bench.counts(10, code="6-0:1.0.0", unit="Wh") == [0]
    assert bench.counts(4_999, code="6-0:1.0.0", unit="J") == [Flag.ROLL_BACK]


# ---- a register that begins again --------------------------------------------------------------


def test_three_doubtful_readings_that_agree_are_a_new_baseline() -> None:
    """As after an exchange of the meter: old and new value are told, then all is well."""
    bench = Bench()
    bench.counts(8_000_000)
    verdicts = [bench.read(energy(value)) for value in (7, 7, 12, 13)]
    assert [one.flags for one in verdicts] == [Flag.ROLL_BACK] * CONFIRMATIONS + [0]
    assert [kinds(one) for one in verdicts] == [["roll-back"], [], ["register-restarted"], []]
    assert verdicts[2].findings[0][1] == "1-0:1.8.0 goes on at 0.12 kWh after 80000.00 kWh"
    assert bench.counts(12) == [Flag.ROLL_BACK]


def test_an_exchange_for_a_meter_that_stands_higher_is_one_too() -> None:
    """Then the growth is impossible three times."""
    bench = Bench()
    assert bench.counts(100, 5_000_000, 5_000_010, 5_000_020) == [0] + [Flag.JUMP] * 3
    assert bench.counts(5_000_030) == [0]


def test_doubtful_readings_that_contradict_each_other_are_no_new_baseline() -> None:
    """Garbage stays garbage however long it lasts."""
    bench = Bench()
    bench.counts(1_000_000)
    assert bench.counts(5, 900, 3, 900_000, 2, 1, 0) == [Flag.ROLL_BACK] * 7
    assert bench.counts(1_000_001) == [0]


def test_a_good_reading_between_doubtful_ones_starts_the_count_anew() -> None:
    """In a row is in a row."""
    bench = Bench()
    bench.counts(1_000_000)
    bench.counts(5, 5, 1_000_000, 5, 5)
    assert bench.counts(1_000_001) == [0]


@pytest.mark.parametrize(
    ("old", "words"),
    [(99_999_990, "its 8 digits"), ((1 << 32) - 10, "its 32 bits"), (99_990, "its 5 digits")],
)
def test_a_roll_over_is_called_one(old: int, words: str) -> None:
    """From the end of its digits to the beginning, by a growth that is possible."""
    bench = Bench()
    bench.counts(old)
    verdicts = [bench.read(energy(value)) for value in (10, 20, 30)]
    assert verdicts[0].flags == Flag.ROLL_BACK
    assert verdicts[0].findings[0][1].endswith(f"before, as if {words} had rolled over")
    kind, detail = verdicts[2].findings[-1]
    assert kind == "register-restarted"
    before = f"{old // 100}.{old % 100:02d} kWh"
    assert detail == f"1-0:1.8.0 goes on at 0.30 kWh after {before}, as if {words} had rolled over"


@pytest.mark.parametrize(("old", "new"), [(99_990_000, 10), (99_999_990, 50_000), (99_999_990, -1)])
def test_a_fall_from_elsewhere_or_to_elsewhere_is_no_roll_over(old: int, new: int) -> None:
    """Near the end is what the load could have brought there."""
    bench = Bench()
    bench.counts(old)
    ((_, detail),) = bench.read(energy(new)).findings
    assert "rolled" not in detail


# ---- stuck -------------------------------------------------------------------------------------


def stand(bench: Bench, count: int, *readings: Reading, after_ms: int = QUARTER_MS) -> list[int]:
    """The flags while the same is read again and again."""
    return [bench.read(*readings, after_ms=after_ms).flags for _ in range(count)]


def test_a_register_that_stands_still_under_load_is_stuck() -> None:
    """After an hour, until it counts; told once an hour."""
    bench = Bench()
    assert bench.counts(500) == [0]
    bench.read(energy(510), power(400))
    verdicts = [bench.read(energy(510), power(400)) for _ in range(8)]
    assert [one.flags for one in verdicts] == [0] * 3 + [Flag.STUCK] * 5
    assert [kinds(one) for one in verdicts] == [[]] * 3 + [["stuck"], [], [], [], ["stuck"]]
    assert verdicts[3].findings[0][1] == (
        "1-0:1.8.0 stands at 5.10 kWh through 3600 s of load; by the power readings 0.400000 kWh"
        " are missing"
    )
    assert verdicts[7].findings[0][1].endswith(" are missing (3 more since the last)")
    assert bench.read(energy(510), power(0)).flags == Flag.STUCK
    assert bench.read(energy(520), power(400)) == FINE
    assert stand(bench, 3, energy(520), power(400)) == [0] * 3


def test_it_takes_time_and_readings_and_counts() -> None:
    """Any of the three alone is an ordinary register."""
    bench = Bench()
    assert not any(stand(bench, 60, energy(0), power(400), after_ms=MINUTE_MS))  # 59 min
    assert bench.read(energy(0), power(400), after_ms=MINUTE_MS).flags == Flag.STUCK
    bench = Bench()
    assert not any(stand(bench, STUCK_READINGS, energy(0), power(400), after_ms=DAY_MS))
    assert bench.read(energy(0), power(400)).flags == Flag.STUCK
    bench = Bench()  # a count is 1 kWh, and two of them take 5 h
    assert not any(stand(bench, 20, energy(0, scaler=3), power(400)))
    assert bench.read(energy(0, scaler=3), power(400)).flags == Flag.STUCK


def test_a_register_without_load_may_stand_still() -> None:
    """No power reading, none that a meter must count, none of its own way."""
    for readings in (
        (energy(0),),
        (energy(0), power(86)),  # 43.47 kW / 500 is 86.94 W
        (energy(0), power(-400)),
        (energy(0, code="1-0:2.8.0"), power(400)),
        (energy(0), power(400, "1-0:2.7.0")),
        (energy(0, code="1-0:1.8.1"), power(400)),
        (energy(0), power(400, "1-0:36.7.0")),
        (energy(0), power(400, "1-0:1.7.0"), power(350, "1-0:2.7.0")),
        (energy(0), power(400, "1-0:16.7.0*1")),
        (energy(0, code="1-0:3.8.0", unit="varh"), power(400)),
        (energy(0, code="6-0:1.0.0"), power(400)),
    ):
        assert not any(stand(Bench(), 20, *readings)), readings


@pytest.mark.parametrize(
    ("energy_code", "power_code", "watts"),
    [
        ("1-0:1.8.0", "1-0:16.7.0", 87),
        ("1-0:1.8.0", "1-0:1.7.0", 400),
        ("1-0:2.8.0", "1-0:16.7.0", -400),
        ("1-0:2.8.0", "1-0:2.7.0", 400),
        ("1-0:15.8.0", "1-0:16.7.0", -400),
        ("1-0:41.8.0", "1-0:56.7.0", 400),
        ("1-0:62.8.0", "1-0:76.7.0", -400),
    ],
)
def test_each_energy_has_its_power(energy_code: str, power_code: str, watts: int) -> None:
    """Of its way and its phase."""
    readings = (energy(0, code=energy_code), power(watts, power_code))
    assert stand(Bench(), 5, *readings)[-1] == Flag.STUCK


def test_without_a_breaker_rating_a_load_of_50_w_must_count() -> None:
    """And one of 49 W need not."""
    assert not any(stand(Bench(Limits()), 20, energy(0), power(49)))
    assert stand(Bench(Limits()), 5, energy(0), power(50))[-1] == Flag.STUCK


def test_the_smaller_of_two_powers_is_believed() -> None:
    """A load that was seen at one end of the time only may have been short."""
    bench = Bench()
    flags = [bench.read(energy(0), power(watts)).flags for watts in [3_000, 0] * 20]
    assert not any(flags)


def test_a_power_is_believed_for_15_minutes() -> None:
    """However seldom the meter is read."""
    bench = Bench()  # 100 Wh a reading, and two counts are 2 kWh
    assert not any(stand(bench, 20, energy(0, scaler=3), power(400), after_ms=DAY_MS))
    assert stand(bench, 1, energy(0, scaler=3), power(400), after_ms=DAY_MS) == [Flag.STUCK]


def test_an_idle_night_does_not_make_a_late_register_stuck() -> None:
    """The hour is one of load."""
    bench = Bench()
    stand(bench, 40, energy(0), power(0))
    assert not any(stand(bench, 4, energy(0), power(5_000)))
    assert stand(bench, 1, energy(0), power(5_000)) == [Flag.STUCK]


@pytest.mark.parametrize("phase", [0, 20, 60])
def test_power_readings_without_a_sign_make_no_import_stuck(phase: int) -> None:
    """While the export counts, the power flows that way."""
    imported, exported, net = (f"1-0:{c + phase}" for c in (1, 2, 16))
    bench = Bench()
    flags = []
    for n in range(200):
        readings = (
            energy(0, code=imported + ".8.0"),
            energy(n // 4, code=exported + ".8.0"),
            power(200, net + ".7.0"),
        )
        flags.append(bench.read(*readings, after_ms=MINUTE_MS).flags)
    assert not any(flags)


def test_a_stuck_register_may_catch_up() -> None:
    """All that went through while it stood may come at once; more is a jump."""
    bench = Bench()
    bench.read(energy(0), power(40_000))
    bench.read(energy(10), power(40_000))
    assert stand(bench, 40, energy(10), power(40_000))[-1] == Flag.STUCK
    assert bench.read(energy(60_000), power(40_000)).flags == Flag.JUMP
    assert bench.read(energy(40_000), power(40_000)) == FINE


# ---- what is told ------------------------------------------------------------------------------


def test_a_lasting_fault_is_told_once_an_hour_with_the_count_of_the_others() -> None:
    """Every set is flagged, whether it is told or not."""
    bench = Bench()
    bench.counts(1_000_000)
    told = []
    for n in range(180):
        verdict = bench.read(energy(1_000 - n), after_ms=MINUTE_MS)
        assert verdict.flags == Flag.ROLL_BACK
        told += [(n, detail) for _, detail in verdict.findings]
    assert [n for n, _ in told] == [0, 60, 120]
    assert "more" not in told[0][1]
    assert all(detail.endswith(" (59 more since the last)") for _, detail in told[1:])
    assert REPEAT_MS == 60 * MINUTE_MS


def test_what_befalls_many_registers_at_once_is_one_finding() -> None:
    """Its first says how much; the others are named, or counted."""
    codes = [f"1-0:{c}.8.0" for c in range(1, 9)]
    bench = Bench()
    bench.read(*(energy(5_000, code=code) for code in codes))
    ((kind, detail),) = bench.read(*(energy(1, code=code) for code in codes)).findings
    assert kind == "roll-back"
    assert detail == (
        "1-0:1.8.0 fell to 0.01 kWh from 50.00 kWh 900 s before"
        "; also 1-0:2.8.0, 1-0:3.8.0, 1-0:4.8.0, 1-0:5.8.0 and 3 more"
    )
    bench = Bench()
    bench.read(*(energy(5_000, code=code) for code in codes[: 1 + LISTED_MAX]))
    bench.read(*(energy(1, code=code) for code in codes[: 1 + LISTED_MAX]), after_ms=1_000)
    ((_, detail),) = bench.read(
        energy(5_000), *(energy(1, code=code) for code in codes[1:3]), after_ms=REPEAT_MS
    ).findings
    assert detail.startswith("1-0:2.8.0 fell") and detail.endswith("; also 1-0:3.8.0")


def test_every_finding_is_an_event_that_fits() -> None:
    """Its kind is in the table, its detail within the limit, also with the longest values."""
    codes = [f"1-0:{c}.8.{e}" for c in (21, 41, 61) for e in (10, 11)]
    seen = set()
    for first, rest in ((5, [VALUE_MAX - 1] * 3), (VALUE_MAX - 1, [5] * 3)):
        bench = Bench(Limits())
        for value in [first, *rest]:
            verdict = bench.read(*(energy(value, scaler=-3, code=code) for code in codes))
            for kind, detail in verdict.findings:
                seen.add(kind)
                assert len(detail) <= DETAIL_SIZE_MAX
    assert seen == {"roll-back", "jump", "register-restarted"}
    assert (seen | {"stuck"}) <= set(EVENT_KINDS)


def test_registers_of_one_set_are_judged_apart() -> None:
    """The flags add up, the good register keeps its baseline."""
    bench = Bench()
    bench.read(energy(100), energy(100, code="1-0:2.8.0"), energy(7, code="1-0:1.8.1"))
    verdict = bench.read(energy(99), energy(10**6, code="1-0:2.8.0"), energy(8, code="1-0:1.8.1"))
    assert verdict.flags == Flag.ROLL_BACK | Flag.JUMP
    assert kinds(verdict) == ["roll-back", "jump"]
    assert bench.counts(7, code="1-0:1.8.1") == [Flag.ROLL_BACK]


def test_meters_are_judged_apart() -> None:
    """By their own baselines and limits."""
    both = Plausibility({"m-1": HOUSE, "m-2": Limits(10, 1, 230)})
    for meter_id in ("m-1", "m-2"):
        assert both.judge(meter_id, (energy(0),), 0) == FINE
    flags = [both.judge(one, (energy(500),), QUARTER_MS).flags for one in ("m-1", "m-2")]
    assert flags == [0, Flag.JUMP]


# ---- after a restart ---------------------------------------------------------------------------


def recalled(clock: FakeClock, *sets: Any) -> Plausibility:
    """Judgement after a restart, with what the journal had."""
    plausibility = Plausibility({"m-1": HOUSE})
    for one in sets:
        plausibility.recall(one, clock)
    return plausibility


def test_the_baseline_outlives_a_restart() -> None:
    """A fall or a spike over it is seen at the first reading."""
    clock = FakeClock()
    last = make_set(readings=(energy(5_000), power(10)))
    for value, flags in ((4_999, Flag.ROLL_BACK), (5_000, 0), (6_739, 0), (6_740, Flag.JUMP)):
        plausibility = recalled(clock, last)
        verdict = plausibility.judge("m-1", (energy(value),), BOOT_MS + QUARTER_MS)
        assert verdict.flags == flags, value


def test_the_time_over_a_reboot_is_that_of_utc() -> None:
    """The bound follows from how long the gateway was off."""
    clock = FakeClock(boot_id=bytes(16))
    for off_ms, grown, flags in (
        (DAY_MS, 120_000, 0),
        (DAY_MS, 140_000, Flag.JUMP),
        (10 * DAY_MS, 1_200_000, 0),
    ):
        last = make_set(read_at=clock.utc_ms() - off_ms, readings=(energy(0),))
        plausibility = recalled(clock, last)
        assert plausibility.judge("m-1", (energy(grown),), BOOT_MS).flags == flags


@pytest.mark.parametrize("case", ["clock", "set", "flag", "future"])
def test_a_time_that_is_not_known_may_have_been_a_year(case: str) -> None:
    """Where no clock tells how long the gateway was off: still no garbage, and nothing honest."""
    clock = FakeClock(boot_id=bytes(16))
    if case == "clock":
        clock.set_quality(TimeQuality.UNSYNCED)
    last = make_set(
        read_at=clock.utc_ms() + (1 if case == "future" else -1_000),
        quality=TimeQuality.UNSYNCED if case == "set" else TimeQuality.NTP,
        flags=Flag.CLOCK_SUSPECT if case == "flag" else 0,
        readings=(energy(100),),
    )
    for value, flags in ((40_000_000, 0), (50_000_000, Flag.JUMP), (99, Flag.ROLL_BACK)):
        assert recalled(clock, last).judge("m-1", (energy(value),), BOOT_MS).flags == flags


def test_on_the_same_boot_its_clock_tells() -> None:
    """Whatever UTC was."""
    clock = FakeClock(TimeQuality.UNSYNCED)
    plausibility = recalled(clock, make_set(readings=(energy(0),), quality=TimeQuality.UNSYNCED))
    assert plausibility.judge("m-1", (energy(5_000),), BOOT_MS + QUARTER_MS).flags == Flag.JUMP


def test_doubtful_and_old_sets_are_no_baseline() -> None:
    """Nor is one of a meter that is read no longer; the newest good one is."""
    clock = FakeClock()
    plausibility = recalled(
        clock,
        make_set(readings=(energy(100),)),
        make_set(readings=(energy(200),), flags=Flag.STUCK),
        make_set(readings=(energy(90_000),), flags=Flag.JUMP),
        make_set(readings=(energy(90_000),), flags=Flag.ROLL_BACK | Flag.STUCK),
        make_set(readings=(energy(90_000),), origin=Origin.FREEZE),
        make_set(readings=(energy(90_000),), origin=Origin.LOAD_RECORD),
        make_set(meter_id="gone", readings=(energy(90_000),)),
        make_set(readings=(), flags=Flag.SHED),
    )
    judged = [
        plausibility.judge("m-1", (energy(value),), BOOT_MS + QUARTER_MS).flags
        for value in (199, 200)
    ]
    assert judged == [Flag.ROLL_BACK, 0]
