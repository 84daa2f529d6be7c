"""What one seed makes of a world: its size, its settings, and the faults that will strike."""

import random
from typing import NamedTuple

from tests.sim.broker import Weather
from tests.sim.equipment import Gateway, Line, draw_gateway, draw_line, draw_meters

FAULTS = {  # name -> how likely against the others
    "gateway_power_cut": 6,
    "gateway_killed": 4,
    "gateway_stopped": 1,
    "gateway_journal_damaged": 3,
    "head_end_power_cut": 5,
    "head_end_killed": 3,
    "gateway_disk_full": 4,
    "head_end_disk_full": 2,
    "gateway_disk_error": 2,
    "head_end_disk_error": 2,
    "gateway_link_cut": 3,
    "gateway_link_half_open": 3,
    "head_end_link_cut": 2,
    "head_end_link_half_open": 2,
    "broker_down": 2,
    "broker_forgets": 2,
    "storm": 4,
    "messages_delayed": 3,
    "messages_reordered": 3,
    "messages_misrouted": 3,
    "clock_forward": 2,
    "clock_days_forward": 1,
    "clock_day_forward": 2,
    "clock_back": 2,
    "clock_day_back": 2,
    "clock_unsynced": 3,
    "adapter_unplugged": 2,
    "connection_cut": 3,
    "line_noise": 3,
    "meter_faults": 6,
    "answers_late": 4,
    "meters_mixed_up": 3,
    "meter_silent": 3,
}
OF_EACH_DAY = ("gateway_killed", "clock_day_forward", "clock_day_back", "meter_silent")
DAY_S, DAY_METERS, DAY_LINES, DAY_STRIKES = 86_400, 20, 2, 60
HOLDS_S = (2, 10, 40)  # the product's hour is longer than such a world lasts
DAY_HOLD_S = 3_600


class Strike(NamedTuple):
    """One fault; `size` 0..1 says how bad."""

    at_s: int
    name: str
    size: float


class Options(NamedTuple):
    """One world."""

    seed: int
    chaos_s: int
    gateways: tuple[Gateway, ...]
    queue_messages: int
    weather: Weather
    hold_s: int  # how long rows wait for their time before they go without
    strikes: tuple[Strike, ...]
    orders: tuple[tuple[int, str, str, int], ...]  # at s, meter, OBIS, valid for s

    def described(self) -> str:
        """All of it, for a person."""
        rows = [
            f"  {name} = {value}"
            for name, value in self._asdict().items()
            if name not in ("gateways", "strikes")
        ]
        for gateway in self.gateways:
            rows.append(f"  {gateway.gateway_id}")
            for name, value in gateway._asdict().items():
                parts = value if name in ("lines", "meters") else [value]
                rows += [f"    {name}: {part}" for part in parts]
        rows += [f"  at {one.at_s:4d} s {one.name} ({one.size:.2f})" for one in self.strikes]
        return "\n".join(rows)


def draw(seed: int) -> Options:
    """The world of a seed."""
    chance = random.Random(seed)
    count = chance.choice((1, 1, 2, 2, 3))
    lines_max = 3 if count == 1 else 2
    gateways = tuple(draw_gateway(chance, number, lines_max) for number in range(count))
    chaos_s = chance.choice((120, 180, 240, 360))
    return Options(
        seed=seed,
        chaos_s=chaos_s,
        gateways=gateways,
        queue_messages=chance.choice((10, 10, 1000)),
        weather=_weather(chance, 1),
        hold_s=random.Random(f"hold {seed}").choice(HOLDS_S),
        strikes=_strikes(chance, chaos_s),
        orders=_orders(chance, gateways, chaos_s),
    )


def _weather(chance: random.Random, badness: int) -> Weather:
    return Weather(
        lost=chance.choice((0, 0, 2, 5)) * badness,
        repeated=chance.choice((0, 3, 10)) * badness,
        held=chance.choice((0, 0, 3)) * badness,
        delay_ms=chance.choice((5, 30, 200)) * badness,
        held_ms=chance.choice((5_000, 60_000)),
        keepalive_s=chance.choice((5, 20, 60)),
        is_ordered=chance.random() < 0.5,
    )


def storm(chance: random.Random) -> Weather:
    """Much worse for a while."""
    return _weather(chance, 4)


def _strikes(chance: random.Random, chaos_s: int) -> tuple[Strike, ...]:
    names, weights = tuple(FAULTS), tuple(FAULTS.values())
    kinds = chance.sample(names, chance.randint(3, len(names)))  # swarm: not all in each world
    some = [weight if name in kinds else 0 for name, weight in zip(names, weights, strict=True)]
    count = chance.randint(chaos_s // 40, chaos_s // 10)
    drawn = chance.choices(names, some, k=count)
    return tuple(sorted(_strike(chance, name, chaos_s) for name in drawn))


def _strike(chance: random.Random, name: str, chaos_s: int) -> Strike:
    # A young journal is the harder case: what was said of the old one could be meant for it.
    last_s = 40 if name == "gateway_journal_damaged" and chance.random() < 0.7 else chaos_s
    return Strike(chance.randrange(5, last_s), name, chance.random())


def _orders(
    chance: random.Random, gateways: tuple[Gateway, ...], chaos_s: int
) -> tuple[tuple[int, str, str, int], ...]:
    """Each asks for what no other does, so that the line tells which one was carried out."""
    pairs = [
        (meter.meter_id, obis)
        for gateway in gateways
        for meter in gateway.meters
        for obis in meter.ordered()
    ]
    some = chance.sample(pairs, min(len(pairs), chance.randint(0, 12)))
    return tuple(
        sorted(
            (chance.randrange(5, chaos_s), *pair, chance.choice((5, 20, 60, 120))) for pair in some
        )
    )


def draw_day(seed: int) -> Options:
    """A day of 20 meters on two lines, read every quarter of an hour, with a few faults an hour."""
    chance = random.Random(seed)
    lines = tuple(_day_line(chance, number) for number in range(DAY_LINES))
    gateway = draw_gateway(chance, 0, DAY_LINES)
    gateway = gateway._replace(
        lines=lines,
        meters=draw_meters(chance, gateway.gateway_id, lines, DAY_METERS),
        period_s=900,
        journal={"archive_days": 1, "ballast_kb": 64, "size_mb_max": 64},
        uplink={"ack_timeout_ms": 15_000},
    )
    names, weights = tuple(FAULTS), tuple(FAULTS.values())
    strikes = [
        Strike(chance.randrange(60, DAY_S - 600), name, chance.random())
        for name in chance.choices(names, weights, k=DAY_STRIKES) + list(OF_EACH_DAY)
    ]
    strikes += [
        Strike(chance.randrange(60, DAY_S // 2), name, size)
        for name, size in (("broker_away", 1.0), ("broker_away", 0.3), ("meter_dead", 0.8))
    ]
    return draw(seed)._replace(
        chaos_s=DAY_S,
        gateways=(gateway,),
        weather=_weather(chance, 1),
        hold_s=DAY_HOLD_S,
        strikes=tuple(sorted(strikes)),
        orders=_orders(chance, (gateway,), DAY_S),
    )


def _day_line(chance: random.Random, number: int) -> Line:
    line = draw_line(chance, number)
    return Line(line.settings | {"retries": 2}, 16, False)
