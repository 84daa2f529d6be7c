"""The file of the journal: made, brought forward to this version, examined, put aside."""

import sqlite3
from importlib.resources import files
from pathlib import Path

from edge.journal.damage import JournalRefusedError

PAGE_SIZE = 4096
JOURNAL_SIZE_LIMIT = 4 * 1024 * 1024  # of SQLite's log, once it has been taken over
# Each brings a file from the version of its place to the next one. A new file goes through all of
# them, so that it is like one that was brought forward.
_SCHEMAS = ("schema.sql", "schema-1.sql", "schema-2.sql")
VERSION = len(_SCHEMAS) - 1  # PRAGMA user_version
ASIDE, REASON = "aside", "reason"  # memo: why the file before was put aside, until that is told
_FRESH = "journal-new.db"  # a new file until it is whole
_COMPANIONS = ("-wal", "-shm")
_READ_SIZE = 1 << 20
_Tables = dict[str, list[str]]


def version_of(db: sqlite3.Connection) -> int:
    """The version of the file's schema."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def is_new(db: sqlite3.Connection) -> bool:
    """Whether there is nothing in the file."""
    return not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def build(db: sqlite3.Connection) -> None:
    """Makes the tables, and leaves the transaction open for what belongs to them."""
    db.executescript("BEGIN;" + "".join(_texts(0)) + f"PRAGMA user_version={VERSION};")


def bring_forward(db: sqlite3.Connection, path: Path) -> None:
    """A file of an earlier version becomes one of ours, in one transaction."""
    version = version_of(db)
    if version > VERSION:
        raise JournalRefusedError(
            f"{path} is of version {version}, and this software knows {VERSION} at most: it was"
            " written by a later one, which must be installed again"
        )
    if version == VERSION:
        return
    script = "BEGIN IMMEDIATE;" + "".join(_texts(version + 1)) + f"PRAGMA user_version={VERSION};"
    try:
        db.executescript(script + "COMMIT;")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def missing_table(db: sqlite3.Connection) -> str:
    """In words, the first table or column that a journal of this file's version has and it lacks;
    "" for none."""
    found, version = _tables(db), version_of(db)
    for table, columns in _expected(version).items():
        if table not in found:
            return f"no such table: {table}"
        for column in columns:
            if column not in found[table]:
                return f"no such column: {table}.{column}"
    return ""


def check(db: sqlite3.Connection) -> str:
    """What is wrong with the pages of the file, in SQLite's words; "" for nothing."""
    result = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    return "" if result == "ok" else str(result)


def read_through(path: Path) -> None:
    """Reads every byte; OSError when the disk does not give them, which is no fault of theirs."""
    with path.open("rb", buffering=0) as file:
        while file.read(_READ_SIZE):
            pass


def begin_renewal(path: Path) -> Path:
    """Where a new file is made before it takes the place of a damaged one; nothing is there."""
    fresh = path.with_name(_FRESH)
    for suffix in ("", *_COMPANIONS):
        Path(str(fresh) + suffix).unlink(missing_ok=True)
    return fresh


def put_aside(path: Path) -> None:
    """Gives the file, its log and its index a name that no other had. The file goes first: without
    its log it would be a journal that has forgotten what it had committed. If a crash came between
    them, the rest follows."""
    highest = max(map(_number_of, path.parent.glob("journal-damaged-*.db")), default=0)
    number = highest + 1 if path.exists() else highest
    for suffix in ("", *_COMPANIONS):
        part = Path(str(path) + suffix)
        if part.exists():
            part.replace(path.with_name(f"journal-damaged-{number}.db{suffix}"))


def finish_renewal(path: Path) -> None:
    """Gives the place of a file that was put aside to the new one, if that was still to be done."""
    fresh = path.with_name(_FRESH)
    if fresh.exists() and not (path.exists() and path.stat().st_size):
        path.unlink(missing_ok=True)  # empty: made by a reader that came between
        put_aside(path)
        fresh.replace(path)


def _number_of(aside: Path) -> int:
    number = aside.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _texts(version: int) -> list[str]:
    folder = files("edge.journal")
    return [folder.joinpath(name).read_text() for name in _SCHEMAS[version:]]


def _tables(db: sqlite3.Connection) -> _Tables:
    names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {
        name: [row[1] for row in db.execute(f"PRAGMA table_info({_quoted(name)})")]
        for (name,) in names
    }


def _expected(version: int) -> _Tables:
    model = sqlite3.connect(":memory:")
    try:
        for name in _SCHEMAS[: min(version, VERSION) + 1]:
            model.executescript(files("edge.journal").joinpath(name).read_text())
        return _tables(model)
    finally:
        model.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
