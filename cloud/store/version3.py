"""What version 3 of the database added: the life cycle of orders."""

ADDED = (
    "ALTER TABLE epoch ADD COLUMN audit INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE receipt ADD COLUMN facts TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE meter_order ADD COLUMN effect TEXT NOT NULL DEFAULT 'reads'",
    "ALTER TABLE meter_order ADD COLUMN family TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE meter_order ADD COLUMN arguments BLOB NOT NULL DEFAULT x'80'",
    "ALTER TABLE meter_order ADD COLUMN assurance INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE meter_order ADD COLUMN requested_by TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE meter_order ADD COLUMN reason TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE meter_order ADD COLUMN incident TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE meter_order ADD COLUMN batch_id BLOB",
    "ALTER TABLE meter_order ADD COLUMN area TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE meter_order ADD COLUMN meter_counter INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE meter_order ADD COLUMN valid_from INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE meter_order ADD COLUMN valid_until INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE meter_order ADD COLUMN life_ms INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE meter_order ADD COLUMN submitted_at INTEGER",
    "ALTER TABLE meter_order ADD COLUMN not_before INTEGER",
    "ALTER TABLE meter_order ADD COLUMN body BLOB",
    "ALTER TABLE meter_order ADD COLUMN digest BLOB",
    "ALTER TABLE meter_order ADD COLUMN account TEXT",
    "ALTER TABLE meter_order ADD COLUMN counted_at INTEGER",
    "ALTER TABLE meter_order ADD COLUMN quarantine TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE meter_order ADD COLUMN stop_at INTEGER",
    "ALTER TABLE meter_order ADD COLUMN escalation INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX meter_order_by_meter ON meter_order (meter_id, created_at)",
    """
CREATE INDEX meter_order_by_batch ON meter_order (batch_id, state)
    WHERE batch_id IS NOT NULL""",
    """
CREATE INDEX meter_order_due ON meter_order (not_before)
    WHERE state = 'queued' AND message IS NULL""",
    "CREATE INDEX meter_order_counted ON meter_order (counted_at) WHERE counted_at IS NOT NULL",
    "CREATE INDEX meter_order_asked ON meter_order (submitted_at) WHERE effect = 'cuts'",
    "CREATE INDEX meter_order_restores ON meter_order (created_at) WHERE effect = 'restores'",
    """
CREATE VIEW whole_order AS
SELECT order_id, gateway_id, meter_id, meter_address, action, obis, counter, state, created_at,
  expires_at, effect, family, arguments, assurance, requested_by, reason, incident, batch_id, area,
  meter_counter, valid_from, valid_until, life_ms, submitted_at, not_before, body, digest, account,
  counted_at, quarantine, stop_at, escalation, message IS NOT NULL AS is_sealed
FROM meter_order JOIN gateway USING (gateway_key)""",
    """
CREATE TABLE order_approval (
    order_id BLOB NOT NULL REFERENCES meter_order,
    approver TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    kid BLOB NOT NULL,
    at INTEGER NOT NULL,
    signature BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (order_id, approver),
    UNIQUE (order_id, kid),
    CHECK (approver <> requested_by)
) STRICT""",
    """
CREATE TRIGGER order_approval_is_kept BEFORE DELETE ON order_approval
    BEGIN SELECT raise(ABORT, 'order_approval is append-only'); END""",
    """
CREATE TRIGGER order_approval_is_fixed BEFORE UPDATE ON order_approval
    BEGIN SELECT raise(ABORT, 'order_approval is append-only'); END""",
    """
CREATE TABLE order_batch (
    batch_id BLOB PRIMARY KEY,
    action TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    incident TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    selection BLOB NOT NULL,
    meters TEXT NOT NULL,
    load_w INTEGER NOT NULL,
    load_known INTEGER NOT NULL
) STRICT, WITHOUT ROWID""",
    """
CREATE TRIGGER order_batch_is_frozen
    BEFORE UPDATE OF batch_id, action, requested_by, selection, meters ON order_batch
    BEGIN SELECT raise(ABORT, 'a selection is frozen'); END""",
    """
CREATE TABLE order_key (
    requested_by TEXT NOT NULL,
    key TEXT NOT NULL,
    content BLOB NOT NULL,
    made_id BLOB NOT NULL,
    PRIMARY KEY (requested_by, key)
) STRICT, WITHOUT ROWID""",
    """
CREATE TABLE meter_counter (
    meter_id TEXT NOT NULL,
    family TEXT NOT NULL,
    counter INTEGER NOT NULL,
    PRIMARY KEY (meter_id, family)
) STRICT, WITHOUT ROWID""",
    """
CREATE TRIGGER meter_counter_rises BEFORE UPDATE ON meter_counter
    WHEN new.counter <= old.counter
    BEGIN SELECT raise(ABORT, 'a meter counter only rises'); END""",
    """
CREATE TRIGGER meter_counter_is_kept BEFORE DELETE ON meter_counter
    BEGIN SELECT raise(ABORT, 'a meter counter only rises'); END""",
    """
CREATE TABLE hold (
    hold_key INTEGER PRIMARY KEY,
    is_held INTEGER NOT NULL,
    at INTEGER NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT""",
    """
CREATE TRIGGER hold_is_kept BEFORE DELETE ON hold
    BEGIN SELECT raise(ABORT, 'hold is append-only'); END""",
    """
CREATE TRIGGER hold_is_fixed BEFORE UPDATE ON hold
    BEGIN SELECT raise(ABORT, 'hold is append-only'); END""",
    """
CREATE TABLE never_cut (
    entry_key INTEGER PRIMARY KEY,
    meter_id TEXT NOT NULL,
    flag TEXT NOT NULL,
    note TEXT NOT NULL,
    added_by TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    review_at INTEGER
) STRICT""",
    "CREATE INDEX never_cut_by_meter ON never_cut (meter_id)",
    """
CREATE TRIGGER never_cut_is_kept BEFORE DELETE ON never_cut
    BEGIN SELECT raise(ABORT, 'never_cut is append-only'); END""",
    """
CREATE TRIGGER never_cut_is_fixed BEFORE UPDATE ON never_cut
    BEGIN SELECT raise(ABORT, 'never_cut is append-only'); END""",
    """
CREATE TABLE never_cut_removal (
    entry_key INTEGER NOT NULL REFERENCES never_cut,
    by TEXT NOT NULL,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (entry_key, by)
) STRICT""",
    """
CREATE TRIGGER never_cut_removal_is_kept BEFORE DELETE ON never_cut_removal
    BEGIN SELECT raise(ABORT, 'never_cut_removal is append-only'); END""",
    """
CREATE TRIGGER never_cut_removal_is_fixed BEFORE UPDATE ON never_cut_removal
    BEGIN SELECT raise(ABORT, 'never_cut_removal is append-only'); END""",
    """
CREATE TABLE account_change (
    change_key INTEGER PRIMARY KEY,
    reference TEXT NOT NULL UNIQUE,
    meter_id TEXT NOT NULL,
    change TEXT NOT NULL,
    note TEXT NOT NULL,
    by TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT""",
    "CREATE INDEX account_change_by_meter ON account_change (meter_id)",
    """
CREATE TRIGGER account_change_is_kept BEFORE DELETE ON account_change
    BEGIN SELECT raise(ABORT, 'account_change is append-only'); END""",
    """
CREATE TRIGGER account_change_is_fixed BEFORE UPDATE ON account_change
    BEGIN SELECT raise(ABORT, 'account_change is append-only'); END""",
    """
CREATE TABLE policy (
    gateway_key INTEGER PRIMARY KEY REFERENCES gateway,
    serial INTEGER NOT NULL,
    nonce BLOB NOT NULL,
    made_at INTEGER NOT NULL,
    cuts_until INTEGER NOT NULL
) STRICT""",
    """
CREATE TABLE stop (
    stop_key INTEGER PRIMARY KEY,
    gateway_key INTEGER NOT NULL REFERENCES gateway,
    order_ids BLOB NOT NULL,
    cuts_before INTEGER NOT NULL,
    at INTEGER NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    taken_at INTEGER
) STRICT""",
    "CREATE INDEX stop_open ON stop (gateway_key) WHERE taken_at IS NULL",
    """
CREATE TABLE alarm (
    alarm_key INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    subject TEXT NOT NULL,
    gateway_id TEXT NOT NULL,
    order_id BLOB,
    detail TEXT NOT NULL
) STRICT""",
    "CREATE INDEX alarm_by_time ON alarm (at)",
    "CREATE INDEX alarm_by_subject ON alarm (subject, at)",
    """
CREATE TRIGGER alarm_is_kept BEFORE DELETE ON alarm
    BEGIN SELECT raise(ABORT, 'alarm is append-only'); END""",
    """
CREATE TRIGGER alarm_is_fixed BEFORE UPDATE ON alarm
    BEGIN SELECT raise(ABORT, 'alarm is append-only'); END""",
    """
CREATE TABLE audit_entry (
    sequence INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT""",
    "CREATE INDEX audit_entry_by_subject ON audit_entry (subject)",
    """
CREATE TRIGGER audit_entry_is_kept BEFORE DELETE ON audit_entry
    BEGIN SELECT raise(ABORT, 'audit_entry is append-only'); END""",
    """
CREATE TRIGGER audit_entry_is_fixed BEFORE UPDATE ON audit_entry
    BEGIN SELECT raise(ABORT, 'audit_entry is append-only'); END""",
    """
CREATE TABLE audit_node (
    level INTEGER NOT NULL,
    place INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (level, place)
) STRICT, WITHOUT ROWID""",
    """
CREATE TRIGGER audit_node_is_kept BEFORE DELETE ON audit_node
    BEGIN SELECT raise(ABORT, 'audit_node is append-only'); END""",
    """
CREATE TRIGGER audit_node_is_fixed BEFORE UPDATE ON audit_node
    BEGIN SELECT raise(ABORT, 'audit_node is append-only'); END""",
    """
CREATE TABLE audit_checkpoint (
    size INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    note TEXT NOT NULL
) STRICT""",
    """
CREATE TRIGGER audit_checkpoint_is_kept BEFORE DELETE ON audit_checkpoint
    BEGIN SELECT raise(ABORT, 'audit_checkpoint is append-only'); END""",
    """
CREATE TRIGGER audit_checkpoint_is_fixed BEFORE UPDATE ON audit_checkpoint
    BEGIN SELECT raise(ABORT, 'audit_checkpoint is append-only'); END""",
    """
CREATE TABLE audit_cosignature (
    size INTEGER NOT NULL,
    witness TEXT NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (size, witness)
) STRICT, WITHOUT ROWID""",
    """
CREATE TRIGGER audit_cosignature_is_kept BEFORE DELETE ON audit_cosignature
    BEGIN SELECT raise(ABORT, 'audit_cosignature is append-only'); END""",
    """
CREATE TRIGGER audit_cosignature_is_fixed BEFORE UPDATE ON audit_cosignature
    BEGIN SELECT raise(ABORT, 'audit_cosignature is append-only'); END""",
    """
CREATE TABLE audit_pending (
    pending_key INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    fields TEXT NOT NULL
) STRICT""",
    """
CREATE TABLE audit_break (
    break_key INTEGER PRIMARY KEY,
    epoch_key INTEGER NOT NULL REFERENCES epoch,
    at INTEGER NOT NULL,
    first INTEGER NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT""",
    """
CREATE TRIGGER audit_break_is_kept BEFORE DELETE ON audit_break
    BEGIN SELECT raise(ABORT, 'audit_break is append-only'); END""",
    """
CREATE TRIGGER audit_break_is_fixed BEFORE UPDATE ON audit_break
    BEGIN SELECT raise(ABORT, 'audit_break is append-only'); END""",
    """
CREATE TABLE gateway_audit (
    epoch_key INTEGER NOT NULL REFERENCES epoch,
    sequence INTEGER NOT NULL,
    entry BLOB NOT NULL,
    hash BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    break_key INTEGER,
    PRIMARY KEY (epoch_key, sequence)
) STRICT, WITHOUT ROWID""",
    """
CREATE TRIGGER gateway_audit_is_kept BEFORE DELETE ON gateway_audit
    BEGIN SELECT raise(ABORT, 'gateway_audit is append-only'); END""",
    """
CREATE TRIGGER gateway_audit_is_fixed BEFORE UPDATE ON gateway_audit
    BEGIN SELECT raise(ABORT, 'gateway_audit is append-only'); END""",
)
