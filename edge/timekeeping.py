"""Whom to believe about the time. Pure: the caller brings boot time and what the system clock says.

* Boot time never steps. UTC is a point that was once held good, carried on by boot time, so that
  whoever sets the system clock does not set ours.
* The first good source of a boot gives the point: a system clock that claims NTP, or the head end's
  signed time. Until then the system clock is shown as it is, as RTC or unsynced.
* A system clock that claims NTP and is near (2 s, and 200 ppm of the time since) both to what we
  show and to the point that was last vouched for carries our time with it. The second comparison is
  against small steps that add up.
* A system clock that claims NTP and is not near is a rival. We hold our time, say so, and want
  signed time. Signed time decides: for ours, for the rival, or against both.
* Nobody decides for 24 h, and the rival claims the same all that time: it is believed. A point held
  wrongly for ever would be worse, and a day outlasts an outage of the uplink that anybody repairs.
* A point that nothing has confirmed for so long that it may be a minute wrong is worth an RTC.
* No time before the software was made, or before a time that an earlier boot held, is believed of
  the system clock as the first of a boot; the latter for 24 h, for it may have been wrong itself.
"""

from collections import deque
from typing import NamedTuple

from protocols.readings import TIME_QUALITY_NAMES, TimeQuality

MADE_AT_MS = 1_780_272_000_000  # 2026-06-01 in UTC: raised with each release
TOLERANCE_MS = 2_000  # NTP daemons step by less than that in daily life
DRIFT_PPM = 200  # of boot time: crystals of such boards keep to 100, over all temperatures
HOLD_MS_MAX = 86_400_000
SIGHT_MS_MAX = 60_000  # a claim counts only while we look: a longer gap counts as that
ERROR_MS_MAX = 60_000  # above it, time is not good enough for orders and meters' clocks
RECENT_MS = 3_600_000
JITTER_MS = 2  # of two clocks that are read one after the other, in whole milliseconds
_TOLD_MAX = 64  # events that wait for somebody to tell them to


class Point(NamedTuple):
    """UTC at one instant of boot time, and how well it was known then.

    `offset_ms` is UTC minus boot time, `at` the boot time, `error_ms` a bound, `quality` a
    TimeQuality.
    """

    offset_ms: int
    at: int
    error_ms: int
    quality: int

    def bound_ms(self, boot_ms: int) -> int:
        """How wrong it may have become by `boot_ms`."""
        return self.error_ms + _drift_ms(boot_ms - self.at)

    def is_near(self, offset_ms: int, boot_ms: int, error_ms: int = 0) -> bool:
        """Whether another offset, known to `error_ms`, can be the same time."""
        # The error of NTP is what a daemon claims; a large claim must not make a step small.
        own_ms = self.error_ms if self.quality == TimeQuality.SIGNED else 0
        reach_ms = TOLERANCE_MS + own_ms + error_ms + _drift_ms(boot_ms - self.at)
        return abs(offset_ms - self.offset_ms) <= reach_ms


class Points(NamedTuple):
    """What our UTC rests on, and what was last held for true on better grounds than being near."""

    shown: Point
    vouched: Point


class System(NamedTuple):
    """What the system clock says of itself: a UTC, a TimeQuality up to NTP, and a bound."""

    utc_ms: int
    quality: int
    error_ms: int


class Moment(NamedTuple):
    """The present. `error_ms` is None where nothing bounds it; `is_in_doubt`: a system clock that
    claims NTP says another time."""

    utc_ms: int
    boot_ms: int
    quality: int
    error_ms: int | None
    is_in_doubt: bool


class _Rival(NamedTuple):
    """A system clock that claims NTP and that we do not follow."""

    claim: Point
    seen_at: int
    claimed_ms: int  # how long it has been seen to claim this, without signed time against it
    is_judged: bool  # signed time was heard since


class Timekeeper:
    """The time of one boot. `floor_ms` is a UTC that an earlier boot has seen; `points` are those
    that an earlier start in this boot gave."""

    def __init__(self, floor_ms: int = 0, points: Points | None = None) -> None:
        self.points = points
        self.changes = 0  # how often there was something that must outlive a restart
        self._floor_ms = max(floor_ms, MADE_AT_MS)
        self._rival: _Rival | None = None
        self._free_ms: int | None = None  # the offset that was shown before there was a point
        self._told: deque[tuple[str, str]] = deque(maxlen=_TOLD_MAX)

    # ---- what is so -----------------------------------------------------------------------------

    @property
    def wants_time(self) -> bool:
        """Whether signed time would decide something."""
        return self._rival is not None and not self._rival.is_judged

    def moment(self, boot_ms: int, system: System) -> Moment:
        """The time at `boot_ms`; the system clock's is shown where there is no better one."""
        is_in_doubt = self._rival is not None
        if self.points is None:
            quality = min(system.quality, TimeQuality.RTC)
            if system.utc_ms < self._floor_ms:
                quality = TimeQuality.UNSYNCED
            return Moment(system.utc_ms, boot_ms, quality, None, is_in_doubt)
        shown = self.points.shown
        error_ms = shown.bound_ms(boot_ms)
        quality = shown.quality if error_ms <= ERROR_MS_MAX else TimeQuality.RTC
        return Moment(shown.offset_ms + boot_ms, boot_ms, quality, error_ms, is_in_doubt)

    def told(self) -> list[tuple[str, str]]:
        """The events since it was last asked: kind and detail."""
        told = list(self._told)
        self._told.clear()
        return told

    # ---- what comes -----------------------------------------------------------------------------

    def look(self, boot_ms: int, system: System) -> None:
        """Compares the system clock with ours."""
        if self.points is None:
            before = self._free_ms
            self._free_ms = system.utc_ms - boot_ms
        if system.quality < TimeQuality.NTP:
            self._rival = None  # it claims nothing
            return
        claim = _claim(boot_ms, system)
        if self.points is not None:
            if all(point.is_near(claim.offset_ms, boot_ms) for point in self.points):
                self._follow(claim, self.points)
            else:
                self._doubt(claim)
        elif system.utc_ms < self._floor_ms:
            self._doubt(claim)
        else:
            self._sync(claim, before)

    def hear(self, boot_ms: int, utc_ms: int, error_ms: int, system: System) -> None:
        """Signed time: it was `utc_ms` at `boot_ms`, give or take `error_ms`."""
        self.look(boot_ms, system)
        signed = Point(utc_ms - boot_ms, boot_ms, error_ms, TimeQuality.SIGNED)
        rival, claim = self._rival, _claim(boot_ms, system)
        if rival is not None:
            self._rival = rival._replace(claimed_ms=0, is_judged=True)
        if self.points is None:
            self._sync(signed, self._free_ms)
            return
        shown = self.points.shown
        if shown.is_near(signed.offset_ms, boot_ms, error_ms):
            if system.quality >= TimeQuality.NTP and rival is None:
                self._show(claim._replace(offset_ms=shown.offset_ms), signed)
            elif shown.quality != TimeQuality.SIGNED or error_ms <= shown.bound_ms(boot_ms):
                self._move(signed, signed, "to signed time")
        elif rival is not None and signed.is_near(claim.offset_ms, boot_ms):
            self._rival = None
            self._show(claim, signed)
        else:
            self._move(signed, signed, "to signed time")

    # ---- the moves ------------------------------------------------------------------------------

    def _sync(self, point: Point, free_ms: int | None) -> None:
        self._move(point, point, "")
        by_ms = 0 if free_ms is None else point.offset_ms - free_ms
        name = TIME_QUALITY_NAMES[point.quality]
        self._tell("clock-synced", f"{name}; UTC moved by {seconds(by_ms)}")

    def _follow(self, claim: Point, points: Points) -> None:
        if self._rival is not None:
            self._rival = None
            self._tell("clock-synced", "the system clock agrees with ours again")
        shown = points.shown
        # A millisecond of reading two clocks must not make UTC tremble.
        if shown.quality == TimeQuality.NTP and abs(claim.offset_ms - shown.offset_ms) <= JITTER_MS:
            claim = claim._replace(offset_ms=shown.offset_ms)
        self._show(claim, points.vouched)

    def _show(self, claim: Point, vouched: Point) -> None:
        """Shows the system clock's time, with a bound that holds when either source is right."""
        error_ms = claim.error_ms + JITTER_MS
        if vouched.quality == TimeQuality.SIGNED and claim.at - vouched.at <= HOLD_MS_MAX:
            apart_ms = abs(claim.offset_ms - vouched.offset_ms)
            error_ms = max(error_ms, apart_ms + vouched.bound_ms(claim.at))
        self._move(claim._replace(error_ms=error_ms), vouched, "to the system clock")

    def _doubt(self, claim: Point) -> None:
        rival = self._rival
        if rival is None or not rival.claim.is_near(claim.offset_ms, claim.at):
            self._rival = _Rival(claim, claim.at, 0, False)
            self._tell("clock-disagrees", self._disagreement(claim))
            return
        seen_ms = min(claim.at - rival.seen_at, SIGHT_MS_MAX)
        rival = rival._replace(seen_at=claim.at, claimed_ms=rival.claimed_ms + seen_ms)
        self._rival = rival
        if rival.claimed_ms < HOLD_MS_MAX or claim.offset_ms + claim.at < MADE_AT_MS:
            return
        self._rival = None
        if self.points is None:
            self._sync(claim, self._free_ms)
            return
        self._move(claim, claim, "to the system clock, which has claimed it for 24 h")

    def _move(self, shown: Point, vouched: Point, how: str) -> None:
        """The only place where our UTC changes: no step goes untold."""
        before, self.points = self.points, Points(shown, vouched)
        if before is None:
            self.changes += 1
            return
        # Signed time comes every few minutes; what was saved of it may be an hour older.
        is_rare = vouched.at - before.vouched.at > RECENT_MS
        if before.shown.quality != shown.quality or is_rare:
            self.changes += 1
        by_ms = shown.offset_ms - before.shown.offset_ms
        if abs(by_ms) > TOLERANCE_MS:
            self.changes += 1
            self._tell("clock-step", f"UTC moved by {seconds(by_ms)} {how}")

    def _disagreement(self, claim: Point) -> str:
        if self.points is None:
            early = seconds(claim.offset_ms + claim.at - self._floor_ms)
            return f"the system clock claims NTP and is {early} from a time that is over for sure"
        shown = self.points.shown
        apart, name = seconds(claim.offset_ms - shown.offset_ms), TIME_QUALITY_NAMES[shown.quality]
        return f"the system clock claims NTP and is {apart} from ours, which holds ({name})"

    def _tell(self, kind: str, detail: str) -> None:
        self._told.append((kind, detail))


def seconds(ms: int) -> str:
    """`+86400.000 s`."""
    return f"{ms / 1000:+.3f} s"


def _claim(boot_ms: int, system: System) -> Point:
    return Point(system.utc_ms - boot_ms, boot_ms, system.error_ms, TimeQuality.NTP)


def _drift_ms(elapsed_ms: int) -> int:
    return -(-elapsed_ms * DRIFT_PPM // 1_000_000)
