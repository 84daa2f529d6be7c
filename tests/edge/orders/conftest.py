"""Fixtures of the order tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.orders.desk_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A gateway that may cut, with a fresh policy."""
    one = World(tmp_path / "state")
    one.policy()
    yield one
    one.crash()
