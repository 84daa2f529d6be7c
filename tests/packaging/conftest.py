"""Packages to look into and to install, built once from a copy of this tree: others may edit the
tree meanwhile. Wheels are kept in build/deb between runs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "deb"
PARTS = ("protocols", "edge", "provisioning", "packaging", "docs", "requirements")
EPOCH = 1_790_000_000

sys.path.insert(0, str(ROOT / "packaging"))  # the builder is a program, and installed nowhere


def run_build(source: Path, out: Path, *more: str, epoch: int = EPOCH) -> list[Path]:
    """`packaging/build.py` of that tree, as `make deb` runs it."""
    subprocess.run(
        [
            *(sys.executable, str(source / "packaging" / "build.py")),
            *("--out", str(out), "--cache", str(CACHE), *more),
        ],
        env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)},
        check=True,
    )
    return sorted(out.glob("*.deb"))


def copy_tree(folder: Path, version: str | None = None) -> Path:
    """What a package is made from, in `folder`; under another version if one is given."""
    for part in PARTS:
        shutil.copytree(
            ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.swp", "*~")
        )
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder / name)
    if version is not None:
        path = folder / "pyproject.toml"
        text, count = re.subn(
            r'(?m)^version = ".+"$', f'version = "{version}"', path.read_text(), count=1
        )
        assert count == 1
        path.write_text(text)
    return folder


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree as version 1.0.0."""
    return copy_tree(tmp_path_factory.mktemp("source"), "1.0.0")


@pytest.fixture(scope="session")
def packages(
    source: Path, tmp_path_factory: pytest.TempPathFactory, require: Callable[..., None]
) -> dict[str, Path]:
    """architecture -> package of version 1.0.0."""
    require("dpkg-deb")
    built = run_build(source, tmp_path_factory.mktemp("packages"))
    return {path.stem.split("_")[2]: path for path in built}


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory, require: Callable[..., None]) -> Path:
    """The amd64 package of version 1.0.1."""
    require("dpkg-deb")
    tree = copy_tree(tmp_path_factory.mktemp("newer-source"), "1.0.1")
    return run_build(tree, tmp_path_factory.mktemp("newer"), "--arch", "amd64")[0]


@pytest.fixture(scope="session")
def trees(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """architecture -> its package, unpacked; DEBIAN/ holds the control files."""
    unpacked = {}
    for architecture, path in packages.items():
        unpacked[architecture] = tmp_path_factory.mktemp(f"tree-{architecture}")
        subprocess.run(["dpkg-deb", "-R", str(path), str(unpacked[architecture])], check=True)
    return unpacked
