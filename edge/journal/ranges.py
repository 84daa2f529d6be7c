"""Sets of sequence numbers as ranges: what is acknowledged, what is under way."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """Whole numbers as sorted ranges [first, last] that neither touch nor overlap."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        return len(self._firsts)

    @property
    def count(self) -> int:
        """How many numbers are in it."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def add(self, first: int, last: int) -> None:
        """Adds first..last, both included."""
        if last < first:
            return
        low = bisect_right(self._lasts, first - 2)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def remove(self, first: int, last: int) -> None:
        """Takes first..last out, both included."""
        if last < first:
            return
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        if low >= high:
            return
        rest = [
            (self._firsts[low], first - 1),
            (last + 1, self._lasts[high - 1]),
        ]
        kept = [(one, other) for one, other in rest if one <= other]
        self._firsts[low:high] = [one for one, _ in kept]
        self._lasts[low:high] = [other for _, other in kept]

    def contiguous_from(self, first: int) -> int:
        """The last number of the run that begins at `first`; first - 1 without one."""
        at = bisect_right(self._firsts, first) - 1
        return self._lasts[at] if at >= 0 and self._lasts[at] >= first else first - 1

    def missing(self, first: int, last: int) -> list[tuple[int, int]]:
        """The ranges of first..last that are not in it."""
        holes = []
        for low, high in zip(self._firsts, self._lasts, strict=True):
            if high < first:
                continue
            if low > last:
                break
            if low > first:
                holes.append((first, low - 1))
            first = high + 1
        if first <= last:
            holes.append((first, last))
        return holes
