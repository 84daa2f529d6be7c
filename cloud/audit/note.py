"""Signed notes, checkpoints and cosignatures in the forms of C2SP (signed-note, tlog-checkpoint,
tlog-cosignature): what the log promises, and who saw it.

A note is text, an empty line, and lines "— name base64(key id, signature)". A checkpoint's text is
origin, size and root. Readers take signatures of keys that they know and leave the others alone.
"""

import base64
import binascii
import hashlib
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloud.audit.tree import HASH_SIZE
from protocols.errors import CallerError

ED25519 = 1  # key types of signed-note
COSIGNATURE = 4
SIZE_MAX = (1 << 63) - 1
NOTE_SIZE_MAX = 64 * 1024  # bytes
_SIGNATURE_MARK = "— "
_KEY_ID_SIZE = 4
_TIME_SIZE = 8
_SIGNATURE_SIZE = 64


class NoteError(CallerError):
    """A note that is none, or whose signature does not fit."""


class Verifier(NamedTuple):
    """A public key with its name: "name+keyid+base64(type, key)" as text."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """What a signature line begins with."""
        named = f"{self.name}\n".encode() + bytes((self.kind,)) + self.public
        return hashlib.sha256(named).digest()[:_KEY_ID_SIZE]

    def text(self) -> str:
        """The key as one word."""
        packed = base64.b64encode(bytes((self.kind,)) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{packed}"

    @classmethod
    def from_text(cls, text: str) -> "Verifier":
        """NoteError unless it is such a word."""
        name, _, rest = text.strip().partition("+")
        key_id, _, packed = rest.partition("+")
        try:
            data = base64.b64decode(packed, validate=True)
        except binascii.Error:
            data = b""
        if not is_key_name(name) or len(data) != 33 or data[0] not in (ED25519, COSIGNATURE):
            raise NoteError("a verifier key is name+keyid+base64, of Ed25519")
        found = cls(name, data[0], data[1:])
        if found.key_id.hex() != key_id:
            raise NoteError(f"the key id of {name} is not that of its key")
        return found


class Checkpoint(NamedTuple):
    """What a log promises: under `origin`, `size` entries with this root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The text of the note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def from_text(cls, text: str) -> "Checkpoint":
        """NoteError unless the text is origin, size and root (further lines are left alone)."""
        lines = text.split("\n")
        if len(lines) < 4 or not lines[0] or not lines[1].isascii() or not lines[1].isdigit():
            raise NoteError("a checkpoint is origin, size and root, a line each")
        if lines[1] != str(int(lines[1][:20])) or int(lines[1]) > SIZE_MAX:
            raise NoteError("a checkpoint's size is a whole number without leading zeros")
        try:
            root = base64.b64decode(lines[2], validate=True)
        except binascii.Error:
            root = b""
        if len(root) != HASH_SIZE:
            raise NoteError("a checkpoint's root is base64 of 32 bytes")
        return cls(lines[0], int(lines[1]), root)


def is_key_name(name: str) -> bool:
    """Whether a text may name a key: no space, no plus."""
    return bool(name) and name.isprintable() and not any(one in name for one in " +")


def verifier_of(name: str, key: Ed25519PrivateKey, kind: int = ED25519) -> Verifier:
    """The public half of a key."""
    return Verifier(name, kind, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def sign(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """The note of `text` with one signature."""
    return f"{text}\n" + _line(verifier_of(name, key), key.sign(text.encode()))


def cosign(note: str, name: str, key: Ed25519PrivateKey, at_s: int) -> str:
    """The line by which a witness says that it saw the note's text, at UTC seconds `at_s`."""
    text, _ = split(note)
    signature = key.sign(_cosigned(text, at_s))
    return _line(verifier_of(name, key, COSIGNATURE), at_s.to_bytes(_TIME_SIZE, "big") + signature)


def split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """(text, [(name, key id and signature), ...]); NoteError when it is no signed note."""
    if len(note.encode()) > NOTE_SIZE_MAX:
        raise NoteError(f"a note has at most {NOTE_SIZE_MAX} bytes")
    text, gap, lines = note.rpartition("\n\n")
    if not gap or not lines.endswith("\n"):
        raise NoteError("a note is text, an empty line and signatures")
    signatures = []
    for line in lines[:-1].split("\n"):
        name, _, packed = line.removeprefix(_SIGNATURE_MARK).partition(" ")
        try:
            data = base64.b64decode(packed, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if not line.startswith(_SIGNATURE_MARK) or not is_key_name(name) or len(data) < 5:
            raise NoteError("a signature line is a dash, a name and base64")
        signatures.append((name, data))
    return text + "\n", signatures


def open_note(note: str, verifier: Verifier) -> str:
    """The text, signed by `verifier`'s key; NoteError otherwise."""
    text, signatures = split(note)
    for name, data in signatures:
        if name == verifier.name and data[:_KEY_ID_SIZE] == verifier.key_id:
            _check(verifier, data[_KEY_ID_SIZE:], text)
            return text
    raise NoteError(f"the note bears no signature of {verifier.name}")


def _check(verifier: Verifier, signature: bytes, text: str) -> None:
    signed = text.encode()
    if verifier.kind == COSIGNATURE:
        at_s = int.from_bytes(signature[:_TIME_SIZE], "big")
        signed, signature = _cosigned(text, at_s), signature[_TIME_SIZE:]
    try:
        if len(signature) != _SIGNATURE_SIZE:
            raise InvalidSignature
        Ed25519PublicKey.from_public_bytes(verifier.public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise NoteError(f"the signature of {verifier.name} does not fit") from None


def _cosigned(text: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def _line(verifier: Verifier, signature: bytes) -> str:
    packed = base64.b64encode(verifier.key_id + signature).decode()
    return f"{_SIGNATURE_MARK}{verifier.name} {packed}\n"
