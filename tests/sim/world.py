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

from tests.sim.broker import Broker
from tests.sim.bus import Bus
from tests.sim.clock import UTC_MS, MachineClock
from tests.sim.counters import Counters
from tests.sim.disk import Disk
from tests.sim.equipment import DLT645, DLT645_1997, TCP_BAUD, Gateway
from tests.sim.head_end_witness import HeadEndWitness
from tests.sim.keys import write_identities
from tests.sim.machines import GatewayMachine, HeadEndMachine, Machine
from tests.sim.options import Options
from tests.sim.orders import Orders
from tests.sim.rows import BrokenError
from tests.sim.scheduler import MS, SECOND, Process, Scheduler
from tests.sim.seams import worlds_place
from tests.sim.stations import station
from tests.sim.strikes import Strikes
from tests.sim.truth import Truth
from tests.sim.witness import GatewayWitness

LIVENESS_S = 900  # virtual seconds within which all must be well again
DRIFT_PPM = 150  # from here on an oscillator is a bad one
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
        self._chances = parts
        self.scheduler = scheduler = Scheduler(parts["scheduler"])
        names = tuple(one.gateway_id for one in options.gateways)
        self.broker = Broker(scheduler, parts["broker"], self.marks, names)
        self.broker.weather = options.weather
        self.truth = Truth()
        self.counters = Counters()
        self.broker.leaves = self.counters.leaves
        self.orders = Orders(scheduler, self.marks, self.note, self.truth)
        identities, head_end_identity = write_identities(base, names)
        self.gateways = {
            one.gateway_id: self._gateway(one, base, identities[one.gateway_id])
            for one in options.gateways
        }
        witnesses = {name: one.witness for name, one in self.gateways.items()}
        self.witness = HeadEndWitness(witnesses, self.note)
        self.head_end = HeadEndMachine(
            options.queue_messages,
            scheduler,
            Disk(base / "head_end_machine", parts["head_end"], self.marks),
            self.note,
            self.broker,
            self.witness,
            head_end_identity,
            MachineClock(scheduler, 0),
        )
        self.head_end.disk.after_commit = self.witness.committed
        self.strikes = Strikes(self, parts["strikes"])
        self.orders.heard = self.strikes.order_heard
        self._checks = {one.name: one.witness.check_step for one in self.gateways.values()}
        self._checks[self.head_end.name] = self.witness.check_step
        scheduler.after_run = self._check_run

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All of them, the head end last."""
        return (*self.gateways.values(), self.head_end)

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
            for machine in self.machines:
                stack.callback(machine.disk.sweep)
            stack.callback(self.witness.left)
            stack.enter_context(
                worlds_place(
                    scheduler, self.gateways, self.head_end.disk, self.counters, options.hold_s
                )
            )
            stack.callback(self._end_machines)
            stack.enter_context(_Listening(self))
            self.head_end.start()
            for gateway in self.gateways.values():
                gateway.start()
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
            self.witness.count,
            self.marks["requests"],
            scheduler.steps,
            scheduler.now_ns / SECOND,
            recovery_s,
        )

    def _check_run(self, process: Process) -> None:
        """A task of that process has run, and waits now."""
        check = self._checks.get(process.name)
        if check is not None:
            check()

    # ---- parts ----------------------------------------------------------------------------------

    def _gateway(self, plan: Gateway, base: Path, identity: Path) -> GatewayMachine:
        chance = self._chances["gateway"]
        witness = GatewayWitness(plan.gateway_id, self.truth, self.marks, self.note)
        folder = base / plan.gateway_id
        machine = GatewayMachine(
            plan,
            self.scheduler,
            Disk(folder / "gateway_machine", chance, self.marks),
            self.note,
            self.broker,
            self._equip(plan, witness),
            witness,
            identity,
            MachineClock(self.scheduler, plan.drift_ppm),
            lambda: chance.randbytes(16),
        )
        machine.disk.ballast_size = plan.journal["ballast_kb"] * 1024
        machine.disk.after_damage = witness.journal_damaged
        self.marks["clock_drifting"] += abs(plan.drift_ppm) >= DRIFT_PPM
        return machine

    def _equip(self, plan: Gateway, witness: GatewayWitness) -> dict[str, Bus]:
        """The lines of a gateway with their meters, by port."""
        buses = {}
        for line in plan.lines:
            baud = TCP_BAUD if line.is_stream else line.settings["baud"]
            bus = Bus(self.scheduler, self._chances["bus"], self.marks, baud, line.chunk)
            bus.echo, bus.is_stream = line.has_echo, line.is_stream
            bus.period_ms = plan.period_s * 1000
            bus.hear_request = lambda data, port=line.port: self._hear(plan.gateway_id, port, data)
            buses[line.port] = bus
        for meter in plan.meters:
            seed = self._chances["bus"].getrandbits(32)
            log = self.truth.log_of(meter.meter_id)
            bus = buses[plan.lines[meter.line].port]
            bus.stations.append(station(meter, seed, self._utc_ms, log))
            self.marks[f"meter_{meter.protocol}"] += 1
            if meter.protocol in (DLT645, DLT645_1997):
                witness.late_meters.add(meter.meter_id)
        return buses

    def _utc_ms(self) -> int:
        return UTC_MS + self.scheduler.now_ns // MS

    def _hear(self, gateway_id: str, port: str, data: bytes) -> None:
        self.marks["requests"] += 1
        self.note("asked", gateway_id, data.hex())
        self.orders.hear_request(gateway_id, port, data)

    def _order(self, meter_id: str, obis: str, valid_s: int) -> None:
        gateway, meter = next(
            (gateway, meter)
            for gateway in self.options.gateways
            for meter in gateway.meters
            if meter.meter_id == meter_id
        )
        self.orders.give(self.head_end.request, gateway, meter, obis, valid_s)
        self.strikes.order_given()

    # ---- the end --------------------------------------------------------------------------------

    def _await_liveness(self) -> float:
        """Seconds until all was well."""
        healed_ns = self.scheduler.now_ns
        heads: dict[str, int] = {}
        while self.scheduler.now_ns < healed_ns + LIVENESS_S * SECOND:
            self.scheduler.sleep(_LOOK_S * SECOND)
            for name, gateway in self.gateways.items():
                heads[name] = heads.get(name) or _head(gateway)
            if not self._complaint(healed_ns, heads):
                return (self.scheduler.now_ns - healed_ns) / SECOND
        complaint = self._complaint(healed_ns, heads)
        raise BrokenError(f"{LIVENESS_S} s after all faults ended, {complaint}")

    def _complaint(self, healed_ns: int, heads: dict[str, int]) -> str:
        """What is not well yet."""
        late = [
            meter.meter_id
            for gateway in self.options.gateways
            for meter in gateway.meters
            if self.witness.last_read_ns.get(meter.meter_id, 0) <= healed_ns
        ]
        if late:
            return f"meters {late} were not read again and stored"
        for name, gateway in self.gateways.items():
            waiting = gateway.witness.unacknowledged(heads[name])
            if not heads[name] or waiting:
                return f"{waiting} reading sets of {name} are not acknowledged"
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
        for name, gateway in self.gateways.items():
            assert gateway.agent is not None
            if gateway.agent._writer.trouble:
                raise BrokenError(f"the journal of {name} still refuses")
            gateway.witness.check_end()
        self.witness.check_end()
        self.orders.check_end(self._final_of)
        for gateway in self.gateways.values():
            self._count_agent(gateway.agent)
        core = self.head_end.core
        if core is not None:
            self.marks["refused_at_head_end"] += core.ingest.counts["refused"]
            self.marks["stored_before"] += core.ingest.counts["duplicates"]
        self.marks["message_left"] += self.counters.count
        self.marks["several_gateways"] += len(self.gateways) > 1

    def _count_agent(self, agent: Any) -> None:
        """What the last agent went through, for the table of what must have happened."""
        self.marks["batch_sent_again"] += agent._session.outbox.resent_batches
        self.marks["refused_at_gateway"] += sum(agent._session.refusals.values())
        for worker in agent._workers.values():
            self.marks["stale_bytes"] += worker.line.counters.stale_bytes
            for watch in worker.watches.values():
                self.marks["stray_frame"] += watch.driver.counters.strays
                self.marks["request_repeated"] += watch.driver.counters.retries

    def _end_machines(self) -> None:
        for machine in self.machines:
            machine.will_restart = False
        self.scheduler.close()
        for gateway in self.gateways.values():
            gateway.let_go()


def _head(gateway: GatewayMachine) -> int:
    agent = gateway.agent
    return agent._writer.head if agent is not None and agent._session.outbox else 0


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
