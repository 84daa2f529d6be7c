"""Pain 13: timestamps that are not true."""

from pathlib import Path
from typing import Any

import pytest

from edge.timekeeping import Moment, System, Timekeeper
from protocols.readings import Flag, TimeQuality
from tests.edge.fakes import BOOT_MS, ENERGY, UTC_MS, FakeClock
from tests.pains.gateway import HOUR_MS, MINUTE_MS, Gateway, Store, dlt645, is_unbroken, slots_of
from tests.pains.meters import Bus, Dlt645

DAY_MS = 24 * HOUR_MS


def true_ms(boot_ms: int) -> int:
    """UTC."""
    return boot_ms + UTC_MS - BOOT_MS


class Kept(FakeClock):
    """The product's timekeeping over a system clock that is `off_ms` wrong."""

    def __init__(self, quality: int = TimeQuality.NTP, off_ms: int = 0) -> None:
        super().__init__(quality)
        self.off_ms = off_ms
        self._keeper = Timekeeper()

    def _system(self) -> System:
        return System(true_ms(self.boot_ms()) + self.off_ms, self._quality, 500)

    def moment(self) -> Moment:
        """As SystemClock does it."""
        self._keeper.look(self.boot_ms(), self._system())
        return self._keeper.moment(self.boot_ms(), self._system())

    def utc_ms(self) -> int:
        """Of the moment."""
        return self.moment().utc_ms

    def quality(self) -> int:
        """Of the moment."""
        return self.moment().quality

    def is_in_doubt(self) -> bool:
        """Of the moment."""
        return self.moment().is_in_doubt

    def wants_time(self) -> bool:
        """As it says."""
        return self._keeper.wants_time

    def anchor(self, utc_ms: int, asked_boot_ms: int) -> bool:
        """Signed time."""
        self._keeper.hear(self.boot_ms(), utc_ms, 100, self._system())
        return True


class TrueStore(Store):
    """A head end whose clock is right, whatever the gateway's says."""

    def answer(self, epoch: bytes) -> dict[str, Any]:
        """With the time."""
        return super().answer(epoch) | {"time": true_ms(self._clock.boot_ms())}


def make_gateway(folder: Path, clock: FakeClock, count: int = 2) -> Gateway:
    """Meters on a line, and a head end that knows the time."""
    numbers = range(1, count + 1)
    bus = Bus(*(Dlt645(n, clock) for n in numbers))
    gateway = Gateway(folder, clock, {"line-1": bus}, [dlt645(n) for n in numbers])
    gateway.store = TrueStore(clock)
    return gateway


def test_a_stale_value_is_never_given_a_new_time(tmp_path: Path, clock: FakeClock) -> None:
    """thingsboard-gateway #2119 (stale values are stamped with the present), vzlogger #536 (the
    last value is served for ever): a silent meter gives no reading at all, and what was read
    before an outage of the uplink arrives with the time of its reading."""
    gateway = make_gateway(tmp_path, clock)
    gateway.go_online()
    gateway.run_for(5 * MINUTE_MS)
    gateway.buses["line-1"].meters[1].is_silent = True
    silent_from = clock.utc_ms()
    gateway.go_offline()
    gateway.run_for(HOUR_MS)
    gateway.go_online()
    gateway.run_for(MINUTE_MS)
    stored = gateway.store.sets()
    assert max(one.read_at for one in stored if one.meter_id == "m-2") < silent_from
    watch = gateway.workers["line-1"].watches["m-2"]
    assert watch.read_at < silent_from and watch.last_error
    assert is_unbroken(slots_of(stored, "m-1"))
    for one in stored:
        (energy,) = [r.quantity.value for r in one.readings if r.obis == ENERGY]
        number = int(one.meter_id.removeprefix("m-"))
        read_s = energy - number * 100_000
        assert 0 <= read_s * 1000 - (one.read_at - true_ms(0)) + 1_000 <= 5_000


@pytest.mark.parametrize("off_ms", [-UTC_MS, -30 * DAY_MS, -HOUR_MS])
def test_readings_from_before_the_time_came_are_timed_anew(tmp_path: Path, off_ms: int) -> None:
    """lafrech/oem_gateway #12 (a Pi boots before NTP, and stores wrong dates), thingsboard-gateway
    #410: what was read by then waits, and has the true time once the head end tells it."""
    clock = Kept(TimeQuality.UNSYNCED, off_ms)
    gateway = make_gateway(tmp_path, clock)
    gateway.run_for(20 * MINUTE_MS)
    assert {one.quality for one in gateway.journaled_sets()} == {TimeQuality.UNSYNCED}
    gateway.go_online()
    gateway.run_for(10 * MINUTE_MS)
    stored = gateway.store.sets()
    assert len(stored) >= 58
    assert {one.quality for one in stored} == {TimeQuality.SIGNED}
    for one in stored:
        assert abs(one.read_at - true_ms(one.boot_at)) <= 200


@pytest.mark.parametrize("step_ms", [DAY_MS, -DAY_MS])
@pytest.mark.parametrize("is_online", [True, False])
def test_a_step_of_the_system_clock_gives_no_false_time(
    tmp_path: Path, step_ms: int, is_online: bool
) -> None:
    """thingsboard-gateway #410: somebody sets the clock by a day, and back again three hours later.
    Every reading has the true time or says that the time is in doubt, and every slot is read
    once."""
    clock = Kept()
    gateway = make_gateway(tmp_path, clock)
    if is_online:
        gateway.go_online()
    gateway.run_for(10 * MINUTE_MS)
    clock.off_ms = step_ms
    gateway.run_for(3 * HOUR_MS)
    clock.off_ms = 0
    gateway.run_for(10 * MINUTE_MS)
    stored = gateway.journaled_sets()
    assert len(stored) >= 2 * 199
    for one in stored:
        assert abs(one.read_at - true_ms(one.boot_at)) <= 2_000
    for meter in ("m-1", "m-2"):
        assert is_unbroken(slots_of(stored, meter))
    if not is_online:  # nobody decides who is right
        doubted = [one for one in stored if one.flags & Flag.CLOCK_SUSPECT]
        assert len(doubted) >= 2 * 179
