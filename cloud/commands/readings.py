"""`busbar-cloud readings`: what a meter showed, as stored, never rounded."""

import argparse
import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TextIO

from cloud.commands.tables import print_table, shown_time, time_from_text
from cloud.settings import Settings
from cloud.store.reader import TIME_MAX, Reader, StoredSet
from protocols.errors import CallerError
from protocols.obis import Obis
from protocols.quantity import KIND_NAMES, Kind, Quantity
from protocols.readings import ORIGIN_NAMES, TIME_QUALITY_NAMES, flag_names

TABLE_LIMIT = 1000  # readings on a screen when no --limit is given; --json and --csv have none
COLUMNS = (
    "time",
    "meter",
    "gateway",
    "obis",
    "name",
    "value",
    "unit",
    "kind",
    "quality",
    "origin",
    "flags",
    "integer",
    "scaler",
    "base_unit",
    "read_at",
    "received_at",
    "sequence",
)
TABLE_COLUMNS = ("time", "obis", "name", "value", "unit", "kind", "quality", "origin", "flags")


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("meter", help="the meter's id")
    parser.add_argument("--from", dest="start", metavar="ISO", help="first time, UTC")
    parser.add_argument("--to", dest="stop", metavar="ISO", help="first time that is left out, UTC")
    parser.add_argument("--obis", help="one quantity, such as 1-0:1.8.0")
    parser.add_argument("--gateway", help="when several gateways had a meter of this id")
    parser.add_argument("--limit", type=int, help="the latest N readings only")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of objects")
    form.add_argument("--csv", action="store_true", help="comma separated, with a heading")


def run(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    """Print the readings; CallerError for a meter that is not known or a value not allowed."""
    start = time_from_text(arguments.start) if arguments.start else 0
    stop = time_from_text(arguments.stop) if arguments.stop else TIME_MAX
    obis = Obis.from_text(arguments.obis).text() if arguments.obis else None
    limit = arguments.limit
    if limit is not None and limit < 1:
        raise CallerError("--limit must be a whole number above 0")
    if limit is None and not arguments.json and not arguments.csv:
        limit = TABLE_LIMIT
    with Reader(settings.database) as reader:
        meters = reader.meters(arguments.meter, arguments.gateway)
        if not meters:
            raise CallerError(f"no meter {arguments.meter!r} is known")
        found: list[Iterable[dict[str, Any]]] = []
        for meter in meters:
            if limit is None:
                found.append(_rows(reader.sets(meter, start, stop), arguments.meter, obis))
            else:
                latest = reader.latest_sets(meter, start, stop)
                rows = islice(_rows(latest, arguments.meter, obis, turned=True), limit)
                found.append(reversed(list(rows)))
        _print(out, arguments, [row for rows in found for row in rows])
    return 0


def _rows(
    sets: Iterator[StoredSet], meter_id: str, obis: str | None, turned: bool = False
) -> Iterator[dict[str, Any]]:
    names: dict[str, str] = {}
    for one in sets:
        pairs = list(zip(one.layout, one.values, strict=True))
        for (code, scaler, unit, kind), value in reversed(pairs) if turned else pairs:
            if obis is not None and code != obis:
                continue
            if code not in names:
                names[code] = Obis.from_text(code).name()
            shown, shown_unit = Quantity(value, scaler, unit, kind).shown()
            yield {
                "time": shown_time(one.read_at),
                "meter": meter_id,
                "gateway": one.gateway_id,
                "obis": code,
                "name": names[code],
                "value": shown,
                "unit": shown_unit,
                "kind": KIND_NAMES[kind],
                "quality": TIME_QUALITY_NAMES[one.quality],
                "origin": ORIGIN_NAMES[one.origin],
                "flags": " ".join(flag_names(one.flags)),
                "integer": None if kind == Kind.TEXT else value,
                "scaler": scaler,
                "base_unit": unit,
                "read_at": one.read_at,
                "received_at": one.received_at,
                "sequence": one.sequence,
            }


def _print(out: TextIO, arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    if arguments.json:
        print("[" + ",\n ".join(json.dumps(row) for row in rows) + "]", file=out)
    elif arguments.csv:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        gateways = {row["gateway"] for row in rows}
        columns = (*TABLE_COLUMNS, "gateway") if len(gateways) > 1 else TABLE_COLUMNS
        print_table(out, columns, [[row[name] for name in columns] for row in rows])
