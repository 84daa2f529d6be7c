"""The session: sealed batches out, sealed acknowledgements in, and nothing else counts."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.journal.highwater import HighWater
from edge.journal.store import COUNTER_BLOCK
from edge.sync.holding import UNSYNCED_HOLD_MS
from edge.sync.session import (
    HELLO_MS,
    NONCES_MAX,
    REFUSED_PAUSE_MS,
)
from edge.sync.transport import RECEIVE_MAX, Disconnected, Refused
from protocols import topics
from protocols.envelope.batch import decode_batch
from protocols.envelope.claims import SKEW_MS, Claims
from protocols.envelope.seal import MESSAGE_SIZE_MAX
from protocols.errors import BusbarError
from protocols.messages import (
    ACK,
    AUDIT,
    DATA,
    HELLO,
    ORDER,
    RECEIPT,
    Ack,
    Hello,
    OrderState,
    Receipt,
)
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading, ReadingSet, TimeQuality
from tests.edge.fakes import (
    BOOT_ID,
    ENERGY,
    UTC_MS,
    FakeClock,
    make_set,
)
from tests.edge.head_end import (
    GATEWAY,
    METER_ADDRESS,
    METER_ID,
    OTHER_GATEWAY,
    PROVIDER,
    TENANT,
    HeadEnd,
    make_order,
)
from tests.edge.uplink import UPLINK, Uplink, batches, numbers

OTHER_BOOT = bytes(reversed(BOOT_ID))


@pytest.fixture
def uplink(tmp_path: Path, clock: FakeClock) -> Iterator[Uplink]:
    """Not connected yet, nothing journaled."""
    one = Uplink(tmp_path, clock)
    yield one
    one.crash()


# ---- up -----------------------------------------------------------------------------------------


def test_a_connection_begins_with_a_hello(uplink: Uplink) -> None:
    """Nonce, boot, version, where the journal stands, and the meters."""
    uplink.journaled(*[make_set(n) for n in range(3)])
    uplink.journal.acknowledge(2, [])
    uplink.restart()
    heard = uplink.connect()
    hello = Hello.from_body(heard[0].body)
    assert heard[0].kind is HELLO
    assert len(hello.nonce) == 16
    assert hello[1:] == (
        BOOT_ID,
        "1.2.3",
        3,
        2,
        TimeQuality.NTP,
        0,
        ((METER_ID, METER_ADDRESS),),
    )
    assert heard[0].claims.issued_at == UTC_MS
    assert heard[0].claims.epoch == uplink.journal.epoch


def test_a_hello_is_repeated_until_it_is_answered(uplink: Uplink, clock: FakeClock) -> None:
    """Every time-out with another nonce; answered, it comes again after HELLO_MS only."""
    nonces = [Hello.from_body(uplink.connect()[0].body).nonce]
    for _ in range(NONCES_MAX + 3):
        clock.advance(UPLINK["ack_timeout_ms"] - 1)
        assert uplink.turn() == []
        clock.advance(1)
        nonces.append(Hello.from_body(uplink.turn()[0].body).nonce)
    assert len(set(nonces)) == len(nonces)
    assert list(uplink.session._nonces) == nonces[-NONCES_MAX:]
    assert uplink.ack(0, nonce=nonces[-1]) == []
    clock.advance(HELLO_MS - 1)
    assert uplink.turn() == []
    clock.advance(1)
    assert [one.kind for one in uplink.turn()] == [HELLO]


def test_another_nonce_answers_no_hello(uplink: Uplink, clock: FakeClock) -> None:
    """An acknowledgement without ours says nothing of it."""
    uplink.connect()
    uplink.ack(0)
    uplink.ack(0, nonce=b"?" * 16)
    clock.advance(UPLINK["ack_timeout_ms"])
    assert [one.kind for one in uplink.turn()] == [HELLO]


def test_nothing_is_said_without_a_connection(uplink: Uplink) -> None:
    """The journal keeps it."""
    uplink.journaled(*[make_set(n) for n in range(20)])
    assert uplink.turn() == []
    uplink.transport.is_up = False
    assert uplink.connect() == []
    assert uplink.session.outbox.backlog == 20
    assert uplink.session.outbox.flights == {}


def test_batches_hold_exactly_what_was_journaled(uplink: Uplink) -> None:
    """Every row once, in order, with its content, and the head of the journal."""
    sets = [make_set(n, f"m-{n % 3}", quality=1 + n % 3) for n in range(1, 12)]
    uplink.journaled(*sets)
    heard = uplink.connect()
    rows = [row for batch in batches(heard) for row in batch]
    while len(rows) < 11:
        heard = uplink.ack(rows[-1][0])
        rows += [row for batch in batches(heard) for row in batch]
    assert rows == list(enumerate(sets, 1))
    assert {decode_batch(one.body)[0] for one in heard if one.kind is DATA} == {11}
    assert uplink.session.readings_sent == 22


def test_message_counters_rise_and_survive_a_crash(uplink: Uplink) -> None:
    """A counter is never used for two messages."""
    uplink.journaled(*[make_set(n) for n in range(20)])
    seen = []
    for _ in range(3):
        seen += [one.claims.sequence for one in uplink.connect()]
        uplink.restart()
    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen)
    assert seen[-1] >= 2 * COUNTER_BLOCK


def test_a_sealed_acknowledgement_empties_the_outbox(uplink: Uplink) -> None:
    """In memory and on the disk; the broker is told that the message is ours."""
    uplink.journaled(*[make_set(n) for n in range(4)])
    uplink.connect()
    assert uplink.session.outbox.backlog == 4
    uplink.ack(2, (4, 4))
    assert (uplink.session.outbox.backlog, uplink.stored()) == (1, [(1, 2), (4, 4)])
    uplink.ack(4)
    assert (uplink.session.outbox.backlog, uplink.stored()) == (0, [(1, 4)])
    assert uplink.session.outbox.flights == {}
    assert uplink.acknowledged == 2
    assert uplink.session.acknowledged_at == uplink.clock.boot_ms()
    uplink.restart()
    assert uplink.session.outbox.backlog == 0
    assert numbers(uplink.connect()) == []


def test_the_brokers_word_empties_nothing(uplink: Uplink, clock: FakeClock) -> None:
    """A publish that was taken proves nothing: without a sealed acknowledgement all goes again."""
    uplink.journaled(*[make_set(n) for n in range(4)])
    first = uplink.connect()
    assert numbers(first) == [[1, 2, 3, 4]]
    assert uplink.stored() == []
    clock.advance(UPLINK["ack_timeout_ms"])
    assert numbers(uplink.turn()) == []
    clock.advance(1)
    again = uplink.turn()
    assert numbers(again) == [[1, 2, 3, 4]]
    assert batches(again) == batches(first)
    counters = [one.claims.sequence for one in first + again if one.kind is DATA]
    assert counters[0] < counters[1]
    assert uplink.session.outbox.resent_batches == 1


def test_a_lost_connection_sends_again(uplink: Uplink) -> None:
    """At once after the next hello, under new counters."""
    uplink.journaled(*[make_set(n) for n in range(8)])
    assert numbers(uplink.connect()) == [[1, 2, 3, 4], [5, 6, 7, 8]]
    uplink.ack(4)
    assert uplink.turn(Disconnected("gone")) == []
    assert not uplink.session.is_connected
    heard = uplink.connect()
    assert heard[0].kind is HELLO
    assert numbers(heard) == [[5, 6, 7, 8]]


def test_a_broker_without_listeners_is_given_a_pause(uplink: Uplink, clock: FakeClock) -> None:
    """Ingestion is down: everything is kept, and tried again later."""
    uplink.journaled(*[make_set(n) for n in range(4)])
    uplink.connect()
    assert uplink.turn(Refused("No matching subscribers")) == []
    clock.advance(REFUSED_PAUSE_MS - 1)
    assert uplink.turn() == []
    clock.advance(1)
    assert numbers(uplink.turn()) == [[1, 2, 3, 4]]


def test_live_rows_pass_the_backlog(uplink: Uplink, clock: FakeClock) -> None:
    """What is read now goes first; the backlog goes beside it."""
    uplink.journaled(*[make_set(n) for n in range(40)])
    assert numbers(uplink.connect()) == [[1, 2, 3, 4], [5, 6, 7, 8]]
    uplink.journaled(*[make_set(n) for n in range(40, 44)])
    assert numbers(uplink.turn()) == [[41, 42, 43, 44]]


def test_live_rows_linger_for_company(uplink: Uplink, clock: FakeClock) -> None:
    """A batch of one costs as much as a batch of four."""
    uplink.connect()
    uplink.journaled(make_set(1))
    assert uplink.turn() == []
    clock.advance(UPLINK["linger_ms"])
    assert numbers(uplink.turn()) == [[1]]


def test_a_batch_that_is_too_large_is_split(tmp_path: Path, clock: FakeClock) -> None:
    """Until its parts fit into a message; every row still goes once."""
    uplink = Uplink(tmp_path, clock, batch_sets=64, window=64)
    codes = [ENERGY._replace(c=c, e=e) for c in range(1, 17) for e in range(16)]

    def incompressible(n: int) -> ReadingSet:
        readings = tuple(
            Reading(
                code,
                Quantity(
                    int.from_bytes(PROVIDER.kid(bytes([n % 256, at])), "big") >> 4,
                    0,
                    "Wh",
                    Kind.CUMULATIVE,
                ),
            )
            for at, code in enumerate(codes)
        )
        return make_set(n, f"m-{n}", readings=readings)

    sets = [incompressible(n) for n in range(200)]
    uplink.settings["batch_sets"] = 200
    uplink.restart()
    uplink.journaled(*sets)
    heard = uplink.connect()
    rows = [row for batch in batches(heard) for row in batch]
    assert len(batches(heard)) > 1
    assert rows == list(enumerate(sets, 1))
    assert all(len(payload) <= MESSAGE_SIZE_MAX for _, payload in uplink.transport.sent)
    uplink.crash()


def test_an_idle_session_does_not_spin(uplink: Uplink, clock: FakeClock) -> None:
    """Rows that can not go (no connection, a full window) must not keep the processor awake."""
    for connected in (False, True):
        if connected:
            uplink.connect()
        uplink.journaled(*[make_set(n) for n in range(40)])
        clock.advance(60_000)
        turns, end = 0, clock.boot_ms() + 60_000
        while clock.boot_ms() < end:
            uplink.session.turn()
            turns += 1
            assert turns < 1000, f"connected={connected}: more than 16 turns a second"


# ---- acknowledgements that are refused ----------------------------------------------------------


@pytest.fixture
def waiting(uplink: Uplink) -> Uplink:
    """Four rows are under way."""
    uplink.journaled(*[make_set(n) for n in range(4)])
    uplink.connect()
    return uplink


def expect_refused(uplink: Uplink, message: tuple[str, bytes], reason: str, **more: Any) -> None:
    """It is counted under its reason, taken off the broker, and nothing is marked as stored."""
    stored, anchors = uplink.stored(), list(uplink.clock.anchors)
    refused = uplink.session.refusals[reason]
    taken = uplink.acknowledged
    uplink.arrive(message, **more)
    assert uplink.session.refusals[reason] == refused + 1, uplink.session.refusals
    assert uplink.acknowledged == taken + 1
    assert uplink.stored() == stored
    assert uplink.session.outbox.stored.count == sum(b - a + 1 for a, b in stored)
    assert uplink.clock.anchors == anchors


def test_an_acknowledgement_of_another_journal_is_refused(waiting: Uplink) -> None:
    """In the body or in the claims."""
    other = b"\x01" * 8
    expect_refused(waiting, waiting.head_end.ack(other, 4), "epoch")
    mixed = waiting.head_end.ack(waiting.journal.epoch, 4, claimed_epoch=other)
    expect_refused(waiting, mixed, "epoch")
    mixed = waiting.head_end.ack(other, 4, claimed_epoch=waiting.journal.epoch)
    expect_refused(waiting, mixed, "epoch")


def test_a_replayed_acknowledgement_is_refused(waiting: Uplink) -> None:
    """Old or equal counters say nothing new."""
    message = waiting.head_end.ack(waiting.journal.epoch, 1)
    waiting.arrive(message)
    assert waiting.stored() == [(1, 1)]
    expect_refused(waiting, message, "replayed")
    waiting.ack(2, sequence=50)
    older = waiting.head_end.ack(waiting.journal.epoch, 4, sequence=49)
    expect_refused(waiting, older, "replayed")


def test_the_order_key_does_not_acknowledge_nor_the_other_way(waiting: Uplink) -> None:
    """A key does one thing."""
    head_end, epoch = waiting.head_end, waiting.journal.epoch
    expect_refused(waiting, head_end.ack(epoch, 4, key=head_end.order_key), "key_use")
    expect_refused(waiting, head_end.order(epoch, 1, key=head_end.ack_key), "key_use")
    data_key = head_end.gateway_keys[GATEWAY][0]
    expect_refused(waiting, head_end.ack(epoch, 4, key=data_key), "unknown_key")
    assert waiting.jobs == []


def test_an_acknowledgement_beyond_the_head_is_refused(waiting: Uplink) -> None:
    """It acknowledges what was never journaled: one of us has lost his memory."""
    epoch = waiting.journal.epoch
    expect_refused(waiting, waiting.head_end.ack(epoch, 5), "schema")
    expect_refused(waiting, waiting.head_end.ack(epoch, 1, ((3, 5),)), "schema")


def test_a_message_for_another_gateway_is_refused(waiting: Uplink) -> None:
    """On its own topic, or moved to ours."""
    epoch = waiting.journal.epoch
    theirs = waiting.head_end.ack(epoch, 4, gateway=OTHER_GATEWAY)
    expect_refused(waiting, theirs, "topic")
    ours = topics.Topic(TENANT, GATEWAY, ACK.suffix).text()
    expect_refused(waiting, (ours, theirs[1]), "unknown_key")
    order = waiting.head_end.order(epoch, 1, gateway=OTHER_GATEWAY)
    ours = topics.Topic(TENANT, GATEWAY, ORDER.suffix).text()
    expect_refused(waiting, (ours, order[1]), "unknown_key")
    assert waiting.jobs == []


def test_a_message_that_is_moved_to_another_topic_does_not_open(waiting: Uplink) -> None:
    """An order is no acknowledgement, and the reverse."""
    epoch = waiting.journal.epoch
    ack_topic, ack = waiting.head_end.ack(epoch, 4)
    order_topic, order = waiting.head_end.order(epoch, 1)
    expect_refused(waiting, (order_topic, ack), "unopenable")
    expect_refused(waiting, (ack_topic, order), "unopenable")
    assert waiting.jobs == []


def test_a_message_of_another_content_type_is_refused(waiting: Uplink) -> None:
    """Signed by the right key on the right topic, and still not what the topic is for."""
    claims = Claims(9, UTC_MS, 0, b"", waiting.journal.epoch, ORDER.content_type)
    body = Ack(waiting.journal.epoch, 4, (), UTC_MS, b"", (), 0, 0).to_body()
    expect_refused(waiting, waiting.head_end.seal(ACK, claims, body), "content_type")


@pytest.mark.parametrize(
    "topic", ["", "busbar/1/t1/gw-1/dn/x", "busbar/1/t1/gw-1/up/d", "busbar/1/t2/gw-1/dn/a", "a/b"]
)
def test_a_message_on_a_foreign_topic_is_refused(waiting: Uplink, topic: str) -> None:
    """Whatever the broker hands us."""
    payload = waiting.head_end.ack(waiting.journal.epoch, 4)[1]
    expect_refused(waiting, (topic, payload), "topic")


def test_every_flipped_bit_is_refused(waiting: Uplink) -> None:
    """A forged or damaged message changes nothing, wherever the bit is."""
    for topic, payload in (
        waiting.head_end.ack(waiting.journal.epoch, 4),
        waiting.head_end.order(waiting.journal.epoch, 1),
    ):
        for at in range(len(payload)):
            forged = bytearray(payload)
            forged[at] ^= 1 << at % 8
            waiting.arrive((topic, bytes(forged)))
    assert sum(waiting.session.refusals.values()) == waiting.acknowledged
    assert waiting.stored() == []
    assert (waiting.jobs, waiting.inbox.last_counter) == ([], 0)


@pytest.mark.parametrize("payload", [b"", b"\xd0", b"\x00" * 100, b"\xff" * (MESSAGE_SIZE_MAX + 1)])
def test_noise_is_refused(waiting: Uplink, payload: bytes) -> None:
    """Not a message at all."""
    for suffix in (ACK.suffix, ORDER.suffix):
        waiting.arrive((topics.Topic(TENANT, GATEWAY, suffix).text(), payload))
    assert sum(waiting.session.refusals.values()) == 2
    assert waiting.stored() == []


def test_an_acknowledgement_from_the_future_is_refused(waiting: Uplink) -> None:
    """Beyond the skew it is not of this conversation."""
    late = waiting.clock.utc_ms() + SKEW_MS + 1
    expect_refused(waiting, waiting.head_end.ack(waiting.journal.epoch, 4, time=late), "not_yet")


def test_acknowledgements_that_the_disk_refuses_do_not_use_up_the_brokers_window(
    waiting: Uplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker sends a few messages without our word; after them it would wait for good."""

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(waiting.journal, "acknowledge", refuse)
        for n in range(1, 2 * RECEIVE_MAX):
            with pytest.raises(sqlite3.OperationalError):
                waiting.ack(4)
            assert waiting.acknowledged == n
        assert waiting.session.outbox.backlog == 4
    waiting.ack(4)
    assert waiting.session.outbox.backlog == 0


def test_an_order_that_the_disk_refuses_stays_with_the_broker(
    waiting: Uplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not taken up: the next connection brings it again, and then it is."""
    message = waiting.head_end.order(waiting.journal.epoch, 1)

    def refuse(mark: HighWater, path: Path, value: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(HighWater, "_write", refuse)
        with pytest.raises(OSError, match="No space"):
            waiting.arrive(message)
    assert (waiting.acknowledged, waiting.jobs) == (0, [])
    waiting.arrive(message)
    assert (waiting.acknowledged, len(waiting.jobs)) == (1, 1)


# ---- time ---------------------------------------------------------------------------------------


@pytest.fixture
def lost_in_time(tmp_path: Path) -> Iterator[Uplink]:
    """A gateway that started with the time at which it stopped, a month ago."""
    clock = FakeClock(TimeQuality.UNSYNCED)
    clock.set_utc(UTC_MS - 30 * 86_400_000)
    one = Uplink(tmp_path, clock)
    yield one
    one.crash()


def unsynced(uplink: Uplink, number: int, **fields: Any) -> ReadingSet:
    """Read now, under the wrong time."""
    clock = uplink.clock
    values = {
        "quality": TimeQuality.UNSYNCED,
        "read_at": clock.utc_ms(),
        "boot_at": clock.boot_ms(),
    }
    return make_set(number, **(values | fields))


def test_unsynced_rows_wait_for_a_signed_answer_and_are_re_timed(lost_in_time: Uplink) -> None:
    """The acknowledgement answers our nonce: the clock is set, and rows go with the right time."""
    uplink, clock = lost_in_time, lost_in_time.clock
    uplink.journaled(unsynced(uplink, 1))
    clock.advance(60_000)
    uplink.journaled(unsynced(uplink, 2))
    heard = uplink.connect()
    assert [one.kind for one in heard] == [HELLO]
    asked_at = clock.boot_ms()
    nonce = Hello.from_body(heard[0].body).nonce
    clock.advance(200)
    heard = uplink.ack(0, nonce=nonce, time=UTC_MS)
    assert clock.anchors == [(UTC_MS, asked_at)]
    rows = [row for batch in batches(heard + uplink.turn()) for row in batch]
    assert [n for n, _ in rows] == [1, 2]
    assert [one.quality for _, one in rows] == [TimeQuality.SIGNED] * 2
    assert [one.read_at for _, one in rows] == [UTC_MS - 60_200, UTC_MS - 200]


def test_an_unknown_nonce_sets_no_clock(lost_in_time: Uplink) -> None:
    """An answer to another boot is old."""
    uplink = lost_in_time
    uplink.journaled(unsynced(uplink, 1))
    uplink.connect()
    uplink.ack(0, nonce=b"?" * 16)
    uplink.ack(0)
    assert uplink.clock.anchors == []
    assert numbers(uplink.turn()) == []


def test_unsynced_rows_go_flagged_after_the_hold(lost_in_time: Uplink) -> None:
    """Better with a doubtful time than not at all; and what was sent is never re-timed."""
    uplink, clock = lost_in_time, lost_in_time.clock
    row = unsynced(uplink, 1)
    uplink.journaled(row)
    uplink.connect()
    clock.advance(UNSYNCED_HOLD_MS - 1)
    assert numbers(uplink.turn()) == []
    clock.advance(1)
    sent = batches(uplink.turn())
    assert sent == [[(1, row)]]
    late = unsynced(uplink, 2)
    uplink.journaled(late)
    clock.set_quality(TimeQuality.NTP)
    clock.set_utc(UTC_MS)
    uplink.turn(Disconnected("gone"))
    rows = [row for batch in batches(uplink.connect()) for row in batch]
    assert rows[0] == (1, row)
    assert rows[1][1].quality == TimeQuality.NTP
    assert rows[1][1].read_at == UTC_MS


def test_a_resent_batch_opens_nothing_to_re_timing(lost_in_time: Uplink) -> None:
    """Rows that went flagged keep their time, also when an earlier batch goes a second time."""
    uplink, clock = lost_in_time, lost_in_time.clock
    rows = [unsynced(uplink, n) for n in range(8)]
    uplink.journaled(*rows)
    clock.advance(UNSYNCED_HOLD_MS)
    assert numbers(uplink.connect()) == [[1, 2, 3, 4], [5, 6, 7, 8]]
    uplink.ack(0, (5, 8))
    uplink.turn(Disconnected("gone"))
    assert numbers(uplink.connect()) == [[1, 2, 3, 4]]
    clock.set_quality(TimeQuality.NTP)
    clock.set_utc(UTC_MS)
    uplink.turn(Disconnected("gone"))
    uplink.connect()
    reader = uplink.journal.reader()
    assert [one for _, one in reader.rows(1, 8)] == rows
    reader.close()


def test_rows_that_wait_for_the_time_hold_no_others_up(lost_in_time: Uplink) -> None:
    """On a link too slow to set a clock by, the backlog of former boots goes all the same."""
    uplink, clock = lost_in_time, lost_in_time.clock
    uplink.journaled(*[make_set(n, boot_id=OTHER_BOOT) for n in range(1, 31)])
    uplink.restart()
    heard = uplink.connect()
    assert numbers(heard) == [[1, 2, 3, 4], [5, 6, 7, 8]]
    uplink.journaled(unsynced(uplink, 31))
    uplink.turn()
    clock.advance(UPLINK["linger_ms"])
    heard = uplink.ack(4)  # in the same turn in which the live row is found to be held
    assert numbers(heard) == [[9, 10, 11, 12]]
    for _ in range(60):
        clock.advance(UPLINK["linger_ms"])
        uplink.journaled(unsynced(uplink, 31))
        rows = [row for batch in batches(heard) for row in batch]
        heard = uplink.ack(rows[-1][0] if rows else 0) + uplink.turn()
        if uplink.stored() == [(1, 30)]:
            break
    assert uplink.stored() == [(1, 30)]
    assert numbers(uplink.turn()) == []


def test_unsynced_rows_of_another_boot_go_as_they_are(lost_in_time: Uplink) -> None:
    """Nobody will ever know their time."""
    uplink = lost_in_time
    rows = [unsynced(uplink, 1, boot_id=OTHER_BOOT), unsynced(uplink, 2)]
    uplink.journaled(*rows)
    assert batches(uplink.connect()) == [[(1, rows[0])]]


# ---- orders and receipts ------------------------------------------------------------------------


def test_an_order_arrives_and_its_receipt_goes_until_it_is_acknowledged(
    uplink: Uplink, clock: FakeClock
) -> None:
    """Sealed both ways; resent after the time-out and after a reconnect; then it is quiet."""
    uplink.connect_and_answer()
    heard = uplink.arrive(uplink.head_end.order(uplink.journal.epoch, 1))
    assert len(uplink.jobs) == 1
    assert [one.kind for one in heard] == [RECEIPT, AUDIT]
    receipt = Receipt.from_body(heard[0].body)
    assert (receipt.order_id, receipt.counter) == (make_order(1).order_id, 1)
    assert receipt.state == OrderState.VERIFIED
    assert uplink.turn() == []
    clock.advance(UPLINK["ack_timeout_ms"] + 1)
    assert [one.kind for one in uplink.turn()] == [RECEIPT, AUDIT]
    uplink.turn(Disconnected("gone"))
    assert [one.kind for one in uplink.connect()] == [HELLO, RECEIPT, AUDIT]
    uplink.ack(0, receipts=((1, OrderState.VERIFIED),), audit=1)
    clock.advance(UPLINK["ack_timeout_ms"])
    assert [one.kind for one in uplink.turn() if one.kind is RECEIPT] == []


def test_an_acknowledged_receipt_is_told_again_for_a_redelivered_order(uplink: Uplink) -> None:
    """The head end asks once more: it gets the stored result, and the meter is left alone."""
    uplink.connect_and_answer()
    message = uplink.head_end.order(uplink.journal.epoch, 1)
    uplink.arrive(message)
    uplink.ack(0, receipts=((1, OrderState.VERIFIED),))
    uplink.clock.advance(UPLINK["ack_timeout_ms"])
    heard = uplink.arrive(message)
    assert uplink.session.refusals["replayed"] == 1
    assert [one.kind for one in heard] == [RECEIPT]
    assert len(uplink.jobs) == 1


def test_a_retained_order_is_refused(uplink: Uplink) -> None:
    """An order must not wait in the broker for whoever connects; it leaves no trace."""
    uplink.connect()
    message = uplink.head_end.order(uplink.journal.epoch, 1)
    expect_refused(uplink, message, "retained", retained=True)
    assert (uplink.jobs, uplink.inbox.last_counter) == ([], 0)
    uplink.arrive(message)
    assert len(uplink.jobs) == 1


def test_a_retained_acknowledgement_is_judged_as_any(waiting: Uplink) -> None:
    """The flag means nothing there."""
    message = waiting.head_end.ack(waiting.journal.epoch, 4)
    waiting.arrive(message, retained=True)
    assert waiting.stored() == [(1, 4)]


def test_without_trusted_time_only_an_answer_to_our_nonce_is_an_order(
    lost_in_time: Uplink,
) -> None:
    """The nonce of a hello of this boot, within the order's span."""
    uplink, clock = lost_in_time, lost_in_time.clock
    epoch = uplink.journal.epoch
    nonce = Hello.from_body(uplink.connect()[0].body).nonce
    uplink.arrive(uplink.head_end.order(epoch, 1))
    uplink.arrive(uplink.head_end.order(epoch, 2, nonce=b"?" * 16))
    assert uplink.session.refusals["clock_untrusted"] == 2
    uplink.arrive(uplink.head_end.order(epoch, 3, nonce=nonce))
    assert len(uplink.jobs) == 1
    clock.advance(120_001)
    uplink.arrive(uplink.head_end.order(epoch, 4, nonce=nonce))
    assert uplink.session.refusals["expired"] == 1
    assert len(uplink.jobs) == 1


def test_an_order_under_an_unknown_key_gets_no_receipt(uplink: Uplink) -> None:
    """A forged order is not told apart from noise."""
    uplink.connect()
    stranger = HeadEnd().order_key
    message = uplink.head_end.order(uplink.journal.epoch, 1, key=stranger)
    assert uplink.arrive(message) == []
    assert uplink.session.refusals == {"unknown_key": 1}
    assert (uplink.jobs, uplink.inbox.last_counter) == ([], 0)


def test_an_order_of_a_revoked_or_expired_key_gets_no_receipt(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its use is named for what it is."""
    uplink = Uplink(tmp_path, clock)
    good = uplink.head_end.order_key
    for number, (terms, reason) in enumerate(
        (({"revoked": True}, "revoked_key"), ({"not_after": UTC_MS - 1}, "key_time")), 1
    ):
        uplink.head_end.order_key = good._replace(record=good.record._replace(**terms))
        uplink.identity = uplink.head_end.identity(tmp_path)
        uplink.restart()
        uplink.connect()
        assert uplink.arrive(uplink.head_end.order(uplink.journal.epoch, number)) == []
        assert uplink.session.refusals == {reason: 1}
        assert uplink.jobs == []
    uplink.crash()


def test_a_fault_in_one_turn_does_not_end_the_session(
    uplink: Uplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next turn goes on."""
    turns = []

    def turn() -> None:
        turns.append(len(turns))
        if len(turns) == 1:
            raise BusbarError("a key expired")
        uplink.session._stopping.set()

    monkeypatch.setattr(uplink.session, "turn", turn)
    monkeypatch.setattr(uplink.session._stopping, "wait", lambda seconds: False)
    uplink.session._run()
    assert turns == [0, 1]
