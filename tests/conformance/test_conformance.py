"""docs/conformance.md says what the strangers' tests just said."""

from collections.abc import Callable

import pytest

from tests.conformance import table
from tests.conformance.cases import LOCKED, NEVER_RUN, ROWS, VERSIONS, Row
from tests.conformance.outcomes import FAILED, OUTCOMES, PASSED, SKIPPED
from tests.conformance.table import (
    DOCUMENT,
    FAILURE,
    HEAD,
    NOT_RUN,
    RULE,
    Outcomes,
    ended,
    every_check,
    key_of,
    line_of,
    recorded,
    result_of,
    table_of,
    with_table,
)

A_ROW = Row("x", "meter", "reads", ("t.py::a", "t.py::b[1]"))
GONE_LINE = "| y | – | meter | gone | pass |"
ITS_LINE = "| x | 1.0 | meter | reads | pass |"


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """Of this session; the checks that it has not run are run now."""
    missing = [check for check in every_check() if not ended(check, OUTCOMES)]
    return OUTCOMES | (table.run(missing) if missing else {})


@pytest.mark.stranger
@pytest.mark.timeout(table.RUN_S_MAX)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.counterpart}: {row.exercised}")
def test_a_row_says_what_was_seen(row: Row, outcomes: Outcomes) -> None:
    """To change it on purpose: make accept."""
    version, result = recorded(DOCUMENT.read_text(encoding="utf-8"))[key_of(row)]
    seen = result_of(row, outcomes)
    if row.checks and seen.startswith(NOT_RUN):
        pytest.skip(f"not run on this machine; the document says {result!r}")
    assert seen == result
    if row.counterpart in LOCKED:
        assert version == VERSIONS[row.counterpart]()


def test_the_table_has_these_rows_and_no_other() -> None:
    """In this order, from a run: none is left that failed, or that could have been run."""
    found = recorded(DOCUMENT.read_text(encoding="utf-8"))
    assert list(found) == [key_of(row) for row in ROWS]
    results = {key: result for key, (_, result) in found.items()}
    for row in ROWS:
        allowed = f"differs as expected: {row.fault}" if row.fault else "pass"
        assert results[key_of(row)] == (allowed if row.checks else f"{NOT_RUN}: {NEVER_RUN}")


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [
        ({"t.py::a": PASSED, "t.py::b[1]": PASSED, "t.py::b[2]": FAILED}, "pass"),
        ({"t.py::a[x]": PASSED, "t.py::a[y]": PASSED, "t.py::b[1]": PASSED}, "pass"),
        ({"t.py::a[x]": PASSED, "t.py::a[y]": FAILED, "t.py::b[1]": PASSED}, FAILURE),
        ({"t.py::a": PASSED, "t.py::ab": FAILED, "t.py::b[1]": PASSED}, "pass"),
        ({"t.py::a": FAILED}, FAILURE),
        ({"t.py::a": PASSED, "t.py::b[1]": SKIPPED}, "not run: not on this machine"),
        ({"t.py::a": PASSED, "t.py::ab": PASSED}, "not run: not on this machine"),
    ],
)
def test_a_result_is_that_of_all_its_checks(outcomes: Outcomes, result: str) -> None:
    """A failure counts before what was skipped; what did not run is no pass."""
    assert result_of(A_ROW, outcomes) == result
    known = A_ROW._replace(fault="sends nonsense")
    wanted = "differs as expected: sends nonsense" if result == "pass" else result
    assert result_of(known, outcomes) == wanted
    assert result_of(A_ROW._replace(checks=()), outcomes) == f"{NOT_RUN}: {NEVER_RUN}"


def test_what_cannot_be_run_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the document too."""
    monkeypatch.setattr(table, "ROWS", (A_ROW,))
    document = f"# Title\n\n{HEAD}\n{RULE}\n{ITS_LINE}\n{GONE_LINE}\n\n## Limits\n\n* one\n"
    lines = table_of({"t.py::a": SKIPPED}, {"x": "2.0"}, document)
    assert lines == [HEAD, RULE, ITS_LINE]
    assert with_table(document, lines) == document.replace(f"{GONE_LINE}\n", "")
    good = {"t.py::a": PASSED, "t.py::b[1]": PASSED}
    assert table_of(good, {"x": "2.0"}, document)[2] == line_of(A_ROW, "2.0", "pass")


def test_a_failure_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """`make accept` says which row it is, and leaves the document alone."""
    path = tmp_path_factory.mktemp("docs") / "conformance.md"
    path.write_text(f"{HEAD}\n{RULE}\n{ITS_LINE}\n")
    judge: Callable[[object], Outcomes] = lambda checks: {"t.py::a": FAILED}  # noqa: E731
    monkeypatch.setattr(table, "ROWS", (A_ROW,))
    monkeypatch.setattr(table, "DOCUMENT", path)
    monkeypatch.setattr(table, "run", judge)
    assert table.main() == 1
    assert capsys.readouterr().out == "failed: x, meter, reads\n"
    assert path.read_text() == f"{HEAD}\n{RULE}\n{ITS_LINE}\n"
