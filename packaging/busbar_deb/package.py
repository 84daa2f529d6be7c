"""One package: its tree laid out in a scratch folder, then packed by dpkg-deb.

    /opt/busbar/releases/VERSION/{bin,lib}   the code and its libraries
    /opt/busbar/current                      the release that runs
    /usr/bin/busbar-edge, busbar-provision   links to it
    /usr/lib/systemd/system, /etc/modules-load.d, /usr/share/doc/busbar

/etc/busbar and /var/lib/busbar belong to the administrator and the gateway: `postinst` makes them,
the package has no file in them.
"""

import gzip
import hashlib
import os
import re
import subprocess
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path

from busbar_deb.wheels import PYTHONS, PackError, unpack

ARCHITECTURES = ("amd64", "arm64")
PACKAGES = ("protocols", "edge", "provisioning")  # the simulators and the head end stay out
SHIPPED = {".py", ".toml", ".sql"}
FILES = Path(__file__).parent.parent / "files"
PLACED = {  # a file of packaging/files -> its place
    "busbar-edge.service": "usr/lib/systemd/system/busbar-edge.service",
    "modules-load.conf": "etc/modules-load.d/busbar.conf",
    "edge.toml": "usr/share/doc/busbar/examples/edge.toml",
    "60-busbar.rules": "usr/share/doc/busbar/examples/60-busbar.rules",
    "lintian-overrides": "usr/share/lintian/overrides/busbar",
}
CONFFILES = ("/etc/modules-load.d/busbar.conf",)
DOCUMENTS = ("docs/installation.md", "docs/operations.md", "docs/meter-models.md")
COMMANDS = ("busbar-edge", "busbar-provision")
SCRIPTS = ("postinst", "prerm", "postrm")
MAINTAINER = "Busbar maintainers <maintainers@busbar.invalid>"
# The Pythons that sit between the two have no libraries here; the launcher tells them so.
DEPENDS = "python3 (>= 3.11~), python3 (<< 3.14~), libc6 (>= 2.28), libgcc-s1, adduser"
DESCRIPTION = """\
metering concentrator: the gateway and the technician's tool
 Busbar reads DL/T 645, Modbus and CJ/T 188 meters over RS-485, keeps every
 reading through any outage, and sends them signed and encrypted over MQTT to
 its head end.
 .
 The gateway starts once /etc/busbar/edge.toml exists."""


def build(source: Path, out: Path, architecture: str, wheels: list[Path], epoch: int) -> Path:
    """Writes out/busbar_VERSION_ARCHITECTURE.deb and returns its path."""
    version = read_version(source)
    libraries = unpack(wheels)
    with tempfile.TemporaryDirectory(prefix="busbar-deb-") as scratch:
        tree = Path(scratch) / "tree"
        _release(source, tree / "opt/busbar/releases" / version, version, libraries)
        _links(tree, version)
        for name, place in PLACED.items():
            _write(tree / place, (FILES / name).read_bytes())
        _documents(source, tree / "usr/share/doc/busbar", version, libraries, epoch)
        _control(tree, version, architecture)
        _settle(tree, epoch)
        path = out / f"busbar_{version}_{architecture}.deb"
        _pack(tree, path, epoch)
    return path


def read_version(source: Path) -> str:
    """The version in pyproject.toml: three numbers, and maybe ~ and a word, which sorts before."""
    version = tomllib.loads((source / "pyproject.toml").read_text())["project"]["version"]
    if not re.fullmatch(r"\d+\.\d+\.\d+(~[a-z0-9]+)?", version):
        raise PackError(f"pyproject.toml: version {version!r}: 1.2.3 or 1.2.3~rc1 is allowed")
    return str(version)


def product_files(source: Path) -> dict[str, bytes]:
    """Path -> content of our own code. What is neither code nor data of ours is refused, so that
    nothing is packed by accident or left out in silence."""
    files = {}
    for package in PACKAGES:
        for path in sorted((source / package).rglob("*")):
            name = str(path.relative_to(source))
            if "__pycache__" in path.parts or path.is_dir():
                continue
            if path.suffix not in SHIPPED or path.is_symlink():
                raise PackError(f"{name} is no part of a package: {', '.join(sorted(SHIPPED))} are")
            files[name] = path.read_bytes()
    return files


def _release(source: Path, folder: Path, version: str, libraries: dict[str, bytes]) -> None:
    files = libraries | product_files(source)
    metadata = f"Metadata-Version: 2.1\nName: busbar\nVersion: {version}\nLicense: Apache-2.0\n"
    files[f"busbar-{version}.dist-info/METADATA"] = metadata.encode()
    for name, content in files.items():
        _write(folder / "lib" / name, content)
    launcher = (FILES / "launcher.py").read_text().replace("((0, 0),)", repr(PYTHONS))
    for command in COMMANDS:
        _write(folder / "bin" / command, launcher.encode(), 0o755)


def _links(tree: Path, version: str) -> None:
    (tree / "opt/busbar/current").symlink_to(f"releases/{version}")
    (tree / "usr/bin").mkdir(parents=True)
    for command in COMMANDS:
        (tree / "usr/bin" / command).symlink_to(f"/opt/busbar/current/bin/{command}")


def _documents(
    source: Path, folder: Path, version: str, libraries: dict[str, bytes], epoch: int
) -> None:
    date = datetime.fromtimestamp(epoch, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
    entry = f"busbar ({version}) stable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n"
    _write(folder / "changelog.gz", _gzip(f"{entry} -- {MAINTAINER}  {date}\n".encode()))
    _write(folder / "CHANGELOG.md.gz", _gzip((source / "CHANGELOG.md").read_bytes()))
    for name in DOCUMENTS:
        _write(folder / f"{Path(name).name}.gz", _gzip((source / name).read_bytes()))
    text = (FILES / "copyright").read_text() + "".join(licences(libraries))
    _write(folder / "copyright", text.encode())


def licences(files: dict[str, bytes]) -> list[str]:
    """A line for each library: name, version, licence, as its own metadata has them."""
    lines = []
    for name, content in sorted(files.items()):
        if name.endswith(".dist-info/METADATA"):
            head = content.decode().split("\n\n")[0]
            fields = dict(re.findall(r"(?m)^([A-Za-z-]+): (.+)$", head))
            licence = fields.get("License-Expression") or fields.get("License")
            if licence is None:
                raise PackError(f"{name} names no licence")
            lines.append(f" {fields['Name']} {fields['Version']}: {licence}\n")
    return lines


def _control(tree: Path, version: str, architecture: str) -> None:
    files = [path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]
    sums = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}"
        f"  {path.relative_to(tree)}\n"
        for path in sorted(files)
    ]
    size_kib = sum(-(-path.stat().st_size // 1024) for path in files)
    folder = tree / "DEBIAN"
    fields = {
        "Package": "busbar",
        "Version": version,
        "Architecture": architecture,
        "Maintainer": MAINTAINER,
        "Installed-Size": str(size_kib),
        "Depends": DEPENDS,
        "Section": "net",
        "Priority": "optional",
        "Description": DESCRIPTION,
    }
    text = "".join(f"{name}: {value}\n" for name, value in fields.items())
    _write(folder / "control", text.encode())
    _write(folder / "md5sums", "".join(sums).encode())
    _write(folder / "conffiles", "".join(f"{name}\n" for name in CONFFILES).encode())
    for name in SCRIPTS:
        script = (FILES / name).read_text().replace("@VERSION@", version)
        _write(folder / name, script.encode(), 0o755)


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=9, mtime=0)


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _settle(tree: Path, epoch: int) -> None:
    """Modes and times that do not depend on who builds, and when."""
    for path in [tree, *tree.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _pack(tree: Path, path: Path, epoch: int) -> None:
    # One thread: xz cuts its blocks by the number of threads that it is given.
    subprocess.run(
        [
            *("dpkg-deb", "--root-owner-group", "-Zxz", "-z6", "--threads-max=1"),
            *("--build", str(tree), str(path)),
        ],
        env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
