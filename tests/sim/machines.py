"""The two programs on their machines: started, crashed, and started again on what the disk kept."""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloud.app import Core
from cloud.identity.keyring import Registry, load_own_keys
from cloud.ingest.mailbox import Mailbox, Request
from cloud.service import Service
from cloud.settings import load_settings as load_head_end_settings
from edge.agent import Agent
from edge.settings import load_settings
from protocols.errors import CallerError
from protocols.readings import TimeQuality
from tests.sim.broker import Broker
from tests.sim.bus import Bus, SimPort
from tests.sim.clock import GatewayClock, HeadEndClock, MachineClock
from tests.sim.disk import Disk
from tests.sim.equipment import Gateway
from tests.sim.head_end_witness import HeadEndWitness
from tests.sim.keys import TENANT
from tests.sim.links import GatewayLink, HeadEndLink
from tests.sim.scheduler import SECOND, Process, Scheduler
from tests.sim.witness import GatewayWitness

RESTART_S = 5.0  # systemd's pause before it starts a service again
Note = Callable[..., None]


class Machine:
    """What both have in common: a process, a disk, and its death."""

    def __init__(self, name: str, scheduler: Scheduler, disk: Disk, note: Note) -> None:
        self.name = name
        self.disk = disk
        self.process = Process(name)
        self.process.is_dead = True
        self.starts = 0
        self.will_restart = True
        self._scheduler = scheduler
        self._note = note
        self._is_power_cut = False
        self._is_restarting = False

    def start(self) -> None:
        """A new process on what the disk holds."""
        self._is_restarting = False
        if not self.process.is_dead:
            return
        self.starts += 1
        self.process = Process(self.name)
        self.process.on_fuse = self._die
        self.disk.attach(self.process)
        self._note("started", self.name)
        self._scheduler.spawn(self.process, f"{self.name} main", self._main)

    def light_fuse(self, steps: int, is_power_cut: bool, step: str = "") -> None:
        """It dies after so many more steps, or so many of that name."""
        if not self.process.is_dead:
            self.process.fuse, self.process.fuse_step = steps, step
            self._is_power_cut = is_power_cut

    def _die(self, step: str) -> None:
        self._note("crashed", self.name, step, self._is_power_cut)
        self._scheduler.kill(self.process)
        self.disk.crash(self._is_power_cut)
        self._left()
        self.restart(self._is_power_cut)

    def restart(self, is_power_cut: bool = False) -> None:
        """Starts it again after a while."""
        if self._is_restarting or not self.will_restart:
            return
        self._is_restarting = True
        self._scheduler.after(round(RESTART_S * SECOND), lambda: self._come_back(is_power_cut))

    def _come_back(self, is_power_cut: bool) -> None:
        if is_power_cut:
            self._booted()
        self.start()

    def _main(self) -> None:
        raise NotImplementedError

    def _left(self) -> None:
        """The process is gone."""

    def _booted(self) -> None:
        """The power is back."""


class GatewayMachine(Machine):
    """The production agent; ports, broker and time are the world's."""

    def __init__(
        self,
        plan: Gateway,
        scheduler: Scheduler,
        disk: Disk,
        note: Note,
        broker: Broker,
        buses: dict[str, Bus],
        witness: GatewayWitness,
        identity: Path,
        clock: MachineClock,
        boot_ids: Callable[[], bytes],
    ) -> None:
        super().__init__(plan.gateway_id, scheduler, disk, note)
        self.plan = plan
        self.clock = clock
        self.buses = buses
        self.witness = witness
        self.agent: Agent | None = None
        self.link: GatewayLink | None = None
        self.boot_id = b""
        self.has_started = False
        self._broker = broker
        self._identity = identity
        self._boot_ids = boot_ids
        self._booted()

    def _booted(self) -> None:
        self.clock.boot()
        self.boot_id = self._boot_ids()
        if self.plan.boots_unsynced:
            self._note("unsynced_boot")
            self.clock.quality = TimeQuality.UNSYNCED
            self.clock.error_ms = -3_600_000 * (self.starts % 3)

    def _main(self) -> None:
        self.has_started = False
        config = self.disk.folder.parent / "edge.toml"
        config.write_text(_toml(self._table()))
        try:
            self.agent = agent = Agent(
                load_settings(config), GatewayClock(self.clock, self.boot_id)
            )
            self.witness.follow(agent, self.clock)
            agent.start()
        except (sqlite3.Error, OSError) as error:
            self._note("start_refused", self.name, type(error).__name__)
            self._is_power_cut = False
            self._die("start")
            return
        self.witness.started(agent)
        self.has_started = True

    def stop(self) -> None:
        """An orderly end, as `systemctl stop`."""
        if self.process.is_dead or self.agent is None or not self.has_started:
            return  # the product stops only what it has started
        self.has_started = False
        agent, process = self.agent, self.process

        def end() -> None:
            agent.stop()
            self.witness.stopped(agent)
            if not process.is_dead:
                self._is_power_cut = False
                self._die("stop")

        self._scheduler.spawn(process, "stop", end)

    def let_go(self) -> None:
        """As the end of a process does: its locks are free."""
        if self.agent is not None:
            os.close(self.agent._lock)
            self.agent = None

    def _left(self) -> None:
        self.let_go()
        if self.link is not None:
            self.link.cut(is_seen=True)
        self.witness.left()

    # ---- what the agent finds in the place of the real ones --------------------------------------

    def make_port(self, url: str, baud: int, parity: str, stop_bits: int) -> SimPort:
        """For `SerialPort`."""
        return self.buses[url].port(self.process)

    def make_transport(self, settings: Any, client_id: str, subscriptions: Any, presence: str,
                       tls: object, emit: Any, jitter: object) -> GatewayLink:  # fmt: skip
        """For `Transport`."""
        self.link = GatewayLink(
            self._broker, self.process, settings, client_id, subscriptions, presence, emit,
            emit.__self__,
        )  # fmt: skip
        return self.link

    def _table(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "gateway": {
                "id": plan.gateway_id,
                "tenant": TENANT,
                "state_dir": str(self.disk.folder),
                "identity_dir": str(self._identity),
                "allow_over_budget": True,
            },
            "mqtt": {"host": "broker", "tls": False, "reconnect_s_max": 30},
            "journal": plan.journal,
            "uplink": plan.uplink,
            "line": [line.settings for line in plan.lines],
            "meter": plan.meter_rows(),
        }


class HeadEndMachine(Machine):
    """The production core and service; broker and time are the world's."""

    def __init__(
        self,
        queue_messages: int,
        scheduler: Scheduler,
        disk: Disk,
        note: Note,
        broker: Broker,
        witness: HeadEndWitness,
        identity: Path,
        clock: MachineClock,
    ) -> None:
        super().__init__("head_end", scheduler, disk, note)
        self.core: Core | None = None
        self.mailbox: Mailbox | None = None
        self.service: Service | None = None
        self.link: HeadEndLink | None = None
        self._queue_messages = queue_messages
        self._broker = broker
        self._witness = witness
        self._identity = identity
        self._clock = clock
        clock.boot()

    def _main(self) -> None:
        config = self.disk.folder.parent / "cloud.toml"
        config.write_text(_toml({
            "head_end": {
                "tenant": TENANT,
                "state_dir": str(self.disk.folder),
                "identity_dir": str(self._identity),
            },
            "mqtt": {"host": "broker", "port": 1883, "tls": False},
            "ingest": {"queue_messages": self._queue_messages},
        }))  # fmt: skip
        settings = load_head_end_settings(config)
        clock = HeadEndClock(self._clock)
        own = load_own_keys(self._identity, TENANT, clock)
        registry = Registry(self._identity / "registry.json", TENANT)
        self.mailbox = box = Mailbox(settings.queue_messages)
        self.link = HeadEndLink(self._broker, self.process, TENANT, settings.queue_messages, box)
        self.core = core = Core(settings, own, registry, self.link, clock)
        self.service = service = Service(
            box, core.ingest, core.desk, core.configs, self.link, clock,
            settings.commit_messages, settings.commit_interval_ms,
        )  # fmt: skip
        self._witness.follow(core, box, settings.queue_messages, self.disk.folder)
        self.link.start()
        service.run()
        if service.failed is not None:
            raise service.failed

    def request(self, body: dict[str, Any], reply: Callable[[dict[str, Any]], None]) -> bool:
        """What the control socket would hand on; False while nobody is there."""
        if self.process.is_dead or self.mailbox is None:
            return False
        self.mailbox.put(Request(body, reply))
        return True

    def _left(self) -> None:
        self.core = self.mailbox = self.service = None
        if self.link is not None:
            self.link.cut(is_seen=True)
        self._witness.left()


def _toml(table: dict[str, Any]) -> str:
    rows = []
    for name, part in table.items():
        for one in part if isinstance(part, list) else [part]:
            rows.append(f"[[{name}]]" if isinstance(part, list) else f"[{name}]")
            rows += [f"{key} = {_literal(value)}" for key, value in one.items()]
    return "\n".join(rows) + "\n"


def _literal(value: object) -> str:
    if not isinstance(value, (str, int, list)):
        raise CallerError(f"{value!r} has no place in a settings file")
    return json.dumps(value)
