"""A gateway's session on a real journal, and the head end that hears it: the test drives both."""

import random
from pathlib import Path
from typing import Any

from edge.orders.desk import OrderDesk, Surroundings
from edge.orders.executor import OrderJob
from edge.settings.rules import ORDERS_RULES
from edge.sync.identity import Identity
from edge.sync.session import Session
from edge.sync.transport import Arrived, Connected
from protocols.envelope.batch import decode_batch
from protocols.envelope.claims import Claims
from protocols.envelope.events import decode_events
from protocols.events import Event
from protocols.messages import DATA, EVENT, Config, Hello
from protocols.readings import ReadingSet, TimeQuality
from tests.edge.fakes import (
    BOOT_ID,
    BOOT_MS,
    UTC_MS,
    FakeClock,
    FakeQueue,
    InlineWriter,
    NoThread,
)
from tests.edge.head_end import METER_ADDRESS, METER_ID, PROVIDER, HeadEnd, Heard

UPLINK = {
    "batch_sets": 4,
    "linger_ms": 1_000,
    "window": 3,
    "ack_timeout_ms": 5_000,
    "bytes_per_day": 0,
    "catch_up_jitter_s": 0,
}

ORDERS = {rule.name: rule.default for rule in ORDERS_RULES}


class FakeTransport:
    """A broker that takes everything, or nothing."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.is_up = True

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""

    def publish(self, topic: str, payload: bytes) -> bool:
        """As the real one: False without a connection."""
        if self.is_up:
            self.sent.append((topic, payload))
        return self.is_up


class Uplink:
    """A gateway's session on a real journal, and the head end that hears it."""

    def __init__(
        self, folder: Path, clock: FakeClock, identity: Identity | None = None, **settings: int
    ) -> None:
        self.folder, self.clock = folder, clock
        self.head_end = HeadEnd()
        self.identity = identity or self.head_end.identity(folder)
        self.backfills: list[tuple[str, int, int]] = []
        self.takes_config = True
        self.settings = UPLINK | settings
        self.build()

    def build(self) -> None:
        """As the composition root does."""
        self.writer = InlineWriter(self.folder, self.clock, commit_sets=1)
        self.writer.start()
        self.journal = self.writer.journal
        self.jobs: list[OrderJob] = []
        self.told: list[tuple[str, str]] = []
        self.pauses: list[int] = []  # of what was told: seconds
        self.configs: list[Config] = []
        self.events = FakeQueue(self.clock)
        around = Surroundings(
            lambda: ORDERS,
            frozenset,
            {METER_ID: METER_ADDRESS},
            self.offer,
            lambda *_: None,
            lambda *span: self.backfills.append(span),
            self.tell,
            lambda: None,
        )
        self.desk = OrderDesk(
            self.identity,
            PROVIDER,
            self.journal,
            self.writer,
            self.folder,
            self.clock,
            around,
        )
        self.desk.begin()
        self.inbox = self.desk.inbox
        self.session = Session(
            self.identity,
            PROVIDER,
            self.journal,
            self.writer,
            self.desk,
            self.settings,
            ((METER_ID, METER_ADDRESS),),
            "1.2.3",
            self.clock,
            self.events,
            self.tell,
            self.take_config if self.takes_config else None,
            random.Random(1),
        )
        self.transport = FakeTransport()
        self.session.transport = self.transport  # type: ignore[assignment]
        self.session._thread = NoThread()  # type: ignore[assignment]
        self.session.start()
        self.acknowledged = 0

    def offer(self, meter_id: str, job: OrderJob) -> bool:
        """The line's queue."""
        self.jobs.append(job)
        return True

    def tell(self, kind: str, subject: str = "", detail: str = "", repeat_s: int = 0) -> None:
        """As Events.tell."""
        self.told.append((kind, detail))
        self.pauses.append(repeat_s)

    def take_config(self, claims: Claims, config: Config) -> None:
        """Whoever changes the configuration."""
        self.configs.append(config)

    def crash(self) -> None:
        """Everything in memory is gone."""
        self.session._reader.close()
        self.journal._db.close()

    def restart(self) -> None:
        """A new process on the same disk."""
        self.crash()
        self.build()

    def connect(self) -> list[Heard]:
        """The broker accepts us."""
        self.events.put(Connected())
        return self.turn()

    def connect_and_answer(self) -> None:
        """And the head end hears the hello."""
        hello = Hello.from_body(self.connect()[0].body)
        self.ack(0, nonce=hello.nonce)

    def journaled(self, *sets: ReadingSet) -> None:
        """Read and committed."""
        for one in sets:
            self.writer.submit(one)
        self.writer.work()

    def noted(self, *events: Event) -> None:
        """Told and committed."""
        for one in events:
            self.writer.note(one)
        self.writer.work(everything=True)

    def turn(self, *events: object) -> list[Heard]:
        """One turn of the session; what it said."""
        for event in events:
            self.events.put(event)
        return [self.head_end.open(*one) for one in self.said()]

    def said(self) -> list[tuple[str, bytes]]:
        """The sealed messages of a turn."""
        before = len(self.transport.sent)
        self.events.put(None)  # so that the turn does not wait
        self.session.turn()
        return self.transport.sent[before:]

    def arrive(self, message: tuple[str, bytes], retained: bool = False) -> list[Heard]:
        """A message comes down."""
        return self.turn(Arrived(*message, retained, self.note_acknowledged))

    def note_acknowledged(self) -> None:
        """The broker's acknowledgement."""
        self.acknowledged += 1

    def ack(self, upto: int, *ranges: tuple[int, int], **more: Any) -> list[Heard]:
        """A good acknowledgement comes."""
        more = {"time": self.clock.utc_ms()} | more
        return self.arrive(self.head_end.ack(self.journal.epoch, upto, ranges, **more))

    def stored(self) -> list[tuple[int, int]]:
        """What the journal believes that the head end has."""
        return list(self.journal.acknowledged())


def make_event(number: int = 0, kind: str = "started", **fields: Any) -> Event:
    """One event of the gateway, unlike those of other numbers."""
    stamps = (UTC_MS + number, BOOT_MS, BOOT_ID, TimeQuality.NTP)
    return Event(kind, "", *stamps, 0, None, f"number {number}", ())._replace(**fields)


def batches(heard: list[Heard]) -> list[list[tuple[int, ReadingSet]]]:
    """The rows of each data message."""
    return [decode_batch(one.body)[1] for one in heard if one.kind is DATA]


def numbers(heard: list[Heard]) -> list[list[int]]:
    """The sequences of each data message."""
    return [[n for n, _ in rows] for rows in batches(heard)]


def told_events(heard: list[Heard]) -> list[list[tuple[int, Event]]]:
    """The rows of each event message."""
    return [decode_events(one.body)[1] for one in heard if one.kind is EVENT]
