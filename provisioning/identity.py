"""What a party is: its message keys and its TLS key, made where it will live.

`make_identity` needs no authority, and an authority needs no identity but its public key: a gateway
that enrols over the network will make its own and have it certified; no private key ever travels.

Life of the keys (UTC ms, valid from yesterday on, as the certificates are):

* Signing keys hold as long as a certificate, 397 days: both are renewed in one go.
* Opening keys hold twice as long: a renewal that comes late must not cut the way for the message
  that brings it. Shorter ones come with their rotation.
"""

from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from protocols.envelope.keys import ESP256, HPKE_X25519, KeyRecord, PrivateKey, Use
from protocols.envelope.suites import Provider
from protocols.messages import HEAD_END
from provisioning.pki import BACKDATE_DAYS, BROKER, CERTIFICATE_DAYS, make_tls_key

GATEWAY_USES = (Use.SIGN_DATA, Use.OPEN)
HEAD_END_USES = (Use.SIGN_ACK, Use.SIGN_ORDER, Use.SIGN_CONFIG, Use.OPEN)
SERVICE_USES = (Use.SIGN_ACK, Use.SIGN_ORDER, Use.OPEN)  # of the running head end
CONFIG_USES = (Use.SIGN_CONFIG,)  # of whoever configures gateways; kept in a file of its own
INGEST = "ingest"  # the name under which the head end connects; the broker's rules know it
RESERVED_NAMES = (HEAD_END, INGEST, BROKER)  # a gateway of that name would pass for one of them

FIRST_VERSION = 1  # of registry.json and keyset.json; each change adds one, a reader refuses less
NOT_REVOKED = 0  # in a record's `revoked`, else the UTC ms of the revocation
SIGNING_DAYS = CERTIFICATE_DAYS
OPENING_DAYS = 2 * CERTIFICATE_DAYS
_DAY_MS = 86_400_000


class Identity(NamedTuple):
    """A party's private keys. Never print one."""

    party: str
    tenant: str
    keys: tuple[PrivateKey, ...]
    tls_key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"Identity({self.party})"

    def records(self) -> tuple[KeyRecord, ...]:
        """What the other side may know."""
        return tuple(key.record for key in self.keys)

    def to_json(self, uses: tuple[str, ...]) -> dict[str, Any]:
        """The form of keys.json: the message keys for `uses`, private parts included."""
        keys = [
            {"record": key.record.to_json(), "private": key.private.hex()}
            for key in self.keys
            if key.record.use in uses
        ]
        return {"party": self.party, "tenant": self.tenant, "keys": keys}


def make_gateway(gateway_id: str, tenant: str, now: int) -> Identity:
    """The identity of a gateway."""
    return make_identity(gateway_id, tenant, GATEWAY_USES, now)


def make_head_end(tenant: str, now: int) -> Identity:
    """The identity of the head end."""
    return make_identity(HEAD_END, tenant, HEAD_END_USES, now)


def make_identity(party: str, tenant: str, uses: tuple[str, ...], now: int) -> Identity:
    """Fresh keys, one for each use."""
    keys = tuple(_make_key(party, use, now) for use in uses)
    return Identity(party, tenant, keys, make_tls_key())


def keyset_json(
    tenant: str, records: tuple[KeyRecord, ...], version: int = FIRST_VERSION
) -> dict[str, Any]:
    """The form of registry.json and keyset.json: whom to trust."""
    keys = [record.to_json() for record in records]
    return {"tenant": tenant, "version": version, "keys": keys}


def _make_key(owner: str, use: str, now: int) -> PrivateKey:
    provider = Provider()
    algorithm = HPKE_X25519 if use == Use.OPEN else ESP256
    days = OPENING_DAYS if use == Use.OPEN else SIGNING_DAYS
    private, public = provider.generate(algorithm)
    record = KeyRecord(
        provider.kid(public),
        owner,
        use,
        algorithm,
        public,
        now - BACKDATE_DAYS * _DAY_MS,
        now + days * _DAY_MS,
        NOT_REVOKED,
    )
    return PrivateKey(record, private)
