"""What every order that changes something has in common on its line.

* The meter is read before anything is sent, and its identity before all else (I20).
* The gate judges what was found, makes the intent durable, and is asked once more right before the
  bytes go out. A command is sent in one exchange and never again; whatever comes of it, what
  follows are reads (I15).
* The meter's "yes" proves nothing, and its silence neither. A wait between two reads is left to the
  line, which polls its meters meanwhile.
* Frames are kept as evidence, the passwords in them blanked as soon as the exchange is over.
"""

import logging
from collections.abc import Callable, Generator
from typing import NamedTuple, Protocol

from edge.clock import Clock
from edge.collect.jobs import Priority, Steps
from edge.events import Evidence
from edge.line.line import Line, TooLateError
from edge.meters.control import LOWER, Command, Control, ControlError, Frames
from edge.meters.driver import Driver
from edge.orders.evidence import pieces_of
from edge.orders.found import Found, RefusedHere
from edge.orders.records import Facts
from protocols.envelope.fields import TEXT_SIZE_MAX
from protocols.errors import BusbarError, LineError, RefusedError
from protocols.messages import (
    EVIDENCE_MAX,
    FACT_NAME_SIZE_MAX,
    FACTS_MAX,
)
from protocols.orders.kinds import Effect
from protocols.orders.order import Order
from protocols.orders.refusals import refusal
from protocols.orders.states import OrderState
from protocols.readings import Reading

FIRST_PIECES = 40  # of the evidence: what led to the command; the rest are the latest reads
ACCEPTED = "the meter has accepted it"
ENDED = ("expired", "stopped", "lower-counter")  # what ends an order that waits for its meter
PASSWORD_BIT = 2  # of a meter's error byte: password wrong or not authorised
_STATES = {  # of a refusal's code
    "expired": OrderState.EXPIRED,
    "stopped": OrderState.CANCELLED,
    "lower-counter": OrderState.SUPERSEDED,
}

log = logging.getLogger("edge.orders")

Reads = Generator[int | None, None, None]


class Verdict(NamedTuple):
    """How an order ended, and by what."""

    state: str
    words: str


Look = Generator[int | None, None, Verdict | None]
Wait = Callable[[], Generator[int | None, None, int]]


class Gate(Protocol):
    """What lets an order through, and keeps what became of it; of one order."""

    def check(self, order: Order, found: Found) -> str:
        """ "" when it may be sent now, else the code of a refusal."""

    def arm(self, order: Order, found: Found) -> None:
        """Makes the intent durable; RefusedHere when that must not or can not be."""

    def holds(self) -> bool:
        """Whether it may be sent still, asked right before the bytes go out."""

    def note(
        self,
        order: Order,
        state: str,
        reason: str = "",
        facts: Facts = (),
        readings: tuple[Reading, ...] = (),
        evidence: Evidence = (),
    ) -> None:
        """Makes a state durable, and has it told."""

    def credential_refused(self, credential: str, mark: str = "") -> None:
        """The meter refused this one."""


class LineTerms(NamedTuple):
    """How the gateway's settings want an order carried out."""

    verify_ms: int = 5_000  # between two looks for its effect
    verify_for_ms: int = 120_000  # after which what was not seen counts as not done
    retry_ms: int = 30_000  # between two attempts to read a silent meter before a restore
    meter_utc_offset_min: int = 480  # what the meters' clocks are ahead of UTC


class LineWork:
    """A Job of `edge/collect/jobs`; kinds of orders are its subclasses."""

    priority = Priority.ORDER
    may_send = None

    def __init__(
        self,
        order: Order,
        counter: int,
        deadline_boot_ms: int,
        clock: Clock,
        gate: Gate,
        terms: LineTerms,
    ) -> None:
        self.meter_id: str = order.meter_id
        self.recording: Frames = []
        self.order = order
        self.counter = counter
        self.clock = clock
        self.gate = gate
        self.terms = terms
        self.deadline = deadline_boot_ms
        self.facts: dict[str, str] = {}
        self.is_identified: bool | None = None  # None: the meter cannot tell
        self.is_sent = False  # bytes may be on the wire
        self.verdict = Verdict(OrderState.UNKNOWN, "")
        self._masked = 0
        self._is_over = False

    def steps(self, line: Line, driver: Driver, retries: int) -> Steps:
        """Carries it out; whatever happens, one last state is noted."""
        try:
            yield from self._guarded(line, driver, retries)
        except GeneratorExit:
            self._end_early("its line stopped on the way", "no-turn")
            raise
        except Exception as error:
            log.exception("order_failed counter=%d", self.counter)
            self._end_early(f"a fault of the gateway: {type(error).__name__}", "internal")

    def drop(self, reason: str) -> None:
        """It never had a turn."""
        self.end(OrderState.REFUSED, refusal("no-turn", reason))

    # ---- what a kind does -----------------------------------------------------------------------

    def work(self, line: Line, control: Control, retries: int) -> Reads:
        """Reads, sends through `send`, looks for the effect, and ends with `end`."""
        raise NotImplementedError

    # ---- around it ------------------------------------------------------------------------------

    def _guarded(self, line: Line, driver: Driver, retries: int) -> Steps:
        try:
            if not self.is_in_time():
                raise RefusedHere("expired")
            if driver.control is None:
                raise RefusedHere("no-way", "its settings have no [meter.control]")
            driver.control.check(self.order.action)
            yield from self.work(line, driver.control, retries)
        except BusbarError as error:
            if self.is_sent:
                self.end(OrderState.UNKNOWN, str(error))
            elif isinstance(error, (RefusedHere, ControlError)):
                state = _STATES.get(error.code, OrderState.REFUSED)
                self.end(state, refusal(error.code, error.detail))
            elif isinstance(error, LineError):
                self.end(OrderState.REFUSED, refusal("meter-silent", str(error)))
            else:  # what the meter said before anything was sent is no value, or a no
                self.end(OrderState.REFUSED, refusal("no-way", str(error)))

    def _end_early(self, reason: str, code: str) -> None:
        if self._is_over:
            return
        if self.is_sent:
            self.end(OrderState.UNKNOWN, reason)
        else:
            self.end(OrderState.REFUSED, refusal(code, reason))

    def end(self, state: str, reason: str = "", readings: tuple[Reading, ...] = ()) -> None:
        """Notes its last state, with all that was observed."""
        self._is_over = True
        self.gate.note(
            self.order, state, reason[:TEXT_SIZE_MAX], self.told_facts(), readings, self.evidence()
        )

    def is_in_time(self) -> bool:
        """On the clock that does not jump."""
        return self.clock.boot_ms() <= self.deadline

    def tell(self, name: str, text: object) -> None:
        """A fact of the receipt; the latest of a name counts."""
        self.facts[name] = str(text)

    def told_facts(self) -> Facts:
        """As a receipt takes them."""
        if self._masked:
            self.facts["masked"] = f"the password in {self._masked} request, its digits and sum 00"
        self.facts["frames"] = str(len(self.recording))
        pairs = [
            (name[:FACT_NAME_SIZE_MAX], text[:TEXT_SIZE_MAX]) for name, text in self.facts.items()
        ]
        return tuple(pairs[-FACTS_MAX:])

    def evidence(self) -> Evidence:
        """The transcript in pieces that a receipt may carry: the first ones and the latest."""
        pieces = pieces_of(self.recording)
        if len(pieces) <= EVIDENCE_MAX:
            return pieces
        return pieces[:FIRST_PIECES] + pieces[len(pieces) - EVIDENCE_MAX + FIRST_PIECES :]

    # ---- before ---------------------------------------------------------------------------------

    def look_before(self, look: Callable[[], Reads]) -> Reads:
        """Reads what must be known before. A restore waits for a silent meter as long as it lives;
        anything else has its time now."""
        while True:
            try:
                yield from look()
                break
            except LineError:
                next_at = self.clock.boot_ms() + self.terms.retry_ms
                if self.order.kind.effect != Effect.RESTORES or next_at > self.deadline:
                    raise
            yield next_at
            code = self.gate.check(self.order, Found())
            if code in ENDED:
                raise RefusedHere(code)
        yield None

    def identify(self, line: Line, control: Control, retries: int) -> Reads:
        """Reads whose meter answers; RefusedHere for another one."""
        identity = yield from control.identity(line, retries)
        self.is_identified = identity.is_right
        self.facts.update(identity.facts)
        self.tell("assurance", control.assurance)
        if identity.is_right is False:
            raise RefusedHere("identity", identity.words)
        if identity.is_right is None:
            self.tell("identity", identity.words)
            if self.order.kind.effect == Effect.CUTS and control.assurance != LOWER:
                raise RefusedHere("identity", identity.words)

    # ---- the command ----------------------------------------------------------------------------

    def pass_gate(self, found: Found) -> None:
        """RefusedHere unless it may be sent now; its intent is durable then."""
        found = found._replace(facts=self.told_facts())
        code = self.gate.check(self.order, found)
        if code:
            raise RefusedHere(code)
        if not self.is_in_time():
            raise RefusedHere("expired")
        self.gate.arm(self.order, found)
        self.gate.note(self.order, OrderState.SENT)

    def may_go(self) -> bool:
        """The last question before the bytes."""
        return self.is_in_time() and self.gate.holds()

    def send(self, line: Line, control: Control, command: Command) -> bytes:
        """The one exchange of a command. LineError: nobody knows whether it arrived, unless
        `is_sent` is still false; RefusedError: the meter said no."""
        self.tell("command", command.words)

        def may_send() -> bool:
            if not self.may_go():
                return False
            self.is_sent = True
            return True

        before, line.may_send = line.may_send, may_send
        try:
            return command.send(line)
        finally:
            line.may_send = before
            self._masked += control.mask(self.recording)
            control.mask(line.transcript)

    def attempt(self, line: Line, control: Control, command: Command) -> str | None:
        """Sends a command, and notes what came back: "" accepted, else why there was no answer.
        None when it ended there, because nothing was sent. RefusedError is left to the caller."""
        try:
            self.send(line, control, command)
        except RefusedError:
            raise
        except LineError as error:
            if not self.is_sent:
                self.not_sent(error)
                return None
            words = f"no answer to the command: {error}"
            self.tell("answer", words)
            return words
        self.tell("answer", "accepted")
        return ""

    def verify(self, look: Callable[[bool], Look], answer: str, wait: Wait | None = None) -> Reads:
        """Looks for the effect until there is a verdict, or the time is over; `look(is_last)` says
        None for "not yet". `wait` is asked once for how much longer it may take (ms). `verdict`
        holds what came of it."""
        boot_ms, every = self.clock.boot_ms, self.terms.verify_ms
        until = boot_ms() + self.terms.verify_for_ms
        trouble = ""
        rounds = 0
        while True:
            is_last = boot_ms() + every > until
            verdict = None
            try:
                verdict = yield from look(is_last)
                trouble = ""
            except BusbarError as error:
                trouble = str(error)
            if verdict is not None or is_last:
                break
            if not rounds:
                self.gate.note(self.order, OrderState.VERIFYING, answer)
                if wait is not None:
                    yield None
                    until += yield from wait()
            rounds += 1
            yield boot_ms() + every
        self.verdict = verdict or Verdict(
            OrderState.UNKNOWN, f"its state could not be read: {trouble}"
        )

    def end_unseen(self, answer: str) -> None:
        """The end of what nobody can observe: the meter's word is all there is."""
        self.tell("observation", "none exists")
        self.end(OrderState.UNKNOWN if answer else OrderState.DONE, answer)

    def not_sent(self, error: LineError) -> None:
        """Nothing went out although all was ready."""
        why = "its time was over, or it was stopped" if isinstance(error, TooLateError) else error
        self.end(OrderState.NOT_DONE, f"nothing was sent: {why}")

    def refused_by_meter(self, command: Command, error: RefusedError) -> str:
        """The words of the meter's no. A refused password is never tried again (I21)."""
        if command.credential and error.code >> PASSWORD_BIT & 1:
            self.gate.credential_refused(command.credential, command.mark)
        return str(error)
