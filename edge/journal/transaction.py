"""One transaction of the journal's writer."""

import sqlite3
from collections.abc import Callable

# What orders and the audit chain may take beyond the journal's cap (1 MB): readings that filled it
# must not keep a restore from being recorded.
RESERVE_PAGES = 256


class Transaction:
    """BEGIN IMMEDIATE … COMMIT; `roll_back` on any error. Gives the connection."""

    def __init__(
        self, db: sqlite3.Connection, roll_back: Callable[[], None], pages_max: int, beyond: int
    ) -> None:
        self._db = db
        self._roll_back = roll_back
        self._pages_max = pages_max
        self._beyond = beyond

    def __enter__(self) -> sqlite3.Connection:
        if self._beyond:
            self._limit(self._pages_max + self._beyond)
        self._db.execute("BEGIN IMMEDIATE")
        return self._db

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._commit()
            else:
                self._roll_back()
        finally:
            if self._beyond:
                self._limit(self._pages_max)

    def _commit(self) -> None:
        try:
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _limit(self, pages: int) -> None:
        self._db.execute(f"PRAGMA max_page_count={pages}")
