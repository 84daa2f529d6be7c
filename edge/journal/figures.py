"""What a person may ask of the journal, through a connection that only reads; the agent may run
meanwhile or not."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from edge.journal import opening
from edge.journal.damage import JournalRefusedError
from edge.journal.opening import PAGE_SIZE
from edge.journal.reader import JournalReader
from edge.journal.readings import BLOCK_BITS
from edge.journal.salvage import DONE_SCOPE as SALVAGED
from edge.journal.salvage import PATTERN, stamp
from edge.journal.store import FILE_NAME

_DAY_MS = 86_400_000


class Aside(NamedTuple):
    """A file that was put aside."""

    name: str
    size: int
    is_salvaged: bool


class Figures(NamedTuple):
    """How the journal stands; sizes in bytes, instants in UTC ms."""

    epoch: str
    used: int
    size_max: int
    first: int
    head: int
    acknowledged: int
    backlog: int
    oldest_unacknowledged: int | None
    sets_last_day: int
    days_until_full: float | None
    events: int
    events_waiting: int
    receipts_waiting: int
    aside: list[Aside]


class Inspector(JournalReader):
    """A reader with questions. JournalRefusedError, one sentence, when there is nothing to ask."""

    def __init__(self, folder: Path, size_mb_max: int) -> None:
        self._path = folder / FILE_NAME
        self._size_max = size_mb_max * 1024 * 1024
        if not self._path.exists():
            raise JournalRefusedError(f"there is no {self._path}: the agent has not run yet")
        name = f"file:{quote(str(self._path))}?mode=ro"
        try:
            super().__init__(sqlite3.connect(name, uri=True, isolation_level=None))
            version = opening.version_of(self._db)
            missing = opening.missing_table(self._db)
        except sqlite3.Error as error:
            raise JournalRefusedError(f"{self._path} can not be read ({error})") from error
        if version != opening.VERSION:
            raise JournalRefusedError(
                f"{self._path} is of version {version}, and this command reads {opening.VERSION};"
                " the agent brings an earlier one forward when it starts"
            )
        if missing:
            raise JournalRefusedError(f"{self._path} is no journal ({missing})")

    def figures(self, now_ms: int) -> Figures:
        """How the journal stands."""
        first, head, stored = self.first(), self.head(), self.acknowledged()
        used = (self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")) * (
            PAGE_SIZE
        )
        waiting = stored.missing(max(first, 1), head)
        lately = self._sets_since(now_ms - _DAY_MS)
        per_set = used / (head - first + 1) if first else 0
        left = max(self._size_max - used, 0)
        return Figures(
            self.epoch.hex(),
            used,
            self._size_max,
            first,
            head,
            stored.count,
            sum(last - one + 1 for one, last in waiting),
            self._read_at(waiting[0][0]) if waiting else None,
            lately,
            left / (per_set * lately) if lately else None,
            self._number("SELECT count(*) FROM event"),
            self.event_head() - self.events_acknowledged(),
            self._number("SELECT count(*) FROM receipt WHERE NOT acknowledged"),
            list(self._aside()),
        )

    def check(self, is_full: bool) -> list[str]:
        """What is wrong with the file, in SQLite's words; nothing for a good one."""
        pragma = "integrity_check" if is_full else "quick_check"
        try:
            found = [row[0] for row in self._db.execute(f"PRAGMA {pragma}(20)")]
        except sqlite3.DatabaseError as error:
            return [str(error)]
        return [] if found == ["ok"] else found

    def _sets_since(self, from_ms: int) -> int:
        return self._number(
            "SELECT count(*) FROM block JOIN reading_set ON sequence >= block << ?"
            " AND sequence < (block + 1) << ? WHERE latest >= ? AND read_at >= ?",
            (BLOCK_BITS, BLOCK_BITS, from_ms, from_ms),
        )

    def _read_at(self, sequence: int) -> int:
        return self._number("SELECT read_at FROM reading_set WHERE sequence = ?", (sequence,))

    def _aside(self) -> Iterator[Aside]:
        done: dict[str, Any] = self.memos(SALVAGED)
        for path in sorted(self._path.parent.glob(PATTERN)):
            yield Aside(path.name, path.stat().st_size, done.get(path.name) == stamp(path))
