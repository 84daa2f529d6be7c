"""Two parties with fixed keys, as the envelope tests see them. Everybody knows these keys."""

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocols.envelope.claims import Claims
from protocols.envelope.keys import (
    ESP256,
    HPKE_X25519,
    HPKE_XWING,
    KeyRecord,
    KeySet,
    PrivateKey,
    Use,
)
from protocols.envelope.seal import Context, Opened, open_sealed, seal
from protocols.envelope.suites import Provider

PROVIDER = Provider()
NOW = 1_763_700_000_000  # UTC ms
DAY = 86_400_000
GATEWAY, OTHER_GATEWAY, HEAD_END = "gw1", "gw2", "head-end"


def seed(label: str, size: int = 32) -> bytes:
    """Bytes that follow from the label alone."""
    return hashlib.shake_256(b"busbar test key " + label.encode()).digest(size)


def key(label: str, owner: str, use: str, algorithm: int = ESP256, **terms: int) -> PrivateKey:
    """A fixed key; `terms` override not_before, not_after and revoked."""
    private, public = _pair(label, algorithm)
    valid = {"not_before": NOW - DAY, "not_after": NOW + DAY, "revoked": 0, **terms}
    kid = hashlib.sha256(public).digest()[:8]
    return PrivateKey(KeyRecord(kid, owner, use, algorithm, public, **valid), private)


def _pair(label: str, algorithm: int) -> tuple[bytes, bytes]:
    if algorithm == ESP256:
        private = seed(label)
        point = ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1()).public_key()
        return private, point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    x_private = seed(label + " x25519")
    x_public = x25519.X25519PrivateKey.from_private_bytes(x_private).public_key().public_bytes_raw()
    if algorithm == HPKE_X25519:
        return x_private, x_public
    m_private = seed(label + " ml-kem", 64)
    m_public = mlkem.MLKEM768PrivateKey.from_seed_bytes(m_private).public_key().public_bytes_raw()
    return m_private + x_private, m_public + x_public


DATA_KEY = key("gw1 data", GATEWAY, Use.SIGN_DATA)
OTHER_DATA_KEY = key("gw2 data", OTHER_GATEWAY, Use.SIGN_DATA)
ACK_KEY = key("head-end ack", HEAD_END, Use.SIGN_ACK)
ORDER_KEY = key("head-end order", HEAD_END, Use.SIGN_ORDER)
CONFIG_KEY = key("head-end config", HEAD_END, Use.SIGN_CONFIG)
APPROVER_KEY = key("approver", "person:zhao", Use.APPROVE)
SECOND_APPROVER_KEY = key("second approver", "person:qian", Use.APPROVE)
STRANGER_KEY = key("stranger", GATEWAY, Use.SIGN_DATA)  # no key set holds it
CLOUD_OPEN = key("head-end open", HEAD_END, Use.OPEN, HPKE_X25519)
CLOUD_OPEN_XWING = key("head-end open", HEAD_END, Use.OPEN, HPKE_XWING)
GATEWAY_OPEN = key("gw1 open", GATEWAY, Use.OPEN, HPKE_X25519)
OTHER_OPEN = key("gw2 open", OTHER_GATEWAY, Use.OPEN, HPKE_X25519)

TRUSTED = KeySet(
    tuple(
        one.record for one in (DATA_KEY, OTHER_DATA_KEY, ACK_KEY, ORDER_KEY, CONFIG_KEY, CLOUD_OPEN)
    )
)
CLOUD_KEYS = {one.record.kid: one for one in (CLOUD_OPEN, CLOUD_OPEN_XWING)}
GATEWAY_KEYS = {GATEWAY_OPEN.record.kid: GATEWAY_OPEN}
OTHER_KEYS = {OTHER_OPEN.record.kid: OTHER_OPEN}

UP = Context("data", GATEWAY, HEAD_END, "busbar/1/t1/gw1/up/d")
DOWN = Context("order", HEAD_END, GATEWAY, "busbar/1/t1/gw1/dn/c")
CLAIMS = Claims(7, NOW - 1000, 0, b"", b"epoch--1", 1)
ORDER_CLAIMS = Claims(3, NOW - 1000, NOW + 60_000, b"nonce-nonce-nonc", b"epoch--1", 5)
BODY = PROVIDER.deflate(PROVIDER.encode([1, "a body"]))


def sealed(
    signer: PrivateKey = DATA_KEY,
    recipient: PrivateKey = CLOUD_OPEN,
    context: Context = UP,
    claims: Claims = CLAIMS,
    body: bytes = BODY,
    kid: bytes | None = None,
) -> bytes:
    """A message; without arguments a good one from the gateway to the head end."""
    return seal(
        PROVIDER,
        PROVIDER.signer(ESP256, signer.private),
        signer.record.kid if kid is None else kid,
        recipient.record,
        context,
        claims,
        body,
    )


def opened(
    message: bytes,
    own: dict[bytes, PrivateKey] = CLOUD_KEYS,
    trusted: KeySet = TRUSTED,
    use: str = Use.SIGN_DATA,
    now: int = NOW,
    context: Context = UP,
) -> Opened:
    """What the head end makes of it; EnvelopeError otherwise."""
    return open_sealed(PROVIDER, own, trusted, use, now, context, message)
