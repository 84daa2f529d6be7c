"""Plausibility over random histories: honest ones are never flagged, planted faults always. The
seed is the parameter; time is an argument."""

import random
from collections.abc import Iterator

import pytest

from edge.collect.plausible import (
    CONFIRMATIONS,
    LATE_MS,
    STUCK_MS,
    Limits,
    Plausibility,
    Verdict,
)
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Flag, Reading, TimeQuality
from tests.edge.fakes import BOOT_MS, FakeClock, make_set

QUARTER_MS = 900_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
FINE = Verdict()


def energy(value: int, scaler: int, code: str = "1-0:1.8.0") -> Reading:
    """A register."""
    return Reading(Obis.from_text(code), Quantity(value, scaler, "Wh", Kind.CUMULATIVE))


def power(watts: int) -> Reading:
    """Net active power, in 0.1 W as DL/T 645 has it."""
    return Reading(Obis.from_text("1-0:16.7.0"), Quantity(watts * 10, -1, "W", Kind.INSTANTANEOUS))


class Household:
    """Import and export of one meter, as truth in mWh, and what its registers show of it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.limits = Limits(self.random.choice((10, 40, 63, 250, None)), 3, 230)
        self.most_w = min(self.limits.watts(), 500_000)
        self.late_ms = self.random.choice((0, 0, MINUTE_MS, LATE_MS))
        self.scaler = self.random.choice((-1, 0, 1, 2, 3))
        self.has_sign = self.random.random() < 0.8
        self.watts = 0
        self.now = BOOT_MS
        self._mwms = {1: 0, 2: self.random.randrange(10**18)}
        self._shown = dict(self._mwms)
        self._shown_at = self.now

    def live(self, ms: int) -> None:
        """Time passes in pieces of random loads, some of them at the full rating."""
        end = self.now + ms
        while self.now < end:
            piece = min(self.random.randrange(1_000, 1_200_000), end - self.now)
            if self.late_ms:
                piece = min(piece, self._shown_at + self.late_ms - self.now)
            self.now += piece
            self._mwms[1 if self.watts > 0 else 2] += abs(self.watts) * 1000 * piece
            if self.now - self._shown_at >= self.late_ms:
                self._shown, self._shown_at = dict(self._mwms), self.now
            self.watts = self.random.choice(
                (0, 60, self.most_w, -self.most_w // 2, self.random.randrange(self.most_w))
            )

    def readings(self) -> tuple[Reading, ...]:
        """Two registers of different resolution at times, and the power of the instant."""
        if self.random.random() < 0.02:
            self.scaler = self.random.choice((-1, 0, 1, 2, 3))
        energies = [
            energy(mwms // (3_600_000_000 * 10**self.scaler)
                   if self.scaler >= 0 else mwms * 10 // 3_600_000_000,
                   self.scaler, f"1-0:{c}.8.0")
            for c, mwms in self._shown.items()
        ]  # fmt: skip
        return (*energies, power(self.watts if self.has_sign else abs(self.watts)))


def history(house: Household) -> Iterator[tuple[Plausibility, tuple[Reading, ...], int]]:
    """Yields (judgement, readings, boot ms) over some weeks with outages and restarts."""
    rng = house.random
    period = rng.choice((10_000, MINUTE_MS, QUARTER_MS, DAY_MS))
    plausibility = Plausibility({"m-1": house.limits})
    for _ in range(400):
        outage = rng.choice((3_600_000, DAY_MS, 9 * DAY_MS)) if rng.random() < 0.01 else 0
        house.live(period + outage)
        readings = house.readings()
        yield plausibility, readings, house.now
        if rng.random() < 0.02:
            clock = FakeClock()
            clock.advance(house.now + 1_000 - BOOT_MS)
            boot = rng.choice((clock.boot_id, bytes(16)))
            plausibility = Plausibility({"m-1": house.limits})
            last = make_set(
                readings=readings,
                boot_at=house.now,
                boot_id=boot,
                read_at=clock.utc_ms() - 1_000,
                quality=rng.choice((TimeQuality.UNSYNCED, TimeQuality.RTC)),
            )
            plausibility.recall(last, clock)


@pytest.mark.parametrize("seed", range(40))
def test_an_honest_meter_is_never_flagged(seed: int) -> None:
    """Full loads, late registers, changes of resolution, outages of days, restarts."""
    for plausibility, readings, boot_ms in history(Household(seed)):
        verdict = plausibility.judge("m-1", readings, boot_ms)
        assert verdict == FINE, f"seed {seed}: {verdict}"


@pytest.mark.parametrize("seed", range(40))
def test_a_planted_fault_is_flagged_and_the_good_reading_after_it_is_not(seed: int) -> None:
    """Spikes beyond what any bound allows, and falls of a count or more, in either register."""
    house = Household(1_000 + seed)
    rng = random.Random(seed)
    planted = 0
    for n, (plausibility, readings, boot_ms) in enumerate(history(house)):
        verdict = plausibility.judge("m-1", readings, boot_ms)
        assert verdict == FINE, f"seed {seed}: {verdict}"
        if n < 3 or rng.random() > 0.1:
            continue
        which = rng.randrange(2)
        good = readings[which].quantity
        spiked = rng.random() < 0.5
        if spiked:  # beyond 301 s at the rating, and a coarse count
            least = house.limits.watts() * 302 * 120 // 360_000 + 2_000
            change = least * 10 // 10 ** (good.scaler + 1) + 1 + rng.randrange(10**9)
        else:  # after a change of resolution less than a coarse count is no fall
            change = -2_000 * 10 // 10 ** (good.scaler + 1) - rng.randrange(10**6)
        bad = list(readings)
        bad[which] = Reading(readings[which].obis, good._replace(value=good.value + change))
        for _ in range(rng.randrange(1, CONFIRMATIONS)):
            flags = plausibility.judge("m-1", tuple(bad), boot_ms + 1_000).flags
            assert flags == (Flag.JUMP if spiked else Flag.ROLL_BACK), f"seed {seed}"
        planted += 1
    assert planted > 10


@pytest.mark.parametrize("seed", range(40))
def test_a_planted_stop_is_flagged(seed: int) -> None:
    """A register that stops under a load that never ends: as soon as it stood for an hour, and two
    of its counts are missing. It is good again once it counts."""
    rng = random.Random(seed)
    limits = Limits(rng.choice((10, 63, 250, None)), 3, 230)
    watts = rng.randrange(2_000, 6_000)
    scaler = rng.choice((0, 1, 2, 3))
    period = rng.choice((10_000, MINUTE_MS, QUARTER_MS))
    value = rng.randrange(10**6)
    plausibility = Plausibility({"m-1": limits})
    moments = range(BOOT_MS, BOOT_MS + 3 * STUCK_MS, period)
    stopped = (energy(value, scaler), power(watts))
    flags = [plausibility.judge("m-1", stopped, now).flags for now in moments]
    due = max(STUCK_MS, 2 * 10**scaler * 3_600_000 // watts)
    assert flags == [Flag.STUCK if now >= BOOT_MS + due else 0 for now in moments]
    counting = (energy(value + 1, scaler), power(watts))
    assert plausibility.judge("m-1", counting, moments[-1] + period) == FINE
