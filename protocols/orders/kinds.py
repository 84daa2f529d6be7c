"""The kinds of orders: what each changes, who may ask, who must agree, and how success is seen.

* One table, ORDER_KINDS; head end and gateway judge by the same row.
* A kind that may take away supply, or change what a bill is made of, needs two approvals: that is
  `is_critical`. Restoring needs less authority than cutting (invariants I2, I4).
* The counter of an order is kept for each originator, meter and family (I13): a price table that
  waits must not block a restore.
* Lives are those of `fee-control`'s default policy: a cut that waits longer answers no decision
  that anybody still stands for.
"""

from collections import namedtuple


class Action:
    """What an order asks for. The arguments of each: `arguments.py`."""

    READ = "read"  # the quantity `obis`, now
    BACKFILL = "backfill"  # fill a span of time from the meter's own records
    DISCONNECT = "disconnect"
    ARM = "arm"  # permit closing; the consumer presses the button
    CONNECT = "connect"  # closes unattended
    KEEP_POWER_ON = "keep-power-on"
    KEEP_POWER_OFF = "keep-power-off"
    ALARM_ON = "alarm-on"
    ALARM_OFF = "alarm-off"
    PRICES = "prices"
    TIME_OF_USE = "time-of-use"
    STEPS = "steps"
    ALARM_AMOUNTS = "alarm-amounts"
    OVERDRAFT = "overdraft"
    ARM_AMOUNT = "arm-amount"
    AUTHENTICATE = "authenticate"
    TOP_UP = "top-up"
    SET_CLOCK = "set-clock"
    RESET_DEMAND = "reset-demand"
    FREEZE = "freeze"


class Effect:
    """What an order does to the supply."""

    READS = "reads"  # changes nothing
    CUTS = "cuts"  # loss of supply, or may lead to it at once
    RESTORES = "restores"
    CHANGES = "changes"  # something else in the meter


EFFECTS = (Effect.READS, Effect.CUTS, Effect.RESTORES, Effect.CHANGES)


class Family:
    """Orders that share a counter."""

    NONE = ""  # no counter: a repetition does no harm
    SUPPLY = "supply"
    SETTINGS = "settings"


FAMILIES = (Family.NONE, Family.SUPPLY, Family.SETTINGS)


class Observation:
    """What proves that an order had its effect. Each is a reading, never the answer alone (I16)."""

    VALUE = "value"  # what comes back is the result
    OPEN = "open"  # the contact, and a second observation
    READY = "ready"  # closing permitted, the contact still open (I17)
    CLOSED = "closed"
    KEEP_POWER = "keep-power"  # status word 3, bit 12
    READ_BACK = "read-back"  # the parameter read equals the one written
    PURCHASE_COUNT = "purchase-count"
    CLOCK = "clock"  # the meter's clock stands within 2 s of the gateway's
    DEMAND_RECORD = "demand-record"  # one event record more, or the demand registers at zero
    NOTHING_TO_SEE = "nothing-to-see"  # no observation exists: done, with a fact that says so


OBSERVATIONS = (
    Observation.VALUE,
    Observation.OPEN,
    Observation.READY,
    Observation.CLOSED,
    Observation.KEEP_POWER,
    Observation.READ_BACK,
    Observation.PURCHASE_COUNT,
    Observation.CLOCK,
    Observation.DEMAND_RECORD,
    Observation.NOTHING_TO_SEE,
)


class Role:
    """Who may ask for an order."""

    OPERATOR = "operator"
    TARIFF_MANAGER = "tariff-manager"
    TECHNICIAN = "technician"
    AUTOMATION = "automation"  # a rule; it proposes, and people approve


ROLES = (Role.OPERATOR, Role.TARIFF_MANAGER, Role.TECHNICIAN, Role.AUTOMATION)


class OrderKind(
    namedtuple(
        "OrderKind",
        (
            "action",
            "effect",
            "family",
            "is_critical",
            "approvals",
            "requesters",
            "life_s",
            "life_s_max",
            "observed_by",
        ),
    )
):
    """One row of ORDER_KINDS: how many `approvals` of distinct people it needs, the roles of its
    `requesters`, its life in s from not-before on, by default and at most."""

    def is_plain(self) -> bool:
        """Whether it travels in the short form, without terms and approvals."""
        return self.action in (Action.READ, Action.BACKFILL)


# action, effect, family, approvals, roles (o t s a: operator, tariff manager, technician,
# automation), life in s, longest life in s, observed by; "-" is nothing
_ROWS = """
read            reads    -        0 o.sa 60     3600   value
backfill        reads    -        0 o..a 60     3600   value
disconnect      cuts     supply   2 o..a 900    3600   open
arm             restores supply   0 o..a 86400  86400  ready
connect         restores supply   1 o... 86400  86400  closed
keep-power-on   restores supply   0 o..a 86400  86400  keep-power
keep-power-off  cuts     supply   2 o... 900    3600   keep-power
alarm-on        changes  settings 0 o..a 3600   86400  nothing-to-see
alarm-off       changes  settings 0 o..a 3600   86400  nothing-to-see
prices          changes  settings 2 .t.. 86400  604800 read-back
time-of-use     changes  settings 2 .t.. 86400  604800 read-back
steps           changes  settings 2 .t.. 86400  604800 read-back
alarm-amounts   changes  settings 2 .t.. 86400  604800 read-back
overdraft       changes  settings 2 .t.. 86400  604800 read-back
arm-amount      changes  settings 2 .t.. 86400  604800 read-back
authenticate    changes  -        0 ..s. 60     3600   value
top-up          changes  settings 0 ot.a 3600   86400  purchase-count
set-clock       changes  settings 2 o... 86400  604800 clock
reset-demand    changes  settings 2 o... 86400  604800 demand-record
freeze          changes  -        0 o.s. 60     3600   nothing-to-see
"""
_ROLE_LETTERS = "otsa"
_CRITICAL_APPROVALS = 2


def _kinds() -> dict:
    kinds = {}
    for line in _ROWS.split("\n"):
        if line:
            action, effect, family, count, letters, life_s, most_s, observed_by = line.split()
            approvals = int(count)
            kinds[action] = OrderKind(
                action,
                effect,
                "" if family == "-" else family,
                approvals == _CRITICAL_APPROVALS,
                approvals,
                tuple([ROLES[_ROLE_LETTERS.index(one)] for one in letters if one != "."]),
                int(life_s),
                int(most_s),
                observed_by,
            )
    return kinds


ORDER_KINDS = _kinds()  # action -> OrderKind
ACTIONS = tuple([line.split()[0] for line in _ROWS.split("\n") if line])
