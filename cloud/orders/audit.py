"""What the order path does while the audit log can not be written.

* The entry comes before the effect, in the same transaction.
* A step towards a cut is not taken without its entry: the cut fails closed. Everything else goes on
  (a restore, a stop, a receipt), and its entry waits in a queue that is written first, in its
  order, as soon as the log can be written again (threats T23).
"""

import json
import logging
import sqlite3
from collections.abc import Mapping
from typing import Any, Protocol

from cloud.clock import Clock
from cloud.store import sql_orders as sql
from protocols.errors import CallerError

log = logging.getLogger("cloud.audit")

PENDING_AT_ONCE = 1000  # entries written behind in one transaction

Fields = Mapping[str, int | str | bytes]


class AuditError(CallerError):
    """The log can not be written: no step towards a cut is taken."""


class AuditLog(Protocol):
    """Where entries go."""

    def append(self, kind: str, subject: str, fields: Mapping[str, Any]) -> object:
        """One entry, in the open transaction; sqlite3.Error or OSError when it can not be
        written."""


class AuditKeeper:
    """Writes entries, or keeps those that may wait."""

    def __init__(self, audit: AuditLog, db: sqlite3.Connection, clock: Clock) -> None:
        self._audit = audit
        self._db = db
        self._clock = clock
        self._has_pending: bool | None = None

    def forget(self) -> None:
        """The transaction was undone."""
        self._has_pending = None

    def note(self, kind: str, subject: str, fields: Fields, may_wait: bool = True) -> None:
        """One entry in the open transaction. AuditError when it can not be written and may not
        wait."""
        plain = {
            name: value.hex() if isinstance(value, bytes) else value
            for name, value in fields.items()
        }
        try:
            self.flush()
            self._append(kind, subject, plain)
        except AuditError as error:
            if not may_wait:
                raise
            log.error("audit_waits kind=%s error=%s", kind, error)
            parameters = (self._clock.utc_ms(), kind, subject, json.dumps(plain))
            self._db.execute(sql.INSERT_PENDING, parameters)
            self._has_pending = True

    def flush(self) -> None:
        """Write what waits, first come first; AuditError when it can not be written still."""
        if self._has_pending is None:
            self._has_pending = bool(self._db.execute(sql.SELECT_PENDING, (1,)).fetchall())
        if not self._has_pending:
            return
        rows: list[Any] = self._db.execute(sql.SELECT_PENDING, (PENDING_AT_ONCE,)).fetchall()
        for key, at, kind, subject, packed in rows:
            self._append(kind, subject, {**json.loads(packed), "happened at": at})
            self._db.execute(sql.DELETE_PENDING, (key,))
        self._has_pending = len(rows) == PENDING_AT_ONCE

    def _append(self, kind: str, subject: str, fields: Mapping[str, Any]) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        # Whole or not at all, for the transaction may go on without it.
        self._db.execute("SAVEPOINT entry")
        try:
            self._audit.append(kind, subject, fields)
        except (sqlite3.Error, OSError, AuditError) as error:
            self._db.execute("ROLLBACK TO entry")
            raise AuditError(
                f"audit-unavailable: the audit log can not be written ({type(error).__name__})"
            ) from error
        finally:
            self._db.execute("RELEASE entry")
