"""Starts, restarts, stops and messages that come again: what never moves a relay (I19, I24)."""

from pathlib import Path
from typing import Any

import pytest

from edge.journal.store import StoredOrder
from edge.orders.unrecorded import Unrecorded
from edge.sync.transport import Arrived
from protocols.messages import ORDER, POLICY, Action, OrderState
from protocols.orders.kinds import ORDER_KINDS
from tests.edge.fakes import FakeClock
from tests.edge.head_end import PROVIDER, make_order
from tests.edge.orders.desk_world import DAY_MS, HOUR_MS, NOW, World
from tests.edge.uplink import Uplink

WRITES = tuple(name for name, kind in ORDER_KINDS.items() if not kind.is_plain())


class PowerCutError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("action", WRITES)
@pytest.mark.parametrize("is_boot", [False, True])
def test_i19_a_restart_carries_out_nothing(world: World, action: str, is_boot: bool) -> None:
    """What was taken up and not sent is refused, of every kind, with a policy at hand."""
    order = world.order(action)
    assert world.send(order) == ""
    world.restart(is_boot)
    world.policy()
    world.run()
    assert (world.frames, world.jobs) == ([], [])
    assert world.end(order) == (OrderState.REFUSED, "restarted")


@pytest.mark.parametrize("action", ["disconnect", "arm", "prices"])
@pytest.mark.parametrize("step", ["checked", "armed", "sent", "written", "acked"])
def test_i19_a_crash_between_any_two_steps_sends_nothing_again(
    world: World, action: str, step: str
) -> None:
    """One frame at most, one final state, and that is honest: refused while nothing can have gone
    out, unknown from then on."""
    order = world.order(action)
    claims = world.claims(order)
    world.send(order, claims)

    def cut(here: str) -> None:
        if here == step:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        world.jobs[0].run(step=cut)
    frames = list(world.frames)
    for _ in range(2):
        world.restart()
        world.policy()
        world.run()
        assert world.send(order, claims) == "replayed"
        assert world.frames == frames
    if step in ("checked", "armed"):
        assert world.end(order) == (OrderState.REFUSED, "restarted")
    else:
        assert world.end(order)[0] == OrderState.UNKNOWN
        assert ("order-unknown", "m-1") in world.told
    assert len(frames) == (step in ("written", "acked"))


@pytest.mark.parametrize("action", ["disconnect", "read"])
def test_i19_an_order_that_was_never_judged_is_refused_after_a_restart(
    world: World, action: str
) -> None:
    """The power went between its row and its guards; no order is without a final state."""
    fields = {"meter_id": "m-1", "meter_address": "000000000001"}
    order = make_order(1, **fields) if action == "read" else world.order(action)
    body = PROVIDER.deflate(PROVIDER.encode(order.to_body()))
    row = StoredOrder(1, order.order_id, body, NOW + HOUR_MS, OrderState.RECEIVED)
    world.journal.take_order(row)
    world.restart()
    assert world.end(order) == (OrderState.REFUSED, "restarted")
    assert world.jobs == []


@pytest.mark.parametrize("state", [OrderState.RECEIVED, OrderState.VERIFIED, OrderState.ARMED])
@pytest.mark.parametrize("body", [b"", b"no order", PROVIDER.deflate(PROVIDER.encode([7, "x"]))])
def test_bodies_of_a_former_version_are_refused_and_never_executed(
    world: World, state: str, body: bytes
) -> None:
    """Whatever stands in the inbox."""
    order = make_order(77)
    world.journal.take_order(StoredOrder(77, order.order_id, body, NOW + HOUR_MS, state))
    world.restart()
    world.policy()
    assert world.jobs == []
    assert world.end(order) == (OrderState.REFUSED, "restarted")


def test_a_read_goes_on_after_a_restart(world: World) -> None:
    """It moves nothing, and needs no policy."""
    order = make_order(1, action=Action.READ, meter_id="m-1", meter_address="000000000001")
    assert world.send(order, world.claims(order, 1)) == ""
    world.restart()
    assert len(world.jobs) == 1
    fresh = make_order(2, meter_id="m-1", meter_address="000000000001")
    assert world.send(fresh, world.claims(fresh, 2)) == ""


def test_i19_a_new_journal_under_a_waiting_order_ends_it(world: World) -> None:
    """Its row is in the file that was put aside: it is not durable any more."""
    order = world.order("arm")
    world.send(order)
    world.journal.epoch = b"another!"
    world.run()
    assert world.frames == []
    assert world.end(order) == (OrderState.REFUSED, "restarted")


def test_i19_a_message_of_last_week_is_refused(world: World) -> None:
    """A broker that kept it, a clock that is right."""
    order = world.order()
    claims = world.claims(order)
    world.clock.advance(7 * DAY_MS)
    world.policy()
    assert world.send(order, claims) == "expired"
    assert world.jobs == []


@pytest.mark.parametrize("kind", [ORDER, POLICY])
def test_i14_a_retained_order_or_policy_is_refused(
    tmp_path: Path, clock: FakeClock, kind: Any
) -> None:
    """Whoever had the broker keep it; the retained flag is looked at before the envelope."""
    uplink = Uplink(tmp_path, clock)
    uplink.connect_and_answer()
    topic, payload = uplink.head_end.order(uplink.journal.epoch, 1)
    topic = topic.replace(ORDER.suffix, kind.suffix)
    uplink.turn(Arrived(topic, payload, True, uplink.note_acknowledged))
    assert uplink.session.refusals == {"retained": 1}
    assert (uplink.jobs, uplink.inbox.last_counter, uplink.acknowledged) == ([], 0, 2)
    uplink.crash()


# ---- stops --------------------------------------------------------------------------------------


def test_i24_a_stop_ends_what_waits(world: World) -> None:
    """At once, not when its turn comes; the others go on."""
    cut, other, restore = world.order(), world.order(meter_id="m-2"), world.order("arm", "m-3")
    for n, one in enumerate((cut, other, restore)):
        world.send(one, world.claims(one, n + 1))
    world.stop(cut, restore)
    assert world.end(cut) == (OrderState.CANCELLED, "stopped")
    assert world.end(restore) == (OrderState.CANCELLED, "stopped")
    world.run()
    assert world.frames == [other]
    assert world.end(cut) == (OrderState.CANCELLED, "stopped")
    assert world.told.count(("order-stopped", "m-1")) == 1


def test_i24_a_stop_of_all_cuts_leaves_the_restores(world: World) -> None:
    """Of those issued at or before it."""
    cut, restore = world.order(), world.order("arm", "m-2")
    later = world.order(meter_id="m-3")
    for n, one in enumerate((cut, restore)):
        world.send(one, world.claims(one, n + 1))
    world.send(later, world.claims(later, 3, issued_at=NOW + 1))
    world.stop(cuts_before=NOW)
    world.run()
    assert world.frames == [restore, later]
    assert world.end(cut) == (OrderState.CANCELLED, "stopped")


@pytest.mark.parametrize("is_restarted", [False, True])
def test_i24_a_stop_may_come_before_its_order(world: World, is_restarted: bool) -> None:
    """It is remembered, over a restart too."""
    order, cut = world.order("arm"), world.order(meter_id="m-2")
    world.stop(order, cuts_before=NOW)
    if is_restarted:
        world.restart()
        world.policy()
    for n, one in enumerate((order, cut)):
        assert world.send(one, world.claims(one, n + 1)) == "stopped"
        assert world.end(one) == (OrderState.REFUSED, "stopped")
    assert world.jobs == []


@pytest.mark.parametrize("step", ["checked", "armed", "sent"])
def test_i24_a_stop_holds_up_to_the_first_byte(world: World, step: str) -> None:
    """Between any two steps before the write; behind it, it changes nothing."""
    order = world.order()
    world.send(order)

    def stop(here: str) -> None:
        if here == step:
            world.stop(order)

    world.jobs[0].run(step=stop)
    assert world.frames == []
    expected = OrderState.NOT_DONE if step == "sent" else OrderState.CANCELLED
    assert world.end(order)[0] == expected


def test_a_stop_behind_the_write_changes_nothing(world: World) -> None:
    """The truth is what the meter shows."""
    order = world.order()
    world.send(order)
    world.jobs[0].run(step=lambda here: world.stop(order) if here == "written" else None)
    assert world.frames == [order]
    assert world.end(order)[0] == OrderState.CONFIRMED


def test_a_stop_holds_although_the_disk_refuses_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it stays with the broker, which brings it again."""
    order = world.order("arm")
    world.send(order)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(world.journal, "append", refuse)
        with pytest.raises(OSError, match="No space"):
            world.stop(order)
    world.run()
    assert world.frames == []
    world.stop(order)
    world.restart()
    world.policy()
    assert world.send(order, world.claims(order, 9)) in ("stopped", "lower-counter")


def test_a_newer_order_about_the_supply_supersedes_an_older_one(world: World) -> None:
    """A payment came while the cut waited for its line: the restore alone is carried out."""
    cut, restore = world.order(), world.order("arm")
    for n, one in enumerate((cut, restore)):
        assert world.send(one, world.claims(one, n + 1)) == ""
    world.run()
    assert world.frames == [restore]
    assert world.end(cut) == (OrderState.SUPERSEDED, "lower-counter")
    prices, alarm = world.order("prices"), world.order("alarm-on")
    for n, one in enumerate((prices, alarm)):
        assert world.send(one, world.claims(one, n + 10)) == ""
    world.run()
    assert world.frames == [restore, prices, alarm]


def test_restores_that_could_not_be_recorded_are_unknown_after_a_restart(tmp_path: Path) -> None:
    """The file takes no new space, and forgets when the journal has them."""
    one = Unrecorded(tmp_path)
    one.add(5)
    one.add(1 << 62)
    assert Unrecorded(tmp_path).counters == [5, 1 << 62]
    size = (tmp_path / "unrecorded-restores").stat().st_size
    for counter in range(1000):
        one.add(counter)
    assert Unrecorded(tmp_path).counters[-1] == 999
    assert (tmp_path / "unrecorded-restores").stat().st_size == size
    one.clear()
    assert Unrecorded(tmp_path).counters == []
