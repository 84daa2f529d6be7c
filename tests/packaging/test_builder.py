"""The builder: only what the lock holds, no library of the wrong Python, no stray file; and the
launcher, which says so when the system's Python is another."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from busbar_deb import package, wheels
from busbar_deb.wheels import PackError

from tests.packaging.conftest import ROOT


def make_wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    """A wheel with these files."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
    return path


def sha256(path: Path) -> str:
    """As the lock has it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_wheels_of_two_pythons_share_a_folder(tmp_path: Path) -> None:
    """Equal files once, compiled ones side by side, the installer's notes and scripts left out."""
    same = {"a/__init__.py": "x", "a-1.data/scripts/run": "s", "a-1.data/purelib/b.py": "y"}
    one = make_wheel(tmp_path, "a-cp311.whl", {**same, "a/m.cpython-311.so": "1",
                                               "a-1.dist-info/WHEEL": "311"})  # fmt: skip
    two = make_wheel(tmp_path, "a-cp313.whl", {**same, "a/m.cpython-313.so": "3",
                                               "a-1.dist-info/WHEEL": "313"})  # fmt: skip
    assert wheels.unpack([one, two]) == {
        "a/__init__.py": b"x",
        "a/m.cpython-311.so": b"1",
        "a/m.cpython-313.so": b"3",
        "b.py": b"y",
    }


def test_wheels_that_disagree_are_refused(tmp_path: Path) -> None:
    """The second would silently run the code of the first."""
    one = make_wheel(tmp_path, "a-cp311.whl", {"a.py": "1"})
    two = make_wheel(tmp_path, "a-cp313.whl", {"a.py": "3"})
    with pytest.raises(PackError) as caught:
        wheels.unpack([one, two])
    assert str(caught.value) == "a.py of a-cp313.whl is not that of a-cp311.whl"


@pytest.mark.parametrize("name", ["../a.py", "/a.py", "a-1.data/data/etc/passwd"])
def test_a_wheel_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    """Nothing of a wheel is laid outside of the libraries."""
    with pytest.raises(PackError) as caught:
        wheels.unpack([make_wheel(tmp_path, "a.whl", {name: "x"})])
    assert "outside of a library" in str(caught.value)


def test_only_a_wheel_of_the_lock_is_taken(tmp_path: Path) -> None:
    """By its content, whatever its name; a library without one is missed by name."""
    good = make_wheel(tmp_path, "a-1.whl", {"a.py": "x"})
    make_wheel(tmp_path, "a-2.whl", {"a.py": "planted"})
    wanted = {"a==1": {sha256(good)}}
    assert wheels.chosen(tmp_path, wanted) == [good]
    with pytest.raises(PackError) as caught:
        wheels.chosen(tmp_path, wanted | {"b==2": {"0" * 64}})
    assert "0 wheels of b==2" in str(caught.value)


def test_a_kept_wheel_that_was_changed_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is used only while it has the hash of the lock; then nothing is fetched."""
    (tmp_path / "requirements").mkdir()
    folder = tmp_path / "x86_64-3.11"
    good = make_wheel(folder, "a-1.whl", {"a.py": "x"})
    content = good.read_bytes()
    lock = tmp_path / "requirements" / "edge.txt"
    lock.write_text(f"a==1 \\\n    --hash=sha256:{sha256(good)}\n")
    asked = []

    def download(_: Path, folder: Path, architecture: str, python: tuple[int, int]) -> None:
        asked.append((architecture, python))
        (folder / "a-1.whl").write_bytes(content)

    monkeypatch.setattr(wheels, "_download", download)
    good.write_bytes(b"changed")
    assert wheels.fetch(tmp_path, tmp_path, "amd64") == [good]
    assert asked == [("amd64", (3, 11)), ("amd64", (3, 13))]
    assert wheels.fetch(tmp_path, tmp_path, "amd64") == [good]
    assert len(asked) == 2


@pytest.mark.parametrize("marker", ["python_version < '3.12'", "sys_platform == 'win32'"])
def test_a_lock_that_depends_on_the_machine_is_refused(marker: str) -> None:
    """pip would decide by the Python that builds."""
    with pytest.raises(PackError) as caught:
        wheels.locked(f"a==1 ; {marker} \\\n    --hash=sha256:{'0' * 64}\n")
    assert "depends on the machine" in str(caught.value)


def test_the_package_holds_what_the_demo_runs_on() -> None:
    """The lock of the package names no release that the tests do not run on."""
    edge, demo = (
        wheels.locked_names((ROOT / "requirements" / f"{name}.txt").read_text())
        for name in ("edge", "demo")
    )
    assert {"cbor2", "cryptography", "paho-mqtt", "pymodbus", "pyserial"} <= {
        name.split("==")[0] for name in edge
    }
    assert edge - demo == set()


@pytest.mark.parametrize("name", ["edge/notes.txt", "edge/key.pem"])
def test_a_stray_file_is_refused(name: str, tmp_path: Path) -> None:
    """Neither packed by accident nor left out in silence; compiled files are no strays."""
    for one in package.PACKAGES:
        (tmp_path / one / "__pycache__").mkdir(parents=True)
        (tmp_path / one / "a.py").write_text("")
        (tmp_path / one / "__pycache__" / "a.pyc").write_text("")
    assert sorted(package.product_files(tmp_path)) == [
        "edge/a.py", "protocols/a.py", "provisioning/a.py",
    ]  # fmt: skip
    (tmp_path / name).write_text("x")
    with pytest.raises(PackError) as caught:
        package.product_files(tmp_path)
    assert str(caught.value).startswith(f"{name} is no part of a package")


@pytest.mark.parametrize(
    ("version", "good"), [("1.2.3", True), ("1.2.3~rc1", True), ("1.2", False), ("1.2.3-1", False)]
)
def test_a_version_that_debian_would_read_otherwise_is_refused(
    version: str, good: bool, tmp_path: Path
) -> None:
    """A hyphen would begin a revision, and 1.2.3rc1 would come after 1.2.3."""
    (tmp_path / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')
    if good:
        assert package.read_version(tmp_path) == version
        return
    with pytest.raises(PackError) as caught:
        package.read_version(tmp_path)
    assert version in str(caught.value)


def test_a_library_without_a_licence_is_refused() -> None:
    """The package names the licence of everything in it."""
    with pytest.raises(PackError):
        package.licences({"a-1.dist-info/METADATA": b"Name: a\nVersion: 1\n\nLicense: in the text"})
    assert package.licences(
        {"a-1.dist-info/METADATA": b"Name: a\nVersion: 1\nLicense-Expression: MIT\n\ntext"}
    ) == [" a 1: MIT\n"]


def launch(tmp_path: Path, pythons: str, command: str) -> "subprocess.CompletedProcess[str]":
    """The launcher of a release that holds a command which prints where it came from."""
    release = tmp_path / "releases" / "1"
    for name in ("edge", "provisioning"):
        (release / "lib" / name).mkdir(parents=True)
        (release / "lib" / name / "__main__.py").write_text(
            f"import sys\ndef main():\n    print({name!r}, sys.argv[1:])\n    return 7\n"
        )
    (release / "bin").mkdir()
    text = (ROOT / "packaging" / "files" / "launcher.py").read_text()
    assert text.count("((0, 0),)") == 1
    (release / "bin" / command).write_text(text.replace("((0, 0),)", pythons))
    (tmp_path / command).symlink_to(release / "bin" / command)
    return subprocess.run(
        [sys.executable, "-IS", str(tmp_path / command), "status", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("command", "part"), [("busbar-edge", "edge"),
                                               ("busbar-provision", "provisioning")])  # fmt: skip
def test_a_command_is_started_from_its_release(command: str, part: str, tmp_path: Path) -> None:
    """Through a link, with its arguments; its exit code is the launcher's; nothing is written."""
    done = launch(tmp_path, repr((sys.version_info[:2],)), command)
    assert (done.returncode, done.stdout) == (7, f"{part} ['status', '--json']\n"), done.stderr
    assert list(tmp_path.rglob("__pycache__")) == []


def test_another_python_is_told_in_one_sentence(tmp_path: Path) -> None:
    """Instead of an import error from the depth of a library."""
    done = launch(tmp_path, "((3, 1), (3, 2))", "busbar-edge")
    here = "{}.{}".format(*sys.version_info[:2])
    assert done.returncode == 1
    assert done.stderr == (
        f"busbar-edge: {sys.executable} is Python {here}, and this package has libraries for "
        "Python 3.1 and 3.2 only\n"
    )
