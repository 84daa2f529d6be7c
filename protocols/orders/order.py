"""An order: one message for one meter, in one form.

* A read and a backfill are short: [1, order id, action, meter, address, OBIS] and the arguments of
  a backfill.
* Every other kind ends [..., arguments, terms, approvals], and its OBIS is NO_OBIS. All of it but
  the approvals is frozen before anybody approves: `approvals.py`.
* The counter, not-before (`issued_at`) and expiry of a delivery are the message's signed claims;
  the terms are the outer bounds that people approved, and `check_claims` holds the one within the
  other.

Pure: the caller brings the time.
"""

from collections import namedtuple

from protocols.dlt645.frame import is_meter_address
from protocols.envelope.claims import Claims, is_count
from protocols.envelope.fields import (
    TEXT_SIZE_MAX,
    fields_of,
    is_bytes,
    is_text,
    is_within,
    require,
    rows_of,
)
from protocols.errors import CallerError, EnvelopeError
from protocols.obis import Obis
from protocols.orders.arguments import (
    ARGUMENT_MAX,
    ARGUMENTS_MAX,
    BODY_SIZE_MAX,
    check_arguments,
)
from protocols.orders.kinds import ORDER_KINDS, Family, OrderKind
from protocols.topics import is_name

VERSION = 1
ORDER_ID_SIZE = 16
SELECTION_SIZE = 32  # of the hash of a frozen batch
SIGNATURE_SIZE = 64  # ESP256
KID_SIZE = 8
APPROVALS_MAX = 8
SPAN_MS_MAX = 31 * 86_400_000  # from valid_from to valid_until
PERSON = "person:"
RULE = "automation:"
NO_OBIS = Obis(0, 0, 0, 0, 0, 0)  # of an order that asks for no quantity


class Terms(
    namedtuple(
        "Terms",
        (
            "originator",
            "meter_counter",
            "requested_by",
            "requested_at",
            "reason",
            "valid_from",
            "valid_until",
            "life_ms",
            "selection",
            "assurance",
        ),
    )
):
    """What is frozen with an order.

    `originator` who keeps the counter ("head-end"), `meter_counter` the counter of (originator,
    meter, family), 0 for a kind without a family; `requested_by` "person:NAME" or
    "automation:NAME", `requested_at` UTC ms, `reason` words for a person; `valid_from` and
    `valid_until` UTC ms, the outer bounds; `life_ms` how long it lives after not-before;
    `selection` b"" or the SHA-256 of the frozen batch; `assurance` 1: a meter that can not prove
    the effect by two observations is accepted, 0: it is not.
    """

    def to_row(self) -> list:
        """The array on the wire."""
        return list(self)

    @classmethod
    def from_row(cls, row: object, kind: OrderKind) -> "Terms":
        """EnvelopeError("schema") unless every field fits the kind."""
        require(isinstance(row, list) and len(row) == 10)
        terms = cls(*row)  # type: ignore[misc]
        require(isinstance(terms.originator, str) and is_name(terms.originator))
        require(is_count(terms.meter_counter))
        require((terms.meter_counter > 0) == (kind.family != Family.NONE))
        require(is_party(terms.requested_by) and is_text(terms.reason))
        times = (terms.requested_at, terms.valid_from, terms.valid_until, terms.life_ms)
        require(all(is_count(one) and one > 0 for one in times))
        require(0 < terms.valid_until - terms.valid_from <= SPAN_MS_MAX)
        require(terms.requested_at < terms.valid_until)
        require(terms.life_ms <= kind.life_s_max * 1000)
        require(terms.selection == b"" or is_bytes(terms.selection, SELECTION_SIZE))
        require(isinstance(terms.selection, bytes))
        require(is_count(terms.assurance) and terms.assurance <= 1)
        return terms


NO_TERMS = Terms("", 0, "", 0, "", 0, 0, 0, b"", 0)  # of a short order


class Approval(namedtuple("Approval", ("approver", "kid", "at", "signature"))):
    """One person's signature over the digest of an order: `approver` "person:NAME", `kid` the name
    of the key, `at` UTC ms."""

    def to_row(self) -> list:
        """The array on the wire."""
        return list(self)

    @classmethod
    def from_row(cls, row: list) -> "Approval":
        """EnvelopeError("schema") unless every field fits."""
        approver, kid, at, signature = row
        require(is_person(approver) and is_bytes(kid, KID_SIZE))
        require(is_count(at) and at > 0 and is_bytes(signature, SIGNATURE_SIZE))
        return cls(approver, kid, at, signature)


class Order(
    namedtuple(
        "Order",
        (
            "order_id",
            "action",
            "meter_id",
            "meter_address",
            "obis",
            "arguments",
            "terms",
            "approvals",
        ),
    )
):
    """One order for one meter. `meter_address` is what the head end believes; a gateway that has
    another one refuses. `arguments`: a tuple as `arguments.py` says; `terms` a Terms, NO_TERMS of
    a short order; `approvals` a tuple of Approval."""

    @property
    def kind(self) -> OrderKind:
        """The row of its kind."""
        kind: OrderKind = ORDER_KINDS[self.action]
        return kind

    def to_body(self) -> list:
        """The array on the wire."""
        body = self.frozen()
        if not self.kind.is_plain():
            body.append([one.to_row() for one in self.approvals])
        return body

    def frozen(self) -> list:
        """What is approved: the body without the approvals."""
        body = [
            VERSION,
            self.order_id,
            self.action,
            self.meter_id,
            self.meter_address,
            self.obis.to_bytes(),
        ]
        if self.kind.is_plain():
            return body + ([list(self.arguments)] if self.arguments else [])
        return body + [list(self.arguments), self.terms.to_row()]

    @classmethod
    def from_body(cls, body: object) -> "Order":
        """EnvelopeError("schema") unless every field fits, the arguments to the action too."""
        found = fields_of(body, VERSION, 5, 8)
        order_id, action, meter_id, address, obis = found[:5]
        require(is_bytes(order_id, ORDER_ID_SIZE))
        require(isinstance(action, str) and action in ORDER_KINDS)
        require(is_text(meter_id) and is_text(address) and is_bytes(obis, 6))
        kind, code = ORDER_KINDS[action], Obis.from_bytes(obis)
        if kind.is_plain():
            return cls(order_id, action, meter_id, address, code, *_short(action, found[5:]))
        require(len(found) == 8 and code == NO_OBIS and isinstance(found[5], list))
        arguments = _arguments(action, found[5])
        terms = Terms.from_row(found[6], kind)
        rows = rows_of(found[7], 0, APPROVALS_MAX, 4)
        approvals = tuple([Approval.from_row(row) for row in rows])
        return cls(order_id, action, meter_id, address, code, arguments, terms, approvals)


def _short(action: str, found: list) -> tuple:
    """(arguments, terms, approvals) of a short order. None are not sent as none, so that an order
    has one form."""
    require(len(found) <= 1)
    if found:
        require(isinstance(found[0], list) and len(found[0]) > 0)
    return _arguments(action, found[0] if found else []), NO_TERMS, ()


def _arguments(action: str, values: list) -> tuple:
    require(len(values) <= ARGUMENTS_MAX)
    for one in values:
        is_short = isinstance(one, str) and len(one) <= TEXT_SIZE_MAX
        is_body = isinstance(one, bytes) and len(one) <= BODY_SIZE_MAX
        require(is_short or is_body or is_within(one, ARGUMENT_MAX))
    try:
        check_arguments(action, tuple(values))
    except CallerError as error:
        raise EnvelopeError("schema", str(error)) from error
    return tuple(values)


def is_person(value: object) -> bool:
    """Whether `value` names a person: "person:" and 1..32 of a-z, 0-9 and -."""
    return isinstance(value, str) and value.startswith(PERSON) and is_name(value[len(PERSON) :])


def is_party(value: object) -> bool:
    """Whether `value` may ask for an order: a person, or "automation:" and a name."""
    if is_person(value):
        return True
    return isinstance(value, str) and value.startswith(RULE) and is_name(value[len(RULE) :])


def check_target(order: Order, meter_address: str) -> None:
    """CallerError unless the order's address is the one that this gateway has for the meter, and a
    12-digit one names a single meter (I20)."""
    if order.meter_address != meter_address:
        raise CallerError("the meter's address is another one here")
    if len(meter_address) == 12 and not is_meter_address(meter_address):
        raise CallerError("the address does not name one meter")


def check_claims(order: Order, claims: Claims) -> None:
    """EnvelopeError("terms") unless the delivery lives within the frozen terms: it begins at
    valid_from or later, and ends by valid_until and within the life (I14)."""
    if order.kind.is_plain():
        return
    terms = order.terms
    latest = min(terms.valid_until, claims.issued_at + terms.life_ms)
    if claims.issued_at < terms.valid_from or not claims.issued_at < claims.expires_at <= latest:
        raise EnvelopeError("terms", "the delivery is not within the frozen terms")
