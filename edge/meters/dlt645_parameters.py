"""What orders write into a DL/T 645-2007 meter besides its relay: prices, tables, amounts, its
clock, and messages for its security module.

* Prices and tables go into the set that the order names; a meter shows its prices in force and lets
  nobody write them.
* Each command is one frame. What takes several frames takes several parameters, each written once.
"""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from edge.line.line import Line
from edge.meters.control import Command, ControlError, Demands, Parameter, Purse
from protocols.dlt645 import exchange as dlt645
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.commands import FREEZE_NOW, ClearDemand, Security, Write
from protocols.dlt645.controls import Function
from protocols.dlt645.identifiers import identifier_bytes, identifier_text
from protocols.dlt645.requests import request
from protocols.errors import CallerError
from protocols.orders.kinds import Action

if TYPE_CHECKING:
    from edge.meters.dlt645_control import Dlt645Control

SPARE = 2  # the set of prices that may be written
SPARE_PRICES = "040502FF"
ALARM_AMOUNTS = ("04001001", "04001002")
AMOUNTS = {Action.OVERDRAFT: "04001003", Action.ARM_AMOUNT: "04001005"}
CLOCK, TIME = "0400010C", "04000102"
MIDNIGHT_S = 300  # the distance to a change of date that a time alone is written at
SEND_MS_MAX = 500  # between naming a time and sending it
ON_THE_WAY_MS = 200  # until a frame with a time has arrived, at the usual rates
RESETS, LARGEST = "03300200", "01010000"
PURSES = {1: ("03320201", "00900100"), 2: ("03330201", "00900200")}  # by what is prepaid
_HEAD_SIZE = 12  # identifier and credentials of a write

Found = Generator[None, None, Any]


def parameters(
    control: "Dlt645Control", action: str, arguments: tuple[object, ...]
) -> tuple[Parameter, ...]:
    """What a settings order writes; ControlError."""
    if not control.table["parameters"]:
        raise ControlError("no-way", "its settings do not say that it takes parameters")
    credentials = control.credentials(action)
    found = []
    for di, values in _places(action, arguments):
        command = Write(di, values, credentials)
        try:
            wire = command.data()
        except CallerError as error:
            raise ControlError("no-way", str(error)) from error
        words = f"{action}: write {di}"
        found.append(Parameter(control.command(action, command, words), di, wire[_HEAD_SIZE:]))
    return tuple(found)


def _places(action: str, arguments: tuple[object, ...]) -> list[tuple[str, tuple[object, ...]]]:
    """Identifiers, and the values that go there."""
    if action == Action.PRICES:
        if arguments[0] != SPARE:
            raise ControlError("no-way", "the prices in force cannot be written, only set 2")
        return [(SPARE_PRICES, arguments[1:])]
    if action == Action.TIME_OF_USE:
        zones, day = arguments[:2]
        periods = zip(arguments[2::2], arguments[3::2], strict=True)
        values = tuple(f"{start:04d}{tariff:02d}" for start, tariff in periods)
        return [(f"04{zones:02X}00{day:02X}", values)]
    if action == Action.ALARM_AMOUNTS:
        return [(di, (one,)) for di, one in zip(ALARM_AMOUNTS, arguments, strict=True)]
    if action in AMOUNTS:
        return [(AMOUNTS[action], arguments)]
    raise ControlError("no-way", f"no public source tells how its {action} are laid out")


def clock_setting(
    control: "Dlt645Control",
    is_whole: bool,
    shown: MeterTime,
    boot_ms: Callable[[], int],
    time_at: Callable[[int], MeterTime],
) -> Command:
    """Date and time by one identifier, or the time alone while the date is right: two writes could
    have midnight between them."""
    credentials = control.credentials(Action.SET_CLOCK)
    if not control.table["parameters"]:
        raise ControlError("no-way", "its settings do not say that it takes parameters")
    if not is_whole:
        now = time_at(boot_ms())
        of_day_s = (now.hour * 60 + now.minute) * 60 + now.second
        is_near = min(of_day_s, 86_400 - of_day_s) < MIDNIGHT_S
        if is_near or shown[:3] != now[:3]:
            raise ControlError("no-way", "it takes its date and its time by two writes")

    def write_at(at_ms: int) -> Write:
        now = time_at(at_ms + ON_THE_WAY_MS)
        clock = f"{now.hour:02d}{now.minute:02d}{now.second:02d}"
        if not is_whole:
            return Write(TIME, (clock,), credentials)
        date = f"{now.year % 100:02d}{now.month:02d}{now.day:02d}{_weekday(now):02d}"
        return Write(CLOCK, (date + clock,), credentials)

    def send(line: Line) -> bytes:
        now = boot_ms()
        frame = request(control.driver.address, write_at(now))
        before = line.may_send
        line.may_send = lambda: boot_ms() - now <= SEND_MS_MAX and (before is None or before())
        try:
            return control.driver.once(line, dlt645.Exchange(frame))
        finally:
            line.may_send = before

    sample = write_at(boot_ms())
    request(control.driver.address, sample)
    return control.carrying(Action.SET_CLOCK, sample, send, f"write {sample.di} with the time")


def _weekday(time: MeterTime) -> int:
    """Sunday 0, by Sakamoto's rule."""
    shifts = (0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4)
    year = time.year - (time.month < 3)
    days = year + year // 4 - year // 100 + year // 400 + shifts[time.month - 1] + time.day
    return int(days % 7)


def demand_reset(control: "Dlt645Control") -> Command:
    """19, which is not of everyday."""
    command = ClearDemand(control.credentials(Action.RESET_DEMAND))
    allowed = (Function.CLEAR_DEMAND,)
    return control.command(Action.RESET_DEMAND, command, "clear the maximum demands", allowed)


def demands(control: "Dlt645Control", line: Line, retries: int) -> Found:
    """The count of clears, and the largest forward demand."""
    resets = yield from control.number(line, RESETS, retries)
    yield
    largest = yield from control.number(line, LARGEST, retries)
    return Demands(resets, largest)


def freeze(control: "Dlt645Control") -> Command:
    """16, now."""
    return control.command(Action.FREEZE, FREEZE_NOW, "freeze now")


def security(control: "Dlt645Control", di: str, operator: str, body: bytes) -> Command:
    """03; the body is what an external signer made."""
    if not control.table["secured"]:
        raise ControlError("no-way", "its settings do not say that it has a security module")
    command = Security(identifier_text(identifier_bytes(di)), operator, body)
    try:
        return control.command(Action.TOP_UP, command, f"security message {di}")
    except CallerError as error:
        raise ControlError("no-way", str(error)) from error


def purse(prepaid: int, purchases: int, left: int | None) -> Purse:
    """No purchase record yet is none at all."""
    unit = "kWh" if prepaid == 1 else "CNY"
    words = "not told" if left is None else f"{left // 100}.{left % 100:02d} {unit}"
    return Purse(purchases, words)
