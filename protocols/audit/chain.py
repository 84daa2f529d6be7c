"""A gateway's audit chain: entries that each carry the hash of all before them.

    hash 0 = SHA-256("busbar/1/audit" tenant "/" gateway epoch)       epoch: 8 bytes
    hash n = SHA-256(00 hash n-1 entry n)
    entry  = canonical CBOR [sequence, at, quality, kind, subject, order id, fields]

* The entry comes before the effect (I29): what is not in the chain was not done.
* Sequences begin at 1 in each journal epoch and leave nothing out, so a gap shows.
* An entry is hashed as the bytes that were stored, never encoded again.

The body of an audit message: [1, first sequence, the hash before it, [entry, ...]].
"""

import hashlib
from collections import namedtuple

from protocols.envelope.claims import EPOCH_SIZE, is_count
from protocols.envelope.fields import fields_of, is_bytes, is_within, require
from protocols.envelope.provider import CryptoProvider
from protocols.errors import EnvelopeError
from protocols.events import SUBJECT_SIZE_MAX, is_kind
from protocols.readings import TIME_QUALITY_NAMES

VERSION = 1
HASH_SIZE = 32
ORDER_ID_SIZE = 16
ENTRY_SIZE_MAX = 8192  # bytes
ENTRIES_MAX = 100  # of one message
ENTRIES_SIZE_MAX = 200_000  # bytes of the entries of one message
FIELDS_MAX = 48
FIELD_NAME_SIZE_MAX = 48  # characters
FIELD_TEXT_SIZE_MAX = 400  # characters
FIELD_BYTES_SIZE_MAX = 1024
FIELD_NUMBER_MAX = (1 << 63) - 1  # either way

_START = b"busbar/1/audit"
_NODE = b"\x00"


class Entry(
    namedtuple("Entry", ("sequence", "at", "quality", "kind", "subject", "order_id", "fields"))
):
    """One entry: `at` UTC ms by the gateway's clock and its TimeQuality, `kind` 1 to 48 of a-z,
    0-9 and -, `subject` a meter's id or "", `order_id` 16 bytes or b"", `fields` a map of names to
    texts, integers and bytes."""


class AuditBatch(namedtuple("AuditBatch", ("first", "previous", "entries"))):
    """Entries under way: the sequence of the first, the hash before it, and the bytes of each."""

    def to_body(self) -> list:
        """The array on the wire."""
        return [VERSION, self.first, self.previous, list(self.entries)]

    @classmethod
    def from_body(cls, body: object) -> "AuditBatch":
        """EnvelopeError("schema") unless every field fits; the entries are judged by
        `check_chain`."""
        first, previous, entries = fields_of(body, VERSION, 3, 3)
        require(is_count(first) and first > 0 and is_bytes(previous, HASH_SIZE))
        require(isinstance(entries, list) and 0 < len(entries) <= ENTRIES_MAX)
        require(all(isinstance(one, bytes) for one in entries))
        require(sum(len(one) for one in entries) <= ENTRIES_SIZE_MAX)
        return cls(first, previous, tuple(entries))


def entry_bytes(provider: CryptoProvider, entry: Entry) -> bytes:
    """The stored form of an entry; EnvelopeError("schema") when a field does not fit."""
    _check(entry)
    data = provider.encode(list(entry))
    require(len(data) <= ENTRY_SIZE_MAX)
    return data


def parse_entry(provider: CryptoProvider, data: bytes) -> Entry:
    """EnvelopeError unless the bytes are one entry."""
    require(isinstance(data, bytes) and len(data) <= ENTRY_SIZE_MAX)
    row = provider.decode(data)
    require(isinstance(row, list) and len(row) == 7)
    entry = Entry(*row)  # type: ignore[misc]
    _check(entry)
    return entry


def first_hash(tenant: str, gateway_id: str, epoch: bytes) -> bytes:
    """The hash before the first entry of a journal epoch (8 bytes)."""
    require(is_bytes(epoch, EPOCH_SIZE))
    return hashlib.sha256(_START + f"{tenant}/{gateway_id}".encode() + epoch).digest()


def next_hash(previous: bytes, entry: bytes) -> bytes:
    """The hash after an entry."""
    return hashlib.sha256(_NODE + previous + entry).digest()


def check_chain(provider: CryptoProvider, batch: AuditBatch) -> list:
    """[(Entry, its hash), ...] of a batch; EnvelopeError("audit_gap") when a sequence is left out
    or comes twice. Whether the batch joins what is stored is the caller's to compare: its
    `previous` is the hash of the entry before `first`."""
    found = []
    hashed = batch.previous
    for place, data in enumerate(batch.entries):
        entry = parse_entry(provider, data)
        if entry.sequence != batch.first + place:
            raise EnvelopeError("audit_gap", f"{entry.sequence} stands where {batch.first + place}")
        hashed = next_hash(hashed, data)
        found.append((entry, hashed))
    return found


def _check(entry: Entry) -> None:
    require(is_count(entry.sequence) and entry.sequence > 0 and is_count(entry.at))
    require(is_count(entry.quality) and entry.quality < len(TIME_QUALITY_NAMES))
    require(is_kind(entry.kind))
    require(isinstance(entry.subject, str) and len(entry.subject) <= SUBJECT_SIZE_MAX)
    require(entry.order_id == b"" or is_bytes(entry.order_id, ORDER_ID_SIZE))
    require(isinstance(entry.order_id, bytes))
    require(isinstance(entry.fields, dict) and len(entry.fields) <= FIELDS_MAX)
    for name, value in entry.fields.items():
        require(isinstance(name, str) and 0 < len(name) <= FIELD_NAME_SIZE_MAX)
        is_short = isinstance(value, str) and len(value) <= FIELD_TEXT_SIZE_MAX
        is_small = isinstance(value, bytes) and len(value) <= FIELD_BYTES_SIZE_MAX
        require(is_short or is_small or is_within(value, FIELD_NUMBER_MAX))
