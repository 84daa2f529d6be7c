"""From the click to *confirmed*: what the whole path adds to the serial exchanges that it needs.

A restore (`arm`) is asked for at the head end, and is over when the head end has the receipt that
confirms it: head end, broker, gateway, a line paced to 2400 baud, a meter that answers after 60 ms,
and all the way back. `order_click_idle` is that time less what the order's own exchanges need, by
the frames in its receipt (their wire time and the meter's delays), on a line that does nothing
else. `order_click_saturated` is the same on a line that has no time for its polls, less the mean
exchange, of which one is in flight.

Somebody opens the contact between two orders, as after a disconnect.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cloud.orders.client import ask
from hil.deployment import Deployment, MeterPlan, Plan, section
from hil.line import Line
from hil.load import Load
from hil.meter import Dlt645Meter
from hil.world import utc_ms
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.relay import RelayAction, RelayTerms
from protocols.messages import OrderState
from protocols.orders.states import FINAL_STATES
from tests.bench.gateway import SCRATCH
from tests.bench.process import load_per_core

ADDRESS, METER = "202611000042", "house-1"
BAUD = 2400
BITS = 11  # of a character
DELAY_S = 0.06
SETTLE_S = 8  # until the line has looked at all that it looks at after a start
ORDERS = 6  # of each kind of line
LOOK_S = 0.005
END_S_MAX = 60
OFFSET_MIN = 480
PASSWORDS = {3: "446655"}
PERSON = {"name": "console", "roles": ["console"]}
CREDENTIALS = """{"default": {"restore": {"level": "03", "password": "446655",
"operator": "00000001"}}}"""
IDLE_S, SATURATED_S = 3600, 1  # poll periods
ACTIONS = (RelayAction.DISCONNECT, RelayAction.ARM)


def measure() -> Iterator[tuple[str, float, str]]:
    """Medians and maxima of what is added, and the median of what the order's exchanges need."""
    SCRATCH.mkdir(exist_ok=True)
    idle, needed, _ = _measure(IDLE_S)
    yield "order_click_exchanges", 1000 * statistics.median(needed), "ms"
    yield "order_click_idle", 1000 * statistics.median(idle), "ms"
    yield "order_click_idle_max", 1000 * max(idle), "ms"
    saturated, _, exchange = _measure(SATURATED_S)
    more_s = max(0.0, statistics.median(saturated) - exchange)
    yield "order_click_saturated", 1000 * more_s, "ms"
    yield "order_click_machine_load", load_per_core(), "processes per core"


def _measure(period_s: int) -> tuple[list[float], list[float], float]:
    """Seconds that each order took beyond its exchanges, what these needed, and the line's mean
    exchange."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name, ExitStack() as stack:
        folder = Path(name)
        meter = Dlt645Meter(
            ADDRESS,
            Load(7, phases=1, power_w=(500, 3_000), utc_offset_ms=OFFSET_MIN * 60_000),
            utc_ms,
            utc_offset_ms=OFFSET_MIN * 60_000,
            passwords=PASSWORDS,
            relay_terms=RelayTerms(ACTIONS, (3,), False),
            response_delay_s=DELAY_S,
        )
        line = Line(folder / "tty", baud=BAUD)
        line.attach(meter)
        stack.enter_context(line)
        deployment = Deployment(folder / "town", _plan(period_s, folder / "tty"))
        stack.callback(deployment.stop)
        _configure(deployment)
        deployment.start()
        deployment.await_true(
            lambda: bool(deployment.status().get("orders", {}).get("is_attested")), "the policy"
        )
        time.sleep(SETTLE_S)
        added, needed = [], []
        for _ in range(ORDERS):
            _open(meter)
            took_s, need_s = _click(deployment)
            added.append(took_s - need_s)
            needed.append(need_s)
        total = line.statistics()
        return added, needed, total.busy_s / total.requests


def _open(meter: Dlt645Meter) -> None:
    """Somebody disconnects the meter; it takes a look of the meter's own to be seen."""
    until = MeterTime(2098, 1, 1, 0, 0, 0)
    meter.relay.obey(RelayAction.DISCONNECT, 0, until, "00000009")
    time.sleep(0.2)
    meter.relay.settle()


def _click(deployment: Deployment) -> tuple[float, float]:
    """Seconds until the head end has the restore confirmed, and what its exchanges need."""
    begun = time.monotonic()
    wanted = {"op": "order_propose", "action": "arm", "meter": METER, "reason": "paid"}
    order = _asked(deployment, wanted | {"submit": True})["order"]["order"]
    while time.monotonic() - begun < END_S_MAX:
        shown = _asked(deployment, {"op": "order_get", "order": order})["order"]
        if shown["state"] in FINAL_STATES:
            assert shown["state"] == OrderState.CONFIRMED, shown["state"]
            frames = shown["story"]["receipts"][-1]["evidence"]
            size = sum(len(frame) // 2 for _, _, frame in frames)
            requests = sum(way == ">" for way, _, _ in frames)
            need_s = size * BITS / BAUD + requests * DELAY_S
            return time.monotonic() - begun, need_s
        time.sleep(LOOK_S)
    raise TimeoutError(f"order {order} came to no end")


def _asked(deployment: Deployment, request: dict[str, Any]) -> dict[str, Any]:
    reply = list(ask(deployment.folder / "head-end", request | {"person": PERSON}, END_S_MAX))[-1]
    assert "error" not in reply, reply
    return reply


def _plan(period_s: int, tty: Path) -> Plan:
    settings = {
        "protocol": "dlt645-2007",
        "address": ADDRESS,
        "edition": "2007",
        "quantities": ["1-0:1.8.0", "1-0:32.7.0", "1-0:33.7.0", "1-0:14.7.0"],
        "period_s": period_s,
        "control.plain": ["disconnect", "arm"],
        "control.levels": ["03"],
    }
    return Plan(
        lines={},
        meters=(MeterPlan(METER, "line1", {}, settings),),
        journal={"commit_interval_ms": 100},
        uplink={"linger_ms": 200},
        ingest={"commit_interval_ms": 20},
        foreign_lines={"line1": str(tty)},
    )


def _configure(deployment: Deployment) -> None:
    with deployment.cloud_config.open("a") as file:
        file.write(section("orders", {"restore_every_s": 0}))
    path = next((deployment.folder / "id" / "gateways").iterdir()) / "meter-credentials.json"
    path.touch(0o600)
    path.write_text(CREDENTIALS)
    text = deployment.edge_config.read_text()
    deployment.edge_config.write_text(
        text.replace("allow_over_budget = false", "allow_over_budget = true")
    )
