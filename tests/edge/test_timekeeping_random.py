"""edge/timekeeping.py in seeded histories: what its bound promises, and who can break it.

True time runs; boot time drifts against it; the system clock is synchronised, loses it, is set by
anybody; signed time comes early, late, slowly or not at all; the machine sleeps; the agent starts
again. Each test says which source is right, and what is then promised:

* signed time is right and comes well within a day: whatever the system clock claims or is set to,
  UTC is within its bound from the first answer on.
* NTP is right whenever it is claimed, no signed time: UTC is within its bound, and nobody is
  accused.
* NTP is right at the first sync and lies later, no signed time: UTC is within the bound and the
  tolerance until a claim has stood for a day; what moved it further was told.
* everybody lies: nothing is promised of UTC, but no step goes untold.
"""

import random
from collections.abc import Callable

import pytest

from edge.timekeeping import (
    DRIFT_PPM,
    HOLD_MS_MAX,
    TOLERANCE_MS,
    Moment,
    Points,
    System,
    Timekeeper,
)
from protocols.readings import TimeQuality
from tests.edge.fakes import UTC_MS

SEEDS = range(12)
STEPS = 200
MILLION = 1_000_000
DAY = 86_400_000
HOUR = 3_600_000
NTP_ERROR_MS = 500
DRIFT_PPM_MAX = 150  # of the crystal: less than what the rule allows


class World:
    """One machine and its clocks. All instants are true ms since its boot."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.passed_ms = 60_000.0
        self.boot = 60_000.0
        self.system_offset = 0.0  # the system clock's UTC minus boot time
        self.quality = int(TimeQuality.UNSYNCED)
        self.keeper = Timekeeper()
        self.saved: Points | None = None
        self._saved_at = (0, 0)  # changes, boot ms
        self.kinds: list[str] = []
        self.drift_ppm = self.chance.uniform(-DRIFT_PPM_MAX, DRIFT_PPM_MAX)
        self.set_system(-self.chance.choice((0, HOUR, 30 * DAY)))

    @property
    def boot_ms(self) -> int:
        """As the kernel gives it."""
        return int(self.boot)

    @property
    def true_ms(self) -> float:
        """UTC."""
        return UTC_MS + self.passed_ms

    def set_system(self, off_ms: float) -> None:
        """Somebody sets the system clock."""
        self.system_offset = self.true_ms + off_ms - self.boot

    def system(self) -> System:
        """What it says."""
        return System(int(self.system_offset + self.boot), self.quality, NTP_ERROR_MS)

    def advance(self, ms: float) -> None:
        """The crystal drifts, by another amount each time."""
        self.drift_ppm = min(
            max(self.drift_ppm + self.chance.uniform(-20, 20), -DRIFT_PPM_MAX), DRIFT_PPM_MAX
        )
        self.passed_ms += ms
        self.boot += ms * (1 + self.drift_ppm / MILLION)

    def run(self, ms: float, look: Callable[[], None]) -> None:
        """Time passes under watch."""
        end = self.passed_ms + ms
        while self.passed_ms < end:
            self.advance(min(60_000, end - self.passed_ms))
            look()

    def look(self) -> Moment:
        """As the clock does every few seconds. What is shown."""
        self.keeper.look(self.boot_ms, self.system())
        return self._heard()

    def hear(self, lie_ms: float = 0) -> Moment:
        """Signed time: asked, answered somewhere on the way, heard."""
        asked = self.boot_ms
        there_ms = self.chance.choice((0, 30, 400, 4_000)) * self.chance.random()
        back_ms = self.chance.choice((0, 30, 400, 4_000)) * self.chance.random()
        self.advance(there_ms)
        answer_ms = int(self.true_ms + lie_ms)
        self.advance(back_ms)
        round_trip = self.boot_ms - asked
        self.keeper.hear(
            self.boot_ms, answer_ms + round_trip // 2, round_trip // 2 + 3, self.system()
        )
        return self._heard()

    def restart(self) -> Moment:
        """The agent starts again, with what was saved: the last change, or up to an hour ago."""
        self.keeper = Timekeeper(0, self.saved)
        self._saved_at = (0, self.boot_ms)
        return self.look()

    def _heard(self) -> Moment:
        self.kinds += [kind for kind, _ in self.keeper.told()]
        if self.keeper.changes != self._saved_at[0] or self.boot_ms >= self._saved_at[1] + HOUR:
            self.saved = self.keeper.points
            self._saved_at = (self.keeper.changes, self.boot_ms)
        return self.keeper.moment(self.boot_ms, self.system())

    def off_ms(self, moment: Moment) -> float:
        """How far it is off, whole milliseconds forgiven."""
        return max(abs(moment.utc_ms - self.true_ms) - 2, 0)


def honest(world: World) -> None:
    """NTP sets the system clock as it does: some milliseconds off, rarely some hundred."""
    world.quality = TimeQuality.NTP
    world.set_system(world.chance.choice((5, 50, NTP_ERROR_MS - 95)) * world.chance.uniform(-1, 1))


def lying(world: World) -> None:
    """Any claim: a day off, hours off, a step that hides in the tolerance, a walk of such."""
    world.quality = TimeQuality.NTP
    size = world.chance.choice((TOLERANCE_MS * 0.99, TOLERANCE_MS * 1.5, HOUR, DAY))
    world.system_offset += world.chance.uniform(-size, size)


def lost(world: World) -> None:
    """The system clock claims nothing any more, and may be set to anything."""
    world.quality = world.chance.choice((TimeQuality.UNSYNCED, TimeQuality.RTC))
    if world.chance.random() < 0.5:
        world.set_system(world.chance.uniform(-DAY, DAY))


def check_bound(world: World, moment: Moment, more_ms: float = 0) -> None:
    """The promise."""
    if moment.quality >= TimeQuality.NTP:
        assert moment.error_ms is not None
        assert world.off_ms(moment) <= moment.error_ms + more_ms


@pytest.mark.parametrize("seed", SEEDS)
def test_with_right_signed_time_no_system_clock_can_lie(seed: int) -> None:
    """An answer within 20 hours; NTP lies as it likes, by steps of any size, also before."""
    world = World(seed)
    world.hear()
    heard_at = world.passed_ms
    for _ in range(STEPS):
        world.chance.choice((honest, lying, lying, lost, lambda _: None))(world)
        gap_ms = world.chance.choice((5_000, 60_000, HOUR, 6 * HOUR))
        if world.passed_ms - heard_at + gap_ms > 20 * HOUR:
            check_bound(world, world.hear())
            heard_at = world.passed_ms
        if world.chance.random() < 0.3:
            world.advance(gap_ms)  # asleep
        else:
            world.run(gap_ms, lambda: check_bound(world, world.look()))
        check_bound(world, world.look())
        if world.chance.random() < 0.2:
            check_bound(world, world.hear())
            heard_at = world.passed_ms
        if world.chance.random() < 0.1:
            check_bound(world, world.restart())
    assert world.keeper.moment(world.boot_ms, world.system()).quality >= TimeQuality.NTP
    assert "clock-disagrees" in world.kinds


@pytest.mark.parametrize("seed", SEEDS)
def test_with_right_ntp_nobody_is_accused(seed: int) -> None:
    """It comes and goes, and while it is gone the system clock may be set by anybody."""
    world, good = World(seed), 0
    for _ in range(STEPS // 2):
        world.chance.choice((honest, honest, lost))(world)
        gap_ms = world.chance.choice((5_000, 60_000, HOUR, 30 * HOUR))
        check_bound(world, world.look())
        while gap_ms > 0 and world.quality == TimeQuality.NTP:
            honest(world)  # it corrects what drifts
            step_ms = min(600_000, gap_ms)
            world.run(step_ms, lambda: check_bound(world, world.look()))
            gap_ms -= step_ms
        world.advance(gap_ms)
        moment = world.keeper.moment(world.boot_ms, world.system())
        check_bound(world, moment)
        good += moment.quality >= TimeQuality.NTP
        if world.chance.random() < 0.1:
            world.restart()
    assert good > STEPS / 4
    assert world.kinds[0] == "clock-synced"
    assert set(world.kinds[1:]) <= {"clock-step"}  # after days of drift


@pytest.mark.parametrize("seed", SEEDS)
def test_with_both_right_nobody_is_accused(seed: int) -> None:
    """However slow the answers are, and however long the sleep."""
    world = World(seed)
    for _ in range(STEPS):
        world.chance.choice((honest, honest, lost))(world)
        check_bound(world, world.look())
        if world.chance.random() < 0.5:
            check_bound(world, world.hear())
        world.advance(world.chance.choice((5_000, HOUR, 30 * HOUR)))
        check_bound(world, world.keeper.moment(world.boot_ms, world.system()))
    assert world.kinds[0] == "clock-synced"
    assert set(world.kinds[1:]) <= {"clock-step"}  # after days of drift, or a vague answer


@pytest.mark.parametrize("seed", SEEDS)
def test_ntp_that_lies_after_the_first_sync_moves_us_by_the_tolerance_at_most(seed: int) -> None:
    """No signed time. Each claim lasts less than a day."""
    world = World(seed)
    honest(world)
    check_bound(world, world.look())
    synced_at = world.passed_ms
    for _ in range(STEPS // 4):
        lost(world)
        world.look()
        world.chance.choice((lying, lying, lost))(world)
        world.run(
            world.chance.choice((5_000, 60_000, HOUR, 20 * HOUR)),
            lambda: check_bound(
                world,
                world.look(),
                NTP_ERROR_MS + TOLERANCE_MS + (world.passed_ms - synced_at) * DRIFT_PPM / MILLION,
            ),
        )
    assert "clock-disagrees" in world.kinds


@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_lies_no_step_goes_untold(seed: int) -> None:
    """NTP, signed time, both; claims that last for days."""
    world, steps = World(seed), 0
    before = world.look()
    for _ in range(STEPS):
        world.chance.choice((honest, lying, lost, lambda _: None))(world)
        world.advance(world.chance.choice((0, 5_000, 60_000)))
        world.kinds.clear()
        draw = world.chance.random()
        if draw < 0.03:
            world.run(HOLD_MS_MAX + HOUR, lambda: note(world))
            before = world.look()
            continue
        if draw < 0.3:
            now = world.hear(world.chance.choice((0, 1_000, -DAY, DAY)))
        elif draw < 0.4:
            now = world.restart()
        else:
            now = world.look()
        moved_ms = (now.utc_ms - now.boot_ms) - (before.utc_ms - before.boot_ms)
        # A look and an answer may each move it by the tolerance.
        if before.error_ms is not None and abs(moved_ms) > 2 * TOLERANCE_MS:
            steps += 1
            assert "clock-step" in world.kinds
        if now.is_in_doubt and not before.is_in_doubt:
            assert "clock-disagrees" in world.kinds
        before = now
    assert steps > 5


def note(world: World) -> None:
    """A look in a long claim: a step that it brings is told at that look."""
    before = world.keeper.moment(world.boot_ms, world.system())
    world.kinds.clear()
    now = world.look()
    moved_ms = (now.utc_ms - now.boot_ms) - (before.utc_ms - before.boot_ms)
    if before.error_ms is not None and abs(moved_ms) > TOLERANCE_MS:
        assert "clock-step" in world.kinds
