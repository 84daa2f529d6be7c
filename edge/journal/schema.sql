-- The gateway's journal. One row of reading_set is what one meter showed at one instant.
-- "values" is a JSON array in the order of the layout's rows [obis, scaler, unit, kind].
CREATE TABLE mark (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE meter (meter_key INTEGER PRIMARY KEY, meter_id TEXT NOT NULL UNIQUE);
CREATE TABLE boot (boot_key INTEGER PRIMARY KEY, boot_id BLOB NOT NULL UNIQUE);
CREATE TABLE layout (layout_key INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE);
CREATE TABLE reading_set (
    sequence INTEGER PRIMARY KEY,
    meter_key INTEGER NOT NULL REFERENCES meter,
    layout_key INTEGER NOT NULL REFERENCES layout,
    boot_key INTEGER NOT NULL REFERENCES boot,
    read_at INTEGER NOT NULL,
    boot_at INTEGER NOT NULL,
    quality INTEGER NOT NULL,
    "values" TEXT NOT NULL
);
-- Sequences that the head end has stored, as ranges that neither touch nor overlap.
CREATE TABLE acknowledged (first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE order_inbox (
    counter INTEGER PRIMARY KEY,
    order_id BLOB NOT NULL,
    body BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    state TEXT NOT NULL
);
CREATE TABLE receipt (
    counter INTEGER NOT NULL,
    state TEXT NOT NULL,
    body BLOB NOT NULL,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    UNIQUE (counter, state)
);
