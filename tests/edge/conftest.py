"""Fixtures of the gateway's tests: fake time, a scripted port that must be used up, a journal."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from edge.journal.store import Journal
from tests.edge.fakes import FakeClock, FakePort


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where that is possible: a journal syncs often, and a socket's path is short."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def clock() -> FakeClock:
    """A trusted clock."""
    return FakeClock()


@pytest.fixture
def port(clock: FakeClock) -> Iterator[FakePort]:
    """A scripted port; what the script expects must have been sent in the end."""
    fake = FakePort(clock)
    yield fake
    fake.expect_all_used()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An open journal."""
    one = Journal(tmp_path, 64)
    one.open()
    yield one
    one.close()
