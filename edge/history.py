"""What a line does beside its polls: builds the four producers of its catch-up work, and hands
them what they need of the journal."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from edge.clock import Clock
from edge.collect.backfill import Backfill
from edge.collect.catch_up import Keep, Means
from edge.collect.clock_watch import ClockWatch
from edge.collect.meter_events import MeterEvents
from edge.collect.poller import LineWorker
from edge.collect.supply_watch import SupplyWatch
from edge.events import Tell
from edge.journal.reader import JournalReader, Row
from edge.journal.store import Journal
from edge.journal.writer import Writer
from edge.settings import Settings


class Archive:
    """The journal as one line's thread reads it: opened when it is first asked, and anew after it
    was put aside."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._reader: JournalReader | None = None

    def memos(self, scope: str) -> dict[str, Any]:
        """What is remembered of a scope."""
        return self._open().memos(scope)

    def sets_between(self, meter_id: str, from_ms: int, to_ms: int) -> Iterator[Row]:
        """The meter's reading sets of a time."""
        return self._open().sets_between(meter_id, from_ms, to_ms)

    def close(self) -> None:
        """Closes it; it may be asked again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _open(self) -> JournalReader:
        if self._reader is None or self._reader.epoch != self._journal.epoch:
            self.close()
            self._reader = self._journal.reader()
        return self._reader


class History(NamedTuple):
    """What others ask of it: `backfill` takes requests for spans of time, `supplies` for a look."""

    backfill: Backfill
    supplies: SupplyWatch


def build_history(
    worker: LineWorker,
    settings: Settings,
    clock: Clock,
    journal: Journal,
    writer: Writer,
    tell: Tell,
    may_correct: Callable[[], bool],
    intended: Callable[[str], str],
) -> History:
    """Gives a line its catch-up work. `intended(meter)` is what a supply should do."""
    archive = Archive(journal)
    worker.on_stop = archive.close
    keep: Keep = _waking(writer, worker)
    means = Means(worker.watches, worker.reaches, clock, settings.collect, keep, archive.memos)
    clocks = ClockWatch(means, tell, may_correct)
    events = MeterEvents(means, clocks.drift_s)
    own = [meter for meter in settings.meters if meter["id"] in worker.watches]
    backfill = Backfill(
        own,
        means,
        clocks.drift_s,
        archive.sets_between,
        lambda: not writer.trouble and not writer.is_crowded,
    )
    supplies = SupplyWatch(means, intended)
    worker.background += [clocks, events, supplies, backfill]
    worker.on_missed = backfill.note_missed
    return History(backfill, supplies)


def _waking(writer: Writer, worker: LineWorker) -> Keep:
    """Has it stored, and the line go on as soon as it is. A disk that refuses wakes nobody: the
    line would try again at once, for ever."""

    def go_on(done: Any) -> None:
        if done.exception() is None:
            worker.wake()

    def keep(sets: Any = (), events: Any = (), memos: Any = ()) -> Any:
        future = writer.keep(sets, events, memos)
        future.add_done_callback(go_on)
        return future

    return keep
