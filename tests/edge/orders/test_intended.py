"""I28: what a supply should do, by the orders that were carried out."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from edge.collect.supply_rules import CLOSED, OPEN, UNSETTLED
from edge.orders.found import Found
from edge.orders.intended import SCOPE, Intended
from protocols.messages import OrderState
from tests.edge.orders.desk_world import World
from tests.edge.orders.line_rig import METER_ID, make_order
from tests.edge.test_journal_damage import leaves, spoil

SENT = (OrderState.ARMED, OrderState.SENT)
DOUBT = (*SENT, OrderState.ACKED, OrderState.VERIFYING)
CUT, ARM = make_order("disconnect"), make_order("arm")


class PowerCutError(Exception):
    """The process ends here."""


def follow(
    order: Any, *states: str, counter: int = 1, intended: Intended | None = None
) -> Intended:
    """The steps of one order."""
    intended = intended or Intended()
    for state in states:
        assert intended.follow(order, counter, state)
    return intended


def stored(world: World) -> str | None:
    """As the disk has it."""
    text = world.journal.memos(SCOPE).get("m-1")
    kept = Intended()
    kept.recall({"m-1": text} if text else {})
    return kept.of("m-1")


@pytest.mark.parametrize("action", ["disconnect", "arm", "connect"])
@pytest.mark.parametrize("end", [OrderState.UNKNOWN, OrderState.CONTRADICTED])
def test_i28_an_order_under_way_settles_nothing_until_it_is_seen(action: str, end: str) -> None:
    """Nor does one whose outcome nobody knows."""
    order = make_order(action)
    for n in range(len(DOUBT)):
        assert follow(order, *DOUBT[: n + 1]).of(METER_ID) == UNSETTLED
    assert follow(order, *DOUBT, end).of(METER_ID) == UNSETTLED


@pytest.mark.parametrize(
    ("action", "wanted"), [("disconnect", OPEN), ("arm", CLOSED), ("connect", CLOSED)]
)
def test_i28_what_was_confirmed_is_intended(action: str, wanted: str) -> None:
    """Whatever was before."""
    order = make_order(action)
    for before in ((CUT, OrderState.CONFIRMED), (ARM, OrderState.CONFIRMED), (CUT, *SENT)):
        intended = follow(*before)
        follow(order, *DOUBT, OrderState.CONFIRMED, counter=2, intended=intended)
        assert intended.of(METER_ID) == wanted
    assert Intended().of(METER_ID) == CLOSED


@pytest.mark.parametrize(
    "end",
    ["not-done", "refused", "refused-by-meter", "expired", "cancelled", "superseded"],
)
@pytest.mark.parametrize(
    ("before", "former"),
    [((), CLOSED), ((OrderState.CONFIRMED,), OPEN), ((OrderState.UNKNOWN,), UNSETTLED)],
)
def test_i28_what_had_no_effect_leaves_what_was(
    end: str, before: tuple[str, ...], former: str
) -> None:
    """Also when another order's outcome was not known before."""
    intended = follow(CUT, *before)
    follow(ARM, *SENT, end, counter=2, intended=intended)
    assert intended.of(METER_ID) == former


def test_an_order_that_never_was_armed_changes_nothing() -> None:
    """It was refused at once."""
    for end, state in ((OrderState.CONFIRMED, OPEN), (OrderState.UNKNOWN, UNSETTLED)):
        intended = follow(CUT, *SENT, end)
        follow(ARM, OrderState.VERIFIED, OrderState.REFUSED, counter=2, intended=intended)
        assert intended.of(METER_ID) == state


def test_a_restore_that_finds_it_closed_is_intended_too() -> None:
    """It is confirmed by what was seen, and nothing was sent."""
    intended = follow(CUT, OrderState.CONFIRMED)
    follow(ARM, OrderState.CONFIRMED, counter=2, intended=intended)
    assert intended.of(METER_ID) == CLOSED


@pytest.mark.parametrize("late", [OrderState.CONFIRMED, OrderState.NOT_DONE, OrderState.UNKNOWN])
def test_an_older_orders_late_end_says_nothing(late: str) -> None:
    """A newer one has begun, or is done."""
    intended = follow(ARM, *SENT, counter=2)
    assert follow(CUT, late, counter=1, intended=intended).of(METER_ID) == UNSETTLED
    follow(ARM, OrderState.CONFIRMED, counter=2, intended=intended)
    assert follow(CUT, late, counter=1, intended=intended).of(METER_ID) == CLOSED


def test_an_unknown_order_that_is_settled_later_is_followed() -> None:
    """By the look that comes behind a restart."""
    for end, state in ((OrderState.CONFIRMED, OPEN), (OrderState.NOT_DONE, CLOSED)):
        assert follow(CUT, *SENT, OrderState.UNKNOWN, end).of(METER_ID) == state


@pytest.mark.parametrize("action", ["keep-power-on", "alarm-on", "overdraft", "read"])
def test_other_orders_are_not_followed(action: str) -> None:
    """They order no supply."""
    intended = Intended()
    assert not intended.follow(make_order(action), 1, OrderState.CONFIRMED)
    assert intended.memos() == []


def test_memos_that_nobody_understands_are_left_out() -> None:
    """The supply counts as closed."""
    intended = Intended()
    intended.recall({"m-1": "no json", "m-2": "[1, 2, 3, 4]", "m-3": '["open", "open", 3]'})
    assert [intended.of(one) for one in ("m-1", "m-2", "m-3")] == [CLOSED, CLOSED, OPEN]


# ---- on the disk --------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["checked", "armed", "sent", "written", "acked"])
def test_i28_it_is_durable_with_the_step_ahead_of_the_effect(world: World, step: str) -> None:
    """At each step the disk knows what the memory does, and so does the start after it."""
    world.send(world.order())
    seen: list[tuple[str, str | None]] = []

    def cut(here: str) -> None:
        if here == step:
            seen.append((world.desk.intended.of("m-1"), stored(world)))
            raise PowerCutError

    with pytest.raises(PowerCutError):
        world.jobs[0].run(step=cut)
    begun = CLOSED if step == "checked" else UNSETTLED
    assert seen == [(begun, begun)]
    world.restart()
    after = CLOSED if step in ("checked", "armed") else UNSETTLED  # refused, or unknown
    assert (world.desk.intended.of("m-1"), stored(world)) == (after, after)


@pytest.mark.parametrize(("table", "intended"), [("audit", OPEN), ("sqlite_schema", CLOSED)])
def test_i28_it_outlives_restarts_and_a_journal_that_is_put_aside(
    world: World, table: str, intended: str
) -> None:
    """As far as that can be read: where nothing can, a supply counts as closed."""
    assert world.carry_out("disconnect") == ""
    assert stored(world) == OPEN
    world.restart(is_boot=True)
    assert world.desk.intended.of("m-1") == OPEN
    path = world.journal.path
    world.journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    world.crash()
    spoil(path, leaves(path, table))
    world.build()
    assert world.journal.salvaged
    assert (world.desk.intended.of("m-1"), stored(world)) == (intended, intended)


def test_i28_a_new_journal_while_it_runs_is_given_all_of_it(world: World) -> None:
    """Whatever could be read of the old one."""
    assert world.carry_out("disconnect") == ""
    world.journal.clear_memo(SCOPE, "m-1")
    world.journal.epoch = b"another!"
    with closing(world.journal.reader()) as reader:
        world.desk.work(reader, lambda _: None)
    assert stored(world) == OPEN


def test_a_disk_that_refuses_the_intent_leaves_what_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut that was not armed had no effect."""
    record = world.desk.ledger.record

    def refuse(*values: Any) -> None:
        if values[2] is not None:
            raise sqlite3.OperationalError("disk I/O error")
        record(*values)

    monkeypatch.setattr(world.desk.ledger, "record", refuse)
    assert world.carry_out("disconnect") == "audit-unavailable"
    assert (world.desk.intended.of("m-1"), stored(world)) == (CLOSED, CLOSED)


@pytest.mark.parametrize(("action", "looks"), [("disconnect", ["m-1"]), ("prices", [])])
def test_i28_the_supply_is_looked_at_behind_its_order(
    world: World, action: str, looks: list[str]
) -> None:
    """Also when it was refused on the way."""
    assert world.carry_out(action) == ""
    assert world.looked == looks
    world.carry_out("disconnect", found=Found("disconnected", False, True, credential="cut"))
    assert world.looked == [*looks, "m-1"]
