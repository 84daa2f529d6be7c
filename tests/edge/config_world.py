"""A gateway of two lines without threads and without a broker, whose configuration changes: each
line polls its fake meters on one fake clock."""

from pathlib import Path
from typing import Any

from edge.collect.line_plan import plan_line, wire
from edge.collect.plausible import Verdict
from edge.collect.poller import ORDERS_MAX, LineWorker, Surroundings
from edge.config.folder import ConfigFolder
from edge.config.reload import Reloader
from edge.config.remote import RemoteConfig, standing
from edge.line.line import Line
from edge.lines import Lines
from edge.meters.learned import Learned
from edge.settings import Settings, load_settings
from protocols.envelope.claims import Claims
from protocols.messages import CONFIG, Config
from protocols.readings import ReadingSet
from tests.edge.fakes import Answer, FakeClock, FakePort, FakeQueue, NoThread
from tests.edge.test_poller import Meters
from tests.edge.test_settings import write_config

MINUTE_MS = 60_000
PROBATION_S = 900
SPEED = 2400  # of the meters

TABLE: dict[str, Any] = {
    "gateway": {"id": "gw-1", "tenant": "t1", "state_dir": "state", "identity_dir": "identity"},
    "mqtt": {"host": "broker.example"},
    "line": [{"id": "a", "port": "/dev/a"}, {"id": "b", "port": "/dev/b"}],
    "meter": [
        {"id": f"m-{n}", "line": line, "protocol": "dlt645-2007", "address": f"{n:012d}",
         "period_s": 60, "quantities": ["1-0:1.8.0"]}
        for n, line in ((1, "a"), (2, "b"), (3, "b"))
    ],
}  # fmt: skip


def table_with(**sections: Any) -> dict[str, Any]:
    """The table with some sections replaced, and without those that are None."""
    return {name: part for name, part in (TABLE | sections).items() if part is not None}


def text_of(folder: Path, **sections: Any) -> str:
    """Sections as the text of a remote configuration."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    return write_config(elsewhere, sections).read_text()


def lines_with(name: str, **values: Any) -> list[dict[str, Any]]:
    """The [[line]] sections, one of them changed."""
    return [row | values if row["id"] == name else row for row in TABLE["line"]]


def meters_with(name: str, **values: Any) -> list[dict[str, Any]]:
    """The [[meter]] sections, one of them changed."""
    return [row | values if row["id"] == name else row for row in TABLE["meter"]]


class _Port(FakePort):
    """One whose meters hear nothing at another speed."""

    def __init__(self, clock: FakeClock, meters: Meters, baud: int) -> None:
        super().__init__(clock, answer=self._answer_at_speed)
        self._meters = meters
        self._baud = baud

    def configure(self, baud: int, parity: str, stop_bits: int) -> None:
        """The characters of the next `open`."""
        self._baud = baud

    def _answer_at_speed(self, request: bytes) -> Answer:
        return self._meters.answer(request) if self._baud == SPEED else []


class Gateway:
    """`stored` is what went to the journal: (meter, slot); `told` the events about configurations,
    `events` all others."""

    def __init__(self, folder: Path, clock: FakeClock, table: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.clock = clock
        self.meters = Meters()
        self.stored: list[tuple[str, int]] = []
        self.slots: dict[str, int] = {}
        self.told: list[tuple[str, str]] = []
        self.events: list[tuple[str, str, str]] = []
        self.acknowledged_at = 0
        self.places: list[str] = []
        self.path = write_config(folder, table or TABLE)
        (folder / "state").mkdir(exist_ok=True)
        self.start()

    def start(self) -> None:
        """A start, or another one after a crash: only files and the journal's slots are left."""
        self.config_folder = ConfigFolder(self.folder / "state")
        local = load_settings(self.path)
        checked, news = standing(self.config_folder, local, self.clock)
        self.learned = Learned(self.folder / "state", self.clock)
        self.lines = Lines(self._build, lambda: dict(self.slots))
        self.lines.fill(checked.settings, checked.models)
        sections = ("gateway", "mqtt", "journal", "uplink", "local")
        self.reloader = Reloader(
            checked,
            self.lines,
            {name: lambda _, name=name: self.places.append(name) for name in sections},
            lambda _: None,
            lambda _: self.places.append("meters"),
        )
        self.remote = RemoteConfig(
            self.config_folder,
            self.reloader,
            self.lines,
            self.clock,
            self.tell,
            lambda: self.acknowledged_at,
            PROBATION_S,
        )
        self.remote._thread = NoThread()  # type: ignore[assignment]
        self.lines.start()
        self.remote.start(news)

    def tell(self, kind: str, detail: str) -> None:
        """The journal takes it."""
        self.told.append((kind, detail))

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self.reloader.settings

    def run(self, ms: int) -> None:
        """All threads, in turns."""
        until = self.clock.boot_ms() + ms
        while self.clock.boot_ms() < until:
            for worker in self.lines.workers.values():
                worker.turn()
            self.remote.turn()

    def acknowledge(self) -> None:
        """The head end does, now."""
        self.clock.advance(1)
        self.acknowledged_at = self.clock.boot_ms()

    def take(self, version: int, text: str, is_dry_run: bool = False, **claims: Any) -> None:
        """A message that opened; what is named replaces an honest head end's claims."""
        now = self.clock.utc_ms()
        values = {
            "sequence": version,
            "issued_at": now,
            "expires_at": now + 7 * 86_400_000,
            "nonce": b"",
            "epoch": bytes(8),
            "content_type": CONFIG.content_type,
        }
        config = Config(version, is_dry_run, text)
        self.remote.take(Claims(**(values | claims)), config)

    def text(self, **sections: Any) -> str:
        """Sections as the text of a remote configuration."""
        return text_of(self.folder, **sections)

    def _build(
        self, line: dict[str, Any], settings: Settings, models: dict[str, Any]
    ) -> LineWorker:
        plan = plan_line(line, settings, models, self.learned)
        own = wire(line)
        port = _Port(self.clock, self.meters, own.baud)
        worker = LineWorker(
            Line(line["id"], port, own, self.clock.monotonic),
            plan.watches,
            plan.tasks,
            Surroundings(self.clock, self._submit, self._tell, lambda *_: Verdict(), lambda: False),
        )
        worker._thread = NoThread()  # type: ignore[assignment]
        worker._jobs = FakeQueue(self.clock, ORDERS_MAX)
        return worker

    def _submit(self, one: ReadingSet, slot: tuple[str, int] | None) -> None:
        assert slot is not None
        self.stored.append((one.meter_id, slot[1]))
        self.slots[slot[0]] = slot[1]

    def _tell(
        self, kind: str, subject: str = "", detail: str = "", evidence: Any = (), repeat_s: int = 0
    ) -> None:
        self.events.append((kind, subject, detail))
