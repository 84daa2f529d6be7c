"""The gateway's metrics for Prometheus: one table, each row taken from one place of the snapshot.

Labels are names out of the configuration, kinds of events, and reasons out of the code: their
number is bounded, and none of them is a reading or a secret.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

GAUGE, COUNTER, SUMMARY = "gauge", "counter", "summary"
_LABELS = {"lines": "line", "meters": "meter"}  # list of the snapshot -> the name of its rows
_MS = 0.001  # seconds


class Metric(NamedTuple):
    """One metric. `source` is its place in the snapshot: keys with dots between. In a list each row
    gives a sample. With `label` the place holds numbers by name, each a sample. A summary's source
    is that of its count and, behind a comma, that of its sum."""

    name: str
    kind: str
    meaning: str
    source: str
    scale: float = 1
    label: str = ""


METRICS = (
    Metric("busbar_meter_sweep_seconds", GAUGE, "what the last sweep of the meter took",
           "meters.sweep_ms", _MS),
    Metric("busbar_meter_round_trip_seconds", GAUGE, "what the last exchange with the meter took",
           "meters.round_trip_ms", _MS),
    Metric("busbar_meter_reading_age_seconds", GAUGE, "age of the meter's last reading set",
           "meters.read_age_ms", _MS),
    Metric("busbar_meter_answering", GAUGE, "1 when the meter answered when it was last asked",
           "meters.is_answering"),
    Metric("busbar_meter_clock_drift_seconds", GAUGE, "the meter's clock less the gateway's",
           "meters.drift_s"),
    Metric("busbar_meter_sweeps_total", COUNTER, "sweeps that were answered", "meters.sweeps"),
    Metric("busbar_meter_exchanges_total", COUNTER, "requests to the meter", "meters.exchanges"),
    Metric("busbar_meter_silences_total", COUNTER, "requests without an answer",
           "meters.silences"),
    Metric("busbar_meter_retries_total", COUNTER, "requests that were repeated", "meters.retries"),
    Metric("busbar_meter_refusals_total", COUNTER, "requests that the meter refused",
           "meters.refusals"),
    Metric("busbar_meter_strays_total", COUNTER, "frames that were no answer to it",
           "meters.strays"),
    Metric("busbar_meter_bad_values_total", COUNTER, "good frames whose value was none",
           "meters.bad_values"),
    Metric("busbar_line_open", GAUGE, "1 while the port is open", "lines.open"),
    Metric("busbar_line_down", GAUGE, "1 while no meter of the line answers", "lines.down"),
    Metric("busbar_line_utilisation_ratio", GAUGE, "share of the last minute with an exchange",
           "lines.utilisation"),
    Metric("busbar_line_busy_seconds_total", COUNTER, "time with an exchange under way",
           "lines.busy_ms", _MS),
    Metric("busbar_line_exchanges_total", COUNTER, "requests on the line", "lines.exchanges"),
    Metric("busbar_line_silences_total", COUNTER, "requests without an answer", "lines.silences"),
    Metric("busbar_line_sent_bytes_total", COUNTER, "bytes out", "lines.bytes_sent"),
    Metric("busbar_line_received_bytes_total", COUNTER, "bytes in", "lines.bytes_received"),
    Metric("busbar_line_stale_bytes_total", COUNTER, "bytes that nobody waited for",
           "lines.stale_bytes"),
    Metric("busbar_line_port_losses_total", COUNTER, "times that the port was lost or did not open",
           "lines.port_losses"),
    Metric("busbar_journal_fill_ratio", GAUGE, "share of the journal's largest size in use",
           "journal.fill"),
    Metric("busbar_journal_held_sets", GAUGE, "reading sets that wait for their commit",
           "journal.held_sets"),
    Metric("busbar_journal_trouble", GAUGE, "1 while the disk refuses", "journal.is_in_trouble"),
    Metric("busbar_journal_commits_total", COUNTER, "group commits", "journal.commits"),
    Metric("busbar_journal_committed_sets_total", COUNTER, "reading sets committed",
           "journal.committed_sets"),
    Metric("busbar_journal_lost_sets_total", COUNTER, "reading sets that memory could not hold",
           "journal.lost_sets"),
    Metric("busbar_journal_lost_events_total", COUNTER, "events that memory could not hold",
           "journal.lost_events"),
    Metric("busbar_events_total", COUNTER, "events journaled since the agent started", "events",
           label="kind"),
    Metric("busbar_backlog_sets", GAUGE, "reading sets that the head end has not acknowledged",
           "uplink.backlog_sets"),
    Metric("busbar_backlog_age_seconds", GAUGE, "age of the oldest of them; absent without one",
           "uplink.backlog_age_ms", _MS),
    Metric("busbar_uplink_connected", GAUGE, "1 while the broker is connected", "connected"),
    Metric("busbar_uplink_sent_bytes_total", COUNTER, "bytes of sealed messages",
           "uplink.bytes_sent"),
    Metric("busbar_uplink_sent_readings_total", COUNTER, "readings sent, repetitions included",
           "uplink.readings_sent"),
    Metric("busbar_uplink_batches_total", COUNTER, "batches sealed", "uplink.batches_sealed"),
    Metric("busbar_uplink_batches_resent_total", COUNTER, "batches whose acknowledgement was late",
           "uplink.batches_resent"),
    Metric("busbar_uplink_refusals_total", COUNTER, "messages from the head end that were refused",
           "uplink.refusals", label="reason"),
    Metric("busbar_order_wait_seconds", SUMMARY,
           "from when an order is taken up until its first byte may go out",
           "orders.sent,orders.waited_ms", _MS),
    Metric("busbar_orders_open", GAUGE, "orders that change something and have not ended",
           "orders.open"),
    Metric("busbar_orders_refused_total", COUNTER, "orders that were refused",
           "orders.refused", label="reason"),
    Metric("busbar_order_lease_seconds", GAUGE,
           "for how long disconnecting is still permitted; absent without a fresh policy",
           "orders.lease_left_ms", _MS),
    Metric("busbar_order_cuts_hour", GAUGE, "disconnects of the last hour", "orders.cuts_hour"),
    Metric("busbar_order_cuts_day", GAUGE, "disconnects of the last 24 h", "orders.cuts_day"),
    Metric("busbar_order_records_waiting", GAUGE, "records of orders that wait for the disk",
           "orders.unrecorded"),
    Metric("busbar_clock_quality", GAUGE, "0 unsynced, 1 rtc, 2 ntp, 3 signed",
           "clock_quality_level"),
    Metric("busbar_clock_error_seconds", GAUGE, "bound of the clock's error; absent without one",
           "clock_error_ms", _MS),
    Metric("busbar_clock_in_doubt", GAUGE, "1 while the system clock says another time",
           "clock_in_doubt"),
    Metric("busbar_memory_bytes", GAUGE, "resident memory of the agent", "memory_bytes"),
)  # fmt: skip


class Sample(NamedTuple):
    """A value with its labels; of a summary the count, and `total` is the sum."""

    labels: dict[str, str]
    value: float
    total: float = 0


def label_of(metric: Metric) -> str:
    """The one label that the metric has, or ""."""
    return metric.label or _LABELS.get(metric.source.partition(".")[0], "")


def samples_of(metric: Metric, snapshot: dict[str, Any]) -> Iterator[Sample]:
    """Its samples; what is not known (None) gives none."""
    if metric.kind == SUMMARY:
        count, total = (_at(snapshot, source) for source in metric.source.split(","))
        yield Sample({}, count, total * metric.scale)
        return
    section, _, key = metric.source.partition(".")
    label = label_of(metric)
    rows: list[tuple[dict[str, str], Any]]
    if section in _LABELS:
        rows = [({label: row[label]}, row[key]) for row in snapshot[section]]
    elif label:
        rows = [({label: name}, value) for name, value in _at(snapshot, metric.source).items()]
    else:
        rows = [({}, _at(snapshot, metric.source))]
    for labels, value in rows:
        if value is not None:
            yield Sample(labels, value * metric.scale)


def _at(snapshot: dict[str, Any], source: str) -> Any:
    found: Any = snapshot
    for key in source.split("."):
        found = found[key]
    return found
