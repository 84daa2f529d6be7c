"""Time on the gateway: one clock that never jumps, one that tells UTC, and how far to trust it.

* Schedules and time-outs run on CLOCK_BOOTTIME, which counts through suspend and is never set.
* UTC comes from the system clock while the kernel says that it is synchronised. Otherwise it
  comes from the head end's signed answer to a nonce of this boot (an anchor), whose error is
  bounded by the round trip, and while there is none, from the system clock marked as unsynced or
  RTC.
* After a power cut a Pi without RTC starts at the time it stopped: its readings say so, and are
  re-timed once time arrives.
"""

import ctypes
import time
from pathlib import Path
from typing import NamedTuple, Protocol

from protocols.readings import TimeQuality

ANCHOR_ROUND_TRIP_MS_MAX = 10_000  # a slower answer is too vague to set a clock by
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_SIZE = 256  # larger than struct timex on every Linux
_QUALITY_AGE_MS_MAX = 5_000


class Clock(Protocol):
    """What the agent needs of time. Tests bring a fake one."""

    boot_id: bytes

    def boot_ms(self) -> int:
        """Milliseconds since boot, never stepping."""

    def utc_ms(self) -> int:
        """Best estimate of UTC."""

    def quality(self) -> int:
        """A TimeQuality."""

    def anchor(self, utc_ms: int, asked_boot_ms: int) -> bool:
        """Takes signed UTC that answers a question asked at `asked_boot_ms`."""

    def sleep(self, seconds: float) -> None:
        """Waits on the clock that does not jump."""


class _Anchor(NamedTuple):
    utc_ms: int
    boot_ms: int


class SystemClock:
    """The clock of a Linux machine."""

    def __init__(self) -> None:
        self.boot_id = _read_boot_id()
        self._anchor: _Anchor | None = None
        self._system_quality = TimeQuality.UNSYNCED
        self._judged_at = -_QUALITY_AGE_MS_MAX
        self._libc = ctypes.CDLL(None, use_errno=True)

    def boot_ms(self) -> int:
        """Milliseconds of CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def utc_ms(self) -> int:
        """UTC of the best source that there is now."""
        if self._anchor is not None and self._system() < TimeQuality.NTP:
            return self._anchor.utc_ms + self.boot_ms() - self._anchor.boot_ms
        return time.time_ns() // 1_000_000

    def quality(self) -> int:
        """SIGNED, NTP, RTC or UNSYNCED."""
        system = self._system()
        if self._anchor is not None and system < TimeQuality.NTP:
            return TimeQuality.SIGNED
        return system

    def anchor(self, utc_ms: int, asked_boot_ms: int) -> bool:
        """Whether the answer was fast enough to be used; half the round trip is its age."""
        now = self.boot_ms()
        round_trip = now - asked_boot_ms
        if not 0 <= round_trip <= ANCHOR_ROUND_TRIP_MS_MAX:
            return False
        self._anchor = _Anchor(utc_ms + round_trip // 2, now)
        return True

    def sleep(self, seconds: float) -> None:
        """time.sleep: relative, on the monotonic clock."""
        if seconds > 0:
            time.sleep(seconds)

    def _system(self) -> int:
        now = self.boot_ms()
        if now - self._judged_at >= _QUALITY_AGE_MS_MAX:
            self._judged_at = now
            self._system_quality = self._judge()
        return self._system_quality

    def _judge(self) -> int:
        # The kernel's own flag: chrony, ntpd and timesyncd all clear STA_UNSYNC when they hold
        # time.
        state = self._libc.adjtimex(ctypes.create_string_buffer(_TIMEX_SIZE))
        if 0 <= state < _TIME_ERROR:
            return TimeQuality.NTP
        for path in Path("/sys/class/rtc").glob("rtc*/hctosys"):
            if _read_text(str(path)) == "1":
                return TimeQuality.RTC
        return TimeQuality.UNSYNCED


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _read_boot_id() -> bytes:
    text = _read_text("/proc/sys/kernel/random/boot_id").replace("-", "")
    return bytes.fromhex(text) if len(text) == 32 else bytes(16)
