"""Drivers: how one meter is read over its line, one exchange at a time.

A driver's work is a generator: it yields after every exchange, so that the line's worker can put an
order in between. A request without a good answer is repeated; what a meter says it does not have is
dropped from the schedule until the agent starts again, or is asked for by an order.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

from edge.line.budget import dlt645_read_s, modbus_read_s
from edge.line.line import Line, NoAnswerError
from edge.meters.modbus_pdu import ReadRegisters
from edge.settings import DLT645, meter_address
from protocols.dlt645 import exchange as dlt645
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.frame import FRAME_SIZE_MAX, PREAMBLE_SIZE, Function
from protocols.dlt645.identifiers import identifier_of
from protocols.dlt645.values import decode_readings, decode_reply
from protocols.errors import LineError, RefusedError, UnsupportedError, ValueFormatError
from protocols.modbus.model import Model, Register
from protocols.modbus.plan import plan_spans, with_factors
from protocols.modbus.values import decode_registers
from protocols.obis import Obis
from protocols.readings import Reading

CAREFUL_TURNAROUND_MS = 20  # for a meter that missed a request: its transceiver may be slow to turn
LATE_ANSWER_S = (
    0.5  # after a silent Modbus unit: its answer may still come (DL/T 645's longest delay)
)

Reads = Generator[None, None, list[Reading]]


@dataclass
class MeterCounters:
    """What happened with one meter since the agent started."""

    exchanges: int = 0
    retries: int = 0
    silences: int = 0
    refusals: int = 0
    bad_values: int = 0
    strays: int = 0


class Driver(Protocol):
    """How one meter is read."""

    meter_id: str
    address: str
    counters: MeterCounters
    unsupported: set[str]

    def sweep(self, line: Line, retries: int) -> Reads:
        """Reads what is scheduled. LineError when the meter does not answer at all."""

    def read(self, line: Line, obis: Obis, retries: int) -> Reads:
        """Reads one quantity now. UnsupportedError when there is no way to ask this meter for
        it."""

    def estimate_s(self, character_s: float) -> float:
        """Seconds that a sweep takes on a line with this character time."""


class Dlt645Conversation:
    """One request of an exchange: a Conversation of `edge/line`."""

    silence_characters = 0.0  # the preamble bytes of the request are the silence that a meter needs
    drops_echo = True  # an echo has no reply bit; dropped early all the same

    def __init__(self, exchange: dlt645.Exchange) -> None:
        self.request = exchange.request.to_bytes(PREAMBLE_SIZE)
        self.readings: list[Reading] | None = None  # of an answer that needs no exchange
        self._exchange = exchange
        self._deframer = Deframer()
        self._asked = exchange.request
        self._heard = b""

    def receive(self, data: bytes) -> bool:
        """True when this request is answered, wholly or in part."""
        if self._is_plain_answer(data):
            return True
        return self._take(self._deframer.feed(data))

    def _is_plain_answer(self, data: bytes) -> bool:
        """Whether all that was heard is the one frame that nearly every answer is: from the meter
        asked, with the identifier asked, one good number, nothing in front or behind."""
        if self._asked.control != Function.READ or len(self._heard) > FRAME_SIZE_MAX:
            return False
        self._heard += data
        reply = decode_reply(self._heard)
        if reply is None or reply[:2] != (self._asked.address, self._asked.data):
            return False
        self.readings = reply[2]
        return True

    def flush(self) -> bool:
        """Looks behind a false start that waited for more bytes."""
        return self._take(self._deframer.flush())

    def _take(self, frames: list[Any]) -> bool:
        for frame in frames:
            if (
                self._exchange.receive(frame) == dlt645.DONE
                or self._exchange.request != self._asked
            ):
                return True
        return False


class Dlt645Driver:
    """A DL/T 645-2007 meter: one exchange per identifier."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.meter_id: str = settings["id"]
        self.address = meter_address(settings)
        self.counters = MeterCounters()
        self.unsupported: set[str] = set()
        self._identifiers = tuple(
            identifier_of(Obis.from_text(one)) if ":" in one else one.upper()
            for one in settings["quantities"]
        )
        self._turnaround_ms = 0

    def sweep(self, line: Line, retries: int) -> Reads:
        """All identifiers that the meter has not declared unknown."""
        readings: list[Reading] = []
        for di in self._identifiers:
            if di in self.unsupported:
                continue
            try:
                readings.extend((yield from self._read_identifier(line, di, retries)))
            except UnsupportedError:
                self.unsupported.add(di)
                self.counters.refusals += 1
            except RefusedError:
                self.counters.refusals += 1
            except ValueFormatError:
                self.counters.bad_values += 1
            except NoAnswerError:
                if not readings:
                    raise
                break  # it fell silent on the way: what it said before still counts
            yield
        return _first_of_each(readings)

    def read(self, line: Line, obis: Obis, retries: int) -> Reads:
        """One quantity by its identifier."""
        di = identifier_of(obis)
        if not di:
            raise UnsupportedError(f"DL/T 645-2007 has no identifier for {obis.text()}", 0)
        return (yield from self._read_identifier(line, di, retries))

    def estimate_s(self, character_s: float) -> float:
        """One exchange per identifier."""
        return len(self._identifiers) * dlt645_read_s(character_s)

    def _read_identifier(self, line: Line, di: str, retries: int) -> Reads:
        exchange = dlt645.read(self.address, di)
        attempts = 0
        while True:
            self.counters.exchanges += 1
            before = exchange.strays
            conversation = Dlt645Conversation(exchange)
            try:
                line.converse(conversation, self._turnaround_ms)
                attempts = 0
            except NoAnswerError:
                self.counters.silences += 1
                self._turnaround_ms = CAREFUL_TURNAROUND_MS
                attempts += 1
                if attempts > retries:
                    raise
                self.counters.retries += 1
            finally:
                self.counters.strays += exchange.strays - before
            if conversation.readings is not None:
                return conversation.readings
            if exchange.state == dlt645.DONE:
                return decode_readings(exchange.data())
            if attempts:
                yield  # not between parts: another question would make the meter forget the rest


class ModbusDriver:
    """A Modbus meter by its model: one exchange per span of registers."""

    def __init__(self, settings: dict[str, Any], model: Model) -> None:
        self.meter_id: str = settings["id"]
        self.address = meter_address(settings)
        self.counters = MeterCounters()
        self.unsupported: set[str] = set()
        self._unit: int = settings["unit"]
        self._model = model
        codes = [Obis.from_text(one) for one in settings["quantities"] or ()]
        wanted = tuple(one for one in model.registers if not codes or one.obis in codes)
        self._wanted_codes = {one.obis for one in wanted}
        self._registers = with_factors(model.registers, wanted)

    def sweep(self, line: Line, retries: int) -> Reads:
        """All spans; a span that the meter refuses is left out, the others still count."""
        readings = yield from self._read_registers(line, self._registers, retries, self.unsupported)
        return [reading for reading in readings if reading.obis in self._wanted_codes]

    def read(self, line: Line, obis: Obis, retries: int) -> Reads:
        """One quantity, with the ratios that scale it."""
        wanted = tuple(one for one in self._model.registers if one.obis == obis)
        if not wanted:
            raise UnsupportedError(f"meter model {self._model.name} has no {obis.text()}", 0)
        registers = with_factors(self._model.registers, wanted)
        readings = yield from self._read_registers(line, registers, retries, None)
        return [reading for reading in readings if reading.obis == obis]

    def estimate_s(self, character_s: float) -> float:
        """One exchange per span."""
        return sum(modbus_read_s(character_s, span.count) for span in plan_spans(self._registers))

    def _read_registers(
        self,
        line: Line,
        registers: tuple[Register, ...],
        retries: int,
        unsupported: set[str] | None,
    ) -> Reads:
        words: dict[int, int] = {}
        for span in plan_spans(registers):
            name = f"{span.address:04X}+{span.count}"
            if unsupported is not None and name in unsupported:
                continue
            try:
                words.update((yield from self._read_span(line, span.address, span.count, retries)))
            except RefusedError as error:
                self.counters.refusals += 1
                if unsupported is None:
                    raise
                if isinstance(error, UnsupportedError):
                    unsupported.add(name)
            except NoAnswerError:
                if not words:
                    raise
                break
            yield
        return decode_registers(self._model, registers, words)

    def _read_span(
        self, line: Line, address: int, count: int, retries: int
    ) -> Generator[None, None, dict[int, int]]:
        for attempt in range(retries + 1):
            conversation = ReadRegisters(self._unit, self._model.function, address, count)
            self.counters.exchanges += 1
            try:
                line.converse(conversation)
                return conversation.words
            except NoAnswerError:
                self.counters.silences += 1
                line.drain(LATE_ANSWER_S)
                if attempt == retries:
                    raise
                self.counters.retries += 1
            yield
        raise LineError("no attempt was made")


def _first_of_each(readings: list[Reading]) -> list[Reading]:
    """A block and a single item may both hold a quantity; the first one read counts."""
    by_code: dict[Obis, Reading] = {}
    for reading in readings:
        by_code.setdefault(reading.obis, reading)
    return list(by_code.values())


def build_driver(settings: dict[str, Any], models: dict[str, Model]) -> Driver:
    """The driver of a checked meter section."""
    if settings["protocol"] == DLT645:
        return Dlt645Driver(settings)
    return ModbusDriver(settings, models[settings["model"]])
