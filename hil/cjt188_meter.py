"""A virtual CJ/T 188 water, gas or heat meter: the answering side of reads, written apart from
`protocols.cjt188.values`, so that the two do not share a mistake about what bytes mean.

Rules:

* It answers its own address, and AA in all seven bytes. The reply carries the real address, and
  T as it was set up; `answers_as` makes it another (heat meters asked as 20 answer as 25).
* It answers a read (01) of its present values and a read of its address (03) in its own order of
  the identifier's bytes, and repeats identifier and SER. Everything else gets silence, also the
  frames of other protocols on the line.
* Two FE and 68 begin a frame anew: a DL/T 645 request looks like the beginning of a longer frame,
  and would swallow the next request that is meant for this meter.
* Registers follow the clock, and grow steadily from the day of installation. Power and flow rate
  are zero.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from hil.load import EPOCH_MS, HOUR_MS
from protocols.bcd import encode_bcd
from protocols.cjt188.deframer import Deframer
from protocols.cjt188.dialect import ADDRESS, BEFORE, PRESENT, Dialect, identifier_bytes
from protocols.cjt188.frame import (
    ANY_ADDRESS,
    ANY_TYPE,
    PREAMBLE,
    READ,
    READ_ADDRESS,
    REPLY_BIT,
    START,
    Frame,
    is_meter_address,
)
from protocols.errors import CallerError

BYTE_GAP_S = 0.5  # longest pause inside a frame
RESPONSE_DELAY_S = 0.04
PREAMBLE_MAX = 13  # more were never seen
_ANEW = bytes((PREAMBLE, PREAMBLE, START))
_HEAT_GROUP = 0x20
_M3, _KWH, _KW, _M3_PER_H = 0x2C, 0x05, 0x17, 0x35

Log = Callable[[dict[str, object]], None]


class Cjt188Meter:
    """A meter with a 14-digit `address` that counts `hourly` hundredths of a m3 an hour, and as
    many hundredths of a kWh if it is a heat meter. `clock()` is UTC ms."""

    def __init__(
        self,
        address: str,
        dialect: Dialect,
        clock: Callable[[], int],
        *,
        hourly: int = 12,
        response_delay_s: float = RESPONSE_DELAY_S,
        preamble: int = 4,
        answers_as: int | None = None,
        log: Log | None = None,
    ) -> None:
        """`log` gets each register answered, in hundredths."""
        if not is_meter_address(address):
            raise CallerError(f"{address!r} is not the address of one meter")
        if not 0 <= preamble <= PREAMBLE_MAX:
            raise CallerError(f"preamble {preamble} is out of range")
        self.name = address
        self.response_delay_s = response_delay_s
        self._dialect = dialect
        self._clock = clock
        self._hourly = hourly
        self._preamble = preamble
        self._type = dialect.meter_type if answers_as is None else answers_as
        self._log = log
        self._deframer = Deframer()

    def feed(self, data: bytes, gap_s: float = 0.0) -> list[tuple[float, bytes]]:
        """(response delay in s, reply) for each request that `data` completes. `gap_s` is the
        silence on the line before `data`: a long one ends a frame that never completed."""
        if gap_s > BYTE_GAP_S:
            self._deframer.flush()
        frames = self._deframer.feed(data)
        anew = data.rfind(_ANEW)
        if not frames and anew >= 0:
            self._deframer = Deframer()
            frames = self._deframer.feed(data[anew:])
        replies = [self._answer(frame) for frame in frames]
        return [
            (self.response_delay_s, reply.to_bytes(self._preamble))
            for reply in replies
            if reply is not None
        ]

    def _answer(self, frame: Frame) -> Frame | None:
        if frame.address not in (self.name, ANY_ADDRESS) or len(frame.data) != 3:
            return None
        if frame.meter_type not in (self._dialect.meter_type, ANY_TYPE):
            return None
        for control, di in ((READ, PRESENT), (READ_ADDRESS, ADDRESS)):
            asked = identifier_bytes(di, self._dialect.di_order)
            if frame.control == control and frame.data[:2] == asked:
                values = self._present() if control == READ else b""
                return Frame(self._type, self.name, control | REPLY_BIT, frame.data + values)
        return None

    def _present(self) -> bytes:
        now_ms = self._clock()
        hours = max(0, now_ms - EPOCH_MS) // HOUR_MS
        count = max(0, now_ms - EPOCH_MS) * self._hourly // HOUR_MS
        settled = count // 10_000 * 10_000  # "last settlement day": every 100 m3 or kWh
        if self._log is not None:
            self._log({"t_ms": now_ms, "meter": self.name, "count": count, "settled": settled})
        local = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y%m%d%H%M%S")
        clock = bytes(reversed(bytes.fromhex(local[2:]))) + bytes.fromhex(local[:2])
        if self._dialect.meter_type & 0xF0 != _HEAT_GROUP:
            return self._register(count, _M3) + self._register(settled, _M3) + clock + bytes(2)
        return b"".join(
            (
                self._register(settled, _KWH),
                self._register(count, _KWH),
                self._register(0, _KW),
                self._register(0, _M3_PER_H),
                self._register(count, _M3),
                encode_bcd(6150, 3),
                encode_bcd(4275, 3),
                encode_bcd(hours, 3),
                clock,
                bytes(2),
            )
        )

    def _register(self, hundredths: int, unit: int) -> bytes:
        """Eight digits that start again from zero when they are full, and the unit's code."""
        number, code = encode_bcd(hundredths % 100_000_000, 4), bytes((unit,))
        return code + number if self._dialect.unit_position == BEFORE else number + code
