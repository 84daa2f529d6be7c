"""What never moves a relay: a restart, an upgrade, a step of the clock, a new connection, messages
that were kept or are a week old, another configuration (I19, I14). The whole path runs; what would
have gone out is counted on the line."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from edge.journal import opening
from protocols.messages import ORDER, POLICY, STOP
from protocols.orders.states import FINAL_STATES, OrderState
from protocols.readings import TimeQuality
from tests.orders.rig import DAY, HOUR, SECOND, Body, Rig

ACTIONS = ("disconnect", "arm")
WEEK = 7 * DAY
_COLUMNS = "counter, order_id, body, expires_at, state"


def waiting(rig: Rig, action: str) -> Body:
    """An order that the gateway has taken up, and whose meter says nothing yet."""
    if action == "arm":
        rig.carry_out("disconnect")
    rig.gateway.is_silent = True
    order = rig.order(action)
    rig.exchange()
    assert rig.states(order) == [OrderState.VERIFIED]
    rig.gateway.is_silent = False
    return order


def stays_still(rig: Rig, frames: int) -> bool:
    """Whatever waits has its time, and nothing goes out."""
    rig.run(20 * SECOND)
    rig.pass_time(HOUR)
    return rig.relay_frames() == frames


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("is_boot", [False, True])
def test_i19_a_restart_sends_nothing(rig: Rig, action: str, is_boot: bool) -> None:
    """Of a process or of the machine, with an order at hand."""
    order = waiting(rig, action)
    frames = rig.relay_frames()
    for _ in range(3):
        rig.gateway.restart(is_boot)
        rig.run(5 * SECOND)
    assert stays_still(rig, frames)
    assert rig.states(order)[-1] == OrderState.REFUSED


def test_i19_a_start_without_an_order_sends_nothing_at_all(rig: Rig) -> None:
    """Ten times; polls go out, commands do not."""
    for n in range(10):
        rig.gateway.restart(is_boot=bool(n % 2))
        rig.run(2 * SECOND)
    assert rig.gateway.commands == []


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("version", [0, 1])
def test_i19_an_upgrade_sends_nothing(rig: Rig, action: str, version: int) -> None:
    """The journal of a former version, with an order in each state in which it may have stood."""
    order = waiting(rig, action)
    frames = rig.relay_frames()
    rig.gateway.die()
    path = rig.gateway.state / "journal.db"
    states = (OrderState.RECEIVED, OrderState.VERIFIED, OrderState.SENT)
    _make_older(path, version, states)
    rig.gateway.start()
    assert stays_still(rig, frames)
    assert rig.rows("PRAGMA user_version") == [(opening.VERSION,)]
    assert len(list(rig.gateway.state.glob("journal-damaged*"))) == 0
    left = dict(rig.rows("SELECT state, count(*) FROM order_inbox GROUP BY state"))
    assert set(left) <= set(FINAL_STATES), (left, order)


def _make_older(path: Path, version: int, states: tuple[str, ...]) -> None:
    """The file as that version had it, by its own schema; the rows of the inbox stay."""
    db = sqlite3.connect(path)
    orders = db.execute(f"SELECT {_COLUMNS} FROM order_inbox").fetchall()
    last = orders[-1]
    orders += [(last[0] + n + 1, *last[1:4], state) for n, state in enumerate(states)]
    marks = db.execute("SELECT name, value FROM mark").fetchall()
    db.close()
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)
    here = Path(opening.__file__).parent
    names = ["schema.sql", *(f"schema-{n + 1}.sql" for n in range(version))]
    schema = "".join((here / name).read_text() for name in names)
    db = sqlite3.connect(path)
    db.executescript("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;" + schema)
    db.execute(f"PRAGMA user_version={version}")
    db.executemany("INSERT OR REPLACE INTO mark VALUES (?,?)", marks)
    db.executemany(f"INSERT INTO order_inbox ({_COLUMNS}) VALUES (?,?,?,?,?)", orders)
    db.commit()
    db.close()


@pytest.mark.parametrize("ms", [-365 * DAY, -DAY, -HOUR, HOUR, DAY])
def test_i19_t11_a_step_of_the_clock_revives_nothing(rig: Rig, ms: int) -> None:
    """Behind the expiry of a cut that nobody carried out, the clock is set to when it was good."""
    rig.gateway.is_silent = True
    order = rig.order()
    rig.exchange()
    letters = rig.captured(ORDER.suffix)
    rig.pass_time(HOUR)
    rig.gateway.is_silent = False
    rig.clock.set_utc(rig.now() + ms)
    rig.wire.down += letters
    rig.run(20 * SECOND)
    rig.gateway.restart()
    rig.wire.down += letters
    assert stays_still(rig, 0)
    assert rig.head.state(order) in FINAL_STATES


def test_t11_a_clock_that_nobody_vouches_for_cuts_nobody(rig: Rig) -> None:
    """No clock chip and no network time: a cut is refused, a restore is carried out."""
    rig.carry_out("disconnect")
    frames = rig.relay_frames()
    rig.meter().relay._supply.close(rig.now())
    rig.meter().relay.is_told_open = False
    rig.clock.set_quality(TimeQuality.UNSYNCED)
    rig.clock.anchor = lambda *_: False  # type: ignore[method-assign]
    rig.gateway.restart(is_boot=True)
    rig.run(5 * SECOND)
    cut = rig.order()
    rig.end(cut)
    assert rig.relay_frames() == frames
    assert rig.head.state(cut) in (OrderState.REFUSED, OrderState.EXPIRED, OrderState.CANCELLED)


@pytest.mark.parametrize("action", ACTIONS)
def test_i19_a_new_connection_sends_nothing_again(rig: Rig, action: str) -> None:
    """The broker brings everything of the session once more."""
    if action == "arm":
        rig.carry_out("disconnect")
    assert rig.carry_out(action)["state"] == OrderState.CONFIRMED
    frames = rig.relay_frames()
    for _ in range(3):
        rig.link(False)
        rig.run(2 * SECOND)
        rig.link(True)
        rig.wire.down += list(rig.wire.seen)
        rig.run(5 * SECOND)
    assert stays_still(rig, frames)


@pytest.mark.parametrize("action", ACTIONS)
def test_i14_i19_what_the_broker_keeps_is_refused(rig: Rig, action: str) -> None:
    """An order that was never delivered, and comes as a retained message."""
    if action == "arm":
        rig.carry_out("disconnect")
    frames = rig.relay_frames()
    rig.link(False)
    order = rig.order(action)
    rig.raise_all()
    rig.wire.down = [
        one._replace(retained=True) if one.suffix in (ORDER.suffix, POLICY.suffix) else one
        for one in rig.wire.down
    ]
    assert any(one.suffix == ORDER.suffix for one in rig.wire.down)
    rig.link(True)
    rig.run(10 * SECOND)
    assert rig.states(order) == []
    assert stays_still(rig, frames)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("is_restarted", [False, True])
def test_i19_a_message_of_last_week_is_refused(rig: Rig, action: str, is_restarted: bool) -> None:
    """Never delivered then; every kind of message of that week comes together now."""
    if action == "arm":
        rig.carry_out("disconnect")
    frames = rig.relay_frames()
    rig.link(False)
    order = rig.order(action)
    rig.raise_all()
    kept, rig.wire.down = rig.wire.down, []
    assert any(one.suffix == ORDER.suffix for one in kept)
    rig.pass_time(WEEK, DAY)
    if is_restarted:
        rig.gateway.restart(is_boot=True)
    rig.wire.down = kept
    rig.link(False)
    rig.link(True)
    rig.run(10 * SECOND)
    assert stays_still(rig, frames)
    assert rig.head.state(order) in FINAL_STATES
    assert rig.head.state(order) != OrderState.CONFIRMED


@pytest.mark.parametrize("action", ACTIONS)
def test_i19_another_configuration_sends_nothing(rig: Rig, action: str) -> None:
    """Read again while nothing waits, and while an order waits for its meter: that order is carried
    out once at most, and what was carried out before is not."""
    rig.carry_out("disconnect")
    frames = rig.relay_frames()
    rig.gateway.change("line", retries=1)
    rig.gateway.reload()
    rig.run(5 * SECOND)
    rig.gateway.change("orders", cuts_per_hour=1, windows=["Mon-Sun 00:00-24:00"])
    rig.gateway.reload()
    assert stays_still(rig, frames)
    order = waiting_restore(rig) if action == "arm" else None
    if order is None:
        return
    rig.gateway.change("line", retries=2)
    rig.gateway.reload()
    rig.settle(order)
    assert stays_still(rig, frames + (rig.head.state(order) == OrderState.CONFIRMED))


def waiting_restore(rig: Rig) -> Body:
    """A restore whose meter is silent."""
    rig.gateway.is_silent = True
    order = rig.order("arm")
    rig.run(5 * SECOND)
    rig.gateway.is_silent = False
    return order


def test_i19_a_copied_card_sends_nothing(rig: Rig, folder: Path) -> None:
    """Yesterday's card, with a cut that was about to be carried out on it."""
    order = waiting(rig, "disconnect")
    rig.gateway.die()
    shutil.copytree(rig.gateway.state, folder / "image")
    rig.gateway.start()
    rig.run(5 * SECOND)
    rig.pass_time(DAY)
    rig.gateway.die(is_boot=True)
    shutil.rmtree(rig.gateway.state)
    shutil.copytree(folder / "image", rig.gateway.state)
    rig.gateway.start()
    rig.run(5 * SECOND)
    assert stays_still(rig, 0)
    assert rig.head.state(order) in FINAL_STATES


def test_a_stop_may_be_kept_by_the_broker(rig: Rig) -> None:
    """What forbids may come in any way: a retained stop holds."""
    rig.gateway.is_silent = True
    order = rig.order()
    rig.exchange()
    rig.link(False)
    rig.head.ask("order_cancel", {"name": "olga", "roles": ["operator"]}, order=order["order"],
                 reason="a mistake")  # fmt: skip
    rig.raise_all()
    rig.wire.down = [one._replace(retained=one.suffix == STOP.suffix) for one in rig.wire.down]
    assert any(one.retained for one in rig.wire.down)
    rig.link(True)
    rig.gateway.is_silent = False
    rig.end(order)
    assert rig.relay_frames() == 0
    assert rig.head.state(order) == OrderState.CANCELLED


@pytest.mark.parametrize(("action", "life"), [("disconnect", 900 * SECOND), ("arm", DAY)])
def test_i14_an_order_that_waits_for_its_line_ends_with_its_time(
    rig: Rig, action: str, life: int
) -> None:
    """Taken up in time; its line has its turn a second too late."""
    if action == "arm":
        rig.carry_out("disconnect")
    frames = rig.relay_frames()
    order = rig.order(action)
    rig.exchange()
    assert rig.states(order) == [OrderState.VERIFIED]
    rig.clock.advance(life + SECOND)
    rig.run(10 * SECOND)
    assert rig.states(order)[-1] == OrderState.EXPIRED
    assert rig.relay_frames() == frames
