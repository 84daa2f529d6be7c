"""What stands on a line: a station of this process, or one that opens a tty of its own."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from hil.pseudo_tty import READ_SIZE_MAX, open_pty


class Station(Protocol):
    """What stands on a line: it hears bytes and tells what it answers."""

    @property
    def name(self) -> str:
        """Unique on the line; faults are aimed by it."""

    def feed(self, data: bytes, gap_s: float) -> list[tuple[float, bytes]]:
        """Hears `data` after `gap_s` of silence; (response delay in s, reply) for each request."""


class ExternalStation:
    """A station in another thread or process that opens a tty of its own: `tty_path`.

    With `accepts`, it hears only bursts that pass, whole and without what stood before: a server
    that buffers foreign bytes would take the next request for their continuation.
    """

    def __init__(
        self,
        name: str,
        silence_s: float,
        accepts: Callable[[bytes], bool] | None,
        delay_of: Callable[[bytes], float],
    ) -> None:
        self.name = name
        self.master, self._slave, self.tty_path = open_pty()
        self._silence_s = silence_s
        self._accepts = accepts
        self._delay_of = delay_of
        self._burst = bytearray()
        self.response_delay_s = 0.0  # for the request that it heard last

    def feed(self, data: bytes, gap_s: float) -> list[tuple[float, bytes]]:
        """Passes `data` on; the answer comes through the tty, so there is none here."""
        if gap_s >= self._silence_s:
            self._burst.clear()
        self._burst.extend(data)
        burst = bytes(self._burst)
        if self._accepts is None or self._accepts(burst):
            self.response_delay_s = self._delay_of(burst)
            self._burst.clear()
            with suppress(BlockingIOError):  # it does not read: that is its own affair
                os.write(self.master, burst)
        elif len(self._burst) > READ_SIZE_MAX:
            self._burst.clear()
        return []

    def close(self) -> None:
        """Hangs up the station's tty."""
        os.close(self.master)
        os.close(self._slave)
