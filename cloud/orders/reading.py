"""Orders that read, or have a span of time filled again: made, signed and queued at once.

They change nothing, so nobody approves them; they hold for seconds, and whoever asks watches.
"""

import secrets
from typing import Any, NamedTuple

from cloud.orders.life import Watcher
from cloud.orders.office import Office
from cloud.orders.sending import Sending
from cloud.store.orders import OrderRow
from cloud.store.rows import GatewayRow
from protocols.envelope.claims import Claims, is_count
from protocols.envelope.fields import TEXT_SIZE_MAX
from protocols.errors import CallerError, EnvelopeError
from protocols.messages import NO_TERMS, ORDER, ORDER_ID_SIZE, Action, Order, OrderState
from protocols.obis import Obis
from protocols.topics import is_name

VALID_S_MIN = 5
VALID_S_MAX = 3600  # a read order that waits longer answers no question that anybody still asks
VALID_S_DEFAULT = 60
OPEN_ORDERS_MAX = 1000  # not final yet; each ends by itself within VALID_S_MAX and the grace
RECEIPT_GRACE_MS = 10_000  # how long after expiry a receipt may still be on its way


class ReadRequest(NamedTuple):
    """What an operator asks for; `gateway_id` "" when the meter names it, `span` (from, to) UTC ms
    to have that time filled again instead of a reading."""

    meter_id: str
    obis: Obis
    valid_s: int
    gateway_id: str
    span: tuple[int, ...] = ()

    @property
    def action(self) -> str:
        """What the order is."""
        return Action.BACKFILL if self.span else Action.READ

    @classmethod
    def from_json(cls, request: dict[str, Any]) -> "ReadRequest":
        """CallerError with one sentence unless every field fits."""
        meter, valid_s = request.get("meter"), request.get("valid_s", VALID_S_DEFAULT)
        obis, gateway = request.get("obis"), request.get("gateway") or ""
        if not isinstance(meter, str) or not 0 < len(meter) <= TEXT_SIZE_MAX:
            raise CallerError(f"meter must be a text of 1 to {TEXT_SIZE_MAX} characters")
        if not isinstance(obis, str):
            raise CallerError("obis must be an OBIS code such as 1-0:1.8.0")
        if not isinstance(valid_s, int) or isinstance(valid_s, bool):
            raise CallerError("valid_s must be a whole number")
        if not VALID_S_MIN <= valid_s <= VALID_S_MAX:
            raise CallerError(
                f"valid_s = {valid_s} is not allowed; it must be {VALID_S_MIN} to {VALID_S_MAX}"
            )
        if gateway and not (isinstance(gateway, str) and is_name(gateway)):
            raise CallerError("gateway must be 1 to 32 of a-z, 0-9 and -")
        span = request.get("span", [])
        if not isinstance(span, list) or not (span == [] or _is_span(span)):
            raise CallerError("span must be [from, to] in UTC ms, and from below to")
        return cls(meter, Obis.from_text(obis), valid_s, gateway, tuple(span))


def _is_span(span: list[Any]) -> bool:
    return len(span) == 2 and all(is_count(one) for one in span) and bool(span[0] < span[1])


class Reading:
    """Makes orders that read, in the open transaction."""

    def __init__(self, office: Office, sending: Sending) -> None:
        self._office = office
        self._sending = sending

    def order_read(self, request: ReadRequest, watcher: Watcher, by: str = "") -> bytes:
        """A new signed order; its id. After the commit, publish. CallerError with one sentence
        when it can not be made."""
        office = self._office
        if office.orders.count_open_reads() >= OPEN_ORDERS_MAX:
            raise CallerError(f"{OPEN_ORDERS_MAX} orders are open; wait until some have ended")
        gateway, address = self._target(request)
        if gateway.nonce is None:
            raise CallerError(f"gateway {gateway.gateway_id} has not said hello yet")
        epoch = office.store.current_epoch(gateway)
        if epoch is None:
            raise CallerError(f"gateway {gateway.gateway_id} has no journal yet")
        now = office.clock.utc_ms()
        counter = max(gateway.order_counter, gateway.last_order) + 1
        expires_at = now + request.valid_s * 1000
        order_id = secrets.token_bytes(ORDER_ID_SIZE)
        meter, obis, action = request.meter_id, request.obis, request.action
        order = Order(order_id, action, meter, address, obis, request.span, NO_TERMS, ())
        claims = Claims(counter, now, expires_at, gateway.nonce, epoch.epoch, ORDER.content_type)
        try:
            message = office.sealer.seal(ORDER, gateway.gateway_id, claims, order.to_body())
        except EnvelopeError as error:
            name = gateway.gateway_id
            raise CallerError(f"no order can be sealed to {name}: {error}") from error
        row = OrderRow(
            order_id,
            gateway.gateway_id,
            meter,
            address,
            action,
            obis.text(),
            counter,
            OrderState.DRAFT,
            now,
            expires_at,
            arguments=office.provider.encode(list(request.span)),
            requested_by=by,
            valid_from=now,
            valid_until=expires_at,
            life_ms=expires_at - now,
        )
        office.store.begin()
        gateway.order_counter = counter
        office.store.mark_gateway(gateway)
        self._sending.never_sent.add(order_id)
        row = office.life.start(row, watcher)
        row = office.life.move(row, OrderState.SIGNED)
        office.orders.seal(row, counter, message)
        office.life.move(row, OrderState.QUEUED)
        return order_id

    def _target(self, request: ReadRequest) -> tuple[GatewayRow, str]:
        office = self._office
        found = dict(office.store.announcers(request.meter_id))
        if request.gateway_id:
            found = {key: found[key] for key in found if key == request.gateway_id}
        if not found:
            by = f"gateway {request.gateway_id} has not" if request.gateway_id else "no gateway has"
            raise CallerError(f"{by} announced meter {request.meter_id!r}")
        if len(found) > 1:
            names = ", ".join(sorted(found))
            raise CallerError(
                f"meter {request.meter_id!r} is announced by {names}; name one with --gateway"
            )
        gateway_id, address = next(iter(found.items()))
        gateway = office.store.find_gateway(gateway_id)
        if gateway is None:
            raise CallerError(f"gateway {gateway_id} is not known")
        return gateway, address
