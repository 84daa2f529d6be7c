"""Events: from a sealed message to a row, an acknowledgement and a line on the screen."""

import json
import logging
from typing import Any

import pytest

from cloud.app import Core
from cloud.store.reader import Reader, StoredEvent
from protocols.envelope.events import encode_events
from protocols.messages import EVENT
from tests.cloud.console import Console
from tests.cloud.world import NOW, World, event

FRAMES = ((">", 0, b"\x68\x11"), ("<", 120, b"\x68\x91\x16"))
COVER = event(
    2, "meter-cover-opened", subject="meter-1", number=3, drift_s=-41, evidence=FRAMES, quality=1
)


def stored(world: World) -> list[StoredEvent]:
    """Every event, the earliest heard first."""
    with Reader(world.settings().database) as reader:
        return list(reader.latest_events())[::-1]


def told(world: World) -> int:
    """How far the gateway is told that its events are stored, by the last acknowledgement."""
    return world.gateway.open_ack(world.broker.take()[-1])[1].events


def test_an_event_is_stored_as_it_was_told(world: World, core: Core) -> None:
    """Every field and frame; and it is acknowledged after the commit alone."""
    assert core.ingest.handle(*world.gateway.events([(1, event(1)), (2, COVER)])) == ""
    assert world.broker.sent == []
    core.ingest.commit()
    assert stored(world) == [
        StoredEvent("gw1", 1, event(1), NOW), StoredEvent("gw1", 2, COVER, NOW)
    ]  # fmt: skip
    assert told(world) == 2
    assert core.ingest.counts["events"] == 2


def test_events_that_overtake_each_other_are_told_when_the_hole_is_closed(
    world: World, core: Core
) -> None:
    """Only what is complete from 1 on counts, over several transactions."""
    for sequences, upto in (([3, 4], 0), ([1], 1), ([7], 1), ([2], 4), ([5, 6], 7), ([8], 8)):
        rows = [(n, event(n)) for n in sequences]
        assert core.ingest.handle(*world.gateway.events(rows)) == ""
        core.ingest.commit()
        assert told(world) == upto
    assert [one.sequence for one in stored(world)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_hole_below_what_the_gateway_still_has_is_closed(world: World, core: Core) -> None:
    """Of a head end that was restored from an old copy, or a journal that lost events: what will
    never come is not waited for. A late message takes nothing back."""
    for rows, lowest, upto in (([1, 2], 1, 2), ([7], 5, 4), ([9], 7, 7), ([5], 1, 7), ([8], 8, 9)):
        sent = [(n, event(n)) for n in rows]
        assert core.ingest.handle(*world.gateway.events(sent, lowest)) == ""
        core.ingest.commit()
        assert told(world) == upto
    assert [one.sequence for one in stored(world)] == [1, 2, 5, 7, 8, 9]


def test_an_event_that_comes_again_is_stored_once(world: World) -> None:
    """In one transaction, in another, and by a head end that has started anew."""
    core = world.core()
    rows = [(1, event(1)), (2, COVER)]
    core.ingest.handle(*world.gateway.events(rows))
    core.ingest.handle(*world.gateway.events(rows))
    core.ingest.commit()
    core.ingest.handle(*world.gateway.events([*rows, (3, event(3))]))
    core.ingest.commit()
    assert core.ingest.counts["duplicates"] == 4
    core.store.close()
    again = world.core()
    again.ingest.handle(*world.gateway.events(rows))
    again.ingest.commit()
    again.store.close()
    assert [one.sequence for one in stored(world)] == [1, 2, 3]
    assert told(world) == 3


@pytest.mark.parametrize(
    "change",
    [{"detail": "other"}, {"drift_s": 0}, {"evidence": ()}, {"at": 5}, {"kind": "stopped"}],
)
def test_another_event_under_a_stored_sequence_is_a_conflict(
    world: World, core: Core, change: dict[str, Any]
) -> None:
    """The first stays, and an alarm is counted; what is new beside it is stored."""
    core.ingest.handle(*world.gateway.events([(1, COVER)]))
    core.ingest.commit()
    core.ingest.handle(*world.gateway.events([(1, COVER._replace(**change)), (2, event(2))]))
    core.ingest.commit()
    assert [one.event for one in stored(world)] == [COVER, event(2)]
    assert (core.ingest.counts["conflicts"], core.ingest.counts["events"]) == (1, 2)
    with Reader(world.settings().database) as reader:
        assert [row[:3] for row in reader.refusals()] == [("gw1", "conflict", 1)]


def test_each_epoch_counts_for_itself(world: World, core: Core) -> None:
    """A new journal begins at 1 again; both are kept."""
    core.ingest.handle(*world.gateway.events([(1, event(1)), (2, event(2))]))
    core.ingest.handle(*world.gateway.events([(1, event(3))], epoch=b"another1"))
    core.ingest.commit()
    acks = [world.gateway.open_ack(message)[1] for message in world.broker.take()]
    assert {ack.epoch: ack.events for ack in acks} == {world.gateway.epoch: 2, b"another1": 1}
    assert [one.event for one in stored(world)] == [event(1), event(2), event(3)]


def test_a_rolled_back_event_was_never_there(world: World, core: Core) -> None:
    """Neither the row nor what is told of it; of a gateway that is known already, too."""
    core.ingest.handle(*world.gateway.hello())
    core.ingest.commit()
    core.ingest.handle(*world.gateway.events([(1, event(1))]))
    core.ingest.rollback()
    core.ingest.handle(*world.gateway.data([1]))
    core.ingest.commit()
    assert stored(world) == []
    assert told(world) == 0


def test_a_hello_is_answered_with_the_events_that_are_stored(world: World, core: Core) -> None:
    """And so is a replay, after a crash between commit and acknowledgement."""
    message = world.gateway.events([(1, event(1))])
    core.ingest.handle(*message)
    core.ingest.commit()
    world.broker.take()
    core.ingest.handle(*world.gateway.hello())
    core.ingest.commit()
    assert told(world) == 1
    assert core.ingest.handle(*message) == "replayed"
    core.ingest.commit()
    assert told(world) == 1


def test_a_new_start_knows_what_is_stored(world: World) -> None:
    """The first acknowledgement after it tells the same."""
    core = world.core()
    core.ingest.handle(*world.gateway.events([(1, event(1)), (2, event(2))]))
    core.ingest.commit()
    core.store.close()
    again = world.core()
    again.ingest.handle(*world.gateway.data([1]))
    again.ingest.commit()
    again.store.close()
    assert told(world) == 2


def test_faulty_events_are_refused_whole(world: World, core: Core) -> None:
    """Signed is not the same as right."""
    body = encode_events([(1, event(1)), (2, event(2))], 1)
    body[2][1][1] = "No Kind"
    assert core.ingest.handle(*world.gateway.seal(EVENT, body)) == "schema"
    core.ingest.commit()
    assert stored(world) == []


def test_alarms_are_logged(world: World, core: Core, caplog: pytest.LogCaptureFixture) -> None:
    """Once, each on a line that a subject can not break; what only informs is not."""
    caplog.set_level(logging.WARNING, "cloud.ingest")
    rows = [(1, event(1)), (2, COVER._replace(subject="m\nERROR"))]
    core.ingest.handle(*world.gateway.events(rows))
    core.ingest.handle(*world.gateway.events(rows))
    (line,) = caplog.messages
    assert line == "alarm_told gateway=gw1 kind=meter-cover-opened subject='m\\nERROR'"


# ---- the command -------------------------------------------------------------------------------


@pytest.fixture
def filled(world: World, core: Core) -> Core:
    """Three kinds and severities, heard at different times; one kind that we do not know."""
    core.ingest.handle(*world.gateway.events([(1, event(1)), (2, COVER)]))
    core.ingest.commit()
    world.clock.now = NOW + 3_600_000
    rows = [(3, event(3, "line-down", subject="line1", at=5)), (4, event(4, "of-next-year"))]
    core.ingest.handle(*world.gateway.events(rows))
    core.ingest.commit()
    return core


def test_events_as_a_table(console: Console, filled: Core) -> None:
    """In the order in which they were heard of; a number and a drift where there is one."""
    lines = console("events").splitlines()
    assert lines[0].split() == [
        "time", "quality", "gateway", "severity", "kind", "subject", "number", "drift_s", "detail",
    ]  # fmt: skip
    assert [line.split()[3:5] for line in lines[1:]] == [
        ["info", "started"], ["alarm", "meter-cover-opened"], ["alarm", "line-down"],
        ["warning", "of-next-year"],
    ]  # fmt: skip
    assert lines[2].split() == [
        "2025-11-21T04:39:00.002Z", "rtc", "gw1", "alarm", "meter-cover-opened", "meter-1", "3",
        "-41", "number", "2",
    ]  # fmt: skip
    assert lines[3].startswith("1970-01-01T00:00:00.005Z")


def test_events_as_json(console: Console, filled: Core) -> None:
    """With the frames, what the kind means, and when the head end heard of it."""
    rows = json.loads(console("events", "gw1", "--json"))
    assert rows[1] == {
        "time": "2025-11-21T04:39:00.002Z",
        "quality": "rtc",
        "gateway": "gw1",
        "severity": "alarm",
        "kind": "meter-cover-opened",
        "subject": "meter-1",
        "number": 3,
        "drift_s": -41,
        "detail": "number 2",
        "meaning": "recorded by the meter: meter cover opened",
        "at": NOW - 59_998,
        "received_at": NOW,
        "sequence": 2,
        "evidence": [[">", 0, "6811"], ["<", 120, "689116"]],
    }
    assert (rows[0]["number"], rows[0]["drift_s"], rows[3]["meaning"]) == (None, None, None)


@pytest.mark.parametrize(
    ("words", "sequences"),
    [
        ([], [1, 2, 3, 4]),
        (["gw1"], [1, 2, 3, 4]),
        (["--severity", "info"], [1, 2, 3, 4]),
        (["--severity", "warning"], [2, 3, 4]),
        (["--severity", "alarm"], [2, 3]),
        (["--since", "2025-11-21T05:40:00Z"], [3, 4]),
        (["--since", "2025-11-21T05:40:00.001Z"], []),
        (["--limit", "1"], [4]),
        (["--limit", "1", "--severity", "alarm"], [3]),
    ],
)
def test_events_are_chosen(
    console: Console,
    filled: Core,
    words: list[str],
    sequences: list[int],
) -> None:
    """By gateway, severity and when they were heard of: an event of 1970 is not hidden."""
    rows = json.loads(console("events", "--json", *words))
    assert [row["sequence"] for row in rows] == sequences


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gw7"], "gateway 'gw7' is not known"),
        (["--since", "yesterday"], "'yesterday' is not a time such as"),
        (["--limit", "0"], "--limit must be"),
    ],
)
def test_events_that_can_not_be(
    console: Console,
    filled: Core,
    words: list[str],
    said: str,
) -> None:
    """One sentence."""
    assert said in console.refused("events", *words)
