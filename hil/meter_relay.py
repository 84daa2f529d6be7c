"""A meter's relay: what was ordered, what its contact does, and when.

Behaviour of public meter firmware, where they differ the first named one:

* A control whose expiry has passed is refused; the very second of the expiry is still valid.
* Keep-power refuses every disconnect and cancels one that is not yet carried out.
* The command bit of status word 3 changes at once. The contact opens after the minutes of
  04001401, and after a permission to close only when somebody presses the button.
* When the contact is due to open and a current is above 04001402, it waits until none is, for the
  minutes of 04001403 at most. A limit or a time of zero means that it does not wait.
* What is already so is acknowledged and changes nothing. A connect or permission while a
  disconnect is pending takes it back (the firmware does not say; it is the harmless reading).
* 1D and 1E with N2 x 5 min: one source opens now and closes (or permits to) then, another does
  nothing before then; `opens_first` chooses.
* With a local account that is overdrawn, a connect or permission is acknowledged and not carried
  out, and the end of keep-power sets the open command at once. The button does nothing (ours).
* Without power the contact stays where it is, and what fell due happens when the power is back.
* Whoever opened or closed it, time, operator and registers are kept.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from hil.course import SLOT_MS
from hil.meter_clock import MeterClock
from hil.meter_events import RELAY_CLOSED, RELAY_OPENED, EventLog
from hil.meter_quantities import Quantities
from hil.meter_quirks import KEEPS_NO_RECORDS, STUCK_CONTACT
from hil.meter_watch import Watch
from hil.supply import Supply
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.credentials import operator_bytes
from protocols.dlt645.relay import ACTION_NAMES, OPEN_BIT, OPEN_COMMAND_BIT, RelayAction

ACCEPTED = 0x00
OTHER_ERROR = 0x01
NOT_AUTHORISED = 0x04
ALARM_BIT = 7  # of status word 3
KEEP_POWER_BIT = 12
MINUTE_MS = 60_000
STEP_MIN = 5  # of N2
LOOK_MS = 10_000  # how often it looks at the current while it waits (ours; the firmware: 1 s)
NO_OPERATOR = "00000000"
DELAY, SAFE_CURRENT, SAFE_WAIT = "04001401", "04001402", "04001403"  # min, mA, min
_REGISTERS = ("00010000", "00020000", "00050000", "00060000", "00070000", "00080000")
# The status that a secured control may ask for: what was done, or why it was refused.
OPENED, OPENS_LATER, WAITS_FOR_CURRENT = 0x0004, 0x0008, 0x0020
_STATUS = {
    RelayAction.CONNECT: 0x0001,
    RelayAction.ARM: 0x0002,
    RelayAction.DISCONNECT: OPENED,
    RelayAction.DELAYED_CONNECT: 0x0010,
    RelayAction.DELAYED_ARM: 0x0010,
    RelayAction.KEEP_POWER_ON: 0x0100,
    RelayAction.KEEP_POWER_OFF: 0x0200,
    RelayAction.ALARM_ON: 0x0400,
    RelayAction.ALARM_OFF: 0x0800,
}
NO_STATUS = 0x0000  # nobody tells which
REFUSED, EXPIRED, POWER_IS_KEPT, POWER_IS_KEPT_LATER, NO_TIME = (
    0x0004,
    0x0010,
    0x0020,
    0x0040,
    0x0080,
)


class RelayAnswer(NamedTuple):
    """The error byte, ACCEPTED for none, and the status of the extended answer."""

    error: int
    status: int


@dataclass
class _Opening:
    """A disconnect that is not yet carried out, and when to look next whether it may be."""

    due_ms: int
    operator: str
    next_ms: int


class MeterRelay:
    """`clock` gives UTC ms, `number` a parameter's value; `is_overdrawn` says whether a local
    account is."""

    def __init__(
        self,
        clock: Callable[[], int],
        own_clock: MeterClock,
        supply: Supply,
        quantities: Quantities,
        events: EventLog,
        watch: Watch,
        number: Callable[[str], int],
        is_overdrawn: Callable[[], bool],
        opens_first: bool = True,
        quirks: Collection[str] = (),
    ) -> None:
        self.is_told_open = False
        self.is_alarmed = False
        self.keeps_power = False
        self._clock = clock
        self._own_clock = own_clock
        self._supply = supply
        self._quantities = quantities
        self._events = events
        self._watch = watch
        self._number = number
        self._is_overdrawn = is_overdrawn
        self._opens_first = opens_first
        self._quirks = quirks
        self._opening: _Opening | None = None
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

    def obey(
        self, action: int, parameter: int, expiry: MeterTime | None, operator: str
    ) -> RelayAnswer:
        """Carries out what an authorised master orders, or says why not."""
        self.settle()
        if expiry is None or self._own_clock.time() > expiry:
            return RelayAnswer(OTHER_ERROR, EXPIRED)
        if action not in ACTION_NAMES:
            return RelayAnswer(OTHER_ERROR, REFUSED)
        delayed = action in (RelayAction.DELAYED_CONNECT, RelayAction.DELAYED_ARM)
        if delayed and not parameter:
            return RelayAnswer(OTHER_ERROR, NO_TIME)
        if self.keeps_power and action == RelayAction.DISCONNECT:
            return RelayAnswer(NOT_AUTHORISED, POWER_IS_KEPT)
        if self.keeps_power and delayed and self._opens_first:
            return RelayAnswer(NOT_AUTHORISED, POWER_IS_KEPT_LATER)
        if delayed:
            self._delay(action, parameter, operator)
        else:
            self._carry_out(action, operator)
        self.settle()
        return RelayAnswer(ACCEPTED, self._status_of(action))

    def _status_of(self, action: int) -> int:
        """The status of an order that was accepted a moment ago."""
        opens = action == RelayAction.DISCONNECT
        if not opens and action in (RelayAction.DELAYED_CONNECT, RelayAction.DELAYED_ARM):
            if not self._opens_first:
                return NO_STATUS
            opens = True
        if opens and self._opening is not None:
            if self._opening.due_ms <= self._clock():
                return WAITS_FOR_CURRENT
            if action == RelayAction.DISCONNECT:
                return OPENS_LATER
        return _STATUS[action]

    def press_button(self) -> bool:
        """Somebody presses the button at the meter; whether the contact closed."""
        self.settle()
        if self.is_told_open or not self._supply.is_open or self._is_overdrawn():
            return False
        self._close(self._clock(), self._operator)
        return True

    def settle(self) -> None:
        """Moves the contact for what fell due meanwhile, in its order."""
        until_ms = self._clock()
        if self._then is not None:
            until_ms = min(until_ms, self._then[0])  # which takes the other back
        at_ms = self._opening_ms(until_ms)
        if at_ms is not None and self._opening is not None:
            operator = self._opening.operator
            self._opening = None
            if STUCK_CONTACT in self._quirks:
                return
            self._supply.open(at_ms)
            self._write_down(RELAY_OPENED, at_ms, operator)
        self._follow()

    def _opening_ms(self, until_ms: int) -> int | None:
        """When the contact opens, None while it does not yet."""
        opening = self._opening
        if opening is None:
            return None
        limit_ma = self._number(SAFE_CURRENT)
        end_ms = opening.due_ms + self._number(SAFE_WAIT) * MINUTE_MS
        while opening.next_ms <= until_ms:
            at_ms = opening.next_ms
            look = self._watch.seen(at_ms)
            if not look.has_power:
                opening.next_ms = self._next_change(at_ms)
            elif not limit_ma or at_ms >= end_ms or max(look.currents) <= limit_ma:
                return at_ms
            else:
                opening.next_ms = min(at_ms + LOOK_MS, end_ms)
        return None

    def _next_change(self, at_ms: int) -> int:
        """When the power may be back after `at_ms`."""
        edges = [one for one in self._supply.edges_ms if one > at_ms]
        return min([at_ms // SLOT_MS * SLOT_MS + SLOT_MS, *edges])

    def _follow(self) -> None:
        """The second half of 1D or 1E, once it is due."""
        if self._then is None:
            return
        at_ms, action, operator = self._then
        while at_ms <= self._clock() and not self._watch.seen(at_ms).has_power:
            at_ms = self._next_change(at_ms)
        if at_ms > self._clock():
            return
        self._then = None
        if action == RelayAction.DELAYED_CONNECT:
            self._connect(at_ms, operator)
        else:
            self._arm(operator)

    def _carry_out(self, action: int, operator: str) -> None:
        if action == RelayAction.DISCONNECT:
            self._then = None
            self._disconnect(operator)
        elif action == RelayAction.ARM:
            self._arm(operator)
        elif action == RelayAction.CONNECT:
            self._connect(self._clock(), operator)
        elif action in (RelayAction.ALARM_ON, RelayAction.ALARM_OFF):
            self.is_alarmed = action == RelayAction.ALARM_ON
        elif action == RelayAction.KEEP_POWER_ON:
            self.keeps_power = True
            if not self._supply.is_open:
                self._take_back()
        else:
            self.keeps_power = False
            if self._is_overdrawn():
                self._disconnect(operator)

    def _delay(self, action: int, parameter: int, operator: str) -> None:
        if self._opens_first:
            self._disconnect(operator)
        due_ms = self._clock() + parameter * STEP_MIN * MINUTE_MS
        self._then = (due_ms, action, operator)

    def _disconnect(self, operator: str) -> None:
        if not self.is_told_open and not self._supply.is_open:
            due_ms = self._clock() + self._number(DELAY) * MINUTE_MS
            self._opening = _Opening(due_ms, operator, due_ms)
        self.is_told_open = True

    def _arm(self, operator: str) -> None:
        if self._is_overdrawn():
            return
        self._then = None
        self._take_back()
        self._operator = operator

    def _connect(self, at_ms: int, operator: str) -> None:
        if self._is_overdrawn():
            return
        self._then = None
        self._take_back()
        if self._supply.is_open:
            self._close(at_ms, operator)

    def _take_back(self) -> None:
        self.is_told_open = False
        self._opening = None

    def _close(self, at_ms: int, operator: str) -> None:
        if STUCK_CONTACT in self._quirks:
            return
        self._supply.close(at_ms)
        self._write_down(RELAY_CLOSED, at_ms, operator)

    def _write_down(self, event: str, at_ms: int, operator: str) -> None:
        if KEEPS_NO_RECORDS in self._quirks:
            return
        time = self._own_clock.time(at_ms).to_bytes()
        registers = b"".join(self._quantities.bytes_of(di, at_ms) for di in _REGISTERS)
        self._events.add(event, time + operator_bytes(operator) + registers)
