"""The operations behind the service's mailbox: one answer each, whole or not at all."""

from typing import Any

import pytest

from cloud.ingest.mailbox import Connected, Request
from cloud.service import Service
from protocols.errors import CallerError
from tests.cloud.orders.headend import (
    ANNA,
    AUDITOR,
    BEN,
    CONSOLE,
    OLGA,
    Body,
    HeadEnd,
)


class Post:
    """Requests to the service, and its answers."""

    def __init__(self, head: HeadEnd) -> None:
        self.head = head
        self.service: Service = head.world.service(head.core)
        self.service.step(Connected())
        head.world.broker.take()

    def ask(self, op: str, **fields: object) -> list[Body]:
        answers: list[dict[str, Any]] = []
        self.service.step(Request({"op": op, **fields}, answers.append))
        return answers


@pytest.fixture
def post(head: HeadEnd) -> Post:
    return Post(head)


def test_an_answer_is_one_line_and_final(post: Post) -> None:
    """Order, approvals, and the message at the broker without waiting for a tick."""
    fields = {"meter": "m0001", "action": "disconnect", "reason": "unpaid", "submit": True}
    (shown,) = post.ask("order_propose", person=OLGA, **fields)
    assert shown.keys() == {"order", "final"} and shown["final"] is True
    assert (shown["order"]["state"], shown["order"]["final"]) == ("submitted", False)
    for name, person in (("anna", ANNA), ("ben", BEN)):
        given = post.head.signed(shown["order"], name)
        (shown,) = post.ask("order_approve", person=person, **given)
    assert shown["order"]["state"] == "queued"
    assert [suffix for suffix, _ in post.head.heard()] == ["dn/c"]


def test_a_refusal_is_one_sentence_and_no_trace(post: Post) -> None:
    """CallerErrors of every layer, faults of the request, and operations that are none."""
    entries = len(post.head.audit())
    for fields, said in (
        ({"op": "order_propose", "person": AUDITOR, "meter": "m0001"}, "action must be one of"),
        ({"op": "order_submit", "person": OLGA, "order": "ff" * 16}, "no such order"),
        ({"op": "order_submit", "person": OLGA}, "order must be 32 hexadecimal digits"),
        ({"op": "order_get", "person": {"name": "x", "roles": []}, "order": "ffff"}, "not allowed"),
        ({"op": "order_get", "person": OLGA, "order": "f%"}, "hexadecimal digits or more"),
        ({"op": "order_approve", "person": ANNA, "order": 5, "at": 1}, "order must be 32"),
        ({"op": "batch_get", "person": OLGA, "batch": "ffff"}, "no such batch"),
        ({"op": "orders_list", "person": OLGA, "limit": 501}, "limit must be 1 to 500"),
        ({"op": "orders_list", "person": OLGA, "state": 5}, "must be texts"),
        ({"op": "alarms_list", "person": OLGA, "since": "x"}, "since must be a whole number"),
        ({"op": "order_cancel", "person": OLGA, "reason": "x"}, "name either an order or a batch"),
        ({"op": "order_drop", "person": OLGA}, "op must be order_read, config_send, order_propose"),
        ({"op": ["x"]}, "op must be"),
    ):
        op = fields.pop("op")
        answers = post.ask(op, **fields)  # type: ignore[arg-type]
        assert len(answers) == 1 and answers[0]["final"] and said in answers[0]["error"], answers
    assert len(post.head.audit()) == entries and post.head.states() == {}


def test_a_read_is_asked_by_whoever_may(post: Post) -> None:
    """Without a person as before; with one by the kind's roles, and it is on record."""
    fields = {"meter": "m0001", "obis": "1-0:1.8.0"}
    assert post.ask("order_read", **fields)[-1]["state"] == "queued"
    assert post.ask("order_read", person=CONSOLE, **fields)[-1]["state"] == "queued"
    assert "not allowed" in post.ask("order_read", person=AUDITOR, **fields)[-1]["error"]
    rows = post.ask("orders_list", person=AUDITOR, action="read")[0]["orders"]
    assert sorted(one["requested_by"] for one in rows) == ["", "person:console"]


def test_a_hold_is_told_at_once(post: Post) -> None:
    """Not with the next tick."""
    post.ask("hold_set", person=CONSOLE, reason="fire")
    assert [one.cuts_until for one in post.head.policies_heard()] == [0]
    assert post.ask("hold_get", person=AUDITOR)[0]["hold"]["by"] == "person:console"


def test_lists_are_filtered(head: HeadEnd) -> None:
    """By each of their fields, the newest first."""
    cut = head.propose("m0001", incident="May")
    arm = head.propose("m0002", action="arm")
    for fields, wanted in (
        ({}, {cut["order"], arm["order"]}),
        ({"state": "submitted"}, {cut["order"]}),
        ({"meter": "m0002"}, {arm["order"]}),
        ({"gateway": "gw2"}, set()),
        ({"incident": "May"}, {cut["order"]}),
        ({"action": "arm"}, {arm["order"]}),
        ({"before": head.now}, set()),
    ):
        rows = head.ask("orders_list", AUDITOR, **fields)["orders"]
        assert {one["order"] for one in rows} == wanted, fields
    draft = head.propose("m0003", submit=False)
    with pytest.raises(CallerError, match="not allowed: only person:olga may submit"):
        head.ask("order_submit", {"name": "otto", "roles": ["operator"]}, order=draft["order"])
