"""A pytest plugin that keeps how each test ended, and writes it where BUSBAR_OUTCOMES says."""

import json
import os
from pathlib import Path

import pytest

FILE_VARIABLE = "BUSBAR_OUTCOMES"
PASSED, SKIPPED, FAILED = "passed", "skipped", "failed"
OUTCOMES: dict[str, str] = {}  # test -> the worst of its set-up, its call and its clean-up
_BY_WEIGHT = (PASSED, SKIPPED, FAILED)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One phase of one test ended."""
    before = OUTCOMES.get(report.nodeid, PASSED)
    OUTCOMES[report.nodeid] = max(before, report.outcome, key=_BY_WEIGHT.index)


def pytest_sessionfinish() -> None:
    """All of them ended."""
    if FILE_VARIABLE in os.environ:
        Path(os.environ[FILE_VARIABLE]).write_text(json.dumps(OUTCOMES), encoding="utf-8")
