"""What a master may make a virtual meter do: each command that is no read, and what it answers.

A handler gives the data of the reply, or the error byte. Passwords of a level above a command's
limit are not authorised; a meter with a programming key wants it pressed for everything that
changes its memory. Relay controls need no key, but the terms of the meter's model.

A secured relay control with P2 = 01 gets the extended answer: a status of two bytes, low byte
first, behind 9C instead of nothing and behind DC instead of the error byte (public firmware).
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

from hil.meter_access import Access, SecurityModule
from hil.meter_clock import MeterClock
from hil.meter_events import (
    CLOCK_SET,
    DEMAND_CLEARED,
    EVENTS,
    EVENTS_CLEARED,
    METER_CLEARED,
    PROGRAMMED,
    event_of,
)
from hil.meter_history import NO_DATA, OTHER_ERROR
from hil.meter_quantities import NEVER, Quantities
from hil.meter_quirks import IGNORES_ORDERS
from hil.meter_registers import Registers
from hil.meter_relay import NOT_AUTHORISED, REFUSED, MeterRelay, RelayAnswer
from hil.supply import Supply
from protocols.dlt645.clock import time_from_bytes
from protocols.dlt645.commands import (
    EVERY_EVENT,
    RATES,
    ChangePassword,
    ChangeRate,
    ClearDemand,
    ClearEvents,
    ClearMeter,
    Freeze,
    Relay,
    SecuredControl,
    SecuredWrite,
    Security,
    Terminal,
    Write,
)
from protocols.dlt645.controls import Function
from protocols.dlt645.credentials import Credentials, operator_bytes
from protocols.dlt645.frame import Frame, is_meter_address
from protocols.dlt645.identifiers import CLOCK, DATE, TIME, identifier_bytes
from protocols.dlt645.relay import ACTION_NAMES, RelayTerms
from protocols.errors import ValueFormatError

RATE_REFUSED = 0x08
WRITE_LEVEL_MAX = 4
DEMAND_LEVEL_MAX = 4
CLEAR_LEVEL_MAX = 2
_SECURED_PLAIN_SIZE = 8  # N1 N2 YY MM DD hh mm ss
_P2, _WITH_STATUS = 3, 0x01  # where it stands in a control, and what asks for a status
_RATE_WORD = "04000703"
_EVENT_SIZES = (4, 6)  # digits that name an event of the supply
_HEAD_SIZE = 12  # identifier and credentials of a write
_ADDRESS = "04000401"
_CLOCKS = {"04000101": DATE, "04000102": TIME, "0400010C": CLOCK}
_UNUSED = b"\xff" * 4
_CLEARED = ("00010000", "00020000", "00050000", "00060000", "00070000", "00080000")
_PHASES = (0x14, 0x28, 0x3C)  # added to DI2 of an energy


class Refusal(NamedTuple):
    """An abnormal reply that says more than an error byte."""

    data: bytes


Outcome = bytes | int | Refusal
DONE = b""


class Orders:
    """The parts of one meter, and what its masters may do with them. `rename` takes the address
    that a write of 04000401 gives."""

    def __init__(
        self,
        registers: Registers,
        quantities: Quantities,
        supply: Supply,
        own_clock: MeterClock,
        clock: Callable[[], int],
        relay: MeterRelay,
        access: Access,
        security: SecurityModule,
        terms: RelayTerms,
        needs_key: bool,
        rename: Callable[[str], None],
        quirks: Collection[str] = (),
    ) -> None:
        self.is_key_pressed = False
        self.rate = 2400
        self.is_rate_told = False
        self.output = 0  # of the multifunction terminal
        self._registers = registers
        self._quantities = quantities
        self._supply = supply
        self._own_clock = own_clock
        self._clock = clock
        self._relay = relay
        self._access = access
        self._security = security
        self._terms = terms
        self._needs_key = needs_key
        self._rename = rename
        self._quirks = quirks
        self._handlers: dict[type, Callable[..., Outcome]] = {
            Write: self._write,
            SecuredWrite: self._secured_write,
            Freeze: self._freeze,
            ChangeRate: self._change_rate,
            ChangePassword: self._change_password,
            ClearDemand: self._clear_demand,
            ClearMeter: self._clear_meter,
            ClearEvents: self._clear_events,
            Relay: self._relay_control,
            SecuredControl: self._secured_control,
            Terminal: self._terminal,
            Security: self._secure,
        }

    @property
    def may_program(self) -> bool:
        """Whether the programming key, where there is one, is pressed."""
        return self.is_key_pressed or not self._needs_key

    def obey(self, command: object, frame: Frame) -> Outcome:
        """Carries out a command, which came in `frame`; the data of the reply, or the error."""
        return self._handlers[type(command)](command, frame)

    # --- writes -------------------------------------------------------------------------------

    def _write(self, command: Write, frame: Frame) -> Outcome:
        if not self._may_change(command.credentials, WRITE_LEVEL_MAX):
            return NOT_AUTHORISED
        if IGNORES_ORDERS in self._quirks:
            return DONE
        return self._store(command.di, frame.data[_HEAD_SIZE:], command.credentials.operator)

    def _secured_write(self, command: SecuredWrite, frame: Frame) -> Outcome:
        body = self._security.open_write(command)
        if body is None:
            return NOT_AUTHORISED
        return self._store(command.di, body, command.operator)

    def _store(self, di: str, body: bytes, operator: str) -> Outcome:
        if di in _CLOCKS:
            error = self._set_clock(_CLOCKS[di], body, operator)
        elif di == _ADDRESS:
            error = self._set_address(body)
        else:
            error = self._registers.write(identifier_bytes(di), body)
        if error:
            return error
        changed = identifier_bytes(di) + 9 * _UNUSED
        self._registers.events.add(PROGRAMMED, self._stamp(operator) + changed)
        return DONE

    def _set_clock(self, part: str, body: bytes, operator: str) -> int:
        now = self._own_clock.time().to_bytes()
        # The weekday is what somebody stored; this meter counts its own.
        if part == DATE:
            size, wire = 4, now[:3] + body[1:]
        elif part == TIME:
            size, wire = 3, body + now[3:]
        else:
            size, wire = 7, body[:3] + body[4:]
        try:
            told = time_from_bytes(wire) if len(body) == size else None
        except ValueFormatError:
            told = None
        if told is None:
            return OTHER_ERROR
        self._own_clock.set(told)
        self._registers.events.add(CLOCK_SET, operator_bytes(operator) + now + wire)
        return 0

    def _set_address(self, body: bytes) -> int:
        address = bytes(reversed(body)).hex()
        if not is_meter_address(address):
            return OTHER_ERROR
        self._rename(address)
        return 0

    def _change_password(self, command: ChangePassword, frame: Frame) -> Outcome:
        old = Credentials(command.old_level, command.old_password, "")
        if command.old_level > command.level or not self._may_change(old, command.level):
            return NOT_AUTHORISED
        self._access.change(command.level, command.password)
        return bytes(frame.data[-4:])

    def _change_rate(self, command: ChangeRate, frame: Frame) -> Outcome:
        self.rate, self.is_rate_told = command.rate, True
        self._registers.pin(_RATE_WORD, RATES[command.rate])
        return bytes(frame.data)

    def _terminal(self, command: Terminal, frame: Frame) -> Outcome:
        if command.output not in (0, 1, 2):
            return OTHER_ERROR
        self.output = command.output
        return bytes(frame.data)

    # --- freezes and clears -------------------------------------------------------------------

    def _freeze(self, command: Freeze, _: Frame) -> Outcome:
        self._registers.history.freeze(command)
        return DONE

    def _clear_demand(self, command: ClearDemand, _: Frame) -> Outcome:
        if not self._may_change(command.credentials, DEMAND_LEVEL_MAX):
            return NOT_AUTHORISED
        return self._do_clear_demand(command.credentials.operator)

    def _do_clear_demand(self, operator: str) -> Outcome:
        record = self._stamp(operator)
        nothing = bytes(3) + bytes.fromhex(NEVER)
        for item in range(24):  # of total and phases: two active, four quadrants
            known = item < 2
            record += self._quantities.bytes_of(f"010{item + 1}0000") if known else nothing
        self._registers.events.add(DEMAND_CLEARED, record)
        self._quantities.clear_demand()
        return DONE

    def _clear_meter(self, command: ClearMeter, _: Frame) -> Outcome:
        if not self._may_change(command.credentials, CLEAR_LEVEL_MAX):
            return NOT_AUTHORISED
        return self._do_clear_meter(command.credentials.operator)

    def _do_clear_meter(self, operator: str) -> Outcome:
        events = self._registers.events
        record = self._stamp(operator)
        for phase in (0, *_PHASES):
            for di in _CLEARED:
                record += self._energy(f"00{int(di[2:4], 16) + phase:02X}0000")
        kept = (METER_CLEARED, EVENTS_CLEARED)
        events.clear(tuple(event for event in EVENTS if event not in kept))
        self._registers.watch.clear()
        events.add(METER_CLEARED, record)
        self._supply.clear(self._clock())
        self._registers.history.clear()
        return DONE

    def _energy(self, di: str) -> bytes:
        try:
            return self._quantities.bytes_of(di)
        except KeyError:
            return _UNUSED  # this meter does not measure it

    def _clear_events(self, command: ClearEvents, _: Frame) -> Outcome:
        if not self._may_change(command.credentials, CLEAR_LEVEL_MAX):
            return NOT_AUTHORISED
        return self._do_clear_events(command.di, command.credentials.operator)

    def _do_clear_events(self, di: str, operator: str) -> Outcome:
        events = self._registers.events
        kept = (METER_CLEARED, EVENTS_CLEARED)  # nobody hides a clear
        event = event_of(di)
        watch = self._registers.watch
        chosen: tuple[str, ...] = ()
        if di == EVERY_EVENT:
            chosen = tuple(one for one in EVENTS if one not in kept)
            watch.clear()
        elif not di.endswith("FF"):
            return NO_DATA
        elif not any(watch.clear(di[:size]) for size in _EVENT_SIZES):
            if event is None or event in kept:
                return NO_DATA
            chosen = (event,)
        events.clear(chosen)
        events.add(EVENTS_CLEARED, self._stamp(operator) + identifier_bytes(di))
        return DONE

    # --- relay and security -------------------------------------------------------------------

    def _relay_control(self, command: Relay, _: Frame) -> Outcome:
        credentials = command.credentials
        if not self._access.lets_in(credentials.level, credentials.password):
            return NOT_AUTHORISED
        if command.action not in ACTION_NAMES:
            return OTHER_ERROR
        if command.action not in self._terms.plain or credentials.level not in self._terms.levels:
            return NOT_AUTHORISED
        if IGNORES_ORDERS in self._quirks:
            return DONE
        answer = self._relay.obey(
            command.action, command.parameter, command.expiry, credentials.operator
        )
        return answer.error or DONE

    def _secured_control(self, command: SecuredControl, frame: Frame) -> Outcome:
        if command.function == Function.RELAY:
            answer = self._secured_relay(command)
            if frame.data[_P2] != _WITH_STATUS or not answer.status:
                return answer.error or DONE
            status = answer.status.to_bytes(2, "little")
            return Refusal(status) if answer.error else status
        plain = self._security.open_control(command)
        if plain is None:
            return NOT_AUTHORISED
        operator = command.operator
        if command.function == Function.CLEAR_DEMAND:
            return self._do_clear_demand(operator)
        if command.function == Function.CLEAR_METER:
            return self._do_clear_meter(operator)
        return self._do_clear_events(plain[:4].hex().upper(), operator)

    def _secured_relay(self, command: SecuredControl) -> RelayAnswer:
        plain = self._security.open_control(command) if self._terms.secured else None
        if plain is None:
            return RelayAnswer(NOT_AUTHORISED, REFUSED)
        try:
            expiry = time_from_bytes(bytes(reversed(plain[2:])))
        except ValueFormatError:
            return RelayAnswer(OTHER_ERROR, REFUSED)
        if len(plain) != _SECURED_PLAIN_SIZE:
            return RelayAnswer(OTHER_ERROR, REFUSED)
        return self._relay.obey(plain[0], plain[1], expiry, command.operator)

    def _secure(self, command: Security, frame: Frame) -> Outcome:
        answer = self._security.answer(command)
        return answer if isinstance(answer, int) else bytes(frame.data[:4]) + answer

    # --- who may ------------------------------------------------------------------------------

    def _may_change(self, credentials: Credentials, level_max: int) -> bool:
        is_let_in = self._access.lets_in(credentials.level, credentials.password)
        return is_let_in and credentials.level <= level_max and self.may_program

    def _stamp(self, operator: str) -> bytes:
        return self._own_clock.time().to_bytes() + operator_bytes(operator)
