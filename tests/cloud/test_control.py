"""The control socket: a real one, with a writer that the test plays."""

import contextlib
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.ingest.mailbox import Gone, Mailbox, Request
from cloud.orders import control
from cloud.orders.client import ServiceDownError, ask
from cloud.orders.control import (
    CLIENTS_MAX,
    LINE_SIZE_MAX,
    SOCKET_NAME,
    ControlServer,
    socket_address,
)
from protocols.errors import CallerError


class Desk:
    """The server and the mailbox behind it."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.mailbox = Mailbox(10)
        self.server = ControlServer(state_dir, self.mailbox)
        self.server.start()

    def request(self) -> Request:
        event = self.mailbox.take(5000)
        assert isinstance(event, Request)
        return event

    def connect(self) -> socket.socket:
        directory = os.open(self.state_dir, os.O_RDONLY)
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(5)
        client.connect(socket_address(directory))
        os.close(directory)
        return client


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(control, "POLL_S", 0.02)
    deep = tmp_path / ("a-directory-with-a-long-name-" * 4)  # beyond what a unix address holds
    deep.mkdir()
    desk = Desk(deep)
    yield desk
    desk.server.stop()


def test_only_its_user_may_open_it(desk: Desk) -> None:
    """Mode 0600, and it is gone after the service."""
    path = desk.state_dir / SOCKET_NAME
    status = path.stat()
    assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o600
    desk.server.stop()
    assert not path.exists()


def test_replies_come_as_lines(desk: Desk) -> None:
    """Until the final one; then the client is forgotten."""
    client = desk.connect()
    client.sendall(b'{"op": "other"}\n')
    assert desk.request().body == {"op": "other"}
    client.close()
    assert isinstance(desk.mailbox.take(5000), Gone)

    def play() -> None:
        request = desk.request()
        request.reply({"state": "one", "text": "ü"})
        request.reply({"state": "two", "final": True})

    writer = threading.Thread(target=play)
    writer.start()
    assert list(ask(desk.state_dir, {"op": "status"}, 5)) == [
        {"state": "one", "text": "ü"},
        {"state": "two", "final": True},
    ]
    writer.join()
    assert isinstance(desk.mailbox.take(5000), Gone)


@pytest.mark.parametrize(
    "line",
    [b"\n", b"[]\n", b"{broken\n", b"x" * (LINE_SIZE_MAX + 1), b"[" * 4000 + b"\n"],
    ids=["empty", "list", "broken", "long", "nested"],
)
def test_a_line_that_is_no_request(line: bytes, desk: Desk) -> None:
    """Answered with an error; the next client is served."""
    with desk.connect() as client:
        with contextlib.suppress(OSError):
            client.sendall(line)
        assert b"a request is one JSON object" in client.recv(4096)
    assert isinstance(desk.mailbox.take(5000), Gone)
    with desk.connect() as client:
        client.sendall(b'{"op": "status"}\n')
        desk.request().reply({"final": True})
        assert client.recv(100) == b'{"final": true}\n'


def test_too_many_clients_are_told(desk: Desk) -> None:
    """The limit holds, and a place becomes free again."""
    clients = [desk.connect() for _ in range(CLIENTS_MAX)]
    for client in clients:
        client.sendall(b'{"op": "wait"}\n')
        desk.request()
    with desk.connect() as one_more:
        assert b"more than 16 clients" in one_more.recv(4096)
    for client in clients:
        client.close()
        assert isinstance(desk.mailbox.take(5000), Gone)


def test_a_sentence_of_the_service_is_an_error(desk: Desk) -> None:
    """The client raises what the service said."""

    def play() -> None:
        desk.request().reply({"error": "no such meter", "final": True})

    writer = threading.Thread(target=play)
    writer.start()
    with pytest.raises(CallerError, match="no such meter"):
        list(ask(desk.state_dir, {"op": "x"}, 5))
    writer.join()


def test_nobody_answers(tmp_path: Path, desk: Desk) -> None:
    """No directory, no socket, a service that went away."""
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ServiceDownError, match="no service answers"):
            list(ask(path, {"op": "status"}, 5))
    with pytest.raises(CallerError, match="too long"):
        list(ask(desk.state_dir, {"op": "x" * LINE_SIZE_MAX}, 5))
    desk.server.stop()
    with pytest.raises(ServiceDownError):
        list(ask(desk.state_dir, {"op": "status"}, 5))


def test_a_socket_of_a_killed_service_is_replaced(tmp_path: Path) -> None:
    """The lock of the state directory says that nobody uses it."""
    first = ControlServer(tmp_path, Mailbox(10))
    second = ControlServer(tmp_path, Mailbox(10))
    second.start()
    second.stop()
    first._socket.close()
    assert not (tmp_path / SOCKET_NAME).exists()
