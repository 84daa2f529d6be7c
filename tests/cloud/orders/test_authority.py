"""Who may do what to whom: approvals, protection, counters, expiry, and rows that nobody made."""

import sqlite3

import pytest

from protocols.envelope.keys import Use
from protocols.errors import CallerError
from protocols.messages import Order
from protocols.orders.approvals import check_approvals
from protocols.orders.order import check_claims
from tests.cloud.orders.conftest import Maker
from tests.cloud.orders.headend import (
    ANNA,
    AUDITOR,
    BEN,
    BILLING,
    CARL,
    CONSOLE,
    DAY,
    HOUR,
    MINUTE,
    MONDAY_10,
    OLGA,
    HeadEnd,
)
from tests.cloud.world import PROVIDER, TENANT, make_key

# ---- I3 ----------------------------------------------------------------------------------------


def test_i3_the_requester_does_not_approve(head: HeadEnd) -> None:
    """Not with the role, not with a key, not past the code: the table itself refuses it."""
    shown = head.propose(person=CARL)
    with pytest.raises(CallerError, match="whoever asked for an order does not approve it"):
        head.approve(shown, "carl")
    statement = (
        "INSERT INTO order_approval VALUES (?, 'person:carl', 'person:carl', x'00', 1, x'00', 1)"
    )
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        head.db.execute(statement, (bytes.fromhex(shown["order"]),))
    assert head.approve(shown, "anna", "ben")["state"] == "queued"


def test_i3_a_person_approves_once(head: HeadEnd) -> None:
    """Neither twice with one key, nor with two keys, nor with one key under two names."""
    shown = head.approve(head.propose(), "anna")
    with pytest.raises(CallerError, match="anna has approved this order already"):
        head.approve(shown, "anna")
    first = head.keys["anna"]
    head.keys["anna"] = make_key("person:anna", Use.APPROVE)
    with pytest.raises(CallerError, match="anna has approved this order already"):
        head.approve(shown, "anna")
    record = first.record._replace(owner="person:ben")
    head.keys["ben"] = first._replace(record=record)
    head.write_approvers("ben")
    with pytest.raises(CallerError, match=r"already|belongs to somebody else|same person"):
        head.approve(shown, "ben")
    assert head.state(shown) == "submitted"


def test_i3_an_approval_covers_the_frozen_order(head: HeadEnd) -> None:
    """One for another order fits nothing; neither does one with a key that is not the person's,
    not for approving, revoked, or made at another time."""
    shown, other = head.propose(), head.propose("m0002")
    strange = head.signed(other, "anna") | {"order": shown["order"]}
    with pytest.raises(CallerError, match="does not fit this order"):
        head.ask("order_approve", ANNA, **strange)
    with pytest.raises(CallerError, match="belongs to somebody else"):
        head.ask("order_approve", ANNA, **head.signed(shown, "ben"))
    for at in (head.now - 1, head.now + HOUR):
        with pytest.raises(CallerError, match="too old, or older than the request"):
            head.ask("order_approve", ANNA, **head.signed(shown, "anna", at))
    head.keys["anna"] = make_key("person:anna", Use.SIGN_ORDER)
    head.write_approvers()
    with pytest.raises(CallerError, match="not for approving"):
        head.approve(shown, "anna")
    with pytest.raises(CallerError, match="not allowed: to approve takes the role approver"):
        head.ask("order_approve", OLGA, **head.signed(shown, "ben"))
    assert head.db.execute("SELECT count(*) FROM order_approval").fetchone() == (0,)


def test_i3_every_change_voids_the_approvals(head: HeadEnd) -> None:
    """Whichever field of the frozen order is changed, the signatures no longer hold."""
    head.cut()
    head.dispatch()
    ((_, order),) = head.orders_heard()
    keys = head.core.desk.office.approvers.keys()
    names = check_approvals(PROVIDER, keys, TENANT, "gw1", order, head.now)
    assert names == ("person:anna", "person:ben")
    terms = order.terms
    changes: list[Order] = [
        order._replace(order_id=bytes(16)),
        order._replace(meter_id="m0002"),
        order._replace(meter_address="202611000009"),
        order._replace(action="keep-power-off"),
        *[
            order._replace(terms=terms._replace(**one))
            for one in (
                {"meter_counter": 9},
                {"requested_by": "person:otto"},
                {"reason": "other"},
                {"valid_until": terms.valid_until + 1},
                {"life_ms": terms.life_ms + 1},
                {"selection": bytes(32)},
                {"assurance": 1},
            )
        ],
    ]
    for one in changes:
        with pytest.raises(Exception, match="bad_signature"):
            check_approvals(PROVIDER, keys, TENANT, "gw1", one, head.now)


def test_i3_a_revoked_approver_counts_no_more(head: HeadEnd) -> None:
    """Also when the approval was given before: it is checked again when the order is sent."""
    shown = head.cut()
    record = head.keys["ben"].record._replace(revoked=head.now)
    head.keys["ben"] = head.keys["ben"]._replace(record=record)
    head.write_approvers()
    head.dispatch()
    assert head.orders_heard() == [] and head.state(shown) == "cancelled"
    assert head.alarms() == []  # it came about here, and holds no more


def test_i3_an_old_approval_counts_no_more(make: Maker) -> None:
    """What was approved on Monday is not carried out on the next one, whatever it waited for."""
    head = make(windows=["Mon 10:00-11:00"])
    shown = head.propose(valid_until=head.now + 8 * DAY)
    head.world.clock.now += 2 * HOUR
    assert head.approve(shown, "anna", "ben")["state"] == "approved"
    head.world.clock.now = MONDAY_10 + 7 * DAY
    head.wait(0)
    head.wait(1000)
    assert head.orders_heard() == [] and head.state(shown) == "cancelled"


def test_i3_no_request_that_nobody_else_could_approve(head: HeadEnd) -> None:
    """Threats, 5.4: two others have to be there, and the requester is none of them."""
    head.write_approvers("anna", "carl")
    assert head.propose()["state"] == "submitted"
    with pytest.raises(CallerError, match="takes 2 approvals by others than person:carl; only 1"):
        head.propose(person=CARL)
    head.write_approvers("anna")
    with pytest.raises(CallerError, match="only 1 could give one"):
        head.propose()
    (head.world.identity / "approvers.json").unlink()
    head.restart()
    with pytest.raises(CallerError, match="only 0 could give one"):
        head.propose()
    assert head.propose(action="arm")["state"] == "queued"


def test_i3_a_changed_account_fails_the_order_at_dispatch(head: HeadEnd) -> None:
    """Whatever was approved: it is not carried out on another state of the account."""
    shown = head.cut()
    head.db.execute(
        "INSERT INTO account_change (reference, meter_id, change, note, by, at)"
        " VALUES ('r1', 'm0001', 'flag', '', 'billing', 1)"
    )
    head.dispatch()
    assert head.orders_heard() == [] and head.state(shown) == "cancelled"
    story = head.ask("order_get", ANNA, order=shown["order"])["story"]
    assert story["states"][-1]["reason"].startswith("account-changed")


def test_i4_the_console_restores_and_never_cuts(head: HeadEnd) -> None:
    """Restoring takes less authority than cutting."""
    assert head.propose(action="arm", person=CONSOLE)["state"] == "queued"
    with pytest.raises(CallerError, match="not allowed: to ask for disconnect"):
        head.propose(person=CONSOLE)
    with pytest.raises(CallerError, match="not allowed: to ask for arm"):
        head.propose(action="arm", person=AUDITOR)


# ---- I6, I12 -----------------------------------------------------------------------------------


def test_i6_no_rule_cuts_without_evidence_of_debt(head: HeadEnd) -> None:
    """The stub decision, marked as such: without a billing engine what no person asked for is
    held."""
    with pytest.raises(CallerError, match="held: stub: no billing engine, so no rule may cut"):
        head.propose(person=BILLING)
    assert head.propose(action="arm", person=BILLING)["state"] == "queued"


def test_i12_a_protected_meter_is_never_cut(head: HeadEnd) -> None:
    """Not proposed, not approved further, not sent; and its gateway is told so."""
    waiting, queued = head.propose(), head.cut("m0002")
    published = head.cut("m0003")
    head.dispatch()
    head.puback()
    head.orders_heard()
    assert head.state(published) == "published" and head.state(queued) == "published"
    for meter in ("m0001", "m0003"):
        head.ask("never_cut_add", CONSOLE, meter=meter, flag="life-support")
    assert head.state(waiting) == "cancelled"
    head.wait(1000)
    heard = head.heard()
    assert [suffix for suffix, _ in heard if suffix != "dn/a"] == ["dn/s", "dn/p"]  # ahead
    for meter in ("m0001", "m0003"):
        with pytest.raises(CallerError, match=r"protected: meter .* never to be cut .life-support"):
            head.propose(meter)
    assert head.propose("m0003", action="arm")["state"] == "queued"


def test_i12_protection_between_queue_and_dispatch(make: Maker) -> None:
    """An entry that came past the operations still stops what waits for its time."""
    head = make(jitter_s=1800, seed=5)
    shown = head.cut()
    assert head.row(shown).not_before > head.now
    head.core.desk.office.never_cut.add("m0001", "medical", "", "person:x", head.now, None)
    head.core.ingest.commit()
    head.pass_time(31 * MINUTE)
    assert head.orders_heard() == [] and head.state(shown) == "cancelled"


def test_i12_protection_between_draft_and_request(head: HeadEnd) -> None:
    """It is not frozen either."""
    draft = head.propose(submit=False)
    head.core.desk.office.never_cut.add("m0001", "medical", "", "person:x", head.now, None)
    head.core.ingest.commit()
    with pytest.raises(CallerError, match="protected"):
        head.ask("order_submit", OLGA, order=draft["order"])


def test_i12_two_people_remove_and_a_review_removes_nothing(head: HeadEnd) -> None:
    """A typed flag; one person asks, a second one removes; a due review is told."""
    with pytest.raises(CallerError, match="flag = 'old lady' is not allowed"):
        head.ask("never_cut_add", OLGA, meter="m0001", flag="old lady")
    fields = {"meter": "m0001", "flag": "medical", "review_at": head.now + DAY}
    entry = head.ask("never_cut_add", OLGA, **fields)["entry"]
    head.wait(2 * DAY)
    (listed,) = head.ask("never_cut_list", AUDITOR)["entries"]
    assert listed["review_due"] and "never-cut-review" in head.alarms()
    with pytest.raises(CallerError, match="protected"):
        head.propose()
    removal = {"entry": entry["entry"], "reason": "moved away"}
    with pytest.raises(CallerError, match="not allowed"):
        head.ask("never_cut_remove", OLGA, **removal)
    assert not head.ask("never_cut_remove", ANNA, **removal)["entry"]["removed"]
    with pytest.raises(CallerError, match="it takes a second person"):
        head.ask("never_cut_remove", ANNA, **removal)
    with pytest.raises(CallerError, match="protected"):
        head.propose()
    assert head.ask("never_cut_remove", BEN, **removal)["entry"]["removed"]
    assert head.propose()["state"] == "submitted"
    assert head.ask("never_cut_list", AUDITOR)["entries"] == []
    assert len(head.ask("never_cut_list", AUDITOR, all=True)["entries"]) == 1


# ---- I13, I14 ----------------------------------------------------------------------------------


def test_i13_counters_only_rise(head: HeadEnd) -> None:
    """For each meter and family, over restarts; the database itself refuses a lower one."""
    counters = []
    for _ in range(3):
        counters.append(head.row(head.propose(action="arm")).meter_counter)
        head.restart()
    counters.append(head.row(head.propose(action="alarm-on")).meter_counter)
    counters.append(head.row(head.propose("m0002", action="arm")).meter_counter)
    assert counters == [1, 2, 3, 1, 1]
    for statement in (
        "UPDATE meter_counter SET counter = 1",
        "UPDATE meter_counter SET counter = counter",
        "DELETE FROM meter_counter",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="only rises"):
            head.db.execute(statement)


def test_i13_messages_count_in_the_order_of_their_leaving(make: Maker) -> None:
    """A cut that waits out its delay takes its counter when it leaves, so a read in between does
    not make the gateway refuse it."""
    head = make(jitter_s=1800, seed=5)
    shown = head.cut()
    head.ask("order_propose", OLGA, meter="m0002", action="arm", reason="r", submit=True)
    head.dispatch()
    ((first, arm),) = head.orders_heard()
    head.pass_time(31 * MINUTE)
    ((second, cut),) = head.orders_heard()
    assert (arm.action, cut.order_id.hex()) == ("arm", shown["order"])
    assert second.sequence == first.sequence + 1


def test_i13_a_message_counts_above_what_the_gateway_knows(head: HeadEnd) -> None:
    """Also after the head end's own database was restored from a copy."""
    meters = (("m0001", "202611000001"),)
    head.say(head.gateway.hello(meters=meters, last_order=40))
    head.propose(action="arm")
    head.dispatch()
    ((claims, _),) = head.orders_heard()
    assert claims.sequence == 41


def test_i14_every_order_has_its_time(make: Maker) -> None:
    """Not-before and expiry lie within what was frozen, whatever was drawn; nothing is handed to
    the broker before its time, and the broker may keep it no longer than it holds."""
    head = make(jitter_s=1800, meters=40, seed=7)
    until = MONDAY_10 + 2 * HOUR
    for n in range(1, 41):
        head.cut(f"m{n:04d}", valid_until=until, life_s=600)
    left = {}
    for _ in range(45):
        head.dispatch()
        for suffix, message in head.heard():
            if suffix == "dn/c":
                claims, order = head.gateway.open_order(message)
                check_claims(order, claims)
                assert order.terms.valid_from <= claims.issued_at <= head.now
                assert head.now < claims.expires_at <= until
                assert claims.expires_at - claims.issued_at <= 600_000
                assert message.expiry_s == (claims.expires_at - head.now) // 1000
                left[order.order_id] = head.now
        head.world.clock.now += MINUTE
    assert len(left) == 40 and len(set(left.values())) > 5


def test_i14_a_late_approval_does_not_prolong(make: Maker) -> None:
    """The frozen window ends it, however much of its life is left."""
    head = make(jitter_s=1800, seed=3)
    shown = head.propose(valid_until=head.now + 20 * MINUTE)
    head.wait(12 * MINUTE)
    head.approve(shown, "anna", "ben")
    head.dispatch()
    ((claims, _),) = head.orders_heard()
    assert claims.expires_at == MONDAY_10 + 20 * MINUTE


def test_i14_an_expired_order_is_never_handed_out(make: Maker) -> None:
    """No connection for longer than its life: it ends as expired, for it never left."""
    head = make()
    head.world.broker.is_up = False
    shown = head.cut()
    head.wait(16 * MINUTE)
    head.world.broker.is_up = True
    head.wait(15 * MINUTE)
    assert head.orders_heard() == [] and head.state(shown) == "expired"


# ---- T3 ----------------------------------------------------------------------------------------


def test_t3_a_forged_row_is_an_orphan(head: HeadEnd) -> None:
    """A row that somebody wrote into the database is not sealed: no approvals hold for it. It is
    told and audited."""
    real = head.propose("m0002")
    row = head.row(real)
    columns = "order_id, gateway_key, meter_id, meter_address, action, obis, counter, state"
    more = "created_at, expires_at, effect, family, requested_by, reason, body, digest, account"
    times = "valid_from, valid_until, life_ms, submitted_at, not_before"
    head.db.execute(
        f"INSERT INTO meter_order ({columns}, {more}, {times}) VALUES (?, 1, 'm0002', ?,"
        " 'disconnect', ?, -99, 'queued', ?, ?, 'cuts', 'supply', 'person:olga', 'x', ?, ?, '0',"
        " ?, ?, 900000, ?, ?)",
        (
            b"F" * 16,
            row.meter_address,
            row.obis,
            head.now,
            head.now + HOUR,
            row.body,
            row.digest,
            head.now,
            head.now + DAY,
            head.now,
            head.now,
        ),
    )
    head.dispatch()
    assert head.orders_heard() == [] and head.state((b"F" * 16).hex()) == "cancelled"
    assert "order-orphan" in head.alarms() and "order-orphan" in head.audit()


@pytest.mark.parametrize("state", ["submitted", "approved", "draft"])
def test_t3_a_row_that_is_pushed_along_is_an_orphan(head: HeadEnd, state: str) -> None:
    """Real request, state set by hand: no approvals, or not the steps."""
    shown = head.propose(submit=state != "draft")
    head.db.execute("UPDATE meter_order SET state = 'queued', not_before = ?", (head.now,))
    head.dispatch()
    assert head.orders_heard() == [] and head.state(shown) == "cancelled"
    assert "order-orphan" in head.alarms()


@pytest.mark.parametrize(
    "change",
    [
        "meter_id = 'm0002'",
        "meter_address = '202611000099'",
        "requested_by = 'person:x'",
        "digest = x'00'",
        "action = 'keep-power-off'",
    ],
)
def test_t3_an_approved_row_that_is_edited_is_an_orphan(head: HeadEnd, change: str) -> None:
    """The body is what was approved; a row that says otherwise is not sent."""
    shown = head.cut()
    head.db.execute(f"UPDATE meter_order SET {change}")
    head.dispatch()
    assert head.orders_heard() == [] and head.state(shown) == "cancelled"
    assert "order-orphan" in head.alarms()


def test_t3_a_restore_needs_its_steps_too(head: HeadEnd) -> None:
    """Kinds that nobody approves are not the way around: a row without a life is an orphan."""
    head.propose(action="arm")
    head.db.execute("DROP TRIGGER order_event_is_kept")
    head.db.execute("DELETE FROM order_event")
    head.dispatch()
    assert head.orders_heard() == [] and "order-orphan" in head.alarms()


def test_t3_a_receipt_of_an_order_that_was_never_made(head: HeadEnd) -> None:
    """Whoever sent that order has the order key: an alarm, once, and the receipt is kept."""
    order = head.core.desk.office.frozen(head.row(head.propose()))
    forged = order._replace(order_id=b"X" * 16)
    for state in ("verified", "refused"):
        head.tell(forged, 55, state, reason="bad-signature: x")
    assert head.alarms().count("order-orphan") == 1
    assert head.db.execute("SELECT count(*) FROM receipt").fetchone() == (2,)
