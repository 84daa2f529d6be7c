"""The never-cut list: meters behind which somebody is harmed when the power goes (I12).

* An entry is a typed flag, never a free text that somebody has to read.
* It takes one person to add and two to remove, neither twice.
* A review date asks people to look again. A review that is due removes nothing.
"""

import sqlite3
from typing import Any, NamedTuple

from cloud.store import sql_orders as sql
from protocols.errors import CallerError

FLAGS = ("medical", "important-user", "life-support", "dispute", "other-by-law")
REMOVERS = 2  # people


class NeverCut(NamedTuple):
    """One entry; times UTC ms. `removers`: how many people asked for its removal, `removed_by`
    who."""

    entry: int
    meter_id: str
    flag: str
    note: str
    added_by: str
    added_at: int
    review_at: int | None
    removers: int
    removed_by: str | None

    @property
    def is_removed(self) -> bool:
        """Whether two people have removed it."""
        return self.removers >= REMOVERS

    def to_json(self, now: int) -> dict[str, Any]:
        """As the API shows it."""
        is_due = self.review_at is not None and self.review_at <= now and not self.is_removed
        return {
            "entry": self.entry,
            "meter": self.meter_id,
            "flag": self.flag,
            "note": self.note,
            "added_by": self.added_by,
            "added_at": self.added_at,
            "review_at": self.review_at,
            "review_due": is_due,
            "removal_asked_by": self.removed_by or "",
            "removed": self.is_removed,
        }


class NeverCutList:
    """The list, in the open transaction of the caller."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(
        self, meter_id: str, flag: str, note: str, by: str, at: int, review_at: int | None
    ) -> NeverCut:
        """One entry more; CallerError for a flag that is none."""
        if flag not in FLAGS:
            raise CallerError(f"flag = {flag!r} is not allowed; it must be {', '.join(FLAGS)}")
        parameters = (meter_id, flag, note, by, at, review_at)
        key = self._db.execute(sql.INSERT_NEVER_CUT, parameters).lastrowid
        assert key is not None  # noqa: S101 -- an INSERT has one
        return self.entry(key)

    def remove(self, entry: int, by: str, at: int, reason: str) -> NeverCut:
        """One person asks for the removal; with the second one it is removed. CallerError."""
        found = self.entry(entry)
        if found.is_removed:
            raise CallerError(f"entry {entry} is removed already")
        if by in (found.removed_by or "").split(", "):
            raise CallerError(f"{by} has asked for this removal; it takes a second person")
        self._db.execute(sql.INSERT_REMOVAL, (entry, by, at, reason))
        return self.entry(entry)

    def entry(self, entry: int) -> NeverCut:
        """One entry; CallerError when there is none."""
        found = self._db.execute(sql.SELECT_NEVER_CUT, (entry, None)).fetchone()
        if found is None:
            raise CallerError(f"no such entry of the never-cut list: {entry}")
        return NeverCut(*found)

    def entries(self, meter_id: str | None = None) -> list[NeverCut]:
        """All that were ever made, of one meter or of all."""
        rows = self._db.execute(sql.SELECT_NEVER_CUT, (None, meter_id))
        return [NeverCut(*row) for row in rows]

    def flags(self, meter_id: str) -> list[str]:
        """The flags in force of a meter."""
        return sorted({one.flag for one in self.entries(meter_id) if not one.is_removed})

    def is_protected(self, meter_id: str) -> bool:
        """Whether the meter is never to be cut."""
        return bool(self._db.execute(sql.SELECT_PROTECTED, (meter_id,)).fetchone())

    def protected(self) -> list[str]:
        """Every protected meter, rising."""
        return [row[0] for row in self._db.execute(sql.SELECT_PROTECTED, (None,))]
