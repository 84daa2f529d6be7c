"""Line efficiency: wire time and the meters' own response delays, over the real time of full
sweeps.

The virtual line counts the first two, in its own process; the sweep is driven here by the
production driver, line and port. What is left is our own overhead and the silences that we keep.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edge.line.line import Line, Wire
from edge.line.port import SerialPort
from edge.meters.dlt645_driver import Dlt645Driver
from edge.settings.rules import DLT645_METER_RULES
from hil.broker import bound
from hil.deployment import section
from protocols.settings import read_table

METERS = 4
SWEEPS = {2400: 2, 9600: 4}
RESPONSE_DELAYS_MS = (20, 60, 100, 200)  # of the four meters: the standard allows 20 to 500


def measure() -> Iterator[tuple[str, float, str]]:
    """Both rates, DL/T 645 meters with the default schedule of ten registers."""
    for baud, sweeps in SWEEPS.items():
        yield f"line_efficiency_{baud}", _efficiency(baud, sweeps), "ratio"


def _efficiency(baud: int, sweeps: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "line"
        config = Path(folder) / "world.toml"
        config.write_text(_world(baud, link))
        command = bound((sys.executable, "-m", "hil", "run", "--config", str(config)))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as world:
            assert world.stdout is not None
            assert "ready" in world.stdout.readline()
            seconds = _sweep(baud, link, sweeps)
            world.terminate()
            counted = json.loads(world.stdout.readlines()[-1])["lines"]["line"]
    useful = counted["wire_out_s"] + counted["wire_in_s"] + counted["response_delay_s"]
    return float(useful / seconds)


def _sweep(baud: int, link: Path, sweeps: int) -> float:
    port = SerialPort(str(link), baud, "N", 1)
    # Parity is off on a pty, but the line's characters have eleven bits as on a real one.
    line = Line("line", port, Wire(baud, "E", 1, 600, 500, 1), time.monotonic)
    drivers = [Dlt645Driver(_settings(n)) for n in range(METERS)]
    started = time.monotonic()
    for _ in range(sweeps):
        for driver in drivers:
            for _ in driver.sweep(line, 0):
                pass
    seconds = time.monotonic() - started
    line.close()
    return seconds


def _world(baud: int, link: Path) -> str:
    parts = [section("[line]", {"id": "line", "link": str(link), "baud": baud})]
    for n in range(METERS):
        meter = {"line": "line", "protocol": "dlt645-2007", "address": _address(n), "seed": n}
        parts.append(section("[meter]", {**meter, "response_delay_ms": RESPONSE_DELAYS_MS[n]}))
    return "\n".join(parts)


def _settings(n: int) -> dict[str, object]:
    row = {"id": f"m{n}", "line": "line", "protocol": "dlt645-2007", "address": _address(n)}
    return read_table(row, DLT645_METER_RULES, "bench")


def _address(n: int) -> str:
    return f"{n + 1:012d}"
