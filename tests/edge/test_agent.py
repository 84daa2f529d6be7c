"""The composition root: what starts when, what a start refuses, and what is never told."""

import json
import logging
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from edge.agent import Agent, software_version
from edge.clock import SystemClock
from edge.collect.supply_rules import CLOSED, OPEN
from edge.collect.supply_watch import AFTER_ORDER_MS, PERIOD_MS, SupplyWatch
from edge.orders.aftermath import AftermathJob
from edge.settings import load_settings
from edge.status import ask
from edge.sync.identity import load_identity
from protocols.envelope.keys import Use
from protocols.errors import SettingError
from protocols.messages import OrderState
from tests.edge.fakes import FakeClock, FakePort, wire
from tests.edge.head_end import (
    GATEWAY,
    METER_ADDRESS,
    METER_ID,
    PROVIDER,
    TENANT,
    HeadEnd,
    make_order,
)
from tests.edge.orders.line_rig import make_order as make_cut
from tests.edge.test_orders import Gateway
from tests.edge.test_settings import write_config

ROOT = Path(__file__).parents[2]


def config_of(folder: Path, **gateway: Any) -> Path:
    """A gateway whose adapter and broker are not there."""
    table = {
        "gateway": {
            "allow_over_budget": True,
            "id": GATEWAY,
            "tenant": TENANT,
            "state_dir": "state",
            "identity_dir": "identity",
        }
        | gateway,
        "mqtt": {"host": "127.0.0.1", "port": 1, "tls": False, "reconnect_s_max": 1},
        "journal": {"ballast_kb": 0},
        "line": [{"id": "line-1", "port": str(folder / "no-adapter")}],
        "meter": [
            {
                "id": METER_ID,
                "line": "line-1",
                "protocol": "dlt645-2007",
                "address": METER_ADDRESS,
                "period_s": 1,
            }
        ],
    }
    return write_config(folder, table)


@pytest.fixture
def head_end(tmp_path: Path) -> HeadEnd:
    """Its keys are on the gateway."""
    one = HeadEnd()
    one.write_files(tmp_path / "identity")
    return one


def unlock(agent: Agent) -> None:
    """As the end of the process does."""
    os.close(agent._lock)


def test_an_agent_starts_tells_its_status_and_stops(tmp_path: Path, head_end: HeadEnd) -> None:
    """With real threads; afterwards none is left, and the journal was closed cleanly."""
    threads = set(threading.enumerate())
    agent = Agent(load_settings(config_of(tmp_path)), SystemClock())
    agent.start()
    snapshot = ask(tmp_path / "state")
    agent.stop()
    unlock(agent)
    assert snapshot["gateway"] == GATEWAY
    assert snapshot["connected"] is False
    assert snapshot["journal"]["trouble"] == ""
    assert [one["meter"] for one in snapshot["meters"]] == [METER_ID]
    assert not (tmp_path / "state" / "status.sock").exists()
    agent._face._socket._thread.join(10)
    assert set(threading.enumerate()) <= threads
    again = Agent(load_settings(config_of(tmp_path)), SystemClock())
    again._journal.open()
    assert again._journal.salvaged == ""
    again._journal.close()
    unlock(again)


def test_stored_orders_are_settled_before_new_ones_can_come(
    tmp_path: Path, head_end: HeadEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an order that arrives meanwhile would be found as a stored one, and run twice."""
    agent = Agent(load_settings(config_of(tmp_path)), FakeClock())
    started: list[str] = []
    start_writer = agent._writer.start
    monkeypatch.setattr(agent._writer, "start", lambda: (start_writer(), started.append("_writer")))
    for name, part in (("_session", agent._session), ("_status", agent._face._socket)):
        monkeypatch.setattr(part, "start", lambda name=name: started.append(name))
    monkeypatch.setattr(agent._orders, "begin", lambda: started.append("begin"))
    for worker in agent._workers.values():
        monkeypatch.setattr(worker, "start", lambda _: started.append("line"))
    agent.start()
    agent._remote_config.stop()
    agent._face._health.stop()
    agent._writer.stop()
    unlock(agent)
    assert started.index("_writer") < started.index("begin") < started.index("_session")
    assert started.index("begin") < started.index("line")


def test_i28_supplies_are_watched_by_what_the_orders_want(
    tmp_path: Path, head_end: HeadEnd
) -> None:
    """Each line looks at its supplies, soon after an order, and at what became of one that was
    sent before a restart."""
    path = config_of(tmp_path)
    path.write_text(path.read_text() + "\n[meter.control]\n")
    clock = FakeClock()
    agent = Agent(load_settings(path), clock)
    (worker,) = agent._workers.values()
    (watch,) = [one for one in worker.background if isinstance(one, SupplyWatch)]
    order = make_cut("disconnect")._replace(meter_id=METER_ID)
    assert watch._intended(METER_ID) == CLOSED
    agent._orders.intended.follow(order, 1, OrderState.CONFIRMED)
    assert watch._intended(METER_ID) == OPEN
    meter = watch._meters[METER_ID]
    meter.due_at = clock.boot_ms() + PERIOD_MS
    around = agent._orders._around
    around.look_soon(METER_ID)
    assert meter.due_at == clock.boot_ms() + AFTER_ORDER_MS
    assert around.make_look is not None
    job = around.make_look(order, 1, clock, None, ())  # type: ignore[arg-type]
    assert isinstance(job, AftermathJob)
    unlock(agent)


def test_a_status_socket_that_can_not_be_made_stops_no_metering(
    tmp_path: Path, head_end: HeadEnd, caplog: pytest.LogCaptureFixture
) -> None:
    """A path that is too long for a socket is told; everything else runs, and stops in order."""
    folder = tmp_path / ("long-" * 20)
    agent = Agent(load_settings(config_of(tmp_path, state_dir=str(folder))), SystemClock())
    agent.start()
    agent.stop()
    unlock(agent)
    assert "status_refused" in caplog.text
    assert (folder / "journal.db").exists()


def test_two_agents_on_one_state_folder_are_refused(tmp_path: Path, head_end: HeadEnd) -> None:
    """Two writers would break the journal."""
    settings = load_settings(config_of(tmp_path))
    first = Agent(settings, FakeClock())
    with pytest.raises(SettingError, match="in use by a running agent"):
        Agent(settings, FakeClock())
    unlock(first)
    unlock(Agent(settings, FakeClock()))


def test_a_state_folder_that_can_not_be_made_is_named(tmp_path: Path, head_end: HeadEnd) -> None:
    """One sentence."""
    (tmp_path / "file").write_text("")
    settings = load_settings(config_of(tmp_path, state_dir="file/state"))
    with pytest.raises(SettingError, match=r"state_dir = .* is not allowed"):
        Agent(settings, FakeClock())


def test_a_line_that_can_not_keep_its_periods_is_told(
    tmp_path: Path, head_end: HeadEnd, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten quantities a second at 2400 bit/s are too many: refused with the sum, unless allowed."""
    with pytest.raises(SettingError, match="takes 300 % of the line's time"):
        Agent(load_settings(config_of(tmp_path, allow_over_budget=False)), FakeClock())
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    head_end.write_files(allowed / "identity")
    agent = Agent(load_settings(config_of(allowed)), FakeClock())
    unlock(agent)
    assert "line_loaded line=line-1 load_percent=300" in caplog.text


def test_the_version_is_known() -> None:
    """Something, installed or not."""
    assert software_version()


# ---- identity -----------------------------------------------------------------------------------


def load(folder: Path, gateway_id: str = GATEWAY, tenant: str = TENANT) -> Any:
    """What the agent does."""
    return load_identity(folder / "identity", gateway_id, tenant, PROVIDER)


def test_an_identity_is_loaded(tmp_path: Path, head_end: HeadEnd) -> None:
    """Own keys by name, and whom we trust."""
    identity = load(tmp_path)
    assert (identity.gateway_id, identity.tenant) == (GATEWAY, TENANT)
    sign, own = head_end.gateway_keys[GATEWAY]
    assert identity.signer_kid == sign.record.kid
    assert set(identity.own_keys) == {own.record.kid}
    assert set(identity.trusted.records()) == set(head_end.trusted().records())


def test_an_identity_of_somebody_else_is_refused(tmp_path: Path, head_end: HeadEnd) -> None:
    """A card that was put into another box."""
    with pytest.raises(SettingError, match=r"keys\.json: party = 'gw-1' is not allowed"):
        load(tmp_path, gateway_id="gw-2")
    with pytest.raises(SettingError, match="tenant = 't1' is not allowed"):
        load(tmp_path, tenant="t2")


@pytest.mark.parametrize("name", ["keys.json", "keyset.json", "ca.pem", "tls.pem", "tls.key"])
def test_a_missing_identity_file_is_named(tmp_path: Path, head_end: HeadEnd, name: str) -> None:
    """With the command that makes it."""
    (tmp_path / "identity" / name).unlink()
    with pytest.raises(SettingError, match=f"{name}.*busbar-provision init"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["keys.json", "keyset.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"party": "gw-1", "tenant": "t1"}'])
def test_a_damaged_identity_file_is_named(
    tmp_path: Path, head_end: HeadEnd, name: str, content: str
) -> None:
    """One sentence, and no content."""
    (tmp_path / "identity" / name).write_text(content)
    with pytest.raises(SettingError, match=r"key(s|set)\.json"):
        load(tmp_path)


@pytest.mark.parametrize("use", [Use.OPEN, Use.SIGN_DATA])
def test_an_identity_without_a_needed_key_is_one_sentence(
    tmp_path: Path, head_end: HeadEnd, use: str
) -> None:
    """Nobody to encrypt to, or nothing to sign with: told at the start, not at the first batch."""
    name = "keyset.json" if use == Use.OPEN else "keys.json"
    path = tmp_path / "identity" / name
    content = json.loads(path.read_text())
    content["keys"] = [row for row in content["keys"] if row.get("record", row)["use"] != use]
    path.write_text(json.dumps(content))
    with pytest.raises(SettingError):
        load(tmp_path)


# ---- secrets ------------------------------------------------------------------------------------


@pytest.fixture
def canaries(head_end: HeadEnd) -> list[str]:
    """Every private key on the gateway, in each form that a careless line might print."""
    found = []
    for key in head_end.gateway_keys[GATEWAY]:
        found += [
            key.private.hex(),
            repr(key.private),
            str(int.from_bytes(key.private, "big")),
            key.private.hex(" "),
        ]
    return found


def expect_no_canary(text: str, canaries: list[str]) -> None:
    """None of them, in upper or lower case."""
    assert text
    for canary in canaries:
        assert canary.lower() not in text.lower()


def test_no_key_is_printed_by_its_holders(
    tmp_path: Path, head_end: HeadEnd, canaries: list[str]
) -> None:
    """Not by repr, str, format, or in a traceback with all local variables."""
    identity = load(tmp_path)
    shown = (
        f"{identity!r} {identity} {identity.own_keys} {identity.signer!r} {vars(identity.signer)}"
    )
    expect_no_canary(shown, canaries)

    def fail(one: object) -> None:
        keys = dict(identity.own_keys)
        raise KeyError(one, keys)

    with pytest.raises(KeyError) as caught:
        fail(identity)
    trace = caught.tb.tb_next
    told = traceback.TracebackException(KeyError, caught.value, trace, capture_locals=True)
    text = "".join(told.format())
    assert "own_keys" in text
    expect_no_canary(text, canaries)


@pytest.mark.parametrize("damage", ["short", "odd", "record", "use", "number"])
def test_no_key_is_printed_when_its_file_is_damaged(
    tmp_path: Path, head_end: HeadEnd, canaries: list[str], damage: str
) -> None:
    """The sentence and the whole chain of causes say nothing of the content."""
    path = tmp_path / "identity" / "keys.json"
    content = json.loads(path.read_text())
    row = content["keys"][0]
    if damage == "short":
        row["private"] = row["private"] + "zz"
    elif damage == "odd":
        row["private"] = row["private"] + "0"
    elif damage == "record":
        del row["record"]["kid"]
    elif damage == "use":
        row["record"]["use"] = "sing-data"
    else:
        row["private"] = int(row["private"], 16)
    path.write_text(json.dumps(content))
    with pytest.raises(SettingError) as caught:
        load(tmp_path)
    told = traceback.TracebackException.from_exception(caught.value)
    expect_no_canary("".join(told.format()), canaries)


def test_no_key_is_printed_by_a_running_agent_that_logs_everything(
    tmp_path: Path, head_end: HeadEnd, canaries: list[str]
) -> None:
    """A process at debug level: its output, its status, and every file that it writes."""
    config = config_of(tmp_path, log="debug")
    agent = subprocess.Popen(
        [sys.executable, "-m", "edge", "run", "--config", str(config)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert agent.stdout is not None
    with agent.stdout as out:
        heard = []
        for line in out:
            heard.append(line)
            if "agent_started" in line:
                break
        heard.append(json.dumps(ask(tmp_path / "state")))
        agent.terminate()
        heard += out.readlines()
    assert agent.wait(30) == 0
    assert "agent_stopped" in heard[-1]
    for path in (tmp_path / "state").iterdir():
        heard.append(path.read_bytes().hex())
        heard.append(path.read_bytes().decode("latin-1"))
    expect_no_canary("".join(heard), canaries)


@pytest.fixture
def debug_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything."""
    caplog.set_level(logging.DEBUG)
    return caplog


def test_no_key_is_logged_when_things_go_wrong(
    tmp_path: Path,
    head_end: HeadEnd,
    canaries: list[str],
    debug_log: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Faults in every thread's turn, forged messages and a failing writer, all with tracebacks."""
    agent = Agent(load_settings(config_of(tmp_path)), SystemClock())
    failed = threading.Event()
    session = agent._session
    refused: Future[Any] = Future()

    def fail(*_: object) -> None:
        failed.set()
        if not refused.done():
            refused.set_result(None)
        raise KeyError(session._identity.own_keys)

    monkeypatch.setattr(session, "_hear", fail)
    agent.start()
    session._events.put(None)
    refused.result(10)
    agent.stop()
    unlock(agent)
    assert failed.is_set()
    assert "turn_failed" in debug_log.text
    expect_no_canary(debug_log.text, canaries)


def test_no_key_is_logged_by_an_orders_life(
    tmp_path: Path, canaries: list[str], debug_log: pytest.LogCaptureFixture, clock: FakeClock
) -> None:
    """From its arrival to its receipt."""
    (tmp_path / "order").mkdir()
    port = FakePort(clock)
    gateway = Gateway(tmp_path / "order", clock, port)
    port.expect(b"\xfe" * 4 + wire("v001"), wire("v002"))
    gateway.take(1, make_order(1))
    gateway.run_jobs()
    assert gateway.states()[-1] == OrderState.DONE
    gateway.crash()
    expect_no_canary(debug_log.text, canaries)
