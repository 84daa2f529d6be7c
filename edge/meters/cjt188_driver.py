"""CJ/T 188 meters (water, gas, heat): one exchange gives all that a meter shows.

Each question has a serial number of its own, so a late answer is no answer to the next one.
"""

from typing import Any

from edge.line.budget import Cost
from edge.line.line import Line, NoAnswerError
from edge.meters.control import Control
from edge.meters.driver import MeterCounters, Reads, groups_of
from edge.settings import meter_address
from protocols.cjt188.deframer import Deframer
from protocols.cjt188.exchange import DONE, Exchange, read_present
from protocols.cjt188.frame import OVERHEAD, PREAMBLE_SIZE
from protocols.cjt188.settings import read_dialect
from protocols.cjt188.values import codes_of, decode_present, present_size
from protocols.errors import RefusedError, UnsupportedError, ValueFormatError
from protocols.obis import Obis
from protocols.readings import Reading

CAREFUL_TURNAROUND_MS = 20  # for a meter that missed a request: its transceiver may be slow to turn
_HEAD_SIZE = 3  # identifier and serial number
_SERIALS = 256


class Cjt188Conversation:
    """The request of an exchange: a Conversation of `edge/line`."""

    silence_characters = 0.0  # the preamble bytes of the request are the silence that a meter needs
    drops_echo = True  # an echo has no reply bit; dropped early all the same

    def __init__(self, exchange: Exchange) -> None:
        self.request = exchange.request.to_bytes(PREAMBLE_SIZE)
        self._exchange = exchange
        self._deframer = Deframer()

    def receive(self, data: bytes) -> bool:
        """True when the request is answered."""
        return self._take(self._deframer.feed(data))

    def flush(self) -> bool:
        """Looks behind a false start that waited for more bytes."""
        return self._take(self._deframer.flush())

    def _take(self, frames: list[Any]) -> bool:
        return any(self._exchange.receive(frame) == DONE for frame in frames)


class Cjt188Driver:
    """A CJ/T 188 meter in the dialect of its settings."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.meter_id: str = settings["id"]
        self.address = meter_address(settings)
        self.edition = 0
        self.counters = MeterCounters()
        self.unsupported: set[str] = set()  # stays empty: its refusals do not say what they mean
        self.control: Control | None = None  # nothing public says how a valve is told
        self._dialect = read_dialect(settings, self.meter_id)
        self._kept = {
            group: frozenset(map(Obis.from_text, wanted) if wanted else codes_of(self._dialect))
            for group, wanted in groups_of(settings).items()
        }
        self._serial = 0
        self._turnaround_ms = 0

    def sweep(self, line: Line, retries: int, group: str = "") -> Reads:
        """What the meter shows, less what the group does not want."""
        readings: list[Reading] = []
        try:
            readings = yield from self._read_present(line, retries)
        except RefusedError:
            self.counters.refusals += 1
        except ValueFormatError:
            self.counters.bad_values += 1
        yield
        return [one for one in readings if one.obis in self._kept[group]]

    def read(self, line: Line, obis: Obis, retries: int) -> Reads:
        """One quantity out of what the meter shows; none when it has no value for it."""
        if obis not in codes_of(self._dialect):
            raise UnsupportedError(f"meter {self.meter_id} does not show {obis.text()}", 0)
        readings = yield from self._read_present(line, retries)
        return [one for one in readings if one.obis == obis]

    def costs(self, group: str = "") -> list[Cost]:
        """One exchange, whatever the group."""
        request = PREAMBLE_SIZE + OVERHEAD + _HEAD_SIZE
        reply = PREAMBLE_SIZE + OVERHEAD + _HEAD_SIZE + present_size(self._dialect)
        return [Cost(request, reply)]

    def _read_present(self, line: Line, retries: int) -> Reads:
        self._serial = (self._serial + 1) % _SERIALS
        exchange = read_present(self.address, self._dialect, self._serial)
        attempts = 0
        while True:
            self.counters.exchanges += 1
            before = exchange.strays
            try:
                line.converse(Cjt188Conversation(exchange), self._turnaround_ms)
                return decode_present(exchange.data(), self._dialect)
            except NoAnswerError:
                self.counters.silences += 1
                self._turnaround_ms = CAREFUL_TURNAROUND_MS
                attempts += 1
                if attempts > retries:
                    raise
                self.counters.retries += 1
            finally:
                self.counters.strays += exchange.strays - before
            yield
