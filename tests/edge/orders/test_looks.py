"""A restart behind an order that was sent: one look at the meter tells what became of it, and no
frame goes out that is no read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.collect.supply_rules import CLOSED, OPEN, UNSETTLED
from edge.orders.aftermath import AftermathJob
from edge.orders.found import RefusedHere
from edge.orders.jobs import aftermath_of
from protocols.messages import OrderState
from protocols.orders.refusals import code_of
from tests.edge.orders.desk_world import CLOSED as FOUND_CLOSED
from tests.edge.orders.desk_world import OPEN as FOUND_OPEN
from tests.edge.orders.desk_world import World
from tests.edge.orders.line_rig import ADDRESS, OPERATOR, LineRig

FACTS = (
    ("relay before", "connected (0000)"),
    ("current before", "5875 mA"),
    ("records before", "0"),
)


class PowerCutError(Exception):
    """The process ends here."""


class Site:
    """A gateway and the meter m-1 on its line."""

    def __init__(self, folder: Path) -> None:
        self.rig = LineRig(folder)
        self.world = World(folder / "state", self.rig.clock, {"m-1": ADDRESS})
        self.world.make_look = self._make_look
        self.world.policy()

    def _make_look(self, order: Any, counter: int, clock: Any, gate: Any, known: Any) -> Any:
        return aftermath_of(order, counter, clock, gate, self.rig.terms, known)

    def send(self, action: str = "disconnect", facts: Any = FACTS) -> Any:
        """An order; the power goes behind its frame, and comes again."""
        world = self.world
        order = world.order(action)
        assert world.send(order) == ""

        def cut(here: str) -> None:
            if here == "written":
                raise PowerCutError

        found = FOUND_CLOSED if action == "disconnect" else FOUND_OPEN
        with pytest.raises(PowerCutError):
            world.jobs.pop().run(found._replace(facts=facts), cut)
        return order

    def obey(self) -> None:
        """The meter did as it was told."""
        self.rig.meter.relay._disconnect(OPERATOR)
        self.rig.meter.relay.settle()

    def restart(self) -> None:
        """And a policy, with which more could be sent."""
        self.world.restart(is_boot=True)
        self.world.policy()
        self.rig.asked.clear()

    def look(self) -> None:
        """The line does what waits: reads."""
        jobs, self.world.jobs = self.world.jobs, []
        for job in jobs:
            assert isinstance(job, AftermathJob)
            self.run(job)
        assert self.rig.commands() == []

    def run(self, job: Any, between: Any = lambda: None) -> None:
        """One job to its end."""
        for until in job.steps(self.rig.line, self.rig.driver, 1):
            between()
            if until is not None:
                self.rig.clock.advance(until - self.rig.clock.boot_ms())

    def entries(self, kind: str) -> list[Any]:
        """Of the audit chain: the fields."""
        return [one[6] for one in self.world.entries() if one[3] == kind]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """It may cut, with a fresh policy."""
    one = Site(tmp_path)
    yield one
    one.world.crash()


@pytest.mark.parametrize(
    ("is_done", "end", "intended"),
    [(True, OrderState.CONFIRMED, OPEN), (False, OrderState.NOT_DONE, CLOSED)],
)
def test_i15_what_became_of_it_is_told_behind_unknown(
    site: Site, is_done: bool, end: str, intended: str
) -> None:
    """One receipt more, its audit entry with it, and it stands after the next restart."""
    order = site.send()
    if is_done:
        site.obey()
    site.restart()
    assert site.world.last(order).state == OrderState.UNKNOWN
    assert site.world.desk.intended.of("m-1") == UNSETTLED
    site.look()
    assert site.world.states(order)[-2:] == [OrderState.UNKNOWN, end]
    assert dict(site.world.last(order).facts)["relay before"] == "connected (0000)"
    assert [one["state"] for one in site.entries("order")][-1] == end
    assert site.world.looked[-1] == "m-1"
    for _ in range(2):
        assert site.world.desk.intended.of("m-1") == intended
        site.restart()
    assert site.world.jobs == [] and len(site.world.frames) == 1


@pytest.mark.parametrize("trouble", ["silent", "no facts"])
def test_a_look_that_tells_nothing_leaves_it_unknown(site: Site, trouble: str) -> None:
    """No second receipt; the audit chain says that it was tried."""
    order = site.send(facts=() if trouble == "no facts" else FACTS)
    site.restart()
    if trouble == "silent":
        site.rig.hook = lambda _, __: None
    site.look()
    assert site.world.states(order).count(OrderState.UNKNOWN) == 1
    assert site.world.last(order).state == OrderState.UNKNOWN
    (entry,) = site.entries("order-looked")
    assert entry["state"] == OrderState.UNKNOWN
    assert site.world.desk.intended.of("m-1") == UNSETTLED
    assert bool(site.rig.asked) == (trouble == "silent")


def test_a_receipt_that_nobody_can_read_stops_no_start(site: Site) -> None:
    """It may be of another version: then nothing is known of before."""
    site.send()
    site.world.journal._db.execute("UPDATE receipt SET body = x'00' WHERE state = 'armed'")
    site.restart()
    site.look()
    assert (site.rig.asked, site.entries("order-looked")[0]["state"]) == ([], OrderState.UNKNOWN)


def test_a_crash_while_it_looks_leaves_it_unknown(site: Site) -> None:
    """That a look is under way is no state of the order."""
    order = site.send()
    site.restart()
    job = site.world.jobs.pop()
    steps = iter(job.steps(site.rig.line, site.rig.driver, 1))
    while not site.entries("order-looked"):
        until = next(steps)
        if until is not None:
            site.rig.clock.advance(until - site.rig.clock.boot_ms())
    site.restart()
    assert site.world.last(order).state == OrderState.UNKNOWN
    assert site.rig.commands() == []


def test_what_a_newer_order_did_is_not_taken_for_the_older_ones_doing(site: Site) -> None:
    """A restore was taken up while the look went on: no verdict about the cut."""
    order = site.send()
    site.restart()
    job = site.world.jobs.pop()
    newer: list[Any] = []

    def between() -> None:
        if not newer:
            newer.append(site.world.order("arm"))
            assert site.world.send(newer[0]) == ""

    site.run(job, between)
    assert site.world.last(order).state == OrderState.UNKNOWN
    assert site.entries("order-looked")[-1]["state"] == OrderState.NOT_DONE


def test_a_line_that_is_busy_leaves_it_unknown(site: Site) -> None:
    """And says so in the audit chain."""
    site.send()
    site.world.offers = False
    site.restart()
    assert site.entries("order-looked")[0]["reason"] == "its line is busy"


def test_a_meter_that_has_moved_is_not_looked_at(site: Site) -> None:
    """Another one may answer there."""
    site.send()
    site.world.addresses["m-1"] = "000000000009"
    site.restart()
    assert site.world.jobs == []


def test_other_orders_are_not_looked_into(site: Site) -> None:
    """Only an order about the supply shows in the contact."""
    order = site.send("prices")
    site.restart()
    assert site.world.jobs == []
    assert site.world.last(order).state == OrderState.UNKNOWN


def test_the_gate_of_a_look_lets_nothing_out(site: Site) -> None:
    """Whatever its job would ask."""
    order = site.send()
    site.restart()
    gate = site.world.jobs[0].gate
    assert not gate.holds()
    with pytest.raises(RefusedHere) as refused:
        gate.arm(order, FOUND_CLOSED)
    assert code_of(f"{refused.value.code}: x") == "internal"
    assert gate.check(order, FOUND_CLOSED) == ""
    gate.credential_refused("cut")
    assert site.world.desk.figures()["refused_credentials"] == []
