"""From a draft to a frozen order: its counter, its digest, and the debt that it rests on.

* What is frozen never changes: whoever wants something else asks for another order.
* The counter of a meter and family is given here, once, so that of two orders the newer one has the
  higher counter, whichever is approved first (I13).
* A cut is refused while the debt is not proven, and quarantined while its requester has asked for
  more than a ceiling allows (I6, I23).
"""

from cloud.orders.alarms import tell_ceiling
from cloud.orders.office import Office
from cloud.orders.proposals import Proposals
from cloud.store.orders import OrderRow
from protocols.errors import CallerError
from protocols.messages import HEAD_END, Order
from protocols.obis import Obis
from protocols.orders.approvals import order_digest
from protocols.orders.kinds import ORDER_KINDS, Effect
from protocols.orders.order import Terms
from protocols.orders.states import OrderState


class Freezer:
    """Freezes drafts, in the open transaction."""

    def __init__(self, office: Office, proposals: Proposals) -> None:
        self._office = office
        self._proposals = proposals

    def freeze(self, row: OrderRow, party: str, selection: bytes = b"") -> OrderRow:
        """The submitted order. CallerError when it is no draft of the party's, or may not be."""
        office, kind = self._office, ORDER_KINDS[row.action]
        if row.state != OrderState.DRAFT:
            raise CallerError(f"order {row.order_id.hex()} is {row.state}, no draft")
        if row.requested_by != party:
            raise CallerError(f"not allowed: only {row.requested_by} may submit this order")
        now = office.clock.utc_ms()
        self._proposals.check_approvers(kind, party)
        over = ""
        if kind.effect == Effect.CUTS:
            self._proposals.check_protected(row.meter_id)
            decision = office.debt.decide(row.meter_id, party, now)
            if not decision.may_cut:
                raise CallerError(f"held: {decision.basis}")
            over = office.ceilings.over_by_request(party, now)
        family = row.family
        counter = office.papers.next_counter(row.meter_id, family) if family else 0
        terms = Terms(
            HEAD_END,
            counter,
            party,
            now,
            row.reason,
            row.valid_from,
            row.valid_until,
            row.life_ms,
            selection,
            row.assurance,
        )
        order = self._order(row, terms)
        digest = order_digest(office.provider, office.tenant, row.gateway_id, order)
        body = office.provider.encode(order.to_body())
        account = office.accounts.state(row.meter_id)
        row = office.orders.freeze(row, now, counter, body, digest, account)
        row = office.life.move(row, OrderState.SUBMITTED, by=party)
        if over:
            row = office.orders.quarantine(row, over)
            row = office.life.move(row, OrderState.QUARANTINED, f"over a ceiling: {over}")
            tell_ceiling(office, row, party, over)
        return row

    def _order(self, row: OrderRow, terms: Terms) -> Order:
        arguments = self._office.provider.decode(row.arguments)
        assert isinstance(arguments, list)  # noqa: S101 -- we wrote it
        obis = Obis.from_text(row.obis)
        return Order(
            row.order_id,
            row.action,
            row.meter_id,
            row.meter_address,
            obis,
            tuple(arguments),
            terms,
            (),
        )
