"""The gateway's composition root: builds every object, hands each what it needs, starts and stops
them.

Nothing starts before everything is checked: settings, meter models, identity, state folder.
"""

import logging
import random
import signal
import threading
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from typing import Any

from edge.clock import Clock, SystemClock
from edge.collect.line_plan import plan_line, wire
from edge.collect.plausible import Plausibility, limits_of
from edge.collect.poller import LineWorker, Surroundings
from edge.collect.shares import TIGHT, check_load, load_of
from edge.collect.watch import MeterWatch
from edge.events import Events
from edge.journal.folder import own_folder
from edge.journal.highwater import HighWater
from edge.journal.store import Journal
from edge.journal.writer import Writer
from edge.line.line import Line
from edge.line.port import SerialPort
from edge.meters.learned import Learned
from edge.meters.models import load_models
from edge.orders.executor import OrderJob
from edge.orders.inbox import Inbox
from edge.settings import Settings, meter_address
from edge.status import StatusServer
from edge.sync.identity import load_identity
from edge.sync.session import Session
from edge.sync.transport import Transport, event_queue
from protocols import topics
from protocols.envelope.seal import BODY_SIZE_MAX
from protocols.envelope.suites import Provider
from protocols.readings import TIME_QUALITY_NAMES

RECALLED_ROUNDS = 8  # of all tasks, in which each meter should have been read
RECALLED_SETS_MAX = 10_000
log = logging.getLogger("edge.agent")


class Agent:
    """One gateway."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        gateway = settings.gateway
        provider = Provider()
        models = load_models(settings.meters, settings.path)
        identity = load_identity(
            gateway["identity_dir"], gateway["id"], gateway["tenant"], provider
        )
        self._lock = own_folder(gateway["state_dir"], settings.path)
        clock.keep_in(gateway["state_dir"])
        events = event_queue()
        self._journal = Journal(gateway["state_dir"], settings.journal["size_mb_max"])
        self._writer = Writer(
            self._journal,
            settings.journal,
            clock,
            lambda head: _wake(events),
            lambda: _wake(events),
        )
        learned = Learned(gateway["state_dir"], clock)
        self._events = Events(clock, self._writer.note)
        clock.tell_to(lambda kind, detail: self._events.tell(kind, detail=detail, repeat_s=60))
        self._plausibility = Plausibility({one["id"]: limits_of(one) for one in settings.meters})
        self._surroundings = Surroundings(
            clock,
            self._writer.submit,
            self._events.tell,
            self._plausibility.judge,
            lambda: self._writer.is_crowded,
        )
        self._workers = {
            line["id"]: self._build_worker(line, models, learned) for line in settings.lines
        }
        self._line_of = {meter["id"]: meter["line"] for meter in settings.meters}
        addresses = {meter["id"]: meter_address(meter) for meter in settings.meters}
        self._inbox = Inbox(
            self._journal,
            self._writer,
            HighWater(gateway["state_dir"]),
            addresses,
            self._offer,
            lambda body: provider.deflate(provider.encode(body)),
            lambda body: provider.decode(provider.inflate(body, BODY_SIZE_MAX)),
            clock,
            lambda: _wake(events),
        )
        self._session = Session(
            identity,
            provider,
            self._journal,
            self._writer,
            self._inbox,
            settings.uplink,
            tuple(addresses.items()),
            software_version(),
            clock,
            events,
        )
        here = [
            topics.Topic(gateway["tenant"], gateway["id"], suffix).text()
            for suffix in topics.SUFFIXES
        ]
        by_suffix = dict(zip(topics.SUFFIXES, here, strict=True))
        self._session.transport = Transport(
            settings.mqtt,
            gateway["id"],
            (by_suffix[topics.ORDERS], by_suffix[topics.ACKNOWLEDGEMENTS]),
            by_suffix[topics.PRESENCE],
            identity.tls if settings.mqtt["tls"] else None,
            events.put,
            random.Random(),  # noqa: S311 - jitter, not a secret
        )
        self._status = StatusServer(gateway["state_dir"], self.snapshot)

    def start(self) -> None:
        """Journal first, then whoever writes to it."""
        self._writer.start()
        if self._journal.salvaged:
            log.error("journal_put_aside reason=%r", self._journal.salvaged)
        self._inbox.resume()  # before a new order can come: it would be found as a stored one
        self._session.start()
        slots = self._recall()
        for worker in self._workers.values():
            worker.start(slots)
        try:
            self._status.start()
        except OSError as error:  # a path too long, a full disk: meters are read all the same
            log.error("status_refused reason=%r", str(error))
        log.info(
            "agent_started gateway=%s head=%d", self._settings.gateway["id"], self._writer.head
        )

    def _recall(self) -> dict[str, int]:
        """What the journal tells of the life before: the last slot of each task, and what each
        meter showed last."""
        reader = self._journal.reader()
        tasks = sum(len(worker.schedule.tasks) for worker in self._workers.values())
        first = self._writer.head - min(RECALLED_ROUNDS * tasks, RECALLED_SETS_MAX) + 1
        for _, one in reader.rows(max(first, 1), self._writer.head):
            self._plausibility.recall(one, self._clock)
        slots = reader.memos("slot")
        reader.close()
        return slots

    def stop(self) -> None:
        """Lines first, so that what they read is committed before the journal closes."""
        self._status.stop()
        for worker in self._workers.values():
            worker.stop()
        self._session.stop()
        self._writer.stop()
        log.info("agent_stopped head=%d", self._writer.head)

    def snapshot(self) -> dict[str, Any]:
        """Everything that `busbar-edge status` shows; instants are UTC ms."""
        session, writer, clock = self._session, self._writer, self._clock
        outbox = session.outbox
        return {
            "gateway": self._settings.gateway["id"],
            "version": software_version(),
            "utc_ms": clock.utc_ms(),
            "clock_quality": TIME_QUALITY_NAMES[clock.quality()],
            "clock_error_ms": clock.error_ms(),
            "clock_in_doubt": clock.is_in_doubt(),
            "connected": session.is_connected,
            "journal": {
                "head": writer.head,
                "epoch": self._journal.epoch.hex(),
                "held_sets": writer.held_sets,
                "committed_sets": writer.sets_committed,
                "commits": writer.commits,
                "lost_sets": writer.sets_lost,
                "fill_percent": round(100 * writer.fill),
                "trouble": writer.trouble,
            },
            "uplink": {
                "backlog_sets": outbox.backlog,
                "acknowledged_sets": outbox.stored.count,
                "acknowledged_upto": outbox.stored.contiguous_from(1),
                "batches_in_flight": len(outbox.flights),
                "batches_sealed": session.batches_sealed,
                "batches_resent": outbox.resent_batches,
                "bytes_sent": session.bytes_sent,
                "readings_sent": session.readings_sent,
                "refusals": dict(session.refusals),
            },
            "lines": [_line_status(worker) for worker in self._workers.values()],
            "meters": [
                _meter_status(name, watch)
                for worker in self._workers.values()
                for name, watch in worker.watches.items()
            ],
        }

    def _build_worker(
        self, line: dict[str, Any], models: dict[str, Any], learned: Learned
    ) -> LineWorker:
        plan = plan_line(line, self._settings, models, learned)
        shares = plan.shares()
        if not self._settings.gateway["allow_over_budget"]:
            check_load(line["id"], shares)
        if load_of(shares) > TIGHT:
            percent = round(100 * load_of(shares))
            log.warning("line_loaded line=%s load_percent=%d", line["id"], percent)
        own = wire(line)
        port = SerialPort(line["port"], *own.characters)
        return LineWorker(
            Line(line["id"], port, own, time.monotonic),
            plan.watches,
            plan.tasks,
            self._surroundings,
        )

    def _offer(self, meter_id: str, job: OrderJob) -> bool:
        return self._workers[self._line_of[meter_id]].offer(job)


def _line_status(worker: LineWorker) -> dict[str, Any]:
    return {
        "line": worker.line.line_id,
        "open": worker.line.is_open,
        "clock_jumps": worker.schedule.jumps,
        **asdict(worker.line.counters),
    }


def _meter_status(name: str, watch: MeterWatch) -> dict[str, Any]:
    return {
        "meter": name,
        "line": watch.line_id,
        "protocol": watch.protocol,
        "edition": watch.driver.edition,  # of DL/T 645; 0: not known, or none
        "address": watch.driver.address,
        "period_s": watch.period_s,
        "state": _state(watch),
        "sweeps": watch.sweeps,
        "sweep_ms": watch.sweep_ms,
        "read_at": watch.read_at,
        "last_error": watch.last_error,
        "unsupported": sorted(watch.driver.unsupported),
        "readings": [reading.described() for reading in watch.shown()],
        **asdict(watch.driver.counters),
    }


def _state(watch: MeterWatch) -> str:
    if watch.failures:
        return "down" if watch.is_down else "silent"
    return "answering" if watch.sweeps else "waiting"


def _wake(events: Any) -> None:
    if events.empty():
        events.put(None)


def software_version() -> str:
    """The installed version of Busbar."""
    try:
        return package_version("busbar")
    except PackageNotFoundError:
        return "0"


def run(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT. Exit code 0."""
    agent = Agent(settings, SystemClock())
    asked = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: asked.set())
    agent.start()
    asked.wait()
    agent.stop()
    return 0
