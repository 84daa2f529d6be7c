"""`busbar-edge status`: what the running gateway knows."""

import argparse
import json
from pathlib import Path
from typing import Any

from edge.settings import Settings
from edge.status import ask
from edge.table import render


def add(commands: Any) -> None:
    """Adds the command to those of `busbar-edge`."""
    parser = commands.add_parser("status", help="show what the running gateway knows")
    parser.add_argument("--config", type=Path, required=True, help="edge.toml")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """NotRunningError when nobody answers."""
    snapshot = ask(settings.gateway["state_dir"])
    print(json.dumps(snapshot, indent=2) if arguments.json else render(snapshot))
    return 0
