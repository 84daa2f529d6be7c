"""A virtual meter of edition 1997: reads, with the habits that captures of such meters show.

* It knows 01 (read), 02 (next part, by identifier alone) and 03 (the last part again), identifiers
  of two bytes, and is silent to everything else: to every function of 2007, and to writes.
* Error replies are C1 or C2 with 02: no such identifier, or data that are none.
* Habits, each off unless asked for: AA addresses echoed in the reply, reads at 99..99 answered, AA
  behind each item of a block.
"""

from collections.abc import Callable

from hil.load import Load, Shown
from hil.meter_clock import MeterClock
from hil.meter_port import RESPONSE_DELAY_S, Log, MeterPort, Value, shown_record
from hil.meter_quantities import Quantities
from hil.supply import Supply
from protocols.dlt645.answers import CUT_SIZE, CUT_SIZE_MAX, is_addressed
from protocols.dlt645.controls import Function
from protocols.dlt645.frame import ABNORMAL_BIT, BROADCAST, MORE_BIT, REPLY_BIT, Frame
from protocols.dlt645.identifiers import (
    DATE,
    TIME,
    Item,
    identifier_bytes,
    identifier_text,
    items_of,
)
from protocols.dlt645.rows import BITS, DIGITS
from protocols.dlt645.values import encode_value
from protocols.errors import CallerError
from protocols.obis import Obis

NO_DATA = 0x02
SEPARATOR = b"\xaa"
_DI_SIZE = 2
_CLOCK_LAYOUTS = {DATE: "%y%m%d0%w", TIME: "%H%M%S"}
_ITEM_SIZES = {"9": 4, "A": 3, "B0": 4, "B1": 4}  # of the blocks that end with the last tariff
_DEMAND_TIME = "B"
_READS = (Function.READ_1997, Function.READ_MORE_1997, Function.READ_AGAIN_1997)


class Dlt645Meter1997(MeterPort):
    """A meter of 1997 with a 12-digit `address`, whose registers follow `load` at `clock()`."""

    def __init__(
        self,
        address: str,
        load: Load,
        clock: Callable[[], int],
        *,
        response_delay_s: float = RESPONSE_DELAY_S,
        preamble: int = 0,
        cut: int = CUT_SIZE,
        utc_offset_ms: int = 0,
        log: Log | None = None,
        echoes_wildcard: bool = False,
        answers_broadcast: bool = False,
        has_separators: bool = False,
    ) -> None:
        super().__init__(address, response_delay_s, preamble)
        if not 1 <= cut <= CUT_SIZE_MAX:
            raise CallerError(f"cut {cut} is out of range")
        self._tariffs = load.tariffs
        self._clock = clock
        self._own_clock = MeterClock(clock, utc_offset_ms)
        self._log = log
        self._quantities = Quantities(Supply(load), clock, utc_offset_ms)
        self._cut = cut
        self._echoes_wildcard = echoes_wildcard
        self._answers_broadcast = answers_broadcast
        self._has_separators = has_separators
        self._parts: tuple[bytes, list[bytes]] = (b"", [])  # identifier, the part shown and after

    def pin(self, di: str, value: Value) -> None:
        """Fixes an identifier of one item: an int in its scale, digits, or None for FF fill.

        CallerError or ValueFormatError when the value does not fit."""
        items = items_of(identifier_bytes(di), 0)
        if len(items) != 1 or len(di) != 2 * _DI_SIZE or di[-1] in "fF":
            raise CallerError(f"{di} is not one known item of edition 1997")
        encode_value(items[0], value)
        self._quantities.pins[items[0].obis] = value

    def answer(self, frame: Frame) -> Frame | None:
        """The reply to one frame; None is silence."""
        if frame.control not in _READS:
            return None
        if frame.address == BROADCAST:
            if not self._answers_broadcast:
                return None
        elif not is_addressed(frame.address, self.name):
            return None
        di = bytes(frame.data)
        if frame.function == Function.READ_1997:
            payload = self._payload(di)
            if payload is None:
                return self._no(frame)
            cut = self._cut
            parts = [payload[at : at + cut] for at in range(0, len(payload), cut)]
            self._parts = (di, parts)
        elif not di or di != self._parts[0]:
            return self._no(frame)
        elif frame.function == Function.READ_MORE_1997:
            if len(self._parts[1]) < 2:
                return self._no(frame)
            self._parts = (di, self._parts[1][1:])
        part, *rest = self._parts[1]
        control = frame.function | REPLY_BIT | (MORE_BIT if rest else 0)
        return Frame(self._from(frame), control, di + part)

    def _no(self, frame: Frame) -> Frame:
        self._parts = (b"", [])
        control = frame.function | REPLY_BIT | ABNORMAL_BIT
        return Frame(self._from(frame), control, bytes((NO_DATA,)))

    def _from(self, frame: Frame) -> str:
        """The address in the reply."""
        echoes = self._echoes_wildcard and frame.address.startswith("A")
        return str(frame.address) if echoes else self.name

    def _payload(self, di: bytes) -> bytes | None:
        """What stands behind an identifier (wire order); None for one that this meter lacks."""
        if len(di) != _DI_SIZE:
            return None
        text = identifier_text(di, _DI_SIZE)
        each = _ITEM_SIZES.get(text[:1]) or _ITEM_SIZES.get(text[:2], 0)
        items = items_of(di, each * (1 + self._tariffs))
        if each == 0 and text.endswith("F"):
            items = items_of(di, 255)  # all of a block of phases
        try:
            shown = self._quantities.shown()  # once: a block is of one instant
            values = [(item, self._value(item, shown)) for item in items]
        except KeyError:
            return None
        for item, value in values:
            if self._log is not None:
                self._log(shown_record(self._clock(), self.name, text, item, value))
        pieces = [encode_value(item, value) for item, value in values]
        if not pieces:
            return None
        if self._has_separators and text.endswith("F"):
            return b"".join(piece + SEPARATOR for piece in pieces)
        return b"".join(pieces)

    def _value(self, item: Item, shown: Shown) -> Value:
        """KeyError for what this meter does not have."""
        obis: Obis = item.obis
        if obis in self._quantities.pins:
            return self._quantities.pins[obis]
        if obis.b >= 128:
            return self._own_value(item, f"{obis.e:02X}{obis.f:02X}")
        if item.form == DIGITS:
            return self.name
        if item.form in _CLOCK_LAYOUTS:
            return self._own_clock.digits(_CLOCK_LAYOUTS[item.form])
        if obis.d == 6 and obis.f == 255:
            power, _ = self._demand(obis.c, obis.e)
            step: int = 10 ** (item.scaler + 3)
            return power // step
        return self._quantities.value(item, shown)

    def _own_value(self, item: Item, di: str) -> Value:
        if item.form == BITS:
            return 0
        if item.form == DIGITS:
            return self.name
        if di[0] == _DEMAND_TIME and di[1] == "0":
            _, digits = self._demand(int(di[2]), int(di[3], 16))
            return digits[2:]
        raise KeyError(di)

    def _demand(self, c: int, tariff: int) -> tuple[int, str]:
        if c not in (1, 2) or tariff > self._tariffs:
            raise KeyError(c)
        return self._quantities.demand(c, tariff)
