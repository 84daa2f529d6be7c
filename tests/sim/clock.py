"""The clocks of the machines: they drift, and are set wrong.

`World time` is the scheduler's: it never errs. A machine's boot time runs at its own rate from its
boot on; its wall clock is boot time plus an offset that somebody may change.
"""

from types import SimpleNamespace

from edge.clock import SystemClock
from protocols.readings import TimeQuality
from tests.sim.scheduler import MS, SECOND, Scheduler

UTC_MS = 1_790_000_000_000  # world time 0
_MILLION = 1_000_000
_SEEN_NS = 10 * SECOND  # until the product has seen that its wall clock is right again


class MachineClock:
    """Oscillator and wall clock of one machine."""

    def __init__(self, scheduler: Scheduler, drift_ppm: int) -> None:
        self.drift_ppm = drift_ppm
        self.errors: list[tuple[int, int]] = [(0, 0)]  # (since ns, ms), each that ever was
        self._quality: int = TimeQuality.NTP
        self._scheduler = scheduler
        self._booted_ns = 0
        self._wrong_ns: list[int] = []  # when the wall clock ceased to be right, and was again

    @property
    def error_ms(self) -> int:
        """Of the wall clock, besides the drift since the boot."""
        return self.errors[-1][1]

    @error_ms.setter
    def error_ms(self, error_ms: int) -> None:
        was_right = self.is_right
        self.errors.append((self._scheduler.now_ns, error_ms))
        self._note_right(was_right)

    @property
    def quality(self) -> int:
        """What the kernel says of the wall clock."""
        return self._quality

    @quality.setter
    def quality(self, quality: int) -> None:
        was_right = self.is_right
        self._quality = quality
        self._note_right(was_right)

    @property
    def is_right(self) -> bool:
        """Whether the wall clock is synchronised, with the true time."""
        return self._quality == TimeQuality.NTP and self.error_ms == 0

    def _note_right(self, was_right: bool) -> None:
        now = self._scheduler.now_ns
        if was_right and not self.is_right:
            is_unseen = bool(self._wrong_ns) and now <= self._wrong_ns[-1] + _SEEN_NS
            self._wrong_ns = self._wrong_ns[:1] if is_unseen else [now]
        elif self.is_right and not was_right:
            self._wrong_ns.append(now)

    def drift_held_ms(self) -> float:
        """How far boot time may have run away since the wall clock was right last: no other source
        held it."""
        now = self._scheduler.now_ns
        if not self._wrong_ns or (self.is_right and now > self._wrong_ns[-1] + _SEEN_NS):
            return 0.0
        return (now - self._wrong_ns[0]) * abs(self.drift_ppm) / _MILLION / MS

    def errors_since(self, at_ns: float) -> list[int]:
        """Every error that the wall clock has had since then."""
        found = [self.errors[-1][1]]
        for (_, before), (since_ns, _) in zip(self.errors[-2::-1], self.errors[:0:-1], strict=True):
            if since_ns < at_ns:
                break
            found.append(before)
        return found

    def errors_of_boot(self) -> list[int]:
        """Every error that the wall clock has had since the machine started."""
        return self.errors_since(self._booted_ns)

    def boot(self) -> None:
        """The machine starts."""
        self._booted_ns = self._scheduler.now_ns - SECOND  # some seconds have passed by then

    def boot_ns(self) -> int:
        """CLOCK_BOOTTIME and CLOCK_MONOTONIC: nobody suspends here."""
        passed = self._scheduler.now_ns - self._booted_ns
        return passed + passed * self.drift_ppm // _MILLION

    def utc_ns(self) -> int:
        """CLOCK_REALTIME. A synchronised clock follows world time, whatever the oscillator does."""
        true = self._scheduler.now_ns + UTC_MS * MS
        if self.quality == TimeQuality.NTP:
            return true + self.error_ms * MS
        return true + self.error_ms * MS + self._scheduler.now_ns * self.drift_ppm // _MILLION

    def true_ms(self, boot_ms: int) -> float:
        """World time (ms) when this boot's clock showed `boot_ms`."""
        passed_ns = boot_ms * MS / (1 + self.drift_ppm / _MILLION)
        return (self._booted_ns + passed_ns) / MS

    def monotonic(self) -> float:
        """Seconds."""
        return self.boot_ns() / SECOND

    def time(self) -> SimpleNamespace:
        """In the place of the module `time`."""
        return SimpleNamespace(
            CLOCK_BOOTTIME=7,
            clock_gettime_ns=lambda which: self.boot_ns(),
            time_ns=self.utc_ns,
            monotonic_ns=self.boot_ns,
            monotonic=self.monotonic,
            sleep=lambda seconds: self._scheduler.sleep(round(seconds * SECOND)),
        )


class GatewayClock(SystemClock):
    """The product's own clock of a machine; what the kernel would say of it is the machine's."""

    def __init__(self, machine: MachineClock, boot_id: bytes) -> None:
        super().__init__()
        self.boot_id = boot_id
        self.told_at: int | None = None  # boot ms of the first signed time
        self._machine = machine

    def anchor(self, utc_ms: int, asked_boot_ms: int) -> bool:
        """From the first signed time on nobody can mislead it."""
        is_taken = super().anchor(utc_ms, asked_boot_ms)
        if is_taken and self.told_at is None:
            self.told_at = self.boot_ms()
        return is_taken

    def _judge(self) -> int:
        return self._machine.quality


class HeadEndClock:
    """The head end's clock: right, as that of a server is."""

    def __init__(self, machine: MachineClock) -> None:
        self._machine = machine

    def utc_ms(self) -> int:
        """UTC in ms since 1970."""
        return self._machine.utc_ns() // MS

    def monotonic_ms(self) -> int:
        """Never stepping back."""
        return self._machine.boot_ns() // MS
