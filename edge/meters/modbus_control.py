"""Modbus meters under orders, by the write map of their model.

There is no operator, no deadline, no record and no identity on this wire, and often no status but
the coil that was written. So such a meter is of the lower assurance class: what was done is told by
its current or power at best, and an order must accept that.
"""

from collections.abc import Callable, Generator

from edge.line.line import Line
from edge.meters.control import (
    LOWER,
    Command,
    Contact,
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
from edge.meters.modbus_driver import ModbusDriver
from protocols.dlt645.clock import MeterTime
from protocols.errors import CallerError, LineError, UnsupportedError
from protocols.modbus.commands import WriteCommand, write_command
from protocols.modbus.model import Model
from protocols.obis import Obis
from protocols.orders.kinds import Action

CONTACTS = {  # what the state that a write leads to says of the supply
    Action.DISCONNECT: Contact.DISCONNECTED,
    Action.ARM: Contact.ARMED,
    Action.CONNECT: Contact.CONNECTED,
}
CURRENTS = tuple(Obis(1, 0, c, 7, 0, 255) for c in (31, 51, 71))
POWERS = tuple(Obis(1, 0, c, 7, 0, 255) for c in (16, 1))
ENERGY = Obis(1, 0, 1, 8, 0, 255)
_VOLTS = 230  # at which a power is worth a current
_NOTHING = "a Modbus meter has no standard way for it"

Words = Generator[None, None, int | None]


class ModbusControl:
    """The Control of one unit. `table` is its checked [meter.control]."""

    assurance = LOWER

    def __init__(self, driver: ModbusDriver, model: Model, table: dict[str, object]) -> None:
        self.has_external_breaker = table["breaker"] == "external"
        self.no_current_ma = int(str(table["no_current_ma"]))
        self._driver = driver
        self._codes = {one.obis for one in model.registers}
        try:
            self._writes: dict[str, WriteCommand] = {
                one.name: write_command(model, one.name, driver.unit) for one in model.writes
            }
        except CallerError:  # behind a TCP port, a unit that names the device itself
            self._writes = {}

    def check(self, action: str) -> None:
        """ControlError unless its write map has it."""
        if action not in self._writes:
            raise ControlError("no-way", f"its model has no {action}")

    def identity(self, line: Line, retries: int) -> Generator[None, None, Identity]:
        """A unit's number is all there is."""
        yield from ()
        words = "a Modbus unit does not say who it is"
        return Identity(None, words, (("unit", str(self._driver.unit)),))

    def supply(self, line: Line, retries: int) -> Generator[None, None, SupplyState]:
        """By the states of its writes."""
        read: dict[bytes, bytes] = {}
        for action, command in self._writes.items():
            asked = command.state_pdu()
            if asked not in read:
                if read:
                    yield
                read[asked] = yield from self._driver.ask(line, asked, retries)
            if command.has_state(read[asked]):
                raw = " ".join(one.hex() for one in read.values())
                return SupplyState(CONTACTS[action], None, False, raw)
        raise LineError("its state is none that its model knows")

    def second(
        self, line: Line, retries: int, is_opening: bool, with_operator: bool
    ) -> Generator[None, None, Second]:
        """Its currents, or else its power."""
        found: list[int | None] = []
        for code in CURRENTS:
            if code in self._codes:
                if found:
                    yield
                found.append((yield from self._value(line, code, retries, 3)))
        known = [one for one in found if one is not None]
        if known:
            return Second(max(known))
        for code in POWERS:
            if code in self._codes:
                power = yield from self._value(line, code, retries, 3)
                return Second(None if power is None else power // _VOLTS)
        return Second()

    def register(self, line: Line, retries: int) -> Generator[None, None, str]:
        """Its energy, where the model has it."""
        if ENERGY not in self._codes:
            return ""
        value = yield from self._value(line, ENERGY, retries, 0)
        return "" if value is None else f"{value} Wh"

    def is_overdrawn(self, line: Line, retries: int) -> Generator[None, None, bool | None]:
        """It keeps no account."""
        yield from ()
        return None

    def load_voltage(self, line: Line, retries: int) -> Generator[None, None, bool | None]:
        """It cannot tell."""
        yield from ()
        return None

    def clock(
        self, line: Line, retries: int, boot_ms: Callable[[], int]
    ) -> Generator[None, None, MeterClockShown | None]:
        """None that a command goes by."""
        yield from ()
        return None

    def delay_ms(self, line: Line, retries: int) -> Generator[None, None, int]:
        """None that is told."""
        yield from ()
        return 0

    def switch(self, action: str, expiry: MeterTime | None) -> Command:
        """The write of its model; nothing of the deadline travels."""
        self.check(action)
        command = self._writes[action]

        def send(line: Line) -> bytes:
            answer = self._driver.tell(line, command.pdu())
            command.check_reply(answer)
            return answer

        write = command.write
        return Command(send, f"{action}: function {write.function} at {write.address}")

    def operator(self, action: str) -> str:
        """Nobody."""
        return ""

    def parameters(self, action: str, arguments: tuple[object, ...]) -> tuple[Parameter, ...]:
        """None."""
        raise ControlError("no-way", _NOTHING)

    def stored(self, line: Line, retries: int, place: str) -> Generator[None, None, bytes]:
        """Nothing."""
        yield from ()
        return b""

    def clock_setting(
        self, boot_ms: Callable[[], int], time_at: Callable[[int], MeterTime]
    ) -> Command:
        """None."""
        raise ControlError("no-way", _NOTHING)

    def demand_reset(self) -> Command:
        """None."""
        raise ControlError("no-way", _NOTHING)

    def demands(self, line: Line, retries: int) -> Generator[None, None, Demands]:
        """Nothing that a reset is told by."""
        yield from ()
        return Demands(None, None)

    def freeze(self) -> Command:
        """None."""
        raise ControlError("no-way", _NOTHING)

    def security(self, di: str, operator: str, body: bytes) -> Command:
        """None."""
        raise ControlError("no-way", _NOTHING)

    def security_number(self) -> str | None:
        """It has no security module."""
        return None

    def purse(self, line: Line, retries: int) -> Generator[None, None, Purse]:
        """It has none."""
        yield from ()
        raise UnsupportedError(_NOTHING, 0)

    def heard(self) -> tuple[int, int]:
        """A Modbus answer cannot be told from another unit's of the same number."""
        return 0, self._driver.counters.silences

    def mask(self, frames: Frames) -> int:
        """Nothing in them is secret."""
        return 0

    def _value(self, line: Line, code: Obis, retries: int, decimals: int) -> Words:
        """A quantity, with so many decimals of its unit; None where it has no value."""
        for reading in (yield from self._driver.read(line, code, retries)):
            value, scaler = abs(reading.quantity.value), reading.quantity.scaler + decimals
            return int(value * 10**scaler if scaler >= 0 else value // 10**-scaler)
        return None
