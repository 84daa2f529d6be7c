"""`busbar-hil run` as a process: what it says, what it serves, and what it leaves behind."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hil.__main__ import main
from hil.scenario import read_scenario
from hil.world import World
from protocols.dlt645.exchange import read
from protocols.dlt645.values import decode_readings
from tests.hil.masters import DEADLINE_S, FakeClock, Master

ROOT = Path(__file__).parents[2]
WORLD = """
[[line]]
id = "north"
link = "ttys/north"
paced = false
[[line]]
id = "south"
link = "ttys/south"
paced = false
[[meter]]
line = "north"
protocol = "dlt645-2007"
address = "000000000161"
cut = 11
registers = { "00010000" = 12345, "02010200" = "blank", "04000503" = 80, "04000102" = "215355" }
[[meter]]
line = "south"
protocol = "modbus"
unit = 17
model = "eastron-sdm630"
registers = { voltage_l1 = 2301 }
[[meter]]
line = "south"
protocol = "dlt645-2007"
address = "000000000162"
[[fault]]
line = "south"
kind = "silent"
station = "000000000162"
"""
MODBUS_REQUEST = bytes.fromhex("110400000002735b")
MODBUS_REPLY = bytes.fromhex("1104044366199a9425")


class Run:
    """The command in a process of its own, until the test ends it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        (folder / "world.toml").write_text(WORLD)
        command = [sys.executable, "-m", "hil", "run", "--config", str(folder / "world.toml")]
        self.process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        )

    def next_line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 20)[0], "it says nothing"
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def end(self, number: int) -> tuple[int, str]:
        """Exit code, and what it wrote to standard error."""
        self.process.send_signal(number)
        code = self.process.wait(DEADLINE_S * 2)
        assert self.process.stderr is not None
        return code, self.process.stderr.read().decode()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started = Run(tmp_path, "--log", str(tmp_path / "shown.jsonl"))
    yield started
    started.close()


def test_it_serves_its_lines_logs_what_it_shows_and_cleans_up(run: Run, tmp_path: Path) -> None:
    links = {"north": str(tmp_path / "ttys/north"), "south": str(tmp_path / "ttys/south")}
    assert run.next_line() == {"ready": True, "lines": links}
    arrived = []
    with Master(Path(links["north"])) as master:
        for di in ("00010000", "0201FF00", "0001FF00", "04000503", "04000102"):
            data = master.exchange(read("000000000161", di))
            arrived += [(one.obis.text(), one.quantity.value) for one in decode_readings(data)]
    with Master(Path(links["south"])) as master:
        assert master.ask(MODBUS_REQUEST, len(MODBUS_REPLY)) == MODBUS_REPLY
        master.send(read("000000000162", "00010000").request.to_bytes())
        assert master.is_quiet()
    assert run.end(signal.SIGTERM) == (0, "")
    totals = run.next_line()["lines"]
    assert (totals["north"]["requests"], totals["south"]["requests"]) == (6, 2)
    assert totals["north"]["busy_s"] > 0
    assert list((tmp_path / "ttys").iterdir()) == []

    shown = [json.loads(row) for row in (tmp_path / "shown.jsonl").read_text().splitlines()]
    north = [one for one in shown if one["line"] == "north"]
    assert arrived[0] == ("1-0:1.8.0*255", 12345)
    assert [(one["obis"], one["value"]) for one in north if one["value"] is not None][:-1] == (
        arrived[:-1]
    )
    assert north[-1]["value"] == "215355" and arrived[-1][1] == "21:53:55"
    (south,) = [one for one in shown if one["meter"] == "17"]
    assert (south["register"], south["value"], south["scaler"]) == ("voltage_l1", 2301, -1)


def test_ctrl_c_ends_it_quietly_and_cleans_up(run: Run, tmp_path: Path) -> None:
    run.next_line()
    assert run.end(signal.SIGINT) == (130, "")
    assert list((tmp_path / "ttys").iterdir()) == []


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "world.toml").write_text(WORLD)
    command = [sys.executable, "-m", "hil", "run", "--config", str(tmp_path / "world.toml")]
    script = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen({[*command, '--die-with-parent']!r}, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        assert (tmp_path / "ttys/north").is_symlink()
        parent.kill()
    try:
        assert select.select([child], [], [], DEADLINE_S)[0], "it outlived its parent"
    finally:
        os.close(child)
    assert not (tmp_path / "ttys/north").is_symlink()


def test_without_a_command_it_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "run" in capsys.readouterr().out


def test_a_wrong_file_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    (tmp_path / "world.toml").write_text(WORLD.replace("modbus", "mudbus"))
    try:
        assert main(["run", "--config", str(tmp_path / "world.toml")]) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and "meter 2: protocol = 'mudbus' is not allowed" in err


def test_a_link_that_cannot_be_made_ends_what_had_begun(tmp_path: Path) -> None:
    (tmp_path / "world.toml").write_text(WORLD)
    (tmp_path / "ttys").mkdir()
    (tmp_path / "ttys/south").write_text("mine")
    world = World(read_scenario(tmp_path / "world.toml"))
    with pytest.raises(Exception, match="south"):
        world.start()
    world.stop()
    assert [one.name for one in (tmp_path / "ttys").iterdir()] == ["south"]


def test_a_test_can_reach_meters_and_lines_of_a_world(tmp_path: Path) -> None:
    (tmp_path / "world.toml").write_text(WORLD)
    world = World(read_scenario(tmp_path / "world.toml"), clock=FakeClock())
    world.start()
    try:
        world.meters["north", "000000000161"].pin("00010000", 777)
        world.lines["south"].set_faults([])
        for line_id, address, value in (
            ("north", "000000000161", 777),
            ("south", "000000000162", None),
        ):
            with Master(world.lines[line_id].link) as master:
                (reading,) = decode_readings(master.exchange(read(address, "00010000")))
                assert value in (None, reading.quantity.value)
        assert world.is_alive()
        assert world.statistics()["north"]["replies"] == 1
    finally:
        world.stop()
    assert not world.is_alive()
