"""What each operation takes, field by field: nothing else, nothing converted, all of it bounded."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from protocols.envelope.fields import TEXT_SIZE_MAX
from protocols.orders.kinds import ACTIONS
from protocols.orders.states import ORDER_STATES

TIME_MAX = 253_402_300_799_999  # ms: the end of year 9999
NUMBER_MAX = (1 << 63) - 1  # what the database holds
ARGUMENTS_MAX = 80
ARGUMENT_HEX_MAX = 600  # hex digits of 300 bytes
ORDERS_STOPPED_MAX = 256
BATCH_METERS_MAX = 2000
APPROVALS_MAX = 1000
PAGE_MAX = 500
LIFE_S_MAX = 7 * 24 * 3600

# No control, no mark that turns the direction: a reason is shown on terminals, and signed for.
_PRINTABLE = r"^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$"


def _text(size_max: int, size_min: int = 1) -> StringConstraints:
    return StringConstraints(min_length=size_min, max_length=size_max, pattern=_PRINTABLE)


Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
IdPrefix = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4,32}$")]
Kid = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
Gateway = Annotated[str, StringConstraints(pattern=r"^[0-9a-z][0-9a-z-]{0,31}$")]
Meter = Annotated[str, _text(TEXT_SIZE_MAX)]
Reason = Annotated[str, _text(200)]
Incident = Annotated[str, _text(64)]
Note = Annotated[str, _text(200, 0)]
Time = Annotated[int, Field(ge=0, le=TIME_MAX)]
Action = Literal[ACTIONS]  # type: ignore[valid-type]
State = Literal[ORDER_STATES]  # type: ignore[valid-type]


class Strict(BaseModel):
    """A JSON body: what is not here is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Asked(BaseModel):
    """The fields of a query: texts by nature, so they are converted; no others are taken."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class HexBytes(Strict):
    """Bytes among arguments."""

    hex: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})*$", max_length=ARGUMENT_HEX_MAX)]


Argument = (
    Annotated[int, Field(ge=-NUMBER_MAX, le=NUMBER_MAX)] | Annotated[str, _text(80, 0)] | HexBytes
)
Arguments = Annotated[list[Argument], Field(max_length=ARGUMENTS_MAX)]


class Nothing(Strict):
    """No field at all."""


class _Wanted(Strict):
    action: Action
    reason: Reason
    arguments: Arguments = []
    incident: Incident | None = None
    valid_from: Time | None = None
    valid_until: Time | None = None
    life_s: Annotated[int, Field(ge=1, le=LIFE_S_MAX)] | None = None
    lower_assurance: bool = False


class Propose(_Wanted):
    """One order."""

    meter: Meter
    gateway: Gateway | None = None
    obis: Annotated[str, _text(32)] | None = None
    submit: bool = False


class ProposeBatch(_Wanted):
    """One action for several meters, named one by one, or all of a gateway."""

    meters: Annotated[list[Meter], Field(min_length=1, max_length=BATCH_METERS_MAX)] | None = None
    gateway: Gateway | None = None


class Selection(Strict):
    """The whole new selection of a batch."""

    meters: Annotated[list[Meter], Field(min_length=1, max_length=BATCH_METERS_MAX)]


class Approve(Strict):
    """An approver's signature."""

    kid: Kid
    at: Time
    signature: Signature


class ApproveOne(Approve):
    """Of one order of a batch."""

    order: Id


class ApproveBatch(Strict):
    """Several signatures; repeat until every order has one."""

    approvals: Annotated[list[ApproveOne], Field(min_length=1, max_length=APPROVALS_MAX)]


class Why(Strict):
    """A reason."""

    reason: Reason


class StopOrders(Why):
    """Exactly one of the three."""

    orders: Annotated[list[Id], Field(min_length=1, max_length=ORDERS_STOPPED_MAX)] | None = None
    incident: Incident | None = None
    all_cuts: bool | None = None


class Undo(Why):
    """A label of orders, or a batch's id."""

    incident: Incident


class NeverCut(Strict):
    """A typed flag: no free text is read to decide."""

    meter: Meter
    flag: Literal["medical", "important-user", "life-support", "dispute", "other-by-law"]
    note: Note | None = None
    review_at: Time | None = None


class AccountChange(Strict):
    """What became of the account; `reference` makes a repetition harmless."""

    change: Literal["paid", "flag"]
    reference: Annotated[str, _text(64)]
    note: Note | None = None


class OrdersAsked(Asked):
    """Which orders."""

    state: State | None = None
    meter: Meter | None = None
    gateway: Gateway | None = None
    batch: Id | None = None
    incident: Incident | None = None
    action: Action | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 50
    before: Time | None = None


class PageAsked(Asked):
    """Which of a batch's orders."""

    offset: Annotated[int, Field(ge=0, le=BATCH_METERS_MAX)] = 0
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 50


class NeverCutAsked(Asked):
    """Which entries; `all` with those that were removed."""

    meter: Meter | None = None
    all: bool = False


class AlarmsAsked(Asked):
    """Which alarms."""

    since: Time | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 50


class NothingAsked(Asked):
    """No field at all."""


BODIES: dict[str, type[Strict]] = {
    "order_propose": Propose,
    "order_submit": Nothing,
    "order_approve": Approve,
    "order_cancel": Why,
    "order_release": Why,
    "batch_propose": ProposeBatch,
    "batch_submit": Nothing,
    "batch_change": Selection,
    "batch_approve": ApproveBatch,
    "batch_cancel": Why,
    "batch_release": Why,
    "orders_stop": StopOrders,
    "hold_set": Why,
    "hold_release": Why,
    "undo": Undo,
    "never_cut_add": NeverCut,
    "never_cut_remove": Why,
    "account_changed": AccountChange,
}
QUERIES: dict[str, type[Asked]] = {
    "orders_list": OrdersAsked,
    "batch_get": PageAsked,
    "never_cut_list": NeverCutAsked,
    "alarms_list": AlarmsAsked,
}
# What stands in a path, by the operation and the name of the field.
PATH_FIELDS: dict[str, Any] = {
    "order": Id,
    "batch": Id,
    "entry": Annotated[int, Field(ge=1, le=NUMBER_MAX)],
    "meter": Meter,
}
PREFIXES_ALLOWED = ("order_get", "batch_get")  # what may be named by how its id starts
