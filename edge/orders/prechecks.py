"""The last look before a write: a table of rules over the order, what was found at the meter, and
what the gateway knows. Each gives a code of REFUSALS, or "".

The order of the rows is the order in which a refusal is named: first what makes the order void,
then what the meter showed, then who permits, then the calendar, then the ceilings.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from edge.journal.counters import MeterCounters
from edge.journal.store import Journal
from edge.meters.control import Contact
from edge.orders.ceilings import Ceilings
from edge.orders.credentials import RefusedCredentials
from edge.orders.found import Found
from edge.orders.hours import forbidden
from edge.orders.records import Records
from edge.orders.refused import Refused
from edge.orders.standing import Standing
from edge.orders.stops import Stops
from edge.timekeeping import Moment
from protocols.messages import Action, Order
from protocols.orders.kinds import Effect, Family

ALL = (Effect.CUTS, Effect.RESTORES, Effect.CHANGES)
CUTS = (Effect.CUTS,)
RESTORES = (Effect.RESTORES,)
RECORDED = (Effect.CUTS, Effect.CHANGES)  # what is not begun while the record can not be written


class Known(NamedTuple):
    """What the gateway knows; `settings` are those of [orders], `protected` the meters that the
    settings protect, `addresses` those of all its meters."""

    settings: Callable[[], dict[str, Any]]
    protected: Callable[[], frozenset[str]]
    addresses: dict[str, str]
    journal: Journal
    records: Records
    standing: Standing
    stops: Stops
    counters: MeterCounters
    ceilings: Ceilings
    refused_credentials: RefusedCredentials
    refused: Refused


class Case(NamedTuple):
    """One order at one moment. `deadline` is boot ms, `epoch` that of the journal in which it was
    taken up."""

    order: Order
    found: Found
    moment: Moment
    issued_at: int
    expires_at: int
    deadline: int
    epoch: bytes
    known: Known


Rule = Callable[[Case], bool | str]
Rules = tuple[tuple[tuple[str, ...], str, Rule], ...]


def refusal_of(case: Case) -> str:
    """The first code that applies, or ""."""
    return _first(PRECHECKS, case)


def voided_by(case: Case) -> str:
    """The same of the rules that hold up to the last byte."""
    return _first(STANDING_RULES, case)


def _first(rules: Rules, case: Case) -> str:
    effect = case.order.kind.effect
    for effects, code, rule in rules:
        found = effect in effects and rule(case)
        if found:
            return found if isinstance(found, str) else code
    return ""


def _is_over(case: Case) -> bool:
    return case.moment.boot_ms > case.deadline


def _is_over_by_utc(case: Case) -> bool:
    return case.moment.utc_ms > case.expires_at


def _is_stopped(case: Case) -> bool:
    return case.known.stops.is_stopped(case.order, case.issued_at)


def _is_of_another_journal(case: Case) -> bool:
    """Its row is gone, and with it the proof that it was durable."""
    return case.known.journal.epoch != case.epoch


def _has_moved(case: Case) -> bool:
    """The meter of that name is another one by now: the settings changed while it waited."""
    return bool(case.known.addresses.get(case.order.meter_id) != case.order.meter_address)


def _is_superseded(case: Case) -> bool:
    """A newer order about the supply of the meter was taken up meanwhile."""
    family, terms = case.order.kind.family, case.order.terms
    if family != Family.SUPPLY:
        return False
    mark = case.known.counters.value(terms.originator, case.order.meter_id, family)
    return bool(mark > terms.meter_counter)


def _is_somebody_else(case: Case) -> bool:
    """Restores go on where nothing can be compared; cuts do not, where the meter could tell."""
    found = case.found
    if found.is_identified is None:
        return case.order.kind.effect == Effect.CUTS and found.is_trustworthy
    return not found.is_identified


def _is_locked(case: Case) -> bool:
    found, known = case.found, case.known
    return bool(found.credential) and known.refused_credentials.is_locked(
        case.order.meter_id, found.credential, found.credential_mark
    )


def _is_unprovable(case: Case) -> bool:
    """Both the installer and the order must accept a meter that can not prove the effect."""
    accepts = case.known.settings()["allow_lower_assurance"] and case.order.terms.assurance
    return not case.found.is_trustworthy and not accepts


def _is_protected(case: Case) -> bool:
    meter_id, known = case.order.meter_id, case.known
    return meter_id in known.protected() or known.standing.is_protected(meter_id)


def _is_kept_on(case: Case) -> bool:
    """Keep-power, read from the meter: only lifting it may meet it."""
    if case.order.action == Action.KEEP_POWER_OFF:
        return False
    found = case.found
    return found.is_trustworthy if found.keep_power is None else found.keep_power


def _would_cut_itself(case: Case) -> bool:
    """Lifting keep-power of an overdrawn purse in the meter opens the contact at once; what can not
    be told counts as overdrawn."""
    found = case.found
    if case.order.action != Action.KEEP_POWER_OFF:
        return False
    return found.account == "local" and found.is_overdrawn is not False


def _is_open_already(case: Case) -> bool:
    is_disconnect = case.order.action == Action.DISCONNECT
    return is_disconnect and case.found.contact == Contact.DISCONNECTED


def _is_calendar_against(case: Case) -> str:
    known = case.known
    policy = known.standing.policy
    if policy is None:
        return "no-policy"
    return forbidden(case.moment.utc_ms, known.settings(), policy)


# effects, code ("": the rule gives it), rule. What may change between the look and the last byte.
STANDING_RULES: Rules = (
    (ALL, "expired", _is_over),
    (CUTS, "expired", _is_over_by_utc),
    (ALL, "stopped", _is_stopped),
    (ALL, "restarted", _is_of_another_journal),
    (ALL, "wrong-address", _has_moved),
    (ALL, "lower-counter", _is_superseded),
    (CUTS, "", lambda case: case.known.standing.lease_code(case.moment)),
)
PRECHECKS: Rules = (
    *STANDING_RULES,
    (ALL, "identity", _is_somebody_else),
    (ALL, "credential-locked", _is_locked),
    (CUTS, "already-open", _is_open_already),
    (CUTS, "not-allowed", lambda case: not case.known.settings()["allow_cuts"]),
    (CUTS, "assurance", _is_unprovable),
    (CUTS, "protected", _is_protected),
    (CUTS, "keep-power", _is_kept_on),
    (CUTS, "local-account-overdrawn", _would_cut_itself),
    (RESTORES, "load-voltage", lambda case: case.order.action == Action.CONNECT
        and bool(case.found.has_load_voltage)),
    (CUTS, "clock-untrusted", lambda case: not case.known.standing.is_time_good(case.moment)),
    (CUTS, "", _is_calendar_against),
    (RECORDED, "audit-unavailable", lambda case: not case.known.records.is_writable),
    (RESTORES, "audit-unavailable", lambda case: case.known.records.is_full),
    (ALL, "", lambda case: case.known.ceilings.refuse(
        case.order, case.known.settings(), len(case.known.addresses))),
)  # fmt: skip
