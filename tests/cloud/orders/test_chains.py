"""The gateways' audit chains: stored in their sequence, acknowledged after the commit, and a break
is told and kept."""

import sqlite3

import pytest

from protocols.audit.chain import AuditBatch, Entry, entry_bytes, first_hash, next_hash
from protocols.messages import ACK, AUDIT
from tests.cloud.orders.conftest import Maker
from tests.cloud.orders.headend import HeadEnd
from tests.cloud.world import NOW, PROVIDER, TENANT


class Chain:
    """What a gateway writes."""

    def __init__(self, head: HeadEnd) -> None:
        self.head = head
        self.entries: list[bytes] = []
        self.hashes = [first_hash(TENANT, "gw1", head.gateway.epoch)]

    def write(self, count: int, detail: str = "") -> None:
        for _ in range(count):
            sequence = len(self.entries) + 1
            fields = {"detail": detail or f"n{sequence}"}
            entry = Entry(sequence, NOW, 3, "order-sent", "m0001", b"", fields)
            self.entries.append(entry_bytes(PROVIDER, entry))
            self.hashes.append(next_hash(self.hashes[-1], self.entries[-1]))

    def batch(self, first: int, last: int) -> AuditBatch:
        return AuditBatch(first, self.hashes[first - 1], tuple(self.entries[first - 1 : last]))

    def send(self, first: int, last: int, **changes: object) -> tuple[str, int]:
        """(refusal, what the acknowledgement says of the chain)."""
        batch = self.batch(first, last)._replace(**changes)
        word = self.head.say(self.head.gateway.seal(AUDIT, batch.to_body()))
        messages = [one for suffix, one in self.head.heard() if suffix == ACK.suffix]
        return word, self.head.gateway.open_ack(messages[-1])[1].audit if messages else -1


@pytest.fixture
def chain(head: HeadEnd) -> Chain:
    return Chain(head)


def stored(head: HeadEnd) -> list[tuple]:
    rows = head.db.execute("SELECT sequence, entry, break_key FROM gateway_audit ORDER BY sequence")
    return rows.fetchall()


def test_a_chain_is_stored_and_acknowledged(chain: Chain) -> None:
    """As bytes, in sequence; what comes again is acknowledged again."""
    chain.write(5)
    assert chain.send(1, 3) == ("", 3)
    assert chain.send(2, 5) == ("", 5)
    assert chain.send(1, 5) == ("", 5)
    rows = stored(chain.head)
    assert [row[1] for row in rows] == chain.entries and {row[2] for row in rows} == {None}
    hashes = chain.head.db.execute("SELECT hash FROM gateway_audit WHERE sequence = 5")
    assert hashes.fetchone() == (chain.hashes[5],) and chain.head.alarms() == []


def test_a_hole_is_not_stored(chain: Chain) -> None:
    """The gateway sends it again from where we stand; over a restart too."""
    chain.write(6)
    assert chain.send(4, 6) == ("", 0)
    assert chain.send(1, 2) == ("", 2)
    chain.head.restart()
    assert chain.send(5, 6) == ("", 2)
    assert chain.send(3, 6) == ("", 6)
    assert chain.head.alarms() == []


def test_t22_a_rewritten_chain_is_a_break(chain: Chain) -> None:
    """An entry with other content: the alarm once, the evidence kept, what is stored stays."""
    chain.write(4)
    chain.send(1, 4)
    honest = list(chain.entries)
    chain.entries, chain.hashes = [], chain.hashes[:1]
    chain.write(2)
    chain.write(4, "it was not me")
    assert chain.send(1, 6) == ("", 6)
    assert chain.send(1, 6) == ("", 6)
    rows = stored(chain.head)
    assert [row[1] for row in rows[:4]] == honest
    assert [row[2] for row in rows] == [None] * 4 + [1] * 2
    assert chain.head.alarms() == ["audit-broken"] and "audit-broken" in chain.head.audit()
    (body,) = chain.head.db.execute("SELECT reason FROM audit_break").fetchone()
    assert body == "entry 3 came again with other content"


@pytest.mark.parametrize("place", [1, 3])
def test_t22_a_chain_that_does_not_follow_is_a_break(chain: Chain, place: int) -> None:
    """The hash before it is not ours: entries were taken out, or it is another gateway's."""
    chain.write(4)
    if place > 1:
        chain.send(1, place - 1)
    assert chain.send(place, 4, previous=b"\x01" * 32) == ("", 4)
    assert chain.head.alarms() == ["audit-broken"]
    (reason,) = chain.head.db.execute("SELECT reason FROM audit_break").fetchone()
    assert reason == f"entry {place} does not follow what is stored"


def test_what_is_no_chain_is_refused(chain: Chain) -> None:
    """A sequence left out in one message: nothing of it is stored."""
    chain.write(4)
    entries = (chain.entries[0], chain.entries[2])
    assert chain.send(1, 2, entries=entries)[0] == "audit_gap"
    assert chain.send(1, 2, entries=(b"\x00",))[0] == "schema"
    assert stored(chain.head) == [] and chain.head.alarms() == []


def test_another_epoch_is_another_chain(make: Maker) -> None:
    """A new card begins at 1 again."""
    head = make()
    chain = Chain(head)
    chain.write(2)
    chain.send(1, 2)
    head.gateway.epoch = bytes(8)
    fresh = Chain(head)
    fresh.write(1)
    assert fresh.send(1, 1) == ("", 1)
    assert len(stored(head)) == 3 and head.alarms() == []


def test_stored_entries_are_fixed(chain: Chain) -> None:
    """Nobody edits them through us."""
    chain.write(1)
    chain.send(1, 1)
    for statement in ("DELETE FROM gateway_audit", "UPDATE gateway_audit SET entry = x'00'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            chain.head.db.execute(statement)
