"""A plugin of pytest, for the run that tries a fault: which tests failed, and where what they
imported lies. It reads `BUSBAR_WATCH`: the product's file, |, the file to write."""

import importlib
import json
import os
from pathlib import Path, PurePosixPath

import pytest

_failed: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Set-up and tear-down count too: a leak is a fault."""
    if report.failed:
        _failed.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the report; not when the tests could not be collected."""
    file, _, target = os.environ["BUSBAR_WATCH"].partition("|")
    if session.testscollected and not _collection_failed(session):
        Path(target).write_text(json.dumps({"failed": _failed, "imported": _imported(file)}))


def _collection_failed(session: pytest.Session) -> bool:
    return bool(session.testsfailed) and not _failed


def _imported(file: str) -> str:
    """Where the module of this file comes from; of data, the package that it lies in."""
    path = PurePosixPath(file)
    parts = path.with_suffix("").parts if path.suffix == ".py" else path.parent.parts
    name = ".".join(part for part in parts if part != "__init__")
    while name:
        try:
            return str(Path(importlib.import_module(name).__file__ or "").resolve())
        except (ImportError, TypeError):
            name = name.rpartition(".")[0]  # a folder of data that is no package
    return ""
