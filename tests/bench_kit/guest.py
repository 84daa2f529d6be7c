"""A guest: Debian's kernel under emulation (TCG), an initramfs of busybox and a few modules, and
this machine's own files, read-only over 9p; so it needs no image.

It runs one script and powers off. `/mnt` in it is a folder of the host that it may write to.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.bench_kit.plugin import asked_benches

KERNEL_VARIABLE = "BUSBAR_VM_KERNEL"  # folder of an unpacked Debian linux-image package
ROOT = Path(__file__).parents[2]
SHARE = Path("/mnt")  # in the guest
GUEST_WORD = "busbar.guest"  # on its kernel's command line: only there may a clock be set
LIFE_S_MAX = 3_600  # then it powers off by itself: its host may have died
_PROGRAMS = ("qemu-system-x86_64", "busybox")
# ext4 asks for its checksum by an alias, which insmod does not know.
_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "virtio_blk", "crc32c_generic", "ext4")
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


class Guest:
    """What one guest after the other is booted from: a kernel, an initramfs and a shared folder."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        """Scripts run in `root`; `share` in the empty `folder` is the guest's /mnt. `missing` must
        have said nothing."""
        kernel = find_kernel()
        assert kernel is not None
        self.share = folder / "share"
        self.share.mkdir()
        self._root = root
        self._image = _image(kernel)
        self._initramfs = folder / "initramfs"
        _write_initramfs(self._initramfs, kernel)

    def boot(
        self, script: str, devices: str, descriptors: tuple[int, ...] = ()
    ) -> "subprocess.Popen[str]":
        """Starts a guest that runs the shell script `script` and powers off.
        Standard output is its console, on ttyS0; `devices` are more words for qemu: the next
        -serial is ttyS1. SIGKILL to it takes the guest's power."""
        self.share.joinpath("run.sh").write_text(
            f"cd {self._root} || exit\n"
            "export PYTHONDONTWRITEBYTECODE=1 TMPDIR=/dev/shm HOME=/dev/shm\n"
            f"(sleep {LIFE_S_MAX}; busybox poweroff -f) &\n" + script
        )
        share = "security_model=none,mount_tag"
        words = (
            "qemu-system-x86_64 -nodefaults -accel tcg -m 768 -smp 1 -display none -no-reboot"
            f" -kernel {self._image} -initrd {self._initramfs}"
            f" -append console=ttyS0,115200n8\\ panic=-1\\ quiet\\ {GUEST_WORD}"
            " -chardev stdio,id=console -serial chardev:console"
            f" {devices}"
            f" -virtfs local,path=/,readonly=on,multidevs=remap,{share}=host"
            f" -virtfs local,path={self.share},{share}=out"
        )
        return subprocess.Popen(
            [one.replace("\\ ", " ") for one in re.split(r"(?<!\\) +", words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",  # firmware talks to a terminal of its own kind
            pass_fds=descriptors,
        )


def python(words: str) -> str:
    """The line of a script that runs this Python; what it prints goes to `share`/log."""
    return f"{sys.executable} {words} >/mnt/log 2>&1\n"


def missing(*programs: str) -> str:
    """What this machine lacks for a guest and `programs`, as a part of a sentence; "" for
    nothing."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    lacking = [one for one in _PROGRAMS if shutil.which(one) is None]
    lacking += [one for one in programs if shutil.which(one, path=path) is None]
    if find_kernel() is None:
        lacking.append(f"a Debian kernel ({KERNEL_VARIABLE})")
    return ", ".join(lacking)


def require_guest(config: pytest.Config, *programs: str) -> None:
    """Skips where no guest is asked for, by `--bench vm` or by a kernel in the variable, and where
    one can not be had; fails for the latter where nothing may be skipped."""
    if "vm" not in asked_benches(config) and KERNEL_VARIABLE not in os.environ:
        pytest.skip(f"no guest asked for: --bench vm, or a kernel in {KERNEL_VARIABLE}")
    if lacking := missing(*programs):
        refuse(f"a guest needs {lacking}; see docs/bench.md")


def refuse(reason: str) -> NoReturn:
    """Skips with this sentence, or fails where nothing may be skipped."""
    (pytest.fail if os.environ.get("BUSBAR_REQUIRE_ALL") == "1" else pytest.skip)(reason)


def find_kernel() -> Path | None:
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


def _write_initramfs(path: Path, kernel: Path) -> None:
    """An uncompressed cpio archive (newc): busybox, the modules in their order, and init."""
    modules = list(_module_files(_modules_folder(kernel, _image(kernel)), _MODULES))
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


def _module_files(folder: Path, wanted: Iterable[str]) -> Iterator[Path]:
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

    for one in wanted:
        yield from load(one)
