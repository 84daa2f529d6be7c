"""Opening: one writer, readers that only read, files that are ours."""

import sqlite3
from pathlib import Path

import pytest

from cloud.app import Core
from cloud.store.database import StateLock, StoreError, open_reader, open_writer
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
        with pytest.raises(StoreError, match="is not a head end's database of version 1"):
            opening()
    other = tmp_path / "b.db"
    open_writer(other, "t1").close()
    db = sqlite3.connect(other)
    db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(StoreError, match="version 1"):
        open_writer(other, "t1")


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
