"""Why a meter may be cut: the seam to the billing engine (I6 to I10).

The order path asks twice, when an order is frozen and again when it is dispatched: "may this meter
be cut?", and "is its account what it was?". Whoever answers later from bills, notices and baselines
takes the place of `PeopleAnswer` and changes nothing else.
"""

import sqlite3
from typing import NamedTuple, Protocol

from cloud.store import sql_orders as sql
from protocols.orders.order import RULE


class Decision(NamedTuple):
    """`may_cut`, or hold. `basis` says in words what it rests on; it goes into the audit log."""

    may_cut: bool
    basis: str


class Debt(Protocol):
    """Who knows what a consumer owes."""

    def decide(self, meter_id: str, requested_by: str, now: int) -> Decision:
        """Whether the meter may be cut for debt at `now` (UTC ms). A link of the evidence that is
        missing, old or failed means hold."""


class AccountState(Protocol):
    """Who knows whether an account has changed."""

    def state(self, meter_id: str) -> str:
        """A text that differs whenever a payment, an adjustment or a flag came in between."""


class PeopleAnswer:
    """The decision without a billing engine, marked as such: there is no evidence of debt here. The
    people who ask and approve answer for it, so what no person asked for is held."""

    BASIS = "stub: no billing engine; the people who asked and approved answer for the debt"

    def decide(self, meter_id: str, requested_by: str, now: int) -> Decision:
        """As above."""
        if requested_by.startswith(RULE):
            return Decision(False, "stub: no billing engine, so no rule may cut")
        return Decision(True, self.BASIS)


class ToldChanges:
    """The state of an account as far as the head end was told of changes (`account_changed`)."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def state(self, meter_id: str) -> str:
        """The number of the last change."""
        return str(self._db.execute(sql.SELECT_LAST_CHANGE, (meter_id,)).fetchone()[0])
