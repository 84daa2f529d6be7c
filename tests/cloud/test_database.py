"""Opening: one writer, readers that only read, files that are ours."""

import sqlite3
from pathlib import Path

import pytest

from cloud.app import Core
from cloud.store.database import StateLock, StoreError, open_reader, open_writer
from cloud.store.reader import Reader, StoredSet
from protocols.errors import SettingError
from tests.cloud.world import World


def test_the_writer_is_durable(tmp_path: Path) -> None:
    """WAL, FULL, foreign keys, no trust in the schema; private to its user."""
    path = tmp_path / "a.db"
    db = open_writer(path, "t1")
    pragmas = {
        name: db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "auto_vacuum")
    }
    db.close()
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "auto_vacuum": 2,
    }
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_reader_can_not_write(world: World, core: Core) -> None:
    """Nor checkpoint; it sees what is committed, while the writer goes on."""
    core.ingest.handle(*world.gateway.data([1]))
    core.ingest.commit()
    db = open_reader(world.settings().database)
    with pytest.raises(sqlite3.OperationalError):
        db.execute("DELETE FROM reading_set")
    assert db.execute("PRAGMA wal_autocheckpoint").fetchone()[0] == 0
    core.ingest.handle(*world.gateway.data([2]))
    assert db.execute("SELECT count(*) FROM reading_set").fetchone()[0] == 1
    core.ingest.commit()
    assert db.execute("SELECT count(*) FROM reading_set").fetchone()[0] == 2
    db.close()


def test_a_reader_after_the_service_has_ended(world: World) -> None:
    """Without the writer's shared memory files."""
    core = world.core()
    core.ingest.handle(*world.gateway.data([1]))
    core.ingest.commit()
    core.store.close()
    db = open_reader(world.settings().database)
    assert db.execute("SELECT count(*) FROM reading_set").fetchone()[0] == 1
    db.close()


def test_another_tenants_database_is_refused(tmp_path: Path) -> None:
    """Two tenants never share rows."""
    open_writer(tmp_path / "a.db", "t1").close()
    with pytest.raises(StoreError, match="another tenant than 't2'"):
        open_writer(tmp_path / "a.db", "t2")


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    """A database of another program, or of another version of ours, is not touched."""
    path = tmp_path / "a.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE x (y)")
    db.close()
    for opening in (lambda: open_writer(path, "t1"), lambda: open_reader(path)):
        with pytest.raises(StoreError, match="is not a head end's database of version 3"):
            opening()
    other = tmp_path / "b.db"
    open_writer(other, "t1").close()
    db = sqlite3.connect(other)
    db.execute("PRAGMA user_version = 4")
    db.close()
    with pytest.raises(StoreError, match="version 3"):
        open_writer(other, "t1")


VERSION_1 = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE gateway (
    gateway_key INTEGER PRIMARY KEY, gateway_id TEXT NOT NULL UNIQUE, epoch_key INTEGER,
    ack_counter INTEGER NOT NULL DEFAULT 0, order_counter INTEGER NOT NULL DEFAULT 0,
    last_seen_at INTEGER NOT NULL, quality INTEGER, boot_id BLOB, version TEXT, hello_at INTEGER,
    hello_sequence INTEGER, nonce BLOB, acknowledged INTEGER,
    last_order INTEGER NOT NULL DEFAULT 0, presence TEXT, presence_at INTEGER) STRICT;
CREATE TABLE epoch (
    epoch_key INTEGER PRIMARY KEY, gateway_key INTEGER NOT NULL REFERENCES gateway,
    epoch BLOB NOT NULL, head INTEGER NOT NULL DEFAULT 0,
    window_highest INTEGER NOT NULL DEFAULT 0, window_seen BLOB NOT NULL DEFAULT x'',
    first_seen_at INTEGER NOT NULL, UNIQUE (gateway_key, epoch)) STRICT;
CREATE TABLE meter (
    meter_key INTEGER PRIMARY KEY, gateway_key INTEGER NOT NULL REFERENCES gateway,
    meter_id TEXT NOT NULL, meter_address TEXT, is_announced INTEGER NOT NULL DEFAULT 0,
    UNIQUE (gateway_key, meter_id)) STRICT;
CREATE TABLE boot (boot_key INTEGER PRIMARY KEY, boot_id BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE layout (layout_key INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE reading_set (
    epoch_key INTEGER NOT NULL, sequence INTEGER NOT NULL, meter_key INTEGER NOT NULL,
    read_at INTEGER NOT NULL, boot_at INTEGER NOT NULL, boot_key INTEGER NOT NULL,
    quality INTEGER NOT NULL, received_at INTEGER NOT NULL, layout_key INTEGER NOT NULL,
    "values" TEXT NOT NULL, UNIQUE (epoch_key, sequence)) STRICT;
CREATE TABLE meter_order (
    order_id BLOB PRIMARY KEY, gateway_key INTEGER NOT NULL REFERENCES gateway,
    meter_id TEXT NOT NULL, meter_address TEXT NOT NULL, action TEXT NOT NULL, obis TEXT NOT NULL,
    counter INTEGER NOT NULL, state TEXT NOT NULL, created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, message BLOB, UNIQUE (gateway_key, counter))
    STRICT, WITHOUT ROWID;
CREATE TABLE receipt (
    gateway_key INTEGER NOT NULL REFERENCES gateway, counter INTEGER NOT NULL, state TEXT NOT NULL,
    order_id BLOB NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL, quality INTEGER NOT NULL,
    readings TEXT NOT NULL, evidence TEXT NOT NULL, received_at INTEGER NOT NULL,
    PRIMARY KEY (gateway_key, counter, state)) STRICT;
INSERT INTO setting VALUES ('tenant', 't1');
INSERT INTO gateway (gateway_key, gateway_id, epoch_key, last_seen_at) VALUES (1, 'gw1', 1, 5);
INSERT INTO epoch (epoch_key, gateway_key, epoch, head, first_seen_at) VALUES (1, 1, x'00', 7, 5);
INSERT INTO meter (meter_key, gateway_key, meter_id) VALUES (1, 1, 'meter-1');
INSERT INTO boot VALUES (1, x'00112233445566778899aabbccddeeff');
INSERT INTO layout VALUES (1, '[["1-0:1.8.0*255",1,"Wh",1]]');
INSERT INTO reading_set VALUES (1, 7, 1, 1000, 900, 1, 2, 1001, 1, '[42]');
PRAGMA application_id = 1111640131;
PRAGMA user_version = 1;
"""


def columns(db: sqlite3.Connection, table: str) -> set[tuple[object, ...]]:
    """Name, type, NOT NULL, default and key of each column."""
    return {row[1:] for row in db.execute(f"PRAGMA table_info({table})")}


def test_a_database_of_version_1_is_brought_to_this_one(tmp_path: Path) -> None:
    """What it holds stays as it is, and everything of the present schema is there."""
    path = tmp_path / "a.db"
    db = sqlite3.connect(path)
    db.executescript(VERSION_1)
    db.close()
    with pytest.raises(StoreError, match="of version 3; busbar-cloud run brings it there"):
        open_reader(path)
    with pytest.raises(StoreError, match="another tenant"):
        open_writer(path, "t2")
    for _ in range(2):
        open_writer(path, "t1").close()
    with Reader(path) as reader:
        (one,) = reader.sets((1, "gw1"))
        assert list(reader.latest_events()) == []
    assert one == StoredSet(
        "gw1", 7, 1000, 900, 2, 1001, [["1-0:1.8.0*255", 1, "Wh", 1]], [42], 0, 0
    )
    migrated, fresh = open_reader(path), open_writer(tmp_path / "b.db", "t1")
    for table in ("reading_set", "epoch", "event", "config"):
        assert columns(migrated, table) == columns(fresh, table) != set()
    wanted = "SELECT name FROM sqlite_schema WHERE tbl_name IN ('event', 'config') ORDER BY name"
    assert migrated.execute(wanted).fetchall() == fresh.execute(wanted).fetchall()
    migrated.close()
    fresh.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """The file is as it was, and the next start tries again."""
    path = tmp_path / "a.db"
    db = sqlite3.connect(path)
    db.executescript(VERSION_1 + "CREATE TABLE event (x);")
    with pytest.raises(StoreError, match="cannot be used"):
        open_writer(path, "t1")
    assert db.execute("PRAGMA user_version").fetchone()[0] == 1
    assert len(columns(db, "reading_set")) == 10
    db.execute("DROP TABLE event")
    db.close()
    open_writer(path, "t1").close()


def test_a_state_directory_has_one_service(tmp_path: Path) -> None:
    """The second is refused while the first is there."""
    lock = StateLock(tmp_path / "state")
    with pytest.raises(SettingError, match="in use by another busbar-cloud"):
        StateLock(tmp_path / "state")
    lock.release()
    StateLock(tmp_path / "state").release()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_the_hot_insert_uses_the_key_and_one_index(core: Core) -> None:
    """No table scan on the way of a duplicate or of a meter's history."""
    db = core.store.db
    plans = [
        ("SELECT 1 FROM reading_set WHERE epoch_key = 1 AND sequence = 2", "COVERING INDEX"),
        ("SELECT max(sequence) FROM reading_set WHERE epoch_key = 1", "COVERING INDEX"),
        ("SELECT 1 FROM reading_set WHERE meter_key = 1 AND read_at > 5", "reading_set_by_meter"),
        ("SELECT 1 FROM meter_order WHERE state = 'queued'", "meter_order_by_state"),
    ]
    for statement, key in plans:
        plan = " ".join(str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert key in plan and "SCAN" not in plan, plan
