"""Modbus meters by their model, over RTU or TCP: one exchange per span of registers.

* A span refused with exception 02 is asked for again in parts within the same sweep; what answers
  counts. Registers that the meter does not have are dropped, and asked for again one at a time
  (see `learned`).
* A meter that refuses everything has not told where its holes are: nothing is kept, and one
  register is tried at each sweep until one answers.
* Exception 01 drops its span until the agent starts again; any other is tried at the next sweep.
"""

from collections import deque
from collections.abc import Generator, Iterable
from typing import Any

from edge.line.budget import TYPICAL_TCP_RESPONSE_S, Cost
from edge.line.line import Line, NoAnswerError
from edge.meters.control import Control
from edge.meters.driver import MeterCounters, Reads, groups_of
from edge.meters.learned import Hole, MeterHoles
from edge.meters.modbus_rtu import RtuRead
from edge.meters.modbus_tcp import TRANSACTION_MAX, TcpRead
from edge.meters.modbus_write import RtuPdu, TcpPdu
from edge.settings import MODBUS_TCP, meter_address
from protocols.errors import LineError, RefusedError, UnsupportedError
from protocols.modbus.exceptions import ILLEGAL_DATA_ADDRESS
from protocols.modbus.model import Model, Register
from protocols.modbus.plan import ReadPlan, Span, with_factors
from protocols.modbus.values import Decoder, decode_registers
from protocols.obis import Obis

_RTU_REQUEST, _RTU_REPLY = 8, 5  # bytes, registers not counted

_TCP_REQUEST, _TCP_REPLY = 12, 9
LATE_ANSWER_S = 0.5  # after a silent RTU unit: its answer may still come (DL/T 645's longest delay)

Words = dict[Any, int]  # as `decode_registers` wants them


class _Group:
    """One register group: what is wanted, how it is asked for, and what was refused of it."""

    def __init__(self, model: Model, quantities: tuple[str, ...], holes: Iterable[Hole]) -> None:
        codes = [Obis.from_text(one) for one in quantities]
        wanted = tuple(one for one in model.registers if not codes or one.obis in codes)
        self.wanted_codes = {one.obis for one in wanted}
        self.registers = with_factors(model.registers, wanted)
        self.decoder = Decoder(model, self.registers)
        self.refused_spans: set[Span] = set()
        self.tries = 0
        self._model = model
        self.plan = self.plan_around(holes)

    def plan_around(self, holes: Iterable[Hole]) -> ReadPlan:
        """Requests that leave these out."""
        return ReadPlan(self.registers, self._model.gap_max, self._model.span_max, tuple(holes))

    def forget(self, hole: Hole) -> None:
        """It answers now."""
        self.plan = self.plan_around(one for one in self.plan.holes if tuple(one) != hole)

    def unsupported(self) -> set[str]:
        """The names of what the meter does not have of it."""
        names = {one.name for one in self.plan.missing}
        for function, first, count in self.refused_spans:
            for one in self.registers:
                if one.function == function and first <= one.address and _end(one) <= first + count:
                    names.add(one.name)
        return names


class ModbusDriver:
    """A Modbus meter by its model."""

    def __init__(self, settings: dict[str, Any], model: Model, holes: MeterHoles) -> None:
        self.meter_id: str = settings["id"]
        self.address = meter_address(settings)
        self.edition = 0
        self.counters = MeterCounters()
        self.unsupported: set[str] = set()
        self.control: Control | None = None
        self.unit: int = settings["unit"]
        self._is_tcp = settings["protocol"] == MODBUS_TCP
        self._transaction = 0
        self._model = model
        self._holes = holes
        self._groups = {
            name: _Group(model, tuple(wanted or ()), holes.holes)
            for name, wanted in groups_of(settings).items()
        }
        self._note_unsupported()

    def sweep(self, line: Line, retries: int, group: str = "") -> Reads:
        """All spans of the group; what the meter refuses is left out, the others still count."""
        own = self._groups[group]
        if all(span in own.refused_spans for span in own.plan.spans()):
            words = yield from self._try_anything(line, own, retries)
        else:
            words = yield from self._read_plan(line, own.plan, retries, own.refused_spans)
            if words:
                self._keep_holes()
                words.update((yield from self._try_again(line, own)))
        self._note_unsupported()
        readings = own.decoder.readings(words)
        return [reading for reading in readings if reading.obis in own.wanted_codes]

    def read(self, line: Line, obis: Obis, retries: int) -> Reads:
        """One quantity, with the ratios that scale it; asked for even where a hole is known."""
        wanted = tuple(one for one in self._model.registers if one.obis == obis)
        if not wanted:
            raise UnsupportedError(f"meter model {self._model.name} has no {obis.text()}", 0)
        registers = with_factors(self._model.registers, wanted)
        plan = ReadPlan(registers, gap_max=0, span_max=self._model.span_max)
        words = yield from self._read_plan(line, plan, retries, None)
        readings = decode_registers(self._model, registers, words)
        return [reading for reading in readings if reading.obis == obis]

    def costs(self, group: str = "") -> list[Cost]:
        """One exchange per span."""
        spans = self._groups[group].plan_around(()).spans()
        if self._is_tcp:
            sizes = [(_TCP_REQUEST, _TCP_REPLY + 2 * span.count) for span in spans]
            return [
                Cost(sent, received, 0.0, TYPICAL_TCP_RESPONSE_S, is_serial=False)
                for sent, received in sizes
            ]
        return [
            Cost(_RTU_REQUEST, _RTU_REPLY + 2 * span.count, RtuRead.silence_characters)
            for span in spans
        ]

    def ask(self, line: Line, pdu: bytes, retries: int) -> Generator[None, None, bytes]:
        """The answer's PDU to a request that changes nothing, repeated like a read."""
        for attempt in range(retries + 1):
            if attempt:
                self.counters.retries += 1
                yield
            try:
                return self.tell(line, pdu)
            except NoAnswerError:
                if attempt == retries:
                    raise
        raise LineError("no attempt was made")

    def tell(self, line: Line, pdu: bytes) -> bytes:
        """The answer's PDU to one request that is never repeated, whatever comes of it."""
        self.counters.exchanges += 1
        conversation = self._pdu(pdu)
        try:
            line.converse(conversation)
        except NoAnswerError:
            self.counters.silences += 1
            if not self._is_tcp:
                line.drain(LATE_ANSWER_S)
            raise
        return conversation.answer

    def _pdu(self, pdu: bytes) -> RtuPdu | TcpPdu:
        if not self._is_tcp:
            return RtuPdu(self.unit, pdu)
        self._transaction = self._transaction % TRANSACTION_MAX + 1
        return TcpPdu(self.unit, pdu, self._transaction)

    def _keep_holes(self) -> None:
        self._holes.keep(
            {tuple(one) for group in self._groups.values() for one in group.plan.holes}
        )

    def _read_plan(
        self, line: Line, plan: ReadPlan, retries: int, refused_spans: set[Span] | None
    ) -> Generator[None, None, Words]:
        """The words of all spans that answer. With `refused_spans`, the others are left out, and
        silence counts only when nothing answered; without, what is not read is an error."""
        words: Words = {}
        waiting = deque(plan.spans())
        while waiting:
            span = waiting.popleft()
            if refused_spans and span in refused_spans:
                continue
            try:
                words.update((yield from self._read_span(line, span, retries)))
                plan.accept(span)
            except RefusedError as error:
                self._count_refusal(error)
                if error.code == ILLEGAL_DATA_ADDRESS:
                    waiting.extendleft(reversed(plan.refuse(span)))
                elif refused_spans is not None and isinstance(error, UnsupportedError):
                    refused_spans.add(span)
                if refused_spans is None and (error.code != ILLEGAL_DATA_ADDRESS or plan.missing):
                    raise
            except NoAnswerError:
                if not words or refused_spans is None:
                    raise
                break
            yield
        return words

    def _try_again(self, line: Line, own: _Group) -> Generator[None, None, Words]:
        """At most one exchange: the register that is missing for a hole whose time has come, or the
        hole itself. When that answers, the hole is forgotten."""
        hole = self._holes.due()
        if hole is None:
            return {}
        function, first, last = hole
        span = Span(function, first, min(last - first + 1, self._model.span_max))
        for one in own.plan.missing:
            if one.function == function and one.address <= first and last < _end(one):
                span = Span(function, one.address, one.words)
                break
        try:
            words = yield from self._read_span(line, span, 0)
        except RefusedError as error:
            self._count_refusal(error)
            self._holes.refused_again(hole)
            return {}
        except NoAnswerError:  # some units say nothing where they have nothing
            self._holes.refused_again(hole)
            return {}
        for group in self._groups.values():
            group.forget(hole)
        self._keep_holes()
        yield
        return words

    def _try_anything(self, line: Line, own: _Group, retries: int) -> Generator[None, None, Words]:
        """The one exchange of a sweep while the meter refuses everything. When it answers, it is
        asked for everything again, except what it refused while it answered other requests."""
        one = own.registers[own.tries % len(own.registers)]
        own.tries += 1
        try:
            words = yield from self._read_span(
                line, Span(one.function, one.address, one.words), retries
            )
        except RefusedError as error:
            self._count_refusal(error)
            return {}
        own.plan = own.plan_around(self._holes.holes)
        own.refused_spans.clear()
        yield
        return words

    def _read_span(self, line: Line, span: Span, retries: int) -> Generator[None, None, Words]:
        for attempt in range(retries + 1):
            conversation = self._conversation(span)
            self.counters.exchanges += 1
            try:
                line.converse(conversation)
                return conversation.read.words
            except NoAnswerError:
                self.counters.silences += 1
                if not self._is_tcp:
                    line.drain(LATE_ANSWER_S)
                if attempt == retries:
                    raise
                self.counters.retries += 1
            yield
        raise LineError("no attempt was made")

    def _count_refusal(self, error: RefusedError) -> None:
        self.counters.refusals += 1
        counts = self.counters.exceptions
        for name in error.names:
            counts = counts | {name: counts.get(name, 0) + 1}
        self.counters.exceptions = counts  # a new one: another thread may be showing the old one

    def _note_unsupported(self) -> None:
        groups = self._groups.values()
        self.unsupported = set().union(*(group.unsupported() for group in groups))

    def _conversation(self, span: Span) -> RtuRead | TcpRead:
        if not self._is_tcp:
            return RtuRead(self.unit, span)
        self._transaction = self._transaction % TRANSACTION_MAX + 1  # 0 is what idle servers show
        return TcpRead(self.unit, span, self._transaction)


def _end(register: Register) -> int:
    """The address behind it."""
    end: int = register.address + register.words
    return end
