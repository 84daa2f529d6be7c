"""What `busbar-edge budget` tells before anything runs is what a real line then takes."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.clock import SystemClock
from edge.collect.line_plan import LinePlan, plan_line, wire
from edge.collect.plausible import Verdict
from edge.collect.poller import LineWorker, Surroundings
from edge.line.line import Line
from edge.line.port import SerialPort
from edge.meters.learned import Learned
from edge.meters.models import load_models
from edge.settings import load_settings
from hil.broker import bound
from hil.deployment import section
from protocols.readings import ReadingSet

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TYPICAL_MS = 100  # the response delay that the estimate counts with
TOLERANCE = 0.10
SWEEPS = 3  # in the first a block is tried, from the second on it is read
METERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # the world's, the gateway's
    "house": (
        {"protocol": "dlt645-2007", "address": "000000000161", "seed": 1},
        {"protocol": "dlt645-2007", "edition": "2007", "address": "000000000161"},
    ),
    "blocks": (
        {"protocol": "dlt645-2007", "address": "000000000162", "seed": 2},
        {"protocol": "dlt645-2007", "edition": "2007", "address": "000000000162",
         "quantities": ["0001FF00", "0201FF00", "1-0:16.7.0", "1-0:13.7.0", "1-0:14.7.0",
                        "1-0:2.8.0", "1-0:36.7.0"]},
    ),
    "old": (
        {"protocol": "dlt645-1997", "address": "000000000163", "seed": 3},
        {"protocol": "dlt645-2007", "edition": "1997", "address": "000000000163",
         "quantities": ["9010", "9011"]},
    ),
    "feeder": (
        {"protocol": "modbus", "unit": 7, "model": "eastron-sdm630", "seed": 4},
        {"protocol": "modbus", "unit": 7, "model": "eastron-sdm630"},
    ),
    "water": (
        {"protocol": "cjt188", "address": "00201510270588", "meter_type": "cold-water"},
        {"protocol": "cjt188", "address": "00201510270588", "meter_type": "cold-water"},
    ),
}  # fmt: skip


class Sweeps:
    """Where the worker puts its reading sets."""

    def __init__(self, meters: int) -> None:
        self.taken: dict[str, list[float]] = {}
        self.events: list[tuple[str, str, str]] = []
        self.enough = threading.Event()
        self._meters = meters

    def submit(self, one: ReadingSet, _: object) -> None:
        """Notes when a sweep of a meter came to its end."""
        self.taken.setdefault(one.meter_id, []).append(time.monotonic())
        if len(self.taken) == self._meters and min(map(len, self.taken.values())) >= SWEEPS:
            self.enough.set()

    def tell(
        self, kind: str, subject: str = "", detail: str = "", *_: object, **__: object
    ) -> None:
        """Notes what went wrong."""
        self.events.append((kind, subject, detail))


@contextlib.contextmanager
def world(folder: Path, baud: int) -> Iterator[Path]:
    """The virtual line in its own process, paced by real time; the link that the gateway opens."""
    link, config = folder / "line", folder / "world.toml"
    parts = [section("[line]", {"id": "line", "link": str(link), "baud": baud})]
    for meter, _ in METERS.values():
        parts.append(section("[meter]", {"line": "line", "response_delay_ms": TYPICAL_MS, **meter}))
    config.write_text("\n".join(parts))
    command = bound((sys.executable, "-m", "hil", "run", "--config", str(config)))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        try:
            yield link
        finally:
            process.terminate()
            counted = json.loads(process.stdout.readlines()[-1])["lines"]["line"]
            assert counted["replies"] > 0


def plan_of(folder: Path, link: Path, baud: int) -> tuple[dict[str, Any], LinePlan]:
    """The checked settings of the line, and its plan, as the command and the agent make it."""
    rows = {
        "[gateway]": {"id": "gw-1", "tenant": "t1", "state_dir": "s", "identity_dir": "i"},
        "[mqtt]": {"host": "broker.example"},
        "[[line]]": {"id": "line", "port": str(link), "baud": baud},
    }
    parts = [section(name[1:-1], row) for name, row in rows.items()]
    for name, (_, meter) in METERS.items():
        # So short a period that the line is never idle: sweep follows sweep.
        parts.append(section("[meter]", {"id": name, "line": "line", "period_s": 1, **meter}))
    path = folder / "edge.toml"
    path.write_text("\n".join(parts))
    settings = load_settings(path)
    models = load_models(settings.meters, path)
    return settings.lines[0], plan_line(
        settings.lines[0], settings, models, Learned(folder, SystemClock())
    )


@pytest.mark.parametrize("baud", [2400, 9600])
def test_a_sweep_takes_what_the_budget_says(tmp_path: Path, baud: int) -> None:
    """Of each meter within 10 %, by the line's own worker, with a meter of each protocol on one
    paced line; and so does the round of all of them."""
    with world(tmp_path, baud) as link:
        line, plan = plan_of(tmp_path, link, baud)
        sweeps = Sweeps(len(METERS))
        clock = SystemClock()
        # A pty has no parity; the characters of the line have eleven bits all the same.
        port = SerialPort(str(link), baud, "N", 1)
        around = Surroundings(
            clock, sweeps.submit, sweeps.tell, lambda *_: Verdict(), lambda: False
        )
        worker = LineWorker(
            Line("line", port, wire(line), time.monotonic), plan.watches, plan.tasks, around
        )
        worker.start()
        assert sweeps.enough.wait(240), (sweeps.taken, sweeps.events)
        worker.stop()
    failed = [one for one in sweeps.events if one[0] not in ("slots-missed", "over-budget")]
    assert failed == []
    told = {share.meter_id: share.sweep_s for share in plan.shares()}  # with its block
    real = {name: watch.sweep_ms / 1000 for name, watch in plan.watches.items()}
    for name, sweep_s in told.items():
        assert real[name] == pytest.approx(sweep_s, rel=TOLERANCE), name
    rounds = [max(times[n] for times in sweeps.taken.values()) for n in range(SWEEPS)]
    assert rounds[2] - rounds[1] == pytest.approx(sum(told.values()), rel=TOLERANCE)
