"""`make bench`: the figures that Busbar claims, each as one JSON line.

    {"figure": …, "value": …, "unit": …, "limit": …, "ratio": …, "holds": …}

`ratio` is value / limit, null for a limit of 0; `holds` says whether the value is on the right side
of the limit. Both are null for a figure that is told and has no limit. Comparisons (decode, ingest)
run both sides in the same process, turn by turn, because these machines are shared. Exit code 0
when every figure holds, 1 otherwise.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import (
    codec,
    drain,
    gateway,
    ingest,
    line,
    lines64,
    modbus,
    order_click,
    order_latency,
    order_life,
    pacing,
    power,
    sim,
    soak,
)


class Limit(NamedTuple):
    """What a figure must keep: at least or at most `value`."""

    value: float
    at_least: bool


Measure = Callable[[], Iterator[tuple[str, float, str]]]
PARTS: dict[str, Measure] = {
    "pacing": pacing.measure,
    "line": line.measure,
    "decode": codec.measure_decode,
    "encode": codec.measure_encode,
    "modbus": modbus.measure,
    "envelope": codec.measure_envelope,
    "gateway": gateway.measure,
    "power": power.measure,
    "sim": sim.measure,
    "ingest": ingest.measure,
    "drain": drain.measure,
    "lines64": lines64.measure,
    "orders": order_latency.measure,
    "order_life": order_life.measure,
    "order_click": order_click.measure,
    "soak": soak.measure,
}
LIMITS = {
    "line_efficiency_2400": Limit(0.97, True),
    "line_efficiency_9600": Limit(0.97, True),
    "decode_speed_over_dlt645": Limit(10, True),
    "encode_speed_over_dlt645": Limit(10, True),
    "modbus_decode_speed_over_pymodbus": Limit(1, True),
    "sealed_bytes_per_reading_10x5": Limit(3.0, False),
    "sealed_bytes_per_reading_50x1": Limit(5.0, False),
    "gateway_resident": Limit(64, False),
    "gateway_cpu_per_reading": Limit(150, False),
    "gateway_disk_per_reading": Limit(150, False),
    "ingest_speed_over_executemany": Limit(0.5, True),
    "drain_seven_days": Limit(60, False),
    "drain_live_delay_max": Limit(5, False),
    "lines64_efficiency_worst": Limit(0.97, True),
    "lines64_gateway_cpu": Limit(10, False),
    "lines64_gateway_resident": Limit(80, False),
    "order_overhead_p99": Limit(50, False),
    "order_life_speed": Limit(10_000, True),
    "order_click_idle": Limit(250, False),
    "order_click_saturated": Limit(250, False),
    "soak_memory_slope": Limit(1.0, False),
    "power_cut_rows_lost_full": Limit(0, False),
    "sim_faults_covered": Limit(1.0, True),
    "sim_seconds_per_second": Limit(100, True),
}


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", choices=tuple(PARTS), help="measure one part")
    parser.add_argument(
        "--soak",
        type=_seconds,
        default=soak.SECONDS_DEFAULT,
        metavar="SECONDS",
        help=f"how long the soak takes; default: {soak.SECONDS_DEFAULT}",
    )
    arguments = parser.parse_args()
    only = arguments.only
    parts: dict[str, Measure] = {**PARTS, "soak": partial(soak.measure, arguments.soak)}
    all_hold = True
    for part, measure in parts.items():
        if only not in (None, part):
            continue
        for figure, value, unit in measure():
            row = _row(figure, value, unit)
            all_hold &= row["holds"] is not False
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
            sys.stdout.flush()
    return 0 if all_hold else 1


def _seconds(text: str) -> int:
    """A whole number; argparse turns the error into a sentence."""
    if not text.isdecimal() or not soak.SECONDS_MIN <= int(text) <= soak.SECONDS_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; a whole number from {soak.SECONDS_MIN} to {soak.SECONDS_MAX}"
        )
    return int(text)


def _row(figure: str, value: float, unit: str) -> dict[str, object]:
    row: dict[str, object] = {"figure": figure, "value": round(value, 3), "unit": unit}
    limit = LIMITS.get(figure)
    if limit is None:
        return {**row, "limit": None, "ratio": None, "holds": None}
    ratio = round(value / limit.value, 3) if limit.value else None
    holds = value >= limit.value if limit.at_least else value <= limit.value
    return {**row, "limit": limit.value, "ratio": ratio, "holds": holds}


if __name__ == "__main__":
    sys.exit(main())
