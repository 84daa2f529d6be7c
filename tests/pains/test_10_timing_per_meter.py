"""Pain 10: one timing for all meters, and none below a second."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.edge.fakes import CHARACTER_S, Answer, FakeClock
from tests.pains.gateway import HOUR_MS, Gateway, dlt645, is_unbroken, modbus, slots_of
from tests.pains.meters import Bus, Dlt645, Modbus


def requests_to(gateway: Gateway, meter: Dlt645) -> list[tuple[float, bytes]]:
    """When (ms) and what was asked of a meter."""
    own = bytes(reversed(bytes.fromhex(meter.address)))
    port = gateway.ports["line-1"]
    return [(at, data) for what, at, data in port.trace if what == "write" and own in data]


@pytest.mark.parametrize("timeout_ms", [50, 80, 250, 999])
def test_a_time_out_below_a_second_is_exact(
    tmp_path: Path, clock: FakeClock, timeout_ms: int
) -> None:
    """edgex #684 (the shortest time-out is 1 s), home-assistant #50245: a silent meter costs its
    own time-out, and its neighbour keeps another."""
    silent, slow = Dlt645(1, clock), Dlt645(2, clock)
    silent.is_silent = True
    slow.delay_ms = lambda: 1_400.0
    sections = [
        dlt645(1, response_timeout_ms=timeout_ms, retries=3, turnaround_ms=0),
        dlt645(2, response_timeout_ms=1_500),
    ]
    gateway = Gateway(tmp_path, clock, {"line-1": Bus(silent, slow)}, sections)
    gateway.run_for(10_000)
    asked = requests_to(gateway, silent)[:4]
    request_ms = len(asked[0][1]) * CHARACTER_S * 1000
    first, *others = [b[0] - a[0] for a, b in pairwise(asked)]
    assert timeout_ms <= first - request_ms <= timeout_ms + 25
    assert all(timeout_ms <= one - request_ms <= timeout_ms + 25 for one in others)
    gateway.run_for(HOUR_MS)
    assert is_unbroken(slots_of(gateway.journaled_sets(), "m-2"))
    assert gateway.workers["line-1"].watches["m-2"].driver.counters.silences == 0


def test_a_slow_meter_does_not_make_the_others_slow(tmp_path: Path, clock: FakeClock) -> None:
    """mbmd #258, #333 (300 ms are too short for one meter under load, and longer slows all): the
    patience of 5 s is one meter's own."""
    patient, dead = Modbus(1, clock), Modbus(2, clock)
    patient.delay_ms = lambda: 4_500.0
    dead.is_silent = True
    sections = [
        modbus(1, response_timeout_ms=5_000, retries=0),
        modbus(2, response_timeout_ms=100, retries=0),
    ]
    gateway = Gateway(tmp_path, clock, {"line-1": Bus(patient, dead)}, sections)
    gateway.run_for(HOUR_MS)
    assert is_unbroken(slots_of(gateway.journaled_sets(), "u-1"))
    counters = {
        name: one.driver.counters for name, one in gateway.workers["line-1"].watches.items()
    }
    assert counters["u-1"].silences == 0
    assert counters["u-2"].silences == dead.asked > 5
    busy_ms = gateway.workers["line-1"].line.counters.busy_ms
    assert busy_ms < patient.asked * 5_000 + dead.asked * 300


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_retries_are_the_meters_own(tmp_path: Path, clock: FakeClock, retries: int) -> None:
    """thingsboard-gateway #1664 (retries of the whole port): so many repetitions, then a pause."""
    meter, other = Dlt645(1, clock), Dlt645(2, clock)
    meter.is_silent = other.is_silent = True
    sections = [dlt645(1, retries=retries), dlt645(2, retries=2)]
    gateway = Gateway(tmp_path, clock, {"line-1": Bus(meter, other)}, sections)
    gateway.run_for(9_000)
    assert (meter.asked, other.asked) == (retries + 1, 3)


@pytest.mark.parametrize("turnaround_ms", [5, 100, 500])
def test_there_is_a_gap_before_each_request(
    tmp_path: Path, clock: FakeClock, turnaround_ms: int
) -> None:
    """OpenEMS #3099 (no gap between two tasks, so that slow transceivers collide): the silence that
    a meter needs before a request, after whomever else."""
    meters = [Dlt645(1, clock), Dlt645(2, clock)]
    sections = [dlt645(1, period_s=5, turnaround_ms=turnaround_ms), dlt645(2, period_s=5)]
    gateway = Gateway(tmp_path, clock, {"line-1": Bus(*meters)}, sections)
    gateway.run_for(60_000)
    trace = gateway.ports["line-1"].trace
    own = bytes(reversed(bytes.fromhex(meters[0].address)))
    gaps = [
        b[1] - a[1]
        for a, b in pairwise([one for one in trace if one[2]])
        if a[0] == "read" and b[0] == "write" and own in b[2]
    ]
    assert len(gaps) > 10
    assert min(gaps) == pytest.approx(turnaround_ms, abs=0.5)


def test_the_gap_inside_an_answer_is_the_meters_own(tmp_path: Path, clock: FakeClock) -> None:
    """mbmd #265, thingsboard-gateway #1664: a meter behind a slow converter pauses amid its answer;
    its neighbour would be given up by then."""
    meters = [Dlt645(1, clock), Dlt645(2, clock)]
    for meter in meters:
        whole = meter.hear

        def hear(request: bytes, whole: Callable[[bytes], Answer] = whole) -> Answer:
            return [
                piece
                for at, reply in whole(request)
                for piece in ((at, reply[:6]), (at + 300, reply[6:]))
            ]

        meter.hear = hear  # type: ignore[method-assign]
    sections = [dlt645(1, gap_ms=400), dlt645(2, gap_ms=200, response_timeout_ms=60, retries=0)]
    gateway = Gateway(tmp_path, clock, {"line-1": Bus(*meters)}, sections)
    gateway.run_for(10 * 60_000)
    stored = gateway.journaled_sets()
    assert {one.meter_id for one in stored} == {"m-1"}
    assert is_unbroken(slots_of(stored, "m-1"))
