"""`busbar-edge meters`: how each meter of the running gateway does."""

import argparse
import json
from pathlib import Path
from typing import Any

from edge.local.client import ask_once
from edge.settings import Settings
from edge.table import render_meters


def add(commands: Any) -> None:
    """Adds the command to those of `busbar-edge`."""
    parser = commands.add_parser("meters", help="state, last reading and clock of each meter")
    parser.add_argument("--config", type=Path, required=True, help="edge.toml")
    parser.add_argument("--json", action="store_true", help="as a list of objects")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """NotRunningError when nobody answers."""
    meters = ask_once(settings.gateway["state_dir"], "meters")["meters"]
    print(json.dumps(meters, indent=2) if arguments.json else render_meters(meters))
    return 0
