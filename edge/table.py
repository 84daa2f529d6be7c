"""The status snapshot as tables for a person."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

# column head -> key of the snapshot's row
_LINES = {
    "line": "line",
    "port open": "open",
    "exchanges": "exchanges",
    "no answer": "silences",
    "bytes out": "bytes_sent",
    "bytes in": "bytes_received",
    "stale": "stale_bytes",
    "port losses": "port_losses",
}
_METERS = {
    "meter": "meter",
    "line": "line",
    "protocol": "protocol",
    "address": "address",
    "state": "state",
    "last read": "read_at",
    "sweeps": "sweeps",
    "retries": "retries",
    "problem": "last_error",
}
_READINGS = {"meter": "meter", "OBIS": "obis", "quantity": "name", "value": "value", "unit": "unit"}


def render(snapshot: dict[str, Any]) -> str:
    """A few lines on the gateway, then its lines, meters and last readings as tables."""
    readings = [
        {"meter": meter["meter"], **reading}
        for meter in snapshot["meters"]
        for reading in meter["readings"]
    ]
    meters = [{**meter, "read_at": _time(meter["read_at"])} for meter in snapshot["meters"]]
    tables = (
        table_of(_LINES, snapshot["lines"]),
        table_of(_METERS, meters),
        table_of(_READINGS, readings),
    )
    return "\n\n".join((_summary(snapshot), *tables))


def _summary(snapshot: dict[str, Any]) -> str:
    journal, uplink = snapshot["journal"], snapshot["uplink"]
    broker = "connected" if snapshot["connected"] else "NOT connected"
    trouble = f"  TROUBLE: {journal['trouble']}" if journal["trouble"] else ""
    return (
        f"gateway {snapshot['gateway']}  version {snapshot['version']}"
        f"  time {_time(snapshot['utc_ms'])} ({snapshot['clock_quality']})  broker {broker}\n"
        f"journal {journal['head']} reading sets, {journal['held_sets']} not yet committed,"
        f" {journal['fill_percent']} % full, {journal['lost_sets']} lost{trouble}\n"
        f"uplink  {uplink['backlog_sets']} reading sets to be acknowledged,"
        f" {uplink['batches_in_flight']} batches under way, {uplink['batches_sealed']} sealed,"
        f" {uplink['bytes_sent']} bytes for {uplink['readings_sent']} readings"
    )


def table_of(columns: dict[str, str], rows: Iterable[dict[str, Any]]) -> str:
    """Rows as a table; `columns` is head -> key of a row."""
    texts = [list(columns), *([str(row[key]) for key in columns.values()] for row in rows)]
    widths = [max(len(text) for text in column) for column in zip(*texts, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    )


def _time(utc_ms: int) -> str:
    if not utc_ms:
        return "never"
    return datetime.fromtimestamp(utc_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
