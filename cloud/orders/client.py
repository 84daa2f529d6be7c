"""The other end of the control socket: what the commands use to talk to the running service."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cloud.orders.control import LINE_SIZE_MAX, socket_address
from protocols.errors import BusbarError, CallerError

CONNECT_TIMEOUT_S = 5.0
REPLY_SIZE_MAX = 1024 * 1024  # bytes of one line


class ServiceDownError(BusbarError):
    """No service answers on the control socket."""


def ask(state_dir: Path, request: dict[str, Any], timeout_s: int) -> Iterator[dict[str, Any]]:
    """The replies to a request, the last one included. ServiceDownError when nobody answers, or
    nothing more comes within `timeout_s`; CallerError with the service's sentence when it
    refuses."""
    line = json.dumps(request).encode() + b"\n"
    if len(line) > LINE_SIZE_MAX:
        raise CallerError("the request is too long")
    with _connection(state_dir) as connection:
        try:
            connection.sendall(line)
            connection.settimeout(timeout_s)
            with connection.makefile("rb") as lines:
                while text := lines.readline(REPLY_SIZE_MAX):
                    reply = json.loads(text)
                    if "error" in reply:
                        raise CallerError(reply["error"])
                    yield reply
                    if reply.get("final"):
                        return
        except (OSError, ValueError) as error:
            raise ServiceDownError("the service stopped answering") from error
    raise ServiceDownError("the service closed the connection before it was done")


@contextlib.contextmanager
def _connection(state_dir: Path) -> Iterator[socket.socket]:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_TIMEOUT_S)
    with connection:
        try:
            directory = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
            try:
                connection.connect(socket_address(directory))
            finally:
                os.close(directory)
        except OSError as error:
            raise ServiceDownError(
                f"no service answers in {state_dir}: {error.strerror or error}; "
                "start it with busbar-cloud run"
            ) from error
        yield connection
