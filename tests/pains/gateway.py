"""One gateway made of its real parts, in one thread and on fake time, and a head end that keeps
what it hears."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge.collect.line_plan import plan_line, wire
from edge.collect.plausible import Plausibility, limits_of
from edge.collect.poller import ORDERS_MAX, LineWorker, Surroundings
from edge.events import Events
from edge.journal.ranges import Ranges
from edge.line.line import Line
from edge.meters.learned import Learned
from edge.meters.models import load_models
from edge.orders.executor import OrderJob
from edge.settings import load_settings
from edge.sync.transport import Arrived, Connected, Disconnected
from protocols.envelope.batch import decode_batch
from protocols.envelope.events import decode_events
from protocols.events import Event
from protocols.messages import DATA, EVENT, HELLO, RECEIPT, Hello, Receipt
from protocols.readings import ReadingSet
from tests.edge.fakes import FakeClock, FakeQueue, NoThread
from tests.edge.head_end import Heard
from tests.edge.test_session import Uplink
from tests.edge.test_settings import write_config
from tests.pains.meters import MODEL, Bus, BusPort

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
UPLINK = {
    "batch_sets": 50,
    "linger_ms": 1_000,
    "window": 8,
    "ack_timeout_ms": 5_000,
    "bytes_per_day": 0,
    "catch_up_jitter_s": 0,
}


def dlt645(number: int, line: str = "line-1", **more: Any) -> dict[str, Any]:
    """A [[meter]] section: `meters.Dlt645` of that number."""
    own = {
        "id": f"m-{number}",
        "line": line,
        "protocol": "dlt645-2007",
        "edition": "2007",
        "address": f"{160 + number:012d}",
        "quantities": ["1-0:1.8.0", "1-0:32.7.0"],
        "period_s": 60,
    }
    return own | more


def modbus(number: int, line: str = "line-1", **more: Any) -> dict[str, Any]:
    """A [[meter]] section: `meters.Modbus` of that number."""
    own = {
        "id": f"u-{number}",
        "line": line,
        "protocol": "modbus",
        "unit": number,
        "model": "energy-and-voltage",
        "period_s": 60,
    }
    return own | more


class Store:
    """A head end: keeps each row once, by epoch and sequence, and owes an acknowledgement."""

    def __init__(self, clock: FakeClock) -> None:
        self.rows: dict[tuple[bytes, int], ReadingSet] = {}
        self.came_at: dict[tuple[bytes, int], int] = {}  # boot ms
        self.repeats = 0
        self.receipts: list[Receipt] = []
        self.events: dict[int, Event] = {}
        self.owes = False
        self._clock = clock
        self._stored: dict[bytes, Ranges] = defaultdict(Ranges)
        self._nonce = b""
        self._told: tuple[tuple[int, str], ...] = ()

    def take(self, heard: Heard) -> None:
        """One message of the gateway. A row that comes again must be the same."""
        epoch = heard.claims.epoch
        self.owes = True
        if heard.kind is DATA:
            for sequence, one in decode_batch(heard.body)[1]:
                known = self.rows.setdefault((epoch, sequence), one)
                assert known == one, "a row that was sent changed afterwards"
                self.repeats += (epoch, sequence) in self.came_at
                self.came_at.setdefault((epoch, sequence), self._clock.boot_ms())
                self._stored[epoch].add(sequence, sequence)
        elif heard.kind is HELLO:
            self._nonce = Hello.from_body(heard.body).nonce
        elif heard.kind is RECEIPT:
            one = Receipt.from_body(heard.body)
            self.receipts.append(one)
            self._told += ((one.counter, one.state),)
        elif heard.kind is EVENT:
            self.events |= dict(decode_events(heard.body)[1])

    def answer(self, epoch: bytes) -> dict[str, Any]:
        """The content of the acknowledgement."""
        stored = self._stored[epoch]
        upto = stored.contiguous_from(1)
        ranges = tuple(one for one in stored if one[0] > upto)
        content = {"upto": upto, "ranges": ranges, "nonce": self._nonce, "receipts": self._told}
        self.owes, self._nonce, self._told = False, b"", ()
        return content | {"events": max(self.events, default=0)}

    def sets(self) -> list[ReadingSet]:
        """All, in the order of their sequences."""
        return [self.rows[key] for key in sorted(self.rows)]


class Gateway(Uplink):
    """Lines with meters, journal, session and head end. `buses`: line -> its meters."""

    def __init__(
        self,
        folder: Path,
        clock: FakeClock,
        buses: dict[str, Bus],
        meters: Iterable[dict[str, Any]],
        **more: Any,
    ) -> None:
        self.buses = buses
        self.store = Store(clock)
        self.is_hole = False  # the network takes everything and delivers nothing
        models = folder / "meter_models"
        models.mkdir()
        (models / "energy-and-voltage.toml").write_text(MODEL)
        lines = more.pop("lines", {})
        table = {
            "gateway": {"id": "gw-1", "tenant": "t1", "state_dir": "s", "identity_dir": "i"},
            "mqtt": {"host": "broker.example"},
            "line": [{"id": name, "port": f"/dev/{name}"} | lines for name in buses],
            "meter": list(meters),
        }
        self.checked = load_settings(write_config(folder, table))
        super().__init__(folder, clock, **(UPLINK | more))

    def build(self) -> None:
        """As the composition root does; what a restart goes on with waits for its line."""
        self.workers: dict[str, LineWorker] = {}
        self.early: list[tuple[str, OrderJob]] = []
        super().build()
        settings = self.checked
        models = load_models(settings.meters, settings.path)
        self.plausibility = Plausibility({one["id"]: limits_of(one) for one in settings.meters})
        around = Surroundings(
            self.clock,
            self.writer.submit,
            Events(self.clock, self.writer.note).tell,
            self.plausibility.judge,
            lambda: self.writer.is_crowded,
        )
        self.ports: dict[str, BusPort] = {}
        for line in settings.lines:
            name = line["id"]
            plan = plan_line(line, settings, models, Learned(self.folder, self.clock))
            port = self.ports[name] = BusPort(self.clock, self.buses[name].answer)
            own = Line(name, port, wire(line), self.clock.monotonic)
            worker = LineWorker(own, plan.watches, plan.tasks, around)
            worker._jobs = FakeQueue(self.clock, ORDERS_MAX)
            worker._thread = NoThread()  # type: ignore[assignment]
            worker.start(self.journal.memos("slot"))
            self.workers[name] = worker
        for meter_id, job in self.early:
            self.offer(meter_id, job)

    def offer(self, meter_id: str, job: OrderJob) -> bool:
        """To the line of the meter."""
        if not self.workers:
            self.early.append((meter_id, job))
            return True
        line = next(one["line"] for one in self.checked.meters if one["id"] == meter_id)
        return self.workers[line].offer(job)

    # ---- time passes ----------------------------------------------------------------------------

    def run_for(self, ms: int) -> None:
        """Lines, journal and session have their turns until so much fake time has passed."""
        end = self.clock.boot_ms() + ms
        while self.clock.boot_ms() < end:
            for worker in self.workers.values():
                worker.turn()
            self.talk()

    def talk(self, *events: object) -> None:
        """What was read is committed and sent, and the head end answers."""
        self.writer.work()
        heard = self.turn(*events)
        self.transport.sent.clear()
        while heard:
            for one in () if self.is_hole else heard:
                self.store.take(one)
            heard = self._acknowledged() if self.store.owes else []
            self.transport.sent.clear()

    def _acknowledged(self) -> list[Heard]:
        content = self.store.answer(self.journal.epoch)
        ranges = content.pop("ranges")
        return self.ack(content.pop("upto"), *ranges, **content)

    def deliver(self, message: tuple[str, bytes], is_retained: bool = False) -> None:
        """The broker has a message for us."""
        self.talk(Arrived(*message, is_retained, self.note_acknowledged))

    def go_online(self) -> None:
        """The broker accepts us."""
        self.transport.is_up, self.is_hole = True, False
        self.talk(Connected())

    def go_offline(self) -> None:
        """The connection is known to be gone."""
        self.transport.is_up = False
        self.talk(Disconnected("gone"))

    def restart(self) -> None:
        """A new process on the same disk: what was not committed is gone."""
        super().restart()
        self.transport.is_up = False

    # ---- what came of it ------------------------------------------------------------------------

    def journaled_sets(self) -> list[ReadingSet]:
        """All that is committed."""
        reader = self.journal.reader()
        rows = reader.rows(1, 1 << 62)
        reader.close()
        return [one for _, one in rows]

    def events_of(self, kind: str) -> list[Event]:
        """The committed events of a kind."""
        reader = self.journal.reader()
        found = [one for _, one in reader.events_between(None, 0, 1 << 62) if one.kind == kind]
        reader.close()
        return found


def slots_of(sets: Iterable[ReadingSet], meter_id: str, period_ms: int = MINUTE_MS) -> list[int]:
    """The slots, as numbers, that a meter was read in."""
    return [one.read_at // period_ms for one in sets if one.meter_id == meter_id]


def is_unbroken(slots: list[int]) -> bool:
    """Every slot from the first to the last, once."""
    return bool(slots) and slots == list(range(slots[0], slots[-1] + 1))
