"""What stands at each gateway of a world: lines, meters of every protocol, and their settings."""

import random
from typing import Any, NamedTuple

from protocols.dlt645.identifiers import EDITION_1997, identifier_of
from protocols.obis import Obis

# What a meter speaks; the edition of DL/T 645 is what it was built for, not what it is set to.
DLT645, DLT645_1997, MODBUS, MODBUS_TCP, CJT188 = (
    "dlt645-2007", "dlt645-1997", "modbus", "modbus-tcp", "cjt188"
)  # fmt: skip
PROTOCOLS = (DLT645, DLT645_1997, MODBUS, MODBUS_TCP, CJT188)
_ON_SERIAL_LINES = (DLT645, DLT645, DLT645, DLT645_1997, MODBUS, MODBUS, CJT188, CJT188)
_MODELS = ("eastron-sdm120", "eastron-sdm630", "gavazzi-em340")
_TCP_MODELS = ("eastron-sdm120", "gavazzi-em340")
# What CJ/T 188 meters show: in the words of their log, the code, the decimals and the unit.
FLOW_CODES = {
    "cold-water": (("count", "8-0:1.0.0*255", -2, "m3"), ("settled", "8-0:1.2.0*255", -2, "m3")),
    "hot-water": (("count", "9-0:1.0.0*255", -2, "m3"), ("settled", "9-0:1.2.0*255", -2, "m3")),
    "gas": (("count", "7-0:3.0.0*255", -2, "m3"), ("settled", "7-0:3.0.0*1", -2, "m3")),
    "heat": (
        ("count", "6-0:1.0.0*255", 1, "Wh"),
        ("settled", "6-0:1.2.0*255", 1, "Wh"),
        ("count", "6-0:2.0.0*255", -2, "m3"),
    ),
}
_QUANTITIES = ("1-0:1.8.0", "1-0:32.7.0", "1-0:31.7.0", "1-0:16.7.0", "1-0:52.7.0")
ORDERED = (  # what orders ask for: never among the quantities of a sweep
    "1-0:36.7.0", "1-0:56.7.0", "1-0:76.7.0", "1-0:33.7.0", "1-0:53.7.0", "1-0:73.7.0",
    "1-0:51.7.0", "1-0:71.7.0", "1-0:72.7.0", "1-0:14.7.0",
)  # fmt: skip
TCP_BAUD = 10_000_000  # a network's pace, as that of a line; a gateway's settings say 9600


class Line(NamedTuple):
    """A line of a gateway: its settings, how its adapter hands bytes on, whether it echoes."""

    settings: dict[str, Any]
    chunk: int
    has_echo: bool

    @property
    def port(self) -> str:
        """Its port, as the gateway names it: no other line of that gateway has it."""
        return str(self.settings["port"])

    @property
    def is_stream(self) -> bool:
        """A TCP connection: bytes come whole and in order, or not at all."""
        return self.port.startswith("socket://")


class Meter(NamedTuple):
    """One meter; `model` is a Modbus model, or what a CJ/T 188 meter measures. `line` is an index.
    `edition` is the setting of a DL/T 645 meter."""

    meter_id: str
    line: int
    protocol: str
    address: str
    model: str
    edition: str
    delay_s: float

    def ordered(self) -> tuple[str, ...]:
        """What orders may ask it for: what its request on the line tells apart from all else."""
        if self.edition == "2007":
            return ORDERED
        if self.edition == "1997":
            known = (one for one in ORDERED if identifier_of(Obis.from_text(one), EDITION_1997))
            return tuple(known)
        return ()


class Gateway(NamedTuple):
    """One gateway of a world, and what is wired to it."""

    gateway_id: str
    lines: tuple[Line, ...]
    meters: tuple[Meter, ...]
    period_s: int
    quantities: int
    journal: dict[str, int]
    uplink: dict[str, int]
    drift_ppm: int
    boots_unsynced: bool

    def meter_rows(self) -> list[dict[str, Any]]:
        """The tables [[meter]] of its settings."""
        return [self._row(one) for one in self.meters]

    def _row(self, meter: Meter) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": meter.meter_id,
            "line": self.lines[meter.line].settings["id"],
            "period_s": self.period_s,
        }
        if meter.protocol in (MODBUS, MODBUS_TCP):
            row |= {"protocol": meter.protocol, "unit": int(meter.address), "model": meter.model}
        elif meter.protocol == CJT188:
            row |= {"protocol": CJT188, "address": meter.address, "meter_type": meter.model}
            row["quantities"] = [obis for _, obis, _, _ in FLOW_CODES[meter.model]]
        else:
            row |= {"protocol": DLT645, "address": meter.address, "edition": meter.edition}
            row["quantities"] = list(_QUANTITIES[: self.quantities])
        return row


def draw_gateway(chance: random.Random, number: int, lines_max: int) -> Gateway:
    """The gateway of that number. Its meters have the addresses of every other gateway's: only
    their lines and their names tell them apart."""
    gateway_id = f"gw-{number + 1}"
    count = min(lines_max, chance.choice((1, 1, 2, 2, 3)))
    lines = [draw_line(chance, one) for one in range(count)]
    if count > 1 and chance.random() < 0.6:
        lines[-1] = _stream(lines[-1], count)
    meters_min = 2 * count if lines[-1].is_stream else 2  # two units behind a port may be mixed up
    number_of_meters = chance.randint(meters_min, 3 + count)
    meters = draw_meters(chance, gateway_id, tuple(lines), number_of_meters)
    return Gateway(
        gateway_id,
        tuple(lines),
        meters,
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
        drift_ppm=chance.choice((chance.randint(-100, 100), -150, 150)),
        boots_unsynced=chance.random() < 0.4,
    )


def draw_line(chance: random.Random, number: int) -> Line:
    """A serial line."""
    return Line(
        {
            "id": f"line-{number}",
            "port": f"/dev/ttySIM{number}",
            "baud": chance.choice((2400, 9600, 9600)),
            "response_timeout_ms": chance.choice((300, 600)),
            "gap_ms": chance.choice((100, 200)),
            "turnaround_ms": chance.choice((1, 20)),
            "retries": chance.choice((0, 1, 2)),
        },
        chance.choice((1, 5, 16)),
        chance.random() < 0.2,
    )


def _stream(line: Line, number: int) -> Line:
    """The same line as a TCP connection to a Modbus device."""
    port = f"socket://192.0.2.{number}:502"
    return Line(line.settings | {"port": port, "baud": 9600}, line.chunk, False)


def draw_meters(
    chance: random.Random, gateway_id: str, lines: tuple[Line, ...], count: int
) -> tuple[Meter, ...]:
    """Meters on these lines in turn; the first takes orders."""
    return tuple(
        _meter(chance, gateway_id, number, number % len(lines), lines) for number in range(count)
    )


def _meter(
    chance: random.Random, gateway_id: str, number: int, line: int, lines: tuple[Line, ...]
) -> Meter:
    protocol = chance.choice(_ON_SERIAL_LINES)
    if number == 0:
        protocol = DLT645
    if lines[line].is_stream:
        protocol = MODBUS_TCP
    auto = number > 0 and chance.random() < 0.25
    model = edition = ""
    address = str(number + 1)
    if protocol == MODBUS:
        model = chance.choice(_MODELS)
    elif protocol == MODBUS_TCP:
        model = chance.choice(_TCP_MODELS)
    elif protocol == CJT188:
        model = chance.choice(tuple(FLOW_CODES))
        address = f"202611880000{number + 1:02d}"
    else:
        address = f"2026110000{number + 1:02d}"
        edition = "auto" if auto else protocol[-4:]
    delay_s = chance.choice((0.02, 0.04, 0.1))
    meter_id = f"{gateway_id}-m-{number + 1}"
    return Meter(meter_id, line, protocol, address, model, edition, delay_s)
