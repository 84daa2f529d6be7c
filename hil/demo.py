"""`make demo`: the whole system on this machine, watched from outside.

Every part runs as its own process, as it would in the field: virtual lines and meters, gateway,
broker with mutual TLS, head end. The demo reads what they tell anybody (the gateway's status
socket, the head end's commands), has one register read on demand, and cuts the broker off for a
while. It succeeds when every reading set that the gateway journaled is acknowledged and stands in
the head end's ledger.
"""

import argparse
import queue
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from hil.deployment import Deployment, MeterPlan, Plan
from hil.screen import Screen

CUT_S_MAX = 8.0  # how long the broker is away
LENGTH_S_UNSET = 60.0  # the plan of a run that nobody gave a length
ORDER_AT, CUT_AT, CUT_SHARE = 0.25, 0.5, 0.2  # shares of the run
END_RESERVE_S = 6.0  # of a run with a length: for the drain and the summary
DRAIN_S_MAX = 30.0
ORDERED_QUANTITY = "1-0:32.7.0"  # voltage L1
_TURN_S = 0.2

PLAN = Plan(
    lines={"line1": {"baud": 9600}, "line2": {"baud": 9600}},
    meters=(
        *(
            MeterPlan(
                f"house-{n}",
                "line1",
                {
                    "protocol": "dlt645-2007",
                    "address": f"{n:012d}",
                    "seed": n,
                    "response_delay_ms": 40,
                },
                {"protocol": "dlt645-2007", "address": f"{n:012d}", "period_s": 10},
            )
            for n in range(1, 5)
        ),
        MeterPlan(
            "shop",
            "line2",
            {"protocol": "modbus", "unit": 1, "model": "eastron-sdm630", "seed": 5},
            {"protocol": "modbus", "unit": 1, "model": "eastron-sdm630", "period_s": 5},
        ),
        MeterPlan(
            "feeder",
            "line2",
            {"protocol": "modbus", "unit": 2, "model": "chint-dtsu666", "seed": 6},
            {"protocol": "modbus", "unit": 2, "model": "chint-dtsu666", "period_s": 5},
        ),
    ),
    journal={"commit_interval_ms": 500},
    uplink={"linger_ms": 3_000, "ack_timeout_ms": 2_500},
    ingest={"commit_interval_ms": 50},
    reconnect_s_max=2,
)


class EndedByPersonError(Exception):
    """Ctrl-C or SIGTERM."""


def main(arguments: argparse.Namespace) -> int:
    """Runs the demo; 0 when everything journaled was acknowledged (or a person ended it), else
    1."""
    screen = Screen()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, _interrupt)
    with tempfile.TemporaryDirectory(prefix="busbar-demo-") as folder:
        deployment = None
        try:
            screen.say(
                "making a certificate authority, keys and configuration in a temporary folder"
            )
            deployment = Deployment(Path(folder), PLAN, arguments.broker)
            screen.say(f"starting broker ({deployment.broker.kind}), head end, meters and gateway")
            deployment.start()
            Demo(deployment, screen).run(arguments.for_s)
            return 0 if settle(deployment, screen) else 1
        except EndedByPersonError:
            screen.say("stopping everything and removing the temporary files")
            return 0
        finally:
            for one in (signal.SIGINT, signal.SIGTERM):
                signal.signal(one, signal.SIG_IGN)  # a second Ctrl-C must not stop the cleaning
            if deployment is not None:
                deployment.stop()


def _interrupt(_: int, __: FrameType | None) -> None:
    raise EndedByPersonError


class Demo:
    """The live part: readings as they come, an order, and a broker that goes away and returns."""

    def __init__(self, deployment: Deployment, screen: Screen) -> None:
        self._deployment = deployment
        self._screen = screen
        self._order_lines: queue.Queue[str] = queue.Queue()

    def run(self, for_s: float | None) -> None:
        """Until `for_s` less the time to settle, or for ever."""
        length = LENGTH_S_UNSET if for_s is None else max(for_s - END_RESERVE_S, 1.0)
        cut_s = min(CUT_S_MAX, CUT_SHARE * length)
        events = [
            (ORDER_AT * length, self._order_read),
            (CUT_AT * length, lambda: self._cut(cut_s)),
            (CUT_AT * length + cut_s, self._restore),
        ]
        started = time.monotonic()
        while for_s is None or time.monotonic() - started < length:
            self._deployment.check_alive()
            self._screen.show(self._deployment.status())
            while not self._order_lines.empty():
                self._screen.say("  order │ " + self._order_lines.get())
            while events and time.monotonic() - started >= events[0][0]:
                events.pop(0)[1]()
            time.sleep(_TURN_S)

    def _order_read(self) -> None:
        meter = PLAN.meters[0].meter_id
        self._screen.say(f"--- an order: read {ORDERED_QUANTITY} of {meter} now ---")
        threading.Thread(target=self._follow_order, args=(meter,), daemon=True).start()

    def _follow_order(self, meter: str) -> None:
        command = self._deployment.head_end_command("order", "read", meter, ORDERED_QUANTITY)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as order:
            for line in order.stdout or ():
                self._order_lines.put(line.rstrip())

    def _cut(self, cut_s: float) -> None:
        self._screen.say(f"--- the broker is cut off for {cut_s:.0f} s: the backlog grows ---")
        self._deployment.broker.kill()

    def _restore(self) -> None:
        self._deployment.broker.start()
        self._screen.say("--- the broker is back: the backlog drains ---")


def settle(deployment: Deployment, screen: Screen) -> bool:
    """Takes the meters away, waits for the last acknowledgement, and compares both ends."""
    screen.say("--- the meters are taken away; what is journaled drains ---")
    deployment.meters.stop()
    deadline = time.monotonic() + DRAIN_S_MAX
    while not is_drained(status := deployment.status()) and time.monotonic() < deadline:
        screen.show(status)
        time.sleep(_TURN_S)
    completeness = deployment.head_end_json("completeness", deployment.gateway_id)
    screen.summary(status, completeness)
    complete = is_drained(status) and is_complete(status, completeness)
    screen.say("every reading journaled was acknowledged" if complete else "READINGS ARE MISSING")
    return complete


def is_drained(status: dict[str, Any]) -> bool:
    """Whether the gateway holds nothing that the head end has not acknowledged."""
    return bool(
        status
        and status["journal"]["head"]
        and not status["journal"]["held_sets"]
        and not status["journal"]["lost_sets"]
        and not status["uplink"]["backlog_sets"]
    )


def is_complete(status: dict[str, Any], completeness: Any) -> bool:
    """Whether the head end's ledger holds exactly the sequences that the gateway journaled."""
    journal = status["journal"]
    return any(
        epoch["epoch"] == journal["epoch"]
        and epoch["count"] == journal["head"]
        and not epoch["missing"]
        for epoch in completeness["epochs"]
    )
