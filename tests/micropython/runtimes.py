"""The MicroPython runtimes that the meter part is tested on, and how a script runs on each.

* `wasm`: the npm package under Node. Always there, and what the stubs are cut down to.
* `unix`: Debian's source built for this machine: another release, without a browser's extras.
* `cortex-m3`: the same source as bare-metal firmware under qemu: 32-bit words and floats, 143 kB of
  heap, and the meter part frozen as `protocols/manifest.py` says.

`make micropython` builds the last two (`tests/micropython/build.py`); no binary is committed.
"""

import hashlib
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BUILT = ROOT / "build" / "micropython"
RUN_TIMEOUT_S = 60
RESTARTED = b"MPY: soft reboot"


class ScriptError(AssertionError):
    """The script ended with an error; the message has its output and traceback."""


def meter_part(root: Path) -> list[Path]:
    """The files that `protocols/manifest.py` names, by running it as MicroPython's build does."""
    manifest = root / "protocols" / "manifest.py"
    found: list[Path] = []

    def package(name: str, files: list[str], base_path: str) -> None:
        found.extend((manifest.parent / base_path / name / file).resolve() for file in files)

    stand_ins = {"metadata": lambda **_: None, "package": package}
    before = Path.cwd()
    os.chdir(manifest.parent)
    try:
        exec(compile(manifest.read_text(), str(manifest), "exec"), stand_ins)
    finally:
        os.chdir(before)
    return found


def module_name(root: Path, path: Path) -> str:
    """`protocols.dlt645.frame`; a package is named without its `__init__`."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def frozen_mark(root: Path) -> str:
    """What a firmware of these sources is known by: a hash of the meter part and its names."""
    digest = hashlib.sha256()
    for path in [root / "protocols" / "manifest.py", *meter_part(root)]:
        text = path.read_bytes()
        digest.update(f"{path.relative_to(root)} {len(text)}\n".encode() + text)
    return digest.hexdigest()


class Runtime:
    """Runs a script, in parts, in a folder that holds the meter part as a board would."""

    name = ""

    def lacks(self) -> str:
        """Why it cannot run here, in a sentence; "" when it can."""
        raise NotImplementedError

    def run(self, stage: Path, *parts: str) -> str:
        """The output of the parts one after another; ScriptError when one of them fails."""
        raise NotImplementedError


class CPython(Runtime):
    """The interpreter of these tests: what the others are compared with."""

    name = "cpython"

    def lacks(self) -> str:
        return ""

    def run(self, stage: Path, *parts: str) -> str:
        (stage / "script.py").write_text("\n".join(parts))
        return _run([sys.executable, "-B", "script.py"], stage)


class Wasm(Runtime):
    """The WebAssembly build."""

    name = "wasm"
    package = HERE / "node_modules" / "@micropython" / "micropython-webassembly-pyscript"

    def lacks(self) -> str:
        there = shutil.which("node") and self.package.exists()
        return "" if there else "not on this machine: Node with MicroPython's package"

    def run(self, stage: Path, *parts: str) -> str:
        (stage / "script.py").write_text("\n".join(parts))
        return _run(["node", str(HERE / "run.mjs"), str(stage), "script.py"], stage)


class Unix(Runtime):
    """The Unix port."""

    name = "unix"
    program = BUILT / "unix" / "micropython"

    def lacks(self) -> str:
        return "" if self.program.exists() else "not built: `make micropython` builds the Unix port"

    def run(self, stage: Path, *parts: str) -> str:
        (stage / "script.py").write_text("\n".join(parts))
        return _run([str(self.program), "script.py"], stage)


class CortexM3(Runtime):
    """The firmware of an ARM MPS2 board under qemu, spoken to over its serial console."""

    name = "cortex-m3"
    firmware = BUILT / "cortex-m3" / "firmware.elf"
    frozen = BUILT / "cortex-m3" / "frozen"  # `frozen_mark` of what it was built from

    def lacks(self) -> str:
        if shutil.which("qemu-system-arm") is None or not self.firmware.exists():
            return "not built: `make micropython` builds the Cortex-M3 firmware and gets qemu"
        if self.frozen.read_text() != frozen_mark(ROOT):
            return "the Cortex-M3 firmware holds older sources: `make micropython` builds it again"
        return ""

    def run(self, stage: Path, *parts: str) -> str:
        with RawRepl(self.firmware) as board:
            return "".join([board.execute(part) for part in parts])


RUNTIMES = {runtime.name: runtime for runtime in (Wasm(), Unix(), CortexM3())}


def _run(command: list[str], cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise ScriptError(done.stdout + done.stderr)
    return done.stdout


class RawRepl:
    """MicroPython's raw REPL, the mode for programs: text in, Ctrl-D, then output and errors."""

    def __init__(self, firmware: Path) -> None:
        console = ["-nographic", "-monitor", "null", "-semihosting", "-serial", "stdio"]
        self._qemu = subprocess.Popen(
            ["qemu-system-arm", "-machine", "mps2-an385", *console, "-kernel", str(firmware)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        )  # fmt: skip
        self._pending = b""

    def __enter__(self) -> "RawRepl":
        try:
            self._write(b"\x03\x01")
            self._until(b"raw REPL; CTRL-B to exit\r\n>")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._qemu.kill()
        self._qemu.wait()
        for pipe in (self._qemu.stdin, self._qemu.stdout):
            if pipe is not None:
                pipe.close()

    def execute(self, script: str) -> str:
        """The output of one script; ScriptError when it ends with an error."""
        self._write(script.encode() + b"\x04")
        self._until(b"OK")
        output = self._until(b"\x04").decode().replace("\r\n", "\n")
        fault = self._until(b"\x04").decode().replace("\r\n", "\n")
        rest = self._until(b">")  # empty, but for the restart that SystemExit causes
        if fault or rest:
            raise ScriptError(output + fault + rest.decode())
        return output

    def _write(self, data: bytes) -> None:
        assert self._qemu.stdin is not None
        self._qemu.stdin.write(data)

    def _until(self, mark: bytes) -> bytes:
        """What comes before `mark`; ScriptError when it does not come."""
        assert self._qemu.stdout is not None
        deadline = time.monotonic() + RUN_TIMEOUT_S
        while mark not in self._pending:
            if RESTARTED in self._pending:  # out of memory between two scripts
                raise ScriptError("the firmware ran out of memory and restarted")
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self._qemu.stdout], [], [], left)[0]
            more = os.read(self._qemu.stdout.fileno(), 4096) if ready else b""
            if not more:
                raise ScriptError(f"the firmware does not answer: {self._pending!r}")
            self._pending += more
        before, _, self._pending = self._pending.partition(mark)
        return before
