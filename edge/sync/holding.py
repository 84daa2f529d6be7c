"""Rows that were read before the gateway knew the time: held back until it does, and re-timed.

They wait at most for UNSYNCED_HOLD_MS; then they go with their quality, and are never re-timed
after that. Only what was read live is held: what a meter recorded has the meter's time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from edge.clock import Clock
from edge.journal.store import Journal, JournalReader, Row
from protocols.readings import Origin, TimeQuality

UNSYNCED_HOLD_MS = 3_600_000


class Judged(NamedTuple):
    """The rows that may go, and the sequence from which on rows wait for their time (0: none)."""

    rows: list[Row]
    held_from: int


class Holding:
    """`call` runs a function of the journal in its writer's thread, and gives its result."""

    def __init__(self, journal: Journal, clock: Clock, call: Callable[..., Any]) -> None:
        self._journal = journal
        self._clock = clock
        self._call = call

    def judge(self, reader: JournalReader, rows: list[Row]) -> Judged:
        """The rows up to the first one whose time is still to come; re-timed when it is there."""
        unsynced = [n for n, row in enumerate(rows) if _lacks_time(row)]
        if not unsynced:
            return Judged(rows, 0)
        moment = self._clock.moment()
        boot_id, quality = self._clock.boot_id, moment.quality
        if quality != TimeQuality.UNSYNCED and any(rows[n][1].boot_id == boot_id for n in unsynced):
            offset = moment.utc_ms - moment.boot_ms
            after = self._call(self._journal.flagged_sent)
            if self._call(self._journal.retime, boot_id, offset, after, quality):
                return Judged(reader.rows(rows[0][0], rows[-1][0]), 0)
        held = [
            n
            for n in unsynced
            if rows[n][1].boot_id == boot_id
            and moment.boot_ms - rows[n][1].boot_at < UNSYNCED_HOLD_MS
        ]
        held_from = 0
        # With time at hand and nothing left to re-time, the rows were sent flagged before: they
        # stay so.
        if held and quality == TimeQuality.UNSYNCED:
            held_from = rows[held[0]][0]
            rows = rows[: held[0]]
        if any(_lacks_time(row) for row in rows):
            self._call(self._journal.note_flagged_sent, rows[-1][0])
        return Judged(rows, held_from)


def _lacks_time(row: Row) -> bool:
    one = row[1]
    return bool(one.quality == TimeQuality.UNSYNCED and one.origin == Origin.LIVE)
