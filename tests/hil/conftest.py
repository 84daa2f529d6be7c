"""Virtual lines that end with their test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hil.line import Line


@pytest.fixture
def make_line(tmp_path: Path) -> Iterator[Callable[..., Line]]:
    """`make_line(station, ..., baud=…)`: a started line; without `paced`, one without wire time."""
    with ExitStack() as stack:

        def make(*stations: Any, paced: bool = False, **options: Any) -> Line:
            line = Line(tmp_path / "line1", paced=paced, **options)
            for station in stations:
                line.attach(station)
            return stack.enter_context(line)

        yield make
