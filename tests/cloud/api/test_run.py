"""The API in the running head end: `busbar-cloud run` as a process, without a broker."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.api.client import Address, ApiClient
from cloud.orders.client import ServiceDownError
from cloud.people.book import PeopleBook
from protocols.errors import CallerError
from tests.cloud.world import TENANT, World

STARTED_S, ENDED_S = 60, 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def port(world: World) -> int:
    port = free_port()
    with world.config.open("a") as file:
        file.write(f'[api]\nlisten = "127.0.0.1:{port}"\n')
    world.settings().state_dir.mkdir()
    return port


@contextlib.contextmanager
def running(world: World, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "cloud", "run", "--config", str(world.config)]
    with log.open("wb") as out, subprocess.Popen(command, stderr=out) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(port: int, token: str) -> dict:
    client = ApiClient(Address("127.0.0.1", port, False), token)
    deadline = time.monotonic() + STARTED_S
    while True:
        try:
            return dict(client.call("hold_get"))
        except ServiceDownError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_a_person_is_served_by_the_running_service(world: World, port: int, tmp_path: Path) -> None:
    """From the start to SIGTERM, which ends it with 0; no token is in its log."""
    token = PeopleBook(world.identity, TENANT).add("zhang", ("operator",), ("*",))
    log = tmp_path / "log"
    with running(world, log) as process:
        assert ask(port, token)["held"] is False
        client = ApiClient(Address("127.0.0.1", port, False), token)
        assert client.call("hold_set", reason="storm")["held"] is True
        assert ask(port, token)["by"] == "person:zhang"
        with pytest.raises(CallerError, match="one of the roles"):
            client.call("hold_release", reason="over")
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDED_S) == 0
    text = log.read_text()
    assert "api_started" in text and "person=zhang" in text and "service_stopped" in text
    assert token not in text and "Traceback" not in text


def test_people_that_do_not_read_stop_the_start(world: World, port: int, tmp_path: Path) -> None:
    """With one sentence, before anything is opened to the network."""
    (world.identity / "people.json").write_text("{}")
    log = tmp_path / "log"
    with running(world, log) as process:
        assert process.wait(STARTED_S) == 2
    assert "people.json" in log.read_text() and log.read_text().count("\n") == 1
