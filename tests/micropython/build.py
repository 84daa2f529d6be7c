"""Build the MicroPython runtimes that no registry has ready: Unix port and Cortex-M3 firmware.

Source and tools are Debian's: the source package `micropython` of Debian 13 (Debian 12 has none),
which apt fetches and verifies with lists of its own, so that this machine's package lists stay as
they are. The mirror is the one that this machine uses anyway. Everything lands in
build/micropython/; what is built already is not built again.

Where a tool or the source cannot be had, one sentence says so and the exit is 0: those tests are
skipped then. A build that fails is an error.

usage: python -m tests.micropython.build
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.micropython.runtimes import BUILT, ROOT, CortexM3, Unix, frozen_mark

SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCE = BUILT / "source"
APT = BUILT / "apt"
# Program: the Debian package that brings it.
FOR_SOURCE = {"apt-get": "apt", "dpkg-source": "dpkg-dev", "xz": "xz-utils"}
FOR_UNIX = {"gcc": "gcc", "make": "make"}
FOR_CORTEX_M3 = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
}
HEADERS = "libnewlib-arm-none-eabi"  # comes with no program of its own
# A codec needs no TLS, no database and no foreign functions, and so none of their libraries.
WITHOUT = ["MICROPY_PY_BTREE=0", "MICROPY_PY_SSL=0", "MICROPY_SSL_MBEDTLS=0", "MICROPY_PY_FFI=0"]


class NotHereError(Exception):
    """This machine cannot have it; the sentence says what is missing."""


def main() -> int:
    """Build both; the exit code."""
    try:
        need({**FOR_SOURCE, **FOR_UNIX})
        fetch_source()
        build_unix()
        need(FOR_CORTEX_M3, HEADERS)
        build_cortex_m3()
    except NotHereError as missing:
        say(f"{missing}; the tests that need it are skipped")
    except subprocess.CalledProcessError as error:
        say(f"{' '.join(map(str, error.cmd[:4]))} failed; {error.output} says why")
        return 1
    return 0


def need(programs: dict[str, str], *packages: str) -> None:
    """Have these programs: root gets them installed, anyone else is told."""
    missing = [package for name, package in programs.items() if shutil.which(name) is None]
    if not missing:
        return
    wanted = [*missing, *packages]
    if os.geteuid() or shutil.which("apt-get") is None:
        raise NotHereError(f"install with: sudo apt-get install {' '.join(wanted)}")
    print("== system packages:", *wanted, flush=True)
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in ([*apt, "update"], [*apt, "install", "--no-install-recommends", *wanted]):
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise NotHereError(f"apt-get cannot install {' '.join(wanted)}")


def fetch_source() -> None:
    """MicroPython's source from Debian, unpacked, once."""
    ready = SOURCE / ".busbar-ready"
    if ready.exists():
        return
    for folder in (SOURCE, APT):
        shutil.rmtree(folder, ignore_errors=True)
    (APT / "lists" / "partial").mkdir(parents=True)
    if not KEYRING.exists():
        raise NotHereError(f"{KEYRING} is missing, so nothing of Debian {SUITE} can be verified")
    for mirror in mirrors():
        (APT / "sources.list").write_text(f"deb-src [signed-by={KEYRING}] {mirror} {SUITE} main\n")
        if apt_get("update") and apt_get("source", "--download-only", "micropython"):
            break
    else:
        raise NotHereError(f"this machine's apt reaches no source of Debian {SUITE}")
    print("== MicroPython: unpacking Debian's source", flush=True)
    (description,) = APT.glob("micropython_*.dsc")
    logged("unpack", ["dpkg-source", "--no-copy", "-x", description, SOURCE], APT)
    shutil.rmtree(APT)
    ready.touch()


def mirrors() -> list[str]:
    """The Debian mirrors of this machine's own apt sources; those without the suite just fail."""
    form = "$(CREATED_BY)|$(LABEL)|$(COMPONENT)|$(REPO_URI)"
    asked = ["apt-get", "indextargets", "--format", form]
    return mirrors_in(subprocess.run(asked, capture_output=True, text=True, check=False).stdout)


def mirrors_in(targets: str) -> list[str]:
    """The mirrors in what apt says of its sources; their label is known after the first update."""
    found = []
    for line in targets.splitlines():
        made_by, label, component, place = line.split("|")
        if (made_by, component) == ("Packages", "main") and label in ("Debian", ""):
            found.append(place)
    return list(dict.fromkeys(found))


def apt_get(*arguments: str) -> bool:
    """Run apt-get on lists of our own."""
    options = {
        "Dir::Etc::SourceList": APT / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": APT / "lists",
        "Dir::Cache": APT,
        "APT::Update::Error-Mode": "any",
    }
    if not os.geteuid():
        options["APT::Sandbox::User"] = "root"  # apt's own user cannot write into this tree
    flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    done = subprocess.run(
        ["apt-get", "-qq", *flags, *arguments], cwd=APT, capture_output=True, check=False
    )
    return not done.returncode


def build_unix() -> None:
    """The Unix port, once."""
    if Unix.program.exists():
        return
    print("== MicroPython: building the Unix port", flush=True)
    make("mpy-cross", "mpy-cross")
    make("unix", "ports/unix", *WITHOUT, "FROZEN_MANIFEST=")
    keep(SOURCE / "ports" / "unix" / "build-standard" / "micropython", Unix.program)


def build_cortex_m3() -> None:
    """The firmware with the meter part of now, unless it holds just that."""
    if not CortexM3().lacks():
        return
    print("== MicroPython: building the Cortex-M3 firmware", flush=True)
    CortexM3.firmware.unlink(missing_ok=True)
    # What make left of the last time is judged by its age alone: a module that is gone, or older
    # after a checkout, would stay frozen.
    folder = SOURCE / "ports" / "qemu" / "build-MPS2_AN385"
    shutil.rmtree(folder / "frozen_mpy", ignore_errors=True)
    (folder / "frozen_content.c").unlink(missing_ok=True)
    manifest = ROOT / "protocols" / "manifest.py"
    make("cortex-m3", "ports/qemu", "BOARD=MPS2_AN385", f"FROZEN_MANIFEST={manifest}")
    CortexM3.frozen.parent.mkdir(parents=True, exist_ok=True)
    CortexM3.frozen.write_text(frozen_mark(ROOT))
    keep(folder / "firmware.elf", CortexM3.firmware)


def make(log: str, folder: str, *variables: str) -> None:
    """Run make in a folder of the source, its words into a file."""
    jobs = f"-j{os.cpu_count() or 1}"
    logged(log, ["make", jobs, "-C", SOURCE / folder, *variables], SOURCE)


def logged(log: str, command: list[str | Path], cwd: Path) -> None:
    """Run a command that must succeed; its output goes to build/micropython/`log`.log."""
    path = BUILT / f"{log}.log"
    # MAKEFLAGS: under `make micropython` ours would tell the build to share our job slots.
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    with path.open("w") as file:
        done = subprocess.run(
            command, cwd=cwd, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, output=str(path))


def keep(built: Path, target: Path) -> None:
    """Put a finished program in its place; never half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_suffix(".half")
    shutil.copy(built, half)
    half.replace(target)


def say(sentence: str) -> None:
    """One sentence for a person."""
    print(f"busbar: MicroPython: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
