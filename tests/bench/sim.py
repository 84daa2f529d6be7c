"""Seeded worlds: how fast they are, and how much of the fault space they cover.

One process, fixed seeds. `sim_faults_covered` is the share of the table of what must happen
(`tests/sim/sometimes.py`) that did; how often each fault fired is told one by one.
"""

import time
from collections.abc import Iterator

from tests.sim.options import FAULTS, draw_day
from tests.sim.run import run_many
from tests.sim.sometimes import MINIMA, SEEDS_MIN, never_happened
from tests.sim.world import run_world


def measure() -> Iterator[tuple[str, float, str]]:
    """A run of worlds, then a day of twenty meters."""
    totals = run_many(0, SEEDS_MIN)
    assert not totals.failures, totals.failures
    yield "sim_seconds_per_second", totals.virtual_s / totals.real_s, "ratio"
    yield "sim_worlds_per_minute", 60 * totals.worlds / totals.real_s, "1/min"
    covered = 1 - len(never_happened(totals.marks)) / len(MINIMA)
    yield "sim_faults_covered", covered, "ratio"
    for name in FAULTS:
        yield f"sim_fault_{name}", totals.marks[name], f"in {SEEDS_MIN} worlds"
    started = time.monotonic()
    run_world(draw_day(1))
    yield "sim_day_of_20_meters", time.monotonic() - started, "s"
