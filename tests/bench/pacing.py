"""Pacing error of the virtual line: how far the time of an answer is from what its bits take.

A meter's answer is read to its last byte by a process of its own, as a gateway is; its time is
compared with bytes x 11 bits / baud plus the response delay, counted from the moment of asking. The
error is late by nature: a timer never wakes early. Shared processors show in the p99, not in the
median.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hil.broker import bound
from hil.deployment import section
from protocols.dlt645.exchange import read
from protocols.dlt645.frame import PREAMBLE_SIZE
from tests.hil.masters import Master

ANSWERS = {2400: 30, 9600: 60, 115200: 200}
ADDRESS = "000000000001"
DI = "0001FF00"  # all tariffs of the energy: 20 bytes of data
RESPONSE_DELAY_MS = 20
_BITS = 11
_ANSWER_SIZE = PREAMBLE_SIZE + 12 + 4 + 20
_PERCENTILE = 99


def measure() -> Iterator[tuple[str, float, str]]:
    """Median and p99 of the error of a whole exchange, in percent of its time, at three rates."""
    for baud, answers in ANSWERS.items():
        errors = _errors(baud, answers)
        worst = statistics.quantiles(errors, n=100, method="inclusive")[_PERCENTILE - 1]
        yield f"pacing_error_{baud}_median", statistics.median(errors), "%"
        yield f"pacing_error_{baud}_p99", worst, "%"


def _errors(baud: int, answers: int) -> list[float]:
    request = read(ADDRESS, DI).request.to_bytes(PREAMBLE_SIZE)
    due_s = (len(request) + _ANSWER_SIZE) * _BITS / baud + RESPONSE_DELAY_MS / 1000
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "line"
        config = Path(folder) / "world.toml"
        config.write_text(_world(baud, link))
        command = bound((sys.executable, "-m", "hil", "run", "--config", str(config)))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as world:
            assert world.stdout is not None
            assert "ready" in world.stdout.readline()
            with Master(link) as master:
                errors = [_error(master, request, due_s) for _ in range(answers)]
            world.terminate()
            world.stdout.read()
    return errors


def _error(master: Master, request: bytes, due_s: float) -> float:
    time.sleep(0.01)  # the line has been silent
    reply = master.ask(request, _ANSWER_SIZE)
    assert len(reply) == _ANSWER_SIZE, f"{len(reply)} bytes, not {_ANSWER_SIZE}"
    return 100 * (master.last_s - master.started_s - due_s) / due_s


def _world(baud: int, link: Path) -> str:
    meter = {
        "line": "line",
        "protocol": "dlt645-2007",
        "address": ADDRESS,
        "response_delay_ms": RESPONSE_DELAY_MS,
    }
    return "\n".join(
        (
            section("[line]", {"id": "line", "link": str(link), "baud": baud}),
            section("[meter]", meter),
        )
    )
