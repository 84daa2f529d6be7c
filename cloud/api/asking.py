"""From a route to the writer's thread and back: the same mailbox as the control socket's."""

import queue
import threading
import time
from typing import Any, Protocol

from cloud.api.errors import ApiError
from cloud.ingest.mailbox import Gone, Mailbox, Request

REPLY_TIMEOUT_S = 30.0  # an operation is one transaction; a full disk takes longer
WAITING_MAX = 64  # requests in the mailbox at once; the broker's messages wait behind them


class Asker(Protocol):
    """Whoever answers operations."""

    def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to one operation; ApiError when there is none."""


class MailboxAsker:
    """Asks the running service; used by many threads."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._room = threading.BoundedSemaphore(WAITING_MAX)

    def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to one operation; ApiError when there is no room, or no answer in time."""
        if not self._room.acquire(blocking=False):
            raise ApiError("busy", "too many requests wait for the service; ask again")
        replies: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        try:
            self._mailbox.put(Request(body, replies.put))
            deadline = time.monotonic() + REPLY_TIMEOUT_S
            while True:
                reply = replies.get(timeout=max(deadline - time.monotonic(), 0.0))
                if reply.get("final"):
                    return reply
        except queue.Empty:
            raise ApiError(
                "no_answer",
                "the service did not answer in time and may still do it; look before asking again",
            ) from None
        finally:
            self._mailbox.put(Gone(replies.put))
            self._room.release()
