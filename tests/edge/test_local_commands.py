"""`busbar-edge meters|read|events|tail` at a gateway's socket: what a person sees, and the exit
codes."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.__main__ import main
from edge.journal.follow import Follower
from edge.journal.store import Journal
from edge.local import desk as desk_module
from edge.local.desk import Desk, View
from edge.local.peers import Peers
from edge.local.server import LocalServer
from edge.table import render_meters, time_text
from protocols.readings import Flag, Origin
from tests.edge.fakes import UTC_MS, make_set
from tests.edge.test_journal_events import make_event
from tests.edge.test_poller import Bench
from tests.edge.test_settings import GOOD, write_config

ROOT = Path(__file__).parents[2]
ROWS: list[dict[str, Any]] = [
    {"meter": "m-0", "line": "line-1", "state": "answering", "read_at": UTC_MS,
     "read_age_ms": 12_400, "drift_s": -42, "last_error": "", "readings": []},
    {"meter": "m-1", "line": "line-1", "state": "down", "read_at": 0, "read_age_ms": None,
     "drift_s": None, "last_error": "line line-1: no answer", "readings": []},
]  # fmt: skip


class Gateway:
    """A socket, a line whose worker takes a turn whenever it is offered a job, and a journal."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(2)
        state = folder / "state"
        state.mkdir()
        self.journal = Journal(state, 64)
        self.journal.open()
        view = View(
            self.bench.clock,
            dict,
            lambda: ROWS,
            self._offer,
            self._follow,
            lambda: self.journal.epoch,
        )
        self.followed = threading.Event()
        self.sets_told = 0
        self.is_quiet = threading.Event()  # the tail looked again after what it told
        self.desk = Desk(view)
        self.server = LocalServer(state, self.desk.handlers, Peers(None, folder))
        self.server.start()

    def _follow(self) -> Follower:
        """A reader that tells how far it is."""
        reader = Follower(self.journal.path)
        head, rows = reader.event_head, reader.rows

        def noted_head() -> int:
            found = head()
            self.followed.set()
            return found

        def noted_rows(first: int, last: int) -> list[Any]:
            found = rows(first, last)
            if self.sets_told == 2 and not found:
                self.is_quiet.set()
            self.sets_told += len(found)
            return found

        reader.event_head, reader.rows = noted_head, noted_rows  # type: ignore[method-assign]
        return reader

    def _offer(self, _: str, job: Any) -> bool:
        self.bench.worker.offer(job)
        self.bench.worker.turn()
        return True

    def stop(self) -> None:
        """No longer there."""
        self.server.stop()
        self.journal.close()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A running one."""
    one = Gateway(tmp_path)
    yield one
    one.stop()


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Its edge.toml."""
    return str(write_config(tmp_path, GOOD))


def test_meters_are_a_table(
    gateway: Gateway, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """State, last reading with its age, the meter's clock, the problem; or JSON."""
    assert main(["meters", "--config", config]) == 0
    heads, first, second = capsys.readouterr().out.splitlines()
    assert heads.split("  ")[0] == "meter"
    assert first == "m-0    line-1  answering  2026-09-21 14:13:20Z  12 s  -42 s"
    assert second[heads.index("last reading") :].startswith("never")
    assert second[heads.index("clock drift") :].startswith("–")
    assert second[heads.index("problem") :] == "line line-1: no answer"
    assert main(["meters", "--json", "--config", config]) == 0
    assert json.loads(capsys.readouterr().out) == ROWS


@pytest.mark.parametrize(
    ("age_ms", "words"),
    [(0, "0 s"), (119_999, "119 s"), (120_000, "2 min"), (7_200_000, "2 h"),
     (172_800_000, "2 d"), (None, "–")],
)  # fmt: skip
def test_an_age_is_told_in_its_unit(age_ms: int | None, words: str) -> None:
    """The largest of which there are two."""
    table = render_meters([ROWS[0] | {"read_age_ms": age_ms}])
    assert f"Z  {words}" in table


@pytest.mark.parametrize("at", [-(10**18), 10**18, 10**30])
def test_a_time_that_no_calendar_has_is_told_as_a_number(at: int) -> None:
    """A meter may say anything of its clock."""
    assert time_text(at) == f"{at} ms"


def test_a_read_shows_value_and_time(
    gateway: Gateway, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The frames too when asked for them."""
    assert main(["read", "m-1", "1-0:1.8.0", "--config", config]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    value = "m-1  1-0:1.8.0*255  active energy import  0.26 kWh  2026-09-21 14:13:20Z (ntp)\n"
    assert told.out == value
    assert main(["read", "m-1", "1-0:1.8.0", "--verbose", "--config", config]) == 0
    _, sent, received = capsys.readouterr().out.splitlines()
    assert sent.startswith(">     0 ms  FE FE FE FE 68 62 01 00 00 00 00 68 11 04")
    assert received.startswith("<   ")
    assert main(["read", "m-1", "1-0:1.8.0", "--json", "--config", config]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["readings"][0]["value"] == "0.26"
    assert [way for way, _, _ in result["frames"]] == [">", "<"]


def test_a_meter_that_is_silent_is_exit_code_1(
    gateway: Gateway, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence on stderr; as JSON too."""
    gateway.bench.meters.silent.add(gateway.bench.addresses[0])
    for more in ([], ["--json"]):
        assert main(["read", "m-0", "1-0:1.8.0", *more, "--config", config]) == 1
        told = capsys.readouterr()
        assert told.err == "busbar-edge: m-0 1-0:1.8.0*255: line line-1: no answer\n"
        assert bool(told.out) is bool(more)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["read", "m-9", "1-0:1.8.0"], "meter 'm-9' is not allowed; it must be m-0, m-1"),
        (["read", "m-0", "energy"], "'energy' is not an OBIS code such as 1-0:1.8.0"),
        (["events", "--limit", "0"], "--limit 0 is not allowed; it must be 1 to 1000"),
        (["events", "--since", "noon"],
         "--since 'noon' is not allowed; it must be a time such as 2026-11-21T10:00:00Z"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_sentence_and_exit_code_2(
    gateway: Gateway,
    config: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    """With what is allowed; no frame went out."""
    assert main([*arguments, "--config", config]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"busbar-edge: {words}\n")
    assert gateway.bench.port.written() == []


@pytest.mark.parametrize("command", [["meters"], ["read", "m-0", "1-0:1.8.0"], ["events"],
                                     ["tail"]])  # fmt: skip
def test_without_an_agent_it_is_exit_code_3(
    config: str, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """One sentence."""
    assert main([*command, "--config", config]) == 3
    assert capsys.readouterr().err.startswith("busbar-edge: no agent answers at ")


def test_events_are_a_table(
    gateway: Gateway, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Filtered by severity and time; JSON has the frames."""
    events = [make_event(), make_event(kind="meter-up", subject="m-1", detail="", at=UTC_MS + 9000)]
    gateway.journal.append([], (), events)
    assert main(["events", "--config", config]) == 0
    heads, first, second = capsys.readouterr().out.splitlines()
    assert heads.split() == ["time", "severity", "kind", "of", "detail"]
    assert first == "2026-09-21 14:13:20Z  alarm     line-down  line-1  detail 0"
    assert second == "2026-09-21 14:13:29Z  info      meter-up   m-1"
    assert main(["events", "--severity", "warning", "--config", config]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    since = ["--since", "2026-09-21T22:13:25+08:00"]
    assert main(["events", *since, "--json", "--config", config]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["sequence"], found["evidence"][0][2]) == ("meter-up", 2, "6801")


def tail(gateway: Gateway, config: str, *more: str) -> int:
    """Runs it until two appends were seen, then the agent stops."""

    def feed() -> None:
        assert gateway.followed.wait(20)
        old = make_set(7, origin=Origin.LOAD_RECORD, flags=Flag.METER_CLOCK_SUSPECT, readings=())
        gateway.journal.append([make_set(3)], (), [make_event()])
        gateway.journal.append([old])
        assert gateway.is_quiet.wait(20)
        gateway.server.stop()

    thread = threading.Thread(target=feed)
    thread.start()
    code = main(["tail", *more, "--config", config])
    thread.join(30)
    return code


def test_the_tail_shows_readings_and_events_until_the_agent_stops(
    gateway: Gateway, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line each; exit code 3 when the agent ends first."""
    assert tail(gateway, config) == 3
    told = capsys.readouterr()
    assert told.err == "busbar-edge: the agent stopped\n"
    assert told.out.splitlines() == [
        "2026-09-21 14:13:20Z  ALARM  line-down  line-1  detail 0",
        "2026-09-21 14:13:23Z  m-1  1-0:1.8.0*255  active energy import  0.03 kWh",
        "2026-09-21 14:13:23Z  m-1  1-0:32.7.0*255  voltage L1  230.3 V",
        "2026-09-21 14:13:27Z  m-1  no values  [load-record, meter-clock-suspect]",
    ]


def test_the_tail_as_json_is_an_object_a_line(
    gateway: Gateway, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events and sets, told apart by their type."""
    assert tail(gateway, config, "--json") == 3
    items = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["type"], one["sequence"]) for one in items] == [
        ("event", 1), ("readings", 1), ("readings", 2),
    ]  # fmt: skip


def test_the_tail_ends_with_ctrl_c(gateway: Gateway, config: str) -> None:
    """Exit code 0, nothing on stderr, and its place at the socket is free again."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "tail", "--config", config],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert gateway.followed.wait(20)
    gateway.journal.append([make_set(3)])
    assert "active energy import" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    for _ in range(500):
        if not gateway.server._clients:
            break
        threading.Event().wait(0.02)
    assert not gateway.server._clients


def test_commands_start_without_the_agents_weight(config: str) -> None:
    """Asking must be quick on a small machine: no cryptography, no MQTT, no metrics."""
    code = (
        "import sys; from edge.__main__ import main\n"
        f"main(['meters', '--config', {config!r}])\n"
        "heavy = {'cryptography', 'paho', 'prometheus_client', 'cbor2'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_read_that_a_person_gives_up_is_given_up(
    gateway: Gateway, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is asked for nothing on behalf of who has left."""
    monkeypatch.setattr(desk_module, "_LOOK_S", 0.02)
    jobs: list[Any] = []

    def offer(_: str, job: Any) -> bool:
        jobs.append(job)
        return True

    gateway.desk._view = gateway.desk._view._replace(offer=offer)
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "read", "m-0", "1-0:1.8.0", "--config", config],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stderr=subprocess.DEVNULL,
    )
    while not jobs:
        threading.Event().wait(0.02)
    process.kill()
    process.wait(30)
    for _ in range(500):
        if not jobs[0].may_send():
            break
        threading.Event().wait(0.02)
    assert not jobs[0].may_send()
