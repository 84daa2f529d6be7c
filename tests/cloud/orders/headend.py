"""A head end with people who ask and approve, a calendar, and gateways that take or refuse orders:
what the tests of the life cycle talk to. No broker, and a clock that moves when it is told to."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cloud.app import Core
from cloud.identity.keyring import Registry, load_own_keys
from cloud.ingest.acks import Outbound
from cloud.orders.operations import Operations
from cloud.store.orders import OrderRow
from protocols.envelope.claims import Claims
from protocols.envelope.keys import ESP256, PrivateKey, Use
from protocols.messages import ORDER, POLICY, STOP, Order, Policy, Stop
from protocols.orders.approvals import approval_bytes, order_digest
from protocols.topics import Topic
from tests.cloud.world import PROVIDER, TENANT, Gateway, World, make_key

MONDAY_10 = 1_763_949_600_000  # 2025-11-24 10:00 in Asia/Shanghai, a Monday
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
CALENDAR = {"until": "2026-12-31", "blocked": ["2025-12-25"]}
WIDE = {  # ceilings that no test reaches by accident
    "cuts_operator_hour": 100_000,
    "cuts_operator_day": 100_000,
    "cuts_area_hour": 100_000,
    "cuts_area_day": 100_000,
    "cuts_gateway_hour": 10_000,
    "cuts_gateway_day_percent": 100,
}
Body = dict[str, Any]

OLGA = {"name": "olga", "roles": ["operator"]}
ANNA = {"name": "anna", "roles": ["approver"]}
BEN = {"name": "ben", "roles": ["approver"]}
CARL = {"name": "carl", "roles": ["approver", "operator"]}
BILLING = {"name": "billing", "roles": ["automation"]}
CONSOLE = {"name": "console", "roles": ["console"]}
AUDITOR = {"name": "alma", "roles": ["auditor"]}


def meters_of(count: int, prefix: str = "m") -> tuple[tuple[str, str], ...]:
    """((meter, address), ...)."""
    return tuple((f"{prefix}{n:04d}", f"{20_261_100_0000 + n:012d}") for n in range(1, count + 1))


class HeadEnd:
    """The head end, its people, and what its gateways hear."""

    def __init__(
        self,
        base: Path,
        meters: int = 3,
        gateways: tuple[str, ...] = ("gw1",),
        seed: int = 1,
        **policy: object,
    ) -> None:
        self.world = World(base, gateways)
        self.world.clock.now = MONDAY_10
        self.chance = random.Random(seed)
        self.keys: dict[str, PrivateKey] = {}
        self.version = 0
        for name in ("anna", "ben", "carl"):
            self.keys[name] = make_key("person:" + name, Use.APPROVE)
        self.write_approvers()
        self.calendar = base / "calendar.json"
        self.calendar.write_text(json.dumps(CALENDAR))
        self.write_policy(**(WIDE | {"jitter_s": 0, "calendar": "calendar.json"} | policy))
        self.open()
        for place, gateway in enumerate(self.world.gateways.values()):
            prefix = "m" if place == 0 else f"n{place}-"
            self.say(gateway.hello(meters=meters_of(meters, prefix)))
        self.dispatch()
        self.world.broker.take()

    # ---- the service ----------------------------------------------------------------------------

    def open(self) -> None:
        settings = self.world.settings()
        settings.state_dir.mkdir(exist_ok=True)
        own = load_own_keys(self.world.identity, TENANT, self.world.clock)
        registry = Registry(self.world.identity / "registry.json", TENANT)
        broker, clock = self.world.broker, self.world.clock
        self.core = Core(settings, own, registry, broker, clock, self.chance)
        self.operations = Operations(self.core.desk)

    def restart(self) -> None:
        self.core.store.close()
        self.open()

    def close(self) -> None:
        self.core.store.close()

    def write_policy(self, **policy: object) -> None:
        self.world.write_config()
        lines = [f"{name} = {json.dumps(value)}" for name, value in policy.items()]
        with self.world.config.open("a") as file:
            file.write("[orders]\n" + "\n".join(lines) + "\n")

    def write_approvers(self, *names: str) -> None:
        self.version += 1
        chosen = [key for name, key in self.keys.items() if not names or name in names]
        document = {
            "tenant": TENANT,
            "version": self.version,
            "keys": [key.record.to_json() for key in chosen],
        }
        fresh = self.world.identity / "approvers.new"
        fresh.write_text(json.dumps(document))
        fresh.replace(self.world.identity / "approvers.json")

    @property
    def db(self) -> Any:
        return self.core.store.db

    @property
    def gateway(self) -> Gateway:
        return self.world.gateway

    @property
    def now(self) -> int:
        return self.world.clock.now

    def ask(self, op: str, person: Body, **fields: object) -> Body:
        """One operation as the service runs it: whole, or not at all."""
        try:
            answer = self.operations.answer({"op": op, "person": person, **fields})
            self.core.ingest.commit()
        except BaseException:
            self.core.ingest.rollback()
            raise
        return answer

    def dispatch(self) -> None:
        """What the service does on each tick while it is connected."""
        self.tick()
        self.core.desk.seal_due()
        self.core.ingest.commit()
        self.core.desk.publish_queued()
        self.core.ingest.commit()

    def tick(self) -> None:
        self.core.desk.sweep()
        self.core.ingest.commit()

    def wait(self, ms: int) -> None:
        self.world.clock.now += ms
        self.dispatch()

    def pass_time(self, ms: int) -> None:
        """The same, minute by minute."""
        for _ in range(ms // MINUTE):
            self.wait(MINUTE)

    def puback(self) -> None:
        """The broker takes all that was handed to it."""
        while self.world.broker.tokens:
            self.core.desk.published(self.world.broker.tokens.pop(0))
        self.core.ingest.commit()

    def say(self, message: tuple[str, bytes]) -> str:
        """A gateway's message."""
        word = self.core.ingest.handle(*message)
        self.core.ingest.commit()
        return word

    # ---- people ---------------------------------------------------------------------------------

    def propose(self, meter: str = "m0001", person: Body = OLGA, **fields: object) -> Body:
        wanted = {"action": "disconnect", "reason": "unpaid since May", "submit": True} | fields
        return self.ask("order_propose", person, meter=meter, **wanted)

    def signed(self, shown: Body, name: str, at: int | None = None, **changes: object) -> Body:
        """What the approver's machine makes of an order that it was shown."""
        order = Order.from_body(PROVIDER.decode(bytes.fromhex(shown["body"])))
        digest = order_digest(PROVIDER, TENANT, shown["gateway"], order)
        at, key = self.now if at is None else at, self.keys[name]
        data = approval_bytes(PROVIDER, digest, "person:" + name, at)
        signature = PROVIDER.signer(ESP256, key.private).sign(data).hex()
        given = {"order": shown["order"], "kid": key.record.kid.hex(), "at": at}
        return {**given, "signature": signature, **changes}

    def approve(self, shown: Body, *names: str) -> Body:
        for name in names:
            person = {"name": name, "roles": ["approver"]}
            shown = self.ask("order_approve", person, **self.signed(shown, name))
        return shown

    def cut(self, meter: str = "m0001", **fields: object) -> Body:
        """A cut that two people approved."""
        return self.approve(self.propose(meter, **fields), "anna", "ben")

    def approve_batch(self, batch: Body, *names: str) -> Body:
        orders = self.pages(batch)
        for name in names:
            person = {"name": name, "roles": ["approver"]}
            for at in range(0, len(orders), 1000):
                rows = [self.signed(one, name) for one in orders[at : at + 1000]]
                batch = self.ask("batch_approve", person, batch=batch["batch"], approvals=rows)
        return batch

    def pages(self, batch: Body) -> list[Body]:
        """The orders of a batch, page by page."""
        found: list[Body] = []
        while True:
            page = self.ask("batch_get", ANNA, batch=batch["batch"], offset=len(found), limit=500)
            if not page["orders"]:
                return found
            found += page["orders"]

    # ---- what is seen ---------------------------------------------------------------------------

    def row(self, order: str | Body) -> OrderRow:
        key = bytes.fromhex(order if isinstance(order, str) else order["order"])
        row = self.core.desk.office.orders.find(key)
        assert row is not None
        return row

    def state(self, order: str | Body) -> str:
        return self.row(order).state

    def states(self) -> dict[str, int]:
        rows = self.db.execute("SELECT state, count(*) FROM meter_order GROUP BY state")
        return dict(rows.fetchall())

    def alarms(self) -> list[str]:
        return [one["kind"] for one in self.ask("alarms_list", AUDITOR)["alarms"]]

    def audit(self) -> list[str]:
        rows = self.db.execute("SELECT kind FROM audit_entry ORDER BY sequence")
        return [kind for (kind,) in rows]

    def heard(self) -> list[tuple[str, Outbound]]:
        """What went out since the last look: [(suffix, message), ...]."""
        return [(Topic.from_text(one.topic).suffix, one) for one in self.world.broker.take()]

    def orders_heard(self) -> list[tuple[Claims, Order]]:
        """The orders that went out since the last look."""
        found = []
        for suffix, message in self.heard():
            if suffix == ORDER.suffix:
                name = Topic.from_text(message.topic).gateway
                found.append(self.world.gateways[name].open_order(message))
        return found

    def stops_heard(self) -> list[Stop]:
        return [Stop.from_body(body) for body in self._bodies(STOP)]

    def policies_heard(self) -> list[Policy]:
        return [Policy.from_body(body) for body in self._bodies(POLICY)]

    def _bodies(self, kind: Any) -> Iterable[object]:
        for suffix, message in self.heard():
            if suffix == kind.suffix:
                name = Topic.from_text(message.topic).gateway
                yield self.world.gateways[name].open(message, kind)[1]

    def tell(self, order: Order, counter: int, *states: str, **changes: object) -> None:
        """The gateway's receipts of an order."""
        for state in states:
            message = self.gateway.receipt(order, counter, state, at=self.now, **changes)
            assert self.say(message) == ""
