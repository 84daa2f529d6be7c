"""Files that hold keys: modes, whole at every moment, never overwritten, one run at a time."""

import os
import stat
from pathlib import Path

import pytest

from protocols.errors import SettingError
from provisioning import files


def mode_of(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> object:
    """Whatever the shell has set."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: object) -> None:
    """Private files and folders are the owner's alone."""
    files.make_directory(tmp_path / "folder")
    files.write_new(tmp_path / "key", b"x", files.PRIVATE_MODE)
    files.write_new(tmp_path / "cert", b"x")
    assert mode_of(tmp_path / "folder") == 0o700
    assert mode_of(tmp_path / "key") == 0o600
    assert mode_of(tmp_path / "cert") == 0o644


def test_a_private_file_is_private_from_its_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not first written and then closed to others."""
    seen: list[int] = []
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: seen.append(os.fstat(fd).st_mode & 0o777))
    files.write_new(tmp_path / "key", b"x", files.PRIVATE_MODE)
    assert [mode & 0o077 for mode in seen] == [0]


def test_a_new_file_overwrites_nothing(tmp_path: Path) -> None:
    """Neither a file nor through a link that somebody left there."""
    (tmp_path / "key").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("key", "link"):
        with pytest.raises(FileExistsError):
            files.write_new(tmp_path / name, b"new")
    assert (tmp_path / "key").read_bytes() == b"old"
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full leaves the old content and no rest."""
    path = tmp_path / "registry.json"
    files.replace(path, b"old")
    files.replace(path, b"new")
    assert path.read_bytes() == b"new"

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        files.replace(path, b"newer")
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["registry.json"]


def test_content_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync, then rename, then fsync of the folder: a power cut finds the old file or the new."""
    steps: list[str] = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("sync"), sync(fd))[1])
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (steps.append("rename"), rename(self, to))[1]
    )
    files.replace(tmp_path / "a", b"x")
    assert steps == ["sync", "rename", "sync"]


def test_one_run_at_a_time(tmp_path: Path) -> None:
    """The second one is told; the lock ends with the first."""
    first, second, third = (files.locked(tmp_path) for _ in range(3))
    with first, pytest.raises(SettingError, match="at work in"):
        second.__enter__()
    with third:
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_damaged_file_gets_one_sentence(tmp_path: Path, content: bytes) -> None:
    """Which file, and nothing of what it holds."""
    (tmp_path / "keys.json").write_bytes(content)
    with pytest.raises(SettingError, match=r"keys\.json is damaged: it must hold one JSON object"):
        files.read_json(tmp_path / "keys.json")
