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
_METER_STATES = {
    "meter": "meter",
    "line": "line",
    "state": "state",
    "last reading": "read_at",
    "age": "age",
    "clock drift": "drift",
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
    meters = [{**meter, "read_at": time_text(meter["read_at"])} for meter in snapshot["meters"]]
    tables = (
        table_of(_LINES, snapshot["lines"]),
        table_of(_METERS, meters),
        table_of(_READINGS, readings),
    )
    return "\n\n".join((_summary(snapshot), *tables))


def render_meters(meters: Iterable[dict[str, Any]]) -> str:
    """How each meter does, as a table."""
    return table_of(
        _METER_STATES,
        [
            {
                **meter,
                "read_at": time_text(meter["read_at"]),
                "age": _duration(meter["read_age_ms"]),
                "drift": "–" if meter["drift_s"] is None else f"{meter['drift_s']:+g} s",
            }
            for meter in meters
        ],
    )


def _summary(snapshot: dict[str, Any]) -> str:
    journal, uplink = snapshot["journal"], snapshot["uplink"]
    broker = "connected" if snapshot["connected"] else "NOT connected"
    trouble = f"  TROUBLE: {journal['trouble']}" if journal["trouble"] else ""
    return (
        f"gateway {snapshot['gateway']}  version {snapshot['version']}"
        f"  time {time_text(snapshot['utc_ms'])} ({snapshot['clock_quality']})  broker {broker}\n"
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


def time_text(utc_ms: int) -> str:
    """UTC to the second; "never" for 0, and the number itself where no calendar has it."""
    if not utc_ms:
        return "never"
    try:
        return datetime.fromtimestamp(utc_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{utc_ms} ms"


def _duration(ms: int | None) -> str:
    """In the largest unit of which there are at least two."""
    if ms is None:
        return "–"
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
        if ms >= 2 * size:
            return f"{ms // size} {unit}"
    return f"{ms // 1000} s"
