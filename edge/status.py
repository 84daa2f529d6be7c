"""What the running agent knows, over a unix socket: `busbar-edge status` asks, one JSON object
answers."""

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOCKET_NAME = "status.sock"
_ASK_TIMEOUT_S = 5.0

log = logging.getLogger("edge.status")


class NotRunningError(Exception):
    """Nobody answers at the socket."""


class StatusServer:
    """Answers every connection with one snapshot. The socket is for the owner of the state
    folder."""

    def __init__(self, folder: Path, snapshot: Callable[[], dict[str, Any]]) -> None:
        self._path = folder / SOCKET_NAME
        self._snapshot = snapshot
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        """Listens; a socket that a crash left behind is replaced."""
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(self._path))
        finally:
            os.umask(before)
        self._socket.listen(8)
        self._thread.start()

    def stop(self) -> None:
        """Stops listening."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        listener = self._socket
        while listener is not None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(_ASK_TIMEOUT_S)
                try:
                    connection.sendall(json.dumps(self._snapshot()).encode() + b"\n")
                except OSError as error:
                    log.info("status_unsent reason=%r", str(error))
                except Exception:
                    log.exception("status_failed")


def ask(folder: Path) -> dict[str, Any]:
    """The snapshot of the agent that owns `folder`; NotRunningError without one."""
    chunks = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ASK_TIMEOUT_S)
        try:
            connection.connect(str(folder / SOCKET_NAME))
            while chunk := connection.recv(65536):
                chunks.append(chunk)
        except OSError as error:
            raise NotRunningError(f"no agent answers at {folder / SOCKET_NAME}") from error
    try:
        snapshot: dict[str, Any] = json.loads(b"".join(chunks))
    except ValueError as error:
        raise NotRunningError(f"the agent at {folder / SOCKET_NAME} gave no answer") from error
    return snapshot
