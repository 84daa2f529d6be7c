"""Hostile values: anything that CBOR carries into a parser, and good bodies with a change."""

import copy
from typing import Any

from hypothesis import strategies as st

INTEGERS = (
    st.integers(-2, 12)
    | st.sampled_from([1 << 31, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
    | st.sampled_from([-(1 << 62), -(1 << 63), -(1 << 64)])
)
SCALARS = (
    INTEGERS
    | st.booleans()
    | st.none()
    | st.floats()
    | st.binary(max_size=17)
    | st.sampled_from([b"n" * 16, b"epoch--1", b"\x01\x00\x01\x08\x00\xff", "Wh", "done", "<", ""])
    | st.text(max_size=4)
)


def values(depth: int = 3) -> st.SearchStrategy[Any]:
    """Scalars, lists and maps of them."""
    if not depth:
        return SCALARS
    inner = values(depth - 1)
    return (
        SCALARS
        | st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(-4, 7) | st.text(max_size=2), inner, max_size=3)
    )


def places(value: Any, at: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Every place in nested lists."""
    found = [at] if at else []
    if isinstance(value, list):
        for number, one in enumerate(value):
            found += places(one, (*at, number))
    return found


@st.composite
def mutated(draw: st.DrawFn, good: Any) -> Any:
    """`good`, a nested list, with one to three places replaced, removed, doubled or swapped."""
    body = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        all_places = places(body)
        if not all_places:
            break
        *path, last = draw(st.sampled_from(all_places))
        parent = body
        for step in path:
            parent = parent[step]
        kind = draw(st.integers(0, 3))
        if kind == 0:
            del parent[last]
        elif kind == 1:
            parent.insert(last, copy.deepcopy(parent[last]))
        elif kind == 2:
            other = draw(st.integers(0, len(parent) - 1))
            parent[last], parent[other] = parent[other], parent[last]
        else:
            parent[last] = draw(values(2))
    return body
