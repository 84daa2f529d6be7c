"""protocols/modbus/plan.py: which registers are asked for together."""

import tomllib
from collections import namedtuple
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.model import read_model
from protocols.modbus.plan import (
    GAP_REGISTERS_MAX,
    SPAN_REGISTERS_MAX,
    Span,
    plan_spans,
    with_factors,
)

FOLDER = Path(__file__).parents[3] / "protocols" / "meter_models"
One = namedtuple("One", ("name", "address", "words", "times"))
ONES = st.lists(
    st.builds(
        One,
        st.text("abc", min_size=1, max_size=3),
        st.integers(0, 400) | st.integers(0, 65532),
        st.sampled_from((1, 2, 4)),
        st.just(()),
    ),
    max_size=40,
)


def one(address: int, words: int = 2) -> One:
    """A register of the plan; only where it lies matters."""
    return One("x", address, words, ())


def covered(spans: list[Span]) -> set[int]:
    """Every address that is asked for."""
    return {address for span in spans for address in range(span.address, span.address + span.count)}


@given(ONES, st.integers(0, 20), st.integers(4, 130))
def test_a_plan_covers_every_register_in_one_request(
    ones: list[One], gap_max: int, span_max: int
) -> None:
    """No register is missed or cut by a request's end, and no request is longer than allowed."""
    spans = plan_spans(tuple(ones), gap_max, span_max)
    for register in ones:
        assert any(
            span.address <= register.address
            and register.address + register.words <= span.address + span.count
            for span in spans
        )
    assert all(0 < span.count <= span_max for span in spans)
    assert {type(span) for span in spans} <= {Span}


@given(ONES, st.integers(0, 20))
def test_a_plan_reads_no_longer_gap_than_allowed(ones: list[One], gap_max: int) -> None:
    """Unread registers stand only between registers, in runs of at most the limit."""
    spans = plan_spans(tuple(ones), gap_max)
    wanted = {
        a for register in ones for a in range(register.address, register.address + register.words)
    }
    for span in spans:
        inside = [a in wanted for a in range(span.address, span.address + span.count)]
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
        first = min(r.words for r in ones if r.address == b.address)
        grown = max(b.address + first, a.address + a.count) - a.address
        assert gap > GAP_REGISTERS_MAX or grown > SPAN_REGISTERS_MAX - 4


@pytest.mark.parametrize(
    ("ones", "spans"),
    [
        ([], []),
        ([one(5)], [(5, 2)]),
        ([one(5), one(7)], [(5, 4)]),
        ([one(7), one(5)], [(5, 4)]),
        ([one(0), one(10)], [(0, 12)]),
        ([one(0), one(11)], [(0, 2), (11, 2)]),
        ([one(5), one(5, 4), one(6, 1)], [(5, 4)]),
        ([one(n) for n in range(0, 124, 2)] + [one(124, 1)], [(0, 125)]),
        ([one(n) for n in range(0, 126, 2)], [(0, 124), (124, 2)]),
        ([one(65534)], [(65534, 2)]),
    ],
)
def test_a_plan_by_hand(ones: list[One], spans: list[tuple[int, int]]) -> None:
    """Neighbours together, the gap limit and the span limit at their edges."""
    assert plan_spans(tuple(ones)) == spans


@pytest.mark.parametrize(
    ("name", "spans"),
    [
        ("eastron-sdm630", [(0, 36), (48, 32), (342, 16)]),
        ("chint-dtsu666", [(6, 2), (4126, 18), (8198, 44), (8260, 2)]),
    ],
)
def test_the_shipped_models_take_few_requests(name: str, spans: list[tuple[int, int]]) -> None:
    """Three and four requests a sweep."""
    with (FOLDER / f"{name}.toml").open("rb") as file:
        model = read_model(name, tomllib.load(file))
    assert plan_spans(model.registers) == spans


def test_the_limit_of_a_request_is_the_protocols() -> None:
    """Modbus application protocol 1.1b3, 6.3: 1 to 125 registers."""
    assert SPAN_REGISTERS_MAX == 125


def test_what_is_wanted_brings_its_factors() -> None:
    """In the model's order, each once; an unknown register is none."""
    ct, pt = One("ct", 6, 1, ()), One("pt", 7, 1, ())
    volts, power = One("volts", 100, 2, ("pt",)), One("power", 102, 2, ("ct", "pt"))
    model = (volts, ct, power, pt)
    assert with_factors(model, (power,)) == (ct, power, pt)
    assert with_factors(model, (power, volts)) == (volts, ct, power, pt)
    assert with_factors(model, (volts, volts, pt)) == (volts, pt)
    assert with_factors(model, (ct,)) == (ct,)
    assert with_factors(model, ()) == ()
