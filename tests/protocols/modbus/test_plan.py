"""protocols/modbus/plan.py: which registers are asked for together, and what refusals teach."""

import math
import random
from collections import namedtuple
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.modbus.plan import (
    GAP_REGISTERS_MAX,
    HOLES_MAX,
    SPAN_REGISTERS_MAX,
    ReadPlan,
    Span,
    plan_spans,
    with_factors,
)

One = namedtuple("One", ("name", "address", "words", "times", "function"))
ONES = st.lists(
    st.builds(
        One,
        st.text("abc", min_size=1, max_size=3),
        st.integers(0, 400) | st.integers(0, 65532),
        st.sampled_from((1, 2, 4)),
        st.just(()),
        st.sampled_from((3, 4)),
    ),
    max_size=40,
)


def one(address: int, words: int = 2, function: int = 3) -> One:
    """A register of the plan; only where it lies matters."""
    return One("x", address, words, (), function)


def reach(register: One) -> set[tuple[int, int]]:
    """(function, address) of each word of a register."""
    return {(register.function, register.address + n) for n in range(register.words)}


def covered(spans: Iterable[Span]) -> set[tuple[int, int]]:
    """(function, address) of everything that is asked for."""
    return {(span.function, span.address + n) for span in spans for n in range(span.count)}


# ---- the plan of a meter that refuses nothing --------------------------------------------------


@given(ONES, st.integers(0, 20), st.integers(4, 130))
def test_a_plan_covers_every_register_in_one_request(
    ones: list[One], gap_max: int, span_max: int
) -> None:
    """No register is missed or cut by a request's end, and no request is longer than allowed."""
    spans = plan_spans(tuple(ones), gap_max, span_max)
    for register in ones:
        assert any(reach(register) <= covered([span]) for span in spans)
    assert all(0 < span.count <= span_max for span in spans)
    assert {type(span) for span in spans} <= {Span}
    assert ReadPlan(tuple(ones), gap_max, span_max).spans() == spans


@given(ONES, st.integers(0, 20))
def test_a_plan_reads_no_longer_gap_than_allowed(ones: list[One], gap_max: int) -> None:
    """Unread registers stand only between registers, in runs of at most the limit."""
    spans = plan_spans(tuple(ones), gap_max)
    wanted = set().union(*map(reach, ones))
    for span in spans:
        inside = [
            (span.function, a) in wanted for a in range(span.address, span.address + span.count)
        ]
        assert inside[0] and inside[-1]
        run = 0
        for is_wanted in inside:
            run = 0 if is_wanted else run + 1
            assert run <= gap_max
    assert covered(spans) >= wanted


@given(ONES)
def test_a_plan_rises_and_does_not_depend_on_the_order_of_the_model(ones: list[One]) -> None:
    """The same registers give the same requests, in address order, none for nothing."""
    spans = plan_spans(tuple(ones))
    assert spans == plan_spans(tuple(reversed(ones)))
    assert spans == sorted(spans)
    assert bool(spans) == bool(ones)


@given(ONES)
def test_neighbours_within_the_limits_share_a_request(ones: list[One]) -> None:
    """Two requests stand next to each other only when one would be too long, or mostly gap."""
    spans = plan_spans(tuple(ones))
    for a, b in pairwise(spans):
        gap = b.address - (a.address + a.count)
        first = max(r.words for r in ones if (r.function, r.address) == b[:2])
        grown = max(b.address + first, a.address + a.count) - a.address
        is_far = gap > GAP_REGISTERS_MAX or grown > SPAN_REGISTERS_MAX - 4
        assert is_far or a.function != b.function


@pytest.mark.parametrize(
    ("ones", "spans"),
    [
        ([], []),
        ([one(5)], [(3, 5, 2)]),
        ([one(5), one(7)], [(3, 5, 4)]),
        ([one(7), one(5)], [(3, 5, 4)]),
        ([one(0), one(10)], [(3, 0, 12)]),
        ([one(0), one(11)], [(3, 0, 2), (3, 11, 2)]),
        ([one(5), one(5, 4), one(6, 1)], [(3, 5, 4)]),
        ([one(n) for n in range(0, 124, 2)] + [one(124, 1)], [(3, 0, 125)]),
        ([one(n) for n in range(0, 126, 2)], [(3, 0, 124), (3, 124, 2)]),
        ([one(65534)], [(3, 65534, 2)]),
        ([one(0), one(2, 2, 4), one(4)], [(3, 0, 6), (4, 2, 2)]),
    ],
)
def test_a_plan_by_hand(ones: list[One], spans: list[tuple[int, int, int]]) -> None:
    """Neighbours together, the gap limit and the span limit at their edges, functions apart."""
    assert plan_spans(tuple(ones)) == spans


def test_the_limit_of_a_request_is_the_protocols() -> None:
    """Modbus application protocol 1.1b3, 6.3: 1 to 125 registers."""
    assert SPAN_REGISTERS_MAX == 125


def test_what_is_wanted_brings_its_factors() -> None:
    """In the model's order, each once; an unknown register is none."""
    ct, pt = One("ct", 6, 1, (), 3), One("pt", 7, 1, (), 3)
    volts, power = One("volts", 100, 2, ("pt",), 3), One("power", 102, 2, ("ct", "pt"), 3)
    model = (volts, ct, power, pt)
    assert with_factors(model, (power,)) == (ct, power, pt)
    assert with_factors(model, (power, volts)) == (volts, ct, power, pt)
    assert with_factors(model, (volts, volts, pt)) == (volts, pt)
    assert with_factors(model, (ct,)) == (ct,)
    assert with_factors(model, ()) == ()


# ---- a meter with holes ------------------------------------------------------------------------


class Meter:
    """Refuses every request that touches a hole, crosses a seam or is too long."""

    def __init__(
        self,
        holes: Iterable[tuple[int, int]] = (),
        seams: Iterable[tuple[int, int]] = (),
        span_max: int = SPAN_REGISTERS_MAX,
    ) -> None:
        self.holes = set(holes)
        self.seams = set(seams)  # (function, address): nothing across the border before it
        self.span_max = span_max
        self.asked: list[Span] = []
        self.refused: list[Span] = []

    def answers(self, span: Span) -> bool:
        """Whether the request is answered."""
        self.asked.append(span)
        inner = {(span.function, span.address + n) for n in range(1, span.count)}
        good = not (covered([span]) & self.holes or inner & self.seams)
        if not good or span.count > self.span_max:
            self.refused.append(span)
            return False
        return True


def sweep(plan: ReadPlan, meter: Meter, chance: random.Random | None = None) -> set[int]:
    """One sweep as a driver makes it, in address order or in any; the words that were read."""
    waiting = plan.spans()
    words: set = set()
    while waiting:
        span = waiting.pop(chance.randrange(len(waiting)) if chance else 0)
        if meter.answers(span):
            plan.accept(span)
            words |= covered([span])
        else:
            narrower = plan.refuse(span)
            assert all(covered([part]) < covered([span]) for part in narrower)
            waiting = narrower + waiting
    return words


def learned(plan: ReadPlan, meter: Meter, chance: random.Random | None = None) -> int:
    """Sweeps until nothing is refused any more; how many it took."""
    for number in range(1, 40):
        before = len(meter.refused)
        sweep(plan, meter, chance)
        if len(meter.refused) == before:
            return number
    raise AssertionError("it never ends")


@st.composite
def fields(draw: st.DrawFn) -> tuple[tuple[One, ...], Meter]:
    """Registers as models have them, some overlapping, and a meter that lacks some addresses."""
    ones = []
    for function in draw(st.sampled_from(((3,), (4,), (3, 4)))):
        at = draw(st.integers(0, 50))
        for _ in range(draw(st.integers(1, 40))):
            words = draw(st.sampled_from((1, 2, 2, 2, 4)))
            ones.append(One(f"r{function}-{len(ones)}", at, words, (), function))
            at += words + draw(st.sampled_from((0, 0, 0, 0, 1, 2, 5, 8, 12, -1)))
            at = max(at, 0)
    everywhere = sorted(covered(plan_spans(tuple(ones), 200)))
    holes = draw(st.lists(st.sampled_from(everywhere), max_size=6))
    seams = draw(st.lists(st.sampled_from(everywhere), max_size=3))
    return tuple(ones), Meter(holes, seams)


def readable(ones: tuple[One, ...], meter: Meter) -> list[One]:
    """What the meter has, told by itself."""
    probe = Meter(meter.holes, meter.seams, meter.span_max)
    return [r for r in ones if probe.answers(Span(r.function, r.address, r.words))]


def faults(meter: Meter) -> int:
    """Holes and seams that the meter has."""
    return len(meter.holes) + len(meter.seams)


@given(fields())
@settings(max_examples=300)
def test_every_readable_register_is_read_in_the_first_sweep_and_ever_after(
    field: tuple[tuple[One, ...], Meter],
) -> None:
    """The refusals of one sweep are worked off within it."""
    ones, meter = field
    plan = ReadPlan(ones)
    wanted = readable(ones, meter)
    for _ in range(4):
        words = sweep(plan, meter)
        assert all(reach(register) <= words for register in wanted)
    assert set(plan.missing) == set(ones) - set(wanted)


@given(fields())
@settings(max_examples=300)
def test_learning_ends_and_nothing_is_refused_again(
    field: tuple[tuple[One, ...], Meter],
) -> None:
    """Once learned, no hole is asked for, and the plan goes by what it learned alone."""
    ones, meter = field
    plan = ReadPlan(ones)
    learned(plan, meter)
    refused = len(meter.refused)
    sweep(plan, meter)
    assert len(meter.refused) == refused
    again = ReadPlan(ones, holes=plan.holes)
    assert again.spans() == plan.spans()
    assert again.missing == plan.missing
    assert again.holes == plan.holes == tuple(sorted(set(plan.holes)))


@given(fields(), st.integers(0, 2**32))
@settings(max_examples=200)
def test_what_is_learned_does_not_depend_on_the_order_of_the_answers(
    field: tuple[tuple[One, ...], Meter], seed: int
) -> None:
    """A driver may ask for the parts in any order; the plan at the end is the same."""
    ones, meter = field
    plan, other = ReadPlan(ones), ReadPlan(tuple(reversed(ones)))
    learned(plan, meter)
    learned(other, Meter(meter.holes, meter.seams), random.Random(seed))
    assert (plan.spans(), plan.holes) == (other.spans(), other.holes)


@given(fields())
@settings(max_examples=300)
def test_learning_costs_few_requests(field: tuple[tuple[One, ...], Meter]) -> None:
    """Refusals grow with the number of holes and the logarithm of the number of registers."""
    ones, meter = field
    learned(ReadPlan(ones), meter)
    depth = math.ceil(math.log2(len(ones) + 1)) + 2
    assert len(meter.refused) <= 2 * faults(meter) * depth


@pytest.mark.parametrize("count", [8, 32, 61])
def test_one_hole_costs_the_logarithm(count: int) -> None:
    """Wherever it lies, in a register or in a gap: at most log2 n + 2 refusals, and twice as many
    requests more than a plan that knew it."""
    ones = tuple(one(2 * n, 1) for n in range(count))  # a gap behind each register
    for address in range(2 * count - 1):
        meter = Meter([(3, address)])
        assert learned(ReadPlan(ones), meter) == 2
        assert len(meter.refused) <= math.log2(count) + 2
        assert len(meter.asked) <= 2 * math.log2(count) + 6


def test_a_hole_in_a_gap_leaves_the_other_gaps_alone() -> None:
    """Only the request that crosses it is cut."""
    ones = (one(0), one(4), one(8), one(12))
    plan = ReadPlan(ones)
    meter = Meter([(3, 6)])
    sweep(plan, meter)
    assert plan.holes == ((3, 6, 7),)
    assert plan.missing == ()
    assert plan.spans() == [(3, 0, 6), (3, 8, 6)]


def test_a_register_that_is_refused_alone_is_missing() -> None:
    """The plan goes round it, though the gap would be short enough."""
    plan = ReadPlan((one(0), one(2), one(4)))
    meter = Meter([(3, 3)])
    assert sweep(plan, meter) == covered([Span(3, 0, 2), Span(3, 4, 2)])
    assert (plan.missing, plan.holes) == ((one(2),), ((3, 2, 3),))
    assert plan.spans() == [(3, 0, 2), (3, 4, 2)]


def test_a_refused_request_is_cut_where_the_doubt_is() -> None:
    """At a gap rather than between neighbours, and never where an answer left no doubt."""
    ones = (one(0), one(2), one(4), one(6), one(12))
    assert ReadPlan(ones).refuse(Span(3, 0, 14)) == [(3, 0, 8), (3, 12, 2)]
    plan = ReadPlan((one(0), one(2), one(4), one(6), one(8)))
    plan.accept(Span(3, 0, 8))
    assert plan.refuse(Span(3, 0, 10)) == [(3, 0, 8), (3, 8, 2)]
    plan.accept(Span(3, 8, 2))
    assert plan.holes == ((3, 7, 8),)


def test_a_refusal_outdates_the_answers_before_it() -> None:
    """A register that is gone since is found, and its neighbours are not blamed."""
    plan = ReadPlan((one(0), one(2), one(4)))
    plan.accept(Span(3, 0, 6))
    meter = Meter([(3, 4)])
    sweep(plan, meter)
    assert (plan.holes, plan.missing) == (((3, 4, 5),), (one(4),))
    assert plan.spans() == [(3, 0, 4)]
    plan = ReadPlan((one(0), one(2), one(4), one(6)))
    plan.accept(Span(3, 0, 8))
    sweep(plan, Meter(seams=[(3, 4)]))
    assert (plan.holes, plan.missing) == (((3, 3, 4),), ())


def test_a_request_of_which_every_part_is_readable_was_too_long() -> None:
    """Then just that request is not made again."""
    plan = ReadPlan((one(0), one(2), one(4)))
    plan.accept(Span(3, 0, 4))
    plan.accept(Span(3, 2, 4))
    plan.refuse(Span(3, 0, 6))
    assert plan.holes == ((3, 0, 5),)
    assert plan.spans() == [(3, 0, 4), (3, 4, 2)]


def test_a_border_that_no_request_may_cross_is_learned() -> None:
    """Both sides are readable, and no address is missing."""
    plan = ReadPlan((one(0), one(2), one(4), one(6)))
    meter = Meter(seams=[(3, 2)])
    learned(plan, meter)
    assert (plan.missing, plan.holes) == ((), ((3, 1, 2),))
    assert plan.spans() == [(3, 0, 2), (3, 2, 6)]


@pytest.mark.parametrize("span_max", [2, 7, 16, 60])
def test_a_meter_that_takes_short_requests_only_is_read_all_the_same(span_max: int) -> None:
    """It refuses by length; what is learned are borders, and nothing is missing."""
    ones = tuple(one(2 * n) for n in range(60))
    plan, meter = ReadPlan(ones), Meter(span_max=span_max)
    sweep(plan, meter)
    learned(plan, meter)
    assert plan.missing == ()
    assert covered(plan.spans()) == covered([Span(3, 0, 120)])
    assert len(plan.spans()) <= 2 * math.ceil(120 / span_max)


@pytest.mark.parametrize("count", [1, 2, 100, 256])
def test_a_meter_that_refuses_everything_is_left_alone(count: int) -> None:
    """A wrong model: fewer than two requests for each register, then none."""
    ones = tuple(one(3 * n) for n in range(count))
    plan, meter = ReadPlan(ones), Meter(covered([Span(3, 0, 1000)]))
    sweep(plan, meter)
    assert len(meter.asked) < 2 * count
    assert plan.spans() == []
    assert plan.missing == ones
    assert len(plan.holes) == count <= HOLES_MAX


def test_registers_of_one_place_and_within_another_end_too() -> None:
    """What cannot be cut apart is asked for on its own, once."""
    ones = (one(0, 4), one(0, 4), one(0, 2), one(1, 2), one(2, 4))
    plan, meter = ReadPlan(ones), Meter([(3, 3)])
    assert sweep(plan, meter) >= covered([Span(3, 0, 2), Span(3, 1, 2)])
    assert set(plan.missing) == {one(0, 4), one(2, 4)}
    refused = len(meter.refused)
    sweep(plan, meter)
    assert len(meter.refused) == refused


def test_the_functions_have_holes_of_their_own() -> None:
    """Holding register 2 says nothing about input register 2."""
    ones = (one(0), one(2), one(0, 2, 4), one(2, 2, 4))
    plan, meter = ReadPlan(ones), Meter([(4, 2)])
    learned(plan, meter)
    assert plan.missing == (one(2, 2, 4),)
    assert plan.spans() == [(3, 0, 4), (4, 0, 2)]


# ---- what was kept -----------------------------------------------------------------------------


def test_a_kept_gap_does_not_hide_a_register_that_lies_in_it_now() -> None:
    """A hole says that something in it is refused: a register that is only a part of it is asked
    for, on its own."""
    plan = ReadPlan((one(0), one(4), one(8)), holes=((3, 2, 7),))
    assert plan.missing == ()
    assert plan.spans() == [(3, 0, 6), (3, 8, 2)]


def test_a_hole_that_is_filled_is_forgotten() -> None:
    """The newest answer counts."""
    plan = ReadPlan((one(0), one(2)), holes=((3, 2, 3),))
    assert plan.spans() == [(3, 0, 2)]
    plan.accept(Span(3, 2, 2))
    assert (plan.holes, plan.missing, plan.spans()) == ((), (), [(3, 0, 4)])
    assert plan.refuse(Span(3, 0, 4)) == [(3, 0, 2), (3, 2, 2)]
    plan.accept(Span(3, 0, 2))
    assert plan.refuse(Span(3, 2, 2)) == []
    assert plan.missing == (one(2),)


@given(st.lists(st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(-2, 70000))
                | st.tuples(st.integers(2, 5), st.integers(-2, 70000), st.integers(-2, 70000)),
                max_size=20))  # fmt: skip
def test_any_kept_holes_give_a_plan(holes: list[object]) -> None:
    """The fuzz sentence: what is no hole is left out, and what is one is kept, in order."""
    plan = ReadPlan((one(0), one(2)), holes=tuple(holes))
    for function, first, last in plan.holes:
        assert function in (3, 4) and 0 <= first <= last <= 65535
    assert plan.holes == tuple(sorted(plan.holes))
    assert covered(plan.spans()) | set().union(*map(reach, plan.missing)) >= covered(
        [Span(3, 0, 4)]
    )


def test_the_number_of_kept_holes_is_bounded() -> None:
    """More than the registers and borders of a model can have are the mistakes of a file."""
    plan = ReadPlan((one(0),), holes=tuple((3, 2 * n, 2 * n) for n in range(1, 2 * HOLES_MAX)))
    assert len(plan.holes) == HOLES_MAX


def test_a_span_of_nothing_of_ours_teaches_nothing() -> None:
    """A driver that tries an old hole may ask for what no register wants."""
    plan = ReadPlan((one(0), one(2)))
    assert plan.refuse(Span(3, 100, 4)) == []
    assert plan.refuse(Span(4, 0, 4)) == []
    plan.accept(Span(3, 100, 4))
    assert (plan.holes, plan.spans()) == ((), [(3, 0, 4)])
