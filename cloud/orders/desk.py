"""The order desk: makes, signs and sends orders, and follows each to a final state.

* The head end proposes, the gateway decides: a receipt moves the state only along ORDER_STEPS, and
  only for the order, counter and gateway that were signed.
* The counter is durable before the message leaves; counters of one gateway never go back.
* An order waits as `queued` until the broker took it, also over a restart; the same sealed message
  is sent again, so the gateway sees one order.
* Silence is a state: after expiry and a grace, an order that certainly never left is `expired`,
  and any other is `unknown`. Whether a queued order left is not kept on disk, so after a restart
  it may have.
* Watchers hear of a state only when it is durable.

All of it runs in the writer's thread.
"""

import json
import logging
import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from cloud.clock import Clock
from cloud.identity.sealing import Sealer
from cloud.ingest.acks import Outbound, Publisher
from cloud.ingest.sets import json_text
from cloud.store.orders import OrderRow, OrderStore, ReceiptRow
from cloud.store.rows import GatewayRow
from cloud.store.writer import Writer
from protocols.envelope.claims import Claims, is_count
from protocols.envelope.fields import TEXT_SIZE_MAX
from protocols.errors import CallerError, EnvelopeError
from protocols.messages import (
    ORDER,
    ORDER_ID_SIZE,
    ORDER_STEPS,
    Action,
    Order,
    OrderState,
    Receipt,
    can_follow,
    settles,
)
from protocols.obis import Obis
from protocols.topics import is_name

log = logging.getLogger("cloud.orders")

VALID_S_MIN = 5
VALID_S_MAX = 3600  # a read order that waits longer answers no question that anybody still asks
VALID_S_DEFAULT = 60
OPEN_ORDERS_MAX = 1000  # not final yet; each ends by itself within VALID_S_MAX and the grace
RECEIPT_GRACE_MS = 10_000  # how long after expiry a receipt may still be on its way
RECEIPTS_TOLD_AGAIN = 64  # of a gateway that says hello or repeats itself

Watcher = Callable[[dict[str, Any]], None]


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


class Desk:
    """Orders in the writer's thread. It is also the Ingest's ReceiptBook."""

    def __init__(
        self,
        store: Writer,
        orders: OrderStore,
        sealer: Sealer,
        publisher: Publisher,
        clock: Clock,
    ) -> None:
        self._store = store
        self._orders = orders
        self._sealer = sealer
        self._publisher = publisher
        self._clock = clock
        self._sending: set[bytes] = set()  # handed to this connection, not yet taken by the broker
        self._never_sent: set[bytes] = set()  # made since the start, handed to no connection yet
        self._watchers: dict[bytes, list[Watcher]] = {}
        self._news: list[tuple[bytes, dict[str, Any]]] = []

    # ---- making an order ------------------------------------------------------------------------

    def order_read(self, request: ReadRequest, watcher: Watcher) -> bytes:
        """A new signed order in the open transaction; its id. After the commit, call
        `publish_queued`. CallerError with one sentence when it can not be made."""
        if self._orders.count_open() >= OPEN_ORDERS_MAX:
            raise CallerError(f"{OPEN_ORDERS_MAX} orders are open; wait until some have ended")
        gateway, address = self._target(request)
        if gateway.nonce is None:
            raise CallerError(f"gateway {gateway.gateway_id} has not said hello yet")
        epoch = self._store.current_epoch(gateway)
        if epoch is None:
            raise CallerError(f"gateway {gateway.gateway_id} has no journal yet")
        now = self._clock.utc_ms()
        counter = max(gateway.order_counter, gateway.last_order) + 1
        expires_at = now + request.valid_s * 1000
        order_id = secrets.token_bytes(ORDER_ID_SIZE)
        action = request.action
        order = Order(order_id, action, request.meter_id, address, request.obis, request.span)
        claims = Claims(counter, now, expires_at, gateway.nonce, epoch.epoch, ORDER.content_type)
        try:
            message = self._sealer.seal(ORDER, gateway.gateway_id, claims, order.to_body())
        except EnvelopeError as error:
            name = gateway.gateway_id
            raise CallerError(f"no order can be sealed to {name}: {error}") from error
        self._store.begin()
        gateway.order_counter = counter
        self._store.mark_gateway(gateway)
        row = OrderRow(
            order_id,
            gateway.gateway_id,
            request.meter_id,
            address,
            action,
            request.obis.text(),
            counter,
            OrderState.DRAFT,
            now,
            expires_at,
        )
        self._watchers[order_id] = [watcher]
        self._never_sent.add(order_id)
        self._orders.add(gateway, row)
        self._tell(row, OrderState.DRAFT, now, None, "")
        self._move(row, OrderState.SIGNED, now)
        self._orders.keep_message(order_id, message)
        self._move(row, OrderState.QUEUED, now)
        return order_id

    def _target(self, request: ReadRequest) -> tuple[GatewayRow, str]:
        found = dict(self._store.announcers(request.meter_id))
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
        gateway = self._store.find_gateway(gateway_id)
        if gateway is None:
            raise CallerError(f"gateway {gateway_id} is not known")
        return gateway, address

    def forget(self, order_id: bytes) -> None:
        """Nobody watches this order any more."""
        self._watchers.pop(order_id, None)

    # ---- sending --------------------------------------------------------------------------------

    def publish_queued(self) -> None:
        """Send what is queued and not on its way already."""
        now = self._clock.utc_ms()
        for order in self._orders.queued():
            left_s = (order.expires_at - now) // 1000
            if order.order_id in self._sending or left_s <= 0:
                continue
            topic = self._sealer.topic(ORDER, order.gateway_id)
            message = Outbound(topic, order.message, left_s)
            if not self._publisher.publish_tracked(message, order.order_id):
                return  # no connection: the next one starts here again, so the order stays
            self._sending.add(order.order_id)
            self._never_sent.discard(order.order_id)

    def published(self, order_id: bytes) -> None:
        """The broker took the order's message."""
        self._sending.discard(order_id)
        row = self._orders.find(order_id)
        if row is not None and row.state == OrderState.QUEUED:
            self._store.begin()
            self._orders.keep_message(order_id, None)
            self._move(row, OrderState.PUBLISHED, self._clock.utc_ms())

    def connection_lost(self) -> None:
        """What was on its way may not have arrived: send it again on the next connection."""
        self._sending.clear()

    # ---- what the gateway tells -----------------------------------------------------------------

    def receive(self, gateway: GatewayRow, receipt: Receipt, now: int) -> None:
        """Store a receipt, once, and move its order."""
        self._store.begin()
        stored = ReceiptRow(
            receipt.state,
            receipt.reason,
            receipt.at,
            receipt.quality,
            json_text([[one.obis.text(), *one.quantity] for one in receipt.readings]),
            json_text([[way, ms, data.hex()] for way, ms, data in receipt.evidence]),
            now,
        )
        if not self._orders.add_receipt(gateway, receipt.counter, receipt.order_id, stored):
            return
        order = self._orders.find(receipt.order_id)
        wanted = (gateway.gateway_id, receipt.counter)
        if order is None or (order.gateway_id, order.counter) != wanted:
            log.warning(
                "receipt_unmatched gateway=%s counter=%d", gateway.gateway_id, receipt.counter
            )
        elif can_follow(order.state, receipt.state) or settles(order.state, receipt.state):
            if order.state == OrderState.QUEUED:
                self._orders.keep_message(order.order_id, None)
            self._move(order, receipt.state, now, receipt.at, receipt.reason)
        else:
            log.info(
                "receipt_late order=%s state=%s is=%s",
                order.order_id.hex(),
                receipt.state,
                order.state,
            )

    def latest(self, gateway: GatewayRow) -> list[tuple[int, str]]:
        """[(counter, state), ...] of the gateway's latest stored receipts."""
        return self._orders.latest_receipts(gateway, RECEIPTS_TOLD_AGAIN)

    def sweep(self) -> None:
        """End the orders whose time and grace are over."""
        now = self._clock.utc_ms()
        for row in self._orders.overdue(now - RECEIPT_GRACE_MS):
            # The gateway may have it, and may have carried it out: then silence is not known.
            is_here = row.order_id in self._never_sent
            end = OrderState.EXPIRED if is_here else OrderState.UNKNOWN
            self._never_sent.discard(row.order_id)
            self._store.begin()
            self._orders.keep_message(row.order_id, None)
            self._sending.discard(row.order_id)
            self._move(row, end, now, None, "no_receipt")

    # ---- news -----------------------------------------------------------------------------------

    def committed(self) -> None:
        """Tell the watchers what is durable now."""
        news, self._news = self._news, []
        for order_id, event in news:
            log.info("order_moved order=%s state=%s", event["order"], event["state"])
            for watcher in self._watchers.get(order_id, ()):
                watcher(event)
            if event["final"]:
                self._watchers.pop(order_id, None)

    def rolled_back(self) -> None:
        """Nothing of it happened."""
        for order_id, event in self._news:
            if event["state"] == OrderState.DRAFT:
                self._watchers.pop(order_id, None)
                self._never_sent.discard(order_id)
        self._news.clear()

    def _move(
        self, row: OrderRow, state: str, at: int, told_at: int | None = None, reason: str = ""
    ) -> None:
        self._orders.move(row.order_id, state, at, told_at, reason)
        self._tell(row, state, at, told_at, reason)

    def _tell(self, row: OrderRow, state: str, at: int, told_at: int | None, reason: str) -> None:
        event = {
            "order": row.order_id.hex(),
            "gateway": row.gateway_id,
            "meter": row.meter_id,
            "obis": row.obis,
            "counter": row.counter,
            "state": state,
            "at": at,
            "told_at": told_at,
            "reason": reason,
            "final": state not in ORDER_STEPS,
        }
        if event["final"]:
            event["readings"], event["evidence"] = self._outcome(row, state)
        self._news.append((row.order_id, event))

    def _outcome(self, row: OrderRow, state: str) -> tuple[list[Any], list[Any]]:
        for receipt in self._orders.receipts(row):
            if receipt.state == state:
                return json.loads(receipt.readings), json.loads(receipt.evidence)
        return [], []
