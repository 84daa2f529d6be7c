"""Where the world takes the product's place in the process: the names that its modules look up.

Four seams, and nothing else is touched: time (and with it threads, queues and futures, which wait),
the line's bytes, the disk, the broker. Every object of the product is the product's own, built by
its own composition roots.
"""

import contextlib
import types
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import cloud.ingest.mailbox
import cloud.orders.desk
import cloud.service
import cloud.store.database
import edge.agent
import edge.clock
import edge.collect.poller
import edge.journal.highwater
import edge.journal.store
import edge.journal.writer
import edge.meters.learned
import edge.sync.session
import edge.sync.transport
from tests.sim.disk import Disk
from tests.sim.machines import GatewayMachine
from tests.sim.primitives import Future, queue_of, threading_of
from tests.sim.scheduler import Scheduler

_THREADING = (
    cloud.ingest.mailbox,
    cloud.service,
    edge.collect.poller,
    edge.journal.writer,
    edge.meters.learned,
    edge.sync.session,
)
_QUEUES = (cloud.ingest.mailbox, edge.collect.poller, edge.sync.session, edge.sync.transport)
_GATEWAY_OS = (
    edge.journal.highwater,
    edge.journal.store,
    edge.journal.writer,
    edge.meters.learned,
    edge.sync.session,
)


class _NoStatus:
    """In the place of the status socket, which no world asks."""

    def __init__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""


@contextlib.contextmanager
def worlds_place(
    scheduler: Scheduler, gateway: GatewayMachine, head_end_disk: Disk
) -> Iterator[None]:
    """While it lasts, the product meets the world."""
    threads, queues = threading_of(scheduler), queue_of(scheduler)
    time = gateway.clock.time()
    desk_secrets = SimpleNamespace(token_bytes=head_end_disk.os_module().urandom)
    replaced: list[tuple[types.ModuleType, str, object]] = [
        *((module, "threading", threads) for module in _THREADING),
        *((module, "queue", queues) for module in _QUEUES),
        *((module, "os", gateway.disk.os_module()) for module in _GATEWAY_OS),
        (edge.journal.writer, "Future", lambda: Future(scheduler)),
        (edge.journal.store, "sqlite3", gateway.disk.sqlite_module()),
        (cloud.store.database, "sqlite3", head_end_disk.sqlite_module()),
        (cloud.orders.desk, "secrets", desk_secrets),
        (edge.clock, "time", time),
        (edge.agent, "time", time),
        (edge.agent, "SerialPort", gateway.make_port),
        (edge.agent, "Transport", gateway.make_transport),
        (edge.agent, "StatusServer", _NoStatus),
    ]
    with contextlib.ExitStack() as stack:
        for module, name, stand_in in replaced:
            stack.enter_context(mock.patch.object(module, name, stand_in))
        yield
