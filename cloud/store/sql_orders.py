"""Statements about the life of orders: parameters, never pieced together. `whole_order` is the view
of an order and its gateway's name; `cloud.store.orders.OrderRow` has its columns."""

# ---- orders ------------------------------------------------------------------------------------

INSERT_ORDER = """
INSERT INTO meter_order (order_id, gateway_key, meter_id, meter_address, action, obis, counter,
  state, created_at, expires_at, effect, family, arguments, assurance, requested_by, reason,
  incident, batch_id, area, valid_from, valid_until, life_ms)
VALUES (?, (SELECT gateway_key FROM gateway WHERE gateway_id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
  ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
INSERT_ORDER_EVENT = """
INSERT INTO order_event (order_id, state, at, told_at, reason) VALUES (?, ?, ?, ?, ?)"""
UPDATE_ORDER_STATE = "UPDATE meter_order SET state = ? WHERE order_id = ?"
UPDATE_ORDER_MESSAGE = "UPDATE meter_order SET message = ? WHERE order_id = ?"
FREEZE_ORDER = """
UPDATE meter_order SET submitted_at = ?, meter_counter = ?, body = ?, digest = ?, account = ?
WHERE order_id = ? AND state = 'draft'"""
TIME_ORDER = "UPDATE meter_order SET not_before = ?, expires_at = ? WHERE order_id = ?"
COUNT_ORDER = "UPDATE meter_order SET counted_at = ? WHERE order_id = ?"
QUARANTINE_ORDER = "UPDATE meter_order SET quarantine = ? WHERE order_id = ?"
SEAL_ORDER = "UPDATE meter_order SET counter = ?, message = ? WHERE order_id = ?"
STOP_ORDER = "UPDATE meter_order SET stop_at = ? WHERE order_id = ? AND stop_at IS NULL"
ESCALATE_ORDER = "UPDATE meter_order SET escalation = ? WHERE order_id = ?"
SELECT_ORDER = "SELECT * FROM whole_order WHERE order_id = ?"
SELECT_BY_PREFIX = """
SELECT * FROM whole_order WHERE substr(lower(hex(order_id)), 1, length(?1)) = ?1 LIMIT 2"""
SELECT_ORDERS_OF_METER = """
SELECT * FROM whole_order WHERE meter_id = ? AND created_at >= ? ORDER BY created_at, order_id"""
SELECT_OPEN_OF_METER = """
SELECT * FROM whole_order WHERE meter_id = ? AND family = ? AND state IN ('draft', 'submitted',
  'approved', 'signed', 'quarantined', 'queued', 'published', 'received', 'verified', 'prechecked',
  'armed')"""
SELECT_ORDERS_OF_BATCH = "SELECT * FROM whole_order WHERE batch_id = ? ORDER BY meter_id"
SELECT_PAGE_OF_BATCH = """
SELECT * FROM whole_order WHERE batch_id = ? ORDER BY meter_id LIMIT ? OFFSET ?"""
SELECT_BATCH_STATES = """
SELECT state, count(*) FROM meter_order WHERE batch_id = ? GROUP BY state ORDER BY state"""
SELECT_ORDERS_OF_INCIDENT = """
SELECT * FROM whole_order WHERE effect = 'cuts' AND incident = ? ORDER BY meter_id, created_at"""
SELECT_ORDERS_IN_STATE = "SELECT * FROM whole_order WHERE state = ? ORDER BY created_at, order_id"
SELECT_UNSENT_CUTS = """
SELECT * FROM whole_order WHERE effect = 'cuts' AND state IN ('draft', 'submitted', 'approved',
  'signed', 'quarantined', 'queued', 'published', 'received', 'verified', 'prechecked', 'armed')"""
SELECT_TO_SIGN = """
SELECT * FROM whole_order WHERE state = 'approved' AND valid_from <= ?1
  AND (effect <> 'cuts' OR ?2) AND (batch_id IS NULL OR NOT EXISTS (SELECT 1 FROM meter_order AS one
    WHERE one.batch_id = whole_order.batch_id AND one.state IN ('draft', 'submitted')))
ORDER BY submitted_at, order_id LIMIT ?3"""
COUNT_UNAPPROVED_OF_BATCH = """
SELECT count(*) FROM meter_order WHERE batch_id = ? AND state IN ('draft', 'submitted')"""
SELECT_DUE = """
SELECT * FROM whole_order WHERE state = 'queued' AND is_sealed = 0 AND not_before <= ?
ORDER BY not_before, order_id LIMIT ?"""
SELECT_QUEUED = """
SELECT order_id, gateway_id, expires_at FROM meter_order JOIN gateway USING (gateway_key)
WHERE state = 'queued' AND message IS NOT NULL AND stop_at IS NULL ORDER BY gateway_key, counter"""
SELECT_MESSAGE = "SELECT message FROM meter_order WHERE order_id = ?"
COUNT_OPEN_READS = """
SELECT count(*) FROM meter_order WHERE effect = 'reads'
  AND state IN ('draft', 'signed', 'queued', 'published', 'received', 'verified', 'prechecked',
  'armed', 'sent', 'acked', 'verifying')"""
SELECT_OVERDUE = """
SELECT * FROM whole_order
WHERE state IN ('draft', 'submitted', 'approved', 'signed', 'quarantined', 'queued', 'published',
  'received', 'verified', 'prechecked', 'armed', 'sent', 'acked', 'verifying') AND expires_at < ?"""
SELECT_LOWEST_COUNTER = """
SELECT coalesce(min(counter), 0) FROM meter_order
WHERE gateway_key = (SELECT gateway_key FROM gateway WHERE gateway_id = ?)"""
SELECT_LOWEST_WAITING = """
SELECT min(counter) FROM meter_order JOIN gateway USING (gateway_key)
WHERE gateway_id = ? AND state = 'queued' AND message IS NOT NULL"""
SELECT_OPEN_RESTORES = """
SELECT * FROM whole_order
WHERE effect = 'restores' AND escalation < ? AND created_at BETWEEN ? AND ?
  AND action IN ('arm', 'connect') AND submitted_at IS NOT NULL
  AND state NOT IN ('confirmed', 'done', 'cancelled', 'superseded')
  AND NOT EXISTS (
    SELECT 1 FROM meter_order AS later WHERE later.meter_id = whole_order.meter_id
    AND later.family = 'supply' AND later.meter_counter > whole_order.meter_counter
    AND later.state = 'confirmed')"""
SELECT_UNSETTLED = """
SELECT * FROM whole_order WHERE state IN ('unknown', 'contradicted') AND effect <> 'reads'
  AND created_at BETWEEN ? AND ? ORDER BY created_at"""
SELECT_LAST_RESTORES = """
SELECT area, gateway_id, max(not_before) FROM meter_order JOIN gateway USING (gateway_key)
WHERE effect = 'restores' AND created_at > ? AND not_before IS NOT NULL GROUP BY area, gateway_id"""
SELECT_COUNTED = """
SELECT area, gateway_id, counted_at FROM meter_order JOIN gateway USING (gateway_key)
WHERE effect = 'cuts' AND counted_at > ? ORDER BY counted_at"""
SELECT_ASKED = """
SELECT requested_by, submitted_at FROM meter_order
WHERE effect = 'cuts' AND submitted_at > ? ORDER BY submitted_at"""
SELECT_LIST = """
SELECT * FROM whole_order WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR meter_id = ?2)
  AND (?3 IS NULL OR gateway_id = ?3) AND (?4 IS NULL OR batch_id = ?4)
  AND (?5 IS NULL OR incident = ?5) AND (?6 IS NULL OR action = ?6)
  AND (?7 IS NULL OR created_at < ?7)
ORDER BY created_at DESC, order_id LIMIT ?8"""
SELECT_METER_GATEWAYS = """
SELECT gateway_id, meter_address FROM meter JOIN gateway USING (gateway_key)
WHERE gateway_id = ? AND is_announced AND meter_id = ?"""
SELECT_METERS_OF_GATEWAY = """
SELECT meter_id FROM meter JOIN gateway USING (gateway_key)
WHERE gateway_id = ? AND is_announced ORDER BY meter_id"""
COUNT_METERS_OF_GATEWAY = """
SELECT count(*) FROM meter JOIN gateway USING (gateway_key)
WHERE gateway_id = ? AND is_announced"""
SELECT_LATEST_VALUES = """
SELECT content, "values" FROM reading_set JOIN layout USING (layout_key)
JOIN meter USING (meter_key) WHERE meter_id = ?
ORDER BY read_at DESC LIMIT ?"""

# ---- receipts ----------------------------------------------------------------------------------

INSERT_RECEIPT = """
INSERT OR IGNORE INTO receipt (gateway_key, counter, state, order_id, reason, at, quality,
  readings, evidence, received_at, facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
SELECT_LATEST_RECEIPTS = """
SELECT counter, state FROM receipt WHERE gateway_key = ? ORDER BY rowid DESC LIMIT ?"""
SELECT_RECEIPTS_OF_ORDER = """
SELECT state, reason, at, receipt.quality, readings, evidence, received_at, facts FROM receipt
JOIN gateway USING (gateway_key) WHERE order_id = ? AND gateway_id = ? AND counter = ?
ORDER BY receipt.rowid"""
SELECT_HIGHEST_RECEIPT = "SELECT max(counter) FROM receipt WHERE gateway_key = ?"
SELECT_ORDER_EVENTS = """
SELECT state, at, told_at, reason FROM order_event WHERE order_id = ? ORDER BY event_key"""

# ---- approvals, batches, keys, counters --------------------------------------------------------

INSERT_APPROVAL = """
INSERT INTO order_approval (order_id, approver, requested_by, kid, at, signature, received_at)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
SELECT_APPROVALS = """
SELECT approver, kid, at, signature FROM order_approval WHERE order_id = ?
ORDER BY received_at, approver"""
SELECT_APPROVERS_OF_BATCH = """
SELECT approver, count(*) FROM order_approval JOIN meter_order USING (order_id)
WHERE batch_id = ? GROUP BY approver ORDER BY approver"""
INSERT_BATCH = """
INSERT INTO order_batch (batch_id, action, requested_by, reason, incident, created_at, state,
  selection, meters, load_w, load_known) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
SELECT_BATCH = "SELECT * FROM order_batch WHERE batch_id = ?"
SELECT_BATCHES_BY_PREFIX = """
SELECT * FROM order_batch WHERE substr(lower(hex(batch_id)), 1, length(?1)) = ?1 LIMIT 2"""
UPDATE_BATCH = "UPDATE order_batch SET state = ? WHERE batch_id = ?"
INSERT_KEY = "INSERT INTO order_key (requested_by, key, content, made_id) VALUES (?, ?, ?, ?)"
SELECT_KEY = "SELECT content, made_id FROM order_key WHERE requested_by = ? AND key = ?"
SELECT_COUNTER = "SELECT counter FROM meter_counter WHERE meter_id = ? AND family = ?"
PUT_COUNTER = """
INSERT INTO meter_counter (meter_id, family, counter) VALUES (?, ?, ?)
ON CONFLICT (meter_id, family) DO UPDATE SET counter = excluded.counter"""

# ---- protection --------------------------------------------------------------------------------

INSERT_HOLD = "INSERT INTO hold (is_held, at, by, reason) VALUES (?, ?, ?, ?)"
SELECT_HOLD = "SELECT is_held, at, by, reason FROM hold ORDER BY hold_key DESC LIMIT 1"
INSERT_NEVER_CUT = """
INSERT INTO never_cut (meter_id, flag, note, added_by, added_at, review_at)
VALUES (?, ?, ?, ?, ?, ?)"""
INSERT_REMOVAL = "INSERT INTO never_cut_removal (entry_key, by, at, reason) VALUES (?, ?, ?, ?)"
SELECT_NEVER_CUT = """
SELECT entry_key, meter_id, flag, note, added_by, added_at, review_at,
  (SELECT count(*) FROM never_cut_removal WHERE entry_key = never_cut.entry_key),
  (SELECT group_concat(by, ', ') FROM never_cut_removal WHERE entry_key = never_cut.entry_key)
FROM never_cut WHERE (?1 IS NULL OR entry_key = ?1) AND (?2 IS NULL OR meter_id = ?2)
ORDER BY entry_key"""
SELECT_PROTECTED = """
SELECT DISTINCT meter_id FROM never_cut
WHERE (SELECT count(*) FROM never_cut_removal WHERE entry_key = never_cut.entry_key) < 2
  AND (?1 IS NULL OR meter_id = ?1)
ORDER BY meter_id"""
INSERT_CHANGE = """
INSERT INTO account_change (reference, meter_id, change, note, by, at) VALUES (?, ?, ?, ?, ?, ?)"""
SELECT_CHANGE = "SELECT meter_id, change FROM account_change WHERE reference = ?"
SELECT_LAST_CHANGE = """
SELECT coalesce(max(change_key), 0) FROM account_change WHERE meter_id = ?"""
SELECT_PAID_SINCE = """
SELECT reference FROM account_change
WHERE meter_id = ? AND change = 'paid' AND change_key > CAST(? AS INTEGER)
ORDER BY change_key DESC LIMIT 1"""
SELECT_POLICY = """
SELECT serial, policy.nonce, made_at, cuts_until FROM policy JOIN gateway USING (gateway_key)
WHERE gateway_id = ?"""
PUT_POLICY = """
INSERT INTO policy (gateway_key, serial, nonce, made_at, cuts_until)
VALUES ((SELECT gateway_key FROM gateway WHERE gateway_id = ?), ?, ?, ?, ?)
ON CONFLICT (gateway_key) DO UPDATE SET serial = excluded.serial, nonce = excluded.nonce,
  made_at = excluded.made_at, cuts_until = excluded.cuts_until"""
INSERT_STOP = """
INSERT INTO stop (gateway_key, order_ids, cuts_before, at, by, reason)
VALUES ((SELECT gateway_key FROM gateway WHERE gateway_id = ?), ?, ?, ?, ?, ?)"""
SELECT_OPEN_STOPS = """
SELECT stop_key, gateway_id, order_ids, cuts_before, at FROM stop JOIN gateway USING (gateway_key)
WHERE taken_at IS NULL ORDER BY stop_key"""
TAKE_STOP = "UPDATE stop SET taken_at = ? WHERE stop_key = ? AND taken_at IS NULL"

# ---- alarms and the audit log ------------------------------------------------------------------

INSERT_ALARM = """
INSERT INTO alarm (at, kind, severity, subject, gateway_id, order_id, detail)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
SELECT_ALARMS = """
SELECT at, kind, severity, subject, gateway_id, order_id, detail FROM alarm WHERE at >= ?
ORDER BY alarm_key DESC LIMIT ?"""
SELECT_ALARM_OF_ORDER = "SELECT 1 FROM alarm WHERE order_id = ? AND kind = ? LIMIT 1"
SELECT_ALARM_SINCE = """
SELECT 1 FROM alarm WHERE kind = ? AND subject = ? AND at >= ? LIMIT 1"""
INSERT_PENDING = "INSERT INTO audit_pending (at, kind, subject, fields) VALUES (?, ?, ?, ?)"
SELECT_PENDING = """
SELECT pending_key, at, kind, subject, fields FROM audit_pending ORDER BY pending_key LIMIT ?"""
DELETE_PENDING = "DELETE FROM audit_pending WHERE pending_key = ?"
SELECT_GATEWAY_AUDIT = "SELECT entry, hash FROM gateway_audit WHERE epoch_key = ? AND sequence = ?"
INSERT_GATEWAY_AUDIT = """
INSERT INTO gateway_audit (epoch_key, sequence, entry, hash, received_at, break_key)
VALUES (?, ?, ?, ?, ?, ?)"""
INSERT_AUDIT_BREAK = """
INSERT INTO audit_break (epoch_key, at, first, reason, body) VALUES (?, ?, ?, ?, ?)"""
SELECT_AUDIT_BREAK = """
SELECT break_key FROM audit_break WHERE epoch_key = ? AND first = ? AND body = ? LIMIT 1"""
