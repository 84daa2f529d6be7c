"""The composition root: builds every object of the running head end and hands each what it needs.

Nothing is half started: settings, keys, registry, TLS files, the state directory, the database and
the control socket are all checked before the first thread starts.
"""

import logging
import random
import signal
import ssl
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

from cloud.audit.keys import LOG_KEY_NAME, load_or_make_key
from cloud.audit.log import Checkpoints
from cloud.audit.promises import Promises
from cloud.clock import Clock, SystemClock
from cloud.configs.desk import ConfigDesk
from cloud.faults import fault_words
from cloud.identity.approvers import Approvers
from cloud.identity.keyring import OwnKeys, Registry, check_tls_files, load_own_keys
from cloud.identity.sealing import Sealer
from cloud.ingest.acks import AckSender, Publisher
from cloud.ingest.chains import ChainStore
from cloud.ingest.gate import Gate
from cloud.ingest.ingest import Ingest
from cloud.ingest.mailbox import Mailbox
from cloud.ingest.source import MqttSource, tls_context
from cloud.orders.control import ControlServer
from cloud.orders.desk import Desk, make_office
from cloud.orders.timing import Chance
from cloud.people.people import People
from cloud.service import Service
from cloud.settings import Settings
from cloud.store.audit import AuditStore
from cloud.store.configs import ConfigStore
from cloud.store.database import StateLock, open_writer
from cloud.store.orders import OrderStore
from cloud.store.writer import Writer
from protocols.envelope.suites import Provider
from protocols.errors import SettingError

if TYPE_CHECKING:
    from cloud.api.server import ApiServer

log = logging.getLogger("cloud.app")

STOP_TIMEOUT_S = 10.0
WATCH_S = 1.0


class Core:
    """What there is without a broker and threads: ingest, order desk and configurations over one
    store."""

    def __init__(
        self,
        settings: Settings,
        own: OwnKeys,
        registry: Registry,
        publisher: Publisher,
        clock: Clock,
        chance: Chance | None = None,
    ) -> None:
        """Opens the database; StoreError when it is not one of ours, SettingError when the keys of
        the approvers do not read. `chance` draws the delays of cuts; without it, the system's."""
        provider = Provider()
        tenant = settings.tenant
        approvers = Approvers(settings.identity_dir, tenant)
        self.store = Writer(open_writer(settings.database, tenant))
        sealer = Sealer(tenant, own, registry, provider)
        office = make_office(
            tenant,
            settings.orders,
            self.store,
            OrderStore(self.store.db),
            sealer,
            approvers,
            publisher,
            provider,
            clock,
            chance=chance,
        )
        audit = AuditStore(self.store.db)
        key = load_or_make_key(settings.identity_dir / LOG_KEY_NAME)
        promises = Promises(Checkpoints(audit, clock, tenant, key), audit, clock)
        self.desk = Desk(office, promises)
        configs = ConfigStore(self.store.db)
        self.configs = ConfigDesk(tenant, self.store, configs, publisher, clock)
        gate = Gate(tenant, own, registry, provider, clock)
        acks = AckSender(sealer, publisher, clock)
        chains = ChainStore(self.store.db, provider, tenant)
        self.ingest = Ingest(self.store, gate, acks, self.desk, chains, clock)


def run(settings: Settings) -> int:
    """The service, until SIGTERM or SIGINT. SettingError or StoreError before anything starts; the
    exit code afterwards."""
    clock = SystemClock()
    own = load_own_keys(settings.identity_dir, settings.tenant, clock)
    registry = Registry(settings.identity_dir / "registry.json", settings.tenant)
    context = _tls(settings)
    lock = StateLock(settings.state_dir)
    try:
        mailbox = Mailbox(settings.queue_messages)
        chance = random.Random()  # noqa: S311 -- spreads reconnects, guards nothing
        source = MqttSource(settings, context, mailbox, chance)
        core = Core(settings, own, registry, source, clock)
        try:
            api = _api(settings, mailbox, clock)
            control = ControlServer(settings.state_dir, mailbox)
            service = Service(
                mailbox,
                core.ingest,
                core.desk,
                core.configs,
                source,
                clock,
                settings.commit_messages,
                settings.commit_interval_ms,
            )
            return _serve(service, source, control, api)
        finally:
            core.store.close()
    finally:
        lock.release()


def _serve(
    service: Service, source: MqttSource, control: ControlServer, api: "ApiServer | None"
) -> int:
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    writer = threading.Thread(target=service.run, name="writer", daemon=True)
    writer.start()
    control.start()
    if api is not None:
        api.start()
    source.start()
    log.info("service_started")
    while not ended.wait(WATCH_S):
        if not writer.is_alive():
            break
    source.stop()
    if api is not None:
        api.stop()
    control.stop()
    service.stop()
    writer.join(STOP_TIMEOUT_S)
    if service.failed is not None:
        log.critical("service_failed error=%s", fault_words(service.failed))
        return 1
    log.info("service_stopped")
    return 0


def _api(settings: Settings, mailbox: Mailbox, clock: Clock) -> "ApiServer | None":
    if settings.api is None:
        return None
    # Imported only where it is used: it takes 23 MB of memory.
    from cloud.api.server import ApiServer  # noqa: PLC0415

    people = People(settings.identity_dir, settings.tenant)
    return ApiServer(settings.api, people, mailbox, clock)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    check_tls_files(settings.identity_dir)
    try:
        return tls_context(settings.identity_dir)
    except OSError as error:
        raise SettingError(
            f"identity_dir = {str(settings.identity_dir)!r}: ca.pem, tls.pem and tls.key make no "
            f"TLS identity: {error}"
        ) from error


def start_logging() -> None:
    """Events on stderr, one line each; the journal adds the time."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
