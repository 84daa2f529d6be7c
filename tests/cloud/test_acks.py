"""Acknowledgements: only the truth, strictly rising, in as many messages as it needs."""

from cloud.app import Core
from protocols.messages import NO_TERMS, RANGES_MAX, RECEIPTS_MAX, Order, OrderState
from protocols.obis import Obis
from tests.cloud.world import NOW, World

DAY_MS = 86_400_000


def test_an_acknowledgement_tells_what_is_stored(world: World, core: Core) -> None:
    """upto, the ranges above it, our time; its own counter, the gateway's epoch, one day."""
    core.ingest.handle(*world.gateway.data([1, 2, 3]))
    core.ingest.handle(*world.gateway.data([7, 8, 12]))
    core.ingest.commit()
    (message,) = world.broker.take()
    claims, ack = world.gateway.open_ack(message)
    assert (claims.sequence, claims.issued_at, claims.expires_at) == (1, NOW, NOW + DAY_MS)
    assert claims.epoch == ack.epoch == world.gateway.epoch
    assert (ack.upto, ack.ranges) == (3, ((7, 8), (12, 12)))
    assert (ack.head_end_time, ack.nonce, ack.receipts) == (NOW, b"", ())
    assert message.expiry_s == 86_400


def test_nothing_is_told_before_the_commit(world: World, core: Core) -> None:
    """And one acknowledgement a gateway is enough for a whole transaction."""
    for n in range(1, 20):
        core.ingest.handle(*world.gateway.data([n]))
        assert world.broker.sent == []
    core.ingest.commit()
    assert len(world.broker.sent) == 1


def test_a_hello_is_answered_with_its_nonce(world: World, core: Core) -> None:
    """At once, also when nothing is stored yet."""
    core.ingest.handle(*world.gateway.hello(head=5))
    core.ingest.commit()
    ack = world.gateway.open_ack(world.broker.take()[0])[1]
    assert (ack.upto, ack.ranges, ack.nonce) == (0, (), world.gateway.nonce)
    core.ingest.handle(*world.gateway.data([1]))
    core.ingest.commit()
    assert world.gateway.open_ack(world.broker.take()[0])[1].nonce == b""


def test_the_counter_rises_over_restarts(world: World) -> None:
    """Also when an acknowledgement was lost."""
    counters = []
    for n in range(1, 5):
        core = world.core()
        world.broker.is_up = n != 2
        core.ingest.handle(*world.gateway.data([n]))
        core.ingest.commit()
        counters += [world.gateway.open_ack(m)[0].sequence for m in world.broker.take()]
        core.store.close()
    assert counters == [1, 3, 4]


def test_every_known_gateway_is_greeted(tmp_path: object) -> None:
    """On a new connection each hears the current state of its current epoch, no stranger does."""
    world = World(tmp_path, ("gw1", "gw2", "gw3"))  # type: ignore[arg-type]
    core = world.core()
    for name, count in (("gw1", 3), ("gw2", 5)):
        core.ingest.handle(*world.gateways[name].data(range(1, count + 1)))
    core.ingest.commit()
    world.broker.take()
    core.ingest.greet_all()
    core.ingest.commit()
    told = {}
    for message in world.broker.take():
        gateway = world.gateways[message.topic.split("/")[3]]
        told[gateway.name] = gateway.open_ack(message)[1].upto
    assert told == {"gw1": 3, "gw2": 5}
    core.store.close()


def test_more_ranges_than_fit_are_left_for_the_next(world: World, core: Core) -> None:
    """The lowest come first, and the message stays within its schema."""
    core.ingest.handle(*world.gateway.data(range(2, 2 * RANGES_MAX + 40, 2)))
    core.ingest.commit()
    ack = world.gateway.open_ack(world.broker.take()[0])[1]
    assert ack.upto == 0 and len(ack.ranges) == RANGES_MAX and ack.ranges[0] == (2, 2)


def test_more_receipts_than_fit_go_into_several(world: World, core: Core) -> None:
    """Each is told once, each message has a counter of its own."""
    order = Order(bytes(16), "read", "meter-1", "1", Obis.from_text("1-0:1.8.0"), (), NO_TERMS, ())
    for n in range(RECEIPTS_MAX + 10):
        core.ingest.handle(*world.gateway.receipt(order, n, OrderState.DONE))
    core.ingest.commit()
    answers = [world.gateway.open_ack(m) for m in world.broker.take()]
    assert [claims.sequence for claims, _ in answers] == [1, 2]
    told = [one for _, ack in answers for one in ack.receipts]
    assert sorted(told) == [(n, "done") for n in range(RECEIPTS_MAX + 10)]


def test_a_gateway_without_a_key_is_left_out(world: World, core: Core) -> None:
    """Its data are stored; nothing is sealed to a revoked key; the others are served."""
    core.ingest.handle(*world.gateway.data([1]))
    world.write_registry(revoked=(world.gateway.opening.record.kid,))
    core.ingest.commit()
    assert world.broker.sent == []
    world.write_registry()
    core.ingest.handle(*world.gateway.data([2]))
    core.ingest.commit()
    assert world.gateway.open_ack(world.broker.take()[0])[1].upto == 2
