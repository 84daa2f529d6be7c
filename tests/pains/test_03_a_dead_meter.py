"""Pain 3: one dead meter slows or blanks the whole bus."""

from pathlib import Path

from tests.edge.fakes import FakeClock
from tests.pains.gateway import HOUR_MS, MINUTE_MS, Gateway, dlt645, is_unbroken, modbus, slots_of
from tests.pains.meters import Bus, Dlt645, Modbus

PROBED_MS_MAX = 10 * MINUTE_MS  # between two attempts on a silent meter


def test_the_living_keep_every_slot_beside_the_dead(tmp_path: Path, clock: FakeClock) -> None:
    """telegraf #11782 (one silent slave drops the values of all), home-assistant #115982, esphome
    #6494, node-red #446: nine of ten meters are dead, and the tenth is read in each minute."""
    meters = [Dlt645(n, clock) for n in range(1, 11)]
    for meter in meters[1:]:
        meter.is_silent = True
    bus = Bus(*meters)
    gateway = Gateway(tmp_path, clock, {"line-1": bus}, [dlt645(n) for n in range(1, 11)])
    gateway.run_for(3 * HOUR_MS)
    slots = slots_of(gateway.journaled_sets(), "m-1")
    assert len(slots) >= 180 and is_unbroken(slots)
    assert {one.meter_id for one in gateway.journaled_sets()} == {"m-1"}
    for meter in meters[1:]:
        assert meter.asked <= 3 * HOUR_MS // PROBED_MS_MAX + 15
    assert len(gateway.events_of("meter-down")) == 9


def test_the_port_stays_open_for_the_others(tmp_path: Path, clock: FakeClock) -> None:
    """mbmd (closes the port for everyone when one meter is dead), neuron #1602 (one silent device
    resets the whole RTU-over-TCP link), edgex device-modbus-go (the client is dropped)."""
    dead, living = Modbus(2, clock), Modbus(3, clock)
    dead.is_silent = True
    bus = Bus(Dlt645(1, clock), dead, living)
    gateway = Gateway(tmp_path, clock, {"line-1": bus}, [dlt645(1), modbus(2), modbus(3)])
    gateway.run_for(HOUR_MS)
    port = gateway.ports["line-1"]
    assert (port.count("open"), port.count("close")) == (1, 0)
    for meter in ("m-1", "u-3"):
        assert is_unbroken(slots_of(gateway.journaled_sets(), meter))
    assert dead.asked > 5


def test_a_dead_meter_silences_no_namesake_on_another_line(
    tmp_path: Path, clock: FakeClock
) -> None:
    """neuron (by reading: the failures are counted globally by slave id, so slave 5 dead on bus A
    silences slave 5 on bus B for 600 s)."""
    dead = [Modbus(5, clock), Dlt645(6, clock)]
    for meter in dead:
        meter.is_silent = True
    living = [Modbus(5, clock), Dlt645(6, clock)]
    sections = [modbus(5, "line-1"), dlt645(6, "line-1")]
    sections += [modbus(5, "line-2", id="u-50"), dlt645(6, "line-2", id="m-60")]
    buses = {"line-1": Bus(*dead), "line-2": Bus(*living)}
    gateway = Gateway(tmp_path, clock, buses, sections)
    gateway.run_for(HOUR_MS)
    stored = gateway.journaled_sets()
    assert {one.meter_id for one in stored} == {"u-50", "m-60"}
    for meter in ("u-50", "m-60"):
        slots = slots_of(stored, meter)
        assert len(slots) >= 60 and is_unbroken(slots)
    assert [one.subject for one in gateway.events_of("line-down")] == ["line-1"]


def test_a_meter_that_comes_back_is_read_within_its_pause(tmp_path: Path, clock: FakeClock) -> None:
    """thingsboard-gateway #474 (a device that was off at the start, or went off, is never polled
    again): its return needs no restart, and its gap is told with the reason."""
    meters = [Dlt645(1, clock), Dlt645(2, clock)]
    gateway = Gateway(tmp_path, clock, {"line-1": Bus(*meters)}, [dlt645(1), dlt645(2)])
    gateway.run_for(5 * MINUTE_MS)
    meters[1].is_silent = True
    gateway.run_for(2 * HOUR_MS)
    silent_until = clock.utc_ms()
    meters[1].is_silent = False
    gateway.run_for(PROBED_MS_MAX + 10 * MINUTE_MS)
    after = [one for one in gateway.journaled_sets() if one.read_at >= silent_until]
    slots = slots_of(after, "m-2")
    assert slots[0] * MINUTE_MS <= silent_until + PROBED_MS_MAX + MINUTE_MS
    assert is_unbroken(slots)
    assert [one.subject for one in gateway.events_of("meter-up")] == ["m-2"]
    missed = [one for one in gateway.events_of("slots-missed") if one.subject == "m-2"]
    assert len(missed) == 1 and "no answer" in missed[0].detail
