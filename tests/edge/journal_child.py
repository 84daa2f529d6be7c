"""Appends until it is killed, and reports each commit: `journal_child.py FOLDER SEED`."""

import random
import sys
from pathlib import Path

from edge.journal.store import Journal
from tests.edge.fakes import make_set


def main() -> None:
    """Appends groups of random size; a purge and an acknowledgement now and then."""
    rng = random.Random(int(sys.argv[2]))
    journal = Journal(Path(sys.argv[1]), 64)
    journal.open()
    print("open", journal.epoch.hex(), journal.head(), int(bool(journal.salvaged)), flush=True)
    while True:
        if rng.random() < 0.2:
            print("counters", journal.reserve_counters(), flush=True)
        number = journal.head() + 1
        last = journal.append([make_set(number + n) for n in range(rng.randrange(1, 20))])
        print("committed", last, flush=True)
        if rng.random() < 0.1:
            journal.acknowledge(last // 2, [])
            print("acknowledged", last // 2, flush=True)


if __name__ == "__main__":
    main()
