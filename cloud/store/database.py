"""Opens the database: one read-write connection in the whole process, read-only ones for the CLI.

A database of an earlier version of ours is brought to this one when the service starts, in one
transaction; see `migrations`.

SQLite before 3.51.3 can corrupt a WAL database when two connections checkpoint at once, so there is
exactly one that writes, `StateLock` keeps a second service away from the directory, and readers
never checkpoint.
"""

import fcntl
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from cloud.store import sql
from cloud.store.migrations import MIGRATIONS
from protocols.errors import BusbarError, SettingError

SCHEMA_VERSION = 3
APPLICATION_ID = 0x42424843  # "BBHC"


class StoreError(BusbarError):
    """The database is not there, or is not one of ours."""


class StateLock:
    """Held while a service uses a state directory; the kernel drops it when the process ends."""

    def __init__(self, state_dir: Path) -> None:
        """Makes the directory, private, when it is missing. SettingError when it can not be used or
        another service uses it."""
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingError(
                f"state_dir = {str(state_dir)!r} cannot be used: {error.strerror}; "
                "it must be a directory that this user may write"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise SettingError(
                f"state_dir = {str(state_dir)!r} is in use by another busbar-cloud; "
                "it must be a directory of this one alone"
            ) from error

    def release(self) -> None:
        """Let another service have the directory."""
        os.close(self._file)


def open_writer(path: Path, tenant: str) -> sqlite3.Connection:
    """The read-write connection; makes the schema in an empty file. StoreError when the file is not
    ours, is another tenant's, or can not be opened. Use it in one thread only."""
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be opened: {error}") from error
    try:
        for pragma in sql.WRITER_PRAGMAS:
            db.execute(pragma)
        _prepare(db, path, tenant)
        path.chmod(0o600)
    except sqlite3.Error as error:
        db.close()
        raise StoreError(f"{path}: cannot be used: {error}") from error
    except BaseException:
        db.close()
        raise
    return db


def open_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection; StoreError when there is no database of ours."""
    if not path.exists():
        raise StoreError(f"{path}: does not exist; busbar-cloud run makes it")
    try:
        db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be opened: {error}") from error
    try:
        for pragma in sql.READER_PRAGMAS:
            db.execute(pragma)
        _check_version(db, path)
    except sqlite3.Error as error:
        db.close()
        raise StoreError(f"{path}: cannot be read: {error}") from error
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path, tenant: str) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if version == 0 and tables == 0:
        script = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
        header = (
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        )
        try:
            db.executescript(f"BEGIN EXCLUSIVE; {header} {script}")
            db.execute(sql.INSERT_SETTING, ("tenant", tenant))
            db.execute("COMMIT")
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    _migrate(db)
    _check_version(db, path)
    owner = db.execute(sql.SELECT_SETTING, ("tenant",)).fetchone()
    if owner is None or owner[0] != tenant:
        raise StoreError(f"{path}: belongs to another tenant than {tenant!r}")


def _migrate(db: sqlite3.Connection) -> None:
    """Step by step to SCHEMA_VERSION, or nothing of it."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    is_ours = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    if not is_ours or version not in MIGRATIONS:
        return
    db.execute("BEGIN EXCLUSIVE")
    try:
        while version in MIGRATIONS:
            for statement in MIGRATIONS[version]:
                db.execute(statement)
            version += 1
        db.execute(f"PRAGMA user_version = {version}")
        db.execute("COMMIT")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    found = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if found != APPLICATION_ID or version != SCHEMA_VERSION:
        is_earlier = found == APPLICATION_ID and version in MIGRATIONS
        hint = "; busbar-cloud run brings it there" if is_earlier else ""
        raise StoreError(f"{path}: is not a head end's database of version {SCHEMA_VERSION}{hint}")
