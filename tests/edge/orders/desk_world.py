"""A gateway's order desk on a real journal in fake time, a head end that signs and two people who
approve. The meter is a list of frames: what would have gone to it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.orders.desk import OrderDesk, Surroundings
from edge.orders.found import Found, RefusedHere
from edge.orders.gate import Gate
from edge.orders.looks import MakeLook
from edge.settings.rules import ORDERS_RULES
from protocols.envelope.claims import Claims
from protocols.envelope.keys import ESP256, KeySet, PrivateKey, Use
from protocols.envelope.seal import BODY_SIZE_MAX
from protocols.errors import BusbarError
from protocols.messages import ORDER, POLICY, STOP, Order, OrderState, Policy, Receipt, Stop
from protocols.orders.approvals import approval_bytes, order_digest
from protocols.orders.kinds import ORDER_KINDS, Effect, Family
from protocols.orders.order import NO_OBIS, Approval, Terms
from protocols.orders.refusals import code_of, refusal
from protocols.orders.states import FINAL_STATES
from tests.edge.fakes import UTC_MS, FakeClock, InlineWriter
from tests.edge.head_end import GATEWAY, PROVIDER, TENANT, HeadEnd, make_key

# Tuesday, 2026-09-22, 10:00 in Shanghai: inside the windows.
NOW = UTC_MS + 42_400_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
ANNA, BEN, CARL = "person:anna", "person:ben", "person:carl"
METERS = tuple(f"m-{n}" for n in range(1, 41))
CLOSED = Found(
    contact="connected", keep_power=False, is_identified=True, account="", credential="cut"
)
OPEN = CLOSED._replace(contact="disconnected", credential="restore")
NONCE = b"n" * 16
ZERO_EPOCH = bytes(8)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "connect": ("consent",),
    "prices": (1, 5000),
    "time-of-use": (1, 1, 0, 1),
    "steps": (1, 1, 100, 5000, 6000),
    "alarm-amounts": (1000, 500),
    "overdraft": (0,),
    "arm-amount": (0,),
    "authenticate": ("00000001", b"body"),
    "top-up": (1, 100, "00000001", "070102FF", b"body"),
}


def address_of(meter_id: str) -> str:
    """Twelve digits."""
    return f"{int(meter_id[2:]):012d}"


class RelayJob:
    """What E stands for on the line: asks the gate, and lets a frame out only through it."""

    def __init__(self, world: "World", order: Order, counter: int, gate: Gate) -> None:
        self.world, self.order, self.counter, self.gate = world, order, counter, gate
        self.meter_id = order.meter_id

    def run(self, found: Found | None = None, step: Callable[[str], None] | None = None) -> None:
        """As the jobs of the product do; `step` is called between any two of its steps."""
        order, gate = self.order, self.gate
        between = step or (lambda _: None)
        is_cut = order.kind.effect == Effect.CUTS
        found = found or self.world.found or (CLOSED if is_cut else OPEN)
        try:
            code = gate.check(order, found)
            if code:
                raise RefusedHere(code)
            between("checked")
            gate.arm(order, found)
            between("armed")
            gate.note(order, OrderState.SENT)
        except RefusedHere as error:
            gate.note(order, OrderState.REFUSED, refusal(error.code, error.detail))
            return
        between("sent")
        if not gate.holds():
            gate.note(order, OrderState.NOT_DONE, "nothing was sent")
            return
        self.world.frames.append(order)
        between("written")
        gate.note(order, OrderState.ACKED)
        between("acked")
        gate.note(order, OrderState.VERIFYING)
        gate.note(order, OrderState.CONFIRMED, "seen")


class World:
    """One gateway and those who order. `settings` are those of [orders]."""

    def __init__(
        self,
        folder: Path,
        clock: FakeClock | None = None,
        addresses: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.clock = clock or FakeClock()
        self.clock.set_utc(NOW)
        self.settings = {rule.name: rule.default for rule in ORDERS_RULES}
        self.settings |= {"allow_cuts": True, "dwell_s": 0} | settings
        self.head_end = HeadEnd()
        self.people = {name: make_key(name, Use.APPROVE) for name in (ANNA, BEN, CARL)}
        self.trusted = [one.record for one in self.people.values()]
        self.protected: frozenset[str] = frozenset()
        self.frames: list[Order] = []  # that went to meters
        self.jobs: list[RelayJob] = []
        self.told: list[tuple[str, str]] = []
        self.nonces: dict[bytes, int] = {}  # of this boot -> boot ms
        self.found: Found | None = None
        self.offers = True  # the lines have room
        self.make_look: MakeLook | None = None
        self.looked: list[str] = []  # meters whose supply is to be looked at soon
        self.counter = self.serial = 0
        self.addresses = {meter: address_of(meter) for meter in METERS} | (addresses or {})
        self.build()

    # ---- the gateway's life ---------------------------------------------------------------------

    def build(self) -> None:
        """A new process on the disk."""
        self.nonces = {}
        self.jobs = []
        self.writer = InlineWriter(self.folder, self.clock)
        self.writer.start()
        self.journal = self.writer.journal
        identity = self.head_end.identity(self.folder)
        trusted = KeySet((*identity.trusted.records(), *self.trusted))
        around = Surroundings(
            lambda: self.settings,
            lambda: self.protected,
            dict(self.addresses),
            self._offer,
            self.make_job,
            None,
            self._tell,
            lambda: None,
            self.make_look,
            self.looked.append,
        )
        self.desk = OrderDesk(
            identity._replace(trusted=trusted),
            PROVIDER,
            self.journal,
            self.writer,
            self.folder,
            self.clock,
            around,
        )
        self.desk.begin()

    def make_job(self, order: Order, counter: int, _: int, __: Any, gate: Gate) -> Any:
        """What carries it out."""
        return RelayJob(self, order, counter, gate)

    def crash(self) -> None:
        """The power goes."""
        self.journal._db.close()

    def restart(self, is_boot: bool = False) -> None:
        """A crash, and a new process; with `is_boot` of another boot."""
        self.crash()
        if is_boot:
            self.clock.boot_id = bytes(reversed(self.clock.boot_id))
        self.build()

    def image(self, path: Path) -> None:
        """Copies the card."""
        self.journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copytree(self.folder, path)

    def restore(self, path: Path) -> None:
        """Puts the copy back, and starts."""
        self.crash()
        shutil.rmtree(self.folder)
        shutil.copytree(path, self.folder)
        self.clock.boot_id = bytes(reversed(self.clock.boot_id))
        self.build()

    def _offer(self, meter_id: str, job: Any) -> bool:
        if self.offers:
            self.jobs.append(job)
        return self.offers

    def _tell(self, kind: str, subject: str = "", detail: str = "", **_: Any) -> None:
        self.told.append((kind, subject))

    # ---- what the head end sends ----------------------------------------------------------------

    def greet(self) -> bytes:
        """A nonce of this boot."""
        nonce = bytes([len(self.nonces)]) + NONCE[1:]
        self.nonces[nonce] = self.clock.boot_ms()
        return nonce

    def policy(self, nonce: bytes | None = None, issued_at: int = 0, **fields: Any) -> None:
        """A policy that permits to cut for an hour; with `nonce` b"" it answers none."""
        self.serial += 1
        now = issued_at or self.clock.utc_ms()
        values = {
            "serial": UTC_MS + self.serial,
            "counter_mark": 0,
            "cuts_until": now + HOUR_MS,
            "calendar_until": now + 30 * DAY_MS,
            "blocked_days": (),
            "weather_blocked_until": 0,
            "weather_known_until": 0,
            "protected": (),
            "clock_correction": 0,
        } | fields
        policy = Policy(**values)
        nonce = self.greet() if nonce is None else nonce
        claims = Claims(policy.serial, now, 0, nonce, ZERO_EPOCH, POLICY.content_type)
        self.hear(POLICY, claims, policy.to_body())

    def stop(self, *orders: Order, cuts_before: int = 0) -> None:
        """A stop comes."""
        stop = Stop(tuple(one.order_id for one in orders), cuts_before)
        claims = Claims(1, self.clock.utc_ms(), 0, b"", ZERO_EPOCH, STOP.content_type)
        self.hear(STOP, claims, stop.to_body())

    def order(
        self,
        action: str = "disconnect",
        meter_id: str = "m-1",
        approvers: tuple[str, ...] | None = None,
        **fields: Any,
    ) -> Order:
        """An order that enough people approved, with the next counter of its meter."""
        kind = ORDER_KINDS[action]
        self.counter += 1
        now = self.clock.utc_ms()
        terms = {
            "originator": "head-end",
            "meter_counter": self.counter if kind.family != Family.NONE else 0,
            "requested_by": CARL,
            "requested_at": now - MINUTE_MS,
            "reason": "unpaid",
            "valid_from": now - MINUTE_MS,
            "valid_until": now + 7 * DAY_MS,
            "life_ms": kind.life_s * 1000,
            "selection": b"",
            "assurance": 0,
        } | fields
        order = Order(
            self.counter.to_bytes(16, "big"),
            action,
            meter_id,
            self.addresses[meter_id],
            NO_OBIS,
            ARGUMENTS.get(action, ()),
            Terms(**terms),
            (),
        )
        names = (ANNA, BEN)[: kind.approvals] if approvers is None else approvers
        return order._replace(approvals=tuple(self.approve(order, name) for name in names))

    def approve(self, order: Order, name: str, key: PrivateKey | None = None) -> Approval:
        """One person's signature."""
        key, at = key or self.people[name], self.clock.utc_ms()
        digest = order_digest(PROVIDER, TENANT, GATEWAY, order)
        signer = PROVIDER.signer(ESP256, key.private)
        signature = signer.sign(approval_bytes(PROVIDER, digest, name, at))
        return Approval(name, key.record.kid, at, signature)

    def claims(self, order: Order, sequence: int = 0, **fields: Any) -> Claims:
        """Of a delivery now."""
        now = self.clock.utc_ms()
        values = {
            "sequence": sequence or self.counter,
            "issued_at": now,
            "expires_at": now + ORDER_KINDS[order.action].life_s * 1000,
            "nonce": b"",
            "epoch": self.journal.epoch,
            "content_type": ORDER.content_type,
        } | fields
        return Claims(**values)

    def send(self, order: Order, claims: Claims | None = None, is_time_known: bool = True) -> str:
        """Delivers it; the code under which it was refused at once, or ""."""
        claims = claims or self.claims(order)
        try:
            self.hear(ORDER, claims, order.to_body(), is_time_known)
        except BusbarError as error:
            return code_of(getattr(error, "reason", "")) or str(error)
        return ""

    def hear(self, kind: Any, claims: Claims, body: Any, is_time_known: bool = True) -> None:
        """As the session does."""
        now = self.clock.utc_ms() if is_time_known and self.clock.quality() >= 2 else 0
        ages = {nonce: self.clock.boot_ms() - at for nonce, at in self.nonces.items()}
        self.desk.hear(kind, claims, body, now, ages)

    def run(self, found: Found | None = None) -> None:
        """The lines do what waits."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job.run(found)

    def carry_out(self, action: str = "disconnect", meter_id: str = "m-1", **more: Any) -> str:
        """Orders, delivers and carries out; the code of the refusal, or ""."""
        found = more.pop("found", None)
        order = self.order(action, meter_id, **more)
        code = self.send(order)
        self.run(found)
        last = self.last(order)
        return code or (code_of(last.reason) if last.state != OrderState.CONFIRMED else "")

    # ---- what is to be seen ---------------------------------------------------------------------

    def receipts(self, order: Order) -> list[Receipt]:
        """All that were told of it, in their order."""
        reader = self.journal.reader()
        rows = reader.receipts(10_000)
        reader.close()
        told = [
            Receipt.from_body(PROVIDER.decode(PROVIDER.inflate(body, BODY_SIZE_MAX)))
            for _, _, body in rows
        ]
        return [one for one in told if one.order_id == order.order_id]

    def states(self, order: Order) -> list[str]:
        """The same as states."""
        return [one.state for one in self.receipts(order)]

    def last(self, order: Order) -> Receipt:
        """What was told last."""
        return self.receipts(order)[-1]

    def end(self, order: Order) -> tuple[str, str]:
        """Its one final state, and the code of its reason."""
        final = [one for one in self.receipts(order) if one.state in FINAL_STATES]
        assert len(final) == 1, [one.state for one in final]
        return final[0].state, code_of(final[0].reason)

    def entries(self) -> list[Any]:
        """The audit chain, each entry as it is encoded; the chain holds."""
        rows = self.journal._db.execute("SELECT body FROM audit ORDER BY sequence").fetchall()
        return [PROVIDER.decode(body) for (body,) in rows]
