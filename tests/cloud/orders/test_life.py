"""The life of an order at the head end: one table, one way, nothing told that is not durable."""

import sqlite3

import pytest

from cloud.orders.life import StepError
from protocols.errors import CallerError
from protocols.orders.states import ORDER_STATES, ORDER_STEPS, OrderState
from tests.cloud.orders.headend import ANNA, DAY, HOUR, MINUTE, MONDAY_10, OLGA, HeadEnd


def test_a_cut_goes_its_way(head: HeadEnd) -> None:
    """Proposed, frozen, approved by two, signed, queued, published, followed to its end."""
    shown = head.propose()
    assert (shown["state"], shown["waits"]) == ("submitted", "2 approvals")
    shown = head.approve(shown, "anna")
    assert (shown["state"], shown["waits"]) == ("submitted", "1 approvals")
    shown = head.approve(shown, "ben")
    assert shown["state"] == "queued" and shown["counter"] is None
    head.dispatch()
    ((claims, order),) = head.orders_heard()
    assert (order.order_id.hex(), order.meter_id, order.action) == (
        shown["order"],
        "m0001",
        "disconnect",
    )
    assert [one.approver for one in order.approvals] == ["person:anna", "person:ben"]
    assert (claims.issued_at, claims.expires_at) == (MONDAY_10, MONDAY_10 + 15 * MINUTE)
    head.puback()
    assert head.state(shown) == "published"
    head.tell(order, claims.sequence, "verified", "prechecked", "armed", "sent", "acked")
    head.tell(order, claims.sequence, "verifying")
    facts = (("relay after", "open"), ("records", "+1"))
    head.tell(order, claims.sequence, "confirmed", facts=facts)
    story = head.ask("order_get", ANNA, order=shown["order"][:8])["story"]
    assert [one["state"] for one in story["states"]] == [
        "draft", "submitted", "approved", "signed", "queued", "published",
        "verified", "prechecked", "armed", "sent", "acked", "verifying", "confirmed",
    ]  # fmt: skip
    assert story["receipts"][-1]["facts"] == [list(one) for one in facts]
    assert [kind for kind in head.audit() if kind.startswith("order")] == [
        "order-draft", "order-submitted", "order-approval", "order-approval", "order-approved",
        "order-signed", "order-queued", "order-sealed", "order-published",
        "order-verified", "order-prechecked", "order-armed", "order-sent", "order-acked",
        "order-verifying", "order-confirmed",
    ]  # fmt: skip


def test_only_the_steps_of_the_table_are_taken(head: HeadEnd) -> None:
    """Every pair of states that the table does not have is a fault of ours, and changes nothing."""
    row = head.row(head.propose(submit=False))
    tried = 0
    for state in ORDER_STATES:
        for following in ORDER_STATES:
            if following not in ORDER_STEPS.get(state, ()):
                with pytest.raises(StepError):
                    head.core.desk.office.life.move(row._replace(state=state), following)
                tried += 1
    assert tried > 300 and head.state(row.order_id.hex()) == "draft"


@pytest.mark.parametrize(
    "table", ["order_event", "order_approval", "audit_entry", "never_cut", "hold", "alarm"]
)
def test_what_happened_is_only_added(head: HeadEnd, table: str) -> None:
    """No row of the record is changed or deleted (threats T22 begins here)."""
    head.cut()
    head.ask("never_cut_add", OLGA, meter="m0002", flag="medical")
    head.ask("hold_set", OLGA, reason="drill")
    head.core.desk.office.life.alarm("order-unknown", "m0001", "for this test")
    head.core.ingest.commit()
    (count,) = head.db.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert count > 0
    column = head.db.execute(f"PRAGMA table_info({table})").fetchall()[0][1]
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            head.db.execute(statement)


def test_a_restore_takes_nobody_and_goes_at_once(head: HeadEnd) -> None:
    """The permission to close: submitted, approved by its kind, signed, queued (I4, I18)."""
    shown = head.propose(action="arm")
    assert shown["state"] == "queued" and shown["approvals_needed"] == 0
    head.dispatch()
    ((claims, order),) = head.orders_heard()
    assert (order.action, order.approvals) == ("arm", ())
    assert claims.expires_at - claims.issued_at == DAY


def test_a_direct_close_takes_one_and_a_reason(head: HeadEnd) -> None:
    """I18."""
    with pytest.raises(CallerError, match="takes one reason of"):
        head.propose(action="connect")
    shown = head.propose(action="connect", arguments=["consent"])
    assert shown["state"] == "submitted"
    assert head.approve(shown, "anna")["state"] == "queued"


def test_what_nobody_finishes_expires(head: HeadEnd) -> None:
    """The frozen window ends drafts and requests; nothing of them ever leaves."""
    draft, asked = head.propose(submit=False), head.propose("m0002")
    head.wait(23 * HOUR)
    assert (head.state(draft), head.state(asked)) == ("draft", "submitted")
    head.wait(2 * HOUR)
    assert (head.state(draft), head.state(asked)) == ("expired", "expired")
    assert head.orders_heard() == []


def test_a_request_is_idempotent_by_its_key(head: HeadEnd) -> None:
    """The same again is the same order; other content under the key is an error."""
    first = head.propose(key="job-7", submit=False)
    again = head.propose(key="job-7", submit=False)
    assert again["order"] == first["order"] and head.states() == {"draft": 1}
    with pytest.raises(CallerError, match="key 'job-7' was used for another request"):
        head.propose(key="job-7", reason="other words")
    other = head.propose(key="job-7", person={"name": "otto", "roles": ["operator"]})
    assert other["order"] != first["order"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": "read"}, "action must be one of"),
        ({"action": 7}, "action must be one of"),
        ({"reason": ""}, "reason must be a text of 1"),
        ({"reason": "x" * 201}, "reason must be"),
        ({"arguments": [1]}, "takes no arguments"),
        ({"arguments": "x"}, "arguments must be a list"),
        ({"arguments": [True]}, "an argument is"),
        ({"arguments": [{"hex": "zz"}]}, "must be hexadecimal"),
        ({"life_s": 3601}, "life_s must be 1 to 3600"),
        ({"life_s": True}, "life_s must be"),
        ({"valid_from": -1}, "must be UTC ms"),
        ({"valid_until": MONDAY_10}, "must lie ahead"),
        ({"valid_until": MONDAY_10 + 32 * DAY}, "at most 31 days"),
        ({"lower_assurance": 1}, "must be true or false"),
        ({"meter": ""}, "meter must be a text"),
        ({"meter": "m*"}, "is a wildcard"),
        ({"meter": "ALL"}, "is a wildcard"),
        ({"meter": "m9999"}, "no gateway has announced meter"),
        ({"gateway": "gw9"}, "gateway gw9 has not announced"),
        ({"gateway": "GW"}, "gateway must be"),
        ({"key": "k" * 65}, "key must be"),
        ({"person": {"name": "O", "roles": []}}, "person.name must be"),
        ({"person": {"name": "olga", "roles": "operator"}}, "person.roles must be"),
        ({"person": None}, "person must be an object"),
        ({"person": {"name": "olga", "roles": ["technician"]}}, "not allowed: to ask for disconn"),
        ({"person": {"name": "olga", "roles": ["operator"], "areas": ["n"]}}, "area '' is not one"),
    ],
)
def test_a_request_is_checked(head: HeadEnd, fields: dict, said: str) -> None:
    """Each field, before anything is made: one sentence, and no trace."""
    with pytest.raises(CallerError, match=said):
        head.propose(**{"meter": "m0001", **fields})
    assert head.states() == {} and "order-draft" not in head.audit()


def test_a_step_undone_is_not_told(head: HeadEnd) -> None:
    """Neither audit entry nor news of a transaction that was undone."""
    shown = head.propose()
    entries = len(head.audit())
    with pytest.raises(CallerError, match="not hold"):
        head.ask("order_approve", ANNA, **head.signed(shown, "anna", signature="00" * 64))
    assert head.state(shown) == OrderState.SUBMITTED and len(head.audit()) == entries
