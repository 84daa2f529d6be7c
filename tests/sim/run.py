"""`python -m tests.sim.run --seeds 1000 --first 0`, or `--seed N` to replay one world.

Prints a line for each world that fails, with the command that replays it, and in the end what
happened how often. Exit code 1 when a world failed, or when a fault that must occur did not.
"""

import argparse
import hashlib
import os
import sys
import time
from collections import Counter
from multiprocessing import get_context

from tests.sim.options import draw
from tests.sim.rows import BrokenError
from tests.sim.sometimes import SEEDS_MIN, never_happened, table
from tests.sim.world import Outcome, run_world

SHOWN_MAX = 60  # lines of history before a failure


def replay_command(seed: int) -> str:
    """What replays a world."""
    return f"python -m tests.sim.run --seed {seed}"


def run_seed(seed: int, trace: list[str] | None = None) -> Outcome | str:
    """The outcome of a seed's world, or why it failed."""
    try:
        return run_world(draw(seed), trace)
    except (Exception, BrokenError) as error:  # noqa: BLE001  # whatever ends a world is a finding
        words = str(error) or "it raised"
        return f"seed {seed}: {type(error).__name__}: {words}\n  replay: {replay_command(seed)}"


class Totals:
    """What the worlds of one run came to."""

    def __init__(self) -> None:
        self.marks: Counter[str] = Counter()
        self.failures: list[str] = []
        self.worlds = 0
        self.sets = 0
        self.virtual_s = 0.0
        self.recovery_s_max = 0.0
        self.real_s = 0.0
        self._history = hashlib.blake2b(digest_size=16)

    def add(self, outcome: Outcome | str) -> None:
        """One more world."""
        self.worlds += 1
        if isinstance(outcome, str):
            self.failures.append(outcome)
            return
        self.marks += outcome.marks
        self.sets += outcome.sets
        self.virtual_s += outcome.virtual_s
        self.recovery_s_max = max(self.recovery_s_max, outcome.recovery_s)
        self._history.update(outcome.digest.encode())

    @property
    def digest(self) -> str:
        """Of all histories."""
        return self._history.hexdigest()

    def summary(self) -> str:
        """Figures for a person."""
        return (
            f"{self.worlds} worlds, {len(self.failures)} failed; {self.sets} reading sets stored;"
            f" {self.virtual_s:.0f} s of theirs in {self.real_s:.1f} s of ours"
            f" ({self.virtual_s / max(self.real_s, 0.001):.0f} to 1,"
            f" {60 * self.worlds / max(self.real_s, 0.001):.0f} worlds a minute);"
            f" all well again within {self.recovery_s_max:.0f} s; history {self.digest}"
        )


def run_many(first: int, count: int, jobs: int = 1, until_failure: bool = False) -> Totals:
    """The worlds of these seeds, in `jobs` processes; their order never matters."""
    totals = Totals()
    started = time.monotonic()
    seeds = range(first, first + count)
    if jobs == 1:
        for seed in seeds:
            totals.add(run_seed(seed))
            if totals.failures and until_failure:
                break
    else:
        with get_context("spawn").Pool(jobs) as pool:
            for outcome in pool.imap(run_seed, seeds, chunksize=4):
                totals.add(outcome)
    totals.real_s = time.monotonic() - started
    return totals


def main() -> int:
    """Runs what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.run")
    parser.add_argument("--seed", type=int, help="replay this world and tell its history")
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--history", action="store_true", help="print a world's whole history")
    parser.add_argument("--until-failure", action="store_true", help="end with the first failure")
    options = parser.parse_args()
    if options.seed is not None:
        return _replay(options.seed, options.history)
    print(f"seeds {options.first} to {options.first + options.seeds - 1}")
    jobs = 1 if options.until_failure else options.jobs
    totals = run_many(options.first, options.seeds, jobs, options.until_failure)
    for failure in totals.failures:
        print(failure)
    never = never_happened(totals.marks) if totals.worlds >= SEEDS_MIN else []
    print(table(totals.marks))
    for name in never:
        print(f"never happened often enough: {name}")
    print(totals.summary())
    return 1 if totals.failures or never else 0


def _replay(seed: int, is_whole: bool) -> int:
    options = draw(seed)
    print(options.described())
    history: list[str] = []
    outcome = run_seed(seed, history)
    shown = history if is_whole else history[-SHOWN_MAX:] if isinstance(outcome, str) else []
    for line in shown:
        print(line)
    if isinstance(outcome, str):
        print(outcome)
        return 1
    print(f"seed {seed}: history {outcome.digest}, {outcome.sets} reading sets stored")
    return 0


if __name__ == "__main__":
    sys.exit(main())
