"""What one seed makes of a world: its size, its settings, and the faults that will strike."""

import random
from typing import Any, NamedTuple

from tests.sim.broker import Weather

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
    "clock_forward": 2,
    "clock_days_forward": 1,
    "clock_back": 2,
    "clock_unsynced": 3,
    "adapter_unplugged": 2,
    "line_noise": 3,
    "meter_faults": 6,
    "answers_late": 4,
    "meters_mixed_up": 3,
    "meter_silent": 3,
}
DAY_S, DAY_METERS, DAY_LINES, DAY_STRIKES = 86_400, 20, 2, 60
_MODELS = ("eastron-sdm120", "eastron-sdm630", "gavazzi-em340")
_QUANTITIES = ("1-0:1.8.0", "1-0:32.7.0", "1-0:31.7.0", "1-0:16.7.0", "1-0:52.7.0")
ORDERED = (  # what orders ask for: never among the quantities of a sweep
    "1-0:36.7.0", "1-0:56.7.0", "1-0:76.7.0", "1-0:33.7.0", "1-0:53.7.0", "1-0:73.7.0",
    "1-0:51.7.0", "1-0:71.7.0", "1-0:72.7.0", "1-0:14.7.0",
)  # fmt: skip


class Meter(NamedTuple):
    """One meter; `model` "" is DL/T 645."""

    meter_id: str
    line: int
    address: str
    model: str
    delay_s: float


class Strike(NamedTuple):
    """One fault; `size` 0..1 says how bad."""

    at_s: int
    name: str
    size: float


class Options(NamedTuple):
    """One world."""

    seed: int
    chaos_s: int
    lines: tuple[dict[str, Any], ...]
    chunks: tuple[int, ...]
    echoes: tuple[bool, ...]
    meters: tuple[Meter, ...]
    period_s: int
    quantities: int
    journal: dict[str, int]
    uplink: dict[str, int]
    queue_messages: int
    drift_ppm: int
    boots_unsynced: bool
    weather: Weather
    strikes: tuple[Strike, ...]
    orders: tuple[tuple[int, str, str, int], ...]  # at s, meter, OBIS, valid for s

    def described(self) -> str:
        """All of it, for a person."""
        rows = [
            f"  {name} = {value}" for name, value in self._asdict().items() if name != "strikes"
        ]
        rows += [f"  at {one.at_s:4d} s {one.name} ({one.size:.2f})" for one in self.strikes]
        return "\n".join(rows)

    def quantities_read(self) -> tuple[str, ...]:
        """By each DL/T 645 meter, in each sweep."""
        return _QUANTITIES[: self.quantities]


def draw(seed: int) -> Options:
    """The world of a seed."""
    chance = random.Random(seed)
    count = chance.choice((1, 1, 1, 2, 2, 3))
    lines = tuple(_line(chance, number) for number in range(count))
    meters = tuple(_meter(chance, number, count) for number in range(chance.randint(2, 3 + count)))
    chaos_s = chance.choice((120, 180, 240, 360))
    return Options(
        seed=seed,
        chaos_s=chaos_s,
        lines=lines,
        chunks=tuple(chance.choice((1, 5, 16)) for _ in lines),
        echoes=tuple(chance.random() < 0.2 for _ in lines),
        meters=meters,
        period_s=chance.choice((5, 10, 10, 20)),
        quantities=chance.randint(2, 5),
        journal={
            "commit_sets": chance.choice((1, 3, 10, 50)),
            "commit_interval_ms": chance.choice((50, 1_000, 5_000)),
            "archive_days": 1,
            "ballast_kb": chance.choice((0, 64, 64)),
            "size_mb_max": 16,
        },
        uplink={
            "batch_sets": chance.choice((1, 5, 20, 50)),
            "linger_ms": chance.choice((500, 3_000, 15_000)),
            "window": chance.choice((2, 4, 8)),
            "ack_timeout_ms": chance.choice((2_000, 5_000, 15_000)),
        },
        queue_messages=chance.choice((10, 10, 1000)),
        drift_ppm=chance.randint(-150, 150),
        boots_unsynced=chance.random() < 0.4,
        weather=_weather(chance, 1),
        strikes=_strikes(chance, chaos_s),
        orders=_orders(chance, meters, chaos_s),
    )


def _line(chance: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": f"line-{number}",
        "port": f"/dev/ttySIM{number}",
        "baud": chance.choice((2400, 9600, 9600)),
        "response_timeout_ms": chance.choice((300, 600)),
        "gap_ms": chance.choice((100, 200)),
        "turnaround_ms": chance.choice((1, 20)),
        "retries": chance.choice((0, 1, 2)),
    }


def _meter(chance: random.Random, number: int, lines: int) -> Meter:
    model = chance.choice(("", "", "", *_MODELS))
    address = str(number + 1) if model else f"2026110000{number + 1:02d}"
    delay_s = chance.choice((0.02, 0.04, 0.1))
    return Meter(f"m-{number + 1}", number % lines, address, model, delay_s)


def _weather(chance: random.Random, badness: int) -> Weather:
    return Weather(
        lost=chance.choice((0, 0, 2, 5)) * badness,
        repeated=chance.choice((0, 3, 10)) * badness,
        held=chance.choice((0, 0, 3)) * badness,
        delay_ms=chance.choice((5, 30, 200)) * badness,
        held_ms=chance.choice((5_000, 60_000)),
        keepalive_s=chance.choice((5, 20, 60)),
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
    chance: random.Random, meters: tuple[Meter, ...], chaos_s: int
) -> tuple[tuple[int, str, str, int], ...]:
    """Each asks for what no other does, so that the line tells which one was carried out."""
    pairs = [(one.meter_id, obis) for one in meters if not one.model for obis in ORDERED]
    some = chance.sample(pairs, min(len(pairs), chance.randint(0, 12)))
    return tuple(
        sorted(
            (chance.randrange(5, chaos_s), *pair, chance.choice((5, 20, 60, 120))) for pair in some
        )
    )


def draw_day(seed: int) -> Options:
    """A day of 20 meters on two lines, read every quarter of an hour, with a few faults an hour."""
    chance = random.Random(seed)
    meters = tuple(_meter(chance, number, DAY_LINES) for number in range(DAY_METERS))
    names, weights = tuple(FAULTS), tuple(FAULTS.values())
    strikes = [
        Strike(chance.randrange(60, DAY_S - 600), name, chance.random())
        for name in chance.choices(names, weights, k=DAY_STRIKES)
    ]
    lines = tuple(_line(chance, number) | {"retries": 2} for number in range(DAY_LINES))
    return draw(seed)._replace(
        chaos_s=DAY_S,
        lines=lines,
        chunks=(16,) * DAY_LINES,
        echoes=(False,) * DAY_LINES,
        meters=meters,
        period_s=900,
        journal={"archive_days": 1, "ballast_kb": 64, "size_mb_max": 64},
        uplink={"ack_timeout_ms": 15_000},
        weather=_weather(chance, 1),
        strikes=tuple(sorted(strikes)),
        orders=_orders(chance, meters, DAY_S),
    )
