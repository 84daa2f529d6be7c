"""All of the gateway that judges orders, put together: what the uplink hands down comes here."""

import logging
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from edge.clock import Clock
from edge.collect.jobs import Job
from edge.journal.counters import MeterCounters
from edge.journal.highwater import HighWater
from edge.journal.ledger import Ledger
from edge.journal.ranges import Ranges
from edge.journal.store import Journal, JournalReader
from edge.journal.writer import Writer
from edge.orders import credentials, intended, stops
from edge.orders.backfill_job import Backfill
from edge.orders.ceilings import DAY_MS, HOUR_MS, Ceilings, per_day
from edge.orders.credentials import RefusedCredentials
from edge.orders.found import Found
from edge.orders.gate import Gate
from edge.orders.guards import Facts
from edge.orders.inbox import Inbox, Ways, order_of
from edge.orders.intended import Intended
from edge.orders.looks import Looks, MakeLook
from edge.orders.prechecks import Case, Known
from edge.orders.records import TROUBLES, WRITE_S_MAX, Records
from edge.orders.refused import Refused
from edge.orders.standing import Standing
from edge.orders.stops import Stops
from edge.orders.unrecorded import Unrecorded
from edge.sync.identity import Identity
from protocols.audit.chain import first_hash
from protocols.envelope.claims import Claims
from protocols.envelope.suites import Provider
from protocols.errors import BusbarError
from protocols.messages import ORDER, POLICY, STOP, MessageKind, Order, Policy, Stop
from protocols.orders.kinds import Family

SCOPE = "orders"  # memos: the policy, and since when the past is known
POLICY_NAME, UNCOUNTED_NAME = "policy", "uncounted-until"

log = logging.getLogger("edge.orders")


class MakeJob(Protocol):
    """What makes the job of an order that changes something."""

    def __call__(
        self, order: Order, counter: int, deadline_boot_ms: int, clock: Clock, gate: Gate
    ) -> Job | None:
        """None when this gateway can not carry it out."""


class Surroundings(NamedTuple):
    """What the desk needs of the rest of the gateway. `settings` are those of [orders] in force,
    `protected` the meters that they protect; `offer` takes a job to a meter's line; `tell` is that
    of `Events`; `wake` has the uplink look for what is new, `look_soon` the line at a supply."""

    settings: Callable[[], dict[str, Any]]
    protected: Callable[[], frozenset[str]]
    addresses: dict[str, str]
    offer: Callable[[str, Job], bool]
    make_job: MakeJob
    backfill: Backfill | None
    tell: Callable[..., None]
    wake: Callable[[], None]
    make_look: MakeLook | None = None
    look_soon: Callable[[str], None] = lambda _: None


class OrderDesk:
    """Used by the uplink's thread; jobs come back through their gates. `begin` before all else,
    once the journal is open."""

    def __init__(
        self,
        identity: Identity,
        provider: Provider,
        journal: Journal,
        writer: Writer,
        folder: Path,
        clock: Clock,
        around: Surroundings,
    ) -> None:
        self.inbox: Inbox = None  # type: ignore[assignment]
        self._identity = identity
        self._provider = provider
        self._journal = journal
        self._writer = writer
        self._folder = folder
        self._clock = clock
        self._around = around
        self._high_water = HighWater(folder)
        self._gates: dict[int, Gate] = {}  # of orders that have not ended
        self.ledger = Ledger(
            journal, lambda epoch: first_hash(identity.tenant, identity.gateway_id, epoch)
        )
        self.intended = Intended()
        self._records = Records(writer, self.ledger, clock, provider, around.wake, self.intended)
        self._epoch = b""
        self._known: Known = None  # type: ignore[assignment]
        self._unrecorded: Unrecorded = None  # type: ignore[assignment]

    # ---- life -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Takes what is kept, settles the orders of the life before, and comes up observing."""
        around, clock, journal = self._around, self._clock, self._journal
        self._epoch = journal.epoch
        if journal.salvaged:
            self._note_new_epoch()
        memos = {
            scope: self._call(journal.memos, scope)
            for scope in (SCOPE, stops.SCOPE, credentials.SCOPE, intended.SCOPE)
        }
        self.intended.recall(memos[intended.SCOPE])
        self._unrecorded = Unrecorded(self._folder)
        self._known = Known(
            around.settings,
            around.protected,
            around.addresses,
            journal,
            self._records,
            Standing(
                clock,
                self._saved_policy(memos[SCOPE].get(POLICY_NAME)),
                self._keep_policy,
                self._high_water.raise_to,
            ),
            Stops(memos[stops.SCOPE], self._keep_stops),
            MeterCounters(self._folder),
            Ceilings(clock, self._call(self.ledger.intents), memos[SCOPE].get(UNCOUNTED_NAME, 0)),
            RefusedCredentials(memos[credentials.SCOPE], self._keep_credential),
            Refused(around.tell),
        )
        self._call(self.ledger.forget, self._known.ceilings.stale())
        self.inbox = self._build_inbox()
        self.inbox.resume(self._unrecorded.counters)
        self._unrecorded.clear()

    def _note_new_epoch(self) -> None:
        """The journal was put aside, and with it what the ceilings of a day count."""
        until = self._clock.utc_ms() + DAY_MS
        if self._known is not None:
            self._known.ceilings.uncounted_until = until
        try:
            memos = [(SCOPE, UNCOUNTED_NAME, until), *self.intended.memos()]
            self._call(self._journal.append, (), (), (), memos)
        except TROUBLES as error:
            log.error("new_epoch_unsaved reason=%r", str(error))

    def work(self, reader: JournalReader, reopened: Callable[[Ranges], None]) -> None:
        """What is to be done beside: a portion of a backfill, records that wait for the disk."""
        if self._journal.epoch != self._epoch:  # it was put aside while we run
            self._epoch = self._journal.epoch
            self._note_new_epoch()
        if self._records.flush():
            self._unrecorded.clear()
        self.inbox.work(reader, reopened)

    # ---- what comes down ------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether `work` has something to do at once."""
        return self.inbox.has_work

    @property
    def last_counter(self) -> int:
        """The highest order counter taken up, or told by a policy."""
        return self._high_water.value

    @property
    def wants_policy(self) -> bool:
        """Whether a policy is here that this boot's greeting did not bring."""
        standing = self._known.standing
        return standing.policy is not None and not standing.is_attested

    def hear(
        self,
        kind: MessageKind,
        claims: Claims,
        body: object,
        now: int,
        nonce_ages: dict[bytes, int],
    ) -> None:
        """A message that opened; `now` is trusted UTC or 0. BusbarError when it is refused."""
        if kind is ORDER:
            self.inbox.take(claims, body, now, nonce_ages)
        elif kind is POLICY:
            self._take_policy(claims, Policy.from_body(body), now, nonce_ages)
        elif kind is STOP:
            self._take_stop(Stop.from_body(body))

    def _take_policy(
        self, claims: Claims, policy: Policy, now: int, nonce_ages: dict[bytes, int]
    ) -> None:
        standing = self._known.standing
        before = standing.policy
        standing.take(claims, policy, now, nonce_ages)
        if before is None or policy != before:
            fields = {
                "serial": policy.serial,
                "counter mark": policy.counter_mark,
                "cuts until": policy.cuts_until,
                "attested": int(standing.is_attested),
            }
            self._records.keep_entry("policy", fields=fields)

    def _take_stop(self, stop: Stop) -> None:
        ids = b"".join(stop.order_ids)
        fields = {
            "orders": len(stop.order_ids),
            "first": ids[:512],
            "cuts before": stop.cuts_before,
        }
        try:
            self._known.stops.take(stop)
        finally:  # it holds, also when the disk refuses it
            self._records.keep_entry("stop", fields=fields)
            for gate in list(self._gates.values()):
                gate.look_for_stop()

    # ---- jobs -----------------------------------------------------------------------------------

    def _build_inbox(self) -> Inbox:
        identity, known, around = self._identity, self._known, self._around
        facts = Facts(
            identity.tenant,
            identity.gateway_id,
            self._provider,
            identity.trusted,
            0,
            False,
            {},
            b"",
            None,
            known.standing,
            known.stops,
            known.counters,
        )
        looks = Looks(
            self._journal,
            self._provider,
            self._clock,
            known,
            around.offer,
            around.make_look,
            self._end,
        )
        ways = Ways(around.offer, self._carry_out, looks.into, around.backfill)
        return Inbox(
            self._journal,
            self._writer,
            self._high_water,
            around.addresses,
            facts,
            self._records,
            known.refused,
            ways,
            self._clock,
        )

    def _carry_out(self, order: Order, counter: int, claims: Claims, deadline: int) -> str:
        """Gives it to its line, behind a gate; the code of a refusal, or ""."""
        case = Case(
            order,
            Found(),
            self._clock.moment(),
            claims.issued_at,
            claims.expires_at,
            deadline,
            claims.epoch,
            self._known,
        )
        around = self._around
        gate = Gate(
            case,
            counter,
            self._clock,
            around.tell,
            self._unrecorded,
            lambda counter: self._end(order, counter),
        )
        job = around.make_job(order, counter, deadline, self._clock, gate)
        if job is None:
            return "no-way"
        self._gates[counter] = gate  # before the line has it: it may end there at once
        if around.offer(order.meter_id, job):
            return ""
        self._forget_gate(counter)
        return "busy"

    def _forget_gate(self, counter: int) -> None:
        self._gates.pop(counter, None)

    def _end(self, order: Order, counter: int) -> None:
        self._forget_gate(counter)
        if order.kind.family == Family.SUPPLY:
            self._around.look_soon(order.meter_id)

    # ---- for people -----------------------------------------------------------------------------

    def figures(self) -> dict[str, Any]:
        """How things stand, for the status and the metrics."""
        known, settings = self._known, self._around.settings()
        standing = known.standing
        left_ms = standing.lease_left_ms()
        return {
            "policy_serial": standing.policy.serial if standing.policy is not None else None,
            "is_attested": standing.is_attested,
            "lease_left_ms": left_ms,
            "allow_cuts": settings["allow_cuts"],
            "cuts_hour": known.ceilings.cuts(HOUR_MS),
            "cuts_hour_max": settings["cuts_per_hour"],
            "cuts_day": known.ceilings.cuts(DAY_MS),
            "cuts_day_max": per_day(settings, len(known.addresses)),
            "open": len(self._gates),
            "refused": known.refused.counts(),
            "unrecorded": self._records.waiting,
            "refused_credentials": known.refused_credentials.names(),
        }

    def listed(self, limit: int) -> list[dict[str, Any]]:
        """The last orders, the latest first."""
        with closing(self._journal.reader()) as reader:
            rows = reader.order_rows(limit)
        found = []
        for row in rows:
            order = order_of(row, self._provider)
            found.append(
                {
                    "counter": row.counter,
                    "order": row.order_id.hex(),
                    "action": order.action,
                    "meter": order.meter_id,
                    "state": row.state,
                    "expires_at": row.expires_at,
                }
            )
        return found

    def unlock(self, meter_id: str) -> list[str]:
        """Somebody looked at the meter: its refused credentials may be tried again; which."""
        names = self._known.refused_credentials.unlock(meter_id)
        if names:
            fields = {"credentials": ", ".join(names)}
            self._records.keep_entry("credential-unlocked", meter_id, fields=fields)
        return names

    # ---- what is kept ---------------------------------------------------------------------------

    def _saved_policy(self, saved: Any) -> Policy | None:
        try:
            return Policy.from_body(self._provider.decode(saved)) if saved else None
        except BusbarError as error:
            log.error("policy_unreadable reason=%r", str(error))
            return None

    def _keep_policy(self, policy: Policy) -> None:
        body = self._provider.encode(policy.to_body())
        self._call(self._journal.set_memo, SCOPE, POLICY_NAME, body)

    def _keep_stops(self, named: dict[str, int], gone: Iterable[str]) -> None:
        memos = [(stops.SCOPE, name, at) for name, at in named.items()]
        self._call(self._journal.append, (), (), (), memos)
        for name in gone:
            self._call(self._journal.clear_memo, stops.SCOPE, name)

    def _keep_credential(self, name: str, mark: str | None) -> None:
        if mark is None:
            self._writer.call(self._journal.clear_memo, credentials.SCOPE, name)
        else:
            self._writer.call(self._journal.set_memo, credentials.SCOPE, name, mark)

    def _call(self, function: Any, *arguments: object) -> Any:
        return self._writer.call(function, *arguments).result(timeout=WRITE_S_MAX)
