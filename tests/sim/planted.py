"""Faults planted in a copy of the product, and the seed whose world finds each.

    python -m tests.sim.planted [--only NAME] [--seeds 50]

Exit code 1 when one is not found.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SEEDS_MAX = 50
_PARTS = ("protocols", "edge", "cloud", "hil", "tests")
_TIMEOUT_S = 300


class Fault(NamedTuple):
    """In `file`, `right` becomes `wrong`."""

    file: str
    right: str
    wrong: str


PLANTED = {
    "acknowledged before the commit": Fault(
        "cloud/ingest/ingest.py",
        "        self._store.commit()\n",
        "        self.counts['acks'] += self._acks.send(prepared)\n        self._store.commit()\n",
    ),
    "outbox emptied by the broker's word": Fault(
        "edge/sync/session.py",
        "        self.batches_sealed += 1\n",
        "        self.batches_sealed += 1\n"
        "        taken = self._call(self._journal.acknowledged)\n"
        "        taken.add(rows[0][0], rows[-1][0])\n"
        "        self.outbox.note_stored(taken)\n",
    ),
    "unacknowledged rows deleted": Fault(
        "edge/journal/store.py",
        "min(self.acknowledged().contiguous_from(1), self.head() - 1)",
        "self.head() - 1",
    ),
    "sequences used again after a restart": Fault(
        "edge/journal/store.py",
        "min(self.acknowledged().contiguous_from(1), self.head() - 1)",
        "self.acknowledged().contiguous_from(1)",
    ),
    "epoch of an acknowledgement not checked": Fault(
        "edge/sync/session.py",
        "if ack.epoch != self._journal.epoch or opened.claims.epoch != self._journal.epoch:",
        "if False:",
    ),
    "late answer stored": Fault(
        "protocols/dlt645/exchange.py",
        "        if not frame.data.startswith(self._di):\n            return False\n",
        "",
    ),
    "address not compared": Fault(
        "edge/meters/dlt645_driver.py",
        "if reply is None or reply[:2] != (self._asked.address, self._asked.data):",
        "if reply is None or reply[1] != self._asked.data:",
    ),
    "unit not compared": Fault(
        "edge/meters/modbus_rtu.py",
        "if self._buffer[at] == self.read.unit and self._answer_at(at):",
        "if self._answer_at(at):",
    ),
    "order carried out again after a restart": Fault(
        "edge/orders/inbox.py",
        "            if stored.state == OrderState.SENT:\n",
        "            if False:\n",
    ),
    "order that may have left called expired": Fault(
        "cloud/orders/desk.py",
        "is_here = row.order_id in self._never_sent",
        "is_here = row.state in (OrderState.DRAFT, OrderState.SIGNED, OrderState.QUEUED)",
    ),
    "commits not synced": Fault(
        "edge/journal/store.py", "PRAGMA synchronous=FULL;", "PRAGMA synchronous=NORMAL;"
    ),
    "readings dropped when the disk refuses": Fault(
        "edge/journal/writer.py",
        "        self.trouble = str(error)\n",
        "        self.trouble = str(error)\n        self._held.clear()\n",
    ),
    "what was rolled back still remembered": Fault(
        "cloud/store/writer.py",
        '            self.db.execute("ROLLBACK")\n        self._forget()\n',
        '            self.db.execute("ROLLBACK")\n        self._sets = []\n',
    ),
}


def find(name: str, seeds: int = SEEDS_MAX) -> tuple[int | None, str]:
    """The first seed whose world finds the fault, and what it says; None when none does."""
    fault = PLANTED[name]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in _PARTS:
            shutil.copytree(
                ROOT / part, copy / part, ignore=shutil.ignore_patterns("node_modules", "*.pyc")
            )
        path = copy / fault.file
        text = path.read_text()
        if text.count(fault.right) != 1:
            raise LookupError(
                f"{name}: its place in {fault.file} stands {text.count(fault.right)} times"
            )
        path.write_text(text.replace(fault.right, fault.wrong))
        command = (sys.executable, "-m", "tests.sim.run", "--seeds", str(seeds), "--until-failure")
        done = subprocess.run(
            command, cwd=copy, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    found = re.search(r"(?m)^seed (\d+): (.*)", done.stdout)
    return (int(found[1]), found[2]) if found else (None, done.stderr[-300:])


def main() -> int:
    """Plants each, and tells which seed found it."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.planted")
    parser.add_argument("--only", choices=tuple(PLANTED))
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX)
    options = parser.parse_args()
    missed = 0
    for name in PLANTED if options.only is None else [options.only]:
        seed, words = find(name, options.seeds)
        missed += seed is None
        print(f"{name}: {'NOT FOUND' if seed is None else f'seed {seed}'}: {words}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
