"""Pain 8: the same reading is stored twice."""

import random
from pathlib import Path

import pytest

from cloud.app import Core
from cloud.store.reader import Reader
from protocols.envelope.batch import decode_batch, encode_batch
from protocols.messages import DATA
from tests.cloud.world import World, reading_set
from tests.edge.fakes import FakeClock
from tests.pains.gateway import MINUTE_MS, Gateway, dlt645, is_unbroken, slots_of
from tests.pains.meters import Bus, Dlt645


class Repeating(Gateway):
    """The network loses acknowledgements, and delivers messages twice and late."""

    chance: random.Random

    def talk(self, *events: object) -> None:
        """As the other one, on a worse network."""
        self.writer.work()
        heard = self.turn(*events)
        self.transport.sent.clear()
        for one in heard * self.chance.randint(1, 2):
            self.store.take(one)
        if self.store.owes and self.chance.random() < 0.4:
            message = self.head_end.ack(
                self.journal.epoch,
                **self.store.answer(self.journal.epoch),
                time=self.clock.utc_ms(),
            )
            for _ in range(self.chance.randint(1, 2)):
                for one in self.arrive(message):
                    self.store.take(one)
        self.transport.sent.clear()


@pytest.mark.parametrize("seed", range(6))
def test_redelivery_lost_acknowledgements_and_restarts_make_nothing_twice(
    tmp_path: Path, clock: FakeClock, seed: int
) -> None:
    """thingsboard-gateway #2098 (a pack is sent again whole when one of its messages fails),
    vzlogger #98: every reading has one sequence, whatever is sent how often."""
    chance = random.Random(seed)
    meters = [Dlt645(n, clock) for n in (1, 2)]
    Repeating.chance = chance
    gateway = Repeating(tmp_path, clock, {"line-1": Bus(*meters)}, [dlt645(1), dlt645(2)])
    for _ in range(6):
        gateway.go_online()
        gateway.run_for(chance.randrange(30_000, 3 * MINUTE_MS))
        if chance.random() < 0.5:
            gateway.restart()
    gateway.go_online()
    gateway.run_for(30_000)
    for _ in range(40):
        clock.advance(5_000)
        gateway.talk()
    stored = gateway.store.sets()
    assert gateway.store.repeats > 0
    assert gateway.session.outbox.backlog == 0
    assert stored == gateway.journaled_sets()
    for meter in ("m-1", "m-2"):
        assert is_unbroken(slots_of(stored, meter))


@pytest.mark.parametrize("seed", range(3))
def test_the_head_end_stores_a_repeated_row_once(tmp_path: Path, seed: int) -> None:
    """vzlogger #98: its own batches cut anew after a time-out, in any order and number, into the
    head end's database; and a restart of the head end between two of them."""
    chance = random.Random(seed)
    world = World(tmp_path)
    rows = dict(decode_batch(encode_batch([(n, reading_set(n)) for n in range(1, 101)], 100))[1])
    core: Core = world.core()
    sent = 0
    while sent < 400:
        first = chance.randint(1, 100)
        last = min(first + chance.randint(0, 30), 100)
        batch = [(n, rows[n]) for n in range(first, last + 1)]
        message = world.gateway.seal(DATA, encode_batch(batch, 100))
        for _ in range(chance.randint(1, 2)):
            core.ingest.handle(*message)
        core.ingest.commit()
        sent += len(batch)
        if chance.random() < 0.1:
            core.store.close()
            core = world.core()
    core.ingest.handle(*world.gateway.seal(DATA, encode_batch(sorted(rows.items()), 100)))
    core.ingest.commit()
    core.store.close()
    with Reader(world.settings().database) as reader:
        (key,) = reader.meters("meter-1")
        found = sorted((one.sequence, one.read_at, one.values[0]) for one in reader.sets(key))
    assert found == [
        (n, one.read_at, one.readings[0].quantity.value) for n, one in sorted(rows.items())
    ]
