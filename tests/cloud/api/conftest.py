"""A running API for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud.api.served import Served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path).running() as served:
        yield served
