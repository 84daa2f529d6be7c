"""The one way into the writer's thread: messages, bounded; and a few events, never refused."""

import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple


class Message(NamedTuple):
    """What the broker delivered. `acknowledge()` tells the broker, after the commit."""

    topic: str
    payload: bytes
    retain: bool
    acknowledge: Callable[[], None]


class Connected(NamedTuple):
    """The broker took our subscriptions."""


class Disconnected(NamedTuple):
    """The connection is gone, and with it what was not acknowledged."""


class Starved(NamedTuple):
    """The mailbox was full when a message came; behind it stands all that went in before."""


class Published(NamedTuple):
    """The broker took the tracked message of `token`."""

    token: bytes


class Request(NamedTuple):
    """A request of the control socket; `reply` may be called from the writer's thread, often."""

    body: dict[str, Any]
    reply: Callable[[dict[str, Any]], None]


class Gone(NamedTuple):
    """The client of the control socket that was answered by `reply` has gone."""

    reply: Callable[[dict[str, Any]], None]


class Stop(NamedTuple):
    """End the writer's thread."""


Event = Message | Connected | Disconnected | Starved | Published | Request | Gone | Stop


class Mailbox:
    """Many threads put, the writer's thread takes."""

    def __init__(self, messages_max: int) -> None:
        self._room = threading.Semaphore(messages_max)
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def __len__(self) -> int:
        return self._queue.qsize()

    def put_message(self, message: Message, wait_ms: int = 0) -> bool:
        """False when there was no room in all that time: then the message is not ours, and stays
        with the broker."""
        if not self._room.acquire(timeout=max(wait_ms, 0) / 1000):
            return False
        self._queue.put(message)
        return True

    def put(self, event: Event) -> None:
        """An event; there are few of them, each bounded where it comes from."""
        self._queue.put(event)

    def take(self, timeout_ms: int) -> Event | None:
        """The next event; None when none came in time."""
        try:
            event = self._queue.get(timeout=max(timeout_ms, 0) / 1000)
        except queue.Empty:
            return None
        if isinstance(event, Message):
            self._room.release()
        return event
