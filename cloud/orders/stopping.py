"""Ending orders that were not sent: cancel, stop, supersede.

* What was not handed to the broker is ended here. What may have left is stopped: a signed stop goes
  out ahead of the queue and the order is not sent again; its gateway tells what became of it,
  because only the gateway knows.
* A stop is kept until the broker took it, and sent again on each connection until then.
* After SENT nothing is stopped: that is what a restore is for.
"""

from typing import NamedTuple

from cloud.orders.audit import Fields
from cloud.orders.office import Office
from cloud.store import sql_orders as sql
from cloud.store.orders import OrderRow
from protocols.orders.kinds import Effect
from protocols.orders.policy import STOPPED_MAX
from protocols.orders.states import UNSENT_STATES, OrderState

# Nothing of these has left us, except a queued order whose message is sealed.
_OURS = (
    OrderState.DRAFT,
    OrderState.SUBMITTED,
    OrderState.APPROVED,
    OrderState.SIGNED,
    OrderState.QUARANTINED,
    OrderState.QUEUED,
)


class Ended(NamedTuple):
    """What became of orders that were to end: ids."""

    cancelled: list[bytes]
    stopping: list[bytes]
    too_late: list[bytes]

    def to_json(self) -> dict[str, list[str]]:
        """As the API shows it."""
        return {name: [one.hex() for one in ids] for name, ids in self._asdict().items()}


class Stopping:
    """Ends orders, in the open transaction."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def end(self, row: OrderRow, state: str, reason: str, by: str) -> Ended:
        """One order, into CANCELLED or SUPERSEDED."""
        return self.end_all([row], state, reason, by)

    def end_all(self, rows: list[OrderRow], state: str, reason: str, by: str) -> Ended:
        """Many orders; stops of one gateway go together."""
        ended = Ended([], [], [])
        office, stops = self._office, dict[str, list[bytes]]()
        for row in rows:
            if row.state in _OURS and not row.is_sealed:
                office.life.move(row, state, reason, by)
                ended.cancelled.append(row.order_id)
            elif row.state in UNSENT_STATES:
                office.store.begin()
                if row.stop_at is None:
                    office.life.note("order-stop", row, {"by": by, "reason": reason})
                    office.orders.stop(row.order_id, office.clock.utc_ms())
                    stops.setdefault(row.gateway_id, []).append(row.order_id)
                ended.stopping.append(row.order_id)
            else:
                ended.too_late.append(row.order_id)
        for gateway_id, order_ids in stops.items():
            for at in range(0, len(order_ids), STOPPED_MAX):
                self._stop(gateway_id, tuple(order_ids[at : at + STOPPED_MAX]), 0, by, reason)
        return ended

    def stop_all_cuts(self, by: str, reason: str) -> Ended:
        """Every cut that is not sent, named or not: gateways stop also those that we forgot."""
        office = self._office
        rows = office.orders.select(sql.SELECT_UNSENT_CUTS)
        ended = self.end_all(rows, OrderState.CANCELLED, reason, by)
        now = office.clock.utc_ms()
        for gateway_id in office.store.gateway_ids():
            self._stop(gateway_id, (), now, by, reason)
        return ended

    def of_incident(self, label: str) -> list[OrderRow]:
        """The cuts of an incident: a label given to orders, or a batch's id."""
        office = self._office
        found = office.orders.select(sql.SELECT_ORDERS_OF_INCIDENT, label)
        if len(label) == 32:
            try:
                batch_id = bytes.fromhex(label)
            except ValueError:
                return found
            found += [
                row
                for row in office.orders.select(sql.SELECT_ORDERS_OF_BATCH, batch_id)
                if row.effect == Effect.CUTS
            ]
        return found

    def _stop(
        self, gateway_id: str, order_ids: tuple[bytes, ...], before: int, by: str, reason: str
    ) -> None:
        office = self._office
        office.store.begin()
        count = len(order_ids)
        fields: Fields = {"orders": count, "cuts before": before, "by": by, "reason": reason}
        office.audit.note("stop", gateway_id, fields)
        now = office.clock.utc_ms()
        office.papers.add_stop(gateway_id, order_ids, before, now, by, reason)
