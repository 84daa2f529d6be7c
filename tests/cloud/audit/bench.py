"""A log in a database in memory."""

import sqlite3

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.audit import note
from cloud.audit.log import AuditLog, Checkpoints
from cloud.audit.verify import Verdict, verify
from cloud.store.audit import AuditStore

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = note.verifier_of("busbar/t1", KEY)
SCHEMA = """
CREATE TABLE audit_entry (sequence INTEGER PRIMARY KEY, at INTEGER, kind TEXT, subject TEXT, body);
CREATE TABLE audit_node (level INTEGER, place INTEGER, hash BLOB, PRIMARY KEY (level, place));
CREATE TABLE audit_checkpoint (size INTEGER PRIMARY KEY, at INTEGER, note TEXT);
CREATE TABLE audit_cosignature (size INTEGER, witness TEXT, line TEXT, PRIMARY KEY (size, witness));
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000_000

    def utc_ms(self) -> int:
        self.now += 1
        return self.now

    monotonic_ms = utc_ms


class Bench:
    def __init__(self, entries: int) -> None:
        self.db = sqlite3.connect(":memory:")
        self.db.executescript(SCHEMA)
        self.store = AuditStore(self.db)
        self.log = AuditLog(self.store, Clock())
        self.checkpoints = Checkpoints(self.store, Clock(), "t1", KEY)
        for n in range(entries):
            self.log.append("order", f"order-{n % 3}", {"state": "queued", "n": n})

    def verify(self, *outside: str) -> Verdict:
        return verify(self.store, LOG, outside)
