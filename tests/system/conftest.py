"""Deployments of real processes for the system tests: gateway, mosquitto with mTLS, head end,
meters."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hil.demo import is_complete, is_drained
from hil.deployment import Deployment, MeterPlan, Plan

DRAIN_S = 40


def fast_plan() -> Plan:
    """Two lines without pacing, polled every second, in small and quick batches."""
    dlt645 = [
        MeterPlan(
            f"house-{n}",
            "line1",
            {"protocol": "dlt645-2007", "address": f"{n:012d}", "seed": n},
            {"protocol": "dlt645-2007", "address": f"{n:012d}", "period_s": 1},
        )
        for n in range(1, 4)
    ]
    modbus = MeterPlan(
        "shop",
        "line2",
        {"protocol": "modbus", "unit": 7, "model": "eastron-sdm630", "seed": 9},
        {"protocol": "modbus", "unit": 7, "model": "eastron-sdm630", "period_s": 1},
    )
    return Plan(
        lines={name: {"baud": 115200, "paced": False} for name in ("line1", "line2")},
        meters=(*dlt645, modbus),
        journal={"commit_interval_ms": 100},
        uplink={"linger_ms": 200, "ack_timeout_ms": 1_500, "batch_sets": 5},
        ingest={"commit_interval_ms": 20},
        reconnect_s_max=1,
    )


@pytest.fixture
def deploy(tmp_path: Path, require: Callable[..., None]) -> Iterator[Callable[[Plan], Deployment]]:
    """Makes deployments with a real mosquitto, and ends what they started."""
    require("mosquitto")
    made: list[Deployment] = []

    def make(plan: Plan) -> Deployment:
        deployment = Deployment(tmp_path, plan, "mosquitto")
        made.append(deployment)
        return deployment

    yield make
    for deployment in made:
        deployment.stop()


def drain(deployment: Deployment) -> dict[str, Any]:
    """Takes the meters away and waits until the gateway holds nothing unacknowledged."""
    deployment.meters.stop()
    deployment.await_true(
        lambda: is_drained(deployment.status()), "the last acknowledgement", DRAIN_S
    )
    return deployment.status()


def assert_exactly_once(deployment: Deployment) -> int:
    """Every reading set of the gateway's journal is in the head end's store once, with its content.
    Returns how many there are."""
    status = drain(deployment)
    completeness = deployment.head_end_json("completeness", deployment.gateway_id)
    assert is_complete(status, completeness), completeness
    journaled = journal_rows(deployment)
    stored = [
        (row["sequence"], row["meter"], row["read_at"], row["obis"],
         row["value"] if row["integer"] is None else row["integer"])
        for meter in sorted({row[1] for row in journaled})
        for row in deployment.head_end_json("readings", meter)
    ]  # fmt: skip
    assert sorted(stored) == sorted(journaled)
    return int(status["journal"]["head"])


def journal_rows(deployment: Deployment) -> list[tuple[Any, ...]]:
    """The gateway's journal, read from its file by plain SQL: (sequence, meter, read_at, OBIS,
    value) of each reading."""
    db = sqlite3.connect(f"file:{deployment.state / 'journal.db'}?mode=ro", uri=True)
    rows = db.execute(
        'SELECT sequence, meter_id, read_at, content, "values" FROM reading_set'
        " JOIN meter USING (meter_key) JOIN layout USING (layout_key)"
    ).fetchall()
    db.close()
    return [
        (sequence, meter, read_at, place[0], value)
        for sequence, meter, read_at, content, values in rows
        for place, value in zip(json.loads(content), json.loads(values), strict=True)
    ]
