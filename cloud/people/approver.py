"""What an approver signs with: a key of one person, which never leaves that person's side.

* The head end, the broker and the gateways have the public half only; what a signature is made with
  is behind `ApproverKey`, so a PKCS#11 token or a passkey takes the file's place and nothing else
  changes.
* The public half is a key record with a purpose of its own: it approves, and does nothing else.
"""

import json
import os
from pathlib import Path
from typing import Protocol

from cloud.people.key_file import check_passphrase, encrypted_pem, private_of_pem
from cloud.people.people import check_name
from protocols.envelope.keys import ESP256, KeyRecord, Use
from protocols.envelope.suites import Provider
from protocols.errors import CallerError, EnvelopeError
from protocols.orders.order import PERSON

PUBLIC_SUFFIX = ".public.json"
DAY_MS = 86_400_000
BACKDATE_DAYS = 1  # a gateway whose clock is behind takes a fresh key all the same
FILE_SIZE_MAX = 64 * 1024
PRIVATE_MODE, PUBLIC_MODE = 0o600, 0o644


class ApproverKey(Protocol):
    """A key that approves."""

    @property
    def record(self) -> KeyRecord:
        """Its public half; the owner is "person:NAME"."""

    def sign(self, data: bytes) -> bytes:
        """ESP256 over `data`: r || s, 64 bytes."""


class FileKey:
    """A key in an encrypted file, with its public record beside it."""

    def __init__(self, record: KeyRecord, private: bytes, provider: Provider) -> None:
        self._record = record
        self._signer = provider.signer(ESP256, private)

    def __repr__(self) -> str:
        return f"FileKey({self._record.kid.hex()})"

    @property
    def record(self) -> KeyRecord:
        """Its public half."""
        return self._record

    def sign(self, data: bytes) -> bytes:
        """r || s, 64 bytes."""
        return self._signer.sign(data)


def public_path(path: Path) -> Path:
    """Where the public record of a key file is."""
    return path.with_name(path.name + PUBLIC_SUFFIX)


def make_key(
    path: Path, name: str, passphrase: bytes, now: int, days: int, provider: Provider
) -> KeyRecord:
    """A fresh key of the person `name` for `days`, in `path`, its public record beside it.
    CallerError when either file is there already or can not be written; SettingError for a name."""
    check_name(name)
    check_passphrase(passphrase)
    private, public = provider.generate(ESP256)
    record = KeyRecord(
        provider.kid(public),
        PERSON + name,
        Use.APPROVE,
        ESP256,
        public,
        now - BACKDATE_DAYS * DAY_MS,
        now + days * DAY_MS,
        0,
    )
    _write_new(path, encrypted_pem(private, passphrase), PRIVATE_MODE)
    text = json.dumps(record.to_json(), indent=2) + "\n"
    _write_new(public_path(path), text.encode(), PUBLIC_MODE)
    return record


def load_key(path: Path, passphrase: bytes, provider: Provider) -> FileKey:
    """The key of a file; CallerError when its record, its passphrase or the two do not fit."""
    record = read_record(public_path(path))
    try:
        private = private_of_pem(_read(path), passphrase)
    except CallerError as error:
        raise CallerError(f"{path}: {error}") from None
    key = FileKey(record, private, provider)
    probe = b"busbar/1/key-file"
    try:
        provider.verify(ESP256, record.public, probe, key.sign(probe))
    except EnvelopeError:
        raise CallerError(f"{public_path(path)}: is the record of another key") from None
    return key


def read_record(path: Path) -> KeyRecord:
    """The public record in a file; CallerError unless it is an approver's."""
    try:
        record = KeyRecord.from_json(json.loads(_read(path)))
    except (ValueError, TypeError, EnvelopeError, RecursionError):
        raise CallerError(f"{path}: holds no key record") from None
    if record.use != Use.APPROVE or record.algorithm != ESP256:
        raise CallerError(f"{path}: is no record of a key that approves")
    if not record.owner.startswith(PERSON):
        raise CallerError(f"{path}: belongs to no person")
    return record


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_SIZE_MAX)
    except OSError as error:
        raise CallerError(f"{path}: cannot be read: {error.strerror}") from error


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(path, flags, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CallerError(f"{path}: cannot be written: {error.strerror}") from error
