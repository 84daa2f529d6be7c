"""Stand-ins for what the gateway touches: a clock that the test moves, a port with a script."""

import json
import queue
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from edge.journal.ledger import Ledger, Moved
from edge.journal.store import Journal
from edge.journal.writer import Writer
from edge.line.line import Line, Wire
from edge.line.port import PortLostError
from edge.timekeeping import Moment
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Origin, Reading, ReadingSet, TimeQuality

UTC_MS = 1_790_000_000_000
BOOT_MS = 5_000_000
BOOT_ID = bytes(range(16))
CHARACTER_S = 11 / 2400  # 8E1 at 2400 bit/s
VECTORS = {
    row["id"]: row
    for row in json.loads((Path(__file__).parents[1] / "vectors" / "dlt645.json").read_text())[
        "vectors"
    ]
}


def wire(name: str) -> bytes:
    """The bytes of a vector, as they were on the wire."""
    return bytes.fromhex(VECTORS[name]["hex"])


class FakeClock:
    """A clock that moves when the test, a sleep or the wire moves it; microseconds inside."""

    def __init__(self, quality: int = TimeQuality.NTP, boot_id: bytes = BOOT_ID) -> None:
        self.boot_id = boot_id
        self.anchors: list[tuple[int, int]] = []
        self._quality = quality
        self._is_in_doubt = False
        self._us = BOOT_MS * 1000
        self._offset_ms = UTC_MS - BOOT_MS

    def boot_ms(self) -> int:
        """Milliseconds since boot."""
        return self._us // 1000

    def utc_ms(self) -> int:
        """UTC, which `set_utc` may step."""
        return self.boot_ms() + self._offset_ms

    def quality(self) -> int:
        """What the test said."""
        return self._quality

    def moment(self) -> Moment:
        """All of it at once."""
        return Moment(
            self.utc_ms(), self.boot_ms(), self._quality, self.error_ms(), self.is_in_doubt()
        )

    def error_ms(self) -> int | None:
        """Half a second, when the time is good."""
        return 500 if self._quality >= TimeQuality.NTP else None

    def is_in_doubt(self) -> bool:
        """What the test said with `set_doubt`."""
        return self._is_in_doubt

    def wants_time(self) -> bool:
        """As long as it is in doubt."""
        return self._is_in_doubt

    def keep_in(self, folder: Path) -> None:
        """Keeps nothing."""

    def tell_to(self, on_event: Callable[[str, str], object]) -> None:
        """Has nothing to tell."""

    def tend(self) -> None:
        """Needs nothing."""

    def anchor(self, utc_ms: int, asked_boot_ms: int) -> bool:
        """Takes signed time when there is no better one."""
        self.anchors.append((utc_ms, asked_boot_ms))
        if self._quality < TimeQuality.NTP:
            self._quality = TimeQuality.SIGNED
            self._offset_ms = utc_ms - self.boot_ms()
        return True

    def sleep(self, seconds: float) -> None:
        """Moves instead of waiting."""
        self.advance(seconds * 1000)

    def monotonic(self) -> float:
        """Seconds, fine."""
        return self._us / 1_000_000

    def advance(self, ms: float) -> None:
        """Time passes on both clocks."""
        self._us += round(ms * 1000)

    def set_utc(self, utc_ms: int) -> None:
        """Somebody sets the wall clock."""
        self._offset_ms = utc_ms - self.boot_ms()

    def set_quality(self, quality: int) -> None:
        """The wall clock becomes better or worse."""
        self._quality = quality

    def set_doubt(self, is_in_doubt: bool) -> None:
        """The system clock says another time, or no longer does."""
        self._is_in_doubt = is_in_doubt


Answer = list[tuple[float, bytes | Exception]]


class FakePort:
    """A port that checks each request against a script and plays the answer, in fake time.

    An answer is [(ms after the request's last bit, bytes or error), ...]. Without a script,
    `answer` is asked. `trace` holds ("open" | "close" | "write" | "read", ms, bytes).
    """

    def __init__(
        self,
        clock: FakeClock,
        character_s: float = CHARACTER_S,
        answer: Callable[[bytes], Answer] | None = None,
    ) -> None:
        self.trace: list[tuple[str, float, bytes]] = []
        self.open_errors: deque[str] = deque()
        self.is_open = False
        self._clock = clock
        self._character_s = character_s
        self._answer = answer
        self._script: deque[tuple[bytes, Answer]] = deque()
        self._coming: list[tuple[float, bytes | Exception]] = []  # monotonic s, what

    def expect(self, request: bytes, *answer: bytes | tuple[float, bytes | Exception]) -> None:
        """The next request, and what it gets: bytes come after 50 ms and one another at once."""
        timed: Answer = []
        for one in answer:
            timed.append(one if isinstance(one, tuple) else (timed[-1][0] if timed else 50.0, one))
        self._script.append((request, timed))

    def inject(self, ms: float, data: bytes | Exception) -> None:
        """Bytes that nobody asked for, `ms` from now."""
        self._coming.append((self._clock.monotonic() + ms / 1000, data))
        self._coming.sort(key=lambda one: one[0])

    def expect_all_used(self) -> None:
        """An expectation that was not used is a fault."""
        assert not self._script, f"{len(self._script)} requests were never sent"

    def written(self) -> list[bytes]:
        """All requests, in order."""
        return [data for what, _, data in self.trace if what == "write"]

    def open(self) -> None:
        """Opens, or plays a refusal."""
        self._note("open", b"")
        if self.open_errors:
            raise PortLostError(self.open_errors.popleft())
        self.is_open = True

    def close(self) -> None:
        """Closes."""
        self._note("close", b"")
        self.is_open = False

    def write(self, data: bytes) -> None:
        """Compares with the script and arranges the answer."""
        assert self.is_open, "written to a closed port"
        self._note("write", data)
        if self._script:
            expected, answer = self._script.popleft()
            assert expected.hex(" ") == data.hex(" ")
        else:
            assert self._answer is not None, f"unexpected request {data.hex(' ')}"
            answer = self._answer(data)
        for ms, what in answer:
            self.inject(len(data) * self._character_s * 1000 + ms, what)

    def read(self, timeout_s: float) -> bytes:
        """What has come by now, or the first that comes within the time."""
        assert self.is_open, "read from a closed port"
        assert timeout_s >= 0
        now = self._clock.monotonic()
        if self._coming and self._coming[0][0] <= now + timeout_s:
            self._clock.advance(max(self._coming[0][0] - now, 0) * 1000)
        else:
            self._clock.advance(max(timeout_s * 1000, 0.002) if timeout_s else 0)
            return b""
        data = b""
        now = self._clock.monotonic()
        while self._coming and self._coming[0][0] <= now + 1e-6:
            what = self._coming[0][1]
            if isinstance(what, Exception):
                if data:
                    break
                self._coming.pop(0)
                raise what
            data += what
            self._coming.pop(0)
        self._note("read", data)
        return data

    def _note(self, what: str, data: bytes) -> None:
        self.trace.append((what, self._clock.monotonic() * 1000, data))


class FakeQueue(queue.Queue[Any]):
    """A queue whose waits pass in fake time; `waits` holds their seconds."""

    def __init__(self, clock: FakeClock, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self.waits: list[float] = []
        self._clock = clock

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Never waits in real time."""
        try:
            return super().get(block=False)
        except queue.Empty:
            if block and timeout is not None:
                self.waits.append(timeout)
                self._clock.advance(timeout * 1000)
            raise


def make_line(
    clock: FakeClock, port: FakePort, response_timeout_ms: int = 600, gap_ms: int = 200, **more: Any
) -> Line:
    """A line at 2400 bit/s on fake time."""
    turnaround_ms = more.pop("turnaround_ms", 1)
    own = Wire(2400, "E", 1, response_timeout_ms, gap_ms, turnaround_ms)
    return Line("line-1", port, own, clock.monotonic)


def finish(steps: Any) -> Any:
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


ENERGY = Obis.from_text("1-0:1.8.0")
VOLTAGE = Obis.from_text("1-0:32.7.0")


def make_set(number: int = 0, meter_id: str = "m-1", **fields: Any) -> ReadingSet:
    """One reading set, unlike those of other numbers."""
    values = {
        "meter_id": meter_id,
        "read_at": UTC_MS + number * 1000,
        "boot_at": BOOT_MS + number * 1000,
        "boot_id": BOOT_ID,
        "quality": TimeQuality.NTP,
        "readings": (
            Reading(ENERGY, Quantity(number, 1, "Wh", Kind.CUMULATIVE)),
            Reading(VOLTAGE, Quantity(2300 + number % 7, -1, "V", Kind.INSTANTANEOUS)),
        ),
        "origin": Origin.LIVE,
        "flags": 0,
    }
    return ReadingSet(**(values | fields))


class NoThread:
    """In the place of a thread that the test drives by itself."""

    def start(self) -> None:
        """Does not."""

    def join(self) -> None:
        """Nothing to wait for."""


class InlineWriter(Writer):
    """The real writer without its thread: a call runs at once, a commit when the test works."""

    def __init__(
        self, folder: Path, clock: FakeClock, size_mb_max: int = 64, **settings: int
    ) -> None:
        self.heads: list[int] = []
        rules = {
            "commit_sets": 5,
            "commit_interval_ms": 1_000,
            "archive_days": 90,
            "ballast_kb": 0,
        }
        super().__init__(Journal(folder, size_mb_max), rules | settings, clock, self.heads.append)
        self._thread = NoThread()  # type: ignore[assignment]

    def call(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        """As if the thread had been waiting for it."""
        future = super().call(function, *arguments)
        self.work()
        return future

    def stop(self) -> None:
        """What the thread does last."""
        super().stop()
        self._run()


def move_order(journal: Journal, counter: int, state: str, receipt: bytes) -> None:
    """An order's new state with its receipt, without what the order path records beside."""
    Ledger(journal, lambda _: bytes(32)).record((), Moved(counter, state, receipt))
