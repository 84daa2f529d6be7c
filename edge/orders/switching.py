"""Orders that move a relay, or keep it from being moved: disconnect, arm, connect, keep-power,
alarm.

* Before: whose meter it is, its status, its current, its records, its energy register, its clock.
* A disconnect of a meter that keeps its power, or is disconnected already, is refused here, and so
  is an end of keep-power whose own account is overdrawn: that would disconnect. A restore that
  finds what it wants is confirmed by that, and nothing is sent.
* After: its status, until the contact stands as ordered and a second observation agrees; then the
  energy register once more. Between two looks the line works for others.
"""

from collections.abc import Generator

from edge.collect.meter_time import meter_time
from edge.line.line import Line
from edge.meters.control import (
    LOWER,
    Command,
    Contact,
    Control,
    MeterClockShown,
    Second,
    SupplyState,
)
from edge.orders.deadline import drift_ms, meter_deadline
from edge.orders.found import Found, RefusedHere
from edge.orders.line_work import ACCEPTED, ENDED, LineWork, Look, Reads, Verdict
from edge.orders.observing import WANTED, Seen, Terms, judge
from protocols.dlt645.clock import MeterTime
from protocols.errors import BusbarError, RefusedError
from protocols.orders.kinds import Action, Effect, Observation
from protocols.orders.states import OrderState
from protocols.readings import TimeQuality

NO_STATE = SupplyState("", None, False, "")
DRIFT_ERROR_MS = 3_000  # whole seconds, and the time that the answer took
LEFT_MS_MIN = 2_000  # of the order's life: less, and the command could come too late for the meter
LOCAL = "local"  # of an account: the meter keeps it itself


class SwitchJob(LineWork):
    """One of the actions above."""

    def work(self, line: Line, control: Control, retries: int) -> Reads:
        """The whole course of it."""
        look = _Before(self, line, control, retries)
        yield from self.look_before(look.read)
        self._refuse(look, control)
        if self._is_so_already(look):
            self.end(OrderState.CONFIRMED, f"it was so already: {look.seen.state.contact}")
            return
        command = control.switch(self.order.action, look.expiry)
        self.pass_gate(look.found(control, command))
        try:
            answer = self.attempt(line, control, command)
        except RefusedError as error:
            yield None
            yield from self._after_refusal(line, control, retries, look, command, error)
            return
        if answer is None:
            return
        if self.order.kind.observed_by == Observation.NOTHING_TO_SEE:
            self.end_unseen(answer)
            return
        if not answer:
            self.gate.note(self.order, OrderState.ACKED, ACCEPTED)
        yield None
        yield from After(self, line, control, retries, look.seen, command.operator).verify(answer)

    # ---- before ---------------------------------------------------------------------------------

    def _refuse(self, look: "_Before", control: Control) -> None:
        """RefusedHere for what must not be sent, whatever the gate says."""
        order, state = self.order, look.seen.state
        if self.deadline - self.clock.boot_ms() < LEFT_MS_MIN:
            raise RefusedHere("expired", "no time is left for its command")
        if order.kind.effect == Effect.CUTS:
            if control.assurance == LOWER and not order.terms.assurance:
                raise RefusedHere("assurance")
            if look.is_disturbed:
                raise RefusedHere("identity", "more answers came than questions were asked")
            if look.is_clock_off:
                raise RefusedHere("meter-clock", self.facts["meter clock"])
        if order.action == Action.DISCONNECT:
            if state.contact in (Contact.DISCONNECTED, Contact.OPENING):
                raise RefusedHere("already-open", state.contact)
            if state.keep_power:
                raise RefusedHere("keep-power")
        if order.action == Action.KEEP_POWER_OFF and state.has_own_account:
            if look.is_overdrawn is not False:
                raise RefusedHere("local-account-overdrawn")
        if order.action == Action.CONNECT and look.has_load_voltage:
            raise RefusedHere("load-voltage")

    def _is_so_already(self, look: "_Before") -> bool:
        action, state = self.order.action, look.seen.state
        if action in (Action.KEEP_POWER_ON, Action.KEEP_POWER_OFF):
            return state.keep_power is (action == Action.KEEP_POWER_ON)
        is_restore = self.order.kind.effect == Effect.RESTORES
        if not is_restore or state.contact not in WANTED[action]:
            return False
        code = self.gate.check(self.order, Found(state.contact))
        if code in ENDED:
            raise RefusedHere(code)
        return True

    # ---- after ----------------------------------------------------------------------------------

    def _after_refusal(
        self, line: Line, control: Control, retries: int, look: "_Before", command: Command,
        error: RefusedError,
    ) -> Reads:  # fmt: skip
        """One look all the same: on a line where two answer, the no may be another's."""
        words = self.refused_by_meter(command, error)
        self.tell("answer", words)
        state = OrderState.REFUSED_BY_METER
        try:
            after = yield from control.supply(line, retries)
            self.tell("relay after", _words(after))
            if after.contact != look.seen.state.contact:
                state = OrderState.CONTRADICTED
                words = f"the meter refused ({words}), and is {after.contact} now"
        except BusbarError as silence:
            self.tell("relay after", f"not read: {silence}")
        self.end(state, words)


class _Before:
    """What is read before a command."""

    def __init__(self, job: SwitchJob, line: Line, control: Control, retries: int) -> None:
        self.seen = Seen(NO_STATE, Second())
        self.expiry: MeterTime | None = None
        self.is_overdrawn: bool | None = None
        self.has_load_voltage: bool | None = None
        self.is_disturbed = False
        self.is_clock_off = False
        self._job = job
        self._line, self._control, self._retries = line, control, retries

    def read(self) -> Reads:
        """All of it, each thing once."""
        job, line, control, retries = self._job, self._line, self._control, self._retries
        action = job.order.action
        yield from job.identify(line, control, retries)
        heard = control.heard()
        yield None
        state = yield from control.supply(line, retries)
        job.tell("relay before", _words(state))
        self.seen = Seen(state, Second())
        if action in WANTED:
            yield None
            yield from self._read_second(action == Action.DISCONNECT)
            yield None
            job.tell("register before", (yield from control.register(line, retries)) or "none")
        if action == Action.CONNECT:
            yield None
            self.has_load_voltage = yield from control.load_voltage(line, retries)
            told = {None: "the meter cannot tell", True: "there is", False: "there is none"}
            job.tell("load-side voltage", told[self.has_load_voltage])
        if action == Action.KEEP_POWER_OFF:
            yield None
            self.is_overdrawn = yield from control.is_overdrawn(line, retries)
        yield None
        yield from self._read_clock()
        strays, silences = (now - then for now, then in zip(control.heard(), heard, strict=True))
        self.is_disturbed = bool(strays) and not silences

    def _read_second(self, is_opening: bool) -> Reads:
        second = yield from self._control.second(self._line, self._retries, is_opening, False)
        self.seen = self.seen._replace(second=second)
        _tell_second(self._job, second, "before")

    def _read_clock(self) -> Reads:
        """The moment until which the command is valid, by the meter's own clock; where that cannot
        be read, a restore goes by ours."""
        job, clock, terms = self._job, self._job.clock, self._job.terms
        shown = yield from self._control.clock(self._line, self._retries, clock.boot_ms)
        now = clock.boot_ms()
        is_trusted = clock.quality() >= TimeQuality.NTP
        if shown is None:
            self.expiry = None
            if is_trusted and job.order.kind.effect == Effect.RESTORES:
                shown_now = meter_time(clock.utc_ms(), terms.meter_utc_offset_min)
                self.expiry = meter_deadline(MeterClockShown(shown_now, now), job.deadline, now)
            return
        self.expiry = meter_deadline(shown, job.deadline, now)
        if is_trusted:
            drift = drift_ms(shown, clock.utc_ms(), now, terms.meter_utc_offset_min)
            job.tell("meter clock", f"{drift // 1000:+d} s")
            self.is_clock_off = job.deadline - now < abs(drift) - DRIFT_ERROR_MS

    def found(self, control: Control, command: Command) -> Found:
        """As the gate takes it."""
        state = self.seen.state
        return Found(
            state.contact,
            state.keep_power,
            self._job.is_identified,
            LOCAL if state.has_own_account else "",
            self.is_overdrawn,
            self.has_load_voltage,
            control.assurance != LOWER,
            command.credential,
            command.mark,
        )


class After:
    """What is read behind a command, until it can be judged; `before` is what was seen ahead of
    it, `operator` who would stand in a record of it."""

    def __init__(
        self, job: LineWork, line: Line, control: Control, retries: int, before: Seen,
        operator: str,
    ) -> None:  # fmt: skip
        self._job = job
        self._line, self._control, self._retries = line, control, retries
        self._before = before
        self._terms = Terms(
            job.order.action,
            operator,
            control.no_current_ma,
            control.has_external_breaker,
        )
        self._heard = control.heard()
        self._open_looks = 0
        self._contact = ""

    def verify(self, answer: str) -> Reads:
        """Looks until there is a verdict, or the time is over."""
        job = self._job
        yield from job.verify(self._look, answer, self._wait)
        yield from self._read_register()
        verdict = self._undisturbed(job.verdict)
        job.end(verdict.state, verdict.words)

    def _look(self, is_last: bool) -> Look:
        """One look; None when it says nothing yet."""
        job, control = self._job, self._control
        state = yield from control.supply(self._line, self._retries)
        job.tell("relay after", _words(state))
        self._open_looks += state.is_open
        self._contact = state.contact
        if job.order.action not in WANTED:
            return self._keeps_power(state, is_last)
        second = Second()
        if is_last or state.is_open or state.contact in WANTED[job.order.action]:
            yield None
            is_opening = job.order.action == Action.DISCONNECT
            second = yield from control.second(self._line, self._retries, is_opening, True)
            _tell_second(job, second, "after")
        now = Seen(state, second)
        return judge(self._terms, self._before, now, self._open_looks, is_last)

    def _keeps_power(self, state: SupplyState, is_last: bool) -> Verdict | None:
        is_on = self._job.order.action == Action.KEEP_POWER_ON
        if state.keep_power is is_on:
            was = self._before.state.contact
            if not is_on and state.contact != was:
                words = f"it was {was} and is {state.contact} since keep-power has ended"
                return Verdict(OrderState.CONTRADICTED, words)
            return Verdict(OrderState.CONFIRMED, "its status word says so")
        return Verdict(OrderState.NOT_DONE, "its status word is as before") if is_last else None

    def _wait(self) -> Generator[int | None, None, int]:
        """A contact that is yet to open has the meter's own time for that."""
        if self._contact != Contact.OPENING:
            return 0
        try:
            return (yield from self._control.delay_ms(self._line, self._retries))
        except BusbarError:
            return 0

    def _read_register(self) -> Reads:
        if self._job.order.action not in WANTED:
            return
        yield None
        try:
            found = yield from self._control.register(self._line, self._retries)
            self._job.tell("register after", found or "none")
        except BusbarError as error:
            self._job.tell("register after", f"not read: {error}")

    def _undisturbed(self, verdict: Verdict) -> Verdict:
        """On a line where somebody else answers for the meter, nothing is confirmed (T13)."""
        now = self._control.heard()
        strays, silences = (one - then for one, then in zip(now, self._heard, strict=True))
        if verdict.state == OrderState.CONFIRMED and strays and not silences:
            words = f"more answers came than questions were asked: {strays}"
            return Verdict(OrderState.CONTRADICTED, words)
        return verdict


def _words(state: SupplyState) -> str:
    """For a receipt."""
    return f"{state.contact} ({state.raw}){', keep-power' if state.keep_power else ''}"


def _tell_second(job: LineWork, second: Second, when: str) -> None:
    told = {
        f"current {when}": None if second.current_ma is None else f"{second.current_ma} mA",
        f"records {when}": second.records,
        "operator": second.operator or None,
    }
    for name, value in told.items():
        if value is not None:
            job.tell(name, value)
