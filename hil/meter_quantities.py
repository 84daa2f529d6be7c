"""The numbers of a meter as of any moment: energies, instantaneous values and maximum demands.

Demand is the average power of one block of 15 min of local time. The load repeats daily, so the
largest is looked for in the day after the registers, the demands or the contact began anew.
"""

from collections.abc import Callable

from hil.load import DAY_MS, Shown
from hil.meter_clock import time_of
from hil.meter_port import Value
from hil.supply import Supply
from protocols.dlt645.identifiers import Item, identifier_bytes, identifier_text, items_of
from protocols.dlt645.rows import SIGNED
from protocols.dlt645.values import encode_value
from protocols.obis import CURRENT, Obis

DEMAND_PERIOD_MS = 900_000
_BLOCKS_A_DAY = DAY_MS // DEMAND_PERIOD_MS
_BLOCKS_AN_HOUR = 3_600_000 // DEMAND_PERIOD_MS
_ENERGY_CLASS, _DEMAND_CLASS = 0x00, 0x01
_DEMANDS = (1, 2)  # OBIS C: forward and reverse active
_PRESENT_DEMANDS = {"02800004": 1, "02800005": 3}  # and the energy that they come from
_STARTS_MAX = 10
NEVER = "0" * 10  # a demand that has not occurred


class Quantities:
    """What `supply` moves, in the items of the catalog; `pins` fixes single ones."""

    def __init__(self, supply: Supply, clock: Callable[[], int], utc_offset_ms: int = 0) -> None:
        self.pins: dict[Obis, Value] = {}
        self._supply = supply
        self._clock = clock
        self._utc_offset_ms = utc_offset_ms
        self._demands_since_ms = 0
        self._blocks: dict[int, Shown] = {}  # by end: the energy of each block, in mWh

    def bytes_of(self, di: str, at_ms: int | None = None) -> bytes:
        """The payload behind a 2007 identifier; KeyError when this meter does not have it."""
        return encoded(self.values(identifier_bytes(di), at_ms))

    def size_of(self, di: str) -> int:
        """Bytes of that payload."""
        return sum(item.size for item in self._items(identifier_bytes(di)))

    def values(self, di: bytes, at_ms: int | None = None) -> list[tuple[Item, Value]]:
        """The items of `di` (wire order) with their values, now or at `at_ms`; KeyError when
        this meter does not have one of them."""
        items = self._items(di)
        if not items:
            raise KeyError(identifier_text(di))
        if di[-1] == _DEMAND_CLASS:
            return self._demand_values(items, at_ms)
        present = _PRESENT_DEMANDS.get(identifier_text(di))
        if present is not None and items[0].obis not in self.pins:
            return [(items[0], self._scaled(items[0], self._latest_demand(present, at_ms)))]
        is_fixed = all(item.obis in self.pins for item in items)
        shown = {} if is_fixed else self.shown(at_ms)  # once: a block is of one instant
        return [(item, self.value(item, shown)) for item in items]

    def shown(self, at_ms: int | None = None) -> Shown:
        """All registers in thousandths of their units, now or at `at_ms`."""
        return self._supply.now(self._clock()) if at_ms is None else self._supply.at(at_ms)

    def value(self, item: Item, shown: Shown) -> Value:
        """One item's value in its scale; KeyError when this meter does not have it."""
        obis: Obis = item.obis
        if obis in self.pins:
            return self.pins[obis]
        if obis.f != CURRENT:
            raise KeyError(obis)
        return self._scaled(item, shown[obis.c, obis.d, obis.e])

    def demand(self, c: int, tariff: int, at_ms: int | None = None) -> tuple[int, str]:
        """The largest demand in mW, and when its block ended (YYMMDDhhmm, local time)."""
        best, best_ms = 0, 0
        for end_ms in self._block_ends(self._clock() if at_ms is None else at_ms):
            power = (self._block(end_ms).get((c, 8, tariff)) or 0) * _BLOCKS_AN_HOUR
            if power > best:
                best, best_ms = power, end_ms
        return best, self.minute_digits(best_ms) if best else NEVER

    def clear_demand(self) -> None:
        """Begins anew."""
        self._demands_since_ms = self._clock()

    def minute_digits(self, at_ms: int) -> str:
        """Local time as YYMMDDhhmm."""
        year, *others = time_of(at_ms + self._utc_offset_ms)[:5]
        return "".join(f"{number:02d}" for number in (year % 100, *others))

    def _items(self, di: bytes) -> tuple[Item, ...]:
        each = {_ENERGY_CLASS: 4, _DEMAND_CLASS: 8}.get(di[-1], 0)
        found: tuple[Item, ...] = items_of(di, each * (1 + self._supply.tariffs))
        return found

    def _scaled(self, item: Item, shown: int | None) -> Value:
        if shown is None:
            return None
        # A register that is full starts again from zero; a signed one has three bits for its
        # first digit.
        full: int = (8 if item.form == SIGNED else 10) * 10 ** (2 * item.size - 1)
        step: int = 10 ** (item.scaler + 3)
        size = abs(shown) // step % full
        # Where an item has no room for a sign, the meter shows the size alone.
        return -size if shown < 0 and item.form == SIGNED else size

    def _demand_values(
        self, items: tuple[Item, ...], at_ms: int | None
    ) -> list[tuple[Item, Value]]:
        at_ms = self._clock() if at_ms is None else at_ms
        values: list[tuple[Item, Value]] = []
        for item, time in zip(items[::2], items[1::2], strict=True):
            obis = item.obis
            if obis.c not in _DEMANDS or obis.f != CURRENT or obis.e > self._supply.tariffs:
                raise KeyError(obis)
            power, digits = self.demand(obis.c, obis.e, at_ms)
            values += [(item, self._scaled(item, power)), (time, digits)]
        return values

    def _latest_demand(self, c: int, at_ms: int | None) -> int:
        at_ms = self._clock() if at_ms is None else at_ms
        end_ms = self._grid(at_ms)
        if end_ms - DEMAND_PERIOD_MS < self._supply.since_ms:
            return 0
        return (self._block(end_ms)[c, 8, 0] or 0) * _BLOCKS_AN_HOUR

    def _block_ends(self, at_ms: int) -> list[int]:
        """When the blocks ended that may hold the largest demand, in order."""
        since_ms = max(self._supply.since_ms, self._demands_since_ms)
        closings = [one for one in self._supply.closings_ms if one > since_ms][-_STARTS_MAX:]
        ends: set[int] = set()
        for start_ms in (since_ms, *closings):
            first_ms = self._grid(start_ms + DEMAND_PERIOD_MS - 1)
            ends.update(first_ms + n * DEMAND_PERIOD_MS for n in range(1, _BLOCKS_A_DAY + 1))
        return sorted(end_ms for end_ms in ends if end_ms <= at_ms)

    def _grid(self, at_ms: int) -> int:
        """The latest end of a block that is not after `at_ms`."""
        local_ms = at_ms + self._utc_offset_ms
        return at_ms - local_ms % DEMAND_PERIOD_MS

    def _block(self, end_ms: int) -> Shown:
        found = self._blocks.get(end_ms)
        if found is None:
            before, after = self._supply.at(end_ms - DEMAND_PERIOD_MS), self._supply.at(end_ms)
            found = {
                key: (value or 0) - (before[key] or 0)
                for key, value in after.items()
                if key[1] == 8
            }
            if len(self._blocks) >= _BLOCKS_A_DAY * _STARTS_MAX:
                self._blocks.clear()
            self._blocks[end_ms] = found
        return found


def encoded(values: list[tuple[Item, Value]]) -> bytes:
    """The wire form of items and their values."""
    return b"".join(encode_value(item, value) for item, value in values)
