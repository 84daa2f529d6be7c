"""The status socket and what a person sees of it."""

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.__main__ import main
from edge.local.lines import STATUS
from edge.local.peers import Peers
from edge.local.server import Answers, LocalServer
from edge.status import SOCKET_NAME, NotRunningError, ask
from edge.table import render
from tests.edge.fakes import UTC_MS
from tests.edge.test_settings import GOOD, write_config

SNAPSHOT: dict[str, Any] = {
    "gateway": "gw-1",
    "version": "1.2.3",
    "utc_ms": UTC_MS,
    "clock_quality": "ntp",
    "connected": True,
    "journal": {
        "head": 12,
        "epoch": "00" * 8,
        "held_sets": 1,
        "committed_sets": 11,
        "commits": 3,
        "lost_sets": 0,
        "fill_percent": 7,
        "trouble": "",
    },
    "uplink": {
        "backlog_sets": 5,
        "acknowledged_sets": 7,
        "acknowledged_upto": 7,
        "batches_in_flight": 1,
        "batches_sealed": 4,
        "batches_resent": 0,
        "bytes_sent": 1234,
        "readings_sent": 99,
        "refusals": {},
    },
    "lines": [
        {
            "line": "line-1",
            "open": True,
            "clock_jumps": 0,
            "exchanges": 40,
            "answers": 38,
            "silences": 2,
            "bytes_sent": 800,
            "bytes_received": 900,
            "stale_bytes": 3,
            "echoes": 0,
            "port_losses": 0,
            "busy_ms": 100,
        }
    ],
    "meters": [
        {
            "meter": "m-1",
            "line": "line-1",
            "protocol": "dlt645-2007",
            "address": "000000000161",
            "period_s": 60,
            "state": "answering",
            "sweeps": 11,
            "sweep_ms": 300,
            "read_at": UTC_MS,
            "last_error": "",
            "unsupported": [],
            "readings": [
                {
                    "obis": "1-0:1.8.0*255",
                    "name": "energy import",
                    "value": "0.26",
                    "unit": "kWh",
                }
            ],
            "exchanges": 40,
            "retries": 2,
            "silences": 2,
            "refusals": 0,
            "bad_values": 0,
            "strays": 0,
        },
        {
            "meter": "m-2",
            "line": "line-1",
            "protocol": "modbus",
            "address": "7",
            "period_s": 60,
            "state": "silent",
            "sweeps": 0,
            "sweep_ms": 0,
            "read_at": 0,
            "last_error": "line line-1: no answer",
            "unsupported": [],
            "readings": [],
            "exchanges": 1,
            "retries": 0,
            "silences": 1,
            "refusals": 0,
            "bad_values": 0,
            "strays": 0,
        },
    ],
}


def serve(folder: Path, snapshot: Callable[[], dict[str, Any]]) -> LocalServer:
    """A server that knows one request."""

    def status(_: dict[str, Any]) -> Answers:
        yield snapshot()

    return LocalServer(folder, {STATUS: status}, Peers(None, folder / "edge.toml"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    """One that answers with SNAPSHOT."""
    (tmp_path / "state").mkdir()
    one = serve(tmp_path / "state", lambda: SNAPSHOT)
    one.start()
    yield one
    one.stop()


def test_everyone_who_asks_gets_one_json_object(tmp_path: Path, server: LocalServer) -> None:
    """Again and again."""
    for _ in range(5):
        assert ask(tmp_path / "state") == SNAPSHOT


def test_the_socket_is_for_its_owner_only(tmp_path: Path, server: LocalServer) -> None:
    """Readings are nobody else's business; the umask of the agent is left as it was."""
    path = tmp_path / "state" / SOCKET_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = os.umask(0o022)
    os.umask(before)
    assert before != 0o177


def test_a_socket_that_a_crash_left_is_replaced(tmp_path: Path) -> None:
    """Nobody listens there any more."""
    path = tmp_path / SOCKET_NAME
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(str(path))
    stale.close()
    assert path.exists()
    with pytest.raises(NotRunningError):
        ask(tmp_path)
    server = serve(tmp_path, lambda: {"fresh": True})
    server.start()
    assert ask(tmp_path) == {"fresh": True}
    server.stop()
    assert not path.exists()
    with pytest.raises(NotRunningError):
        ask(tmp_path)


def test_a_stopped_server_ends_its_thread(tmp_path: Path) -> None:
    """Also one that was never started."""
    server = serve(tmp_path, dict)
    server.start()
    server.stop()
    server._thread.join(10)
    assert not server._thread.is_alive()
    serve(tmp_path, dict).stop()


def test_a_fault_in_the_snapshot_ends_nothing(tmp_path: Path) -> None:
    """That asker gets no answer, the next one does."""
    answers: list[Any] = [KeyError("ours"), {"fine": 1}]

    def snapshot() -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    server = serve(tmp_path, snapshot)
    server.start()
    with pytest.raises(NotRunningError, match="gave no answer"):
        ask(tmp_path)
    assert ask(tmp_path) == {"fine": 1}
    server.stop()


def test_an_asker_who_leaves_does_no_harm(tmp_path: Path, server: LocalServer) -> None:
    """The next one is answered."""
    for _ in range(3):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as impatient:
            impatient.connect(str(tmp_path / "state" / SOCKET_NAME))
    assert ask(tmp_path / "state") == SNAPSHOT


def test_a_large_snapshot_arrives_whole(tmp_path: Path) -> None:
    """A thousand meters are more than one read."""
    large = {"meters": ["x" * 1000] * 1000}
    server = serve(tmp_path, lambda: large)
    server.start()
    assert ask(tmp_path) == large
    server.stop()


def test_the_table_shows_what_a_technician_needs() -> None:
    """State, counters, values with units; columns stand under their heads."""
    text = render(SNAPSHOT)
    lines = text.splitlines()
    assert lines[0].startswith("gateway gw-1  version 1.2.3  time 2026-09-21")
    assert "broker connected" in lines[0]
    assert "journal 12 reading sets, 1 not yet committed, 7 % full, 0 lost" in text
    assert "TROUBLE" not in text
    assert "5 reading sets to be acknowledged" in text
    heads = next(line for line in lines if line.startswith("meter  line"))
    row = next(line for line in lines if line.startswith("m-2"))
    assert row[heads.index("problem") :] == "line line-1: no answer"
    assert row[heads.index("last read") :].startswith("never")
    assert row[heads.index("state") :].startswith("silent")
    assert "energy import" in text
    assert "0.26" in text
    assert all(line == line.rstrip() for line in lines)


def test_the_table_shows_trouble() -> None:
    """Nobody must look twice."""
    broken = SNAPSHOT | {
        "connected": False,
        "journal": SNAPSHOT["journal"] | {"trouble": "database or disk is full"},
        "lines": [SNAPSHOT["lines"][0] | {"open": False}],
    }
    text, fine = render(broken), render(SNAPSHOT)
    assert "NOT connected" in text
    assert "TROUBLE: database or disk is full" in text
    rows = [next(one for one in t.splitlines() if one[:6] == "line-1") for t in (text, fine)]
    assert rows[0] != rows[1]  # the port is not open


def test_the_command_shows_a_table_or_json(
    tmp_path: Path, server: LocalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0."""
    config = write_config(tmp_path, GOOD)
    assert main(["status", "--config", str(config)]) == 0
    assert capsys.readouterr().out == render(SNAPSHOT) + "\n"
    assert main(["status", "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == SNAPSHOT


def test_the_command_says_that_no_agent_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3, one line on stderr, and nothing is made."""
    config = write_config(tmp_path, GOOD)
    assert main(["status", "--config", str(config)]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "no agent answers at" in captured.err
    assert not (tmp_path / "state").exists()


def test_the_server_answers_one_after_the_other(tmp_path: Path, server: LocalServer) -> None:
    """Many askers at once all get their answer."""
    answers: list[object] = []
    askers = [
        threading.Thread(target=lambda: answers.append(ask(tmp_path / "state"))) for _ in range(8)
    ]
    for one in askers:
        one.start()
    for one in askers:
        one.join(30)
    assert answers == [SNAPSHOT] * 8
