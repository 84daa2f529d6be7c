"""The API's own thread in the head end's process: opened before anything starts, ended cleanly."""

import logging
import socket
import ssl
import threading

import uvicorn

from cloud.api.access import Access
from cloud.api.application import create_application
from cloud.api.asking import MailboxAsker
from cloud.api.connections import BoundedProtocol
from cloud.api.guard import Guard
from cloud.clock import Clock
from cloud.faults import fault_words
from cloud.ingest.mailbox import Mailbox
from cloud.people.people import People
from cloud.settings import ApiSettings
from protocols.errors import SettingError

log = logging.getLogger("cloud.api")

BACKLOG = 64
IDLE_S = 10  # a connection without a request
STOP_S = 5  # for requests under way when the service ends


class ApiServer:
    """Serves the API until `stop`."""

    def __init__(
        self, settings: ApiSettings, people: People, mailbox: Mailbox, clock: Clock
    ) -> None:
        """Opens the port; SettingError when it, the certificate or its key can not be had."""
        access = Access(people, clock)
        self.failures = access.failures
        guard = Guard(create_application(MailboxAsker(mailbox)), access)
        config = uvicorn.Config(
            guard,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # a header is no address
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=STOP_S,
        )
        config.load()
        config.ssl = _tls(settings)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a client's faults are its own
        self._settings = settings
        self._server = uvicorn.Server(config)
        self._socket = _listening(settings)
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    def start(self) -> None:
        """Serve."""
        self._thread.start()
        log.info("api_started address=%s port=%d", self._settings.address, self.port)

    def stop(self) -> None:
        """Take no more requests, finish those under way, and close the port."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(2 * STOP_S)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception as error:  # noqa: BLE001 -- the head end goes on without it, and says so
            log.critical("api_failed error=%s", fault_words(error))


def _listening(settings: ApiSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.address, settings.port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise SettingError(
            f"[api] listen = {settings.address}:{settings.port} can not be opened: {error.strerror}"
        ) from error
    return listening


def _tls(settings: ApiSettings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, _no_password)
    except (OSError, ValueError) as error:
        raise SettingError(
            f"[api] tls_cert and tls_key make no TLS identity: {type(error).__name__}"
        ) from error
    return context


def _no_password() -> str:
    """OpenSSL would ask on the terminal otherwise."""
    return ""
