"""A world for each test: an identity directory, a fake broker, a fake clock, and a head end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.app import Core
from tests.cloud.console import Console
from tests.cloud.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def core(world: World) -> Iterator[Core]:
    core = world.core()
    yield core
    core.store.close()


@pytest.fixture
def console(world: World, capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(world, capsys)
