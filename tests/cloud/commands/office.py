"""A head end's order desk as far as the commands see it: real frozen orders with real digests, and
approvals that are checked as a gateway checks them."""

import hashlib
import json
import os
from typing import Any

from protocols.envelope.keys import KeyRecord, KeySet
from protocols.envelope.suites import Provider
from protocols.errors import EnvelopeError
from protocols.orders.approvals import check_approvals, order_digest
from protocols.orders.kinds import Action
from protocols.orders.order import NO_OBIS, Approval, Order, Terms
from tests.cloud.world import TENANT

PROVIDER = Provider()
GATEWAY = "gw1"
LIFE_MS = 900_000


def order_of(
    meter: str,
    now: int,
    action: str = Action.DISCONNECT,
    arguments: tuple = (),
    selection: bytes = b"",
    requester: str = "person:wang",
    **terms: Any,
) -> Order:
    """A frozen order, as a head end makes it."""
    fields: dict[str, Any] = {
        "originator": "head-end",
        "meter_counter": 7,
        "requested_by": requester,
        "requested_at": now - 60_000,
        "reason": "arrears of three months",
        "valid_from": now - 60_000,
        "valid_until": now + 7_200_000,
        "life_ms": LIFE_MS,
        "selection": selection,
        "assurance": 0,
    }
    address = f"{int.from_bytes(hashlib.sha256(meter.encode()).digest()[:4], 'big'):012d}"
    return Order(
        os.urandom(16), action, meter, address, NO_OBIS, arguments, Terms(**{**fields, **terms}), ()
    )


def row_of(order: Order, gateway: str = GATEWAY) -> dict[str, Any]:
    """What the head end tells of an order."""
    return {
        "order": order.order_id.hex(),
        "action": order.action,
        "meter": order.meter_id,
        "address": order.meter_address,
        "gateway": gateway,
        "requested_by": order.terms.requested_by,
        "reason": order.terms.reason,
        "state": "submitted",
        "tenant": TENANT,
        "body": PROVIDER.encode(order.to_body()).hex(),
        "digest": order_digest(PROVIDER, TENANT, gateway, order).hex(),
        "approvals_needed": order.kind.approvals,
        "approvals": [],
        "waits": "for approvals",
        "created_at": order.terms.requested_at,
    }


class Office:
    """Answers the operations that `approve` asks; `rows` may be falsified by a test."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.batch: dict[str, Any] | None = None
        self.keys: list[KeyRecord] = []
        self.sent: list[dict[str, Any]] = []  # operations that would change something
        self.has_bodies = True  # in the pages of a batch

    def add(self, order: Order, gateway: str = GATEWAY) -> str:
        """A frozen order; its id."""
        order_id = order.order_id.hex()
        self.orders[order_id] = order
        self.rows[order_id] = row_of(order, gateway)
        return order_id

    def add_batch(self, meters: list[str], now: int, **fields: Any) -> str:
        """A batch of frozen orders; its id."""
        chosen = sorted(meters)
        selection = hashlib.sha256(json.dumps(chosen).encode()).digest()
        for meter in chosen:
            self.add(order_of(meter, now, selection=selection, **fields))
        self.batch = {
            "batch": os.urandom(16).hex(),
            "action": Action.DISCONNECT,
            "requested_by": "person:wang",
            "reason": "arrears of three months",
            "state": "submitted",
            "selection": selection.hex(),
            "count": len(chosen),
            "sample": chosen[:10],
            "load_w": 4321,
            "load_known": len(chosen),
            "states": {"submitted": len(chosen)},
            "approvals_needed": 2,
            "fully_approved_by": [],
        }
        return str(self.batch["batch"])

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """One operation."""
        found: dict[str, Any] = getattr(self, body["op"], self._refuse)(body)
        return {**found, "final": True}

    def _refuse(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"error": f"no such operation: {body['op']}"}

    def order_get(self, body: dict[str, Any]) -> dict[str, Any]:
        """An order by how its id starts."""
        found = [row for name, row in self.rows.items() if name.startswith(body["order"])]
        return {"order": found[0]} if len(found) == 1 else {"error": "no such order"}

    def batch_get(self, body: dict[str, Any]) -> dict[str, Any]:
        """A page of the batch."""
        if self.batch is None or not self.batch["batch"].startswith(body["batch"]):
            return {"error": "no such batch"}
        first = body.get("offset", 0)
        rows = sorted(self.rows.values(), key=lambda row: str(row["meter"]))
        page = rows[first : first + min(body["limit"], 3)]
        if self.has_bodies:
            page = [{k: v for k, v in row.items() if k != "tenant"} for row in page]
        else:
            page = [{k: v for k, v in row.items() if k != "body"} for row in page]
        return {"batch": {**self.batch, "tenant": TENANT, "orders": page}}

    def order_approve(self, body: dict[str, Any]) -> dict[str, Any]:
        """One approval."""
        self.sent.append(body)
        return self._take(body) or {"order": self.rows[body["order"]]}

    def batch_approve(self, body: dict[str, Any]) -> dict[str, Any]:
        """Several."""
        self.sent.append(body)
        for one in body["approvals"]:
            refused = self._take({**one, "person": body["person"]})
            if refused:
                return refused
        return {"batch": self.batch}

    def _take(self, body: dict[str, Any]) -> dict[str, Any]:
        order, row = self.orders[body["order"]], self.rows[body["order"]]
        approver = "person:" + body["person"]["name"]
        approval = Approval(
            approver, bytes.fromhex(body["kid"]), body["at"], bytes.fromhex(body["signature"])
        )
        signed = order._replace(approvals=(*order.approvals, approval))
        try:
            check_approvals(PROVIDER, KeySet(tuple(self.keys)), TENANT, row["gateway"], signed, 0)
        except EnvelopeError as error:
            if error.reason != "approvals_missing":
                return {"error": f"the approval does not hold: {error.reason}"}
        self.orders[body["order"]] = signed
        row["approvals"].append({"approver": approver, "at": body["at"]})
        return {}
