"""A guest's disk with a write cache that loses its content with the power.

qemu's `blklogwrites` notes every write and flush of the guest, in the format of the kernel's
dm-log-writes. When the guest was killed, what it had flushed is on its disk; of what it wrote since
then survives what `mode` and a seed say, as with `hil.cut_disk_model`. What never left the guest's
own page cache died with it.
"""

import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from hil.cut_disk_model import SECTOR_SIZE, CutMode
from protocols.errors import CallerError

SIZE_MB = 32
_SUPER = struct.Struct("<QQQI")  # magic, version, entries, sector size
_ENTRY = struct.Struct("<QQQQ")  # sector, sectors, flags, size of further data
_MAGIC, _VERSION = 0x6A736677736872, 1
_FLUSH, _FUA, _DISCARD = 1, 2, 4
_SURVIVING_SHARES = (0.1, 0.5, 0.9)


class DiskWrite(NamedTuple):
    """Bytes at a place of the disk."""

    offset: int
    data: bytes


def make_ext4(path: Path) -> None:
    """An empty file system that the kernel need not go on making while a test looks on."""
    with path.open("wb") as file:
        file.truncate(SIZE_MB << 20)
    subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(path)],
        check=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )


class GuestDisk:
    """/dev/vda of one guest after the other."""

    def __init__(self, folder: Path, make: Callable[[Path], None] = make_ext4) -> None:
        """`make` makes what is on it at first; `folder` is empty."""
        self.durable = folder / "durable.img"  # what the last cut left
        self.running = folder / "running.img"  # what the guest sees
        self.log = folder / "log"
        make(self.durable)

    def power_on(self) -> str:
        """Words for qemu; what was written before is as the last cut left it."""
        shutil.copyfile(self.durable, self.running)
        self.log.write_bytes(b"")
        # One thread, so that the log has no holes; this machine's own disk need sync nothing.
        return (
            "-object main-loop,id=loop,thread-pool-max=1"
            f" -blockdev driver=file,node-name=data,cache.no-flush=on,filename={self.running}"
            f" -blockdev driver=file,node-name=log,cache.no-flush=on,filename={self.log}"
            " -blockdev driver=blklogwrites,node-name=disk,file=data,log=log,"
            f"log-sector-size={SECTOR_SIZE}"
            " -device virtio-blk-pci,drive=disk"
        )

    def cut(self, seed: int, mode: str) -> int:
        """The guest was killed: the disk holds what survived. How many writes were at stake."""
        sure, pending = read_log(self.log.read_bytes())
        with self.durable.open("r+b") as file:
            for one in (*sure, *survivors(pending, mode, random.Random(seed))):
                file.seek(one.offset)
                file.write(one.data)
        return len(pending)


def read_log(log: bytes) -> tuple[list[DiskWrite], list[DiskWrite]]:
    """The writes that were followed by a flush, and those that were not, in their order. The last
    entry may be torn, because its writer was killed; CallerError when another one is."""
    if len(log) < _SUPER.size:
        return [], []  # nothing was written
    magic, version, counted, size = _SUPER.unpack_from(log)
    if (magic, version) == (0, 0):  # its head comes with the first flush
        counted, size = 0, SECTOR_SIZE
    elif (magic, version) != (_MAGIC, _VERSION):
        raise CallerError(f"the disk's log begins with {magic:X}, version {version}")
    sure: list[DiskWrite] = []
    pending: list[DiskWrite] = []
    at, number = size, 0
    while at + size <= len(log):
        sector, sectors, flags, _ = _ENTRY.unpack_from(log, at)
        end = at + size + (0 if flags & _DISCARD else sectors * size)
        if end > len(log) or not (sectors or flags):
            break
        number += 1
        if flags & _FLUSH:
            sure, pending = sure + pending, []
        if sectors and not flags & _DISCARD:
            to = sure if flags & _FUA and not pending else pending
            to.append(DiskWrite(sector * size, log[at + size : end]))
        at = end
    if number < counted:
        raise CallerError(f"the disk's log has {number} whole entries of {counted}")
    return sure, pending


def survivors(pending: list[DiskWrite], mode: str, rng: random.Random) -> Iterator[DiskWrite]:
    """What of a write cache reached the disk, by `CutMode`."""
    if mode == CutMode.NONE:
        return
    if mode == CutMode.REORDERED:
        share = rng.choice(_SURVIVING_SHARES)
        for offset, data in pending:
            for at in range(0, len(data), SECTOR_SIZE):
                if rng.random() < share:
                    yield DiskWrite(offset + at, data[at : at + SECTOR_SIZE])
        return
    count = rng.randint(0, len(pending))
    yield from pending[:count]
    if mode == CutMode.TORN and count < len(pending):
        offset, data = pending[count]
        yield DiskWrite(offset, data[: rng.randint(0, len(data) // SECTOR_SIZE) * SECTOR_SIZE])
