"""The statements that the head end sends to its database: parameters, never pieced together. Those
about orders: `sql_orders`."""

# ---- writer: gateways and epochs ---------------------------------------------------------------

SELECT_GATEWAY = """
SELECT gateway_key, gateway_id, epoch_key, ack_counter, order_counter, last_seen_at, quality,
  boot_id, version, hello_at, hello_sequence, nonce, acknowledged, last_order, presence,
  presence_at
FROM gateway WHERE gateway_id = ?"""
SELECT_GATEWAY_IDS = "SELECT gateway_id FROM gateway ORDER BY gateway_id"
INSERT_GATEWAY = "INSERT INTO gateway (gateway_id, last_seen_at) VALUES (?, ?)"
UPDATE_GATEWAY = """
UPDATE gateway SET epoch_key = ?, ack_counter = ?, order_counter = ?, last_seen_at = ?,
  quality = ?, boot_id = ?, version = ?, hello_at = ?, hello_sequence = ?, nonce = ?,
  acknowledged = ?, last_order = ?, presence = ?, presence_at = ?
WHERE gateway_key = ?"""
SELECT_EPOCH = """
SELECT epoch_key, gateway_key, epoch, head, events, audit, window_highest, window_seen FROM epoch
WHERE gateway_key = ? AND epoch = ?"""
SELECT_EPOCH_BY_KEY = """
SELECT epoch_key, gateway_key, epoch, head, events, audit, window_highest, window_seen FROM epoch
WHERE epoch_key = ?"""
COUNT_EPOCHS = "SELECT count(*) FROM epoch WHERE gateway_key = ?"
INSERT_EPOCH = "INSERT INTO epoch (gateway_key, epoch, first_seen_at) VALUES (?, ?, ?)"
UPDATE_EPOCH = """
UPDATE epoch SET head = ?, events = ?, audit = ?, window_highest = ?, window_seen = ?
WHERE epoch_key = ?"""
SELECT_RANGES = "SELECT first, last FROM stored_range WHERE epoch_key = ? ORDER BY first"
PUT_RANGE = """
INSERT INTO stored_range (epoch_key, first, last) VALUES (?, ?, ?)
ON CONFLICT (epoch_key, first) DO UPDATE SET last = excluded.last"""
DELETE_RANGE = "DELETE FROM stored_range WHERE epoch_key = ? AND first = ?"

# ---- writer: reading sets ----------------------------------------------------------------------

INSERT_SET = """
INSERT INTO reading_set (epoch_key, sequence, meter_key, read_at, boot_at, boot_key, quality,
  received_at, layout_key, "values", origin, flags) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
SELECT_SET = """
SELECT meter_id, read_at, boot_at, boot_id, quality, content, "values", origin, flags
FROM reading_set
JOIN meter USING (meter_key) JOIN boot USING (boot_key) JOIN layout USING (layout_key)
WHERE epoch_key = ? AND sequence = ?"""
SELECT_METER_KEY = "SELECT meter_key FROM meter WHERE gateway_key = ? AND meter_id = ?"
INSERT_METER = "INSERT INTO meter (gateway_key, meter_id) VALUES (?, ?)"
SELECT_BOOT_KEY = "SELECT boot_key FROM boot WHERE boot_id = ?"
INSERT_BOOT = "INSERT INTO boot (boot_id) VALUES (?)"
SELECT_LAYOUT_KEY = "SELECT layout_key FROM layout WHERE content = ?"
INSERT_LAYOUT = "INSERT INTO layout (content) VALUES (?)"
WITHDRAW_METERS = "UPDATE meter SET is_announced = 0 WHERE gateway_key = ? AND is_announced"
ANNOUNCE_METER = """
INSERT INTO meter (gateway_key, meter_id, meter_address, is_announced) VALUES (?, ?, ?, 1)
ON CONFLICT (gateway_key, meter_id)
DO UPDATE SET meter_address = excluded.meter_address, is_announced = 1"""
SELECT_ANNOUNCERS = """
SELECT gateway_id, meter_address FROM meter JOIN gateway USING (gateway_key)
WHERE meter_id = ? AND is_announced ORDER BY gateway_id"""

# ---- writer: events ----------------------------------------------------------------------------

INSERT_EVENT = """
INSERT INTO event (epoch_key, sequence, kind, subject, at, boot_at, boot_id, quality, number,
  drift_s, detail, evidence, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
SELECT_EVENT = """
SELECT kind, subject, at, boot_at, boot_id, quality, number, drift_s, detail, evidence FROM event
WHERE epoch_key = ? AND sequence = ?"""
SELECT_EVENT_SEQUENCES = """
SELECT sequence FROM event WHERE epoch_key = ? AND sequence > ? ORDER BY sequence"""

# ---- writer: refusals --------------------------------------------------------------------------

SELECT_REFUSED = "SELECT DISTINCT gateway_id FROM refusal"
PUT_REFUSAL = """
INSERT INTO refusal (gateway_id, reason, count, first_at, last_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (gateway_id, reason)
DO UPDATE SET count = count + excluded.count, last_at = excluded.last_at"""

# ---- writer: configurations --------------------------------------------------------------------

INSERT_CONFIG = """
INSERT INTO config (gateway_key, version, is_dry_run, text, created_at, expires_at, message)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
SELECT_CONFIG_VERSION = "SELECT coalesce(max(version), 0) FROM config WHERE gateway_key = ?"
SELECT_OPEN_CONFIGS = """
SELECT gateway_id, config.version, is_dry_run, text, created_at, expires_at, message, hello_at
FROM config JOIN gateway USING (gateway_key) WHERE message IS NOT NULL
ORDER BY gateway_key, config.version"""
CLOSE_CONFIG = """
UPDATE config SET message = NULL
WHERE gateway_key = (SELECT gateway_key FROM gateway WHERE gateway_id = ?) AND version = ?"""
CLOSE_CONFIGS = "UPDATE config SET message = NULL WHERE gateway_key = ?"
SELECT_CONFIGS_TOLD = """
SELECT gateway_id, detail FROM event JOIN epoch USING (epoch_key) JOIN gateway USING (gateway_key)
WHERE received_at >= ?
  AND kind IN ('config-applied', 'config-refused', 'config-reverted', 'config-checked')"""

# ---- readers -----------------------------------------------------------------------------------

SELECT_METER_KEYS = """
SELECT meter_key, gateway_id FROM meter JOIN gateway USING (gateway_key)
WHERE meter_id = ?1 AND (?2 IS NULL OR gateway_id = ?2) ORDER BY gateway_id"""
SELECT_METER_SETS = """
SELECT sequence, read_at, boot_at, quality, received_at, content, "values", origin, flags
FROM reading_set JOIN layout USING (layout_key)
WHERE meter_key = ?1 AND read_at >= ?2 AND read_at < ?3 ORDER BY read_at, epoch_key, sequence"""
SELECT_METER_SETS_LATEST = """
SELECT sequence, read_at, boot_at, quality, received_at, content, "values", origin, flags
FROM reading_set JOIN layout USING (layout_key)
WHERE meter_key = ?1 AND read_at >= ?2 AND read_at < ?3
ORDER BY read_at DESC, epoch_key DESC, sequence DESC"""
SELECT_GATEWAYS = """
SELECT gateway_id, last_seen_at, quality, version, hello_at, presence, epoch_key,
  (SELECT head FROM epoch WHERE epoch.epoch_key = gateway.epoch_key)
FROM gateway ORDER BY gateway_id"""
SELECT_GATEWAY_METERS = """
SELECT meter_id, meter_address FROM meter JOIN gateway USING (gateway_key)
WHERE gateway_id = ? AND is_announced ORDER BY meter_id"""
SELECT_EPOCHS = """
SELECT epoch.epoch_key, epoch.epoch, head, first_seen_at FROM epoch JOIN gateway USING (gateway_key)
WHERE gateway_id = ? ORDER BY epoch.epoch_key"""
# Gaps and islands: within a run without a hole, sequence minus its rank stays the same.
SELECT_ROW_RANGES = """
SELECT min(sequence), max(sequence) FROM (
  SELECT sequence, sequence - row_number() OVER (ORDER BY sequence) AS island
  FROM reading_set WHERE epoch_key = ?)
GROUP BY island ORDER BY 1"""
SELECT_EVENTS_LATEST = """
SELECT gateway_id, event.epoch_key, sequence, kind, subject, at, boot_at, event.boot_id,
  event.quality, number, drift_s, detail, evidence, received_at
FROM event JOIN epoch USING (epoch_key) JOIN gateway USING (gateway_key)
WHERE (?1 IS NULL OR gateway_id = ?1) AND received_at >= ?2
ORDER BY received_at DESC, event.epoch_key DESC, sequence DESC"""
SELECT_CONFIGS = """
SELECT gateway_id, config.version, is_dry_run, text, created_at, expires_at, message, hello_at
FROM config JOIN gateway USING (gateway_key) WHERE gateway_id = ?
ORDER BY config.version DESC LIMIT ?"""
SELECT_GATEWAY_KEY = "SELECT gateway_key FROM gateway WHERE gateway_id = ?"
SELECT_REFUSALS = """
SELECT gateway_id, reason, count, first_at, last_at FROM refusal ORDER BY gateway_id, reason"""
SELECT_ORDERS = "SELECT * FROM whole_order ORDER BY created_at DESC, order_id LIMIT ?"

# ---- opening -----------------------------------------------------------------------------------

SELECT_SETTING = "SELECT value FROM setting WHERE name = ?"
INSERT_SETTING = "INSERT INTO setting (name, value) VALUES (?, ?)"
WRITER_PRAGMAS = (
    "PRAGMA auto_vacuum = INCREMENTAL",  # before the first table
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA busy_timeout = 5000",  # ms
    "PRAGMA wal_autocheckpoint = 1000",  # pages
    "PRAGMA journal_size_limit = 4194304",  # bytes
)
READER_PRAGMAS = (
    "PRAGMA query_only = ON",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA busy_timeout = 5000",
)
