"""The seam between the envelope and whoever computes: CPython libraries, a TPM, another suite.

`suites.Provider` is the implementation for CPython. Each method raises EnvelopeError, and nothing
else, for bytes from outside.
"""

from protocols.errors import CallerError


class Signer:
    """Holds one private signing key, wherever it lives."""

    def sign(self, data: bytes) -> bytes:
        """The signature in COSE form (r || s for ESP256); deterministic."""
        raise CallerError("this signer does not sign")


class CryptoProvider:
    """Encoding, compression, signatures and public-key encryption."""

    def encode(self, value: object) -> bytes:
        """Canonical CBOR."""
        raise CallerError("not provided")

    def decode(self, data: bytes) -> object:
        """The value of exactly one canonical CBOR item without tags."""
        raise CallerError("not provided")

    def decode_signed(self, data: bytes) -> object:
        """The value of exactly one CBOR item without tags; its signature is verified already."""
        raise CallerError("not provided")

    def tagged(self, tag: int, value: object) -> bytes:
        """Canonical CBOR of a value under a tag below 24."""
        raise CallerError("not provided")

    def untagged(self, data: bytes, tag: int) -> object:
        """The value under exactly this tag."""
        raise CallerError("not provided")

    def deflate(self, data: bytes) -> bytes:
        """A zlib stream."""
        raise CallerError("not provided")

    def inflate(self, data: bytes, size_max: int) -> bytes:
        """The content of exactly one zlib stream, at most `size_max` bytes."""
        raise CallerError("not provided")

    def verify(self, algorithm: int, public: bytes, data: bytes, signature: bytes) -> None:
        """Returns only if the signature fits."""
        raise CallerError("not provided")

    def encrypt(self, algorithm: int, public: bytes, plaintext: bytes, info: bytes) -> tuple:
        """(encapsulated key, ciphertext)."""
        raise CallerError("not provided")

    def decrypt(
        self, algorithm: int, private: bytes, enc: bytes, ciphertext: bytes, info: bytes
    ) -> bytes:
        """The plaintext."""
        raise CallerError("not provided")
