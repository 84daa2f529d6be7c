"""The checkers of one gateway: what must hold after every step, whatever goes wrong.

* Meters: a reading is what its own meter showed during that very sweep (hil's log is the truth).
* Journal: a sequence is given once; a committed reading is there after every crash, and only once.
* Way up: an acknowledgement, the outbox and a purge name only what the head end has committed of
  this very gateway; a sequence that is sent is committed, and is never sent with other content.
* Time: a reading that says its time is good has a good time.
"""

from collections import Counter, defaultdict
from collections.abc import Callable

from edge.agent import Agent
from edge.journal.ranges import Ranges
from edge.journal.store import SLOT
from protocols.events import Event
from protocols.readings import ReadingSet, TimeQuality
from tests.sim.bounds import check_gateway
from tests.sim.clock import UTC_MS, MachineClock
from tests.sim.rows import BrokenError, Identity, Key, Stored, exact, stored_of, watched
from tests.sim.scheduler import MS
from tests.sim.slots import Slots
from tests.sim.truth import Truth

TIME_ERROR_MS = {TimeQuality.NTP: 1_000, TimeQuality.SIGNED: 8_000}
DLT645_LATE_MS_MAX = 3_000  # of an answer that may still be taken for that of the next sweep


def check_time(quality: int, error_ms: float, drift_ms: float = 0) -> None:
    """BrokenError when a time is worse than its quality says, and what drifted while it was
    held."""
    if abs(error_ms) > TIME_ERROR_MS.get(quality, 1 << 60) + drift_ms:
        raise BrokenError(f"a time of quality {quality} is wrong by {error_ms:.0f} ms")


class GatewayWitness:
    """Sees everything of one gateway, changes nothing. `stored` is kept by the head end's."""

    def __init__(
        self, gateway_id: str, truth: Truth, marks: Counter[str], note: Callable[..., None]
    ) -> None:
        self.gateway_id = gateway_id
        self.committed: dict[Key, Stored] = {}
        self.stored: dict[Key, Stored] = {}
        self.begun_ns: dict[Identity, int] = {}
        self.late_meters: set[str] = set()  # whose answers name their quantity, and may be old
        self.lost: dict[Key, Stored] = {}  # with a damaged journal, unless they were on their way
        self.slots = Slots()
        self._truth = truth
        self._marks = marks
        self._note = note
        self._submitted: dict[Identity, Stored] = {}
        self._sent: dict[Key, Stored] = {}
        self._salvages = 0
        self._damaged = 0
        self._pending: set[Identity] = set()  # read, and not committed
        self._identities: dict[Identity, Key] = {}
        self._verified = Ranges()  # acknowledged, and known to be stored
        self._outbox_seen: object = None
        self._agent: Agent | None = None
        self._clock: MachineClock | None = None

    def journal_damaged(self) -> None:
        """Somebody did that to its file."""
        self._damaged += 1

    def follow(self, agent: Agent, clock: MachineClock) -> None:
        """A new agent, before it starts."""
        self._agent, self._clock = agent, clock
        self._verified = Ranges()
        self._outbox_seen = None
        journal = agent._journal
        for worker in agent._workers.values():
            around = worker._around
            submit = watched(around.submit, self._check_submitted, before=True)
            worker._around = around._replace(submit=submit)
        self.slots.follow(agent)
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

    def started(self, agent: Agent) -> None:
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
        survived = [(key, row) for key, row in rows.items() if key not in self.committed]
        for key, row in survived:
            self._marks["commit_survived_its_cut"] += 1
            self._commit(key, row)
        reader = agent._session._reader
        meters = {row.identity[0] for _, row in survived}
        told = [event for _, event in reader.events_between(None, 0, 1 << 60)]  # maybe they alone
        self.slots.survived(meters, reader.memos(SLOT), told)
        self._note("journal_checked", len(rows), agent._writer.head)

    def stopped(self, agent: Agent) -> None:
        """In good order: what was read is committed, unless the disk refused to the end."""
        if self._pending and not agent._writer.trouble:
            raise BrokenError(f"{len(self._pending)} reading sets were left behind by a stop")

    def _forget_journal(self) -> None:
        """The file was damaged, and put aside: what the head end has not is lost with it."""
        if self._damaged <= self._salvages:
            raise BrokenError("the journal was put aside, and nothing had damaged it")
        self._salvages += 1
        self.slots.forget()
        for key in self.committed.keys() - self.stored.keys():
            self.lost[key] = self.committed.pop(key)

    def left(self) -> None:
        """It crashed, and what waited for its commit is gone."""
        self._agent = None
        self._pending.clear()

    def _check_submitted(self, _: None, one: ReadingSet, *__: object) -> None:
        assert self._clock is not None
        begun_ms = UTC_MS + self._clock.true_ms(one.boot_at)
        stored = stored_of(one)
        if stored.identity in self._submitted:
            raise BrokenError(f"meter {one.meter_id} was read twice in one millisecond")
        slack_ms = 2 + (one.meter_id in self.late_meters) * (DLT645_LATE_MS_MAX + 1_000)
        for obis, value, scaler, unit, _ in stored.content:
            shown = exact(value, scaler)
            if not self._truth.was_shown(one.meter_id, obis, shown, unit, begun_ms - slack_ms):
                raise BrokenError(
                    f"meter {one.meter_id} did not show {obis} = {value}e{scaler} {unit} in the"
                    " sweep that says so"
                )
        self._submitted[stored.identity] = stored
        self._pending.add(stored.identity)
        self.begun_ns[stored.identity] = round((begun_ms - UTC_MS) * MS)
        error_ms = one.read_at - begun_ms
        if one.quality == TimeQuality.NTP:
            # What a synchronised clock says at first is believed, and held until there is signed
            # time: since then, no error of the system clock is ours.
            known = [0] if self._is_told(one) else self._clock.errors_of_boot()
            error_ms = min((error_ms - known_ms for known_ms in known), key=abs)
        check_time(one.quality, error_ms, self._clock.drift_held_ms())
        self._note("read", one.meter_id, len(one.readings), one.quality)

    def _is_told(self, one: ReadingSet) -> bool:
        told_at = None if self._agent is None else self._agent._clock.told_at
        return told_at is not None and told_at <= one.boot_at

    def _check_append(
        self,
        last: int,
        sets: list[ReadingSet],
        slots: list[tuple[str, int]] = (),  # type: ignore[assignment]
        events: list[Event] = (),  # type: ignore[assignment]
        memos: object = (),
    ) -> None:
        assert self._agent is not None
        self.slots.committed(list(slots), list(events))
        epoch = self._agent._journal.epoch
        for sequence, one in enumerate(sets, last - len(sets) + 1):
            self._commit((epoch, sequence), stored_of(one))
        self._note("committed", last, len(sets))

    def _commit(self, key: Key, row: Stored) -> None:
        if key in self.committed:
            raise BrokenError(f"sequence {key[1]} was given twice")
        before = self._identities.get(row.identity)
        if before is not None and before[0] == key[0]:
            raise BrokenError(f"one reading set is journaled twice, as {key[1]} too")
        if before is not None:
            self._marks["set_salvaged"] += 1
        submitted = self._submitted.get(row.identity)
        if submitted is None or submitted.content != row.content:
            raise BrokenError(f"sequence {key[1]} is not what was read")
        self.committed[key] = row
        self._pending.discard(row.identity)
        self._identities[row.identity] = key

    def sends(self, rows: list[tuple[int, ReadingSet]]) -> None:
        """These go into a message; the head end may have them from now on."""
        assert self._agent is not None
        epoch = self._agent._journal.epoch
        for sequence, one in rows:
            key, row = (epoch, sequence), stored_of(one)
            ours = self.committed.get(key)
            if ours is None or (ours.identity, ours.content) != (row.identity, row.content):
                raise BrokenError(f"sequence {sequence} is sent, and is not what was committed")
            if self._sent.setdefault(key, row) != row:
                raise BrokenError(f"sequence {sequence} is sent with another time than before")
            self._marks["set_sent"] += 1
            self._marks["set_sent_without_time"] += row.quality == TimeQuality.UNSYNCED

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

    # ---- after every step -----------------------------------------------------------------------

    def check_step(self) -> None:
        """What is read waits somewhere, the outbox is rid only of what is stored, no buffer grows
        too large."""
        agent = self._agent
        if agent is None or agent._session.outbox is None:
            return
        stored = agent._session.outbox.stored
        if stored is not self._outbox_seen:
            self._outbox_seen = stored
            self._verify(stored, "the outbox is rid of")
        waiting = agent._writer.held_sets + agent._writer.sets_lost
        if len(self._pending) > waiting:
            raise BrokenError(f"{len(self._pending) - waiting} reading sets are nowhere")
        check_gateway(agent)

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
        """Both sides agree in every column, no energy fell."""
        self._marks["slot_accounted_for"] += self.slots.accounted_for + self.slots.check_end()
        for key, row in self._journal_rows().items():
            theirs = self.stored.get(key)
            if theirs is not None and theirs != row:
                raise BrokenError(f"sequence {key[1]} has another time here than in the head end")
        by_meter: dict[str, list[tuple[int, Stored]]] = defaultdict(list)
        for row in self.stored.values():
            by_meter[row.identity[0]].append((self.begun_ns[row.identity], row))
        for meter_id, rows in by_meter.items():
            energy: dict[str, int] = {}
            for _, row in sorted(rows, key=lambda one: one[0]):
                for obis, value, scaler, unit, _ in row.content:
                    shown = exact(value, scaler)
                    if unit.endswith("Wh") and shown < energy.get(obis, shown):
                        raise BrokenError(f"the energy {obis} of meter {meter_id} fell")
                    if unit.endswith("Wh"):
                        energy[obis] = shown
