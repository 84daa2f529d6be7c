"""`make mutants`: plants one fault at a time into a copy of the tree; the tests must catch each.

* The faults stand in `planted.toml`, each with the tests that are expected to catch it.
* First these tests run on the copy as it is: all must pass, or nothing said later means anything.
* A fault is `caught` when a test fails. It has `survived` when none does, is `stale` when its text
  no longer stands exactly once in its file, and `broken` when the copy could not even be collected.
  It is `elsewhere` when what the tests imported did not lie in the copy. Only the first is good.

Exit code 0 when every fault was caught, 1 otherwise, 2 for a name that no fault has.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("planted.toml")
COPIED = ("protocols", "edge", "cloud", "hil", "provisioning", "scripts", "tests", "pyproject.toml")
AT_ONCE = 2
SELECTION_S_MAX = 900  # of one run of pytest; a test that hangs ends sooner, by:
TEST_S_MAX = 60
WATCH = "tests.mutants.watch"  # pytest's plugin that tells what failed and what was imported

CAUGHT, SURVIVED, STALE = "caught", "survived", "stale"
BROKEN, ELSEWHERE = "broken", "elsewhere"


class Mutant(NamedTuple):
    """One fault: in `file` the text `old`, which stands there once, becomes `new`."""

    name: str
    breaks: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


class Verdict(NamedTuple):
    """What became of a fault. `by` is the first test that failed, or why there is none."""

    status: str
    by: str
    seconds: float


def load(path: Path = TABLE) -> tuple[Mutant, ...]:
    """The planted faults; ValueError for one that is incomplete or has the name of another."""
    rows = tomllib.loads(path.read_text())["mutant"]
    mutants = []
    for row in rows:
        if set(row) != set(Mutant._fields):
            raise ValueError(f"{row.get('name')}: has {sorted(row)}")
        mutants.append(Mutant(**(row | {"tests": tuple(row["tests"])})))
    if len({one.name for one in mutants}) != len(mutants):
        raise ValueError("two mutants have one name")
    return tuple(mutants)


def copy_tree(into: Path, root: Path = ROOT) -> Path:
    """A copy of what the tests need, without what was built from it."""
    left_out = shutil.ignore_patterns("__pycache__", "node_modules", ".hypothesis")
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, into / name, ignore=left_out)
        else:
            shutil.copy2(source, into / name)
    return into


def staleness(mutant: Mutant, root: Path) -> str:
    """Why the fault cannot be planted in this tree; "" when it can."""
    path = root / mutant.file
    if not path.is_file():
        return f"{mutant.file} is gone"
    count = path.read_text().count(mutant.old)
    if count != 1:
        return f"its text stands {count} times in {mutant.file}"
    for test in mutant.tests:
        name, _, function = test.partition("::")
        if not (root / name).is_file():
            return f"{name} is gone"
        if function and f"def {function.rpartition('::')[2]}(" not in (root / name).read_text():
            return f"{test} is gone"
    return ""


class Copy:
    """A copy of the tree in which faults are planted, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ages = itertools.count(1)

    def tried(self, mutant: Mutant) -> Verdict:
        """Plants the fault, runs its tests, and takes it out again."""
        started_at = time.monotonic()
        status, by = STALE, staleness(mutant, self.folder)
        if not by:
            path = self.folder / mutant.file
            whole = path.read_text()
            self._write(path, whole.replace(mutant.old, mutant.new))
            try:
                status, by = self.run(mutant.tests, mutant.file)
            finally:
                self._write(path, whole)
        return Verdict(status, by, time.monotonic() - started_at)

    def run(self, tests: Iterable[str], file: str) -> tuple[str, str]:
        """Runs these tests until the first fails: (status, by). `file` is a file of the product,
        and what the tests imported of it must lie in the copy."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            WATCH,
            "-p",
            "no:cacheprovider",
        ]
        command += [f"--timeout={TEST_S_MAX}", "--no-header", "--tb=short", *tests]
        # The editable install names the original: the copy must come before it, in children too.
        own = {"PYTHONPATH": str(self.folder), "BUSBAR_WATCH": f"{file}|{report}"}
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=os.environ | own,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SELECTION_S_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return CAUGHT, f"(no end within {SELECTION_S_MAX} s)"
        if not report.exists():
            return BROKEN, done.stdout[-1000:]
        told = json.loads(report.read_text())
        if not Path(told["imported"]).is_relative_to(self.folder):
            return ELSEWHERE, told["imported"] or f"{file} was not imported"
        if told["failed"]:
            return CAUGHT, told["failed"][0]
        return (SURVIVED, "") if done.returncode == 0 else (BROKEN, done.stdout[-1000:])

    def _write(self, path: Path, text: str) -> None:
        """With an age of its own: Python knows its compiled files by second and size, and a fault
        may have the size of what it replaces."""
        path.write_text(text)
        age = time.time() - 1_000_000 + next(self._ages)
        os.utime(path, (age, age))


@contextmanager
def copies(count: int) -> Iterator[list[Copy]]:
    """Copies of the tree as it is now, all alike."""
    with tempfile.TemporaryDirectory(prefix="busbar-mutants-") as folder:
        first = copy_tree(_made(Path(folder).resolve() / "copy-0"))
        others = [Path(folder).resolve() / f"copy-{n}" for n in range(1, count)]
        yield [Copy(first)] + [Copy(copy_tree(_made(other), first)) for other in others]


def _cut(words: str) -> str:
    """One line of the table; a test's parameters may be long."""
    words = words.removeprefix("tests/")
    return words if len(words) <= 100 else words[:99] + "…"


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def union(mutants: Iterable[Mutant]) -> list[str]:
    """All tests of these faults, those of one file together; a whole file stands for its parts."""
    tests = {test for one in mutants for test in one.tests}
    return sorted(test for test in tests if "::" not in test or test.split("::")[0] not in tests)


def show(mutants: Iterable[Mutant], at_once: int) -> int:
    """Tries all of them and prints what caught each; the exit code."""
    mutants = tuple(mutants)
    with copies(at_once) as idle:
        begun_at = time.monotonic()
        tests = union(one for one in mutants if not staleness(one, ROOT))
        status, by = idle[0].run(tests, mutants[0].file) if tests else (SURVIVED, "")
        if status != SURVIVED:
            print(f"without any fault the tests are {status}: {by}")
            return 1
        seconds = time.monotonic() - begun_at
        print(f"without any fault all tests pass ({seconds:.0f} s)\n", flush=True)
        print(f"{'mutant':<40} | {'caught by':<100} | seconds")
        lock = threading.Lock()

        def take(mutant: Mutant) -> Verdict:
            with lock:
                copy = idle.pop()
            verdict = copy.tried(mutant)
            with lock:
                idle.append(copy)
                told = verdict.by if verdict.status == CAUGHT else verdict.status.upper()
                print(f"{mutant.name:<40} | {_cut(told):<100} | {verdict.seconds:7.1f}", flush=True)
            return verdict

        with ThreadPoolExecutor(at_once) as pool:
            verdicts = list(pool.map(take, mutants))
    missed = [pair for pair in zip(mutants, verdicts, strict=True) if pair[1].status != CAUGHT]
    for mutant, verdict in missed:
        print(f"\n{mutant.name} {verdict.status}: {mutant.breaks}\n{verdict.by}".rstrip())
    took = time.monotonic() - begun_at
    print(f"\n{len(mutants) - len(missed)} of {len(mutants)} caught ({took:.0f} s)")
    return 1 if missed else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="faults whose name begins with this")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="runs beside each other")
    options = parser.parse_args()
    chosen = [one for one in load() if one.name.startswith(options.only)]
    if not chosen:
        print(f"no mutant is called {options.only}", file=sys.stderr)
        return 2
    return show(chosen, max(options.at_once, 1))


if __name__ == "__main__":
    sys.exit(main())
