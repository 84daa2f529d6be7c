"""DL/T 645-2007 meters under orders: who answers, what the supply does, and the relay's command.

* A command goes to the concrete address, at a level and with an action that the settings allow for
  this meter, and carries the last moment at which the meter may still act.
* A cut, a restore and a parameter have passwords of their own (`credentials`).
* What a meter says that it lacks is not asked again until the agent starts anew, unless an order
  cannot do without it.
"""

import contextlib
from collections.abc import Callable, Generator
from typing import Any

from edge.line.line import Line
from edge.meters import dlt645_parameters as parameters
from edge.meters.control import (
    Command,
    ControlError,
    Demands,
    Frames,
    Identity,
    MeterClockShown,
    Parameter,
    Purse,
    Second,
    SupplyState,
)
from edge.meters.credentials import CredentialFile, use_of
from edge.meters.dlt645_driver import Dlt645Driver
from edge.meters.dlt645_history import read_clock, read_raw
from edge.meters.masking import mask_passwords
from protocols.dlt645 import exchange as dlt645
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.commands import Relay
from protocols.dlt645.controls import EVERYDAY
from protocols.dlt645.credentials import Credentials
from protocols.dlt645.identifiers import EDITION_1997
from protocols.dlt645.relay import (
    RelayAction,
    RelayTerms,
    relay_state,
)
from protocols.dlt645.requests import request
from protocols.dlt645.values import decode_items
from protocols.errors import (
    FrameError,
    SettingError,
    UnsupportedError,
    ValueFormatError,
)
from protocols.orders.kinds import Action

ACTIONS = {
    Action.DISCONNECT: RelayAction.DISCONNECT,
    Action.ARM: RelayAction.ARM,
    Action.CONNECT: RelayAction.CONNECT,
    Action.KEEP_POWER_ON: RelayAction.KEEP_POWER_ON,
    Action.KEEP_POWER_OFF: RelayAction.KEEP_POWER_OFF,
    Action.ALARM_ON: RelayAction.ALARM_ON,
    Action.ALARM_OFF: RelayAction.ALARM_OFF,
}
STATUS_1, STATUS_3 = "04000501", "04000503"
KEEP_POWER_BIT = 12  # of status word 3
PREPAY_SHIFT, PREPAY_MASK = 8, 0b11  # of status word 3: 0 none, 1 energy, 2 money
OVERDRAFT_BIT = 14  # of status word 1, an addition of State Grid meters
ADDRESS, METER_NUMBER, ASSET_CODE = "04000401", "04000402", "04000403"
NEEDED = (STATUS_1, STATUS_3, ADDRESS, METER_NUMBER, ASSET_CODE)
ENERGY = "00010000"
CURRENTS = ("0202FF00", "02020100", "02020200", "02020300")  # the block, or phase by phase
OPENED, CLOSED = "1D00", "1E00"  # records of the relay
OVERDRAWN = {1: ("00900101", "04000F04"), 2: ("00900201", "04001003")}  # overdraft, and its limit
DELAYS_MIN = ("04001401", "04001403")  # of an opening, and the wait for a small current
DELAY_MS_MAX = 30 * 60_000  # what an order waits for; the daily comparison sees what comes later
_MINUTE_MS = 60_000
_DI_SIZE = 4


class Dlt645Control:
    """The Control of one meter. `table` is its checked [meter.control]."""

    def __init__(
        self, driver: Dlt645Driver, table: dict[str, Any], credentials: CredentialFile
    ) -> None:
        self.assurance: str = table["assurance"]
        self.has_external_breaker: bool = table["breaker"] == "external"
        self.no_current_ma: int = table["no_current_ma"]
        self.driver = driver
        self.table = table
        self._terms = RelayTerms(
            tuple(ACTIONS[one] for one in table["plain"]),
            tuple(int(one) for one in table["levels"]),
            False,
        )
        self._credentials = credentials
        self._lacking: set[str] = set()
        self._is_clock_in_parts = False
        self._shown: MeterTime | None = None

    # ---- what it is -----------------------------------------------------------------------------

    def check(self, action: str) -> None:
        """ControlError when this meter cannot do it at all."""
        if self.driver.edition == EDITION_1997:
            raise ControlError("no-way", "edition 1997 has no standard command for it")
        if action in ACTIONS and ACTIONS[action] not in self._terms.plain:
            raise ControlError("no-way", f"its settings do not list {action}")

    def identity(self, line: Line, retries: int) -> Generator[None, None, Identity]:
        """Its address, and the numbers that its settings name."""
        due = [(ADDRESS, "address", self.driver.address)]
        for di, name in ((ASSET_CODE, "asset_number"), (METER_NUMBER, "meter_number")):
            if self.table[name] is not None:
                due.append((di, name, self.table[name]))
        is_right: bool | None = True
        facts, wrong = [], []
        for n, (di, name, expected) in enumerate(due):
            if n:
                yield
            found = yield from self.text(line, di, retries)
            words = name.replace("_", " ")
            facts.append((words, found or "not told"))
            if found is None:
                is_right = is_right and None
                wrong.append(f"it does not tell its {words}")
            elif found != expected:
                is_right = False
                wrong.append(f"its {words} is {found}")
        return Identity(is_right, "; ".join(wrong), tuple(facts))

    def supply(self, line: Line, retries: int) -> Generator[None, None, SupplyState]:
        """By status word 3."""
        word = yield from self.number(line, STATUS_3, retries)
        if word is None:
            raise UnsupportedError(f"meter {self.driver.address} has no status word 3", 0)
        return supply_of(word)

    # ---- what else shows it ---------------------------------------------------------------------

    def second(
        self, line: Line, retries: int, is_opening: bool, with_operator: bool
    ) -> Generator[None, None, Second]:
        """The largest current, and the records of the relay."""
        current_ma = yield from self._current_ma(line, retries)
        event = OPENED if is_opening else CLOSED
        yield
        found = Second(current_ma)
        with contextlib.suppress(ValueFormatError):  # records of a form that nobody knows
            found = Second(current_ma, (yield from self.number(line, event + "0001", retries)))
            if with_operator and found.records:
                yield
                operator = (yield from self.text(line, event + "0201", retries)) or ""
                found = found._replace(operator=operator)
        return found

    def _current_ma(self, line: Line, retries: int) -> Generator[None, None, int | None]:
        found: list[int] = []
        for n, di in enumerate(CURRENTS):
            if di in self._lacking:
                continue
            if n:
                yield
            data = yield from self.raw(line, di, retries)
            for item, quantity in _told(data):
                if quantity is not None:
                    found.append(abs(quantity.value) * 10 ** (item.scaler + 3))
            if data and n == 0:
                break  # the block held them all
        return max(found, default=None)

    def is_overdrawn(self, line: Line, retries: int) -> Generator[None, None, bool | None]:
        """Whether the overdraft is above its limit; the status word's own bit says it too."""
        word = yield from self.number(line, STATUS_3, retries)
        dis = OVERDRAWN.get((word or 0) >> PREPAY_SHIFT & PREPAY_MASK)
        if dis is None:
            return None if word is None else False
        yield
        status = yield from self.number(line, STATUS_1, retries)
        if status is not None and status >> OVERDRAFT_BIT & 1:
            return True
        yield
        overdraft = yield from self.number(line, dis[0], retries)
        if overdraft is None:
            return None
        yield
        limit = yield from self.number(line, dis[1], retries)
        return bool(overdraft > (limit or 0))

    def load_voltage(self, line: Line, retries: int) -> Generator[None, None, bool | None]:
        """Such a meter measures before its contact, so it cannot tell."""
        yield from ()
        return None

    def register(self, line: Line, retries: int) -> Generator[None, None, str]:
        """The forward active energy."""
        data = yield from self.raw(line, ENERGY, retries)
        for item, quantity in _told(data):
            if quantity is not None:
                return f"{quantity.value * 10**item.scaler} {item.unit}"
        return ""

    def clock(
        self, line: Line, retries: int, boot_ms: Callable[[], int]
    ) -> Generator[None, None, MeterClockShown | None]:
        """By one identifier, or by two where it lacks that."""
        try:
            try:
                is_whole = not self._is_clock_in_parts
                shown = yield from read_clock(line, self.driver, boot_ms, 0.0, retries, is_whole)
            except UnsupportedError:
                if self._is_clock_in_parts:
                    return None
                self._is_clock_in_parts = True
                yield
                shown = yield from read_clock(line, self.driver, boot_ms, 0.0, retries, False)
        except (UnsupportedError, ValueFormatError):
            return None
        self._shown = shown.time
        return MeterClockShown(shown.time, shown.boot_ms + shown.error_ms)

    def delay_ms(self, line: Line, retries: int) -> Generator[None, None, int]:
        """What its parameters say, as far as they can be read."""
        minutes = 0
        for n, di in enumerate(DELAYS_MIN):
            if n:
                yield
            minutes += (yield from self.number(line, di, retries)) or 0
        return min(minutes * _MINUTE_MS, DELAY_MS_MAX)

    # ---- commands -------------------------------------------------------------------------------

    def switch(self, action: str, expiry: MeterTime | None) -> Command:
        """1C with a password, as the settings allow it."""
        self.check(action)
        credentials = self.credentials(action)
        if expiry is None:
            raise ControlError("no-way", "its clock cannot be read, and its command needs a time")
        command = Relay(ACTIONS[action], expiry, credentials, 0)
        return self.command(action, command, f"{action} until {expiry.text()} of its clock")

    def command(
        self, action: str, command: Any, words: str, permitted: tuple[int, ...] = ()
    ) -> Command:
        """Any command, prepared: what cannot be encoded or may not be sent is known now."""
        frame = request(self.driver.address, command, EVERYDAY + permitted, self._terms)
        try:
            frame.to_bytes()
        except FrameError as error:
            raise ControlError("no-way", f"it does not fit into a frame: {error}") from error
        return self.carrying(
            action, command, lambda line: self.driver.once(line, dlt645.Exchange(frame)), words
        )

    def carrying(
        self, action: str, command: Any, send: Callable[[Line], bytes], words: str
    ) -> Command:
        """A command that is sent so, with what it carries."""
        carried = getattr(command, "credentials", None)
        if carried is None:
            return Command(send, words)
        return Command(send, words, use_of(action), self._credentials.mark(), carried.operator)

    def credentials(self, action: str) -> Credentials:
        """The password for an action; ControlError when there is none, or a file that is not what
        it must be."""
        try:
            found = self._credentials.find(self.driver.meter_id, use_of(action))
        except SettingError as error:
            raise ControlError("no-credential", str(error)) from None
        if found is None:
            raise ControlError("no-credential", f"for {use_of(action)}")
        return found

    def parameters(self, action: str, arguments: tuple[object, ...]) -> tuple[Parameter, ...]:
        """See `dlt645_parameters`."""
        return parameters.parameters(self, action, arguments)

    def stored(self, line: Line, retries: int, place: str) -> Generator[None, None, bytes]:
        """The bytes behind an identifier, asked for even where the meter lacked it before: some
        have a parameter only once it was written."""
        self._lacking.discard(place)
        return (yield from self.raw(line, place, retries))[_DI_SIZE:]

    def clock_setting(
        self, boot_ms: Callable[[], int], time_at: Callable[[int], MeterTime]
    ) -> Command:
        """By one identifier, or the time alone."""
        if self._shown is None:
            raise ControlError("no-way", "its clock cannot be read")
        is_whole = not self._is_clock_in_parts
        return parameters.clock_setting(self, is_whole, self._shown, boot_ms, time_at)

    def demand_reset(self) -> Command:
        """19."""
        return parameters.demand_reset(self)

    def demands(self, line: Line, retries: int) -> Generator[None, None, Demands]:
        """Count of clears, and the largest demand."""
        found: Demands = yield from parameters.demands(self, line, retries)
        return found

    def freeze(self) -> Command:
        """16."""
        return parameters.freeze(self)

    def security(self, di: str, operator: str, body: bytes) -> Command:
        """03."""
        return parameters.security(self, di, operator, body)

    def security_number(self) -> str | None:
        """As its settings name it."""
        number: str | None = self.table["esam_number"]
        return number

    def purse(self, line: Line, retries: int) -> Generator[None, None, Purse]:
        """By what status word 3 says is prepaid."""
        word = yield from self.number(line, STATUS_3, retries)
        yield
        prepaid = (word or 0) >> PREPAY_SHIFT & PREPAY_MASK
        places = parameters.PURSES.get(prepaid)
        if places is None:
            raise UnsupportedError("the meter keeps no account of its own", 0)
        record = yield from self.raw(line, places[0], retries)
        if not record:
            raise UnsupportedError("the meter does not tell its purchases", 0)
        yield
        left = yield from self.number(line, places[1], retries)
        count = first_of(record)
        return parameters.purse(prepaid, count if isinstance(count, int) else 0, left)

    def operator(self, action: str) -> str:
        """As the credential has it."""
        try:
            operator: str = self.credentials(action).operator
        except ControlError:
            return ""
        return operator

    # ---- reading --------------------------------------------------------------------------------

    def raw(self, line: Line, di: str, retries: int) -> Generator[None, None, bytes]:
        """The bytes behind an identifier, identifier first; none when the meter lacks it."""
        if di in self._lacking:
            return b""
        try:
            return (yield from read_raw(line, self.driver, di, retries))
        except UnsupportedError:
            if di not in NEEDED:
                self._lacking.add(di)
            return b""

    def number(self, line: Line, di: str, retries: int) -> Generator[None, None, int | None]:
        """Its first item in its last digit; None when the meter has none."""
        value = yield from self._value(line, di, retries)
        return value if isinstance(value, int) else None

    def text(self, line: Line, di: str, retries: int) -> Generator[None, None, str | None]:
        """Its first item as a text."""
        value = yield from self._value(line, di, retries)
        return value if isinstance(value, str) else None

    def _value(self, line: Line, di: str, retries: int) -> Generator[None, None, object]:
        return first_of((yield from self.raw(line, di, retries)))

    # ---- evidence -------------------------------------------------------------------------------

    def heard(self) -> tuple[int, int]:
        """The driver's own counts."""
        return self.driver.counters.strays, self.driver.counters.silences

    def mask(self, frames: Frames) -> int:
        """The passwords in its writes and controls."""
        return mask_passwords(frames)


def supply_of(word: int) -> SupplyState:
    """Status word 3 as the state of a supply."""
    return SupplyState(
        relay_state(word),
        bool(word >> KEEP_POWER_BIT & 1),
        bool(word >> PREPAY_SHIFT & PREPAY_MASK),
        f"{word:04X}",
    )


def first_of(data: bytes) -> object:
    """The value of the first item of an answer; None where there is none. ValueFormatError."""
    items = decode_items(data) if data else []
    return items[0][1].value if items and items[0][1] is not None else None


def _told(data: bytes) -> list[Any]:
    """The items of an answer; none of one that is no value."""
    try:
        return decode_items(data) if data else []
    except ValueFormatError:
        return []
