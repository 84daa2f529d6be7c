"""How each fault strikes a world, and how all of them end."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from hil.faults import Fault
from hil.station import Station
from protocols.readings import TimeQuality
from tests.sim.broker import Weather
from tests.sim.bus import Bus
from tests.sim.links import Link
from tests.sim.machines import GatewayMachine, Machine
from tests.sim.options import Strike, storm
from tests.sim.scheduler import SECOND
from tests.sim.stations import Cjt188Station, ModbusRtuStation, ModbusTcpStation
from tests.sim.witness import DLT645_LATE_MS_MAX

if TYPE_CHECKING:
    from tests.sim.world import World

STEPS_MAX = 40  # until a machine that is to crash does
CRASH_IN_COMMIT = 0.6
HOURS_AWAY_MAX, HOURS_DEAD_MAX = 6, 12  # of the broker and of a meter, in the worlds of a day
CRASH_IN_ORDER, CUT_AT_ORDER, CRASH_WHILE_FULL = 0.15, 0.25, 0.6
# How late an answer may be, in ms. A DL/T 645 answer names its quantity, and may be of an earlier
# sweep; a Modbus RTU answer names nothing, so the driver waits LATE_ANSWER_S after a silence, and
# what comes later still nobody can tell from the right one. CJ/T 188 and Modbus TCP number theirs:
# one may come in the place of the next sweep's.
LATE_MS = (100, 400, 900, DLT645_LATE_MS_MAX)
RTU_LATE_MS = (100, 300, 450)
_PAUSE_MS = 10_500  # of the gateway before it asks a silent meter again, and what it waited before
_DAY_MS = 86_400_000
_ANSWER_FAULTS = ("late", "silent", "truncate", "checksum", "address", "noise_before",
                  "noise_inside", "noise_after")  # fmt: skip
_STREAM_FAULTS = ("late", "silent")  # what TCP carries comes whole


class Strikes:
    """Carries out the strikes of a world's options."""

    def __init__(self, world: "World", chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._table: dict[str, Callable[[float], None]] = {
            "gateway_power_cut": lambda size: self._crash(self._gateway(), True),
            "gateway_killed": lambda size: self._crash(self._gateway(), False),
            "gateway_stopped": lambda size: self._gateway().stop(),
            "gateway_journal_damaged": self._damage,
            "head_end_power_cut": lambda size: self._crash(world.head_end, True),
            "head_end_killed": lambda size: self._crash(world.head_end, False),
            "gateway_disk_full": lambda size: self._fill(self._gateway(), size),
            "head_end_disk_full": lambda size: self._fill(world.head_end, size),
            "gateway_disk_error": lambda size: self._spoil(self._gateway(), size),
            "head_end_disk_error": lambda size: self._spoil(world.head_end, size),
            "gateway_link_cut": lambda size: self._cut(self._gateway().link, True),
            "gateway_link_half_open": lambda size: self._cut(self._gateway().link, False),
            "head_end_link_cut": lambda size: self._cut(world.head_end.link, True),
            "head_end_link_half_open": lambda size: self._cut(world.head_end.link, False),
            "broker_down": lambda size: self._stop_broker(2 + 40 * size),
            "broker_away": lambda size: self._stop_broker(HOURS_AWAY_MAX * 3_600 * size),
            "broker_forgets": lambda size: world.broker.forget(),
            "storm": lambda size: self._weather(storm(self._chance), size),
            "messages_delayed": lambda size: self._change_weather(
                size, delay_ms=2_000 + round(size * 6_000), is_ordered=True
            ),
            "messages_reordered": lambda size: self._change_weather(
                size, delay_ms=100 + round(size * 1_000), is_ordered=False
            ),
            "messages_misrouted": lambda size: self._change_weather(
                size, misrouted=10 + round(50 * size)
            ),
            "clock_forward": lambda size: self._set_clock(5_000 + round(size * 3_600_000)),
            "clock_days_forward": lambda size: self._set_clock(3 * _DAY_MS),
            "clock_day_forward": lambda size: self._set_clock(_DAY_MS),
            "clock_back": lambda size: self._set_clock(-5_000 - round(size * 3_600_000)),
            "clock_day_back": lambda size: self._set_clock(-_DAY_MS),
            "clock_unsynced": self._lose_time,
            "adapter_unplugged": lambda size: self._unplug(size, False),
            "connection_cut": lambda size: self._unplug(size, True),
            "line_noise": self._make_noise,
            "meter_faults": self._spoil_many,
            "answers_late": lambda size: self._spoil_answers(size, "late"),
            "meters_mixed_up": self._mix_up,
            "meter_silent": lambda size: self._silence(10 + 100 * size),
            "meter_dead": lambda size: self._silence(HOURS_DEAD_MAX * 3_600 * size),
        }

    def strike(self, one: Strike) -> None:
        """Now."""
        self._world.note("strike", one.name)
        self._world.marks[one.name] += 1
        self._table[one.name](one.size)

    def heal(self) -> None:
        """All faults end; what is down comes up by itself."""
        world = self._world
        world.is_healed = True
        world.broker.is_up = True
        world.broker.weather = Weather()
        for machine in world.machines:
            machine.process.fuse = -1
            machine.disk.loses_journal = False
            machine.disk.is_full = False
            machine.disk.fails = 0
        for gateway in world.gateways.values():
            gateway.clock.error_ms = 0
            gateway.clock.quality = TimeQuality.NTP
        for bus in self._buses():
            bus.faults = []
            bus.misled = lambda station, data: station
            if not bus.is_plugged:
                bus.set_plugged(True)

    def _gateway(self) -> GatewayMachine:
        """Whom a fault hits."""
        return self._chance.choice(list(self._world.gateways.values()))

    def _buses(self) -> list[Bus]:
        return [bus for one in self._world.gateways.values() for bus in one.buses.values()]

    def _bus(self) -> Bus:
        return self._chance.choice(self._buses())

    def _later(self, seconds: float, undo: Callable[[], None]) -> None:
        self._world.scheduler.after(
            round(seconds * SECOND), lambda: None if self._world.is_healed else undo()
        )

    def _crash(self, machine: Machine, is_power_cut: bool) -> None:
        if self._chance.random() < CRASH_IN_COMMIT:
            machine.light_fuse(self._chance.randrange(3), is_power_cut, "commit")
        else:
            machine.light_fuse(self._chance.randrange(STEPS_MAX), is_power_cut)

    def order_heard(self, gateway_id: str) -> None:
        """A meter is asked what an order wants to know: a good moment to crash."""
        if not self._world.is_healed and self._chance.random() < CRASH_IN_ORDER:
            self._world.marks["crash_in_order"] += 1
            machine = self._world.gateways[gateway_id]
            machine.light_fuse(self._chance.randrange(4), self._chance.random() < 0.5)

    def order_given(self) -> None:
        """The order is on its way to the broker: a good moment for a connection to break."""
        world = self._world
        if not world.is_healed and self._chance.random() < CUT_AT_ORDER:
            world.marks["cut_at_order"] += 1
            delay_s = self._chance.uniform(0, world.broker.weather.delay_ms * 4 / 1000)
            self._later(delay_s, lambda: self._cut(world.head_end.link, False))

    def _damage(self, size: float) -> None:
        world = self._world
        if size < 0.6:  # what the old journal said is still on its way when the new one begins
            self._cut(world.head_end.link, False)
        gateway = self._gateway()
        gateway.disk.loses_journal = True
        self._later(4 * size, lambda: self._crash(gateway, True))

    def _fill(self, machine: Machine, size: float) -> None:
        machine.disk.is_full = True

        def undo() -> None:
            machine.disk.is_full = False

        lasts_s = 5 + 40 * size
        self._later(lasts_s, undo)
        if self._chance.random() < CRASH_WHILE_FULL:
            crash_s = lasts_s * self._chance.uniform(0.4, 0.95)
            self._later(crash_s, lambda: self._crash(machine, self._chance.random() < 0.5))

    def _spoil(self, machine: Machine, size: float) -> None:
        machine.disk.fails = 1 + round(5 * size)

    def _cut(self, link: Link | None, is_seen: bool) -> None:
        if link is not None:
            link.cut(is_seen)

    def _stop_broker(self, lasts_s: float) -> None:
        world = self._world
        world.broker.is_up = False
        for machine in (*world.gateways.values(), world.head_end):
            self._cut(machine.link, True)

        def undo() -> None:
            world.broker.is_up = True

        self._later(lasts_s, undo)

    def _change_weather(self, size: float, **changes: int) -> None:
        self._weather(self._world.broker.weather._replace(**changes), size)

    def _weather(self, weather: Weather, size: float) -> None:
        """For a while; then it is as it was drawn."""
        world = self._world
        world.broker.weather = weather

        def undo() -> None:
            world.broker.weather = world.options.weather

        self._later(10 + 60 * size, undo)

    def _set_clock(self, step_ms: int) -> None:
        self._gateway().clock.error_ms += step_ms

    def _lose_time(self, size: float) -> None:
        clock = self._gateway().clock
        clock.quality = self._chance.choice((TimeQuality.UNSYNCED, TimeQuality.RTC))

        def undo() -> None:
            clock.quality = TimeQuality.NTP
            clock.error_ms = 0

        self._later(20 + 100 * size, undo)

    def _unplug(self, size: float, is_stream: bool) -> None:
        """A serial adapter, or the connection to a Modbus TCP device; not every world has one."""
        buses = [one for one in self._buses() if one.is_stream == is_stream]
        if not buses:
            return
        bus = self._chance.choice(buses)
        bus.set_plugged(False)
        self._later(1 + 30 * size, lambda: bus.set_plugged(True))

    def _make_noise(self, size: float) -> None:
        bus = self._chance.choice([one for one in self._buses() if not one.is_stream])
        for _ in range(1 + round(20 * size)):
            noise = self._chance.randbytes(self._chance.randint(1, 12))
            self._later(self._chance.uniform(0, 20), lambda noise=noise: bus.make_noise(noise))

    def _spoil_many(self, size: float) -> None:
        for kind in self._chance.sample(_ANSWER_FAULTS, 3):
            self._spoil_answers(size / 2, kind)

    def _spoil_answers(self, size: float, kind: str) -> None:
        bus = self._bus()
        if not bus.stations or (bus.is_stream and kind not in _STREAM_FAULTS):
            return
        station = self._chance.choice(bus.stations)
        late_ms = self._chance.choice(_late_ms(station, bus))
        whose = station.name if kind == "late" else ""
        rule = Fault(kind, whose, percent=round(10 + 60 * size), size=3, late_ms=late_ms)
        bus.faults = [*bus.faults, rule]

        def undo() -> None:
            bus.faults = [one for one in bus.faults if one is not rule]

        self._later(5 + 60 * size, undo)

    def _mix_up(self, size: float) -> None:
        bus = self._bus()

        def misled(station: Station, data: bytes) -> Station:
            if self._chance.random() > 0.3 + 0.5 * size:
                return station
            kin = [one for one in bus.stations if type(one) is type(station)]
            return self._chance.choice(kin)

        bus.misled = misled

        def undo() -> None:
            bus.misled = lambda station, data: station

        self._later(5 + 40 * size, undo)

    def _silence(self, lasts_s: float) -> None:
        bus = self._bus()
        if not bus.stations:
            return
        rule = Fault("silent", station=self._chance.choice(bus.stations).name)
        bus.faults = [rule, *bus.faults]

        def undo() -> None:
            bus.faults = [one for one in bus.faults if one is not rule]

        self._later(lasts_s, undo)


def _late_ms(station: Station, bus: Bus) -> tuple[int, ...]:
    if isinstance(station, ModbusRtuStation):
        return RTU_LATE_MS
    if isinstance(station, (Cjt188Station, ModbusTcpStation)):
        # A meter that fell silent is probed at the first period after a pause.
        probe_ms = -(-_PAUSE_MS // bus.period_ms) * bus.period_ms
        return (*LATE_MS, bus.period_ms, probe_ms, probe_ms)
    return LATE_MS
