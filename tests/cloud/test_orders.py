"""Orders from the desk to a final state, with a gateway that verifies and answers."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.app import Core
from cloud.orders.desk import RECEIPT_GRACE_MS, ReadRequest
from cloud.store.reader import Reader
from protocols.envelope.claims import check_order
from protocols.errors import CallerError, EnvelopeError
from protocols.messages import Action, Order, OrderState, check_target
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading
from tests.cloud.world import NOW, World

ENERGY = Obis.from_text("1-0:1.8.0")
READ = ReadRequest("meter-1", ENERGY, 60, "")
READING = Reading(ENERGY, Quantity(26, 1, "Wh", Kind.CUMULATIVE))
FRAMES = ((">", 0, b"\xfe\xfe\x68"), ("<", 41, b"\x68\x16"))


class Bench:
    """A head end with a gateway that has said hello."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.gateway = world.gateway
        self.events: list[dict] = []
        self.open()
        self.handle(self.gateway.hello(last_order=6))
        self.core.desk.publish_queued()  # the policy that answers the hello
        self.core.ingest.commit()
        world.broker.take()

    def open(self) -> None:
        self.core: Core = self.world.core()

    def restart(self) -> None:
        self.core.store.close()
        self.core.desk.connection_lost()
        self.open()

    def handle(self, message: tuple[str, bytes]) -> str:
        word = self.core.ingest.handle(*message)
        self.core.ingest.commit()
        return word

    def ask(self, request: ReadRequest = READ) -> bytes:
        order_id = self.core.desk.order_read(request, self.events.append)
        self.core.ingest.commit()
        self.core.desk.publish_queued()
        return order_id

    def take_order(self) -> tuple[int, Order]:
        """What the gateway gets, judged by its rules: (counter, order)."""
        (message,) = self.world.broker.take()
        claims, order = self.gateway.open_order(message)
        check_order(claims, 6, self.world.clock.now, {})
        check_order(claims, 6, 0, {self.gateway.nonce: 100})
        check_target(order, "202611000001")
        return claims.sequence, order

    def puback(self) -> None:
        self.core.desk.published(self.world.broker.tokens.pop())
        self.core.ingest.commit()

    def states(self) -> list[str]:
        return [event["state"] for event in self.events]

    def sweep(self, ms: int) -> None:
        self.world.clock.now += ms
        self.core.desk.sweep()
        self.core.ingest.commit()


@pytest.fixture
def bench(world: World) -> Iterator[Bench]:
    bench = Bench(world)
    yield bench
    bench.core.store.close()


def test_an_order_goes_its_way(bench: Bench) -> None:
    """Every state is told in order, with the reading and the frames at the end."""
    order_id = bench.ask()
    counter, order = bench.take_order()
    assert (counter, order.order_id, order.obis) == (7, order_id, ENERGY)
    bench.puback()
    for state in (OrderState.VERIFIED, OrderState.SENT):
        assert bench.handle(bench.gateway.receipt(order, counter, state)) == ""
    done = bench.gateway.receipt(
        order, counter, OrderState.DONE, readings=(READING,), evidence=FRAMES
    )
    bench.handle(done)
    assert bench.states() == [
        "draft", "signed", "queued", "published", "verified", "sent", "done",
    ]  # fmt: skip
    last = bench.events[-1]
    assert last["final"] and not bench.events[-2]["final"]
    assert last["readings"] == [["1-0:1.8.0*255", 26, 1, "Wh", 1]]
    assert last["evidence"] == [[">", 0, "fefe68"], ["<", 41, "6816"]]
    told = [bench.gateway.open_ack(m)[1].receipts for m in bench.world.broker.take()]
    assert told == [((7, "verified"),), ((7, "sent"),), ((7, "done"),)]
    bench.core.desk.publish_queued()
    assert bench.world.broker.sent == []


def test_the_claims_bind_counter_time_nonce_and_epoch(bench: Bench) -> None:
    """So a gateway without a trusted clock can judge it too."""
    bench.ask()
    claims, _ = bench.gateway.open_order(bench.world.broker.sent[0])
    assert claims.sequence == 7  # one above what the gateway said it had taken up
    assert (claims.issued_at, claims.expires_at) == (NOW, NOW + 60_000)
    assert (claims.nonce, claims.epoch) == (bench.gateway.nonce, bench.gateway.epoch)
    assert bench.world.broker.sent[0].expiry_s == 60


def test_counters_rise_over_restarts(bench: Bench) -> None:
    """Also above what a hello with a lower counter says."""
    counters = []
    for _ in range(3):
        bench.ask()
        counters.append(bench.gateway.open_order(bench.world.broker.take()[-1])[0].sequence)
        bench.restart()
        bench.handle(bench.gateway.hello(last_order=2))
        bench.world.broker.take()
    assert counters == [7, 8, 9]


def test_an_order_is_no_acknowledgement(bench: Bench) -> None:
    """Another key, another topic: one does not open as the other."""
    bench.ask()
    (message,) = bench.world.broker.take()
    with pytest.raises(EnvelopeError):
        bench.gateway.open_ack(message._replace(topic=bench.gateway.topic("dn/a")))


REFUSALS = [
    (READ._replace(meter_id="nobody"), "no gateway has announced meter 'nobody'"),
    (READ._replace(gateway_id="gw2"), "gateway gw2 has not announced meter 'meter-1'"),
]


@pytest.mark.parametrize(("request_", "sentence"), REFUSALS)
def test_an_order_that_can_not_be_made(bench: Bench, request_: ReadRequest, sentence: str) -> None:
    """One sentence, and no trace."""
    with pytest.raises(CallerError, match=sentence):
        bench.ask(request_)
    assert bench.core.store.db.execute("SELECT count(*) FROM meter_order").fetchone()[0] == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"meter": ""}, "meter must be a text"),
        ({"meter": 5}, "meter must be a text"),
        ({"obis": "1.8.0"}, "is not an OBIS code"),
        ({"obis": None}, "obis must be"),
        ({"valid_s": 4}, "must be 5 to 3600"),
        ({"valid_s": 3601}, "must be 5 to 3600"),
        ({"valid_s": True}, "whole number"),
        ({"valid_s": "60"}, "whole number"),
        ({"gateway": "GW 1"}, "gateway must be"),
        ({"gateway": 7}, "gateway must be"),
        *[
            ({"span": odd}, "span must be")
            for odd in (
                [1],
                [1, 2, 3],
                [2, 2],
                [2, 1],
                [-1, 5],
                [True, 5],
                [1, 2.0],
                ["1", "2"],
                5,
                "12",
                None,
                {"from": 1},
            )
        ],
    ],
)
def test_a_request_is_checked(change: dict, said: str) -> None:
    """Each field, before anything else happens."""
    good = {"meter": "m", "obis": "1-0:1.8.0", "valid_s": 60}
    assert ReadRequest.from_json(good) == ReadRequest("m", ENERGY, 60, "")
    assert ReadRequest.from_json({**good, "span": [1, 2]}).span == (1, 2)
    with pytest.raises(CallerError, match=said):
        ReadRequest.from_json({**good, **change})


def test_a_backfill_is_an_order_like_others(bench: Bench) -> None:
    """Signed with its span, counted, stored under its action."""
    bench.ask(READ._replace(span=(1_000, 2_000)))
    _, order = bench.take_order()
    assert (order.action, order.arguments) == (Action.BACKFILL, (1_000, 2_000))
    with Reader(bench.world.settings().database) as reader:
        assert [row.action for row in reader.orders(5)] == [Action.BACKFILL]


def test_a_meter_of_two_gateways_needs_a_name(tmp_path: Path) -> None:
    """The choice is the operator's; with it the order goes to that gateway."""
    world = World(tmp_path, ("gw1", "gw2"))
    bench = Bench(world)
    other = world.gateways["gw2"]
    bench.handle(other.hello())
    world.broker.take()
    with pytest.raises(CallerError, match="announced by gw1, gw2; name one with --gateway"):
        bench.ask()
    bench.ask(READ._replace(gateway_id="gw2"))
    claims, order = other.open_order(world.broker.take()[-1])
    assert (claims.sequence, order.meter_id) == (1, "meter-1")
    bench.core.store.close()


def test_an_order_waits_for_the_broker(bench: Bench) -> None:
    """Queued while there is no connection, sent once when there is one."""
    bench.world.broker.is_up = False
    bench.ask()
    assert bench.states()[-1] == "queued"
    bench.world.broker.is_up = True
    bench.core.desk.publish_queued()
    bench.core.desk.publish_queued()
    bench.take_order()
    bench.puback()
    assert bench.states()[-1] == "published"


def test_a_lost_connection_sends_the_same_message_again(bench: Bench) -> None:
    """The gateway sees one order: the very same bytes."""
    bench.ask()
    (first,) = bench.world.broker.take()
    bench.core.desk.connection_lost()
    bench.core.desk.publish_queued()
    (second,) = bench.world.broker.take()
    assert first.payload == second.payload


def test_orders_survive_a_restart(bench: Bench) -> None:
    """Queued ones are sent, published ones go on when receipts come."""
    bench.ask()
    (first,) = bench.world.broker.take()
    bench.restart()
    bench.core.desk.publish_queued()
    (again,) = [one for one in bench.world.broker.take() if one.topic.endswith("dn/c")]
    assert first.payload == again.payload
    bench.puback()
    bench.restart()
    claims, order = bench.gateway.open_order(again)
    bench.handle(bench.gateway.receipt(order, claims.sequence, OrderState.DONE))
    row = bench.core.desk._orders.find(order.order_id)
    assert row is not None and row.state == "done"
    bench.core.desk.publish_queued()
    topics = [one.topic[-4:] for one in bench.world.broker.take()]
    assert sorted(topics) == ["dn/a", "dn/p"]  # acknowledgement and policy, no order


def test_a_receipt_may_come_before_the_puback(bench: Bench) -> None:
    """Then the order is not published any more."""
    bench.ask()
    counter, order = bench.take_order()
    bench.handle(bench.gateway.receipt(order, counter, OrderState.VERIFIED))
    bench.puback()
    assert bench.states() == ["draft", "signed", "queued", "verified"]


def test_receipts_are_stored_once(bench: Bench) -> None:
    """Told again in another message: one row, one event, told again in an acknowledgement."""
    bench.ask()
    counter, order = bench.take_order()
    for _ in range(3):
        bench.handle(bench.gateway.receipt(order, counter, OrderState.REFUSED, reason="address"))
    assert bench.states().count("refused") == 1 and bench.events[-1]["reason"] == "address"
    db = bench.core.store.db
    assert db.execute("SELECT count(*) FROM receipt").fetchone()[0] == 1
    acks = [bench.gateway.open_ack(m)[1] for m in bench.world.broker.take()]
    assert [ack.receipts for ack in acks] == [((counter, "refused"),)] * 3


def test_receipts_out_of_order_do_not_go_back(bench: Bench) -> None:
    """Done stays done; the late ones are stored and told."""
    bench.ask()
    counter, order = bench.take_order()
    for state in (OrderState.DONE, OrderState.SENT, OrderState.VERIFIED, OrderState.REFUSED):
        bench.handle(bench.gateway.receipt(order, counter, state))
    assert bench.states()[-1] == "done"
    assert bench.core.store.db.execute("SELECT count(*) FROM receipt").fetchone()[0] == 4


def test_a_final_order_stays_as_it_is_in_the_store(bench: Bench) -> None:
    """Nobody watches it any more, so only the rows show it: neither its state nor its events."""
    bench.ask()
    counter, order = bench.take_order()
    db = bench.core.store.db
    bench.handle(bench.gateway.receipt(order, counter, OrderState.DONE))
    before = db.execute("SELECT * FROM order_event").fetchall()
    for state in (OrderState.SENT, OrderState.REFUSED, OrderState.EXPIRED, OrderState.UNKNOWN):
        bench.handle(bench.gateway.receipt(order, counter, state))
        assert db.execute("SELECT state FROM meter_order").fetchall() == [("done",)]
    assert db.execute("SELECT * FROM order_event").fetchall() == before


def test_a_receipt_of_another_gateway_moves_nothing(tmp_path: Path) -> None:
    """Nor one with another counter, nor one for an order that is not ours."""
    world = World(tmp_path, ("gw1", "gw2"))
    bench = Bench(world)
    bench.ask()
    counter, order = bench.take_order()
    bench.handle(world.gateways["gw2"].receipt(order, counter, OrderState.DONE))
    bench.handle(bench.gateway.receipt(order, counter + 1, OrderState.DONE))
    bench.handle(bench.gateway.receipt(order._replace(order_id=bytes(16)), 99, OrderState.DONE))
    assert bench.states()[-1] == "queued"
    bench.core.store.close()


def test_silence_after_publishing_is_unknown_until_a_late_receipt_says(bench: Bench) -> None:
    """Not before its time and grace are over. The gateway may have it: only it knows."""
    bench.ask()
    counter, order = bench.take_order()
    bench.puback()
    bench.sweep(60_000 + RECEIPT_GRACE_MS)
    assert bench.states()[-1] == "published"
    bench.sweep(1)
    assert bench.states()[-1] == "unknown" and bench.events[-1]["final"]
    bench.handle(bench.gateway.receipt(order, counter, OrderState.SENT))
    row = bench.core.desk._orders.find(order.order_id)
    assert row is not None and row.state == "unknown"
    bench.handle(bench.gateway.receipt(order, counter, OrderState.DONE))
    row = bench.core.desk._orders.find(order.order_id)
    assert row is not None and row.state == "done"
    bench.handle(bench.gateway.receipt(order, counter, OrderState.REFUSED))
    row = bench.core.desk._orders.find(order.order_id)
    assert row is not None and row.state == "done"


@pytest.mark.parametrize("state", [OrderState.VERIFIED, OrderState.SENT])
def test_silence_after_verification_is_unknown(bench: Bench, state: str) -> None:
    """Bytes may have been on the wire: the honest word."""
    bench.ask()
    counter, order = bench.take_order()
    bench.handle(bench.gateway.receipt(order, counter, state))
    bench.sweep(60_001 + RECEIPT_GRACE_MS)
    assert bench.states()[-1] == "unknown"


def test_silence_is_noticed_at_the_start(bench: Bench) -> None:
    """An order that expired while the service was down ends too. Whether it had left before is not
    kept, so nobody may say that it was not carried out."""
    bench.world.broker.is_up = False
    order_id = bench.ask()
    bench.restart()
    bench.world.clock.now += 1_000_000
    bench.world.broker.is_up = True
    bench.core.desk.publish_queued()
    assert not any(one.topic.endswith("dn/c") for one in bench.world.broker.sent)
    bench.sweep(0)
    row = bench.core.desk._orders.find(order_id)
    assert row is not None and row.state == "unknown"


def test_events_are_only_added(bench: Bench) -> None:
    """What happened can be neither changed nor deleted."""
    order_id = bench.ask()
    db = bench.core.store.db
    for statement in ("DELETE FROM order_event", "UPDATE order_event SET state = 'done'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(statement)
    found = db.execute("SELECT state FROM order_event WHERE order_id = ?", (order_id,)).fetchall()
    assert [row[0] for row in found] == ["draft", "signed", "queued"]


def test_a_rolled_back_order_is_not_told(bench: Bench) -> None:
    """News are only of what is durable; the counter is free again, since nothing left."""
    bench.core.desk.order_read(READ, bench.events.append)
    bench.core.ingest.rollback()
    bench.core.ingest.commit()
    assert bench.events == [] and bench.core.desk._life._watchers == {}
    bench.ask()
    assert bench.take_order()[0] == 7


def test_no_order_without_a_key(bench: Bench) -> None:
    """A revoked gateway gets none."""
    bench.world.write_registry(revoked=(bench.gateway.opening.record.kid,))
    with pytest.raises(CallerError, match="no order can be sealed to gw1"):
        bench.ask()


def test_open_orders_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused until one has ended."""
    monkeypatch.setattr("cloud.orders.reading.OPEN_ORDERS_MAX", 3)
    for _ in range(3):
        bench.ask()
    with pytest.raises(CallerError, match="3 orders are open"):
        bench.ask()
    bench.sweep(60_001 + RECEIPT_GRACE_MS)
    bench.ask()
    assert bench.states()[-1] == "queued"
