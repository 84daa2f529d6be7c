"""What the order path writes, each time in one transaction: the audit entry, the state with its
receipt, the intent, and what is remembered with it. In the writer's thread."""

import sqlite3
from collections.abc import Callable, Iterable
from typing import NamedTuple

from edge.journal import audit
from edge.journal import orders as order_rows
from edge.journal.audit import Draft
from edge.journal.store import Journal, Memo
from edge.journal.transaction import RESERVE_PAGES


class Intent(NamedTuple):
    """A write that is about to go to a meter: `at` UTC ms, `boot_at` ms since that boot."""

    counter: int
    meter_id: str
    action: str
    effect: str
    at: int
    boot_at: int
    boot_id: bytes


class Moved(NamedTuple):
    """An order's new state, and the receipt that tells it."""

    counter: int
    state: str
    receipt: bytes


class Ledger:
    """`first_hash(epoch)` gives the hash of an empty chain of a journal epoch."""

    def __init__(self, journal: Journal, first_hash: Callable[[bytes], bytes]) -> None:
        self._journal = journal
        self._first_hash = first_hash

    def first_hash(self) -> bytes:
        """The hash before the first entry of the journal of now."""
        return self._first_hash(self._journal.epoch)

    def record(
        self,
        drafts: Iterable[Draft],
        moved: Moved | None = None,
        intent: Intent | None = None,
        memos: Iterable[Memo] = (),
    ) -> None:
        """All of it or nothing; durable when it returns. sqlite3.Error when the disk refuses."""
        with self._journal.transaction(RESERVE_PAGES) as db:
            audit.append(db, self.first_hash(), drafts)
            if moved is not None:
                order_rows.move(db, *moved)
            if intent is not None:
                db.execute("INSERT OR REPLACE INTO intent VALUES (?,?,?,?,?,?,?)", intent)
            db.executemany("INSERT OR REPLACE INTO memo VALUES (?,?,?)", list(memos))

    def acknowledge(self, upto: int) -> None:
        """The head end has stored the audit chain up to this sequence."""
        with self._journal.transaction() as db:
            audit.acknowledge(db, upto)

    def intents(self) -> list[Intent]:
        """All that are kept, the oldest first."""
        with self._journal.transaction() as db:
            return intents(db)

    def forget(self, intents: Iterable[Intent]) -> None:
        """Those that nothing counts any more."""
        with self._journal.transaction() as db:
            db.executemany(
                "DELETE FROM intent WHERE counter = ?", [(one.counter,) for one in intents]
            )


def intents(db: sqlite3.Connection) -> list[Intent]:
    """All rows, the oldest first."""
    return [Intent(*row) for row in db.execute("SELECT * FROM intent ORDER BY counter")]
