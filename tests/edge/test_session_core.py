"""The session against the head end's own ingest and database, over a carrier that loses, repeats
and turns round what it carries: what was journaled is stored once, and both know it in the end."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.orders.desk import ReadRequest
from cloud.store.reader import Reader
from edge.sync.identity import Identity, TlsFiles
from edge.sync.transport import Arrived, Connected, Disconnected
from protocols.envelope.keys import ESP256, KeySet
from protocols.events import Event
from protocols.messages import OrderState
from protocols.readings import ReadingSet
from tests.cloud.world import World
from tests.edge.fakes import ENERGY, UTC_MS, FakeClock, make_set
from tests.edge.head_end import GATEWAY, METER_ID, PROVIDER
from tests.edge.uplink import Uplink, make_event

STEPS = 250


class Pair:
    """A gateway, a head end, and what is between them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        (folder / "cloud").mkdir(parents=True)
        (folder / "edge").mkdir()
        self.clock = FakeClock()
        self.world = World(folder / "cloud", (GATEWAY,))
        self.core = self.world.core()
        self.uplink = Uplink(folder / "edge", self.clock, self._identity(folder))
        self.up: list[tuple[str, bytes]] = []
        self.down: list[tuple[str, bytes]] = []
        self.sets: list[ReadingSet] = []
        self.events: list[Event] = []

    def _identity(self, folder: Path) -> Identity:
        gateway = self.world.gateways[GATEWAY]
        return Identity(
            GATEWAY,
            "t1",
            PROVIDER.signer(ESP256, gateway.signing.private),
            gateway.signing.record.kid,
            {gateway.opening.record.kid: gateway.opening},
            KeySet(tuple(key.record for key in self.world.own.values())),
            TlsFiles(folder, folder, folder),
        )

    def read(self, count: int) -> None:
        """The gateway reads and sees things happen."""
        new = [make_set(len(self.sets) + n) for n in range(count)]
        told = [make_event(len(self.events) + n) for n in range(count // 2)]
        self.sets += new
        self.events += told
        self.uplink.journaled(*new)
        self.uplink.noted(*told)

    def turn(self, *events: object) -> None:
        """A turn of the session."""
        for one in events:
            self.uplink.events.put(one)
        self.up += self.uplink.said()

    def carry(self, loss: float) -> None:
        """What is under way arrives, or not, or twice, in any order; and is answered."""
        self.world.clock.now = self.clock.utc_ms()
        if loss:
            self.chance.shuffle(self.up)
        for message in self.up:
            for _ in range(self._times(loss)):
                self.core.ingest.handle(*message)
        self.up = []
        if self.chance.random() < loss / 4:
            self.core.ingest.rollback()
        self.core.ingest.commit()
        self.down += [(one.topic, one.payload) for one in self.world.broker.take()]
        for message in self.down:
            for _ in range(self._times(loss)):
                self.uplink.events.put(Arrived(*message, False, lambda: None))
        self.down = []

    def _times(self, loss: float) -> int:
        drawn = self.chance.random()
        return 0 if drawn < loss else 2 if drawn < 1.5 * loss else 1

    def misfortune(self) -> None:
        """One of what happens to both."""
        what = self.chance.randrange(5)
        if what == 0:
            self.up, self.down = [], []
            self.turn(Disconnected("gone"))
        elif what == 1:
            self.uplink.restart()
            self.turn(Connected())
        elif what == 2:
            self.core.store.close()
            self.core = self.world.core()
        else:
            self.clock.advance(self.chance.randrange(40_000))
            self.turn(Connected())

    def settle(self) -> int:
        """Everything works again; how many turns it takes until nothing waits."""
        self.turn(Connected())
        for turns in range(200):
            self.carry(0)
            self.turn()
            self.clock.advance(1_000)
            session = self.uplink.session
            if not session.outbox.backlog and session.event_flow.stored == len(self.events):
                return turns
        raise AssertionError("the backlog does not end")

    def close(self) -> None:
        """Both end."""
        self.uplink.crash()
        self.core.store.close()

    def stored_events(self) -> list[tuple[int, Event]]:
        """What the head end has, by sequence."""
        with Reader(self.world.settings().database) as reader:
            rows = [(one.sequence, one.event) for one in reader.latest_events()]
        return sorted(rows)

    def stored_sets(self) -> list[tuple[int, int]]:
        """(sequence, read_at) of what the head end has."""
        query = "SELECT sequence, read_at FROM reading_set ORDER BY sequence"
        return list(self.core.store.db.execute(query))


@pytest.mark.parametrize("seed", range(8))
def test_through_any_misfortune_everything_is_stored_once(tmp_path: Path, seed: int) -> None:
    """Reading sets and events, under the sequences that they were journaled with."""
    pair = Pair(tmp_path, seed)
    pair.turn(Connected())
    for _ in range(STEPS):
        if pair.chance.random() < 0.3:
            pair.read(pair.chance.randrange(1, 9))
        if pair.chance.random() < 0.1:
            pair.misfortune()
        pair.turn()
        pair.carry(0.2)
        pair.clock.advance(pair.chance.randrange(3_000))
    pair.settle()
    assert pair.stored_events() == list(enumerate(pair.events, 1))
    assert pair.stored_sets() == [(n, one.read_at) for n, one in enumerate(pair.sets, 1)]
    assert pair.core.ingest.counts["conflicts"] == 0
    assert pair.uplink.journal.acknowledged().contiguous_from(1) == len(pair.sets)
    assert pair.uplink.journal.events_acknowledged() == len(pair.events)
    pair.close()


@pytest.fixture
def restored(tmp_path: Path) -> Iterator[Pair]:
    """A head end that lost its disk after forty sets and twenty events, and has a copy of half."""
    pair = Pair(tmp_path, 1)
    database = pair.world.settings().database
    copy = tmp_path / "copy.db"
    pair.read(20)
    pair.settle()
    pair.core.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(database, copy)
    pair.read(20)
    pair.settle()
    pair.core.store.close()
    for path in database.parent.glob(database.name + "*"):
        path.unlink()
    shutil.copy(copy, database)
    pair.core = pair.world.core()
    yield pair
    pair.close()


def test_a_restored_head_end_does_not_have_events_sent_for_ever(restored: Pair) -> None:
    """What the gateway will not send again is a hole, and what comes after it is acknowledged."""
    restored.read(4)
    restored.settle()
    assert [n for n, _ in restored.stored_events()] == [*range(1, 11), 21, 22]
    sent = restored.uplink.session.events_sent
    restored.clock.advance(600_000)
    restored.turn()
    assert restored.uplink.session.events_sent == sent


def test_a_restored_head_end_asks_for_its_readings_again(restored: Pair) -> None:
    """By an order, whose receipt comes back; every set is there afterwards, once."""
    restored.read(4)
    restored.settle()
    assert [n for n, _ in restored.stored_sets()] == [*range(1, 21), *range(41, 45)]
    announce(restored)
    span = (UTC_MS, UTC_MS + 3_600_000)
    states: list[str] = []
    request = ReadRequest(METER_ID, ENERGY, 60, "", span)
    restored.core.desk.order_read(request, lambda told: states.append(told["state"]))
    restored.core.ingest.commit()
    restored.core.desk.publish_queued()
    for _ in range(5):
        restored.carry(0)
        restored.turn()
    restored.settle()
    assert [n for n, _ in restored.stored_sets()] == list(range(1, 45))
    assert states[-1] == OrderState.DONE
    assert restored.uplink.backfills == [(METER_ID, *span)]
    assert restored.core.ingest.counts["conflicts"] == 0


def announce(pair: Pair) -> None:
    """A greeting is taken, so that the head end knows the meter."""
    pair.turn(Disconnected("gone"), Connected())
    pair.carry(0)
