"""`busbar-edge tail`: readings and events as they are journaled, until Ctrl-C."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.local.client import ask
from edge.local.lines import NotRunningError
from edge.settings import Settings
from edge.table import time_text


def add(commands: Any) -> None:
    """Adds the command to those of `busbar-edge`."""
    parser = commands.add_parser("tail", help="readings and events as they are journaled")
    parser.add_argument("--config", type=Path, required=True, help="edge.toml")
    parser.add_argument("--json", action="store_true", help="JSON Lines: one object a line")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Ends with Ctrl-C; NotRunningError when the agent ends before."""
    try:
        for item in ask(settings.gateway["state_dir"], "tail", None):
            for line in [json.dumps(item)] if arguments.json else _lines(item):
                print(line, flush=True)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # The reader of our output has enough; what is buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    raise NotRunningError("the agent stopped")


def _lines(item: dict[str, Any]) -> Iterator[str]:
    when = time_text(item["at"])
    if item["type"] == "event":
        words = [when, item["severity"].upper(), item["kind"], item["subject"], item["detail"]]
        yield "  ".join(word for word in words if word)
        return
    marks = [item["origin"]] if item["origin"] != "live" else []
    marks += item["flags"]
    tail = f"  [{', '.join(marks)}]" if marks else ""
    for reading in item["readings"]:
        value = f"{reading['value']} {reading['unit']}".rstrip()
        yield f"{when}  {item['meter']}  {reading['obis']}  {reading['name']}  {value}{tail}"
    if not item["readings"]:
        yield f"{when}  {item['meter']}  no values{tail}"
