"""One step of filling a gap: what is asked of the meter, and what its answer is worth.

* The newest is asked for first. Load records are read in windows of as many as fit into one frame,
  each from its start on; the windows go back in time.
* A stamp that is still to come, before what was asked for, twice in an answer, or (of a freeze)
  outside the gap is dropped and counted, and so is a record that says that it is none.
* Each step moves the gap on, whatever the meter says: a gap ends.
"""

import contextlib
from collections.abc import Generator
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from edge.collect.gaps import Gap
from edge.collect.history_sources import Source
from edge.collect.meter_time import (
    DAY_MS,
    MINUTE_MS,
    local_ms,
    meter_time,
    utc_ms_of_text,
)
from edge.line.line import Line
from edge.meters.dlt645_driver import Dlt645Driver
from edge.meters.dlt645_history import (
    DAILY_FREEZES_MAX,
    read_daily_freeze,
    read_freeze_parts,
    read_load_records,
    read_raw,
)
from protocols.dlt645.records import Record
from protocols.errors import RefusedError, UnsupportedError
from protocols.readings import Reading

BLOCKS = 6  # load records of one class of energies that fit into a frame of 200 bytes
STEP_MS = 15 * MINUTE_MS  # between load records, until two of them have told it
ASKED_MAX = 10_000  # answers for one gap: two months of records each minute need more, or a liar
SLACK_MS = MINUTE_MS  # that a stamp may be ahead of the meter's clock as we know it

Stamped = tuple[int, tuple[Reading, ...]]  # UTC ms by the meter's clock
Freeze = Generator[None, None, Record | None]


class Step(NamedTuple):
    """The gap as it is behind the step, and what was read on the way."""

    gap: Gap
    records: list[Stamped]


Filling = Generator[None, None, Step]


class Filler:
    """How one meter's history is read. `offset_min`: what its clock is ahead of UTC."""

    def __init__(self, offset_min: int) -> None:
        self._offset_min = offset_min
        self._is_in_parts = False  # it does not give a freeze as a block
        self._steps: dict[str, int] = {}  # source -> ms between its load records

    def fill(
        self,
        gap: Gap,
        source: Source,
        utc_ms: int,
        latest_ms: int,
        line: Line,
        driver: Dlt645Driver,
        retries: int,
    ) -> Filling:
        """The next step; nothing is later than `latest_ms`. UnsupportedError when the meter does
        not have the source."""
        after = replace(gap, asked=gap.asked + 1)
        if after.asked > ASKED_MAX:
            after.next_source(f"too many of its {source.name} were asked for")
            return Step(after, [])
        if not source.load_class:
            return (yield from self._freeze(after, source, utc_ms, line, driver, retries))
        if after.floor is None:
            return (yield from self._floor(after, source, line, driver, retries))
        return (yield from self._window(after, source, latest_ms, line, driver, retries))

    # ---- daily freezes --------------------------------------------------------------------------

    def has_freeze(self, gap: Gap) -> bool:
        """Whether a midnight of the meter lies in what is left of the gap."""
        return self._midnight_before(gap.end) >= gap.from_ms

    def is_near_midnight(self, utc_ms: int, distance_ms: int) -> bool:
        """Whether the freezes are about to move on by one, or have just done so."""
        of_day = local_ms(utc_ms, self._offset_min) % DAY_MS
        return min(of_day, DAY_MS - of_day) < distance_ms

    def _midnight_before(self, utc_ms: int) -> int:
        local = local_ms(utc_ms - 1, self._offset_min)
        return utc_ms - 1 - local % DAY_MS

    def _freeze(
        self,
        after: Gap,
        source: Source,
        utc_ms: int,
        line: Line,
        driver: Dlt645Driver,
        retries: int,
    ) -> Filling:
        latest = self._midnight_before(utc_ms + 1)
        moment = min(self._midnight_before(after.end), latest)
        number = (latest - moment) // DAY_MS + 1
        record = None
        if number <= DAILY_FREEZES_MAX:
            record = yield from self._read_freeze(number, source, line, driver, retries)
        if record is None or record.time is None:
            after.next_source(f"it keeps no daily freeze of {number - 1} days ago")
            return Step(after, [])
        after.end = moment
        stamp = utc_ms_of_text(record.time, self._offset_min)
        if not after.from_ms <= stamp < after.to_ms:
            after.dropped += 1
            return Step(after, [])
        return Step(after, [(stamp, record.readings)])

    def _read_freeze(
        self, number: int, source: Source, line: Line, driver: Dlt645Driver, retries: int
    ) -> Freeze:
        """None when the meter keeps freezes, but not that one."""
        if not self._is_in_parts:
            try:
                return (yield from read_daily_freeze(line, driver, number, retries))
            except UnsupportedError:
                yield
        try:
            record = yield from read_freeze_parts(line, driver, number, source.parts, retries)
            self._is_in_parts = True
            return record
        except UnsupportedError:
            if number == 1:
                raise
        yield
        yield from read_raw(line, driver, "05060001", retries)
        return None

    # ---- load records ---------------------------------------------------------------------------

    def _floor(
        self, after: Gap, source: Source, line: Line, driver: Dlt645Driver, retries: int
    ) -> Filling:
        """Where the records begin; a meter that does not say may have them all."""
        after.floor = after.from_ms
        try:
            records = yield from read_load_records(
                line, driver, source.load_class, 1, None, retries
            )
        except UnsupportedError:
            raise
        except RefusedError:
            return Step(after, [])
        stamps = [self._stamp(one) for one in records if one.time and not one.fault]
        if not records:
            after.next_source(f"it has no {source.name}")
        elif stamps and stamps[0] > after.from_ms:
            after.floor = stamps[0]
            after.note(f"its {source.name} begin at {stamps[0]}")
        return Step(after, [])

    def _window(
        self,
        after: Gap,
        source: Source,
        latest_ms: int,
        line: Line,
        driver: Dlt645Driver,
        retries: int,
    ) -> Filling:
        first = max(after.from_ms, after.floor or 0)
        if after.low is None:
            after.low = max(first, after.end - BLOCKS * self._steps.get(source.name, STEP_MS))
            after.at = after.low
        start = -(-after.at // MINUTE_MS) * MINUTE_MS  # seconds do not travel
        records: list[Record] = []
        if start < after.end:
            time = meter_time(start, self._offset_min)
            with contextlib.suppress(UnsupportedError):  # it has such records, none from there on
                records = yield from read_load_records(
                    line, driver, source.load_class, BLOCKS, time, retries
                )
        good = self._good(records, start, latest_ms, after)
        self._learn(source, good)
        # An answer does not say which window it is of: a late one may be that of the last.
        is_empty = not any(stamp < after.end for stamp, _ in good)
        after.is_doubtful = is_empty and not after.is_doubtful and start < after.end
        if after.is_doubtful:
            return Step(after, [])
        last = max((stamp for stamp, _ in good), default=after.end)
        after.at = last + MINUTE_MS
        if last + self._steps.get(source.name, MINUTE_MS) >= after.end:  # the window is through
            after.end, after.low = after.low, None
        if after.end <= first:
            after.next_source()
        return Step(after, [one for one in good if one[0] < after.to_ms])

    def _good(self, records: list[Record], start: int, latest_ms: int, after: Gap) -> list[Stamped]:
        good: dict[int, tuple[Reading, ...]] = {}
        for record in records:
            stamp = self._stamp(record) if record.time and not record.fault else -1
            if not start <= stamp <= latest_ms or stamp in good:
                after.dropped += 1
            else:
                good[stamp] = record.readings
        return sorted(good.items())

    def _learn(self, source: Source, good: list[Stamped]) -> None:
        stamps = [stamp for stamp, _ in good]
        steps = [late - early for early, late in pairwise(stamps)]
        if steps:
            self._steps[source.name] = min(max(min(steps), MINUTE_MS), DAY_MS)

    def _stamp(self, record: Record) -> int:
        return utc_ms_of_text(record.time, self._offset_min)
