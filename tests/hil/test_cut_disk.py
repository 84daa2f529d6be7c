"""The mounted disk: a file system as the machine's own, until its plug is pulled."""

import contextlib
import errno
import mmap
import os
import random
import select
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hil.cut_disk import FAULTS, CutDisk, CutDiskError, missing
from hil.cut_disk_model import CutMode
from tests.system.power_rig import require_cut_disk


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[CutDisk]:
    """One on a directory."""
    require_cut_disk()
    folder = tmp_path / "a disk"
    folder.mkdir()
    with CutDisk(folder) as one:
        yield one


def mounts(folder: Path) -> int:
    """How many are there."""
    return Path("/proc/self/mounts").read_text().count(str(folder.parent))


def names_in(folder: Path) -> list[str]:
    """In order."""
    return sorted(path.name for path in folder.iterdir())


def make(path: Path, data: bytes, sync: bool) -> None:
    """A new file and its name."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, data)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)
    if sync:
        descriptor = os.open(path.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def test_a_cut_takes_what_was_not_synced(mounted: CutDisk) -> None:
    """Through the kernel, with nothing left in its caches; until then a program sees everything."""
    make(mounted.folder / "kept", b"kept", True)
    make(mounted.folder / "lost", b"lost", False)
    (mounted.folder / "kept").open("ab").close()
    with (mounted.folder / "kept").open("r+b", buffering=0) as late:
        late.write(b"KEPT")
        assert (mounted.folder / "kept").read_bytes() == b"KEPT"
        mounted.cut(1)
        with pytest.raises(OSError, match="Input/output"):
            late.write(b"x")
        with pytest.raises(OSError, match="Input/output"):
            names_in(mounted.folder)
        assert mounted.restore() is True
        with pytest.raises(OSError):
            late.write(b"x")
        with pytest.raises(OSError, match="Stale"):
            os.fstat(late.fileno())
    assert names_in(mounted.folder) == ["kept"]
    assert (mounted.folder / "kept").read_bytes() == b"kept"


def test_a_directory_that_was_open_is_void(mounted: CutDisk) -> None:
    """A program that outlives the cut can not make its names durable with what it still holds."""
    descriptor = os.open(mounted.folder, os.O_RDONLY)
    os.fsync(descriptor)
    mounted.cut(1)
    mounted.restore()
    with pytest.raises(OSError, match="Input/output"):
        os.fsync(descriptor)
    os.close(descriptor)


def test_a_failed_sync_loses_what_it_should_have_kept(mounted: CutDisk) -> None:
    """The next sync succeeds and writes nothing, as on Linux: a program must write again."""
    make(mounted.folder / "a", b"old", True)
    with (mounted.folder / "a").open("r+b", buffering=0) as file:
        file.write(b"new")
        mounted.refuse("unsyncable")
        with pytest.raises(OSError, match="Input/output"):
            os.fsync(file.fileno())
        mounted.refuse()
        os.fsync(file.fileno())
        assert (mounted.folder / "a").read_bytes() == b"new"
    mounted.cut(1)
    mounted.restore()
    assert (mounted.folder / "a").read_bytes() == b"old"


def test_a_cut_comes_at_its_change(mounted: CutDisk) -> None:
    """The n-th change or sync from now on is the first that does not happen."""
    make(mounted.folder / "a", b"a", True)
    mounted.cut_at(3, 1, CutMode.PREFIX)
    descriptor = os.open(mounted.folder / "a", os.O_WRONLY)
    os.write(descriptor, b"b")
    os.fsync(descriptor)
    assert mounted.state()["changes"] == 4 + 2
    with pytest.raises(OSError, match="Input/output"):
        os.write(descriptor, b"c")
    os.close(descriptor)
    assert mounted.restore() is True
    assert (mounted.folder / "a").read_bytes() == b"b"
    assert mounted.restore() is False


def test_a_mapped_page_survives_only_by_a_sync(mounted: CutDisk) -> None:
    """Shared mappings work, for SQLite's index needs them."""
    make(mounted.folder / "m", bytes(8192), True)
    for seed, is_synced in enumerate((True, *(False,) * 9)):
        with (mounted.folder / "m").open("r+b") as file:
            with mmap.mmap(file.fileno(), 8192) as page:
                page[4096:4100] = b"page" if is_synced else b"gone"
                if is_synced:
                    page.flush()
            if not is_synced:
                assert (mounted.folder / "m").read_bytes()[4096:4100] == b"gone"
        assert mounted.state()["pending"] == (0 if is_synced else 1)
        mounted.cut(seed, CutMode.REORDERED)
        mounted.restore()
        assert (mounted.folder / "m").read_bytes()[4096:4100] == b"page"


FAULTY = {
    "full": errno.ENOSPC,
    "read-only": errno.EROFS,
    "unwritable": errno.EIO,
    "unsyncable": errno.EIO,
    "dead": errno.EIO,
    "gone": errno.EIO,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_refuses_and_heals(mounted: CutDisk, fault: str) -> None:
    """With the error that a real disk gives; reading goes on where it would."""
    path = mounted.folder / "a"
    make(path, b"old", True)
    mounted.refuse(fault)
    with pytest.raises(OSError) as caught:
        make(path, b"new", True)
    assert caught.value.errno == FAULTY[fault]
    if fault in ("full", "read-only", "unwritable"):
        assert path.read_bytes() == b"old"
    mounted.refuse()
    make(path, b"newer", True)
    mounted.cut(1)
    mounted.restore()
    assert path.read_bytes() == b"newer"


def test_a_limit_is_told_and_kept(mounted: CutDisk) -> None:
    """statvfs says what is free, and a write beyond it fails."""
    mounted.limit(64 * 4096)
    disk = os.statvfs(mounted.folder)
    assert (disk.f_blocks, disk.f_bavail) == (64, 63)
    with pytest.raises(OSError, match="No space left"):
        (mounted.folder / "a").write_bytes(bytes(64 * 4096))
    (mounted.folder / "a").unlink()
    with (mounted.folder / "b").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 60 * 4096)
        with pytest.raises(OSError, match="No space left"):
            os.posix_fallocate(file.fileno(), 0, 70 * 4096)
    assert os.statvfs(mounted.folder).f_bavail == 2


STEPS: dict[str, Callable[[Path, str, str], object]] = {
    "write": lambda top, a, b: (top / a).write_bytes(b.encode() * 3000),
    "append": lambda top, a, b: _append(top / a, b.encode()),
    "truncate": lambda top, a, b: os.truncate(top / a, 5),
    "make": lambda top, a, b: (top / a).mkdir(),
    "remove": lambda top, a, b: (top / a).rmdir(),
    "unlink": lambda top, a, b: (top / a).unlink(),
    "rename": lambda top, a, b: (top / a).rename(top / b),
    "into": lambda top, a, b: (top / a).rename(top / b / a),
    "link": lambda top, a, b: os.link(top / a, top / b),
    "exclusive": lambda top, a, b: (top / a).open("xb").close(),
    "chmod": lambda top, a, b: (top / a).chmod(0o640),
    "list": lambda top, a, b: names_in(top / a),
    "read": lambda top, a, b: (top / a).read_bytes(),
    "use": lambda top, a, b: _use_without_name(top / a),
}


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _use_without_name(path: Path) -> bytes:
    with path.open("r+b") as file:
        path.unlink()
        file.write(b"still there")
        file.seek(0)
        return file.read()


def _outcome(top: Path, step: str, a: str, b: str) -> object:
    try:
        return repr(STEPS[step](top, a, b)).replace(str(top), "")
    except OSError as error:
        return error.errno


def _tree(top: Path) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for path in sorted(top.rglob("*")):
        about = path.stat()
        is_file = path.is_file()
        found.append((str(path.relative_to(top)), about.st_mode, is_file and about.st_nlink))
        found.append((is_file and path.read_bytes(), about.st_uid))
    return found


@pytest.mark.stranger
@pytest.mark.parametrize("seed", range(4))
def test_it_behaves_as_the_machines_own_file_system(
    mounted: CutDisk, tmp_path: Path, seed: int
) -> None:
    """The same steps have the same results and errors there, and leave the same tree."""
    rng = random.Random(seed)
    own = tmp_path / "own"
    own.mkdir()
    names = ("a", "b", "c", "d")
    for number in range(400):
        step, a, b = rng.choice(list(STEPS)), rng.choice(names), rng.choice(names)
        ours, theirs = _outcome(mounted.folder, step, a, b), _outcome(own, step, a, b)
        assert ours == theirs, f"seed {seed}, step {number}: {step} {a} {b}"
    assert _tree(mounted.folder) == _tree(own)


def test_a_long_directory(mounted: CutDisk) -> None:
    """More names than one answer holds."""
    names = {f"file with a long name, number {number}" for number in range(900)}
    for name in names:
        (mounted.folder / name).touch()
    assert names_in(mounted.folder) == sorted(names)


def test_a_killed_program_loses_nothing(mounted: CutDisk) -> None:
    """Which is why kill -9 proves nothing: SQLite that never syncs keeps all rows."""
    script = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.executescript('PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; CREATE TABLE t (n)')\n"
        "for n in range(100):\n    db.execute('INSERT INTO t VALUES (?)', (n,))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    path = mounted.folder / "t.db"
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert killed.returncode == -9
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM t").fetchone() == (100,)


def test_a_mode_that_is_none_is_refused(mounted: CutDisk) -> None:
    """With the ones that are."""
    with pytest.raises(CutDiskError, match="'none', 'prefix', 'torn', 'reordered'"):
        mounted.cut(1, "most")


def test_it_is_gone_with_its_end(tmp_path: Path) -> None:
    """No mount is left, whether files are open, the power is off, or its process was killed."""
    require_cut_disk()
    for end in ("open", "off", "killed"):
        folder = tmp_path / end
        folder.mkdir()
        disk = CutDisk(folder)
        assert mounts(folder) == 1
        file = (folder / "a").open("wb", buffering=0)
        if end == "off":
            disk.cut(1)
        if end == "killed":
            disk._process.kill()
        disk.close()
        assert mounts(folder) == 0
        assert disk._process.returncode is not None
        with pytest.raises(OSError):
            file.write(b"x")
        with contextlib.suppress(OSError):
            file.close()


def test_it_is_gone_with_whoever_made_it(tmp_path: Path) -> None:
    """A test run that is killed leaves nothing behind."""
    require_cut_disk()
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom hil.cut_disk import CutDisk\n"
        "disk = CutDisk(Path(sys.argv[1]))\nprint(disk._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    folder = tmp_path / "disk"
    folder.mkdir()
    command = [sys.executable, "-c", script, str(folder)]
    ended = subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).parents[2])
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        watch = os.pidfd_open(int(ended.stdout))
        assert select.select([watch], [], [], 20)[0], "the disk's process did not end"
        os.close(watch)
    assert mounts(folder) == 0


def test_a_place_that_is_none_gets_one_sentence(tmp_path: Path) -> None:
    """Where nothing can be mounted."""
    require_cut_disk()
    with pytest.raises(CutDiskError, match="cannot be mounted: No such file"):
        CutDisk(tmp_path / "nowhere")


def test_why_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, for whoever reads the report of a skipped test."""
    status = tmp_path / "status"
    monkeypatch.setattr("hil.cut_disk.DEVICE", tmp_path)
    monkeypatch.setattr("hil.cut_disk._STATUS", status)
    status.write_text("Name:\tpytest\nCapEff:\t000001ffffffffff\n")
    assert missing() == ""
    status.write_text("Name:\tpytest\nCapEff:\t00000000a80425fb\n")  # root in a container
    assert missing() == "only root may mount a file system"
    monkeypatch.setattr("hil.cut_disk.DEVICE", Path("/nowhere"))
    assert missing() == "there is no /dev/fuse on this machine"
