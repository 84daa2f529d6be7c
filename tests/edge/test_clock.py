"""Time: the anchor's bounds, the kernel's word, what is told and saved, the boot id."""

import ctypes
import logging
from pathlib import Path

import pytest

from edge import clock_file
from edge.clock import (
    ANCHOR_ROUND_TRIP_MS_MAX,
    ANCHOR_SLACK_MS,
    NTP_ERROR_MS_MIN,
    SAVE_MS,
    SAVE_RETRY_MS,
    SystemClock,
)
from protocols.readings import TimeQuality
from tests.edge.fakes import UTC_MS

HOUR = 3_600_000


class Judged(SystemClock):
    """A system clock whose kernel says what the test wants, on boot time that the test moves."""

    def __init__(self, judgement: int, off_ms: int = 0) -> None:
        super().__init__()
        self.now = 1_000_000
        self.judgement = judgement
        self.off_ms = off_ms
        self.judged = 0
        self.between: list[int] = []  # what the kernel says from each sample on, the last first

    def boot_ms(self) -> int:
        """Fake."""
        return self.now

    def _judge(self) -> int:
        self.judged += 1
        return self.judgement

    def _system_ms(self) -> int:
        if self.between:
            self.judgement = self.between.pop()
        return UTC_MS - 1_000_000 + self.now + self.off_ms


def off(clock: Judged) -> int:
    """How far the shown UTC is off."""
    return clock.utc_ms() - (UTC_MS - 1_000_000 + clock.now)


@pytest.fixture
def lost() -> Judged:
    """A machine that knows no time."""
    return Judged(TimeQuality.UNSYNCED, -30 * 24 * HOUR)


def test_boot_time_rises_and_utc_is_the_systems() -> None:
    """On a real clock."""
    clock = SystemClock()
    first = clock.boot_ms()
    assert first > 0
    assert clock.boot_ms() >= first
    assert clock.utc_ms() > 1_600_000_000_000
    assert clock.quality() in (TimeQuality.UNSYNCED, TimeQuality.RTC, TimeQuality.NTP)
    clock.sleep(0)
    clock.sleep(-1)


@pytest.mark.parametrize("round_trip", [0, 1, 400, ANCHOR_ROUND_TRIP_MS_MAX])
def test_an_anchor_sets_utc_and_counts_half_the_way(lost: Judged, round_trip: int) -> None:
    """From then on UTC runs with boot time, and its quality is signed."""
    assert lost.quality() == TimeQuality.UNSYNCED
    assert lost.anchor(UTC_MS, lost.now - round_trip)
    assert lost.quality() == TimeQuality.SIGNED
    assert lost.utc_ms() == UTC_MS + round_trip // 2
    lost.now += 86_400_000
    assert lost.utc_ms() == UTC_MS + round_trip // 2 + 86_400_000


@pytest.mark.parametrize("round_trip", [ANCHOR_ROUND_TRIP_MS_MAX + 1, 10**9, -1])
def test_a_slow_or_impossible_answer_sets_nothing(lost: Judged, round_trip: int) -> None:
    """Its error would be half of it; an answer before the question is none."""
    assert not lost.anchor(UTC_MS, lost.now - round_trip)
    assert lost.quality() == TimeQuality.UNSYNCED
    assert abs(lost.utc_ms() - UTC_MS) > 60_000


@pytest.mark.parametrize("system", [TimeQuality.UNSYNCED, TimeQuality.RTC])
def test_a_signed_time_is_better_than_no_time_and_an_rtc(system: int) -> None:
    """They are set by whoever had the box."""
    clock = Judged(system)
    assert clock.quality() == system
    clock.anchor(UTC_MS, clock.now)
    assert clock.quality() == TimeQuality.SIGNED


def test_a_step_of_the_system_clock_is_told_and_not_followed() -> None:
    """Until signed time says so."""
    clock = Judged(TimeQuality.NTP)
    told: list[tuple[str, str]] = []
    assert (off(clock), clock.quality(), clock.wants_time()) == (0, TimeQuality.NTP, False)
    clock.tell_to(lambda kind, detail: told.append((kind, detail)))
    assert [kind for kind, _ in told] == ["clock-synced"]
    clock.off_ms = HOUR
    assert (off(clock), clock.is_in_doubt()) == (0, False)
    clock.now += 5_000
    assert (off(clock), clock.is_in_doubt(), clock.wants_time()) == (0, True, True)
    assert [kind for kind, _ in told] == ["clock-synced", "clock-disagrees"]
    assert clock.anchor(UTC_MS - 1_000_000 + clock.now + HOUR, clock.now)
    assert (off(clock), clock.is_in_doubt(), clock.wants_time()) == (HOUR, False, False)
    assert told[-1] == ("clock-step", "UTC moved by +3600.000 s to the system clock")


def test_network_time_carries_signed_time_on(lost: Judged) -> None:
    """Where they agree the finer one is shown; when it goes, its time is held."""
    lost.anchor(UTC_MS, lost.now - 400)
    assert lost.error_ms() == 200 + ANCHOR_SLACK_MS
    lost.judgement, lost.off_ms = TimeQuality.NTP, 0
    lost.now += 5_000
    assert (off(lost), lost.quality()) == (0, TimeQuality.NTP)
    lost.judgement, lost.off_ms = TimeQuality.UNSYNCED, -HOUR
    lost.now += 5_000
    assert (off(lost), lost.quality()) == (0, TimeQuality.NTP)


def test_a_moment_is_of_one_piece(lost: Judged) -> None:
    """Both clocks, the quality, the bound, the doubt."""
    moment = lost.moment()
    assert moment == (UTC_MS - 30 * 24 * HOUR, lost.now, TimeQuality.UNSYNCED, None, False)
    lost.anchor(UTC_MS, lost.now)
    assert lost.moment() == (UTC_MS, lost.now, TimeQuality.SIGNED, ANCHOR_SLACK_MS, False)


def test_the_kernel_is_asked_every_few_seconds_only(lost: Judged) -> None:
    """Every reading asks for the quality. One look asks it before and after."""
    for _ in range(100):
        lost.quality()
        lost.utc_ms()
        lost.now += 100
    assert lost.judged == 4


@pytest.mark.parametrize("before", [TimeQuality.UNSYNCED, TimeQuality.NTP])
def test_a_clock_that_is_set_meanwhile_is_not_believed(before: int) -> None:
    """Neither an old time with the new quality, nor a new one with the old."""
    clock = Judged(before, HOUR)
    clock.between = [TimeQuality.NTP - before, before]  # the last is of the sample before the look
    assert clock.quality() == TimeQuality.UNSYNCED
    clock.judgement, clock.off_ms = TimeQuality.NTP, 0
    clock.now += 5_000
    assert (clock.quality(), off(clock)) == (TimeQuality.NTP, 0)


def test_two_clocks_are_read_together() -> None:
    """A thread that lost the processor in between reads again."""

    class Slow(Judged):
        delays = (700, 0)

        def _system_ms(self) -> int:
            delay, *rest = self.delays
            self.delays = (*rest, 0)
            utc_ms = super()._system_ms()
            self.now += delay
            return utc_ms

    clock = Slow(TimeQuality.NTP)
    clock.delays = (0, 700, 0)  # the second is of the look
    assert off(clock) == 0


@pytest.mark.parametrize(
    ("state", "hctosys", "quality"),
    [
        (0, "", TimeQuality.NTP),
        (4, "", TimeQuality.NTP),
        (5, "", TimeQuality.UNSYNCED),
        (-1, "", TimeQuality.UNSYNCED),
        (5, "1", TimeQuality.RTC),
        (5, "0", TimeQuality.UNSYNCED),
    ],
)
def test_the_kernels_flag_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: int, hctosys: str, quality: int
) -> None:
    """adjtimex(2): TIME_ERROR or a refusal means not synchronised; then an RTC may help."""

    class Libc:
        def adjtimex(self, buffer: object) -> int:
            return state

    clock = SystemClock()
    path = tmp_path / "hctosys"
    path.write_text(hctosys + "\n")
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: [path, tmp_path / "none"])
    clock._libc = Libc()  # type: ignore[assignment]
    assert clock.quality() == quality


@pytest.mark.parametrize(
    ("maxerror_us", "error_ms"),
    [(0, NTP_ERROR_MS_MIN), (499_999, NTP_ERROR_MS_MIN), (2_000_000, 2_001)],
)
def test_the_kernels_bound_is_read(maxerror_us: int, error_ms: int) -> None:
    """The fourth field of struct timex; timesyncd writes a zero that is not to be believed."""

    class Libc:
        def adjtimex(self, reference: object) -> int:
            timex = reference._obj  # type: ignore[attr-defined]
            assert ctypes.sizeof(timex) >= 208
            at = 3 * ctypes.sizeof(ctypes.c_long)  # `modes` is padded to a long
            bytes_of = (ctypes.c_char * ctypes.sizeof(timex)).from_buffer(timex)
            bytes_of[at : at + 4] = maxerror_us.to_bytes(4, "little")
            return 0

    clock = SystemClock()
    clock._libc = Libc()  # type: ignore[assignment]
    assert clock.error_ms() == error_ms


# ---- what is saved ------------------------------------------------------------------------------


def test_what_is_held_outlives_a_restart_within_a_boot(tmp_path: Path) -> None:
    """Also when the system clock was set meanwhile."""
    clock = Judged(TimeQuality.NTP)
    clock.keep_in(tmp_path)
    clock.tend()
    again = Judged(TimeQuality.NTP, -HOUR)
    again.keep_in(tmp_path)
    assert (off(again), again.is_in_doubt()) == (0, True)
    assert again.boot_id == clock.boot_id


@pytest.mark.parametrize("quality", [TimeQuality.RTC, TimeQuality.NTP])
def test_another_boot_knows_what_time_is_over(tmp_path: Path, quality: int) -> None:
    """A time before it is no time; one after it is."""
    clock = Judged(TimeQuality.NTP)
    clock.keep_in(tmp_path)
    clock.tend()
    for off_ms, shown in ((-1, TimeQuality.UNSYNCED), (1, quality)):
        later = Judged(quality, off_ms)
        later.boot_id = b"another boot-id."
        assert later.quality() == quality  # what was found out before is found out again
        later.keep_in(tmp_path)
        assert later.quality() == shown


def test_it_is_saved_when_it_changes_and_hourly(tmp_path: Path) -> None:
    """Not at each look: the card wears."""
    clock = Judged(TimeQuality.UNSYNCED)
    clock.tend()
    clock.keep_in(tmp_path)
    clock.tend()
    assert clock_file.read(tmp_path) is None
    saved_at = []
    for step in range(2 * SAVE_MS // 10_000 + 20):
        clock.now += 10_000
        if step == 10:
            clock.judgement = TimeQuality.NTP
        if step == 500:
            clock.judgement = TimeQuality.RTC
            clock.anchor(UTC_MS - 1_000_000 + clock.now, clock.now)
        clock.tend()
        saved = clock_file.read(tmp_path)
        if saved is not None and saved.points.shown.at not in saved_at:
            saved_at.append(saved.points.shown.at)
    # At the sync; an hour later; then NTP goes and signed time comes.
    assert saved_at == [1_110_000, 1_110_000 + SAVE_MS, 6_010_000]


def test_a_disk_that_refuses_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time goes on without it."""
    clock = Judged(TimeQuality.NTP)
    folder = tmp_path / "gone"
    clock.keep_in(folder)
    tries = []
    write = clock_file.write
    monkeypatch.setattr(clock_file, "write", lambda *now: (tries.append(clock.now), write(*now)))
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            clock.tend()
            clock.now += 1_000
    assert tries == [1_000_000, 1_000_000 + SAVE_RETRY_MS]
    assert [one.getMessage()[:14] for one in caplog.records] == ["clock_unsaved "]
    folder.mkdir()
    clock.now += SAVE_RETRY_MS
    clock.tend()
    assert clock_file.read(folder) is not None


# ---- the boot id --------------------------------------------------------------------------------


def test_the_boot_id_is_the_kernels() -> None:
    """Sixteen bytes, the same for every clock of one boot."""
    assert len(SystemClock().boot_id) == 16
    assert SystemClock().boot_id == SystemClock().boot_id
    kernel = Path("/proc/sys/kernel/random/boot_id")
    if kernel.exists():
        assert SystemClock().boot_id.hex() == kernel.read_text().strip().replace("-", "")


def test_without_a_boot_id_there_is_a_blank_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without /proc still runs."""
    monkeypatch.setattr("edge.clock._read_text", lambda path: "")
    assert SystemClock().boot_id == bytes(16)
