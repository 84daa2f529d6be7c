"""A gateway that loses its power: the journal's promises under kill -9 of a real process."""

import itertools
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from edge.journal.store import COUNTER_BLOCK, Journal
from tests.edge.fakes import make_set

ROOT = Path(__file__).parents[2]
SEED = 645
ROUNDS = 6


def run_until_killed(folder: Path, seed: int, lines: int) -> list[list[str]]:
    """What the child reported in whole lines before it was killed."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.edge.journal_child", str(folder), str(seed)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert child.stdout is not None
    with child.stdout as out:
        reported = [out.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        reported += out.read().splitlines(keepends=True)
    assert child.wait() == -signal.SIGKILL
    return [line.decode().split() for line in reported if line.endswith(b"\n")]


def test_what_was_reported_as_committed_survives_kill_9(tmp_path: Path) -> None:
    """Each committed sequence is there with its content, and no number comes twice."""
    rng = random.Random(SEED)
    committed = acknowledged = 0
    epochs, counters = set(), []
    for round_ in range(ROUNDS):
        reports = run_until_killed(tmp_path, SEED + round_, rng.randrange(2, 60))
        for what, *rest in reports:
            if what == "open":
                epochs.add(rest[0])
                assert int(rest[1]) >= committed, f"seed {SEED} round {round_}: rows are gone"
                assert rest[2] == "0", f"seed {SEED} round {round_}: put aside as damaged"
            elif what == "committed":
                assert int(rest[0]) > committed
                committed = int(rest[0])
            elif what == "counters":
                counters.append(int(rest[0]))
            else:
                acknowledged = int(rest[0])
    journal = Journal(tmp_path, 64)
    journal.open()
    assert journal.salvaged == ""
    assert epochs == {journal.epoch.hex()}
    assert journal.acknowledged().contiguous_from(1) >= acknowledged
    reader = journal.reader()
    rows = reader.rows(1, 1 << 62)
    assert [n for n, _ in rows] == list(range(1, len(rows) + 1))
    assert len(rows) >= committed > 0
    assert all(one == make_set(n) for n, one in rows)
    counters.append(journal.reserve_counters())
    assert all(b - a >= COUNTER_BLOCK for a, b in itertools.pairwise(counters))
    reader.close()
    journal.close()
