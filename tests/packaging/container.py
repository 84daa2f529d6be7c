"""Debian machines to install on: a root folder from the mirror, kept in build/deb, and
systemd-nspawn to run commands in it or to boot it. No network but its own loopback."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.packaging.conftest import CACHE

START_S_MAX = 60
RUN_S_MAX = 600  # of one command; an emulated installation takes minutes
PACKAGES = "python3,adduser,systemd-sysv,libgcc-s1"
_POLL_S = 0.2


class Machine(NamedTuple):
    """A release of Debian for an architecture."""

    release: str
    architecture: str


def base(machine: Machine) -> Path:
    """An archive of a small root folder; made when there is none yet."""
    path = CACHE / f"{machine.release}-{machine.architecture}.tar"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".half.tar")
        subprocess.run(
            [
                *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}"),
                *(f"--architectures={machine.architecture}", machine.release, str(half)),
            ],
            check=True,
        )
        half.rename(path)
    return path


class Container:
    """One root folder. `run` before `boot` starts the command alone, afterwards beside systemd."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        subprocess.run(
            ["tar", "-xf", str(base(machine)), "-C", str(self.root), "--exclude=./dev/*"],
            check=True,
        )
        self._log = folder / "console.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = ""

    def boot(self) -> None:
        """Starts systemd in it, and waits until it is up."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._nspawn(), "--boot"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.await_true(self._is_up, "systemd")

    def stop(self) -> None:
        """Ends what runs in it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=START_S_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def add(self, path: Path, place: str) -> None:
        """Copies a file into it."""
        target = self.root / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)

    def write(self, place: str, text: str) -> None:
        """Writes a file in it."""
        target = self.root / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def has(self, place: str) -> bool:
        """Whether a file, folder or link of that name is in it."""
        target = self.root / place.lstrip("/")
        return target.exists() or target.is_symlink()

    def run(self, *command: str, allowed: tuple[int, ...] = (0,)) -> str:
        """What the command printed, errors included; a failed claim when it ends otherwise, or does
        not end: nothing of it is left running then."""
        done = subprocess.run(
            ["timeout", "--kill-after=20", str(RUN_S_MAX), *self._prefix(), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode in allowed, f"{command}: {done.returncode}: {done.stdout}"
        return done.stdout

    def install(self, package: Path) -> str:
        """`apt-get install` of a package file; without asking, keeping changed configuration."""
        self.add(package, f"/root/{package.name}")
        return self.run(
            *("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes"),
            *("-o", "Dpkg::Options::=--force-confold", "install", f"/root/{package.name}"),
        )

    def unit(self, name: str, key: str) -> str:
        """A property of a unit, as `systemctl show` has it."""
        return self.run("systemctl", "show", "--property", key, "--value", name).strip()

    def status(self) -> dict[str, Any]:
        """What `busbar-edge status` says; {} while nobody answers."""
        text = self.run(
            *("runuser", "-u", "busbar", "--", "busbar-edge", "status", "--json"),
            *("--config", "/etc/busbar/edge.toml"),
            allowed=(0, 3),
        )
        return json.loads(text) if text.startswith("{") else {}

    def await_true(self, check: Callable[[], bool], what: str) -> None:
        """Polls; a failed claim with the console's end when it does not come true."""
        ends_at = time.monotonic() + START_S_MAX
        while not check():
            log = self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""
            assert time.monotonic() < ends_at, f"no {what}: {log}"
            time.sleep(_POLL_S)

    def _nspawn(self) -> list[str]:
        return [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network"),
            # As on a real machine, the kernel may be asked about its clock.
            "--system-call-filter=adjtimex clock_adjtime",
            *("--resolv-conf=off", "--timezone=off", "--directory", str(self.root)),
        ]

    def _prefix(self) -> list[str]:
        if self._process is None:
            return [*self._nspawn(), "--pipe", "--as-pid2"]
        return ["nsenter", "--target", self._leader, *"-m -u -i -n -p -r -w".split(), "--"]

    def _is_up(self) -> bool:
        assert self._process is not None and self._process.poll() is None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return False
        self._leader = children[0]
        done = subprocess.run(
            [*self._prefix(), "systemctl", "is-system-running"],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() in ("running", "degraded")
