"""What goes out: stops first, then policies, then orders whose time has come.

* An order's message is sealed when it is due, not before: it can be cancelled here until then, and
  its counter and nonce are of that moment. Sealed and counter are durable before it leaves.
* Before that everything is judged again: approvals, digest, protection, account, debt, hold, hours
  (I3, I5, I6, I11). A row that did not come about through the life cycle is an orphan: never
  sealed, told and audited (threats T3).
* An order waits as `queued` until the broker took it, also over a restart; the same sealed message
  is sent again, so the gateway sees one order.
"""

import logging
from functools import partial

from cloud.ingest.acks import Outbound
from cloud.orders.alarms import ORPHAN, raise_alarm
from cloud.orders.approving import Approving
from cloud.orders.office import Office
from cloud.orders.signing import Signing
from cloud.store import sql_orders as sql
from cloud.store.orders import OrderRow
from cloud.store.papers import StopRow
from protocols.envelope.claims import EPOCH_SIZE, Claims
from protocols.errors import EnvelopeError
from protocols.messages import ORDER, STOP, Stop
from protocols.orders.kinds import ORDER_KINDS, Effect
from protocols.orders.states import OrderState

log = logging.getLogger("cloud.orders")

DUE_AT_ONCE = 500  # orders sealed in one transaction
STOP_VALID_MS = 7 * 86_400_000  # as long as a broker keeps the session of a gateway that is away
NO_EPOCH = bytes(EPOCH_SIZE)  # of a message for the gateway, not for one of its journals
_STOP_TOKEN = b"stop:"  # then the key in 8 bytes; an order's token is its id
# What makes an approval void that held when it was given.
_NO_LONGER = ("approval_time", "revoked_key", "key_time")
# Without these an order did not come about here.
_LIFE = (OrderState.DRAFT, OrderState.SUBMITTED, OrderState.SIGNED)


class Sending:
    """Hands messages to the broker's connection."""

    def __init__(self, office: Office, approving: Approving, signing: Signing) -> None:
        self._office = office
        self._approving = approving
        self._signing = signing
        self._sending: set[bytes] = set()  # handed to this connection, not yet taken by the broker
        self._stops: set[int] = set()  # the same, of stops
        self.never_sent: set[bytes] = set()  # sealed since the start, handed to no connection yet

    # ---- sealing --------------------------------------------------------------------------------

    def seal_due(self) -> int:
        """Seal the orders whose time has come, in the open transaction; how many. Call
        `publish_queued` after the commit."""
        office, now = self._office, self._office.clock.utc_ms()
        rows = office.orders.select(sql.SELECT_DUE, now + office.policy.lead_s * 1000, DUE_AT_ONCE)
        may_cut = not office.cuts_blocked(now)
        count = 0
        for row in rows:
            if row.expires_at > now and (may_cut or row.effect != Effect.CUTS):
                count += office.life.attempt(partial(self._dispatch, row, now))
        return count

    def _dispatch(self, row: OrderRow, now: int) -> None:
        office = self._office
        try:
            order = self._approving.check(row, office.papers.approvals(row.order_id))
            self._check_life(row)
        except EnvelopeError as error:
            if error.reason in _NO_LONGER:
                office.life.move(row, OrderState.CANCELLED, f"an approval holds no more: {error}")
                return
            detail = f"order {row.order_id.hex()} did not come about here: {error}"
            raise_alarm(office, ORPHAN, row.meter_id, detail, row)
            office.life.move(row, OrderState.CANCELLED, f"orphan: {error}")
            return
        why = self._signing.why_not(row)
        if why:
            office.life.move(row, OrderState.CANCELLED, why)
            return
        gateway = office.store.find_gateway(row.gateway_id)
        epoch = office.store.current_epoch(gateway) if gateway else None
        if gateway is None or gateway.nonce is None or epoch is None:
            return  # it has not said hello: the order waits until it does, or expires
        counter = max(gateway.order_counter, gateway.last_order) + 1
        issued_at = max(row.not_before or now, now)
        claims = Claims(
            counter, issued_at, row.expires_at, gateway.nonce, epoch.epoch, ORDER.content_type
        )
        try:
            message = office.sealer.seal(ORDER, gateway.gateway_id, claims, order.to_body())
        except EnvelopeError as error:
            log.error("order_unsealed order=%s reason=%s", row.order_id.hex(), error.reason)
            return
        office.life.note("order-sealed", row, {"counter": counter, "issued at": issued_at})
        gateway.order_counter = counter
        office.store.mark_gateway(gateway)
        office.orders.seal(row, counter, message)
        self.never_sent.add(row.order_id)

    def _check_life(self, row: OrderRow) -> None:
        """EnvelopeError unless the row has the steps behind it that lead to the queue."""
        states = [state for state, *_ in self._office.orders.events(row.order_id)]
        wanted = list(_LIFE)
        if ORDER_KINDS[row.action].approvals and OrderState.QUARANTINED not in states:
            wanted.append(OrderState.APPROVED)
        if OrderState.QUARANTINED in states:
            wanted.remove(OrderState.SIGNED)
        if not set(wanted) <= set(states):
            raise EnvelopeError("schema", "steps are missing")

    # ---- publishing -----------------------------------------------------------------------------

    def publish_stops(self) -> bool:
        """Send the stops that are not on their way already; False without a connection."""
        for stop in self._office.papers.open_stops():
            if stop.stop_key in self._stops:
                continue
            message = self._sealed_stop(stop)
            if message is None:
                self._stops.add(stop.stop_key)  # told once; the next connection tries again
                continue
            token = _STOP_TOKEN + stop.stop_key.to_bytes(8, "big")
            if not self._office.publisher.publish_tracked(message, token):
                return False
            self._stops.add(stop.stop_key)
        return True

    def _sealed_stop(self, stop: StopRow) -> Outbound | None:
        office, now = self._office, self._office.clock.utc_ms()
        expires_at = stop.at + STOP_VALID_MS
        if expires_at <= now:
            office.store.begin()
            office.papers.take_stop(stop.stop_key, now)
            return None
        claims = Claims(stop.stop_key, stop.at, expires_at, b"", NO_EPOCH, STOP.content_type)
        body = Stop(stop.order_ids, stop.cuts_before).to_body()
        try:
            payload = office.sealer.seal(STOP, stop.gateway_id, claims, body)
        except EnvelopeError as error:
            log.error("stop_unsealed gateway=%s reason=%s", stop.gateway_id, error.reason)
            return None
        topic = office.sealer.topic(STOP, stop.gateway_id)
        return Outbound(topic, payload, max((expires_at - now) // 1000, 1))

    def publish_orders(self) -> None:
        """Send what is sealed and not on its way already."""
        office, now = self._office, self._office.clock.utc_ms()
        for order in office.orders.queued():
            left_s = (order.expires_at - now) // 1000
            if order.order_id in self._sending or left_s <= 0:
                continue
            topic = office.sealer.topic(ORDER, order.gateway_id)
            message = Outbound(topic, office.orders.message(order.order_id), left_s)
            if not office.publisher.publish_tracked(message, order.order_id):
                return  # no connection: the next one starts here again, so the order stays
            self._sending.add(order.order_id)
            self.never_sent.discard(order.order_id)

    def published(self, token: bytes) -> None:
        """The broker took the message of this token."""
        office, now = self._office, self._office.clock.utc_ms()
        if token.startswith(_STOP_TOKEN) and len(token) == len(_STOP_TOKEN) + 8:
            stop_key = int.from_bytes(token[len(_STOP_TOKEN) :], "big")
            self._stops.discard(stop_key)
            office.store.begin()
            office.papers.take_stop(stop_key, now)
            return
        self._sending.discard(token)
        row = office.orders.find(token)
        if row is not None and row.state == OrderState.QUEUED:
            office.store.begin()
            office.orders.keep_message(token, None)
            office.life.move(row._replace(is_sealed=0), OrderState.PUBLISHED)

    def connection_lost(self) -> None:
        """What was on its way may not have arrived: send it again on the next connection."""
        self._sending.clear()
        self._stops.clear()

    def ended(self, order_id: bytes) -> bool:
        """The order is sent no more; whether it certainly never left."""
        is_here = order_id in self.never_sent
        self.never_sent.discard(order_id)
        self._sending.discard(order_id)
        return is_here
