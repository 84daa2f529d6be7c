"""Room in the journal: what goes, in which order, what never goes, and what is told of it."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.journal import levels as levels_module
from edge.journal import space
from edge.journal.events import EventRow
from edge.journal.housekeeping import BUSY_MS, HOUSEKEEPING_MS, THIN_AGAIN_MS
from edge.journal.levels import CROWDED, FULL, Levels
from edge.journal.space import THIN_AGE_MS, Shed, Thinning
from edge.journal.store import Journal, StoredOrder
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Flag, Origin, Reading, ReadingSet
from tests.edge.fakes import ENERGY, UTC_MS, VOLTAGE, FakeClock, InlineWriter, make_set, move_order

SEED = 645
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FAR = 1 << 62
HEAT = Obis.from_text("6-0:1.0.0")


def read_all(journal: Journal) -> dict[int, ReadingSet]:
    """Everything, by sequence."""
    reader = journal.reader()
    rows = dict(reader.rows(1, FAR))
    reader.close()
    return rows


def events(journal: Journal, kind: str) -> list[EventRow]:
    """What the head end would be told."""
    reader = journal.reader()
    found = [row for row in reader.events(1000) if row[1].kind == kind]
    reader.close()
    return found


def thin_all(journal: Journal, before_ms: int) -> Shed:
    """One pass."""
    thinning, shed = Thinning(), Shed(0, 0, 0)
    while not thinning.is_finished:
        shed = shed.and_also(journal.thin(thinning, before_ms))
    return shed


def energies(one: ReadingSet) -> list[Reading]:
    """What may never go."""
    return [r for r in one.readings if r.quantity.kind != Kind.INSTANTANEOUS]


def volts(number: int) -> tuple[Reading, ...]:
    """A group without an energy."""
    return (Reading(VOLTAGE, Quantity(2300 + number, -1, "V", Kind.INSTANTANEOUS)),)


# ---- thinning -----------------------------------------------------------------------------------


def test_one_set_an_hour_keeps_its_instantaneous_values(journal: Journal) -> None:
    """Of each meter and layout the first; the others keep their sequence, energies and times."""
    sets = [make_set(n * 600, f"m-{n % 2}") for n in range(48)]  # every 10 minutes
    journal.append(sets)
    shed = thin_all(journal, FAR)
    after = read_all(journal)
    assert list(after) == list(range(1, 49))
    full, seen = [], set()
    for sequence, before in enumerate(sets, 1):
        one = after[sequence]
        hour = (before.meter_id, before.read_at // HOUR_MS)
        if sequence == len(sets):
            assert one == before  # the newest row is left alone
        elif hour not in seen:
            seen.add(hour)
            full.append(sequence)
            assert one == before
        else:
            assert one == before._replace(readings=tuple(energies(before)), flags=Flag.SHED)
    lost = [n for n in range(1, 48) if n not in full]
    times = [sets[n - 1].read_at for n in lost]
    assert shed == Shed(len(lost), min(times), max(times)) == journal.untold_shed()
    assert thin_all(journal, FAR).sets == 0  # done again, it takes nothing more


def test_a_set_that_lost_everything_stays_as_an_empty_one(journal: Journal) -> None:
    """So that the head end can prove that no sequence is missing."""
    journal.append([make_set(n, readings=volts(n), flags=Flag.STUCK) for n in range(4)])
    thin_all(journal, FAR)
    after = read_all(journal)
    assert [len(one.readings) for one in after.values()] == [1, 0, 0, 1]
    assert after[2].flags == Flag.SHED | Flag.STUCK
    assert after[2].meter_id == "m-1"


def test_what_is_young_is_not_thinned(journal: Journal) -> None:
    """The limit is exact."""
    journal.append([make_set(n) for n in range(10)])
    thin_all(journal, UTC_MS + 5_000)
    assert [n for n, one in read_all(journal).items() if one.flags] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "quantity",
    [
        Quantity(5, 0, "Wh", Kind.CUMULATIVE),
        Quantity(5, 0, "W", Kind.MAXIMUM),
        Quantity(5, 0, "Wh", Kind.INTERVAL),
        Quantity(5, 0, "", Kind.STATUS),
        Quantity("2611211200", 0, "", Kind.TEXT),
        Quantity(5, 0, "J", Kind.INSTANTANEOUS),  # a meter model may call an energy what it likes
        Quantity(5, -2, "CNY", Kind.INSTANTANEOUS),
    ],
)
def test_only_instantaneous_values_are_thinned(journal: Journal, quantity: Quantity) -> None:
    """Nothing that is billed, counted or decoded."""
    sets = [make_set(n, readings=(Reading(HEAT, quantity),)) for n in range(5)]
    journal.append(sets)
    assert thin_all(journal, FAR).sets == 0
    assert list(read_all(journal).values()) == sets


def test_groups_and_origins_are_thinned_apart(journal: Journal) -> None:
    """A sweep of voltages does not stand for one of currents, nor a load record for a live one."""
    more = (*make_set().readings, *volts(1))
    journal.append(
        [
            make_set(1),
            make_set(2, readings=more),
            make_set(3, origin=Origin.LOAD_RECORD),
            make_set(4),
            make_set(5, readings=more),
            make_set(6, origin=Origin.LOAD_RECORD),
            make_set(7),
        ]
    )
    thin_all(journal, FAR)
    assert [n for n, one in read_all(journal).items() if one.flags] == [4, 5, 6]


def test_thinning_gives_pages_back(tmp_path: Path) -> None:
    """A row that is only made shorter frees none."""
    journal = Journal(tmp_path, 64)
    journal.open()
    many = tuple(
        Reading(VOLTAGE._replace(e=e), Quantity(2_300_000 + e, -4, "V", Kind.INSTANTANEOUS))
        for e in range(12)
    )
    rng = random.Random(SEED)
    sets = [
        make_set(n * 60, readings=(*make_set(rng.randrange(10**9)).readings, *many))
        for n in range(8_000)
    ]
    journal.append(sets)
    before, pages = journal.fill(), journal._db.execute("PRAGMA page_count").fetchone()[0]
    thin_all(journal, FAR)
    assert journal.fill() < 0.5 * before
    assert journal._db.execute("PRAGMA page_count").fetchone()[0] < pages
    after = read_all(journal)
    assert [energies(one) for one in after.values()] == [energies(one) for one in sets]
    journal.close()


def test_a_pass_that_fails_leaves_the_rows(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are deleted and written again in one transaction."""
    sets = [make_set(n) for n in range(10)]
    journal.append(sets)
    with monkeypatch.context() as patch:
        patch.setattr(json, "dumps", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            journal.thin(Thinning(), FAR)
    assert list(read_all(journal).values()) == sets
    assert journal.untold_shed().sets == 0


def test_a_pass_is_done_in_portions(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded, and it remembers between them which hour has its set."""
    monkeypatch.setattr(space, "THIN_ROWS_MAX", 3)
    journal.append([make_set(n) for n in range(10)])
    thinning = Thinning()
    counts = [journal.thin(thinning, FAR).sets for _ in range(4)]
    assert (counts, thinning.is_finished) == ([2, 3, 3, 0], True)


# ---- levels -------------------------------------------------------------------------------------


def disk(monkeypatch: pytest.MonkeyPatch, used: int, free: int) -> None:
    """A file system of so many bytes; 4096 to a block."""
    found = SimpleNamespace(
        f_blocks=(used + free) // 4096, f_bfree=free // 4096, f_bavail=free // 4096, f_frsize=4096
    )
    monkeypatch.setattr(levels_module.os, "statvfs", lambda path: found)


def test_levels_are_told_when_they_are_crossed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once on the way up, once when all is well again, and not at every trembling."""
    disk(monkeypatch, 0, 1 << 40)
    levels = Levels(tmp_path, 100 << 20)
    fills = (0.1, 0.79, 0.80, 0.81, 0.79, 0.96, 0.94, 0.95, 0.89, 0.82, 0.76, 0.74, 0.8)
    kinds = [levels.measure(fill)[0] for fill in fills]
    assert kinds == [
        "", "", "disk-80", "", "", "disk-95", "", "", "", "", "", "disk-recovered", "disk-80",
    ]  # fmt: skip
    assert "80% of 100 MB" in levels.measure(0.96)[1] or levels.level == FULL


def test_the_file_system_counts_while_it_has_less_room_than_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worse of both."""
    levels = Levels(tmp_path, 100 << 20)
    disk(monkeypatch, 90 << 20, 10 << 20)
    assert levels.measure(0.1) == (
        "disk-80",
        "journal 10% of 100 MB, file system 90% full, 10 MB free",
    )
    assert levels.share == pytest.approx(0.9)
    disk(monkeypatch, 900 << 20, 91 << 20)  # nine tenths full, and room enough
    assert levels.measure(0.1)[0] == "disk-recovered"
    assert levels.share == pytest.approx(0.1)
    disk(monkeypatch, 97 << 20, 3 << 20)
    assert levels.measure(0.1)[0] == "disk-95"

    def silent(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(levels_module.os, "statvfs", silent)
    assert levels.measure(0.85)[0] == ""
    assert (levels.share, levels.level) == (0.85, CROWDED)


# ---- the writer's housekeeping ------------------------------------------------------------------


class FillingWriter(InlineWriter):
    """A writer whose journal says how full it is, by what is in it."""

    def __init__(self, folder: Path, clock: FakeClock, **settings: int) -> None:
        super().__init__(folder, clock, **settings)
        self.values_max = 1_000_000  # of readings; more is above the cap

    def measure(self) -> float:
        """Values that are stored / values that fit."""
        query = 'SELECT coalesce(sum(json_array_length("values")), 0) FROM reading_set'
        return self.journal._db.execute(query).fetchone()[0] / self.values_max

    def keep_house(self, clock: FakeClock) -> None:
        """For longer than a pass that found nothing waits for the next one."""
        for _ in range(THIN_AGAIN_MS // HOUSEKEEPING_MS + 5):
            clock.advance(HOUSEKEEPING_MS)
            self.work(everything=True)


@pytest.fixture
def filling(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FillingWriter]:
    """An open one."""
    writer = FillingWriter(tmp_path, clock)
    writer.start()
    monkeypatch.setattr(writer.journal, "fill", writer.measure)
    monkeypatch.setattr(writer._house.levels, "_disk", lambda wanted: (0.0, 0))
    yield writer
    writer.stop()


def poll(writer: InlineWriter, sets: list[ReadingSet]) -> None:
    """Submitted and committed."""
    for one in sets:
        writer.submit(one)
    writer.work(everything=True)


def test_acknowledged_rows_go_before_values_are_thinned(
    filling: FillingWriter, clock: FakeClock
) -> None:
    """The archive is what the head end has; what it lacks is touched last."""
    poll(filling, [make_set(n) for n in range(100)])
    clock.advance(THIN_AGE_MS + DAY_MS)
    filling.journal.acknowledge(50, [])
    filling.values_max = 150  # 200 are there; 100 after the acknowledged half is gone
    filling.keep_house(clock)
    kept = read_all(filling.journal)
    assert list(kept) == list(range(51, 101))
    assert not any(one.flags for one in kept.values())
    assert events(filling.journal, "values-shed") == []


def test_values_are_thinned_when_nothing_else_can_go(
    filling: FillingWriter, clock: FakeClock
) -> None:
    """Old instantaneous ones, told once with count and times; energies, events, orders, receipts
    stay."""
    journal = filling.journal
    poll(filling, [make_set(n) for n in range(100)])
    journal.take_order(StoredOrder(1, bytes(16), b"body", 99, "received"))
    move_order(journal, 1, "verified", b"receipt")
    clock.advance(THIN_AGE_MS + HOUR_MS)
    poll(filling, [make_set(n + (THIN_AGE_MS + HOUR_MS) // 1000) for n in range(100)])
    before = read_all(journal)
    filling.values_max = 250
    filling.keep_house(clock)
    after = read_all(journal)
    assert {n: energies(one) for n, one in after.items()} == {
        n: energies(one) for n, one in before.items()
    }
    assert [n for n, one in after.items() if one.flags == Flag.SHED] == list(range(2, 101))
    ((_, told),) = events(journal, "values-shed")
    assert f"99 reading sets from {UTC_MS + 1000} to {UTC_MS + 99_000}" in told.detail
    assert journal.untold_shed().sets == 0
    assert journal.orders(("verified",))[0].counter == 1
    reader = journal.reader()
    assert reader.receipts(9) == [(1, "verified", b"receipt")]
    reader.close()
    filling.keep_house(clock)
    assert len(events(journal, "values-shed")) == 1


def test_nothing_is_thinned_while_there_is_room(filling: FillingWriter, clock: FakeClock) -> None:
    """However old it is."""
    poll(filling, [make_set(n) for n in range(100)])
    clock.advance(THIN_AGE_MS * 2)
    filling.values_max = 250  # four fifths
    filling.keep_house(clock)
    assert not any(one.flags for one in read_all(filling.journal).values())


def test_what_was_shed_before_a_crash_is_told_after_it(tmp_path: Path, clock: FakeClock) -> None:
    """The count is durable with what it counts."""
    journal = Journal(tmp_path, 64)
    journal.open()
    journal.append([make_set(n) for n in range(10)])
    thin_all(journal, FAR)
    journal._db.close()  # a power cut
    writer = InlineWriter(tmp_path, clock)
    writer.start()
    writer.work()
    ((_, told),) = events(writer.journal, "values-shed")
    assert "8 reading sets" in told.detail
    writer.stop()


def test_levels_are_told_and_stop_what_would_be_shed(
    filling: FillingWriter, clock: FakeClock
) -> None:
    """At 95 % the lines leave groups alone that have instantaneous values only."""
    poll(filling, [make_set(n) for n in range(100)])

    def look(values_max: int) -> bool:
        filling.values_max = values_max
        filling.keep_house(clock)
        return filling.is_crowded

    assert [look(one) for one in (1000, 245, 205, 1000)] == [False, False, True, False]
    reader = filling.journal.reader()
    kinds = [one.kind for _, one in reader.events(100)]
    reader.close()
    assert kinds == ["disk-80", "disk-95", "disk-recovered"]


def test_at_the_cap_energies_stay_and_the_writer_recovers(tmp_path: Path, clock: FakeClock) -> None:
    """A real file at its real limit, nothing acknowledged, everything old: values are thinned, and
    readings are taken again."""
    writer = InlineWriter(tmp_path, clock, size_mb_max=1, commit_sets=500)
    writer.start()
    many = tuple(
        Reading(VOLTAGE._replace(e=e), Quantity(2_300_000 + e, -4, "V", Kind.INSTANTANEOUS))
        for e in range(12)
    )
    number = 0
    while not writer.trouble:
        for _ in range(500):
            readings = (Reading(ENERGY, Quantity(number, 1, "Wh", Kind.CUMULATIVE)), *many)
            writer.submit(make_set(number, readings=readings))
            number += 1
        writer.work()
        assert number < 50_000
    assert "full" in writer.trouble
    clock.advance(THIN_AGE_MS + DAY_MS)
    for _ in range(HOUSEKEEPING_MS // BUSY_MS + 20):
        clock.advance(2 * BUSY_MS)
        writer.work()
    assert (writer.trouble, writer.held_sets, writer.sets_lost) == ("", 0, 0)
    kept = read_all(writer.journal)
    assert list(kept) == list(range(1, number + 1))
    assert [one.readings[0].quantity.value for one in kept.values()] == list(range(number))
    kinds = {row[1].kind for row in events_of(writer.journal)}
    assert {"disk-refuses", "disk-recovered", "values-shed"} <= kinds
    assert writer.journal._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    writer.stop()


def events_of(journal: Journal) -> list[EventRow]:
    """All that wait."""
    reader = journal.reader()
    found: list[Any] = reader.events(1000)
    reader.close()
    return found
