"""Garbage, silence, foreign and late answers on one line: nothing wrong is stored, and the meter
that behaves keeps its period."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from hil.deployment import Deployment, MeterPlan, Plan
from tests.system.conftest import assert_exactly_once, fast_plan

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

GOOD, BAD, SILENT, LATE = "000000000001", "000000000002", "000000000003", "000000000004"
SWEEPS = 12
FAULTS = (
    {"station": BAD, "kind": "checksum", "percent": 15},
    {"station": BAD, "kind": "address", "percent": 15},
    {"station": BAD, "kind": "truncate", "percent": 15},
    {"station": BAD, "kind": "noise_before", "percent": 30},
    {"station": BAD, "kind": "noise_after", "percent": 30},
    {"station": SILENT, "kind": "silent"},
    {"station": LATE, "kind": "late", "percent": 40, "late_ms": 250},
)


def test_nothing_wrong_is_stored_and_the_others_keep_their_periods(
    deploy: Callable[[Plan], Deployment],
) -> None:
    """Every stored value is one that its own meter showed; the good meter misses no slot."""
    deployment = deploy(_plan())
    deployment.start()
    deployment.await_true(lambda: _meter(deployment, GOOD)["sweeps"] >= SWEEPS, "the sweeps", 60)
    meters = {name: _meter(deployment, name) for name in (GOOD, BAD, SILENT, LATE)}
    assert_exactly_once(deployment)

    shown = _shown(deployment)
    stored = [row for meter in (GOOD, BAD, LATE) for row in _stored(deployment, meter)]
    assert len(stored) > SWEEPS
    assert [row for row in stored if row not in shown] == []
    assert meters[SILENT]["state"] == "silent"
    assert meters[SILENT]["sweeps"] == 0
    assert meters[BAD]["retries"] > 0
    assert meters[BAD]["strays"] > 0  # answers that came from another address were refused
    assert meters[LATE]["silences"] > 0
    slots = sorted({at // 1000 for at in _times(deployment, GOOD)})
    assert len(slots) >= SWEEPS
    # A sweep may begin late in its second because of the others; none is skipped for long.
    assert max(b - a for a, b in pairwise(slots)) <= 2


def _plan() -> Plan:
    meters = tuple(
        MeterPlan(
            address,
            "line1",
            {"protocol": "dlt645-2007", "address": address, "seed": n},
            {
                "protocol": "dlt645-2007",
                "address": address,
                "period_s": 1,
                "quantities": ["1-0:1.8.0", "1-0:32.7.0", "1-0:16.7.0"],
            },
        )
        for n, address in enumerate((GOOD, BAD, SILENT, LATE))
    )
    plan = fast_plan()
    return plan._replace(
        lines={"line1": plan.lines["line1"]},
        line_settings={"response_timeout_ms": 80, "gap_ms": 20, "retries": 1},
        meters=meters,
        faults=tuple({"line": "line1", **fault} for fault in FAULTS),
    )


def _meter(deployment: Deployment, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        one for one in deployment.status()["meters"] if one["meter"] == name
    )
    return found


def _shown(deployment: Deployment) -> set[tuple[str, str, int]]:
    """(meter, OBIS, value in micro-units) of everything that a meter put on the line."""
    rows = (deployment.folder / "meters.jsonl").read_text().splitlines()
    answers = [json.loads(row) for row in rows]
    return {
        (one["meter"], f"{one['obis'].split('*')[0]}*255", _micro(one["value"], one["scaler"]))
        for one in answers
        if one.get("obis") and isinstance(one["value"], int)
    }


def _stored(deployment: Deployment, meter: str) -> list[tuple[str, str, int]]:
    rows = deployment.head_end_json("readings", meter)
    return [(meter, row["obis"], _micro(row["integer"], row["scaler"])) for row in rows]


def _times(deployment: Deployment, meter: str) -> list[int]:
    return [row["read_at"] for row in deployment.head_end_json("readings", meter)]


def _micro(value: int, scaler: int) -> int:
    return value * 10 ** (6 + scaler)
