"""The head end's own alarms about orders: one table of their kinds, and those that many orders
share, told once an hour instead of a thousand times."""

from cloud.orders.office import Office
from cloud.store.orders import OrderRow
from protocols.events import Severity

CEILING = "ceiling-reached"
ORPHAN = "order-orphan"
UNKNOWN = "order-unknown"
CONTRADICTED = "order-contradicted"
LATE = "restore-late"
ESCALATED = "restore-escalated"
FAILED = "restore-failed"
UNSETTLED = "orders-unsettled"
AUDIT_BROKEN = "audit-broken"
COUNTER_REGRESSED = "counter-regressed"
REVIEW_DUE = "never-cut-review"

# kind -> severity, meaning
ALARMS = {
    CEILING: (Severity.ALARM, "more cuts were asked for than a ceiling allows"),
    ORPHAN: (Severity.ALARM, "an order or a receipt that did not come about here"),
    UNKNOWN: (Severity.ALARM, "what became of an order is not known"),
    CONTRADICTED: (Severity.ALARM, "the observations of an order disagree"),
    LATE: (Severity.ALARM, "a restore is not done within its target"),
    ESCALATED: (Severity.ALARM, "a restore is not done within its limit: field work"),
    FAILED: (Severity.ALARM, "a restore was refused, or one that has to be can not be asked for"),
    UNSETTLED: (Severity.WARNING, "orders whose end is not known for longer than a day"),
    AUDIT_BROKEN: (Severity.ALARM, "a gateway's audit chain does not continue"),
    COUNTER_REGRESSED: (Severity.ALARM, "a gateway counts orders from a lower number again"),
    REVIEW_DUE: (Severity.WARNING, "an entry of the never-cut list is to be looked at again"),
}
TOLD_EVERY_MS = 3_600_000
_TOLD_BACK = 1000  # alarms looked back


def raise_alarm(
    office: Office,
    kind: str,
    subject: str,
    detail: str,
    row: OrderRow | None = None,
    gateway_id: str = "",
) -> None:
    """One alarm of the table."""
    severity, _ = ALARMS[kind]
    office.life.alarm(kind, subject, detail, row, gateway_id, severity)


def tell_ceiling(office: Office, row: OrderRow, subject: str, ceiling: str) -> None:
    """That a ceiling is reached: once an hour for each subject."""
    since = office.clock.utc_ms() - TOLD_EVERY_MS
    if not office.life.was_told(CEILING, subject, since):
        raise_alarm(office, CEILING, subject, f"over {ceiling}; the rest is quarantined", row)
