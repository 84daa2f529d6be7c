"""A witness: a second party that signs a log's checkpoint only when it adds to the last one signed.

The rule of C2SP tlog-witness. A request is "old SIZE", the consistency proof (a hash a line), an
empty line and the checkpoint; the answers are

| status | says |
| --- | --- |
| 200 | the witness's cosignature |
| 400 | not such a request, or the old size is above the checkpoint's |
| 403 | the checkpoint bears no signature of the log |
| 404 | the log is none that this witness knows |
| 409 | the old size is another one than the last signed; the body tells that one |
| 422 | the proof does not show that the log only grew |

What was signed is durable before the signature leaves: else a crash could let two histories pass.
One witness at a time uses the folder.
"""

import base64
import binascii
import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.audit import note
from cloud.audit.note import Checkpoint, NoteError, Verifier
from cloud.audit.tree import EMPTY_ROOT, HASH_SIZE, Proof, verify_consistency
from protocols.errors import SettingError

STATE_NAME = "witnessed.json"
PROOF_MAX = 63  # hashes; the specification's limit
REQUEST_SIZE_MAX = note.NOTE_SIZE_MAX + 8 * 1024  # bytes
PLAIN, SIZE = "text/plain; charset=utf-8", "text/x.tlog.size"


class Answer(NamedTuple):
    """What goes back: HTTP status, body, content type."""

    status: int
    body: str
    content_type: str = PLAIN


class Witness:
    """Signs for the logs whose keys it was given. Any thread."""

    def __init__(
        self,
        folder: Path,
        name: str,
        key: Ed25519PrivateKey,
        logs: Sequence[Verifier],
        utc_s: Callable[[], int],
    ) -> None:
        """SettingError when the folder's state does not read: then nobody knows what was signed."""
        self._path = folder / STATE_NAME
        self._name = name
        self._key = key
        self._logs = {one.name: one for one in logs}
        self._utc_s = utc_s
        self._lock = threading.Lock()
        self._seen = _read(self._path)

    def add_checkpoint(self, request: bytes) -> Answer:
        """Judges a request; any bytes give an answer. OSError when the disk refuses: nothing was
        signed then."""
        try:
            old, proof, signed = _parse(request)
            text, _ = note.split(signed)
            checkpoint = Checkpoint.from_text(text)
        except NoteError as error:
            return Answer(400, f"{error}\n")
        log = self._logs.get(checkpoint.origin)
        if log is None:
            return Answer(404, "this witness does not know the log\n")
        try:
            note.open_note(signed, log)
        except NoteError as error:
            return Answer(403, f"{error}\n")
        with self._lock:
            return self._judge(old, proof, signed, checkpoint)

    def _judge(self, old: int, proof: Proof, signed: str, checkpoint: Checkpoint) -> Answer:
        last = self._seen.get(checkpoint.origin, Checkpoint(checkpoint.origin, 0, EMPTY_ROOT))
        if old > checkpoint.size:
            return Answer(400, "the old size is above the checkpoint's\n")
        if old != last.size:
            return Answer(409, f"{last.size}\n", SIZE)
        if not verify_consistency(old, checkpoint.size, last.root, checkpoint.root, proof):
            if old == checkpoint.size:
                return Answer(409, f"{last.size}\n", SIZE)  # same size, another root
            return Answer(422, "the proof does not show that the log only grew\n")
        _write(self._path, self._seen | {checkpoint.origin: checkpoint})
        self._seen[checkpoint.origin] = checkpoint
        return Answer(200, note.cosign(signed, self._name, self._key, self._utc_s()))


def request_of(old: int, proof: Proof, signed: str) -> bytes:
    """The request that brings a checkpoint to a witness."""
    lines = [f"old {old}", *(base64.b64encode(one).decode() for one in proof)]
    return ("\n".join(lines) + "\n\n" + signed).encode()


def _parse(request: bytes) -> tuple[int, Proof, str]:
    if len(request) > REQUEST_SIZE_MAX:
        raise NoteError(f"a request has at most {REQUEST_SIZE_MAX} bytes")
    try:
        head, gap, signed = request.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise NoteError("a request is UTF-8") from None
    first, *rest = head.split("\n")
    size = first.removeprefix("old ")
    is_number = size.isascii() and size.isdigit() and len(size) < 20 and size == str(int(size))
    if not gap or first == size or not is_number or len(rest) > PROOF_MAX:
        raise NoteError('a request is "old SIZE", a proof, an empty line and a checkpoint')
    try:
        proof = tuple(base64.b64decode(one, validate=True) for one in rest)
    except (binascii.Error, ValueError):
        proof = (b"",)
    if any(len(one) != HASH_SIZE for one in proof):
        raise NoteError("a proof is base64 of 32 bytes a line")
    return int(size), proof, signed


def _read(path: Path) -> dict[str, Checkpoint]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {
            origin: Checkpoint(origin, int(row["size"]), bytes.fromhex(row["root"]))
            for origin, row in rows.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingError(f"{path}: does not tell what was signed: {error}") from error


def _write(path: Path, seen: dict[str, Checkpoint]) -> None:
    rows = {origin: {"size": one.size, "root": one.root.hex()} for origin, one in seen.items()}
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(rows, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
