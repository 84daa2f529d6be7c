"""The part of pytest that knows benches: --bench, --bench-file, `needs`, and one line a bench.

A test with the fixture `bench` runs once on every bench asked for; without --bench these are those
that need nothing: sim and pty. What a bench cannot do is skipped, and says what is missing.
"""

import importlib
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from protocols.errors import SettingError
from tests.bench_kit.features import FEATURES

if TYPE_CHECKING:
    from tests.bench_kit.bench import Bench

# Benches are imported where they are made: what breaks one must not end tests that need none.
BENCHES = ("sim", "pty", "vm", "head", "real")
_MODULES = {"sim": "sim", "pty": "pseudo", "vm": "vm", "real": "real"}
BY_DEFAULT = ("sim", "pty")
NO_HEAD = "bench head is reserved for the MicroPython serial head, which does not exist yet"
_BENCH = "bench_name"
_RESULTS = pytest.StashKey[dict[str, Counter[str]]]()
_REASONS = pytest.StashKey[dict[str, set[str]]]()
_GUEST = pytest.StashKey[Any]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--bench NAME`, more than once for several, and the file of the real one."""
    group = parser.getgroup("bench", "where tests of lines and meters run")
    group.addoption(
        "--bench", action="append", choices=BENCHES, help="bench to test on (sim and pty)"
    )
    group.addoption("--bench-file", type=Path, metavar="FILE", help="what --bench real is wired to")


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker; a real bench without a good file ends the run here."""
    config.addinivalue_line(
        "markers", "needs(feature, ...): skipped on a bench without them; see tests/bench_kit"
    )
    config.stash[_RESULTS] = {}
    config.stash[_REASONS] = {}
    if "real" not in asked_benches(config):
        return
    try:
        _make_bench("real", config, Path())
    except SettingError as error:
        raise pytest.UsageError(str(error)) from None


def asked_benches(config: pytest.Config) -> tuple[str, ...]:
    """Those of the command line, each once."""
    return tuple(dict.fromkeys(config.getoption("--bench") or BY_DEFAULT))


def pytest_report_header(config: pytest.Config) -> str:
    """Which benches the results come from."""
    return "bench: " + ", ".join(asked_benches(config))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Once for each bench."""
    if _BENCH in metafunc.fixturenames:
        metafunc.parametrize(_BENCH, asked_benches(metafunc.config), scope="function")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A word that is no feature would skip a test for ever."""
    for item in items:
        unknown = sorted(_needs(item) - set(FEATURES))
        if unknown:
            raise pytest.UsageError(
                f"{item.nodeid} needs {unknown[0]!r}; allowed are " + ", ".join(FEATURES)
            )


@pytest.fixture
def bench(bench_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> "Iterator[Bench]":
    """The bench of this run of the test, closed afterwards."""
    made = _make_bench(bench_name, request.config, tmp_path)
    try:
        missing = bench_name != "vm" and sorted(_needs(request.node) - made.features)
        if missing:
            pytest.skip(f"bench {made.name} lacks {', '.join(missing)}")
        yield made
    finally:
        made.close()


def _make_bench(name: str, config: pytest.Config, folder: Path) -> "Bench":
    if name == "head":
        pytest.skip(NO_HEAD)
    module = importlib.import_module(f"tests.bench_kit.{_MODULES[name]}")
    made: Bench = module.make_bench(folder, config.getoption("--bench-file"))
    return made


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test of bench vm becomes the result that the guest gave."""
    if bench_of(pyfuncitem) != "vm":
        return None
    pyfuncitem.config.stash[_GUEST].tell(pyfuncitem)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Tests of bench vm run in the guest, all of them before the first is told of."""
    items = [one for one in session.items if bench_of(one) == "vm"]
    if items and not session.config.option.collectonly:
        vm = importlib.import_module("tests.bench_kit.vm")
        session.config.stash[_GUEST] = vm.run_in_guest(session.config.rootpath, items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """For JUnit XML and other reports."""
    if bench_of(item):
        item.user_properties.append(("bench", bench_of(item)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Counts what became of the test, once, under its bench."""
    report = yield
    name = bench_of(item)
    if name and (report.when == "call" or report.outcome != "passed"):
        counts = item.config.stash[_RESULTS].setdefault(name, Counter())
        counts["error" if report.failed and report.when != "call" else report.outcome] += 1
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            item.config.stash[_REASONS].setdefault(name, set()).add(reason)
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """One line a bench, and what kept tests from it."""
    results = config.stash[_RESULTS]
    if not results:
        return
    terminalreporter.section("benches")
    for name, counts in results.items():
        words = ", ".join(f"{counts[one]} {one}" for one in ("passed", "failed", "skipped"))
        words += f", {counts['error']} error" if counts["error"] else ""
        terminalreporter.line(f"bench {name}: {words}")
        for reason in sorted(config.stash[_REASONS].get(name, ())):
            terminalreporter.line(f"    {reason}")


def bench_of(item: pytest.Item) -> str:
    """The bench that a test runs on; "" for a test that knows none."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(_BENCH, "") if callspec is not None else ""


def _needs(item: pytest.Item) -> set[str]:
    return {word for mark in item.iter_markers("needs") for word in mark.args}
