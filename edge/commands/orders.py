"""`busbar-edge orders`: the last orders, whether disconnecting is permitted, and how much of the
ceilings is used. `busbar-edge orders unlock METER`: a credential that the meter refused may be
tried again."""

import argparse
import json
from pathlib import Path
from typing import Any

from edge.local.client import ask_once
from edge.local.lines import ORDERS_MAX
from edge.settings import Settings
from edge.table import table_of, time_text

_COLUMNS = {
    "counter": "counter",
    "order": "order",
    "action": "action",
    "meter": "meter",
    "state": "state",
    "expires": "expires",
}


def add(commands: Any) -> None:
    """Adds the command to those of `busbar-edge`."""
    parser = commands.add_parser("orders", help="orders, ceilings and the lease of the gateway")
    parser.add_argument("what", nargs="?", choices=("list", "unlock"), default="list")
    parser.add_argument("meter", nargs="?", metavar="METER", help="whose credential was refused")
    parser.add_argument("--config", type=Path, required=True, help="edge.toml")
    parser.add_argument("--limit", type=int, default=20, help=f"orders, at most {ORDERS_MAX}")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """NotRunningError when nobody answers, RequestError when the request is wrong."""
    folder = settings.gateway["state_dir"]
    if arguments.what == "unlock":
        found = ask_once(folder, "unlock", meter=arguments.meter)
        text = f"{found['meter']}: {', '.join(found['unlocked'])} may be tried again"
    else:
        found = ask_once(folder, "orders", limit=arguments.limit)
        text = _text(found)
    print(json.dumps(found, indent=2) if arguments.json else text)
    return 0


def _text(found: dict[str, Any]) -> str:
    rows = [{**one, "expires": time_text(one["expires_at"])} for one in found["orders"]]
    locked = ", ".join(found["refused_credentials"]) or "none"
    return (
        f"disconnecting: {_permission(found)}\n"
        f"disconnects: {found['cuts_hour']} of {found['cuts_hour_max']} in an hour,"
        f" {found['cuts_day']} of {found['cuts_day_max']} in 24 h\n"
        f"refused credentials: {locked}\n\n" + table_of(_COLUMNS, rows)
    )


def _permission(found: dict[str, Any]) -> str:
    if not found["allow_cuts"]:
        return "not allowed by [orders] allow_cuts"
    left_ms = found["lease_left_ms"]
    if left_ms is None:
        return "not permitted: no policy since the start"
    return f"permitted for {left_ms // 1000} s" if left_ms else "not permitted: held, or ended"
