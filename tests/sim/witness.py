"""The checkers: what must hold after every step, whatever goes wrong.

* Meters: a reading is what its own meter showed during that very sweep (hil's log is the truth).
* Journal: a sequence is given once; a committed reading is there after every crash, and only once.
* Way up: an acknowledgement, the outbox and a purge name only what the head end has committed; and
  what it has is what the journal committed.
* Time: a reading that says its time is good has a good time.
* Memory: every buffer and queue keeps its limit.

At the end, when all is well again: nothing is missing, nothing is there twice.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloud.app import Core
from cloud.orders.desk import OPEN_ORDERS_MAX
from edge.agent import Agent
from edge.collect.poller import ORDERS_MAX
from edge.journal.ranges import Ranges
from edge.journal.writer import CALLS_MAX, HELD_SETS_MAX
from edge.sync.session import NONCES_MAX
from edge.sync.transport import EVENTS_MAX
from protocols.readings import ReadingSet, TimeQuality
from tests.sim.clock import UTC_MS, MachineClock
from tests.sim.rows import BrokenError, Identity, Key, Stored, exact, new_rows, stored_of, watched
from tests.sim.scheduler import MS, Scheduler

TIME_ERROR_MS = {TimeQuality.NTP: 1_000, TimeQuality.SIGNED: 8_000}
JUDGED_MS = 6_000  # how long the gateway's clock holds to what the kernel said
DLT645_LATE_MS_MAX = 3_000  # of an answer that may still be taken for that of the next sweep
RECEIPTS_SENT_MAX = 1_000


class Witness:
    """Sees everything, changes nothing."""

    def __init__(
        self, scheduler: Scheduler, marks: Counter[str], note: Callable[..., None]
    ) -> None:
        self.committed: dict[Key, Stored] = {}
        self.stored: dict[Key, Stored] = {}
        self.last_read_ns: dict[str, int] = {}  # meter -> when its last stored set was begun
        self.late_meters: set[str] = set()  # whose answers name their quantity, and may be old
        self._scheduler = scheduler
        self._marks = marks
        self._note = note
        self._shown: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
        self._submitted: dict[Identity, Stored] = {}
        self._begun_ns: dict[Identity, int] = {}
        self.lost: dict[Key, Stored] = {}  # with a damaged journal, unless they were on their way
        self._salvages = 0
        self._pending: set[Identity] = set()  # read, and not committed
        self._identities: dict[Identity, Key] = {}
        self._verified = Ranges()  # acknowledged, and known to be stored
        self._outbox_seen: object = None
        self._agent: Agent | None = None
        self._core: Core | None = None
        self._clock: MachineClock | None = None
        self.reader: sqlite3.Connection | None = None
        self._last_row = 0

    # ---- meters ---------------------------------------------------------------------------------

    def log_of(self, meter_id: str) -> Callable[[dict[str, object]], None]:
        """For hil's meters: takes what one shows."""

        def log(record: dict[str, Any]) -> None:
            value = record["value"]
            if "obis" in record and isinstance(value, int):
                shown = exact(value, record["scaler"])
                key = (meter_id, record["obis"])
                self._shown[key].append((record["t_ms"], shown, record["unit"]))

        return log

    def was_shown(self, meter_id: str, obis: str, shown: int, unit: str, since_ms: float) -> bool:
        """Whether the meter showed this since then (UTC ms)."""
        for at, value, its_unit in reversed(self._shown[(meter_id, obis)]):
            if at < since_ms:
                return False
            if (value, its_unit) == (shown, unit):
                return True
        return False

    # ---- the gateway ----------------------------------------------------------------------------

    def follow_gateway(self, agent: Agent, clock: MachineClock) -> None:
        """A new agent, before it starts."""
        self._agent, self._clock = agent, clock
        self._verified = Ranges()
        self._outbox_seen = None
        journal = agent._journal
        for worker in agent._workers.values():
            worker._submit = watched(worker._submit, self._check_submitted, before=True)
        journal.append = watched(journal.append, self._check_append)
        journal.acknowledge = watched(journal.acknowledge, self._check_acknowledged)
        journal.retime = watched(journal.retime, self._note_retimed)
        purge = journal.purge

        def checked_purge(*arguments: object) -> int:
            before = self._sequences()
            count: int = purge(*arguments)
            self._check_purged(before - self._sequences())
            return count

        journal.purge = checked_purge

    def gateway_started(self, agent: Agent) -> None:
        """What was committed is there; what a cut commit left is committed too."""
        epoch = agent._journal.epoch
        is_new = any(key[0] != epoch for key in self.committed.keys() - self.stored.keys())
        if agent._journal.salvaged or is_new:  # put aside just now, or at a start that was refused
            self._forget_journal()
        rows = self._journal_rows()
        for key, row in self.committed.items():
            if key[0] != epoch:
                if key in self.stored:
                    continue  # of a journal that was damaged later
                raise BrokenError("a new epoch, though nothing damaged the journal")
            if key in rows and rows[key].identity != row.identity:
                raise BrokenError(f"sequence {key[1]} holds another reading set than before")
            if key not in rows and key not in self.stored:
                raise BrokenError(f"the committed sequence {key[1]} is lost")
        for key, row in rows.items():
            if key not in self.committed:
                self._marks["commit_survived_its_cut"] += 1
                self._commit(key, row)
        self._note("journal_checked", len(rows), agent._writer.head)

    def gateway_stopped(self, agent: Agent) -> None:
        """In good order: what was read is committed, unless the disk refused to the end."""
        if self._pending and not agent._writer.trouble:
            raise BrokenError(f"{len(self._pending)} reading sets were left behind by a stop")

    def _forget_journal(self) -> None:
        """The file was damaged, and put aside: what the head end has not is lost with it."""
        if self._marks["journal_damaged"] <= self._salvages:
            raise BrokenError("the journal was put aside, and nothing had damaged it")
        self._salvages += 1
        for key in self.committed.keys() - self.stored.keys():
            self._identities.pop(self.committed[key].identity)
            self.lost[key] = self.committed.pop(key)

    def gateway_left(self) -> None:
        """It crashed, and what waited for its commit is gone."""
        self._agent = None
        self._pending.clear()

    def _check_submitted(self, _: None, one: ReadingSet) -> None:
        assert self._clock is not None
        begun_ms = UTC_MS + self._clock.true_ms(one.boot_at)
        stored = stored_of(one)
        if stored.identity in self._submitted:
            raise BrokenError(f"meter {one.meter_id} was read twice in one millisecond")
        slack_ms = 2 + (one.meter_id in self.late_meters) * (DLT645_LATE_MS_MAX + 1_000)
        for obis, value, scaler, unit, _ in stored.content:
            shown = exact(value, scaler)
            if not self.was_shown(one.meter_id, obis, shown, unit, begun_ms - slack_ms):
                raise BrokenError(
                    f"meter {one.meter_id} did not show {obis} = {value}e{scaler} {unit} in the"
                    " sweep that says so"
                )
        self._submitted[stored.identity] = stored
        self._pending.add(stored.identity)
        self._begun_ns[stored.identity] = round((begun_ms - UTC_MS) * MS)
        error_ms = one.read_at - begun_ms
        if one.quality == TimeQuality.NTP:
            # What a synchronised clock says is believed, for the seconds that a judgement lasts.
            known = self._clock.errors_since((begun_ms - UTC_MS - JUDGED_MS) * MS)
            error_ms = min((error_ms - known_ms for known_ms in known), key=abs)
        self._check_time(one.quality, error_ms)
        self._note("read", one.meter_id, len(one.readings), one.quality)

    def _check_time(self, quality: int, error_ms: float) -> None:
        if abs(error_ms) > TIME_ERROR_MS.get(quality, 1 << 60):
            raise BrokenError(f"a time of quality {quality} is wrong by {error_ms:.0f} ms")

    def _check_append(self, last: int, sets: list[ReadingSet]) -> None:
        assert self._agent is not None
        epoch = self._agent._journal.epoch
        for sequence, one in enumerate(sets, last - len(sets) + 1):
            self._commit((epoch, sequence), stored_of(one))
        self._note("committed", last, len(sets))

    def _commit(self, key: Key, row: Stored) -> None:
        if key in self.committed:
            raise BrokenError(f"sequence {key[1]} was given twice")
        if row.identity in self._identities:
            raise BrokenError(f"one reading set is journaled twice, as {key[1]} too")
        submitted = self._submitted.get(row.identity)
        if submitted is None or submitted.content != row.content:
            raise BrokenError(f"sequence {key[1]} is not what was read")
        self.committed[key] = row
        self._pending.discard(row.identity)
        self._identities[row.identity] = key

    def _check_acknowledged(self, stored: Ranges, *_: object) -> None:
        self._verify(stored, "an acknowledgement names")
        self._note("acknowledged", stored.contiguous_from(1), stored.count)

    def _verify(self, stored: Ranges, who: str) -> None:
        assert self._agent is not None
        epoch = self._agent._journal.epoch
        for first, last in stored:
            for low, high in self._verified.missing(first, last):
                for sequence in range(low, high + 1):
                    if (epoch, sequence) not in self.stored:
                        raise BrokenError(f"{who} {sequence}, which the head end has not stored")
                self._verified.add(low, high)

    def _note_retimed(self, count: int, *_: object) -> None:
        self._marks["rows_retimed"] += count

    def _check_purged(self, gone: set[int]) -> None:
        assert self._agent is not None
        epoch = self._agent._journal.epoch
        self._marks["rows_purged"] += len(gone)
        for sequence in sorted(gone):
            if (epoch, sequence) not in self.stored:
                raise BrokenError(f"sequence {sequence} was deleted, and the head end has it not")

    def _sequences(self) -> set[int]:
        assert self._agent is not None
        found = self._agent._journal._db.execute("SELECT sequence FROM reading_set")
        return {row[0] for row in found}

    def _journal_rows(self) -> dict[Key, Stored]:
        assert self._agent is not None
        epoch = self._agent._journal.epoch
        rows = self._agent._session._reader.rows(1, 1 << 60)
        return {(epoch, sequence): stored_of(one) for sequence, one in rows}

    # ---- the head end ---------------------------------------------------------------------------

    def follow_head_end(self, core: Core, folder: Path) -> None:
        """A new head end, before it takes anything: what it had is there."""
        self._core = core
        before = self.stored
        self.stored, self._last_row = {}, 0
        self.reader = sqlite3.connect(
            folder / "head-end.db", isolation_level=None, check_same_thread=False
        )
        self.head_end_committed()
        for key, row in before.items():
            if self.stored.get(key) != row:
                raise BrokenError(f"the head end lost sequence {key[1]}")

    def head_end_left(self) -> None:
        """It crashed."""
        self._core = None
        if self.reader is not None:
            self.reader.close()
            self.reader = None

    def head_end_committed(self) -> None:
        """After each of its commits: what is new in it is what the gateway committed."""
        if self.reader is None:
            return
        count = len(self.stored)
        for rowid, key, row in new_rows(self.reader, self._last_row):
            self._last_row = rowid
            sequence = key[1]
            ours = self.committed.get(key) or self.lost.get(key)
            if ours is None:
                raise BrokenError(
                    f"the head end has sequence {sequence}, which was never committed"
                )
            if (ours.identity, ours.content) != (row.identity, row.content):
                raise BrokenError(f"the head end's sequence {sequence} is another reading set")
            if key in self.stored:
                raise BrokenError(f"the head end has sequence {sequence} twice")
            self.stored[key] = row
            begun_ns = self._begun_ns[row.identity]
            meter_id = row.identity[0]
            self.last_read_ns[meter_id] = max(self.last_read_ns.get(meter_id, 0), begun_ns)
            if row.quality == TimeQuality.SIGNED:
                self._check_time(row.quality, row.read_at - UTC_MS - begun_ns / MS)
        if len(self.stored) > count:
            self._note("stored", len(self.stored))

    # ---- after every step -----------------------------------------------------------------------

    def check_bounds(self) -> None:
        """Buffers and queues."""
        agent, core = self._agent, self._core
        if agent is not None and agent._session.outbox is not None:
            session, writer = agent._session, agent._writer
            if session.outbox.stored is not self._outbox_seen:
                self._outbox_seen = session.outbox.stored
                self._verify(session.outbox.stored, "the outbox is rid of")
            waiting = len(writer._held) + writer.sets_lost
            if len(self._pending) > waiting:
                raise BrokenError(f"{len(self._pending) - waiting} reading sets are nowhere")
            if (
                waiting > HELD_SETS_MAX
                or len(writer._calls) > CALLS_MAX
                or len(session.outbox.flights) > session._settings["window"]
                or session._events.qsize() > EVENTS_MAX
                or len(session._nonces) > NONCES_MAX
                or len(session._receipts_sent) > RECEIPTS_SENT_MAX
                or any(one._jobs.qsize() > ORDERS_MAX for one in agent._workers.values())
            ):
                raise BrokenError("a buffer of the gateway is above its limit")
        if core is not None and max(map(len, (core.desk._sending, core.desk._watchers))) > (
            OPEN_ORDERS_MAX
        ):
            raise BrokenError("a buffer of the order desk is above its limit")

    # ---- in the end -----------------------------------------------------------------------------

    def missing(self) -> list[int]:
        """Committed and not in the head end."""
        return sorted(key[1] for key in self.committed.keys() - self.stored.keys())

    def unacknowledged(self, up_to: int) -> int:
        """Rows up to here that the gateway still keeps for the head end."""
        if self._agent is None or self._agent._session.outbox is None:
            return up_to
        return sum(
            last - first + 1 for first, last in self._agent._session.outbox.stored.missing(1, up_to)
        )

    def check_end(self) -> None:
        """Both sides agree in every column, the ledger tells the truth, no energy fell."""
        for key, row in self._journal_rows().items():
            theirs = self.stored.get(key)
            if theirs is not None and theirs != row:
                raise BrokenError(f"sequence {key[1]} has another time here than in the head end")
        self._check_ledger()
        by_meter: dict[str, list[tuple[int, Stored]]] = defaultdict(list)
        for row in self.stored.values():
            by_meter[row.identity[0]].append((self._begun_ns[row.identity], row))
        for meter_id, rows in by_meter.items():
            energy: dict[str, int] = {}
            for _, row in sorted(rows, key=lambda one: one[0]):
                for obis, value, scaler, unit, _ in row.content:
                    shown = exact(value, scaler)
                    if unit.endswith("Wh") and shown < energy.get(obis, shown):
                        raise BrokenError(f"the energy {obis} of meter {meter_id} fell")
                    if unit.endswith("Wh"):
                        energy[obis] = shown

    def _check_ledger(self) -> None:
        assert self.reader is not None
        ranges = self.reader.execute(
            "SELECT epoch, first, last FROM stored_range JOIN epoch USING (epoch_key)"
        ).fetchall()
        told = {
            (epoch, number) for epoch, first, last in ranges for number in range(first, last + 1)
        }
        if told != set(self.stored):
            raise BrokenError("the head end's ledger and its rows disagree")
        conflicts = self.reader.execute(
            "SELECT coalesce(sum(count), 0) FROM refusal WHERE reason = 'conflict'"
        ).fetchone()[0]
        if conflicts:
            raise BrokenError(f"{conflicts} reading sets came with another content than before")
