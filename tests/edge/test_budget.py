"""Line arithmetic, against numbers worked out by hand."""

from pathlib import Path

import pytest

from edge.line import budget
from edge.meters.drivers import build_driver
from edge.meters.learned import Learned
from tests.edge.fakes import FakeClock
from tests.edge.test_drivers_modbus import TWO_SPANS


@pytest.mark.parametrize(
    ("baud", "parity", "stop_bits", "bits"),
    [(2400, "E", 1, 11), (9600, "N", 1, 10), (9600, "N", 2, 11), (1200, "O", 2, 12)],
)
def test_a_character_is_its_bits(baud: int, parity: str, stop_bits: int, bits: int) -> None:
    """Start, 8 data, parity if any, stop bits."""
    assert budget.character_s(baud, parity, stop_bits) == pytest.approx(bits / baud)


def test_a_sweep_costs_its_exchanges(tmp_path: Path, clock: FakeClock) -> None:
    """Ten items of a DL/T 645 meter at 2400 bit/s take about three seconds; a block of three
    voltages is one exchange with two bytes for each."""
    settings = {
        "id": "m-1",
        "protocol": "dlt645-2007",
        "edition": "2007",
        "address": "000000000161",
        "quantities": ["00010000"] * 9 + ["0201FF00"],
    }
    costs = build_driver(settings, {}, Learned(tmp_path, clock)).costs()
    assert costs == [budget.Cost(20, 24)] * 9 + [budget.Cost(20, 26)]
    character = budget.character_s(2400, "E", 1)
    assert budget.seconds(costs[0], character) == pytest.approx(44 * 11 / 2400 + 0.1)
    assert budget.seconds(costs[0], character, 0.02) == pytest.approx(44 * 11 / 2400 + 0.12)


def test_modbus_counts_registers_and_silence(tmp_path: Path, clock: FakeClock) -> None:
    """8 + 5 bytes, two a register, and 3.5 characters."""
    settings = {"id": "m-1", "protocol": "modbus", "unit": 1, "model": "m", "quantities": None}
    models = {"m": TWO_SPANS}
    costs = build_driver(settings, models, Learned(tmp_path, clock)).costs()
    assert costs == [budget.Cost(8, 9, 3.5)] * 2
    character = budget.character_s(9600, "N", 1)
    assert budget.seconds(costs[0], character) == pytest.approx(20.5 * character + 0.1)


@pytest.mark.parametrize("character", [11 / 600, 11 / 2400, 11 / 115200])
def test_modbus_tcp_has_no_character_time(
    tmp_path: Path, clock: FakeClock, character: float
) -> None:
    """Two spans are two round trips, whatever the line's settings say."""
    settings = {"id": "m-1", "protocol": "modbus-tcp", "unit": 1, "model": "m", "quantities": None}
    models = {"m": TWO_SPANS}
    costs = build_driver(settings, models, Learned(tmp_path, clock)).costs()
    assert sum(budget.seconds(cost, character, 1.0) for cost in costs) == pytest.approx(0.1)


def test_the_load_is_the_sum_of_its_shares() -> None:
    """Above 1 the periods can not be kept."""
    assert budget.load([(3.0, 60_000), (3.0, 30_000), (9.0, 10_000)]) == pytest.approx(1.05)
    assert budget.load([]) == 0
