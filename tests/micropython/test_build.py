"""tests/micropython/build.py: what is asked of this machine, and said where it cannot be had."""

from pathlib import Path

import pytest

from tests.micropython import build
from tests.micropython.runtimes import CortexM3, frozen_mark

TARGETS = """Packages|Debian|main|m:one/
Translations|Debian|main|m:one/
Packages|Debian|contrib|m:one/
Packages|Debian-Security|main|m:security/
Packages|Somebody|main|m:tools/
Packages||main|m:never-updated/
Packages|Debian|main|m:one/
"""


def test_the_mirrors_are_those_of_this_machine() -> None:
    """Debian's own archives, each once; one whose lists were never fetched is tried too."""
    assert build.mirrors_in(TARGETS) == ["m:one/", "m:never-updated/"]


def test_a_missing_program_is_told_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not root gets the command, with the headers that belong to it."""
    monkeypatch.setattr(build.os, "geteuid", lambda: 1000)
    with pytest.raises(build.NotHereError, match=r"sudo apt-get install a-package its-headers$"):
        build.need({"no-such-program": "a-package", "sh": "dash"}, "its-headers")
    build.need({"sh": "dash"}, "its-headers")


def test_what_cannot_be_had_is_one_sentence_and_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tests are skipped then; a build that fails is an error."""

    def missing(*_: object) -> None:
        raise build.NotHereError("this machine has no such thing")

    monkeypatch.setattr(build, "need", missing)
    assert build.main() == 0
    said = "busbar: MicroPython: this machine has no such thing; the tests that need it are skipped"
    assert capsys.readouterr().err == said + "\n"


def test_a_failed_command_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words are in the log, not on the screen."""
    monkeypatch.setattr(build, "BUILT", tmp_path)
    with pytest.raises(build.subprocess.CalledProcessError) as caught:
        build.logged("a", ["sh", "-c", "echo why; exit 3"], tmp_path)
    assert (tmp_path / "a.log").read_text() == "why\n"
    assert caught.value.output == str(tmp_path / "a.log")


def test_a_firmware_of_older_sources_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would say what the code was, not what it is."""
    for name in ("firmware", "frozen"):
        monkeypatch.setattr(CortexM3, name, tmp_path / name)
    monkeypatch.setattr("shutil.which", lambda _: "/somewhere")
    assert "builds the Cortex-M3 firmware" in CortexM3().lacks()
    (tmp_path / "firmware").write_text("")
    (tmp_path / "frozen").write_text("another")
    assert "older sources" in CortexM3().lacks()
    (tmp_path / "frozen").write_text(frozen_mark(build.ROOT))
    assert CortexM3().lacks() == ""
