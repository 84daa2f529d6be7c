"""A frozen order in plain words: what an approver reads before signing it.

Everything shown is taken from the very fields that the signature covers, never from what the head
end says beside them. Texts that came from elsewhere can not steer the terminal.
"""

from collections.abc import Iterator

from cloud.commands.tables import printable, shown_time
from protocols.orders.kinds import Action
from protocols.orders.order import Order

WORDS = {
    Action.READ: "read one quantity",
    Action.BACKFILL: "fill a span of time from the meter's records",
    Action.DISCONNECT: "DISCONNECT: the consumer loses supply",
    Action.ARM: "permit closing: the consumer's button restores supply",
    Action.CONNECT: "CONNECT: supply comes back with nobody at the meter",
    Action.KEEP_POWER_ON: "set keep-power: the meter refuses to disconnect",
    Action.KEEP_POWER_OFF: "LIFT keep-power: the meter may then be disconnected",
    Action.ALARM_ON: "switch the meter's alarm on",
    Action.ALARM_OFF: "switch the meter's alarm off",
    Action.PRICES: "write prices",
    Action.TIME_OF_USE: "write the time-of-use periods of a day",
    Action.STEPS: "write the steps of a step tariff",
    Action.ALARM_AMOUNTS: "write the amounts at which the meter warns",
    Action.OVERDRAFT: "write the overdraft limit",
    Action.ARM_AMOUNT: "write the amount at which closing is permitted",
    Action.AUTHENTICATE: "authenticate to the meter's secure element",
    Action.TOP_UP: "pass a purchase to the meter's purse",
    Action.SET_CLOCK: "set the meter's clock by the gateway's",
    Action.RESET_DEMAND: "reset the maximum demand",
    Action.FREEZE: "freeze the registers now",
}
_CENTS = (Action.ALARM_AMOUNTS, Action.OVERDRAFT, Action.ARM_AMOUNT)


def frozen_rows(order: Order, gateway: str) -> Iterator[tuple[str, str]]:
    """(label, text) of everything that is signed."""
    yield "action", WORDS[order.action]
    yield "meter", printable(f"{order.meter_id}, address {order.meter_address}")
    yield "gateway", printable(gateway)
    yield from terms_rows(order)
    yield "order", order.order_id.hex()


def terms_rows(order: Order) -> Iterator[tuple[str, str]]:
    """What the orders of one batch have in common."""
    terms = order.terms
    for text in argument_words(order.action, order.arguments):
        yield "with", printable(text)
    yield "asked by", printable(terms.requested_by)
    yield "asked at", shown_time(terms.requested_at)
    yield "because", printable(terms.reason)
    yield "not before", shown_time(terms.valid_from)
    yield "not after", shown_time(terms.valid_until)
    yield "lives", f"{terms.life_ms // 1000} s from when it is sent on"
    if terms.assurance:
        yield "assurance", "LOWER: a meter that can not prove the effect is accepted"


def argument_words(action: str, arguments: tuple[object, ...]) -> Iterator[str]:
    """The arguments, each with its meaning; integers keep every digit."""
    values = list(arguments)
    if action == Action.PRICES:
        yield f"table {values[0]}"
        for number, price in enumerate(values[1:], 1):
            yield f"tariff {number}: {_decimal(price, 4)} per kWh"
    elif action == Action.TIME_OF_USE:
        yield f"zone table {values[0]}, day table {values[1]}"
        for start, tariff in zip(values[2::2], values[3::2], strict=True):
            yield f"from {_hhmm(start)} tariff {tariff}"
    elif action == Action.STEPS and len(values) > 1 and isinstance(values[1], int):
        count = values[1]
        yield f"table {values[0]}, {count} limits"
        yield "limits " + ", ".join(f"{_decimal(one, 2)} kWh" for one in values[2 : 2 + count])
        yield "prices " + ", ".join(f"{_decimal(one, 4)} per kWh" for one in values[2 + count :])
    elif action in _CENTS:
        yield " and ".join(_decimal(one, 2) for one in values)
    elif action == Action.TOP_UP:
        yield f"purchase number {values[0]}, amount {_decimal(values[1], 2)}"
        yield f"operator {values[2]}, identifier {values[3]}, body {_shown(values[4])}"
    else:
        for one in values:
            yield _shown(one)


def _decimal(value: object, digits: int) -> str:
    if not isinstance(value, int):
        return _shown(value)
    sign, text = "-" if value < 0 else "", str(abs(value)).rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}"


def _hhmm(value: object) -> str:
    text = str(value).rjust(4, "0")
    return f"{text[:-2]}:{text[-2:]}"


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
