"""protocols/orders/arguments.py: what each kind takes, and one sentence for everything else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import CallerError
from protocols.orders.arguments import ARGUMENT_MAX, ARGUMENTS_MAX, check_arguments
from protocols.orders.kinds import ACTIONS
from tests.protocols.orders.samples import ARGUMENTS, GOOD_ARGUMENTS, IDENTIFIER, OPERATOR
from tests.protocols.outcome import outcome

BODY = b"\x00" * 24
BARE = sorted(set(ACTIONS) - set(ARGUMENTS))


def fault(action: str, arguments: Any) -> str:
    """What the CallerError says; "" when there is none."""
    _, said = outcome(CallerError, check_arguments, action, arguments)
    return said


@pytest.mark.parametrize("action", ACTIONS)
def test_good_arguments_pass(action: str) -> None:
    """One sample of each kind."""
    assert fault(action, ARGUMENTS.get(action, ())) == ""


@pytest.mark.parametrize("action", GOOD_ARGUMENTS)
@given(source=st.data())
def test_any_good_arguments_pass(action: str, source: st.DataObject) -> None:
    """And they are few enough for the wire."""
    arguments = source.draw(GOOD_ARGUMENTS[action])
    assert fault(action, arguments) == ""
    assert len(arguments) <= ARGUMENTS_MAX


@pytest.mark.parametrize("action", BARE)
@pytest.mark.parametrize("arguments", [(0,), ("",), (b"",), (1, 2)])
def test_kinds_without_arguments_take_none(action: str, arguments: Any) -> None:
    """Nothing hides in an order."""
    assert fault(action, arguments) == f"{action} takes no arguments"


def test_an_unknown_kind_is_named() -> None:
    """By what was asked for."""
    assert fault("explode", ()) == "'explode' is no kind of order"


SPAN = "backfill takes from and to in UTC ms, and from below to"
REASON = "connect takes one reason of unreachable-key, consent, external-breaker"
TABLE = "prices takes table 1 or 2 first"
PRICES = "prices takes the prices of 1 to 63 tariffs"
PRICE = "prices: a price is a whole number from 0 to 99999999"
PERIODS = "time-of-use takes 1 to 14 periods of a start and a tariff"
STARTS = "time-of-use takes starts as hhmm from 0 to 2359, and they rise"
TARIFFS = "time-of-use takes tariffs of 1 to 63"
DAY_TABLE = "time-of-use takes a day table of 1 to 8 after the zone table"
COUNT = "steps takes a count of 1 to 38 after the table"
SIZES = "steps takes as many limits as it counts, and one price more"
RISE = "steps takes limits that rise"
LIMIT = "steps: a limit is a whole number from 0 to 99999999"
STEP_PRICE = "steps: a price is a whole number from 0 to 99999999"
TWO = "alarm-amounts takes two amounts in cents"
ALARM = "alarm-amounts: an amount is a whole number from 0 to 99999999"
ONE = "overdraft takes one amount in cents"
AMOUNT = "overdraft: an amount is a whole number from 0 to 99999999"
SECURED = "authenticate takes an operator and the secured body"
DIGITS = "authenticate: operator is eight upper-case hexadecimal digits"
SIZE = "authenticate: a secured body has 1 to 300 bytes"
FIVE = (
    "top-up takes a purchase count, an amount in cents, an operator, a data identifier"
    " and the secured body"
)
PURCHASES = "top-up takes a purchase count of 1 to 4294967295"
CENTS = "top-up takes an amount of 1 to 99999999 cents"
TOP_UP_OPERATOR = "top-up: operator is eight upper-case hexadecimal digits"
ITEM = "top-up: data identifier is eight upper-case hexadecimal digits"
TOP_UP_SIZE = "top-up: a secured body has 1 to 300 bytes"
MANY = tuple(range(64))


@pytest.mark.parametrize(
    ("action", "arguments", "sentence"),
    [
        *[("backfill", odd, SPAN) for odd in (
            (), (1,), (1, 2, 3), (2, 1), (2, 2), (-1, 2), (1, True), (1, "2"), (1, 2.0),
            (1, None), (1, ARGUMENT_MAX + 1), (1, (2,)))],
        *[("connect", odd, REASON) for odd in (
            (), ("",), ("because",), ("Consent",), (1,), (None,), (b"consent",), (["consent"],),
            ("consent", "consent"))],
        *[("prices", odd, TABLE) for odd in ((), (0, 1), (3, 1), ("1", 1), (True, 1), (None, 1))],
        ("prices", (1,), PRICES), ("prices", (1, *MANY), PRICES),
        *[("prices", (1, odd), PRICE) for odd in (-1, 100_000_000, True, 1.5, "1", b"1", None)],
        ("time-of-use", (), "time-of-use takes table 1 or 2 first"),
        *[("time-of-use", (1, *odd, 0, 1), DAY_TABLE) for odd in ((0,), (9,), ("1",), (True,))],
        ("time-of-use", (1,), DAY_TABLE),
        *[("time-of-use", (1, 1, *odd), PERIODS) for odd in (
            (), (0,), (0, 1, 100), tuple(range(30)))],
        *[("time-of-use", (1, 1, *odd), STARTS) for odd in (
            (-1, 1), (2400, 1), (60, 1), (1199, 1), (True, 1), ("0", 1), (None, 1),
            (700, 1, 700, 2), (800, 1, 700, 2))],
        *[("time-of-use", (1, 1, 0, odd), TARIFFS) for odd in (0, 64, True, "1", None)],
        ("steps", (), "steps takes table 1 or 2 first"),
        *[("steps", (1, *odd), COUNT) for odd in ((), (0,), (39,), ("1",), (True,))],
        *[("steps", (1, *odd), SIZES) for odd in (
            (1,), (1, 5), (1, 5, 6), (1, 5, 6, 7, 8), (2, 5, 6), (2, 5, 6, 7, 8))],
        *[("steps", (1, 2, *odd, 1, 2, 3), RISE) for odd in ((6, 5), (5, 5))],
        *[("steps", (1, 1, odd, 1, 2), LIMIT) for odd in (-1, 100_000_000, True, "1", None)],
        *[("steps", (1, 1, 1, 2, odd), STEP_PRICE) for odd in (-1, 100_000_000, True, "1", None)],
        *[("alarm-amounts", odd, TWO) for odd in ((), (1,), (1, 2, 3))],
        *[("alarm-amounts", odd, ALARM) for odd in ((-1, 1), (1, 100_000_000), (1, "2"))],
        *[("overdraft", odd, ONE) for odd in ((), (1, 2))],
        *[("overdraft", (odd,), AMOUNT) for odd in (-1, 100_000_000, True, 1.0, "1", None)],
        ("arm-amount", (), "arm-amount takes one amount in cents"),
        ("arm-amount", (-1,), "arm-amount: an amount is a whole number from 0 to 99999999"),
        *[("authenticate", odd, SECURED) for odd in ((), (OPERATOR,), (OPERATOR, BODY, BODY))],
        *[("authenticate", (odd, BODY), DIGITS) for odd in (
            "0011223", "001122334", "0011223G", "abcdef01", 5, None, b"00112233")],
        *[("authenticate", (OPERATOR, odd), SIZE) for odd in (b"", bytes(301), "00", 5, None)],
        *[("top-up", odd, FIVE) for odd in ((), (1, 2, OPERATOR, IDENTIFIER))],
        *[("top-up", (odd, 1, OPERATOR, IDENTIFIER, BODY), PURCHASES)
          for odd in (0, -1, 1 << 32, True, "1", None)],
        *[("top-up", (1, odd, OPERATOR, IDENTIFIER, BODY), CENTS)
          for odd in (0, -1, 100_000_000, True, 1.0, None)],
        ("top-up", (1, 1, "", IDENTIFIER, BODY), TOP_UP_OPERATOR),
        ("top-up", (1, 1, OPERATOR, "07.01.02.FF", BODY), ITEM),
        ("top-up", (1, 1, OPERATOR, IDENTIFIER, b""), TOP_UP_SIZE),
    ],
)  # fmt: skip
def test_anything_else_gets_its_sentence(action: str, arguments: Any, sentence: str) -> None:
    """What is wrong, and what is allowed."""
    assert fault(action, arguments) == sentence


ODD = (
    st.integers(-(1 << 54), 1 << 54)
    | st.text(max_size=9)
    | st.binary(max_size=9)
    | st.none()
    | st.booleans()
    | st.floats()
)


@given(st.sampled_from(ACTIONS), st.lists(ODD, max_size=8).map(tuple))
def test_any_arguments_pass_or_get_a_sentence(action: str, arguments: Any) -> None:
    """Nothing else is raised; a sentence names the action."""
    said = fault(action, arguments)
    assert said == "" or said.startswith(action)
