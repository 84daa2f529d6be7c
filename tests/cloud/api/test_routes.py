"""Each route: what it asks of the service, and who may."""

from typing import Any

import pytest

from cloud.api.table import PREFIX, ROUTES, Route
from cloud.people.people import ROLES
from tests.cloud.api.served import Served

ORDER = "ab" * 16
SIGNED = {"kid": "cd" * 8, "at": 1_763_700_000_000, "signature": "ef" * 64}
WHY = {"reason": "tenancy ended"}
# operation: (path, body, the operation that the service is asked, the fields that it is given)
GOOD: dict[str, tuple[str, Any, str, dict[str, Any]]] = {
    "order_propose": (
        "/orders",
        {"action": "disconnect", "meter": "meter-1", **WHY, "submit": True},
        "order_propose",
        {"action": "disconnect", "meter": "meter-1", **WHY, "submit": True, "key": "k1"},
    ),
    "orders_list": (
        "/orders?state=queued&limit=7",
        None,
        "orders_list",
        {"state": "queued", "limit": 7},
    ),
    "order_get": ("/orders/abab", None, "order_get", {"order": "abab"}),
    "order_submit": (f"/orders/{ORDER}/submit", {}, "order_submit", {"order": ORDER}),
    "order_approve": (
        f"/orders/{ORDER}/approvals",
        SIGNED,
        "order_approve",
        {"order": ORDER, **SIGNED},
    ),
    "order_cancel": (f"/orders/{ORDER}/cancel", WHY, "order_cancel", {"order": ORDER, **WHY}),
    "order_release": (f"/orders/{ORDER}/release", WHY, "order_release", {"order": ORDER, **WHY}),
    "batch_propose": (
        "/batches",
        {"action": "arm", "meters": ["a", "b"], **WHY},
        "batch_propose",
        {"action": "arm", "meters": ["a", "b"], **WHY, "key": "k1"},
    ),
    "batch_get": (f"/batches/{ORDER}?offset=50", None, "batch_get", {"batch": ORDER, "offset": 50}),
    "batch_submit": (f"/batches/{ORDER}/submit", {}, "batch_submit", {"batch": ORDER}),
    "batch_change": (
        f"/batches/{ORDER}/meters",
        {"meters": ["c"]},
        "batch_change",
        {"batch": ORDER, "meters": ["c"]},
    ),
    "batch_approve": (
        f"/batches/{ORDER}/approvals",
        {"approvals": [{"order": ORDER, **SIGNED}]},
        "batch_approve",
        {"batch": ORDER, "approvals": [{"order": ORDER, **SIGNED}]},
    ),
    "batch_cancel": (f"/batches/{ORDER}/cancel", WHY, "order_cancel", {"batch": ORDER, **WHY}),
    "batch_release": (f"/batches/{ORDER}/release", WHY, "order_release", {"batch": ORDER, **WHY}),
    "orders_stop": (
        "/stop",
        {"all_cuts": True, **WHY},
        "orders_stop",
        {"all_cuts": True, **WHY},
    ),
    "hold_get": ("/hold", None, "hold_get", {}),
    "hold_set": ("/hold", WHY, "hold_set", WHY),
    "hold_release": ("/hold/release", WHY, "hold_release", WHY),
    "undo": ("/undo", {"incident": "i1", **WHY}, "undo", {"incident": "i1", **WHY}),
    "never_cut_list": ("/never-cut?all=true", None, "never_cut_list", {"all": True}),
    "never_cut_add": (
        "/never-cut",
        {"meter": "meter-1", "flag": "medical"},
        "never_cut_add",
        {"meter": "meter-1", "flag": "medical"},
    ),
    "never_cut_remove": ("/never-cut/7/remove", WHY, "never_cut_remove", {"entry": 7, **WHY}),
    "account_changed": (
        "/meters/meter%201/account-changes",
        {"change": "paid", "reference": "p1"},
        "account_changed",
        {"meter": "meter 1", "change": "paid", "reference": "p1"},
    ),
    "alarms_list": ("/alarms", None, "alarms_list", {}),
}
ASKED = [route for route in ROUTES if route.operation != "who"]


@pytest.mark.parametrize("route", ASKED, ids=lambda route: route.operation)
def test_a_route_asks_its_operation_as_the_person(route: Route, served: Served) -> None:
    """The operation, the fields and the person of the token; nothing else."""
    path, body, operation, fields = GOOD[route.operation]
    role = route.roles[0]
    answer = {route.answer: {"told": 1}} if route.answer else {"told": 1}
    served.answer = lambda _body: {**answer, "final": True}
    key = "k1" if route.has_key else ""
    response = served.ask(route.method, PREFIX + path, body, role, Idempotency_Key=key)
    assert (response.status, response.body) == (200, {"told": 1})
    person = {"name": role, "roles": [role], "areas": []}
    assert served.asked == [{"op": operation, "person": person, **fields}]


def test_who_is_answered_without_the_service(served: Served) -> None:
    """The name, the roles and the areas of the token's person."""
    served.book.add("zhang", ("operator", "approver"), ("north",))
    assert served.ask("GET", f"{PREFIX}/me", role="auditor").body == {
        "name": "auditor",
        "roles": ["auditor"],
        "areas": [],
    }
    served.tokens["zhang"] = served.book.renew_token("zhang")
    assert served.ask("GET", f"{PREFIX}/me", role="zhang").body["areas"] == ["north"]
    assert served.asked == []


def test_each_role_may_do_what_the_table_says_and_nothing_else(served: Served) -> None:
    """Every route with every role: 200, or 403 and the service is not asked."""
    wrong = []
    for route in ASKED:
        path, body, _, _ = GOOD[route.operation]
        for role in ROLES:
            served.asked.clear()
            key = "k1" if route.has_key else ""
            response = served.ask(route.method, PREFIX + path, body, role, Idempotency_Key=key)
            is_allowed = role in route.roles
            wanted = (200, 1) if is_allowed else (403, 0)
            if (response.status, len(served.asked)) != wanted:
                wrong.append((route.operation, role, response.status))
    assert wrong == []


def test_who_may_not_is_not_told_what_was_wrong_with_the_body(served: Served) -> None:
    """The role is judged before the fields."""
    response = served.ask("POST", f"{PREFIX}/stop", {"nonsense": 1}, "viewer")
    assert (response.status, response.body["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("sentence", "status", "code"),
    [
        ("not allowed: console may not approve", 403, "forbidden"),
        ("no such order", 404, "not_found"),
        ("order is cancelled already", 409, "conflict"),
    ],
)
def test_a_refusal_of_the_service_is_passed_on(
    sentence: str, status: int, code: str, served: Served
) -> None:
    """Its sentence, and a status by how it begins."""
    served.answer = lambda _body: {"error": sentence, "final": True}
    response = served.ask("GET", f"{PREFIX}/hold")
    assert response.status == status
    assert response.body == {"error": {"code": code, "message": sentence}}


def test_an_order_needs_an_idempotency_key(served: Served) -> None:
    """A client that repeats a request without one would cut twice."""
    body = {"action": "arm", "meter": "m", "reason": "paid"}
    response = served.ask("POST", f"{PREFIX}/orders", body)
    assert response.status == 400 and "Idempotency-Key" in response.body["error"]["message"]
    assert served.asked == []
    for _ in range(2):
        served.ask("POST", f"{PREFIX}/orders", body, Idempotency_Key="k-7")
    assert [one["key"] for one in served.asked] == ["k-7", "k-7"]


@pytest.mark.parametrize(("state", "is_final"), [("queued", False), ("confirmed", True)])
def test_an_order_says_whether_it_has_ended(state: str, is_final: bool, served: Served) -> None:
    """Whatever the reply's own mark says."""
    order = {"order": ORDER, "state": state, "final": is_final}
    served.answer = lambda _body: {"order": order, "final": True}
    assert served.ask("GET", f"{PREFIX}/orders/{ORDER}").body == order


def test_no_field_stands_in_for_the_person_or_the_operation(served: Served) -> None:
    """Both come from the route and the token alone."""
    for name, value in (("person", {"name": "boss"}), ("op", "hold_release"), ("key", "x")):
        response = served.ask("POST", f"{PREFIX}/hold", {"reason": "x", name: value})
        assert response.status == 400
    assert served.asked == []
