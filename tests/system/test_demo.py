"""The demo as a new user runs it, with the broker that every machine has."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]
ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "hil", "demo", "--broker", "amqtt"]


def test_a_demo_with_a_length_ends_by_itself_and_loses_nothing() -> None:
    """Meters, readings, an order, an outage and a summary; exit code 0."""
    result = subprocess.run(
        [*COMMAND, "--for", "30"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    for text in ("found meter house-1", "1-0:1.8.0*255", "active energy import", "kWh"):
        assert text in result.stdout
    for text in ("order │", "done", "BROKER AWAY", "missing: none", "every reading journaled"):
        assert text in result.stdout
    assert result.stderr == ""


def test_ctrl_c_ends_everything_and_leaves_nothing(tmp_path: Path) -> None:
    """No process and no file of the demo is left, and the exit code is 0."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        COMMAND,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "found meter" in line:
                break
        children = _descendants(demo.pid)
        assert len(children) >= 4
        os.killpg(demo.pid, signal.SIGINT)
        demo.communicate(timeout=60)
    assert demo.returncode == 0
    assert list(tmp_path.iterdir()) == []
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline, "a process of the demo is left"


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found.extend((int(child), *_descendants(int(child))))
    return found
