"""The portable part of protocols/ on the real MicroPython, compiled to WebAssembly, under Node."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.micropython.planted import CLEAN, PLANTED
from tests.micropython.portability import portable_files

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RUNTIME = HERE / "node_modules" / "@micropython" / "micropython-webassembly-pyscript"

IMPORT_ALL = """
import sys
faults = 0
for name in MODULES:
    try:
        __import__(name)
    except Exception as error:
        faults += 1
        print(name + ": " + type(error).__name__ + ": " + str(error))
        sys.print_exception(error, sys.stdout)
if faults:
    raise SystemExit(1)
"""

RUN_EACH = """
for kind, source in SOURCES:
    try:
        exec(source, {})
    except Exception:
        continue
    print(kind)
"""


@pytest.fixture
def stage(tmp_path: Path, require: Callable[..., None]) -> Path:
    """A directory that holds the portable files, as a board would."""
    require("node", RUNTIME)
    for path in portable_files(ROOT):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def run(command: list[str | Path], cwd: Path) -> str:
    """The output of a command that must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(cwd), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def on_micropython(stage: Path, script: str) -> str:
    """The output of `script`, a file of `stage`."""
    return run(["node", HERE / "run.mjs", stage, script], stage)


def test_every_portable_module_is_imported(stage: Path) -> None:
    """No module needs what MicroPython lacks, not even when it is only loaded."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in portable_files(ROOT)
    ]
    (stage / "import_all.py").write_text(f"MODULES = {names}\n{IMPORT_ALL}")
    assert on_micropython(stage, "import_all.py") == ""


def test_dlt645_vectors_decode_as_on_cpython(stage: Path) -> None:
    """Both interpreters say the same of every vector: frames, faults, values, and in pieces."""
    shutil.copy(HERE / "vectors.py", stage)
    shutil.copy(ROOT / "tests" / "vectors" / "dlt645.json", stage)
    here = run([sys.executable, "vectors.py"], stage).splitlines()
    there = on_micropython(stage, "vectors.py").splitlines()
    vectors = json.loads((stage / "dlt645.json").read_text())["vectors"]
    assert len(vectors) == len(here) == len(there)
    for vector, one, other in zip(vectors, here, there, strict=True):
        row = json.loads(one)
        assert row == json.loads(other)
        assert ("frame" in row) == vector["expect"].startswith("accept"), vector["id"]


def test_the_bans_are_true(stage: Path) -> None:
    """Each planted fault of portability runs on CPython and fails on MicroPython."""
    script = f"SOURCES = {[(kind, source) for kind, (source, _) in PLANTED.items()]}\n{RUN_EACH}"
    (stage / "planted.py").write_text(script)
    assert run([sys.executable, "planted.py"], stage).splitlines() == list(PLANTED)
    assert on_micropython(stage, "planted.py") == ""


def test_what_is_permitted_works(stage: Path) -> None:
    """The constructions that the portability test lets pass run on both interpreters."""
    (stage / "clean.py").write_text(CLEAN)
    assert run([sys.executable, "clean.py"], stage) == ""
    assert on_micropython(stage, "clean.py") == ""


@pytest.mark.parametrize("source", ["1 / 0", "def f(:", "raise SystemExit(3)", "import nothing"])
def test_a_failing_script_fails_the_run(source: str, stage: Path) -> None:
    """A traceback is never exit 0, which the runtime's own command line gets wrong."""
    (stage / "bad.py").write_text(f"print('before')\n{source}\n")
    with pytest.raises(AssertionError, match=r"before|SyntaxError"):
        on_micropython(stage, "bad.py")
