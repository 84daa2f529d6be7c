"""The agent's unix socket: who connects says one line and is answered.

* Clients, the size of a request and the time of everything are bounded: a client that is slow, mute
  or greedy loses its connection, and nobody else notices.
* A client that says nothing for MUTE_S is told the status, so that any tool that can open a socket
  shows it.
* A handler is a generator of answers. It yields None at least every second while it has nothing to
  say; when the client has gone, or the agent stops, it is closed there.
"""

import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from edge.local.lines import (
    FAILED,
    REQUEST_SIZE_MAX,
    SOCKET_NAME,
    STATUS,
    UNASKED,
    WRONG,
    RequestError,
    request_of,
    to_line,
)
from edge.local.peers import Peers

CLIENTS_MAX = 16  # at a time
MUTE_S = 0.25
TIMEOUT_S = 5.0  # for a request to come whole, and for an answer to be taken
_JOIN_S = 2.0
_DROPS_MAX, _DROP_SIZE = 16, 65_536

Answers = Generator[dict[str, Any] | None, None, None]
Handler = Callable[[dict[str, Any]], Answers]
log = logging.getLogger("edge.local")


class LocalServer:
    """Listens in `folder`. `handlers`: name of a request -> what answers it."""

    def __init__(self, folder: Path, handlers: Mapping[str, Handler], peers: Peers) -> None:
        self._folder = folder
        self._path = folder / SOCKET_NAME
        self._handlers = handlers
        self._peers = peers
        self._socket: socket.socket | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._clients: dict[threading.Thread, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, name="local", daemon=True)

    def start(self) -> None:
        """Listens; a socket that a crash left behind is replaced. OSError when it can not."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(before)
        self._socket = listener
        self._peers.open_to(self._folder, self._path)
        listener.listen(CLIENTS_MAX)
        self._thread.start()

    def stop(self) -> None:
        """Stops listening, and ends what is under way."""
        self._stopping.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._path.unlink(missing_ok=True)
        with self._lock:
            clients = list(self._clients.items())
        for thread, connection in clients:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(_JOIN_S)

    def _run(self) -> None:
        listener = self._socket
        while listener is not None and not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                if not self._stopping.wait(0.1):  # descriptors are short; they come back
                    continue
                return
            self._receive_client(connection)

    def _receive_client(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_S)
        thread = threading.Thread(
            target=self._serve, args=(connection,), name="local-client", daemon=True
        )
        with self._lock:
            is_full = len(self._clients) >= CLIENTS_MAX
            if not is_full:
                self._clients[thread] = connection
        if not is_full:
            thread.start()
            return
        with connection, contextlib.suppress(OSError):
            sentence = f"the agent serves {CLIENTS_MAX} clients at a time; try again"
            connection.sendall(_error_line(RequestError(sentence, FAILED)))
            _drop_input(connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._answer(connection)
        except OSError as error:
            log.info("answer_unsent reason=%r", str(error))
        except Exception:
            log.exception("answer_failed")
        finally:
            with self._lock:
                del self._clients[threading.current_thread()]

    def _answer(self, connection: socket.socket) -> None:
        try:
            asked = _receive(connection)
            if not self._peers.allow(connection):
                raise RequestError("this user may not ask the agent", FAILED)
            handler = self._handlers.get(asked["request"])
            if handler is None:
                known = ", ".join(sorted(self._handlers))
                raise RequestError(f"the request must be one of {known}", WRONG)
            with contextlib.closing(handler(asked)) as answers:
                for answer in answers:
                    if self._stopping.is_set() or (answer is None and _has_gone(connection)):
                        return
                    if answer is not None:
                        mark = {UNASKED: True} if asked.get(UNASKED) is True else {}
                        connection.sendall(to_line(answer | mark))
        except RequestError as error:
            connection.sendall(_error_line(error))
            _drop_input(connection)


def _error_line(error: RequestError) -> bytes:
    return to_line({"error": str(error), "code": error.code})


def _receive(connection: socket.socket) -> dict[str, Any]:
    """The request; that for the status when nothing comes."""
    if not select.select([connection], [], [], MUTE_S)[0]:
        return {"request": STATUS, UNASKED: True}
    line = b""
    deadline = time.monotonic() + TIMEOUT_S
    while not line.endswith(b"\n"):
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        data = connection.recv(REQUEST_SIZE_MAX + 1 - len(line))
        line += data
        if not data or len(line) > REQUEST_SIZE_MAX:
            break
    connection.settimeout(TIMEOUT_S)
    if not line:
        return {"request": STATUS, UNASKED: True}
    if len(line) > REQUEST_SIZE_MAX:
        raise RequestError(f"a request has at most {REQUEST_SIZE_MAX} bytes", WRONG)
    return request_of(line)


def _drop_input(connection: socket.socket) -> None:
    """What a client said too much would, unread, take the sentence from it that tells why."""
    connection.setblocking(False)
    with contextlib.suppress(OSError):
        for _ in range(_DROPS_MAX):
            if not connection.recv(_DROP_SIZE):
                return


def _has_gone(connection: socket.socket) -> bool:
    """Whether the client has hung up; what it says besides is dropped."""
    if not select.select([connection], [], [], 0)[0]:
        return False
    return not connection.recv(REQUEST_SIZE_MAX)
