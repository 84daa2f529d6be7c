"""Whether an error of SQLite speaks of the file or of the disk."""

import sqlite3

# What SQLite says of a bad file. Its other errors (full, busy, read-only, an unreadable sector) are
# the disk's: the rows in the file are as good as before.
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_SHORT_READ}


class JournalRefusedError(OSError):
    """The journal can not be opened, and is not damaged either. One sentence for a person."""


class JournalReplacedError(Exception):
    """What was asked of a journal that was put aside meanwhile; the one of now has another
    epoch."""


def is_damage(error: BaseException) -> bool:
    """Whether the file itself is bad, and must be put aside."""
    code = getattr(error, "sqlite_errorcode", 0)
    return bool({code, code & 0xFF} & _DAMAGE)
