"""Reads the journal while it grows: what came after a sequence, and how the last run ended."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from edge.journal import events as event_rows
from edge.journal.reader import JournalReader

CLEAN = 0  # mark "state" of a journal that was closed in order


class LastRun(NamedTuple):
    """What the journal tells before it is opened again: whether it was closed in order (None: it
    does not tell), and the boot in which the agent ran (b"": not known)."""

    is_clean: bool | None
    boot_id: bytes


class Follower(JournalReader):
    """A connection of its own that can only read; sqlite3.Error when there is nothing to read."""

    def __init__(self, path: Path) -> None:
        name = f"file:{quote(str(path))}?mode=ro"
        super().__init__(sqlite3.connect(name, uri=True, isolation_level=None))

    def events_after(self, sequence: int, limit: int) -> list[event_rows.EventRow]:
        """The next events, whether the head end has them or not."""
        cursor = self._db.execute(
            f"SELECT {event_rows.COLUMNS} FROM event JOIN boot USING (boot_key)"  # noqa: S608
            " WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (sequence, limit),
        )
        return [event_rows.from_row(row) for row in cursor]

    def event_counts(self, after: int, upto: int) -> dict[str, int]:
        """How many events of each kind there are with after < sequence <= upto."""
        return dict(
            self._db.execute(
                "SELECT kind, count(*) FROM event WHERE sequence > ? AND sequence <= ?"
                " GROUP BY kind",
                (after, upto),
            )
        )

    def is_clean(self) -> bool | None:
        """Whether the journal was closed in order; None when it does not say."""
        state = self._mark("state")
        return None if state is None else bool(state == CLEAN)


def last_run(path: Path, scope: str, name: str) -> LastRun | None:
    """How the last run ended, by a journal that is not open yet; None when there was none. The memo
    of that scope and name holds the boot."""
    if not path.exists():
        return None
    try:
        with closing(Follower(path)) as reader:
            boot_id = reader.memos(scope).get(name)
            known = boot_id if isinstance(boot_id, bytes) else b""
            return LastRun(reader.is_clean(), known)
    except sqlite3.Error:  # the agent examines the file when it opens it, and says what it finds
        return LastRun(None, b"")
