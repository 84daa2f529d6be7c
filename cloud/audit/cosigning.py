"""Brings a checkpoint to a witness and has it cosigned."""

import urllib.error
import urllib.request
from typing import NamedTuple

from cloud.audit import note, tree
from cloud.audit.note import NoteError, Verifier
from cloud.audit.serve import ROUTE
from cloud.audit.witness import SIZE, request_of
from cloud.store.audit import AuditStore, CheckpointRow
from protocols.errors import CallerError

TIMEOUT_S = 20.0
ANSWER_SIZE_MAX = 8 * 1024  # bytes


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: str
    content_type: str


def cosign(store: AuditStore, row: CheckpointRow, url: str, witness: Verifier) -> str:
    """The witness's line under the checkpoint, verified. The witness's own word where it stands is
    asked for once, and taken; CallerError with what it says when it does not sign."""
    reply = _ask(store, row, url, 0)
    if reply.status == 409 and reply.content_type == SIZE:
        size = _size(reply.body)
        if size > row.size:
            raise CallerError(
                f"the witness has signed {size} entries already, this log has {row.size}: "
                "it was cut short, or went back"
            )
        if size:
            reply = _ask(store, row, url, size)
    if reply.status != 200:
        words = " ".join(reply.body.split())[:200]
        raise CallerError(f"the witness does not sign ({reply.status}): {words}")
    try:
        note.open_note(row.note + reply.body, witness)
    except NoteError as error:
        raise CallerError(f"what the witness answered is no signature of it: {error}") from error
    return reply.body


def _ask(store: AuditStore, row: CheckpointRow, url: str, old: int) -> Reply:
    if not url.startswith(("http://", "https://")):
        raise CallerError(f"{url!r} is not allowed; a witness is at http:// or https://")
    proof = tree.consistency_proof(old, row.size, store.node)
    asked = urllib.request.Request(  # noqa: S310 -- checked above
        url.rstrip("/") + ROUTE, data=request_of(old, proof, row.note), method="POST"
    )
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return _reply(answer.status, answer)
    except urllib.error.HTTPError as error:
        with error:
            return _reply(error.code, error)
    except OSError as error:
        raise CallerError(f"{url}: does not answer: {error}") from error


def _reply(status: int, answer: "urllib.response.addinfourl") -> Reply:
    body = answer.read(ANSWER_SIZE_MAX).decode(errors="replace")
    return Reply(status, body, answer.headers.get("Content-Type", ""))


def _size(body: str) -> int:
    text = body.strip()
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise CallerError("the witness does not tell where it stands")
    return int(text)
