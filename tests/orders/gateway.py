"""The gateway of the order tests: the production agent as it is composed, with three things of the
test's own: time, the bytes of its line, and the broker. Its threads do not run; the test does what
they would do."""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import edge.agent
import edge.face
import edge.journal.counters
import edge.journal.highwater
import edge.journal.store
import edge.sync.connecting
from edge.agent import Agent
from edge.collect.poller import ORDERS_MAX, LineWorker
from edge.journal.writer import Writer
from edge.settings import load_settings
from hil.load import Load
from hil.meter import Dlt645Meter
from protocols.dlt645.controls import Function
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.frame import Frame
from protocols.dlt645.relay import ACTION_BY_NAME, RelayTerms
from tests.edge.fakes import CHARACTER_S, Answer, FakeClock, FakePort, FakeQueue, NoThread
from tests.edge.orders.line_rig import ENTRIES, EVERY_ACTION, OFFSET_MIN, PASSWORDS
from tests.edge.test_settings import write_config
from tests.orders.power import Power, PowerCut
from tests.orders.wire import Letter, Station, Wire

LINE_DELAY_MS = 60.0
POLL_S = 86_400
# As they are, whoever stands in for them meanwhile.
_REPLACE, _OVERWRITE = edge.journal.highwater.replace_durably, edge.journal.highwater._overwrite
Hook = Callable[[Frame, Frame | None], Frame | None]


class OnLine(NamedTuple):
    """A command on the wire that is no read: whom for, what, when (true ms)."""

    address: str
    function: int
    data: bytes
    at: int


class _NoFace:
    """In the place of the socket for people."""

    def __init__(self, *_: object, **__: object) -> None:
        pass


class _Thread(NoThread):
    """A line's thread that ends as the real one does."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run

    def join(self) -> None:
        """What it does last."""
        self._run()


class Gateway:
    """One gateway, its line and its meters; `now()` is true UTC ms. `settings` are [orders]."""

    def __init__(
        self,
        folder: Path,
        wire: Wire,
        clock: FakeClock,
        now: Callable[[], int],
        meters: dict[str, str],
        names: tuple[str, str],
        **settings: Any,
    ) -> None:
        self.folder, self.wire, self.clock, self.now = folder, wire, clock, now
        self.state = folder / "state"
        self.power = Power()
        self._ahead_ms = 0.0
        self.meters = {address: self._make_meter(address) for address in meters.values()}
        self.is_silent = False
        self.hook: Hook = lambda _, reply: reply
        self.commands: list[OnLine] = []
        self.on_command: Callable[[OnLine], None] = lambda _: None
        self.on_answer: Callable[[str], None] = lambda _: None
        self.agent: Agent | None = None
        self.station: Station | None = None
        self._table = {
            "gateway": {"id": names[1], "tenant": names[0], "state_dir": "state",
                        "identity_dir": "identity", "allow_over_budget": True},
            "mqtt": {"host": "broker", "tls": False},
            "journal": {"ballast_kb": 0, "commit_interval_ms": 100},
            "uplink": {"linger_ms": 1_000, "catch_up_jitter_s": 0},
            "collect": {"events_period_s": 0, "clock_period_s": 0},
            "orders": {"allow_cuts": True, "dwell_s": 0, "operations_per_day": 1_000,
                       "cuts_per_hour": 1_000, "cuts_per_day_percent": 100} | settings,
            "line": [{"id": "line-1", "port": "/dev/none"}],
            "meter": [self._meter_row(name, address) for name, address in meters.items()],
        }  # fmt: skip
        self.config = write_config(folder, self._table)

    @staticmethod
    def _meter_row(name: str, address: str) -> dict[str, Any]:
        control = {"plain": list(EVERY_ACTION), "levels": ["02", "03", "04"], "parameters": True}
        return {
            "id": name, "line": "line-1", "protocol": "dlt645-2007", "address": address,
            "edition": "2007", "quantities": ["1-0:1.8.0"], "period_s": POLL_S,
            "control": control,
        }  # fmt: skip

    def change(self, section: str, **values: Any) -> None:
        """Another edge.toml; of [meter] and [line] the first row."""
        part = self._table[section]
        row = part[0] if isinstance(part, list) else part
        row.update(values)  # type: ignore[attr-defined]
        write_config(self.folder, self._table)

    def write_credentials(self, tables: Any) -> None:
        """The installer's file."""
        path = self.folder / "identity" / "meter-credentials.json"
        path.write_text(json.dumps(tables))
        path.chmod(0o600)

    # ---- life -----------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.agent is not None

    @property
    def is_connected(self) -> bool:
        """Whether a message would reach it."""
        return self.station is not None and self.station.is_connected

    def start(self) -> None:
        """A new process on the disk; the power may go off meanwhile."""
        if not (self.folder / "identity" / "meter-credentials.json").exists():
            self.write_credentials({"default": ENTRIES})
        with ExitStack() as stack:
            self._enter(stack)
            try:
                agent = Agent(load_settings(self.config), self.clock)
                self.agent = agent
                agent._face.open = lambda: None  # type: ignore[method-assign]
                agent._remote_config._thread = NoThread()  # type: ignore[assignment]
                agent._session._thread = NoThread()  # type: ignore[assignment]
                agent.start()
            except PowerCut:
                self.die()

    def die(self, is_boot: bool = False) -> None:
        """What was in memory is gone; with `is_boot` the machine went down with it."""
        agent, self.agent = self.agent, None
        self.station = None
        self.power.end()
        if agent is not None:
            os.close(agent._lock)
        if is_boot:
            self.clock.boot_id = os.urandom(16)

    def restart(self, is_boot: bool = False) -> None:
        """A crash, and a new process."""
        self.die(is_boot)
        self.start()

    def reload(self) -> None:
        """As SIGHUP does."""
        self._inside(lambda agent: agent._remote_config.reload())

    def _enter(self, stack: ExitStack) -> None:
        power, clock = self.power, self.clock
        durably = power.around("file", _REPLACE)
        overwrite = power.around("file", _OVERWRITE)
        replaced = (
            (edge.journal.store, "sqlite3", power.sqlite()),
            (edge.journal.highwater, "replace_durably", durably),
            (edge.journal.highwater, "_overwrite", overwrite),
            (edge.journal.counters, "replace_durably", durably),
            (edge.agent, "Writer", _Writer),
            (edge.agent, "LineWorker", self._make_worker),
            (edge.agent, "SerialPort", self._make_port),
            (edge.agent, "event_queue", lambda: FakeQueue(clock)),
            (edge.agent, "time", SimpleNamespace(monotonic=clock.monotonic)),
            (edge.face, "LocalServer", _NoFace),
            (edge.sync.connecting, "Transport", self._make_station),
        )
        for module, name, stand_in in replaced:
            stack.enter_context(mock.patch.object(module, name, stand_in))

    def _inside(self, work: Callable[[Agent], object]) -> None:
        """Something that its process does, as long as it lives."""
        if self.agent is None:
            return
        with ExitStack() as stack:
            self._enter(stack)
            try:
                work(self.agent)
            except PowerCut:
                self.die()

    # ---- what its threads would do --------------------------------------------------------------

    def speak(self) -> None:
        """One turn of the uplink; nothing waits."""

        def turn(agent: Agent) -> None:
            agent._queue.put(None)
            # As its thread does: nothing was acknowledged by it.
            with suppress(OSError, sqlite3.Error):
                agent._session.turn()

        self._inside(turn)

    def work(self) -> None:
        """One turn of the line, which lets time pass."""
        if self.agent is None:
            self.clock.advance(1_000)
            return
        self._inside(lambda agent: [one.turn() for one in agent._workers.values()])
        self._inside(lambda agent: agent._writer.work())

    def hear(self, letter: Letter) -> bool:
        """A message comes down; whether the gateway has taken it off the broker."""
        taken: list[bool] = []
        if self.station is None or not self.station.is_connected:
            return False
        self.station.arrive(letter, lambda: taken.append(True))
        self.speak()
        return bool(taken)

    # ---- the line -------------------------------------------------------------------------------

    def _make_meter(self, address: str) -> Dlt645Meter:
        load = Load(int(address[-4:]) + 3, utc_offset_ms=OFFSET_MIN * 60_000, power_w=(500, 3_000))
        actions = tuple(ACTION_BY_NAME[one.replace("-", "_")] for one in EVERY_ACTION)
        return Dlt645Meter(
            address,
            load,
            lambda: self.now() + round(self._ahead_ms),
            utc_offset_ms=OFFSET_MIN * 60_000,
            passwords=PASSWORDS,
            relay_terms=RelayTerms(actions, (2, 3, 4), False),
        )

    def _make_worker(self, *parts: Any) -> LineWorker:
        worker = LineWorker(*parts)
        worker._jobs = FakeQueue(self.clock, ORDERS_MAX)
        worker._thread = _Thread(worker._run)  # type: ignore[assignment]
        return worker

    def _make_port(self, *_: object) -> FakePort:
        port = FakePort(self.clock, answer=self._answer)
        port.write = self.power.around("wire", port.write)  # type: ignore[method-assign]
        return port

    def _make_station(self, *parts: Any) -> Station:
        self.station = Station(self.wire, parts[5])
        return self.station

    def _answer(self, request: bytes) -> Answer:
        answers: Answer = []
        for frame in Deframer().feed(request):
            if frame.function not in (Function.READ, Function.READ_MORE):
                command = OnLine(frame.address, frame.function, bytes(frame.data), self.now())
                self.commands.append(command)
                self.on_command(command)
            self._ahead_ms = len(request) * CHARACTER_S * 1000 + LINE_DELAY_MS / 2
            ms = LINE_DELAY_MS
            for meter in list(self.meters.values()):
                reply = None if self.is_silent else self.hook(frame, meter.answer(frame))
                self.on_answer(meter.name)
                if reply is not None:
                    wire = reply.to_bytes(4)
                    ms += len(wire) * CHARACTER_S * 1000
                    answers.append((ms, wire))
            self._ahead_ms = 0.0
        return answers


class _Writer(Writer):
    """The real writer without its thread: a call runs at once, a commit when the test works."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._thread = NoThread()  # type: ignore[assignment]

    def call(self, function: Any, *arguments: object) -> Any:
        """As if the thread had been waiting for it."""
        future = super().call(function, *arguments)
        self.work()
        return future
