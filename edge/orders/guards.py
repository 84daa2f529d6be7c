"""The guards of an order that opened: one table, run from the top, each a small function.

* AUTHORITY says whether this very order was asked for, agreed to and meant for this gateway. What
  passes it uses up its counter, whatever comes of it.
* PERMISSION says whether it may run here and now.
* A guard gives the reason of the refusal, `code: words`, or "". It asks nobody on the line: what
  the meter says is judged later, just before the write (`prechecks.py`).
"""

from collections.abc import Callable
from typing import NamedTuple

from edge.journal.counters import MeterCounters
from edge.orders.backfill_job import check_span
from edge.orders.standing import Standing
from edge.orders.stops import Stops
from protocols.envelope.claims import Claims, check_order
from protocols.envelope.keys import KeySet
from protocols.envelope.suites import Provider
from protocols.errors import CallerError, EnvelopeError
from protocols.messages import Action, Order, check_target
from protocols.orders.approvals import check_approvals
from protocols.orders.kinds import Effect, Family, Role
from protocols.orders.order import RULE, check_claims
from protocols.orders.refusals import refusal


class Facts(NamedTuple):
    """What the guards know: `now` trusted UTC ms or 0, `address` of the order's meter here or None,
    `epoch` of the journal, the ages of this boot's nonces in ms."""

    tenant: str
    gateway_id: str
    provider: Provider
    trusted: KeySet
    now: int
    is_in_doubt: bool
    nonce_ages: dict[bytes, int]
    epoch: bytes
    address: str | None
    standing: Standing
    stops: Stops
    counters: MeterCounters


class Asked(NamedTuple):
    """An order with the claims of its message, and what the gateway knows."""

    order: Order
    claims: Claims
    facts: Facts


Guard = Callable[[Asked], str]


def judge(guards: tuple[Guard, ...], asked: Asked) -> str:
    """The first refusal, or ""."""
    for guard in guards:
        reason = guard(asked)
        if reason:
            return reason
    return ""


def _journal(asked: Asked) -> str:
    return refusal("epoch") if asked.claims.epoch != asked.facts.epoch else ""


def _meter(asked: Asked) -> str:
    if asked.facts.address is None:
        return refusal("unknown-meter")
    try:
        check_target(asked.order, asked.facts.address)
    except CallerError as error:
        return refusal("wrong-address", str(error))
    return ""


def _time(asked: Asked) -> str:
    """Not-before and expiry by trusted time, or the age of a nonce of this boot."""
    try:
        # The counter was judged by whoever raised its mark.
        check_order(
            asked.claims, asked.claims.sequence - 1, asked.facts.now, asked.facts.nonce_ages
        )
    except EnvelopeError as error:
        return refusal(error.reason.replace("_", "-"))
    return ""


def _terms(asked: Asked) -> str:
    try:
        check_claims(asked.order, asked.claims)
    except EnvelopeError as error:
        return refusal(error.reason.replace("_", "-"))
    return ""


def _span(asked: Asked) -> str:
    if asked.order.action != Action.BACKFILL:
        return ""
    try:
        check_span(asked.order)
    except CallerError as error:
        return refusal("schema", str(error))
    return ""


def _requester(asked: Asked) -> str:
    """Of the roles only that of a rule shows in an order; people's are the head end's to check."""
    is_rule = asked.order.terms.requested_by.startswith(RULE)
    if is_rule and Role.AUTOMATION not in asked.order.kind.requesters:
        return refusal("not-allowed", "no rule may ask for it")
    return ""


def _approvals(asked: Asked) -> str:
    if asked.order.kind.is_plain():
        return ""
    try:
        check_approvals(
            asked.facts.provider,
            asked.facts.trusted,
            asked.facts.tenant,
            asked.facts.gateway_id,
            asked.order,
            asked.facts.now,
        )
    except EnvelopeError as error:
        return refusal(error.reason.replace("_", "-"))
    return ""


def _counter(asked: Asked) -> str:
    """I13: strictly above every one before of (originator, meter, family)."""
    family, terms = asked.order.kind.family, asked.order.terms
    if family == Family.NONE:
        return ""
    mark = asked.facts.counters.value(terms.originator, asked.order.meter_id, family)
    return refusal("lower-counter") if terms.meter_counter <= mark else ""


def _policy(asked: Asked) -> str:
    """A gateway that came up observes only, until the head end's policy answers it (I19)."""
    if asked.order.kind.effect == Effect.READS or asked.facts.standing.is_attested:
        return ""
    return refusal("no-policy")


def _trusted_time(asked: Asked) -> str:
    """A nonce of this boot lets a restore in, never a cut (I11)."""
    needs_time = asked.order.kind.effect == Effect.CUTS or asked.order.action == Action.SET_CLOCK
    is_good = asked.facts.now > 0 and not asked.facts.is_in_doubt
    return refusal("clock-untrusted") if needs_time and not is_good else ""


def _stopped(asked: Asked) -> str:
    return (
        refusal("stopped")
        if asked.facts.stops.is_stopped(asked.order, asked.claims.issued_at)
        else ""
    )


AUTHORITY: tuple[Guard, ...] = (
    _journal,
    _meter,
    _time,
    _terms,
    _span,
    _requester,
    _approvals,
    _counter,
)
PERMISSION: tuple[Guard, ...] = (_policy, _trusted_time, _stopped)
