"""What stands behind each identifier of a virtual meter, and what a write puts there.

Quantities follow the supply; parameters are what was written last, or a default; status words and
the clock say how things are; events and history are kept elsewhere. A fixed (pinned) identifier
hides all that until it is written or unpinned.
"""

from collections.abc import Callable

from hil.meter_clock import MeterClock
from hil.meter_events import EventLog
from hil.meter_history import NO_DATA, OTHER_ERROR, History
from hil.meter_judgements import USUAL, Limits
from hil.meter_phase_records import PhaseRecords
from hil.meter_port import Log, Value, shown_record
from hil.meter_quantities import Quantities, encoded
from hil.meter_watch import Watch
from hil.supply import Supply
from protocols.bcd import decode_bcd, encode_bcd
from protocols.dlt645.commands import ReadRecords
from protocols.dlt645.identifiers import (
    CLOCK,
    DATE,
    TIME,
    Item,
    entry_of,
    identifier_bytes,
    identifier_text,
    items_of,
)
from protocols.dlt645.rows import BITS, DIGITS
from protocols.dlt645.values import decode_item, encode_value
from protocols.errors import CallerError, ValueFormatError
from protocols.obis import Obis

_CLOCK_LAYOUTS = {CLOCK: "%y%m%d0%w%H%M%S", DATE: "%y%m%d0%w", TIME: "%H%M%S"}  # reading order
_TARIFFS = "04000204"
_FIXED = (_TARIFFS,)  # the load's own, whatever a parameter says
_PARAMETER_CLASS, _FREEZE_CLASS = 0x04, 0x05
# Bits of the status words that say a power flows backwards: bit -> OBIS C of the power.
_DIRECTION_BITS: dict[str, dict[int, int]] = {
    "04000501": {4: 16, 5: 131},
    "04000502": {0: 36, 1: 56, 2: 76, 4: 151, 5: 171, 6: 191},
    "04000504": {6: 36},
    "04000505": {6: 56},
    "04000506": {6: 76},
}
# What a parameter says until it is written, in its last digit or its digits.
DEFAULTS: dict[str, int | str] = {
    "04000103": 15,
    "04000104": 15,
    "04000306": 1,
    "04000307": 1,
    "04000901": 0x3F,
    "04000902": 0xFF,
    "04000903": 0xFF,
    "04000905": 0xFF,
    "04000906": 0xFF,
    "04000A01": "01010000",
    **{f"04000A{number:02X}": 60 for number in range(2, 8)},
    "04000B01": "0100",
    "04000703": 0x08,  # 2400 bit/s
    "04001003": 0,
    "04001203": "0000",
    "04001401": 0,
    "04001402": 0,  # no limit: a disconnect never waits for the load
    "04001403": 0,
}


class Registers:
    """`words` gives the status words by identifier, `name` the meter's address of now; `refuses`
    lists identifiers that it lacks, `log` gets each value shown. `limits` is what it is built for.
    """

    def __init__(
        self,
        quantities: Quantities,
        supply: Supply,
        own_clock: MeterClock,
        clock: Callable[[], int],
        utc_offset_ms: int,
        words: dict[str, Callable[[], int]],
        name: Callable[[], str],
        refuses: tuple[str, ...] = (),
        log: Log | None = None,
        has_separators: bool = True,
        limits: Limits = USUAL,
    ) -> None:
        self.events = EventLog()
        self.watch = Watch(supply, own_clock, clock, limits)
        self._phase_records = PhaseRecords(self.watch, supply, quantities)
        self.history = History(
            quantities, supply, clock, utc_offset_ms, self.number, has_separators
        )
        self._quantities = quantities
        self._own_clock = own_clock
        self._clock = clock
        self._words = {_only_item(di).obis: word for di, word in words.items()}
        self._directions = {_only_item(di).obis: bits for di, bits in _DIRECTION_BITS.items()}
        self._name = name
        self._refuses = frozenset(di.upper() for di in refuses)
        self._log = log
        self._raw: dict[str, bytes] = {_TARIFFS: encode_bcd(supply.tariffs, 1)}
        self._sizes: dict[str, int] = {}  # bytes written to an identifier of any length
        self._defaults: dict[Obis, Value] = {
            _only_item(di).obis: value for di, value in DEFAULTS.items()
        }

    def pin(self, di: str, value: Value) -> None:
        """Fixes an identifier: an int in the item's scale, digits in reading order, None for FF
        fill; bytes are the payload as sent, for any identifier. Blocks show pinned items too.

        CallerError or ValueFormatError when the value does not fit the identifier.
        """
        if isinstance(value, bytes):
            self._raw[identifier_text(identifier_bytes(di))] = value
            return
        item = _only_item(di)
        if len(encode_value(item, value)) != item.size:
            raise ValueFormatError(f"{di} has {item.size} bytes, {value!r} has not")
        self._quantities.pins[item.obis] = value

    def unpin(self, di: str) -> None:
        """Lets an identifier say again what it says by itself."""
        self._raw.pop(di.upper(), None)
        for item in items_of(identifier_bytes(di), 4):
            self._quantities.pins.pop(item.obis, None)

    def payload(self, di: bytes) -> bytes | None:
        """What stands behind the identifier (wire order) in a reply; None: this meter lacks it."""
        text = identifier_text(di)
        if text in self._refuses:
            return None
        raw = self._raw.get(text)
        if raw is None:
            raw = self.events.payload(text) or self._phase_records.payload(text)
        if raw is None and di[-1] == _FREEZE_CLASS:
            raw = self.history.frozen(di)
        if raw is not None:
            self._record(text, None, raw)
            return raw
        try:
            is_parameter = di[-1] == _PARAMETER_CLASS
            values = self._parameters(di) if is_parameter else self._quantities.values(di)
        except KeyError:
            return None
        for item, value in values:
            self._record(text, item, value)
        return encoded(values)

    def records(self, command: ReadRecords) -> bytes | int:
        """Load records, or the error byte."""
        if command.di in self._refuses:
            return NO_DATA
        raw = self._raw.get(command.di)
        found = self.history.records(command) if raw is None else raw
        if isinstance(found, bytes):
            self._record(command.di, None, found)
        return found

    def write(self, di: bytes, body: bytes) -> int:
        """Stores a payload as it came; the error byte, 0 for none."""
        text = identifier_text(di)
        entry = entry_of(di)
        items = items_of(di, len(body))
        is_writable = entry is not None and entry.access == "RW"
        if not is_writable or not items or text in self._refuses or text in _FIXED:
            return NO_DATA
        if sum(item.size for item in items) != len(body):
            return OTHER_ERROR
        pieces = []
        at = 0
        for item in items:
            pieces.append((item, body[at : at + item.size]))
            at += item.size
        try:
            for item, piece in pieces:
                decode_item(item, piece)
        except ValueFormatError:
            return OTHER_ERROR
        self._raw.pop(text, None)
        self._sizes[text] = len(body)
        for item, piece in pieces:
            self._quantities.pins[item.obis] = piece
        return 0

    def number(self, di: str) -> int:
        """A parameter as a whole number: its digits in reading order, or a word; 0 for none."""
        item = _only_item(di)
        found = self._quantities.pins.get(item.obis, self._defaults.get(item.obis))
        wire = encode_value(item, found)
        if wire == b"\xff" * item.size and item.form != BITS:
            return 0
        return int.from_bytes(wire, "little") if item.form == BITS else decode_bcd(wire)

    def _parameters(self, di: bytes) -> list[tuple[Item, Value]]:
        items = items_of(di, self._sizes.get(identifier_text(di), 0))
        if not items:
            raise KeyError(identifier_text(di))
        return [(item, self._parameter(item)) for item in items]

    def _parameter(self, item: Item) -> Value:
        """KeyError for one that this meter does not have."""
        obis: Obis = item.obis
        for known in (self._quantities.pins, self._defaults):
            if obis in known:
                return known[obis]
        if obis in self._words or obis in self._directions:
            shown = self._quantities.shown()
            bits = self._directions.get(obis, {}).items()
            word = self._words[obis]() if obis in self._words else 0
            return word | sum(1 << bit for bit, c in bits if (shown[c, 7, 0] or 0) < 0)
        if item.form == DIGITS:
            return self._name()
        if item.form == BITS:
            return 0
        if item.form in _CLOCK_LAYOUTS:
            return self._own_clock.digits(_CLOCK_LAYOUTS[item.form])
        raise KeyError(obis)

    def _record(self, di: str, item: Item | None, value: Value) -> None:
        if self._log is not None:
            self._log(shown_record(self._clock(), self._name(), di, item, value))


def _only_item(di: str) -> Item:
    """The item of an identifier that has just one."""
    items: tuple[Item, ...] = items_of(identifier_bytes(di), 4)
    if len(items) != 1 or di.upper()[4:6] == "FF":
        raise CallerError(f"{di} is not one known item; pin it with bytes")
    return items[0]
