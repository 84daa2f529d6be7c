"""What is on the wire is what the format's description says: checked with `cbor2` and
`cryptography` alone, step by step, without our opener. HPKE over X25519 is checked against RFC 9180
itself, written out from its labels; X-Wing through the library's own interface.

    ctx    = canon(["busbar/1", kind, sender, recipient, topic])         never sent
    inner  = 18([{1: -9, 4: kid}, {}, canon([claims, body]), signature])   ctx as external data
    outer  = 16([{1: -65601, 4: kid}, {-4: enc}, ciphertext])              info = canon(["Encrypt0",
                                                                           protected, ctx])
"""

import hashlib
import hmac
import json
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite

from tests.protocols.envelope.world import (
    BODY,
    CLAIMS,
    CLOUD_OPEN,
    CLOUD_OPEN_XWING,
    DATA_KEY,
    UP,
    sealed,
)
from tests.protocols.make_envelope_vectors import FILE

DOCUMENT = json.loads(FILE.read_text(encoding="utf-8"))


def canon(value: Any) -> bytes:
    """Canonical CBOR."""
    return cbor2.dumps(value, canonical=True)


# ---- RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM -----------------

KEM_ID = b"KEM" + b"\x00\x20"
HPKE_ID = b"HPKE" + b"\x00\x20" + b"\x00\x01" + b"\x00\x01"


def extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    """LabeledExtract (4)."""
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def expand(suite: bytes, prk: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """LabeledExpand (4); one block of HKDF is enough."""
    labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(prk, labeled + b"\x01", "sha256")[:size]


def shared_secret(private: bytes, enc: bytes) -> bytes:
    """Decap (4.1)."""
    key = x25519.X25519PrivateKey.from_private_bytes(private)
    shared = key.exchange(x25519.X25519PublicKey.from_public_bytes(enc))
    kem_context = enc + key.public_key().public_bytes_raw()
    eae_prk = extract(KEM_ID, b"", b"eae_prk", shared)
    return expand(KEM_ID, eae_prk, b"shared_secret", kem_context, 32)


def key_schedule(secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Key and base nonce (5.1)."""
    context = b"\x00" + extract(HPKE_ID, b"", b"psk_id_hash", b"")
    context += extract(HPKE_ID, b"", b"info_hash", info)
    scheduled = extract(HPKE_ID, secret, b"secret", b"")
    return (
        expand(HPKE_ID, scheduled, b"key", context, 16),
        expand(HPKE_ID, scheduled, b"base_nonce", context, 12),
    )


def hpke_open(private: bytes, enc: bytes, text: bytes, info: bytes) -> bytes:
    """The first message (5.2); the profile has no associated data."""
    key, nonce = key_schedule(shared_secret(private, enc), info)
    return AESGCM(key).decrypt(nonce, text, b"")


def xwing_open(private: bytes, enc: bytes, text: bytes, info: bytes) -> bytes:
    """The library's suite over a key made of its two halves."""
    key = MLKEM768X25519PrivateKey(
        mlkem.MLKEM768PrivateKey.from_seed_bytes(private[:64]),
        x25519.X25519PrivateKey.from_private_bytes(private[64:]),
    )
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
    return suite.decrypt(enc + text, key, info=info)


OPENERS = {-65601: (hpke_open, 32), -65602: (xwing_open, 1120)}


def check_wire(
    message: bytes,
    context: list[str],
    recipient: tuple[int, bytes, bytes],
    signer: tuple[bytes, bytes],
    claims: dict[int, Any],
    body: bytes,
) -> None:
    """Every step of the description. `recipient` is (algorithm, public, private), `signer`
    (public, kid)."""
    ctx = canon(["busbar/1", *context])
    algorithm, public, private = recipient
    opener, enc_size = OPENERS[algorithm]

    outer = cbor2.loads(message)
    assert (type(outer), outer.tag) == (cbor2.CBORTag, 16)
    assert canon(outer) == message
    protected, headers, text = outer.value
    assert protected == canon({1: algorithm, 4: hashlib.sha256(public).digest()[:8]})
    assert list(headers) == [-4]
    assert len(headers[-4]) == enc_size

    inner = opener(private, headers[-4], text, canon(["Encrypt0", protected, ctx]))
    assert len(text) == len(inner) + 16
    sign1 = cbor2.loads(inner)
    assert (type(sign1), sign1.tag) == (cbor2.CBORTag, 18)
    assert canon(sign1) == inner
    protected, headers, payload, signature = sign1.value
    assert (protected, headers) == (canon({1: -9, 4: signer[1]}), {})

    assert len(signature) == 64
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), signer[0])
    sig_structure = canon(["Signature1", protected, ctx, payload])
    key.verify(encode_dss_signature(r, s), sig_structure, ec.ECDSA(SHA256()))

    assert payload == canon([claims, body])
    assert cbor2.loads(payload) == [claims, body]


@pytest.mark.parametrize("recipient", [CLOUD_OPEN, CLOUD_OPEN_XWING], ids=["x25519", "x-wing"])
def test_a_fresh_message_is_as_described(recipient: Any) -> None:
    """Whoever has the description and the two libraries can open and verify it."""
    record = recipient.record
    assert 4 not in CLAIMS.to_map()
    check_wire(
        sealed(recipient=recipient),
        list(UP),
        (record.algorithm, record.public, recipient.private),
        (DATA_KEY.record.public, DATA_KEY.record.kid),
        {1: 7, 2: CLAIMS.issued_at, 3: 0, 5: b"epoch--1", 6: 1},
        BODY,
    )


@pytest.mark.parametrize("vector", DOCUMENT["messages"], ids=lambda vector: vector["name"])
def test_a_frozen_message_is_as_described(vector: dict[str, Any]) -> None:
    """With nothing of ours but the file."""
    recipient, signer = DOCUMENT["keys"][vector["recipient"]], DOCUMENT["keys"][vector["signer"]]
    stated, context = vector["claims"], vector["context"]
    claims = {
        1: stated["sequence"],
        2: stated["issued_at"],
        3: stated["expires_at"],
        5: bytes.fromhex(stated["epoch"]),
        6: stated["content_type"],
    }
    if stated["nonce"]:
        claims[4] = bytes.fromhex(stated["nonce"])
    check_wire(
        bytes.fromhex(vector["message"]),
        [context["kind"], context["sender"], context["recipient"], context["topic"]],
        (
            recipient["record"]["algorithm"],
            bytes.fromhex(recipient["record"]["public"]),
            bytes.fromhex(recipient["private"]),
        ),
        (bytes.fromhex(signer["record"]["public"]), bytes.fromhex(signer["record"]["kid"])),
        claims,
        bytes.fromhex(vector["body"]),
    )


def test_the_hpke_of_this_test_is_that_of_rfc_9180() -> None:
    """A.1.1.1, sequence 0: the check above checks against the standard, not against itself."""
    private = bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
    enc = bytes.fromhex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")
    secret = shared_secret(private, enc)
    assert secret.hex() == "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc"
    key, nonce = key_schedule(secret, b"Ode on a Grecian Urn")
    assert key.hex() == "4531685d41d65f03dc48f6b8302c05b0"
    assert nonce.hex() == "56d890e5accaaf011cff4b7d"
    text = bytes.fromhex(
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
    )
    assert AESGCM(key).decrypt(nonce, text, b"Count-0") == b"Beauty is truth, truth beauty"
