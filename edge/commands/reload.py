"""`busbar-edge reload`: the running gateway reads its configuration again."""

import argparse
from pathlib import Path
from typing import Any

from edge.local.client import ask_once
from edge.settings import Settings

RELOAD_S = 120.0  # lines that change end the exchange in flight, a broker may be slow to leave


def add(commands: Any) -> None:
    """Adds the command to those of `busbar-edge`."""
    parser = commands.add_parser(
        "reload", help="the running gateway reads its configuration again; only changes are touched"
    )
    parser.add_argument("--config", type=Path, required=True, help="edge.toml")


def run(settings: Settings, _: argparse.Namespace) -> int:
    """RequestError with the gateway's sentence when it refuses."""
    print(ask_once(settings.gateway["state_dir"], "reload", RELOAD_S)["changed"])
    return 0
