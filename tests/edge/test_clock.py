"""Time: the anchor's bounds, the order of qualities, the boot id."""

from pathlib import Path

import pytest

from edge.clock import ANCHOR_ROUND_TRIP_MS_MAX, SystemClock
from protocols.readings import TimeQuality
from tests.edge.fakes import UTC_MS


class Judged(SystemClock):
    """A system clock whose kernel says what the test wants, on boot time that the test moves."""

    def __init__(self, judgement: int) -> None:
        super().__init__()
        self.now = 1_000_000
        self.judgement = judgement
        self.judged = 0

    def boot_ms(self) -> int:
        """Fake."""
        return self.now

    def _judge(self) -> int:
        self.judged += 1
        return self.judgement


@pytest.fixture
def lost() -> Judged:
    """A machine that knows no time."""
    return Judged(TimeQuality.UNSYNCED)


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


def test_network_time_is_better_than_an_anchor(lost: Judged) -> None:
    """Once the kernel is synchronised, the system clock counts; afterwards the anchor again."""
    lost.anchor(UTC_MS, lost.now)
    lost.judgement = TimeQuality.NTP
    lost.now += 5_000
    assert lost.quality() == TimeQuality.NTP
    assert abs(lost.utc_ms() - UTC_MS) > 60_000
    lost.judgement = TimeQuality.UNSYNCED
    lost.now += 5_000
    assert lost.quality() == TimeQuality.SIGNED
    assert lost.utc_ms() == UTC_MS + 10_000


def test_the_kernel_is_asked_every_few_seconds_only(lost: Judged) -> None:
    """Every reading asks for the quality."""
    for _ in range(100):
        lost.quality()
        lost.utc_ms()
        lost.now += 100
    assert 2 <= lost.judged <= 3


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
