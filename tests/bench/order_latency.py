"""How long an order waits at the gateway: from the broker's message to its first byte on the line.

The line is saturated: paced to 9600 baud, polls that it has no time for, catch-up work without
end, and meters that answer nothing, for which an exchange takes the response time-out. Orders come
one by one, at random moments, through broker and head end. The clock runs from the arrival of the
message at the gateway's MQTT client until the port took the first byte of the order's request;
opening, checking and making the order durable are in it.

`order_overhead` is that time less what was left of the exchange in flight when the order was
offered to its line: an exchange is never broken off. Making an order durable waits for the disk
several times; what one such wait takes between the orders, `order_disk_sync`, is told beside it.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from cloud.orders.client import ask
from hil.deployment import Deployment, MeterPlan, Part, Plan, section
from protocols.dlt645.identifiers import identifier_bytes
from protocols.dlt645.requests import read_request
from tests.bench.gateway import SCRATCH
from tests.bench.paced import PacedLine
from tests.bench.process import load_per_core
from tests.bench.stamped_gateway import ARRIVED, BEGUN, ENDED, OFFERED, SILENT_NAME, WRITTEN

ORDERS = 240
METERS = 6
SILENT_METERS = 2
BAUD = 9600
RESPONSE_DELAY_MS = 20
SETTLE_S = 5
PAUSE_S_MAX = 0.3  # before the next order, at random
ORDER_S_MAX = 60
SEED = 5
QUANTITY, IDENTIFIER = "1-0:33.7.0", "02060100"  # of the orders; polls and catch-up read others
_PERCENTILE = 99


class Order(NamedTuple):
    """One order's way, in s."""

    latency_s: float  # from its arrival to its first byte
    wait_s: float  # of that, behind its offer to the line
    in_flight_s: float  # of that, what was left of the exchange in flight


def measure() -> Iterator[tuple[str, float, str]]:
    """Median and p99 of the whole, of the wait for the line, and of what is not the exchange."""
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder, ExitStack() as stack:
        deployment = Deployment(Path(folder), _plan())
        stack.callback(deployment.stop)
        stamps = _start(deployment, stack)
        syncs = _send_orders(deployment)
        deployment.gateway.stop()
        orders = orders_of(json.loads(stamps.read_text()))
    assert len(orders) == ORDERS, f"{len(orders)} of {ORDERS} orders came to the line"
    columns = {
        "order_latency": [one.latency_s for one in orders],
        "order_line_wait": [one.wait_s for one in orders],
        "order_in_flight": [one.in_flight_s for one in orders],
        "order_overhead": [one.latency_s - one.in_flight_s for one in orders],
        "order_disk_sync": syncs,
    }
    for name, seconds in columns.items():
        yield f"{name}_median", 1000 * statistics.median(seconds), "ms"
        yield f"{name}_p99", 1000 * _p99(seconds), "ms"
    yield "order_machine_load", load_per_core(), "processes per core"


def orders_of(stamps: list[tuple[str, float, str, str]]) -> list[Order]:
    """What became of each order, of the stamps of one gateway with one line."""
    requests = {
        read_request(_address(n), identifier_bytes(IDENTIFIER)).hex() for n in range(METERS)
    }
    orders: list[Order] = []
    arrived_s = offered_s = 0.0
    is_busy, is_waiting = False, False
    free_s = 0.0  # end of the exchange that was in flight at the offer
    for what, at_s, _, detail in sorted(stamps, key=lambda one: one[1]):
        if what == ARRIVED:
            arrived_s = at_s
        elif what == OFFERED:
            offered_s = free_s = at_s
            is_waiting = is_busy
        elif what == BEGUN:
            is_busy = True
        elif what == ENDED:
            is_busy = False
            if is_waiting:
                is_waiting, free_s = False, at_s
        elif what == WRITTEN and detail in requests:
            orders.append(Order(at_s - arrived_s, at_s - offered_s, free_s - offered_s))
    return orders


def _start(deployment: Deployment, stack: ExitStack) -> Path:
    """Broker, head end, line and gateway; where the gateway's stamps will be."""
    deployment.broker.start()
    deployment.head_end.start()
    world, stamps = deployment.folder / "world.toml", deployment.folder / "stamps.json"
    world.write_text(_world(deployment))
    line = PacedLine(world)
    stack.callback(line.stop)
    line.mark()
    text = deployment.edge_config.read_text()
    deployment.edge_config.write_text(
        text.replace("allow_over_budget = false", "allow_over_budget = true")
    )
    command = (sys.executable, "-m", "tests.bench.stamped_gateway")
    deployment.gateway = Part(
        deployment.folder, "gateway", (*command, str(deployment.edge_config), str(stamps))
    )
    deployment.start_gateway()
    return stamps


def _send_orders(deployment: Deployment) -> list[float]:
    """One after the other, each to its end; what the disk took in between, once for each (s)."""
    source = random.Random(SEED)
    deployment.await_true(
        lambda: deployment.status()["uplink"]["acknowledged_sets"] > METERS, "the first values"
    )
    time.sleep(SETTLE_S)
    syncs = []
    for number in range(ORDERS):
        deployment.check_alive()
        time.sleep(source.uniform(0, PAUSE_S_MAX))
        request = {"op": "order_read", "meter": f"m{number % METERS}", "obis": QUANTITY}
        told = list(ask(deployment.folder / "head-end", request, ORDER_S_MAX))
        assert told[-1]["state"] == "done", told[-1]
        syncs.append(_sync_s(deployment.folder / "sync"))
    return syncs


def _sync_s(path: Path) -> float:
    """Seconds until a few bytes are on the disk."""
    with path.open("wb") as file:
        file.write(bytes(64))
        file.flush()
        started = time.perf_counter()
        os.fsync(file.fileno())
    return time.perf_counter() - started


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[_PERCENTILE - 1]


def _plan() -> Plan:
    names = [f"m{n}" for n in range(METERS)] + [f"{SILENT_NAME}{n}" for n in range(SILENT_METERS)]
    meters = tuple(
        MeterPlan(
            name,
            "line",
            {},
            {"protocol": "dlt645-2007", "address": _address(n), "period_s": 1},
        )
        for n, name in enumerate(names)
    )
    uplink, ingest = {"linger_ms": 1_000}, {"commit_interval_ms": 20}
    return Plan({"line": {"baud": BAUD}}, meters, {}, uplink, ingest)


def _world(deployment: Deployment) -> str:
    line = {"id": "line", "link": str(deployment.folder / "line"), "baud": BAUD}
    meter = {"line": "line", "protocol": "dlt645-2007", "response_delay_ms": RESPONSE_DELAY_MS}
    rows = [section("[meter]", {**meter, "address": _address(n), "seed": n}) for n in range(METERS)]
    return "\n".join((section("[line]", line), *rows))


def _address(n: int) -> str:
    return f"{n + 1:012d}"
