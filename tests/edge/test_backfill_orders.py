"""Orders to fill a span of time again: what the archive has goes again, the rest is asked for."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.orders.backfill_job import PORTION_SETS, REOPENED_SETS_MAX, SPAN_MS_MAX
from edge.orders.inbox import BACKFILLS_MAX
from edge.sync.transport import Disconnected
from protocols.envelope.claims import Claims
from protocols.envelope.seal import BODY_SIZE_MAX
from protocols.errors import CallerError
from protocols.messages import ORDER, Action, Order, OrderState, Receipt
from tests.edge.fakes import UTC_MS, FakeClock, make_set
from tests.edge.head_end import METER_ID, PROVIDER, make_order
from tests.edge.uplink import Uplink, numbers

FROM, TO = UTC_MS + 10_000, UTC_MS + 20_000  # sets 10..19 of make_set


@pytest.fixture
def uplink(tmp_path: Path, clock: FakeClock) -> Iterator[Uplink]:
    """Thirty sets of two meters in turn, all of which the head end had."""
    one = Uplink(tmp_path, clock)
    one.journaled(*[make_set(n, METER_ID if n % 2 else "m-2") for n in range(30)])
    one.journal.acknowledge(30, [])
    one.restart()
    one.connect_and_answer()
    yield one
    one.crash()


def backfill(number: int = 1, span: tuple[int, int] = (FROM, TO), **fields: object) -> Order:
    """An order for this span."""
    return make_order(number, action=Action.BACKFILL, arguments=span, **fields)


def arrive(uplink: Uplink, number: int = 1, order: Order | None = None) -> None:
    """It comes down, and the uplink does its work."""
    message = uplink.head_end.order(uplink.journal.epoch, number, order or backfill(number))
    uplink.arrive(message)
    uplink.turn()


def receipts(uplink: Uplink) -> list[Receipt]:
    """All that wait, oldest first."""
    reader = uplink.journal.reader()
    rows = reader.receipts(1000)
    reader.close()
    bodies = [PROVIDER.decode(PROVIDER.inflate(body, BODY_SIZE_MAX)) for _, _, body in rows]
    return [Receipt.from_body(body) for body in bodies]


def test_the_meters_sets_of_the_span_go_again(uplink: Uplink) -> None:
    """From <= read_at < to, of that meter alone; the meter is asked for the same span; the receipt
    tells the count. Nothing goes to the line."""
    message = uplink.head_end.order(uplink.journal.epoch, 1, backfill())
    heard = uplink.arrive(message) + uplink.turn()
    again = [n for rows in numbers(heard) for n in rows]
    assert again == [12, 14], "the window has two places for old rows"
    assert uplink.stored() == [(1, 11), (13, 13), (15, 15), (17, 17), (19, 19), (21, 30)]
    assert uplink.backfills == [(METER_ID, FROM, TO)]
    last = receipts(uplink)[-1]
    assert (last.state, last.counter) == (OrderState.DONE, 1)
    assert last.reason == ("5 of 5 reading sets go again; the meter is asked for its records")
    assert uplink.jobs == []
    uplink.ack(30)
    assert uplink.stored() == [(1, 30)], "the head end has them after all"


def test_rows_that_wait_anyway_are_not_counted(uplink: Uplink) -> None:
    """They were never acknowledged."""
    uplink.journal.reopen([(11, 14)])
    arrive(uplink)
    assert receipts(uplink)[-1].reason.startswith("3 of 5 reading sets go again")


def test_a_meter_that_can_not_be_asked(uplink: Uplink) -> None:
    """What the archive has goes all the same."""

    def refuse(*_: object) -> None:
        raise CallerError("its model keeps no records")

    uplink.inbox._ways = uplink.inbox._ways._replace(backfill=refuse)
    arrive(uplink)
    assert receipts(uplink)[-1].reason == (
        "5 of 5 reading sets go again; the meter is not asked: its model keeps no records"
    )
    uplink.inbox._ways = uplink.inbox._ways._replace(backfill=None)
    arrive(uplink, 2)
    last = receipts(uplink)[-1]
    assert last.state == OrderState.DONE
    assert last.reason.endswith("the meter's own records are not read here")


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (backfill(span=(FROM, FROM + SPAN_MS_MAX + 1)), "longer than 62 days"),
        (backfill(meter_id="m-9"), "does not have that meter"),
        (backfill(meter_address="000000000999"), "address is another"),
    ],
)
def test_a_backfill_that_can_not_be_is_refused(uplink: Uplink, order: Order, said: str) -> None:
    """With a receipt that says why, and nothing goes again."""
    arrive(uplink, 1, order)
    (receipt,) = receipts(uplink)
    assert receipt.state == OrderState.REFUSED
    assert said in receipt.reason
    assert (uplink.stored(), uplink.backfills) == ([(1, 30)], [])


def test_the_longest_span_is_allowed(uplink: Uplink) -> None:
    """To the millisecond."""
    arrive(uplink, 1, backfill(span=(FROM, FROM + SPAN_MS_MAX)))
    assert receipts(uplink)[-1].state == OrderState.DONE


@pytest.mark.parametrize("arguments", [(), (5,), (5, 5), (6, 5), (-1, 5), ("1", "2"), (1, 2, 3)])
def test_wrong_arguments_are_no_order(uplink: Uplink, arguments: tuple[object, ...]) -> None:
    """Refused by its schema."""
    message = uplink.head_end.order(
        uplink.journal.epoch, 1, backfill()._replace(arguments=arguments)
    )
    uplink.arrive(message)
    assert uplink.session.refusals == {"schema": 1}
    assert uplink.inbox.last_counter == 0


def test_an_action_that_is_unknown_here_is_refused(uplink: Uplink) -> None:
    """A newer head end's; it is never taken for a read, and its counter is not used up."""
    body = make_order(1).to_body()
    body[2] = "open-the-door"
    claims = Claims(1, UTC_MS, UTC_MS + 60_000, b"", uplink.journal.epoch, ORDER.content_type)
    uplink.arrive(uplink.head_end.seal(ORDER, claims, body))
    assert uplink.session.refusals == {"schema": 1}
    assert (uplink.jobs, uplink.inbox.last_counter) == ([], 0)


def test_too_many_backfills_are_refused(uplink: Uplink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that wait are done in order."""
    with monkeypatch.context() as patch:
        patch.setattr(uplink.inbox, "work", lambda *_: None)
        for number in range(1, BACKFILLS_MAX + 2):
            arrive(uplink, number)
    last = receipts(uplink)[-1]
    assert (last.counter, last.state) == (BACKFILLS_MAX + 1, OrderState.REFUSED)
    for _ in range(2 * BACKFILLS_MAX):
        uplink.turn()
    done = [one.counter for one in receipts(uplink) if one.state == OrderState.DONE]
    assert done == list(range(1, BACKFILLS_MAX + 1))
    assert not uplink.inbox.has_work


def test_a_backfill_goes_on_after_a_restart(
    uplink: Uplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken up is durable; while it holds it is done, after that it is said so."""
    with monkeypatch.context() as patch:
        patch.setattr("edge.orders.inbox.Inbox.work", lambda *_: None)
        arrive(uplink)
        uplink.restart()
    uplink.turn()
    uplink.turn()
    assert receipts(uplink)[-1].state == OrderState.DONE
    with monkeypatch.context() as patch:
        patch.setattr("edge.orders.inbox.Inbox.work", lambda *_: None)
        arrive(uplink, 2)
        uplink.clock.advance(130_000)
        uplink.restart()
    uplink.turn()
    assert receipts(uplink)[-1].state == OrderState.EXPIRED
    assert len(uplink.backfills) == 1


def test_a_long_span_is_looked_through_in_portions(tmp_path: Path, clock: FakeClock) -> None:
    """The uplink does its other work in between; there is a limit, and it is told."""
    uplink = Uplink(tmp_path, clock)
    count = REOPENED_SETS_MAX + 2 * PORTION_SETS
    for first in range(0, count, 1000):
        uplink.journal.append([make_set(n) for n in range(first, first + 1000)])
    uplink.writer.head = uplink.journal.head()
    uplink.journal.acknowledge(count, [])
    uplink.restart()
    uplink.connect_and_answer()
    span = (UTC_MS, UTC_MS + count * 1000)
    uplink.arrive(uplink.head_end.order(uplink.journal.epoch, 1, backfill(span=span)))
    turns = 0
    while uplink.inbox.has_work:
        uplink.turn()
        turns += 1
        assert turns < 100
    assert turns >= REOPENED_SETS_MAX // PORTION_SETS - 1
    last = receipts(uplink)[-1]
    assert last.reason == (
        f"{REOPENED_SETS_MAX} of {REOPENED_SETS_MAX} reading sets go again; there are more, ask for"
        " a shorter span; the meter is asked for its records"
    )
    assert uplink.session.outbox.backlog == REOPENED_SETS_MAX
    uplink.crash()


def test_a_disk_that_refuses_has_it_tried_again(
    uplink: Uplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is lost."""

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(uplink.journal, "reopen", refuse)
        with pytest.raises(sqlite3.OperationalError):
            arrive(uplink)
        assert uplink.inbox.has_work
    uplink.turn(Disconnected("gone"))
    uplink.turn()
    assert receipts(uplink)[-1].state == OrderState.DONE
    assert uplink.backfills == [(METER_ID, FROM, TO)]
