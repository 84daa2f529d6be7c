"""A virtual DL/T 645-2007 meter: the answering side of reads.

Rules (the numbers are those of public meter firmware, see `dlt645` in the protocol notes):

* It answers its own address, and an abbreviated one: AA in the high bytes, contiguous from A5
  downwards, the remaining digits exact. The reply carries the real address.
* It is silent to 99..99, to other addresses, to replies, and to anything but a read (11, 12)
  that comes to an abbreviated address. Read address (13) is answered to six AA and no data only.
* An identifier that it does not have is ERR 02, a read of a wrong length ERR 01. Functions of the
  standard that it does not play are ERR 02, codes outside the standard get silence.
* A payload longer than `cut` is sent in parts: B1 without SEQ, then 92/B2 with SEQ as last byte.
  The parts are of one instant, and may cut inside an item.
* A phase that is not fitted is FF fill.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hil.load import Load
from protocols.bcd import encode_bcd
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.exchange import identifier_bytes, identifier_text
from protocols.dlt645.frame import (
    ABNORMAL_BIT,
    ANY_ADDRESS,
    BROADCAST,
    DATA_SIZE_MAX,
    FUNCTION_NAMES,
    MORE_BIT,
    REPLY_BIT,
    Frame,
    Function,
    is_meter_address,
)
from protocols.dlt645.identifiers import BITS, CLOCK, DATE, DIGITS, SIGNED, TIME, Item, items_of
from protocols.dlt645.values import encode_value
from protocols.errors import CallerError, ValueFormatError
from protocols.obis import CURRENT, Obis

OTHER_ERROR = 0x01
NO_DATA = 0x02
CUT_SIZE = 195  # with identifier and SEQ the base text's 200 data bytes of one reply
CUT_SIZE_MAX = DATA_SIZE_MAX - 5
PREAMBLE_MAX = 7  # more were never seen
BYTE_GAP_S = 0.5  # longest pause inside a frame
RESPONSE_DELAY_S = 0.04

Value = int | str | bytes | None
Log = Callable[[dict[str, object]], None]

_CLOCK_FORMATS = {CLOCK: "%y%m%d0%w%H%M%S", DATE: "%y%m%d0%w", TIME: "%H%M%S"}  # reading order


class Dlt645Meter:
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
    ) -> None:
        """`refuses` lists identifiers that answer ERR 02; `log` gets each value answered."""
        if not is_meter_address(address):
            raise CallerError(f"{address!r} is not the address of one meter")
        if not 0 <= preamble <= PREAMBLE_MAX or not 1 <= cut <= CUT_SIZE_MAX:
            raise CallerError(f"preamble {preamble} or cut {cut} is out of range")
        self.name = address
        self.response_delay_s = response_delay_s
        self.preamble = preamble
        self._load = load
        self._clock = clock
        self._cut = cut
        self._utc_offset = timedelta(milliseconds=utc_offset_ms)
        self._refuses = frozenset(di.upper() for di in refuses)
        self._log = log
        self._deframer = Deframer()
        self._pins: dict[Obis, Value] = {}
        self._raw_pins: dict[str, bytes] = {"04000204": encode_bcd(load.tariffs, 1)}
        self._parts: tuple[bytes, list[bytes]] = (b"", [])  # identifier, what 12 may ask for

    def pin(self, di: str, value: Value) -> None:
        """Fixes an identifier: an int in the item's scale, digits in reading order, None for FF
        fill; bytes are the payload as sent, for any identifier. Blocks show pinned items too.

        CallerError or ValueFormatError when the value does not fit the identifier.
        """
        if isinstance(value, bytes):
            self._raw_pins[identifier_text(identifier_bytes(di))] = value
            return
        items = items_of(identifier_bytes(di), 4)
        if len(items) != 1 or di.upper()[4:6] == "FF":
            raise CallerError(f"{di} is not one known item; pin it with bytes")
        if len(encode_value(items[0], value)) != items[0].size:
            raise ValueFormatError(f"{di} has {items[0].size} bytes, {value!r} has not")
        self._pins[items[0].obis] = value

    def unpin(self, di: str) -> None:
        """Lets an identifier follow the load again."""
        self._raw_pins.pop(di.upper(), None)
        for item in items_of(identifier_bytes(di), 4):
            self._pins.pop(item.obis, None)

    def feed(self, data: bytes, gap_s: float = 0.0) -> list[tuple[float, bytes]]:
        """(response delay in s, reply) for each request that `data` completes. `gap_s` is the
        silence on the line before `data`: a long one ends a frame that never completed."""
        if gap_s > BYTE_GAP_S:
            self._deframer.flush()
        replies = (self._answer(frame) for frame in self._deframer.feed(data))
        return [
            (self.response_delay_s, reply.to_bytes(self.preamble))
            for reply in replies
            if reply is not None
        ]

    def _answer(self, frame: Frame) -> Frame | None:
        if frame.is_reply or frame.address == BROADCAST:
            return None
        if frame.function == Function.READ_ADDRESS:
            if frame.address != ANY_ADDRESS or frame.data:
                return None
            return self._reply(frame, bytes(reversed(bytes.fromhex(self.name))))
        if not self._is_addressed(frame.address):
            return None
        if frame.function == Function.READ:
            return self._read(frame)
        if frame.function == Function.READ_MORE:
            return self._read_more(frame)
        if (
            frame.address != self.name
            or frame.function not in FUNCTION_NAMES
            or frame.function in (Function.BROADCAST_TIME, Function.WRITE_ADDRESS)
        ):
            return None
        return self._refusal(frame, NO_DATA)

    def _is_addressed(self, asked: str) -> bool:
        exact = asked.lstrip("A")
        wild = len(asked) - len(exact)
        return wild % 2 == 0 and self.name[wild:] == exact

    def _reply(self, frame: Frame, data: bytes, more: bool = False) -> Frame:
        control = frame.function | REPLY_BIT | (MORE_BIT if more else 0)
        return Frame(self.name, control, data)

    def _refusal(self, frame: Frame, code: int) -> Frame:
        return Frame(self.name, frame.function | REPLY_BIT | ABNORMAL_BIT, bytes((code,)))

    def _read(self, frame: Frame) -> Frame:
        self._parts = (b"", [])
        if len(frame.data) != 4:
            return self._refusal(frame, OTHER_ERROR)
        payload = self._payload(frame.data)
        if payload is None:
            return self._refusal(frame, NO_DATA)
        first, *rest = [
            payload[at : at + self._cut] for at in range(0, len(payload), self._cut)
        ] or [b""]
        self._parts = (frame.data, rest)
        return self._reply(frame, frame.data + first, bool(rest))

    def _read_more(self, frame: Frame) -> Frame:
        if len(frame.data) != 5:
            return self._refusal(frame, OTHER_ERROR)
        di, parts = self._parts
        sequence = frame.data[4]
        if frame.data[:4] != di or not 1 <= sequence <= len(parts):
            return self._refusal(frame, NO_DATA)
        data = di + parts[sequence - 1] + bytes((sequence,))
        return self._reply(frame, data, sequence < len(parts))

    def _payload(self, di: bytes) -> bytes | None:
        """What stands behind the identifier in a reply; None for one that this meter lacks."""
        text = identifier_text(di)
        if text in self._refuses:
            return None
        now_ms = self._clock()
        raw = self._raw_pins.get(text)
        if raw is not None:
            self._record(now_ms, text, None, raw.hex())
            return raw
        items = items_of(di, 4 * (1 + self._load.tariffs))
        try:
            values = [self._value(item, now_ms) for item in items]
        except KeyError:
            return None
        if not values:
            return None
        for item, value in zip(items, values, strict=True):
            self._record(now_ms, text, item, value)
        return b"".join(
            encode_value(item, value) for item, value in zip(items, values, strict=True)
        )

    def _value(self, item: Item, now_ms: int) -> Value:
        """The item's value in its scale; KeyError when this meter does not have it."""
        obis: Obis = item.obis
        if obis in self._pins:
            return self._pins[obis]
        if item.form == DIGITS:
            return self.name
        if item.form == BITS:
            return 0
        if item.form in _CLOCK_FORMATS:
            local = datetime.fromtimestamp(now_ms // 1000, UTC) + self._utc_offset
            return local.strftime(_CLOCK_FORMATS[item.form])
        if obis.f != CURRENT:
            raise KeyError(obis)
        shown = self._load.shown(now_ms)[obis.c, obis.d, obis.e]
        if shown is None:
            return None
        # A register that is full starts again from zero; a signed one has three bits for its
        # first digit.
        full: int = (8 if item.form == SIGNED else 10) * 10 ** (2 * item.size - 1)
        step: int = 10 ** (item.scaler + 3)
        return shown // step % full

    def _record(self, now_ms: int, di: str, item: Item | None, value: Value) -> None:
        if self._log is None:
            return
        record: dict[str, object] = {"t_ms": now_ms, "meter": self.name, "di": di, "value": value}
        if item is not None:
            record |= {"obis": item.obis.text(), "scaler": item.scaler, "unit": item.unit}
        self._log(record)
