"""Pain 9: a gateway that is too heavy for a Raspberry Pi."""

import gc
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hil.deployment import Deployment, MeterPlan, Plan
from tests.edge.fakes import FakeClock
from tests.pains.gateway import HOUR_MS, Gateway, dlt645
from tests.pains.meters import Bus, Dlt645

ROOT = Path(__file__).parents[2]
MEMORY_MB_MAX = 80.0
CPU_MAX = 0.25  # of one core, at a hundred times the load of a house
MEASURED_S = 4.0
GROWTH_MAX = 100_000  # bytes in an hour; one set that leaks with each poll would be 200 000


@pytest.fixture
def deployment(tmp_path: Path, require: Callable[..., None]) -> Iterator[Deployment]:
    """Ten meters of ten quantities, read each second."""
    require("mosquitto")
    meters = tuple(
        MeterPlan(
            f"m{n}",
            "line1",
            {"protocol": "dlt645-2007", "address": f"{n + 1:012d}", "seed": n,
             "response_delay_ms": 1},
            {"protocol": "dlt645-2007", "address": f"{n + 1:012d}", "period_s": 1},
        )
        for n in range(10)
    )  # fmt: skip
    lines = {"line1": {"baud": 115200, "paced": False}}
    uplink = {"linger_ms": 1_000, "catch_up_jitter_s": 0}
    one = Deployment(
        tmp_path, Plan(lines, meters, {"commit_interval_ms": 500}, uplink, {}), "mosquitto"
    )
    yield one
    one.stop()


def cpu_s(pid: int) -> float:
    """Seconds of processor time of a process (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.system
def test_ten_meters_a_second_take_little_memory_and_time(deployment: Deployment) -> None:
    """thingsboard-gateway #343, #1684, #1678, #1613, #1445 (most of a core, hundreds of MB and
    rising), neuron #2465: the running agent, with its uplink, at 100 readings a second."""
    deployment.start()
    deployment.await_true(
        lambda: deployment.status()["uplink"]["acknowledged_sets"] >= 10, "readings at the head end"
    )
    pid = deployment.gateway.pid
    before, cpu, began = deployment.status(), cpu_s(pid), time.monotonic()
    time.sleep(MEASURED_S)
    after = deployment.status()
    share = (cpu_s(pid) - cpu) / (time.monotonic() - began)
    read = after["journal"]["head"] - before["journal"]["head"]
    assert read >= 10 * (MEASURED_S - 2)
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    megabytes = int(rows["VmHWM"].split()[0]) / 1024
    assert megabytes < MEMORY_MB_MAX
    assert share < CPU_MAX


@pytest.mark.parametrize("is_online", [True, False])
def test_memory_stays_flat(tmp_path: Path, clock: FakeClock, is_online: bool) -> None:
    """thingsboard-gateway #1684, #1678 (memory grows until the kernel ends it, most of all without
    a connection): what our own code holds at the beginning and the end of an hour."""
    bus = Bus(*(Dlt645(n, clock) for n in (1, 2, 3)))
    sections = [dlt645(n) for n in (1, 2, 3)]
    gateway = Gateway(tmp_path, clock, {"line-1": bus}, sections, linger_ms=10_000)
    if is_online:
        gateway.go_online()
    gateway.run_for(HOUR_MS // 2)
    tracemalloc.start()
    gateway.run_for(HOUR_MS // 4)
    first = held_by(gateway)
    gateway.run_for(HOUR_MS)
    last = held_by(gateway)
    tracemalloc.stop()
    assert gateway.journal.head() >= 3 * 104
    assert last - first < GROWTH_MAX


def held_by(gateway: Gateway) -> int:
    """Bytes that the product's own lines have allocated and hold, apart from what the test took
    down."""
    for bus in gateway.buses.values():
        bus.requests.clear()
    for port in gateway.ports.values():
        port.trace.clear()
    for worker in gateway.workers.values():
        worker._jobs.waits.clear()  # type: ignore[attr-defined]
    gateway.store.rows.clear()
    gateway.store.came_at.clear()
    gateway.store.events.clear()
    gateway.events.waits.clear()
    gateway.clock.anchors.clear()
    gateway.writer.heads.clear()
    gc.collect()
    own = [
        tracemalloc.Filter(True, str(ROOT / part / "*"), all_frames=False)
        for part in ("edge", "protocols")
    ]
    found = tracemalloc.take_snapshot().filter_traces(own)
    return sum(one.size for one in found.statistics("filename"))
