"""A world in operation: the lines, meters and faults of one scenario, with real time."""

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from hil.cjt188_meter import Cjt188Meter
from hil.faults import Fault
from hil.line import Line
from hil.load import Load
from hil.meter import Dlt645Meter
from hil.meter_1997 import Dlt645Meter1997
from hil.meter_judgements import Limits
from hil.meter_port import MeterPort
from hil.modbus_station import ModbusMeter, ModbusStation
from hil.network import Network, Truth
from hil.scenario import (
    BLANK,
    DLT645_1997,
    MeterPlan,
    Scenario,
    Settings,
    find_scenario,
    read_scenario,
)
from protocols.cjt188.settings import read_dialect
from protocols.dlt645.relay import ACTION_BY_NAME, RelayTerms
from protocols.errors import BusbarError, SettingError

Log = Callable[[dict[str, object]], None]
Meter = Dlt645Meter | Dlt645Meter1997 | ModbusMeter | Cjt188Meter

WATCH_INTERVAL_S = 1.0  # how soon a line that broke down ends the program
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def utc_ms() -> int:
    """UTC in ms, from this machine's clock."""
    return time.time_ns() // 1_000_000


class World:
    """Builds everything at once; `start` and `stop` as often as `with` does: once.

    `clock` gives UTC ms; `log` gets one record for each value that a meter answered. The lines are
    in `lines` by id, the meters in `meters` by (line id, address or unit) and the loads of the
    electric ones in `loads` by LINE/NUMBER, for tests to reach.
    """

    def __init__(
        self, scenario: Scenario, clock: Callable[[], int] = utc_ms, log: Log | None = None
    ) -> None:
        """SettingError when a fixed register does not fit its meter."""
        self.meters: dict[tuple[str, str], Meter] = {}
        self.lines: dict[str, Line] = {}
        self._stations: list[tuple[ModbusStation, Line]] = []
        self._stack = ExitStack()
        self._clock = clock
        self._network = Network(scenario)
        self.loads = {name: self._network.load(name) for name in scenario.electric()}
        for number, plan in enumerate(scenario.meters, 1):
            line_log = _with_line(log, plan.settings["line"])
            load = self.loads.get(f"{plan.settings['line']}/{plan.name}")
            meter = _build_meter(plan, load, clock, line_log)
            _pin(meter, plan, f"{scenario.where}: meter {number}")
            self.meters[plan.settings["line"], plan.name] = meter
        for settings in scenario.lines:
            self.lines[settings["id"]] = self._build_line(scenario, settings)

    def _build_line(self, scenario: Scenario, settings: Settings) -> Line:
        line = Line(
            scenario.base / settings["link"],
            baud=settings["baud"],
            paced=settings["paced"],
            echo=settings["echo"],
            turnaround_s=settings["turnaround_ms"] / 1000,
            seed=settings["seed"],
            follows_tty=settings["follows_tty"],
        )
        line.set_faults(
            Fault(**{key: value for key, value in fault.items() if key != "line"})
            for fault in scenario.faults
            if fault["line"] == settings["id"]
        )
        here = [meter for (line_id, _), meter in self.meters.items() if line_id == settings["id"]]
        for meter in here:
            if isinstance(meter, MeterPort | Cjt188Meter):
                line.attach(meter)
        units = [meter for meter in here if isinstance(meter, ModbusMeter)]
        if units:
            self._stations.append((ModbusStation(units), line))
        return line

    def start(self) -> None:
        """Opens every line and serves every meter; what began is ended again when one fails."""
        for load in self.loads.values():
            load.shown(self._clock())  # the past is added up now, not before a meter's first answer
        with ExitStack() as stack:
            for line in self.lines.values():
                stack.enter_context(line)
            for station, line in self._stations:
                path = line.attach_external(
                    station.name, accepts=station.accepts, delay_of=station.delay_of
                )
                station.start(path, line.baud)
                stack.callback(station.stop)  # before its line: a server hates a hung-up tty
            self._stack = stack.pop_all()

    def stop(self) -> None:
        """Ends everything and removes the links. May be called twice."""
        self._stack.close()

    def is_alive(self) -> bool:
        """Whether every line still works."""
        return all(line.is_alive() for line in self.lines.values())

    def statistics(self) -> dict[str, dict[str, object]]:
        """By line id: totals since the start (see `LineStatistics`)."""
        totals = {}
        for line_id, line in self.lines.items():
            one = line.statistics()
            totals[line_id] = asdict(one) | {"busy_s": one.busy_s}
        return totals

    def truth(self, begin_ms: int, end_ms: int) -> dict[str, Truth]:
        """By LINE/NUMBER, see `Network.truth`."""
        return self._network.truth(begin_ms, end_ms)


def _build_meter(
    plan: MeterPlan, load: Load | None, clock: Callable[[], int], log: Log | None
) -> Meter:
    settings = plan.settings
    if load is None:
        return Cjt188Meter(
            settings["address"],
            read_dialect(settings, plan.name),
            clock,
            hourly=settings["hourly"],
            response_delay_s=settings["response_delay_ms"] / 1000,
            preamble=settings["preamble"],
            log=log,
        )
    delay_s = settings["response_delay_ms"] / 1000
    if plan.model is not None:
        unit = settings["unit"]
        return ModbusMeter(unit, plan.model, load, clock, response_delay_s=delay_s, log=log)
    offset_ms = settings["utc_offset_min"] * 60_000
    if settings["protocol"] == DLT645_1997:
        habits = ("echoes_wildcard", "answers_broadcast", "has_separators")
        return Dlt645Meter1997(
            settings["address"],
            load,
            clock,
            response_delay_s=delay_s,
            preamble=settings["preamble"],
            cut=settings["cut"],
            utc_offset_ms=offset_ms,
            log=log,
            **{habit: settings[habit] for habit in habits},
        )
    passwords = {int(one[0]): one[2:] for one in settings["passwords"]}
    actions = tuple(ACTION_BY_NAME[name] for name in settings["relay_actions"])
    return Dlt645Meter(
        settings["address"],
        load,
        clock,
        response_delay_s=delay_s,
        preamble=settings["preamble"],
        cut=settings["cut"],
        utc_offset_ms=offset_ms,
        refuses=tuple(settings["refuses"]),
        log=log,
        clock_offset_ms=settings["clock_offset_s"] * 1000,
        clock_drift_ppm=settings["clock_drift_ppm"],
        passwords=passwords,
        relay_terms=RelayTerms(actions, tuple(passwords), False),
        limits=Limits(*(1000 * settings[key] for key in ("voltage_v", "base_a", "max_a"))),
        has_local_account=settings["has_local_account"],
        quirks=settings["quirks"],
    )


def _pin(meter: Meter, plan: MeterPlan, where: str) -> None:
    for key, value in plan.registers.items():
        try:
            if isinstance(meter, MeterPort):
                meter.pin(key, None if value == BLANK else value)
            elif isinstance(meter, ModbusMeter) and isinstance(value, int):
                meter.pin(key, value)
            else:
                raise SettingError("a Modbus register takes a whole number")
        except (BusbarError, ValueError) as error:
            raise SettingError(
                f"{where}: registers: {key} = {value!r} is not allowed; {error}"
            ) from None


def _with_line(log: Log | None, line_id: str) -> Log | None:
    if log is None:
        return None
    return lambda record: log({"line": line_id} | record)


def run(
    name: Path, log_path: Path | None = None, die_with_parent: bool = False, seed: int = 0
) -> int:
    """Runs the world of a file or a shipped one, its seeds moved by `seed`, until SIGTERM (0),
    Ctrl-C (KeyboardInterrupt) or a line that broke down (1). Prints a JSON line with its ttys when
    it is ready, and one at the end: the lines' totals and, of the time in between, the truth behind
    each meter that follows a course.

    SettingError for a wrong file, before anything is opened.
    """
    if die_with_parent:
        bind_to_parent()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    path, links_folder = find_scenario(name)
    scenario = read_scenario(path, seed, links_folder)
    with ExitStack() as stack:
        file = stack.enter_context(log_path.open("a", buffering=1)) if log_path else None
        world = World(scenario, log=_file_log(file) if file else None)
        world.start()
        stack.callback(world.stop)
        links = {line_id: str(line.link) for line_id, line in world.lines.items()}
        begin_ms = utc_ms()
        _print({"ready": True, "lines": links})
        try:
            while world.is_alive() and not ended.wait(WATCH_INTERVAL_S):
                pass
        finally:
            alive = world.is_alive()
            if alive:
                totals: dict[str, object] = {"lines": world.statistics()}
                truth = world.truth(begin_ms, utc_ms())
                if truth:
                    totals["truth"] = {name: one._asdict() for name, one in truth.items()}
                _print(totals)
    return 0 if alive else 1


def bind_to_parent() -> None:
    """Asks the kernel to end this process (SIGTERM) when its parent ends."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it ended in between, and the signal will not come
        os.kill(os.getpid(), signal.SIGTERM)


def _print(message: dict[str, object]) -> None:
    with suppress(BrokenPipeError):  # nobody reads any more: the clean-up goes on
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def _file_log(file: TextIO) -> Log:
    lock = threading.Lock()

    def write(record: dict[str, object]) -> None:
        line = json.dumps(record)
        with lock:
            file.write(line + "\n")

    return write
