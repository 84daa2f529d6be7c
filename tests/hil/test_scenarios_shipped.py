"""Every shipped world starts as a process of its own, and each of its meters answers."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pymodbus.framer.rtu import FramerRTU

from hil.__main__ import main
from hil.load import EPOCH_MS, HOUR_MS
from hil.scenario import (
    CJT188,
    DLT645_1997,
    MODBUS,
    MeterPlan,
    find_scenario,
    read_scenario,
    shipped_scenarios,
)
from hil.world import World
from protocols.cjt188.exchange import read_present
from protocols.cjt188.settings import read_dialect
from protocols.dlt645.exchange import read, read_1997
from tests.hil.masters import Master

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
TRIES = 12  # of a meter with faults: 20 % each of up to three kinds
ANSWER_S = 0.8  # the slowest shipped meter takes 450 ms, and 100 ms of wire time
PAUSE_S = 0.04  # longer than the gap between two bytes at 2400 bit/s


def request_of(plan: MeterPlan) -> tuple[bytes, bytes]:
    """A question, and what stands at the head of a good answer."""
    settings = plan.settings
    if settings["protocol"] == CJT188:
        dialect = read_dialect(settings, "")
        wire = read_present(settings["address"], dialect, 0).request.to_bytes(2)
        head = bytes([0x68, dialect.meter_type]) + bytes.fromhex(plan.name)[::-1]
        return wire, head + b"\x81"
    if settings["protocol"] == MODBUS:
        assert plan.model is not None
        first = plan.model.registers[0]
        head = bytes([settings["unit"], first.function])
        body = head + first.address.to_bytes(2, "big") + first.words.to_bytes(2, "big")
        crc = FramerRTU.compute_CRC(body).to_bytes(2, "big")
        return body + crc, head + bytes([2 * first.words])
    is_old = settings["protocol"] == DLT645_1997
    exchange = read_1997(plan.name, "9010") if is_old else read(plan.name, "00010000")
    head = b"\x68" + bytes.fromhex(plan.name)[::-1] + b"\x68"
    return exchange.request.to_bytes(2), head + (b"\x81" if is_old else b"\x91")


def answers(master: Master, plan: MeterPlan) -> bool:
    request, head = request_of(plan)
    master.send(request)
    end_s = time.monotonic() + ANSWER_S
    heard = b""
    while time.monotonic() < end_s and head not in heard:
        heard += master.hear(1, PAUSE_S)
    while rest := master.hear(1, PAUSE_S):  # the next question must not meet this answer
        heard += rest
    return head in heard


class Run:
    """`busbar-hil run` in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hil", "run", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def said(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], DEADLINE_S)[0], "it says nothing"
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@pytest.mark.parametrize("name", shipped_scenarios())
def test_it_starts_and_each_meter_answers(name: str, tmp_path: Path) -> None:
    scenario = read_scenario(*_where(name, tmp_path))
    with Run(tmp_path, name, "--seed", "7") as run:
        links = run.said()["lines"]
        assert links == {line["id"]: str(tmp_path / line["link"]) for line in scenario.lines}
        for line_id, link in links.items():
            here = [plan for plan in scenario.meters if plan.settings["line"] == line_id]
            with Master(Path(link)) as master:
                silent = [
                    plan.name
                    for plan in here
                    if not any(answers(master, plan) for _ in range(TRIES))
                ]
            assert silent == [], line_id
        run.process.send_signal(signal.SIGTERM)
        totals = run.said()
        assert run.process.wait(DEADLINE_S) == 0
    assert sum(one["replies"] for one in totals["lines"].values()) >= len(scenario.meters)
    assert all(one["import_wh"] >= 0 for one in totals["truth"].values())
    assert not list((tmp_path / "ttys").iterdir())


def _where(name: str, folder: Path) -> tuple[Path, int, Path]:
    return shipped_scenarios()[name], 7, folder


def test_the_shipped_worlds_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--list"]) == 0
    assert capsys.readouterr().out.split() == ["hostile.toml", "street.toml", "workshop.toml"]


def test_a_path_goes_before_a_shipped_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped, links = find_scenario(Path("street.toml"))
    assert (shipped.parent.name, links) == ("scenarios", tmp_path)
    (tmp_path / "street.toml").write_text("")
    assert find_scenario(Path("street.toml")) == (Path("street.toml"), Path())
    assert find_scenario(Path("lane.toml")) == (Path("lane.toml"), Path())


def test_an_unknown_name_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["run", "lane.toml"]) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err.startswith("busbar-hil: lane.toml: cannot be read: ")


@pytest.mark.parametrize(
    "arguments", [[], ["a.toml", "--config", "b.toml"], ["a.toml", "--seed", "-1"]]
)
def test_wrong_use_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", *arguments])
    assert caught.value.code == 2 and "busbar-hil run: error" in capsys.readouterr().err


def readings(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """What each electricity meter of a shipped world shows at noon of its third day."""
    path = shipped_scenarios()[name]
    world = World(read_scenario(path, seed, folder))
    return {one: load.shown(EPOCH_MS + 60 * HOUR_MS) for one, load in world.loads.items()}


@pytest.mark.parametrize("name", shipped_scenarios())
def test_a_seed_is_a_world(name: str, tmp_path: Path) -> None:
    """The same seed shows the same values, another seed others at every meter."""
    one, same, other = (readings(name, seed, tmp_path) for seed in (7, 7, 8))
    assert one == same
    assert [key for key in one if one[key] == other[key]] == []
    assert len({str(shown) for shown in one.values()}) == len(one)
