"""Total and tariffs of an energy in one exchange, of a meter that has shown that it can do it.

* What is asked for item by item is read so first. Then the block that holds all of it is tried
  right behind; when it says the same, it is read in their place from the next sweep on.
* A meter that refuses the block, says anything else in it, or is silent to it again and again, is
  read item by item until the agent starts again. So is what a proven block does not bring.
"""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from edge.meters.dlt645_quantities import edition_of
from protocols.dlt645.identifiers import EDITION_2007, TARIFF_MAX, identifier_bytes, items_of
from protocols.obis import Obis
from protocols.readings import Reading

WANTED_MIN = 3  # of a block; for fewer it saves little
WORTH_ITEMS = 10  # of a block take as long as one item by itself, which has a frame around it
TRIALS_MAX = 3  # that meet with silence; any answer decides
GROWTH_MAX = 1_000  # last digits that an energy may grow between its own answer and the block
_ITEM_SIZE = 4  # bytes of an energy


class Blocks:
    """The blocks of one meter, each with the identifiers in its place."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}  # proven -> bytes of its data
        self._trials: Counter[str] = Counter()

    def proven(self, schedule: Iterable[str]) -> dict[str, list[str]]:
        """Those to read, and what each stands for in this schedule."""
        wanted = _blocks_of(schedule)
        return {block: codes for block, codes in wanted.items() if block in self._sizes}

    def untried(self, schedule: Iterable[str]) -> list[str]:
        """Those to try, once all of the schedule was read."""
        return [block for block in _blocks_of(schedule) if self._trials[block] < TRIALS_MAX]

    def note_trial(self, block: str) -> None:
        """It is asked for now."""
        self._trials[block] += 1

    def size(self, block: str) -> int:
        """Bytes of the data of a proven one."""
        return self._sizes[block]

    def judge(self, block: str, single: list[Reading], together: list[Reading]) -> bool:
        """Whether a block that was tried is read from now on: it says `together` what the items
        have said by themselves."""
        self._trials[block] = TRIALS_MAX
        members = _members_of(block)
        asked = {one.obis: one for one in single if one.obis in members}
        found = {one.obis: one for one in together}
        is_worth = len(asked) >= WANTED_MIN and len(found) <= WORTH_ITEMS * len(asked)
        is_same = all(code in found and _agrees(asked[code], found[code]) for code in asked)
        if is_worth and is_same:
            self._sizes[block] = len(found) * _ITEM_SIZE
        return block in self._sizes

    def split(
        self, block: str, codes: list[str], readings: list[Reading]
    ) -> tuple[list[Reading], list[str]]:
        """Of what a proven block brought, what was asked for; and those of `codes` that it did not
        bring. One that brings nothing is not read any more."""
        wanted = {_obis_of(code): code for code in codes}
        found = [one for one in readings if one.obis in wanted]
        if not found:
            del self._sizes[block]
        there = {wanted[one.obis] for one in found}
        return found, [code for code in codes if code not in there]


def _blocks_of(schedule: Iterable[str]) -> dict[str, list[str]]:
    """Blocks of energies of which enough items are asked for, and that are not asked for anyway."""
    codes = list(schedule)
    found: dict[str, list[str]] = {}
    for code in codes:
        found.setdefault(_block_over(code), []).append(code)
    found.pop("", None)
    return {
        block: wanted
        for block, wanted in found.items()
        if len(wanted) >= WANTED_MIN and block not in codes
    }


@lru_cache(maxsize=4096)
def _block_over(code: str) -> str:
    """The block of total and tariffs that holds an energy's present register; "" for all else."""
    if edition_of(code) == EDITION_2007:
        is_energy, block = code.startswith("00") and code.endswith("00"), code[:4] + "FF00"
    else:
        is_energy, block = code.startswith("9"), code[:3] + "F"
    is_member = is_energy and code != block and _obis_of(code) in _members_of(block)
    return block if is_member else ""


def _members_of(block: str) -> set[Obis]:
    size = (1 + TARIFF_MAX) * _ITEM_SIZE
    return {item.obis for item in items_of(identifier_bytes(block), size)}


def _obis_of(code: str) -> Obis:
    obis: Obis = items_of(identifier_bytes(code), 0)[0].obis
    return obis


def _agrees(single: Reading, together: Reading) -> bool:
    before, after = single.quantity, together.quantity
    is_alike: bool = before[1:] == after[1:]  # scaler, unit and kind
    return is_alike and 0 <= after.value - before.value <= GROWTH_MAX
