"""A meter's relay: what was ordered, what its contact does, and when.

Behaviour of public meter firmware, where they differ the first named one:

* A control whose expiry has passed is refused; the very second of the expiry is still valid.
* Keep-power refuses every disconnect and cancels one that is not yet carried out.
* The command bit of status word 3 changes at once. The contact opens after the minutes of
  04001401, and after a permission to close only when somebody presses the button.
* What is already so is acknowledged and changes nothing. A connect or permission while a
  disconnect is pending takes it back (the firmware does not say; it is the harmless reading).
* 1D and 1E with N2 x 5 min: one source opens now and closes (or permits to) then, another does
  nothing before then; `opens_first` chooses.
* Whoever opened or closed it, time, operator and registers are kept.
"""

from collections.abc import Callable

from hil.meter_clock import MeterClock
from hil.meter_events import RELAY_CLOSED, RELAY_OPENED, EventLog
from hil.meter_quantities import Quantities
from hil.supply import Supply
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.credentials import operator_bytes
from protocols.dlt645.relay import OPEN_BIT, OPEN_COMMAND_BIT, RelayAction

ACCEPTED = 0x00
OTHER_ERROR = 0x01
NOT_AUTHORISED = 0x04
ALARM_BIT = 7  # of status word 3
KEEP_POWER_BIT = 12
MINUTE_MS = 60_000
STEP_MIN = 5  # of N2
NO_OPERATOR = "00000000"
_REGISTERS = ("00010000", "00020000", "00050000", "00060000", "00070000", "00080000")


class MeterRelay:
    """`clock` gives UTC ms, `delay_min` the minutes between a disconnect and the contact."""

    def __init__(
        self,
        clock: Callable[[], int],
        own_clock: MeterClock,
        supply: Supply,
        quantities: Quantities,
        events: EventLog,
        delay_min: Callable[[], int],
        opens_first: bool = True,
    ) -> None:
        self.is_told_open = False
        self.is_alarmed = False
        self.keeps_power = False
        self._clock = clock
        self._own_clock = own_clock
        self._supply = supply
        self._quantities = quantities
        self._events = events
        self._delay_min = delay_min
        self._opens_first = opens_first
        self._opens_at: tuple[int, str] | None = None  # when, and by whose order
        self._then: tuple[int, int, str] | None = None  # when, which action, by whose order
        self._operator = NO_OPERATOR

    @property
    def word_bits(self) -> int:
        """Its bits of status word 3."""
        self.settle()
        return (
            self._supply.is_open << OPEN_BIT
            | self.is_told_open << OPEN_COMMAND_BIT
            | self.is_alarmed << ALARM_BIT
            | self.keeps_power << KEEP_POWER_BIT
        )

    def obey(self, action: int, parameter: int, expiry: MeterTime | None, operator: str) -> int:
        """Carries out what an authorised master orders; the error byte, ACCEPTED for none."""
        self.settle()
        if expiry is None or self._own_clock.time() > expiry:
            return OTHER_ERROR
        disconnects = action == RelayAction.DISCONNECT
        delayed = action in (RelayAction.DELAYED_CONNECT, RelayAction.DELAYED_ARM)
        if delayed and not parameter:
            return OTHER_ERROR
        if self.keeps_power and (disconnects or (delayed and self._opens_first)):
            return NOT_AUTHORISED
        if delayed:
            self._delay(action, parameter, operator)
            return ACCEPTED
        if not self._carry_out(action, operator):
            return OTHER_ERROR
        self.settle()
        return ACCEPTED

    def press_button(self) -> bool:
        """Somebody presses the button at the meter; whether the contact closed."""
        self.settle()
        if self.is_told_open or not self._supply.is_open:
            return False
        self._close(self._clock(), self._operator)
        return True

    def settle(self) -> None:
        """Moves the contact for what fell due meanwhile, in its order."""
        opens_ms = self._opens_at[0] if self._opens_at else None
        then_ms = self._then[0] if self._then else None
        if opens_ms is not None and then_ms is not None and then_ms < opens_ms:
            self._follow()  # which takes the other back
        if self._opens_at is not None and self._opens_at[0] <= self._clock():
            at_ms, operator = self._opens_at
            self._opens_at = None
            self._supply.open(at_ms)
            self._write_down(RELAY_OPENED, at_ms, operator)
        self._follow()

    def _follow(self) -> None:
        """The second half of 1D or 1E, once it is due."""
        if self._then is not None and self._then[0] <= self._clock():
            at_ms, action, operator = self._then
            self._then = None
            if action == RelayAction.DELAYED_CONNECT:
                self._connect(at_ms, operator)
            else:
                self._arm(operator)

    def _carry_out(self, action: int, operator: str) -> bool:
        if action == RelayAction.DISCONNECT:
            self._then = None
            self._disconnect(operator)
        elif action == RelayAction.ARM:
            self._then = None
            self._arm(operator)
        elif action == RelayAction.CONNECT:
            self._then = None
            self._connect(self._clock(), operator)
        elif action in (RelayAction.ALARM_ON, RelayAction.ALARM_OFF):
            self.is_alarmed = action == RelayAction.ALARM_ON
        elif action == RelayAction.KEEP_POWER_ON:
            self.keeps_power = True
            if not self._supply.is_open:
                self._take_back()
        elif action == RelayAction.KEEP_POWER_OFF:
            self.keeps_power = False
        else:
            return False
        return True

    def _delay(self, action: int, parameter: int, operator: str) -> None:
        if self._opens_first:
            self._disconnect(operator)
        due_ms = self._clock() + parameter * STEP_MIN * MINUTE_MS
        self._then = (due_ms, action, operator)
        self.settle()

    def _disconnect(self, operator: str) -> None:
        if not self.is_told_open and not self._supply.is_open:
            self._opens_at = (self._clock() + self._delay_min() * MINUTE_MS, operator)
        self.is_told_open = True

    def _arm(self, operator: str) -> None:
        self._take_back()
        self._operator = operator

    def _connect(self, at_ms: int, operator: str) -> None:
        self._take_back()
        if self._supply.is_open:
            self._close(at_ms, operator)

    def _take_back(self) -> None:
        self.is_told_open = False
        self._opens_at = None

    def _close(self, at_ms: int, operator: str) -> None:
        self._supply.close(at_ms)
        self._write_down(RELAY_CLOSED, at_ms, operator)

    def _write_down(self, event: str, at_ms: int, operator: str) -> None:
        time = self._own_clock.time(at_ms).to_bytes()
        registers = b"".join(self._quantities.bytes_of(di, at_ms) for di in _REGISTERS)
        self._events.add(event, time + operator_bytes(operator) + registers)
