"""The planted faults fit the tree as it is, and `make mutants` tells what it sees.

Trying all of them takes minutes and is `make mutants`; here a few stand for the rest.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.run import (
    BROKEN,
    CAUGHT,
    COPIED,
    ELSEWHERE,
    ROOT,
    STALE,
    SURVIVED,
    Copy,
    Mutant,
    copies,
    load,
    show,
    staleness,
    union,
)

MUTANTS = {one.name: one for one in load()}
MUTANTS_MIN = 205  # may only grow
BCD = "protocols/bcd.py"
BCD_TESTS = ("tests/protocols/test_bcd.py",)


@pytest.fixture(scope="module")
def copy() -> Iterator[Copy]:
    """One copy of the tree."""
    with copies(1) as (only,):
        yield only


def harmless(**changes: object) -> Mutant:
    """A fault that is none: a remark."""
    mutant = Mutant("harmless", "Nothing.", BCD, "value = 0\n", "value = 0  # so\n", BCD_TESTS)
    return mutant._replace(**changes)


@pytest.mark.parametrize("name", MUTANTS)
def test_every_fault_can_be_planted(name: str) -> None:
    """Its text stands once in the product, its tests are there, and it changes something."""
    mutant = MUTANTS[name]
    assert staleness(mutant, ROOT) == ""
    assert mutant.old != mutant.new
    assert mutant.tests
    assert mutant.file.split("/")[0] in COPIED and not mutant.file.startswith("tests/")
    assert mutant.breaks.endswith(".")


def test_no_fault_is_taken_away() -> None:
    """A rewritten module gets its faults anew."""
    assert len(MUTANTS) >= MUTANTS_MIN


@pytest.mark.parametrize(
    "name", ["dlt645-digit-above-nine", "relay-state-from-the-command", "cloud-ledger-hides-a-hole"]
)
def test_a_fault_is_caught_and_taken_out_again(name: str, copy: Copy) -> None:
    """By one of its own tests; the copy is afterwards as it was."""
    mutant = MUTANTS[name]
    before = (copy.folder / mutant.file).read_text()
    verdict = copy.tried(mutant)
    assert verdict.status == CAUGHT, verdict
    assert verdict.by.split("::")[0] in {test.split("::")[0] for test in mutant.tests}
    assert (copy.folder / mutant.file).read_text() == before == (ROOT / mutant.file).read_text()


def test_a_fault_that_changes_nothing_survives(copy: Copy) -> None:
    """So the harness can say no, and what it ran was the copy."""
    assert copy.tried(harmless()).status == SURVIVED


def test_what_does_not_compile_is_not_caught(copy: Copy) -> None:
    """Tests that could not be collected have seen nothing."""
    verdict = copy.tried(harmless(new="value = = 0\n"))
    assert verdict.status == BROKEN
    assert "SyntaxError" in verdict.by


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"old": "no such text"}, "stands 0 times"),
        ({"old": "value"}, "times in protocols/bcd.py"),
        ({"file": "protocols/gone.py"}, "protocols/gone.py is gone"),
        ({"tests": ("tests/gone.py",)}, "tests/gone.py is gone"),
        ({"tests": (f"{BCD_TESTS[0]}::test_gone",)}, "::test_gone is gone"),
    ],
)
def test_a_stale_fault_is_told(changes: dict[str, object], reason: str, copy: Copy) -> None:
    """A rewritten product or test never makes a fault pass silently."""
    verdict = copy.tried(harmless(**changes))
    assert verdict.status == STALE
    assert reason in verdict.by


def test_a_run_that_does_not_use_the_copy_is_told(copy: Copy, tmp_path: Path) -> None:
    """The editable install names the original: a fault in a copy that nobody imports is untried."""
    empty = Copy(tmp_path)
    (tmp_path / "tests").symlink_to(copy.folder / "tests")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    status, imported = empty.run(BCD_TESTS, BCD)
    assert status == ELSEWHERE
    assert imported == str(ROOT / BCD)


def test_one_survivor_fails_the_whole_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Its name and what it breaks are told, beside what was caught."""
    assert show([harmless(), MUTANTS["private-file-readable"]], 1) == 1
    told = capsys.readouterr().out
    assert "1 of 2 caught" in told
    assert "harmless survived: Nothing." in told


def test_a_run_in_which_all_are_caught_is_good() -> None:
    """The exit code of `make mutants`."""
    assert show([MUTANTS["private-file-readable"]], 1) == 0


def test_a_whole_file_stands_for_its_parts() -> None:
    """The run without any fault runs each test once."""
    whole, part = harmless(), harmless(tests=(f"{BCD_TESTS[0]}::test_a", "tests/b.py::test_b"))
    assert union([whole, part]) == ["tests/b.py::test_b", BCD_TESTS[0]]
    assert union([part]) == ["tests/b.py::test_b", f"{BCD_TESTS[0]}::test_a"]


def test_a_table_that_is_incomplete_is_refused(tmp_path: Path) -> None:
    """A missing field, or two faults of one name."""
    table = tmp_path / "planted.toml"
    table.write_text('[[mutant]]\nname = "a"\n')
    with pytest.raises(ValueError, match="a: has"):
        load(table)
    row = '[[mutant]]\nname = "a"\nbreaks = "b"\nfile = "f"\nold = "o"\nnew = "n"\ntests = ["t"]\n'
    table.write_text(row)
    assert [one.name for one in load(table)] == ["a"]
    table.write_text(row * 2)
    with pytest.raises(ValueError, match="one name"):
        load(table)
