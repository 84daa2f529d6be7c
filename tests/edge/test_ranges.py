"""Sets of sequences: against plain Python sets."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edge.journal.ranges import Ranges

MOST = 60
pairs = st.lists(st.tuples(st.integers(1, MOST), st.integers(0, 8)), max_size=20).map(
    lambda rows: [(first, first + more) for first, more in rows]
)


def numbers(ranges: list[tuple[int, int]]) -> set[int]:
    """The naive form."""
    return {n for first, last in ranges for n in range(first, last + 1)}


@given(pairs)
def test_ranges_hold_what_a_set_holds(added: list[tuple[int, int]]) -> None:
    """Whatever is added, the numbers are those of a set, and the ranges never touch."""
    ranges = Ranges(added)
    naive = numbers(added)
    kept = list(ranges)
    assert numbers(kept) == naive
    assert ranges.count == len(naive)
    assert len(ranges) == len(kept)
    assert all(low <= high for low, high in kept)
    assert all(b[0] > a[1] + 1 for a, b in itertools.pairwise(kept))


@given(pairs, st.integers(1, MOST), st.integers(0, 20))
def test_missing_is_the_complement(added: list[tuple[int, int]], first: int, more: int) -> None:
    """`missing` gives exactly the numbers between that are not there."""
    ranges = Ranges(added)
    holes = ranges.missing(first, first + more)
    assert numbers(holes) == set(range(first, first + more + 1)) - numbers(added)
    assert all(b[0] > a[1] + 1 for a, b in itertools.pairwise(holes))


@given(pairs, st.integers(1, MOST))
def test_contiguous_from_is_the_end_of_the_run(added: list[tuple[int, int]], first: int) -> None:
    """`contiguous_from` walks up while numbers are there."""
    naive = numbers(added)
    last = first - 1
    while last + 1 in naive:
        last += 1
    assert Ranges(added).contiguous_from(first) == last


def test_a_backward_range_adds_nothing() -> None:
    """A range that ends before it begins holds no number."""
    ranges = Ranges([(5, 4)])
    assert list(ranges) == []
    assert ranges.missing(3, 2) == []
