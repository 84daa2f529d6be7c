"""Seal and open: COSE_Encrypt0( HPKE( COSE_Sign1( [claims, body] ))).

* The sender, recipient, kind and topic are the context. It is never sent: it is bound into the
  signature (external data) and into the encryption (HPKE info), so a message that is moved to
  another topic, gateway or direction neither opens nor verifies.
* Sign, then encrypt: the signature over the plaintext stays as evidence of the bill.
* The receiver's order of checks: size cap -> strict CBOR -> our key known -> open -> strict CBOR
  -> signer known, allowed and not revoked -> signature -> claims' form. Replay, time and body
  come after, because they need what the receiver remembers.

One sentence: any bytes give an `Opened` or an EnvelopeError, nothing else.
"""

from collections import namedtuple

from protocols.envelope.claims import Claims
from protocols.envelope.keys import ESP256, KeyRecord, KeySet, PrivateKey
from protocols.envelope.provider import CryptoProvider, Signer
from protocols.errors import EnvelopeError

PROFILE = "busbar/1"
MESSAGE_SIZE_MAX = 256 * 1024  # bytes on the wire; the broker has the same cap
BODY_SIZE_MAX = 1024 * 1024  # bytes of a body after inflation

_ENCRYPT0, _SIGN1 = 16, 18
_ALG, _KID, _EK = 1, 4, -4  # COSE header labels: algorithm, key id, encapsulated key


class Context(namedtuple("Context", ("kind", "sender", "recipient", "topic"))):
    """What both ends know without being told; bound, never sent."""

    def parts(self) -> list:
        """In the order of the wire format."""
        return [PROFILE, self.kind, self.sender, self.recipient, self.topic]


class Opened(namedtuple("Opened", ("claims", "body", "signer"))):
    """A message that opened and verified: Claims, body bytes, the signer's KeyRecord."""


def seal(
    provider: CryptoProvider,
    signer: Signer,
    signer_kid: bytes,
    recipient: KeyRecord,
    context: Context,
    claims: Claims,
    body: bytes,
) -> bytes:
    """The sealed message of `body`, which is already encoded and compressed."""
    ctx = provider.encode(context.parts())
    protected = provider.encode({_ALG: ESP256, _KID: signer_kid})
    payload = provider.encode([claims.to_map(), body])
    signature = signer.sign(provider.encode(["Signature1", protected, ctx, payload]))
    inner = provider.tagged(_SIGN1, [protected, {}, payload, signature])
    outer = provider.encode({_ALG: recipient.algorithm, _KID: recipient.kid})
    info = provider.encode(["Encrypt0", outer, ctx])
    enc, ciphertext = provider.encrypt(recipient.algorithm, recipient.public, inner, info)
    return provider.tagged(_ENCRYPT0, [outer, {_EK: enc}, ciphertext])


def open_sealed(
    provider: CryptoProvider,
    own_keys: dict,
    trusted: KeySet,
    use: str,
    now: int,
    context: Context,
    message: bytes,
) -> Opened:
    """Opens a message for one of `own_keys` (kid -> PrivateKey), signed by a key that lets the
    context's sender do `use` at `now` (UTC ms, 0 = unknown). EnvelopeError otherwise."""
    if len(message) > MESSAGE_SIZE_MAX:
        raise EnvelopeError("oversize", f"{len(message)} bytes")
    ctx = provider.encode(context.parts())
    outer, headers, ciphertext = _parts(provider.untagged(message, _ENCRYPT0), 3)
    algorithm, kid = _protected(provider, outer)
    own = own_keys.get(kid)
    if not isinstance(own, PrivateKey):
        raise EnvelopeError("unknown_key", "not encrypted to us")
    enc = _header(headers, (_EK,))[_EK]
    if (
        algorithm != own.record.algorithm
        or not isinstance(enc, bytes)
        or not isinstance(ciphertext, bytes)
    ):
        raise EnvelopeError("malformed", "outer headers")
    info = provider.encode(["Encrypt0", outer, ctx])
    inner = provider.decrypt(own.record.algorithm, own.private, enc, ciphertext, info)
    return _verify(provider, trusted, use, now, context, ctx, inner)


def _verify(
    provider: CryptoProvider,
    trusted: KeySet,
    use: str,
    now: int,
    context: Context,
    ctx: bytes,
    inner: bytes,
) -> Opened:
    protected, headers, payload, signature = _parts(provider.untagged(inner, _SIGN1), 4)
    algorithm, kid = _protected(provider, protected)
    if headers != {} or not isinstance(payload, bytes) or not isinstance(signature, bytes):
        raise EnvelopeError("malformed", "inner parts")
    record = trusted.find(kid, context.sender, use, now)
    if algorithm != record.algorithm:
        raise EnvelopeError("bad_signature", "the algorithm is the key record's, not the message's")
    signed = provider.encode(["Signature1", protected, ctx, payload])
    provider.verify(record.algorithm, record.public, signed, signature)
    claims, body = _parts(provider.decode(payload), 2)
    if not isinstance(body, bytes):
        raise EnvelopeError("schema", "body")
    return Opened(Claims.from_map(claims), body, record)


def _parts(value: object, count: int) -> list:
    if not isinstance(value, list) or len(value) != count:
        raise EnvelopeError("malformed", f"not an array of {count}")
    return value


def _protected(provider: CryptoProvider, protected: object) -> tuple:
    """(algorithm, kid) of a protected header."""
    if not isinstance(protected, bytes):
        raise EnvelopeError("malformed", "protected header")
    header = _header(provider.decode(protected), (_ALG, _KID))
    if not isinstance(header[_ALG], int) or not isinstance(header[_KID], bytes):
        raise EnvelopeError("malformed", "protected header")
    return header[_ALG], header[_KID]


def _header(value: object, labels: tuple) -> dict:
    """A map of exactly these labels; by type too, for CBOR's true and 1.0 are other keys than 1."""
    if (
        not isinstance(value, dict)
        or len(value) != len(labels)
        or not all(
            isinstance(key, int) and not isinstance(key, bool) and key in labels for key in value
        )
    ):
        raise EnvelopeError("malformed", "header")
    return value
