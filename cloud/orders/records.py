"""What the records alone tell of an order, as JSON: the row, approvals, every state, every receipt,
and where both audit logs tell of it. Nothing that the running service remembers, so that a reader
of the database tells the same."""

import json
import sqlite3
from typing import Any

from cloud.store.audit import AuditStore
from cloud.store.orders import OrderRow, OrderStore
from cloud.store.papers import PaperStore
from protocols.audit.chain import parse_entry
from protocols.envelope.provider import CryptoProvider
from protocols.orders.kinds import ORDER_KINDS
from protocols.orders.states import ORDER_STEPS

Body = dict[str, Any]


class Records:
    """Makes JSON of the rows of one database."""

    def __init__(self, db: sqlite3.Connection, provider: CryptoProvider, tenant: str) -> None:
        self._orders = OrderStore(db)
        self._papers = PaperStore(db)
        self._audit = AuditStore(db)
        self._provider = provider
        self._tenant = tenant

    def brief(self, row: OrderRow) -> Body:
        """One line of a list."""
        return {
            "order": row.order_id.hex(),
            "action": row.action,
            "effect": row.effect,
            "meter": row.meter_id,
            "address": row.meter_address,
            "gateway": row.gateway_id,
            "area": row.area,
            "state": row.state,
            "final": row.state not in ORDER_STEPS,
            "requested_by": row.requested_by,
            "reason": row.reason,
            "incident": row.incident,
            "batch": row.batch_id.hex() if row.batch_id else "",
            "created_at": row.created_at,
            "not_before": row.not_before,
            "expires_at": row.expires_at,
            "digest": row.digest.hex() if row.digest is not None else None,
            "quarantine": row.quarantine,
        }

    def order(self, row: OrderRow) -> Body:
        """Everything but the story."""
        arguments: Any = self._provider.decode(row.arguments)
        kind = ORDER_KINDS.get(row.action)
        approvals = self._papers.approvals(row.order_id)
        return {
            **self.brief(row),
            "tenant": self._tenant,
            "obis": row.obis,
            "arguments": [
                {"hex": one.hex()} if isinstance(one, bytes) else one for one in arguments
            ],
            "submitted_at": row.submitted_at,
            "valid_from": row.valid_from,
            "valid_until": row.valid_until,
            "life_ms": row.life_ms,
            "meter_counter": row.meter_counter,
            "counter": row.counter if row.counter > 0 else None,
            "assurance": row.assurance,
            "body": row.body.hex() if row.body is not None else None,
            "approvals_needed": kind.approvals if kind else 0,
            "approvals": [{"approver": one.approver, "at": one.at} for one in approvals],
            "stop_at": row.stop_at,
        }

    def story(self, row: OrderRow) -> Body:
        """Every state with our time and the gateway's, every receipt, every audit entry."""
        states = [
            {"state": state, "at": at, "told_at": told_at, "reason": reason}
            for state, at, told_at, reason in self._orders.events(row.order_id)
        ]
        receipts = [
            {
                **one._asdict(),
                "readings": json.loads(one.readings),
                "evidence": json.loads(one.evidence),
                "facts": json.loads(one.facts),
            }
            for one in self._orders.receipts(row)
        ]
        audit = [
            {"sequence": one.sequence, "at": one.at, "kind": one.kind}
            for one in self._audit.entries_of(row.order_id.hex())
        ]
        return {
            "states": states,
            "receipts": receipts,
            "audit": audit,
            "gateway_audit": self._told_by_gateway(row),
        }

    def _told_by_gateway(self, row: OrderRow) -> list[Body]:
        found = []
        for one in self._audit.chain_with(row.gateway_id, row.order_id):
            entry = parse_entry(self._provider, one.entry)
            if entry.order_id == row.order_id:
                found.append({"sequence": entry.sequence, "at": entry.at, "kind": entry.kind})
        return found
