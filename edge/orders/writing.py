"""Orders that write a parameter, set a clock, clear demands or freeze.

* What stands there already is not written again: the order is confirmed by what was read.
* Each command is sent once. Of an order that needs several, the rest is not sent behind a refusal
  or a silence; what was read back then decides.
* Success is what is read back, not the meter's word. A freeze nobody can observe, and it says so.
"""

from collections.abc import Generator

from edge.collect.meter_time import meter_time
from edge.line.line import Line
from edge.meters.control import Command, Control, Demands, MeterClockShown, Parameter
from edge.orders.deadline import drift_ms
from edge.orders.found import Found, RefusedHere
from edge.orders.line_work import ACCEPTED, LineWork, Look, Reads, Verdict
from protocols.dlt645.clock import MeterTime
from protocols.errors import RefusedError
from protocols.orders.states import OrderState
from protocols.readings import TimeQuality

LOOKS_MAX = 3  # at a parameter that reads otherwise, before it counts as not written
CLOCK_MS_MAX = 2_000  # that a clock may be off after it was set
READ_MS = 1_000  # and what whole seconds and the way of the answer add
HALF_SECOND_MS = 500


class WriteJob(LineWork):
    """What all of these have in common: read, send, read back."""

    def work(self, line: Line, control: Control, retries: int) -> Reads:
        """The whole course of it."""
        yield from self.look_before(lambda: self._before(line, control, retries))
        if self.is_so_already():
            self.end(OrderState.CONFIRMED, "it was so already")
            return
        commands = self.commands(control)
        first = commands[0]
        self.pass_gate(Found(is_identified=self.is_identified, credential=first.credential,
                             credential_mark=first.mark))  # fmt: skip
        answer = ""
        for n, command in enumerate(commands):
            if n:
                yield None
            try:
                words = self.attempt(line, control, command)
            except RefusedError as error:
                words = self.refused_by_meter(command, error)
                if not n:
                    self.end(OrderState.REFUSED_BY_METER, words)
                    return
            if words is None:
                return
            if words:
                answer = f"command {n + 1} of {len(commands)}: {words}"
                break
        yield from self.after(line, control, retries, answer)

    def after(self, line: Line, control: Control, retries: int, answer: str) -> Reads:
        """Looks for the effect, and ends."""
        if not answer:
            self.gate.note(self.order, OrderState.ACKED, ACCEPTED)
        yield None
        self._looks = 0
        yield from self.verify(lambda is_last: self._look(line, control, retries, is_last), answer)
        self.end(self.verdict.state, self.verdict.words)

    def _before(self, line: Line, control: Control, retries: int) -> Reads:
        yield from self.identify(line, control, retries)
        yield None
        yield from self.read_before(line, control, retries)

    def _look(self, line: Line, control: Control, retries: int, is_last: bool) -> Look:
        self._looks += 1
        return (yield from self.look(line, control, retries, is_last or self._looks >= LOOKS_MAX))

    # ---- what a kind does -----------------------------------------------------------------------

    def commands(self, control: Control) -> tuple[Command, ...]:
        """What is sent, in its order; ControlError."""
        raise NotImplementedError

    def read_before(self, line: Line, control: Control, retries: int) -> Reads:
        """What must be known to tell the effect."""
        raise NotImplementedError

    def is_so_already(self) -> bool:
        """Whether nothing needs to be sent."""
        return False

    def look(self, line: Line, control: Control, retries: int, is_last: bool) -> Look:
        """One look for the effect."""
        raise NotImplementedError


class ParameterJob(WriteJob):
    """Prices, tables and amounts."""

    def commands(self, control: Control) -> tuple[Command, ...]:
        """One a parameter."""
        return tuple(one.command for one in self._wanted)

    def read_before(self, line: Line, control: Control, retries: int) -> Reads:
        """What stands there now."""
        self._wanted = control.parameters(self.order.action, self.order.arguments)
        self._stood = yield from self._stored(line, control, retries)
        for one, stood in zip(self._wanted, self._stood, strict=True):
            self.tell(f"{one.place} before", stood.hex() or "not told")

    def is_so_already(self) -> bool:
        """Every one of them reads as it is to be."""
        return all(map(_is_there, self._wanted, self._stood))

    def look(self, line: Line, control: Control, retries: int, is_last: bool) -> Look:
        """Reads all of them back."""
        stored = yield from self._stored(line, control, retries)
        for one, found in zip(self._wanted, stored, strict=True):
            self.tell(f"{one.place} after", found.hex() or "not told")
        there = sum(map(_is_there, self._wanted, stored))
        if there == len(self._wanted):
            return Verdict(OrderState.CONFIRMED, "it reads back as written")
        if not is_last:
            return None
        if stored == self._stood:
            return Verdict(OrderState.NOT_DONE, "it reads as before")
        words = f"{there} of {len(self._wanted)} read back as written"
        return Verdict(OrderState.CONTRADICTED, words)

    def _stored(
        self, line: Line, control: Control, retries: int
    ) -> Generator[int | None, None, list[bytes]]:
        found = []
        for n, one in enumerate(self._wanted):
            if n:
                yield None
            found.append((yield from control.stored(line, retries, one.place)))
        return found


class ClockJob(WriteJob):
    """Sets the meter's clock to the gateway's own time, which must be a good one."""

    def commands(self, control: Control) -> tuple[Command, ...]:
        """One, which names its time when it goes out."""
        return (control.clock_setting(self.clock.boot_ms, self._time_at),)

    def read_before(self, line: Line, control: Control, retries: int) -> Reads:
        """What the clock shows."""
        drift = yield from self._drift(line, control, retries)
        self.tell("clock before", f"{drift} ms ahead")
        self._is_right = abs(drift) <= CLOCK_MS_MAX

    def is_so_already(self) -> bool:
        """It stands within what is tolerated."""
        return self._is_right

    def look(self, line: Line, control: Control, retries: int, is_last: bool) -> Look:
        """Reads it again."""
        drift = yield from self._drift(line, control, retries)
        self.tell("clock after", f"{drift} ms ahead")
        if abs(drift) <= CLOCK_MS_MAX + READ_MS:
            return Verdict(OrderState.CONFIRMED, "its clock shows the gateway's time")
        words = f"its clock is {drift} ms ahead"
        return Verdict(OrderState.NOT_DONE, words) if is_last else None

    def _drift(
        self, line: Line, control: Control, retries: int
    ) -> Generator[int | None, None, int]:
        clock = self.clock
        if clock.quality() < TimeQuality.NTP or clock.moment().is_in_doubt:
            raise RefusedHere("clock-untrusted")
        shown: MeterClockShown | None = yield from control.clock(line, retries, clock.boot_ms)
        if shown is None:
            raise RefusedHere("no-way", "its clock cannot be read")
        offset_min = self.terms.meter_utc_offset_min
        return drift_ms(shown, clock.utc_ms(), clock.boot_ms(), offset_min) + HALF_SECOND_MS

    def _time_at(self, boot_ms: int) -> MeterTime:
        moment = self.clock.moment()
        utc_ms = moment.utc_ms - moment.boot_ms + boot_ms
        return meter_time(utc_ms + HALF_SECOND_MS, self.terms.meter_utc_offset_min)


class DemandJob(WriteJob):
    """Clears the maximum demands."""

    def commands(self, control: Control) -> tuple[Command, ...]:
        """One."""
        return (control.demand_reset(),)

    def read_before(self, line: Line, control: Control, retries: int) -> Reads:
        """How often that was done, and what they are."""
        self._stood = yield from control.demands(line, retries)
        self.tell("demand resets before", self._stood.resets)
        self.tell("largest demand before", self._stood.largest)

    def look(self, line: Line, control: Control, retries: int, is_last: bool) -> Look:
        """One more is counted, or nothing is left of them."""
        now: Demands = yield from control.demands(line, retries)
        self.tell("demand resets after", now.resets)
        self.tell("largest demand after", now.largest)
        if None not in (now.resets, self._stood.resets) and now.resets != self._stood.resets:
            return Verdict(OrderState.CONFIRMED, "the meter counts one more")
        if now.largest == 0 and self._stood.largest:
            return Verdict(OrderState.CONFIRMED, "the largest demand is zero now")
        if not is_last:
            return None
        if now == self._stood and now.resets is not None:
            return Verdict(OrderState.NOT_DONE, "the meter counts none more")
        return Verdict(OrderState.UNKNOWN, "the meter does not tell")


class FreezeJob(WriteJob):
    """Freezes the registers now."""

    def commands(self, control: Control) -> tuple[Command, ...]:
        """One."""
        return (control.freeze(),)

    def read_before(self, line: Line, control: Control, retries: int) -> Reads:
        """Nothing would tell it from a freeze before."""
        yield from ()

    def after(self, line: Line, control: Control, retries: int, answer: str) -> Reads:
        """The meter's word is all there is."""
        yield from ()
        self.end_unseen(answer)


def _is_there(wanted: Parameter, stored: bytes) -> bool:
    return bool(stored) and stored.startswith(wanted.expected)
