"""Shared by all tests: what may be missing on this machine, and how random tests behave."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.bench_kit.plugin"]  # --bench, --bench-file, needs(…), the fixture `bench`

REQUIRE_ALL = os.environ.get("BUSBAR_REQUIRE_ALL") == "1"

# A slow shared machine is no fault of the code under test. Where everything is required, the
# examples follow from the test alone: one commit has one verdict.
settings.register_profile("busbar", deadline=None, print_blob=True, derandomize=REQUIRE_ALL)
settings.load_profile("busbar")


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """`require("mosquitto", path)`: without these, skip, or fail where nothing may be skipped."""

    def check(*needs: str | Path) -> None:
        missing = [Path(need).name for need in needs if not _is_there(need)]
        if missing:
            reason = f"not on this machine: {', '.join(missing)}; `make test` as root installs it"
            (pytest.fail if REQUIRE_ALL else pytest.skip)(reason)

    return check


def _is_there(need: str | Path) -> bool:
    if isinstance(need, Path):
        return need.exists()
    return shutil.which(need, path=os.environ.get("PATH", "") + ":/usr/sbin") is not None
