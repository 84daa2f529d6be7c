"""Key records: who owns a key, what it may do, from when to when.

* A record carries the algorithm; a message can not choose one.
* A key does one thing: a key that acknowledges can not order, a key that signs data can not either.
* A revoked or expired record stays in the set, so that its use is named for what it is.
"""

from collections import namedtuple

from protocols.errors import EnvelopeError

ESP256 = -9  # RFC 9864
HPKE_X25519 = -65601  # private use: HPKE with the COSE Enc_structure in `info`
HPKE_XWING = -65602
ALGORITHMS = (ESP256, HPKE_X25519, HPKE_XWING)


class Use:
    """What a key may do."""

    SIGN_DATA = "sign-data"  # gateway: batches, receipts, hello
    SIGN_ACK = "sign-ack"  # head end: acknowledgements
    SIGN_ORDER = "sign-order"  # head end: orders, the policy and stops
    SIGN_CONFIG = "sign-config"  # head end: configurations
    APPROVE = "approve-order"  # a person: approvals of orders
    OPEN = "open"  # either: messages are encrypted to it


USES = (
    Use.SIGN_DATA,
    Use.SIGN_ACK,
    Use.SIGN_ORDER,
    Use.SIGN_CONFIG,
    Use.APPROVE,
    Use.OPEN,
)


class KeyRecord(
    namedtuple(
        "KeyRecord",
        ("kid", "owner", "use", "algorithm", "public", "not_before", "not_after", "revoked"),
    )
):
    """A public key and its terms; times in UTC ms, `kid` 8 bytes."""

    def to_json(self) -> dict:
        """The form of keyset and registry files."""
        return {
            "kid": self.kid.hex(),
            "owner": self.owner,
            "use": self.use,
            "algorithm": self.algorithm,
            "public": self.public.hex(),
            "not_before": self.not_before,
            "not_after": self.not_after,
            "revoked": self.revoked,
        }

    @classmethod
    def from_json(cls, row: dict) -> "KeyRecord":
        """EnvelopeError("key_file") when the row is not a key record."""
        try:
            record = cls(
                bytes.fromhex(row["kid"]),
                row["owner"],
                row["use"],
                row["algorithm"],
                bytes.fromhex(row["public"]),
                row["not_before"],
                row["not_after"],
                row["revoked"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise EnvelopeError("key_file", "a key record is incomplete") from error
        if record.use not in USES or record.algorithm not in ALGORITHMS or len(record.kid) != 8:
            raise EnvelopeError("key_file", "a key record has an unknown use, algorithm or name")
        numbers = (record.algorithm, record.not_before, record.not_after, record.revoked)
        if not isinstance(record.owner, str) or not all(isinstance(one, int) for one in numbers):
            raise EnvelopeError("key_file", "a key record's owner or terms are of the wrong kind")
        return record


class PrivateKey(namedtuple("PrivateKey", ("record", "private"))):
    """A key of our own. Never print one: `repr` tells the name alone."""

    def __repr__(self) -> str:
        return "PrivateKey(" + self.record.kid.hex() + ")"


class KeySet:
    """The public keys that one party trusts."""

    def __init__(self, records: tuple = ()) -> None:
        self._records = {record.kid: record for record in records}

    def records(self) -> tuple:
        """All records."""
        return tuple(self._records.values())

    def find(self, kid: bytes, owner: str, use: str, now: int) -> KeyRecord:
        """The record that lets `owner` do `use` at `now` (UTC ms; 0 = time unknown, not checked).

        EnvelopeError: unknown_key, key_owner, key_use, revoked_key, key_time.
        """
        record = self._records.get(bytes(kid))
        if record is None:
            raise EnvelopeError("unknown_key")
        _allow(record, owner, use, now)
        return record

    def current(self, owner: str, use: str, now: int) -> KeyRecord:
        """The newest valid record of `owner` for `use`; EnvelopeError("unknown_key") without
        one."""
        best = None
        for record in self._records.values():
            if record.owner != owner or record.use != use or record.revoked:
                continue
            if now and not record.not_before <= now <= record.not_after:
                continue
            if best is None or record.not_before > best.not_before:
                best = record
        if best is None:
            raise EnvelopeError("unknown_key", f"no valid {use} key of {owner}")
        return best


def _allow(record: KeyRecord, owner: str, use: str, now: int) -> None:
    if record.owner != owner:
        raise EnvelopeError("key_owner")
    if record.use != use:
        raise EnvelopeError("key_use")
    if record.revoked:
        raise EnvelopeError("revoked_key")
    if now and not record.not_before <= now <= record.not_after:
        raise EnvelopeError("key_time")
