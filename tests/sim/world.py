"""One seeded world: chaos, then all is healed, and then there must be progress."""

import hashlib
import json
import logging
import random
import sqlite3
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from tests.sim import stations
from tests.sim.broker import Broker
from tests.sim.bus import Bus
from tests.sim.clock import UTC_MS, MachineClock
from tests.sim.disk import Disk
from tests.sim.keys import write_identities
from tests.sim.machines import GatewayMachine, HeadEndMachine
from tests.sim.options import Meter, Options
from tests.sim.orders import Orders
from tests.sim.rows import BrokenError
from tests.sim.scheduler import MS, SECOND, Scheduler
from tests.sim.seams import worlds_place
from tests.sim.strikes import Strikes
from tests.sim.witness import Witness

LIVENESS_S = 900  # virtual seconds within which all must be well again
_LOOK_S = 5
_FINAL = "SELECT state, order_id FROM meter_order WHERE lower(hex(order_id)) = ?"
_READINGS = "SELECT readings FROM receipt WHERE lower(hex(order_id)) = ? AND state = ?"
_EXPECTED = (sqlite3.Error, OSError, RuntimeError)  # of a disk that refuses


class Outcome(NamedTuple):
    """What came of a world."""

    digest: str
    marks: Counter[str]
    sets: int
    exchanges: int
    steps: int
    virtual_s: float
    recovery_s: float


class World:
    """Everything of one world. `trace` gets its history as lines."""

    def __init__(self, options: Options, base: Path, trace: list[str] | None = None) -> None:
        self.options = options
        self.marks: Counter[str] = Counter()
        self.is_healed = False
        self._history = hashlib.blake2b(digest_size=16)
        self._trace = trace
        chance = random.Random(f"world {options.seed}")
        parts = {
            name: random.Random(chance.getrandbits(64))
            for name in ("scheduler", "broker", "bus", "gateway", "head_end", "strikes")
        }
        self.scheduler = scheduler = Scheduler(parts["scheduler"])
        self.broker = Broker(scheduler, parts["broker"], self.marks)
        self.broker.weather = options.weather
        self.witness = Witness(scheduler, self.marks, self.note)
        self.orders = Orders(
            scheduler,
            self.marks,
            self.note,
            self.witness,
            {one.meter_id: options.lines[one.line]["retries"] for one in options.meters},
        )
        self.buses = {
            line["port"]: Bus(scheduler, parts["bus"], self.marks, line["baud"], chunk)
            for line, chunk in zip(options.lines, options.chunks, strict=True)
        }
        self._equip()
        identity, head_end_identity = write_identities(base)
        self.gateway = GatewayMachine(
            options,
            scheduler,
            Disk(base / "gateway_machine", parts["gateway"], self.marks),
            self.note,
            self.broker,
            self.buses,
            self.witness,
            identity,
            MachineClock(scheduler, options.drift_ppm),
            lambda: parts["gateway"].randbytes(16),
        )
        self.gateway.disk.ballast_size = options.journal["ballast_kb"] * 1024
        self.head_end = HeadEndMachine(
            options,
            scheduler,
            Disk(base / "head_end_machine", parts["head_end"], self.marks),
            self.note,
            self.broker,
            self.witness,
            head_end_identity,
            MachineClock(scheduler, 0),
        )
        self.head_end.disk.after_commit = self.witness.head_end_committed
        self.strikes = Strikes(self, parts["strikes"])
        self.orders.heard = self.strikes.order_heard
        scheduler.after_step = self.witness.check_bounds

    def note(self, what: str, *details: object) -> None:
        """One line of the world's history."""
        line = f"{self.scheduler.now_ns} {what} {' '.join(map(str, details))}"
        self._history.update(line.encode())
        if self._trace is not None:
            self._trace.append(line)

    def run(self) -> Outcome:
        """Chaos, healing, liveness. BrokenError when a checker finds something."""
        scheduler, options = self.scheduler, self.options
        with ExitStack() as stack:
            stack.callback(self.head_end.disk.sweep)
            stack.callback(self.gateway.disk.sweep)
            stack.callback(self.witness.head_end_left)
            stack.enter_context(worlds_place(scheduler, self.gateway, self.head_end.disk))
            stack.callback(self._end_machines)
            stack.enter_context(_Listening(self))
            self.head_end.start()
            self.gateway.start()
            for strike in options.strikes:
                scheduler.after(strike.at_s * SECOND, lambda one=strike: self.strikes.strike(one))
            for at_s, *order in options.orders:
                scheduler.after(at_s * SECOND, lambda one=order: self._order(*one))
            scheduler.sleep(options.chaos_s * SECOND)
            self.note("healed")
            self.strikes.heal()
            recovery_s = self._await_liveness()
            self._check_end()
        return Outcome(
            self._history.hexdigest(),
            self.marks,
            len(self.witness.stored),
            self.marks["requests"],
            scheduler.steps,
            scheduler.now_ns / SECOND,
            recovery_s,
        )

    # ---- parts ----------------------------------------------------------------------------------

    def _equip(self) -> None:
        """Puts the meters on their lines."""
        ports = [line["port"] for line in self.options.lines]
        for bus, is_echo in zip(self.buses.values(), self.options.echoes, strict=True):
            bus.echo = is_echo
            bus.hear_request = self._hear_request
        for number, one in enumerate(self.options.meters):
            bus = self.buses[ports[one.line]]
            bus.stations.append(self._station(one, self.options.seed * 1000 + number))

    def _station(self, one: Meter, seed: int) -> Any:
        log = self.witness.log_of(one.meter_id)
        if not one.model:
            self.witness.late_meters.add(one.meter_id)
            return stations.dlt645(one.address, seed, self._utc_ms, one.delay_s, log)
        return stations.modbus(int(one.address), one.model, seed, self._utc_ms, one.delay_s, log)

    def _utc_ms(self) -> int:
        return UTC_MS + self.scheduler.now_ns // MS

    def _hear_request(self, data: bytes) -> None:
        self.marks["requests"] += 1
        self.note("asked", data.hex())
        self.orders.hear_request(data)

    def _order(self, meter_id: str, obis: str, valid_s: int) -> None:
        address = next(one.address for one in self.options.meters if one.meter_id == meter_id)
        self.orders.give(self.head_end.request, meter_id, obis, address, valid_s)
        self.strikes.order_given()

    # ---- the end --------------------------------------------------------------------------------

    def _await_liveness(self) -> float:
        """Seconds until all was well."""
        healed_ns = self.scheduler.now_ns
        up_to = 0
        while self.scheduler.now_ns < healed_ns + LIVENESS_S * SECOND:
            self.scheduler.sleep(_LOOK_S * SECOND)
            up_to = up_to or self._head()
            if up_to and not self._complaint(healed_ns, up_to):
                return (self.scheduler.now_ns - healed_ns) / SECOND
        complaint = self._complaint(healed_ns, up_to)
        raise BrokenError(f"{LIVENESS_S} s after all faults ended, {complaint}")

    def _head(self) -> int:
        agent = self.gateway.agent
        return agent._writer.head if agent is not None and agent._session.outbox else 0

    def _complaint(self, healed_ns: int, up_to: int) -> str:
        """What is not well yet."""
        late = [
            one.meter_id
            for one in self.options.meters
            if self.witness.last_read_ns.get(one.meter_id, 0) <= healed_ns
        ]
        if late:
            return f"meters {late} were not read again and stored"
        if self.witness.unacknowledged(up_to):
            return f"{self.witness.unacknowledged(up_to)} reading sets are not acknowledged"
        if self.orders.are_open(self._final_of):
            return "an order is not final"
        return ""

    def _final_of(self, order_id: str) -> tuple[str, list[Any]] | None:
        reader = self.witness.reader
        assert reader is not None
        found = reader.execute(_FINAL, (order_id,)).fetchone()
        if found is None:
            return None
        readings = reader.execute(_READINGS, (order_id, found[0])).fetchone()
        return found[0], json.loads(readings[0]) if readings else []

    def _check_end(self) -> None:
        agent = self.gateway.agent
        assert agent is not None
        if agent._writer.trouble:
            raise BrokenError("the journal still refuses")
        self.witness.check_end()
        self.orders.check_end(self._final_of)
        self._count_product(agent)

    def _count_product(self, agent: Any) -> None:
        """What the last agent went through, for the table of what must have happened."""
        self.marks["batch_sent_again"] += agent._session.outbox.resent_batches
        self.marks["refused_at_gateway"] += sum(agent._session.refusals.values())
        for worker in agent._workers.values():
            self.marks["stale_bytes"] += worker.line.counters.stale_bytes
            for watch in worker.watches.values():
                self.marks["stray_frame"] += watch.driver.counters.strays
                self.marks["request_repeated"] += watch.driver.counters.retries
        core = self.head_end.core
        if core is not None:
            self.marks["refused_at_head_end"] += core.ingest.counts["refused"]
            self.marks["stored_before"] += core.ingest.counts["duplicates"]

    def _end_machines(self) -> None:
        for machine in (self.gateway, self.head_end):
            machine.will_restart = False
        self.scheduler.close()
        self.gateway.let_go()


class _Listening(logging.Handler):
    """The product's log as part of the history; an error that no fault explains is a finding."""

    _LOGGERS = ("edge", "cloud")

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world
        self._before: list[tuple[logging.Logger, int, bool]] = []

    def __enter__(self) -> None:
        for name in self._LOGGERS:
            logger = logging.getLogger(name)
            self._before.append((logger, logger.level, logger.propagate))
            logger.setLevel(logging.INFO)
            logger.propagate = False
            logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        for logger, level, propagate in self._before:
            logger.removeHandler(self)
            logger.setLevel(level)
            logger.propagate = propagate

    def emit(self, record: logging.LogRecord) -> None:
        """Notes the event's name; its arguments may hold paths and keys."""
        self._world.note("log", record.name, record.msg.split(" ")[0])
        self._world.marks[f"log {record.msg.split(' ')[0]}"] += 1
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, _EXPECTED):
            self._world.scheduler.failure = self._world.scheduler.failure or BrokenError(
                f"the product failed: {type(error).__name__}: {error}"
            )


def run_world(options: Options, trace: list[str] | None = None) -> Outcome:
    """One world in a folder of its own, in memory where that is possible."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        return World(options, Path(name), trace).run()
