"""One line with a meter of each protocol, from the wire to the head end's answers."""

import subprocess
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from hil.deployment import Deployment, MeterPlan, Plan
from tests.system.conftest import assert_exactly_once, fast_plan

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

# Block with tariffs, demand with its time, status word, count, parameters without a code.
QUANTITIES = ["0001FF00", "01010000", "04000503", "03300D00", "04000204", "1-0:14.7.0"]
NEW = {
    "flat": (
        {"protocol": "dlt645-2007", "address": "000000000011", "seed": 4},
        {"protocol": "dlt645-2007", "address": "000000000011", "quantities": QUANTITIES},
    ),
    "old": (
        {"protocol": "dlt645-1997", "address": "000000000012", "seed": 5},
        {"protocol": "dlt645-2007", "address": "000000000012"},
    ),
    "water": (
        {"protocol": "cjt188", "address": "00000000000013", "meter_type": "cold-water"},
        {"protocol": "cjt188", "address": "00000000000013", "meter_type": "cold-water"},
    ),
    "heat": (
        {"protocol": "cjt188", "address": "00000000000014", "meter_type": "heat",
         "unit_position": "before", "di_order": "1F90"},
        {"protocol": "cjt188", "address": "00000000000014", "meter_type": "heat",
         "unit_position": "before", "di_order": "1F90"},
    ),
    "machine": (
        {"protocol": "modbus", "unit": 7, "model": "siemens-pac2200", "seed": 9},
        {"protocol": "modbus", "unit": 7, "model": "siemens-pac2200"},
    ),
}  # fmt: skip
# What each must have shown: code -> unit.
SHOWN = {
    "flat": {"1-0:1.8.0*255": "kWh", "1-0:1.8.4*255": "kWh", "1-0:1.6.0*255": "kW",
             "1-129:1.1.0*0": "", "0-0:96.3.10*255": "", "0-0:96.20.0*255": "1",
             "1-128:4.0.2*4": "1", "1-0:14.7.0*255": "Hz"},
    "old": {"1-0:1.8.0*255": "kWh"},
    "water": {"8-0:1.0.0*255": "m3", "0-0:96.5.0*255": ""},
    "heat": {"6-0:1.0.0*255": "kWh", "6-0:2.0.0*255": "m3", "6-0:10.0.0*255": "degC"},
    "machine": {"1-0:32.7.0*255": "V", "1-0:1.8.1*255": "kWh"},
}  # fmt: skip


def plan() -> Plan:
    """All of them on one line, every two seconds."""
    meters = tuple(
        MeterPlan(name, "line1", world, {**edge, "period_s": 2})
        for name, (world, edge) in NEW.items()
    )
    lines = {"line1": {"baud": 115200, "paced": False}}
    return fast_plan()._replace(lines=lines, meters=meters)


def rows_of(deployment: Deployment, meter: str) -> list[dict[str, Any]]:
    """What the head end says that the meter showed."""
    rows: list[dict[str, Any]] = deployment.head_end_json("readings", meter)
    return rows


def test_meters_of_every_protocol_share_a_line(deploy: Callable[[Plan], Deployment]) -> None:
    """Each is read under its own codes, none hears or answers for another, nothing is lost; a code
    of the manufacturer's range can be ordered like any other."""
    deployment = deploy(plan())
    deployment.start()
    deployment.await_true(
        lambda: all(len(rows_of(deployment, name)) >= 3 * len(SHOWN[name]) for name in NEW),
        "three readings of every meter",
        60,
    )
    editions = {row["meter"]: row["edition"] for row in deployment.status()["meters"]}
    assert (editions["flat"], editions["old"]) == (2007, 1997)
    command = deployment.head_end_command("order", "read", "flat", "1-128:4.0.2*4")
    ordered = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ordered.returncode == 0, ordered.stdout + ordered.stderr
    assert "DL/T 645 identifier 04000204" in ordered.stdout
    for name, codes in SHOWN.items():
        found = {row["obis"]: row["unit"] for row in rows_of(deployment, name)}
        assert {code: found.get(code) for code in codes} == codes, name
    for name in ("flat", "old", "water", "heat"):
        energy = next(iter(SHOWN[name]))
        values = [Decimal(row["value"]) for row in rows_of(deployment, name)
                  if row["obis"] == energy]  # fmt: skip
        assert values == sorted(values)
    assert assert_exactly_once(deployment) > 0
