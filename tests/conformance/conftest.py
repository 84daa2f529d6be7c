"""The conformance table is judged last, by what this very session has seen; what it has not run is
run then."""

import pytest

from tests.conformance.outcomes import pytest_runtest_logreport

__all__ = ["pytest_runtest_logreport"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The table's tests come behind all others."""
    items.sort(key=lambda item: item.path.name == "test_conformance.py")
