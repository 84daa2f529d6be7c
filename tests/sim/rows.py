"""Reading sets as the checkers compare them, from the journal and from the head end alike."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from protocols.readings import ReadingSet

_LAST_ROW = "SELECT max(rowid) FROM reading_set"
_ROWS = """
SELECT reading_set.rowid, gateway_id, epoch, sequence, meter_id, read_at, boot_at, boot.boot_id,
  reading_set.quality, content, "values"
FROM reading_set JOIN epoch USING (epoch_key) JOIN gateway USING (gateway_key)
JOIN meter USING (meter_key) JOIN boot USING (boot_key) JOIN layout USING (layout_key)
WHERE reading_set.rowid > ? ORDER BY reading_set.rowid"""

Key = tuple[bytes, int]  # epoch, sequence
Identity = tuple[str, bytes, int]  # meter, boot, boot ms


class BrokenError(BaseException):
    """An invariant does not hold. No handler of the product's may swallow it."""


class Stored(NamedTuple):
    """One reading set in the journal or in the head end."""

    identity: Identity
    read_at: int
    quality: int
    content: tuple[tuple[str, int, int, str, int], ...]  # OBIS, value, scaler, unit, kind


def watched(function: Any, check: Callable[..., None], before: bool = False) -> Any:
    """`function`, and what it gave handed to `check` together with its arguments."""

    def checked(*arguments: Any) -> Any:
        arguments = tuple(list(one) if _is_iterator(one) else one for one in arguments)
        if before:
            check(None, *arguments)
        result = function(*arguments)
        if not before:
            check(result, *arguments)
        return result

    return checked


def _is_iterator(value: object) -> bool:
    return hasattr(value, "__next__")


def exact(value: int, scaler: int) -> int:
    """A value in billionths of its unit, so that scales can be compared."""
    return value * 10 ** (scaler + 9)


def stored_of(one: ReadingSet) -> Stored:
    content = tuple(
        (r.obis.text(), r.quantity.value, r.quantity.scaler, r.quantity.unit, r.quantity.kind)
        for r in one.readings
    )
    identity = (one.meter_id, one.boot_id, one.boot_at)
    return Stored(identity, one.read_at, one.quality, content)


def _stored_row(
    meter_id: str,
    read_at: int,
    boot_at: int,
    boot_id: bytes,
    quality: int,
    layout: str,
    values: str,
) -> Stored:
    content = tuple(
        (obis, value, *rest)
        for (obis, *rest), value in zip(json.loads(layout), json.loads(values), strict=True)
    )
    return Stored((meter_id, boot_id, boot_at), read_at, quality, content)


def new_rows(reader: sqlite3.Connection, last: int) -> Iterator[tuple[int, str, Key, Stored]]:
    """What the head end has above the row id `last`: (row id, gateway, key, set)."""
    if (reader.execute(_LAST_ROW).fetchone()[0] or 0) <= last:
        return
    for rowid, gateway, epoch, sequence, *rest in reader.execute(_ROWS, (last,)).fetchall():
        yield rowid, gateway, (epoch, sequence), _stored_row(*rest)
