"""Takes the power of a whole guest again and again, and keeps book of what its parts had promised.

The books are those of `tests/system/power_rig.py`; here a kernel, a file system and a page cache
die too.
"""

import json
import os
import random
import socket
import time
from pathlib import Path
from typing import Any

from hil.cut_disk_model import CUT_MODES
from protocols.errors import SettingError
from tests.bench_kit.guest import Guest, python
from tests.bench_kit.guest_disk import GuestDisk
from tests.system.power_child import DONE
from tests.system.power_rig import (
    FIRST_STEP,
    Book,
    GatewayBook,
    Outcome,
    ProvisioningBook,
    Report,
)

ACTS = ("gateway", "gateway", "gateway", "provisioning")  # one of them by the seed
CUTS_VARIABLE = "BUSBAR_MACHINE_CUTS"
CUTS_MAX = 1000
REPORTS_MAX = 120  # a cut comes at one of them,
BEHIND_S_MAX = 0.1  # and this much later at the most
LAST_WORDS_S_MAX = 1.0  # for what a dead guest had told
SILENCE_S_MAX = 300.0  # of a guest: it boots, or it hangs


def asked_cuts() -> int:
    """How many cuts a series has: each costs a boot, some 20 s. SettingError."""
    text = os.environ.get(CUTS_VARIABLE, "3")
    if not (text.isdecimal() and 1 <= int(text) <= CUTS_MAX):
        raise SettingError(
            f"{CUTS_VARIABLE} must be a whole number from 1 to {CUTS_MAX}, not {text!r}"
        )
    return int(text)


class SilentGuestError(Exception):
    """A guest that told nothing for too long, and what its console and log say."""


class Machine:
    """One life of a guest: its process and the line to it."""

    def __init__(self, guest: Guest, disk: GuestDisk, options: str) -> None:
        near, far = socket.socketpair()
        with far:
            devices = f"-chardev socket,id=talk,fd={far.fileno()} -serial chardev:talk "
            script = python(f"-m tests.bench_kit.guest_power /dev/vda {options}")
            self._process = guest.boot(script, devices + disk.power_on(), (far.fileno(),))
        self._log = guest.share / "log"
        self._near = near
        self._heard = b""

    def tell(self, *words: object) -> None:
        """One line to it."""
        self._near.sendall(json.dumps(words).encode() + b"\n")

    def report(self, until_s: float) -> list[Any] | None:
        """Its next report; None when there is none by then (monotonic), or it is dead."""
        while b"\n" not in self._heard:
            self._near.settimeout(max(until_s - time.monotonic(), 0.001))
            try:
                data = self._near.recv(65_536)
            except (TimeoutError, ConnectionResetError):
                return None
            if not data:
                return None
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        report: list[Any] = json.loads(line)
        return report

    def next_report(self) -> list[Any]:
        """Its next report; SilentGuestError when it does not come."""
        report = self.report(time.monotonic() + SILENCE_S_MAX)
        if report is None:
            console = self.kill()
            log = self._log.read_text() if self._log.exists() else ""
            raise SilentGuestError(f"the guest fell silent: {console[-300:]} {log[-1500:]}")
        return report

    def kill(self) -> str:
        """Takes its power. What it had told before can still be read. Its console."""
        self._process.kill()
        return self._process.communicate()[0]

    def close(self) -> None:
        """Ends it, if it lives."""
        if self._process.poll() is None:
            self.kill()
        self._near.close()


class MachineRig:
    """A disk and the machines that have it, one after the other."""

    def __init__(self, folder: Path) -> None:
        boot = folder / "boot"
        boot.mkdir()
        self._folder = folder
        self._guest = Guest(boot)
        self._disks = 0
        self.writes_at_stake = 0  # in the disk's cache at the cuts

    def series(self, seed: int, cuts: int, mount: str = "defaults", **options: Any) -> Outcome:
        """Several cuts in a row on a new disk, and one more life in which each part works once.
        Stops at the first broken promise: what comes after it proves nothing more."""
        self._disks += 1
        folder = self._folder / f"disk{self._disks}"
        folder.mkdir()
        disk = GuestDisk(folder)
        gateway = GatewayBook()
        books: dict[str, Book] = {"gateway": gateway, "provisioning": ProvisioningBook()}
        in_midst = 0
        for number in range(cuts + 1):
            machine = Machine(self._guest, disk, mount)
            try:
                life = Life(machine, books, random.Random(f"{seed} {number}"), number, options)
                if number == cuts:
                    life.work_once()
                else:
                    life.work_until_cut()
                    in_midst += life.is_in_midst
            finally:
                machine.close()
            cut = random.Random(f"cut {seed} {number}")
            self.writes_at_stake += disk.cut(cut.getrandbits(32), cut.choice(CUT_MODES))
            if life.broken:
                break
        broken = [f"seed {seed}, life {number}: {one}" for one in life.broken]
        return Outcome(min(number + 1, cuts), in_midst, broken, gateway.lost_rows)


class Life:
    """What a machine is told to do between two cuts, and what it answers."""

    def __init__(
        self,
        machine: Machine,
        books: dict[str, Book],
        rng: random.Random,
        number: int,
        options: dict[str, Any],
    ) -> None:
        self._machine, self._books, self._rng, self._options = machine, books, rng, options
        self._first = FIRST_STEP * 100 * (number + 1)
        self._reports: Report = []
        self._act = ""
        self.broken: list[str] = []
        self.is_in_midst = False
        _, said = machine.next_report()
        if said:
            self.broken.append(f"the disk can not be mounted: {said}")

    def work_once(self) -> None:
        """Each part, undisturbed."""
        for act in self._books:
            if not self.broken:
                self._begin(act)
                while self._act:
                    self._hear(self._machine.next_report())

    def work_until_cut(self) -> None:
        """One part after the other, until a seeded moment."""
        for _ in range(self._rng.randint(1, REPORTS_MAX)):
            if self.broken:
                break
            self._begin_next()
            self._hear(self._machine.next_report())
        end_s = time.monotonic() + self._rng.uniform(0, BEHIND_S_MAX)
        while not self.broken and time.monotonic() < end_s:
            self._begin_next()
            self._hear_one(end_s)
        self._machine.kill()
        while self._hear_one(time.monotonic() + LAST_WORDS_S_MAX):
            pass  # what was told before the cut counts
        self.is_in_midst = bool(self._act)
        self._judge()

    def _hear_one(self, end_s: float) -> bool:
        """Whether there was a report by then."""
        report = self._machine.report(end_s)
        if report is not None:
            self._hear(report)
        return report is not None

    def _begin_next(self) -> None:
        if not self._act:
            self._begin(self._rng.choice(ACTS))

    def _begin(self, act: str) -> None:
        self._act = act
        taken = list(self._books[act].taken[-5:])
        life = {"first": self._first, "taken": taken, "fsync": True} | self._options
        self._first += FIRST_STEP
        self._machine.tell(act, self._rng.getrandbits(32), life)

    def _hear(self, report: list[Any]) -> None:
        if report[0] != "end":
            self._reports.append(report)
            return
        if report[1] != DONE:
            self.broken.append(f"{self._act} ended with {report[1]}: {self._reports[-1:]}")
        self._judge()
        self._act = ""

    def _judge(self) -> None:
        reports, self._reports = self._reports, []
        if self._act:
            told = [one for one in reports if one[0] != "powerless"]
            self.broken += [f"{self._act}: {one}" for one in self._books[self._act].hear(told)]
