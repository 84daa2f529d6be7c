"""Seven days of 64 meters, read every quarter of an hour while nobody listened, drain through a
real broker into the head end; meanwhile a line is read, and its readings must not be late.

The journal is filled through `Journal.append` before the gateway starts, so every row of it is
backlog. The clock starts with the gateway's process; the jitter that keeps a region of gateways
from draining at once is 0. What is live is judged by the head end: when it received a reading, less
when that was read.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edge.journal.store import Journal
from hil.deployment import Deployment, MeterPlan, Plan
from tests.bench.gateway import SCRATCH
from tests.bench.sets import reading_sets

METERS = 64
POLLS = 7 * 96
LIVE_METERS = 4
PERIOD_S = 1
APPEND_SETS = 500
DRAIN_S_MAX = 300
_POLL_S = 0.1


def measure() -> Iterator[tuple[str, float, str]]:
    """How long it takes, how much goes through, and the latest of the live readings."""
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        deployment = Deployment(Path(folder), _plan())
        sets, readings = _fill(deployment.state)
        try:
            for part in (deployment.broker, deployment.head_end, deployment.meters):
                part.start()
            deployment.await_true(
                lambda: b'"ready"' in deployment.meters.log_path.read_bytes(), "the meters"
            )
            started = time.monotonic()
            deployment.start_gateway()
            deployment.await_true(
                lambda: _is_stored(deployment, sets), "the backlog", seconds=DRAIN_S_MAX
            )
            seconds = time.monotonic() - started
            delays = list(_live_delays(deployment))
            sent = deployment.status()["uplink"]
        finally:
            deployment.stop()
    assert len(delays) > seconds * LIVE_METERS / PERIOD_S / 2, "the line was not read meanwhile"
    yield "drain_seven_days", seconds, "s"
    yield "drain_speed", readings / seconds, "readings/s"
    yield "drain_live_delay_max", max(delays) / 1000, "s"
    yield "drain_bytes_per_reading", sent["bytes_sent"] / sent["readings_sent"], "B"


def _plan() -> Plan:
    meters = tuple(
        MeterPlan(
            f"live{n}",
            "line0",
            {"protocol": "dlt645-2007", "address": f"{n + 1:012d}", "seed": n},
            {
                "protocol": "dlt645-2007",
                "address": f"{n + 1:012d}",
                "period_s": PERIOD_S,
                "quantities": ["1-0:1.8.0"],
            },
        )
        for n in range(LIVE_METERS)
    )
    lines = {"line0": {"baud": 115200, "paced": False}}
    uplink = {"linger_ms": 1_000, "catch_up_jitter_s": 0}
    return Plan(lines, meters, {"commit_interval_ms": 500}, uplink, {})


def _fill(state: Path) -> tuple[int, int]:
    """The journal as a gateway leaves it that was alone for a week: sets, readings."""
    state.mkdir(mode=0o700)
    sets = reading_sets(METERS, POLLS)
    journal = Journal(state, 1024)
    journal.open()
    for at in range(0, len(sets), APPEND_SETS):
        journal.append(sets[at : at + APPEND_SETS])
    journal.close()
    return len(sets), sum(len(one.readings) for one in sets)


def _is_stored(deployment: Deployment, sets: int) -> bool:
    time.sleep(_POLL_S)
    status = deployment.status()
    return bool(status) and status["uplink"]["acknowledged_upto"] >= sets


def _live_delays(deployment: Deployment) -> Iterator[int]:
    """Milliseconds from reading to head end."""
    for n in range(LIVE_METERS):
        for row in deployment.head_end_json("readings", f"live{n}"):
            yield row["received_at"] - row["read_at"]
