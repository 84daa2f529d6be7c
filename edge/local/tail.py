"""What goes into the journal, as it goes there, for a person who watches."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from edge.journal.events import EventRow
from edge.journal.follow import Follower
from edge.journal.reader import Row
from edge.local.lines import FAILED, RequestError
from edge.local.server import Answers
from protocols.events import severity_of
from protocols.readings import ORIGIN_NAMES, TIME_QUALITY_NAMES, flag_names

LOOK_S = 0.25  # between two looks at the journal
AT_ONCE = 200  # rows of a look, so that memory stays small while a backlog is caught up


def follow(
    open_follower: Callable[[], Follower],
    epoch: Callable[[], bytes],
    pause: Callable[[float], None] = time.sleep,
) -> Answers:
    """Every reading set and event from now on; None while nothing comes. A journal that is put
    aside is left for the new one, from its beginning."""
    sets = events = -1  # where the reader is; -1: at the end
    while True:
        try:
            with closing(open_follower()) as reader:
                sets = reader.head() if sets < 0 else sets
                events = reader.event_head() if events < 0 else events
                while reader.epoch == epoch():
                    found_events = reader.events_after(events, AT_ONCE)
                    found_sets = reader.rows(sets + 1, min(reader.head(), sets + AT_ONCE))
                    yield from map(event_row, found_events)
                    yield from _set_rows(found_sets)
                    events = found_events[-1][0] if found_events else events
                    sets = found_sets[-1][0] if found_sets else sets
                    if not found_events and not found_sets:
                        yield None
                        pause(LOOK_S)
        except sqlite3.Error as error:
            raise RequestError(f"the journal can not be read now ({error})", FAILED) from error
        sets = events = 0
        yield None
        pause(LOOK_S)


def event_row(row: EventRow) -> dict[str, Any]:
    """An event as a client gets it."""
    sequence, one = row
    return {
        "type": "event",
        "sequence": sequence,
        "at": one.at,
        "quality": TIME_QUALITY_NAMES[one.quality],
        "severity": severity_of(one.kind),
        "kind": one.kind,
        "subject": one.subject,
        "number": one.number or None,
        "drift_s": one.drift_s,
        "detail": one.detail,
        "evidence": [[way, at_ms, data.hex()] for way, at_ms, data in one.evidence],
    }


def _set_rows(rows: list[Row]) -> Iterator[dict[str, Any]]:
    for sequence, one in rows:
        yield {
            "type": "readings",
            "sequence": sequence,
            "at": one.read_at,
            "quality": TIME_QUALITY_NAMES[one.quality],
            "meter": one.meter_id,
            "origin": ORIGIN_NAMES[one.origin],
            "flags": flag_names(one.flags),
            "readings": [reading.described() for reading in one.readings],
        }
