"""The events of a meter's supply as identifiers show them: counts, minutes and records.

Layouts are those of the catalog, put together here by hand. Energies of class 03 are what they grew
by during the event, those of the amendment are registers at its begin and end. Voltage, current,
power and power factor of each phase are those of its begin, as an implementation that is not ours
names them.
What is not known is FF fill: the end while an event goes on, and what this meter does not measure.
"""

from collections.abc import Callable

from hil.load import Shown
from hil.meter_quantities import Quantities
from hil.meter_watch import Occurrence, Track, Watch, prefixes
from hil.supply import Supply
from protocols.bcd import encode_bcd
from protocols.dlt645.identifiers import identifier_bytes, items_of

_UNKNOWN = b"\xff"
_TIME_SIZE, _ENERGY_SIZE = 6, 4
_MINUTE_MS = 60_000
_STEP_MWH = 10_000  # of an energy's last digit
_AMPERE_HOUR = 3_600_000 * 1000  # mA x ms
_COUNT_END, _ENERGY_END = 10**6, 10**8
_PHASE_STEP = 20  # OBIS C
# Forward and reverse active, combined reactive 1 and 2: OBIS C, and DI2 of an energy.
_ENERGIES = ((1, 0x01), (2, 0x02), (3, 0x03), (4, 0x04))
_PHASE_DI2 = 0x14
_ALL = (None, 0, 1, 2)  # the total and the phases
_PHASES = (0, 1, 2)
_RECORDS_MAX = 10


class PhaseRecords:
    """What `watch` wrote down, with the registers of `supply` and `quantities`."""

    def __init__(self, watch: Watch, supply: Supply, quantities: Quantities) -> None:
        self._watch = watch
        self._supply = supply
        self._quantities = quantities
        self._layouts: dict[str, Callable[[Occurrence], bytes]] = {
            "voltage": self._voltage_event,
            "current": self._current_event,
            "growth": self._growth_event,
            "unbalance": self._unbalance_event,
            "all_voltages": lambda one: one.begin + encode_bcd(one.current_ma, 3) + _end(one),
            "span": lambda one: one.begin + _end(one),
        }
        self._amended: dict[str, Callable[[Occurrence], bytes]] = {
            "voltage": lambda one: self._amended_event(one, _charges(one)),
            "current": lambda one: self._amended_event(one, b""),
            "growth": lambda one: self._amended_span(one, b""),
            "unbalance": lambda one: self._amended_span(one, _largest(one, 3, 100)),
            "factor": self._factor_event,
        }

    def payload(self, di: str) -> bytes | None:
        """What stands behind an identifier; None for one that is no event of this meter."""
        found = [track for track in self._watch.tracks if track.kind.code == di[:4] and di[:4]]
        if found and di[4:] == "0000":
            return self._counts(found, self._watch.settle())
        number = int(di[-2:], 16)
        for track in self._watch.tracks:
            known = prefixes(track)
            if di[:4] in known and di[4:6] == "FF":
                return self._record(track, di, self._amended[track.kind.layout], number)
            if di[:6] in known and di[:2] == "03":
                return self._record(track, di, self._layouts[track.kind.layout], number)
        return None

    def _counts(self, tracks: list[Track], now_ms: int) -> bytes:
        kind = tracks[0].kind
        pieces = []
        for track in tracks:
            pieces.append(encode_bcd(track.count % _COUNT_END, 3))
            if kind.layout != "span":
                minutes = track.lasted_ms(now_ms) // _MINUTE_MS
                pieces.append(encode_bcd(minutes % _COUNT_END, 3))
        missing = len(_PHASES) - len(tracks) if kind.is_of_phase else 0
        return b"".join(pieces) + _UNKNOWN * 6 * missing

    def _record(
        self, track: Track, di: str, layout: Callable[[Occurrence], bytes], number: int
    ) -> bytes | None:
        if not 1 <= number <= _RECORDS_MAX:
            return None
        self._watch.settle()
        if number > len(track.latest):
            size: int = sum(item.size for item in items_of(identifier_bytes(di), 0))
            return _UNKNOWN * size
        return layout(track.latest[number - 1])

    # --- the text of 2007 ---------------------------------------------------------------------

    def _voltage_event(self, one: Occurrence) -> bytes:
        return self._current_event(one) + _charges(one)

    def _current_event(self, one: Occurrence) -> bytes:
        body = one.begin + _end(one) + self._grown(one, None)
        for phase in _PHASES:
            body += self._grown(one, phase) + self._state(phase, one.begin_ms)
        return body

    def _growth_event(self, one: Occurrence) -> bytes:
        return one.begin + _end(one) + b"".join(self._grown(one, phase) for phase in _ALL)

    def _unbalance_event(self, one: Occurrence) -> bytes:
        grown = b"".join(self._grown(one, phase) for phase in _ALL)
        return one.begin + _end(one) + _largest(one, 2, 1) + grown

    # --- the amendment ------------------------------------------------------------------------

    def _amended_event(self, one: Occurrence, charges: bytes) -> bytes:
        body = one.begin + self._registers(None, one.begin_ms)
        for phase in _PHASES:
            body += self._registers(phase, one.begin_ms) + self._state(phase, one.begin_ms)
        return body + charges + _end(one) + self._all_registers(one.end_ms)

    def _amended_span(self, one: Occurrence, largest: bytes) -> bytes:
        at_begin = one.begin + self._all_registers(one.begin_ms) + largest
        return at_begin + _end(one) + self._all_registers(one.end_ms)

    def _factor_event(self, one: Occurrence) -> bytes:
        at_begin = one.begin + self._registers(None, one.begin_ms)
        return at_begin + _end(one) + self._registers(None, one.end_ms)

    # --- parts --------------------------------------------------------------------------------

    def _grown(self, one: Occurrence, phase: int | None) -> bytes:
        """What the energies of the total or a phase grew by."""
        if one.end_ms is None:
            return _UNKNOWN * _ENERGY_SIZE * len(_ENERGIES)
        before, after = self._supply.at(one.begin_ms), self._supply.at(one.end_ms)
        codes = [c if phase is None else c + _PHASE_STEP * (phase + 1) for c, _ in _ENERGIES]
        return b"".join(_growth(before, after, c) for c in codes)

    def _registers(self, phase: int | None, at_ms: int | None) -> bytes:
        """The energies of the total or a phase at a moment."""
        body = b""
        for _, di2 in _ENERGIES:
            number = di2 if phase is None else di2 + _PHASE_DI2 * (phase + 1)
            body += self._one(f"00{number:02X}0000", _ENERGY_SIZE, at_ms)
        return body

    def _all_registers(self, at_ms: int | None) -> bytes:
        return b"".join(self._registers(phase, at_ms) for phase in _ALL)

    def _state(self, phase: int, at_ms: int) -> bytes:
        """Voltage, current, active and reactive power, power factor of a phase."""
        sizes = {"0201": 2, "0202": 3, "0203": 3, "0204": 3, "0206": 2}
        return b"".join(
            self._one(f"{kind}{phase + 1:02X}00", size, at_ms) for kind, size in sizes.items()
        )

    def _one(self, di: str, size: int, at_ms: int | None) -> bytes:
        if at_ms is None:
            return _UNKNOWN * size
        try:
            return self._quantities.bytes_of(di, at_ms)
        except KeyError:
            return _UNKNOWN * size  # this meter does not measure it


def _end(one: Occurrence) -> bytes:
    return one.end or _UNKNOWN * _TIME_SIZE


def _growth(before: Shown, after: Shown, c: int) -> bytes:
    first, last = before.get((c, 8, 0)), after.get((c, 8, 0))
    if first is None or last is None:
        return _UNKNOWN * _ENERGY_SIZE
    grown: bytes = encode_bcd((last // _STEP_MWH - first // _STEP_MWH) % _ENERGY_END, _ENERGY_SIZE)
    return grown


def _charges(one: Occurrence) -> bytes:
    """Ampere hours of the total and of each phase, in hundredths."""
    each = [charge * 100 // _AMPERE_HOUR for charge in one.charges]
    return b"".join(encode_bcd(size % _ENERGY_END, _ENERGY_SIZE) for size in (sum(each), *each))


def _largest(one: Occurrence, size: int, factor: int) -> bytes:
    """The largest unbalance; 100 % does not fit and is shown as the largest number that does."""
    largest: bytes = encode_bcd(min(one.largest * factor, 10 ** (2 * size) - 1), size)
    return largest
