"""The types of the meter part as MicroPython has them: mypy against its stubs, cut to the runtime.

Slower than the walk over the syntax tree and much shorter sighted, but it knows what a value is:
a bytearray behind a function is still a bytearray.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.micropython.planted import HIDDEN, ON_A_BOARD, PLANTED, REFUSED, SILENT
from tests.micropython.runtimes import BUILT, HERE, ROOT, meter_part
from tests.micropython.stubs import cut

STUBS = BUILT / "stubs"
UNTYPED = {"no-untyped-def", "no-untyped-call", "var-annotated"}  # the planted code is terse
# Of what the syntax tree shows, the stubs see these too: missing modules, names and methods.
SEEN_TWICE = {
    "bytearray method",
    "import",
    "import of a missing part",
    "keyword to dumps",
    "missing method",
    "missing module attribute",
    "missing name",
    "missing namedtuple method",
    "missing text method",
}
STUB = """
class int:
    def to_bytes(self) -> bytes: ...
    @overload
    def bit_length(self) -> int: ...
    def __add__(self, other: int) -> int: ...
if sys.version_info >= (3, 3):
    class bytearray(MutableSequence[int]):
        def append(self, item: int) -> None: ...
        def pop(self) -> int: ...
class TimeoutError(OSError):
    errno: int
class list(MutableSequence[int]):
    def insert(self) -> None: ...
class _Helper: ...
EnvironmentError = OSError
def vars() -> None: ...
def len() -> int: ...
"""


def check_types(*files: Path) -> tuple[int, str]:
    """mypy's exit code and words about these files."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", HERE / "mypy.ini", "--no-error-summary",
         *files],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_meter_part_has_the_types_of_micropython(require: Callable[..., None]) -> None:
    """Not one name, method or argument that the stubs do not know."""
    require(STUBS)
    files = meter_part(ROOT)
    assert files
    assert check_types(*files) == (0, "")


def test_planted_faults_are_found(require: Callable[..., None], tmp_path: Path) -> None:
    """What only types show is found, what both gates see too, and no more is claimed."""
    require(STUBS)
    planted = {kind: source for kind, (source, _) in {**PLANTED, **HIDDEN}.items()}
    planted |= SILENT | ON_A_BOARD
    del planted["except*"]  # mypy itself falls over it: the stubs have no BaseExceptionGroup
    kinds = {}
    for number, (kind, source) in enumerate(planted.items()):
        path = tmp_path / f"planted_{number}.py"
        path.write_text(f"{REFUSED}\n{source}\n")
        kinds[path.name] = kind
    found: dict[str, str] = {}
    code, words = check_types(*sorted(tmp_path.glob("*.py")))
    assert code == 1, words
    for line in words.splitlines():
        match = re.match(r".*?(planted_\d+\.py):\d+: error: (.*?)  \[([\w-]+)\]$", line)
        if match and match[3] not in UNTYPED:
            found[kinds[match[1]]] = found.get(kinds[match[1]], "") + match[2] + "\n"
    for kind, (_, word) in HIDDEN.items():
        assert word in found.get(kind, ""), kind
    assert set(found) - set(HIDDEN) == SEEN_TWICE


def test_a_stub_is_cut_down_to_what_the_runtime_has() -> None:
    """Functions, methods, errors and base classes go; what only the type checker needs stays."""
    has = {"int": ["to_bytes"], "bytearray": ["append"], "list": ["insert", "pop"], "len": []}
    left = [line.strip() for line in cut(STUB, has, is_builtins=True).splitlines()]
    gone = ("bit_length", "pop", "TimeoutError", "errno", "EnvironmentError", "vars")
    assert not [line for line in left for word in gone if word in line]
    kept = ("to_bytes", "__add__", "append", "insert", "class _Helper", "def len")
    assert all(any(word in line for line in left) for word in kept)
    assert "class bytearray(Sequence[int]):" in left
    assert "class list(MutableSequence[int]):" in left


def test_a_module_loses_what_it_lacks() -> None:
    """Outside builtins a class that is no error goes too: struct has no Struct."""
    source = "class Struct:\n    size: int\nclass error(Exception): ...\ndef pack() -> bytes: ...\n"
    assert "Struct" not in cut(source, {"pack": []}, is_builtins=False)
    assert "error" not in cut(source, {"pack": []}, is_builtins=False)
    assert "def pack" in cut(source, {"pack": []}, is_builtins=False)
