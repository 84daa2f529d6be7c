"""The life of an order at the head end: one table of steps, and the one way along it.

* A step that the table does not have is our own fault, and is not taken. A read may leave steps
  out, because nobody approves it; a receipt may, because the gateway tells them together.
* The audit entry comes first, then the row and its event, all in one transaction. A step forward of
  a cut fails when its entry can not be written; every way out of a cut, and everything else, goes
  on.
* Watchers hear of a state only when it is durable.
"""

import json
import logging
from collections.abc import Callable
from typing import Any

from cloud.clock import Clock
from cloud.orders.audit import AuditError, AuditKeeper, Fields
from cloud.store import sql_orders as sql
from cloud.store.orders import OrderRow, OrderStore
from cloud.store.writer import Writer
from protocols.errors import BusbarError
from protocols.events import Severity
from protocols.orders.kinds import Effect
from protocols.orders.states import ORDER_STEPS, OrderState, can_follow, settles

log = logging.getLogger("cloud.orders")

Watcher = Callable[[dict[str, Any]], None]

# Towards the meter, by our own doing: a cut does not take these without its audit entry.
FORWARD = (
    OrderState.DRAFT,
    OrderState.SUBMITTED,
    OrderState.APPROVED,
    OrderState.SIGNED,
    OrderState.QUEUED,
)


class StepError(BusbarError):
    """A step that the table does not have: our own fault."""


class Life:
    """Moves orders, in the open transaction of the Writer."""

    def __init__(self, store: Writer, orders: OrderStore, audit: AuditKeeper, clock: Clock) -> None:
        self._store = store
        self._orders = orders
        self._audit = audit
        self._clock = clock
        self._watchers: dict[bytes, list[Watcher]] = {}
        self._news: list[tuple[bytes, dict[str, Any]]] = []
        self._alarms: list[tuple[str, str, str]] = []
        # What else remembers between transactions, and has to forget when one is undone.
        self.forgetters: list[Callable[[], None]] = [orders.forget, audit.forget]

    def attempt(self, work: Callable[[], object]) -> bool:
        """Do it whole in the open transaction or, when the audit log does not allow it, not at all.
        Whether it was done."""
        self._store.begin()
        self._orders.db.execute("SAVEPOINT attempt")
        news, alarms = len(self._news), len(self._alarms)
        try:
            work()
        except AuditError as error:
            self._orders.db.execute("ROLLBACK TO attempt")
            self._orders.db.execute("RELEASE attempt")
            del self._news[news:]
            del self._alarms[alarms:]
            self._forget()
            log.error("order_held error=%s", error)
            return False
        self._orders.db.execute("RELEASE attempt")
        return True

    def _forget(self) -> None:
        for forget in self.forgetters:
            forget()

    # ---- steps ----------------------------------------------------------------------------------

    def start(self, row: OrderRow, watcher: Watcher | None = None, by: str = "") -> OrderRow:
        """A new order."""
        self._store.begin()
        self.note("order-" + row.state, row, {"by": by or row.requested_by})
        self._orders.add(row)
        if watcher is not None:
            self._watchers[row.order_id] = [watcher]
        self._tell(row, row.created_at, None, "")
        return row

    def move(self, row: OrderRow, state: str, reason: str = "", by: str = "") -> OrderRow:
        """One step of the head end's own; the row as it is then. StepError, AuditError."""
        is_step = state in ORDER_STEPS.get(row.state, ())
        if not is_step and not (row.effect == Effect.READS and can_follow(row.state, state)):
            raise StepError(f"{row.state} does not lead to {state}")
        return self._move(row, state, self._clock.utc_ms(), None, reason, by)

    def told(self, row: OrderRow, state: str, told_at: int, reason: str) -> OrderRow | None:
        """A state that the gateway tells; None when it leads nowhere from here."""
        if not can_follow(row.state, state) and not settles(row.state, state):
            return None
        return self._move(row, state, self._clock.utc_ms(), told_at, reason, row.gateway_id)

    def _move(
        self, row: OrderRow, state: str, at: int, told_at: int | None, reason: str, by: str
    ) -> OrderRow:
        self._store.begin()
        said = {"reason": reason, "by": by, "told at": told_at or ""}
        fields: Fields = {name: value for name, value in said.items() if value}
        following = row._replace(state=state)
        self.note("order-" + state, following, {"from": row.state, **fields})
        self._orders.move(row.order_id, state, at, told_at, reason)
        self._tell(following, at, told_at, reason)
        return following

    def note(self, kind: str, row: OrderRow, fields: Fields) -> None:
        """An audit entry about an order. AuditError when a cut may not go on without it."""
        named: dict[str, int | str | bytes] = {
            "meter": row.meter_id,
            "gateway": row.gateway_id,
            "action": row.action,
        }
        if row.digest is not None:
            named["digest"] = row.digest
        may_wait = row.effect != Effect.CUTS or row.state not in FORWARD
        self._store.begin()
        self._audit.note(kind, row.order_id.hex(), {**named, **fields}, may_wait)

    # ---- alarms ---------------------------------------------------------------------------------

    def alarm(
        self,
        kind: str,
        subject: str,
        detail: str,
        row: OrderRow | None = None,
        gateway_id: str = "",
        severity: str = Severity.ALARM,
    ) -> None:
        """An alarm of the head end's own, and its audit entry."""
        self._store.begin()
        order_id = row.order_id if row else None
        gateway_id = row.gateway_id if row else gateway_id
        about = order_id.hex() if order_id else subject
        self._audit.note(kind, about, {"subject": subject, "detail": detail})
        at = self._clock.utc_ms()
        parameters = (at, kind, severity, subject, gateway_id, order_id, detail)
        self._orders.db.execute(sql.INSERT_ALARM, parameters)
        self._alarms.append((kind, subject, detail))

    def has_alarm(self, kind: str, row: OrderRow) -> bool:
        """Whether this was told of the order already."""
        parameters = (row.order_id, kind)
        return bool(self._orders.db.execute(sql.SELECT_ALARM_OF_ORDER, parameters).fetchone())

    def was_told(self, kind: str, subject: str, since: int) -> bool:
        """Whether such an alarm of this subject was raised at `since` (UTC ms) or later."""
        parameters = (kind, subject, since)
        return bool(self._orders.db.execute(sql.SELECT_ALARM_SINCE, parameters).fetchone())

    # ---- news -----------------------------------------------------------------------------------

    def forget(self, order_id: bytes) -> None:
        """Nobody watches this order any more."""
        self._watchers.pop(order_id, None)

    def committed(self) -> None:
        """Tell what is durable now."""
        news, self._news = self._news, []
        alarms, self._alarms = self._alarms, []
        for kind, subject, detail in alarms:
            log.warning("alarm_raised kind=%s subject=%r detail=%r", kind, subject, detail)
        for order_id, event in news:
            log.info("order_moved order=%s state=%s", event["order"], event["state"])
            for watcher in self._watchers.get(order_id, ()):
                watcher(event)
            if event["final"]:
                self._watchers.pop(order_id, None)

    def rolled_back(self) -> list[bytes]:
        """Nothing of it happened; the ids of the orders that were not made after all."""
        undone = [key for key, event in self._news if event["state"] == OrderState.DRAFT]
        for order_id in undone:
            self._watchers.pop(order_id, None)
        self._news.clear()
        self._alarms.clear()
        self._forget()
        return undone

    def _tell(self, row: OrderRow, at: int, told_at: int | None, reason: str) -> None:
        event = {
            "order": row.order_id.hex(),
            "gateway": row.gateway_id,
            "meter": row.meter_id,
            "obis": row.obis,
            "counter": row.counter,
            "state": row.state,
            "at": at,
            "told_at": told_at,
            "reason": reason,
            "final": row.state not in ORDER_STEPS,
        }
        if event["final"] and row.order_id in self._watchers:
            event["readings"], event["evidence"] = self._outcome(row)
        self._news.append((row.order_id, event))

    def _outcome(self, row: OrderRow) -> tuple[list[Any], list[Any]]:
        for receipt in self._orders.receipts(row):
            if receipt.state == row.state:
                return json.loads(receipt.readings), json.loads(receipt.evidence)
        return [], []
