"""An order among the polls of its line: the worker that carries out both, in fake time."""

from pathlib import Path
from typing import Any

from edge.collect.groups import tasks_of
from edge.collect.plausible import Verdict
from edge.collect.poller import ORDERS_MAX, LineWorker, Surroundings
from edge.collect.watch import MeterWatch
from edge.orders.jobs import job_for
from edge.settings.rules import DLT645_METER_RULES
from protocols.dlt645.controls import Function
from protocols.orders.states import OrderState
from protocols.settings import read_table
from tests.edge.fakes import FakeQueue, NoThread
from tests.edge.history_rig import WIRE
from tests.edge.orders.line_rig import ADDRESS, METER_ID, LineRig, make_order


class Bench:
    """The worker of the rig's line."""

    def __init__(self, rig: LineRig) -> None:
        self.rig = rig
        self.sets: list[Any] = []
        row = {
            "id": METER_ID, "line": "line-1", "protocol": "dlt645-2007", "address": ADDRESS,
            "edition": "2007", "quantities": ["1-0:1.8.0"], "period_s": 1,
        }  # fmt: skip
        section = read_table(row, DLT645_METER_RULES, "bench") | {"groups": ()}
        watch = MeterWatch(section, rig.driver, WIRE, 1)
        around = Surroundings(
            rig.clock,
            lambda one, slot: self.sets.append(one),
            lambda *_, **__: None,
            lambda *_: Verdict(),
            lambda: False,
        )
        self.worker = LineWorker(rig.line, {METER_ID: watch}, tasks_of(section), around)
        self.worker._jobs = FakeQueue(rig.clock, ORDERS_MAX)
        self.worker._thread = NoThread()  # type: ignore[assignment]

    def run_for(self, ms: int) -> None:
        """Turns until so much fake time has passed."""
        end = self.rig.clock.boot_ms() + ms
        while self.rig.clock.boot_ms() < end:
            self.worker.turn()

    def offer(self, action: str) -> None:
        """An order for the meter."""
        rig = self.rig
        rig.asked.clear()
        deadline = rig.clock.boot_ms() + 900_000
        job = job_for(make_order(action), 7, deadline, rig.clock, rig.gate, rig.terms)
        assert self.worker.offer(job)


def test_polls_go_on_while_a_contact_takes_its_time(tmp_path: Path) -> None:
    """Three minutes in the meter, and no slot is lost but those of the order's own exchanges."""
    rig = LineRig(tmp_path)
    rig.meter.pin("04001401", 3)
    bench = Bench(rig)
    bench.run_for(5_000)
    polled = len(bench.sets)
    bench.offer("disconnect")
    bench.run_for(220_000)
    assert rig.gate.end == OrderState.CONFIRMED
    assert len(rig.relay_frames()) == 1
    assert len(bench.sets) - polled >= 200


def test_an_order_takes_the_line_at_once_and_keeps_it_until_it_is_sent(tmp_path: Path) -> None:
    """No poll stands between what was read before and the command."""
    rig = LineRig(tmp_path)
    bench = Bench(rig)
    bench.run_for(5_000)
    bench.offer("disconnect")
    bench.run_for(5_000)
    assert rig.gate.end == OrderState.CONFIRMED
    asked = [(one.function, one.data) for one in rig.asked]
    begun = asked.index((Function.READ, bytes.fromhex("01040004")))  # whose meter it is
    sent = next(n for n, (function, _) in enumerate(asked) if function == Function.RELAY)
    assert begun <= 1  # behind the exchange in flight, at most
    snapshot = (Function.READ, bytes.fromhex("00000100"))
    assert asked[begun:sent].count(snapshot) == 1


def test_a_line_that_stops_while_a_contact_takes_its_time_says_unknown(tmp_path: Path) -> None:
    """Its generator is closed in the line's own thread."""
    rig = LineRig(tmp_path)
    rig.meter.pin("04001401", 3)
    bench = Bench(rig)
    bench.offer("disconnect")
    bench.run_for(20_000)
    assert rig.gate.states[-1] == OrderState.VERIFYING
    bench.worker.ask_stop()
    bench.worker._run()
    assert rig.gate.end == OrderState.UNKNOWN
    assert len(rig.relay_frames()) == 1
