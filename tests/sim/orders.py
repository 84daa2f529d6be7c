"""The orders of a world: given, followed, and judged.

Each asks one meter for a quantity that nobody else asks it for, so the line itself tells how often
an order was carried out, and where: never by another gateway, whose meters have the same addresses.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from protocols.dlt645.deframer import Deframer
from protocols.dlt645.identifiers import (
    EDITION_1997,
    EDITION_2007,
    identifier_bytes,
    identifier_of,
)
from protocols.messages import ORDER_STEPS, OrderState, settles
from protocols.obis import Obis
from tests.sim.clock import UTC_MS
from tests.sim.equipment import ORDERED, Gateway, Meter
from tests.sim.rows import BrokenError, exact
from tests.sim.scheduler import MS, Scheduler
from tests.sim.truth import Truth

_Asked = tuple[str, str, str, bytes]  # gateway, line's port, address, identifier


def _identifier(obis: str, edition: int) -> bytes:
    """b"" when that edition has none."""
    code = identifier_of(Obis.from_text(obis), edition)
    return bytes(identifier_bytes(code)) if code else b""


_ORDERED = {
    _identifier(obis, edition) for obis in ORDERED for edition in (EDITION_2007, EDITION_1997)
} - {b""}


class _Order:
    """One order of the world."""

    def __init__(self, gateway: Gateway, meter: Meter, obis: str, given_ms: int) -> None:
        self.meter_id = meter.meter_id
        self.obis = obis
        self.given_ms = given_ms
        edition = EDITION_1997 if meter.edition == "1997" else EDITION_2007
        line = gateway.lines[meter.line]
        self.times_max = 1 + int(line.settings["retries"])
        self.request: _Asked = (
            gateway.gateway_id,
            line.port,
            meter.address,
            _identifier(obis, edition),
        )
        self.order_id = ""
        self.states: list[str] = []

    @property
    def state(self) -> str:
        """Where it stands."""
        return self.states[-1] if self.states else ""


class Orders:
    """All orders, to all gateways."""

    def __init__(
        self,
        scheduler: Scheduler,
        marks: Counter[str],
        note: Callable[..., None],
        truth: Truth,
    ) -> None:
        self._scheduler = scheduler
        self._marks = marks
        self._note = note
        self._truth = truth
        self.heard: Callable[[str], None] = lambda gateway: None  # its meter is asked for an order
        self._orders: list[_Order] = []
        self._asked: Counter[_Asked] = Counter()

    def give(
        self,
        request: Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], bool],
        gateway: Gateway,
        meter: Meter,
        obis: str,
        valid_s: int,
    ) -> None:
        """An operator asks the head end."""
        order = _Order(gateway, meter, obis, UTC_MS + self._scheduler.now_ns // MS)
        body = {"op": "order_read", "meter": meter.meter_id, "obis": obis, "valid_s": valid_s}
        if request(body, lambda event: self._hear(order, event)):
            self._orders.append(order)
            self._note("order_given", meter.meter_id, obis, valid_s)

    def hear_request(self, gateway_id: str, port: str, data: bytes) -> None:
        """A burst of a gateway on one of its lines."""
        for frame in Deframer().feed(data):
            if bytes(frame.data) in _ORDERED:
                self._count((gateway_id, port, frame.address, bytes(frame.data)))

    def _count(self, key: _Asked) -> None:
        order = next((one for one in self._orders if one.request == key), None)
        if order is None:
            raise BrokenError(f"{key[0]} asks meter {key[2]} what nobody ordered from it")
        self._asked[key] += 1
        self.heard(key[0])
        if self._asked[key] > order.times_max:
            raise BrokenError(
                f"the order for {order.obis} of {order.meter_id} was carried out twice"
            )

    def _hear(self, order: _Order, event: dict[str, Any]) -> None:
        if "error" in event:
            order.states.append("not accepted")
            return
        order.order_id = event["order"]
        self._follow(order, event["state"], event.get("readings", []))

    def _follow(self, order: _Order, state: str, readings: list[Any]) -> None:
        if order.state == state:
            return
        if order.state and order.state not in ORDER_STEPS and not settles(order.state, state):
            raise BrokenError(f"an order was {order.state}, and then {state}")
        order.states.append(state)
        self._note("order", order.meter_id, order.obis, state)
        if state == OrderState.DONE:
            self._check_done(order, readings)
        if state in (OrderState.EXPIRED, OrderState.REFUSED) and self._asked[order.request]:
            raise BrokenError(f"an order is {state}, and was carried out")

    def _check_done(self, order: _Order, readings: list[Any]) -> None:
        for obis, value, scaler, unit, _ in readings:
            shown = exact(value, scaler)
            if not self._truth.was_shown(order.meter_id, obis, shown, unit, order.given_ms):
                raise BrokenError(f"an order's answer {obis} = {value}e{scaler} was never shown")
        if not self._asked[order.request]:
            raise BrokenError("an order is done, and nobody asked the meter")

    def are_open(self, final_of: Callable[[str], tuple[str, list[Any]] | None]) -> bool:
        """Whether one has no end yet."""
        found = [final_of(order.order_id) for order in self._orders if order.order_id]
        return any(one is not None and one[0] in ORDER_STEPS for one in found)

    def check_end(self, final_of: Callable[[str], tuple[str, list[Any]] | None]) -> None:
        """Each has one end; `final_of(order)` is what the head end's store says of it."""
        for order in self._orders:
            if not order.order_id:
                continue  # refused, or lost with the head end before it was stored
            found = final_of(order.order_id)
            if found is None:
                if order.states != [""]:
                    raise BrokenError("an order that was told of is not stored")
                continue
            state, readings = found
            self._follow(order, state, readings)
            if state in ORDER_STEPS:
                raise BrokenError(f"an order is still {state} in the end")
            self._marks[f"order_{state}"] += 1
            if order.request[0] != self._orders[0].request[0]:
                self._marks["order_to_another_gateway"] += 1
