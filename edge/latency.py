"""How long orders wait for their line: from when they are taken up until their first byte may go
out."""

import threading
from typing import Any

from edge.clock import Clock
from edge.orders.executor import OrderJob


class OrderLatency:
    """Any thread may use it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._count = 0
        self._sum_ms = 0
        self._last_ms: int | None = None
        self._longest_ms = 0

    def watch(self, job: OrderJob) -> None:
        """Takes its time from now until it is first told that it may send; before it is offered to
        its line."""
        taken_up, may_send, is_noted = self._clock.boot_ms(), job.may_send, False

        def timed() -> bool:
            nonlocal is_noted
            allowed = may_send()
            if allowed and not is_noted:
                is_noted = True
                self._note(self._clock.boot_ms() - taken_up)
            return allowed

        job.may_send = timed

    def figures(self) -> dict[str, Any]:
        """How many orders went out, and what they waited (ms)."""
        with self._lock:
            return {
                "sent": self._count,
                "waited_ms": self._sum_ms,
                "last_waited_ms": self._last_ms,
                "longest_waited_ms": self._longest_ms,
            }

    def _note(self, waited_ms: int) -> None:
        with self._lock:
            self._count += 1
            self._sum_ms += waited_ms
            self._last_ms = waited_ms
            self._longest_ms = max(self._longest_ms, waited_ms)
