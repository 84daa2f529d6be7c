"""A head end for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cloud.orders.headend import HeadEnd

Maker = Callable[..., HeadEnd]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Maker]:
    """Makes head ends with settings of the test's own, and closes them."""
    made: list[HeadEnd] = []

    def maker(**settings: object) -> HeadEnd:
        base = tmp_path / str(len(made))
        base.mkdir()
        made.append(HeadEnd(base, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield maker
    for one in made:
        one.close()


@pytest.fixture
def head(make: Maker) -> HeadEnd:
    """One with the defaults of the tests."""
    return make()
