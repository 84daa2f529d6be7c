"""What the gateway costs: memory of the running agent, CPU and disk per reading on the way to a
batch."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edge.journal.store import Journal
from hil.deployment import Deployment, MeterPlan, Plan
from protocols.envelope.batch import encode_batch
from tests.bench.keys import make_bench
from tests.bench.sets import reading_sets

BATCH_SETS = 50
BATCHES = 100
METERS = 50
RUN_S = 12
SCRATCH = Path(__file__).resolve().parents[2] / ".bench"  # a real disk: /tmp may be memory


def measure() -> Iterator[tuple[str, float, str]]:
    """Journal and seal in this process; memory from a whole deployment."""
    yield from _journal_and_seal()
    yield "gateway_resident", _resident_mb(), "MB"


def _journal_and_seal() -> Iterator[tuple[str, float, str]]:
    sets = reading_sets(BATCH_SETS, BATCHES)
    readings = sum(len(one.readings) for one in sets)
    bench = make_bench()
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        journal = Journal(Path(folder), 1024)
        journal.open()
        reader = journal.reader()
        written, cpu = _written_bytes(), time.process_time()
        for n in range(BATCHES):
            head = journal.append(sets[n * BATCH_SETS : (n + 1) * BATCH_SETS])
            rows = reader.rows(head - BATCH_SETS + 1, head)
            bench.seal(n + 1, encode_batch(rows, head))
            journal.acknowledge(head, ())
        cpu = time.process_time() - cpu
        reader.close()
        journal.close()
        written = _written_bytes() - written
    yield "gateway_cpu_per_reading", cpu * 1e6 / readings, "µs"
    yield "gateway_disk_per_reading", written / readings, "B"


def _written_bytes() -> int:
    """Bytes that this process caused to be written to storage (proc(5), io)."""
    rows = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(rows["write_bytes"])


def _resident_mb() -> float:
    meters = tuple(
        MeterPlan(
            f"m{n}",
            f"line{n % 2}",
            {"protocol": "dlt645-2007", "address": f"{n + 1:012d}", "seed": n},
            {"protocol": "dlt645-2007", "address": f"{n + 1:012d}", "period_s": 1},
        )
        for n in range(METERS)
    )
    lines = {f"line{n}": {"baud": 115200, "paced": False} for n in range(2)}
    plan = Plan(lines, meters, {"commit_interval_ms": 500}, {"linger_ms": 1_000}, {})
    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(Path(folder), plan)
        try:
            deployment.start()
            time.sleep(RUN_S)
            status = Path(f"/proc/{deployment.gateway.pid}/status").read_text()
            assert deployment.status()["uplink"]["acknowledged_sets"] > METERS
        finally:
            deployment.stop()
    rows = dict(line.split(":", 1) for line in status.splitlines())
    return int(rows["VmHWM"].split()[0]) / 1024
