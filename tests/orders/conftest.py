"""Fixtures of the order tests that have the whole path."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orders.rig import Rig

MEMORY = Path("/dev/shm")
Make = Callable[..., Rig]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Gone afterwards."""
    place = str(MEMORY) if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="busbar-orders-", dir=place) as name:
        yield Path(name)


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    """Makes rigs with settings of the test's own, and ends them."""
    made: list[Rig] = []

    def maker(**settings: Any) -> Rig:
        base = folder / str(len(made))
        base.mkdir()
        made.append(Rig(base, **settings))
        return made[-1]

    yield maker
    for one in made:
        one.close()


@pytest.fixture
def rig(make: Make) -> Rig:
    """One with a single meter."""
    return make()
