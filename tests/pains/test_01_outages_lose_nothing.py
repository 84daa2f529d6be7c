"""Pain 1: an outage loses data, most of all in its first seconds."""

import random
import sqlite3
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.journal.store import Journal
from edge.journal.writer import Writer
from edge.settings.rules import JOURNAL_RULES
from protocols.settings import read_table
from tests.edge.fakes import FakeClock, make_set
from tests.edge.test_journal_damage import leaves, spoil
from tests.pains.gateway import HOUR_MS, MINUTE_MS, Gateway, dlt645, is_unbroken, slots_of
from tests.pains.meters import Bus, Dlt645


def make_gateway(folder: Path, clock: FakeClock, period_s: int = 60) -> Gateway:
    """Three meters on one line; not connected."""
    bus = Bus(*(Dlt645(n, clock) for n in (1, 2, 3)))
    meters = [dlt645(n, period_s=period_s) for n in (1, 2, 3)]
    return Gateway(folder, clock, {"line-1": bus}, meters)


@pytest.mark.parametrize("seed", range(6))
def test_the_first_seconds_of_an_outage_lose_nothing(
    tmp_path: Path, clock: FakeClock, seed: int
) -> None:
    """thingsboard-gateway #2157, #1507: what is sent until the loss of the connection is noticed is
    gone. Here a black hole opens at any moment, and swallows 10 to 20 s unnoticed."""
    chance = random.Random(seed)
    gateway = make_gateway(tmp_path, clock, period_s=2)
    gateway.go_online()
    gateway.run_for(chance.randrange(5_000, 20_000))
    gateway.is_hole = True
    gateway.run_for(chance.randrange(10_000, 20_000))
    sent, kept = gateway.session.batches_sealed, len(gateway.store.rows)
    assert kept < len(gateway.journaled_sets())
    gateway.go_offline()
    gateway.run_for(chance.randrange(1_000, 30_000))
    gateway.go_online()
    gateway.run_for(5_000)
    gateway.workers["line-1"].stop()
    for _ in range(3):
        clock.advance(5_000)
        gateway.talk()
    assert gateway.session.batches_sealed > sent
    assert gateway.store.sets() == gateway.journaled_sets()
    assert gateway.session.outbox.backlog == 0
    for meter in ("m-1", "m-2", "m-3"):
        assert is_unbroken(slots_of(gateway.store.sets(), meter, 2_000))


@pytest.mark.parametrize("outage_ms", [33 * MINUTE_MS, 6 * HOUR_MS])
def test_polling_goes_on_half_an_hour_and_six_hours_into_an_outage(
    tmp_path: Path, clock: FakeClock, outage_ms: int
) -> None:
    """thingsboard-gateway #2132 (polling stops 24–33 min into an outage): every slot is read during
    it, and all of them arrive afterwards, with the time of their reading."""
    gateway = make_gateway(tmp_path, clock)
    gateway.go_online()
    gateway.run_for(2 * MINUTE_MS)
    gateway.go_offline()
    gateway.run_for(outage_ms)
    last = max(one.read_at for one in gateway.journaled_sets())
    assert clock.utc_ms() - last <= MINUTE_MS
    gateway.go_online()
    gateway.run_for(2 * MINUTE_MS)
    stored = gateway.store.sets()
    for meter in ("m-1", "m-2", "m-3"):
        slots = slots_of(stored, meter)
        assert len(slots) >= outage_ms // MINUTE_MS
        assert is_unbroken(slots)
    assert gateway.events_of("slots-missed") == []


@pytest.mark.parametrize(("rounds", "sets"), [(150, 1), (1, 5_000)])
def test_a_stop_right_after_a_reading_loses_none(tmp_path: Path, rounds: int, sets: int) -> None:
    """thingsboard-gateway (tried): a queue in memory that a stop does not drain loses the last 40
    to 100 ms always, and all of 5000 at an immediate stop. Here 150 of 150, with real threads and
    the group commit of the default settings."""
    numbers = iter(range(rounds * sets))
    for _ in range(rounds):
        settings = read_table({"ballast_kb": 0}, JOURNAL_RULES, "[journal]")
        writer = Writer(Journal(tmp_path, 64), settings, SystemClock(), lambda head: None)
        writer.start()
        for _ in range(sets):
            writer.submit(make_set(next(numbers)))
        writer.stop()
    journal = Journal(tmp_path, 64)
    journal.open()
    reader = journal.reader()
    found = [one for _, one in reader.rows(1, 1 << 62)]
    reader.close()
    journal.close()
    assert found == [make_set(n) for n in range(rounds * sets)]


@pytest.mark.parametrize(
    ("refuse", "again", "words"),
    [
        ("PRAGMA max_page_count=1", "PRAGMA max_page_count=100000", "full"),  # 1: as it is now
        ("PRAGMA query_only=ON", "PRAGMA query_only=OFF", "readonly"),
    ],
)
def test_a_disk_that_refuses_stops_no_polling_and_loses_nothing(
    tmp_path: Path, clock: FakeClock, refuse: str, again: str, words: str
) -> None:
    """thingsboard-gateway (tried): the disk is full, the error is swallowed, 200 readings are
    accepted and 0 rows are there when space is back. Here SQLite's own refusal, for ten minutes."""
    gateway = make_gateway(tmp_path, clock, period_s=10)
    gateway.run_for(MINUTE_MS)
    gateway.journal._db.execute(refuse)
    gateway.run_for(10 * MINUTE_MS)
    writer = gateway.writer
    assert words in writer.trouble
    assert writer.held_sets > 80
    held_since = min(one.read_at for one in writer._held.all().sets)
    gateway.journal._db.execute(again)
    gateway.run_for(MINUTE_MS)
    assert (writer.trouble, writer.held_sets, writer.sets_lost) == ("", 0, 0)
    gateway.go_online()
    stored = gateway.store.sets()
    assert any(one.read_at == held_since for one in stored)
    for meter in ("m-1", "m-2", "m-3"):
        slots = slots_of(stored, meter, 10_000)
        assert len(slots) >= 60 and is_unbroken(slots)
    assert len(gateway.events_of("disk-refuses")) == 1
    assert len(gateway.events_of("disk-recovered")) == 1


def test_neither_reconnecting_nor_other_broker_settings_empty_the_queue(
    tmp_path: Path, clock: FakeClock
) -> None:
    """thingsboard-gateway #2124 (the store is made anew at every connection), neuron a6764d73
    (editing the MQTT settings deletes what was not sent)."""
    gateway = make_gateway(tmp_path, clock)
    gateway.run_for(30 * MINUTE_MS)
    journaled, epoch = gateway.journaled_sets(), gateway.journal.epoch
    assert len(journaled) >= 90
    gateway.is_hole = True
    for _ in range(5):
        gateway.transport.is_up = True
        gateway.go_offline()
    gateway.settings |= {"batch_sets": 7, "window": 3, "linger_ms": 500, "ack_timeout_ms": 9_000}
    gateway.restart()
    assert gateway.journal.epoch == epoch
    assert gateway.session.outbox.backlog == len(journaled)
    gateway.go_online()
    assert gateway.store.sets()[: len(journaled)] == journaled


@pytest.mark.parametrize("seed", range(5))
def test_a_power_cut_at_any_moment_keeps_what_was_committed(
    tmp_path: Path, clock: FakeClock, seed: int
) -> None:
    """telegraf #802, thingsboard-gateway #284 (a restart empties the buffer): restarts in an outage
    at random moments, each slot that was read before is there, and none is run again."""
    chance = random.Random(seed)
    gateway = make_gateway(tmp_path, clock)
    for _ in range(5):
        gateway.run_for(chance.randrange(MINUTE_MS, 5 * MINUTE_MS))
        before = gateway.journaled_sets()
        gateway.restart()
        assert gateway.journaled_sets() == before
    gateway.go_online()
    gateway.run_for(MINUTE_MS)
    for meter in ("m-1", "m-2", "m-3"):
        assert is_unbroken(slots_of(gateway.store.sets(), meter))


def test_a_damaged_journal_stops_nothing_and_is_salvaged(tmp_path: Path, clock: FakeClock) -> None:
    """kura #2169 (the database is corrupt after a power cut, and the store does not start again):
    readings go on in a new file, and what the old one still holds comes after them."""
    gateway = make_gateway(tmp_path, clock)
    gateway.run_for(HOUR_MS)
    before = gateway.journaled_sets()
    gateway.journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    gateway.crash()
    pages = leaves(gateway.journal.path)
    spoil(gateway.journal.path, pages[len(pages) // 2 :][:1])
    gateway.build()
    assert gateway.journal.salvaged
    gateway.go_online()
    gateway.run_for(10 * MINUTE_MS)
    stored = gateway.store.sets()
    assert clock.utc_ms() - max(one.read_at for one in stored) <= MINUTE_MS
    rescued = [one for one in before if one in stored]
    assert len(before) // 2 < len(rescued) < len(before)
    assert (
        len(gateway.events_of("journal-aside")) == len(gateway.events_of("journal-salvaged")) == 1
    )


def test_a_store_that_was_full_takes_readings_again_once_connected(
    tmp_path: Path, clock: FakeClock
) -> None:
    """kura #2008 (a full store blocks although the connection is back): acknowledged rows make
    room, and what waited in memory is stored and sent."""
    gateway = make_gateway(tmp_path, clock, period_s=10)
    gateway.run_for(MINUTE_MS)
    pages = gateway.journal._db.execute("PRAGMA page_count").fetchone()[0]
    gateway.journal.pages_max = pages + 2
    gateway.journal._db.execute(f"PRAGMA max_page_count={pages + 2}")
    gateway.run_for(20 * MINUTE_MS)
    assert "full" in gateway.writer.trouble
    assert gateway.writer.held_sets > 50
    gateway.go_online()
    gateway.run_for(5 * MINUTE_MS)
    assert (gateway.writer.trouble, gateway.writer.sets_lost) == ("", 0)
    assert gateway.writer.held_sets <= 3
    for meter in ("m-1", "m-2", "m-3"):
        assert is_unbroken(slots_of(gateway.store.sets(), meter, 10_000))


def test_a_disk_that_forgets_is_no_reason_to_say_stored(tmp_path: Path, clock: FakeClock) -> None:
    """thingsboard-gateway #1446, #1523 ("database is locked"): whoever else holds the file, nothing
    is told upstream before its commit, and all of it afterwards."""
    gateway = make_gateway(tmp_path, clock, period_s=10)
    gateway.go_online()
    gateway.run_for(MINUTE_MS)
    gateway.journal._db.execute("PRAGMA busy_timeout=0")
    other = sqlite3.connect(gateway.journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    before = len(gateway.store.rows)
    for _ in range(6):
        gateway.workers["line-1"].turn()
        gateway.writer.work()
    assert "locked" in gateway.writer.trouble
    assert gateway.writer.head <= before
    other.execute("ROLLBACK")
    other.close()
    gateway.run_for(MINUTE_MS)
    assert gateway.writer.trouble == ""
    for meter in ("m-1", "m-2", "m-3"):
        assert is_unbroken(slots_of(gateway.store.sets(), meter, 10_000))
