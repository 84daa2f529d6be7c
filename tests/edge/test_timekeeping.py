"""edge/timekeeping.py: whom to believe, case by case."""

import pytest

from edge.timekeeping import (
    DRIFT_PPM,
    ERROR_MS_MAX,
    HOLD_MS_MAX,
    JITTER_MS,
    MADE_AT_MS,
    SIGHT_MS_MAX,
    TOLERANCE_MS,
    Moment,
    Point,
    Points,
    System,
    Timekeeper,
    seconds,
)
from protocols.readings import TimeQuality
from tests.edge.fakes import BOOT_MS, UTC_MS

UNSYNCED, RTC, NTP, SIGNED = (
    TimeQuality.UNSYNCED,
    TimeQuality.RTC,
    TimeQuality.NTP,
    TimeQuality.SIGNED,
)
DAY = 86_400_000
HOUR = 3_600_000
ERROR = 500  # of NTP here


class Desk:
    """A timekeeper, boot time, and a system clock that runs with it. All at the test's hand."""

    def __init__(self, quality: int = NTP, off_ms: int = 0, floor_ms: int = 0) -> None:
        self.boot_ms = BOOT_MS
        self.quality = quality
        self.off_ms = off_ms
        self.keeper = Timekeeper(floor_ms)

    @property
    def true_ms(self) -> int:
        """UTC."""
        return UTC_MS - BOOT_MS + self.boot_ms

    def system(self) -> System:
        """What the system clock says."""
        return System(self.true_ms + self.off_ms, self.quality, ERROR)

    def look(self, after_ms: int = 0, **changes: int) -> list[str]:
        """Time passes, the system clock changes, and is looked at. The events."""
        self.boot_ms += after_ms
        vars(self).update(changes)
        self.keeper.look(self.boot_ms, self.system())
        return [kind for kind, _ in self.keeper.told()]

    def watch(self, ms: int, every_ms: int = 5_000) -> list[str]:
        """Looks all that time."""
        events = []
        for _ in range(ms // every_ms):
            events += self.look(every_ms)
        return events

    def hear(self, off_ms: int = 0, error_ms: int = 100) -> list[tuple[str, str]]:
        """Signed time that is off by so much. The events whole."""
        self.keeper.hear(self.boot_ms, self.true_ms + off_ms, error_ms, self.system())
        return self.keeper.told()

    def now(self) -> Moment:
        """What is shown."""
        return self.keeper.moment(self.boot_ms, self.system())

    def off(self) -> tuple[int, int]:
        """How far the shown UTC is off, and its quality."""
        now = self.now()
        return now.utc_ms - self.true_ms, now.quality


@pytest.fixture
def desk() -> Desk:
    """In good time by NTP."""
    desk = Desk()
    assert desk.look() == ["clock-synced"]
    return desk


@pytest.mark.parametrize("quality", [UNSYNCED, RTC])
def test_before_good_time_the_system_clock_is_shown_and_steps_freely(quality: int) -> None:
    """Without a bound and without an event."""
    desk = Desk(quality)
    for off_ms in (0, DAY, -DAY, 5):
        assert desk.look(5_000, off_ms=off_ms) == []
        assert desk.now() == Moment(desk.true_ms + off_ms, desk.boot_ms, quality, None, False)
    assert desk.keeper.points is None


def test_the_first_sync_tells_by_how_much_utc_moved() -> None:
    """The outage that the machine slept through, say."""
    desk = Desk(UNSYNCED, -7_200_000)
    desk.look()
    desk.look(5_000, quality=NTP, off_ms=0)
    desk.keeper.look(desk.boot_ms, desk.system())
    assert desk.off() == (0, NTP)
    desk = Desk(UNSYNCED, -7_200_000)
    desk.look()
    desk.quality, desk.off_ms = NTP, 0
    desk.keeper.look(desk.boot_ms, desk.system())
    assert desk.keeper.told() == [("clock-synced", "ntp; UTC moved by +7200.000 s")]
    assert desk.keeper.told() == []
    desk = Desk(RTC, 1_500)
    assert desk.hear() == [("clock-synced", "signed; UTC moved by -1.500 s")]
    assert desk.off() == (0, SIGNED)


@pytest.mark.parametrize("off_ms", [3, -3, TOLERANCE_MS, -TOLERANCE_MS])
def test_within_tolerance_the_system_clock_carries_our_time(desk: Desk, off_ms: int) -> None:
    """That is NTP's daily life."""
    assert desk.look(0, off_ms=off_ms) == []
    assert desk.off() == (off_ms, NTP)
    assert not desk.now().is_in_doubt


@pytest.mark.parametrize("off_ms", [-JITTER_MS, JITTER_MS])
def test_reading_two_clocks_does_not_make_utc_tremble(desk: Desk, off_ms: int) -> None:
    """Whole milliseconds of two clocks."""
    assert desk.look(0, off_ms=off_ms) == []
    assert desk.off() == (0, NTP)
    assert desk.look(0, off_ms=2 * off_ms) == []
    assert desk.off() == (2 * off_ms, NTP)


@pytest.mark.parametrize("off_ms", [TOLERANCE_MS + 20, -TOLERANCE_MS - 20, DAY, -DAY, -UTC_MS])
def test_a_step_of_the_system_clock_is_not_ours(desk: Desk, off_ms: int) -> None:
    """It is told once; our time goes on, doubted; signed time is wanted. Then it comes back."""
    desk.look(0, off_ms=off_ms)
    desk.boot_ms += 1
    assert desk.off() == (0, NTP)
    assert desk.now().is_in_doubt
    assert desk.keeper.wants_time
    assert desk.watch(60_000) == []
    assert desk.off() == (0, NTP)
    assert desk.look(5_000, off_ms=100) == ["clock-synced"]
    assert desk.off() == (100, NTP)
    assert not desk.now().is_in_doubt
    assert not desk.keeper.wants_time


def test_a_disagreement_says_who_claims_what(desk: Desk) -> None:
    """For the operator."""
    desk.off_ms = -DAY
    desk.keeper.look(desk.boot_ms, desk.system())
    assert desk.keeper.told() == [
        (
            "clock-disagrees",
            "the system clock claims NTP and is -86400.000 s from ours, which holds (ntp)",
        )
    ]


def test_tolerance_grows_with_the_time_since(desk: Desk) -> None:
    """200 ppm of a day without a look are 17.28 s."""
    reach_ms = TOLERANCE_MS + DAY * DRIFT_PPM // 1_000_000
    assert desk.look(DAY, off_ms=reach_ms) == ["clock-step"]
    again = Desk()
    again.look()
    assert again.look(DAY, off_ms=reach_ms + 1) == ["clock-disagrees"]


def test_small_steps_do_not_add_up(desk: Desk) -> None:
    """A source that walks us away by a second at each look is stopped after two."""
    events = [one for step in range(1, 20) for one in desk.look(5_000, off_ms=1_000 * step)]
    assert events[0] == "clock-disagrees"
    assert desk.off() == (2_000, NTP)


def test_each_further_step_is_told_and_starts_the_hold_again(desk: Desk) -> None:
    """It is another claim."""
    assert desk.look(5_000, off_ms=DAY) == ["clock-disagrees"]
    assert desk.watch(HOLD_MS_MAX - HOUR, SIGHT_MS_MAX) == []
    assert desk.look(5_000, off_ms=2 * DAY) == ["clock-disagrees"]
    assert desk.watch(HOLD_MS_MAX - HOUR, SIGHT_MS_MAX) == []
    assert desk.off() == (0, NTP)


def test_after_a_day_of_the_same_claim_the_system_clock_is_believed(desk: Desk) -> None:
    """With an event, forwards or backwards."""
    desk.look(5_000, off_ms=-DAY)
    assert desk.watch(HOLD_MS_MAX - SIGHT_MS_MAX, SIGHT_MS_MAX) == []
    assert desk.off() == (0, NTP)
    desk.boot_ms += SIGHT_MS_MAX
    desk.keeper.look(desk.boot_ms, desk.system())
    assert desk.keeper.told() == [
        (
            "clock-step",
            "UTC moved by -86400.000 s to the system clock, which has claimed it for 24 h",
        )
    ]
    assert desk.off() == (-DAY, NTP)
    assert not desk.now().is_in_doubt
    assert desk.watch(HOUR) == []


def test_a_claim_counts_only_while_it_is_seen(desk: Desk) -> None:
    """A day of suspend is no day of claiming."""
    desk.look(5_000, off_ms=3_600_000)
    assert desk.look(2 * DAY) == []
    assert desk.look(2 * DAY) == []
    assert desk.off()[0] == 0


def test_a_claim_that_was_dropped_starts_again(desk: Desk) -> None:
    """A system clock that loses NTP claims nothing, and raises no doubt."""
    desk.look(5_000, off_ms=DAY)
    desk.watch(HOLD_MS_MAX - HOUR, SIGHT_MS_MAX)
    assert desk.look(5_000, quality=UNSYNCED) == []
    assert not desk.now().is_in_doubt
    assert desk.off() == (0, NTP)
    assert desk.look(5_000, quality=NTP) == ["clock-disagrees"]
    assert desk.watch(HOLD_MS_MAX - HOUR, SIGHT_MS_MAX) == []
    assert desk.off() == (0, NTP)


def test_no_claim_of_a_time_before_the_software_is_ever_believed(desk: Desk) -> None:
    """However long it is claimed."""
    assert desk.look(5_000, off_ms=-DAY * 365) == ["clock-disagrees"]
    assert desk.watch(2 * HOLD_MS_MAX, SIGHT_MS_MAX) == []
    assert desk.off() == (0, NTP)
    first = Desk(NTP, MADE_AT_MS - UTC_MS - 4 * DAY)
    assert first.look() == ["clock-disagrees"]
    assert first.watch(2 * HOLD_MS_MAX, SIGHT_MS_MAX) == []
    assert first.now().quality == UNSYNCED


def test_signed_time_decides_for_ours(desk: Desk) -> None:
    """Nothing steps; no more time is wanted; the doubt stays as long as the claim."""
    desk.look(5_000, off_ms=DAY)
    assert desk.hear(40) == []
    assert desk.off() == (40, SIGNED)
    assert desk.now().error_ms == 100
    assert not desk.keeper.wants_time
    assert desk.now().is_in_doubt
    for _ in range(30):
        assert desk.watch(HOUR) == []
        desk.hear(40)
    assert desk.off() == (40, SIGNED)
    assert desk.look(5_000, off_ms=-DAY) == ["clock-disagrees"]
    assert desk.keeper.wants_time


@pytest.mark.parametrize("off_ms", [DAY, -DAY])
def test_signed_time_decides_for_the_system_clock(desk: Desk, off_ms: int) -> None:
    """NTP is the finer of the two, so its time is taken; the bound covers what lies between."""
    desk.look(5_000, off_ms=off_ms)
    assert desk.hear(off_ms + 1_500, 300) == [
        ("clock-step", f"UTC moved by {seconds(off_ms)} to the system clock")
    ]
    assert desk.off() == (off_ms, NTP)
    assert desk.now().error_ms == 1_800
    assert not desk.now().is_in_doubt
    assert desk.watch(HOUR) == []


def test_signed_time_decides_against_both(desk: Desk) -> None:
    """A machine that was lied to from its boot on. The head end's time is the one of the bills."""
    desk.look(5_000, off_ms=DAY)
    assert desk.hear(-DAY) == [("clock-step", "UTC moved by -86400.000 s to signed time")]
    assert desk.off() == (-DAY, SIGNED)
    assert desk.now().is_in_doubt
    agreed = Desk()
    agreed.look()
    assert [kind for kind, _ in agreed.hear(HOUR)] == ["clock-step"]
    assert agreed.off() == (HOUR, SIGNED)
    assert agreed.look(5_000) == ["clock-disagrees"]
    assert agreed.keeper.wants_time


def test_the_claim_that_signed_time_confirms_is_the_present_one(desk: Desk) -> None:
    """Not what it was when the disagreement began."""
    desk.look(5_000, off_ms=60_000)
    desk.watch(300_000)
    desk.off_ms = 62_050  # still the same claim, after so long
    assert [kind for kind, _ in desk.hear(62_150, 0)] == ["clock-step"]
    assert desk.off() == (62_050, NTP)
    desk.off_ms = 3_600_000
    assert [kind for kind, _ in desk.hear(3_600_000)] == ["clock-disagrees", "clock-step"]
    assert desk.off() == (3_600_000, NTP)


def test_network_time_is_finer_than_signed_time_that_it_agrees_with() -> None:
    """Once the kernel is synchronised the system clock carries our time; without it, we do."""
    desk = Desk(UNSYNCED, HOUR)
    desk.hear(300, 400)
    assert desk.off() == (300, SIGNED)
    assert desk.look(5_000, quality=NTP, off_ms=0) == []
    assert desk.off() == (0, NTP)
    assert desk.now().error_ms == 300 + 400 + 1
    assert desk.look(5_000, quality=UNSYNCED, off_ms=-DAY) == []
    assert desk.off() == (0, NTP)
    assert desk.hear(100, 400) == []
    assert desk.off() == (100, SIGNED)


def test_a_vague_answer_does_not_displace_a_sharp_one() -> None:
    """Until the sharp one has aged."""
    desk = Desk(UNSYNCED)
    desk.hear(10, 50)
    desk.boot_ms += 1_000_000  # 200 ms of drift
    desk.hear(900, 1_000)
    assert desk.off() == (10, SIGNED)
    assert desk.now().error_ms == 250
    desk.hear(200, 250)
    assert desk.off() == (200, SIGNED)


def test_a_vague_answer_leaves_room_for_ntp() -> None:
    """Half of the longest round trip is five seconds."""
    desk = Desk(UNSYNCED)
    desk.hear(5_000, 5_000)
    assert desk.look(5_000, quality=NTP) == ["clock-step"]
    assert desk.off() == (0, NTP)
    desk.hear(5_000 + TOLERANCE_MS, 5_000)
    assert desk.off() == (0, NTP)
    assert [kind for kind, _ in desk.hear(5_000 + TOLERANCE_MS + 5, 5_000)] == ["clock-step"]


def test_the_bound_while_ntp_is_followed(desk: Desk) -> None:
    """NTP's own; with signed time of the last day, also what signed time leaves open."""
    assert desk.now().error_ms == ERROR
    desk.watch(10_000)
    assert desk.now().error_ms == ERROR + JITTER_MS
    desk.hear(-900, 100)
    assert desk.now().error_ms == 1_000
    for _ in range(50):  # does not add up
        desk.hear(-900, 100)
    assert desk.now().error_ms == 1_000
    desk.watch(HOUR)
    assert desk.now().error_ms == 1_000 + HOUR * DRIFT_PPM // 1_000_000
    desk.watch(HOLD_MS_MAX, 60_000)
    assert desk.now().error_ms == ERROR + JITTER_MS


def test_time_that_nobody_confirms_loses_its_quality(desk: Desk) -> None:
    """A minute at 200 ppm is three and a half days."""
    desk.look(0, quality=UNSYNCED)
    left_ms = (ERROR_MS_MAX - ERROR) * 1_000_000 // DRIFT_PPM
    desk.boot_ms += left_ms
    assert desk.now().quality == NTP
    assert desk.now().error_ms == ERROR_MS_MAX
    desk.boot_ms += 5
    assert desk.now().quality == RTC
    assert desk.off()[0] == 0
    assert desk.look(0, quality=NTP, off_ms=9_000) == ["clock-step"]
    assert desk.off() == (9_000, NTP)


@pytest.mark.parametrize("quality", [RTC, NTP])
def test_a_time_that_an_earlier_boot_has_seen_is_no_first_time(quality: int) -> None:
    """A clock behind it is wrong for sure, whatever it claims."""
    desk = Desk(quality, -1, floor_ms=UTC_MS)
    events = desk.look()
    assert events == (["clock-disagrees"] if quality == NTP else [])
    assert desk.now().quality == UNSYNCED
    assert desk.now().is_in_doubt == desk.keeper.wants_time == (quality == NTP)
    assert desk.look(1) == (["clock-synced"] if quality == NTP else [])
    assert desk.now().quality == quality


def test_an_earlier_boot_may_have_been_wrong() -> None:
    """Signed time overrules it at once, a day of NTP at last."""
    desk = Desk(NTP, 0, floor_ms=UTC_MS + 30 * DAY)
    desk.look()
    assert [kind for kind, _ in desk.hear()] == ["clock-synced"]
    assert desk.look(5_000) == ["clock-synced"]
    assert desk.off() == (0, NTP)
    alone = Desk(NTP, 0, floor_ms=UTC_MS + 30 * DAY)
    alone.look()
    assert alone.watch(HOLD_MS_MAX - HOUR, SIGHT_MS_MAX) == []
    assert alone.now().quality == UNSYNCED
    assert alone.watch(HOUR, SIGHT_MS_MAX) == ["clock-synced"]
    assert alone.off() == (0, NTP)


def test_a_restart_goes_on_with_the_points(desk: Desk) -> None:
    """Held through a disagreement; no second sync is told."""
    desk.hear(600, 100)
    desk.look(5_000, off_ms=HOUR)
    points, before = desk.keeper.points, desk.now()
    assert points is not None
    desk.keeper = Timekeeper(0, points)
    assert desk.now()[:4] == before[:4]
    assert desk.look(5_000) == ["clock-disagrees"]
    assert desk.off() == (0, NTP)
    assert desk.look(5_000, off_ms=0) == ["clock-synced"]
    assert desk.now().error_ms == 703  # signed time still counts


def test_what_must_outlive_a_restart_is_counted(desk: Desk) -> None:
    """Syncs, steps, changes of quality, rare signed time; not every look or answer."""
    assert desk.keeper.changes == 1
    desk.watch(HOUR)
    desk.hear()
    assert desk.keeper.changes == 1
    desk.watch(HOUR + 5_000)
    desk.hear()
    assert desk.keeper.changes == 2  # the first signed time after more than an hour without
    desk.look(HOUR)
    desk.hear()
    assert desk.keeper.changes == 2
    desk.look(0, quality=UNSYNCED)
    desk.hear()
    assert desk.keeper.changes == 3
    desk.hear()
    assert desk.keeper.changes == 3
    desk.hear(DAY)
    assert desk.keeper.changes == 4


def test_events_that_nobody_takes_are_bounded(desk: Desk) -> None:
    """A clock that steps at every look floods no memory."""
    for step in range(1_000):
        desk.keeper.look(desk.boot_ms, System(desk.true_ms + step * HOUR, NTP, ERROR))
    assert len(desk.keeper.told()) == 64


def test_a_point_ages_and_is_near() -> None:
    """The two sums that all rests on."""
    point = Point(1_000, 0, 100, SIGNED)
    assert point.bound_ms(0) == 100
    assert point.bound_ms(1) == 101
    assert point.bound_ms(10_000_000) == 2_100
    assert point.is_near(3_100, 0)
    assert not point.is_near(3_101, 0)
    assert point.is_near(3_101, 1)
    assert point.is_near(-1_200, 0, 100)
    assert not point._replace(quality=NTP).is_near(3_001, 0)
    assert Points(point, point).shown is point
