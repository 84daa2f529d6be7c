"""Messages that came down and that the disk refused: heard again by and by, because a broker brings
them again on a new connection only."""

from collections import deque
from collections.abc import Iterator

from edge.clock import Clock
from edge.sync.transport import Arrived

AGAIN_MS = 2_000  # until they are heard again


class Unheard:
    """As many as the broker sends without our word, at most."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[Arrived] = deque()
        self._again_at = 0

    def keep(self, message: Arrived) -> None:
        """It was refused, and not acknowledged."""
        self._waiting.append(message)
        self._again_at = self._clock.boot_ms() + AGAIN_MS

    def due(self) -> Iterator[Arrived]:
        """Those whose turn it is; one that is refused again is kept again."""
        if self._clock.boot_ms() >= self._again_at:
            for _ in range(len(self._waiting)):
                yield self._waiting.popleft()

    def forget(self) -> None:
        """The broker brings all of them again."""
        self._waiting.clear()
