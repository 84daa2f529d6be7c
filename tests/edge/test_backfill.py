"""Gaps filled from virtual meters' own history: whole, once, newest first, honest at the end."""

import random
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge.collect.backfill import (
    DRIFT_WAIT_MS,
    FAILURES_MAX,
    NEAR_MS,
    PAUSE_MS_MAX,
    SCOPE,
    Backfill,
)
from edge.collect.filling import BLOCKS
from edge.collect.gaps import GAPS_MAX, Gap, from_text, to_text, with_gap
from edge.collect.history_sources import sources_of
from edge.collect.meter_time import meter_time
from hil.load import Load
from hil.meter_history import SEPARATOR
from protocols.dlt645.frame import ABNORMAL_BIT, Frame
from protocols.dlt645.identifiers import identifier_text
from protocols.errors import CallerError
from protocols.events import Event
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Flag, Origin, Reading, ReadingSet, TimeQuality
from tests.edge.fakes import BOOT_ID, FakeClock
from tests.edge.history_rig import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    OFFSET_MS,
    QUANTITIES,
    Rig,
    utc_of,
)

NOON = "2026-09-21T12:20:00"  # local
QUARTER_MS = 15 * MINUTE_MS
IMPORT, EXPORT = Obis.from_text("1-0:1.8.0"), Obis.from_text("1-0:2.8.0")
IMPORT_T1, VOLTAGE = Obis.from_text("1-0:1.8.1"), Obis.from_text("1-0:32.7.0")


def build(rig: Rig, drift_s: int | None = 0, **collect: Any) -> Backfill:
    """The producer as a start of the agent builds it."""
    return Backfill(
        rig.sections,
        rig.means(**collect),
        lambda _: drift_s,
        rig.reader.sets_between,
        lambda: not rig.is_crowded,
    )


def make_rig(folder: Path, at: str = NOON, minutes: int = 15, **more: Any) -> Rig:
    """Meters with load records each `minutes`."""
    clock = FakeClock()
    clock.set_utc(utc_of(at))
    rig = Rig(folder, clock=clock, **more)
    for meter in rig.meters.values():
        if hasattr(meter, "orders"):
            for number in range(2, 8):
                meter.pin(f"04000A{number:02X}", minutes)
    return rig


def of(rig: Rig, origin: int, meter: str = "m-0") -> list[ReadingSet]:
    """The sets of an origin, as stored, by their instant."""
    found = [one for one in rig.sets() if (one.origin, one.meter_id) == (origin, meter)]
    return sorted(found, key=lambda one: one.read_at)


def ends(rig: Rig) -> list[Event]:
    """What was told of gaps."""
    return [one for one in rig.events() if one.kind in ("backfilled", "backfill-incomplete")]


def true_import(at: int, number: int = 0) -> int:
    """What the register of a meter showed then (10 Wh)."""
    shown = Load(number + 1, phases=1, utc_offset_ms=OFFSET_MS).shown(at)[1, 8, 0]
    assert shown is not None
    return shown // 10_000


def live(rig: Rig, at: int, *codes: Obis) -> None:
    """A live reading of these registers."""
    readings = tuple(Reading(code, Quantity(1, 1, "Wh", Kind.CUMULATIVE)) for code in codes)
    one = ReadingSet("m-0", at, 1, BOOT_ID, TimeQuality.NTP, readings, Origin.LIVE, 0)
    rig.keep([one])


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """One meter with load records each quarter of an hour."""
    return make_rig(tmp_path)


# ---- what is filled -----------------------------------------------------------------------------


def test_a_gap_is_filled_from_the_load_records(rig: Rig) -> None:
    """Each record of the gap once, by the meter's stamp, with its registers of that instant."""
    first, last = utc_of("2026-09-21T08:00:00"), utc_of("2026-09-21T11:45:00")
    fill = build(rig)
    fill.note_missed("m-0", "m-0", first, last, "the gateway did not run")
    rig.run(fill)
    found = of(rig, Origin.LOAD_RECORD)
    assert [one.read_at for one in found] == list(range(first, last + 1, QUARTER_MS))
    for one in found:
        assert {reading.obis for reading in one.readings} == {IMPORT, EXPORT}
        assert one.readings[0].quantity.value == true_import(one.read_at)
        assert (one.boot_id, one.quality, one.flags) == (BOOT_ID, TimeQuality.NTP, 0)
        assert one.boot_at > 0
    (end,) = ends(rig)
    assert (end.kind, end.subject) == ("backfilled", "m-0")
    assert (
        end.detail == f"16 reading sets from {first} to {last + 1} ms UTC (the gateway did not run)"
    )
    assert fill.gaps("m-0") == []
    assert rig.run(fill) == 0


def test_midnights_are_filled_from_the_daily_freezes(rig: Rig) -> None:
    """With the rates, which load records lack; and no register of an instant twice."""
    first, last = utc_of("2026-09-18T20:00:00"), utc_of("2026-09-21T06:00:00")
    fill = build(rig)
    fill.request("m-0", first, last)
    rig.run(fill)
    frozen = of(rig, Origin.FREEZE)
    assert [one.read_at for one in frozen] == [
        utc_of(f"2026-09-{day}T00:00:00") for day in (19, 20, 21)
    ]
    for one in frozen:
        assert {reading.obis for reading in one.readings} == {IMPORT, IMPORT_T1, EXPORT}
        assert one.readings[0].quantity.value == true_import(one.read_at)
    kept = [(one.read_at, reading.obis) for one in rig.sets() for reading in one.readings]
    assert len(kept) == len(set(kept))
    records = [one.read_at for one in of(rig, Origin.LOAD_RECORD)]
    midnights = {one.read_at for one in frozen}
    assert set(records) | midnights == set(range(first, last, QUARTER_MS))
    assert not set(records) & midnights


def test_the_newest_comes_first(rig: Rig) -> None:
    """Window by window within a gap, and gap by gap."""
    fill = build(rig)
    old = utc_of("2026-09-20T08:00:00")
    new = utc_of("2026-09-21T03:00:00")
    fill.note_missed("m-0", "m-0", old, old + 6 * HOUR_MS)
    fill.note_missed("m-0", "m-0", new, new + 6 * HOUR_MS)
    rig.run(fill)
    stamps = [one.read_at for one in rig.sets()]
    assert stamps[0] > new + 4 * HOUR_MS
    assert all(stamp >= new for stamp in stamps[:25])
    assert all(stamp < new for stamp in stamps[25:])
    windows = [stamps[n : n + BLOCKS] for n in range(0, 24, BLOCKS)]
    assert all(min(one) > max(two) for one, two in pairwise(windows))


@pytest.mark.parametrize("minutes", [1, 5, 15, 30, 60])
def test_any_interval_is_filled_whole(tmp_path: Path, minutes: int) -> None:
    """The interval is learned; each step is one exchange and few are in vain."""
    rig = make_rig(tmp_path, minutes=minutes)
    first, last = utc_of("2026-09-21T05:00:00"), utc_of("2026-09-21T11:00:00")
    fill = build(rig)
    fill.note_missed("m-0", "m-0", first, last)
    jobs = rig.run(fill)
    stamps = [one.read_at for one in of(rig, Origin.LOAD_RECORD)]
    assert stamps == list(range(first, last + 1, minutes * MINUTE_MS))
    assert jobs <= 8 + 2 * len(stamps) / BLOCKS + 24 * (minutes > 15)


def test_only_registers_that_are_scheduled(tmp_path: Path) -> None:
    """Of quadrants, class 5; of voltages nothing is asked."""
    rig = make_rig(tmp_path, quantities=("00050000", "1-0:32.7.0"))
    first = utc_of("2026-09-21T09:00:00")
    fill = build(rig)
    fill.note_missed("m-0", "m-0", first, first + HOUR_MS)
    rig.run(fill)
    assert {r.obis for one in rig.sets() for r in one.readings} == {Obis.from_text("1-0:5.8.0")}
    asked = {identifier_text(one.data) for one in rig.asked}
    assert asked == {"06050000", "06050001"}


def test_a_group_without_energies_leaves_no_gap(tmp_path: Path) -> None:
    """Nobody keeps its values."""
    rig = make_rig(tmp_path, quantities=("1-0:32.7.0",))
    fill = build(rig)
    fill.note_missed("m-0", "m-0", utc_of(NOON) - HOUR_MS, utc_of(NOON))
    assert fill.gaps("m-0") == []
    with pytest.raises(CallerError, match="no register"):
        fill.request("m-0", utc_of(NOON) - HOUR_MS, utc_of(NOON))


def _group(*quantities: str, align: str = "clock") -> dict[str, Any]:
    return {"name": "energy", "quantities": quantities, "period_s": 900, "align": align}


def test_a_slot_of_an_interval_is_all_of_its_period(tmp_path: Path) -> None:
    """It begins when it happens to, and the meter's record stands somewhere in it."""
    rig = make_rig(tmp_path, quantities=("1-0:32.7.0",))
    rig.sections[0]["groups"] = (_group("1-0:1.8.0", align="interval"),)
    fill = build(rig)
    first = utc_of("2026-09-21T09:07:13")
    fill.note_missed("m-0", "m-0/energy", first, first)
    rig.run(fill)
    assert [one.read_at for one in rig.sets()] == [utc_of("2026-09-21T09:15:00")]


def test_a_register_group_of_its_own(tmp_path: Path) -> None:
    """The task's name tells the group whose registers were missed."""
    rig = make_rig(tmp_path, quantities=("1-0:32.7.0",))
    rig.sections[0]["groups"] = (_group("1-0:1.8.0"),)
    fill = build(rig)
    first = utc_of("2026-09-21T09:00:00")
    fill.note_missed("m-0", "m-0", first, first + HOUR_MS)
    assert fill.gaps("m-0") == []
    fill.note_missed("m-0", "m-0/energy", first, first + HOUR_MS)
    rig.run(fill)
    assert len(of(rig, Origin.LOAD_RECORD)) == 5


@pytest.mark.parametrize(
    ("drift_s", "flags"),
    [(0, 0), (60, 0), (-60, 0), (61, Flag.METER_CLOCK_SUSPECT), (-400, Flag.METER_CLOCK_SUSPECT),
     (None, Flag.METER_CLOCK_SUSPECT)],
)  # fmt: skip
def test_stamps_of_a_doubtful_clock_are_flagged(rig: Rig, drift_s: int | None, flags: int) -> None:
    """Off by more than a minute, or not known."""
    fill = build(rig, drift_s)
    fill.note_missed("m-0", "m-0", utc_of("2026-09-21T09:00:00"), utc_of("2026-09-21T10:00:00"))
    if drift_s is None:
        assert rig.run(fill) == 0
        rig.clock.advance(DRIFT_WAIT_MS)
    rig.run(fill)
    assert [one.flags for one in rig.sets()] == [flags] * 5


def test_where_no_clock_is_read_nobody_waits_for_it(rig: Rig) -> None:
    """All is flagged at once."""
    fill = build(rig, None, clock_period_s=0)
    fill.note_missed("m-0", "m-0", utc_of("2026-09-21T09:00:00"), utc_of("2026-09-21T10:00:00"))
    rig.run(fill)
    assert [one.flags for one in rig.sets()] == [Flag.METER_CLOCK_SUSPECT] * 5


# ---- nothing twice ------------------------------------------------------------------------------


def test_what_is_there_is_not_stored_again(rig: Rig) -> None:
    """Live or from history, asked for as often as one likes; and the end says so."""
    first, last = utc_of("2026-09-21T08:00:00"), utc_of("2026-09-21T10:00:00")
    live(rig, first + QUARTER_MS + 2_500, IMPORT, EXPORT, VOLTAGE)
    live(rig, first + 2 * QUARTER_MS - NEAR_MS, IMPORT)  # near, but not all of it
    live(rig, first + 3 * QUARTER_MS + NEAR_MS + 1, IMPORT, EXPORT)  # of another instant
    fill = build(rig)
    for _ in range(3):
        fill.request("m-0", first, last)
        rig.run(fill)
    found = of(rig, Origin.LOAD_RECORD)
    due = [first + n * QUARTER_MS for n in range(8) if n != 1]
    assert [one.read_at for one in found] == due
    assert [r.obis for r in found[1].readings] == [EXPORT]
    assert [one.kind for one in ends(rig)] == ["backfilled"] * 3
    assert [one.detail.split()[0] for one in ends(rig)] == ["7", "0", "0"]


def test_gaps_that_touch_are_one() -> None:
    """And of too many the nearest become one."""
    gaps: list[Gap] = []
    for first, last in ((10, 20), (40, 50), (20, 30), (45, 47), (29, 41)):
        gaps = with_gap(gaps, Gap(first, last))
    assert [(one.from_ms, one.to_ms) for one in gaps] == [(10, 50)]
    for n in range(GAPS_MAX + 5):
        gaps = with_gap(gaps, Gap(1000 * n + n * n + 100, 1000 * n + n * n + 200))
        assert len(gaps) <= GAPS_MAX
        assert all(one.to_ms < two.from_ms for one, two in pairwise(gaps))
    assert gaps[0].from_ms == 10
    assert gaps[-1].to_ms == 1000 * (GAPS_MAX + 4) + (GAPS_MAX + 4) ** 2 + 200
    assert from_text(to_text(gaps)) == gaps


def test_a_gap_that_is_being_filled_goes_on() -> None:
    """What lies inside it adds nothing to it."""
    gap = Gap(10, 100, end=40)
    assert with_gap([gap], Gap(20, 30)) == [gap]
    (grown,) = with_gap([gap], Gap(90, 120))
    assert (grown.from_ms, grown.to_ms, grown.end) == (10, 120, 120)


# ---- restarts, disks ----------------------------------------------------------------------------


def test_a_restart_goes_on_with_the_gap(rig: Rig) -> None:
    """After each step: the sum is whole, and no exchange of what is stored is repeated."""
    first, last = utc_of("2026-09-19T23:00:00"), utc_of("2026-09-21T11:00:00")
    build(rig).note_missed("m-0", "m-0", first, last)
    for _ in range(200):
        fill = build(rig)
        job = fill.next_job(rig.now())
        if job is None:
            break
        list(rig.steps(job))
        job = fill.next_job(rig.now())  # the outcome of the first
        if job is not None:
            steps = rig.steps(job)
            next(steps, None)  # a power cut on the way
            steps.close()
    stamps = sorted(one.read_at for one in rig.sets())
    assert stamps == list(range(first, last + 1, QUARTER_MS))
    assert [one.kind for one in ends(rig)] == ["backfilled"]
    assert len(rig.asked) < 3 * len(stamps) / BLOCKS + 20


def test_a_disk_that_refuses_loses_nothing(rig: Rig) -> None:
    """Not the gap, not its records; later all is there once."""
    first, last = utc_of("2026-09-21T08:00:00"), utc_of("2026-09-21T11:00:00")
    fill = build(rig)
    rig.is_refusing = True
    fill.note_missed("m-0", "m-0", first, last)
    for _ in range(5):
        rig.run(fill)
        rig.clock.advance(MINUTE_MS)
    assert (rig.sets(), rig.events(), rig.memos(SCOPE)) == ([], [], {})
    rig.is_refusing = False
    fill.next_job(rig.now())
    assert len(from_text(rig.memos(SCOPE)["m-0"])) == 1
    rig.clock.advance(PAUSE_MS_MAX)
    rig.run(fill)
    assert [one.read_at for one in rig.sets()][-1:] != []
    assert sorted(one.read_at for one in rig.sets()) == list(range(first, last + 1, QUARTER_MS))


def test_a_full_journal_is_left_to_live_readings(rig: Rig) -> None:
    """The gap waits."""
    fill = build(rig)
    fill.note_missed("m-0", "m-0", utc_of(NOON) - HOUR_MS, utc_of(NOON))
    rig.is_crowded = True
    assert rig.run(fill) == 0
    rig.is_crowded = False
    assert rig.run(fill) > 0


def test_a_gap_that_grows_meanwhile_is_filled_whole(rig: Rig) -> None:
    """A step that was under way does not mark the new part as done."""
    first, last = utc_of("2026-09-21T08:00:00"), utc_of("2026-09-21T10:00:00")
    fill = build(rig)
    fill.note_missed("m-0", "m-0", first, last)
    rig.run_some(fill, 1)
    job = fill.next_job(rig.now())
    assert job is not None
    steps = rig.steps(job)
    fill.note_missed("m-0", "m-0", last, last + HOUR_MS)
    list(steps)
    rig.run(fill)
    stamps = sorted(one.read_at for one in rig.sets())
    assert stamps == list(range(first, last + HOUR_MS + 1, QUARTER_MS))


# ---- when not -----------------------------------------------------------------------------------


def test_only_with_a_good_time(rig: Rig) -> None:
    """Else nobody knows what is in the gap."""
    fill = build(rig)
    fill.note_missed("m-0", "m-0", utc_of(NOON) - HOUR_MS, utc_of(NOON))
    rig.clock.set_quality(TimeQuality.RTC)
    assert rig.run(fill) == 0
    rig.clock.set_quality(TimeQuality.NTP)
    assert rig.run(fill) > 0


def test_switched_off_nothing_is_noted(rig: Rig) -> None:
    """And a request is told so."""
    fill = build(rig, backfill=False)
    fill.note_missed("m-0", "m-0", utc_of(NOON) - HOUR_MS, utc_of(NOON))
    assert fill.gaps("m-0") == []
    with pytest.raises(CallerError, match="switched off"):
        fill.request("m-0", utc_of(NOON) - HOUR_MS, utc_of(NOON))


def test_a_request_that_cannot_be_is_told_why(rig: Rig) -> None:
    """Another meter, too far back, to come, or the wrong way round; what can be is kept."""
    fill = build(rig)
    now = utc_of(NOON)
    with pytest.raises(CallerError, match="no history"):
        fill.request("m-9", now - HOUR_MS, now)
    for first, last in (
        (now - 33 * DAY_MS, now - 31 * DAY_MS),
        (now - HOUR_MS, now - 2 * HOUR_MS),
        (now + HOUR_MS, now + 2 * HOUR_MS),
    ):
        with pytest.raises(CallerError, match="in the last 31 days"):
            fill.request("m-0", first, last)
    fill.request("m-0", now - 40 * DAY_MS, now + HOUR_MS)
    (gap,) = fill.gaps("m-0")
    assert gap.from_ms >= now - 31 * DAY_MS
    assert gap.to_ms == rig.clock.utc_ms()


def test_a_journal_that_cannot_be_read_keeps_no_slot_from_being_told(rig: Rig) -> None:
    """The gap is kept in memory, and joined with what the journal has later."""
    first = utc_of("2026-09-21T08:00:00")
    build(rig).note_missed("m-0", "m-0", first, first)

    def broken(_scope: str) -> dict[str, Any]:
        raise sqlite3.OperationalError("disk I/O error")

    fill = build(rig)
    fill._memos = broken
    fill.note_missed("m-0", "m-0", first + HOUR_MS, first + HOUR_MS)
    with pytest.raises(sqlite3.Error):
        fill.next_job(rig.now())
    assert len(from_text(rig.memos(SCOPE)["m-0"])) == 1
    fill._memos = rig.memos
    rig.run(fill)
    assert sorted(one.read_at for one in rig.sets()) == [first, first + HOUR_MS]


def test_what_another_worker_noted_until_now_is_known(rig: Rig) -> None:
    """A line that is configured anew is built before the old one stops."""
    former, fresh = build(rig), build(rig)
    first = utc_of("2026-09-21T08:00:00")
    former.note_missed("m-0", "m-0", first, first)
    rig.run(fresh)
    assert [one.read_at for one in rig.sets()] == [first]


def test_other_meters_are_not_asked(tmp_path: Path) -> None:
    """Modbus meters have no history; of 1997 none is known: the gap ends as it is."""
    rig = make_rig(tmp_path, edition="1997", quantities=("1-0:1.8.0",))
    rig.sections.append(rig.sections[0] | {"id": "m-1", "protocol": "modbus"})
    fill = build(rig)
    for meter in ("m-0", "m-1"):
        fill.note_missed(meter, meter, utc_of(NOON) - HOUR_MS, utc_of(NOON))
    assert fill.gaps("m-1") == []
    rig.run(fill)
    assert rig.asked == []
    (end,) = ends(rig)
    assert (end.kind, end.subject) == ("backfill-incomplete", "m-0")
    assert "1997" in end.detail


def test_a_meter_out_of_reach_waits_and_does_not_hold_up_others(tmp_path: Path) -> None:
    """Its gap stays until it is back, or too old."""
    rig = make_rig(tmp_path, count=2)
    fill = build(rig)
    for meter in ("m-0", "m-1"):
        fill.note_missed(meter, meter, utc_of(NOON) - HOUR_MS, utc_of(NOON))
    rig.reached = {"m-1"}
    rig.run(fill)
    assert {one.meter_id for one in rig.sets()} == {"m-1"}
    assert len(fill.gaps("m-0")) == 1
    rig.clock.advance(32 * DAY_MS)
    rig.run(fill)
    assert fill.gaps("m-0") == []
    assert ends(rig)[-1].kind == "backfill-incomplete"
    assert "too far back" in ends(rig)[-1].detail


def test_what_lies_too_far_back_is_cut_off(rig: Rig) -> None:
    """The rest is filled, and the end says what is missing."""
    now = rig.clock.utc_ms()
    fill = build(rig, backfill_days=2)
    fill.note_missed("m-0", "m-0", now - 5 * DAY_MS, now - DAY_MS)
    rig.run(fill)
    stamps = [one.read_at for one in rig.sets()]
    assert min(stamps) >= now - 2 * DAY_MS
    assert len(stamps) == 96
    assert (ends(rig)[0].kind, "too far back" in ends(rig)[0].detail) == (
        "backfill-incomplete",
        True,
    )


def test_no_freeze_is_counted_back_at_midnight(tmp_path: Path) -> None:
    """The freezes move on by one just then."""
    rig = make_rig(tmp_path, at="2026-09-21T23:55:00")
    fill = build(rig)
    first = utc_of("2026-09-20T23:00:00")
    fill.note_missed("m-0", "m-0", first, first + 2 * HOUR_MS)
    assert rig.run(fill) == 0
    rig.clock.advance(20 * MINUTE_MS)
    rig.run(fill)
    assert [one.read_at for one in of(rig, Origin.FREEZE)] == [utc_of("2026-09-21T00:00:00")]


# ---- meters that lack it ------------------------------------------------------------------------


def test_a_meter_without_load_records_is_asked_once_a_day(tmp_path: Path) -> None:
    """The gaps end incomplete, with the reason."""
    rig = make_rig(tmp_path, refuses=("06040000", "06040001"))
    fill = build(rig)
    for n in range(3):
        fill.note_missed(
            "m-0", "m-0", utc_of(NOON) - (n + 1) * HOUR_MS - 1, utc_of(NOON) - n * HOUR_MS - 9
        )
        rig.run(fill)
    assert len(rig.asked) == 1
    assert [one.kind for one in ends(rig)] == ["backfill-incomplete"] * 3
    assert "gives no load records of class 4" in ends(rig)[-1].detail
    rig.clock.advance(DAY_MS)
    fill.note_missed("m-0", "m-0", rig.clock.utc_ms() - HOUR_MS, rig.clock.utc_ms())
    rig.run(fill)
    assert len(rig.asked) == 2


def test_a_meter_without_freeze_blocks_is_asked_part_by_part(tmp_path: Path) -> None:
    """The same values; the parts of one freeze."""
    refused = tuple(f"0506FF{n:02X}" for n in range(1, 63))
    rig = make_rig(tmp_path, refuses=(*refused, "06040000"))
    fill = build(rig)
    first = utc_of("2026-09-19T20:00:00")
    fill.request("m-0", first, first + 6 * HOUR_MS)
    rig.run(fill)
    (frozen,) = of(rig, Origin.FREEZE)
    assert frozen.read_at == utc_of("2026-09-20T00:00:00")
    assert {r.obis for r in frozen.readings} == {IMPORT, IMPORT_T1, EXPORT}
    assert frozen.readings[0].quantity.value == true_import(frozen.read_at)
    asked = [identifier_text(one.data) for one in rig.asked]
    assert asked[:5] == ["0506FF02", "05060002", "05060102", "05060202", "05060002"]


def test_parts_of_two_freezes_are_not_mixed(tmp_path: Path) -> None:
    """The freezes move on by one while one of them is read: it is no freeze at all."""
    refused = tuple(f"0506FF{n:02X}" for n in range(1, 63))
    rig = make_rig(tmp_path, refuses=(*refused, "06040000"))
    seen: list[Frame] = []

    def move_on(asked: Frame, reply: Frame | None) -> Frame | None:
        if identifier_text(asked.data) != "05060002" or reply is None:
            return reply
        seen.append(asked)
        if len(seen) % 2:
            return reply
        moved = rig_time(utc_of("2026-09-21T00:00:00"))
        return Frame(reply.address, reply.control, bytes(reply.data[:4]) + moved)

    rig.hook = move_on
    fill = build(rig)
    first = utc_of("2026-09-19T20:00:00")
    fill.note_missed("m-0", "m-0", first, first + 6 * HOUR_MS)
    for _ in range(FAILURES_MAX + 1):
        rig.run(fill)
        rig.clock.advance(PAUSE_MS_MAX)
    assert of(rig, Origin.FREEZE) == []
    assert "froze anew" in ends(rig)[0].detail


def test_a_meter_without_freezes_is_not_asked_for_each(tmp_path: Path) -> None:
    """Refused as a block, in parts, and the latest too: it has none."""
    refused = [f"0506{part}{n:02X}" for part in ("FF", "00") for n in range(1, 63)]
    rig = make_rig(tmp_path, refuses=(*refused, "06040000"))
    fill = build(rig)
    for day in (15, 17, 19):
        first = utc_of(f"2026-09-{day}T23:00:00")
        fill.note_missed("m-0", "m-0", first, first + 2 * HOUR_MS)
        rig.run(fill)
    freezes = [one for one in rig.asked if one.data[3:4] == b"\x05"]
    assert len(freezes) == 3
    assert "gives no daily freezes" in ends(rig)[0].detail


def test_freezes_that_reach_less_far_back(tmp_path: Path) -> None:
    """What the meter has is stored, and the end says where it ends."""
    rig = make_rig(tmp_path, refuses=("06040000", *(f"0506{p}04" for p in ("FF", "00"))))
    fill = build(rig)
    fill.note_missed("m-0", "m-0", utc_of("2026-09-10T23:00:00"), utc_of("2026-09-21T01:00:00"))
    rig.run(fill)
    assert len(of(rig, Origin.FREEZE)) == 3
    assert "no daily freeze of 3 days ago" in ends(rig)[0].detail
    fill.note_missed("m-0", "m-0", utc_of("2026-09-19T23:00:00"), utc_of("2026-09-20T01:00:00"))
    rig.run(fill)
    assert "gives no daily freezes" not in ends(rig)[1].detail


def test_records_that_begin_later_are_told(rig: Rig) -> None:
    """A thousand records are ten days: older ones the meter wrote over."""
    fill = build(rig)
    now = rig.clock.utc_ms()
    fill.note_missed("m-0", "m-0", now - 12 * DAY_MS, now - 8 * DAY_MS)
    rig.run(fill)
    stamps = [one.read_at for one in of(rig, Origin.LOAD_RECORD)]
    assert len(stamps) > 200
    assert all(
        late - early == QUARTER_MS
        for early, late in pairwise(stamps)
        if (late + OFFSET_MS) % DAY_MS > QUARTER_MS
    )
    assert ends(rig)[0].kind == "backfill-incomplete"
    assert "begin at" in ends(rig)[0].detail
    windows = [one for one in rig.asked if len(one.data) > 5]
    assert len(windows) <= len(stamps) / BLOCKS + 3  # nothing is asked for before that


@pytest.mark.parametrize("answer", [None, b"\x04", b"\x01"])
def test_a_source_that_fails_again_and_again_is_given_up(rig: Rig, answer: bytes | None) -> None:
    """Silence or a refusal: with pauses, three times, then for a day."""
    rig.hook = lambda asked, reply: (
        answer and Frame(asked.address, asked.function | 0x80 | ABNORMAL_BIT, answer)
        if asked.data[3:4] == b"\x06" and len(asked.data) > 5
        else reply
    )
    fill = build(rig)
    fill.note_missed("m-0", "m-0", utc_of(NOON) - HOUR_MS, utc_of(NOON))
    for _ in range(FAILURES_MAX):
        rig.run(fill)
        assert rig.run(fill) == 0
        rig.clock.advance(PAUSE_MS_MAX)
    rig.run(fill)
    assert [one.kind for one in ends(rig)] == ["backfill-incomplete"]
    windows = [one for one in rig.asked if len(one.data) > 5]
    assert len(windows) == FAILURES_MAX * (2 if answer is None else 1)


def test_only_failures_in_a_row_count(rig: Rig) -> None:
    """A noisy line loses answers now and then: the gap is filled all the same."""
    losses = []

    def noisy(asked: Frame, reply: Frame | None) -> Frame | None:
        losses.append(asked)
        return reply if len(losses) % 5 == 0 else None  # two failures, then an answer

    rig.hook = noisy
    first, last = utc_of("2026-09-21T06:00:00"), utc_of("2026-09-21T11:00:00")
    fill = build(rig)
    fill.note_missed("m-0", "m-0", first, last)
    for _ in range(20):
        rig.run(fill)
        rig.clock.advance(PAUSE_MS_MAX)
    assert [one.read_at for one in rig.sets()] != []
    assert sorted(one.read_at for one in rig.sets()) == list(range(first, last + 1, QUARTER_MS))


def test_records_and_their_gap_are_kept_in_one_transaction(rig: Rig) -> None:
    """Where only the records are refused, the gap does not count as filled."""
    first, last = utc_of("2026-09-21T08:00:00"), utc_of("2026-09-21T11:00:00")
    fill = build(rig)
    fill.note_missed("m-0", "m-0", first, last)
    rig.is_short = True
    rig.run(fill)
    (gap,) = from_text(rig.memos(SCOPE)["m-0"])
    assert (gap.end, gap.found) == (last + 1, 0)


# ---- meters that lie ----------------------------------------------------------------------------


def block(at: int, values: int = 100, fault: bytes = b"") -> bytes:
    """A load record of class 4 as a meter builds it."""
    stamp = rig_time(at)
    number = bytes.fromhex(f"{values:08d}")[::-1]
    body = stamp + b"\xaa\xaa\xaa" + number * 4 + b"\xaa\xaa\xaa"
    head = (fault or b"\xa0\xa0") + bytes((len(body),)) + body
    return head + bytes((sum(head) & 0xFF, 0xE5))


def rig_time(at: int) -> bytes:
    """mm hh DD MM YY."""
    return meter_time(at, 480).to_bytes()[1:]


def lie(rig: Rig, *blocks: bytes) -> None:
    """All answers to windows are these."""
    rig.hook = lambda asked, reply: (
        Frame(asked.address, 0x91, bytes(asked.data[:4]) + b"".join(blocks))
        if asked.data[3:4] == b"\x06" and len(asked.data) > 5
        else reply
    )


def test_stamps_that_cannot_be_are_dropped_and_counted(rig: Rig) -> None:
    """Before what was asked, still to come, twice; and records that say that they are none."""
    first, last = utc_of("2026-09-21T11:00:00"), utc_of("2026-09-21T12:00:00")
    good = first + QUARTER_MS
    lie(
        rig,
        block(first - DAY_MS),
        block(good),
        block(good, 200),
        block(first + 40 * DAY_MS),
        block(good + QUARTER_MS, fault=b"\xe0\xe0"),
        block(last, 300),
    )
    fill = build(rig)
    fill.note_missed("m-0", "m-0", first, last)
    rig.run(fill)
    found = of(rig, Origin.LOAD_RECORD)
    assert [(one.read_at, one.readings[0].quantity.value) for one in found] == [
        (good, 100),
        (last, 300),
    ]
    (end,) = ends(rig)
    assert end.kind == "backfill-incomplete"
    assert "4 records were void" in end.detail


def test_what_lies_behind_the_gap_is_not_stored(rig: Rig) -> None:
    """A meter answers with as many as were asked for: they are no part of it, and no fault."""
    first = utc_of("2026-09-21T09:00:00")
    fill = build(rig)
    fill.note_missed("m-0", "m-0", first, first)
    rig.run(fill)
    assert [one.read_at for one in rig.sets()] == [first]
    assert ends(rig)[0].kind == "backfilled"


def test_fill_bytes_are_no_value(rig: Rig) -> None:
    """A record of FF has nothing to store."""
    first, last = utc_of("2026-09-21T11:00:00"), utc_of("2026-09-21T12:00:00")
    stamp = rig_time(first)
    body = stamp + b"\xaa\xaa\xaa" + b"\xff" * 16 + b"\xaa\xaa\xaa"
    head = b"\xa0\xa0" + bytes((len(body),)) + body
    filled = head + bytes((sum(head) & 0xFF, 0xE5))
    lie(rig, filled, block(last))
    fill = build(rig)
    fill.note_missed("m-0", "m-0", first, last)
    rig.run(fill)
    assert [one.read_at for one in rig.sets()] == [last]


def test_a_meter_that_says_always_the_same_comes_to_an_end(rig: Rig) -> None:
    """Each step moves on."""
    first, last = utc_of("2026-09-19T11:00:00"), utc_of("2026-09-21T11:00:00")
    lie(rig, block(first + HOUR_MS))
    rig.meter._registers._refuses = frozenset(
        f"0506{p}{n:02X}" for p in ("FF", "00") for n in range(1, 63)
    )
    fill = build(rig)
    fill.note_missed("m-0", "m-0", first, last)
    assert rig.run(fill) < 100
    assert fill.gaps("m-0") == []
    assert [one.read_at for one in rig.sets()] == [first + HOUR_MS]


@pytest.mark.parametrize("garbage", [b"\x00", b"\xa0\xa0\x05", b"\xa0\xa0\xff" * 9, b"\xe5" * 40])
def test_garbage_is_no_record(rig: Rig, garbage: bytes) -> None:
    """Given up after three times."""
    lie(rig, garbage)
    fill = build(rig)
    fill.note_missed("m-0", "m-0", utc_of(NOON) - HOUR_MS, utc_of(NOON))
    for _ in range(FAILURES_MAX + 1):
        rig.run(fill)
        rig.clock.advance(PAUSE_MS_MAX)
    assert rig.sets() == []
    assert [one.kind for one in ends(rig)] == ["backfill-incomplete"]


def test_a_freeze_with_another_stamp_is_dropped(rig: Rig) -> None:
    """It is not what was asked for, and lies outside the gap."""
    wrong = rig_time(utc_of("2026-09-11T00:00:00")) + SEPARATOR * 12
    rig.meter.pin("0506FF02", wrong)
    fill = build(rig)
    first = utc_of("2026-09-19T23:30:00")
    fill.note_missed("m-0", "m-0", first, first + HOUR_MS)
    rig.run(fill)
    assert of(rig, Origin.FREEZE) == []
    assert "1 records were void" in ends(rig)[0].detail


def test_a_multi_frame_answer_is_one_exchange(tmp_path: Path) -> None:
    """A meter that cuts its answers short."""
    rig = make_rig(tmp_path, cut=50)
    first, last = utc_of("2026-09-21T09:00:00"), utc_of("2026-09-21T11:00:00")
    fill = build(rig)
    fill.note_missed("m-0", "m-0", first, last)
    rig.run(fill)
    assert [one.read_at for one in of(rig, Origin.LOAD_RECORD)] == list(
        range(first, last + 1, QUARTER_MS)
    )


def test_a_late_answer_is_not_taken_for_that_of_the_next_window(rig: Rig) -> None:
    """It has the same identifier: a window that seems empty is asked for once more."""
    first, last = utc_of("2026-09-21T08:00:00"), utc_of("2026-09-21T11:45:00")
    fill = build(rig)
    fill.note_missed("m-0", "m-0", first, last)
    earlier: list[Frame] = []

    def late(asked: Frame, reply: Frame | None) -> Frame | None:
        if reply is None or asked.data[3:4] != b"\x06" or len(asked.data) < 6:
            return reply
        earlier.append(reply)
        return earlier[-2] if len(earlier) % 2 == 0 else reply

    rig.hook = late
    rig.run(fill)
    stamps = [one.read_at for one in of(rig, Origin.LOAD_RECORD)]
    assert stamps == list(range(first, last + 1, QUARTER_MS))


@pytest.mark.parametrize("seed", range(6))
def test_random_outages_are_filled_once_and_whole(tmp_path: Path, seed: int) -> None:
    """Losses on the line, restarts, refusing disks, requests: in the end every quarter of an hour
    that is due is there once, or the meter's memory did not reach so far."""
    rng = random.Random(seed)
    rig = make_rig(tmp_path, count=2)
    fill = build(rig)
    due: dict[str, set[int]] = {"m-0": set(), "m-1": set()}
    for _ in range(12):
        rig.clock.advance(rng.randrange(HOUR_MS, 20 * HOUR_MS))
        meter = rng.choice(("m-0", "m-1"))
        now = rig.clock.utc_ms()
        last = now // QUARTER_MS * QUARTER_MS - rng.randrange(4) * QUARTER_MS
        first = last - rng.randrange(60) * QUARTER_MS
        if rng.random() < 0.3:
            fill.request(meter, first, last + 1)
        else:
            fill.note_missed(meter, meter, first, last)
        due[meter] |= set(range(first, last + 1, QUARTER_MS))
        share = rng.choice((0.0, 0.05, 0.3))
        rig.hook = lambda _, reply, share=share: None if rng.random() < share else reply
        rig.is_refusing = rng.random() < 0.2
        for _ in range(rng.randrange(30)):
            job = fill.next_job(rig.now())
            if job is not None:
                list(rig.steps(job))
        if rng.random() < 0.4 and not rig.is_refusing:
            fill.next_job(rig.now())
            fill = build(rig)
    rig.hook, rig.is_refusing = lambda _, reply: reply, False
    for _ in range(30):
        rig.clock.advance(HOUR_MS)
        rig.run(fill)
    given_up = [one for one in ends(rig) if one.kind == "backfill-incomplete"]
    for meter, stamps in due.items():
        rows = [one for one in rig.sets() if one.meter_id == meter]
        found = [(one.read_at, reading.obis) for one in rows for reading in one.readings]
        assert len(found) == len(set(found))
        lacking = stamps - {at for at, code in found if code == IMPORT}
        assert not lacking or any(one.subject == meter for one in given_up)
        assert {at for at, _ in found} <= stamps
        number = int(meter[2:])
        for one in rows:
            for reading in one.readings:
                if reading.obis == IMPORT:
                    assert reading.quantity.value == true_import(one.read_at, number)


def test_what_the_settings_schedule_decides_what_is_asked() -> None:
    """The sources by their registers."""
    assert [one.load_class for one in sources_of(QUANTITIES)] == [0, 4]
    assert [one.load_class for one in sources_of(("0005FF00",))] == [0, 5]
    assert [one.load_class for one in sources_of(("9010",))] == [0, 4]
    assert sources_of(("1-0:32.7.0", "04000503")) == []
    assert sources_of(("1-0:1.8.3",))[0].parts == (1,)
