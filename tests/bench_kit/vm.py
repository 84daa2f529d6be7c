"""Bench `vm`: the same tests inside a guest with two 16550 UARTs, wired back to back.

In it, `--bench real` runs on /dev/ttyS1 and /dev/ttyS2: parity and rate go through a real driver
and a modelled chip, the clock is the guest's own. The model takes no wire time, so the guest's
bench is not "paced".
"""

import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

from tests.bench_kit.bench import Bench
from tests.bench_kit.guest import (
    KERNEL_VARIABLE,  # noqa: F401 - its users look for it here
    SHARE,
    Guest,
    missing,
    python,
    refuse,
)

RUN_S_MAX = 600.0
BENCH_FILE = """[line]
port = "/dev/ttyS1"
answers_on = "/dev/ttyS2"
baud = 2400
response_timeout_ms = 2000
gap_ms = 500
paced = false
"""


class Results(NamedTuple):
    """What the guest said of each test, or why there is no guest."""

    outcomes: dict[tuple[str, str], tuple[str, str]]
    reason: str

    def tell(self, item: pytest.Item) -> None:
        """Skips or fails as the test did in the guest; returns when it passed."""
        if self.reason:
            refuse(self.reason)
        module = item.nodeid.split("::")[0].removesuffix(".py").replace("/", ".")
        name = re.sub(r"(?<=[\[-])vm(?=[-\]])", "real", item.name)
        outcome, text = self.outcomes.get((module, name), ("failed", "the guest did not run it"))
        if outcome == "skipped":
            pytest.skip(text.replace("bench real", "bench vm"))
        if outcome == "failed":
            pytest.fail(f"in the guest: {text}", pytrace=False)


def back_to_back(folder: Path) -> str:
    """Words for qemu: ttyS1 and ttyS2 of the guest, joined at a socket in `folder`."""
    wire = folder / "wire"
    return (
        f"-chardev socket,id=near,path={wire},server=on,wait=off -serial chardev:near"
        f" -chardev socket,id=far,path={wire} -serial chardev:far"
    )


def run_in_guest(root: Path, items: Iterable[pytest.Item]) -> Results:
    """Boots a guest, runs the files of `items` in `root` there, and reads what it wrote."""
    if lacking := missing():
        return Results({}, f"bench vm needs {lacking}; see docs/bench.md")
    files = " ".join(sorted({one.nodeid.split("::")[0] for one in items}))
    with tempfile.TemporaryDirectory(prefix="busbar-vm-") as name:
        guest = Guest(Path(name), root)
        (guest.share / "bench.toml").write_text(BENCH_FILE)
        console = run_to_end(
            guest,
            python(
                "-m pytest -p no:cacheprovider --bench real"
                f" --bench-file {SHARE}/bench.toml --junitxml {SHARE}/junit.xml {files}"
            ),
            back_to_back(Path(name)),
        )
        junit = guest.share / "junit.xml"
        if not junit.exists():
            log = guest.share / "log"
            told = log.read_text() if log.exists() else console
            return Results({}, "the guest gave no results: " + told[-500:])
        return Results(dict(_outcomes(junit)), "")


def run_to_end(guest: Guest, script: str, devices: str) -> str:
    """Boots a guest, and waits until it has powered off. Its console."""
    with guest.boot(script, devices) as process:
        try:
            return process.communicate(timeout=RUN_S_MAX)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[0] + f"\nno end after {RUN_S_MAX:.0f} s"


def _outcomes(junit: Path) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    # The file is our own, written by our own pytest.
    for case in ET.parse(junit).iter("testcase"):
        outcome, text = "passed", ""
        for child in case:
            if child.tag in ("failure", "error"):
                outcome, text = "failed", (child.text or "")[-2000:]
            elif child.tag == "skipped" and outcome == "passed":
                outcome, text = "skipped", child.get("message", "")
        yield (case.get("classname", ""), case.get("name", "")), (outcome, text)


def make_bench(folder: Path, bench_file: Path | None) -> Bench:
    """A bench that nobody touches: the guest has run the test."""
    return Bench(folder)
