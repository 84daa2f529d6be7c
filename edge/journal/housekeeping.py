"""What the writer does between commits: makes room, tells of it, and salvages.

Each turn is short. While there is more to do, the next one comes after BUSY_MS.
"""

import logging
import sqlite3
from collections.abc import Callable

from edge.clock import Clock
from edge.journal.levels import CROWDED, FULL, Levels
from edge.journal.opening import PAGE_SIZE
from edge.journal.salvage import Count, Salvager
from edge.journal.space import THIN_AGE_MS, Thinning
from edge.journal.store import PURGE_ROWS_MAX, Journal
from protocols.events import Event

HOUSEKEEPING_MS = 60_000
BUSY_MS = 1_000
THIN_AGAIN_MS = 3_600_000  # after a pass that found nothing, or not enough

Tell = Callable[[str, str], Event]  # an event of a kind with a detail, stamped now
log = logging.getLogger("edge.journal")


class Housekeeping:
    """`turn` in the writer's thread; `note` takes an event to the next commit."""

    def __init__(
        self,
        journal: Journal,
        archive_ms: int,
        clock: Clock,
        tell: Tell,
        note: Callable[[Event], None],
    ) -> None:
        self.levels = Levels(journal.path.parent, journal.pages_max * PAGE_SIZE)
        self.fill = 0.0
        self._journal = journal
        self._archive_ms = archive_ms
        self._clock = clock
        self._tell = tell
        self._note = note
        self._salvager = Salvager(journal)
        self._thinning: Thinning | None = None
        self._thin_at = 0

    def configure(self, archive_ms: int, size_mb_max: int) -> None:
        """Other limits; in the writer's thread."""
        self._archive_ms = archive_ms
        self._journal.resize(size_mb_max)
        self.levels.resize(self._journal.pages_max * PAGE_SIZE)

    @property
    def is_full(self) -> bool:
        """Whether values should not be gathered that would be shed first."""
        return self.levels.level >= FULL

    def turn(self, is_in_trouble: bool) -> int:
        """Makes room, and while the disk does not refuse, measures and salvages. Milliseconds until
        the next turn."""
        is_busy = self._make_room()
        self.fill = self._journal.fill()
        if not is_in_trouble:
            kind, detail = self.levels.measure(self.fill)
            if kind:
                log.warning("journal_level kind=%s detail=%r", kind, detail)
                self._note(self._tell(kind, detail))
            is_busy = (self.fill <= CROWDED and self._salvage()) or is_busy
        return BUSY_MS if is_busy else HOUSEKEEPING_MS

    def purge(self, fill: float) -> int:
        """Deletes acknowledged rows by age, or while the journal is fuller than `fill`; how many.
        sqlite3.Error when there is no room to do it."""
        return self._journal.purge(self._clock.utc_ms() - self._archive_ms, fill)

    def stop(self) -> None:
        """Before the journal closes or is put aside."""
        self._salvager.stop()
        self._thinning = None
        self._thin_at = 0

    def _make_room(self) -> bool:
        """Whether there is more to do."""
        gone = self.purge(CROWDED)
        if gone == PURGE_ROWS_MAX:
            return True
        if self._journal.fill() > CROWDED and not gone:
            if self._thinning is None and self._clock.boot_ms() >= self._thin_at:
                self._thinning = Thinning()
            if self._thinning is not None:
                before = self._clock.utc_ms() - THIN_AGE_MS
                self._journal.thin(self._thinning, before)
                if not self._thinning.is_finished:
                    return True
                self._thin_at = self._clock.boot_ms() + THIN_AGAIN_MS
        self._thinning = None
        self._tell_shed()
        return False

    def _tell_shed(self) -> None:
        shed = self._journal.untold_shed()
        if shed.sets:
            log.warning("values_shed sets=%d first=%d last=%d", *shed)
            detail = (
                f"instantaneous values of {shed.sets} reading sets from {shed.first} to {shed.last}"
                " (UTC ms), for want of space"
            )
            self._journal.tell_shed(self._tell("values-shed", detail))

    def _salvage(self) -> bool:
        def told(name: str, count: Count) -> Event:
            log.warning("journal_salvaged file=%s found=%r", name, count.text())
            return self._tell("journal-salvaged", f"{name}: {count.text()}")

        try:
            return self._salvager.turn(told)
        except (sqlite3.Error, OSError) as error:
            # Of the journal, which tells of itself; or of the file, and it is tried again.
            self._journal.roll_back()
            self._salvager.stop()
            log.warning("salvage_interrupted reason=%r", str(error))
            return False
