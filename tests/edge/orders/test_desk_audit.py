"""The audit chain of the gateway: complete, before the effect, and what a full disk does to orders
(I29, T23)."""

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from edge.journal.store import Journal
from edge.orders.found import RefusedHere
from protocols.audit.chain import AuditBatch, check_chain, first_hash
from protocols.messages import AUDIT, POLICY, STOP, OrderState, Policy, Stop
from protocols.orders.kinds import ORDER_KINDS
from tests.edge.fakes import UTC_MS, FakeClock, make_set
from tests.edge.head_end import GATEWAY, PROVIDER, TENANT
from tests.edge.orders.desk_world import CLOSED, HOUR_MS, ZERO_EPOCH, Claims, World
from tests.edge.uplink import UPLINK, Uplink

FAIL_CLOSED = ("disconnect", "keep-power-off", "prices", "set-clock", "alarm-on")
GO_ON = ("arm", "connect", "keep-power-on")


def chain_of(world: World) -> list[Any]:
    """The entries, after the chain was checked from its beginning."""
    reader = world.journal.reader()
    waiting = reader.audit_entries(10_000)
    reader.close()
    start = first_hash(TENANT, GATEWAY, world.journal.epoch)
    assert waiting.first == 1 and waiting.previous == b""
    found = check_chain(PROVIDER, AuditBatch(1, start, waiting.entries))
    stored = world.journal._db.execute("SELECT hash FROM audit ORDER BY sequence").fetchall()
    assert [hashed for _, hashed in found] == [row[0] for row in stored]
    return [entry for entry, _ in found]


def break_disk(world: World, patch: pytest.MonkeyPatch) -> None:
    """The audit chain takes nothing any more."""

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    patch.setattr(world.desk.ledger, "record", refuse)


def test_i29_every_step_and_refusal_is_in_the_chain(world: World) -> None:
    """With the hash of its receipt, which holds the frames; policies and stops too."""
    order = world.order()
    world.send(order)
    world.run()
    world.stop(world.order())
    bad = world.order(approvers=())
    world.send(bad, world.claims(bad, 9))
    entries = chain_of(world)
    assert [(one.kind, one.fields.get("state")) for one in entries] == [
        ("policy", None),
        ("order", OrderState.VERIFIED),
        ("order", OrderState.ARMED),
        ("order", OrderState.SENT),
        ("order", OrderState.ACKED),
        ("order", OrderState.VERIFYING),
        ("order", OrderState.CONFIRMED),
        ("stop", None),
        ("order", OrderState.REFUSED),
    ]
    assert {one.order_id for one in entries[1:7]} == {order.order_id}
    assert entries[-1].fields["reason"].startswith("approvals-missing: ")
    assert all(len(one.fields["receipt"]) == 32 for one in entries if one.kind == "order")


def test_i29_the_entry_is_durable_before_the_frame(world: World) -> None:
    """At the moment of the write the chain says "armed" and "sent"."""
    order = world.order()
    world.send(order)
    seen: list[Any] = []

    def look(step: str) -> None:
        if step == "sent":
            other = sqlite3.connect(world.journal.path)
            seen.extend(PROVIDER.decode(row[0])[6]["state"] for row in other.execute(
                "SELECT body FROM audit WHERE sequence > 1 ORDER BY sequence"))  # fmt: skip
            other.close()

    world.jobs[0].run(step=look)
    assert seen == [OrderState.VERIFIED, OrderState.ARMED, OrderState.SENT]


@pytest.mark.parametrize("action", FAIL_CLOSED)
def test_t23_without_an_audit_record_nothing_is_cut_or_changed(
    world: World, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the disk begins to refuse; the refusal itself is told later."""
    waits, fresh = world.order(action), world.order(action, "m-2")
    world.send(waits, world.claims(waits, 1))
    with monkeypatch.context() as patch:
        break_disk(world, patch)
        world.run()
        assert world.send(fresh, world.claims(fresh, 2)) == ""
        world.run()
        assert world.frames == []
        assert ("audit-broken", "m-1") in world.told
        assert world.desk.figures()["unrecorded"] > 0
    turn(world)
    for order in (waits, fresh):
        assert world.end(order) == (OrderState.REFUSED, "audit-unavailable")
    chain_of(world)
    assert world.carry_out(action, meter_id="m-3") == ""


@pytest.mark.parametrize("action", GO_ON)
def test_t23_restores_go_on_and_are_recorded_later(
    world: World, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they wait already or come now; in their order, once the disk takes them."""
    waits, fresh = world.order(action), world.order(action, "m-2")
    world.send(waits, world.claims(waits, 1))
    with monkeypatch.context() as patch:
        break_disk(world, patch)
        world.run()
        assert world.send(fresh, world.claims(fresh, 2)) == ""
        world.run()
        assert world.frames == [waits, fresh]
    turn(world)
    for order in (waits, fresh):
        assert world.states(order) == [
            OrderState.VERIFIED,
            OrderState.ARMED,
            OrderState.SENT,
            OrderState.ACKED,
            OrderState.VERIFYING,
            OrderState.CONFIRMED,
        ]
    assert [one.order_id for one in chain_of(world) if one.kind == "order"] == [
        *[waits.order_id] * 6,
        *[fresh.order_id] * 6,
    ]
    assert world.desk.figures()["unrecorded"] == 0


@pytest.mark.parametrize("action", ["disconnect", "arm"])
def test_t23_one_refusal_of_the_disk_is_enough_for_a_cut(
    world: World, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses the intent alone, and takes all else: the cut ends there, its place in the ceiling
    is free again, and the restore goes on."""
    order, record = world.order(action), world.desk.ledger.record
    world.send(order)
    refusals = iter([True])

    def refuse_once(*values: Any) -> None:
        if values[2] is not None and next(refusals, False):
            raise sqlite3.OperationalError("disk I/O error")
        record(*values)

    monkeypatch.setattr(world.desk.ledger, "record", refuse_once)
    world.run()
    if action == "disconnect":
        assert world.end(order) == (OrderState.REFUSED, "audit-unavailable")
        assert (world.frames, world.desk.figures()["cuts_hour"]) == ([], 0)
    else:
        assert world.end(order)[0] == OrderState.CONFIRMED
    chain_of(world)


def test_t23_a_journal_in_trouble_forbids_cuts(world: World) -> None:
    """The disk refuses readings: nobody waits for it to refuse the record of a cut as well."""
    world.writer.trouble = "database or disk is full"
    assert world.carry_out() == "audit-unavailable"
    assert world.carry_out("arm", meter_id="m-2") == ""
    world.writer.trouble = ""
    assert world.carry_out(meter_id="m-3") == ""


def test_t23_memory_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it can not hold the record of a restore any more, none is begun."""
    first, second = world.order("arm"), world.order("arm", "m-2")
    for n, one in enumerate((first, second)):
        world.send(one, world.claims(one, n + 1))
    with monkeypatch.context() as patch:
        break_disk(world, patch)
        patch.setattr("edge.orders.records.KEPT_MAX", 5)
        world.run()
    assert world.frames == [first]
    turn(world)
    assert world.end(second) == (OrderState.REFUSED, "audit-unavailable")


def test_t23_a_restore_that_was_not_recorded_is_unknown_after_a_crash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not refused: its frame went out."""
    order = world.order("arm")
    world.send(order)
    with monkeypatch.context() as patch:
        break_disk(world, patch)
        world.run()
    assert world.frames == [order]
    world.restart()
    assert world.end(order)[0] == OrderState.UNKNOWN
    assert ("order-unknown", "m-1") in world.told
    world.restart()
    assert world.end(order)[0] == OrderState.UNKNOWN


def test_t23_a_journal_full_of_readings_still_takes_orders(world: World) -> None:
    """They have room beyond the cap; readings do not use it up."""
    journal: Journal = world.journal
    journal.pages_max = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count={journal.pages_max}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        journal.append([make_set(n) for n in range(2000)])
    for n in range(1, 31):
        assert world.carry_out("arm", meter_id=f"m-{n}") == ""
    assert len(world.frames) == 30
    with pytest.raises(sqlite3.OperationalError, match="full"):
        journal.append([make_set(n) for n in range(2000)])


def test_a_gate_refuses_what_it_can_not_record(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Armed before; "sent" can not be written: no byte goes out, and the place in the ceiling is
    not given back, because the intent is durable."""
    order = world.order()
    world.send(order)
    gate, found = world.jobs[0].gate, CLOSED
    gate.arm(order, found)
    with monkeypatch.context() as patch:
        break_disk(world, patch)
        with pytest.raises(RefusedHere, match="audit-unavailable"):
            gate.note(order, OrderState.SENT)
    assert gate.state == OrderState.ARMED
    fresh = world.order(meter_id="m-2")
    world.send(fresh)
    with pytest.raises(RefusedHere, match="internal"):
        world.jobs[-1].gate.note(fresh, OrderState.SENT)


def test_the_chain_begins_anew_with_a_new_journal(world: World) -> None:
    """Its first hash is of the epoch, so no entry of the one fits into the other."""
    world.carry_out("arm")
    before, epoch = chain_of(world), world.journal.epoch
    world.crash()
    for path in world.folder.glob("journal.db*"):
        path.unlink()
    world.build()
    world.policy()
    world.carry_out("arm", meter_id="m-2")
    after = chain_of(world)
    assert (before[0].sequence, after[0].sequence) == (1, 1)
    assert world.journal.epoch != epoch


@pytest.mark.parametrize("seed", range(4))
def test_any_course_leaves_a_whole_chain(tmp_path: Path, seed: int) -> None:
    """Orders of all kinds, good and bad, stops, policies, crashes: seeded, and always one frame at
    most for each order."""
    chance = random.Random(645 + seed)
    world = World(tmp_path / "state", cuts_per_hour=1000, cuts_per_day_percent=100)
    world.policy()
    orders = []
    for _ in range(120):
        what = chance.random()
        if what < 0.6:
            order = world.order(
                chance.choice(list(ORDER_KINDS)[2:]), f"m-{chance.randrange(1, 41)}"
            )
            if chance.random() < 0.2:
                order = order._replace(approvals=order.approvals[:1])
            orders.append(order)
            world.send(order)
        elif what < 0.8:
            world.run()
        elif what < 0.9:
            world.restart(chance.random() < 0.3)
        elif orders and what < 0.95:
            world.stop(chance.choice(orders))
        else:
            world.policy(cuts_until=chance.choice((0, world.clock.utc_ms() + HOUR_MS)))
        world.clock.advance(chance.randrange(60_000))
    world.run()
    assert len({order.order_id for order in world.frames}) == len(world.frames)
    for order in orders:
        world.end(order)
    sent = [one.order_id for one in chain_of(world) if one.fields.get("state") == OrderState.SENT]
    assert {order.order_id for order in world.frames} <= set(sent)
    world.crash()


# ---- on the way up ------------------------------------------------------------------------------


@pytest.fixture
def uplink(tmp_path: Path, clock: FakeClock) -> Any:
    """A session, greeted."""
    one = Uplink(tmp_path, clock)
    one.connect_and_answer()
    yield one
    one.crash()


def audits(heard: list[Any]) -> list[AuditBatch]:
    """The audit messages among them."""
    return [AuditBatch.from_body(one.body) for one in heard if one.kind is AUDIT]


def test_the_chain_goes_up_until_it_is_acknowledged(uplink: Uplink) -> None:
    """One message under way, again after the time-out, joined to what is stored; over a restart."""
    epoch = uplink.journal.epoch
    (first,) = audits(uplink.arrive(uplink.head_end.order(epoch, 1)))
    assert (first.first, first.previous) == (1, first_hash(TENANT, GATEWAY, epoch))
    assert audits(uplink.arrive(uplink.head_end.order(epoch, 2))) == []
    uplink.clock.advance(UPLINK["ack_timeout_ms"] + 1)
    (again,) = audits(uplink.turn())
    assert (again.first, len(again.entries)) == (1, 2)
    assert audits(uplink.ack(0, audit=1)) == [], "the second is under way"
    uplink.clock.advance(UPLINK["ack_timeout_ms"] + 1)
    (rest,) = audits(uplink.turn())
    hashed = check_chain(PROVIDER, first)[0][1]
    assert (rest.first, rest.previous) == (2, hashed)
    uplink.restart()
    heard = audits(uplink.connect())
    assert (heard[0].first, heard[0].previous) == (2, hashed)
    uplink.ack(0, audit=2)
    assert audits(uplink.turn()) == []


def test_an_acknowledgement_of_entries_that_never_were_is_refused(uplink: Uplink) -> None:
    """And changes nothing."""
    uplink.arrive(uplink.head_end.order(uplink.journal.epoch, 1))
    uplink.ack(0, audit=9)
    assert uplink.session.refusals == {"schema": 1}
    uplink.clock.advance(UPLINK["ack_timeout_ms"] + 1)
    assert len(audits(uplink.turn())) == 1


def test_stored_entries_go_by_age_and_the_last_one_stays(world: World) -> None:
    """The next message begins with its hash."""
    for n in range(1, 5):
        world.carry_out("arm", meter_id=f"m-{n}")
    journal = world.journal
    count = len(world.entries())
    world.desk.ledger.acknowledge(count - 3)
    journal.append([make_set(1)])
    journal.purge(world.clock.utc_ms() + 1, 1.0)
    rows = journal._db.execute("SELECT sequence FROM audit ORDER BY sequence").fetchall()
    assert [row[0] for row in rows] == [count - 3, count - 2, count - 1, count]
    world.desk.ledger.acknowledge(count + 1)
    world.desk.ledger.acknowledge(1)
    reader = journal.reader()
    assert (reader.audit_acknowledged(), reader.audit_head()) == (count - 3, count)
    assert len(reader.audit_entries(100).previous) == 32
    reader.close()


def test_a_policy_and_a_stop_come_through_the_session(uplink: Uplink) -> None:
    """Sealed with the order key; a stale policy has the gateway greet again."""
    nonce = next(reversed(uplink.session._nonces))
    now = uplink.clock.utc_ms()
    policy = Policy(7, 3, now + HOUR_MS, now, (), 0, 0, (), 0)
    claims = Claims(7, now, 0, nonce, ZERO_EPOCH, POLICY.content_type)
    uplink.arrive(uplink.head_end.seal(POLICY, claims, policy.to_body()))
    assert uplink.desk.figures()["is_attested"]
    assert uplink.inbox.last_counter == 3
    stale = policy._replace(serial=8)
    claims = Claims(8, now, 0, b"x" * 16, ZERO_EPOCH, POLICY.content_type)
    uplink.arrive(uplink.head_end.seal(POLICY, claims, stale.to_body()))
    assert not uplink.desk.figures()["is_attested"]
    uplink.clock.advance(UPLINK["ack_timeout_ms"] + 1)
    greetings = len(uplink.session._nonces)
    uplink.turn()
    assert len(uplink.session._nonces) == greetings + 1
    stop = Stop((b"i" * 16,), 0)
    claims = Claims(1, now, 0, b"", ZERO_EPOCH, STOP.content_type)
    uplink.arrive(uplink.head_end.seal(STOP, claims, stop.to_body()))
    assert uplink.session.refusals == {}
    wrong = uplink.head_end.seal(STOP, claims, stop.to_body(), uplink.head_end.ack_key)
    uplink.arrive(wrong)
    assert uplink.session.refusals == {"key_use": 1}
    assert now >= UTC_MS


def turn(world: World) -> None:
    """One turn of the uplink: what waits for the disk is tried again."""
    reader = world.journal.reader()
    world.desk.work(reader, lambda _: None)
    reader.close()
