"""What the gateway tells of itself: stamped, logged, journaled.

An event that repeats itself is counted and told with the next one, so that a broken line fills
neither the journal nor the link.
"""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from edge.clock import Clock
from protocols.events import Event, Severity, severity_of

Evidence = tuple[tuple[str, int, bytes], ...]

_LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ALARM: logging.ERROR,
}
log = logging.getLogger("edge.events")


class Tell(Protocol):
    """`Events.tell`, for whoever only tells."""

    def __call__(
        self,
        kind: str,
        subject: str = "",
        detail: str = "",
        evidence: Evidence = (),
        repeat_s: int = 0,
    ) -> None:
        """Tells an event."""


class Events:
    """For every thread. `note` takes an event to the journal and never blocks."""

    def __init__(self, clock: Clock, note: Callable[[Event], None]) -> None:
        self._clock = clock
        self._note = note
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str], tuple[int, int]] = {}  # -> boot ms, kept back since

    def tell(
        self,
        kind: str,
        subject: str = "",
        detail: str = "",
        evidence: Evidence = (),
        repeat_s: int = 0,
    ) -> None:
        """Tells one; the same kind of the same subject within `repeat_s` of the last is counted
        only."""
        now = self._clock.boot_ms()
        with self._lock:
            at, kept_back = self._told.get((kind, subject), (now, 0))
            if repeat_s:
                if (kind, subject) in self._told and now - at < repeat_s * 1000:
                    self._told[kind, subject] = (at, kept_back + 1)
                    return
                self._told[kind, subject] = (now, 0)
        if kept_back:
            detail = f"{detail} (and {kept_back} more since the last)".strip()
        log.log(
            _LEVELS[severity_of(kind)], "event kind=%s subject=%s detail=%r", kind, subject, detail
        )
        self._note(
            Event(
                kind,
                subject,
                self._clock.utc_ms(),
                now,
                self._clock.boot_id,
                self._clock.quality(),
                0,
                None,
                detail,
                evidence,
            ).fitted()
        )
