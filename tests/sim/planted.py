"""Faults planted in a copy of the product, and the seed whose world finds each.

    python -m tests.sim.planted [--only NAME] [--seeds 50]

A seed counts only when its world is well without the fault. Exit code 1 when one is not found.
"""

import argparse
import functools
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SEEDS_MAX = 50
UNWELL_MAX = 3  # worlds that fail without the fault too, and are passed over
_PARTS = ("protocols", "edge", "cloud", "hil", "tests")
_TIMEOUT_S = 300
_SLIP = re.compile("AttributeError|ImportError|NameError|SyntaxError|TypeError")


class Fault(NamedTuple):
    """In `file`, `right` becomes `wrong`; `also` when one guard alone would still hold."""

    file: str
    right: str
    wrong: str
    also: "Fault | None" = None


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
        "        self.outbox.note_stored(taken, now)\n",
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
        "if ack.epoch != self._epoch or claims.epoch != self._epoch:",
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
        "            if is_sent:\n",
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
        "        self.trouble = str(error)\n        self._held.remove(self._held.all())\n",
    ),
    "message counters used again after a restart": Fault(
        "edge/journal/store.py",
        'self._set_mark("message_counter", first + COUNTER_BLOCK)',
        'self._set_mark("message_counter", first + 1)',
    ),
    "re-timed after it was sent": Fault(
        "edge/journal/readings.py",
        '"WHERE sequence > ? AND quality = ? AND origin = ?"',
        '"WHERE sequence > 0 * ? AND quality = ? AND origin = ?"',
    ),
    "nonces kept for ever": Fault(
        "edge/sync/session.py", "while len(self._nonces) > NONCES_MAX:", "while False:"
    ),
    "message of one gateway counts for another": Fault(
        "protocols/envelope/seal.py",
        "return [PROFILE, self.kind, self.sender, self.recipient, self.topic]",
        "return [PROFILE, self.kind]",
        Fault("protocols/envelope/keys.py", "if record.owner != owner:", "if False:"),
    ),
    "order asks for what another one wanted": Fault(
        "edge/orders/executor.py",
        "driver.read(line, self._order.obis, retries)",
        'driver.read(line, type(self._order.obis).from_text("1-0:72.7.0"), retries)',
    ),
    "unit not compared behind a TCP port": Fault(
        "edge/meters/modbus_tcp.py",
        "return header[6] == self.read.unit and self.read.take(pdu[:size])",
        "return self.read.take(pdu[:size])",
    ),
    "what was rolled back still remembered": Fault(
        "cloud/store/writer.py",
        '            self.db.execute("ROLLBACK")\n        self._forget()\n',
        '            self.db.execute("ROLLBACK")\n        self._sets = []\n',
    ),
    "slots-missed is not told": Fault(
        "edge/collect/poller.py", "self._tell_missed(task, missed)", "pass"
    ),
    "a restart forgets the slots": Fault(
        "edge/collect/poller.py",
        "self.schedule = Schedule(self.schedule.tasks.values(), last_slots)",
        "self.schedule = Schedule(self.schedule.tasks.values())",
    ),
}


def find(name: str, seeds: int = SEEDS_MAX) -> tuple[int | None, str]:
    """The first seed whose world finds the fault, and what it says; None when none does."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in _PARTS:
            shutil.copytree(
                ROOT / part, copy / part, ignore=shutil.ignore_patterns("node_modules", "*.pyc")
            )
        _plant(name, copy, PLANTED[name])
        first = 0
        for _ in range(UNWELL_MAX + 1):
            window = ("--first", str(first), "--seeds", str(seeds - first))
            done = _run(copy, *window, "--until-failure")
            found = re.search(r"(?m)^seed (\d+): (.*)", done.stdout)
            if found is None:
                return None, done.stderr[-300:]
            seed = int(found[1])
            if _SLIP.search(found[2]):
                return None, f"the fault itself does not run: {found[2]}"
            if _is_well(seed):
                return seed, found[2]
            first = seed + 1
    return None, f"seed {seed}, too, fails without the fault: {found[2]}"


@functools.cache
def _is_well(seed: int) -> bool:
    """Whether this world holds with the product as it is."""
    return _run(ROOT, "--seed", str(seed)).returncode == 0


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "tests.sim.run", *arguments)
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )


def _plant(name: str, copy: Path, fault: Fault) -> None:
    path = copy / fault.file
    text = path.read_text()
    if text.count(fault.right) != 1:
        raise LookupError(
            f"{name}: its place in {fault.file} stands {text.count(fault.right)} times"
        )
    path.write_text(text.replace(fault.right, fault.wrong))
    if fault.also is not None:
        _plant(name, copy, fault.also)


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
