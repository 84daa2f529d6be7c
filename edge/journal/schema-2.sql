-- From version 1 to version 2: the gateway's audit chain, and what orders were about to do.
-- "body" is the canonical CBOR of an entry, "hash" the chain's hash up to and with it.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    body BLOB NOT NULL,
    hash BLOB NOT NULL
);
-- Durable before the first byte of a write: what the ceilings, the dwell and the daily maximum
-- count.
CREATE TABLE intent (
    counter INTEGER PRIMARY KEY,
    meter_id TEXT NOT NULL,
    action TEXT NOT NULL,
    effect TEXT NOT NULL,
    at INTEGER NOT NULL,
    boot_at INTEGER NOT NULL,
    boot_id BLOB NOT NULL
);
