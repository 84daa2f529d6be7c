"""Seeded worlds: fresh ones for every state of the code, and a few whose seeds are fixed."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from tests.sim.options import DAY_METERS, draw, draw_day
from tests.sim.run import replay_command, run_many, run_seed
from tests.sim.sometimes import MINIMA, SEEDS_MIN, never_happened
from tests.sim.world import Outcome, run_world

FRESH = int(os.environ.get("BUSBAR_SIM_SEEDS", "50"))
CODE = ("protocols", "edge", "cloud", "hil", "tests/sim")
ROOT = Path(__file__).parents[2]
JOBS = min(os.cpu_count() or 1, 4)
FIXED = (0, 3, 7, 10, 46)
pytestmark = pytest.mark.timeout(900)  # many worlds, on a machine that others use too
PER_PERIOD_MIN = 0.5  # of a day's slots that are read and stored, in spite of its faults


def _first_seed() -> int:
    """Drawn from the code itself: one state of it has one verdict, and every change meets worlds
    that nobody has seen."""
    found = hashlib.sha256()
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            found.update(path.read_bytes())
    return int.from_bytes(found.digest()[:4], "big")


def test_fresh_worlds_keep_every_promise(capsys: pytest.CaptureFixture[str]) -> None:
    """They are told, whatever comes of them."""
    first = _first_seed()
    with capsys.disabled():
        print(f"\nfresh worlds: python -m tests.sim.run --first {first} --seeds {FRESH}")
    totals = run_many(first, FRESH, JOBS)
    assert totals.failures == []
    assert totals.worlds == FRESH and totals.sets > FRESH
    assert FRESH < SEEDS_MIN or never_happened(totals.marks) == []


@pytest.mark.parametrize("seed", FIXED)
def test_a_fixed_world_keeps_every_promise(seed: int) -> None:
    """One commit has one verdict."""
    outcome = run_seed(seed)
    assert isinstance(outcome, Outcome), outcome
    assert outcome.sets > 0


def test_a_day_of_twenty_meters(capsys: pytest.CaptureFixture[str]) -> None:
    """Read every quarter of an hour, with faults all day long."""
    started = time.monotonic()
    options = draw_day(1)
    outcome = run_world(options)
    with capsys.disabled():
        print(f"\na day of {DAY_METERS} meters: {time.monotonic() - started:.1f} s")
    slots = options.chaos_s // options.gateways[0].period_s * DAY_METERS
    assert outcome.sets > PER_PERIOD_MIN * slots


def test_a_fault_that_never_struck_is_told() -> None:
    """The table of what must have happened fails a run in which something did not."""
    totals = run_many(0, 1)
    assert never_happened(totals.marks)
    for name in MINIMA:
        totals.marks[name] = MINIMA[name]
    assert never_happened(totals.marks) == []
    totals.marks["collision"] = 0
    assert [one.split()[0] for one in never_happened(totals.marks)] == ["collision"]


def test_other_seeds_are_other_worlds() -> None:
    """What is drawn follows from the seed, and says all of it."""
    assert draw(5) == draw(5) != draw(6)
    assert all(one.name in draw(5).described() for one in draw(5).strikes)
    assert replay_command(5) == "python -m tests.sim.run --seed 5"
