"""A paced line in a process of its own, that tells its totals while it works.

    python -m tests.bench.paced WORLD.toml

Each line of standard input is answered with the totals as they were when the last request ended on
the wire, and with that moment (CLOCK_MONOTONIC, one for all processes). Between two such moments
lie whole exchanges and nothing else, so a sweep need not end where a measurement does. Several
lines in one process would wait for each other's bytes, and the gateway be charged with it.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from hil.broker import bound
from hil.line import Line
from hil.scenario import read_scenario
from hil.world import World


class Mark(NamedTuple):
    """A line's totals at the end of one request; `cpu_s` is what its process used."""

    at_s: float
    requests: int
    busy_s: float  # wire time both ways and response delays
    requests_early: int
    last_byte_late_s_max: float
    cpu_s: float


class PacedLine:
    """The process, seen from the bench. It dies with us."""

    def __init__(self, world: Path) -> None:
        command = bound((sys.executable, "-m", __name__, str(world)))
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def mark(self) -> Mark:
        """The last one; the first call waits until the line is there."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        return Mark(*json.loads(process.stdout.readline()))

    def stop(self) -> None:
        """Ends the process. May be called twice."""
        self._process.terminate()
        self._process.communicate()


class _Listener:
    """A station that never answers. It hears the end of every transmission after the meters, which
    have put their answer to a request into the totals by then."""

    name = "listener"

    def __init__(self, line: Line) -> None:
        self.mark = Mark(time.monotonic(), 0, 0.0, 0, 0.0, 0.0)
        self._line = line

    def feed(self, _: bytes, __: float) -> list[tuple[float, bytes]]:
        totals = self._line.statistics()
        if totals.requests != self.mark.requests:
            self.mark = Mark(
                time.monotonic(),
                totals.requests,
                totals.busy_s,
                totals.requests_early,
                totals.last_byte_late_s_max,
                time.process_time(),
            )
        return []


def main(world: Path) -> None:
    """Until standard input ends."""
    serving = World(read_scenario(world, 0, world.parent))
    (line,) = serving.lines.values()
    listener = _Listener(line)
    line.attach(listener)
    serving.start()
    try:
        for _ in sys.stdin:
            assert serving.is_alive()
            print(json.dumps(listener.mark), flush=True)
    finally:
        serving.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
