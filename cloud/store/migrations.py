"""From each earlier version of the database to the next one: what was added since, and nothing
that changes a row. `schema.sql` is the whole of the present version; a test compares the two."""

from cloud.store import version3

_EVENTS = """
CREATE TABLE event (
    epoch_key INTEGER NOT NULL REFERENCES epoch,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    boot_at INTEGER NOT NULL,
    boot_id BLOB NOT NULL,
    quality INTEGER NOT NULL,
    number INTEGER NOT NULL,
    drift_s INTEGER,
    detail TEXT NOT NULL,
    evidence TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (epoch_key, sequence)
) STRICT"""

_CONFIGS = """
CREATE TABLE config (
    gateway_key INTEGER NOT NULL REFERENCES gateway,
    version INTEGER NOT NULL,
    is_dry_run INTEGER NOT NULL,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    message BLOB,
    PRIMARY KEY (gateway_key, version)
) STRICT"""

# version -> the statements that lead to the next one
MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE reading_set ADD COLUMN origin INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE reading_set ADD COLUMN flags INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE epoch ADD COLUMN events INTEGER NOT NULL DEFAULT 0",
        _EVENTS,
        "CREATE INDEX event_by_arrival ON event (received_at)",
        _CONFIGS,
        "CREATE INDEX config_open ON config (gateway_key) WHERE message IS NOT NULL",
    ),
    2: version3.ADDED,
}
