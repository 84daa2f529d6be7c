"""The writer's thread, one step at a time: groups, failures of the database, and requests."""

import sqlite3
from collections.abc import Iterator

import pytest

from cloud.app import Core
from cloud.ingest.mailbox import (
    Connected,
    Disconnected,
    Gone,
    Mailbox,
    Message,
    Published,
    Request,
    Starved,
)
from cloud.service import Service
from cloud.store.rows import SetBatch
from protocols.messages import OrderState
from tests.cloud.world import World


class Post:
    """Messages whose acknowledgement towards the broker is noted."""

    def __init__(self, world: World, core: Core) -> None:
        self.world = world
        self.core = core
        self.mailbox = Mailbox(100)
        self.acknowledged: list[int] = []
        self.count = 0
        self.service = Service(
            self.mailbox, core.ingest, core.desk, core.configs, world.broker, world.clock, 5, 20
        )

    def put(self, message: tuple[str, bytes]) -> None:
        number = self.count
        self.count += 1
        taken = Message(*message, False, lambda: self.acknowledged.append(number))
        assert self.mailbox.put_message(taken)

    def run(self) -> None:
        """Everything that waits."""
        while (event := self.mailbox.take(0)) is not None:
            self.service.step(event)

    def ask(self, **body: object) -> list[dict]:
        replies: list[dict] = []
        self.mailbox.put(Request(body, replies.append))
        self.run()
        return replies


@pytest.fixture
def post(world: World, core: Core, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    monkeypatch.setattr("cloud.service.RETRY_MS", 0)
    return Post(world, core)  # type: ignore[return-value]


def test_a_group_is_one_transaction(post: Post) -> None:
    """At most commit_messages, acknowledged to the broker after the commit and in order."""
    commits = []
    post.core.store.db.set_trace_callback(
        lambda text: commits.append(text) if text == "COMMIT" else None
    )
    for n in range(1, 13):
        post.put(post.world.gateway.data([n]))
    post.run()
    post.core.store.db.set_trace_callback(None)
    assert len(commits) == 3
    assert post.acknowledged == list(range(12))
    assert len(post.world.broker.sent) == 3


def test_a_refused_message_is_acknowledged(post: Post) -> None:
    """It will never become good; those beside it are stored."""
    post.put(post.world.gateway.data([1]))
    post.put(("busbar/1/t1/gw1/up/d", b"garbage"))
    post.put(("nonsense", b""))
    post.put(post.world.gateway.data([2]))
    post.run()
    assert post.acknowledged == [0, 1, 2, 3]
    status = post.ask(op="status")[0]["status"]
    assert (status["messages"], status["sets"], status["refused"]) == (4, 2, 2)


class Sick:
    """A database whose commit fails some times."""

    def __init__(self, store: object, errors: list[Exception]) -> None:
        self._commit = store.commit  # type: ignore[attr-defined]
        self.errors = errors

    def __call__(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self._commit()


def test_a_full_disk_loses_nothing(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is acknowledged or told until the database can write again; then everything."""
    errors: list[Exception] = [sqlite3.OperationalError("disk full")] * 4
    monkeypatch.setattr(post.core.store, "commit", Sick(post.core.store, errors))
    for n in (1, 2, 3):
        post.put(post.world.gateway.data([n]))
    post.run()
    assert post.acknowledged == [0, 1, 2]
    assert post.world.gateway.open_ack(post.world.broker.take()[-1])[1].upto == 3
    assert post.core.store.db.execute("SELECT count(*) FROM reading_set").fetchone()[0] == 3


def test_stopping_while_the_disk_is_full_leaves_messages_with_the_broker(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come again to the next head end."""
    errors: list[Exception] = [sqlite3.OperationalError("disk full")] * 9
    monkeypatch.setattr(post.core.store, "commit", Sick(post.core.store, errors))
    post.put(post.world.gateway.data([1]))
    post.service.stop()
    post.run()
    assert post.acknowledged == [] and post.world.broker.sent == []


def test_a_message_that_breaks_our_code_does_not_stop_the_others(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group is taken one by one; the one is counted as internal."""
    add_sets = post.core.store.add_sets

    def fault(gateway: object, epoch: object, sets: SetBatch, now: int) -> object:
        if sets.sequences == [2]:
            raise RuntimeError("a fault")
        return add_sets(gateway, epoch, sets, now)  # type: ignore[arg-type]

    monkeypatch.setattr(post.core.store, "add_sets", fault)
    for n in (1, 2, 3):
        post.put(post.world.gateway.data([n]))
    post.run()
    assert post.acknowledged == [0, 1, 2]
    db = post.core.store.db
    assert db.execute("SELECT sequence FROM reading_set").fetchall() == [(1,), (3,)]
    assert db.execute("SELECT reason, count FROM refusal").fetchall() == [("internal", 1)]


def test_a_row_that_is_there_against_the_ledger_costs_one_message(post: Post) -> None:
    """A database that somebody changed by hand: named, counted, and the service goes on."""
    post.put(post.world.gateway.data([1, 2]))
    post.run()
    db = post.core.store.db
    db.execute("DELETE FROM stored_range")
    post.core.ingest.rollback()
    post.put(post.world.gateway.data([2, 3]))
    post.put(post.world.gateway.data([4]))
    post.run()
    assert post.acknowledged == [0, 1, 2]
    assert [row[0] for row in db.execute("SELECT sequence FROM reading_set")] == [1, 2, 4]
    assert db.execute("SELECT reason, count FROM refusal").fetchall() == [("internal", 1)]


def test_a_connection_greets_and_sends_what_waits(post: Post) -> None:
    """Acknowledgements for all, and the orders that could not be sent."""
    post.put(post.world.gateway.hello())
    post.run()
    post.world.broker.take()
    post.world.broker.is_up = False
    replies = post.ask(op="order_read", meter="meter-1", obis="1-0:1.8.0")
    assert [reply["state"] for reply in replies] == ["draft", "signed", "queued"]
    post.world.broker.is_up = True
    post.mailbox.put(Connected())
    post.run()
    topics = [message.topic for message in post.world.broker.take()]
    # The policy answers the hello, and goes ahead of the orders; once is enough.
    wanted = ["dn/a", "dn/p", "dn/c"]
    assert topics == [post.world.gateway.topic(one) for one in wanted]
    post.mailbox.put(Disconnected())
    post.mailbox.put(Connected())
    post.run()
    again = [message.topic for message in post.world.broker.take()]
    assert again == [post.world.gateway.topic(one) for one in ("dn/a", "dn/c")]
    post.mailbox.put(Published(post.world.broker.tokens[-1]))
    post.run()
    assert replies[-1]["state"] == "published"


def test_an_order_is_followed_to_its_end(post: Post) -> None:
    """Request, receipts among data, and the final answer to the one who asked."""
    gateway = post.world.gateway
    post.put(gateway.hello())
    replies = post.ask(op="order_read", meter="meter-1", obis="1-0:1.8.0", valid_s=30)
    claims, order = gateway.open_order(post.world.broker.take()[-1])
    post.put(gateway.data([1]))
    post.put(gateway.receipt(order, claims.sequence, OrderState.VERIFIED))
    post.put(gateway.receipt(order, claims.sequence, OrderState.DONE))
    post.run()
    assert [reply["state"] for reply in replies][-2:] == ["verified", "done"]
    assert replies[-1]["final"] is True


def test_a_sweep_ends_what_is_over(post: Post) -> None:
    """The service's own tick; it is told to the one who asked."""
    post.put(post.world.gateway.hello())
    replies = post.ask(op="order_read", meter="meter-1", obis="1-0:1.8.0", valid_s=5)
    post.world.clock.now += 60_000
    post.service.sweep()
    assert replies[-1]["state"] == "unknown"  # the broker has it, or the gateway


def test_who_went_away_is_told_nothing(post: Post) -> None:
    """The order goes on without a watcher."""
    post.put(post.world.gateway.hello())
    replies: list[dict] = []
    reply = replies.append
    post.mailbox.put(Request({"op": "order_read", "meter": "meter-1", "obis": "1-0:1.8.0"}, reply))
    post.mailbox.put(Gone(reply))
    post.run()
    count = len(replies)
    post.world.clock.now += 100_000
    post.service.sweep()
    assert len(replies) == count
    assert post.core.store.db.execute("SELECT state FROM meter_order").fetchall() == [("unknown",)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "op must be"),
        ({"op": "drop"}, "op must be"),
        ({"op": ["x"]}, "op must be"),
        ({"op": "order_read"}, "meter must be"),
        ({"op": "order_read", "meter": "x", "obis": "1-0:1.8.0"}, "no gateway has announced"),
    ],
)
def test_a_request_that_is_none(post: Post, body: dict, said: str) -> None:
    """One sentence, and the service goes on."""
    replies = post.ask(**body)
    assert len(replies) == 1 and said in replies[0]["error"] and replies[0]["final"]


def test_a_full_mailbox_leaves_messages_with_the_broker(world: World) -> None:
    """The bound holds for messages; events are still taken."""
    mailbox = Mailbox(3)
    message = Message("t", b"", False, lambda: None)
    assert [mailbox.put_message(message) for _ in range(5)] == [True, True, True, False, False]
    mailbox.put(Starved())
    assert len(mailbox) == 4
    assert mailbox.take(0) is message
    assert [mailbox.put_message(message) for _ in range(2)] == [True, False]


def test_a_starved_connection_is_renewed_behind_what_waits(post: Post) -> None:
    """So that what was left with the broker comes again."""
    post.put(post.world.gateway.data([1]))
    post.mailbox.put(Starved())
    post.run()
    assert post.acknowledged == [0] and post.world.broker.renewed == 1
