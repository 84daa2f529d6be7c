"""Silence, late words, a log that can not be written: nothing is ever taken for a success."""

import sqlite3
from collections.abc import Mapping
from typing import Any

import pytest

from cloud.orders.receiving import SWITCH_GRACE_MS
from protocols.errors import CallerError
from protocols.messages import Order
from tests.cloud.orders.conftest import Maker
from tests.cloud.orders.headend import ANNA, BEN, DAY, HOUR, MINUTE, OLGA, Body, HeadEnd


def published(head: HeadEnd, meter: str = "m0001", **fields: object) -> tuple[Body, int, Order]:
    """(shown, counter, order) of a cut that the broker took."""
    shown = head.cut(meter, **fields)
    head.dispatch()
    claims, order = head.orders_heard()[-1]
    head.puback()
    return shown, claims.sequence, order


# ---- T5, T10 -----------------------------------------------------------------------------------


def test_t5_without_an_uplink_a_cut_is_unknown(head: HeadEnd) -> None:
    """Never a success, and never expired: it may have been carried out. A person hears of it."""
    shown, counter, order = published(head)
    head.wait(15 * MINUTE + SWITCH_GRACE_MS - 1000)
    assert head.state(shown) == "published" and head.alarms() == []
    head.wait(2000)
    assert head.state(shown) == "unknown" and head.alarms() == ["order-unknown"]
    head.tell(order, counter, "verified")
    assert head.state(shown) == "unknown"


@pytest.mark.parametrize("end", ["confirmed", "not-done", "refused", "expired", "contradicted"])
def test_t5_a_late_receipt_settles_it(head: HeadEnd, end: str) -> None:
    """Once; what is settled stays."""
    shown, counter, order = published(head)
    head.wait(HOUR)
    assert head.state(shown) == "unknown"
    head.tell(order, counter, end)
    assert head.state(shown) == end
    head.tell(order, counter, "done", "confirmed" if end != "confirmed" else "refused")
    assert head.state(shown) == end


def test_t5_an_answer_is_not_a_confirmation(head: HeadEnd) -> None:
    """I16 as the head end sees it: `acked` is not final, and ends as unknown without more."""
    shown, counter, order = published(head)
    head.tell(order, counter, "verified", "sent", "acked")
    head.wait(HOUR)
    assert head.state(shown) == "unknown"


def test_t5_the_broker_withholds_a_stop(head: HeadEnd) -> None:
    """A stopped order of which nothing is heard is unknown, not cancelled."""
    shown, _, _ = published(head)
    head.ask("order_cancel", OLGA, order=shown["order"], reason="no")
    head.wait(HOUR)
    assert head.state(shown) == "unknown"


def test_a_receipt_moves_only_its_own_order(make: Maker) -> None:
    """Another gateway's word, or another counter, is an orphan; a repeated one changes nothing."""
    head = make(gateways=("gw1", "gw2"))
    shown, counter, order = published(head)
    other = head.world.gateways["gw2"]
    head.say(other.receipt(order, counter, "confirmed"))
    head.tell(order, counter + 1, "confirmed")
    assert head.state(shown) == "published" and "order-orphan" in head.alarms()
    head.tell(order, counter, "verified", "verified", "sent", "verified")
    assert head.state(shown) == "sent"


def test_t10_a_gateway_that_counts_from_a_lower_number(head: HeadEnd) -> None:
    """An old SD card: told once a hello, and nothing else changes."""
    _, counter, order = published(head)
    head.tell(order, counter, "verified", "refused", reason="window: x")
    head.say(head.gateway.hello(last_order=counter))
    assert head.alarms() == []
    head.say(head.gateway.hello(last_order=counter - 1))
    assert head.alarms() == ["counter-regressed"]


# ---- I30 ---------------------------------------------------------------------------------------


def test_i30_a_late_restore_is_told_and_escalates(head: HeadEnd) -> None:
    """After 30 minutes, and again after 24 hours; each once. One that is done is not told."""
    late, done = head.propose("m0001", action="arm"), head.propose("m0002", action="arm")
    head.wait(20_000)
    for claims, order in head.orders_heard():
        if order.order_id.hex() == done["order"]:
            head.tell(order, claims.sequence, "verified", "sent", "verifying", "confirmed")
    head.pass_time(28 * MINUTE)
    assert head.alarms() == []
    head.pass_time(5 * MINUTE)
    assert head.alarms() == ["restore-late"]
    head.restart()
    head.pass_time(23 * HOUR)
    assert head.alarms() == ["restore-late"]
    head.pass_time(HOUR)
    told = [one for one in head.alarms() if one.startswith("restore")]
    assert sorted(told) == ["restore-escalated", "restore-late"]
    shown = head.ask("alarms_list", ANNA)["alarms"]
    named = {one["order"] for one in shown if one["kind"].startswith("restore")}
    assert named == {late["order"]}
    assert "restore-escalated" in head.audit()


def refuse_last(head: HeadEnd, reason: str) -> Order:
    """The gateway refuses the order that it heard last."""
    head.wait(20_000)
    claims, order = head.orders_heard()[-1]
    head.puback()
    head.tell(order, claims.sequence, "refused", reason=reason)
    return order


@pytest.mark.parametrize("reason", ["no-policy: words", "identity: words", "busy: words"])
def test_i30_a_refused_restore_is_told_at_once_and_asked_for_by_nobody(
    head: HeadEnd, reason: str
) -> None:
    """I19 as the head end sees it: a gateway that restarted is not a reason to move a relay."""
    head.propose("m0001", action="arm")
    refuse_last(head, reason)
    assert head.alarms() == ["restore-failed"]
    head.wait(HOUR)
    assert head.orders_heard() == []


def test_i30_a_restore_that_a_later_one_has_put_right_is_not_late(head: HeadEnd) -> None:
    head.propose("m0001", action="arm")
    refuse_last(head, "no-policy: words")
    head.propose("m0001", action="arm")
    head.wait(20_000)
    claims, order = head.orders_heard()[-1]
    head.tell(order, claims.sequence, "verified", "sent", "verifying", "confirmed")
    head.pass_time(HOUR)
    assert head.alarms() == ["restore-failed"]


def test_a_refused_cut_is_no_such_alarm(head: HeadEnd) -> None:
    _, counter, order = published(head)
    head.tell(order, counter, "refused", reason="no-policy: words")
    assert head.alarms() == []


def test_what_never_ended_is_told_daily(head: HeadEnd) -> None:
    """Unknown for longer than a day: once a day, until it is settled."""
    shown, counter, order = published(head)
    for _ in range(3 * 24):
        head.wait(HOUR)
    assert head.alarms().count("orders-unsettled") == 3
    head.tell(order, counter, "not-done")
    for _ in range(2 * 24):
        head.wait(HOUR)
    assert head.alarms().count("orders-unsettled") == 3 and head.state(shown) == "not-done"


# ---- T23 ---------------------------------------------------------------------------------------


class BrokenLog:
    """An audit log that fails while it is told to."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.is_broken = False

    def append(self, kind: str, subject: str, fields: Mapping[str, Any]) -> object:
        if self.is_broken:
            raise sqlite3.OperationalError("database or disk is full")
        return self.real.append(kind, subject, fields)


@pytest.fixture
def broken(head: HeadEnd) -> BrokenLog:
    keeper = head.core.desk.office.audit
    log = BrokenLog(keeper._audit)
    keeper._audit = log
    return log


def test_t23_cuts_fail_closed(head: HeadEnd, broken: BrokenLog) -> None:
    """No step towards a cut without its entry: not proposed, approved, signed or sealed."""
    asked, half = head.propose("m0001"), head.approve(head.propose("m0002"), "anna")
    queued = head.cut("m0003")
    broken.is_broken = True
    for work in (
        lambda: head.propose("m0001"),
        lambda: head.approve(asked, "anna"),
        lambda: head.approve(half, "ben"),
        lambda: head.ask("hold_release", ANNA, reason="x"),
    ):
        with pytest.raises(CallerError, match=r"audit-unavailable|nothing is held"):
            work()
    head.wait(MINUTE)
    assert head.orders_heard() == [] and head.state(queued) == "queued"
    broken.is_broken = False
    head.wait(MINUTE)
    assert len(head.orders_heard()) == 1
    assert head.approve(half, "ben")["state"] == "queued"


def test_t23_restores_go_on_and_are_logged_later(head: HeadEnd, broken: BrokenLog) -> None:
    """In their order, with the time at which they happened; so do stops and holds."""
    cut = head.cut("m0002")
    broken.is_broken = True
    head.propose("m0001", action="arm")
    head.wait(1000)
    assert [order.action for _, order in head.orders_heard()] == ["arm"]
    assert head.ask("order_cancel", OLGA, order=cut["order"], reason="no")["cancelled"]
    assert head.ask("hold_set", OLGA, reason="no log")["hold"]["held"]
    with pytest.raises(CallerError, match="audit-unavailable"):
        head.ask("hold_release", BEN, reason="fine")
    before = head.audit()
    assert "hold" not in before
    broken.is_broken = False
    head.wait(DAY)
    head.propose("m0003", action="arm")
    later = head.audit()[len(before) :]
    assert later.index("order-sealed") < later.index("order-cancelled") < later.index("hold")
    assert head.db.execute("SELECT count(*) FROM audit_pending").fetchone() == (0,)
    (body,) = head.db.execute("SELECT body FROM audit_entry WHERE kind = 'hold'").fetchone()
    assert f'"happened at":{head.now - DAY}' in body


def test_t23_a_cut_that_is_signed_by_the_clock_fails_closed(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep that signs what waited for the window: whole or not at all."""
    head = make(windows=["Mon 12:00-16:00"])
    shown = head.cut()
    assert shown["state"] == "approved"
    keeper = head.core.desk.office.audit
    keeper._audit = log = BrokenLog(keeper._audit)
    log.is_broken = True
    head.wait(3 * HOUR)
    assert head.state(shown) == "approved" and head.row(shown).not_before is None
    log.is_broken = False
    head.wait(1000)
    assert head.state(shown) == "queued"
