"""A P-256 private key in a file: PKCS#8, PEM, encrypted with a passphrase.

The form is the standard's (RFC 5958, RFC 8018, RFC 7914), so other tools read it too. The library
writes it with 2,048 rounds of PBKDF2, which a thief of the file tries millions of times a second;
here it is scrypt with 16 MiB, so the few bytes around the ciphertext are put together by hand.
"""

import base64
import hashlib
import os
import textwrap

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from protocols.errors import CallerError

PASSPHRASE_LENGTH_MIN = 12
PASSPHRASE_LENGTH_MAX = 1000
SCRYPT_N = 1 << 14  # 16 MiB: what OpenSSL reads without being told to
SCRYPT_R = 8
SCRYPT_P = 5
_SALT_SIZE = 16
_BLOCK_SIZE = 16
_KEY_SIZE = 32
_SEQUENCE, _INTEGER, _OCTETS, _OID = 0x30, 0x02, 0x04, 0x06
_PBES2 = bytes.fromhex("2a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT = bytes.fromhex("2b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_AES_256_CBC = bytes.fromhex("60864801650304012a")  # 2.16.840.1.101.3.4.1.42


def check_passphrase(passphrase: bytes) -> None:
    """CallerError when it is too short to be one."""
    try:
        length = len(passphrase.decode())
    except UnicodeDecodeError:
        raise CallerError("a passphrase is UTF-8 text") from None
    if not PASSPHRASE_LENGTH_MIN <= length <= PASSPHRASE_LENGTH_MAX:
        raise CallerError(
            f"a passphrase has {PASSPHRASE_LENGTH_MIN} to {PASSPHRASE_LENGTH_MAX} characters"
        )


def encrypted_pem(private: bytes, passphrase: bytes) -> bytes:
    """The file's content for a private number of 32 bytes; CallerError for a poor passphrase."""
    check_passphrase(passphrase)
    key = ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1())
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    salt, iv = os.urandom(_SALT_SIZE), os.urandom(_BLOCK_SIZE)
    secret = hashlib.scrypt(
        passphrase, salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, maxmem=1 << 26, dklen=_KEY_SIZE
    )
    padder = PKCS7(8 * _BLOCK_SIZE).padder()
    encryptor = Cipher(algorithms.AES256(secret), modes.CBC(iv)).encryptor()
    padded = padder.update(plain) + padder.finalize()
    ciphertext = encryptor.update(padded) + encryptor.finalize()
    numbers = (_integer(one) for one in (SCRYPT_N, SCRYPT_R, SCRYPT_P))
    derivation = _sequence(_tlv(_OID, _SCRYPT), _sequence(_tlv(_OCTETS, salt), *numbers))
    cipher = _sequence(_tlv(_OID, _AES_256_CBC), _tlv(_OCTETS, iv))
    algorithm = _sequence(_tlv(_OID, _PBES2), _sequence(derivation, cipher))
    text = base64.b64encode(_sequence(algorithm, _tlv(_OCTETS, ciphertext))).decode()
    name = "ENCRYPTED PRIVATE KEY"
    lines = [f"-----BEGIN {name}-----", *textwrap.wrap(text, 64), f"-----END {name}-----", ""]
    return "\n".join(lines).encode()


def private_of_pem(pem: bytes, passphrase: bytes) -> bytes:
    """The private number, 32 bytes; CallerError, without a cause that could quote it, when the
    passphrase does not fit or the file holds no such key."""
    if b"BEGIN ENCRYPTED PRIVATE KEY" not in pem:
        raise CallerError("is no encrypted private key (PKCS#8 in PEM)")
    try:
        key = load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CallerError("the passphrase does not fit, or the file is damaged") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise CallerError("is no P-256 key")
    return key.private_numbers().private_value.to_bytes(32, "big")


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _sequence(*parts: bytes) -> bytes:
    return _tlv(_SEQUENCE, b"".join(parts))


def _integer(value: int) -> bytes:
    return _tlv(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))
