"""The control socket: JSON lines on a unix socket that only the service's own user may open.

A request is one line; the answers are lines, the last with "final": true. Nothing that comes in can
stop the service: a line that is too long or no JSON object is answered with an error, and a client
that goes away is forgotten.
"""

import contextlib
import json
import logging
import os
import queue
import socket
import threading
from pathlib import Path
from typing import Any

from cloud.ingest.mailbox import Gone, Mailbox, Request
from protocols.errors import SettingError

log = logging.getLogger("cloud.control")

SOCKET_NAME = "control.sock"
LINE_SIZE_MAX = 1024 * 1024  # bytes of a request; a configuration with its sealed form is largest
RECEIVE_SIZE = 65_536  # bytes taken at once
CLIENTS_MAX = 16  # at once; one more is told so
REQUEST_TIMEOUT_S = 10.0  # for a client to say what it wants
POLL_S = 0.5  # how soon a client that went away is noticed


def socket_address(directory: int) -> str:
    """The socket's address within an open directory. Unix socket paths end at 107 bytes; this one
    is short however deep the directory lies."""
    return f"/proc/self/fd/{directory}/{SOCKET_NAME}"


class ControlServer:
    """Takes requests to the mailbox and carries the replies back."""

    def __init__(self, state_dir: Path, mailbox: Mailbox) -> None:
        """Opens the socket; SettingError when the directory does not allow one."""
        self._mailbox = mailbox
        self._slots = threading.BoundedSemaphore(CLIENTS_MAX)
        self._stopping = threading.Event()
        self._path = state_dir / SOCKET_NAME
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._bind(state_dir)
        except OSError as error:
            self._socket.close()
            raise SettingError(
                f"state_dir = {str(state_dir)!r} takes no control socket: {error.strerror}; "
                "it must be on a file system that has sockets"
            ) from error
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)

    def _bind(self, state_dir: Path) -> None:
        self._path.unlink(missing_ok=True)  # of a service that was killed; the lock is ours
        directory = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
        mask = os.umask(0o177)
        try:
            self._socket.bind(socket_address(directory))
        finally:
            os.umask(mask)
            os.close(directory)
        self._socket.listen(CLIENTS_MAX)
        self._socket.settimeout(POLL_S)

    def start(self) -> None:
        """Take clients."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more clients, and remove the socket."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2 * POLL_S)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if not self._stopping.wait(POLL_S):
                    log.warning("client_lost error=%s", error.strerror)
                continue
            if self._slots.acquire(blocking=False):
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()
            else:
                _send(client, {"error": f"more than {CLIENTS_MAX} clients", "final": True})
                client.close()

    def _serve(self, client: socket.socket) -> None:
        replies: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        try:
            with client:
                body = _read_request(client)
                if body is None:
                    _send(client, {"error": "a request is one JSON object", "final": True})
                    return
                self._mailbox.put(Request(body, replies.put))
                self._forward(client, replies)
        except OSError:
            pass  # the client went away, which is its right
        finally:
            self._mailbox.put(Gone(replies.put))
            self._slots.release()

    def _forward(self, client: socket.socket, replies: "queue.SimpleQueue[dict[str, Any]]") -> None:
        while not self._stopping.is_set():
            try:
                reply = replies.get(timeout=POLL_S)
            except queue.Empty:
                if _has_gone(client):
                    return
                continue
            _send(client, reply)
            if reply.get("final"):
                return


def _read_request(client: socket.socket) -> dict[str, Any] | None:
    client.settimeout(REQUEST_TIMEOUT_S)
    data = b""
    while b"\n" not in data:
        if len(data) > LINE_SIZE_MAX:
            return None
        more = client.recv(RECEIVE_SIZE)
        if not more:
            return None
        data += more
    try:
        body = json.loads(data.partition(b"\n")[0])
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _send(client: socket.socket, reply: dict[str, Any]) -> None:
    with contextlib.suppress(TimeoutError):
        client.sendall(json.dumps(reply).encode() + b"\n")


def _has_gone(client: socket.socket) -> bool:
    client.settimeout(0)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    finally:
        client.settimeout(REQUEST_TIMEOUT_S)
