"""`busbar-edge budget`: what each register group takes of its line, before anything runs."""

import argparse
import json
from pathlib import Path
from typing import Any

from edge.clock import SystemClock
from edge.collect.line_plan import plan_line
from edge.collect.shares import FULL, TIGHT, Share, load_of
from edge.meters.learned import Learned
from edge.meters.models import load_models
from edge.settings import Settings
from edge.table import table_of

DONE, FULL_LINE = 0, 1  # exit codes
_COLUMNS = {
    "line": "line_id",
    "meter": "meter_id",
    "group": "group",
    "exchanges": "exchanges",
    "bytes out": "sent",
    "bytes in": "received",
    "sweep (s)": "sweep",
    "period (s)": "period_s",
    "share (%)": "percent",
}


def add(commands: Any) -> None:
    """Adds the command to those of `busbar-edge`."""
    parser = commands.add_parser("budget", help="what the schedule takes of each line's time")
    parser.add_argument("--config", type=Path, required=True, help="edge.toml")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Exit code 1 when a line has no time for its schedule."""
    models = load_models(settings.meters, settings.path)
    learned = Learned(settings.gateway["state_dir"], SystemClock())
    by_line: dict[str, list[Share]] = {
        line["id"]: plan_line(line, settings, models, learned).shares() for line in settings.lines
    }
    loads = {line_id: load_of(shares) for line_id, shares in by_line.items()}
    if arguments.json:
        print(
            json.dumps(
                {
                    "groups": [share._asdict() for rows in by_line.values() for share in rows],
                    "lines": loads,
                },
                indent=2,
            )
        )
    else:
        rows = [_row(share) for shares in by_line.values() for share in shares]
        print(table_of(_COLUMNS, rows) + "\n")
        for line_id, load in loads.items():
            print(f"line {line_id}: {100 * load:.1f} % of its time{_verdict(load)}")
    return FULL_LINE if any(load > FULL for load in loads.values()) else DONE


def _row(share: Share) -> dict[str, object]:
    return share._asdict() | {
        "sweep": f"{share.sweep_s:.2f}",
        "period_s": f"{share.period_s:g}",
        "percent": f"{100 * share.share:.1f}",
    }


def _verdict(load: float) -> str:
    if load > FULL:
        return ": the periods cannot be kept"
    return ": little room for retries and orders" if load > TIGHT else ""
