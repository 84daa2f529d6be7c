"""What people, Prometheus and systemd see of the agent: socket, metrics page, health."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from edge.clock import Clock
from edge.health import Health, Notifier, WriterProbe, line_part, session_part, writer_part
from edge.journal.follow import Follower
from edge.journal.store import Journal
from edge.journal.writer import Writer
from edge.latency import OrderLatency
from edge.lines import Lines
from edge.local.desk import Desk, View
from edge.local.orders import listed, unlocked
from edge.local.peers import Peers
from edge.local.server import Answers, LocalServer
from edge.orders.desk import OrderDesk
from edge.settings import Settings
from edge.snapshot import Parts, Snapshot
from edge.sync.session import Session

log = logging.getLogger("edge.face")


class Face:
    """Built with the agent, opened when all else runs."""

    def __init__(
        self,
        settings: Settings,
        version: str,
        clock: Clock,
        journal: Journal,
        writer: Writer,
        session: Session,
        lines: Lines,
        latency: OrderLatency,
        orders: OrderDesk,
        configuration: Callable[[], dict[str, Any]],
        reload: Callable[[dict[str, Any]], Answers],
    ) -> None:
        self.snapshot = Snapshot(
            Parts(
                settings.gateway["id"],
                version,
                clock,
                journal,
                writer,
                session,
                lambda: list(lines.workers.values()),
                latency,
                configuration,
                orders.figures,
            )
        )
        self._settings = settings
        self._desk = Desk(
            View(
                clock,
                self.snapshot.take,
                self.snapshot.meters,
                lines.offer,
                lambda: Follower(journal.path),
                lambda: journal.epoch,
            )
        )
        self._desk.handlers["reload"] = reload
        self._desk.handlers["orders"] = lambda asked: listed(orders, asked)
        self._desk.handlers["unlock"] = lambda asked: unlocked(orders, asked)
        self._socket = self._build_socket()
        self._page: Any = None
        probe = WriterProbe(writer.call)
        self._health = Health(
            Notifier(),
            lambda: [
                *map(line_part, lines.workers.values()),
                writer_part(probe),
                session_part(session),
            ],
            self.snapshot.summary,
            clock.boot_ms,
        )

    def open(self) -> None:
        """Everything else runs by now: systemd is told so."""
        self._open_socket()
        self._open_page()
        self._health.start()

    def close(self) -> None:
        """Before the rest ends."""
        self._health.stop()
        self._close()

    def change(self, settings: Settings) -> None:
        """[local] is another. From a thread of its own: the present socket may be carrying the
        request for this change."""

        def change() -> None:
            self._close()
            self._settings = settings
            self._socket = self._build_socket()
            self._open_socket()
            self._open_page()

        threading.Thread(target=change, name="face").start()

    def _close(self) -> None:
        self._socket.stop()
        if self._page is not None:
            self._page.stop()
            self._page = None

    def _build_socket(self) -> LocalServer:
        settings = self._settings
        peers = Peers(settings.local["socket_group"], settings.path)
        return LocalServer(settings.gateway["state_dir"], self._desk.handlers, peers)

    def _open_socket(self) -> None:
        try:
            self._socket.start()
        except OSError as error:  # a path too long, a full disk: meters are read all the same
            log.error("status_refused reason=%r", str(error))

    def _open_page(self) -> None:
        """The metrics page, when the settings want one."""
        port = self._settings.local["metrics_port"]
        if not port:
            return
        from edge.local.metrics_page import MetricsPage  # noqa: PLC0415 - most gateways have none

        try:
            self._page = MetricsPage(port, self.snapshot.take)
        except OSError as error:  # somebody has the port: meters are read all the same
            log.error("metrics_refused port=%d reason=%r", port, str(error))
            return
        self._page.start()
