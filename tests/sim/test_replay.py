"""One seed has one history, in every process; and what a checker finds is told with its replay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.journal.store import Journal
from tests.sim.planted import PLANTED, ROOT, find
from tests.sim.run import run_seed
from tests.sim.world import Outcome

SEED = 0
QUICK = (
    "outbox emptied by the broker's word",
    "unit not compared",
    "message counters used again after a restart",
    "message of one gateway counts for another",
)


def history_of(seed: int, hash_seed: str) -> str:
    """The digest that another process tells."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = (sys.executable, "-m", "tests.sim.run", "--seed", str(seed))
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.rsplit("history ", 1)[1].split(",")[0]


def test_a_world_has_one_history() -> None:
    """Twice in this process, and in two others with other hashes."""
    first, second = run_seed(SEED), run_seed(SEED)
    assert isinstance(first, Outcome) and isinstance(second, Outcome)
    assert first == second
    assert {history_of(SEED, "1"), history_of(SEED, "2")} == {first.digest}


def test_a_failure_tells_its_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same words each time, and the command."""

    def forgetful(self: Journal, before_ms: int, fill: float) -> int:
        return self._db.execute(
            "DELETE FROM reading_set WHERE sequence < (SELECT max(sequence) FROM reading_set)"
        ).rowcount

    monkeypatch.setattr(Journal, "purge", forgetful)
    first = run_seed(SEED)
    assert isinstance(first, str) and first == run_seed(SEED)
    assert "was deleted" in first
    assert first.endswith(f"replay: python -m tests.sim.run --seed {SEED}")


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_fault_is_found(name: str) -> None:
    """In a copy of the product; `python -m tests.sim.planted` tries all of them."""
    assert name in PLANTED and Path(ROOT / PLANTED[name].file).is_file()
    seed, words = find(name)
    assert seed is not None, words
