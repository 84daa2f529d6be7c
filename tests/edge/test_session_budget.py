"""What the session sends when the day's bytes run out, and when a region of gateways returns."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.sync.outbox import BACKLOG_SETS_MAX
from edge.sync.session import HELLO_MS
from edge.sync.transport import Connected, Disconnected
from protocols.envelope.batch import decode_batch
from protocols.envelope.seal import BODY_SIZE_MAX
from protocols.messages import AUDIT, DATA, EVENT, HELLO, RECEIPT
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading
from tests.edge.fakes import ENERGY, FakeClock, make_set
from tests.edge.head_end import PROVIDER, Heard
from tests.edge.uplink import UPLINK, Uplink, batches, make_event, numbers, told_events

MOST = 40_000
DAY_MS = 86_400_000
LINGER_MS = UPLINK["linger_ms"]
JITTER_S = 30


@pytest.fixture
def metered(tmp_path: Path, clock: FakeClock) -> Iterator[Uplink]:
    """A gateway with a SIM card that is paid by the byte."""
    one = Uplink(tmp_path, clock, bytes_per_day=MOST)
    yield one
    one.crash()


def kinds(heard: list[Heard]) -> set[str]:
    """What was said."""
    return {one.kind.name for one in heard}


def drained(uplink: Uplink, heard: list[Heard]) -> list[Heard]:
    """The head end answers until nothing more comes."""
    said = list(heard)
    for _ in range(500):
        rows = [n for batch in numbers(heard) for n in batch]
        if not rows:
            return said
        stored = uplink.journal.acknowledged()
        for n in rows:
            stored.add(n, n)
        heard = uplink.ack(0, *stored)
        said += heard
    raise AssertionError("it never ended")


def live(uplink: Uplink, first: int) -> list[Heard]:
    """Rows that are read now, a batch of them."""
    uplink.journaled(*[make_set(n) for n in range(first, first + 4)])
    return uplink.turn()


def test_the_backlog_stops_and_live_rows_go_on(metered: Uplink) -> None:
    """At 80 % of the day; it is told once; the next day the rest goes."""
    for first in (0, 4000, 8000):
        metered.journaled(*[make_set(n * n % 9973) for n in range(first, first + 4000)])
    said = drained(metered, metered.connect())
    allowance = metered.session.sender.allowance
    assert 0 < metered.session.outbox.backlog < 12_000
    assert allowance.bytes_today <= MOST * 80 // 100 + 200  # a greeting may have followed
    assert allowance.bytes_today > MOST * 60 // 100
    assert [kind for kind, _ in metered.told] == ["uplink-budget-spent"]
    assert DATA.name in kinds(said)
    head = metered.session.outbox.head
    assert numbers(live(metered, 5000)) == [[head + 1, head + 2, head + 3, head + 4]]
    before = metered.session.outbox.backlog
    metered.clock.advance(DAY_MS)
    drained(metered, metered.turn())
    assert metered.session.outbox.backlog < before - 500


def spent(uplink: Uplink) -> None:
    """Live rows until nothing more goes."""
    uplink.connect_and_answer()
    number = 0
    for _ in range(1000):
        drained(uplink, live(uplink, number))
        number += 4
        if not uplink.session.sender.allowance.takes_live:
            break
    assert uplink.session.sender.allowance.bytes_today <= MOST


def test_when_all_is_spent_greetings_receipts_and_alarms_go(metered: Uplink) -> None:
    """And the rows wait, in the journal."""
    spent(metered)
    assert [kind for kind, _ in metered.told] == ["uplink-budget-spent"] * 2
    assert kinds(live(metered, 9000)) == set()
    metered.noted(make_event(1))
    metered.clock.advance(LINGER_MS)
    assert kinds(metered.turn()) == set()
    heard = metered.arrive(metered.head_end.order(metered.journal.epoch, 1))
    assert kinds(heard) == {RECEIPT.name, AUDIT.name}
    metered.noted(make_event(2, "line-down"), make_event(3))
    heard = metered.turn()
    assert kinds(heard) == {EVENT.name}
    assert [n for n, _ in told_events(heard)[0]] == [1, 2], "an alarm takes those before it along"
    metered.ack(0, events=2)
    metered.clock.advance(HELLO_MS)
    assert HELLO.name in kinds(metered.turn())
    metered.clock.advance(DAY_MS)
    heard = metered.turn()
    assert {EVENT.name, DATA.name} <= kinds(heard)


def test_the_count_outlives_a_crash(metered: Uplink) -> None:
    """Whoever pulls the plug gets no second day."""
    spent(metered)
    metered.restart()
    metered.connect_and_answer()
    assert kinds(live(metered, 9000)) == set()
    assert metered.session.sender.allowance.bytes_today >= MOST * 90 // 100


def test_an_orderly_stop_keeps_the_count_exactly(metered: Uplink) -> None:
    """And nothing is lost of the day."""
    metered.connect_and_answer()
    drained(metered, live(metered, 0))
    count = metered.session.sender.allowance.bytes_today
    metered.session.stop()
    metered.journal._db.close()
    metered.build()
    metered.turn()
    assert metered.session.sender.allowance.bytes_today == count


def test_a_disk_that_refuses_the_count_stops_nothing(
    metered: Uplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read now goes all the same."""
    metered.connect_and_answer()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metered.journal, "set_memo", refuse)
    assert len(numbers(live(metered, 0))) == 1


# ---- a herd -------------------------------------------------------------------------------------


def test_after_an_outage_the_backlog_waits_a_random_time(tmp_path: Path) -> None:
    """Uniform within the jitter; greetings, events and live rows do not wait."""
    waits = []
    for seed in range(30):
        clock = FakeClock()
        folder = tmp_path / str(seed)
        folder.mkdir()
        uplink = Uplink(folder, clock, catch_up_jitter_s=JITTER_S)
        uplink.session._chance = random.Random(seed)
        uplink.journaled(*[make_set(n) for n in range(20)])
        uplink.noted(make_event(1))
        heard = uplink.connect()
        assert kinds(heard) == {HELLO.name, EVENT.name}
        begin = clock.boot_ms()
        assert numbers(live(uplink, 20)) == [[21, 22, 23, 24]]
        uplink.ack(0, (21, 24))
        heard = []
        while not numbers(heard):
            clock.advance(100)
            heard = uplink.turn()
            assert clock.boot_ms() - begin <= JITTER_S * 1000 + 100
        waits.append(clock.boot_ms() - begin)
        uplink.crash()
    assert min(waits) < JITTER_S * 1000 / 5
    assert max(waits) > JITTER_S * 1000 * 4 / 5
    assert len(set(waits)) > 20


def test_what_fits_a_batch_waits_for_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """A short loss of the connection costs no reading its time: it is no more than a greeting."""
    uplink = Uplink(tmp_path, clock, catch_up_jitter_s=JITTER_S)
    uplink.connect_and_answer()
    assert numbers(live(uplink, 0)) == [[1, 2, 3, 4]]
    uplink.turn(Disconnected("gone"))
    assert numbers(uplink.turn(Connected())) == [[1, 2, 3, 4]]
    uplink.crash()


# ---- speed, and at nobody's price ---------------------------------------------------------------


def test_a_live_batch_passes_within_one_batch_of_the_backlog(
    uplink_behind: Uplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that becomes due while the backlog is being sent."""
    uplink, clock = uplink_behind, uplink_behind.clock
    encode = uplink.session.sender.packed

    def slow(body: object) -> Any:
        clock.advance(LINGER_MS)
        if len(uplink.session.outbox.flights) == 1 and uplink.session.outbox.head == 100:
            uplink.journaled(*[make_set(n) for n in range(100, 104)])
        return encode(body)

    monkeypatch.setattr(uplink.session.sender, "packed", slow)
    said = numbers(uplink.connect())
    assert [rows[0] for rows in said] == [1, 5, 101]


@pytest.fixture
def uplink_behind(tmp_path: Path, clock: FakeClock) -> Iterator[Uplink]:
    """A hundred rows that nobody has."""
    one = Uplink(tmp_path, clock)
    one.journaled(*[make_set(n) for n in range(100)])
    yield one
    one.crash()


def test_a_body_that_the_head_end_would_not_inflate_is_split(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Much of the same compresses well, and is too large all the same."""
    uplink = Uplink(tmp_path, clock, batch_sets=1000)
    codes = [ENERGY._replace(c=c, e=e) for c in range(1, 17) for e in range(16)]
    wide = tuple(Reading(code, Quantity(1 << 61, 0, "Wh", Kind.CUMULATIVE)) for code in codes)
    uplink.journaled(*[make_set(n, f"m-{n}", readings=wide) for n in range(700)])
    heard = drained(uplink, uplink.connect())
    sent = [one for one in heard if one.kind is DATA]
    assert len(sent) > 1
    sizes = [len(PROVIDER.encode(one.body)) for one in sent]
    assert max(sizes) <= BODY_SIZE_MAX
    assert sum(len(decode_batch(one.body)[1]) for one in sent) == 700
    uplink.crash()


def test_a_fast_link_is_filled_with_large_batches(tmp_path: Path, clock: FakeClock) -> None:
    """Every row once, and in few messages."""
    uplink = Uplink(tmp_path, clock)
    uplink.journaled(*[make_set(n) for n in range(4500)])
    said = batches(drained(uplink, uplink.connect()))
    assert sorted(n for rows in said for n, _ in rows) == list(range(1, 4501))
    assert max(map(len, said)) <= BACKLOG_SETS_MAX
    assert len(said) < 40
    assert uplink.stored() == [(1, 4500)]
    uplink.crash()
