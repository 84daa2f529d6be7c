"""Cuts the power of one part again and again, and keeps book of what it had promised.

A book hears each report, and answers with the promises that were broken since: none for the product
as it is, some for one that was weakened on purpose.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edge.journal.store import COUNTER_BLOCK
from hil.cut_disk import DEVICE, CutDisk, missing
from hil.cut_disk_model import CUT_MODES
from tests.conftest import REQUIRE_ALL
from tests.system.power_child import DONE, POWERLESS

ROOT = Path(__file__).parents[2]
FIRST_STEP = 10_000  # between the numbers of two lives, so that none says what another said
Report = list[list[Any]]


class GatewayBook:
    """What the gateway has told: to the head end, on the line, and to itself."""

    # The cut comes at the latest at one of these changes, or when the act has ended: while the
    # files are opened, or in the midst of the work.
    changes_max = (60, 400, 400)

    def __init__(self) -> None:
        self.rows: dict[int, int] = {}  # sequence -> number in its content
        self.epoch = ""
        self.taken: list[int] = []
        self._stored = self._purged = 0
        self._counters: list[int] = []
        self._bytes: list[int] = []
        self._marked = 0
        self._holes = {0}
        self._lost_rows: set[int] = set()

    @property
    def lost_rows(self) -> int:
        """Acknowledged rows that were gone after a cut."""
        return len(self._lost_rows)

    def hear(self, reports: Report) -> list[str]:
        """Broken promises, in words."""
        broken: list[str] = []
        for what, *told in reports:
            broken += getattr(self, f"_hear_{what}")(*told) or []
        return broken

    def _hear_open(self, epoch: str, salvaged: str) -> list[str]:
        former, self.epoch = self.epoch, epoch
        if salvaged:
            return [f"the journal was put aside: {salvaged}"]
        return ["another epoch"] if former not in ("", epoch) else []

    def _hear_integrity(self, verdict: str) -> list[str]:
        return [] if verdict == "ok" else [f"integrity_check: {verdict}"]

    def _hear_rows(self, rows: list[list[int]]) -> list[str]:
        found = dict(rows)
        gone = [n for n in self.rows if n > self._purged and found.get(n) != self.rows[n]]
        self._lost_rows.update(gone)
        sequences = sorted(found)
        whole = not found or sequences[-1] - sequences[0] + 1 == len(found)
        broken = [f"sequences {gone} are gone or say something else"] if gone else []
        return broken if whole else [*broken, "a hole among the sequences"]

    def _hear_stored(self, ranges: list[list[int]]) -> list[str]:
        upto = ranges[0][1] if ranges and ranges[0][0] == 1 else 0
        return [f"acknowledged up to {self._stored}, now {upto}"] if upto < self._stored else []

    def _hear_orders(self, states: dict[str, str]) -> list[str]:
        broken = [f"order {one} is gone" for one in self.taken if str(one) not in states]
        early = ("received", "verified")
        broken += [
            f"order {n} is {states.get(str(n))} although it was on the line"
            for n in self._bytes
            if states.get(str(n)) in (None, *early)
        ]
        return broken

    def _hear_mark(self, value: int) -> list[str]:
        return [f"the mark fell from {self._marked} to {value}"] if value < self._marked else []

    def _hear_hole(self, value: int) -> list[str]:
        kept, self._holes = self._holes, {value}
        return [] if value in kept else [f"the learned holes say {value}, not one of {kept}"]

    def _hear_committed(self, last: int, numbers: list[int]) -> list[str]:
        sequences = range(last - len(numbers) + 1, last + 1)
        again = [n for n in sequences if n in self.rows]
        self.rows.update(zip(sequences, numbers, strict=True))
        return [f"sequences {again} were given twice"] if again else []

    def _hear_counters(self, first: int) -> list[str]:
        former = self._counters[-1] if self._counters else first - COUNTER_BLOCK
        self._counters.append(first)
        return [] if first - former >= COUNTER_BLOCK else [f"counter {first} was given twice"]

    def _hear_acknowledged(self, upto: int) -> None:
        self._stored = max(self._stored, upto)

    def _hear_purging(self, upto: int) -> None:
        self._purged = max(self._purged, upto)

    def _hear_learning(self, hole: int) -> None:
        self._holes.add(hole)

    def _hear_learned(self, hole: int) -> None:
        self._holes = {hole}

    def _hear_taken(self, counter: int) -> None:
        self.taken.append(counter)
        self._marked = counter

    def _hear_byte(self, counter: int) -> list[str]:
        again = counter in self._bytes
        self._bytes.append(counter)
        return [f"order {counter} was on the line twice"] if again else []

    def _hear_again(self, counter: int) -> list[str]:
        return [f"order {counter} was taken up twice"]


class HeadEndBook:
    """What the head end has told gateways."""

    changes_max = (40, 300, 300)
    taken: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._stored: set[int] = set()
        self._ledger: list[list[int]] = []
        self._ack_counter = 0
        self._orders: dict[int, str] = {}
        self._lost_rows: set[int] = set()

    @property
    def lost_rows(self) -> int:
        """Acknowledged rows that were gone after a cut."""
        return len(self._lost_rows)

    def hear(self, reports: Report) -> list[str]:
        """Broken promises, in words."""
        broken: list[str] = []
        if ["found", 0] in reports and self._stored:
            self._lost_rows |= self._stored
            broken.append("the database is empty")
        for what, *told in reports:
            broken += getattr(self, f"_hear_{what}")(*told) or []
        return broken

    def _hear_integrity(self, verdict: str) -> list[str]:
        return [] if verdict == "ok" else [f"integrity_check: {verdict}"]

    def _hear_found(self, epochs: int) -> None:
        """How many lives of gateways it knows; judged before all others."""

    def _hear_ledger(self, ranges: list[list[int]]) -> None:
        self._ledger = ranges

    def _hear_rows(self, ranges: list[list[int]]) -> list[str]:
        broken = [] if ranges == self._ledger else [f"rows {ranges}, ledger {self._ledger}"]
        gone = self._stored - _spread(ranges)
        self._lost_rows |= gone
        return [*broken, f"rows {sorted(gone)} are gone"] if gone else broken

    def _hear_wrong(self, sequences: list[int]) -> list[str]:
        return [f"row {one} says something else" for one in sequences]

    def _hear_acked(self, counter: int, upto: int, ranges: list[list[int]]) -> list[str]:
        former, self._ack_counter = self._ack_counter, counter
        self._stored |= _spread([[1, upto], *ranges])
        return [] if counter > former else [f"acknowledgement {counter} comes after {former}"]

    def _hear_ordered(self, counter: int, order_id: str) -> list[str]:
        first = self._orders.setdefault(counter, order_id)
        return [] if first == order_id else [f"order counter {counter} was given twice"]


class ProvisioningBook:
    """What the technician was told to be made."""

    changes_max = (60, 300)
    taken: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._gateways: set[str] = set()

    def hear(self, reports: Report) -> list[str]:
        """Broken promises, in words."""
        broken: list[str] = []
        for what, *told in reports:
            broken += getattr(self, f"_hear_{what}")(*told) or []
        return broken

    def _hear_files(self, found: dict[str, str]) -> list[str]:
        return [f"{name} is gone or changed" for name, digest in self._files.items()
                if found.get(name) != digest]  # fmt: skip

    def _hear_registered(self, owners: list[str]) -> list[str]:
        return [f"{one} is not in the registry" for one in self._gateways - set(owners)]

    def _hear_made(self, name: str, files: dict[str, str]) -> None:
        self._gateways.add(name)
        self._files = files

    def _hear_half(self, missing: list[str]) -> list[str]:
        return [f"the authority is there without {', '.join(missing)}"]

    def _hear_stranded(self) -> list[str]:
        return ["the deployment was made, and is no more"] if self._gateways else []


Book = GatewayBook | HeadEndBook | ProvisioningBook
BOOKS: dict[str, type[Book]] = {
    "gateway": GatewayBook,
    "head-end": HeadEndBook,
    "provisioning": ProvisioningBook,
}


def _spread(ranges: list[list[int]]) -> set[int]:
    return {n for first, last in ranges for n in range(first, last + 1)}


class Outcome(NamedTuple):
    """What a series of cuts has brought."""

    cuts: int
    in_midst: int  # cuts that came while the part was at work
    broken: list[str]
    lost_rows: int


class Rig:
    """A disk and the process that works on it."""

    def __init__(self, disk: CutDisk, child: "subprocess.Popen[bytes]") -> None:
        self.disk = disk
        self._child = child

    def series(self, act: str, seed: int, cuts: int, **options: Any) -> Outcome:
        """Several cuts in a row on a new disk, and one more life that nothing disturbs. Stops at
        the first broken promise: what comes after it proves nothing more."""
        self.disk.renew()
        book = BOOKS[act]()
        in_midst = 0
        for number in range(cuts + 1):
            rng = random.Random(f"{act} {seed} {number}")
            mode = CUT_MODES[rng.randrange(len(CUT_MODES))]
            if number < cuts:
                change = rng.randint(1, rng.choice(book.changes_max))
                self.disk.cut_at(change, rng.getrandbits(32), mode)
            life = {
                "first": FIRST_STEP * (number + 1),
                "taken": list(book.taken[-5:]),
                "fsync": True,
            }
            reports, last, code = self._live(act, rng.getrandbits(32), life | options)
            was_cut = self.disk.restore()
            in_midst += was_cut
            if number < cuts and not was_cut:
                self.disk.cut(rng.getrandbits(32), mode)
                self.disk.restore()
            broken = [f"{act}, seed {seed}, life {number}: {one}" for one in book.hear(reports)]
            if code not in (DONE, POWERLESS) or (code == POWERLESS and not was_cut):
                broken.append(f"{act}, seed {seed}, life {number}: ended with {code}: {last}")
            if broken:
                break
        lost = 0 if isinstance(book, ProvisioningBook) else book.lost_rows
        return Outcome(min(number + 1, cuts), in_midst, broken, lost)

    def _live(self, act: str, seed: int, options: dict[str, Any]) -> tuple[Report, str, int]:
        """Its reports, how it lost its power in its own words, and its exit code."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps([act, seed, options]).encode() + b"\n")
        self._child.stdin.flush()
        reports: Report = []
        while (report := json.loads(self._child.stdout.readline()))[0] != "end":
            reports.append(report)
        last = ""
        if reports and reports[-1][0] == "powerless":
            last = ": ".join(reports.pop()[1:])
        return reports, last, int(report[1])


def require_cut_disk() -> None:
    """Skips where no disk can be cut; fails where nothing may be skipped and the kernel has FUSE.
    A machine without it (some containers) can not be given it by any package."""
    if reason := missing():
        sentence = f"no power was cut here: {reason}"
        (pytest.fail if REQUIRE_ALL and DEVICE.exists() else pytest.skip)(sentence)


@contextmanager
def make_rig(folder: Path) -> Iterator[Rig]:
    """A rig in an empty folder; the disk is `folder`/state, where a head end has its database."""
    state = folder / "state"
    state.mkdir()
    with (
        CutDisk(state) as disk,
        subprocess.Popen(
            [sys.executable, "-m", "tests.system.power_child", str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,  # a group of its own, so that an act that hangs ends with it
        ) as child,
    ):
        try:
            yield Rig(disk, child)
        finally:
            os.killpg(child.pid, signal.SIGKILL)
