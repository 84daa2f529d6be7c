"""How things are shown: times, tables, and text that came from outside."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

from protocols.errors import CallerError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_MAX = 253_402_300_799_999  # ms: the end of year 9999


def shown_time(at: int | None) -> str:
    """UTC ISO 8601 with ms; "-" for none."""
    if at is None:
        return "-"
    if not 0 <= at <= _SHOWN_MAX:
        return f"{at} ms"
    whole = (_EPOCH + timedelta(seconds=at // 1000)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{at % 1000:03d}Z"


def time_from_text(text: str) -> int:
    """UTC ms of an ISO 8601 date or time, which is UTC when it names no zone; CallerError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise CallerError(f"{text!r} is not a time such as 2026-11-21T10:00:00Z") from error
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return (found - _EPOCH) // timedelta(milliseconds=1)


def printable(text: str) -> str:
    """Text from outside, which must not steer the terminal."""
    return text if text.isprintable() else ascii(text)[1:-1]


def print_table(out: TextIO, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their widest cell; whole numbers and decimals stand right."""
    table = [[printable("-" if cell is None else str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *table, strict=True)]
    for row in [list(head), *table]:
        cells = [
            cell.rjust(width) if _is_number(cell) else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip(), file=out)


def print_json(out: TextIO, value: Any) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=2), file=out)


def shown_ranges(ranges: Iterable[tuple[int, int]]) -> str:
    """`3, 7-9`; "-" for none."""
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    return ", ".join(texts) or "-"


def _is_number(cell: str) -> bool:
    return cell.removeprefix("-").replace(".", "", 1).isdigit()
