"""Which sequence numbers are stored: a set of whole numbers as merged ranges. Pure.

The ranges never touch or overlap, so one range that starts at 1 means: complete so far.
"""

from bisect import bisect_right
from collections.abc import Iterable


class Ledger:
    """A set of sequence numbers >= 1, small while it has few holes."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """`ranges`: (first, last) as `ranges()` gave them, in any order."""
        ordered = sorted(ranges)
        self._firsts = [first for first, _ in ordered]
        self._lasts = [last for _, last in ordered]

    def __contains__(self, sequence: int) -> bool:
        at = bisect_right(self._firsts, sequence) - 1
        return at >= 0 and sequence <= self._lasts[at]

    def __len__(self) -> int:
        """How many ranges there are: one more than there are holes in between."""
        return len(self._firsts)

    def add(self, first: int, last: int) -> None:
        """Every number from `first` to `last`, whether it was there or not."""
        firsts, lasts = self._firsts, self._lasts
        if lasts and lasts[-1] + 1 == first:  # what nearly always happens
            lasts[-1] = last
            return
        low = bisect_right(lasts, first - 2)  # the first range that ends at first - 1 or later
        high = bisect_right(firsts, last + 1)  # the first range that starts after last + 1
        if low < high:
            first = min(first, firsts[low])
            last = max(last, lasts[high - 1])
        firsts[low:high] = [first]
        lasts[low:high] = [last]

    def ranges(self) -> list[tuple[int, int]]:
        """[(first, last), ...], rising."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def contiguous(self) -> int:
        """The highest n such that 1..n are all there; 0 when 1 is not."""
        return self._lasts[0] if self._firsts and self._firsts[0] == 1 else 0

    def above(self, count_max: int) -> list[tuple[int, int]]:
        """At most `count_max` of the ranges above `contiguous()`, lowest first."""
        start = 1 if self.contiguous() else 0
        stop = start + count_max
        return list(zip(self._firsts[start:stop], self._lasts[start:stop], strict=True))

    def count(self) -> int:
        """How many numbers are in the set."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def highest(self) -> int:
        """The highest number; 0 when the set is empty."""
        return self._lasts[-1] if self._lasts else 0

    def missing(self, head: int) -> list[tuple[int, int]]:
        """The ranges of 1..head that are not there."""
        holes = []
        expected = 1
        for first, last in self.ranges():
            if first > head:
                break
            if first > expected:
                holes.append((expected, first - 1))
            expected = last + 1
        if expected <= head:
            holes.append((expected, head))
        return holes
