"""The time, as an argument: everything that needs it is handed a clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """What the head end needs of time."""

    def utc_ms(self) -> int:
        """UTC in ms since 1970."""

    def monotonic_ms(self) -> int:
        """ms since some instant, never stepping back: for intervals."""


class SystemClock:
    """The machine's clock."""

    def utc_ms(self) -> int:
        """UTC in ms since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """ms since some instant, never stepping back: for intervals."""
        return time.monotonic_ns() // 1_000_000
