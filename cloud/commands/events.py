"""`busbar-cloud events`: what gateways and meters told of themselves, as stored.

`--since` goes by our own clock, the time at which the head end heard of an event: a meter whose
clock stands in another year, or a gateway that has just booted, can not hide what it tells.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from typing import Any, TextIO

from cloud.commands.tables import print_json, print_table, shown_time, time_from_text
from cloud.settings import Settings
from cloud.store.reader import Reader, StoredEvent
from protocols.errors import CallerError
from protocols.events import EVENT_KINDS, SEVERITIES, severity_of
from protocols.readings import TIME_QUALITY_NAMES

TABLE_LIMIT = 1000  # events on a screen when no --limit is given; --json has none
COLUMNS = (
    "time", "quality", "gateway", "severity", "kind", "subject", "number", "drift_s", "detail",
)  # fmt: skip


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("gateway", nargs="?", help="of this gateway only")
    parser.add_argument("--since", metavar="ISO", help="heard of at this time or later, UTC")
    parser.add_argument("--severity", choices=SEVERITIES, help="this severe or worse")
    parser.add_argument("--limit", type=int, help="the latest N events only")
    parser.add_argument("--json", action="store_true", help="a list of objects, with the frames")


def run(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    """Print the events, the latest last; CallerError for a gateway that was never heard or a value
    not allowed."""
    since = time_from_text(arguments.since) if arguments.since else 0
    limit = arguments.limit
    if limit is not None and limit < 1:
        raise CallerError("--limit must be a whole number above 0")
    if limit is None and not arguments.json:
        limit = TABLE_LIMIT
    with Reader(settings.database) as reader:
        if arguments.gateway is not None and not reader.is_gateway(arguments.gateway):
            raise CallerError(f"gateway {arguments.gateway!r} is not known")
        found = _rows(reader.latest_events(arguments.gateway, since), arguments.severity)
        rows = list(islice(found, limit))[::-1]
    if arguments.json:
        print_json(out, rows)
    else:
        print_table(out, COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
    return 0


def _rows(found: Iterator[StoredEvent], least: str | None) -> Iterator[dict[str, Any]]:
    wanted = SEVERITIES[SEVERITIES.index(least) :] if least else SEVERITIES
    for stored in found:
        one = stored.event
        severity = severity_of(one.kind)
        if severity not in wanted:
            continue
        known = EVENT_KINDS.get(one.kind)
        yield {
            "time": shown_time(one.at),
            "quality": TIME_QUALITY_NAMES[one.quality],
            "gateway": stored.gateway_id,
            "severity": severity,
            "kind": one.kind,
            "subject": one.subject,
            "number": one.number or None,
            "drift_s": one.drift_s,
            "detail": one.detail,
            "meaning": known.meaning if known else None,
            "at": one.at,
            "received_at": stored.received_at,
            "sequence": stored.sequence,
            "evidence": [[way, at_ms, data.hex()] for way, at_ms, data in one.evidence],
        }
