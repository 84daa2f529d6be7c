"""The portable part of protocols/ needs nothing that MicroPython lacks; checked without it."""

from pathlib import Path

import pytest

from tests.micropython.planted import CLEAN, PLANTED
from tests.micropython.portability import BINDING, faults, faults_in, portable_files

ROOT = Path(__file__).parent.parent


def plant(root: Path, name: str, source: str) -> None:
    """Write `source` as a file of protocols/ under `root`."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)


def test_protocols_is_portable() -> None:
    """No file of protocols/ but the binding uses what MicroPython lacks."""
    assert portable_files(ROOT)
    assert faults(ROOT) == []


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_fault_is_reported_with_file_line_and_reason(kind: str, tmp_path: Path) -> None:
    """Each kind of fault is found, once, where it stands."""
    source, reason = PLANTED[kind]
    plant(tmp_path, "protocols/dlt645/bad.py", f'"""Bad."""\n{source}\n')
    found = faults(tmp_path)
    assert len(found) == 1
    file, line, said = found[0].split(":", 2)
    assert (file, said) == ("protocols/dlt645/bad.py", " " + reason)
    assert 2 <= int(line) <= 1 + len(source.splitlines())


def test_clean_code_passes() -> None:
    """What the portable code may use is not reported."""
    assert faults_in(CLEAN) == []


def test_a_file_that_does_not_parse_is_a_fault() -> None:
    """A syntax error is a finding, not a traceback."""
    assert faults_in("def f(:\n") == [(1, "does not parse: invalid syntax")]


def test_type_parameters_are_a_fault() -> None:
    """What only newer interpreters parse is reported by all of them."""
    assert len(faults_in("type Pair = tuple\n")) == 1
    assert len(faults_in("def f[T](a: T) -> T:\n    return a\n")) == 1


def test_only_the_binding_is_left_out(tmp_path: Path) -> None:
    """The one CPython-bound file may import anything; nobody portable may import it."""
    plant(tmp_path, BINDING, "import cryptography\n")
    assert faults(tmp_path) == []
    plant(tmp_path, "protocols/envelope/seal.py", "from protocols.envelope import suites\n")
    plant(tmp_path, "protocols/envelope/keys.py", "import protocols.envelope.suites\n")
    assert faults(tmp_path) == [
        "protocols/envelope/keys.py:1: imports protocols.envelope.suites",
        "protocols/envelope/seal.py:1: imports protocols.envelope.suites",
    ]
