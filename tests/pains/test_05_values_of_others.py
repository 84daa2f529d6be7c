"""Pain 5: another meter's value, or a glitch, is stored as a reading."""

import random
from pathlib import Path

import pytest

from protocols.obis import Obis
from protocols.readings import Flag, ReadingSet
from tests.edge.fakes import BOOT_MS, ENERGY, UTC_MS, VOLTAGE, FakeClock
from tests.pains.gateway import HOUR_MS, MINUTE_MS, Gateway, dlt645, modbus, slots_of
from tests.pains.meters import Bus, Dlt645, Meter, Modbus

RETURNED = Obis.from_text("1-0:2.8.0")
TIMEOUT_MS = 600
MODBUS_LATE_MS = TIMEOUT_MS + 500  # beyond it nothing in a Modbus RTU frame tells


def values(one: ReadingSet) -> dict[Obis, int]:
    """The integers of a set, by what they are of."""
    return {reading.obis: reading.quantity.value for reading in one.readings}


def check_owner(one: ReadingSet, meter: Meter) -> None:
    """Each value is of this meter, of its register, and of the time that the set says."""
    found = values(one)
    assert found.get(VOLTAGE, meter.voltage()) == meter.voltage()
    assert found.get(RETURNED, meter.number) == meter.number
    if ENERGY in found:
        boot_ms = one.read_at - UTC_MS + BOOT_MS
        low, high = meter.energy(boot_ms), meter.energy(boot_ms + 15_000)
        assert low <= found[ENERGY] <= high, "another meter's, or another time's"


@pytest.mark.parametrize("seed", range(8))
def test_a_late_reply_is_never_booked_to_another_meter_or_register(
    tmp_path: Path, clock: FakeClock, seed: int
) -> None:
    """home-assistant #138077 (a late reply to one request is taken for the answer to the next),
    ng-gateway (by reading: the address of an answer is never compared). A bus whose answers come
    after 20 ms to 3 s (Modbus, which has no sequence: 1.1 s), so that most of them are late."""
    chance = random.Random(seed)
    meters: dict[str, Meter] = {f"m-{n}": Dlt645(n, clock) for n in range(1, 6)}
    meters |= {f"u-{n}": Modbus(n, clock) for n in range(6, 9)}
    for name, meter in meters.items():
        late_ms = 3_000 if name.startswith("m") else MODBUS_LATE_MS - 10
        meter.delay_ms = lambda late_ms=late_ms: (  # type: ignore[misc]
            chance.uniform(20, late_ms) if chance.random() < 0.6 else 50.0
        )
    asked = [one.text().removesuffix("*255") for one in (ENERGY, RETURNED, VOLTAGE)]
    sections = [dlt645(n, period_s=30, quantities=asked) for n in range(1, 6)]
    sections += [modbus(n, period_s=30) for n in range(6, 9)]
    gateway = Gateway(tmp_path, clock, {"line-1": Bus(*meters.values())}, sections)
    gateway.run_for(HOUR_MS)
    stored = gateway.journaled_sets()
    assert len(stored) > 300
    assert gateway.workers["line-1"].line.counters.stale_bytes > 1_000
    for one in stored:
        check_owner(one, meters[one.meter_id])
        if one.meter_id.startswith("m"):  # a sweep ends where the meter is silent, and skips none
            codes = [reading.obis for reading in one.readings]
            assert codes == [ENERGY, RETURNED, VOLTAGE][: len(codes)]


def test_what_no_frame_tells_is_flagged(tmp_path: Path, clock: FakeClock) -> None:
    """home-assistant #138077 again: Modbus RTU has no sequence, so an answer that is over a second
    late may pass for that to the next question of the same length. It is flagged then."""
    misbooked = 0
    for late_ms in range(1_110, 1_400, 10):
        folder = tmp_path / str(late_ms)
        folder.mkdir()
        meter = Modbus(6, clock)
        gateway = Gateway(folder, clock, {"line-1": Bus(meter)}, [modbus(6, breaker_a=100)])
        gateway.run_for(3 * MINUTE_MS)
        delays = [float(late_ms)]
        meter.delay_ms = lambda delays=delays: delays.pop() if delays else 50.0  # type: ignore[misc]
        gateway.run_for(3 * MINUTE_MS)
        for one in gateway.journaled_sets():
            if not one.flags:
                check_owner(one, meter)
            misbooked += bool(one.flags)
        gateway.crash()
    assert misbooked > 0


GLITCHES = [
    pytest.param(911_300, "jump", id="a-late-reply-gave-9113-kwh"),
    pytest.param(8_125_000, "jump", id="81250-kwh-were-billed"),
    pytest.param(2_556_700, "jump", id="25567-kwh-in-a-slot"),
    pytest.param(-105_000, "roll-back", id="one-reading-of-zero"),
]


@pytest.mark.parametrize(("counts", "kind"), GLITCHES)
def test_a_glitch_is_flagged_kept_and_no_baseline(
    tmp_path: Path, clock: FakeClock, counts: int, kind: str
) -> None:
    """home-assistant #138077 (9113 kWh), hacs-idm-heatpump #322 (0.0, then 81 250 kWh billed), evcc
    PR #30267 (25 567 kWh in a slot): one reading is flagged and told with its frames, none is
    edited, and the good one after it is good."""
    meter = Dlt645(1, clock)
    gateway = Gateway(tmp_path, clock, {"line-1": Bus(meter)}, [dlt645(1, breaker_a=100, phases=3)])
    gateway.run_for(10 * MINUTE_MS)
    meter.energy_off = counts
    gateway.run_for(MINUTE_MS)
    meter.energy_off = 0
    gateway.run_for(10 * MINUTE_MS)
    stored = gateway.journaled_sets()
    slots = slots_of(stored, "m-1")
    assert slots == list(range(slots[0], slots[0] + len(slots)))
    (spike,) = [one for one in stored if one.flags]
    assert spike.flags == (Flag.JUMP if kind == "jump" else Flag.ROLL_BACK)
    true = meter.energy(spike.boot_at)
    assert true + counts <= values(spike)[ENERGY] <= true + counts + 15
    for one in stored:
        if one is not spike:
            check_owner(one, meter)
    (event,) = gateway.events_of(kind)
    assert event.subject == "m-1"
    heard = b"".join(data for way, _, data in event.evidence if way == "<")
    digits = bytes(reversed(bytes.fromhex(f"{values(spike)[ENERGY]:08d}")))
    assert bytes(byte + 0x33 & 255 for byte in digits) in heard, "the raw frame is the evidence"
    assert gateway.events_of("register-restarted") == []


def test_a_reply_of_the_wrong_meter_is_a_stray_and_told(tmp_path: Path, clock: FakeClock) -> None:
    """ng-gateway (by reading: an answer of the wrong identifier only warns, and is decoded): a
    meter that answers everybody spoils nobody's reading, and is told."""
    honest, rude = Dlt645(1, clock), Dlt645(2, clock)
    reply = rude._reply

    def hear(request: bytes) -> bytes | None:
        own = request.replace(bytes.fromhex("61 01"), bytes.fromhex("62 01"))
        return reply(own)

    rude._reply = hear  # type: ignore[method-assign]
    rude.delay_ms = lambda: 20.0
    gateway = Gateway(tmp_path, clock, {"line-1": Bus(honest, rude)}, [dlt645(1), dlt645(2)])
    gateway.run_for(10 * MINUTE_MS)
    stored = gateway.journaled_sets()
    assert len(slots_of(stored, "m-1")) >= 10
    for one in stored:
        check_owner(one, {"m-1": honest, "m-2": rude}[one.meter_id])
    assert [one.subject for one in gateway.events_of("foreign-answer")] == ["m-1"]
    assert gateway.events_of("foreign-answer")[0].evidence
