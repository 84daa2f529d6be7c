"""A line of virtual DL/T 645 meters in fake time, with a journal and the producers of catch-up
work. The meters are those of `hil/`: another hand's work than what reads them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.collect.catch_up import Means
from edge.collect.jobs import Job, Priority
from edge.collect.watch import MeterWatch
from edge.line.line import Line, Wire
from edge.line.port import PortLostError
from edge.meters.dlt645_driver import Dlt645Driver
from edge.settings.rules import COLLECT_RULES, DLT645_METER_RULES
from edge.timekeeping import Moment
from hil.load import Load
from hil.meter import Dlt645Meter
from protocols.dlt645.controls import Function
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.frame import Frame
from protocols.events import Event
from protocols.readings import ReadingSet
from protocols.settings import read_table
from tests.edge.fakes import (
    CHARACTER_S,
    Answer,
    FakeClock,
    FakePort,
    InlineWriter,
    make_line,
)

OFFSET_MIN = 480
OFFSET_MS = OFFSET_MIN * 60_000
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
DELAY_MS = 60.0
PIECE = 12  # bytes; less than the longest gap
WIRE = Wire(2400, "E", 1, 600, 100, 1)
QUANTITIES = ("1-0:1.8.0", "1-0:1.8.1", "1-0:2.8.0", "1-0:32.7.0")
Hook = Callable[[Frame, Frame | None], Frame | None]


def utc_of(text: str) -> int:
    """UTC ms of a local time such as 2026-11-21T10:15:00 at the meters."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) - OFFSET_MS


class PointToPointMeter(Dlt645Meter):
    """The variant that was captured: it takes the time from a frame to itself."""

    def _is_meant(self, frame: Frame) -> bool:
        if frame.function == Function.BROADCAST_TIME:
            return frame.address == self.name
        return super()._is_meant(frame)


class Rig:
    """`meters` by id m-0, m-1, …; `hook` may change or swallow each answer."""

    def __init__(
        self,
        folder: Path,
        count: int = 1,
        *,
        make: type[Dlt645Meter] = Dlt645Meter,
        quantities: tuple[str, ...] = QUANTITIES,
        edition: str = "2007",
        clock: FakeClock | None = None,
        **options: Any,
    ) -> None:
        self.clock = clock or FakeClock()
        self.delay_ms = DELAY_MS
        self.delays: list[float] = []  # of the next answers
        self._ahead_ms = 0.0
        self.told: list[tuple[str, str, str]] = []
        self.asked: list[Frame] = []
        self.reached: set[str] = set()
        self.hook: Hook = lambda _, reply: reply
        self.meters: dict[str, Dlt645Meter] = {}
        self.sections: list[dict[str, Any]] = []
        self.watches: dict[str, MeterWatch] = {}
        for n in range(count):
            self._add(n, make, quantities, edition, options)
        self.port = FakePort(self.clock, answer=self._answer)
        self.line: Line = make_line(self.clock, self.port, gap_ms=100)
        self.writer = InlineWriter(folder, self.clock, commit_sets=1)
        self.writer.start()
        self.reader = self.writer.journal.reader()
        self.is_refusing = False
        self.is_short = False  # of room for sets and events; a memo fits in
        self.is_crowded = False

    def _add(
        self, n: int, make: type[Dlt645Meter], quantities: tuple[str, ...], edition: str,
        options: dict[str, Any],
    ) -> None:  # fmt: skip
        name, address = f"m-{n}", f"{161 + n:012d}"
        row = {
            "id": name, "line": "line-1", "protocol": "dlt645-2007", "address": address,
            "edition": edition, "quantities": list(quantities),
        }  # fmt: skip
        section = read_table(row, DLT645_METER_RULES, "rig") | {"groups": ()}
        self.sections.append(section)
        driver = Dlt645Driver(section)
        self.watches[name] = MeterWatch(section, driver, WIRE, 1)
        load = Load(n + 1, phases=1, utc_offset_ms=OFFSET_MS)  # nothing to be unbalanced
        self.meters[name] = make(
            address, load, self._meter_utc_ms, utc_offset_ms=OFFSET_MS, **options
        )
        self.reached.add(name)

    @property
    def meter(self) -> Dlt645Meter:
        """The first one."""
        return self.meters["m-0"]

    def collect(self, **settings: Any) -> dict[str, Any]:
        """A [collect] section."""
        found: dict[str, Any] = read_table(settings, COLLECT_RULES, "rig")
        return found

    def reaches(self, meter_id: str) -> bool:
        """As the worker says it."""
        return meter_id in self.reached

    def keep(self, sets: Any = (), events: Any = (), memos: Any = ()) -> Any:
        """As the composition root wires it; `is_refusing` is a disk that refuses."""
        return self.writer.call(self._append, sets, events, memos)

    def _append(self, sets: Any, events: Any, memos: Any) -> int:
        if self.is_refusing or (self.is_short and (sets or events)):
            raise OSError("the disk refuses")
        return self.writer.journal.append(sets, (), events, memos)

    def tell(
        self, kind: str, subject: str = "", detail: str = "", evidence: Any = (), repeat_s: int = 0
    ) -> None:
        """As Events.tell."""
        self.told.append((kind, subject, detail))

    def kinds(self) -> list[str]:
        """Of what was told."""
        return [kind for kind, _, _ in self.told]

    def means(self, **collect: Any) -> Means:
        """What the producers share; settings of [collect]."""
        return Means(
            self.watches, self.reaches, self.clock, self.collect(**collect), self.keep, self.memos
        )

    def now(self) -> Moment:
        """Of the gateway."""
        return self.clock.moment()

    def memos(self, scope: str) -> dict[str, Any]:
        """As the next start finds them."""
        return self.writer.journal.memos(scope)

    def events(self) -> list[Event]:
        """All that the journal has, in order."""
        return [event for _, event in self.reader.events(10_000)]

    def sets(self) -> list[ReadingSet]:
        """All that the journal has, in order."""
        return [one for _, one in self.reader.rows(1, 1 << 40)]

    def run(self, producer: Any, jobs_max: int = 3_000) -> int:
        """Carries out jobs until there is none; how many. A step is one exchange at most, besides
        the parts of one answer and its repetitions."""
        for count in range(jobs_max):
            # What is kept meanwhile may leave no job for one turn.
            job = producer.next_job(self.now()) or producer.next_job(self.now())
            if job is None:
                return count
            for _ in self.steps(job):
                pass
        raise AssertionError(f"{jobs_max} jobs and no end")

    def run_some(self, producer: Any, jobs: int) -> None:
        """Carries out so many."""
        for _ in range(jobs):
            job = producer.next_job(self.now())
            assert job is not None
            list(self.steps(job))

    def steps(self, job: Job) -> Iterator[None]:
        """The steps of a job, as the worker runs them."""
        assert job.priority == Priority.CATCH_UP
        self.line.use(WIRE)
        generator = job.steps(self.line, self.watches[job.meter_id].driver, 1)
        while True:
            before = len(self.asked)
            self.line.recording = job.recording
            try:
                next(generator)
            except StopIteration:
                return
            finally:
                self.line.recording = None
                asked = [one for one in self.asked[before:] if one.function != Function.READ_MORE]
                assert len(asked) <= 1
            yield

    def _answer(self, request: bytes) -> Answer:
        """A meter looks at its registers in the middle of its delay, behind the
        request."""
        answers: Answer = []
        for frame in Deframer().feed(request):
            self.asked.append(frame)
            if self.delays:
                self.delay_ms = self.delays.pop(0)
            is_answered = frame.function != Function.BROADCAST_TIME
            self._ahead_ms = len(request) * CHARACTER_S * 1000 + is_answered * self.delay_ms / 2
            for meter in self.meters.values():
                reply = self.hook(frame, meter.answer(frame)) if _is_for(frame, meter) else None
                if reply is not None:
                    answers += _pieces(reply.to_bytes(4), self.delay_ms)
            self._ahead_ms = 0.0
        return answers

    def _meter_utc_ms(self) -> int:
        return self.clock.utc_ms() + round(self._ahead_ms)

    def unplug(self) -> None:
        """The next exchange loses the port."""
        self.port.inject(0.0, PortLostError("unplugged"))


def _pieces(wire: bytes, delay_ms: float) -> Answer:
    """The bytes as they come, PIECE at a time."""
    return [
        (delay_ms + min(n + PIECE, len(wire)) * CHARACTER_S * 1000, wire[n : n + PIECE])
        for n in range(0, len(wire), PIECE)
    ]


def _is_for(frame: Frame, meter: Dlt645Meter) -> bool:
    return frame.address in (meter.name, "999999999999")
