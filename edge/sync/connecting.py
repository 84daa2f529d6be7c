"""The connection of a gateway's settings: made at a start, and made anew when [mqtt] changes."""

import random
from collections.abc import Callable

from edge.settings import Settings
from edge.sync.identity import Identity
from edge.sync.session import Session
from edge.sync.transport import Transport
from protocols import topics
from protocols.messages import DOWNLINK_BY_SUFFIX


class Connecting:
    """`emit` takes the events of every connection that is made; it must not block."""

    def __init__(
        self, identity: Identity, emit: Callable[[object], None], boot_ms: Callable[[], int]
    ) -> None:
        self._identity = identity
        self._emit = emit
        self._boot_ms = boot_ms
        self._left = self._left_behind = 0  # connections; each counted by one thread alone
        self._left_at = -1  # boot ms when the session had heard all of the last one

    def transport(self, settings: Settings) -> Transport:
        """Not started."""
        return Transport(
            settings.mqtt,
            self._identity.gateway_id,
            tuple(map(self._topic, DOWNLINK_BY_SUFFIX)),
            self._topic(topics.PRESENCE),
            self._identity.tls if settings.mqtt["tls"] else None,
            self._emit,
            random.Random(),  # noqa: S311 - jitter, not a secret
        )

    def reconnect(self, session: Session, settings: Settings) -> None:
        """Leaves the former broker; the session goes on with the new connection."""
        session.transport.stop()
        self._left += 1
        self._emit(self._note_left)  # behind all that it brought
        session.transport = self.transport(settings)
        session.transport.start()

    def acknowledged_at(self, session: Session) -> int:
        """Boot ms of the last acknowledgement that came over the present connection; 0 for none.
        What the former one had brought by then is heard later, and proves nothing of this one."""
        at = session.acknowledged_at
        return at if self._left_behind == self._left and at > self._left_at else 0

    def _note_left(self) -> None:
        self._left_at = self._boot_ms()
        self._left_behind += 1

    def _topic(self, suffix: str) -> str:
        identity = self._identity
        return topics.Topic(identity.tenant, identity.gateway_id, suffix).text()
