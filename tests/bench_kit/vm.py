"""Bench `vm`: the same tests inside a qemu guest with two 16550 UARTs, wired back to back.

The guest is Debian's kernel under emulation (TCG), an initramfs of busybox and a few modules, and
this machine's own files, read-only over 9p; so it needs no image. In it, `--bench real` runs on
/dev/ttyS1 and /dev/ttyS2: parity and rate go through a real driver and a modelled chip, the clock
is the guest's own. The model takes no wire time, so the guest's bench is not "paced".
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

from tests.bench_kit.bench import Bench

KERNEL_VARIABLE = "BUSBAR_VM_KERNEL"  # folder of an unpacked Debian linux-image package
RUN_S_MAX = 600.0
_MODULES = ("virtio_pci", "9pnet_virtio", "9p")
_REGULAR, _FOLDER = 0o100755, 0o040755
_INIT = """#!/bin/busybox sh
b=/bin/busybox
for m in $($b cat /modules/order); do $b insmod /modules/$m; done
o=trans=virtio,version=9p2000.L,msize=262144
$b mount -t 9p -o $o,ro,cache=loose host /host
$b mount -t 9p -o $o out /host/mnt
$b mount -t proc proc /host/proc
$b mount -t sysfs sysfs /host/sys
$b mount -t devtmpfs devtmpfs /host/dev
$b mkdir -p /host/dev/pts /host/dev/shm
$b mount -t devpts devpts /host/dev/pts
$b mount -t tmpfs tmpfs /host/dev/shm
$b chroot /host /bin/sh /mnt/run.sh
$b umount /host/mnt
$b poweroff -f
"""
_BENCH = """[line]
port = "/dev/ttyS1"
answers_on = "/dev/ttyS2"
baud = 2400
response_timeout_ms = 2000
gap_ms = 500
paced = false
"""


class Results(NamedTuple):
    """What the guest said of each test, or why there is no guest."""

    outcomes: dict[tuple[str, str], tuple[str, str]]
    reason: str

    def tell(self, item: pytest.Item) -> None:
        """Skips or fails as the test did in the guest; returns when it passed."""
        if self.reason:
            fail_or_skip = pytest.fail if os.environ.get("BUSBAR_REQUIRE_ALL") == "1" else None
            (fail_or_skip or pytest.skip)(self.reason)
        module = item.nodeid.split("::")[0].removesuffix(".py").replace("/", ".")
        name = re.sub(r"(?<=[\[-])vm(?=[-\]])", "real", item.name)
        outcome, text = self.outcomes.get((module, name), ("failed", "the guest did not run it"))
        if outcome == "skipped":
            pytest.skip(text.replace("bench real", "bench vm"))
        if outcome == "failed":
            pytest.fail(f"in the guest: {text}", pytrace=False)


def run_in_guest(root: Path, items: Iterable[pytest.Item]) -> Results:
    """Boots a guest, runs the files of `items` there, and reads what it wrote."""
    kernel = _find_kernel()
    missing = [one for one in ("qemu-system-x86_64", "busybox") if shutil.which(one) is None]
    if kernel is None:
        missing.append(f"a Debian kernel ({KERNEL_VARIABLE})")
    if kernel is None or missing:
        return Results({}, f"bench vm needs {', '.join(missing)}; see docs/bench.md")
    files = sorted({one.nodeid.split("::")[0] for one in items})
    with tempfile.TemporaryDirectory(prefix="busbar-vm-") as name:
        folder = Path(name)
        out = folder / "out"
        out.mkdir()
        (out / "bench.toml").write_text(_BENCH)
        (out / "run.sh").write_text(
            f"cd {root} || exit\nexport PYTHONDONTWRITEBYTECODE=1 TMPDIR=/dev/shm HOME=/dev/shm\n"
            f"{sys.executable} -m pytest -p no:cacheprovider --bench real"
            f" --bench-file /mnt/bench.toml --junitxml /mnt/junit.xml {' '.join(files)}"
            " >/mnt/log 2>&1\n"
        )
        _write_initramfs(folder / "initramfs", kernel)
        console = _run_qemu(folder, kernel)
        junit = out / "junit.xml"
        if not junit.exists():
            log = out / "log"
            told = log.read_text() if log.exists() else console
            return Results({}, "the guest gave no results: " + told[-500:])
        return Results(dict(_outcomes(junit)), "")


def _find_kernel() -> Path | None:
    """The root of a tree with boot/vmlinuz-… and its modules."""
    given = os.environ.get(KERNEL_VARIABLE)
    for root in [Path(given)] if given else [Path("/")]:
        for image in sorted(root.glob("boot/vmlinuz-*"), reverse=True):
            if _modules_folder(root, image).is_dir():
                return root
    return None


def _image(root: Path) -> Path:
    return max(root.glob("boot/vmlinuz-*"))


def _modules_folder(root: Path, image: Path) -> Path:
    return root / "lib" / "modules" / image.name.removeprefix("vmlinuz-")


def _run_qemu(folder: Path, kernel: Path) -> str:
    wire = folder / "wire"
    share = "security_model=none,mount_tag"
    command = (
        "qemu-system-x86_64 -accel tcg -m 768 -smp 1 -display none -no-reboot -monitor none"
        f" -kernel {_image(kernel)} -initrd {folder / 'initramfs'}"
        " -append console=ttyS0,115200n8\\ panic=-1\\ quiet"
        " -chardev stdio,id=console -serial chardev:console"
        f" -chardev socket,id=near,path={wire},server=on,wait=off -serial chardev:near"
        f" -chardev socket,id=far,path={wire} -serial chardev:far"
        f" -virtfs local,path=/,readonly=on,multidevs=remap,{share}=host"
        f" -virtfs local,path={folder / 'out'},{share}=out"
    )
    words = [one.replace("\\ ", " ") for one in re.split(r"(?<!\\) ", command)]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as guest:
        try:
            return guest.communicate(timeout=RUN_S_MAX)[0]
        except subprocess.TimeoutExpired:
            guest.kill()
            return guest.communicate()[0] + f"\nno end after {RUN_S_MAX:.0f} s"


def _write_initramfs(path: Path, kernel: Path) -> None:
    """An uncompressed cpio archive (newc): busybox, the modules in their order, and init."""
    modules = list(_module_files(_modules_folder(kernel, _image(kernel))))
    busybox = Path(shutil.which("busybox") or "")
    entries = [(name, _FOLDER, b"") for name in ("bin", "modules", "host", "dev")]
    entries.append(("bin/busybox", _REGULAR, busybox.read_bytes()))
    entries += [(f"modules/{one.name}", _REGULAR, one.read_bytes()) for one in modules]
    order = "\n".join(one.name for one in modules)
    entries.append(("modules/order", _REGULAR, order.encode()))
    entries.append(("init", _REGULAR, _INIT.encode()))
    entries.append(("TRAILER!!!", 0, b""))
    with path.open("wb") as file:
        for number, (name, mode, content) in enumerate(entries):
            fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
            head = b"070701" + b"".join(b"%08X" % field for field in fields)
            head += name.encode() + b"\0"
            file.write(head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4))


def _module_files(folder: Path) -> Iterator[Path]:
    """The modules that the guest loads, each behind those that it needs by its own word."""
    paths = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
    done: set[str] = set()

    def load(name: str) -> Iterator[Path]:
        if name in done or name not in paths:  # not there: built into the kernel
            return
        done.add(name)
        words = paths[name].read_bytes().partition(b"\0depends=")[2].partition(b"\0")[0]
        for one in words.decode().split(","):
            yield from load(one.replace("-", "_"))
        yield paths[name]

    for wanted in _MODULES:
        yield from load(wanted)


def _outcomes(junit: Path) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    # The file is our own, written by our own pytest.
    for case in ET.parse(junit).iter("testcase"):
        outcome, text = "passed", ""
        for child in case:
            if child.tag in ("failure", "error"):
                outcome, text = "failed", (child.text or "")[-2000:]
            elif child.tag == "skipped" and outcome == "passed":
                outcome, text = "skipped", child.get("message", "")
        yield (case.get("classname", ""), case.get("name", "")), (outcome, text)


def make_bench(folder: Path, bench_file: Path | None) -> Bench:
    """A bench that nobody touches: the guest has run the test."""
    return Bench(folder)
