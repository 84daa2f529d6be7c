"""Connections: not more than we can carry, and none that says nothing.

The head end's process has one table of open files for its database, the broker and these; a client
that opens connections and waits must not use it up.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS_MAX = 128  # at once; one more is closed
FIRST_REQUEST_S = 10.0  # for the head of the first request, and the TLS handshake before it


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, within these bounds."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new client."""
        super().connection_made(transport)
        self.access_log = False  # its lines hold paths and queries as they came
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
            return
        self.loop.call_later(FIRST_REQUEST_S, self._check_first)

    def _check_first(self) -> None:
        request: object = self.scope  # None until a head was read
        if request is None and not self.transport.is_closing():
            self.transport.abort()
