"""What the agent's socket and its clients agree on.

One connection carries one request: one line of JSON, {"request": NAME, …}. The answer is one line
of JSON or more. {"error": SENTENCE, "code": EXIT_CODE} as the last line says that it came to
nothing. What is told to a client that did not ask in time has UNASKED, so that a slow one does not
take it for its answer.
"""

import json
from typing import Any

from protocols.errors import BusbarError

SOCKET_NAME = "status.sock"
REQUEST_SIZE_MAX = 4096  # bytes
FAILED, WRONG = 1, 2  # exit codes of a command whose request was refused
STATUS = "status"
UNASKED = "unasked"
READ_S_MAX = 60  # that a read may wait for its turn and its answers
EVENTS_MAX = 1_000  # of one answer
ORDERS_MAX = 200  # of one answer


class NotRunningError(Exception):
    """Nobody answers at the socket."""


class RequestError(BusbarError):
    """A request came to nothing: one sentence for a person, and the exit code of the command."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


def to_line(one: dict[str, Any]) -> bytes:
    """One line of JSON."""
    return json.dumps(one, separators=(",", ":")).encode() + b"\n"


def request_of(line: bytes) -> dict[str, Any]:
    """The request that a line holds; RequestError when it is none."""
    try:
        found = json.loads(line)
    except ValueError:  # UnicodeDecodeError is one
        found = None
    except RecursionError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("request"), str):
        raise RequestError('a request is one line of JSON such as {"request": "status"}', WRONG)
    return found
