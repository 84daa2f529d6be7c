"""What is in a package: the right machine code, nothing of the machine that built it, nobody else's
permissions, a service that may do little."""

import hashlib
import os
import re
import shutil
import struct
import subprocess
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.settings import load_settings
from tests.packaging.conftest import EPOCH, ROOT, run_build

ELF_MACHINES = {"amd64": 62, "arm64": 183}  # EM_X86_64, EM_AARCH64
GLIBC_MAX = (2, 36)  # of Debian 12
EXPOSURE_MAX = 2.0
RELEASE = Path("opt/busbar/releases/1.0.0")
pytestmark = pytest.mark.timeout(600)  # the first one builds the packages
BOTH = pytest.mark.parametrize("architecture", ELF_MACHINES)


def members(package: Path) -> Iterator[tarfile.TarInfo]:
    """Every file of the package, as dpkg will lay it out."""
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            yield from archive


def libraries(tree: Path) -> list[Path]:
    """The compiled modules."""
    return sorted(tree.rglob("*.so*"))


@BOTH
def test_every_compiled_module_is_for_the_machine(
    trees: dict[str, Path], architecture: str
) -> None:
    """By its ELF header: 64 bit, and the processor of the package."""
    found = libraries(trees[architecture])
    assert len(found) == 5  # cffi and cbor2 for two Pythons, cryptography for all
    for path in found:
        head = path.read_bytes()[:20]
        assert head[:5] == b"\x7fELF\x02"
        assert struct.unpack_from("<H", head, 18)[0] == ELF_MACHINES[architecture], path.name


@BOTH
def test_every_python_of_debian_has_its_modules(trees: dict[str, Path], architecture: str) -> None:
    """Each module either for 3.11 and for 3.13, or for the stable interface of all."""
    by_module: dict[str, set[str]] = {}
    for path in libraries(trees[architecture]):
        module, tag = path.name.split(".")[:2]
        by_module.setdefault(module, set()).add(re.sub(r"^cpython-(\d+)-.*", r"\1", tag))
    assert by_module == {
        "_cffi_backend": {"311", "313"}, "_cbor2": {"311", "313"}, "_rust": {"abi3"},
    }  # fmt: skip


@BOTH
def test_no_module_needs_a_newer_c_library(trees: dict[str, Path], architecture: str) -> None:
    """The oldest system that it installs on has glibc 2.36."""
    for path in libraries(trees[architecture]):
        versions = re.findall(rb"GLIBC_(\d+)\.(\d+)", path.read_bytes())
        assert versions, path.name
        assert max((int(a), int(b)) for a, b in versions) <= GLIBC_MAX, path.name


@BOTH
def test_all_belongs_to_root_and_nobody_else_writes(
    packages: dict[str, Path], architecture: str
) -> None:
    """Plain modes: nothing set-uid, nothing group-writable, programs and nothing else executable;
    one time for all."""
    executable = set()
    for member in members(packages[architecture]):
        assert (member.uname, member.gname, member.uid, member.gid) == ("root", "root", 0, 0)
        assert member.mtime == EPOCH, member.name
        if member.isdir():
            assert member.mode == 0o755, member.name
        elif member.isfile():
            assert member.mode in (0o644, 0o755), member.name
            if member.mode == 0o755:
                executable.add(member.name)
        else:
            assert member.issym(), member.name
    release = f"./{RELEASE}"
    assert executable == {f"{release}/bin/busbar-edge", f"{release}/bin/busbar-provision"}


@BOTH
def test_nothing_of_the_builder_is_inside(
    trees: dict[str, Path], source: Path, architecture: str
) -> None:
    """Neither the tree that was packed, nor this one, nor a compiled file that would name it."""
    needles = [str(path).encode() for path in (source, ROOT, Path(os.environ.get("HOME", "/root")))]
    home = needles.pop() + b"/"
    for path in trees[architecture].rglob("*"):
        assert path.suffix != ".pyc" and path.name not in ("__pycache__", "direct_url.json")
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert not any(needle in content for needle in needles), path
            # The authors of the compiled libraries have built them in a home of the same name.
            assert path.suffix == ".so" or home not in content, path


@BOTH
def test_only_the_gateway_and_the_technicians_tool_are_inside(
    trees: dict[str, Path], architecture: str
) -> None:
    """All our code of three packages as it is, with its data; no simulator, head end, test."""
    library = trees[architecture] / RELEASE / "lib"
    packed = {
        str(path.relative_to(library)): path.read_bytes()
        for name in ("protocols", "edge", "provisioning")
        for path in (library / name).rglob("*")
        if path.is_file()
    }
    assert {"protocols/meter_models/eastron-sdm630.toml", "edge/__main__.py"} <= set(packed)
    assert any(name.endswith(".sql") for name in packed)
    assert [
        name for name in ("cloud", "hil", "tests", "hatchling") if (library / name).exists()
    ] == []


@BOTH
def test_the_release_is_reached_by_links(trees: dict[str, Path], architecture: str) -> None:
    """Commands lead to `current`, and that to the release."""
    tree = trees[architecture]
    assert str((tree / "opt/busbar/current").readlink()) == "releases/1.0.0"
    for command in ("busbar-edge", "busbar-provision"):
        link = tree / "usr/bin" / command
        assert str(link.readlink()) == f"/opt/busbar/current/bin/{command}"
        assert (tree / RELEASE / "bin" / command).is_file()


@BOTH
def test_the_control_files_agree_with_the_content(
    trees: dict[str, Path], architecture: str
) -> None:
    """Architecture, version, conffiles, and the sum of every file."""
    tree = trees[architecture]
    control = (tree / "DEBIAN/control").read_text()
    assert f"\nArchitecture: {architecture}\n" in control and "\nVersion: 1.0.0\n" in control
    assert (tree / "DEBIAN/conffiles").read_text() == "/etc/modules-load.d/busbar.conf\n"
    wanted = {
        str(path.relative_to(tree)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink() and "DEBIAN" not in path.parts
    }
    lines = (tree / "DEBIAN/md5sums").read_text().splitlines()
    assert {line.split("  ")[1]: line.split("  ")[0] for line in lines} == wanted


@BOTH
def test_nothing_of_the_administrators_is_inside(
    packages: dict[str, Path], architecture: str
) -> None:
    """/etc/busbar and /var/lib/busbar are made at installation, so no upgrade can touch them."""
    names = [member.name for member in members(packages[architecture])]
    assert [name for name in names if name.startswith(("./etc/busbar", "./var"))] == []


def test_two_builds_are_the_same_bytes(
    source: Path, packages: dict[str, Path], tmp_path: Path
) -> None:
    """From a copy elsewhere, with another umask and another time of the files."""
    copy = tmp_path / "elsewhere"
    shutil.copytree(source, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    before = os.umask(0o077)
    try:
        built = run_build(copy, tmp_path / "out")
    finally:
        os.umask(before)
    assert [path.read_bytes() for path in built] == [packages[one].read_bytes() for one in
                                                     ("amd64", "arm64")]  # fmt: skip


def test_the_service_may_do_little(
    trees: dict[str, Path], require: Callable[..., None], tmp_path: Path
) -> None:
    """systemd's own judgement of the unit is at most 2.0, and it finds no fault in it."""
    require("systemd-analyze")
    unit = trees["amd64"] / "usr/lib/systemd/system/busbar-edge.service"
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    level = re.search(r"Overall exposure level for busbar-edge.service: ([0-9.]+)", told.stdout)
    assert level is not None and float(level[1]) <= EXPOSURE_MAX
    assert "Unknown" not in told.stderr and "Failed to parse" not in told.stderr


def test_the_service_waits_for_its_configuration(trees: dict[str, Path]) -> None:
    """The condition names the very file that the service is started with."""
    unit = (trees["amd64"] / "usr/lib/systemd/system/busbar-edge.service").read_text()
    assert "\nConditionPathExists=/etc/busbar/edge.toml\n" in unit
    assert "\nExecStart=/usr/bin/busbar-edge run --config /etc/busbar/edge.toml\n" in unit
    assert "\nType=notify\n" in unit and "\nWatchdogSec=60\n" in unit


def test_the_example_configuration_is_good(trees: dict[str, Path], tmp_path: Path) -> None:
    """The gateway takes it, and it keeps its state where the service may write."""
    example = trees["amd64"] / "usr/share/doc/busbar/examples/edge.toml"
    settings = load_settings(example)
    assert str(settings.gateway["state_dir"]) == "/var/lib/busbar"
    rules = (trees["amd64"] / "usr/share/doc/busbar/examples/60-busbar.rules").read_text()
    port = tomllib.loads(example.read_text())["line"][0]["port"]
    assert f'SYMLINK+="{port.removeprefix("/dev/")}"' in rules


def test_lintian_finds_nothing(packages: dict[str, Path], require: Callable[..., None]) -> None:
    """What is deliberately otherwise stands in the overrides with its reason."""
    require("lintian")
    told = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "none", *map(str, packages.values())],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == ""
