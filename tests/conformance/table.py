"""The table in docs/conformance.md, from how the strangers' tests ended.

`make accept` runs them all and writes it, on purpose; a row that this machine cannot run stays as
it was. Nothing is written when a check fails.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conformance.cases import NEVER_RUN, ROOT, ROWS, VERSIONS, Row
from tests.conformance.outcomes import FAILED, FILE_VARIABLE, PASSED

DOCUMENT = ROOT / "docs" / "conformance.md"
HEAD = "| counterpart | version | its role | what was exercised | result |"
RULE = "| --- | --- | --- | --- | --- |"
NOT_RUN = "not run"
FAILURE = "FAILED"
RUN_S_MAX = 900.0

Outcomes = dict[str, str]


def ended(check: str, outcomes: Outcomes) -> list[str]:
    """How a check's tests ended; [] when none of them ran."""
    return [
        outcome
        for test, outcome in outcomes.items()
        if test == check or test.startswith(check + "[")
    ]


def result_of(row: Row, outcomes: Outcomes) -> str:
    """The last cell of a row."""
    if not row.checks:
        return f"{NOT_RUN}: {NEVER_RUN}"
    found = [ended(check, outcomes) for check in row.checks]
    if any(FAILED in one for one in found):
        return FAILURE
    if not all(one and set(one) == {PASSED} for one in found):
        return f"{NOT_RUN}: not on this machine"
    return f"differs as expected: {row.fault}" if row.fault else "pass"


def line_of(row: Row, version: str, result: str) -> str:
    """A row as Markdown."""
    cells = (row.counterpart, version or "–", row.role, row.exercised, result)
    return f"| {' | '.join(cells)} |"


def recorded(text: str) -> dict[tuple[str, str, str], tuple[str, str]]:
    """(counterpart, role, exercised) -> (version, result) in a document."""
    found = {}
    for line in text.partition(RULE)[2].strip().splitlines():
        if not line.startswith("| "):
            break
        counterpart, version, role, exercised, result = line.strip("| ").split(" | ")
        found[counterpart, role, exercised] = (version, result)
    return found


def key_of(row: Row) -> tuple[str, str, str]:
    """What names a row."""
    return row.counterpart, row.role, row.exercised


def table_of(outcomes: Outcomes, versions: dict[str, str], before: str) -> list[str]:
    """The table's lines. `before` is the document that there is: what this machine cannot run stays
    as it stands there."""
    known = recorded(before)
    lines = [HEAD, RULE]
    for row in ROWS:
        version, result = versions.get(row.counterpart, ""), result_of(row, outcomes)
        if row.checks and result.startswith(NOT_RUN):
            version, result = known.get(key_of(row), (version, result))
        lines.append(line_of(row, version, result))
    return lines


def with_table(document: str, lines: list[str]) -> str:
    """The document with its table replaced."""
    before, _, behind = document.partition(HEAD)
    rest = behind.splitlines()[1:]
    while rest and rest[0].startswith("| "):
        rest = rest[1:]
    return "\n".join([before + lines[0], *lines[1:], *rest]).rstrip("\n") + "\n"


def run(checks: Iterable[str]) -> Outcomes:
    """Runs these tests in a process of their own."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "outcomes.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conformance.outcomes"]
        done = subprocess.run(
            [*command, *checks],
            cwd=ROOT,
            env=os.environ | {FILE_VARIABLE: str(file)},
            capture_output=True,
            text=True,
            timeout=RUN_S_MAX,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise RuntimeError(done.stdout + done.stderr)
        outcomes: Outcomes = json.loads(file.read_text(encoding="utf-8"))
        if done.returncode:
            sys.stdout.write(done.stdout)
        return outcomes


def every_check() -> list[str]:
    """The checks of all rows, each once."""
    return list(dict.fromkeys(check for row in ROWS for check in row.checks))


def main() -> int:
    """Runs every check and writes the table; 1 when a check failed, and then nothing is written."""
    outcomes = run(every_check())
    results = {key_of(row): result_of(row, outcomes) for row in ROWS}
    failed = [key for key, result in results.items() if result == FAILURE]
    for key in failed:
        sys.stdout.write(f"failed: {', '.join(key)}\n")
    if failed:
        return 1
    versions = {name: find() for name, find in VERSIONS.items()}
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_table(text, table_of(outcomes, versions, text)), encoding="utf-8")
    for row in ROWS:
        if row.checks and results[key_of(row)].startswith(NOT_RUN):
            sys.stdout.write(f"not run here, row kept: {', '.join(key_of(row))}\n")
    sys.stdout.write(f"{len(ROWS)} rows of docs/conformance.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
