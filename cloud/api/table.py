"""The routes, in one table: the server is built from it, the commands call by it, docs/orders.md
has it.

* A route is one operation of the service's mailbox; who may use it stands in its row. The desk
  judges again, and more finely: this table only says who may knock.
* What takes supply away needs more than what gives it back: whoever asks for cuts or approves them
  may stop them and set the hold; only an approver lifts it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from cloud.people.people import ROLES

PREFIX = "/api/v1"
_ASKING = ("operator", "tariff-manager", "technician", "automation")
_APPROVING = ("approver",)
_HALTING = ("operator", "approver", "automation")
_RESTORING = ("operator", "approver")


class Route(NamedTuple):
    """One row. `{…}` in `path` is a field of the operation; `answer` is what the reply has under
    its own name, "" for all of it; `has_key` says that an Idempotency-Key is required."""

    operation: str
    method: str
    path: str
    roles: tuple[str, ...]
    answer: str
    has_key: bool
    meaning: str


ROUTES = (
    Route("who", "GET", "/me", ROLES, "", False, "whose token it is"),
    Route(
        "order_propose", "POST", "/orders", _ASKING, "order", True,
        "ask for an order; with `submit` it is frozen at once",
    ),
    Route("orders_list", "GET", "/orders", ROLES, "", False, "the latest orders"),
    Route("order_get", "GET", "/orders/{order}", ROLES, "order", False, "one order, its story"),
    Route(
        "order_submit", "POST", "/orders/{order}/submit", _ASKING, "order", False,
        "freeze it: what people approve is this and nothing else",
    ),
    Route(
        "order_approve", "POST", "/orders/{order}/approvals", _APPROVING, "order", False,
        "an approver's signature over its digest",
    ),
    Route(
        "order_cancel", "POST", "/orders/{order}/cancel", (*_ASKING, *_APPROVING), "", False,
        "end it, if it was not sent",
    ),
    Route(
        "order_release", "POST", "/orders/{order}/release", _APPROVING, "", False,
        "out of quarantine, by a second person",
    ),
    Route(
        "batch_propose", "POST", "/batches", _ASKING, "batch", True,
        "one action for several meters, the selection frozen",
    ),
    Route(
        "batch_get", "GET", "/batches/{batch}", ROLES, "batch", False,
        "count, sample, load, and a page of its orders",
    ),
    Route("batch_submit", "POST", "/batches/{batch}/submit", _ASKING, "batch", False, "freeze it"),
    Route(
        "batch_change", "POST", "/batches/{batch}/meters", _ASKING, "batch", False,
        "another selection: a new batch, and the old one is void",
    ),
    Route(
        "batch_approve", "POST", "/batches/{batch}/approvals", _APPROVING, "batch", False,
        "an approver's signatures, one for each order",
    ),
    Route(
        "batch_cancel", "POST", "/batches/{batch}/cancel", (*_ASKING, *_APPROVING), "", False,
        "end what of it was not sent",
    ),
    Route(
        "batch_release", "POST", "/batches/{batch}/release", _APPROVING, "", False,
        "out of quarantine, by a second person",
    ),
    Route("orders_stop", "POST", "/stop", _HALTING, "", False, "stop orders ahead of the queue"),
    Route("hold_get", "GET", "/hold", ROLES, "hold", False, "whether cuts are held"),
    Route("hold_set", "POST", "/hold", _HALTING, "hold", False, "no cuts, fleet-wide"),
    Route("hold_release", "POST", "/hold/release", _APPROVING, "hold", False, "cuts again"),
    Route(
        "undo", "POST", "/undo", _RESTORING, "", False,
        "restore every meter that was cut within an incident",
    ),
    Route("never_cut_list", "GET", "/never-cut", ROLES, "", False, "the meters never to cut"),
    Route("never_cut_add", "POST", "/never-cut", _HALTING, "entry", False, "one meter more"),
    Route(
        "never_cut_remove", "POST", "/never-cut/{entry}/remove", _APPROVING, "entry", False,
        "the first person asks, a second one removes",
    ),
    Route(
        "account_changed", "POST", "/meters/{meter}/account-changes", ("operator", "automation"),
        "", False, "a payment or a flag: ends a cut that was not sent, or restores",
    ),
    Route("alarms_list", "GET", "/alarms", ROLES, "", False, "the head end's own alarms"),
)  # fmt: skip
BY_OPERATION = {route.operation: route for route in ROUTES}


# A batch is cancelled and released by the orders' own operations.
_ASKED_AS = {"batch_cancel": "order_cancel", "batch_release": "order_release"}


def request_of(route: Route, person: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """What the service is asked. No field can stand in for the operation or the person."""
    return {**fields, "op": _ASKED_AS.get(route.operation, route.operation), "person": person}


def answer_of(route: Route, reply: dict[str, Any]) -> Any:
    """What of the service's reply is the answer."""
    found = {name: value for name, value in reply.items() if name != "final"}
    return found.get(route.answer, found)


def path_of(route: Route, field: Callable[[str], str]) -> str:
    """The path with its fields filled in; `field(name)` gives each."""
    parts = []
    for part in route.path.split("/"):
        is_field = part.startswith("{")
        parts.append(quote(field(part.strip("{}")), safe="") if is_field else part)
    return PREFIX + "/".join(parts)
