"""Who may order what: signatures, approvals, bindings, counters and times, before anything goes to
a line."""

from pathlib import Path
from typing import Any

import pytest

from edge.journal.counters import NAME, MeterCounters
from edge.journal.highwater import HighWater
from protocols.envelope.keys import Use
from protocols.orders.kinds import ORDER_KINDS
from protocols.orders.states import OrderState
from protocols.readings import TimeQuality
from tests.edge.head_end import make_key
from tests.edge.orders.desk_world import (
    ANNA,
    BEN,
    CARL,
    CLOSED,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    NOW,
    World,
    address_of,
)

WRITES = tuple(name for name, kind in ORDER_KINDS.items() if not kind.is_plain())
CRITICAL = tuple(name for name, kind in ORDER_KINDS.items() if kind.is_critical)


@pytest.mark.parametrize("action", WRITES)
def test_an_order_that_everybody_agreed_to_is_carried_out(world: World, action: str) -> None:
    """Of each kind: verified, armed, sent, confirmed; the frame is of this order."""
    order = world.order(action)
    assert world.send(order) == ""
    assert world.states(order) == [OrderState.VERIFIED]
    world.run()
    assert world.frames == [order]
    assert world.states(order) == [
        OrderState.VERIFIED,
        OrderState.ARMED,
        OrderState.SENT,
        OrderState.ACKED,
        OrderState.VERIFYING,
        OrderState.CONFIRMED,
    ]


def test_i01_the_order_is_durable_before_its_frame(world: World) -> None:
    """When the frame goes, the signed order, its counters, the intent and the state "sent" are on
    the disk; nothing else lets a frame out."""
    order = world.order()
    world.send(order)
    seen: list[Any] = []

    def look(step: str) -> None:
        if step == "sent":
            assert world.frames == []
            db = world.journal._db
            seen.extend(db.execute("SELECT order_id, state FROM order_inbox"))
            seen.extend(db.execute("SELECT meter_id, action FROM intent"))
            seen.append(MeterCounters(world.folder).value("head-end", "m-1", "supply"))

    world.jobs[0].run(step=look)
    assert seen == [(order.order_id, OrderState.SENT), ("m-1", "disconnect"), 1]
    assert world.frames == [order]


def test_i01_nothing_is_sent_that_was_not_armed(world: World) -> None:
    """A job that skips the gate gets no yes at the last question."""
    order = world.order()
    world.send(order)
    gate = world.jobs[0].gate
    assert not gate.holds()
    assert gate.check(order, CLOSED) == ""
    assert not gate.holds()


@pytest.mark.parametrize("action", CRITICAL)
@pytest.mark.parametrize("approvers", [(), (ANNA,), (ANNA, ANNA), (ANNA, CARL)])
def test_i03_a_critical_order_needs_two_people_and_not_who_asked(
    world: World, action: str, approvers: tuple[str, ...]
) -> None:
    """One, none, one twice, or the requester: refused, and nothing waits for a line."""
    order = world.order(action, approvers=approvers)
    expected = {
        (): "approvals-missing",
        (ANNA,): "approvals-missing",
        (ANNA, ANNA): "approver-twice",
        (ANNA, CARL): "approver-is-requester",
    }
    assert world.send(order) == expected[approvers]
    assert (world.jobs, world.end(order)) == ([], (OrderState.REFUSED, expected[approvers]))


@pytest.mark.parametrize("change", ["meter", "action", "reason", "valid_until", "counter"])
def test_i03_any_change_voids_the_approvals(world: World, change: str) -> None:
    """They are of the digest of the frozen order."""
    order = world.order()
    terms = order.terms
    changed = {
        "meter": order._replace(meter_id="m-2", meter_address=address_of("m-2")),
        "action": order._replace(action="keep-power-off"),
        "reason": order._replace(terms=terms._replace(reason="paid")),
        "valid_until": order._replace(terms=terms._replace(valid_until=terms.valid_until + 1)),
        "counter": order._replace(terms=terms._replace(meter_counter=99)),
    }[change]
    assert world.send(changed) == "bad-signature"
    assert world.jobs == []


def test_i03_a_signature_by_another_key_is_refused(world: World) -> None:
    """A head end that was broken into has no key of an approver (T3)."""
    order = world.order()
    forged = make_key(BEN, Use.APPROVE)
    approvals = (order.approvals[0], world.approve(order, BEN, forged))
    assert world.send(order._replace(approvals=approvals)) == "unknown-key"
    other = world.approve(order, BEN, world.people[CARL])
    assert world.send(order._replace(approvals=(approvals[0], other)), world.claims(order, 9)) == (
        "key-owner"
    )
    assert world.jobs == []


def test_i04_a_restore_needs_less_than_a_cut(world: World) -> None:
    """A permission to close needs nobody, a direct close one person with a recorded reason."""
    assert ORDER_KINDS["arm"].approvals < ORDER_KINDS["connect"].approvals
    assert ORDER_KINDS["connect"].approvals < ORDER_KINDS["disconnect"].approvals
    assert world.carry_out("arm") == ""
    assert world.carry_out("connect", meter_id="m-2", approvers=()) == "approvals-missing"
    assert world.carry_out("connect", meter_id="m-3", approvers=(ANNA,)) == ""


def test_a_rule_may_propose_and_never_connect(world: World) -> None:
    """What a program may ask for stands in the table of kinds."""
    assert world.carry_out("disconnect", requested_by="automation:billing") == ""
    order = world.order("connect", requested_by="automation:billing")
    assert world.send(order) == "not-allowed"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"meter_id": "m-99"}, "unknown-meter"),
        ({"meter_address": "000000000002"}, "wrong-address"),
        ({"meter_address": "AAAAAAAAAAAA"}, "wrong-address"),
        ({"meter_address": "999999999999"}, "wrong-address"),
    ],
)
def test_an_order_is_for_one_meter_of_this_gateway(
    world: World, fields: dict[str, Any], code: str
) -> None:
    """Another meter, another address, a wildcard."""
    order = world.order("arm")._replace(**fields)
    assert world.send(order) == code
    assert world.jobs == []


def test_a_meter_that_was_exchanged_while_the_order_waited_is_left_alone(world: World) -> None:
    """The settings changed: under that name there is another meter, or none."""
    moved, gone = world.order("arm"), world.order("arm", "m-2")
    for n, one in enumerate((moved, gone)):
        assert world.send(one, world.claims(one, n + 1)) == ""
    addresses = world.desk._around.addresses
    addresses["m-1"] = "000000000999"
    del addresses["m-2"]
    world.run()
    assert world.frames == []
    assert {world.end(one) for one in (moved, gone)} == {(OrderState.REFUSED, "wrong-address")}


def test_a_line_that_is_full_refuses_and_nothing_is_left_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order that can not wait is refused, not forgotten."""
    monkeypatch.setattr(world, "offers", False)
    order = world.order("arm")
    assert world.send(order) == ""
    assert world.end(order) == (OrderState.REFUSED, "busy")
    assert world.desk.figures()["open"] == 0


def test_an_order_for_another_journal_is_refused(world: World) -> None:
    """As all that is of another epoch."""
    order = world.order("arm")
    assert world.send(order, world.claims(order, epoch=bytes(8))) == "epoch"


# ---- counters -----------------------------------------------------------------------------------


def test_i13_a_replay_is_refused_at_once_and_after_a_restart(world: World) -> None:
    """T6: the very message again, at once, after a restart, after a reboot."""
    order = world.order()
    claims = world.claims(order)
    assert world.send(order, claims) == ""
    world.run()
    for is_boot in (False, True):
        assert world.send(order, claims) == "replayed"
        world.restart(is_boot)
        world.policy()
    assert world.send(order, claims) == "replayed"
    assert (world.frames, world.jobs) == ([order], [])


def test_i13_equal_or_lower_counters_of_a_meter_are_refused_and_told(world: World) -> None:
    """In a message of its own, with every approval good: the counter of the meter alone says
    no."""
    first, second = world.order("arm"), world.order("arm")
    assert world.send(second, world.claims(second, 10)) == ""
    assert world.send(second, world.claims(second, 11)) == "lower-counter"
    assert world.send(first, world.claims(first, 12)) == "lower-counter"
    assert ("counter-regressed", "m-1") in world.told
    world.run()
    assert world.frames == [second]


def test_i13_counters_are_of_each_meter_family_and_originator(world: World) -> None:
    """A price table that waits does not block a restore, nor one meter another."""
    world.counter = 50
    high = world.order("prices")
    assert world.send(high) == ""
    for n, order in enumerate(
        (
            world.order("arm", meter_counter=1),
            world.order("arm", "m-2", meter_counter=1),
            world.order("alarm-on", originator="other", meter_counter=1),
        )
    ):
        assert world.send(order, world.claims(order, 60 + n)) == ""
    low = world.order("alarm-on", meter_counter=51)
    assert world.send(low, world.claims(low, 70)) == "lower-counter"


def test_i13_counters_outlive_the_journal(world: World) -> None:
    """A new epoch does not open the window."""
    order = world.order("arm")
    assert world.send(order) == ""
    world.crash()
    for path in world.folder.glob("journal.db*"):
        path.unlink()
    world.build()
    world.policy()
    assert world.send(order, world.claims(order, 2)) == "lower-counter"


@pytest.mark.parametrize("copy", [".a", ".b"])
def test_i13_one_spoiled_copy_of_the_counters_costs_nothing(world: World, copy: str) -> None:
    """A power cut or a bad sector spoils one file."""
    order = world.order("arm")
    world.send(order)
    (world.folder / (NAME + copy)).write_text('{"head-end m-1 supply":0}\n12\n')
    world.restart()
    world.policy()
    assert world.send(order, world.claims(order, 2)) == "lower-counter"


def test_i13_an_old_card_is_brought_forward_by_the_policy(world: World, tmp_path: Path) -> None:
    """T6, T10: yesterday's image knows neither counter; before the policy nothing runs, after it
    the captured message is a replay."""
    world.image(tmp_path / "card")
    order = world.order()
    claims = world.claims(order)
    assert world.send(order, claims) == ""
    world.run()
    assert len(world.frames) == 1
    world.restore(tmp_path / "card")
    copy = world.claims(order, claims.sequence)
    world.policy(counter_mark=claims.sequence)
    assert world.send(order, copy) == "replayed"
    assert len(world.frames) == 1


def test_i13_an_old_card_without_a_policy_observes_only(world: World, tmp_path: Path) -> None:
    """The captured message comes before any policy of this boot, with an old one at hand."""
    world.image(tmp_path / "card")
    order = world.order()
    claims = world.claims(order)
    world.send(order, claims)
    world.run()
    world.restore(tmp_path / "card")
    assert world.desk.wants_policy
    assert world.send(order, claims) == "no-policy"
    assert len(world.frames) == 1


def test_a_policy_is_attested_by_a_nonce_of_this_boot_only(world: World) -> None:
    """One that answers none, or one of the life before, lets nothing through."""
    former = next(iter(world.nonces))
    world.restart()
    assert world.carry_out("arm") == "no-policy"
    world.policy(nonce=former)
    assert world.carry_out("arm") == "no-policy"
    world.policy(nonce=b"")
    assert world.carry_out("arm") == "no-policy"
    world.policy()
    assert world.carry_out("arm") == ""
    world.policy(nonce=b"")  # a newer one that answers nothing takes it away again
    assert world.carry_out("arm", meter_id="m-2") == "no-policy"
    assert ("policy-missing", "m-1") in world.told


def test_a_policy_whose_mark_can_not_be_kept_permits_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it forbids holds all the same; it comes again, and then it counts."""

    def refuse(_: HighWater, path: Path, value: int) -> None:
        raise OSError(28, "No space left on device")

    nonce = world.greet()
    with monkeypatch.context() as patch:
        patch.setattr(HighWater, "_write", refuse)
        with pytest.raises(OSError, match="No space"):
            world.policy(nonce, serial=NOW, counter_mark=70, protected=("m-2",))
    assert not world.desk.figures()["is_attested"]
    assert world.desk._known.standing.is_protected("m-2")
    order = world.order("arm")
    assert world.send(order, world.claims(order, 50)) == "no-policy"
    world.policy(nonce, serial=NOW, counter_mark=70, protected=("m-2",))
    assert world.send(order, world.claims(order, 70)) == "replayed"
    fresh = world.order("arm")
    assert world.send(fresh, world.claims(fresh, 71)) == ""


def test_an_earlier_policy_is_refused(world: World) -> None:
    """Its serial rises; the same one again is the same one."""
    world.policy(serial=NOW + 10, cuts_until=0)
    with pytest.raises(Exception, match="replayed"):
        world.policy(serial=NOW + 9)
    assert world.carry_out() == "on-hold"
    world.policy(serial=NOW + 10, cuts_until=0)


# ---- times --------------------------------------------------------------------------------------


def test_i14_an_expired_order_is_dropped(world: World) -> None:
    """On arrival, or when its turn comes; its last moment still holds."""
    late = world.order("arm")
    claims = world.claims(late, expires_at=NOW - 1, issued_at=NOW - 1000)
    assert world.send(late, claims) == "expired"
    assert world.end(late) == (OrderState.EXPIRED, "expired")
    waits, holds = world.order("arm", "m-2"), world.order("arm", "m-3")
    for n, one in enumerate((waits, holds)):
        end = NOW + MINUTE_MS + n
        assert world.send(one, world.claims(one, 10 + n, expires_at=end)) == ""
    world.clock.advance(MINUTE_MS + 1)
    world.run()
    assert world.end(waits) == (OrderState.EXPIRED, "expired")
    assert world.frames == [holds]


def test_i14_it_is_not_carried_out_before_its_time(world: World) -> None:
    """Beyond the skew of two clocks."""
    order = world.order("arm", valid_from=NOW + HOUR_MS)
    claims = world.claims(order, issued_at=NOW + HOUR_MS, expires_at=NOW + 2 * HOUR_MS)
    assert world.send(order, claims) == "not-yet"


@pytest.mark.parametrize("field", ["early", "late", "long"])
def test_i14_a_delivery_lives_within_the_frozen_terms(world: World, field: str) -> None:
    """What people approved is the outer bound: a head end can not prolong it."""
    order = world.order()
    claims = {
        "early": {"issued_at": order.terms.valid_from - 1},
        "late": {"expires_at": order.terms.valid_until + 1},
        "long": {"expires_at": NOW + order.terms.life_ms + 1},
    }[field]
    assert world.send(order, world.claims(order, **claims)) == "terms"


def test_i14_expiry_is_looked_at_right_before_the_first_byte(world: World) -> None:
    """Its time passes between the armed state and the write: nothing goes out."""
    order = world.order()
    world.send(order)

    def slow(step: str) -> None:
        if step == "sent":
            world.clock.advance(16 * MINUTE_MS)

    world.jobs.pop().run(step=slow)
    assert world.frames == []
    assert world.states(order)[-1] == OrderState.NOT_DONE


def test_without_trusted_time_a_nonce_lets_a_restore_in_and_never_a_cut(world: World) -> None:
    """§9.11: acceptance is not permission."""
    world.clock.set_quality(TimeQuality.UNSYNCED)
    nonce = world.greet()
    cut, restore = world.order(), world.order("arm", "m-2")
    assert world.send(cut, world.claims(cut, nonce=nonce)) == "clock-untrusted"
    assert world.send(restore, world.claims(restore, 9, nonce=nonce)) == ""
    world.run()
    assert world.frames == [restore]
    bare = world.order("arm", "m-3")
    assert world.send(bare, world.claims(bare, 10)) == "clock-untrusted"


def test_a_nonce_that_is_older_than_the_order_lives_proves_nothing(world: World) -> None:
    """It may have been issued right after the nonce."""
    world.clock.set_quality(TimeQuality.UNSYNCED)
    nonce = world.greet()
    world.clock.advance(2 * MINUTE_MS)
    order = world.order("arm")
    short = world.claims(order, nonce=nonce)._replace(expires_at=world.clock.utc_ms() + MINUTE_MS)
    assert world.send(order, short) == "expired"


def test_refusals_are_counted(world: World) -> None:
    """For the status and the metrics."""
    world.send(world.order(approvers=()))
    world.send(world.order("arm", "m-1", requested_at=NOW - DAY_MS)._replace(meter_id="m-77"))
    figures = world.desk.figures()
    assert figures["refused"] == {"approvals-missing": 1, "unknown-meter": 1}
    assert figures["is_attested"]
    assert figures["lease_left_ms"] == HOUR_MS
