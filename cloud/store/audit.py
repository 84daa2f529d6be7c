"""The audit log in the store: entries, the subtree hashes over them, checkpoints.

Append-only: the schema's triggers refuse a change. Somebody with the file can drop them, which is
why whoever verifies hashes the entries again, and does not trust `audit_node`.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_INSERT_ENTRY = "INSERT INTO audit_entry VALUES (?,?,?,?,?)"
_INSERT_NODE = "INSERT INTO audit_node VALUES (?,?,?)"
_INSERT_CHECKPOINT = "INSERT INTO audit_checkpoint VALUES (?,?,?)"
_ADD_COSIGNATURE = "INSERT OR IGNORE INTO audit_cosignature VALUES (?,?,?)"
_SELECT_SIZE = "SELECT coalesce(max(sequence) + 1, 0) FROM audit_entry"
_SELECT_NODE = "SELECT hash FROM audit_node WHERE level = ? AND place = ?"
_SELECT_ENTRIES = """
SELECT sequence, at, kind, subject, body FROM audit_entry WHERE sequence >= ? ORDER BY sequence"""
_SELECT_ENTRIES_OF = """
SELECT sequence, at, kind, subject, body FROM audit_entry WHERE subject = ? ORDER BY sequence"""
_SELECT_NODES = "SELECT level, place, hash FROM audit_node ORDER BY level, place"
_SELECT_CHECKPOINTS = "SELECT size, at, note FROM audit_checkpoint ORDER BY size"
_SELECT_LAST_CHECKPOINT = """
SELECT size, at, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1"""
_SELECT_CHAINS = """
SELECT epoch, sequence, entry, hash FROM gateway_audit JOIN epoch USING (epoch_key)
JOIN gateway USING (gateway_key) WHERE gateway_id = ?
ORDER BY gateway_audit.epoch_key, sequence"""
_SELECT_CHAINS_WITH = """
SELECT epoch, sequence, entry, hash FROM gateway_audit JOIN epoch USING (epoch_key)
JOIN gateway USING (gateway_key) WHERE gateway_id = ? AND instr(entry, ?) > 0
ORDER BY gateway_audit.epoch_key, sequence"""
_SELECT_COSIGNATURES = "SELECT line FROM audit_cosignature WHERE size = ? ORDER BY witness"


class EntryRow(NamedTuple):
    """An entry: `body` is what was hashed, the other columns repeat parts of it for queries."""

    sequence: int
    at: int
    kind: str
    subject: str
    body: str


class CheckpointRow(NamedTuple):
    """A signed promise: the note over `size` entries, made at `at` (UTC ms)."""

    size: int
    at: int
    note: str


class ChainRow(NamedTuple):
    """An entry of a gateway's own chain, and the chain's hash behind it."""

    epoch: bytes
    sequence: int
    entry: bytes
    hash: bytes


class AuditStore:
    """Statements about the log; the caller opens and ends the transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def size(self) -> int:
        """How many entries there are."""
        return int(self._db.execute(_SELECT_SIZE).fetchone()[0])

    def add(self, entry: EntryRow, nodes: Iterable[tuple[int, int, bytes]]) -> None:
        """One more entry, and the subtrees that it makes complete."""
        self._db.execute(_INSERT_ENTRY, entry)
        self._db.executemany(_INSERT_NODE, nodes)

    def node(self, level: int, place: int) -> bytes:
        """The hash of a complete subtree; LookupError where there is none."""
        row = self._db.execute(_SELECT_NODE, (level, place)).fetchone()
        if row is None:
            raise LookupError(f"no subtree {place} of level {level}")
        return bytes(row[0])

    def nodes(self) -> Iterator[tuple[int, int, bytes]]:
        """All that is kept."""
        yield from self._db.execute(_SELECT_NODES)

    def entries(self, first: int = 0) -> Iterator[EntryRow]:
        """From `first` on."""
        for row in self._db.execute(_SELECT_ENTRIES, (first,)):
            yield EntryRow(*row)

    def entries_of(self, subject: str) -> list[EntryRow]:
        """All about one subject."""
        return [EntryRow(*row) for row in self._db.execute(_SELECT_ENTRIES_OF, (subject,))]

    def add_checkpoint(self, row: CheckpointRow) -> None:
        """One more promise."""
        self._db.execute(_INSERT_CHECKPOINT, row)

    def checkpoints(self) -> list[CheckpointRow]:
        """All of them, the smallest first."""
        return [CheckpointRow(*row) for row in self._db.execute(_SELECT_CHECKPOINTS)]

    def last_checkpoint(self) -> CheckpointRow | None:
        """The newest promise."""
        row = self._db.execute(_SELECT_LAST_CHECKPOINT).fetchone()
        return CheckpointRow(*row) if row else None

    def add_cosignature(self, size: int, witness: str, line: str) -> None:
        """That a witness saw the checkpoint of `size`."""
        self._db.execute(_ADD_COSIGNATURE, (size, witness, line))

    def cosignatures(self, size: int) -> list[str]:
        """The lines of the witnesses that saw the checkpoint of `size`."""
        return [line for (line,) in self._db.execute(_SELECT_COSIGNATURES, (size,))]

    def chain(self, gateway_id: str) -> Iterator[ChainRow]:
        """What a gateway has told of itself, epoch by epoch."""
        for row in self._db.execute(_SELECT_CHAINS, (gateway_id,)):
            yield ChainRow(*row)

    def chain_with(self, gateway_id: str, part: bytes) -> Iterator[ChainRow]:
        """The same, of entries that hold these bytes somewhere."""
        for row in self._db.execute(_SELECT_CHAINS_WITH, (gateway_id, part)):
            yield ChainRow(*row)
