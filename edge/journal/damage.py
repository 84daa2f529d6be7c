"""Whether an error of SQLite speaks of the file or of the disk."""

import sqlite3

# What SQLite says of a bad file. Its other errors (full, busy, read-only) are the disk's: the rows
# in the file are as good as before.
_DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DAMAGE |= {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is bad, and must be put aside."""
    return bool({error.sqlite_errorcode, error.sqlite_errorcode & 0xFF} & _DAMAGE)
