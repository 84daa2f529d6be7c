"""The one file that binds CPython libraries: `cryptography`, `cbor2` and `zlib`.

Everything else in the envelope takes a `Provider` as an argument, so a TPM, a PKCS#11 module or
another suite replaces this file and nothing else. Algorithms are chosen by the key record that the
caller holds, never by a message.

* Signature ESP256 (COSE -9, RFC 9864): ECDSA P-256 with SHA-256, deterministic, 64 bytes r || s.
* KEM X25519 (COSE private use -65601): HPKE base mode, HKDF-SHA256, AES-128-GCM, one shot a
  message.
* KEM X-Wing (-65602): the same with ML-KEM-768 and X25519 together, against recorded traffic.
"""

import hashlib
import io
import zlib
from functools import lru_cache

import cbor2
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocols.envelope.keys import ESP256, HPKE_X25519, HPKE_XWING
from protocols.envelope.provider import CryptoProvider, Signer
from protocols.errors import EnvelopeError

CBOR_DEPTH_MAX = 8  # no message of ours nests deeper
_ECDSA = ec.ECDSA(SHA256(), deterministic_signing=True)
_ECDSA_VERIFY = ec.ECDSA(SHA256())
_MLKEM_PUBLIC_SIZE = 1184  # bytes of an ML-KEM-768 public key (FIPS 203)
_MLKEM_SEED_SIZE = 64
_KEYS_KEPT = 4096  # of each kind; a head end has as many as gateways


def _tag_byte(tag: int) -> bytes:
    return bytes((0xC0 | tag,))  # COSE_Encrypt0 (16) and COSE_Sign1 (18): below 24, one byte


def _refuse_tag(*_: object) -> object:
    raise EnvelopeError("malformed", "a CBOR tag inside a message")


# cbor2 acts on these by itself (dates, bignums, regular expressions, shared references).
_REFUSED_TAGS = dict.fromkeys(
    (*range(6), 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799),
    _refuse_tag,
)


class FileSigner(Signer):
    """A signing key in memory, read from a file. A TPM or PKCS#11 signer has the same two names."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def sign(self, data: bytes) -> bytes:
        """r || s, 64 bytes; the same data always gives the same signature."""
        r, s = decode_dss_signature(self._key.sign(data, _ECDSA))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Provider(CryptoProvider):
    """CPython's cryptography, CBOR and compression behind the names that the envelope uses."""

    # ---- CBOR -------------------------------------------------------------------------------

    def encode(self, value: object) -> bytes:
        """Canonical CBOR (map keys length-first, RFC 7049 3.9)."""
        return cbor2.dumps(value, canonical=True)

    def tagged(self, tag: int, value: object) -> bytes:
        """Canonical CBOR of a tagged value."""
        return _tag_byte(tag) + self.encode(value)

    def decode(self, data: bytes) -> object:
        """The value of exactly one canonical CBOR item; EnvelopeError for any other bytes."""
        value = self.decode_signed(data)
        try:
            canonical = cbor2.dumps(value, canonical=True)
        except Exception as error:
            raise EnvelopeError("malformed", "not canonical CBOR") from error
        if canonical != data:
            raise EnvelopeError("malformed", "not canonical CBOR")
        return value

    def decode_signed(self, data: bytes) -> object:
        """The value of exactly one CBOR item, canonical or not: for what a verified signature
        covers byte by byte, where encoding it once more would be half the cost of decoding."""
        stream = io.BytesIO(data)
        try:
            value = cbor2.CBORDecoder(
                stream,
                max_depth=CBOR_DEPTH_MAX,
                allow_indefinite=False,
                allow_duplicate_keys=False,
                semantic_decoders=_REFUSED_TAGS,
                tag_hook=_refuse_tag,
            ).decode()
        except EnvelopeError:
            raise
        except Exception as error:
            # cbor2 raises its own and a dozen built-in types on hostile bytes; one word for all.
            raise EnvelopeError("malformed", "not CBOR") from error
        if stream.tell() != len(data):
            raise EnvelopeError("malformed", "bytes behind the CBOR item")
        return value

    def untagged(self, data: bytes, tag: int) -> object:
        """The value under exactly this tag, which stands in front: a tag anywhere else is
        refused."""
        if data[:1] != _tag_byte(tag):
            raise EnvelopeError("malformed", f"not CBOR tag {tag}")
        return self.decode(data[1:])

    # ---- compression ------------------------------------------------------------------------

    def deflate(self, data: bytes) -> bytes:
        """zlib at its best ratio: the radio link costs more than the CPU."""
        return zlib.compress(data, 9)

    def inflate(self, data: bytes, size_max: int) -> bytes:
        """At most `size_max` bytes out, whatever comes in."""
        stream = zlib.decompressobj()
        try:
            # One more than allowed, because zlib takes a limit of 0 for none.
            out = stream.decompress(data, size_max + 1)
        except zlib.error as error:
            raise EnvelopeError("malformed", "not a zlib stream") from error
        if len(out) > size_max or not stream.eof:
            raise EnvelopeError("inflate_limit", f"more than {size_max} bytes, or cut off")
        if stream.unused_data:
            raise EnvelopeError("malformed", "bytes behind the zlib stream")
        return out

    # ---- keys -------------------------------------------------------------------------------

    def kid(self, public: bytes) -> bytes:
        """A key's name: the first 8 bytes of SHA-256 of its public form."""
        return hashlib.sha256(public).digest()[:8]

    def generate(self, algorithm: int) -> tuple[bytes, bytes]:
        """(private, public) bytes of a fresh key."""
        if algorithm == ESP256:
            key = ec.generate_private_key(ec.SECP256R1())
            private = key.private_numbers().private_value.to_bytes(32, "big")
            return private, _p256_public(key)
        x_key = x25519.X25519PrivateKey.generate()
        if algorithm == HPKE_X25519:
            return x_key.private_bytes_raw(), x_key.public_key().public_bytes_raw()
        if algorithm == HPKE_XWING:
            m_key = mlkem.MLKEM768PrivateKey.generate()
            private = m_key.private_bytes_raw() + x_key.private_bytes_raw()
            return (
                private,
                m_key.public_key().public_bytes_raw() + x_key.public_key().public_bytes_raw(),
            )
        raise EnvelopeError("algorithm", f"{algorithm} is not supported")

    def signer(self, algorithm: int, private: bytes) -> FileSigner:
        """A signer of a private key as `generate` gave it."""
        if algorithm != ESP256:
            raise EnvelopeError("algorithm", f"{algorithm} does not sign")
        return FileSigner(ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1()))

    def verify(self, algorithm: int, public: bytes, data: bytes, signature: bytes) -> None:
        """EnvelopeError("bad_signature") unless the signature fits."""
        if algorithm != ESP256 or len(signature) != 64:
            raise EnvelopeError("bad_signature")
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        try:
            _p256_key(public).verify(encode_dss_signature(r, s), data, _ECDSA_VERIFY)
        except (InvalidSignature, ValueError) as error:
            raise EnvelopeError("bad_signature") from error

    # ---- HPKE -------------------------------------------------------------------------------

    def encrypt(
        self, algorithm: int, public: bytes, plaintext: bytes, info: bytes
    ) -> tuple[bytes, bytes]:
        """(encapsulated key, ciphertext)."""
        suite, enc_size = _hpke(algorithm)
        sealed = suite.encrypt(plaintext, _kem_public(algorithm, public), info=info)
        return sealed[:enc_size], sealed[enc_size:]

    def decrypt(
        self, algorithm: int, private: bytes, enc: bytes, ciphertext: bytes, info: bytes
    ) -> bytes:
        """The plaintext; EnvelopeError("unopenable") when key, info or bytes do not fit."""
        suite, enc_size = _hpke(algorithm)
        if len(enc) != enc_size:
            raise EnvelopeError("unopenable")
        try:
            return suite.decrypt(enc + ciphertext, _kem_private(algorithm, private), info=info)
        except (InvalidTag, ValueError) as error:
            raise EnvelopeError("unopenable") from error


# A point is decompressed, and a private key's public half computed, once for each key and not for
# each message: that is a third of what opening a batch costs.
@lru_cache(maxsize=_KEYS_KEPT)
def _p256_key(public: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)


def _p256_public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


_HPKE = {
    HPKE_X25519: (Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM), KEM.X25519.enc_length()),
    HPKE_XWING: (
        Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM),
        KEM.MLKEM768_X25519.enc_length(),
    ),
}


def _hpke(algorithm: int) -> tuple[Suite, int]:
    if algorithm not in _HPKE:
        raise EnvelopeError("algorithm", f"{algorithm} does not encrypt")
    return _HPKE[algorithm]


def _kem_public(
    algorithm: int, public: bytes
) -> "x25519.X25519PublicKey | MLKEM768X25519PublicKey":
    if algorithm == HPKE_X25519:
        return x25519.X25519PublicKey.from_public_bytes(public)
    return MLKEM768X25519PublicKey(
        mlkem.MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_SIZE]),
        x25519.X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_SIZE:]),
    )


@lru_cache(maxsize=_KEYS_KEPT)
def _kem_private(
    algorithm: int, private: bytes
) -> "x25519.X25519PrivateKey | MLKEM768X25519PrivateKey":
    if algorithm == HPKE_X25519:
        return x25519.X25519PrivateKey.from_private_bytes(private)
    return MLKEM768X25519PrivateKey(
        mlkem.MLKEM768PrivateKey.from_seed_bytes(private[:_MLKEM_SEED_SIZE]),
        x25519.X25519PrivateKey.from_private_bytes(private[_MLKEM_SEED_SIZE:]),
    )
