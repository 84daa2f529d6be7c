"""From a request to a draft: every field checked, the meter found, the rules that need no approval
judged.

* Who asks must have the role that the kind names, and an area that the gateway lies in.
* A cut of a protected meter is not even proposed.
* A request that needs approvals can not be raised if nobody else could give them (threats 5.4).
* The same person's request of the same key gives the same order again; with other content it is an
  error.
"""

import hashlib
import json
import secrets
from typing import Any, NamedTuple

from cloud.orders.office import Office
from cloud.orders.persons import Person, kind_of
from cloud.store.orders import OrderRow
from protocols.envelope.claims import is_count
from protocols.envelope.fields import TEXT_SIZE_MAX
from protocols.errors import CallerError
from protocols.orders.arguments import check_arguments
from protocols.orders.kinds import Effect, OrderKind
from protocols.orders.order import NO_OBIS, ORDER_ID_SIZE, SPAN_MS_MAX
from protocols.orders.states import OrderState
from protocols.topics import is_name

LABEL_SIZE_MAX = 64  # characters of an incident or a key
NO_AREA = ""  # of every gateway, until there is an inventory that knows areas
WINDOW_MS = 86_400_000  # in which an order may begin, unless it is said otherwise
ORDERS_OPEN_MAX = 100_000  # drafts and waiting orders; more is a fault or an attack


class Wanted(NamedTuple):
    """What somebody asks for, without the meter. Times UTC ms; 0: by default."""

    kind: OrderKind
    arguments: tuple[Any, ...]
    reason: str
    incident: str
    valid_from: int
    valid_until: int
    life_ms: int
    assurance: int
    key: str

    @classmethod
    def from_json(cls, request: dict[str, Any]) -> "Wanted":
        """CallerError with one sentence unless every field fits."""
        kind = kind_of(request.get("action"))
        arguments = arguments_of(request.get("arguments", []))
        check_arguments(kind.action, arguments)
        life_s = request.get("life_s", kind.life_s)
        if not is_count(life_s) or not 0 < life_s <= kind.life_s_max:
            raise CallerError(f"life_s must be 1 to {kind.life_s_max} for {kind.action}")
        moments = [request.get(name, 0) for name in ("valid_from", "valid_until")]
        if not all(is_count(one) for one in moments):
            raise CallerError("valid_from and valid_until must be UTC ms")
        assurance = request.get("lower_assurance", False)
        if not isinstance(assurance, bool):
            raise CallerError("lower_assurance must be true or false")
        return cls(
            kind,
            arguments,
            text_of(request, "reason", TEXT_SIZE_MAX),
            text_of(request, "incident", LABEL_SIZE_MAX, is_needed=False),
            moments[0],
            moments[1],
            life_s * 1000,
            int(assurance),
            text_of(request, "key", LABEL_SIZE_MAX, is_needed=False),
        )

    def window(self, now: int) -> tuple[int, int]:
        """The frozen bounds; CallerError unless they lie ahead and are not too wide."""
        valid_from = self.valid_from or now
        ahead = max(WINDOW_MS, 2 * self.life_ms)
        valid_until = self.valid_until or valid_from + ahead
        if not max(valid_from, now) < valid_until <= valid_from + SPAN_MS_MAX:
            raise CallerError(
                "valid_until must lie ahead, after valid_from, and at most 31 days after it"
            )
        return valid_from, valid_until


def text_of(request: dict[str, Any], name: str, most: int, is_needed: bool = True) -> str:
    """A text field of a request; CallerError."""
    value = request.get(name) or ""
    if not isinstance(value, str) or len(value) > most or (is_needed and not value.strip()):
        raise CallerError(f"{name} must be a text of {int(is_needed)} to {most} characters")
    return value


def arguments_of(value: object) -> tuple[Any, ...]:
    """The arguments in JSON: numbers, texts, and bytes as {"hex": ...}; CallerError."""
    if not isinstance(value, list):
        raise CallerError("arguments must be a list")
    found: list[Any] = []
    for one in value:
        if isinstance(one, dict) and set(one) == {"hex"} and isinstance(one["hex"], str):
            try:
                found.append(bytes.fromhex(one["hex"]))
            except ValueError as error:
                raise CallerError('an argument {"hex": ...} must be hexadecimal') from error
        elif isinstance(one, str | int) and not isinstance(one, bool):
            found.append(one)
        else:
            raise CallerError('an argument is a whole number, a text or {"hex": ...}')
    return tuple(found)


def meter_of(request: dict[str, Any], name: str = "meter") -> str:
    """One meter's id; a wildcard or nothing is an error (I25)."""
    return check_meter(request.get(name), name)


def check_meter(value: object, name: str = "meter") -> str:
    """One meter's id; CallerError for a wildcard or nothing."""
    if not isinstance(value, str) or not 0 < len(value.strip()) == len(value) <= TEXT_SIZE_MAX:
        raise CallerError(f"{name} must be a text of 1 to {TEXT_SIZE_MAX} characters")
    if set(value) & set("*?%#+,") or value.lower() == "all":
        raise CallerError(f"{name} = {value!r} is a wildcard; name each meter")
    return value


def gateway_of(request: dict[str, Any], is_needed: bool = False) -> str:
    """A gateway's id, or "" when none is named; CallerError."""
    value = request.get("gateway") or ""
    if not isinstance(value, str) or (value and not is_name(value)) or (is_needed and not value):
        raise CallerError("gateway must be 1 to 32 of a-z, 0-9 and -")
    return value


class Proposals:
    """Makes drafts, in the open transaction."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def propose(self, request: dict[str, Any], person: Person) -> OrderRow:
        """A draft of one order, or the order that this key made before."""
        wanted, meter_id = Wanted.from_json(request), meter_of(request)
        gateway_id = gateway_of(request)
        content = content_of("order", wanted, [meter_id, gateway_id])
        known = self.known(person.party, wanted, content)
        if known is not None:
            return self._office.order(known)
        person.check_kind(wanted.kind)
        self.check_approvers(wanted.kind, person.party)
        row = self.draft(wanted, meter_id, gateway_id, person.party)
        person.check_area(row.area)
        self.keep_key(person.party, wanted, content, row.order_id)
        return row

    def known(self, party: str, wanted: Wanted, content: bytes) -> bytes | None:
        """What the same request made before; CallerError when it was another one."""
        found = self._office.papers.key(party, wanted.key) if wanted.key else None
        if found is None:
            return None
        if found[0] != content:
            raise CallerError(f"key {wanted.key!r} was used for another request")
        return found[1]

    def keep_key(self, party: str, wanted: Wanted, content: bytes, made_id: bytes) -> None:
        """The next request of this key gives the same."""
        if wanted.key:
            self._office.papers.add_key(party, wanted.key, content, made_id)

    def draft(
        self,
        wanted: Wanted,
        meter_id: str,
        gateway_id: str,
        party: str,
        batch_id: bytes | None = None,
    ) -> OrderRow:
        """One order in its first state. CallerError."""
        office, kind = self._office, wanted.kind
        gateway_id, address = self.target(meter_id, gateway_id)
        if kind.effect == Effect.CUTS:
            self.check_protected(meter_id)
        now = office.clock.utc_ms()
        valid_from, valid_until = wanted.window(now)
        row = OrderRow(
            secrets.token_bytes(ORDER_ID_SIZE),
            gateway_id,
            meter_id,
            address,
            kind.action,
            NO_OBIS.text(),
            office.orders.draft_counter(gateway_id),
            OrderState.DRAFT,
            now,
            valid_until,
            kind.effect,
            kind.family,
            office.provider.encode(list(wanted.arguments)),
            wanted.assurance,
            party,
            wanted.reason,
            wanted.incident,
            batch_id,
            NO_AREA,
            0,
            valid_from,
            valid_until,
            wanted.life_ms,
        )
        return office.life.start(row)

    def target(self, meter_id: str, gateway_id: str) -> tuple[str, str]:
        """(gateway, address) of a meter; CallerError unless exactly one gateway announces it."""
        found = dict(self._office.store.announcers(meter_id))
        if gateway_id:
            found = {name: found[name] for name in found if name == gateway_id}
        if not found:
            by = f"gateway {gateway_id} has not" if gateway_id else "no gateway has"
            raise CallerError(f"{by} announced meter {meter_id!r}")
        if len(found) > 1:
            names = ", ".join(sorted(found))
            raise CallerError(f"meter {meter_id!r} is announced by {names}; name one of them")
        return next(iter(found.items()))

    def check_protected(self, meter_id: str) -> None:
        """CallerError when the meter is never to be cut."""
        flags = self._office.never_cut.flags(meter_id)
        if flags:
            raise CallerError(
                f"protected: meter {meter_id!r} is never to be cut ({', '.join(flags)})"
            )

    def check_approvers(self, kind: OrderKind, party: str) -> None:
        """CallerError unless enough other people could approve."""
        names = self._office.approvers.names(self._office.clock.utc_ms())
        others = [name for name in names if name != party]
        if len(others) < kind.approvals:
            raise CallerError(
                f"{kind.action} takes {kind.approvals} approvals by others than {party}; only"
                f" {len(others)} could give one"
            )


def content_of(what: str, wanted: Wanted, more: list[str]) -> bytes:
    """SHA-256 of a request, to know it again."""
    arguments = [["hex", one.hex()] if isinstance(one, bytes) else one for one in wanted.arguments]
    fields = [what, wanted.kind.action, arguments, *wanted[2:8], more]
    return hashlib.sha256(json.dumps(fields).encode()).digest()
