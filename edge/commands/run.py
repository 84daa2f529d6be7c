"""`busbar-edge run`: the gateway."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from edge.settings import Settings


def add(commands: Any) -> None:
    """Adds the command to those of `busbar-edge`."""
    parser = commands.add_parser("run", help="run the gateway")
    parser.add_argument("--config", type=Path, required=True, help="edge.toml")


def run(settings: Settings, _: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT."""
    from edge.agent import run as run_agent  # noqa: PLC0415 - so that the other commands start without cryptography

    logging.basicConfig(
        stream=sys.stderr,
        level=settings.gateway["log"].upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("pymodbus").setLevel(logging.ERROR)
    return run_agent(settings)
