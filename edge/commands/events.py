"""`busbar-edge events`: the last events of the running gateway's journal."""

import argparse
import json
from pathlib import Path
from typing import Any

from edge.commands.times import utc_ms
from edge.local.client import ask_once
from edge.local.lines import EVENTS_MAX
from edge.settings import Settings
from edge.table import table_of, time_text
from protocols.errors import SettingError
from protocols.events import SEVERITIES

SHOWN = 50  # when no --limit is given
_COLUMNS = {
    "time": "time",
    "severity": "severity",
    "kind": "kind",
    "of": "subject",
    "detail": "detail",
}


def add(commands: Any) -> None:
    """Adds the command to those of `busbar-edge`."""
    parser = commands.add_parser("events", help="what happened to gateway, lines and meters")
    parser.add_argument("--config", type=Path, required=True, help="edge.toml")
    parser.add_argument("--severity", choices=SEVERITIES, help="this severe or worse")
    parser.add_argument("--since", metavar="ISO", help="of this time or later, UTC")
    parser.add_argument("--limit", type=int, default=SHOWN, help=f"the last N only ({SHOWN})")
    parser.add_argument("--json", action="store_true", help="as a list of objects, with the frames")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """The latest last; SettingError for a value that is not allowed."""
    if not 1 <= arguments.limit <= EVENTS_MAX:
        raise SettingError(
            f"--limit {arguments.limit} is not allowed; it must be 1 to {EVENTS_MAX}"
        )
    since = utc_ms(arguments.since, "--since") if arguments.since else 0
    events = ask_once(
        settings.gateway["state_dir"],
        "events",
        severity=arguments.severity,
        since=since,
        limit=arguments.limit,
    )["events"]
    if arguments.json:
        print(json.dumps(events, indent=2))
    else:
        print(table_of(_COLUMNS, [{**one, "time": time_text(one["at"])} for one in events]))
    return 0
