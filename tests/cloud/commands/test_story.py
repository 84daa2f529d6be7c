"""`order show`: the whole story of one order from records alone, the same through both doors."""

import json
from pathlib import Path

import pytest

from cloud.__main__ import main
from protocols.audit.chain import AuditBatch, Entry, entry_bytes, first_hash
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.commands import Relay
from protocols.dlt645.credentials import Credentials
from protocols.dlt645.frame import Frame
from protocols.dlt645.relay import RelayAction, RelayTerms
from protocols.dlt645.requests import request
from protocols.messages import AUDIT
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading
from tests.cloud.api.served import Served
from tests.cloud.commands.conftest import Person
from tests.cloud.console import Console
from tests.cloud.orders.headend import ANNA, MINUTE, MONDAY_10, Body, HeadEnd
from tests.cloud.world import PROVIDER, TENANT

ADDRESS = "202611000001"
TERMS = RelayTerms((RelayAction.DISCONNECT,), (2,), False)
UNTIL = MeterTime(2025, 11, 24, 10, 15, 0)
CUT = Relay(RelayAction.DISCONNECT, UNTIL, Credentials(2, "123456", "87654321"), 0)
YES = Frame(ADDRESS, 0x9C, b"").to_bytes()
PASSWORD_ON_WIRE = "896745"  # 563412, each byte and 33
FACTS = (("relay before", "connected"), ("relay after", "disconnected"), ("records", "+1"))


def masked() -> bytes:
    """The request as the gateway tells it: password and sum blanked."""
    wire = request(ADDRESS, CUT, terms=TERMS).to_bytes(4)
    assert wire.hex().count(PASSWORD_ON_WIRE) == 1
    wire = bytes.fromhex(wire.hex().replace(PASSWORD_ON_WIRE, "000000"))
    return wire[:-2] + b"\x00" + wire[-1:]


@pytest.fixture
def head(tmp_path: Path) -> HeadEnd:
    return HeadEnd(tmp_path, meters=1)


@pytest.fixture
def order(head: HeadEnd) -> str:
    """A cut that its gateway has carried out, told of and logged itself; its id."""
    shown = head.cut(incident="november")
    head.dispatch()
    ((claims, order),) = head.orders_heard()
    head.puback()
    head.wait(MINUTE)
    head.tell(order, claims.sequence, "verified", "prechecked", "armed", "sent", "acked")
    reading = Reading(Obis.from_text("1-0:1.8.0"), Quantity(26, 1, "Wh", Kind.CUMULATIVE))
    evidence = ((">", 0, masked()), ("<", 41, YES))
    told = {"facts": FACTS, "readings": (reading,), "evidence": evidence}
    told |= {"reason": "opened", "at": head.now - 4_000}  # its clock is behind
    assert head.say(head.gateway.receipt(order, claims.sequence, "confirmed", **told)) == ""
    kinds = (("start", b""), ("order-sent", order.order_id), ("order-confirmed", order.order_id))
    kinds += (("order-superseded", bytes(16)),)  # another one, whose entry names this one
    entries = tuple(
        entry_bytes(PROVIDER, Entry(n, head.now, 3, kind, "m0001", about, {"by": order.order_id}))
        for n, (kind, about) in enumerate(kinds, 1)
    )
    batch = AuditBatch(1, first_hash(TENANT, "gw1", head.gateway.epoch), entries)
    assert head.say(head.gateway.seal(AUDIT, batch.to_body())) == ""
    found: str = shown["order"]
    return found


def test_the_story_from_the_records(
    head: HeadEnd, order: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who and why, what for how long, who agreed and when, each state with both times, facts,
    read-backs, frames in hex and in words, and where the logs tell of it."""
    text = Console(head.world, capsys)("order", "show", order[:8].upper())
    row, digest = head.row(order), head.row(order).digest
    assert digest is not None and row.counter > 0
    for part in (
        f"order     {order}",
        f"action    disconnect of meter m0001 ({ADDRESS}) at gw1",
        "asked     by person:olga at 2025-11-24T02:00:00.000Z",
        "because   unpaid since May",
        "incident  november",
        "window    2025-11-24T02:00:00.000Z to 2025-11-25T02:00:00.000Z; it lives 900 s",
        "holds     from 2025-11-24T02:00:00.000Z to 2025-11-24T02:15:00.000Z",
        f"counters  of the meter {row.meter_counter}, of the message {row.counter}",
        f"frozen    at 2025-11-24T02:00:00.000Z, {digest.hex()}",
        "approved  2 of 2: person:anna, person:ben",
        "person:ben at 2025-11-24T02:00:00.000Z",
        "state     confirmed",
        "receipt   confirmed at 2025-11-24T02:00:56.000Z (the gateway's clock: signed)",
        "signed), here at 2025-11-24T02:01:00.000Z",
        "2025-11-24T02:01:00.000Z  confirmed   2025-11-24T02:00:56.000Z  opened",
        "relay after: disconnected",
        "active energy import",
        f">      0 ms  {masked().hex(' ')}",
        f"{ADDRESS}: relay control, disconnect, until 2025-11-24 10:15:00 on the meter's clock",
        "on the meter's clock, operator 87654321, its password left out",
        f"<     41 ms  {YES.hex(' ')}",
        f"{ADDRESS}: relay control, accepted",
        "audit     entries 2-3 of the gateway's chain",
        "order-sealed",
    ):
        assert part in text, (part, text)
    states = [line.split()[1] for line in text.split("reason\n")[1].split("\n\n")[0].splitlines()]
    assert states == [
        "draft", "submitted", "approved", "signed", "queued", "published",
        "verified", "prechecked", "armed", "sent", "acked", "confirmed",
    ]  # fmt: skip
    assert text.count("2025-11-24T02:01:00.000Z") > 6 and "123456" not in text


def test_both_doors_tell_the_same(
    head: HeadEnd,
    order: str,
    served: Served,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Over the API as from the database here; as JSON too."""
    reply: Body = head.operations.reply({"op": "order_get", "person": ANNA, "order": order})
    served.answer = lambda _body: reply
    here, there = Console(head.world, capsys), Person(served, "viewer", capsys)
    assert there("order", "show", order) == here("order", "show", order)
    told = json.loads(here("order", "show", order, "--json"))
    assert json.loads(there("order", "show", order, "--json")) == {**told, "waits": ""}
    logged = [(one["sequence"], one["kind"]) for one in told["story"]["audit"]]
    rows = head.db.execute(
        "SELECT sequence, kind FROM audit_entry WHERE subject = ? ORDER BY sequence", (order,)
    )
    assert logged == rows.fetchall() and len(logged) > 12
    assert [one["kind"] for one in told["story"]["gateway_audit"]] == [
        "order-sent", "order-confirmed",
    ]  # fmt: skip


def test_a_story_that_has_just_begun(head: HeadEnd, capsys: pytest.CaptureFixture[str]) -> None:
    """A draft: no counter, no digest, nothing of a gateway; and no wrong words in their place."""
    draft = head.propose(submit=False)["order"]
    console = Console(head.world, capsys)
    text = console("order", "show", draft)
    assert "state     draft" in text and "approved  0 of 2: -" in text
    for name in ("counters", "frozen", "holds", "receipt", "gateway's chain"):
        assert f"\n{name}" not in text
    (row,) = json.loads(console("order", "list", "--json"))
    assert (row["counter"], row["state"]) == (None, "draft")
    assert head.now == MONDAY_10 and main(["order", "show", "%", "--config", "x"]) == 2
