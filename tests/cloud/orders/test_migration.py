"""A database of version 2 becomes one of version 3 by additions alone; `version2.sql` is the schema
that the previous release made."""

import sqlite3
from contextlib import closing
from pathlib import Path

from cloud.store.database import APPLICATION_ID, open_reader, open_writer
from cloud.store.orders import OrderStore
from cloud.store.reader import Reader

VERSION_2 = Path(__file__).with_name("version2.sql")
ROWS = """
INSERT INTO setting VALUES ('tenant', 't1');
INSERT INTO gateway (gateway_key, gateway_id, last_seen_at) VALUES (1, 'gw1', 5);
INSERT INTO meter_order VALUES (x'01', 1, 'm1', '1', 'read', '1-0:1.8.0*255', 7, 'done', 1, 2,
  NULL);
INSERT INTO meter_order VALUES (x'02', 1, 'm1', '1', 'read', '1-0:1.8.0*255', 8, 'queued', 3, 4,
  x'AA');
INSERT INTO order_event VALUES (1, x'01', 'done', 9, 8, 'r');
INSERT INTO receipt VALUES (1, 7, 'done', x'01', '', 1, 2, '[]', '[]', 3);
"""


def old(path: Path) -> None:
    db = sqlite3.connect(path)
    header = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 2;"
    db.executescript(header + VERSION_2.read_text() + ROWS)
    db.close()


def shape(db: sqlite3.Connection) -> dict[str, list[tuple]]:
    """Columns of each table and view, and the text of each trigger and index."""
    found = {}
    for kind, name, text in db.execute("SELECT type, name, sql FROM sqlite_schema").fetchall():
        if kind in ("table", "view"):
            columns = [row[1:] for row in db.execute(f"PRAGMA table_info({name})")]
            if name in ("meter_order", "epoch", "receipt"):
                columns.sort(key=str)  # what was added stands behind
            found[name] = columns
        elif text:
            found[name] = [tuple(text.split())]
    return found


def test_every_table_is_as_in_a_fresh_database(tmp_path: Path) -> None:
    """Columns, indexes, triggers, views."""
    old(tmp_path / "a.db")
    for _ in range(2):
        open_writer(tmp_path / "a.db", "t1").close()
    migrated, fresh = open_reader(tmp_path / "a.db"), open_writer(tmp_path / "b.db", "t1")
    assert shape(migrated) == shape(fresh)
    migrated.close()
    fresh.close()


def test_rows_stay_and_the_old_release_still_finds_its_columns(tmp_path: Path) -> None:
    """Only additions: every statement over the old columns gives what it gave."""
    old(tmp_path / "a.db")
    open_writer(tmp_path / "a.db", "t1").close()
    db = sqlite3.connect(tmp_path / "a.db")
    before = sqlite3.connect(":memory:")
    before.executescript(VERSION_2.read_text() + ROWS)
    for (table,) in before.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"):
        names = [row[1] for row in before.execute(f"PRAGMA table_info({table})")]
        columns = ", ".join(f'"{name}"' for name in names)
        statement = f"SELECT {columns} FROM {table}"
        assert db.execute(statement).fetchall() == before.execute(statement).fetchall()
    db.execute(
        "INSERT INTO meter_order (order_id, gateway_key, meter_id, meter_address, action, obis,"
        " counter, state, created_at, expires_at) VALUES (x'03', 1, 'm', '1', 'read', 'o', 9,"
        " 'draft', 1, 2)"
    )
    db.commit()
    db.close()
    before.close()


def test_what_was_stored_is_read(tmp_path: Path) -> None:
    """Orders of the previous release, with what they did not have at its default."""
    old(tmp_path / "a.db")
    open_writer(tmp_path / "a.db", "t1").close()
    with Reader(tmp_path / "a.db") as reader:
        queued, done = reader.orders(10)
    with closing(open_reader(tmp_path / "a.db")) as db:
        (receipt,) = OrderStore(db).receipts(done)
        ((*_, reason),) = OrderStore(db).events(done.order_id)
    assert (done.counter, done.state, done.effect, done.requested_by) == (7, "done", "reads", "")
    assert (queued.is_sealed, queued.digest) == (1, None)
    assert (receipt.facts, reason) == ("[]", "r")
