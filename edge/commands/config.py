"""`busbar-edge config`: is a configuration right, and what an editor needs to help with one."""

import argparse
import json
from pathlib import Path
from typing import Any

from edge.clock import SystemClock
from edge.config.reload import check_whole
from edge.settings import check_settings, load_settings, read_text
from edge.settings.remote import overlay
from edge.settings.schema import json_schema

DONE = 0


def add(commands: Any) -> None:
    """Adds the command to those of `busbar-edge`."""
    parser = commands.add_parser("config", help="check a configuration; its JSON Schema")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("check", help="whether a file is right; one sentence when it is not")
    check.add_argument("file", type=Path, help="edge.toml, or a remote configuration")
    check.add_argument(
        "--over", type=Path, metavar="EDGE_TOML",
        help="the file is a remote configuration; this is the local one that it goes over",
    )  # fmt: skip
    verbs.add_parser("schema", help="the JSON Schema of edge.toml")


def run(arguments: argparse.Namespace) -> int:
    """SettingError with one sentence when the file is not right."""
    if arguments.verb == "schema":
        print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
        return DONE
    if arguments.over is None:
        settings = load_settings(arguments.file)
    else:
        local = read_text(arguments.over)
        check_settings(arguments.over, local)
        settings = overlay(arguments.over, local, read_text(arguments.file))
    checked = check_whole(settings, SystemClock())
    for line_id, load in checked.loads.items():
        meters = sum(meter["line"] == line_id for meter in settings.meters)
        print(f"line {line_id}: {meters} meters, {100 * load:.1f} % of its time")
    print(f"{arguments.file} is right")
    return DONE
