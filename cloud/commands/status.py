"""`busbar-cloud status`: the running service, and what was refused since the database exists."""

import argparse
from typing import Any, TextIO

from cloud.commands.tables import print_json, print_table, shown_time
from cloud.orders.client import ServiceDownError, ask
from cloud.settings import Settings
from cloud.store.database import StoreError
from cloud.store.reader import Reader

EXIT_DOWN = 3
REPLY_TIMEOUT_S = 10
SHOWN = ("queue", "messages", "sets", "events", "duplicates", "conflicts", "refused", "acks")


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--json", action="store_true", help="one object")


def run(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    """Print what is known; 3 when the service does not run."""
    service: dict[str, Any] | None = None
    try:
        for reply in ask(settings.state_dir, {"op": "status"}, REPLY_TIMEOUT_S):
            service = reply["status"]
    except ServiceDownError:
        service = None
    refusals = _refusals(settings)
    if arguments.json:
        print_json(out, {"running": service is not None, "service": service, "refusals": refusals})
    else:
        if service is None:
            print("service    not running", file=out)
        else:
            print("service    running", file=out)
            print(f"broker     {'connected' if service['connected'] else 'away'}", file=out)
            for name in SHOWN:
                print(f"{name:<10} {service[name]}", file=out)
        if refusals:
            columns = ("gateway", "reason", "count", "first", "last")
            print_table(out, columns, [[row[name] for name in columns] for row in refusals])
    return 0 if service is not None else EXIT_DOWN


def _refusals(settings: Settings) -> list[dict[str, Any]]:
    try:
        with Reader(settings.database) as reader:
            found = reader.refusals()
    except StoreError:
        return []
    return [
        {
            "gateway": gateway_id,
            "reason": reason,
            "count": count,
            "first": shown_time(first_at),
            "last": shown_time(last_at),
        }
        for gateway_id, reason, count, first_at, last_at in found
    ]
