"""The agent's socket: who may use it, and what hostile clients cannot do to it."""

import grp
import json
import os
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.local import server as server_module
from edge.local.client import ask, ask_once
from edge.local.lines import (
    FAILED,
    REQUEST_SIZE_MAX,
    SOCKET_NAME,
    STATUS,
    WRONG,
    NotRunningError,
    RequestError,
)
from edge.local.peers import Peers
from edge.local.server import CLIENTS_MAX, Answers, LocalServer
from protocols.errors import SettingError

NOBODY = 65_534
GROUP_ID = os.getegid()
GROUP = grp.getgrgid(GROUP_ID).gr_name


class Served:
    """A server with a few requests; `closed` is set when the endless one was ended."""

    def __init__(self, folder: Path, peers: Peers | None = None) -> None:
        self.folder = folder
        self.closed = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.told = threading.Semaphore(0)
        handlers = {STATUS: self._status, "echo": self._echo, "endless": self._endless}
        handlers |= {"fault": self._fault, "refuse": self._refuse, "flood": self._flood}
        self.server = LocalServer(folder, handlers, peers or Peers(None, folder / "edge.toml"))
        self.server.start()

    def _status(self, _: dict[str, Any]) -> Answers:
        self.told.release()
        yield {"status": "fine"}

    def _echo(self, asked: dict[str, Any]) -> Answers:
        yield None
        yield asked

    def _endless(self, _: dict[str, Any]) -> Answers:
        try:
            self.begun.release()
            yield {"first": 1}
            while True:
                yield None
                threading.Event().wait(0.01)
        finally:
            self.closed.release()

    def _flood(self, _: dict[str, Any]) -> Answers:
        try:
            while True:
                yield {"much": "x" * 65_536}
        finally:
            self.closed.release()

    def _fault(self, _: dict[str, Any]) -> Answers:
        yield {"first": 1}
        raise KeyError("ours")

    def _refuse(self, _: dict[str, Any]) -> Answers:
        yield {"first": 1}
        raise RequestError("not today", FAILED)

    def raw(self, data: bytes) -> bytes:
        """All that comes for these bytes."""
        with self.connect() as connection:
            if data:
                connection.sendall(data)
            found = b""
            while chunk := connection.recv(65_536):
                found += chunk
        return found

    def connect(self) -> socket.socket:
        """A client that has said nothing."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10)
        connection.connect(str(self.folder / SOCKET_NAME))
        return connection


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """One on a folder of its own."""
    one = Served(tmp_path)
    yield one
    one.server.stop()


def test_a_request_is_a_line_and_so_is_its_answer(served: Served) -> None:
    """Arguments go with it; what is none of ours is refused with what is."""
    asked = {"request": "echo", "meter": "m-1", "limit": 3}
    assert ask_once(served.folder, "echo", meter="m-1", limit=3) == asked
    assert json.loads(served.raw(json.dumps(asked).encode() + b"\n")) == asked
    with pytest.raises(RequestError, match=r"must be one of echo, endless, .*status") as caught:
        ask_once(served.folder, "shutdown")
    assert caught.value.code == WRONG


def test_a_client_that_says_nothing_is_told_the_status(served: Served) -> None:
    """With any tool that opens a socket; also one that hangs up its own side at once."""
    assert json.loads(served.raw(b"")) == {"status": "fine", "unasked": True}
    with served.connect() as connection:
        connection.shutdown(socket.SHUT_WR)
        answer = json.loads(connection.makefile("rb").read())
        assert answer == {"status": "fine", "unasked": True}


def test_a_client_that_is_late_takes_no_other_answer_for_its_own(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that is busy its request may come after the status went out."""
    monkeypatch.setattr(server_module, "MUTE_S", 0)
    monkeypatch.setattr(socket.socket, "sendall", late(served))
    with pytest.raises(RequestError, match="did not hear the request in time") as caught:
        ask_once(served.folder, "echo")
    assert caught.value.code == FAILED


def late(served: Served) -> Callable[..., None]:
    """Sends once the server has given up waiting."""
    send = socket.socket.sendall

    def wait(connection: socket.socket, data: bytes) -> None:
        if data.startswith(b'{"request"'):
            assert served.told.acquire(timeout=10)
        send(connection, data)

    return wait


def test_a_client_that_was_late_once_asks_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody notices."""
    monkeypatch.setattr(server_module, "MUTE_S", 0)
    wait, send, sent = late(served), socket.socket.sendall, []

    def once(connection: socket.socket, data: bytes) -> None:
        if data.startswith(b'{"request"'):
            sent.append(data)
            if len(sent) == 1:
                try:
                    wait(connection, data)
                finally:  # whether or not the server has hung up by then
                    monkeypatch.setattr(server_module, "MUTE_S", 10)
                return
        send(connection, data)

    monkeypatch.setattr(socket.socket, "sendall", once)
    assert ask_once(served.folder, STATUS) == {"status": "fine"}
    assert len(sent) == 2


@pytest.mark.parametrize(
    "line",
    [b"status\n", b"[]\n", b"null\n", b'{"request": 3}\n', b"{}\n", b"\xff\xfe\n", b"[" * 4000
     + b"\n", b'{"request": "status"}trailing\n', b'{"request": "stat'],
)  # fmt: skip
def test_what_is_no_request_gets_one_sentence(served: Served, line: bytes) -> None:
    """And the next one is answered."""
    with served.connect() as connection:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        answer = json.loads(connection.makefile("rb").read())
    assert (set(answer), answer["code"]) == ({"error", "code"}, WRONG)
    assert "one line of JSON" in answer["error"]
    assert ask_once(served.folder, STATUS) == {"status": "fine"}


def test_a_request_without_an_end_is_cut(served: Served) -> None:
    """At its largest size, without waiting for more."""
    answer = json.loads(served.raw(b"x" * (REQUEST_SIZE_MAX + 1)))
    assert answer == {"error": f"a request has at most {REQUEST_SIZE_MAX} bytes", "code": WRONG}
    most = json.dumps({"request": "echo", "pad": ""})
    padded = json.dumps({"request": "echo", "pad": "y" * (REQUEST_SIZE_MAX - len(most) - 1)})
    assert len(padded) + 1 == REQUEST_SIZE_MAX
    assert json.loads(served.raw(padded.encode() + b"\n"))["request"] == "echo"


def test_a_client_that_dribbles_loses_its_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole request has one deadline, not each byte."""
    monkeypatch.setattr(server_module, "TIMEOUT_S", 0.4)
    with served.connect() as connection:
        connection.sendall(b"{")
        stop = threading.Event()

        def dribble() -> None:
            try:
                while not stop.wait(0.1):
                    connection.sendall(b" ")
            except OSError:
                pass

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            assert connection.recv(100) == b""
        except ConnectionResetError:
            pass  # it was hung up on with bytes under way
        finally:
            stop.set()
            thread.join()
    assert ask_once(served.folder, STATUS) == {"status": "fine"}


def test_a_client_that_takes_nothing_loses_its_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It blocks neither its thread for ever nor anybody else."""
    monkeypatch.setattr(server_module, "TIMEOUT_S", 0.3)
    with served.connect() as connection:
        connection.sendall(b'{"request": "flood"}\n')
        assert served.closed.acquire(timeout=10)
    assert ask_once(served.folder, STATUS) == {"status": "fine"}


def test_clients_are_bounded(served: Served) -> None:
    """One too many is told so; a place that becomes free is given again."""
    streams = [ask(served.folder, "endless", 10) for _ in range(CLIENTS_MAX)]
    assert [next(stream) for stream in streams] == [{"first": 1}] * CLIENTS_MAX
    answer = json.loads(served.raw(b""))
    assert answer == {
        "error": f"the agent serves {CLIENTS_MAX} clients at a time; try again", "code": FAILED,
    }  # fmt: skip
    streams[3].close()
    assert served.closed.acquire(timeout=10)
    for _ in range(500):  # its thread ends right after
        if len(served.server._clients) < CLIENTS_MAX:
            break
        threading.Event().wait(0.01)
    assert ask_once(served.folder, STATUS) == {"status": "fine"}
    for stream in streams:
        stream.close()


def test_a_stream_ends_with_its_client(served: Served) -> None:
    """What it held is given back at once, not when something comes."""
    stream = ask(served.folder, "endless")
    next(stream)
    assert not served.closed.acquire(blocking=False)
    stream.close()
    assert served.closed.acquire(timeout=10)


def test_a_stream_ends_with_the_agent(tmp_path: Path) -> None:
    """And no thread is left."""
    threads = set(threading.enumerate())
    served = Served(tmp_path)
    stream = ask(tmp_path, "endless")
    next(stream)
    served.server.stop()
    assert list(stream) == []
    assert served.closed.acquire(timeout=10)
    served.server._thread.join(10)
    assert set(threading.enumerate()) <= threads
    with pytest.raises(NotRunningError, match="no agent answers at"):
        ask_once(tmp_path, STATUS)


def test_a_refusal_after_an_answer_is_raised_behind_it(served: Served) -> None:
    """With its exit code."""
    stream = ask(served.folder, "refuse")
    assert next(stream) == {"first": 1}
    with pytest.raises(RequestError, match="not today") as caught:
        next(stream)
    assert caught.value.code == FAILED


def test_a_fault_of_ours_ends_one_answer(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its trace, and the next request is answered."""
    assert list(ask(served.folder, "fault")) == [{"first": 1}]
    assert ask_once(served.folder, STATUS) == {"status": "fine"}
    served.server.stop()  # waits for its threads
    assert "answer_failed" in caplog.text
    assert "KeyError" in caplog.text


# ---- who may ------------------------------------------------------------------------------------


def fake_peer(user: int, group: int, groups: tuple[int, ...] | None = ()) -> Any:
    """A connection of which the kernel says this; None for groups that it does not tell."""

    def getsockopt(_: int, option: int, __: int) -> bytes:
        if option == socket.SO_PEERCRED:
            return struct.pack("iII", 1, user, group)
        if groups is None:
            raise OSError("too many")
        return struct.pack(f"{len(groups)}I", *groups)

    return SimpleNamespace(getsockopt=getsockopt)


@pytest.mark.parametrize(
    ("peer", "alone", "with_group"),
    [
        (fake_peer(os.geteuid(), NOBODY), True, True),
        (fake_peer(0, 0), True, True),
        (fake_peer(NOBODY, NOBODY, (NOBODY, 12)), False, False),
        (fake_peer(NOBODY, GROUP_ID), False, True),
        (fake_peer(NOBODY, NOBODY, (12, GROUP_ID)), False, True),
        (fake_peer(NOBODY, NOBODY, None), False, False),
    ],
)
def test_owner_root_and_the_group_may_ask(
    tmp_path: Path, peer: Any, alone: bool, with_group: bool
) -> None:
    """By the kernel's word, whatever the file's permissions say."""
    assert Peers(None, tmp_path).allow(peer) is alone
    assert Peers(GROUP, tmp_path).allow(peer) is with_group


def test_the_owner_need_not_be_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent runs under a user of its own."""
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    peers = Peers(None, tmp_path)
    assert peers.allow(fake_peer(NOBODY, NOBODY))
    assert peers.allow(fake_peer(0, 0))
    assert not peers.allow(fake_peer(NOBODY - 1, NOBODY))


def test_the_socket_is_never_open_to_others(tmp_path: Path) -> None:
    """Not even between its making and its permissions."""
    modes: list[int] = []
    peers = Peers(None, tmp_path)
    peers.open_to = lambda _, path: modes.append(mode(path))  # type: ignore[method-assign]
    Served(tmp_path, peers).server.stop()
    assert modes == [0o600]


def test_a_stranger_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, and no answer."""
    served = Served(tmp_path)
    monkeypatch.setattr(served.server._peers, "allow", lambda _: False)
    answer = json.loads(served.raw(b'{"request": "status"}\n'))
    assert answer == {"error": "this user may not ask the agent", "code": FAILED}
    served.server.stop()


def test_the_kernel_names_this_process(served: Served) -> None:
    """The credentials are read as the kernel writes them."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert Peers(None, served.folder).allow(ours)
        raw = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert struct.unpack("iII", raw) == (os.getpid(), os.getuid(), os.getgid())


def test_the_group_reaches_the_socket_and_nothing_else(tmp_path: Path) -> None:
    """The folder can be passed through, not listed; without a group it stays the owner's."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    served = Served(folder, Peers(GROUP, tmp_path))
    path = folder / SOCKET_NAME
    assert (mode(folder), mode(path)) == (0o710, 0o660)
    assert (folder.stat().st_gid, path.stat().st_gid) == (GROUP_ID, GROUP_ID)
    assert ask_once(folder, STATUS) == {"status": "fine"}
    served.server.stop()
    folder.chmod(0o700)
    served = Served(folder)
    assert (mode(folder), mode(path)) == (0o700, 0o600)
    served.server.stop()


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_group_that_is_none_of_ours_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence with file, key and what is allowed."""
    config = tmp_path / "edge.toml"
    with pytest.raises(SettingError, match=r"edge\.toml: \[local\]: socket_group = 'no-such'"):
        Peers("no-such", config)
    other = next(one for one in grp.getgrall() if one.gr_gid not in (GROUP_ID, *os.getgroups()))
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    with pytest.raises(SettingError, match="must be a group that the agent's user is in"):
        Peers(other.gr_name, config)
    assert Peers(GROUP, config).group_id == GROUP_ID


def test_a_socket_that_we_may_not_use_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not the same as an agent that does not run."""

    def connect(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    fake: Callable[..., Any] = type("Refused", (socket.socket,), {"connect": connect})
    monkeypatch.setattr(socket, "socket", fake)
    with pytest.raises(RequestError, match="may not be used by this user; its owner") as caught:
        ask_once(tmp_path, STATUS)
    assert caught.value.code == FAILED
