"""The gateways' audit chains: stored as they come, checked against what is stored.

* Entries are taken in their sequence only: what leaves a hole is not stored, and the gateway sends
  it again from where the head end stands.
* An entry that is stored never changes. One that comes again with other content, or that does not
  continue the chain, is a break: the whole message is kept as evidence, and it is told.
* After a break the chain goes on from what the gateway says, marked as such: a gateway whose audit
  can not be stored would refuse every cut, and the evidence of what it did then would be lost.
"""

import sqlite3
from typing import NamedTuple

from cloud.store import sql_orders as sql
from cloud.store.rows import EpochRow
from protocols.audit.chain import AuditBatch, check_chain, first_hash
from protocols.envelope.provider import CryptoProvider
from protocols.errors import EnvelopeError


class ChainTaken(NamedTuple):
    """What became of a message: how many entries are new, why the chain is broken ("" when it is
    not, or when it was told before), and the hash of the last entry that is new."""

    stored: int
    broken: str
    hash: bytes = b""


class ChainStore:
    """Statements about the chains; the caller opens and ends the transaction."""

    def __init__(self, db: sqlite3.Connection, provider: CryptoProvider, tenant: str) -> None:
        self._db = db
        self._provider = provider
        self._tenant = tenant

    def add(
        self, gateway_id: str, epoch: EpochRow, batch: AuditBatch, body: bytes, now: int
    ) -> ChainTaken:
        """Store what is new; changes `epoch.audit`. EnvelopeError for what is no chain in
        itself."""
        rows = check_chain(self._provider, batch)
        if batch.first > epoch.audit + 1:
            return ChainTaken(0, "")
        why = self._why_broken(gateway_id, epoch, batch)
        break_key, is_new = None, False
        if why:
            break_key, is_new = self._keep(epoch, batch, why, body, now)
        count, last = 0, b""
        for data, (entry, hashed) in zip(batch.entries, rows, strict=True):
            if entry.sequence > epoch.audit:
                parameters = (epoch.epoch_key, entry.sequence, data, hashed, now, break_key)
                self._db.execute(sql.INSERT_GATEWAY_AUDIT, parameters)
                epoch.audit, last = entry.sequence, hashed
                count += 1
        return ChainTaken(count, why if is_new else "", last)

    def _why_broken(self, gateway_id: str, epoch: EpochRow, batch: AuditBatch) -> str:
        before = batch.first - 1
        if before == 0:
            expected = first_hash(self._tenant, gateway_id, epoch.epoch)
        else:
            expected = self._stored(epoch, before)[1]
        if batch.previous != expected:
            return f"entry {batch.first} does not follow what is stored"
        for place, data in enumerate(batch.entries[: epoch.audit - before]):
            if self._stored(epoch, batch.first + place)[0] != data:
                return f"entry {batch.first + place} came again with other content"
        return ""

    def _stored(self, epoch: EpochRow, sequence: int) -> tuple[bytes, bytes]:
        parameters = (epoch.epoch_key, sequence)
        found = self._db.execute(sql.SELECT_GATEWAY_AUDIT, parameters).fetchone()
        if found is None:
            raise EnvelopeError("audit_gap", f"entry {sequence} is not stored")
        return found[0], found[1]

    def _keep(
        self, epoch: EpochRow, batch: AuditBatch, why: str, body: bytes, now: int
    ) -> tuple[int, bool]:
        """(the break's key, whether it is new)."""
        parameters = (epoch.epoch_key, batch.first, body)
        known = self._db.execute(sql.SELECT_AUDIT_BREAK, parameters).fetchone()
        if known is not None:
            return int(known[0]), False
        row = (epoch.epoch_key, now, batch.first, why, body)
        key = self._db.execute(sql.INSERT_AUDIT_BREAK, row).lastrowid
        assert key is not None  # noqa: S101 -- an INSERT has one
        return key, True
