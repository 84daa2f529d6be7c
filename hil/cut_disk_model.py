"""What a disk holds, and what of it survives when the power goes.

A file system in memory that promises no more than POSIX does:

* What was written to a file is durable once that file was synced, and not before; its size too.
* A name (created, renamed, removed) is durable once its directory was synced. Syncing the file is
  not enough: the content of a new file survives, and nobody finds it.
* A rename is one step: after a cut there is the old name or the new one.
* Without a sync anything may have reached the disk or not. `CutMode` says how much of it did; the
  seed says which.

Modes and owners of files are durable at once: no rule of ours hangs on them. A page that was
written through a mapping survives only if its file was synced: the kernel passes it on when it
likes, and a cut must be the same each time for one seed.
"""

import errno
import random
import stat
from collections.abc import Iterator
from typing import NamedTuple

BLOCK_SIZE = 4096  # bytes; what space is counted in
SECTOR_SIZE = 512  # bytes; what a disk writes in one piece, where it may reorder
ROOT = 1  # the number of the root directory, always
_SURVIVING_SHARES = (0.1, 0.5, 0.9)
_ENDLESS = 1 << 40  # bytes


class CutMode:
    """How much of what was not synced survives a cut."""

    NONE = "none"  # nothing
    PREFIX = "prefix"  # a first part of it, in the order of writing
    TORN = "torn"  # the same, and of the next write its first bytes
    REORDERED = "reordered"  # any part of it, in any order, writes in pieces of a sector


CUT_MODES = (CutMode.NONE, CutMode.PREFIX, CutMode.TORN, CutMode.REORDERED)


class Node:
    """A file or directory. `data` and `entries` are what programs see, `durable` and
    `durable_entries` what the disk holds for certain."""

    def __init__(self, number: int, mode: int, owner: tuple[int, int]) -> None:
        self.number = number
        self.mode = mode
        self.owner = owner  # user, group
        self.links = 0
        self.data = bytearray()
        self.durable = bytearray()
        self.entries: dict[str, Node] = {}
        self.durable_entries: dict[str, Node] = {}

    @property
    def is_directory(self) -> bool:
        """Whether it holds names."""
        return stat.S_ISDIR(self.mode)


class Write(NamedTuple):
    """Bytes at a place of a file. `mapped`: through a mapping."""

    file: Node
    offset: int
    data: bytes
    mapped: bool


class Resize(NamedTuple):
    """A file's new size."""

    file: Node
    size: int


class Rename(NamedTuple):
    """Names that change together: (directory, name, what it now means; None for nothing)."""

    changes: tuple[tuple[Node, str, Node | None], ...]


Pending = Write | Resize | Rename


class Disk:
    """The file system. Errors are OSError with the number that a kernel would give."""

    def __init__(self) -> None:
        self.cycle = 0  # rises with each cut: what was opened before it is void
        self._last_number = ROOT  # never used again, for the kernel may remember it
        self.clear()

    def clear(self) -> None:
        """Makes it empty and endless; what was opened before is void."""
        self.capacity = _ENDLESS  # bytes; a smaller one is a disk that is full sooner
        self.cycle += 1
        self.root = Node(ROOT, stat.S_IFDIR | 0o755, (0, 0))
        self._pending: list[Pending] = []

    @property
    def pending_count(self) -> int:
        """Changes that a cut may undo."""
        return len(self._pending)

    # ---- names ----------------------------------------------------------------------------------

    def look_up(self, directory: Node, name: str) -> Node:
        """What has this name; ENOENT."""
        try:
            return directory.entries[name]
        except KeyError:
            raise OSError(errno.ENOENT, name) from None

    def create(self, directory: Node, name: str, mode: int, owner: tuple[int, int]) -> Node:
        """A new file, directory or socket."""
        if name in directory.entries:
            raise OSError(errno.EEXIST, name)
        self._claim(BLOCK_SIZE)
        self._last_number += 1
        node = Node(self._last_number, mode, owner)
        self._change((directory, name, node))
        return node

    def link(self, directory: Node, name: str, node: Node) -> None:
        """One more name for a file."""
        if name in directory.entries:
            raise OSError(errno.EEXIST, name)
        self._change((directory, name, node))

    def unlink(self, directory: Node, name: str) -> None:
        """Takes a file's name away; who has it open keeps it."""
        if self.look_up(directory, name).is_directory:
            raise OSError(errno.EISDIR, name)
        self._change((directory, name, None))

    def remove_directory(self, directory: Node, name: str) -> None:
        """Takes an empty directory away."""
        node = self.look_up(directory, name)
        if not node.is_directory:
            raise OSError(errno.ENOTDIR, name)
        if node.entries:
            raise OSError(errno.ENOTEMPTY, name)
        self._change((directory, name, None))

    def rename(self, source: Node, name: str, target: Node, new_name: str, fresh: bool) -> None:
        """Moves a name in one step, over whatever has the new one unless that must be `fresh`."""
        node = self.look_up(source, name)
        former = target.entries.get(new_name)
        if former is not None:
            if fresh:
                raise OSError(errno.EEXIST, new_name)
            if former is node:
                return
            if former.is_directory != node.is_directory:
                raise OSError(errno.EISDIR if former.is_directory else errno.ENOTDIR, new_name)
            if former.entries:
                raise OSError(errno.ENOTEMPTY, new_name)
        self._change((source, name, None), (target, new_name, node))

    def _change(self, *changes: tuple[Node, str, Node | None]) -> None:
        for directory, name, node in changes:
            former = directory.entries.pop(name, None)
            if former is not None:
                former.links -= 1
            if node is not None:
                node.links += 1
                directory.entries[name] = node
        self._pending.append(Rename(changes))

    # ---- content --------------------------------------------------------------------------------

    def write(self, file: Node, offset: int, data: bytes, mapped: bool = False) -> None:
        """Puts bytes into a file, beyond its end too."""
        self._grow(file, offset + len(data))
        _put(file.data, offset, data)
        self._pending.append(Write(file, offset, data, mapped))

    def resize(self, file: Node, size: int) -> None:
        """Cuts a file off, or adds zeros."""
        self._grow(file, size)
        _resize(file.data, size)
        self._pending.append(Resize(file, size))

    def free(self) -> int:
        """Bytes that may still be taken."""
        return max(self.capacity - self._used(), 0)

    def _grow(self, file: Node, size: int) -> None:
        self._claim((_blocks(size) - _blocks(len(file.data))) * BLOCK_SIZE)

    def _claim(self, size: int) -> None:
        if size > 0 and self.capacity < _ENDLESS and self._used() + size > self.capacity:
            raise OSError(errno.ENOSPC, "")

    def _used(self) -> int:
        """Files that have no name any more count no longer, although some may be open."""
        return sum((1 + _blocks(len(node.data))) * BLOCK_SIZE for node in self.nodes())

    def nodes(self) -> Iterator[Node]:
        """Everything that has a name, and the root."""
        seen = {self.root.number}
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            for entry in node.entries.values():
                if entry.number not in seen:
                    seen.add(entry.number)
                    waiting.append(entry)

    # ---- durability -----------------------------------------------------------------------------

    def sync(self, node: Node) -> None:
        """Makes a file's content or a directory's names durable. A rename across directories is
        one step, so it takes along what the other directory did before it."""
        kept: list[Pending] = []
        due: list[Pending] = []
        directories = {node}
        for one in reversed(self._pending):
            if isinstance(one, Rename):
                touched = {directory for directory, _, _ in one.changes}
                is_due = not touched.isdisjoint(directories)
                if is_due:
                    directories |= touched
            else:
                is_due = one.file is node
            (due if is_due else kept).append(one)
        for one in reversed(due):
            _harden(one)
        self._pending = kept[::-1]

    def spoil(self, file: Node) -> None:
        """A sync failed: what it should have written is still what programs read, and no later sync
        writes it, as the kernel then holds those pages for clean."""
        self._pending = [
            one for one in self._pending if isinstance(one, Rename) or one.file is not file
        ]

    def cut(self, seed: int, mode: str) -> None:
        """The power goes: what was durable is there, and of the rest what `mode` and `seed` say.
        Everything gets a new number, so that nothing opened before reaches it."""
        rng = random.Random(seed)
        pending = [one for one in self._pending if not (isinstance(one, Write) and one.mapped)]
        for one in _survivors(pending, mode, rng):
            _harden(one)
        self._pending = []
        self.cycle += 1
        copies: dict[Node, Node] = {}
        self.root = self._recover(self.root, copies)

    def _recover(self, node: Node, copies: dict[Node, Node]) -> Node:
        copy = copies.get(node)
        if copy is None:
            number = ROOT
            if node is not self.root:
                self._last_number += 1
                number = self._last_number
            copy = copies[node] = Node(number, node.mode, node.owner)
            copy.data, copy.durable = bytearray(node.durable), node.durable
            for name, entry in node.durable_entries.items():
                copy.entries[name] = self._recover(entry, copies)
                copy.entries[name].links += 1
            copy.durable_entries = dict(copy.entries)
        return copy


def _survivors(pending: list[Pending], mode: str, rng: random.Random) -> Iterator[Pending]:
    if mode == CutMode.NONE:
        return
    if mode == CutMode.REORDERED:
        share = rng.choice(_SURVIVING_SHARES)
        for one in pending:
            for piece in _pieces(one):
                if rng.random() < share:
                    yield piece
        return
    count = rng.randint(0, len(pending))
    yield from pending[:count]
    if mode == CutMode.TORN and count < len(pending):
        torn = pending[count]
        if isinstance(torn, Write):
            yield torn._replace(data=torn.data[: rng.randrange(len(torn.data) + 1)])


def _pieces(one: Pending) -> Iterator[Pending]:
    """A write in the pieces that a disk may write in any order."""
    if not isinstance(one, Write):
        yield one
        return
    start = 0
    while start < len(one.data):
        end = start + SECTOR_SIZE - (one.offset + start) % SECTOR_SIZE
        yield Write(one.file, one.offset + start, one.data[start:end], one.mapped)
        start = end


def _harden(one: Pending) -> None:
    if isinstance(one, Write):
        _put(one.file.durable, one.offset, one.data)
    elif isinstance(one, Resize):
        _resize(one.file.durable, one.size)
    else:
        for directory, name, node in one.changes:
            directory.durable_entries.pop(name, None)
            if node is not None:
                directory.durable_entries[name] = node


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


def _blocks(size: int) -> int:
    return -(-size // BLOCK_SIZE)
