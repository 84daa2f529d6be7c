"""Orders for tests: one good order of each kind, any good order, and approvals for them."""

import string
from typing import Any

from hypothesis import strategies as st

from protocols.envelope.keys import ESP256, KeySet, PrivateKey, Use
from protocols.obis import Obis
from protocols.orders.approvals import approval_bytes, order_digest
from protocols.orders.arguments import ARGUMENT_MAX, CONNECT_REASONS
from protocols.orders.kinds import ORDER_KINDS, Family, OrderKind
from protocols.orders.order import NO_OBIS, NO_TERMS, Approval, Order, Terms
from tests.protocols.envelope.world import GATEWAY, NOW, PROVIDER, key

TENANT = "t1"
HOUR = 3_600_000
ORDER_ID = b"order-id--16-b-t"
ENERGY = Obis(1, 0, 1, 8, 0, 255)
OPERATOR, IDENTIFIER = "00112233", "070102FF"
PEOPLE = tuple(
    key(f"approver {name}", f"person:{name}", Use.APPROVE) for name in ("zhao", "qian", "sun")
)
ZHAO, QIAN, SUN = PEOPLE
TRUSTED = KeySet(tuple(one.record for one in PEOPLE))

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "backfill": (NOW - HOUR, NOW),
    "connect": ("consent",),
    "prices": (2, 6200, 3100),
    "time-of-use": (1, 8, 0, 4, 700, 3, 2359, 63),
    "steps": (2, 2, 20_000, 40_000, 5000, 5500, 8000),
    "alarm-amounts": (5000, 1000),
    "overdraft": (0,),
    "arm-amount": (2000,),
    "authenticate": (OPERATOR, b"\x01" * 24),
    "top-up": (7, 10_000, OPERATOR, IDENTIFIER, b"\x02" * 40),
}


def terms(action: str, **changes: Any) -> Terms:
    """Good terms for the kind."""
    kind = ORDER_KINDS[action]
    counter = 4 if kind.family != Family.NONE else 0
    good = Terms(
        "head-end", counter, "person:li", NOW - HOUR, "unpaid for 40 days", NOW, NOW + 24 * HOUR,
        kind.life_s * 1000, b"", 0,
    )  # fmt: skip
    return good._replace(**changes)


def order(action: str = "disconnect", approvers: tuple[PrivateKey, ...] = ()) -> Order:
    """A good order of the kind, approved by these."""
    arguments = ARGUMENTS.get(action, ())
    if ORDER_KINDS[action].is_plain():
        obis = ENERGY if action == "read" else NO_OBIS
        return Order(ORDER_ID, action, "m1", "123456789012", obis, arguments, NO_TERMS, ())
    made = Order(
        ORDER_ID, action, "m1", "123456789012", NO_OBIS, arguments, terms(action), ()
    )  # fmt: skip
    return made._replace(approvals=tuple(approve(made, one) for one in approvers))


def approve(
    made: Order,
    approver: PrivateKey,
    at: int = NOW - HOUR // 2,
    tenant: str = TENANT,
    gateway: str = GATEWAY,
) -> Approval:
    """The approver's signature over the order."""
    digest = order_digest(PROVIDER, tenant, gateway, made)
    owner, kid = approver.record.owner, approver.record.kid
    signed = approval_bytes(PROVIDER, digest, owner, at)
    return Approval(owner, kid, at, PROVIDER.signer(ESP256, approver.private).sign(signed))


NAMES = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=32).filter(
    lambda name: name[0] != "-"
)
WORDS = st.text(min_size=1, max_size=20)
AMOUNTS = st.integers(0, 99_999_999)
TABLES = st.integers(1, 2)
DIGITS = st.text("0123456789ABCDEF", min_size=8, max_size=8)
SECURED = st.binary(min_size=1, max_size=300)


def rising(values: st.SearchStrategy[int], least: int, most: int) -> st.SearchStrategy[list[int]]:
    """Different values in rising order."""
    return st.lists(values, min_size=least, max_size=most, unique=True).map(sorted)


@st.composite
def day_tables(draw: st.DrawFn) -> tuple[int, ...]:
    """Zone table, day table, and up to 14 periods."""
    times = st.builds(lambda hour, minute: hour * 100 + minute, st.integers(0, 23),
                      st.integers(0, 59))  # fmt: skip
    periods = [one for start in draw(rising(times, 1, 14))
               for one in (start, draw(st.integers(1, 63)))]  # fmt: skip
    return (draw(TABLES), draw(st.integers(1, 8)), *periods)


@st.composite
def step_tables(draw: st.DrawFn) -> tuple[int, ...]:
    """Table, count, limits, prices."""
    limits = draw(rising(AMOUNTS, 1, 38))
    prices = draw(st.lists(AMOUNTS, min_size=len(limits) + 1, max_size=len(limits) + 1))
    return (draw(TABLES), len(limits), *limits, *prices)


GOOD_ARGUMENTS: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "backfill": rising(st.integers(0, ARGUMENT_MAX), 2, 2).map(tuple),
    "connect": st.tuples(st.sampled_from(CONNECT_REASONS)),
    "prices": st.tuples(TABLES, st.lists(AMOUNTS, min_size=1, max_size=63)).map(
        lambda one: (one[0], *one[1])
    ),
    "time-of-use": day_tables(),
    "steps": step_tables(),
    "alarm-amounts": st.tuples(AMOUNTS, AMOUNTS),
    "overdraft": st.tuples(AMOUNTS),
    "arm-amount": st.tuples(AMOUNTS),
    "authenticate": st.tuples(DIGITS, SECURED),
    "top-up": st.tuples(
        st.integers(1, (1 << 32) - 1), st.integers(1, 99_999_999), DIGITS, DIGITS, SECURED
    ),
}


@st.composite
def any_terms(draw: st.DrawFn, kind: OrderKind) -> Terms:
    """Terms that fit the kind."""
    valid_from = draw(st.integers(1, 1 << 42))
    valid_until = valid_from + draw(st.integers(1, 31 * 24 * HOUR))
    return Terms(
        draw(NAMES),
        draw(st.integers(1, (1 << 63) - 1)) if kind.family else 0,
        draw(st.sampled_from(("person:", "automation:"))) + draw(NAMES),
        draw(st.integers(1, valid_until - 1)) if valid_until > 1 else 1,
        draw(WORDS),
        valid_from,
        valid_until,
        draw(st.integers(1, kind.life_s_max * 1000)),
        draw(st.just(b"") | st.binary(min_size=32, max_size=32)),
        draw(st.integers(0, 1)),
    )


@st.composite
def any_orders(draw: st.DrawFn) -> Order:
    """Any good order of any kind; its approvals are well formed, their signatures are not."""
    kind = ORDER_KINDS[draw(st.sampled_from(sorted(ORDER_KINDS)))]
    arguments = draw(GOOD_ARGUMENTS.get(kind.action, st.just(())))
    parts = draw(st.binary(min_size=16, max_size=16)), kind.action, draw(WORDS), draw(WORDS)
    if kind.is_plain():
        obis = Obis(*draw(st.tuples(*[st.integers(0, 255)] * 6)))
        return Order(*parts, obis, arguments, NO_TERMS, ())
    approvals = st.builds(
        Approval,
        NAMES.map(lambda name: "person:" + name),
        st.binary(min_size=8, max_size=8),
        st.integers(1, (1 << 63) - 1),
        st.binary(min_size=64, max_size=64),
    )
    found = draw(st.lists(approvals, max_size=8).map(tuple))
    return Order(*parts, NO_OBIS, arguments, draw(any_terms(kind)), found)
