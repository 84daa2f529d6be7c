"""Whether a log is what it promised: every entry is hashed again, every root made again.

Told is the first thing that is wrong, with the index of the first entry concerned. What a witness
signed binds even whoever has the log's key: pass its checkpoint, which somebody else has kept.
"""

from collections.abc import Sequence
from typing import NamedTuple

from cloud.audit import note, tree
from cloud.audit.log import entry_text
from cloud.audit.note import Checkpoint, NoteError, Verifier
from cloud.store.audit import AuditStore, CheckpointRow, EntryRow
from protocols.errors import CallerError


class Finding(NamedTuple):
    """What is wrong first: the index of the first entry concerned, and words."""

    at_entry: int
    words: str


class Verdict(NamedTuple):
    """What was looked at, and what is wrong (None: nothing)."""

    entries: int
    checkpoints: int
    root: bytes
    finding: Finding | None


def verify(store: AuditStore, log: Verifier, outside: Sequence[str] = ()) -> Verdict:
    """Judges the whole log by its own checkpoints and by notes that were kept `outside`."""
    kept = list(store.checkpoints())
    kept += [CheckpointRow(_opened(one, log).size, 0, one) for one in outside]
    kept.sort(key=lambda row: row.size)
    hashes: dict[tuple[int, int], bytes] = {}
    size, found = 0, None
    waiting = list(kept)
    for row in store.entries():
        found = _judge_entry(row, size, hashes, store)
        if found is None:
            size += 1
            while waiting and waiting[0].size <= size and found is None:
                found = _judge_checkpoint(waiting.pop(0), hashes, log)
        if found is not None:
            break
    if found is None and waiting:
        found = Finding(
            size, f"entry {size} and later are missing: {waiting[0].size} were promised"
        )
    return Verdict(size, len(kept) - len(waiting), _root(size, hashes), found)


def _judge_entry(
    row: EntryRow, index: int, hashes: dict[tuple[int, int], bytes], store: AuditStore
) -> Finding | None:
    if row.sequence != index:
        return Finding(index, f"entry {index} is missing")
    if not row.body.startswith("{") or not _repeats(row):
        return Finding(index, f"entry {index} and its columns tell two things")
    leaf = tree.leaf_hash(row.body.encode())
    try:
        if store.node(0, index) != leaf:
            return Finding(index, f"entry {index} is not the one that was hashed")
        for level, place, value in tree.completed(index, leaf, lambda *key: hashes[key]):
            hashes[level, place] = value
            if level and store.node(level, place) != value:
                return Finding(index, f"the hash over entries up to {index} is another one")
    except LookupError:
        return Finding(index, f"the hash of entry {index} is missing")
    return None


def _repeats(row: EntryRow) -> bool:
    """Whether the columns repeat what the body says."""
    fields = row.body.find('"fields":')
    head = entry_text(row.sequence, row.at, row.kind, row.subject, {})
    before, after = head.split('"fields":{}', 1)
    return fields == len(before) and row.body.startswith(before) and row.body.endswith(after)


def _judge_checkpoint(
    row: CheckpointRow, hashes: dict[tuple[int, int], bytes], log: Verifier
) -> Finding | None:
    try:
        promised = _opened(row.note, log)
    except NoteError as error:
        return Finding(row.size, f"the checkpoint over {row.size} entries: {error}")
    if promised.size != row.size or promised.origin != log.name:
        return Finding(row.size, f"the checkpoint over {row.size} entries is about something else")
    if promised.root != _root(row.size, hashes):
        return Finding(row.size - 1, f"an entry up to {row.size - 1} is not the one promised")
    return None


def _opened(signed: str, log: Verifier) -> Checkpoint:
    return Checkpoint.from_text(note.open_note(signed, log))


def _root(size: int, hashes: dict[tuple[int, int], bytes]) -> bytes:
    return tree.root(size, lambda *key: hashes[key])


def require_key(text: str) -> Verifier:
    """The log's public key as somebody wrote it down; CallerError unless it is one."""
    verifier = Verifier.from_text(text)
    if verifier.kind != note.ED25519:
        raise CallerError("the key is a witness's, not a log's")
    return verifier
