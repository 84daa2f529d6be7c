"""Time on the gateway: one clock that never jumps, one that tells UTC, and how far to trust it.

* Schedules and time-outs run on CLOCK_BOOTTIME, which counts through suspend and is never set.
* UTC is a point of boot time that was held good once, by the kernel's word that it is synchronised
  or by the head end's signed answer to a nonce of this boot, whose error is half the round trip.
  Nobody who sets the system clock sets it: see edge/timekeeping.py.
* After a power cut a Pi without RTC starts at the time it stopped: its readings say so, and are
  re-timed once time arrives.
"""

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edge import clock_file
from edge.timekeeping import Moment, System, Timekeeper
from protocols.readings import TimeQuality

ANCHOR_ROUND_TRIP_MS_MAX = 10_000  # a slower answer is too vague to set a clock by
ANCHOR_SLACK_MS = 3  # whole milliseconds, and boot time's drift in the longest round trip
SAVE_MS = 3_600_000  # what a power cut may take of the knowledge what time is over
SAVE_RETRY_MS = 60_000
# timesyncd claims an error of 0 and slews away up to 0.4 s meanwhile.
NTP_ERROR_MS_MIN = 500
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_LOOK_MS = 5_000  # between two looks at the system clock
_SAMPLES_MAX = 3
_SAMPLE_MS_MAX = 1  # longer between two clocks' readings: something came between

log = logging.getLogger("edge.clock")


class Clock(Protocol):
    """What the agent needs of time. Tests bring a fake one."""

    boot_id: bytes

    def boot_ms(self) -> int:
        """Milliseconds since boot, never stepping."""

    def utc_ms(self) -> int:
        """Best estimate of UTC."""

    def quality(self) -> int:
        """A TimeQuality."""

    def moment(self) -> Moment:
        """Both clocks, the quality, the bound and the doubt at one instant."""

    def error_ms(self) -> int | None:
        """How far UTC may be off; None where nothing bounds it."""

    def is_in_doubt(self) -> bool:
        """Whether a system clock that claims NTP says another time."""

    def wants_time(self) -> bool:
        """Whether signed time is wanted now, to decide about a disagreement."""

    def anchor(self, utc_ms: int, asked_boot_ms: int) -> bool:
        """Takes signed UTC that answers a question asked at `asked_boot_ms`."""

    def sleep(self, seconds: float) -> None:
        """Waits on the clock that does not jump."""

    def keep_in(self, folder: Path) -> None:
        """Goes on with what was saved there in this boot, and saves there from now on."""

    def tell_to(self, on_event: Callable[[str, str], object]) -> None:
        """Who hears of events: kind and detail. It must not block."""

    def tend(self) -> None:
        """To be called about once a second, by one thread that may wait for the disk."""


class _Timex(ctypes.Structure):
    """The beginning of struct timex, the same on all Linux systems, and more than its rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),  # µs
        ("rest", ctypes.c_char * 256),
    )


class SystemClock:
    """The clock of a Linux machine. Any thread may ask it."""

    def __init__(self) -> None:
        self.boot_id = _read_boot_id()
        self._keeper = Timekeeper()
        self._lock = threading.Lock()  # nothing waits inside it
        self._looked_at = -_LOOK_MS
        self._system_quality: int = TimeQuality.UNSYNCED
        self._system_error_ms = NTP_ERROR_MS_MIN
        self._on_event: Callable[[str, str], object] | None = None
        self._folder: Path | None = None
        self._save_due = 0
        self._changes_saved = 0
        self._is_unsaved = False  # told once, not at each attempt
        self._libc = ctypes.CDLL(None, use_errno=True)

    def boot_ms(self) -> int:
        """Milliseconds of CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def utc_ms(self) -> int:
        """UTC of the best source that there is now."""
        return self.moment().utc_ms

    def quality(self) -> int:
        """SIGNED, NTP, RTC or UNSYNCED."""
        return self.moment().quality

    def error_ms(self) -> int | None:
        """The bound that timekeeping gives."""
        return self.moment().error_ms

    def is_in_doubt(self) -> bool:
        """Whether the system clock claims another time."""
        return self.moment().is_in_doubt

    def wants_time(self) -> bool:
        """Until signed time was heard about a disagreement."""
        self.moment()
        return self._keeper.wants_time

    def moment(self) -> Moment:
        """Looks at the system clock every few seconds; in between our UTC is boot time's."""
        with self._lock:
            boot_ms, system = self._sample()
            if boot_ms - self._looked_at >= _LOOK_MS:
                boot_ms, system = self._look()
                self._keeper.look(boot_ms, system)
            moment = self._keeper.moment(boot_ms, system)
        self._tell()
        return moment

    def anchor(self, utc_ms: int, asked_boot_ms: int) -> bool:
        """Whether the answer was fast enough to be used; half the round trip is its age."""
        with self._lock:
            round_trip = self.boot_ms() - asked_boot_ms
            if not 0 <= round_trip <= ANCHOR_ROUND_TRIP_MS_MAX:
                return False
            now, system = self._look()
            round_trip = now - asked_boot_ms  # asking the kernel may have taken its time
            error_ms = round_trip // 2 + ANCHOR_SLACK_MS
            self._keeper.hear(now, utc_ms + round_trip // 2, error_ms, system)
        self._tell()
        return True

    def sleep(self, seconds: float) -> None:
        """time.sleep: relative, on the monotonic clock."""
        if seconds > 0:
            time.sleep(seconds)

    def keep_in(self, folder: Path) -> None:
        """Before anybody acts on the time: what was found out so far is found out again."""
        saved = clock_file.read(folder)
        with self._lock:
            self._folder = folder
            if saved is not None:
                points = saved.points_for(self.boot_id, self.boot_ms())
                self._keeper = Timekeeper(saved.utc_ms, points)
                self._looked_at = -_LOOK_MS

    def tell_to(self, on_event: Callable[[str, str], object]) -> None:
        """Events that came up before are told at once."""
        self._on_event = on_event
        self._tell()

    def tend(self) -> None:
        """Saves what is held: at once when it changed, else hourly."""
        now = self.moment().boot_ms
        with self._lock:
            points, changes = self._keeper.points, self._keeper.changes
        if self._folder is None or points is None:
            return
        if now < self._save_due and (changes == self._changes_saved or self._is_unsaved):
            return
        try:
            clock_file.write(self._folder, clock_file.Saved(self.boot_id, points))
        except OSError as error:
            if not self._is_unsaved:
                log.warning("clock_unsaved reason=%r", str(error))
            self._is_unsaved = True
            self._save_due = now + SAVE_RETRY_MS
            return
        self._is_unsaved = False
        self._changes_saved = changes
        self._save_due = now + SAVE_MS

    def _tell(self) -> None:
        if self._on_event is None:
            return
        with self._lock:
            told = self._keeper.told()
        for kind, detail in told:
            self._on_event(kind, detail)

    def _sample(self) -> tuple[int, System]:
        """Boot time, and the system clock at that instant."""
        before = after = utc_ms = 0
        for _ in range(_SAMPLES_MAX):
            before, utc_ms, after = self.boot_ms(), self._system_ms(), self.boot_ms()
            if after - before <= _SAMPLE_MS_MAX:
                break
        return (before + after) // 2, System(utc_ms, self._system_quality, self._system_error_ms)

    def _look(self) -> tuple[int, System]:
        # A clock that is set meanwhile must not lend its new quality to its old time, nor its old
        # quality to a new time.
        before = self._judge()
        boot_ms, system = self._sample()
        self._system_quality = min(before, self._judge())
        self._looked_at = boot_ms
        return boot_ms, system._replace(quality=self._system_quality)

    def _system_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def _judge(self) -> int:
        # The kernel's own flag: chrony, ntpd and timesyncd all clear STA_UNSYNC when they hold
        # time.
        timex = _Timex()
        state = self._libc.adjtimex(ctypes.byref(timex))
        if 0 <= state < _TIME_ERROR:
            self._system_error_ms = max(timex.maxerror // 1_000 + 1, NTP_ERROR_MS_MIN)
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
