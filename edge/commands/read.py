"""`busbar-edge read METER OBIS`: one quantity, read now by the running gateway."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from edge.local.client import ask_once
from edge.local.lines import READ_S_MAX
from edge.settings import Settings
from edge.table import time_text

DONE, FAILED = 0, 1  # exit codes


def add(commands: Any) -> None:
    """Adds the command to those of `busbar-edge`."""
    parser = commands.add_parser("read", help="read one quantity of a meter now")
    parser.add_argument("meter", help="its id in edge.toml")
    parser.add_argument("obis", help="such as 1-0:1.8.0")
    parser.add_argument("--config", type=Path, required=True, help="edge.toml")
    parser.add_argument("--verbose", action="store_true", help="the frames too")
    parser.add_argument("--json", action="store_true", help="as one JSON object, with the frames")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Exit code 1 when the meter gave no value."""
    result = ask_once(
        settings.gateway["state_dir"],
        "read",
        READ_S_MAX + 10,
        meter=arguments.meter,
        obis=arguments.obis,
    )
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        _show(result, arguments.verbose)
    if result["problem"]:
        print(f"busbar-edge: {result['meter']} {result['obis']}: {result['problem']}",
              file=sys.stderr)  # fmt: skip
        return FAILED
    return DONE


def _show(result: dict[str, Any], is_verbose: bool) -> None:
    when = f"{time_text(result['read_at'])} ({result['quality']})"
    for reading in result["readings"]:
        value = f"{reading['value']} {reading['unit']}".rstrip()
        print(f"{result['meter']}  {reading['obis']}  {reading['name']}  {value}  {when}")
    if is_verbose:
        for way, at_ms, data in result["frames"]:
            print(f"{way} {at_ms:5} ms  {bytes.fromhex(data).hex(' ').upper()}")
