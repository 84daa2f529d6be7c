"""kill -9 between each two adjacent steps of an order, one by one: the commits of the gateway's
journal, the files of its counters, the writes to its line; and on either side of every commit of
the head end.

After the restart nothing more goes to the relay for that order, and it has a final state that says
no more than anybody can know.
"""

from pathlib import Path

import pytest

from edge.journal.highwater import HighWater
from protocols.orders.states import FINAL_STATES, OrderState
from tests.orders.power import PowerCut
from tests.orders.rig import SECOND, Body, Rig

ACTIONS = ("disconnect", "arm", "connect", "prices", "keep-power-on")
STEPS_MAX = 300
# A part of the shards where the machine is small; all of them together are every step.
SHARDS = 4
NOTHING_SENT = (OrderState.REFUSED, OrderState.NOT_DONE, OrderState.EXPIRED, OrderState.UNKNOWN)
HONEST = (OrderState.UNKNOWN, OrderState.CONFIRMED, OrderState.CONTRADICTED)


def make_rig(base: Path, n: int) -> Rig:
    """One of its own for each kill."""
    folder = base / str(n)
    folder.mkdir()
    return Rig(folder)


def prepare(rig: Rig, action: str) -> Body:
    """A meter that the action makes a difference to, and the order."""
    if action in ("arm", "connect"):
        rig.carry_out("disconnect")
        assert rig.is_open()
    more = {"arguments": [1, 5000]} if action == "prices" else {}
    return rig.order(action, **more)


def is_done(rig: Rig, action: str) -> bool:
    """Whether the meter shows what the action is for."""
    relay = rig.meter().relay
    if action == "disconnect":
        return rig.is_open()
    if action == "arm":
        return not relay.is_told_open
    if action == "connect":
        return not rig.is_open()
    return bool(relay.keeps_power)


def steps_of(base: Path, action: str) -> list[str]:
    """The steps of an undisturbed order."""
    rig = make_rig(base, STEPS_MAX)
    order = prepare(rig, action)
    rig.gateway.power.watch()
    assert rig.settle(order) == OrderState.CONFIRMED, rig.shown(order)
    rig.close()
    return rig.gateway.power.steps


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("action", ["disconnect", "arm"])
def test_i15_i19_the_gateway_is_killed_at_each_step(folder: Path, action: str, shard: int) -> None:
    """Before it and behind it."""
    steps = steps_of(folder, action)
    assert {one.split()[1] for one in steps} == {"commit", "file", "wire"}
    assert 20 < len(steps) < STEPS_MAX
    for n in range(shard, len(steps), SHARDS):
        rig = make_rig(folder, n)
        order = prepare(rig, action)
        before, mark = rig.relay_frames(), HighWater(rig.gateway.state).value
        rig.gateway.power.light(n)
        for _ in range(60):
            rig.run(SECOND)
            if not rig.gateway.is_running:
                break
        assert not rig.gateway.is_running, f"step {n} was never taken"
        frames = rig.relay_frames()
        is_taken = HighWater(rig.gateway.state).value > mark
        rig.gateway.start()
        state = rig.end(order)
        where = f"killed {steps[n]} ({n} of {len(steps)}): {state} {rig.states(order)}"
        assert rig.relay_frames() == frames or not is_taken, where
        check_end(rig, order, action, rig.relay_frames() - before, where)
        rig.close()


def check_end(rig: Rig, order: Body, action: str, frames: int, where: str) -> None:
    """What was told is final, and no more than can be known."""
    state = rig.head.state(order)
    assert state in FINAL_STATES, where
    assert frames <= 1, where
    if not frames:
        assert state in NOTHING_SENT, where
    else:
        assert state in (*HONEST, OrderState.NOT_DONE), where
    if state == OrderState.CONFIRMED:
        assert is_done(rig, action), where
    if state == OrderState.NOT_DONE:
        assert not is_done(rig, action), where
    told = [one for one in rig.states(order) if one in FINAL_STATES and one != OrderState.UNKNOWN]
    assert len(told) <= 1, where


# ---- the head end -------------------------------------------------------------------------------


def insist(rig: Rig, action: str) -> Body:
    """People who ask again when the head end is gone: the same key, the approvals that lack."""
    for _ in range(4):
        try:
            order = rig.head.propose("m1", action=action, key="once")
            for name in ("anna", "ben")[: order["approvals_needed"]]:
                approvers = [one["approver"] for one in order["approvals"]]
                if f"person:{name}" not in approvers:
                    order = rig.head.approve(order, name)
            return order
        except PowerCut:
            rig.restart_head()
    raise AssertionError("the head end never came back")


def head_steps(base: Path, action: str) -> int:
    """How many commits it takes, counted on both sides."""
    rig = make_rig(base, STEPS_MAX)
    if action == "arm":
        rig.carry_out("disconnect")
    rig.head.power.watch()
    order = insist(rig, action)
    assert rig.settle(order) == OrderState.CONFIRMED
    rig.close()
    return len(rig.head.power.steps)


@pytest.mark.parametrize("action", ["disconnect", "arm"])
def test_i15_i19_the_head_end_is_killed_at_each_commit(folder: Path, action: str) -> None:
    """Asked for again with the same key it is one order, with one frame, and its end is known."""
    steps = head_steps(folder, action)
    assert 20 < steps < STEPS_MAX
    for n in range(steps):
        rig = make_rig(folder, n)
        if action == "arm":
            rig.carry_out("disconnect")
        before = rig.relay_frames()
        rig.head.power.watch()
        rig.head.power.light(n)
        order = insist(rig, action)
        state = rig.end(order)
        assert rig.head.power.has_gone, f"commit {n} was never made"
        orders = rig.head.db.execute("SELECT count(*) FROM meter_order").fetchone()[0]
        assert orders == 1 + (action == "arm"), n
        assert state == OrderState.CONFIRMED, (n, rig.states(order))
        assert rig.relay_frames() == before + 1, n
        assert is_done(rig, action), n
        rig.close()
