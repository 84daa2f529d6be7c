"""Asks the running agent."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.local.lines import (
    FAILED,
    SOCKET_NAME,
    UNASKED,
    NotRunningError,
    RequestError,
    to_line,
)

_TRIES = 3
ANSWER_S = 10.0  # for one answer; a read of a meter and a stream may take longer


class _UnheardError(Exception):
    """The agent gave up waiting for the request; it did nothing on its behalf."""


def ask(
    folder: Path, request: str, timeout_s: float | None = ANSWER_S, **arguments: Any
) -> Iterator[dict[str, Any]]:
    """The answers of the agent that owns `folder`, as they come. NotRunningError without an agent,
    RequestError with its sentence when it refuses."""
    path = folder / SOCKET_NAME
    for _ in range(_TRIES):
        with contextlib.suppress(_UnheardError):
            yield from _converse(path, to_line({"request": request, **arguments}), timeout_s)
            return
    raise RequestError("the agent did not hear the request in time; try again", FAILED)


def _converse(path: Path, line: bytes, timeout_s: float | None) -> Iterator[dict[str, Any]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
        except PermissionError as error:
            raise RequestError(
                f"{path} may not be used by this user; its owner, root and the members of"
                " [local] socket_group may",
                FAILED,
            ) from error
        except OSError as error:
            raise NotRunningError(f"no agent answers at {path}") from error
        with contextlib.suppress(ConnectionError):  # refused at once, and the answer says why
            connection.sendall(line)
        with connection.makefile("rb") as answers:
            yield from _read(answers, path)


def ask_once(
    folder: Path, request: str, timeout_s: float = ANSWER_S, **arguments: Any
) -> dict[str, Any]:
    """The one answer to a request that has one."""
    for answer in ask(folder, request, timeout_s, **arguments):
        return answer
    raise NotRunningError(f"the agent at {folder / SOCKET_NAME} gave no answer")


def _read(answers: Any, path: Path) -> Iterator[dict[str, Any]]:
    try:
        for line in answers:
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:
                raise RequestError(answer["error"], answer["code"])
            if UNASKED in answer:
                raise _UnheardError
            yield answer
    except (OSError, ValueError) as error:
        raise NotRunningError(f"the agent at {path} gave no answer") from error
