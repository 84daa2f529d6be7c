"""The session's events, receipts and refusals; a new journal; configurations."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.sync.outbox import PATIENCE_DOUBLINGS_MAX
from edge.sync.session import REFUSAL_REPEAT_S
from edge.sync.transport import Connected, Disconnected, Refused
from protocols.envelope.claims import Claims
from protocols.envelope.events import EVENTS_MAX, decode_events
from protocols.envelope.keys import Use
from protocols.events import DETAIL_SIZE_MAX, EVENT_FRAME_SIZE_MAX, EVENT_FRAMES_MAX, Event
from protocols.messages import CONFIG, DATA, EVENT, HEAD_END, HELLO, Config, OrderState
from protocols.readings import Origin, TimeQuality
from tests.edge.fakes import UTC_MS, FakeClock, make_set
from tests.edge.head_end import HeadEnd, make_key
from tests.edge.uplink import UPLINK, Uplink, batches, make_event, numbers, told_events

TIMEOUT_MS = UPLINK["ack_timeout_ms"]


@pytest.fixture
def uplink(tmp_path: Path, clock: FakeClock) -> Iterator[Uplink]:
    """Not connected yet, nothing journaled."""
    one = Uplink(tmp_path, clock)
    yield one
    one.crash()


def sequences(heard: list[Any]) -> list[list[int]]:
    """Of each event message."""
    return [[sequence for sequence, _ in rows] for rows in told_events(heard)]


# ---- events up ----------------------------------------------------------------------------------


def test_events_go_before_batches_and_hold_what_was_told(uplink: Uplink) -> None:
    """After the greeting; every field, and the lowest sequence that is still to come."""
    frames = ((">", 0, b"\x68"), ("<", 90, b"\x68\x16"))
    sent = [make_event(1), make_event(2, "jump", subject="m-1", evidence=frames)]
    uplink.journaled(make_set(1))
    uplink.noted(*sent)
    heard = uplink.connect()
    assert [one.kind for one in heard] == [HELLO, EVENT, DATA]
    assert decode_events(heard[1].body) == (1, [(1, sent[0]), (2, sent[1])])
    assert uplink.session.events_sent == 2


def test_events_go_a_hundred_at_a_time_one_message_under_way(uplink: Uplink) -> None:
    """The next goes when the head end has the former, and none goes twice."""
    uplink.noted(*[make_event(n) for n in range(250)])
    heard = uplink.connect()
    assert sequences(heard) == [list(range(1, 101))]
    assert uplink.turn() == []
    assert sequences(uplink.ack(0, events=100)) == [list(range(101, 201))]
    assert sequences(uplink.ack(0, events=150)) == []
    assert sequences(uplink.ack(0, events=200)) == [list(range(201, 251))]
    assert uplink.ack(0, events=250) == []
    uplink.clock.advance(100 * TIMEOUT_MS)
    assert sequences(uplink.turn()) == []
    uplink.restart()
    assert sequences(uplink.connect()) == []


def test_unacknowledged_events_go_again_with_patience(uplink: Uplink, clock: FakeClock) -> None:
    """As batches do; an acknowledgement resets it."""
    uplink.connect_and_answer()
    uplink.noted(make_event(1))
    assert sequences(uplink.turn()) == [[1]]
    for doubling in [*range(PATIENCE_DOUBLINGS_MAX + 1), PATIENCE_DOUBLINGS_MAX]:
        clock.advance(TIMEOUT_MS << doubling)
        assert sequences(uplink.turn()) == []
        clock.advance(1)
        assert sequences(uplink.turn()) == [[1]]
    assert uplink.session.event_flow.messages_resent == PATIENCE_DOUBLINGS_MAX + 2
    uplink.noted(make_event(2))
    assert sequences(uplink.ack(0, events=1)) == [[2]]
    clock.advance(TIMEOUT_MS + 1)
    assert sequences(uplink.turn()) == [[2]]


@pytest.mark.parametrize("loss", [Disconnected("gone"), Refused("nobody")])
def test_events_go_again_after_a_loss(uplink: Uplink, loss: object) -> None:
    """Nothing is known of what was under way."""
    uplink.noted(make_event(1))
    assert sequences(uplink.connect()) == [[1]]
    assert sequences(uplink.turn(loss)) == []
    assert sequences(uplink.turn(Connected())) == [[1]]


def test_acknowledged_events_stay_acknowledged_over_a_restart(uplink: Uplink) -> None:
    """The mark is in the journal."""
    uplink.noted(*[make_event(n) for n in range(5)])
    uplink.connect()
    uplink.ack(0, events=3)
    uplink.restart()
    heard = uplink.connect()
    assert decode_events(heard[1].body)[0] == 4
    assert sequences(heard) == [[4, 5]]


def test_events_that_never_were_are_not_acknowledged(uplink: Uplink) -> None:
    """One of us has lost his memory; nothing of such a message is taken."""
    uplink.journaled(make_set(1))
    uplink.noted(make_event(1))
    uplink.connect()
    uplink.ack(1, events=2)
    assert uplink.session.refusals["schema"] == 1
    assert (uplink.stored(), uplink.session.event_flow.stored) == ([], 0)


def test_an_event_message_that_is_too_large_is_halved(uplink: Uplink) -> None:
    """A hundred with all the evidence they may have do not fit; every one goes once, in order."""
    chance = random.Random(5)

    def heavy(n: int) -> Event:
        frames = tuple((">", 0, chance.randbytes(EVENT_FRAME_SIZE_MAX)) for _ in range(64))
        assert len(frames) == EVENT_FRAMES_MAX
        return make_event(n, detail="d" * DETAIL_SIZE_MAX, evidence=frames)

    uplink.noted(*[heavy(n) for n in range(EVENTS_MAX)])
    got: list[int] = []
    heard = uplink.connect()
    for _ in range(EVENTS_MAX):
        messages = sequences(heard)
        assert len(messages) <= 1
        if not messages:
            break
        got += messages[0]
        heard = uplink.ack(0, events=got[-1])
    assert got == list(range(1, EVENTS_MAX + 1))


# ---- receipts -----------------------------------------------------------------------------------


def test_what_was_sent_of_receipts_is_forgotten_with_them(uplink: Uplink) -> None:
    """A gateway that runs for years does not collect them."""
    uplink.connect_and_answer()
    for n in range(1, 6):
        uplink.arrive(uplink.head_end.order(uplink.journal.epoch, n))
        uplink.ack(0, receipts=((n, OrderState.VERIFIED),))
    assert uplink.session._receipts._sent == {}


# ---- refusals -----------------------------------------------------------------------------------


def test_a_refused_message_is_an_event(uplink: Uplink) -> None:
    """Told with a pause between two; an acknowledgement that comes again is no news."""
    uplink.connect()
    order = uplink.head_end.order(uplink.journal.epoch, 1, key=HeadEnd().order_key)
    uplink.arrive(order)
    ((kind, detail),) = uplink.told
    assert kind == "message-refused"
    assert order[0] in detail
    assert uplink.pauses == [REFUSAL_REPEAT_S]
    again = uplink.head_end.ack(uplink.journal.epoch, 0)
    for _ in range(2):
        uplink.arrive(again)
    assert uplink.session.refusals["replayed"] == 1
    assert len(uplink.told) == 1


# ---- configurations -----------------------------------------------------------------------------


def config_message(uplink: Uplink, use: str) -> tuple[str, bytes]:
    """Sealed under the head end's key of this use."""
    key = make_key(HEAD_END, use)
    uplink.identity = uplink.identity._replace(
        trusted=type(uplink.identity.trusted)((*uplink.identity.trusted.records(), key.record))
    )
    uplink.restart()
    uplink.connect()
    claims = Claims(1, UTC_MS, 0, b"", uplink.journal.epoch, CONFIG.content_type)
    return uplink.head_end.seal(CONFIG, claims, Config(3, True, "a = 1\n").to_body(), key)


def test_a_configuration_goes_to_whoever_takes_it(uplink: Uplink) -> None:
    """And is not taken for an order."""
    uplink.arrive(config_message(uplink, Use.SIGN_CONFIG))
    assert uplink.configs == [Config(3, True, "a = 1\n")]
    assert (uplink.jobs, uplink.inbox.last_counter, uplink.acknowledged) == ([], 0, 1)
    assert uplink.session.refusals == {}


def test_a_configuration_under_another_key_is_refused(uplink: Uplink) -> None:
    """The order key changes no settings."""
    uplink.arrive(config_message(uplink, Use.SIGN_ORDER))
    assert uplink.configs == []
    assert uplink.session.refusals == {"key_use": 1}


def test_a_gateway_that_takes_no_configuration_refuses_it(uplink: Uplink) -> None:
    """Nobody was given who would take it."""
    uplink.takes_config = False
    uplink.arrive(config_message(uplink, Use.SIGN_CONFIG))
    assert uplink.session.refusals == {"schema": 1}


# ---- a new journal ------------------------------------------------------------------------------


def put_aside(uplink: Uplink) -> None:
    """The journal was damaged while the gateway ran, and a new one began."""
    uplink.journal.path.unlink()
    for end in ("-wal", "-shm"):
        uplink.journal.path.with_name(uplink.journal.path.name + end).unlink(missing_ok=True)
    uplink.journal.abandon()
    uplink.journal.open()
    uplink.writer.head = uplink.journal.head()


def test_a_new_epoch_while_running_begins_the_conversation_anew(uplink: Uplink) -> None:
    """A greeting at once, counters of its own, and rows and events from 1 on."""
    uplink.journaled(*[make_set(n) for n in range(12)])
    uplink.noted(*[make_event(n) for n in range(3)])
    uplink.connect_and_answer()
    uplink.ack(4, events=3)
    old = uplink.journal.epoch
    put_aside(uplink)
    uplink.journaled(make_set(50))
    uplink.noted(make_event(50))
    heard = uplink.turn()
    assert uplink.journal.epoch != old
    assert [one.kind for one in heard] == [HELLO, EVENT, DATA]
    assert {one.claims.epoch for one in heard} == {uplink.journal.epoch}
    assert [one.claims.sequence for one in heard] == [1, 2, 3]
    assert heard[0].body[4] == 1, "the head of the new journal"
    assert (sequences(heard), numbers(heard)) == ([[1]], [[1]])
    late = uplink.head_end.ack(old, 12, events=3)
    uplink.arrive(late)
    assert uplink.session.refusals["epoch"] == 1
    assert uplink.stored() == []
    uplink.ack(1, events=1)
    assert (uplink.session.outbox.backlog, uplink.session.event_flow.stored) == (0, 1)


# ---- progress and held rows ---------------------------------------------------------------------


def test_progress_is_the_last_turn_that_ended(
    uplink: Uplink, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours stops the watchdog's food; a disk that refuses does not."""
    seen = []

    def turn() -> None:
        seen.append(uplink.session.progress_at)
        clock.advance(10)
        if len(seen) == 2:
            raise OSError(28, "No space left on device")
        if len(seen) == 3:
            raise ValueError
        if len(seen) == 4:
            uplink.session._stopping.set()

    monkeypatch.setattr(uplink.session, "turn", turn)
    monkeypatch.setattr(uplink.session._stopping, "wait", lambda seconds: False)
    start = uplink.session.progress_at
    uplink.session._run()
    assert [at - start for at in seen] == [0, 10, 20, 20]
    assert uplink.session.progress_at - start == 40


def test_recorded_rows_do_not_wait_for_the_gateways_time(tmp_path: Path) -> None:
    """Their time is the meter's; what was read live at the same moment waits."""
    clock = FakeClock(TimeQuality.UNSYNCED)
    uplink = Uplink(tmp_path, clock)
    recorded = make_set(1, quality=TimeQuality.UNSYNCED, origin=Origin.LOAD_RECORD)
    live = make_set(2, quality=TimeQuality.UNSYNCED)
    uplink.journaled(recorded, live)
    assert batches(uplink.connect()) == [[(1, recorded)]]
    assert uplink.journal.flagged_sent() == 0, "nothing went flagged that could be re-timed"
    uplink.crash()
