"""From approved to queued: the delay is drawn, the ceilings are counted, older orders give way.

* A cut is signed only in hours in which cutting is allowed, so that its random delay is what it
  seems; until then it waits as approved, and its frozen window ends it.
* Over a ceiling it is quarantined. Somebody who neither asked nor approved releases it (I23).
* A batch goes on as a whole: none of its orders before each is approved, and none whose meter is
  not in the frozen selection (I25).
* The order key seals a message when it is published, so that counter and nonce are of that moment;
  not-before and expiry are drawn here, and are what it will say.
"""

from functools import partial

from cloud.orders.alarms import tell_ceiling
from cloud.orders.batches import is_of_batch
from cloud.orders.office import Office
from cloud.orders.persons import RELEASERS, Person
from cloud.orders.stopping import Stopping
from cloud.orders.timing import delayed
from cloud.store import sql_orders as sql
from cloud.store.orders import OrderRow
from protocols.errors import CallerError
from protocols.orders.kinds import ORDER_KINDS, Action, Effect, Family
from protocols.orders.states import OrderState

AT_ONCE = 500  # orders signed in one transaction of a sweep
CLOSERS = (Action.ARM, Action.CONNECT)
_YOUNG = (OrderState.SUBMITTED, OrderState.APPROVED, OrderState.QUARANTINED)


class Signing:
    """Gives orders their times, in the open transaction."""

    def __init__(self, office: Office, stopping: Stopping) -> None:
        self._office = office
        self._stopping = stopping

    def sign_waiting(self) -> int:
        """Sign the approved orders whose time has come; how many were looked at."""
        office, now = self._office, self._office.clock.utc_ms()
        may_cut = not office.cuts_blocked(now)
        rows = office.orders.select(sql.SELECT_TO_SIGN, now, may_cut, AT_ONCE)
        for row in rows:
            office.life.attempt(partial(self._sign, row))
        return len(rows)

    def waits_for(self, row: OrderRow) -> str:
        """What an order waits for, in words; "" when it can go on."""
        office, now = self._office, self._office.clock.utc_ms()
        if row.state in (OrderState.SUBMITTED, OrderState.QUARANTINED):
            missing = ORDER_KINDS[row.action].approvals - len(office.papers.approvals(row.order_id))
            if missing > 0:
                return f"{missing} approvals"
            return f"a release: it is over {row.quarantine}" if row.quarantine else ""
        if row.state == OrderState.QUEUED and (row.not_before or 0) > now:
            return "its time"
        if row.state not in (OrderState.APPROVED, OrderState.QUEUED):
            return ""
        if row.valid_from > now:
            return "the start of its window"
        if row.state == OrderState.APPROVED and row.batch_id is not None:
            parameters = (row.batch_id,)
            found = office.orders.db.execute(sql.COUNT_UNAPPROVED_OF_BATCH, parameters).fetchone()
            if found[0]:
                return f"{found[0]} orders of its batch that are not approved"
        return office.cuts_blocked(now) if row.effect == Effect.CUTS else ""

    def sign(self, row: OrderRow) -> OrderRow:
        """An approved order goes on as far as it may now."""
        return row if self.waits_for(row) else self._sign(row)

    def _sign(self, row: OrderRow) -> OrderRow:
        """An approved order that waits for nothing."""
        office = self._office
        why = self.why_not(row)
        if why:
            return office.life.move(row, OrderState.CANCELLED, why)
        row = self._timed(row)
        row = office.life.move(row, OrderState.SIGNED, f"not before {row.not_before}")
        over = ""
        if row.effect == Effect.CUTS:
            over = office.ceilings.over_by_place(row, office.clock.utc_ms())
        if over:
            row = office.orders.quarantine(row, over)
            # Its life begins when it is released; until then the frozen window is what ends it.
            row = office.orders.set_times(row, row.valid_from, row.valid_until)
            row = office.life.move(row, OrderState.QUARANTINED, f"over a ceiling: {over}")
            tell_ceiling(office, row, row.gateway_id, over)
            return row
        return self._queue(row, "")

    def why_not(self, row: OrderRow) -> str:
        """Why an order that was frozen may not be carried out any more; "" when it may."""
        office = self._office
        if not is_of_batch(office.papers, row):
            return "selection: its meter is not in the frozen selection"
        if row.effect != Effect.CUTS:
            return ""
        if office.never_cut.is_protected(row.meter_id):
            return "protected: the meter is never to be cut"
        if office.accounts.state(row.meter_id) != row.account:
            return "account-changed: the account changed since the order was frozen"
        decision = office.debt.decide(row.meter_id, row.requested_by, office.clock.utc_ms())
        return "" if decision.may_cut else f"held: {decision.basis}"

    def release(self, row: OrderRow, person: Person, reason: str) -> OrderRow:
        """Out of quarantine. CallerError unless the person is a third one, and it may go now."""
        person.check_role(RELEASERS, "release")
        person.check_area(row.area)
        office = self._office
        if row.state != OrderState.QUARANTINED:
            raise CallerError(f"order {row.order_id.hex()} is {row.state}, not quarantined")
        approvers = [one.approver for one in office.papers.approvals(row.order_id)]
        if person.party == row.requested_by or person.party in approvers:
            raise CallerError(
                "not allowed: whoever asked for an order or approved it does not release it"
            )
        if len(approvers) < ORDER_KINDS[row.action].approvals:
            raise CallerError("the order has to be approved before it is released")
        why = self.why_not(row)
        if why:
            return office.life.move(row, OrderState.CANCELLED, why)
        blocked = office.cuts_blocked(office.clock.utc_ms()) if row.effect == Effect.CUTS else ""
        if blocked:
            raise CallerError(f"not now: {blocked}")
        row = self._timed(row)
        return self._queue(row, f"released: {reason}", person.party)

    def _queue(self, row: OrderRow, reason: str, by: str = "") -> OrderRow:
        office = self._office
        self._supersede(row)
        row = office.life.move(row, OrderState.QUEUED, reason, by)
        if row.effect == Effect.CUTS:
            now = office.clock.utc_ms()
            office.ceilings.count(row, now)
            row = office.orders.count(row, now)
        return row

    def _timed(self, row: OrderRow) -> OrderRow:
        """Not-before and expiry, within what was frozen."""
        office, now = self._office, self._office.clock.utc_ms()
        start = max(now, row.valid_from)
        if row.effect == Effect.CUTS:
            latest = row.valid_until - row.life_ms
            most_s = office.policy.jitter_s
            start = delayed(office.chance, start, latest, most_s, office.hours.is_blocked)
        elif row.effect == Effect.RESTORES:
            start = office.stagger.take(row, now)
        expires_at = min(row.valid_until, start + row.life_ms)
        return office.orders.set_times(row, start, expires_at)

    def _supersede(self, row: OrderRow) -> None:
        """What is older and was not sent gives way to an order about the supply of its meter."""
        office = self._office
        if row.family != Family.SUPPLY:
            return
        for old in office.orders.select(sql.SELECT_OPEN_OF_METER, row.meter_id, row.family):
            if old.order_id == row.order_id or old.gateway_id != row.gateway_id:
                continue
            if 0 < old.meter_counter < row.meter_counter and _gives_way(old, row):
                reason = f"by order {row.order_id.hex()}"
                self._stopping.end(old, OrderState.SUPERSEDED, reason, row.requested_by)


def _gives_way(old: OrderRow, new: OrderRow) -> bool:
    """Cuts and what ends them exclude each other. A restore stays beside another kind of restore,
    unless it is not timed yet: the gateway would refuse its lower counter later."""
    if Effect.CUTS in (old.effect, new.effect) or old.action == new.action:
        return True
    return old.state in _YOUNG or (old.action in CLOSERS and new.action in CLOSERS)
