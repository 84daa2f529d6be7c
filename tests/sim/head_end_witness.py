"""The checkers of the head end: what it has is what the gateways committed, each for itself.

* What it stores for a gateway is what that very gateway committed, under the same sequence, once.
* What it had is there after every crash.
* Its buffers keep their limits; in the end its ledger agrees with its rows.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from cloud.app import Core
from cloud.ingest.mailbox import Mailbox
from protocols.readings import TimeQuality
from tests.sim.bounds import check_head_end
from tests.sim.clock import UTC_MS
from tests.sim.rows import BrokenError, Key, Stored, new_rows
from tests.sim.scheduler import MS
from tests.sim.witness import GatewayWitness, check_time

_RANGES = """
SELECT gateway_id, epoch, first, last FROM stored_range JOIN epoch USING (epoch_key)
JOIN gateway USING (gateway_key)"""
_CONFLICTS = "SELECT coalesce(sum(count), 0) FROM refusal WHERE reason = 'conflict'"


class HeadEndWitness:
    """Sees everything of the head end, changes nothing."""

    def __init__(self, gateways: dict[str, GatewayWitness], note: Callable[..., None]) -> None:
        self.last_read_ns: dict[str, int] = {}  # meter -> when its last stored set was begun
        self.reader: sqlite3.Connection | None = None
        self._gateways = gateways
        self._note = note
        self._running: tuple[Core, Mailbox, int] | None = None
        self._last_row = 0

    @property
    def count(self) -> int:
        """Reading sets that it has."""
        return sum(len(one.stored) for one in self._gateways.values())

    def follow(self, core: Core, box: Mailbox, queue_messages: int, folder: Path) -> None:
        """A new head end, before it takes anything: what it had is there."""
        self._running = (core, box, queue_messages)
        before = {name: one.stored for name, one in self._gateways.items()}
        for one in self._gateways.values():
            one.stored = {}
        self._last_row = 0
        self.reader = sqlite3.connect(
            folder / "head-end.db", isolation_level=None, check_same_thread=False
        )
        self.committed()
        for name, rows in before.items():
            for key, row in rows.items():
                if self._gateways[name].stored.get(key) != row:
                    raise BrokenError(f"the head end lost sequence {key[1]} of {name}")

    def left(self) -> None:
        """It crashed."""
        self._running = None
        if self.reader is not None:
            self.reader.close()
            self.reader = None

    def committed(self) -> None:
        """After each of its commits: what is new in it is what the gateway committed."""
        if self.reader is None:
            return
        count = self.count
        for rowid, gateway_id, key, row in new_rows(self.reader, self._last_row):
            self._last_row = rowid
            self._check_row(self._gateways[gateway_id], key, row)
        if self.count > count:
            self._note("stored", self.count)

    def _check_row(self, gateway: GatewayWitness, key: Key, row: Stored) -> None:
        sequence = f"sequence {key[1]} of {gateway.gateway_id}"
        ours = gateway.committed.get(key) or gateway.lost.get(key)
        if ours is None:
            raise BrokenError(f"the head end has {sequence}, which that never committed")
        if (ours.identity, ours.content) != (row.identity, row.content):
            raise BrokenError(f"the head end's {sequence} is another reading set")
        if key in gateway.stored:
            raise BrokenError(f"the head end has {sequence} twice")
        gateway.stored[key] = row
        begun_ns = gateway.begun_ns[row.identity]
        meter_id = row.identity[0]
        self.last_read_ns[meter_id] = max(self.last_read_ns.get(meter_id, 0), begun_ns)
        if row.quality == TimeQuality.SIGNED:
            check_time(row.quality, row.read_at - UTC_MS - begun_ns / MS)

    def check_step(self) -> None:
        """No buffer grows too large."""
        if self._running is not None:
            check_head_end(*self._running)

    def check_end(self) -> None:
        """The ledger tells the truth, and no set ever came with another content."""
        assert self.reader is not None
        told = {
            (gateway_id, epoch, number)
            for gateway_id, epoch, first, last in self.reader.execute(_RANGES)
            for number in range(first, last + 1)
        }
        has = {(name, *key) for name, one in self._gateways.items() for key in one.stored}
        if told != has:
            raise BrokenError("the head end's ledger and its rows disagree")
        conflicts = self.reader.execute(_CONFLICTS).fetchone()[0]
        if conflicts:
            raise BrokenError(f"{conflicts} reading sets came with another content than before")
