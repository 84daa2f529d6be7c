"""The operations of the order desk as the API and the commands ask for them: JSON in, JSON out.

One table names them. Each is one transaction of the service; what it raises as a CallerError is one
sentence for whoever asked, and nothing of it happened.
"""

from collections.abc import Callable
from typing import Any

from cloud.orders.accounts import MAY_BE_OPEN
from cloud.orders.approving import APPROVALS_MAX, Given, bytes_of
from cloud.orders.audit import Fields
from cloud.orders.desk import Desk
from cloud.orders.persons import (
    ACCOUNTANTS,
    APPROVER,
    READERS,
    RELEASERS,
    STOPPERS,
    UNDOERS,
    Person,
)
from cloud.orders.proposals import LABEL_SIZE_MAX, meter_of, text_of
from cloud.orders.showing import hold_json
from cloud.store import sql_orders as sql
from cloud.store.orders import OrderRow
from cloud.store.papers import BatchRow, HoldRow
from protocols.envelope.claims import is_count
from protocols.envelope.fields import TEXT_SIZE_MAX
from protocols.errors import CallerError
from protocols.orders.order import ORDER_ID_SIZE
from protocols.orders.policy import STOPPED_MAX
from protocols.orders.states import UNSENT_STATES, OrderState

LIST_MAX = 500
PREFIX_SIZE_MIN = 4  # hexadecimal digits
Body = dict[str, Any]
Operation = Callable[[Body, Person], Body]
# What an answer goes out as: an order has a field `final` of its own, as each reply has.
_ANSWERED_AS = {
    "order_propose": "order",
    "order_submit": "order",
    "order_approve": "order",
    "order_get": "order",
    "batch_propose": "batch",
    "batch_submit": "batch",
    "batch_change": "batch",
    "batch_approve": "batch",
    "batch_get": "batch",
}


class Operations:
    """Answers requests, in the open transaction."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._office = desk.office
        self._table: dict[str, Operation] = {
            "order_propose": self._propose,
            "order_submit": self._submit,
            "order_approve": self._approve,
            "order_release": self._release,
            "order_cancel": self._cancel,
            "orders_stop": self._stop,
            "hold_set": self._hold_set,
            "hold_release": self._hold_release,
            "hold_get": self._hold_get,
            "undo": self._undo,
            "batch_propose": self._batch_propose,
            "batch_submit": self._batch_submit,
            "batch_change": self._batch_change,
            "batch_approve": self._batch_approve,
            "batch_get": self._batch_get,
            "never_cut_add": self._never_cut_add,
            "never_cut_remove": self._never_cut_remove,
            "never_cut_list": self._never_cut_list,
            "account_changed": self._account_changed,
            "order_get": self._get,
            "orders_list": self._list,
            "alarms_list": self._alarms,
            "audit_cosigned": self._audit_cosigned,
        }

    def names(self) -> tuple[str, ...]:
        """What may be asked for."""
        return tuple(self._table)

    def answer(self, request: Body) -> Body:
        """Do it, in the open transaction. CallerError."""
        person = Person.from_json(request.get("person"))
        return self._table[request["op"]](request, person)

    def reply(self, request: Body) -> Body:
        """The same as it goes out: one line, the last."""
        answer, name = self.answer(request), _ANSWERED_AS.get(request["op"])
        return {**({name: answer} if name else answer), "final": True}

    def _audit_cosigned(self, request: Body, person: Person) -> Body:
        person.check_role(READERS, "keep a witness's signature")
        return self._desk.promises.cosigned(request)

    # ---- one order ------------------------------------------------------------------------------

    def _propose(self, request: Body, person: Person) -> Body:
        row = self._desk.proposals.propose(request, person)
        if request.get("submit") is True and row.state == OrderState.DRAFT:
            row = self._frozen(row, person)
        return self._desk.showing.order(row)

    def _submit(self, request: Body, person: Person) -> Body:
        row = self._row(request)
        if row.batch_id is not None:
            raise CallerError("this order belongs to a batch; submit the batch")
        return self._desk.showing.order(self._frozen(row, person))

    def _frozen(self, row: OrderRow, person: Person) -> OrderRow:
        return self._desk.restoring.go_on(self._desk.freezer.freeze(row, person.party))

    def _approve(self, request: Body, person: Person) -> Body:
        row = self._desk.approving.approve(Given.from_json(request), person)
        if row.batch_id is not None:
            raise CallerError("this order belongs to a batch; approve the batch")
        if row.state == OrderState.APPROVED:
            row = self._desk.signing.sign(row)
        return self._desk.showing.order(row)

    def _release(self, request: Body, person: Person) -> Body:
        reason = text_of(request, "reason", TEXT_SIZE_MAX)
        rows = self._rows(request)
        if "batch" in request:
            rows = [row for row in rows if row.state == OrderState.QUARANTINED]
        person.check_role(RELEASERS, "release")
        done = [self._desk.signing.release(row, person, reason) for row in rows]
        return {"released": [row.order_id.hex() for row in done], "orders": len(done)}

    def _cancel(self, request: Body, person: Person) -> Body:
        reason = text_of(request, "reason", TEXT_SIZE_MAX)
        rows = self._rows(request)
        if any(row.requested_by != person.party for row in rows):
            person.check_role(STOPPERS, "cancel an order of somebody else")
        return self._ended(rows, person, reason)

    def _ended(self, rows: list[OrderRow], person: Person, reason: str) -> Body:
        words = f"{person.party}: {reason}"
        ended = self._desk.stopping.end_all(rows, OrderState.CANCELLED, words, person.party)
        return ended.to_json()

    # ---- stop, hold, undo -----------------------------------------------------------------------

    def _stop(self, request: Body, person: Person) -> Body:
        person.check_role(STOPPERS, "stop orders")
        reason = text_of(request, "reason", TEXT_SIZE_MAX)
        chosen = [name for name in ("orders", "incident", "all_cuts") if request.get(name)]
        if len(chosen) != 1:
            raise CallerError("name exactly one of orders, incident and all_cuts")
        if chosen == ["all_cuts"]:
            if request["all_cuts"] is not True:
                raise CallerError("all_cuts must be true")
            return self._desk.stopping.stop_all_cuts(person.party, reason).to_json()
        if chosen == ["incident"]:
            rows = self._desk.stopping.of_incident(text_of(request, "incident", LABEL_SIZE_MAX))
            if not rows:
                raise CallerError(f"no such incident: no cut belongs to {request['incident']!r}")
        else:
            ids = request["orders"]
            if not isinstance(ids, list) or len(ids) > STOPPED_MAX:
                raise CallerError(f"orders must be a list of at most {STOPPED_MAX} ids")
            rows = [self._row({"order": one}) for one in ids]
        return self._ended(rows, person, reason)

    def _hold_set(self, request: Body, person: Person) -> Body:
        person.check_role(STOPPERS, "hold all cuts")
        return self._set_hold(True, request, person)

    def _hold_release(self, request: Body, person: Person) -> Body:
        person.check_role((APPROVER,), "lift the hold")
        hold = self._office.papers.hold()
        if not hold.is_held:
            raise CallerError("nothing is held")
        if hold.by == person.party:
            raise CallerError("not allowed: whoever set the hold does not lift it")
        return self._set_hold(False, request, person)

    def _set_hold(self, is_held: bool, request: Body, person: Person) -> Body:
        office, now = self._office, self._office.clock.utc_ms()
        reason = text_of(request, "reason", TEXT_SIZE_MAX)
        hold = HoldRow(is_held, now, person.party, reason)
        office.store.begin()
        # Holding goes on without the log; lifting does not.
        fields: Fields = {"held": int(is_held), "by": person.party, "reason": reason}
        office.audit.note("hold", "", fields, may_wait=is_held)
        office.papers.set_hold(hold)
        self._desk.lease.changed()
        return {"hold": hold_json(hold)}

    def _hold_get(self, request: Body, person: Person) -> Body:
        person.check_role(READERS, "read")
        return {"hold": hold_json(self._office.papers.hold())}

    def _undo(self, request: Body, person: Person) -> Body:
        person.check_role(UNDOERS, "undo an incident")
        incident = text_of(request, "incident", LABEL_SIZE_MAX)
        reason = text_of(request, "reason", TEXT_SIZE_MAX)
        cuts = self._desk.stopping.of_incident(incident)
        if not cuts:
            raise CallerError(f"no such incident: no cut belongs to {incident!r}")
        waiting = [row for row in cuts if row.state in UNSENT_STATES]
        words, party = f"undo: {reason}", person.party
        ended = self._desk.stopping.end_all(waiting, OrderState.CANCELLED, words, party)
        # What is being stopped may be sent all the same: it is restored too.
        stopping = set(ended.stopping)
        rows = [row for row in cuts if row.state in MAY_BE_OPEN or row.order_id in stopping]
        label = f"undo {incident}"[:LABEL_SIZE_MAX]
        made = self._desk.restoring.undo(rows, words[:TEXT_SIZE_MAX], label, party)
        times = [row.not_before for row in made if row.not_before is not None]
        return {
            **ended.to_json(),
            "incident": label,
            "restores": len(made),
            "orders": [row.order_id.hex() for row in made],
            "first_at": min(times, default=None),
            "last_at": max(times, default=None),
        }

    # ---- batches --------------------------------------------------------------------------------

    def _batch_propose(self, request: Body, person: Person) -> Body:
        return self._desk.showing.batch(self._desk.batches.propose(request, person))

    def _batch_submit(self, request: Body, person: Person) -> Body:
        batch = self._desk.batches.submit(self._batch(request), person)
        # A batch goes on as a whole: the first of its orders waits for the last.
        for row in self._desk.batches.orders(batch):
            self._desk.restoring.go_on(row)
        for row in self._desk.batches.orders(batch):
            if row.state == OrderState.APPROVED:
                self._desk.signing.sign(row)
        return self._desk.showing.batch(batch)

    def _batch_change(self, request: Body, person: Person) -> Body:
        batch = self._desk.batches.change(self._batch(request), request.get("meters"), person)
        return self._desk.showing.batch(batch)

    def _batch_approve(self, request: Body, person: Person) -> Body:
        batch, rows = self._batch(request), request.get("approvals")
        if not isinstance(rows, list) or not 0 < len(rows) <= APPROVALS_MAX:
            raise CallerError(f"approvals must be a list of 1 to {APPROVALS_MAX}")
        for one in rows:
            row = self._desk.approving.approve(Given.from_json(one), person)
            if row.batch_id != batch.batch_id:
                raise CallerError(f"order {row.order_id.hex()} is not of this batch")
        return self._desk.showing.batch(batch)

    def _batch_get(self, request: Body, person: Person) -> Body:
        person.check_role(READERS, "read")
        text = request.get("batch")
        found = self._office.papers.batches_by_prefix(_prefix(text))
        if len(found) != 1:
            raise CallerError(f"no such batch, or more than one: {text}")
        parameters = (found[0].batch_id, _limit(request), _whole(request, "offset", 0))
        rows = self._office.orders.select(sql.SELECT_PAGE_OF_BATCH, *parameters)
        orders = []
        for row in rows:
            body = row.body.hex() if row.body is not None else None
            approvals = [one.approver for one in self._office.papers.approvals(row.order_id)]
            brief = self._desk.showing.brief(row)
            orders.append({**brief, "body": body, "approvals": approvals})
        shown = self._desk.showing.batch(found[0])
        return {**shown, "tenant": self._office.tenant, "orders": orders}

    # ---- protection and accounts ----------------------------------------------------------------

    def _never_cut_add(self, request: Body, person: Person) -> Body:
        person.check_role(STOPPERS, "protect a meter")
        office, now = self._office, self._office.clock.utc_ms()
        meter_id = meter_of(request)
        review_at = request.get("review_at")
        if review_at is not None and not is_count(review_at):
            raise CallerError("review_at must be UTC ms")
        flag = request.get("flag")
        note = text_of(request, "note", TEXT_SIZE_MAX, is_needed=False)
        office.store.begin()
        fields: Fields = {"flag": str(flag)[:LABEL_SIZE_MAX], "by": person.party}
        office.audit.note("never-cut-added", meter_id, fields)
        entry = office.never_cut.add(meter_id, str(flag), note, person.party, now, review_at)
        rows = [
            row for row in office.orders.select(sql.SELECT_UNSENT_CUTS) if row.meter_id == meter_id
        ]
        reason = f"protected: {flag}"
        self._desk.stopping.end_all(rows, OrderState.CANCELLED, reason, person.party)
        self._desk.lease.changed()
        return {"entry": entry.to_json(now)}

    def _never_cut_remove(self, request: Body, person: Person) -> Body:
        person.check_role(RELEASERS, "remove from the never-cut list")
        office, now = self._office, self._office.clock.utc_ms()
        key = _whole(request, "entry", None)
        reason = text_of(request, "reason", TEXT_SIZE_MAX)
        office.store.begin()
        fields: Fields = {"entry": key, "by": person.party, "reason": reason}
        office.audit.note("never-cut-removal", str(key), fields, may_wait=False)
        entry = office.never_cut.remove(key, person.party, now, reason)
        if entry.is_removed:
            self._desk.lease.changed()
        return {"entry": entry.to_json(now)}

    def _never_cut_list(self, request: Body, person: Person) -> Body:
        person.check_role(READERS, "read")
        meter_id = meter_of(request) if "meter" in request else None
        entries = self._office.never_cut.entries(meter_id)
        shown = [one for one in entries if request.get("all") is True or not one.is_removed]
        now = self._office.clock.utc_ms()
        return {"entries": [one.to_json(now) for one in shown]}

    def _account_changed(self, request: Body, person: Person) -> Body:
        person.check_role(ACCOUNTANTS, "tell of a change of an account")
        ended, restore = self._desk.accounts.change(
            meter_of(request),
            str(request.get("change")),
            text_of(request, "reference", LABEL_SIZE_MAX),
            text_of(request, "note", TEXT_SIZE_MAX, is_needed=False),
            person.party,
        )
        return {**ended.to_json(), "restore": restore.order_id.hex() if restore else ""}

    # ---- reading --------------------------------------------------------------------------------

    def _get(self, request: Body, person: Person) -> Body:
        person.check_role(READERS, "read")
        text = request.get("order")
        found = self._office.orders.select(sql.SELECT_BY_PREFIX, _prefix(text))
        if len(found) != 1:
            raise CallerError(f"no such order, or more than one: {text}")
        return self._desk.showing.story(found[0])

    def _list(self, request: Body, person: Person) -> Body:
        person.check_role(READERS, "read")
        names = ("state", "meter", "gateway", "batch", "incident", "action")
        wanted: list[Any] = [request.get(name) for name in names]
        if not all(one is None or isinstance(one, str) for one in wanted):
            raise CallerError(f"{', '.join(names)} must be texts")
        if wanted[3] is not None:
            wanted[3] = bytes_of(request, "batch", ORDER_ID_SIZE)
        before = request.get("before")
        if before is not None and not is_count(before):
            raise CallerError("before must be UTC ms")
        rows = self._office.orders.select(sql.SELECT_LIST, *wanted, before, _limit(request))
        return {"orders": [self._desk.showing.brief(row) for row in rows]}

    def _alarms(self, request: Body, person: Person) -> Body:
        person.check_role(READERS, "read")
        parameters = (_whole(request, "since", 0), _limit(request))
        names = ("at", "kind", "severity", "subject", "gateway", "order", "detail")
        alarms = []
        for row in self._office.orders.db.execute(sql.SELECT_ALARMS, parameters):
            alarm = dict(zip(names, row, strict=True))
            alarm["order"] = alarm["order"].hex() if alarm["order"] else ""
            alarms.append(alarm)
        return {"alarms": alarms}

    # ---- what is named --------------------------------------------------------------------------

    def _row(self, request: Body) -> OrderRow:
        return self._office.order(bytes_of(request, "order", ORDER_ID_SIZE))

    def _rows(self, request: Body) -> list[OrderRow]:
        if ("order" in request) == ("batch" in request):
            raise CallerError("name either an order or a batch")
        if "order" in request:
            return [self._row(request)]
        return self._desk.batches.orders(self._batch(request))

    def _batch(self, request: Body) -> BatchRow:
        return self._desk.batches.find(bytes_of(request, "batch", ORDER_ID_SIZE))


def _prefix(value: object) -> str:
    digits = "0123456789abcdef"
    text = value.lower() if isinstance(value, str) else ""
    if len(text) < PREFIX_SIZE_MIN or not set(text) <= set(digits):
        raise CallerError(f"an id is named by {PREFIX_SIZE_MIN} hexadecimal digits or more")
    return text


def _whole(request: Body, name: str, default: int | None) -> int:
    value = request.get(name, default)
    if not isinstance(value, int) or not is_count(value):
        raise CallerError(f"{name} must be a whole number")
    return value


def _limit(request: Body) -> int:
    limit = _whole(request, "limit", LIST_MAX)
    if not 0 < limit <= LIST_MAX:
        raise CallerError(f"limit must be 1 to {LIST_MAX}")
    return limit
