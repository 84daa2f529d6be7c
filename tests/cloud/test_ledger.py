"""The ledger against a plain set: whatever arrives in whatever order, the ranges are the set."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.store.ledger import Ledger
from cloud.store.rows import runs

RUNS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 6)), max_size=40)


def ranges_of(numbers: set[int]) -> list[tuple[int, int]]:
    return runs(sorted(numbers))


@given(RUNS)
def test_the_ranges_are_those_of_a_set(pieces: list[tuple[int, int]]) -> None:
    """Random order, repeats, overlaps and holes give the merged ranges of the plain set."""
    ledger, naive = Ledger(), set()
    for first, more in pieces:
        ledger.add(first, first + more)
        naive.update(range(first, first + more + 1))
        assert ledger.ranges() == ranges_of(naive)
    assert ledger.count() == len(naive)
    assert ledger.highest() == max(naive, default=0)
    assert len(ledger) == len(ranges_of(naive))
    assert [n for n in range(70) if n in ledger] == sorted(naive)


def test_a_hole_of_one_stays_a_hole() -> None:
    """The smallest hole, right behind all that is stored: what is lost there would count as had."""
    ledger = Ledger([(1, 3)])
    ledger.add(5, 6)
    assert ledger.ranges() == [(1, 3), (5, 6)]
    assert ledger.contiguous() == 3
    assert ledger.missing(6) == [(4, 4)]


@given(RUNS, st.integers(0, 70))
def test_what_is_missing_is_the_rest(pieces: list[tuple[int, int]], head: int) -> None:
    """Missing ranges and stored ones together are 1..head."""
    naive = {n for first, more in pieces for n in range(first, first + more + 1)}
    ledger = Ledger(ranges_of(naive))
    assert ledger.missing(head) == ranges_of(set(range(1, head + 1)) - naive)


@given(RUNS, st.integers(0, 5))
def test_an_acknowledgement_tells_the_contiguous_part_and_the_rest(
    pieces: list[tuple[int, int]], count_max: int
) -> None:
    """upto and the ranges above it are the ledger, the ranges cut off at their limit."""
    naive = {n for first, more in pieces for n in range(first, first + more + 1)}
    ledger = Ledger(ranges_of(naive))
    upto = ledger.contiguous()
    assert set(range(1, upto + 1)) <= naive and upto + 1 not in naive
    assert ledger.above(count_max) == [r for r in ranges_of(naive) if r[0] > upto][:count_max]


def test_runs_join_neighbours() -> None:
    """Rising numbers become ranges."""
    assert runs([1, 2, 3, 7, 9, 10]) == [(1, 3), (7, 7), (9, 10)]
