"""Where the world takes the product's place in the process: the names that its modules look up.

Four seams, and nothing else is touched: time (and with it threads, queues and futures, which wait),
the line's bytes, the disk, the broker. Every object of the product is the product's own, built by
its own composition roots. Several gateways share its modules, so what each has of its own is found
by the process that runs. Two more names are watched, and do what they always do: what seals a
message, and what puts reading sets into one. One number is smaller than the product's: most worlds
do not last for the hour that rows wait for their time.
"""

import contextlib
import types
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import cloud.identity.sealing
import cloud.ingest.mailbox
import cloud.orders.reading
import cloud.service
import cloud.store.database
import edge.agent
import edge.clock
import edge.clock_file
import edge.collect.poller
import edge.config.reload
import edge.config.remote
import edge.events
import edge.face
import edge.journal.ballast
import edge.journal.folder
import edge.journal.highwater
import edge.journal.levels
import edge.journal.store
import edge.journal.writer
import edge.lines
import edge.meters.learned
import edge.orders.ceilings
import edge.orders.gate
import edge.orders.intended
import edge.orders.records
import edge.orders.refused
import edge.orders.stops
import edge.orders.unrecorded
import edge.sync.connecting
import edge.sync.holding
import edge.sync.sender
import edge.sync.session
import edge.sync.transport
from tests.sim.counters import Counters
from tests.sim.disk import Disk
from tests.sim.machines import GatewayMachine
from tests.sim.primitives import Future, queue_of, threading_of
from tests.sim.rows import watched
from tests.sim.scheduler import Scheduler

_THREADING = (
    cloud.ingest.mailbox,
    cloud.service,
    edge.clock,
    edge.collect.poller,
    edge.events,
    edge.journal.writer,
    edge.lines,
    edge.meters.learned,
    edge.orders.ceilings,
    edge.orders.gate,
    edge.orders.intended,
    edge.orders.records,
    edge.orders.refused,
    edge.orders.stops,
    edge.config.reload,
    edge.config.remote,
    edge.sync.session,
)
_QUEUES = (
    cloud.ingest.mailbox,
    edge.collect.poller,
    edge.config.remote,
    edge.sync.session,
    edge.sync.transport,
)
_GATEWAY_OS = (
    edge.clock_file,
    edge.journal.ballast,
    edge.journal.folder,
    edge.journal.highwater,
    edge.journal.levels,
    edge.journal.store,
    edge.meters.learned,
    edge.orders.unrecorded,
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


class _OfEach:
    """A module of which each gateway has its own."""

    def __init__(self, scheduler: Scheduler, by_process: dict[str, Any]) -> None:
        self._scheduler = scheduler
        self._by_process = by_process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._by_process[self._scheduler.current.process.name], name)


@contextlib.contextmanager
def worlds_place(
    scheduler: Scheduler,
    gateways: dict[str, GatewayMachine],
    head_end_disk: Disk,
    counters: Counters,
    hold_s: int,
) -> Iterator[None]:
    """While it lasts, the product meets the world."""

    def each(part: Callable[[GatewayMachine], Any]) -> _OfEach:
        return _OfEach(scheduler, {name: part(one) for name, one in gateways.items()})

    def here() -> GatewayMachine:
        return gateways[scheduler.current.process.name]

    threads, queues = threading_of(scheduler), queue_of(scheduler)
    time = each(lambda one: one.clock.time())
    desk_secrets = SimpleNamespace(token_bytes=head_end_disk.os_module().urandom)
    operating_system = each(lambda one: one.disk.os_module())
    replaced: list[tuple[types.ModuleType, str, object]] = [
        *((module, "threading", threads) for module in _THREADING),
        *((module, "queue", queues) for module in _QUEUES),
        *((module, "os", operating_system) for module in _GATEWAY_OS),
        (edge.journal.writer, "Future", lambda: Future(scheduler)),
        (edge.journal.store, "sqlite3", each(lambda one: one.disk.sqlite_module())),
        (cloud.store.database, "sqlite3", head_end_disk.sqlite_module()),
        (cloud.orders.reading, "secrets", desk_secrets),
        (edge.clock, "time", time),
        (edge.agent, "time", time),
        (edge.agent, "SerialPort", lambda *settings: here().make_port(*settings)),
        (edge.sync.connecting, "Transport", lambda *parts: here().make_transport(*parts)),
        (edge.face, "LocalServer", _NoStatus),
        (edge.sync.holding, "UNSYNCED_HOLD_MS", hold_s * 1000),
        (edge.sync.sender, "seal", counters.watch_seal(edge.sync.sender.seal)),
        (cloud.identity.sealing, "seal", counters.watch_seal(cloud.identity.sealing.seal)),
        (
            edge.sync.session,
            "encode_batch",
            watched(
                edge.sync.session.encode_batch, lambda _, rows, head: here().witness.sends(rows)
            ),
        ),
    ]
    with contextlib.ExitStack() as stack:
        for module, name, stand_in in replaced:
            stack.enter_context(mock.patch.object(module, name, stand_in))
        yield
