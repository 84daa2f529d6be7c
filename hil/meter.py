"""A virtual DL/T 645-2007 meter: whom it answers, what, and what it does about it.

Rules (the behaviour is that of public meter firmware, see `dlt645` in the protocol notes):

* A read is answered at its own address, and at an abbreviated one: AA in the high bytes,
  contiguous from A5 downwards, the remaining digits exact. The reply carries the real address.
* Read address (13) is answered to six AA and no data only; write address (15) at six AA or its own,
  from the new address. Everything else that changes something needs its full address, and gets
  silence at any other; clock (08) and freeze (16) at 99..99 are carried out without a word.
* An identifier that it does not have is ERR 02, data that do not fit ERR 01, a wrong password or
  what it may not do ERR 04, a rate that is none ERR 08. Codes outside the standard get silence.
* A payload longer than `cut` is sent in parts: B1 without SEQ, then 92/B2 with SEQ as last byte.
  The parts are of one instant, and may cut inside an item.
* A phase that is not fitted, and a record that never was, is FF fill.
* Without power it says nothing. Its clock goes on, and its relay stays as it is.

Registers, relay, clock, passwords and events are modules of their own (`meter_…`).
"""

from collections.abc import Callable, Iterable, Mapping

from hil.load import Load
from hil.meter_access import FAILURES_MAX, LOCKOUT_S, Access, NoSecurity, SecurityModule
from hil.meter_clock import MeterClock
from hil.meter_events import COVER_OPENED, TERMINAL_COVER_OPENED
from hil.meter_history import LOAD_CLASS, NO_DATA, OTHER_ERROR
from hil.meter_judgements import USUAL, Limits
from hil.meter_orders import RATE_REFUSED, Orders, Refusal
from hil.meter_port import RESPONSE_DELAY_S, Log, MeterPort, Value
from hil.meter_quantities import Quantities
from hil.meter_quirks import DROPS_REPLIES, shown_word
from hil.meter_registers import Registers
from hil.meter_relay import MeterRelay
from hil.supply import Supply
from protocols.dlt645.answers import CUT_SIZE, CUT_SIZE_MAX, Answer, accepted, is_addressed, refused
from protocols.dlt645.commands import (
    BroadcastTime,
    Read,
    ReadAddress,
    ReadMore,
    ReadRecords,
    WriteAddress,
)
from protocols.dlt645.controls import FUNCTION_NAMES, Function
from protocols.dlt645.frame import (
    ABNORMAL_BIT,
    ANY_ADDRESS,
    BROADCAST,
    REPLY_BIT,
    Frame,
    address_bytes,
    is_meter_address,
)
from protocols.dlt645.identifiers import identifier_bytes
from protocols.dlt645.relay import UNKNOWN_TERMS, RelayTerms
from protocols.dlt645.requests import decode_command
from protocols.errors import CallerError, ValueFormatError

PROGRAMMING_BIT = 3  # of status word 3
MONEY_ACCOUNT = 0b10 << 8
OVERDRAFT_BIT = 14  # of status word 1
COVER_BITS = {COVER_OPENED: 9, TERMINAL_COVER_OPENED: 10}  # of status word 7
_COVER_REGISTERS = ("00010000", "00020000", "00050000", "00060000", "00070000", "00080000")
_NOT_YET = b"\xff" * 6
# Whom a request may name, where that is not just the meter itself.
_OPEN_ADDRESSES = {
    Function.READ_ADDRESS: (ANY_ADDRESS,),
    Function.BROADCAST_TIME: (BROADCAST,),
}
_MORE_ADDRESSES = {
    Function.WRITE_ADDRESS: (ANY_ADDRESS,),
    Function.FREEZE: (BROADCAST,),
    Function.TERMINAL: (BROADCAST,),
}
_READS = (Function.READ, Function.READ_MORE)


class Dlt645Meter(MeterPort):
    """A meter with a 12-digit `address` whose registers follow `load` at `clock()` (UTC ms)."""

    def __init__(
        self,
        address: str,
        load: Load,
        clock: Callable[[], int],
        *,
        response_delay_s: float = RESPONSE_DELAY_S,
        preamble: int = 4,
        cut: int = CUT_SIZE,
        utc_offset_ms: int = 0,
        refuses: tuple[str, ...] = (),
        log: Log | None = None,
        clock_offset_ms: int = 0,
        clock_drift_ppm: int = 0,
        passwords: Mapping[int, str] | None = None,
        failures_max: int = FAILURES_MAX,
        lockout_s: int = LOCKOUT_S,
        needs_key: bool = False,
        relay_terms: RelayTerms = UNKNOWN_TERMS,
        relay_opens_first: bool = True,
        security: SecurityModule | None = None,
        has_separators: bool = True,
        limits: Limits = USUAL,
        has_local_account: bool = False,
        quirks: Iterable[str] = (),
    ) -> None:
        """`refuses` lists identifiers that answer ERR 02; `log` gets each value answered.

        Without `passwords` (six digits by level) nobody may change anything, without `relay_terms`
        no password moves the relay. `needs_key` wants the programming key pressed. Its own clock
        is off by `clock_offset_ms` and runs fast by `clock_drift_ppm`. `has_separators` is of its
        freeze blocks, `relay_opens_first` what 1D and 1E mean to it, `limits` what it is built for.
        With a local account it is overdrawn when 00900201 shows more than 04001003 allows. `quirks`
        are those of `meter_quirks`.
        """
        super().__init__(address, response_delay_s, preamble)
        if not 1 <= cut <= CUT_SIZE_MAX:
            raise CallerError(f"cut {cut} is out of range")
        self.clock = MeterClock(clock, utc_offset_ms, clock_offset_ms, clock_drift_ppm)
        self.access = Access(passwords or {}, clock, failures_max, lockout_s)
        self._cut = cut
        self._supply = Supply(load)
        self._quantities = Quantities(self._supply, clock, utc_offset_ms)
        self._registers = Registers(
            self._quantities,
            self._supply,
            self.clock,
            clock,
            utc_offset_ms,
            self._words(),
            lambda: self.name,
            refuses=refuses,
            log=log,
            has_separators=has_separators,
            limits=limits,
        )
        self._watch = self._registers.watch
        self._has_local_account = has_local_account
        self.quirks = set(quirks)
        self.relay = self._make_relay(clock, relay_opens_first)
        self.orders = self._make_orders(clock, security or NoSecurity(), relay_terms, needs_key)
        self._shown: Answer | None = None  # whose parts 12 may ask for
        self._covers: dict[str, bytes] = {}  # open ones, and what their record begins with

    def _make_relay(self, clock: Callable[[], int], opens_first: bool) -> MeterRelay:
        return MeterRelay(
            clock,
            self.clock,
            self._supply,
            self._quantities,
            self._registers.events,
            self._watch,
            self._registers.number,
            self._is_overdrawn,
            opens_first,
            self.quirks,
        )

    def _make_orders(
        self,
        clock: Callable[[], int],
        security: SecurityModule,
        terms: RelayTerms,
        needs_key: bool,
    ) -> Orders:
        return Orders(
            self._registers,
            self._quantities,
            self._supply,
            self.clock,
            clock,
            self.relay,
            self.access,
            security,
            terms,
            needs_key,
            self._rename,
            self.quirks,
        )

    def pin(self, di: str, value: Value) -> None:
        """Fixes an identifier, see `Registers.pin`; bytes are its payload as sent."""
        self._registers.pin(di, value)

    def unpin(self, di: str) -> None:
        """Lets an identifier say again what it says by itself."""
        self._registers.unpin(di)

    @property
    def rate(self) -> int:
        """The line rate that it was last told to use, in bit/s."""
        return self.orders.rate

    @property
    def line_rate(self) -> int | None:
        """The rate at which it hears and talks since it was told one; None: its line's."""
        return self.orders.rate if self.orders.is_rate_told else None

    def cut_power(self) -> None:
        """Somebody cuts its supply."""
        self.relay.settle()
        self._supply.cut(self.clock.utc_ms())

    def restore_power(self) -> None:
        """Somebody gives it back."""
        self._supply.restore(self.clock.utc_ms())

    def press_button(self) -> bool:
        """Somebody presses the button at the meter; whether the relay closed."""
        return self.relay.press_button()

    def press_programming_key(self, is_pressed: bool = True) -> None:
        """Somebody permits programming, or ends that."""
        self.orders.is_key_pressed = is_pressed

    def open_cover(self, event: str = COVER_OPENED) -> None:
        """Somebody opens the meter's cover, or that of its terminals."""
        if event not in self._covers:
            begin = self.clock.time().to_bytes()
            self._covers[event] = begin + _NOT_YET + self._energies()
            unknown = b"\xff" * len(self._energies())
            self._registers.events.add(event, self._covers[event] + unknown)

    def close_cover(self, event: str = COVER_OPENED) -> None:
        """Somebody closes it again: its record is complete."""
        begun = self._covers.pop(event, b"")
        if begun and self._registers.events.latest(event):
            end = self.clock.time().to_bytes()
            record = begun[:6] + end + begun[12:] + self._energies()
            self._registers.events.amend(event, record)

    def answer(self, frame: Frame) -> Frame | None:
        """The reply to one frame; None is silence."""
        if frame.control != frame.function or not self._is_meant(frame):
            return None
        self.relay.settle()
        if not self._watch.has_power:
            return None
        own = self.name
        try:
            command = decode_command(frame)
        except ValueFormatError:
            return self._no(frame, _error_of(frame))
        if isinstance(command, (ReadAddress, BroadcastTime, WriteAddress)):
            return self._obey_all(frame, command)
        if isinstance(command, (Read, ReadRecords)):
            return self._read(frame, command)
        if isinstance(command, ReadMore):
            return self._read_more(frame, command)
        self._watch.settle()  # before its clock or its registers change
        outcome = self.orders.obey(command, frame)
        if DROPS_REPLIES in self.quirks:
            return None
        if isinstance(outcome, int):
            return self._no(frame, outcome)
        if isinstance(outcome, Refusal):
            return Frame(own, frame.function | REPLY_BIT | ABNORMAL_BIT, outcome.data)
        return None if frame.address == BROADCAST else accepted(frame, own, outcome)

    def _is_meant(self, frame: Frame) -> bool:
        function, asked = frame.function, frame.address
        if function not in FUNCTION_NAMES:
            return False
        if function in _OPEN_ADDRESSES:
            return asked in _OPEN_ADDRESSES[function]
        if function in _READS:
            return is_addressed(asked, self.name)
        return asked == self.name or asked in _MORE_ADDRESSES.get(function, ())

    def _no(self, frame: Frame, code: int) -> Frame | None:
        """A refusal, where the function has one and somebody asked this meter."""
        is_heard = frame.function not in (*_OPEN_ADDRESSES, Function.WRITE_ADDRESS)
        return refused(frame, self.name, code) if is_heard and frame.address != BROADCAST else None

    def _obey_all(self, frame: Frame, command: object) -> Frame | None:
        if isinstance(command, ReadAddress):
            return accepted(frame, self.name, address_bytes(self.name))
        if isinstance(command, BroadcastTime):
            self._watch.settle()
            self.clock.hear_broadcast(command.time)
        elif isinstance(command, WriteAddress):
            if self.orders.may_program and is_meter_address(command.address):
                self._rename(command.address)
                return accepted(frame, self.name)
        return None

    def _read(self, frame: Frame, command: Read | ReadRecords) -> Frame | None:
        self._shown = None
        found: bytes | int | None
        if isinstance(command, ReadRecords):
            found = self._registers.records(command)
        else:
            found = self._registers.payload(frame.data)
            if found is None and frame.data[-1] == LOAD_CLASS:
                found = OTHER_ERROR  # how many records?
        if not isinstance(found, bytes):
            return self._no(frame, found or NO_DATA)
        self._shown = Answer(bytes(frame.data[:4]), found, self._cut)
        return self._shown.first(frame, self.name)

    def _read_more(self, frame: Frame, command: ReadMore) -> Frame | None:
        shown = self._shown
        if shown is None or shown.di != identifier_bytes(command.di):
            return self._no(frame, NO_DATA)
        return shown.following(frame, self.name, command.sequence) or self._no(frame, NO_DATA)

    def _rename(self, address: str) -> None:
        self.name = address

    def _energies(self) -> bytes:
        return b"".join(self._quantities.bytes_of(di) for di in _COVER_REGISTERS)

    def _words(self) -> dict[str, Callable[[], int]]:
        """Its status words by identifier."""
        return {
            "04000501": self._word_1,
            "04000503": self._word_3,
            "04000504": lambda: self._watch.bits(0),
            "04000505": lambda: self._watch.bits(1),
            "04000506": lambda: self._watch.bits(2),
            "04000507": self._word_7,
        }

    def _is_overdrawn(self) -> bool:
        number = self._registers.number
        return self._has_local_account and number("00900201") > number("04001003")

    def _word_1(self) -> int:
        return self._is_overdrawn() << OVERDRAFT_BIT

    def _word_3(self) -> int:
        account = MONEY_ACCOUNT if self._has_local_account else 0
        bits = shown_word(self.relay.word_bits, self.quirks)
        return bits | self.orders.is_key_pressed << PROGRAMMING_BIT | account

    def _word_7(self) -> int:
        covers = sum(1 << COVER_BITS[event] for event in self._covers)
        return covers | self._watch.bits(None)


def _error_of(frame: Frame) -> int:
    """The error of data that do not fit."""
    if frame.function == Function.CHANGE_RATE and len(frame.data) == 1:
        return RATE_REFUSED
    return OTHER_ERROR
