"""Head end, broker, gateway and meters in one process and one thread, on one clock: all of the
order path as it runs, and a broker and a power supply that the test may spoil."""

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cloud.store.database
from protocols.envelope.keys import PrivateKey, Use
from protocols.envelope.seal import BODY_SIZE_MAX
from protocols.messages import HEAD_END, Receipt
from protocols.orders.states import FINAL_STATES
from tests.cloud.orders.headend import ANNA, CALENDAR, OLGA, WIDE, HeadEnd
from tests.cloud.world import PROVIDER, TENANT, World, make_key
from tests.edge.fakes import FakeClock
from tests.orders.gateway import Gateway
from tests.orders.power import Power, PowerCut
from tests.orders.wire import Letter, Wire

NOW = 1_790_042_400_000  # Tuesday, 2026-09-22, 10:00 in Shanghai: inside the windows
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
ADDRESSES = ("151230011061", "151230011062", "151230011063")
QUICK_MS = 150 * SECOND  # in which an order that meets no trouble has ended
GRACE_MS = 20 * MINUTE  # of the head end's after an order's time
ROUNDS_MAX = 60  # of messages that answer one another
Body = dict[str, Any]


class HeadClock:
    """True time, as the head end has it."""

    def __init__(self, now: Callable[[], int], advance: Callable[[float], None]) -> None:
        self._now, self._advance = now, advance

    @property
    def now(self) -> int:
        """UTC ms."""
        return self._now()

    @now.setter
    def now(self, value: int) -> None:
        self._advance(value - self._now())

    def utc_ms(self) -> int:
        """The same."""
        return self._now()

    def monotonic_ms(self) -> int:
        """The same."""
        return self._now()


class Head(HeadEnd):
    """The head end of `tests/cloud/orders`, without the gateways that it makes up."""

    def __init__(self, base: Path, clock: HeadClock, wire: Wire, **policy: object) -> None:
        self.power = Power()
        self.world = World(base)
        self.world.clock = clock  # type: ignore[assignment]
        self.world.broker = wire  # type: ignore[assignment]
        self.chance = random.Random(1)
        self.keys: dict[str, PrivateKey] = {}
        self.version = 0
        for name in ("anna", "ben", "carl"):
            self.keys[name] = make_key("person:" + name, Use.APPROVE)
        self.write_approvers()
        self.calendar = base / "calendar.json"
        self.calendar.write_text(json.dumps(CALENDAR))
        rules = {"jitter_s": 0, "restore_every_s": 0, "calendar": "calendar.json"}
        self.write_policy(**(WIDE | rules | policy))
        self.open()

    def open(self) -> None:
        """A new process on the disk."""
        with mock.patch.object(cloud.store.database, "sqlite3", self.power.sqlite()):
            super().open()
        self.core.desk.connected()
        self.core.ingest.greet_all()
        self.core.ingest.commit()

    def restart(self) -> None:
        """What was in memory is gone."""
        self.power.end()
        self.open()


class Rig:
    """All of it. `orders` are settings of the gateway's [orders], `policy` of the head end's."""

    def __init__(self, base: Path, meters: int = 1, policy: Body | None = None, **orders: Any):
        self.clock = FakeClock()
        self.clock.set_utc(NOW)
        self._start = self.clock.monotonic()
        self.wire = Wire()
        (base / "head").mkdir()
        (base / "gate").mkdir()
        clock = HeadClock(self.now, self.clock.advance)
        self.head = Head(base / "head", clock, self.wire, **(policy or {}))
        self.meters = {f"m{n + 1}": ADDRESSES[n] for n in range(meters)}
        self.name = self.head.world.gateway.name
        self._write_identity(base / "gate" / "identity")
        self.gateway = Gateway(
            base / "gate", self.wire, self.clock, self.now, self.meters, (TENANT, self.name),
            **orders,
        )  # fmt: skip
        self.is_linked = True
        self.gateway.start()
        self.exchange()

    def now(self) -> int:
        """True UTC ms; the gateway's own clock may say another."""
        return NOW + round((self.clock.monotonic() - self._start) * 1000)

    def close(self) -> None:
        """Ends both."""
        self.gateway.die()
        self.head.power.end()

    def _write_identity(self, folder: Path) -> None:
        folder.mkdir()
        world = self.head.world
        own = (world.gateway.signing, world.gateway.opening)
        rows = [{"record": one.record.to_json(), "private": one.private.hex()} for one in own]
        document = {"party": self.name, "tenant": TENANT, "keys": rows}
        (folder / "keys.json").write_text(json.dumps(document))
        trusted = [*world.own.values(), *self.head.keys.values()]
        keys = [one.record.to_json() for one in trusted]
        (folder / "keyset.json").write_text(json.dumps({"tenant": TENANT, "keys": keys}))
        assert HEAD_END in {one.record.owner for one in trusted}
        for name in ("ca.pem", "tls.pem", "tls.key"):
            (folder / name).write_text("none")

    # ---- what passes ----------------------------------------------------------------------------

    def exchange(self) -> None:
        """Everything that waits goes its way, until nothing moves any more; without a link, each
        side talks to nobody."""
        for _ in range(ROUNDS_MAX):
            self.gateway.speak()
            moved = self.raise_all() + self.lower_all()
            if not moved:
                return

    def raise_all(self) -> int:
        """What the gateway said reaches the head end; how much it was."""
        letters, self.wire.up = self.wire.up, []
        if not self.is_linked:
            self.wire.up = letters
            letters = []
        for letter in letters:
            self.in_head(lambda one=letter: self.head.say((one.topic, one.payload)))
        self.in_head(self.head.dispatch)
        self.in_head(self._puback)
        return len(letters)

    def lower_all(self) -> int:
        """What the head end said reaches the gateway."""
        if not self.is_linked:
            return 0
        letters, self.wire.down = self.wire.down, []
        for n, letter in enumerate(letters):
            if not self.gateway.is_connected:  # it died, or there is no connection
                self.wire.down = letters[n:] + self.wire.down
                return n
            if not self.gateway.hear(letter):
                self.wire.kept.append(letter)
        return len(letters)

    def in_head(self, work: Callable[[], object]) -> None:
        """Something that the head end does; its power may go, and it comes back at once."""
        try:
            work()
        except PowerCut:
            self.restart_head()

    def restart_head(self) -> None:
        """It crashed; what the broker took and it did not hear of, it sends again."""
        self.wire.taken.clear()
        self.head.restart()

    def _puback(self) -> None:
        while self.wire.taken:
            token = self.wire.taken.pop(0)
            self.head.core.desk.published(token)
            self.head.core.ingest.commit()

    def link(self, is_linked: bool) -> None:
        """The gateway's connection comes or goes."""
        if is_linked == self.is_linked:
            return
        self.is_linked = is_linked
        station = self.gateway.station
        if station is not None:
            station.connect() if is_linked else station.lose()

    # ---- time -----------------------------------------------------------------------------------

    def run(self, ms: int) -> None:
        """Everybody works for so long."""
        end = self.clock.boot_ms() + ms
        self.exchange()
        while self.clock.boot_ms() < end:
            self.gateway.work()
            self.exchange()

    def pass_time(self, ms: int, step: int = 0) -> None:
        """The same in leaps, which costs less."""
        step = step or max(ms // 12, SECOND)
        end = self.clock.boot_ms() + ms
        while self.clock.boot_ms() < end:
            self.run(SECOND)
            self.clock.advance(max(min(step, end - self.clock.boot_ms()), 0))
        self.run(SECOND)

    # ---- people ---------------------------------------------------------------------------------

    def order(self, action: str = "disconnect", meter: str = "m1", **fields: Any) -> Body:
        """Proposed, frozen and approved by as many as it takes."""
        person = fields.pop("person", OLGA)
        if action == "connect":
            fields.setdefault("arguments", ["consent"])
        shown = self.head.propose(meter, person, action=action, **fields)
        return self.head.approve(shown, *("anna", "ben")[: shown["approvals_needed"]])

    def carry_out(self, action: str = "disconnect", meter: str = "m1", **fields: Any) -> Body:
        """The same, and carried out; the order as the head end has it then."""
        order = self.order(action, meter, **fields)
        self.settle(order)
        return self.shown(order)

    def settle(self, order: Body, ms: int = 200 * SECOND) -> str:
        """Runs until it has ended, for so long at most; its state at the head end."""
        end = self.clock.boot_ms() + ms
        while self.clock.boot_ms() < end and self.head.state(order) not in FINAL_STATES:
            self.run(SECOND)
        return self.head.state(order)

    def end(self, order: Body) -> str:
        """Runs until it has ended, at the latest when its time and every grace are over; its state
        at the head end."""
        self.settle(order, QUICK_MS)
        row = self.head.row(order)
        over = max(row.expires_at or 0, row.valid_until) + GRACE_MS - self.now()
        if row.state not in FINAL_STATES and over > 0:
            self.pass_time(over)
        self.run(5 * SECOND)
        return self.head.state(order)

    def shown(self, order: Body) -> Body:
        """As people see it."""
        found: Body = self.head.ask("order_get", ANNA, order=order["order"])
        return found

    # ---- what is to be seen ---------------------------------------------------------------------

    def meter(self, name: str = "m1") -> Any:
        """The virtual meter."""
        return self.gateway.meters[self.meters[name]]

    def is_open(self, name: str = "m1") -> bool:
        """Whether its contact is open, whatever it shows."""
        meter = self.meter(name)
        meter.relay.settle()
        return bool(meter._supply.is_open)

    def relay_frames(self) -> int:
        """How many commands went out that may move a relay."""
        return len(self.gateway.commands)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Of the gateway's journal, as it lies on the disk."""
        path = self.gateway.state / "journal.db"
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()

    def receipts(self, order_id: bytes) -> list[Receipt]:
        """All that the gateway has written of an order, in its order."""
        sql = "SELECT receipt.body FROM receipt JOIN order_inbox USING (counter) WHERE order_id = ?"
        rows = self.rows(sql + " ORDER BY receipt.rowid", order_id)
        return [
            Receipt.from_body(PROVIDER.decode(PROVIDER.inflate(body, BODY_SIZE_MAX)))
            for (body,) in rows
        ]

    def states(self, order: Body) -> list[str]:
        """The same as states."""
        return [one.state for one in self.receipts(bytes.fromhex(order["order"]))]

    def captured(self, suffix: str) -> list[Letter]:
        """What ever went down under this suffix."""
        return [one for one in self.wire.seen if one.suffix == suffix]
