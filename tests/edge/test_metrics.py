"""The metrics page: every number of the table, of the running agent, and nothing that is secret."""

import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.agent import Agent
from edge.clock import SystemClock
from edge.metrics import COUNTER, GAUGE, METRICS, SUMMARY, Metric, Sample, label_of, samples_of
from edge.settings import load_settings
from tests.edge.head_end import METER_ADDRESS, METER_ID, HeadEnd
from tests.edge.test_agent import config_of, unlock

CANARY = "91823.77"  # a value that some meter shows
SNAPSHOT: dict[str, Any] = {
    "connected": True,
    "clock_quality_level": 2,
    "clock_error_ms": 512,
    "clock_in_doubt": False,
    "memory_bytes": 40_000_000,
    "events": {"line-down": 2, "started": 1},
    "orders": {
        "sent": 4, "waited_ms": 250, "last_waited_ms": 70, "longest_waited_ms": 90, "open": 2,
        "refused": {"window": 3}, "lease_left_ms": 1500, "cuts_hour": 1, "cuts_day": 4,
        "unrecorded": 0,
    },
    "journal": {
        "fill": 0.25, "held_sets": 3, "is_in_trouble": True, "commits": 9, "committed_sets": 80,
        "lost_sets": 1, "lost_events": 0, "epoch": "00aa" * 4, "trouble": CANARY,
    },
    "uplink": {
        "backlog_sets": 7, "backlog_age_ms": 61_500, "bytes_sent": 1000, "readings_sent": 99,
        "batches_sealed": 5, "batches_resent": 1, "refusals": {"replayed": 2},
    },
    "lines": [
        {
            "line": "line-1", "open": True, "down": False, "utilisation": 0.5, "busy_ms": 1500,
            "exchanges": 40, "silences": 2, "bytes_sent": 800, "bytes_received": 900,
            "stale_bytes": 3, "port_losses": 1,
        },
    ],
    "meters": [
        {
            "meter": name, "sweep_ms": 300, "round_trip_ms": 90, "read_age_ms": age,
            "is_answering": age is not None,
            "drift_s": drift, "sweeps": 11, "exchanges": 40, "silences": 2, "retries": 1,
            "refusals": 0, "strays": 0, "bad_values": 0, "address": "000000000161",
            "readings": [{"obis": "1-0:1.8.0*255", "value": CANARY}],
        }
        for name, age, drift in (("m-1", 4_000, -2.5), ('m"2\\', None, None))
    ],
}  # fmt: skip


def metric(name: str) -> Metric:
    """A row of the table."""
    (found,) = [one for one in METRICS if one.name == name]
    return found


def sample(name: str) -> list[Sample]:
    """Its samples in SNAPSHOT."""
    return list(samples_of(metric(name), SNAPSHOT))


def test_the_table_keeps_to_the_rules_of_the_field() -> None:
    """Names with a prefix and a unit, counters with _total, each once; labels that are bounded."""
    names = [one.name for one in METRICS]
    assert len(set(names)) == len(names) > 30
    for one in METRICS:
        assert re.fullmatch(r"busbar_[a-z_]+", one.name)
        assert one.kind in (GAUGE, COUNTER, SUMMARY)
        assert one.name.endswith("_total") is (one.kind == COUNTER)
        assert label_of(one) in ("", "line", "meter", "kind", "reason")
        assert (one.scale == 0.001) is one.source.endswith("_ms")
        assert ("_seconds" in one.name) is one.source.endswith(("_ms", "_s"))
        assert one.meaning
        assert one.meaning[0].islower() or one.meaning[0].isdigit()
        assert "|" not in one.meaning


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("busbar_uplink_connected", [Sample({}, 1)]),
        ("busbar_clock_error_seconds", [Sample({}, 0.512)]),
        ("busbar_line_busy_seconds_total", [Sample({"line": "line-1"}, 1.5)]),
        ("busbar_meter_clock_drift_seconds", [Sample({"meter": "m-1"}, -2.5)]),
        ("busbar_meter_reading_age_seconds", [Sample({"meter": "m-1"}, 4)]),
        ("busbar_meter_answering", [Sample({"meter": "m-1"}, 1), Sample({"meter": 'm"2\\'}, 0)]),
        ("busbar_events_total", [Sample({"kind": "line-down"}, 2), Sample({"kind": "started"}, 1)]),
        ("busbar_uplink_refusals_total", [Sample({"reason": "replayed"}, 2)]),
        ("busbar_order_wait_seconds", [Sample({}, 4, 0.25)]),
        ("busbar_orders_refused_total", [Sample({"reason": "window"}, 3)]),
        ("busbar_order_lease_seconds", [Sample({}, 1.5)]),
        ("busbar_backlog_age_seconds", [Sample({}, 61.5)]),
    ],
)
def test_a_metric_is_taken_from_its_place(name: str, wanted: list[Sample]) -> None:
    """In its unit; what is not known has no sample."""
    found = [one._replace(value=pytest.approx(one.value)) for one in sample(name)]
    assert found == wanted


# ---- the page -----------------------------------------------------------------------------------


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of SNAPSHOT."""
    pytest.importorskip("prometheus_client")
    from edge.local.metrics_page import MetricsPage  # noqa: PLC0415 - what it needs may be missing

    one = MetricsPage(0, lambda: SNAPSHOT)
    one.start()
    yield one
    one.stop()


def scrape(port: int) -> str:
    """As Prometheus does."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return str(answer.read().decode())


def test_the_page_holds_each_metric_with_help_and_type(page: Any) -> None:
    """Under exactly the name of the table."""
    text = scrape(page.port)
    for one in METRICS:
        assert f"# HELP {one.name} {one.meaning}\n# TYPE {one.name} {one.kind}\n" in text
    lines = text.splitlines()
    assert 'busbar_line_exchanges_total{line="line-1"} 40.0' in lines
    assert 'busbar_meter_answering{meter="m\\"2\\\\"} 0.0' in lines
    assert "busbar_order_wait_seconds_count 4.0" in lines
    assert "busbar_order_wait_seconds_sum 0.25" in lines
    assert 'busbar_events_total{kind="line-down"} 2.0' in lines
    names = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    assert all(name.startswith("busbar_") for name in names)


def test_the_page_tells_no_value_and_no_address(page: Any) -> None:
    """What meters show, and what identifies the journal, is nobody else's business."""
    text = scrape(page.port)
    assert "m-1" in text
    for secret in (CANARY, "000000000161", SNAPSHOT["journal"]["epoch"]):
        assert secret not in text


def test_the_page_is_for_this_machine_alone(page: Any) -> None:
    """It listens on the loopback, and serves a slow client no longer than the next one."""
    assert page._server.server_address[0] == "127.0.0.1"
    with socket.create_connection(("127.0.0.1", page.port), 5) as hasty:
        hasty.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert "busbar_uplink_connected 1.0" in scrape(page.port)


def test_a_fault_in_the_snapshot_is_one_failed_scrape(capsys: pytest.CaptureFixture[str]) -> None:
    """The next one is served."""
    pytest.importorskip("prometheus_client")
    from edge.local.metrics_page import MetricsPage  # noqa: PLC0415 - what it needs may be missing

    answers: list[Any] = [KeyError("ours"), SNAPSHOT]

    def snapshot() -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    page = MetricsPage(0, snapshot)
    page.start()
    with pytest.raises(urllib.error.HTTPError, match="500"):
        scrape(page.port)
    assert "busbar_uplink_connected 1.0" in scrape(page.port)
    page.stop()
    assert "KeyError" in capsys.readouterr().err


# ---- of a running agent -------------------------------------------------------------------------


@pytest.fixture
def head_end(tmp_path: Path) -> HeadEnd:
    """Its keys are on the gateway."""
    one = HeadEnd()
    one.write_files(tmp_path / "identity")
    return one


def free_port() -> int:
    """One that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def test_every_metric_is_in_the_snapshot_of_a_running_agent(
    tmp_path: Path, head_end: HeadEnd
) -> None:
    """No row of the table has lost its source."""
    agent = Agent(load_settings(config_of(tmp_path)), SystemClock())
    agent.start()
    agent._writer.call(agent._writer.work, True).result(10)
    snapshot = agent._face.snapshot.take()
    agent.stop()
    unlock(agent)
    found = {one.name: list(samples_of(one, snapshot)) for one in METRICS}
    unknown = {name for name, samples in found.items() if not samples}
    assert unknown <= {
        "busbar_meter_clock_drift_seconds", "busbar_meter_reading_age_seconds",
        "busbar_backlog_age_seconds", "busbar_clock_error_seconds",
        "busbar_uplink_refusals_total", "busbar_meter_round_trip_seconds",
        "busbar_orders_refused_total", "busbar_order_lease_seconds",
    }  # fmt: skip
    assert found["busbar_line_open"] == [Sample({"line": "line-1"}, 0)]
    assert found["busbar_meter_answering"] == [Sample({"meter": METER_ID}, 0)]
    assert Sample({"kind": "started"}, 1) in found["busbar_events_total"]
    assert 10e6 < found["busbar_memory_bytes"][0].value < 1e9


def test_an_agent_with_a_metrics_port_shows_them(tmp_path: Path, head_end: HeadEnd) -> None:
    """While it runs, and no longer."""
    pytest.importorskip("prometheus_client")
    port = free_port()
    agent = Agent(load_settings(with_port(tmp_path, port)), SystemClock())
    agent.start()
    text = scrape(port)
    agent.stop()
    unlock(agent)
    assert f'busbar_meter_exchanges_total{{meter="{METER_ID}"}}' in text
    assert METER_ADDRESS not in text
    with pytest.raises(urllib.error.URLError):
        scrape(port)


def test_a_metrics_port_that_is_taken_stops_no_metering(
    tmp_path: Path, head_end: HeadEnd, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and everything else runs."""
    pytest.importorskip("prometheus_client")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        agent = Agent(load_settings(with_port(tmp_path, port)), SystemClock())
        agent.start()
        assert "line-line-1" in {one.name for one in threading.enumerate()}
        agent.stop()
        unlock(agent)
    assert f"metrics_refused port={port}" in caplog.text


def with_port(folder: Path, port: int) -> Path:
    """The configuration of `config_of`, with a metrics port."""
    path = config_of(folder)
    path.write_text(path.read_text() + f"\n[local]\nmetrics_port = {port}\n")
    return path
