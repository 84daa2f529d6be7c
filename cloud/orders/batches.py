"""Batches: many orders of one kind, approved one by one, over a selection that is frozen by hash.

* A selection names meters, or one gateway with all that it announces. Nothing, a wildcard and what
  is too broad are errors (I25): an empty selector selects nothing.
* Count, sample and total load are there before anybody approves.
* The hash of the selection is a frozen term of every order, so the orders of another selection are
  other orders: whoever changes it makes a new batch, and the approvals of the old one fit nothing.
"""

import hashlib
import json
import secrets
from decimal import Decimal
from functools import lru_cache
from typing import Any

from cloud.orders.audit import Fields
from cloud.orders.freezing import Freezer
from cloud.orders.office import Office
from cloud.orders.persons import Person
from cloud.orders.proposals import (
    Proposals,
    Wanted,
    check_meter,
    content_of,
    gateway_of,
)
from cloud.orders.stopping import Stopping
from cloud.store import sql_orders as sql
from cloud.store.orders import OrderRow
from cloud.store.papers import BatchRow, PaperStore
from protocols.errors import CallerError
from protocols.orders.kinds import ORDER_KINDS
from protocols.orders.order import ORDER_ID_SIZE
from protocols.orders.states import OrderState

METERS_MAX = 2000  # of one batch
SAMPLE_SIZE = 10
SETS_LOOKED_BACK = 20  # reading sets of a meter, for its latest power
DRAFT, SUBMITTED, VOID = "draft", "submitted", "void"
POWER_CODES = ("1-0:16.7.0*255", "1-0:1.7.0*255")  # active power: sum, import


def selection_hash(meters: list[str]) -> bytes:
    """SHA-256 of a sorted selection, as ASCII JSON: approvers' machines make it again."""
    return hashlib.sha256(json.dumps(meters).encode()).digest()


def is_of_batch(papers: PaperStore, row: OrderRow) -> bool:
    """Whether an order stands alone, or its meter is in the frozen selection of its batch."""
    if row.batch_id is None:
        return True
    batch = papers.batch(row.batch_id)
    if batch is None or batch.state != SUBMITTED:
        return False
    return row.meter_id in _selected(batch.meters, batch.selection)


@lru_cache(maxsize=16)
def _selected(meters: str, selection: bytes) -> frozenset[str]:
    """The meters of a frozen selection; none when they are not those of its hash."""
    found: list[str] = json.loads(meters)
    return frozenset(found) if selection_hash(found) == selection else frozenset()


class Batches:
    """Makes and freezes batches, in the open transaction."""

    def __init__(
        self, office: Office, proposals: Proposals, freezer: Freezer, stopping: Stopping
    ) -> None:
        self._office = office
        self._proposals = proposals
        self._freezer = freezer
        self._stopping = stopping

    def propose(self, request: dict[str, Any], person: Person) -> BatchRow:
        """A draft with all its orders, or what this key made before. CallerError."""
        wanted = Wanted.from_json(request)
        meters, gateway_id = self._selection(request)
        content = content_of("batch", wanted, [gateway_id, *meters])
        known = self._proposals.known(person.party, wanted, content)
        if known is not None:
            return self.find(known)
        person.check_kind(wanted.kind)
        self._proposals.check_approvers(wanted.kind, person.party)
        batch = self._make(wanted, meters, gateway_id, person)
        self._proposals.keep_key(person.party, wanted, content, batch.batch_id)
        return batch

    def _make(self, wanted: Wanted, meters: list[str], gateway_id: str, person: Person) -> BatchRow:
        office = self._office
        load_w, known = self._load(meters)
        batch = BatchRow(
            secrets.token_bytes(ORDER_ID_SIZE),
            wanted.kind.action,
            person.party,
            wanted.reason,
            wanted.incident,
            office.clock.utc_ms(),
            DRAFT,
            selection_hash(meters),
            json.dumps(meters),
            load_w,
            known,
        )
        office.store.begin()
        fields: Fields = {"count": len(meters), "selection": batch.selection, "by": person.party}
        office.audit.note("batch-draft", batch.batch_id.hex(), fields, may_wait=False)
        office.papers.add_batch(batch)
        for meter_id in meters:
            row = self._proposals.draft(wanted, meter_id, gateway_id, person.party, batch.batch_id)
            person.check_area(row.area)
        return batch

    def submit(self, batch: BatchRow, person: Person) -> BatchRow:
        """Freezes every order of a draft. CallerError."""
        office = self._office
        if batch.state != DRAFT:
            raise CallerError(f"batch {batch.batch_id.hex()} is {batch.state}, no draft")
        office.store.begin()
        fields: Fields = {"selection": batch.selection, "by": person.party}
        office.audit.note("batch-submitted", batch.batch_id.hex(), fields, may_wait=False)
        rows = self.orders(batch)
        if [row.meter_id for row in rows] != batch.meter_ids():
            raise CallerError("the orders of this batch are not those of its selection")
        for row in rows:
            self._freezer.freeze(row, person.party, batch.selection)
        return office.papers.move_batch(batch, SUBMITTED)

    def change(self, batch: BatchRow, meters: object, person: Person) -> BatchRow:
        """A new draft with another selection; the old batch is void, with every approval of it.
        CallerError when one of its orders went on already."""
        office = self._office
        if batch.requested_by != person.party:
            raise CallerError(f"not allowed: only {batch.requested_by} may change this batch")
        rows = self.orders(batch)
        waiting = (OrderState.DRAFT, OrderState.SUBMITTED, OrderState.APPROVED)
        if batch.state == VOID or any(
            row.state not in (*waiting, OrderState.QUARANTINED, OrderState.CANCELLED)
            for row in rows
        ):
            raise CallerError("the batch is void or on its way; cancel it instead")
        first = rows[0]
        arguments = office.provider.decode(first.arguments)
        assert isinstance(arguments, list)  # noqa: S101 -- we wrote it
        wanted = Wanted(
            ORDER_KINDS[batch.action],
            tuple(arguments),
            batch.reason,
            batch.incident,
            first.valid_from,
            first.valid_until,
            first.life_ms,
            first.assurance,
            "",
        )
        chosen = checked_selection(meters)
        self._stopping.end_all(
            [row for row in rows if row.state != OrderState.CANCELLED],
            OrderState.CANCELLED,
            "the selection of its batch was changed",
            person.party,
        )
        office.papers.move_batch(batch, VOID)
        return self._make(wanted, chosen, "", person)

    def find(self, batch_id: bytes) -> BatchRow:
        """CallerError when there is none."""
        batch = self._office.papers.batch(batch_id)
        if batch is None:
            raise CallerError(f"no such batch: {batch_id.hex()}")
        return batch

    def orders(self, batch: BatchRow) -> list[OrderRow]:
        """All of them, by meter."""
        return sorted(
            self._office.orders.select(sql.SELECT_ORDERS_OF_BATCH, batch.batch_id),
            key=lambda row: row.meter_id,
        )

    def _selection(self, request: dict[str, Any]) -> tuple[list[str], str]:
        gateway_id = gateway_of(request)
        if ("meters" in request) == bool(gateway_id):
            raise CallerError("name either meters or one gateway; nothing selects nothing")
        if not gateway_id:
            return checked_selection(request["meters"]), ""
        db = self._office.orders.db
        rows = db.execute(sql.SELECT_METERS_OF_GATEWAY, (gateway_id,)).fetchall()
        return checked_selection([meter for (meter,) in rows]), gateway_id

    def _load(self, meters: list[str]) -> tuple[int, int]:
        """(sum of the latest known powers in W, of how many meters)."""
        powers = [power for power in map(self._power_w, meters) if power is not None]
        return int(sum(powers)), len(powers)

    def _power_w(self, meter_id: str) -> Decimal | None:
        parameters = (meter_id, SETS_LOOKED_BACK)
        for content, values in self._office.orders.db.execute(sql.SELECT_LATEST_VALUES, parameters):
            row = dict(
                zip((one[0] for one in json.loads(content)), json.loads(values), strict=True)
            )
            terms = {one[0]: one for one in json.loads(content)}
            for code in POWER_CODES:
                if isinstance(row.get(code), int) and terms[code][2] == "W":
                    return Decimal(row[code]).scaleb(terms[code][1])
        return None


def checked_selection(meters: object) -> list[str]:
    """Sorted, each once; CallerError for none, a wildcard, or too many (I25)."""
    if not isinstance(meters, list) or not meters:
        raise CallerError("the selection is empty; an empty selection selects nothing")
    found = sorted({check_meter(one) for one in meters})
    if len(found) > METERS_MAX:
        raise CallerError(f"the selection has {len(found)} meters; at most {METERS_MAX}")
    if len(found) != len(meters):
        raise CallerError("the selection names a meter twice")
    return found
