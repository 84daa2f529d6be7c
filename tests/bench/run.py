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
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import codec, gateway, ingest, line, modbus, pacing, power, sim


class Limit(NamedTuple):
    """What a figure must keep: at least or at most `value`."""

    value: float
    at_least: bool


PARTS: dict[str, Callable[[], Iterator[tuple[str, float, str]]]] = {
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
    "power_cut_rows_lost_full": Limit(0, False),
    "sim_faults_covered": Limit(1.0, True),
    "sim_seconds_per_second": Limit(100, True),
}


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", choices=tuple(PARTS), help="measure one part")
    only = parser.parse_args().only
    all_hold = True
    for part, measure in PARTS.items():
        if only not in (None, part):
            continue
        for figure, value, unit in measure():
            row = _row(figure, value, unit)
            all_hold &= row["holds"] is not False
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
            sys.stdout.flush()
    return 0 if all_hold else 1


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
