"""What a payment or a flag does to the orders of its meter (I8).

* It cancels every cut that is not sent, at whichever step it stands.
* A payment also restores: at once where the meter may be cut already, and later when a cut that was
  on its way turns out to have been sent.
* Each reference counts once; the same again changes nothing.
"""

from typing import Any

from cloud.orders.office import Office
from cloud.orders.restoring import Restoring
from cloud.orders.stopping import Ended, Stopping
from cloud.store import sql_orders as sql
from cloud.store.orders import OrderRow
from protocols.errors import CallerError
from protocols.orders.kinds import Effect
from protocols.orders.states import UNSENT_STATES, OrderState

PAID, FLAG = "paid", "flag"
CHANGES = (PAID, FLAG)
LOOK_BACK_MS = 400 * 86_400_000  # cuts older than this are no longer put right by a payment
# Of a cut: the meter may be open.
MAY_BE_OPEN = (
    OrderState.SENT,
    OrderState.ACKED,
    OrderState.VERIFYING,
    OrderState.CONFIRMED,
    OrderState.CONTRADICTED,
    OrderState.UNKNOWN,
)


class Accounts:
    """Applies changes of accounts, in the open transaction."""

    def __init__(self, office: Office, stopping: Stopping, restoring: Restoring) -> None:
        self._office = office
        self._stopping = stopping
        self._restoring = restoring

    def change(
        self, meter_id: str, change: str, reference: str, note: str, by: str
    ) -> tuple[Ended, OrderRow | None]:
        """(what became of its cuts, the restore). CallerError for a change that is none, or a
        reference that was used for another one."""
        office = self._office
        if change not in CHANGES:
            raise CallerError(f"change must be {' or '.join(CHANGES)}")
        known = office.papers.change(reference)
        if known is not None:
            if known != (meter_id, change):
                raise CallerError(f"reference {reference!r} was used for another change")
            return Ended([], [], []), None
        now = office.clock.utc_ms()
        office.store.begin()
        fields = {"change": change, "reference": reference, "by": by}
        office.audit.note("account-changed", meter_id, fields)
        office.papers.add_change(reference, meter_id, change, note, by, now)
        cuts = [
            row
            for row in office.orders.select(
                sql.SELECT_ORDERS_OF_METER, meter_id, now - LOOK_BACK_MS
            )
            if row.effect == Effect.CUTS
        ]
        open_cuts = [row for row in cuts if row.state in UNSENT_STATES]
        reason = f"account-changed: {change} {reference}"
        ended = self._stopping.end_all(open_cuts, OrderState.CANCELLED, reason, by)
        restore = None
        opened = [row for row in cuts if row.state in MAY_BE_OPEN]
        if change == PAID and opened:
            restore = self._restoring.try_restore(opened[-1], f"paid: {reference}", "")
        return ended, restore

    def follow(self, row: OrderRow) -> None:
        """A gateway told the state of an order: when it is a cut that a payment was to stop, and it
        was sent all the same, the meter is restored."""
        office = self._office
        if row.effect != Effect.CUTS or row.state not in MAY_BE_OPEN or row.account is None:
            return
        if office.accounts.state(row.meter_id) == row.account:
            return
        last: Any = office.orders.db.execute(sql.SELECT_PAID_SINCE, (row.meter_id, row.account))
        reference = last.fetchone()
        if reference is not None:
            self._restoring.try_restore(row, f"paid: {reference[0]}", "")
