"""`busbar-cloud gateways` and `busbar-cloud completeness`: who reports, and what is missing."""

import argparse
from typing import Any, TextIO

from cloud.commands.tables import print_json, print_table, shown_ranges, shown_time
from cloud.settings import Settings
from cloud.store.reader import EpochSummary, Reader
from protocols.errors import CallerError
from protocols.readings import TIME_QUALITY_NAMES


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of `gateways`."""
    parser.add_argument("--json", action="store_true", help="a list of objects")


def add_completeness(parser: argparse.ArgumentParser) -> None:
    """The arguments of `completeness`."""
    parser.add_argument("gateway", help="the gateway's id")
    parser.add_argument("--json", action="store_true", help="one object")


def run(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    """Print every gateway that was ever heard."""
    with Reader(settings.database) as reader:
        gateways = reader.gateways()
    rows = [
        {
            "gateway": one.gateway_id,
            "last_seen": shown_time(one.last_seen_at),
            "presence": one.presence,
            "clock": None if one.quality is None else TIME_QUALITY_NAMES[one.quality],
            "version": one.version,
            "hello": shown_time(one.hello_at),
            "meters": [{"meter": name, "address": address} for name, address in one.meters],
            "head": one.head,
            "stored": one.stored,
            "missing": one.missing,
        }
        for one in gateways
    ]
    if arguments.json:
        print_json(out, rows)
    else:
        head = ("gateway", "last seen", "presence", "clock", "version", "hello")
        columns = ("gateway", "last_seen", "presence", "clock", "version", "hello")
        print_table(
            out,
            (*head, "meters", "head", "stored up to", "missing"),
            [
                [
                    *(row[name] for name in columns),
                    len(one.meters),
                    one.head,
                    one.stored,
                    one.missing,
                ]
                for row, one in zip(rows, gateways, strict=True)
            ],
        )
    return 0


def run_completeness(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    """Print what is stored and what is missing, epoch by epoch; 1 when something is missing.
    CallerError for a gateway that was never heard."""
    with Reader(settings.database) as reader:
        epochs = reader.epochs(arguments.gateway)
    if not epochs:
        raise CallerError(f"gateway {arguments.gateway!r} is not known")
    rows = [_row(epoch) for epoch in epochs]
    is_complete = all(row["complete"] for row in rows)
    if arguments.json:
        document = {"gateway": arguments.gateway, "complete": is_complete, "epochs": rows}
        print_json(out, document)
    else:
        for row in rows:
            print(f"epoch {row['epoch']}, first seen {row['first_seen']}", file=out)
            print(f"  first stored    {row['first']}", file=out)
            print(f"  last stored     {row['last']}", file=out)
            print(f"  head announced  {row['head']}", file=out)
            print(f"  count           {row['count']}", file=out)
            print(f"  missing         {shown_ranges(row['missing'])}", file=out)
            print(f"  rows agree      {'yes' if row['rows_agree'] else 'no'}", file=out)
            print(f"  complete: {'yes' if row['complete'] else 'no'}", file=out)
    return 0 if is_complete else 1


def _row(epoch: EpochSummary) -> dict[str, Any]:
    ranges = epoch.ledger.ranges()
    # What is stored above the announced head was announced by being sent.
    missing = epoch.ledger.missing(max(epoch.head, epoch.ledger.highest()))
    return {
        "epoch": epoch.epoch.hex(),
        "first_seen": shown_time(epoch.first_seen_at),
        "first": ranges[0][0] if ranges else 0,
        "last": epoch.ledger.highest(),
        "head": epoch.head,
        "count": epoch.ledger.count(),
        "missing": missing,
        "rows_agree": epoch.agrees,
        "complete": not missing and epoch.agrees,
    }
