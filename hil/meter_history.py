"""What a meter kept of its past: freezes (class 05) and load records (class 06).

Both are worked out when they are asked for, as if they had been written at their moments. Those
lie on the true local time: an error of the meter's own clock does not move them. Separators and
sizes follow public meter firmware; some makers leave the separators out.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hil.load import DAY_MS
from hil.meter_quantities import Quantities
from hil.supply import Supply
from protocols.bcd import encode_bcd
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.commands import BLOCKS_MAX, Freeze, ReadRecords

OTHER_ERROR = 0x01
NO_DATA = 0x02
TIMED, INSTANT, HOURLY, DAILY = 0x00, 0x01, 0x04, 0x06  # DI2 of a freeze
DEPTHS = {TIMED: 12, INSTANT: 3, HOURLY: 254, DAILY: 62}
LOAD_CLASS = 0x06  # DI3
LOADS_MAX = 1000  # records kept
EARLIEST, FROM, LATEST = 0x00, 0x01, 0x02  # DI0 of a load record
SEPARATOR = b"\xaa"
_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_WHOLE = 0xFF
_PARTS = {number: (f"00{number:02X}FF00",) for number in range(1, 9)} | {
    0x09: ("0101FF00",),
    0x0A: ("0102FF00",),
    0x10: ("0203FF00", "0204FF00"),
}
_HOURLY_PARTS = {0x01: ("00010000",), 0x02: ("00020000",)}
_MODE_BITS = {1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 4, 8: 4, 9: 5, 0x0A: 6, 0x10: 7}
_MODE_WORDS = {TIMED: "04000902", INSTANT: "04000903", HOURLY: "04000905", DAILY: "04000906"}
_CLASSES = (
    ("0201FF00", "0202FF00", "02800002"),
    ("0203FF00", "0204FF00"),
    ("0206FF00",),
    ("00010000", "00020000", "00030000", "00040000"),
    ("00050000", "00060000", "00070000", "00080000"),
    ("02800004", "02800005"),
)
_LOAD_MODE_WORD = "04000901"
_INTERVALS = tuple(f"04000A{2 + number:02X}" for number in range(len(_CLASSES)))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class History:
    """`number` gives a parameter's value; `has_separators` whether freeze blocks carry AA."""

    def __init__(
        self,
        quantities: Quantities,
        supply: Supply,
        clock: Callable[[], int],
        utc_offset_ms: int,
        number: Callable[[str], int],
        has_separators: bool = True,
    ) -> None:
        self._quantities = quantities
        self._supply = supply
        self._clock = clock
        self._utc_offset_ms = utc_offset_ms
        self._number = number
        self._has_separators = has_separators
        self._instants: list[tuple[int, dict[str, bytes]]] = []
        self._pattern: tuple[Freeze, int] | None = None

    def freeze(self, command: Freeze) -> None:
        """Freezes now, or takes over the moments of the timed freeze."""
        now_ms = self._clock()
        if command.minute is not None:
            self._pattern = (command, now_ms)
            return
        frozen = {
            di: self._quantities.bytes_of(di, now_ms) for parts in _PARTS.values() for di in parts
        }
        self._instants = [(now_ms, frozen), *self._instants][: DEPTHS[INSTANT]]

    def clear(self) -> None:
        """Forgets what was frozen so far."""
        self._instants = []

    # --- freezes ------------------------------------------------------------------------------

    def frozen(self, di: bytes) -> bytes | None:
        """The payload of a freeze identifier (wire order), FF fill for one that never was; None
        for one that this meter lacks."""
        index, part, kind = di[0], di[1], di[2]
        if kind not in DEPTHS or not 1 <= index <= DEPTHS[kind]:
            return None
        parts = _HOURLY_PARTS if kind == HOURLY else _PARTS
        if part not in (0, _WHOLE) and part not in parts:
            return None
        at_ms, values = self._freeze_of(kind, index)
        time = b"\xff" * 5 if at_ms is None else _minute_bytes(at_ms + self._utc_offset_ms)
        if part == 0:
            return time
        if part != _WHOLE:
            return self._part(parts[part], at_ms, values)
        if not self._has_separators:
            return time + b"".join(self._part(one, at_ms, values) for one in parts.values())
        mode = self._number(_MODE_WORDS[kind])
        pieces = [
            self._part(names, at_ms, values) if mode >> _MODE_BITS[one] & 1 else b""
            for one, names in parts.items()
        ]
        return SEPARATOR.join([time, *pieces]) + SEPARATOR

    def _part(self, names: tuple[str, ...], at_ms: int | None, values: dict[str, bytes]) -> bytes:
        if at_ms is None:
            return b"\xff" * sum(self._quantities.size_of(di) for di in names)
        return b"".join(values.get(di) or self._quantities.bytes_of(di, at_ms) for di in names)

    def _freeze_of(self, kind: int, index: int) -> tuple[int | None, dict[str, bytes]]:
        """When the freeze was, None for never, and the values that were kept then."""
        if kind == INSTANT:
            if index > len(self._instants):
                return None, {}
            return self._instants[index - 1]
        since_ms = self._supply.since_ms
        if kind == DAILY:
            hour, minute = divmod(self._number("04001203"), 100)
            pattern = Freeze(None, hour, minute)
        elif kind == HOURLY:
            pattern = Freeze(None, None, 0)
        elif self._pattern is not None:
            pattern, set_ms = self._pattern
            since_ms = max(since_ms, set_ms)
        else:
            return None, {}
        at_ms = self._moment(pattern, index)
        return (at_ms if at_ms is not None and at_ms >= since_ms else None), {}

    def _moment(self, pattern: Freeze, index: int) -> int | None:
        """The `index`-th moment of a pattern, counted back from now."""
        local_ms = self._clock() + self._utc_offset_ms
        within_ms: int = (pattern.minute + 60 * (pattern.hour or 0)) * _MINUTE_MS
        if pattern.day is None:
            every_ms = _HOUR_MS if pattern.hour is None else DAY_MS
            turn = (local_ms - within_ms) // every_ms + 1 - index
            return turn * every_ms + within_ms - self._utc_offset_ms
        month = _EPOCH + timedelta(milliseconds=local_ms)
        for _ in range(4 * (index + 1)):  # a day that a month lacks is skipped
            try:
                day = month.replace(day=pattern.day, hour=0, minute=0, second=0, microsecond=0)
            except ValueError:
                day = None
            month = month.replace(day=1) - timedelta(days=1)
            if day is None:
                continue
            day_ms = (day - _EPOCH) // timedelta(milliseconds=1)
            index -= day_ms + within_ms <= local_ms
            if not index:
                return day_ms + within_ms - self._utc_offset_ms
        return None

    # --- load records -------------------------------------------------------------------------

    def records(self, command: ReadRecords) -> bytes | int:
        """The blocks asked for, or the error byte."""
        wire = bytes.fromhex(command.di)
        wanted, which = wire[1], wire[3]
        if wanted > len(_CLASSES) or wire[2] or which > LATEST:
            return NO_DATA
        if not 1 <= command.blocks <= BLOCKS_MAX or (which == LATEST and command.blocks != 1):
            return OTHER_ERROR
        if (which == FROM) != (command.start is not None):
            return OTHER_ERROR
        kept = self._kept(wanted)
        if which == FROM:
            from_ms = _local_ms(command.start)
            first_ms = max(kept.start, -(-from_ms // kept.step) * kept.step)
            kept = range(first_ms, kept.stop, kept.step)
        chosen = kept[-1:] if which == LATEST else kept[: command.blocks]
        return b"".join(self._block(wanted, local_ms) for local_ms in chosen)

    def _kept(self, wanted: int) -> range:
        """The local moments of the records in memory."""
        step_ms = min(self._interval_ms(number) for number in self._numbers(wanted))
        last_ms = (self._clock() + self._utc_offset_ms) // step_ms * step_ms
        first_ms = -(-(self._supply.since_ms + self._utc_offset_ms) // step_ms) * step_ms
        first_ms = max(first_ms, last_ms - (LOADS_MAX - 1) * step_ms)
        return range(first_ms, last_ms + 1, step_ms)

    def _block(self, wanted: int, local_ms: int) -> bytes:
        mode = self._number(_LOAD_MODE_WORD)
        body = _minute_bytes(local_ms)
        for number, names in enumerate(_CLASSES):
            is_due = not local_ms % self._interval_ms(number) and mode >> number & 1
            if number in self._numbers(wanted) and is_due:
                at_ms = local_ms - self._utc_offset_ms
                body += b"".join(self._quantities.bytes_of(di, at_ms) for di in names)
            body += SEPARATOR
        head = b"\xa0\xa0" + bytes((len(body),)) + body
        return head + bytes((sum(head) & 0xFF, 0xE5))

    def _numbers(self, wanted: int) -> tuple[int, ...]:
        return (wanted - 1,) if wanted else tuple(range(len(_CLASSES)))

    def _interval_ms(self, number: int) -> int:
        return max(1, self._number(_INTERVALS[number])) * _MINUTE_MS


def _minute_bytes(local_ms: int) -> bytes:
    """mm hh DD MM YY."""
    moment = _EPOCH + timedelta(milliseconds=local_ms)
    numbers = (moment.minute, moment.hour, moment.day, moment.month, moment.year % 100)
    return b"".join(encode_bcd(number, 1) for number in numbers)


def _local_ms(time: MeterTime) -> int:
    moment = datetime(*time, tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)
