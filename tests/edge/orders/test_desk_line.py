"""The whole gateway side at once: the desk's gate, the jobs of the product and a virtual meter on a
paced line. What the gate says is what reaches the wire."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.orders.gate import Gate
from edge.orders.jobs import job_for
from protocols.messages import Order, OrderState
from tests.edge.orders.desk_world import HOUR_MS, World
from tests.edge.orders.line_rig import ADDRESS, LineRig


class LineWorld(World):
    """`carried(order)` runs its job on the line of the rig, as the line's worker does."""

    def __init__(self, folder: Path, rig: LineRig) -> None:
        self.rig = rig
        super().__init__(folder, rig.clock, {"m-1": ADDRESS})

    def make_job(self, order: Order, counter: int, deadline: int, clock: Any, gate: Gate) -> Any:
        """That of the product."""
        return job_for(order, counter, deadline, clock, gate, self.rig.terms)

    def run(self, found: Any = None) -> None:
        """The line does what waits."""
        jobs, self.jobs = self.jobs, []
        line = self.rig.line
        for job in jobs:
            for until in _steps(job, line, self.rig.driver):
                if until is not None:
                    self.clock.advance(until - self.clock.boot_ms())


def _steps(job: Any, line: Any, driver: Any) -> Iterator[int | None]:
    steps = job.steps(line, driver, 1)
    while True:
        line.recording, line.may_send = job.recording, job.may_send
        try:
            until = next(steps)
        except StopIteration:
            return
        finally:
            line.recording = line.may_send = None
        yield until


@pytest.fixture
def line_world(tmp_path: Path) -> Iterator[LineWorld]:
    """A meter with a second observation, supplied."""
    rig = LineRig(tmp_path)
    one = LineWorld(tmp_path / "state", rig)
    one.policy()
    yield one
    one.crash()


def test_a_cut_and_a_restore_from_signature_to_observation(line_world: LineWorld) -> None:
    """One relay frame each; the receipts hold frames and facts, no password."""
    world, rig = line_world, line_world.rig
    cut = world.order()
    assert world.send(cut) == ""
    world.run()
    assert world.end(cut)[0] == OrderState.CONFIRMED
    assert len(rig.relay_frames()) == 1
    facts = dict(world.last(cut).facts)
    assert facts["relay before"].startswith("connected")
    assert facts["relay after"].startswith("disconnected")
    assert world.last(cut).evidence
    restore = world.order("arm")
    assert world.send(restore) == ""
    world.run()
    assert world.end(restore)[0] == OrderState.CONFIRMED
    assert "armed" in dict(world.last(restore).facts)["relay after"]
    assert len(rig.relay_frames()) == 2
    states = [one[6].get("state") for one in world.entries() if one[5] == cut.order_id]
    assert states.index(OrderState.ARMED) < states.index(OrderState.SENT)
    assert states[-1] == OrderState.CONFIRMED


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("protected", "protected"),
        ("hold", "on-hold"),
        ("window", "window"),
        ("lease", "lease-ended"),
        ("stop", "stopped"),
        ("ceiling", "ceiling-hour"),
        ("not allowed", "not-allowed"),
    ],
)
def test_what_the_gate_refuses_never_reaches_the_wire(
    line_world: LineWorld, what: str, code: str
) -> None:
    """The meter is read, and not one relay frame goes out."""
    world = line_world
    order = world.order()
    assert world.send(order) == ""
    if what == "protected":
        world.protected = frozenset({"m-1"})
    elif what == "hold":
        world.policy(cuts_until=0)
    elif what == "window":
        world.settings["windows"] = ["Sun 00:00-01:00"]
    elif what == "lease":
        now = world.clock.utc_ms()
        world.policy(cuts_until=now + 1)
        world.clock.advance(2)
    elif what == "stop":
        world.stop(order)
    elif what == "ceiling":
        world.settings["cuts_per_hour"] = 0
    else:
        world.settings["allow_cuts"] = False
    world.run()
    assert world.end(order)[1] == code
    assert world.rig.relay_frames() == []


def test_i19_a_crash_in_the_middle_of_the_line_work_sends_nothing_again(tmp_path: Path) -> None:
    """After each exchange of a cut in turn: at most one relay frame in all, and one final state."""
    for exchanges in range(1, 14):
        folder = tmp_path / str(exchanges)
        folder.mkdir()
        rig = LineRig(folder)
        world = LineWorld(folder / "state", rig)
        world.policy()
        order = world.order()
        claims = world.claims(order)
        world.send(order, claims)
        steps = _steps(world.jobs.pop(), rig.line, rig.driver)
        for n, until in enumerate(steps, 1):
            if n == exchanges:
                break
            if until is not None:
                world.clock.advance(until - world.clock.boot_ms())
        sent = len(rig.relay_frames())
        world.crash()  # the generator is left as it is: nobody tells it anything
        world.build()
        world.policy()
        assert world.send(order, claims) == "replayed"
        world.run()
        assert len(rig.relay_frames()) == sent <= 1
        state = world.end(order)[0]
        if not sent:
            assert state == OrderState.REFUSED
        else:
            assert state in (OrderState.UNKNOWN, OrderState.CONFIRMED)
        world.crash()


def test_a_lease_that_ends_during_the_reads_stops_the_cut(line_world: LineWorld) -> None:
    """The reads take their time on a slow line."""
    world = line_world
    now = world.clock.utc_ms()
    world.policy(cuts_until=now + 300)
    order = world.order()
    world.send(order)
    world.run()
    assert world.end(order) == (OrderState.REFUSED, "lease-ended")
    assert world.rig.relay_frames() == []
    world.policy(cuts_until=now + HOUR_MS)
    fresh = world.order()
    world.send(fresh)
    world.run()
    assert world.end(fresh)[0] == OrderState.CONFIRMED
