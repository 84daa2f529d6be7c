-- From version 0 to version 1: origins and flags, events, memos, and where to look for a time.
ALTER TABLE reading_set ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;
ALTER TABLE reading_set ADD COLUMN flags INTEGER NOT NULL DEFAULT 0;
-- Bounds of the times of each 256 sequences, which may be wider than the rows are: what an index by
-- meter and time would tell, at a hundredth of what it would write.
CREATE TABLE block (block INTEGER PRIMARY KEY, earliest INTEGER NOT NULL, latest INTEGER NOT NULL);
INSERT INTO block SELECT sequence >> 8, min(read_at), max(read_at) FROM reading_set GROUP BY 1;
-- "evidence" is a JSON array of [">" or "<", ms, hex digits].
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    boot_at INTEGER NOT NULL,
    boot_key INTEGER NOT NULL REFERENCES boot,
    quality INTEGER NOT NULL,
    number INTEGER NOT NULL,
    drift_s INTEGER,
    detail TEXT NOT NULL,
    evidence TEXT NOT NULL
);
-- What a meter counts itself is kept once, however often its records are collected.
CREATE UNIQUE INDEX event_of_meter ON event (subject, kind, number, at) WHERE number > 0;
-- What parts of the gateway remember over a restart; scope "slot": task -> UTC ms of its last slot.
CREATE TABLE memo (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    value,
    PRIMARY KEY (scope, name)
) WITHOUT ROWID;
