"""What the arguments of each kind of order must be: flat tuples of integers, texts and bytes.

| action | arguments |
| --- | --- |
| backfill | from, to: UTC ms |
| connect | the reason: a name of CONNECT_REASONS |
| prices | table 1 or 2, then the price of each tariff in 10^-4 of the currency per kWh |
| time-of-use | zone table 1 or 2, day table 1..8, then (hhmm, tariff) of each period, rising |
| steps | table 1 or 2, count n, then n limits in 10^-2 kWh, rising, then n + 1 prices as above |
| alarm-amounts | two amounts in cents |
| overdraft, arm-amount | an amount in cents |
| authenticate | operator, the secured body |
| top-up | purchase count, amount in cents, operator, data identifier, the secured body |
| all others | none |

An operator and a data identifier are eight upper-case hexadecimal digits, as printed. The bounds
are those of the wire: four bytes of BCD for a price or an amount, 63 tariffs, 14 periods of a day.
"""

from protocols.errors import CallerError
from protocols.orders.kinds import ACTIONS, Action

ARGUMENTS_MAX = 80  # of one order
ARGUMENT_MAX = 1 << 53  # either way: what every JSON reader holds exactly
BODY_SIZE_MAX = 300  # bytes of a secured body
CONNECT_REASONS = ("unreachable-key", "consent", "external-breaker")
TARIFFS_MAX = 63
PERIODS_MAX = 14
DAY_TABLES = 8
STEPS_MAX = 38  # what fits into ARGUMENTS_MAX
FOUR_BYTES_MAX = 99_999_999  # of BCD
PURCHASES_MAX = (1 << 32) - 1

_HEX = "0123456789ABCDEF"


def check_arguments(action: str, arguments: tuple) -> None:
    """CallerError with one sentence unless they are what the action needs."""
    if action not in ACTIONS:
        raise CallerError(f"{action!r} is no kind of order")
    check = _CHECKS.get(action)
    if check is None:
        if arguments:
            raise CallerError(f"{action} takes no arguments")
        return
    check(action, arguments)


def _within(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _span(action: str, arguments: tuple) -> None:
    is_span = len(arguments) == 2 and all(_within(one, 0, ARGUMENT_MAX) for one in arguments)
    if not is_span or arguments[0] >= arguments[1]:
        raise CallerError(f"{action} takes from and to in UTC ms, and from below to")


def _reason(action: str, arguments: tuple) -> None:
    is_text = len(arguments) == 1 and isinstance(arguments[0], str)
    if not is_text or arguments[0] not in CONNECT_REASONS:
        raise CallerError(f"{action} takes one reason of " + ", ".join(CONNECT_REASONS))


def _prices(action: str, arguments: tuple) -> None:
    prices = arguments[1:]
    _check_table(action, arguments)
    if not 0 < len(prices) <= TARIFFS_MAX:
        raise CallerError(f"{action} takes the prices of 1 to {TARIFFS_MAX} tariffs")
    _check_amounts(action, "a price", prices)


def _time_of_use(action: str, arguments: tuple) -> None:
    _check_table(action, arguments)
    if len(arguments) < 2 or not _within(arguments[1], 1, DAY_TABLES):
        raise CallerError(f"{action} takes a day table of 1 to {DAY_TABLES} after the zone table")
    count = len(arguments) // 2 - 1
    if not 0 < count <= PERIODS_MAX or len(arguments) % 2:
        raise CallerError(f"{action} takes 1 to {PERIODS_MAX} periods of a start and a tariff")
    last = -1
    for place in range(2, len(arguments), 2):
        start, tariff = arguments[place], arguments[place + 1]
        if not _within(start, 0, 2359) or start % 100 > 59 or start <= last:
            raise CallerError(f"{action} takes starts as hhmm from 0 to 2359, and they rise")
        if not _within(tariff, 1, TARIFFS_MAX):
            raise CallerError(f"{action} takes tariffs of 1 to {TARIFFS_MAX}")
        last = start


def _steps(action: str, arguments: tuple) -> None:
    _check_table(action, arguments)
    if len(arguments) < 2 or not _within(arguments[1], 1, STEPS_MAX):
        raise CallerError(f"{action} takes a count of 1 to {STEPS_MAX} after the table")
    count = arguments[1]
    limits, prices = arguments[2 : 2 + count], arguments[2 + count :]
    if len(limits) != count or len(prices) != count + 1:
        raise CallerError(f"{action} takes as many limits as it counts, and one price more")
    _check_amounts(action, "a limit", limits)
    _check_amounts(action, "a price", prices)
    for place in range(1, count):
        if limits[place] <= limits[place - 1]:
            raise CallerError(f"{action} takes limits that rise")


def _two_amounts(action: str, arguments: tuple) -> None:
    if len(arguments) != 2:
        raise CallerError(f"{action} takes two amounts in cents")
    _check_amounts(action, "an amount", arguments)


def _amount(action: str, arguments: tuple) -> None:
    if len(arguments) != 1:
        raise CallerError(f"{action} takes one amount in cents")
    _check_amounts(action, "an amount", arguments)


def _secured(action: str, arguments: tuple) -> None:
    if len(arguments) != 2:
        raise CallerError(f"{action} takes an operator and the secured body")
    _check_digits(action, "operator", arguments[0])
    _check_secured_body(action, arguments[1])


def _top_up(action: str, arguments: tuple) -> None:
    if len(arguments) != 5:
        raise CallerError(
            f"{action} takes a purchase count, an amount in cents, an operator, a data identifier"
            " and the secured body"
        )
    count, amount, operator, identifier, body = arguments
    if not _within(count, 1, PURCHASES_MAX):
        raise CallerError(f"{action} takes a purchase count of 1 to {PURCHASES_MAX}")
    if not _within(amount, 1, FOUR_BYTES_MAX):
        raise CallerError(f"{action} takes an amount of 1 to {FOUR_BYTES_MAX} cents")
    _check_digits(action, "operator", operator)
    _check_digits(action, "data identifier", identifier)
    _check_secured_body(action, body)


def _check_table(action: str, arguments: tuple) -> None:
    if not arguments or not _within(arguments[0], 1, 2):
        raise CallerError(f"{action} takes table 1 or 2 first")


def _check_amounts(action: str, what: str, values: tuple) -> None:
    if not all(_within(one, 0, FOUR_BYTES_MAX) for one in values):
        raise CallerError(f"{action}: {what} is a whole number from 0 to {FOUR_BYTES_MAX}")


def _check_digits(action: str, what: str, value: object) -> None:
    is_eight = isinstance(value, str) and len(value) == 8
    if not is_eight or not all(one in _HEX for one in value):  # type: ignore[attr-defined]
        raise CallerError(f"{action}: {what} is eight upper-case hexadecimal digits")


def _check_secured_body(action: str, value: object) -> None:
    if not isinstance(value, bytes) or not 0 < len(value) <= BODY_SIZE_MAX:
        raise CallerError(f"{action}: a secured body has 1 to {BODY_SIZE_MAX} bytes")


_CHECKS = {
    Action.BACKFILL: _span,
    Action.CONNECT: _reason,
    Action.PRICES: _prices,
    Action.TIME_OF_USE: _time_of_use,
    Action.STEPS: _steps,
    Action.ALARM_AMOUNTS: _two_amounts,
    Action.OVERDRAFT: _amount,
    Action.ARM_AMOUNT: _amount,
    Action.AUTHENTICATE: _secured,
    Action.TOP_UP: _top_up,
}
