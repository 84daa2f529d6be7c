"""The log: an entry for every transition and refusal, in the transaction of what it tells.

* An entry precedes its effect: whoever acts appends first, in the transaction whose commit lets the
  effect out. What can not be appended raises, and the effect does not happen.
* An entry is canonical JSON, so that a program in any language hashes the same bytes again.
* A checkpoint promises all entries up to a size under the log's key.
"""

import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.audit import note, tree
from cloud.audit.note import Checkpoint
from cloud.clock import Clock
from cloud.store.audit import AuditStore, CheckpointRow, EntryRow

ORIGIN_PREFIX = "busbar/"  # a log's name is this and its tenant


def entry_text(sequence: int, at: int, kind: str, subject: str, fields: Mapping[str, Any]) -> str:
    """The bytes (ASCII) of an entry: one JSON object, names sorted, no spaces."""
    entry = {
        "sequence": sequence,
        "at": at,
        "kind": kind,
        "subject": subject,
        "fields": dict(fields),
    }
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False)


class AuditLog:
    """Appends to the log, in the transaction that the caller has open."""

    def __init__(self, store: AuditStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def append(self, kind: str, subject: str, fields: Mapping[str, Any]) -> int:
        """The sequence of the new entry about `subject` (an order's id in hex, a gateway, a
        person); sqlite3.Error when it can not be written."""
        sequence, at = self._store.size(), self._clock.utc_ms()
        body = entry_text(sequence, at, kind, subject, fields)
        leaf = tree.leaf_hash(body.encode())
        nodes = list(tree.completed(sequence, leaf, self._store.node))
        self._store.add(EntryRow(sequence, at, kind, subject, body), nodes)
        return sequence


class Checkpoints:
    """Signs what the log holds."""

    def __init__(
        self, store: AuditStore, clock: Clock, tenant: str, key: Ed25519PrivateKey
    ) -> None:
        self._store = store
        self._clock = clock
        self._origin = ORIGIN_PREFIX + tenant
        self._key = key

    def make(self) -> str:
        """A note over all entries, in the caller's transaction; "" when the last one has them
        all."""
        size = self._store.size()
        last = self._store.last_checkpoint()
        if not size or (last is not None and last.size == size):
            return ""
        checkpoint = Checkpoint(self._origin, size, tree.root(size, self._store.node))
        signed = note.sign(checkpoint.text(), self._origin, self._key)
        self._store.add_checkpoint(CheckpointRow(size, self._clock.utc_ms(), signed))
        return signed
