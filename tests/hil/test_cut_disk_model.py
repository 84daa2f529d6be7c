"""What survives a power cut, and what may not: the model of the disk alone, on any machine."""

import errno
import stat

import pytest

from hil.cut_disk_model import CUT_MODES, SECTOR_SIZE, CutMode, Disk, Node

FILE, FOLDER = stat.S_IFREG | 0o600, stat.S_IFDIR | 0o700
US = (0, 0)


def cut(disk: Disk, mode: str = CutMode.NONE, seed: int = 1) -> dict[str, bytes]:
    """What the root directory holds afterwards."""
    disk.cut(seed, mode)
    return contents(disk.root)


def contents(folder: Node) -> dict[str, bytes]:
    """Files by name, directories left out."""
    return {
        name: bytes(node.data) for name, node in folder.entries.items() if not node.is_directory
    }


@pytest.fixture
def disk() -> Disk:
    """One with a durable file `a` that says `old`."""
    one = Disk()
    file = one.create(one.root, "a", FILE, US)
    one.write(file, 0, b"old")
    one.sync(file)
    one.sync(one.root)
    return one


def test_what_is_synced_survives_every_cut(disk: Disk) -> None:
    """Whatever else was under way."""
    disk.write(disk.root.entries["a"], 0, b"new")
    disk.sync(disk.root.entries["a"])
    disk.write(disk.create(disk.root, "b", FILE, US), 0, b"more")
    for seed, mode in enumerate(CUT_MODES):
        assert cut(disk, mode, seed)["a"] == b"new"


def test_without_a_sync_nothing_is_sure(disk: Disk) -> None:
    """Content, size and name are as before; a program had read the new ones."""
    file = disk.root.entries["a"]
    disk.write(file, 1, b"NEW")
    disk.resize(file, 2)
    disk.rename(disk.root, "a", disk.root, "b", False)
    assert contents(disk.root) == {"b": b"oN"}
    assert cut(disk) == {"a": b"old"}


def test_a_synced_file_without_a_synced_directory_has_no_name(disk: Disk) -> None:
    """POSIX: the file's sync does not reach the directory."""
    file = disk.create(disk.root, "b", FILE, US)
    disk.write(file, 0, b"x")
    disk.sync(file)
    assert cut(disk) == {"a": b"old"}


def test_a_name_without_synced_content_is_an_empty_file(disk: Disk) -> None:
    """The classic loss: write, rename, and no fsync in between."""
    file = disk.create(disk.root, "new", FILE, US)
    disk.write(file, 0, b"new")
    disk.rename(disk.root, "new", disk.root, "a", False)
    disk.sync(disk.root)
    assert cut(disk) == {"a": b""}


def test_a_rename_is_one_step(disk: Disk) -> None:
    """Never both names, never none; both outcomes occur."""
    seen = set()
    for seed in range(60):
        one = Disk()
        file = one.create(one.root, "new", FILE, US)
        one.sync(one.root)
        folder = one.create(one.root, "folder", FOLDER, US)
        one.sync(one.root)
        one.rename(one.root, "new", folder, "old", False)
        one.cut(seed, CutMode.REORDERED)
        names = ("new" in one.root.entries, "old" in one.root.entries["folder"].entries)
        assert file.data == b""
        seen.add(names)
    assert seen == {(True, False), (False, True)}


def test_a_directorys_sync_takes_a_rename_with_its_past(disk: Disk) -> None:
    """The other directory's part of it, and what that one did before it."""
    folder = disk.create(disk.root, "folder", FOLDER, US)
    disk.sync(disk.root)
    file = disk.create(folder, "x", FILE, US)
    disk.rename(folder, "x", disk.root, "z", False)
    disk.create(folder, "later", FILE, US)
    disk.sync(disk.root)
    disk.sync(folder)  # must not bring the first name back
    disk.cut(1, CutMode.NONE)
    assert sorted(disk.root.entries) == ["a", "folder", "z"]
    assert sorted(disk.root.entries["folder"].entries) == ["later"]
    assert file.links == 1


@pytest.mark.parametrize("mode", CUT_MODES)
def test_what_may_survive(mode: str) -> None:
    """Writes in their order, a torn last one, or sectors as they come; each mode does what only it
    may do."""
    block = b"".join(bytes([n]) * SECTOR_SIZE for n in range(1, 9))
    seen = set()
    for seed in range(200):
        disk = Disk()
        file = disk.create(disk.root, "f", FILE, US)
        disk.resize(file, 2 * len(block))
        disk.sync(file)
        disk.sync(disk.root)
        disk.write(file, 0, block)
        disk.write(file, len(block), block)
        seen.add(cut(disk, mode, seed)["f"])
    blank = bytes(len(block))
    in_order = {blank * 2, block + blank, block * 2}
    if mode == CutMode.NONE:
        assert seen == {blank * 2}
    elif mode == CutMode.PREFIX:
        assert seen == in_order
    elif mode == CutMode.TORN:
        torn = [len(one.rstrip(b"\0")) for one in seen - in_order]
        assert len(torn) > 50
        assert any(size % SECTOR_SIZE for size in torn)
        assert all((block * 2).startswith(one.rstrip(b"\0")) for one in seen)
    else:
        assert any(one.startswith(bytes(SECTOR_SIZE)) and any(one) for one in seen)
        pieces = {one[n : n + SECTOR_SIZE] for one in seen for n in range(0, 16 * 512, 512)}
        assert pieces == {bytes([n]) * SECTOR_SIZE for n in range(9)}


def test_one_seed_is_one_outcome() -> None:
    """Whatever happened before in the process."""

    def outcome(seed: int) -> dict[str, bytes]:
        disk = Disk()
        for number in range(30):
            file = disk.create(disk.root, f"f{number}", FILE, US)
            disk.write(file, 0, bytes(2000))
        return cut(disk, CutMode.REORDERED, seed)

    assert outcome(7) == outcome(7)
    assert len({str(outcome(seed)) for seed in range(20)}) > 15


def test_a_failed_sync_is_not_made_good_by_the_next(disk: Disk) -> None:
    """The kernel holds the pages for clean: only what is written again reaches the disk."""
    file = disk.root.entries["a"]
    disk.write(file, 0, b"new")
    disk.spoil(file)
    assert bytes(file.data) == b"new"
    disk.write(file, 1, b"E")
    disk.sync(file)
    assert cut(disk) == {"a": b"oEd"}


def test_a_full_disk(disk: Disk) -> None:
    """Space is counted in blocks, and comes back with what is removed."""
    disk.capacity = 5 * 4096
    file = disk.root.entries["a"]
    disk.write(file, 4096, b"x")
    with pytest.raises(OSError) as caught:
        disk.write(file, 8192, bytes(2 * 4096))
    assert caught.value.errno == errno.ENOSPC
    assert disk.free() == 4096
    disk.unlink(disk.root, "a")
    assert disk.free() == 4 * 4096
