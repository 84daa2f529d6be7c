"""Soak: whether the gateway's memory, threads and file descriptors stay what they are.

A whole deployment: two lines without wire time, each meter every second, small batches, and a
broker that is away for a third of every minute. The slope is the least squares' over all samples
after a time to warm up, in which caches fill that have a bound: SQLite keeps up to 2 MB of pages
for each connection, so the meters are many, to fill them sooner. SOAK seconds, 120 without; only a
soak of half an hour has a limit, because a shorter one tells nothing about an hour.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hil.deployment import Deployment, MeterPlan, Plan
from tests.bench.gateway import SCRATCH
from tests.bench.process import Sample, load_per_core, sample

SECONDS_MIN, SECONDS_MAX = 60, 604_800
SECONDS_DEFAULT = 120
SECONDS_JUDGED = 1_800
WARM_UP_S_MAX = 1_200  # memory still grew by 0.6 MB between the 10th and the 20th minute
WARM_UP_PART = 3  # of the soak, where that is less; it comes on top
SAMPLE_S = 1.0
ROUND_S = 60  # the broker's: away from AWAY_S on
AWAY_S = 40
DRAIN_S = 60
METERS_DLT645 = 24
METERS_MODBUS = 8
_HOUR_S = 3_600


def measure(seconds: int = SECONDS_DEFAULT) -> Iterator[tuple[str, float, str]]:
    """Slopes per hour of memory, and what threads and descriptors grew by."""
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        deployment = Deployment(Path(folder), _plan())
        try:
            deployment.start()
            _run(deployment, min(WARM_UP_S_MAX, seconds // WARM_UP_PART))
            samples = _run(deployment, seconds)
            _await_drained(deployment)
            sets = deployment.status()["uplink"]["acknowledged_sets"]
        finally:
            deployment.stop()
    name = "soak" if seconds >= SECONDS_JUDGED else "soak_short"
    yield f"{name}_memory_slope", _slope(samples), "MB/h"
    yield f"{name}_resident", samples[-1].resident_mb, "MB"
    yield f"{name}_threads_grown", _growth([one.threads for one in samples]), "count"
    yield f"{name}_descriptors_grown", _growth([one.descriptors for one in samples]), "count"
    yield f"{name}_sets_acknowledged", sets, f"sets in {seconds} s"
    yield f"{name}_machine_load", load_per_core(), "processes per core"


def _run(deployment: Deployment, seconds: int) -> list[Sample]:
    """A sample of the gateway every second, while the broker comes and goes."""
    samples = []
    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds:
        deployment.check_alive()
        is_away = passed % ROUND_S >= AWAY_S
        if is_away and deployment.broker.pid is not None:
            deployment.broker.stop()
        elif not is_away and deployment.broker.pid is None:
            deployment.broker.start()
        samples.append(sample(deployment.gateway.pid))
        time.sleep(SAMPLE_S)
    if deployment.broker.pid is None:
        deployment.broker.start()
    return samples


def _await_drained(deployment: Deployment) -> None:
    """What was read while the broker was away arrives: the gateway did work all the time."""

    def is_drained() -> bool:
        uplink = deployment.status()["uplink"]
        return bool(uplink["acknowledged_sets"] and uplink["backlog_sets"] < _batch())

    deployment.await_true(is_drained, "the backlog to drain", DRAIN_S)


def _slope(samples: list[Sample]) -> float:
    """MB per hour, by least squares."""
    times = [one.at_s for one in samples]
    return _HOUR_S * statistics.linear_regression(times, [one.resident_mb for one in samples]).slope


def _growth(counts: list[int]) -> int:
    """What the second half needed more than the first: connections come and go within a round."""
    middle = len(counts) // 2
    return max(counts[middle:]) - max(counts[:middle])


def _batch() -> int:
    return int(_plan().uplink["batch_sets"])


def _plan() -> Plan:
    dlt645 = [
        MeterPlan(
            f"house-{n}",
            "line1",
            {"protocol": "dlt645-2007", "address": f"{n:012d}", "seed": n},
            {"protocol": "dlt645-2007", "address": f"{n:012d}", "period_s": 1},
        )
        for n in range(1, METERS_DLT645 + 1)
    ]
    modbus = [
        MeterPlan(
            f"shop-{n}",
            "line2",
            {"protocol": "modbus", "unit": n, "model": "eastron-sdm630", "seed": n},
            {"protocol": "modbus", "unit": n, "model": "eastron-sdm630", "period_s": 1},
        )
        for n in range(1, METERS_MODBUS + 1)
    ]
    return Plan(
        lines={name: {"baud": 115200, "paced": False} for name in ("line1", "line2")},
        meters=(*dlt645, *modbus),
        journal={"commit_interval_ms": 200},
        uplink={"linger_ms": 1_000, "ack_timeout_ms": 3_000, "batch_sets": 20},
        ingest={"commit_interval_ms": 50},
        reconnect_s_max=2,
    )
