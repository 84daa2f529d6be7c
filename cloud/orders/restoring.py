"""Restores that follow from something: a payment, the undoing of an incident, a repair.

* A restore is the permission to close (I18). It takes nobody's approval, and is an order like any
  other: counted, signed, recorded (fee-control 9.8).
* A meter that has one on its way gets no second one.
* Undoing an incident restores every meter that may be open because of it, staggered, and stops what
  is not sent (I27).
"""

from cloud.orders.alarms import FAILED, raise_alarm
from cloud.orders.freezing import Freezer
from cloud.orders.office import Office
from cloud.orders.proposals import Proposals, Wanted
from cloud.orders.signing import Signing
from cloud.store import sql_orders as sql
from cloud.store.orders import OrderRow
from protocols.errors import CallerError
from protocols.messages import HEAD_END
from protocols.orders.kinds import ORDER_KINDS, Action, Effect, Family
from protocols.orders.order import RULE
from protocols.orders.states import OrderState

AUTOMATION = RULE + HEAD_END  # who asks for a restore that follows from a payment
_CLOSERS = (Action.ARM, Action.CONNECT)


class Restoring:
    """Asks for restores, in the open transaction."""

    def __init__(
        self, office: Office, proposals: Proposals, freezer: Freezer, signing: Signing
    ) -> None:
        self._office = office
        self._proposals = proposals
        self._freezer = freezer
        self._signing = signing

    def restore(
        self, cut: OrderRow, reason: str, incident: str, party: str = AUTOMATION
    ) -> OrderRow | None:
        """The restore of a cut meter, as far as it may go; None when one is on its way."""
        if self.is_under_way(cut):
            return None
        kind = ORDER_KINDS[Action.ARM]
        wanted = Wanted(kind, (), reason, incident, 0, 0, kind.life_s * 1000, 0, "")
        row = self._proposals.draft(wanted, cut.meter_id, cut.gateway_id, party)
        return self.go_on(self._freezer.freeze(row, party))

    def go_on(self, row: OrderRow) -> OrderRow:
        """A frozen order of a kind that nobody approves, on its way."""
        if row.state != OrderState.SUBMITTED or ORDER_KINDS[row.action].approvals:
            return row
        row = self._office.life.move(row, OrderState.APPROVED, "its kind takes no approvals")
        return self._signing.sign(row)

    def is_under_way(self, cut: OrderRow) -> bool:
        """Whether the meter has a restore that is newer than the cut and not ended in vain."""
        rows = self._office.orders.select(sql.SELECT_ORDERS_OF_METER, cut.meter_id, cut.created_at)
        vain = (
            OrderState.DRAFT,
            OrderState.REFUSED,
            OrderState.REFUSED_BY_METER,
            OrderState.EXPIRED,
            OrderState.CANCELLED,
            OrderState.SUPERSEDED,
            OrderState.NOT_DONE,
        )
        return any(
            row.family == Family.SUPPLY
            and row.action in _CLOSERS
            and row.meter_counter > cut.meter_counter
            and row.state not in vain
            for row in rows
        )

    def follow(self, row: OrderRow, reason: str) -> None:
        """A gateway has told the state of a restore, and why. Somebody waits for supply: a refusal
        is told at once, and whether it is asked for again is for a person. The gateway's own
        restart must not be what moves a relay (I19)."""
        if row.effect == Effect.RESTORES and row.state == OrderState.REFUSED:
            detail = f"{row.action} of meter {row.meter_id} was refused: {reason}; ask for it again"
            raise_alarm(self._office, FAILED, row.meter_id, detail, row)

    def try_restore(
        self, cut: OrderRow, reason: str, incident: str, party: str = AUTOMATION
    ) -> OrderRow | None:
        """The same; a restore that can not be asked for is told as an alarm, because nobody waits
        for an answer."""
        try:
            return self.restore(cut, reason, incident, party)
        except CallerError as error:
            detail = f"meter {cut.meter_id} is to be restored, and can not be: {error}"
            raise_alarm(self._office, FAILED, cut.meter_id, detail, cut)
            return None

    def undo(self, cuts: list[OrderRow], reason: str, label: str, party: str) -> list[OrderRow]:
        """The restores of every meter of these cuts, each once, under an incident's label."""
        latest = {row.meter_id: row for row in sorted(cuts, key=lambda one: one.meter_counter)}
        made = [
            self.try_restore(latest[meter_id], reason, label, party) for meter_id in sorted(latest)
        ]
        return [row for row in made if row is not None]
