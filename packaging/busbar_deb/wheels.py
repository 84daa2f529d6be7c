"""The libraries of a package: wheels for a machine and Pythons that are not ours.

One folder serves every Python of the package. Wheels of one library differ between Pythons only in
their compiled modules, whose names carry the Python, and in what the installer needs to know.
A library that differs otherwise is refused: one of the Pythons would run the other's code.
"""

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

# Debian 12 and 13. Their machines are called otherwise by pip.
PYTHONS = ((3, 11), (3, 13))
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# Needs glibc 2.28 at most; Debian 12 has 2.36. pip does not derive the older ones from the newest.
MANYLINUX = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
# Of dist-info, what tells an installer what it has done: no installer ever sees this folder.
INSTALLERS = re.compile(r"[^/]+\.dist-info/(RECORD|WHEEL)")
SCRIPTS = re.compile(r"[^/]+\.data/(scripts|headers)/")


class PackError(Exception):
    """The tree, or what it asks for, cannot become a package. The message is one sentence."""


def locked(text: str) -> dict[str, set[str]]:
    """name==version -> the hashes allowed, of a locked file. A condition on Python's version or on
    the machine is refused: pip would judge it by the Python that builds."""
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        if re.search(r"python_(full_)?version|platform_machine|sys_platform", line):
            raise PackError(f"the lock has a condition that depends on the machine: {line.split()}")
        found[line.split()[0]] = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
    return found


def locked_names(text: str) -> set[str]:
    """name==version of every line, whatever its conditions."""
    return {line.split()[0] for line in text.splitlines() if line and not line.startswith(" ")}


def fetch(source: Path, cache: Path, architecture: str) -> list[Path]:
    """The wheels of all Pythons, each once by content. Asks the index only for what `cache` has
    not."""
    lock = source / "requirements" / "edge.txt"
    wanted = locked(lock.read_text())
    wheels: dict[str, Path] = {}
    for python in PYTHONS:
        folder = cache / f"{MACHINES[architecture]}-{python[0]}.{python[1]}"
        folder.mkdir(parents=True, exist_ok=True)
        if not _complete(folder, wanted):
            _download(lock, folder, architecture, python)
        for path in chosen(folder, wanted):
            wheels.setdefault(path.name, path)
    return list(wheels.values())


def chosen(folder: Path, wanted: dict[str, set[str]]) -> list[Path]:
    """The wheel of each locked library, by its hash. PackError when one is not there, or not as the
    lock has it."""
    by_hash = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path for path in sorted(folder.glob("*.whl"))
    }
    found = []
    for name, hashes in wanted.items():
        matching = sorted(hashes & set(by_hash))
        if len(matching) != 1:
            raise PackError(
                f"{folder} holds {len(matching)} wheels of {name} with a hash of the lock: 1 is "
                "needed; delete the folder and build again"
            )
        found.append(by_hash[matching[0]])
    return found


def _complete(folder: Path, wanted: dict[str, set[str]]) -> bool:
    try:
        return bool(chosen(folder, wanted))
    except PackError:
        return False


def _download(lock: Path, folder: Path, architecture: str, python: tuple[int, int]) -> None:
    for path in folder.glob("*.whl"):
        path.unlink()
    platforms = [
        part for tag in MANYLINUX for part in ("--platform", f"{tag}_{MACHINES[architecture]}")
    ]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "download"),
            *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--implementation", "cp"),
            *("--python-version", f"{python[0]}.{python[1]}", *platforms),
            *("--dest", str(folder), "--requirement", str(lock)),
        ],
        check=True,
    )


def unpack(wheels: list[Path]) -> dict[str, bytes]:
    """Path -> content of everything that the wheels install as libraries."""
    files: dict[str, bytes] = {}
    owner: dict[str, str] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith("/") or INSTALLERS.fullmatch(name) or SCRIPTS.match(name):
                    continue
                path = _library_path(name, wheel)
                content = archive.read(name)
                if files.setdefault(path, content) != content:
                    raise PackError(f"{path} of {wheel.name} is not that of {owner[path]}")
                owner.setdefault(path, wheel.name)
    return files


def _library_path(name: str, wheel: Path) -> str:
    path = re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", name)
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or parts[0].endswith(".data"):
        raise PackError(f"{wheel.name} has a file outside of a library: {name}")
    return path
