"""The gateway's composition root: builds every object, hands each what it needs, starts and stops
them.

Nothing starts before everything is checked: settings, meter models, identity, state folder.
"""

import logging
import signal
import threading
import time
from contextlib import closing
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from edge.clock import Clock, SystemClock
from edge.collect.jobs import Job
from edge.collect.line_plan import plan_line, wire
from edge.collect.plausible import Plausibility, limits_of
from edge.collect.poller import LineWorker, Surroundings
from edge.collect.shares import TIGHT, load_of
from edge.config.folder import ConfigFolder
from edge.config.reload import Checked, Reloader
from edge.config.remote import RemoteConfig, standing
from edge.events import Events
from edge.face import Face
from edge.history import History, build_history
from edge.journal.folder import own_folder
from edge.journal.follow import last_run
from edge.journal.store import SLOT, Journal
from edge.journal.writer import Writer
from edge.latency import OrderLatency
from edge.line.line import Line
from edge.line.port import SerialPort
from edge.lines import Lines
from edge.local.lines import WRONG, RequestError
from edge.local.peers import Peers
from edge.local.server import Answers
from edge.meters.learned import Learned
from edge.meters.models import load_models
from edge.orders import desk as orders
from edge.orders.desk import OrderDesk
from edge.orders.executor import OrderJob
from edge.orders.gate import Gate
from edge.orders.jobs import aftermath_of, job_for, line_terms
from edge.orders.late_gate import LateGate
from edge.orders.records import Facts
from edge.restarts import BOOT_NAME, BOOT_SCOPE, cause_of
from edge.settings import Settings, meter_address
from edge.sync.connecting import Connecting
from edge.sync.identity import Identity, load_identity
from edge.sync.session import Session
from edge.sync.transport import event_queue
from protocols.envelope.claims import Claims
from protocols.envelope.suites import Provider
from protocols.errors import SettingError
from protocols.events import Event
from protocols.messages import Config, Order
from protocols.modbus.model import Model
from protocols.readings import TimeQuality

RECALLED_ROUNDS = 8  # of all tasks, in which each meter should have been read
RECALLED_SETS_MAX = 10_000
log = logging.getLogger("edge.agent")


class Agent:
    """One gateway."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        gateway = settings.gateway  # which no remote configuration changes
        load_models(settings.meters, settings.path)  # refused before anything is made
        provider = Provider()
        identity = load_identity(
            gateway["identity_dir"], gateway["id"], gateway["tenant"], provider
        )
        self._lock = own_folder(gateway["state_dir"], settings.path)
        config_folder = ConfigFolder(gateway["state_dir"])
        checked, self._config_news = standing(config_folder, settings, clock)
        settings = checked.settings
        clock.keep_in(gateway["state_dir"])
        self._queue = events = event_queue()
        self._journal = Journal(gateway["state_dir"], settings.journal["size_mb_max"])
        self._writer = Writer(
            self._journal,
            settings.journal,
            clock,
            lambda head: _wake(events),
            lambda: _wake(events),
        )
        self._learned = Learned(gateway["state_dir"], clock)
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
        self._build_lines(checked)
        self._addresses = addresses = _addresses_of(settings)
        self._latency = OrderLatency(clock)
        self._orders = self._build_orders(identity, provider, gateway["state_dir"])
        self._session = Session(
            identity,
            provider,
            self._journal,
            self._writer,
            self._orders,
            settings.uplink,
            tuple(addresses.items()),
            software_version(),
            clock,
            events,
            self._events.tell,
            self._take_config,
        )
        self._connecting = Connecting(identity, events.put, clock.boot_ms)
        self._session.transport = self._connecting.transport(settings)
        self._build_configuration(config_folder)
        self._face = Face(
            settings,
            software_version(),
            clock,
            self._journal,
            self._writer,
            self._session,
            self._lines,
            self._latency,
            self._orders,
            self._remote_config.status,
            self._answer_reload,
        )

    def _build_orders(self, identity: Identity, provider: Provider, folder: Path) -> OrderDesk:
        around = orders.Surroundings(
            lambda: self._settings.orders,
            lambda: protected_of(self._settings),
            self._addresses,
            self._offer_order,
            self._make_job,
            self._request_backfill,
            self._events.tell,
            lambda: _wake(self._queue),
            self._make_look,
            self._look_soon,
        )
        return OrderDesk(
            identity, provider, self._journal, self._writer, folder, self._clock, around
        )

    def start(self) -> None:
        """Journal first, then whoever writes to it."""
        last = last_run(self._journal.path, BOOT_SCOPE, BOOT_NAME)
        self._writer.start()
        self._face.snapshot.begin()
        cause = cause_of(last, self._clock.boot_id)
        self._events.tell("started", detail=f"version {software_version()}; {cause}")
        self._writer.call(self._journal.set_memo, BOOT_SCOPE, BOOT_NAME, self._clock.boot_id)
        if self._journal.salvaged:
            log.error("journal_put_aside reason=%r", self._journal.salvaged)
        # Before a new order can come: it would be found as a stored one.
        self._orders.begin()
        self._session.start()
        self._recall()
        self._compare_clock()
        self._lines.start()
        self._remote_config.start(self._config_news)
        self._face.open()
        log.info(
            "agent_started gateway=%s head=%d", self._settings.gateway["id"], self._writer.head
        )

    @property
    def _settings(self) -> Settings:
        return self._reloader.settings

    @property
    def _workers(self) -> dict[str, LineWorker]:
        return self._lines.workers

    def reload_soon(self) -> None:
        """Reads the configuration again; for a signal handler."""
        self._remote_config.ask_reload()

    def _slots(self) -> dict[str, int]:
        """The last slot of each task that is in the journal."""
        with closing(self._journal.reader()) as reader:
            return reader.memos(SLOT)

    def _recall(self) -> None:
        """What each meter showed last, of the life before."""
        reader = self._journal.reader()
        tasks = sum(len(worker.schedule.tasks) for worker in self._workers.values())
        first = self._writer.head - min(RECALLED_ROUNDS * tasks, RECALLED_SETS_MAX) + 1
        for _, one in reader.rows(max(first, 1), self._writer.head):
            self._plausibility.recall(one, self._clock)
        reader.close()

    def _compare_clock(self) -> None:
        """The journal may name slots that are still to come: then a clock was wrong in the life
        before, or is wrong now, and some of them come again."""
        moment = self._clock.moment()
        ahead_ms = max(self._slots().values(), default=0) - moment.utc_ms
        if moment.quality != TimeQuality.UNSYNCED and ahead_ms > 0:
            moved = f"UTC moved by {-ahead_ms / 1000:.3f} s"
            self._events.tell("clock-step", detail=f"{moved} or more since the last slot")

    def stop(self) -> None:
        """Lines first, so that what they read is committed before the journal closes."""
        self._face.close()
        self._remote_config.stop()
        self._lines.stop()
        self._session.stop()
        self._events.tell("stopped")
        self._writer.stop()
        log.info("agent_stopped head=%d", self._writer.head)

    def _build_lines(self, checked: Checked) -> None:
        """The lines, and what a change of the settings does to them and to all else."""
        self._histories: dict[str, History] = {}  # by line
        self._lines = Lines(self._build_worker, self._slots)
        self._lines.fill(checked.settings, checked.models)
        self._reloader = Reloader(
            checked,
            self._lines,
            {
                "gateway": lambda new: logging.getLogger().setLevel(new.gateway["log"].upper()),
                "mqtt": lambda new: self._connecting.reconnect(self._session, new),
                "journal": lambda new: self._writer.configure(new.journal),
                "uplink": self._configure_session,
                "local": self._change_face,
            },
            lambda new: Peers(new.local["socket_group"], new.path),
            self._change_meters,
        )

    def _build_configuration(self, folder: ConfigFolder) -> None:
        """What takes configurations."""
        told = Events(self._clock, self._append)
        self._remote_config = RemoteConfig(
            folder,
            self._reloader,
            self._lines,
            self._clock,
            lambda kind, detail: told.tell(kind, detail=detail),
            lambda: self._connecting.acknowledged_at(self._session),
        )

    # ---- what a new configuration changes --------------------------------------------------------

    def _answer_reload(self, _: dict[str, Any]) -> Answers:
        try:
            yield {"changed": self._remote_config.reload()}
        except SettingError as error:
            raise RequestError(str(error), WRONG) from None

    def _change_face(self, settings: Settings) -> None:
        self._face.change(settings)  # which is built last

    def _change_meters(self, settings: Settings) -> None:
        """The meters are others; the lines that change stand still."""
        self._plausibility.change({one["id"]: limits_of(one) for one in settings.meters})
        present = _addresses_of(settings)
        self._addresses.update(present)
        for gone in self._addresses.keys() - present.keys():
            del self._addresses[gone]
        self._configure_session(settings)

    def _configure_session(self, settings: Settings) -> None:
        meters = tuple(_addresses_of(settings).items())
        self._queue.put(lambda: self._session.reconfigure(settings.uplink, meters))

    def _build_worker(
        self, line: dict[str, Any], settings: Settings, models: dict[str, Model]
    ) -> LineWorker:
        plan = plan_line(line, settings, models, self._learned)
        load = load_of(plan.shares())
        if load > TIGHT:
            log.warning("line_loaded line=%s load_percent=%d", line["id"], round(100 * load))
        own = wire(line)
        port = SerialPort(line["port"], *own.characters)
        worker = LineWorker(
            Line(line["id"], port, own, time.monotonic),
            plan.watches,
            plan.tasks,
            self._surroundings,
        )
        self._histories[line["id"]] = build_history(
            worker,
            settings,
            self._clock,
            self._journal,
            self._writer,
            self._events.tell,
            self._may_correct_clocks,
            self._intended_of,
        )
        return worker

    def _may_correct_clocks(self) -> bool:
        return self._remote_config.may_correct_clocks()  # which is built after the lines

    def _intended_of(self, meter_id: str) -> str:
        return self._orders.intended.of(meter_id)  # which is built after the lines

    def _request_backfill(self, meter_id: str, from_ms: int, to_ms: int) -> None:
        lines = {meter["id"]: meter["line"] for meter in self._settings.meters}
        self._histories[lines[meter_id]].backfill.request(meter_id, from_ms, to_ms)

    def _look_soon(self, meter_id: str) -> None:
        for history in list(self._histories.values()):
            history.supplies.look_soon(meter_id)

    def _make_job(
        self, order: Order, counter: int, deadline_boot_ms: int, clock: Clock, gate: Gate
    ) -> Job | None:
        terms = line_terms(self._settings)
        return job_for(order, counter, deadline_boot_ms, clock, gate, terms)

    def _make_look(
        self, order: Order, counter: int, clock: Clock, gate: LateGate, known: Facts
    ) -> Job:
        return aftermath_of(order, counter, clock, gate, line_terms(self._settings), known)

    def _offer_order(self, meter_id: str, job: Job) -> bool:
        if isinstance(job, OrderJob):
            self._latency.watch(job)
        return self._lines.offer(meter_id, job)

    def _take_config(self, claims: Claims, config: Config) -> None:
        self._remote_config.take(claims, config)  # which is built after the session

    def _append(self, event: Event) -> None:
        """Durable when it returns."""
        self._writer.call(self._journal.append, (), (), (event,)).result(timeout=60)


def protected_of(settings: Settings) -> frozenset[str]:
    """The meters that the settings protect."""
    return frozenset(meter["id"] for meter in settings.meters if meter["protected"])


def _addresses_of(settings: Settings) -> dict[str, str]:
    return {meter["id"]: meter_address(meter) for meter in settings.meters}


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
    """Runs until SIGTERM or SIGINT; SIGHUP reads the configuration again. Exit code 0."""
    agent = Agent(settings, SystemClock())
    asked = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: asked.set())
    signal.signal(signal.SIGHUP, lambda *_: agent.reload_soon())
    agent.start()
    asked.wait()
    agent.stop()
    return 0
