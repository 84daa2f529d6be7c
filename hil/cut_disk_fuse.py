"""Serves a `Disk` to the kernel, in the words of Linux's FUSE protocol (linux/fuse.h, 7.31).

The protocol itself and no library: its requests name files by number, so that a file without a name
is a file like any other, and what is cached where is in our hands. Nothing is cached by name or
attribute, and an opened file drops its cached pages, so what a program sees is what the disk says.

A `Fault` makes the disk refuse; a cut may be due at the n-th request that changes anything, which
comes at the same moment for one seed on any machine. While the power is off, nothing works.
"""

import errno
import os
import stat
import struct
from collections.abc import Callable
from typing import NamedTuple

from hil.cut_disk_model import BLOCK_SIZE, Disk, Node

REQUEST_SIZE_MAX = 0x20000 + 0x1000  # bytes: one write and its headers
_WRITE_SIZE_MAX = 0x20000
_MINOR = 31
_BIG_WRITES = 1 << 5
_SET_MODE, _SET_SIZE = 1 << 0, 1 << 3  # of a request to set attributes
_FROM_CACHE = 1 << 0  # of a write: from a mapping, not from write(2)
_RENAME_FRESH = 1  # RENAME_NOREPLACE of rename(2)
_NAME_SIZE_MAX = 255

_HEADER = struct.Struct("=IIQQIIII")
_REPLY = struct.Struct("=IiQ")
_ATTRIBUTES = struct.Struct("=6Q10I")
_ENTRY = struct.Struct("=4Q2I")
_ENTRY_OF_DIRECTORY = struct.Struct("=QQII")

LOOKUP, FORGET, GETATTR, SETATTR = 1, 2, 3, 4
MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK = 8, 9, 10, 11, 12, 13
OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 14, 15, 16, 17, 18, 20
INIT, OPENDIR, READDIR, RELEASEDIR, FSYNCDIR = 26, 27, 28, 29, 30
CREATE, INTERRUPT, DESTROY, BATCH_FORGET, FALLOCATE, RENAME2 = 35, 36, 38, 42, 43, 45

CHANGING = {MKNOD, MKDIR, UNLINK, RMDIR, RENAME, RENAME2, LINK, WRITE, SETATTR, FALLOCATE, CREATE}
SYNCING = {FSYNC, FSYNCDIR}
_SILENT = {FORGET, BATCH_FORGET, INTERRUPT}  # what the kernel wants no answer to
_POWERLESS = {INIT, RELEASE, RELEASEDIR, DESTROY}  # what needs no power
EVERYTHING = frozenset(range(64)) - _POWERLESS


class Fault(NamedTuple):
    """The error that requests of these kinds get; `opening` also to whoever opens a file for
    writing, as on a disk that is read-only."""

    error: int
    kinds: frozenset[int]
    opening: bool = False


class Request(NamedTuple):
    """One question of the kernel."""

    kind: int
    number: int  # of the node it is about
    owner: tuple[int, int]
    body: bytes

    def unpack(self, form: str) -> tuple[int, ...]:
        """The fixed part of the body."""
        return struct.unpack_from(form, self.body)

    def names(self, start: int) -> list[str]:
        """The names after the fixed part."""
        return [os.fsdecode(one) for one in self.body[start:].split(b"\0")[:-1]]


class Server:
    """Answers requests about one disk."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.has_power = True
        self.fault: Fault | None = None
        self.change_count = 0  # changes and syncs that programs asked for since the power came
        self.cut_due: tuple[int, int, str] | None = None  # change_count, seed, mode
        self._nodes: dict[int, Node] = {}
        self._answers: dict[int, Callable[[Request], bytes]] = {
            LOOKUP: self._look_up,
            GETATTR: lambda request: _attributes_answer(self._node(request.number)),
            SETATTR: self._set_attributes,
            MKNOD: lambda request: self._make(request, "=4I"),
            MKDIR: lambda request: self._make(request, "=2I"),
            UNLINK: lambda request: self._remove(request, self.disk.unlink),
            RMDIR: lambda request: self._remove(request, self.disk.remove_directory),
            RENAME: lambda request: self._rename(request, "=Q"),
            RENAME2: lambda request: self._rename(request, "=QII"),
            LINK: self._link,
            OPEN: self._open,
            READ: self._read,
            WRITE: self._write,
            STATFS: self._tell_space,
            FSYNC: self._sync,
            FSYNCDIR: self._sync,
            FALLOCATE: self._allocate,
            INIT: self._begin,
            OPENDIR: self._open,
            READDIR: self._read_directory,
            CREATE: self._create,
            RELEASE: lambda request: b"",
            RELEASEDIR: lambda request: b"",
            DESTROY: lambda request: b"",
        }

    def answer(self, message: bytes) -> bytes | None:
        """The reply to one message of the kernel; None where it wants none."""
        size, kind, unique, number, user, group, _, _ = _HEADER.unpack_from(message)
        if kind in _SILENT:
            return None
        request = Request(kind, number, (user, group), message[_HEADER.size : size])
        error, body = 0, b""
        try:
            self._admit(request)
            if kind not in self._answers:
                raise OSError(errno.ENOSYS, "")
            body = self._answers[kind](request)
        except OSError as refusal:
            error = refusal.errno or errno.EIO
        return _REPLY.pack(_REPLY.size + len(body), -error, unique) + body

    def cut(self, seed: int, mode: str) -> None:
        """The power goes now."""
        self.disk.cut(seed, mode)
        self.has_power = False
        self.cut_due = None

    def restore(self) -> None:
        """The power comes back: everything is looked up anew."""
        self._nodes.clear()
        self.has_power = True
        self.change_count = 0

    def _admit(self, request: Request) -> None:
        kind = request.kind
        if kind in CHANGING | SYNCING and not _is_from_mapping(request):
            self.change_count += 1
            if self.cut_due and self.change_count >= self.cut_due[0]:
                self.cut(*self.cut_due[1:])
        if not self.has_power and kind not in _POWERLESS:
            raise OSError(errno.EIO, "")
        fault = self.fault
        if fault is not None:
            writes = kind == OPEN and request.unpack("=I")[0] & os.O_ACCMODE != os.O_RDONLY
            if kind in fault.kinds or (fault.opening and writes):
                if kind in SYNCING:
                    self.disk.spoil(self._node(request.number))
                raise OSError(fault.error, "")

    def _node(self, number: int) -> Node:
        if number == self.disk.root.number:
            return self.disk.root
        try:
            return self._nodes[number]
        except KeyError:
            raise OSError(errno.ESTALE, "") from None

    def _opened(self, request: Request, handle: int) -> Node:
        """What is open; nothing that was opened before a cut is."""
        if handle != self.disk.cycle:
            raise OSError(errno.EIO, "")
        return self._node(request.number)

    def _entry(self, node: Node) -> bytes:
        self._nodes[node.number] = node
        return _ENTRY.pack(node.number, 0, 0, 0, 0, 0) + _attributes(node)

    # ---- names ----------------------------------------------------------------------------------

    def _look_up(self, request: Request) -> bytes:
        (name,) = request.names(0)
        return self._entry(self.disk.look_up(self._node(request.number), name))

    def _make(self, request: Request, form: str) -> bytes:
        mode = request.unpack(form)[1 if request.kind == CREATE else 0]
        if request.kind == MKDIR:
            mode = stat.S_IFDIR | stat.S_IMODE(mode)
        (name,) = request.names(struct.calcsize(form))
        node = self.disk.create(self._node(request.number), name, mode, request.owner)
        return self._entry(node)

    def _create(self, request: Request) -> bytes:
        return self._make(request, "=4I") + self._handle()

    def _remove(self, request: Request, remove: Callable[[Node, str], None]) -> bytes:
        (name,) = request.names(0)
        remove(self._node(request.number), name)
        return b""

    def _rename(self, request: Request, form: str) -> bytes:
        target, *flags = request.unpack(form)
        if flags and flags[0] & ~_RENAME_FRESH:
            raise OSError(errno.EINVAL, "")
        name, new_name = request.names(struct.calcsize(form))
        source = self._node(request.number)
        self.disk.rename(source, name, self._node(target), new_name, any(flags))
        return b""

    def _link(self, request: Request) -> bytes:
        (name,) = request.names(8)
        node = self._node(request.unpack("=Q")[0])
        self.disk.link(self._node(request.number), name, node)
        return self._entry(node)

    def _read_directory(self, request: Request) -> bytes:
        handle, offset, size, *_ = request.unpack("=QQI")
        entries = self._opened(request, handle).entries
        answer = bytearray()
        for place, (name, node) in enumerate(list(entries.items())[offset:], offset + 1):
            raw = os.fsencode(name)
            kind = stat.S_IFMT(node.mode) >> 12
            row = _ENTRY_OF_DIRECTORY.pack(node.number, place, len(raw), kind) + raw
            row += bytes(-len(row) % 8)
            if len(answer) + len(row) > size:
                break
            answer += row
        return bytes(answer)

    # ---- content --------------------------------------------------------------------------------

    def _handle(self) -> bytes:
        return struct.pack("=QII", self.disk.cycle, 0, 0)

    def _open(self, request: Request) -> bytes:
        self._node(request.number)
        return self._handle()

    def _read(self, request: Request) -> bytes:
        handle, offset, size = request.unpack("=QQI")
        return bytes(self._opened(request, handle).data[offset : offset + size])

    def _write(self, request: Request) -> bytes:
        handle, offset, size, flags = request.unpack("=QQII")
        data = request.body[40 : 40 + size]
        node = self._opened(request, handle)
        self.disk.write(node, offset, data, bool(flags & _FROM_CACHE))
        return struct.pack("=II", len(data), 0)

    def _allocate(self, request: Request) -> bytes:
        handle, offset, length, mode = request.unpack("=QQQI")
        node = self._opened(request, handle)
        if mode:
            raise OSError(errno.EOPNOTSUPP, "")
        if offset + length > len(node.data):
            self.disk.resize(node, offset + length)
        return b""

    def _set_attributes(self, request: Request) -> bytes:
        valid, _, _, size = request.unpack("=IIQQ")
        mode = struct.unpack_from("=I", request.body, 68)[0]
        node = self._node(request.number)
        if valid & _SET_MODE:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        if valid & _SET_SIZE:
            self.disk.resize(node, size)
        return _attributes_answer(node)

    def _sync(self, request: Request) -> bytes:
        self.disk.sync(self._opened(request, request.unpack("=Q")[0]))
        return b""

    # ---- the file system ------------------------------------------------------------------------

    def _begin(self, request: Request) -> bytes:
        _, minor, readahead, _ = request.unpack("=4I")
        return struct.pack(
            "=4I2H2I2H8I",
            *(7, min(minor, _MINOR), readahead, _BIG_WRITES),
            *(16, 12, _WRITE_SIZE_MAX, 1, 0, 0),
            *(0,) * 8,
        )

    def _tell_space(self, request: Request) -> bytes:
        blocks = self.disk.capacity // BLOCK_SIZE
        free = self.disk.free() // BLOCK_SIZE
        return struct.pack(
            "=5Q10I", blocks, free, free, 0, 0, BLOCK_SIZE, _NAME_SIZE_MAX, BLOCK_SIZE, *(0,) * 7
        )


def _is_from_mapping(request: Request) -> bool:
    return request.kind == WRITE and bool(request.unpack("=QQII")[3] & _FROM_CACHE)


def _attributes(node: Node) -> bytes:
    size = len(node.data)
    blocks = -(-size // BLOCK_SIZE) * (BLOCK_SIZE // 512)
    return _ATTRIBUTES.pack(
        *(node.number, size, blocks, 0, 0, 0, 0, 0, 0),
        *(node.mode, max(node.links, 1) if node.is_directory else node.links),
        *(*node.owner, 0, BLOCK_SIZE, 0),
    )


def _attributes_answer(node: Node) -> bytes:
    return struct.pack("=QII", 0, 0, 0) + _attributes(node)
