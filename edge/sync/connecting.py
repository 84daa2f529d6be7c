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

    def __init__(self, identity: Identity, emit: Callable[[object], None]) -> None:
        self._identity = identity
        self._emit = emit

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
        session.transport = self.transport(settings)
        session.transport.start()

    def _topic(self, suffix: str) -> str:
        identity = self._identity
        return topics.Topic(identity.tenant, identity.gateway_id, suffix).text()
