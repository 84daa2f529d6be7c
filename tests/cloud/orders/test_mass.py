"""Many orders at once: ceilings, delays, staggering, batches, stop, hold, undo."""

import json
import sqlite3
from itertools import pairwise

import pytest

from protocols.errors import CallerError
from protocols.messages import POLICY, Order, Policy
from tests.cloud.orders.conftest import Maker
from tests.cloud.orders.headend import (
    ANNA,
    BEN,
    CARL,
    CONSOLE,
    DAY,
    HOUR,
    MINUTE,
    OLGA,
    Body,
    HeadEnd,
)
from tests.cloud.world import reading_set

CEILINGS = {"cuts_operator_hour": 20, "cuts_operator_day": 60}


def names(count: int) -> list[str]:
    return [f"m{n:04d}" for n in range(1, count + 1)]


def batch_of(head: HeadEnd, count: int, **fields: object) -> Body:
    """A submitted batch of cuts."""
    wanted = {"action": "disconnect", "reason": "arrears", "meters": names(count)} | fields
    batch = head.ask("batch_propose", OLGA, **wanted)
    return head.ask("batch_submit", OLGA, batch=batch["batch"])


def confirm_all(head: HeadEnd) -> list[Order]:
    """The gateways carry out what they are given."""
    orders = []
    head.dispatch()
    heard = head.orders_heard()
    head.puback()
    for claims, order in heard:
        head.tell(order, claims.sequence, "verified", "sent", "verifying", "confirmed")
        orders.append(order)
    head.world.broker.take()
    return orders


# ---- I23, T1 -----------------------------------------------------------------------------------


def test_t1_a_stolen_operator_account_cuts_nobody(make: Maker) -> None:
    """1,000 trips by a script with one operator's credentials: nothing is published, what is over
    the ceiling is quarantined, and an alarm is raised, once."""
    head = make(meters=1000, **CEILINGS)
    for name in names(1000):
        head.propose(name)
    for _ in range(60):
        head.wait(MINUTE)
    assert head.orders_heard() == []
    assert head.states() == {"submitted": 20, "quarantined": 980}
    assert head.alarms() == ["ceiling-reached"]
    (quarantined,) = head.ask("orders_list", OLGA, state="quarantined", limit=1)["orders"]
    with pytest.raises(CallerError, match="not allowed: to release takes the role approver"):
        head.ask("order_release", OLGA, order=quarantined["order"], reason="all fine")


def test_i23_ceilings_by_place_quarantine(make: Maker) -> None:
    """Approved by two, and still no more of one gateway in an hour than the ceiling; another
    gateway goes on; the next hour begins anew."""
    head = make(meters=30, gateways=("gw1", "gw2"), cuts_gateway_hour=5)
    states = [head.cut(name)["state"] for name in names(7)]
    assert states == ["queued"] * 5 + ["quarantined"] * 2
    head.wait(40 * MINUTE)  # longer than its life: it begins with the release
    (first, _) = head.ask("orders_list", ANNA, state="quarantined")["orders"]
    head.ask("order_release", CARL, order=first["order"], reason="checked")
    head.dispatch()
    assert head.orders_heard()[-1][0].expires_at == head.now + 15 * MINUTE
    assert head.cut("n1-0001")["state"] == "queued"
    head.world.clock.now += 61 * MINUTE
    assert head.cut("m0008")["state"] == "queued"
    head.restart()
    states = [head.cut(name)["state"] for name in ("m0009", "m0010", "m0011", "m0012", "m0013")]
    assert states == ["queued"] * 4 + ["quarantined"]


def test_i23_ceilings_of_day_and_area(make: Maker) -> None:
    """A tenth of a gateway's meters in a day, one at least; and the whole area together."""
    head = make(meters=30, cuts_gateway_day_percent=10)
    assert [head.cut(name)["state"] for name in names(4)] == ["queued"] * 3 + ["quarantined"]
    head.world.clock.now += 20 * HOUR  # Tuesday 06:00: approved, and it waits
    assert head.cut("m0005")["state"] == "approved"
    small = make(meters=3, cuts_gateway_day_percent=10)
    assert [small.cut(name)["state"] for name in names(2)] == ["queued", "quarantined"]
    wide = make(meters=3, gateways=("gw1", "gw2"), cuts_area_hour=2)
    states = [wide.cut(name)["state"] for name in ("m0001", "n1-0001", "m0002")]
    assert states == ["queued", "queued", "quarantined"]


def test_i23_a_third_person_releases(make: Maker) -> None:
    """Neither the requester nor an approver, and only what was approved; times are drawn anew."""
    head = make(cuts_operator_hour=1)
    head.propose("m0001")
    shown = head.propose("m0002")
    assert (shown["state"], shown["waits"]) == ("quarantined", "2 approvals")
    release = {"order": shown["order"], "reason": "checked by telephone"}
    with pytest.raises(CallerError, match="has to be approved before it is released"):
        head.ask("order_release", CARL, **release)
    shown = head.approve(shown, "anna", "ben")
    assert shown["state"] == "quarantined" and "a release" in shown["waits"]
    head.wait(10 * MINUTE)
    for person in (ANNA, BEN):
        with pytest.raises(CallerError, match="asked for an order or approved it does not release"):
            head.ask("order_release", person, **release)
    olga = {"name": "olga", "roles": ["approver"]}
    with pytest.raises(CallerError, match="asked for an order or approved it does not release"):
        head.ask("order_release", olga, **release)
    assert head.ask("order_release", CARL, **release)["orders"] == 1
    head.dispatch()
    ((claims, _),) = head.orders_heard()
    assert claims.issued_at == head.now


def test_i23_a_clock_that_steps_back_makes_no_room(make: Maker) -> None:
    """The counted moments never go back."""
    head = make(meters=10, cuts_gateway_hour=2)
    states = []
    for name, minutes in (("m0001", -50), ("m0002", 61), ("m0003", 0)):
        states.append(head.cut(name)["state"])
        head.world.clock.now += minutes * MINUTE
    assert states == ["queued", "queued", "quarantined"]


# ---- I24, T28 ----------------------------------------------------------------------------------


def test_t28_a_bulk_restore_is_staggered(make: Maker) -> None:
    """500 meters of one gateway: never two within the step, none left out, over a restart too."""
    head = make(meters=500)
    batch = batch_of(head, 500, action="arm", reason="storm is over")
    assert batch["states"] == {"queued": 500}
    left = []
    head.world.clock.now -= 10_000
    for n in range(520):
        head.wait(10_000)
        left += [head.now for _ in head.orders_heard()]
        head.puback()
        if n == 100:
            head.restart()
    assert len(left) == 500
    assert all(later - earlier >= 10_000 for earlier, later in pairwise(left))


def test_t28_each_feeder_has_its_own_pace(make: Maker) -> None:
    """Two gateways restore side by side."""
    head = make(meters=3, gateways=("gw1", "gw2"))
    for meter in ("m0001", "n1-0001", "m0002", "n1-0002"):
        head.propose(meter, action="arm")
    times = [head.row(one["order"]).not_before for one in head.ask("orders_list", ANNA)["orders"]]
    assert sorted(times) == [head.now, head.now, head.now + 10_000, head.now + 10_000]


def test_i24_a_stop_goes_ahead_of_the_queue(make: Maker) -> None:
    """What is published is stopped by a signed stop, what is not is cancelled here; the stop is
    sent again until the broker took it; restores go on."""
    head = make(jitter_s=1800, meters=20, seed=3)
    cuts = [head.cut(name) for name in names(10)]
    restore = head.propose("m0015", action="arm")
    head.pass_time(8 * MINUTE)
    gone = {order.order_id.hex() for _, order in head.orders_heard() if order.action != "arm"}
    head.puback()
    assert 0 < len(gone) < 10
    head.world.broker.is_up = False
    answer = head.ask("orders_stop", CONSOLE, all_cuts=True, reason="wrong list")
    assert set(answer["stopping"]) == gone and len(answer["cancelled"]) == 10 - len(gone)
    head.propose("m0016", action="arm")
    head.dispatch()
    head.world.broker.is_up = True
    head.core.desk.connection_lost()
    head.restart()
    head.dispatch()
    heard = [suffix for suffix, _ in head.world.broker.sent and head.heard()]
    assert heard[0] == "dn/s" and heard[-1] == "dn/c"
    head.core.desk.connection_lost()
    head.dispatch()
    stops = head.stops_heard()
    assert {one.hex() for stop in stops for one in stop.order_ids} == gone
    assert [stop.cuts_before for stop in stops if not stop.order_ids] == [head.now]
    head.puback()
    head.core.desk.connection_lost()
    head.pass_time(40 * MINUTE)
    assert head.stops_heard() == [] and head.state(restore) == "published"
    assert {head.state(one) for one in cuts} <= {"cancelled", "published", "unknown"}


def test_i24_what_is_sent_is_too_late_to_stop(head: HeadEnd) -> None:
    """And the answer says so; a stop names what it stops."""
    shown = head.cut()
    head.dispatch()
    ((claims, order),) = head.orders_heard()
    head.puback()
    head.tell(order, claims.sequence, "verified", "sent")
    answer = head.ask("orders_stop", OLGA, orders=[shown["order"]], reason="no")
    assert answer == {"cancelled": [], "stopping": [], "too_late": [shown["order"]]}
    for fields in ({}, {"orders": [shown["order"]], "all_cuts": True}, {"all_cuts": "yes"}):
        with pytest.raises(CallerError, match=r"exactly one|must be true"):
            head.ask("orders_stop", OLGA, reason="no", **fields)
    with pytest.raises(CallerError, match="no such incident"):
        head.ask("orders_stop", OLGA, incident="flood", reason="no")


def test_a_newer_order_supersedes_what_is_not_sent(head: HeadEnd) -> None:
    """A restore ends the cut that waits, and stops the one that is published; a request that
    nobody approved ends nothing."""
    waiting, published = head.propose("m0001"), head.cut("m0002")
    head.dispatch()
    head.puback()
    for meter in ("m0001", "m0002"):
        head.propose(meter, action="arm")
    assert head.state(waiting) == "superseded"
    assert head.row(published).stop_at == head.now and head.state(published) == "published"
    late = head.propose("m0003", action="arm", valid_from=head.now + HOUR)
    asked = head.propose("m0003")
    assert (head.state(late), asked["state"]) == ("approved", "submitted")
    assert head.approve(asked, "anna", "ben")["state"] == "queued"
    assert head.state(late) == "superseded"


def test_an_older_order_supersedes_nothing_newer(head: HeadEnd) -> None:
    """Approved late, and older by its counter: it ends neither a newer request nor a draft."""
    old, new = head.propose(), head.propose()
    draft = head.propose(submit=False)
    assert head.approve(old, "anna", "ben")["state"] == "queued"
    assert (head.state(new), head.state(draft)) == ("submitted", "draft")
    assert head.approve(new, "anna", "ben")["state"] == "queued"
    assert (head.state(old), head.state(draft)) == ("superseded", "draft")


# ---- I25, T25 ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"meters": []}, "an empty selection selects nothing"),
        ({}, "name either meters or one gateway"),
        ({"meters": ["m0001"], "gateway": "gw1"}, "name either meters or one gateway"),
        ({"meters": "*"}, "selection is empty"),
        ({"meters": ["*"]}, "is a wildcard"),
        ({"meters": ["m000%"]}, "is a wildcard"),
        ({"meters": ["all"]}, "is a wildcard"),
        ({"meters": [""]}, "must be a text"),
        ({"meters": ["m0001", "m0001"]}, "names a meter twice"),
        ({"meters": [f"m{n}" for n in range(2001)]}, "2001 meters; at most 2000"),
        ({"gateway": "*"}, "gateway must be"),
        ({"gateway": "gw9"}, "an empty selection"),
        ({"meters": ["m0001", "m9999"]}, "no gateway has announced meter 'm9999'"),
    ],
)
def test_t25_a_selector_that_selects_too_much_or_nothing(
    head: HeadEnd, fields: dict, said: str
) -> None:
    """An error, and nothing is made (Shasta Lake)."""
    with pytest.raises(CallerError, match=said):
        head.ask("batch_propose", OLGA, action="disconnect", reason="r", **fields)
    assert head.states() == {}


def test_t25_a_batch_shows_what_it_does(head: HeadEnd) -> None:
    """Count, sample and load before anybody approves; the load from the latest known powers."""
    rows = [(n, reading_set(n, f"m000{n}")) for n in (1, 2)]
    head.say(head.gateway.batch(rows))
    batch = head.ask("batch_propose", OLGA, action="disconnect", reason="r", gateway="gw1")
    assert (batch["count"], batch["sample"]) == (3, ["m0001", "m0002", "m0003"])
    watts = sum((n * 1000 + 4) / 10 for n in (1, 2))
    assert (batch["load_w"], batch["load_known"]) == (int(watts), 2)
    assert batch["state"] == "draft" and batch["states"] == {"draft": 3}


def test_t25_a_batch_goes_as_a_whole(head: HeadEnd) -> None:
    """None before each is approved by both; every order carries the hash of the selection."""
    batch = batch_of(head, 3)
    orders = head.pages(batch)
    batch = head.approve_batch(batch, "anna")
    rows = [head.signed(one, "ben") for one in orders[:2]]
    head.ask("batch_approve", BEN, batch=batch["batch"], approvals=rows)
    head.wait(MINUTE)
    assert head.states() == {"approved": 2, "submitted": 1} and head.orders_heard() == []
    with pytest.raises(CallerError, match="belongs to a batch; approve the batch"):
        head.ask("order_approve", BEN, **head.signed(orders[2], "ben"))
    rows = [head.signed(orders[2], "ben")]
    batch = head.ask("batch_approve", BEN, batch=batch["batch"], approvals=rows)
    assert batch["fully_approved_by"] == ["person:anna", "person:ben"]
    head.wait(MINUTE)
    heard = [order for _, order in head.orders_heard()]
    assert len(heard) == 3
    assert {order.terms.selection.hex() for order in heard} == {batch["selection"]}


def test_t25_a_meter_more_voids_the_approvals(head: HeadEnd) -> None:
    """Another selection is another batch: the orders are new, and no signature fits them."""
    batch = head.approve_batch(batch_of(head, 2), "anna")
    given = [head.signed(one, "anna") for one in head.pages(batch)]
    changed = head.ask("batch_change", OLGA, batch=batch["batch"], meters=names(3))
    assert changed["selection"] != batch["selection"] and changed["fully_approved_by"] == []
    assert head.ask("batch_get", ANNA, batch=batch["batch"])["state"] == "void"
    changed = head.ask("batch_submit", OLGA, batch=changed["batch"])
    fresh = head.pages(changed)
    for old, new in zip(given, fresh, strict=False):
        moved = old | {"order": new["order"]}
        with pytest.raises(CallerError, match="does not fit this order"):
            head.ask("batch_approve", ANNA, batch=changed["batch"], approvals=[moved])
    head.wait(MINUTE)
    assert head.orders_heard() == []
    assert head.states() == {"cancelled": 2, "submitted": 3}


def test_t25_a_row_that_joins_a_batch_is_not_sent(head: HeadEnd) -> None:
    """The database is no way in: what is not in the frozen selection is cancelled, and the
    selection itself can not be edited."""
    batch = head.approve_batch(batch_of(head, 2), "anna", "ben")
    alone = head.cut("m0003")
    key = bytes.fromhex(batch["batch"])
    head.db.execute(
        "UPDATE meter_order SET batch_id = ?, state = 'approved' WHERE meter_id = 'm0003'", (key,)
    )
    head.wait(MINUTE)
    assert head.state(alone) == "cancelled" and len(head.orders_heard()) == 2
    for column, value in (("meters", json.dumps(names(3))), ("selection", bytes(32))):
        with pytest.raises(sqlite3.IntegrityError, match="a selection is frozen"):
            head.db.execute(f"UPDATE order_batch SET {column} = ?", (value,))


def test_a_batch_is_cancelled_whole(head: HeadEnd) -> None:
    """By its requester, or by whoever may stop."""
    batch = head.approve_batch(batch_of(head, 3), "anna")
    technician = {"name": "tom", "roles": ["technician"]}
    with pytest.raises(CallerError, match="cancel an order of somebody else"):
        head.ask("order_cancel", technician, batch=batch["batch"], reason="no")
    answer = head.ask("order_cancel", ANNA, batch=batch["batch"], reason="wrong month")
    assert len(answer["cancelled"]) == 3 and head.states() == {"cancelled": 3}


# ---- I26 ---------------------------------------------------------------------------------------


def test_i26_the_hold_stops_all_cuts_and_no_restore(make: Maker) -> None:
    """At once here and at every gateway; lifted by a second person with the role."""
    head = make(meters=4, gateways=("gw1", "gw2"))
    queued = head.cut("m0001")
    asked = head.propose("m0002")
    assert head.ask("hold_set", CARL, reason="heat wave")["hold"]["held"]
    head.dispatch()
    policies = head.policies_heard()
    assert len(policies) == 2 and {one.cuts_until for one in policies} == {0}
    asked = head.approve(asked, "anna", "ben")
    assert asked["state"] == "approved" and asked["waits"].startswith("on-hold: person:carl")
    head.propose("m0003", action="arm")
    head.wait(MINUTE)
    assert [order.action for _, order in head.orders_heard()] == ["arm"]
    assert head.state(queued) == "queued"
    for person in (CARL, OLGA, CONSOLE):
        with pytest.raises(CallerError, match="not allowed"):
            head.ask("hold_release", person, reason="cooler")
    assert not head.ask("hold_release", ANNA, reason="cooler")["hold"]["held"]
    head.wait(1000)
    heard = [suffix for suffix, _ in head.heard()]
    assert heard == ["dn/p", "dn/p", "dn/c", "dn/c"]
    with pytest.raises(CallerError, match="nothing is held"):
        head.ask("hold_release", ANNA, reason="again")


def test_i26_the_hold_survives_a_restart(head: HeadEnd) -> None:
    """And is told again after it."""
    head.ask("hold_set", CONSOLE, reason="drill")
    head.restart()
    head.dispatch()
    assert [one.cuts_until for one in head.policies_heard()] == [0]


def test_i26_the_lease_is_renewed_while_we_live(make: Maker) -> None:
    """On hello and each third of it, with rising serials; what is promised ends by itself."""
    head = make(lease_h=12)
    head.say(head.gateway.hello(meters=(("m0001", "202611000001"),)))
    head.wait(1000)
    policies = head.policies_heard()
    for _ in range(12 * 60):
        head.wait(MINUTE)
        policies += head.policies_heard()
    assert len(policies) == 4
    serials = [one.serial for one in policies]
    assert serials == sorted(set(serials))
    gaps = [b - a for a, b in pairwise(serials)]
    assert all(abs(gap - 4 * HOUR) <= 2 * MINUTE for gap in gaps)
    assert all(one.cuts_until - one.serial == 12 * HOUR for one in policies)
    assert policies[-1].blocked_days == (20251225,)


def test_i26_the_policy_answers_the_boot_and_marks_the_counter(make: Maker) -> None:
    """Fresh by the nonce of this boot; what waits in the queue is not below its mark."""
    head = make(meters=3)
    for meter in names(2):
        head.propose(meter, action="arm")
    head.wait(20_000)
    head.world.broker.tokens.pop(0)
    head.core.desk.published(head.orders_heard()[0][1].order_id)
    head.core.ingest.commit()
    head.gateway.nonce = bytes(range(100, 116))
    head.say(head.gateway.hello(meters=(("m0001", "202611000001"),)))
    head.ask("never_cut_add", OLGA, meter="m0001", flag="dispute")
    head.dispatch()
    message = next(one for suffix, one in head.heard() if suffix == "dn/p")
    opened, body = head.gateway.open(message, POLICY)
    policy = Policy.from_body(body)
    assert opened.claims.nonce == head.gateway.nonce
    assert (policy.counter_mark, policy.protected) == (1, ("m0001",))
    assert head.row(head.ask("orders_list", ANNA)["orders"][0]["order"]).counter in (1, 2)


# ---- I27 ---------------------------------------------------------------------------------------


def test_i27_an_incident_is_undone(make: Maker) -> None:
    """Every meter that may be open is restored, staggered; what is not sent is stopped; what was
    not cut is left alone; doing it twice does nothing more."""
    head = make(meters=12, jitter_s=0)
    for name in names(10):
        head.cut(name, incident="batch of May")
    head.cut("m0011")
    head.dispatch()
    heard = head.orders_heard()
    head.puback()
    ends = ["confirmed"] * 4 + ["unknown", "contradicted", "refused", "published", "armed", "sent"]
    for (claims, order), end in zip(sorted(heard, key=lambda one: one[1].meter_id), ends):  # noqa: B905
        if end not in ("published", "armed"):
            head.tell(order, claims.sequence, "verified")
            if end != "refused":
                head.tell(order, claims.sequence, "sent")
            if end in ("confirmed", "contradicted"):
                head.tell(order, claims.sequence, "verifying")
        if end not in ("published", "sent"):
            head.tell(order, claims.sequence, end, reason="x")
    head.world.broker.take()
    answer = head.ask("undo", CONSOLE, incident="batch of May", reason="wrong list")
    assert answer["restores"] == 9 and len(answer["stopping"]) == 2
    assert answer["last_at"] - answer["first_at"] == 8 * 10_000
    restored = {row["meter"] for row in head.ask("orders_list", ANNA, action="arm")["orders"]}
    assert restored == set(names(10)) - {"m0007"}
    again = head.ask("undo", CONSOLE, incident="batch of May", reason="wrong list")
    assert again["restores"] == 0
    left = []
    head.world.clock.now -= 10_000
    for _ in range(20):
        head.wait(10_000)
        left.append([order.action for _, order in head.orders_heard()])
    assert [one for some in left for one in some] == ["arm"] * 9 and max(map(len, left)) == 1


def test_i27_a_batch_is_an_incident(head: HeadEnd) -> None:
    """By its id; and an incident that nothing belongs to is an error."""
    batch = head.approve_batch(batch_of(head, 3), "anna", "ben")
    confirm_all(head)
    assert head.states() == {"confirmed": 3}
    answer = head.ask("undo", ANNA, incident=batch["batch"], reason="wrong month")
    assert answer["restores"] == 3
    with pytest.raises(CallerError, match="no such incident"):
        head.ask("undo", ANNA, incident="nothing", reason="x")
    with pytest.raises(CallerError, match="not allowed"):
        head.ask("undo", {"name": "tom", "roles": ["technician"]}, incident="x", reason="x")
    head.wait(DAY)


def test_i27_a_meter_that_is_gone_does_not_stop_the_undoing(head: HeadEnd) -> None:
    """The others are restored, and the one that can not be is an alarm."""
    head.approve_batch(batch_of(head, 3, incident="storm"), "anna", "ben")
    confirm_all(head)
    head.say(head.gateway.hello(meters=(("m0001", "202611000001"), ("m0003", "202611000003"))))
    assert head.ask("undo", ANNA, incident="storm", reason="over")["restores"] == 2
    assert "restore-failed" in head.alarms()
