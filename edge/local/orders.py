"""What a person at the gateway may ask about orders: the last ones, how things stand, and to let a
refused credential be tried again. Nothing here moves a relay, nor permits it."""

import sqlite3
from typing import Any

from edge.local.lines import FAILED, ORDERS_MAX, WRONG, RequestError
from edge.local.server import Answers
from edge.orders.desk import OrderDesk


def listed(desk: OrderDesk, asked: dict[str, Any]) -> Answers:
    """The last orders, the latest first, and the figures."""
    limit = asked.get("limit", ORDERS_MAX)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= ORDERS_MAX:
        raise RequestError(f"limit must be a whole number from 1 to {ORDERS_MAX}", WRONG)
    try:
        yield {"orders": desk.listed(limit), **desk.figures()}
    except sqlite3.Error as error:
        raise RequestError(f"the journal can not be read now ({error})", FAILED) from error


def unlocked(desk: OrderDesk, asked: dict[str, Any]) -> Answers:
    """The credentials of a meter that may be tried again."""
    meter_id = asked.get("meter")
    names = desk.unlock(meter_id) if isinstance(meter_id, str) else []
    if not names:
        raise RequestError(f"meter {meter_id!r} has no credential that was refused", WRONG)
    yield {"meter": meter_id, "unlocked": names}
