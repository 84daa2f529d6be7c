"""The metrics page: Prometheus text at http://127.0.0.1:PORT/metrics, for this machine alone.

One scrape is served at a time; a client that is slow loses its connection.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.exposition import make_wsgi_app
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from edge.metrics import COUNTER, GAUGE, METRICS, SUMMARY, Metric, label_of, samples_of

ADDRESS = "127.0.0.1"
TIMEOUT_S = 5.0
_FAMILIES = {
    GAUGE: GaugeMetricFamily,
    COUNTER: CounterMetricFamily,
    SUMMARY: SummaryMetricFamily,
}


class MetricsPage:
    """Listens on the loopback; OSError when the port is taken."""

    def __init__(self, port: int, snapshot: Callable[[], dict[str, Any]]) -> None:
        registry = CollectorRegistry()
        registry.register(_Snapshots(snapshot))
        self._server = make_server(
            ADDRESS, port, make_wsgi_app(registry), WSGIServer, _QuietHandler
        )
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )

    def start(self) -> None:
        """Serves from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Ends within a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(TIMEOUT_S)


class _Snapshots(Collector):
    """Asks for a snapshot at each scrape."""

    def __init__(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        """All metrics of the table."""
        snapshot = self._snapshot()
        for metric in METRICS:
            yield _family(metric, snapshot)

    def describe(self) -> Iterator[Family]:
        """Their names are known before the first snapshot can be taken."""
        return iter(())


def _family(metric: Metric, snapshot: dict[str, Any]) -> Family:
    label = label_of(metric)
    family: Any = _FAMILIES[metric.kind](
        metric.name, metric.meaning, labels=[label] if label else []
    )
    for sample in samples_of(metric, snapshot):
        values = list(sample.labels.values())
        if metric.kind == SUMMARY:
            family.add_metric(values, sample.value, sample.total)
        else:
            family.add_metric(values, sample.value)
    found: Family = family
    return found


class _QuietHandler(WSGIRequestHandler):
    timeout = TIMEOUT_S

    def handle(self) -> None:
        """Whoever hangs up while he is answered is no error."""
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, form: str, *arguments: object) -> None:
        """A scrape every few seconds is no news."""
