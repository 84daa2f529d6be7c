"""A full concentrator: 64 meters of ten registers each on four lines at 9600 baud.

The gateway runs as it is delivered, with broker and head end, and its lines have more to read than
they have time for. Each line is a process of its own and counts wire time and response delays; what
is left of its time is the gateway's overhead, the silences that it keeps, and what the simulator is
late itself. Processor time and memory of the gateway are the kernel's figures for its process.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from hil.deployment import Deployment, MeterPlan, Plan, section
from tests.bench.gateway import SCRATCH
from tests.bench.paced import Mark, PacedLine
from tests.bench.process import Sample, load_per_core, peak_mb, sample

LINES = 4
METERS = 16  # of a line
BAUD = 9600
RESPONSE_DELAYS_MS = (20, 60, 100, 200)  # meters take turns; the standard allows 20 to 500
PERIOD_S = 10  # a sweep of a line takes 14 s
SETTLE_S = 30  # one sweep, item by item, in which editions, layouts and blocks are learned
WINDOW_S = 60


def measure() -> Iterator[tuple[str, float, str]]:
    """Efficiency of the lines, and what the gateway takes."""
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder, ExitStack() as stack:
        deployment = Deployment(Path(folder), _plan())
        stack.callback(deployment.stop)
        lines = _start(deployment, stack)
        time.sleep(SETTLE_S)
        pid = deployment.gateway.pid
        before, used = [line.mark() for line in lines], sample(pid)
        time.sleep(WINDOW_S)
        after, then = [line.mark() for line in lines], sample(pid)
        peak = peak_mb(pid)
        _check(deployment)
    spans = list(zip(before, after, strict=True))
    efficiencies = [(b.busy_s - a.busy_s) / (b.at_s - a.at_s) for a, b in spans]
    yield "lines64_efficiency_worst", min(efficiencies), "ratio"
    yield "lines64_efficiency_best", max(efficiencies), "ratio"
    yield "lines64_gateway_cpu", _percent(used, then), "% of a core"
    yield "lines64_gateway_resident", peak, "MB"
    yield "lines64_exchanges", _rate(spans), "1/s"
    yield "lines64_simulator_late", 1000 * max(b.last_byte_late_s_max for b in after), "ms at most"
    simulators = sum((b.cpu_s - a.cpu_s) / (b.at_s - a.at_s) for a, b in spans)
    yield "lines64_simulators_cpu", 100 * simulators, "% of a core"
    yield "lines64_machine_load", load_per_core(), "processes per core"


def _start(deployment: Deployment, stack: ExitStack) -> list[PacedLine]:
    deployment.broker.start()
    deployment.head_end.start()
    lines = []
    for number in range(LINES):
        world = deployment.folder / f"world-{number}.toml"
        world.write_text(_world(deployment, number))
        line = PacedLine(world)
        stack.callback(line.stop)
        line.mark()
        lines.append(line)
    text = deployment.edge_config.read_text()
    allowed = text.replace("allow_over_budget = false", "allow_over_budget = true")
    assert allowed != text
    deployment.edge_config.write_text(allowed)
    deployment.start_gateway()
    return lines


def _check(deployment: Deployment) -> None:
    """That the figures are those of meters that were read, and of values that arrived."""
    status = deployment.status()
    silent = [one["meter"] for one in status["meters"] if one["state"] != "answering"]
    assert not silent, f"silent: {silent}\n{deployment.gateway.log_tail()}"
    assert status["uplink"]["acknowledged_sets"] >= LINES * METERS


def _percent(before: Sample, after: Sample) -> float:
    return 100 * (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s)


def _rate(spans: list[tuple[Mark, Mark]]) -> float:
    return sum((b.requests - a.requests) / (b.at_s - a.at_s) for a, b in spans)


def _plan() -> Plan:
    """Lines and meters of edge.toml, with the settings that are shipped; worlds are ours."""
    meters = tuple(
        MeterPlan(
            f"m{line}-{n}",
            f"line{line}",
            {},
            {"protocol": "dlt645-2007", "address": _address(line, n), "period_s": PERIOD_S},
        )
        for line in range(LINES)
        for n in range(METERS)
    )
    return Plan({f"line{n}": {"baud": BAUD} for n in range(LINES)}, meters, {}, {}, {})


def _world(deployment: Deployment, number: int) -> str:
    line = {"id": "line", "link": str(deployment.folder / f"line{number}"), "baud": BAUD}
    parts = [section("[line]", line)]
    for n in range(METERS):
        meter = {"line": "line", "protocol": "dlt645-2007", "address": _address(number, n)}
        delay_ms = RESPONSE_DELAYS_MS[n % len(RESPONSE_DELAYS_MS)]
        parts.append(section("[meter]", {**meter, "seed": n, "response_delay_ms": delay_ms}))
    return "\n".join(parts)


def _address(line: int, n: int) -> str:
    return f"{100 * line + n + 1:012d}"
