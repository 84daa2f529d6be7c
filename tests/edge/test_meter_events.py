"""Meters' event records from virtual meters: each once, none lost in silence."""

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge.collect.event_records import KINDS_OF, news_of, record_identifier
from edge.collect.meter_events import RETRY_MS, SCOPE, MeterEvents
from hil.meter_events import COVER_OPENED
from protocols.bcd import encode_bcd
from protocols.dlt645.frame import ABNORMAL_BIT, Frame
from protocols.dlt645.identifiers import identifier_text
from protocols.events import METER_EVENTS, Event
from protocols.readings import TimeQuality
from tests.edge.history_rig import DAY_MS, HOUR_MS, MINUTE_MS, Rig, utc_of

KIND = "meter-cover-opened"
COUNTER = "03300D00"
PERIOD_MS = 3_600_000


def build(rig: Rig, drift_s: int | None = None, **collect: Any) -> MeterEvents:
    """The producer as a start of the agent builds it."""
    return MeterEvents(rig.means(**collect), lambda _: drift_s)


def open_cover(rig: Rig, times: int = 1, meter: str = "m-0") -> list[int]:
    """Opens and closes it, a minute apart; when, by UTC ms in whole seconds."""
    opened = []
    for _ in range(times):
        opened.append(rig.clock.utc_ms() // 1000 * 1000)
        rig.meters[meter].open_cover()
        rig.clock.advance(30_000)
        rig.meters[meter].close_cover()
        rig.clock.advance(30_000)
    return opened


def of_kind(rig: Rig, kind: str = KIND) -> list[Event]:
    """The events of a kind, as stored."""
    return [one for one in rig.events() if one.kind == kind]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """One meter."""
    return Rig(tmp_path)


def test_first_sight_collects_what_is_there(rig: Rig) -> None:
    """Oldest first, with the meter's stamp and count, its words and frames; and nothing twice."""
    opened = open_cover(rig, 3)
    producer = build(rig, drift_s=-7)
    rig.run(producer)
    found = of_kind(rig)
    assert [one.at for one in found] == opened
    assert [one.number for one in found] == [1, 2, 3]
    last = found[-1]
    assert (last.subject, last.drift_s, last.quality) == ("m-0", -7, TimeQuality.NTP)
    assert last.boot_id == rig.clock.boot_id
    assert "end 20" in last.detail
    assert "forward active before" in last.detail
    assert [way for way, _, _ in last.evidence] == [">", "<"]
    assert not of_kind(rig, "events-lost")
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert len(of_kind(rig)) == 3


def test_only_new_records_are_read(rig: Rig) -> None:
    """By the counts: a look at which nothing moved reads counts alone."""
    open_cover(rig, 2)
    producer = build(rig)
    rig.run(producer)
    rig.asked.clear()
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert all(identifier_text(one.data) in KINDS_OF for one in rig.asked)
    open_cover(rig)
    rig.asked.clear()
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    records = [identifier_text(one.data) for one in rig.asked]
    assert [one for one in records if one not in KINDS_OF] == ["03300D01"]
    assert [one.number for one in of_kind(rig)] == [1, 2, 3]


def test_a_look_takes_place_once_a_period(rig: Rig) -> None:
    """And 0 is never."""
    producer = build(rig)
    assert rig.run(producer) > 0
    rig.clock.advance(PERIOD_MS - 60_000)
    assert rig.run(producer) == 0
    rig.clock.advance(61_000)
    assert rig.run(producer) > 0
    assert rig.run(build(rig, events_period_s=0)) == 0


def test_a_restart_goes_on_from_the_counts_in_the_journal(rig: Rig) -> None:
    """What happened while the gateway was off is new, and nothing else."""
    open_cover(rig, 2)
    rig.run(build(rig))
    assert json.loads(rig.memos(SCOPE)["m-0"])[KIND] == 2
    open_cover(rig, 2)
    rig.asked.clear()
    rig.run(build(rig))
    assert [one.number for one in of_kind(rig)] == [1, 2, 3, 4]
    assert {identifier_text(one.data) for one in rig.asked} & {"03300D03"} == set()


def test_counts_are_not_remembered_without_their_events(rig: Rig) -> None:
    """A disk that refuses keeps neither; later both are there, once."""
    opened = open_cover(rig, 2)
    producer = build(rig)
    rig.is_refusing = True
    for _ in range(3):
        rig.run(producer)
        rig.clock.advance(RETRY_MS)
    assert (rig.events(), rig.memos(SCOPE)) == ([], {})
    rig.is_refusing = False
    rig.run(producer)
    assert [one.at for one in of_kind(rig)] == opened


def test_counts_and_events_are_kept_in_one_transaction(rig: Rig) -> None:
    """Where only the events are refused, the count is not kept either."""
    open_cover(rig, 2)
    rig.is_short = True
    rig.run(build(rig))
    assert KIND not in json.loads(rig.memos(SCOPE)["m-0"])
    rig.is_short = False
    rig.run(build(rig))
    assert [one.number for one in of_kind(rig)] == [1, 2]


def test_more_than_ten_are_lost_and_told(rig: Rig) -> None:
    """The latest ten are events; the others a number in an alarm."""
    producer = build(rig)
    rig.run(producer)
    opened = open_cover(rig, 13)
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert [one.at for one in of_kind(rig)] == opened[3:]
    lost = of_kind(rig, "events-lost")
    assert [(one.subject, one.number) for one in lost] == [("m-0", 0)]
    assert lost[0].detail.startswith(f"{KIND}: 3 of 13 up to number 13")


def test_on_first_sight_nothing_counts_as_lost(rig: Rig) -> None:
    """What was before our time is history."""
    open_cover(rig, 12)
    rig.run(build(rig))
    assert [one.number for one in of_kind(rig)] == list(range(3, 13))
    assert not of_kind(rig, "events-lost")


def test_a_count_that_fell_is_told_and_is_the_new_baseline(rig: Rig) -> None:
    """Somebody cleared the events; what happened since is collected."""
    open_cover(rig, 5)
    producer = build(rig)
    rig.run(producer)
    rig.meter._registers.events.clear()
    opened = open_cover(rig, 2)
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert [one.at for one in of_kind(rig)[5:]] == opened
    assert [one.number for one in of_kind(rig)[5:]] == [1, 2]
    lost = of_kind(rig, "events-lost")
    assert len(lost) == 1
    assert "fell from 5 to 2" in lost[0].detail
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert len(of_kind(rig)) == 7
    assert len(of_kind(rig, "events-lost")) == 1


def test_a_count_that_rolls_over_goes_on(rig: Rig) -> None:
    """999999 is followed by 0: that is event 1000000, and no clearing."""
    producer = build(rig)
    rig.run(producer)
    rig.meter._registers.events._counts[COVER_OPENED] = 999_998
    open_cover(rig)
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    open_cover(rig, 2)
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert [one.number for one in of_kind(rig)] == [999_999, 1_000_000, 1]


@pytest.mark.parametrize(
    ("before", "counted", "fresh", "fell_from"),
    [
        (None, 4, 4, None),
        (4, 4, None, None),
        (4, 6, 2, None),
        (6, 4, 4, 6),
        (6, 0, 0, 6),
        (999_999, 0, 1, None),
        (999_500, 400, 900, None),
        (990_000, 5, 5, 990_000),
    ],
)
def test_what_a_count_says(
    before: int | None, counted: int, fresh: int | None, fell_from: int | None
) -> None:
    """Grown, rolled over, or cleared."""
    news = news_of(KIND, before, counted)
    if fresh is None:
        assert news is None
    else:
        assert news is not None
        assert (news.fresh, news.fell_from, news.is_first) == (fresh, fell_from, before is None)


@pytest.mark.parametrize(
    ("kind", "identifier"),
    [
        ("meter-loss-of-voltage-l1", "03010103"),
        ("meter-overload-l3", "030F0303"),
        ("meter-demand-over-limit-6", "03120603"),
        ("meter-power-down", "03110003"),
        ("meter-programming", "03300003"),
        ("meter-combination-word-programming-3", "03300B03"),
        ("meter-relay-opened", "1D00FF03"),
    ],
)
def test_where_records_stand(kind: str, identifier: str) -> None:
    """By the phase, or the class."""
    assert record_identifier(kind, 3) == identifier


def test_ten_records_have_the_identifiers_1_to_a() -> None:
    """Bytes, not digits."""
    assert record_identifier(KIND, 10) == "03300D0A"


def test_phases_are_counted_apart(rig: Rig) -> None:
    """One identifier holds three counts and three times; each phase has records of its own."""
    rig.meter.pin("03010000", bytes(18))
    producer = build(rig)
    rig.run(producer)
    counts = b"".join(encode_bcd(one, 3) for one in (0, 9, 2, 30, 0, 0))
    rig.meter.pin("03010000", counts)
    stamp = bytes.fromhex("00 30 12 01 09 26")
    for record in ("03010201", "03010202"):
        rig.meter.pin(record, stamp + b"\xff" * 6 + bytes(131 - 12))
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    found = [one for one in rig.events() if "loss-of-voltage" in one.kind]
    assert [(one.kind, one.number) for one in found] == [
        ("meter-loss-of-voltage-l2", 1),
        ("meter-loss-of-voltage-l2", 2),
    ]


def test_a_clock_setting_is_stamped_by_the_new_time(rig: Rig) -> None:
    """The old one may have been anything; the words say it."""
    producer = build(rig)
    rig.run(producer)
    rig.meter.pin("03300400", encode_bcd(1, 3))
    before, after = "00 00 00 01 01 00", "05 30 12 21 09 26"
    rig.meter.pin("03300401", bytes.fromhex("78 56 34 12" + before + after))
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    (found,) = of_kind(rig, "meter-clock-setting")
    assert found.at == utc_of("2026-09-21T12:30:05")
    assert "before 2000-01-01T00:00:00" in found.detail
    assert "operator 12345678" in found.detail


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"\xff" * 60, "the record is empty"),
        (bytes.fromhex("00 30 12 01 09 99") + b"\xff" * 54, "still to come"),
        (bytes.fromhex("00 30 32 01 09 26") + b"\xff" * 54, "not a time"),
        (b"\x0a" * 60, ""),
        (b"\xff" * 7, "bytes where"),
    ],
)
def test_a_record_without_a_readable_stamp_is_counted_as_lost(
    rig: Rig, record: bytes, reason: str
) -> None:
    """It is no event, and no false time."""
    producer = build(rig)
    rig.run(producer)
    open_cover(rig)
    open_cover(rig)
    rig.meter.pin("03300D01", record)
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert [one.number for one in of_kind(rig)] == [1]
    (lost,) = of_kind(rig, "events-lost")
    assert lost.detail.startswith(f"{KIND}: 1 of 2 up to number 2")
    assert reason in lost.detail


def test_records_of_an_unknown_layout_are_lost_and_told(rig: Rig) -> None:
    """No public source tells where the time stands: none is made up."""
    rig.meter.pin("03300800", encode_bcd(0, 3))
    producer = build(rig)
    rig.run(producer)
    rig.meter.pin("03300800", encode_bcd(1, 3))
    rig.meter.pin("03300801", bytes(20))
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert not of_kind(rig, "meter-holiday-programming")
    assert "laid out" in of_kind(rig, "events-lost")[0].detail


def test_a_stamp_ahead_of_us_counts_where_the_meters_clock_is(rig: Rig) -> None:
    """A clock that is three days ahead has stamps that are: they are what the meter says."""
    rig.run(build(rig))
    ahead = rig.meter.clock.time(rig.clock.utc_ms() + 3 * DAY_MS).to_bytes()
    rig.meter.pin(COUNTER, encode_bcd(1, 3))
    rig.meter.pin("03300D01", ahead + b"\xff" * 54)
    rig.run(build(rig, drift_s=3 * 86_400))
    assert [one.drift_s for one in of_kind(rig)] == [3 * 86_400]


def test_without_the_time_no_stamp_is_too_late(tmp_path: Path) -> None:
    """A gateway that lies in the past must not drop what the meter knows better."""
    rig = Rig(tmp_path)
    open_cover(rig)
    rig.clock.set_quality(TimeQuality.UNSYNCED)
    wrong = rig.clock.utc_ms() - 400 * DAY_MS
    meter_ms = rig.clock.utc_ms
    rig.meter.clock._clock = lambda: meter_ms() + 400 * DAY_MS
    rig.clock.set_utc(wrong)
    rig.run(build(rig))
    assert [one.quality for one in of_kind(rig)] == [TimeQuality.UNSYNCED]


def test_what_a_meter_refuses_is_not_asked_again(rig: Rig) -> None:
    """Until the agent starts anew."""
    rig.meter._registers._refuses = frozenset({"03050000", COUNTER})
    producer = build(rig)
    rig.run(producer)
    rig.asked.clear()
    open_cover(rig)
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    asked = {identifier_text(one.data) for one in rig.asked}
    assert "03300E00" in asked
    assert not asked & {"03050000", COUNTER, "03300D01"}
    rig.meter._registers._refuses = frozenset()
    rig.run(build(rig))
    assert [one.number for one in of_kind(rig)] == [1]


def test_a_refusal_of_another_kind_is_asked_again_next_time(rig: Rig) -> None:
    """Not within the look."""
    open_cover(rig)
    refusals = []

    def refuse(asked: Frame, reply: Frame | None) -> Frame | None:
        if identifier_text(asked.data) != COUNTER or refusals:
            return reply
        refusals.append(asked)
        return Frame(asked.address, asked.function | 0x80 | ABNORMAL_BIT, b"\x04")

    rig.hook = refuse
    producer = build(rig)
    rig.run(producer)
    assert (len(refusals), of_kind(rig)) == (1, [])
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert len(of_kind(rig)) == 1


def test_a_meter_that_counts_but_shows_no_records(rig: Rig) -> None:
    """Its later events are told as lost, each look once."""
    rig.meter._registers._refuses = frozenset({"03300D01"})
    open_cover(rig, 2)
    producer = build(rig)
    rig.run(producer)
    assert not rig.events()
    open_cover(rig)
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert [one.kind for one in rig.events()] == ["events-lost"]
    assert "does not show" in rig.events()[0].detail
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert len(rig.events()) == 1


def test_an_event_while_records_are_read_shifts_nothing(rig: Rig) -> None:
    """The counts moved meanwhile: all is read anew, and each record keeps its number."""
    producer = build(rig)
    rig.run(producer)
    opened = open_cover(rig, 3)
    seen = []

    def meddle(asked: Frame, reply: Frame | None) -> Frame | None:
        if identifier_text(asked.data) == "03300D02" and not seen:
            seen.append(asked)
            opened.extend(open_cover(rig))
            return rig.meter.answer(asked)
        return reply

    rig.hook = meddle
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert [(one.number, one.at) for one in of_kind(rig)] == list(
        zip(range(1, 5), opened, strict=True)
    )
    assert not of_kind(rig, "events-lost")


def test_a_meter_that_counts_on_and_on_does_not_hold_up_the_line(rig: Rig) -> None:
    """After three rounds it is told what could not be told apart."""
    producer = build(rig)
    rig.run(producer)
    open_cover(rig)

    def meddle(asked: Frame, reply: Frame | None) -> Frame | None:
        if identifier_text(asked.data) == "03300D01":
            rig.meter.open_cover()
            rig.meter.close_cover()
        return reply

    rig.hook = meddle
    rig.clock.advance(PERIOD_MS)
    rig.run(producer)
    assert not of_kind(rig)
    assert "counted on" in of_kind(rig, "events-lost")[0].detail


def test_silence_half_way_is_taken_up_later(rig: Rig) -> None:
    """Where it stopped, and with nothing lost or twice."""
    opened = open_cover(rig, 4)
    rig.hook = lambda asked, reply: None if identifier_text(asked.data) == "03300D03" else reply
    producer = build(rig)
    rig.run(producer)
    assert not of_kind(rig)
    rig.hook = lambda _, reply: reply
    assert rig.run(producer) == 0
    rig.clock.advance(RETRY_MS)
    rig.asked.clear()
    rig.run(producer)
    assert [one.at for one in of_kind(rig)] == opened
    assert identifier_text(rig.asked[0].data) == COUNTER


def test_a_meter_out_of_reach_is_left_alone(tmp_path: Path) -> None:
    """The other one is not."""
    rig = Rig(tmp_path, 2)
    open_cover(rig, meter="m-0")
    open_cover(rig, meter="m-1")
    rig.reached = {"m-1"}
    rig.run(build(rig))
    assert {one.subject for one in of_kind(rig)} == {"m-1"}


def test_one_meter_at_a_time(tmp_path: Path) -> None:
    """Its look is not mixed with another's."""
    rig = Rig(tmp_path, 3)
    rig.run(build(rig))
    order = [one.address for one in rig.asked]
    changes = sum(one != two for one, two in pairwise(order))
    assert changes == 2


def test_other_editions_are_not_asked(tmp_path: Path) -> None:
    """Nor a meter whose edition nobody knows yet."""
    for n, edition in enumerate(("1997", "auto")):
        folder = tmp_path / str(n)
        folder.mkdir()
        rig = Rig(folder, edition=edition, quantities=("1-0:1.8.0",))
        assert rig.run(build(rig)) == 0


def test_every_kind_has_a_counter_that_is_asked(rig: Rig) -> None:
    """The table of kinds and what goes over the line agree."""
    rig.run(build(rig))
    asked = {identifier_text(one.data) for one in rig.asked}
    assert {one.counter for one in METER_EVENTS.values()} <= asked


@pytest.mark.parametrize("seed", range(6))
def test_random_histories_are_complete(tmp_path: Path, seed: int) -> None:
    """Openings, silences, refusing disks, restarts: each event once, or in the count of the
    lost."""
    rng = random.Random(seed)
    rig = Rig(tmp_path)
    producer = build(rig)
    rig.run(producer)
    opened: list[int] = []
    for _ in range(25):
        opened += open_cover(rig, rng.choice((0, 0, 1, 3, 11)))
        is_silent = rng.random() < 0.2
        rig.hook = _losing(rng, 0.15) if is_silent else lambda _, reply: reply
        rig.is_refusing = rng.random() < 0.2
        rig.clock.advance(rng.choice((MINUTE_MS, HOUR_MS)))
        rig.run(producer)
        if rng.random() < 0.3:
            producer = build(rig)
    rig.hook, rig.is_refusing = lambda _, reply: reply, False
    rig.clock.advance(2 * HOUR_MS)
    rig.run(producer)
    found = of_kind(rig)
    assert [one.number for one in found] == sorted({one.number for one in found})
    assert all(opened[one.number - 1] == one.at for one in found)
    lost = sum(int(one.detail.split()[1]) for one in of_kind(rig, "events-lost"))
    assert len(found) + lost == len(opened)


def _losing(rng: random.Random, share: float) -> Any:
    def hook(_: Frame, reply: Frame | None) -> Frame | None:
        return None if rng.random() < share else reply

    return hook
