"""Meters' clocks: measured, told of, and corrected within narrow bounds."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from edge.collect import clock_rules as rules
from edge.collect.clock_rules import Instants, is_quiet
from edge.collect.clock_watch import RETRY_MS, SCOPE, VALID_MS, ClockWatch
from edge.line.budget import character_s
from edge.meters.dlt645_driver import Dlt645Driver
from edge.meters.dlt645_history import set_clock
from hil.meter import Dlt645Meter
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.controls import Function
from protocols.dlt645.frame import ABNORMAL_BIT, Frame
from protocols.dlt645.identifiers import identifier_text
from protocols.readings import TimeQuality
from tests.edge.fakes import FakeClock
from tests.edge.history_rig import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    OFFSET_MIN,
    OFFSET_MS,
    PointToPointMeter,
    Rig,
    utc_of,
)

PERIOD_MS = 21_600_000
QUIET = "2026-09-21T22:20:00"  # local


def build(rig: Rig, may_correct: bool = False, **collect: Any) -> ClockWatch:
    """The producer as a start of the agent builds it."""
    return ClockWatch(rig.means(**collect), rig.tell, lambda: may_correct)


def make_rig(folder: Path, offset_s: float = 0, at: str = QUIET, **more: Any) -> Rig:
    """One meter whose clock is off by so much."""
    clock = FakeClock()
    clock.set_utc(utc_of(at))
    options = {"make": PointToPointMeter, "clock_offset_ms": round(offset_s * 1000)}
    return Rig(folder, clock=clock, **(options | more))


def sets_sent(rig: Rig) -> list[Frame]:
    """The clocks that were set."""
    return [one for one in rig.asked if one.function == Function.BROADCAST_TIME]


def error_s(rig: Rig) -> float:
    """What the meter's clock is ahead of the truth."""
    return (rig.meter.clock.local_ms() - rig.clock.utc_ms() - OFFSET_MS) / 1000


# ---- measuring ----------------------------------------------------------------------------------


@pytest.mark.parametrize("offset_s", [0, 0.4, -0.9, 12, -31, 45.5, 86_400 * 3])
def test_the_drift_is_measured_to_the_second(tmp_path: Path, offset_s: float) -> None:
    """Half a second is what a clock that shows whole seconds does not tell."""
    rig = make_rig(tmp_path, offset_s)
    watch = build(rig)
    assert watch.drift_s("m-0") is None
    rig.run(watch)
    known = json.loads(rig.memos(SCOPE)["m-0"])
    assert abs(known["drift_ms"] - offset_s * 1000) <= 550
    assert watch.drift_s("m-0") == round(known["drift_ms"] / 1000)


@pytest.mark.parametrize("delay_ms", [20, 450])
def test_half_the_round_trip_is_taken_off(tmp_path: Path, delay_ms: float) -> None:
    """And the time of the bytes: over many moments the mean error is a few milliseconds."""
    rig = make_rig(tmp_path)
    rig.delay_ms = delay_ms
    watch = build(rig, clock_period_s=1)
    errors = []
    for n in range(100):
        rig.clock.set_utc(utc_of(QUIET) + 60_000 * n + 10 * n)
        rig.clock.advance(1_000)
        rig.run(watch)
        errors.append(json.loads(rig.memos(SCOPE)["m-0"])["drift_ms"])
    assert len(set(errors)) > 50
    assert abs(sum(errors) / len(errors)) <= 15


def test_the_late_answer_to_a_repeated_question_is_not_timed(tmp_path: Path) -> None:
    """It looks like the answer to the second one, and was said before."""
    rig = make_rig(tmp_path)
    rig.delays = [900.0, 20.0]
    rig.run(build(rig))
    assert len(rig.asked) == 2
    assert rig.line.counters.stale_bytes
    assert abs(json.loads(rig.memos(SCOPE)["m-0"])["drift_ms"]) <= 550


def test_a_repeated_question_does_not_spoil_the_measure(tmp_path: Path) -> None:
    """Only the exchange that was answered counts, not the silence before it."""
    rig = make_rig(tmp_path)
    lost: list[Frame] = []

    def lose(asked: Frame, reply: Frame | None) -> Frame | None:
        if lost:
            return reply
        lost.append(asked)
        return None

    rig.hook = lose
    watch = build(rig)
    rig.run(watch)
    assert lost
    assert abs(json.loads(rig.memos(SCOPE)["m-0"])["drift_ms"]) <= 550


def test_a_meter_without_the_whole_clock_is_asked_in_parts(tmp_path: Path) -> None:
    """Date, time, date: and from then on at once so."""
    rig = make_rig(tmp_path, 45, refuses=("0400010C",))
    watch = build(rig)
    rig.run(watch)
    assert watch.drift_s("m-0") == pytest.approx(45, abs=1)
    rig.asked.clear()
    rig.clock.advance(PERIOD_MS)
    rig.run(watch)
    asked = [identifier_text(one.data) for one in rig.asked]
    assert asked == ["04000101", "04000102", "04000101"]


def test_midnight_between_date_and_time_is_no_drift(tmp_path: Path) -> None:
    """A look that straddles it says nothing, and is repeated later."""
    rig = make_rig(tmp_path, at="2026-09-21T23:59:59.500", refuses=("0400010C",))
    watch = build(rig)
    rig.run(watch)
    assert watch.drift_s("m-0") is None
    assert not rig.told
    rig.clock.advance(RETRY_MS)
    rig.run(watch)
    assert watch.drift_s("m-0") == 0


def test_an_old_look_says_nothing_any_more(tmp_path: Path) -> None:
    """After a week of silence nobody knows."""
    rig = make_rig(tmp_path, 12)
    watch = build(rig)
    rig.run(watch)
    rig.clock.advance(VALID_MS - HOUR_MS)
    assert watch.drift_s("m-0") == pytest.approx(12, abs=1)
    rig.clock.advance(2 * HOUR_MS)
    assert watch.drift_s("m-0") is None
    assert watch.drift_s("other") is None


def test_without_a_good_time_of_our_own_nothing_is_measured(tmp_path: Path) -> None:
    """A difference to a wrong clock is no drift."""
    rig = make_rig(tmp_path, 45)
    rig.clock.set_quality(TimeQuality.RTC)
    watch = build(rig, may_correct=True)
    assert rig.run(watch) == 0
    rig.clock.set_quality(TimeQuality.NTP)
    assert rig.run(watch) > 0


def test_a_look_each_period_and_when_a_meter_is_back(tmp_path: Path) -> None:
    """A power cut may have cost it its time."""
    rig = make_rig(tmp_path)
    watch = build(rig)
    assert rig.run(watch) == 1
    rig.clock.advance(PERIOD_MS - MINUTE_MS)
    assert rig.run(watch) == 0
    rig.reached.clear()
    assert rig.run(watch) == 0
    rig.reached.add("m-0")
    assert rig.run(watch) == 1
    rig.clock.advance(PERIOD_MS)
    assert rig.run(watch) == 1
    assert rig.run(build(rig, clock_period_s=0)) == 0


def test_a_meter_that_does_not_tell_its_time_is_left_for_a_while(tmp_path: Path) -> None:
    """Silent or refusing: one look each ten minutes, and no drift made up."""
    rig = make_rig(tmp_path, refuses=("0400010C", "04000101"))
    watch = build(rig)
    assert rig.run(watch) == 1
    rig.clock.advance(RETRY_MS)
    assert rig.run(watch) == 1
    assert watch.drift_s("m-0") is None


@pytest.mark.parametrize("shown", [bytes(7), b"\x99" * 7, b"\x0f" * 7, b"\xff" * 7, bytes(3)])
def test_a_clock_that_shows_no_time_is_not_believed(tmp_path: Path, shown: bytes) -> None:
    """Zeros, nines, damaged digits, a wrong length."""
    rig = make_rig(tmp_path)
    rig.meter.pin("0400010C", shown)
    watch = build(rig, may_correct=True)
    rig.run(watch)
    assert watch.drift_s("m-0") is None
    assert not rig.told


def test_what_is_known_survives_a_restart(tmp_path: Path) -> None:
    """And what was told is not told again."""
    rig = make_rig(tmp_path, 45)
    rig.run(build(rig))
    assert rig.kinds() == ["meter-clock-drift"]
    watch = build(rig)
    rig.reached.clear()
    assert rig.run(watch) == 0
    assert watch.drift_s("m-0") == pytest.approx(45, abs=1)
    rig.reached.add("m-0")
    assert rig.run(watch) == 1
    assert rig.kinds() == ["meter-clock-drift"]


# ---- telling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset_s", "is_told"), [(29, False), (-29, False), (31, True), (-32, True)]
)
def test_a_drift_of_more_than_30_s_is_told(tmp_path: Path, offset_s: int, is_told: bool) -> None:
    """Either way."""
    rig = make_rig(tmp_path, offset_s)
    rig.run(build(rig))
    assert rig.kinds() == ["meter-clock-drift"] * is_told
    if is_told:
        way = "ahead" if offset_s > 0 else "behind"
        assert rig.told[0][1] == "m-0"
        assert way in rig.told[0][2]


def test_a_drift_is_told_again_when_it_changes_or_daily(tmp_path: Path) -> None:
    """Not at each look."""
    rig = make_rig(tmp_path, 45)
    watch = build(rig)
    for _ in range(4):
        rig.run(watch)
        rig.clock.advance(PERIOD_MS - 1_000)
    assert len(rig.told) == 1
    rig.clock.advance(10_000)
    rig.run(watch)
    assert len(rig.told) == 2
    rig.meter.clock._error_ms += 31_000
    rig.clock.advance(PERIOD_MS)
    rig.run(watch)
    assert len(rig.told) == 3


def test_more_than_five_minutes_is_a_faulty_clock(tmp_path: Path) -> None:
    """Nobody corrects that unasked."""
    rig = make_rig(tmp_path, -400)
    watch = build(rig, may_correct=True)
    rig.run(watch)
    assert rig.kinds() == ["meter-clock-drift", "meter-clock-faulty"]
    assert not sets_sent(rig)
    rig.clock.advance(PERIOD_MS)
    rig.run(watch)
    assert rig.kinds().count("meter-clock-faulty") == 1


# ---- correcting ---------------------------------------------------------------------------------


@pytest.mark.parametrize("offset_s", [35, -35, 280, -280])
def test_a_clock_is_set_and_read_again(tmp_path: Path, offset_s: int) -> None:
    """Once, by a frame to this meter alone; the event tells before and after."""
    rig = make_rig(tmp_path, offset_s)
    watch = build(rig, may_correct=True)
    rig.run(watch)
    assert [one.address for one in sets_sent(rig)] == [rig.meter.name]
    assert abs(error_s(rig)) <= 0.6
    assert watch.drift_s("m-0") in (-1, 0, 1)
    assert rig.kinds() == ["meter-clock-drift", "meter-clock-set"]
    way = "ahead" if offset_s > 0 else "behind"
    assert way in rig.told[1][2].split(", now ")[0]
    after = rig.asked.index(sets_sent(rig)[0])
    assert identifier_text(rig.asked[after - 1].data) == "0400010C"
    assert identifier_text(rig.asked[after + 1].data) == "0400010C"


def test_the_time_that_is_set_is_that_of_the_arrival(tmp_path: Path) -> None:
    """To half a second each time, and on the mean to some milliseconds."""
    rig = make_rig(tmp_path)
    errors = []
    for n in range(100):
        rig.clock.set_utc(utc_of(QUIET) + 10 * n)
        rig.meter.clock._error_ms = 45_000
        rig.meter.clock._day_of_broadcast = -1  # it takes the time once a day
        driver = rig.watches["m-0"].driver
        assert isinstance(driver, Dlt645Driver)
        set_clock(
            rig.line, driver, rig.clock.boot_ms, build(rig)._time_at, character_s(2400, "E", 1)
        )
        errors.append(error_s(rig))
    assert max(map(abs, errors)) <= 0.52
    assert abs(sum(errors)) / len(errors) <= 0.015


def test_without_the_standing_policy_nothing_is_set(tmp_path: Path) -> None:
    """The default."""
    rig = make_rig(tmp_path, 45)
    rig.run(build(rig))
    assert not sets_sent(rig)
    rig.run(ClockWatch(rig.means(), rig.tell))
    assert not sets_sent(rig)


@pytest.mark.parametrize("offset_s", [0, 29, -29, 292, -292, 299])
def test_too_little_and_too_much_is_not_corrected(tmp_path: Path, offset_s: int) -> None:
    """30 s < |D| <= 290 s."""
    rig = make_rig(tmp_path, offset_s)
    rig.run(build(rig, may_correct=True))
    assert not sets_sent(rig)


@pytest.mark.parametrize(
    ("drift_ms", "is_it"),
    [(30_000, False), (30_001, True), (290_000, True), (290_001, False), (-30_000, False),
     (-30_001, True), (-290_000, True), (-290_001, False)],
)  # fmt: skip
def test_the_bounds_of_a_correction(drift_ms: int, is_it: bool) -> None:
    """To the millisecond."""
    assert rules.is_correctable(drift_ms) == is_it


@pytest.mark.parametrize(
    ("at", "offset_s"),
    [
        ("2026-09-21T22:03:00", 45),
        ("2026-09-21T22:56:00", 45),
        ("2026-09-21T23:57:00", 200),
        ("2026-09-22T00:02:00", -200),
        ("2026-09-21T22:53:00", 200),  # where the meter is, it is 22:56
        ("2026-09-21T22:07:00", -200),
    ],
)
def test_not_near_hour_marks_nor_midnight(tmp_path: Path, at: str, offset_s: int) -> None:
    """Neither by our clock nor by the meter's; later it is made good."""
    rig = make_rig(tmp_path, offset_s, at)
    watch = build(rig, may_correct=True)
    rig.run(watch)
    assert not sets_sent(rig)
    for _ in range(3):
        rig.clock.advance(RETRY_MS)
        rig.run(watch)
    assert len(sets_sent(rig)) == 1


@pytest.mark.parametrize(
    ("local", "drift_s", "is_it"),
    [
        ("22:05:00", 40, True),
        ("22:04:59", 40, False),
        ("22:05:30", -40, False),
        ("22:05:40", -40, True),
        ("22:54:20", 40, True),
        ("22:54:21", 40, False),
        ("22:30:00", 290, True),
        ("23:59:50", 40, False),
    ],
)
def test_the_distance_to_the_hour(local: str, drift_s: int, is_it: bool) -> None:
    """Five minutes from both times."""
    utc_ms = utc_of(f"2026-09-21T{local}")
    assert is_quiet(drift_s * 1000, utc_ms, OFFSET_MIN, Instants()) == is_it


@pytest.mark.parametrize(
    ("parameters", "is_set"),
    [
        ({"04001203": "2218"}, False),  # daily freeze
        ({"04001203": "2240"}, True),
        ({"04001201": "2601010007", "04001202": 60}, True),  # hourly freeze
        ({"04001201": "2601010022", "04001202": 60}, False),
        ({"04001201": "2601010000", "04001202": 5}, False),
        ({"04000108": "2609212223"}, False),  # switch of the prices
        ({"04000106": "2609222223"}, True),
    ],
)
def test_not_near_a_freeze_or_a_switch(
    tmp_path: Path, parameters: dict[str, Any], is_set: bool
) -> None:
    """The meter is asked when it acts."""
    rig = make_rig(tmp_path, 45)
    for di, value in parameters.items():
        rig.meter.pin(di, value)
    rig.run(build(rig, may_correct=True))
    assert bool(sets_sent(rig)) == is_set


@pytest.mark.parametrize("answer", [None, b"\x04"])
def test_a_meter_that_does_not_say_when_it_freezes_is_not_set(
    tmp_path: Path, answer: bytes | None
) -> None:
    """A freeze might be near."""
    rig = make_rig(tmp_path, 45)

    def refuse(asked: Frame, reply: Frame | None) -> Frame | None:
        if identifier_text(asked.data) != "04001203":
            return reply
        return answer and Frame(asked.address, asked.function | 0x80 | ABNORMAL_BIT, answer)

    rig.hook = refuse
    watch = build(rig, may_correct=True)
    rig.run(watch)
    assert not sets_sent(rig)
    assert watch.drift_s("m-0") == pytest.approx(45, abs=1)


def test_one_correction_a_day_also_over_restarts(tmp_path: Path) -> None:
    """It is durable before it is sent."""
    rig = make_rig(tmp_path, 45, at="2026-09-21T08:20:00")
    rig.run(build(rig, may_correct=True))
    rig.meter.clock._error_ms += 60_000
    for _ in range(5):
        rig.clock.advance(2 * HOUR_MS)
        rig.run(build(rig, may_correct=True))
    assert len(sets_sent(rig)) == 1
    rig.clock.advance(6 * HOUR_MS)
    rig.run(build(rig, may_correct=True))
    assert len(sets_sent(rig)) == 2


def test_a_day_at_the_meter_begins_at_its_midnight(tmp_path: Path) -> None:
    """Not at that of UTC."""
    assert rules.day_of(utc_of("2026-09-21T23:59:59"), OFFSET_MIN) + 1 == rules.day_of(
        utc_of("2026-09-22T00:00:00"), OFFSET_MIN
    )
    rig = make_rig(tmp_path, 45, at="2026-09-21T07:20:00")  # UTC is one day behind
    rig.run(build(rig, may_correct=True))
    rig.meter.clock._error_ms += 60_000
    rig.clock.advance(2 * HOUR_MS)  # of the next day in UTC
    rig.run(build(rig, may_correct=True))
    assert len(sets_sent(rig)) == 1


def test_what_is_not_durable_is_not_sent(tmp_path: Path) -> None:
    """A disk that refuses: the clock stays wrong."""
    rig = make_rig(tmp_path, 45)
    rig.is_refusing = True
    watch = build(rig, may_correct=True)
    for _ in range(3):
        rig.run(watch)
        rig.clock.advance(MINUTE_MS)
    assert not sets_sent(rig)


def test_a_power_cut_between_the_promise_and_the_frame_repeats_nothing(tmp_path: Path) -> None:
    """The day counts as used."""
    rig = make_rig(tmp_path, 45)
    watch = build(rig, may_correct=True)
    job = watch.next_job(rig.now())
    assert job is not None
    list(rig.steps(job))
    assert json.loads(rig.memos(SCOPE)["m-0"])["sets"]
    assert not sets_sent(rig)
    rig.run(build(rig, may_correct=True))
    assert not sets_sent(rig)


def _granted(rig: Rig, watch: ClockWatch) -> Any:
    """The job of a correction, right before it."""
    job = watch.next_job(rig.now())
    assert job is not None
    list(rig.steps(job))
    job = watch.next_job(rig.now())
    assert job is not None
    return job


@pytest.mark.parametrize("change", ["policy", "quality", "doubt", "hour"])
def test_a_promise_that_no_longer_holds_is_dropped(tmp_path: Path, change: str) -> None:
    """All is looked at again right before the frame."""
    rig = make_rig(tmp_path, 45, at="2026-09-21T22:54:10" if change == "hour" else QUIET)
    policy = [True]
    watch = build(rig)
    watch._may_correct = lambda: policy[0]
    steps = rig.steps(_granted(rig, watch))
    next(steps)  # its clock is read once more
    if change == "policy":
        policy[0] = False
    elif change == "quality":
        rig.clock.set_quality(TimeQuality.RTC)
    elif change == "doubt":
        rig.clock.set_doubt(True)
    else:
        rig.clock.advance(10_000)
    list(steps)
    assert not sets_sent(rig)


def test_a_clock_that_somebody_set_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """The promise was for another error."""
    rig = make_rig(tmp_path, 45)
    watch = build(rig, may_correct=True)
    job = _granted(rig, watch)
    rig.meter.clock._error_ms = 10_000
    list(rig.steps(job))
    assert not sets_sent(rig)


def test_a_stale_promise_is_dropped(tmp_path: Path) -> None:
    """The meter was out of reach meanwhile."""
    rig = make_rig(tmp_path, 45)
    watch = build(rig, may_correct=True)
    job = watch.next_job(rig.now())
    assert job is not None
    list(rig.steps(job))
    rig.reached.clear()
    assert watch.next_job(rig.now()) is None
    rig.clock.advance(RETRY_MS + 1)
    rig.reached.add("m-0")
    job = watch.next_job(rig.now())
    assert job is not None
    list(rig.steps(job))
    assert not sets_sent(rig)


def test_a_meter_that_ignores_it_is_found_faulty(tmp_path: Path) -> None:
    """Firmware that takes the time from the broadcast alone: twice, on two days, and no more."""
    rig = make_rig(tmp_path, 45, make=Dlt645Meter)
    watch = build(rig, may_correct=True)
    for _ in range(6):
        rig.run(watch)
        rig.clock.advance(DAY_MS)
    assert len(sets_sent(rig)) == 2
    assert "now 45 s ahead" in {kind: words for kind, _, words in rig.told}["meter-clock-set"]
    assert "meter-clock-faulty" in rig.kinds()
    faulty = rig.kinds().index("meter-clock-faulty")
    assert rig.kinds()[:faulty].count("meter-clock-set") == 1


def test_a_clock_that_runs_away_is_faulty_for_a_month(tmp_path: Path) -> None:
    """Corrected twice, then told; after a month it may be tried again."""
    rig = make_rig(tmp_path, 45)
    watch = build(rig, may_correct=True)
    for _ in range(40):
        rig.run(watch)
        rig.meter.clock._error_ms += 4_000
        rig.clock.advance(DAY_MS)
    assert 2 <= len(sets_sent(rig)) <= 4
    assert "meter-clock-faulty" in rig.kinds()


def test_silence_after_the_set_repeats_no_set(tmp_path: Path) -> None:
    """It is told that nobody knows."""
    rig = make_rig(tmp_path, 45)

    def fall_silent(asked: Frame, reply: Frame | None) -> Frame | None:
        return None if sets_sent(rig) else reply

    rig.hook = fall_silent
    watch = build(rig, may_correct=True)
    rig.run(watch)
    assert len(sets_sent(rig)) == 1
    assert "did not answer" in rig.told[-1][2]
    rig.hook = lambda _, reply: reply
    rig.clock.advance(RETRY_MS)
    rig.run(watch)
    assert len(sets_sent(rig)) == 1


def test_a_clock_of_1997_is_read_and_never_set(tmp_path: Path) -> None:
    """Its edition has the date and the time."""
    rig = make_rig(tmp_path, edition="1997", quantities=("1-0:1.8.0",))
    told = MeterTime(2026, 9, 21, 22, 21, 0)

    def answer(asked: Frame, _: Frame | None) -> Frame | None:
        wire = told.to_bytes()
        data = {b"\x10\xc0": b"\x01" + wire[3:], b"\x11\xc0": wire[:3]}[bytes(asked.data)]
        return Frame(asked.address, 0x81, bytes(asked.data) + data)

    rig.hook = answer
    watch = build(rig, may_correct=True)
    rig.run(watch)
    assert watch.drift_s("m-0") == pytest.approx(60, abs=1)
    assert not sets_sent(rig)


def test_the_frame_goes_out_when_it_was_made(tmp_path: Path) -> None:
    """A line that does not fall silent at once: the time would be old."""
    rig = make_rig(tmp_path, 45)
    watch = build(rig, may_correct=True)
    steps = rig.steps(_granted(rig, watch))
    next(steps)
    for n in range(60):
        rig.port.inject(n * 10.0, b"\x00")
    rig.line._turnaround_s = 0.02
    rig.line.use = lambda _: None  # type: ignore[method-assign]
    list(steps)
    assert not sets_sent(rig)


@pytest.mark.parametrize("seed", range(8))
def test_random_clocks_are_never_set_against_the_rules(tmp_path: Path, seed: int) -> None:
    """Whatever they show, and whenever: each set obeys all of it, and none makes a clock worse."""
    rng = random.Random(seed)
    rig = make_rig(tmp_path, clock_drift_ppm=rng.choice((0, 300, -500)))
    watch = build(rig, may_correct=True)
    days: list[int] = []
    for _ in range(120):
        rig.clock.advance(rng.randrange(HOUR_MS, 9 * HOUR_MS))
        if rng.random() < 0.3:
            rig.meter.clock._error_ms = rng.randrange(-400_000, 400_000)
        if rng.random() < 0.2:
            watch = build(rig, may_correct=True)
        before = error_s(rig)
        sent = len(sets_sent(rig))
        rig.run(watch)
        if len(sets_sent(rig)) > sent:
            now = rig.clock.utc_ms()
            assert 29 < abs(before) < 292
            assert abs(error_s(rig)) < 1.5
            assert 4 < (now + OFFSET_MS) % HOUR_MS / MINUTE_MS < 56
            days.append((now + OFFSET_MS) // DAY_MS)
    assert len(days) == len(set(days))
    assert all(days[n + 2] - days[n] >= 30 for n in range(len(days) - 2))
    assert days
