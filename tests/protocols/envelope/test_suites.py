"""protocols/envelope/suites.py: strict CBOR, bounded inflation, signatures and encryption."""

import math
import struct
import tracemalloc
import zlib
from typing import Any

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.envelope.keys import ALGORITHMS, ESP256, HPKE_X25519, HPKE_XWING
from protocols.envelope.provider import CryptoProvider, Signer
from protocols.envelope.suites import CBOR_DEPTH_MAX, FileSigner, Provider
from protocols.errors import CallerError, EnvelopeError
from tests.protocols.envelope.strategies import SCALARS, values
from tests.protocols.envelope.world import CLOUD_OPEN, CLOUD_OPEN_XWING, DATA_KEY, seed
from tests.protocols.outcome import outcome

P = Provider()
KEMS = {HPKE_X25519: CLOUD_OPEN, HPKE_XWING: CLOUD_OPEN_XWING}
ENC_SIZES = {HPKE_X25519: 32, HPKE_XWING: 1120}


def refused(function: Any, *arguments: Any) -> str:
    """The reason of the EnvelopeError."""
    with pytest.raises(EnvelopeError) as caught:
        function(*arguments)
    return caught.value.reason


def head(major: int, argument: int) -> bytes:
    """The shortest head of a CBOR item, made by hand."""
    for size, form in ((24, ""), (1 << 8, ">B"), (1 << 16, ">H"), (1 << 32, ">I"), (1 << 64, ">Q")):
        if argument < size:
            low = argument if not form else 24 + "BHIQ".index(form[1])
            return bytes((major << 5 | low,)) + (struct.pack(form, argument) if form else b"")
    raise AssertionError(argument)


def canonical(value: Any) -> bytes:
    """Canonical CBOR (RFC 7049 3.9) of our kinds of value: an encoder of its own."""
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(canonical, value))
    pairs = sorted(
        ((canonical(k), canonical(v)) for k, v in value.items()), key=lambda kv: (len(kv[0]), kv[0])
    )
    return head(5, len(pairs)) + b"".join(k + v for k, v in pairs)


OURS = st.recursive(
    st.integers(-(1 << 64), (1 << 64) - 1) | st.binary(max_size=300) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.dictionaries(st.integers(-70000, 70000) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=12,
)


# ---- CBOR --------------------------------------------------------------------------------------


@given(OURS)
def test_encoding_is_canonical_and_decoding_its_inverse(value: Any) -> None:
    """Oracle: an encoder written from the rules, forty lines above."""
    data = P.encode(value)
    assert data == canonical(value)
    assert P.decode(data) == value


NOT_CANONICAL = {
    "a number in two bytes": "1805",
    "a number in three bytes": "190017",
    "a number in five bytes": "1a00000018",
    "a number in nine bytes": "1b0000000000000018",
    "a long negative number": "3800",
    "a long byte string": "580161",
    "a long text": "78016b",
    "a long array": "980101",
    "a long map": "b8010102",
    "an indefinite byte string": "5f4101ff",
    "an indefinite text": "7f6161ff",
    "an indefinite array": "9f01ff",
    "an indefinite map": "bf0102ff",
    "a map out of order": "a202010101",
    "a map with its longer key first": "a2190100000001",
    "a map with the same key twice": "a201010102",
    "a map with equal keys of two types": "a20101f502",
    "a float in too many bytes": "fb3ff0000000000000",
    "another not-a-number": "f97e01",
    "a simple value in two bytes": "f814",
    "bytes behind": "0101",
    "a second item behind": "8080",
    "cut off": "820101"[:4],
    "nothing": "",
    "a break": "ff",
    "a reserved head": "1c",
    "bad UTF-8": "62c328",
    "a surrogate": "63eda080",
    "a huge array": "9b7fffffffffffffff",
    "a huge map": "bbffffffffffffffff",
    "a huge byte string": "5b7fffffffffffffff",
    "a large byte string that is not there": "5a7fffffff00",
    "a large text that is not there": "7b00000000ffffffff",
}


@pytest.mark.parametrize("kind", NOT_CANONICAL)
def test_other_forms_of_cbor_are_refused(kind: str) -> None:
    """One value has one encoding; everything else is malformed."""
    data = bytes.fromhex(NOT_CANONICAL[kind])
    assert refused(P.decode, data) == "malformed"
    assert refused(P.decode, b"\x81" + data) == "malformed"
    assert refused(P.untagged, b"\xd0" + data, 16) == "malformed"


# One value, one item, no tags, nothing indefinite, no key twice: what holds for a signed body too.
# Only the length of a head, the order of a map and the width of a float are left to the signer.
LOOSE = {
    kind: NOT_CANONICAL[kind]
    for kind in NOT_CANONICAL
    if kind.startswith(
        ("a number in", "a long", "a map out", "a map with its", "a float", "another")
    )
}


@pytest.mark.parametrize("kind", NOT_CANONICAL)
def test_a_signed_body_may_be_loose_and_nothing_more(kind: str) -> None:
    """Heads, order and float width are free under a signature; all else is refused there too."""
    data = bytes.fromhex(NOT_CANONICAL[kind])
    for one in (data, b"\x82\x01" + data):
        value, reason = outcome(EnvelopeError, P.decode_signed, one)
        assert reason == ("" if kind in LOOSE else "malformed")
        assert reason or P.encode(value) != one
    assert len(LOOSE) == 13


@given(OURS, st.binary(min_size=1, max_size=5000))
def test_a_signed_body_is_exactly_one_item(value: Any, behind: bytes) -> None:
    """Not a byte behind it, however much is read at once."""
    data = canonical(value)
    assert P.decode_signed(data) == value
    assert refused(P.decode_signed, data + behind) == "malformed"
    assert refused(P.decode_signed, data[:-1]) == "malformed"


def test_nesting_is_bounded() -> None:
    """As deep as allowed, and not one deeper; a thousand levels cost nothing."""
    assert CBOR_DEPTH_MAX == 8
    deep: Any = 0
    for _ in range(CBOR_DEPTH_MAX):
        deep = [deep]
    assert P.decode(canonical(deep)) == deep
    assert refused(P.decode, canonical([deep])) == "malformed"
    for start in (b"\x81", b"\xa1\x00"):
        for decode in (P.decode, P.decode_signed):
            assert refused(decode, start * 100_000 + b"\x00") == "malformed"


TAGS = [*range(300), 1004, 1040, 43000, 55799, 55800, 0xFFFF, 0x10000, 1 << 32, (1 << 64) - 1]
# What the library's own decoders take: numbers, texts, pairs, dates, UUIDs, network addresses.
UNDER_TAGS = [
    "00", "20", "4101", "420001", "6161", "80", "820102", "a0", "f6", "fb3ff8000000000000",
    "6a" + b"2026-11-21".hex(), "74" + b"2026-11-21T00:00:00Z".hex(),
    "44c0a80001", "50" + "20010db8" + "00" * 12, "a144c0a800001818",
]  # fmt: skip


@pytest.mark.parametrize("content", UNDER_TAGS)
def test_every_tag_is_refused_wherever_it_stands(content: str) -> None:
    """Big numbers, dates, regular expressions, shared references: none of them is ours."""
    for tag in TAGS:
        tagged = head(6, tag) + bytes.fromhex(content)
        for start, end in ((b"", b""), (b"\x81", b""), (b"\xa1\x01", b""), (b"\xa1", b"\x01")):
            assert refused(P.decode, start + tagged + end) == "malformed"
            assert refused(P.decode_signed, start + tagged + end) == "malformed"
        assert refused(P.untagged, b"\xd0" + tagged, 16) == "malformed"


def test_the_tag_in_front_is_the_one_expected() -> None:
    """COSE_Encrypt0 is no COSE_Sign1, and an untagged array is neither."""
    assert P.tagged(16, [1]) == b"\xd0\x81\x01"
    assert P.tagged(18, [1]) == b"\xd2\x81\x01"
    assert P.untagged(b"\xd2\x81\x01", 18) == [1]
    for data in (
        b"\xd0\x81\x01",
        b"\x81\x01",
        b"",
        b"\xd2",
        b"\xd2\xd2\x81\x01",
        b"\xd8\x12\x81\x01",
    ):
        assert refused(P.untagged, data, 18) == "malformed"


@given(
    st.binary(max_size=60)
    | values().map(cbor2.dumps)
    | st.tuples(values().map(cbor2.dumps), st.integers(0), st.integers(0, 255)).map(
        lambda one: one[0][: one[1] % (len(one[0]) + 1)] + bytes((one[2],)) + one[0][one[1] % 30 :]
    )
)
@example(b"\xf7")
@example(b"\xa1\x80\x00")
@example(b"\xa1\xa0\x00")
@example(b"\xa2\xf9\x7e\x00\x00\xf9\x7e\x00\x00")
def test_any_bytes_give_a_value_or_an_envelope_error(data: bytes) -> None:
    """The fuzz sentence of the decoder; what is accepted is encoded to the same bytes."""
    for decode in (P.decode, lambda some: P.untagged(some, 18)):
        value, reason = outcome(EnvelopeError, decode, data)
        assert reason == "malformed" or data.endswith(P.encode(value))
    value, reason = outcome(EnvelopeError, P.decode_signed, data)
    assert reason in ("", "malformed")
    assert reason or P.decode(P.encode(value)) == value or "nan" in repr(value)


@given(SCALARS.filter(lambda one: not isinstance(one, float) or not math.isnan(one)))
def test_a_scalar_comes_back_with_its_type(value: Any) -> None:
    """True does not become 1 and 1.0 does not become 1 on the way."""
    found = P.decode(P.encode(value))
    assert (found, type(found)) == (value, type(value))


# ---- compression -------------------------------------------------------------------------------


@given(st.binary(max_size=2000), st.integers(0, 60))
def test_what_was_deflated_is_inflated_up_to_the_limit(data: bytes, spare: int) -> None:
    """The limit itself is allowed, one byte more is not."""
    small = P.deflate(data)
    assert P.inflate(small, len(data) + spare) == data
    if data:
        assert refused(P.inflate, small, len(data) - 1) == "inflate_limit"


@pytest.mark.parametrize("size", [0, 1, 257, 32768, 65535, 65536, 1 << 20])
def test_the_limit_holds_at_sizes_where_zlib_changes_its_stride(size: int) -> None:
    """Window, block and buffer edges, for data that shrinks and data that does not."""
    for data in (bytes(size), seed("noise", size)):
        for level in (0, 1, 9):
            small = zlib.compress(data, level)
            assert P.inflate(small, size) == data
            assert size == 0 or refused(P.inflate, small, size - 1) == "inflate_limit"


def test_a_zip_bomb_is_stopped_at_the_limit() -> None:
    """64 MB in 64 kB: the memory used stays near the limit, not near the content."""
    block, limit = bytes(1 << 20), 1 << 20
    squeezer = zlib.compressobj(9)
    bomb = b"".join(squeezer.compress(block) for _ in range(64)) + squeezer.flush()
    assert len(bomb) < 70_000
    tracemalloc.start()
    try:
        assert refused(P.inflate, bomb, limit) == "inflate_limit"
        assert tracemalloc.get_traced_memory()[1] < 3 * limit
    finally:
        tracemalloc.stop()
    assert refused(P.inflate, P.deflate(P.deflate(block)), 500) == "inflate_limit"


def test_a_limit_of_nothing_lets_nothing_through() -> None:
    """Zero is a limit, not the absence of one."""
    assert P.inflate(P.deflate(b""), 0) == b""
    assert refused(P.inflate, P.deflate(b"x"), 0) == "inflate_limit"


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (lambda s: s + b"\x00", {"malformed"}),
        (lambda s: s + s, {"malformed"}),
        (lambda s: s[:-1], {"inflate_limit"}),
        (lambda s: s[: len(s) // 2], {"inflate_limit"}),
        (lambda s: s[:2], {"inflate_limit"}),
        (lambda s: b"", {"inflate_limit"}),
        (lambda s: s[2:-4], {"malformed"}),  # a bare deflate stream
        (lambda s: b"\x1f\x8b" + s, {"malformed"}),  # gzip
        (lambda s: s[:-1] + bytes((s[-1] ^ 1,)), {"malformed"}),  # checksum
        (lambda s: b"\x78\xbb" + b"\x00\x00\x00\x01" + s[2:], {"malformed"}),  # preset dictionary
    ],
)
def test_anything_but_one_whole_stream_is_refused(change: Any, reasons: set[str]) -> None:
    """Cut, doubled, followed by something, of another format, damaged."""
    stream = P.deflate(bytes(range(256)) * 4)
    assert refused(P.inflate, change(stream), 5000) in reasons


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: b"\x78\xda" + tail))
def test_any_bytes_inflate_within_the_limit_or_are_refused(data: bytes) -> None:
    """The fuzz sentence of the inflater."""
    out, reason = outcome(EnvelopeError, P.inflate, data, 100)
    assert reason in ("malformed", "inflate_limit") or len(out) <= 100


# ---- signatures --------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_a_signature_is_deterministic_and_verifies(data: bytes) -> None:
    """64 bytes, the same each time, and a public library alone agrees."""
    signer = P.signer(ESP256, DATA_KEY.private)
    signature = signer.sign(data)
    assert signature == signer.sign(data)
    assert len(signature) == 64
    P.verify(ESP256, DATA_KEY.record.public, data, signature)
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), DATA_KEY.record.public)
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    public.verify(encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(encode_dss_signature(r, s), data + b"x", ec.ECDSA(SHA256()))


def test_the_signature_of_rfc_6979_is_reproduced() -> None:
    """A.2.5, P-256 with SHA-256, "sample": a vector from outside."""
    private = bytes.fromhex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
    assert P.signer(ESP256, private).sign(b"sample") == bytes.fromhex(
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
    )


SIGNATURE = P.signer(ESP256, DATA_KEY.private).sign(b"data")


@pytest.mark.parametrize(
    ("algorithm", "public", "data", "signature"),
    [
        (ESP256, DATA_KEY.record.public, b"data", SIGNATURE[:-1]),
        (ESP256, DATA_KEY.record.public, b"data", SIGNATURE + b"\x00"),
        (ESP256, DATA_KEY.record.public, b"data", b""),
        (ESP256, DATA_KEY.record.public, b"data", bytes(64)),
        (ESP256, DATA_KEY.record.public, b"data", b"\xff" * 64),
        (ESP256, DATA_KEY.record.public, b"data", SIGNATURE[32:] + SIGNATURE[:32]),
        (ESP256, DATA_KEY.record.public, b"Data", SIGNATURE),
        (ESP256, DATA_KEY.record.public, b"", SIGNATURE),
        (ESP256, CLOUD_OPEN.record.public, b"data", SIGNATURE),
        (ESP256, b"", b"data", SIGNATURE),
        (ESP256, b"\x00", b"data", SIGNATURE),
        (ESP256, b"\x02" + b"\xff" * 32, b"data", SIGNATURE),
        (ESP256, DATA_KEY.record.public[:-1], b"data", SIGNATURE),
        (HPKE_X25519, DATA_KEY.record.public, b"data", SIGNATURE),
        (-7, DATA_KEY.record.public, b"data", SIGNATURE),
        (None, DATA_KEY.record.public, b"data", SIGNATURE),
    ],
)
def test_a_wrong_signature_is_refused(
    algorithm: Any, public: bytes, data: bytes, signature: bytes
) -> None:
    """Size, value, data, key, algorithm: one word for all."""
    assert refused(P.verify, algorithm, public, data, signature) == "bad_signature"


@given(st.integers(0, 511))
def test_a_flipped_bit_of_a_signature_is_seen(bit: int) -> None:
    """Each of the 512."""
    damaged = bytearray(SIGNATURE)
    damaged[bit // 8] ^= 1 << bit % 8
    assert refused(P.verify, ESP256, DATA_KEY.record.public, b"data", bytes(damaged)) == (
        "bad_signature"
    )


@pytest.mark.parametrize("algorithm", [HPKE_X25519, HPKE_XWING, -7, 0])
def test_only_a_signature_algorithm_signs(algorithm: int) -> None:
    """A key record of another algorithm gives no signer."""
    assert refused(P.signer, algorithm, DATA_KEY.private) == "algorithm"


def test_a_signer_does_not_show_its_key() -> None:
    """Neither its text nor its attributes' text holds the private bytes."""
    signer = P.signer(ESP256, DATA_KEY.private)
    assert isinstance(signer, FileSigner)
    assert DATA_KEY.private.hex() not in f"{signer!r} {vars(signer)}"


# ---- encryption --------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", KEMS)
def test_what_was_encrypted_is_decrypted_with_the_same_info(algorithm: int) -> None:
    """And the encapsulated key has the documented size; every message has one of its own."""
    one = KEMS[algorithm]
    enc, sealed = P.encrypt(algorithm, one.record.public, b"plaintext", b"info")
    assert len(enc) == ENC_SIZES[algorithm]
    assert P.decrypt(algorithm, one.private, enc, sealed, b"info") == b"plaintext"
    assert P.encrypt(algorithm, one.record.public, b"plaintext", b"info")[0] != enc
    assert b"plaintext" not in enc + sealed


@pytest.mark.parametrize("algorithm", KEMS)
def test_what_does_not_fit_is_not_opened(algorithm: int) -> None:
    """Other info, other key, changed or missing bytes: one word, so nothing is learned from it."""
    one = KEMS[algorithm]
    other = P.generate(algorithm)[0]
    enc, sealed = P.encrypt(algorithm, one.record.public, b"plaintext", b"info")
    flipped = bytes((enc[0] ^ 1,)) + enc[1:]
    for private, key, text, info in (
        (one.private, enc, sealed, b"Info"),
        (one.private, enc, sealed, b""),
        (other, enc, sealed, b"info"),
        (one.private, flipped, sealed, b"info"),
        (one.private, bytes(len(enc)), sealed, b"info"),
        (one.private, b"\xff" * len(enc), sealed, b"info"),
        (one.private, enc[:-1], sealed, b"info"),
        (one.private, enc + b"\x00", sealed, b"info"),
        (one.private, b"", enc + sealed, b"info"),
        (one.private, enc, sealed[:-1], b"info"),
        (one.private, enc, sealed + b"\x00", b"info"),
        (one.private, enc, b"", b"info"),
        (one.private, enc, bytes((sealed[0] ^ 1,)) + sealed[1:], b"info"),
        (one.private, enc, sealed[:-1] + bytes((sealed[-1] ^ 1,)), b"info"),
    ):
        assert refused(P.decrypt, algorithm, private, key, text, info) == "unopenable"


LOW_ORDER = [0, 1, 325606250916557431795983626356110631294008115727848805560023387167927233504,
             39382357235489614581723060781553021112529911719440698176882885853963445705823,
             (1 << 255) - 20, (1 << 255) - 19, (1 << 255) - 18]  # fmt: skip


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_low_order_point_opens_nothing(point: int) -> None:
    """The points of X25519 whose shared secret is zero are no error of another kind."""
    enc = point.to_bytes(32, "little")
    for text in (b"", bytes(16), bytes(60)):
        assert refused(P.decrypt, HPKE_X25519, CLOUD_OPEN.private, enc, text, b"") == "unopenable"


@given(st.binary(max_size=64), st.binary(max_size=40))
def test_any_ciphertext_is_opened_or_unopenable(enc: bytes, text: bytes) -> None:
    """The fuzz sentence of decryption."""
    for algorithm, one in KEMS.items():
        padded = (enc + bytes(1120))[: ENC_SIZES[algorithm]]
        for key in (enc, padded):
            assert refused(P.decrypt, algorithm, one.private, key, text, b"i") == "unopenable"


@pytest.mark.parametrize("algorithm", [ESP256, 0, -1, None])
def test_only_an_encryption_algorithm_encrypts(algorithm: Any) -> None:
    """A signing key neither seals nor opens."""
    public, private = DATA_KEY.record.public, DATA_KEY.private
    assert refused(P.encrypt, algorithm, public, b"", b"") == "algorithm"
    assert refused(P.decrypt, algorithm, private, b"", b"", b"") == "algorithm"


# ---- keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "private_size", "public_size"),
    [(ESP256, 32, 33), (HPKE_X25519, 32, 32), (HPKE_XWING, 96, 1216)],
)
def test_a_generated_key_works_and_is_fresh(
    algorithm: int, private_size: int, public_size: int
) -> None:
    """Of the documented sizes, and never the same twice."""
    private, public = P.generate(algorithm)
    assert (len(private), len(public)) == (private_size, public_size)
    assert P.generate(algorithm) != (private, public)
    if algorithm == ESP256:
        P.verify(ESP256, public, b"data", P.signer(ESP256, private).sign(b"data"))
    else:
        enc, sealed = P.encrypt(algorithm, public, b"data", b"")
        assert P.decrypt(algorithm, private, enc, sealed, b"") == b"data"


def test_an_unknown_algorithm_generates_nothing() -> None:
    """The table of suites is closed."""
    assert refused(P.generate, -7) == "algorithm"
    assert len(ALGORITHMS) == 3


def test_a_key_is_named_by_its_public_bytes() -> None:
    """Eight bytes of SHA-256 ("abc" is FIPS 180's own example)."""
    assert P.kid(b"abc") == bytes.fromhex("ba7816bf8f01cfea")


def test_a_provider_without_a_binding_is_our_own_mistake() -> None:
    """Every method of the seam is named there and refuses by itself."""
    bare = CryptoProvider()
    for call in (
        lambda: bare.encode(0), lambda: bare.decode(b""), lambda: bare.tagged(16, 0),
        lambda: bare.decode_signed(b""),
        lambda: bare.untagged(b"", 16), lambda: bare.deflate(b""), lambda: bare.inflate(b"", 1),
        lambda: bare.verify(ESP256, b"", b"", b""), lambda: Signer().sign(b""),
        lambda: bare.encrypt(HPKE_X25519, b"", b"", b""),
        lambda: bare.decrypt(HPKE_X25519, b"", b"", b"", b""),
    ):  # fmt: skip
        with pytest.raises(CallerError):
            call()
    seam = {name for name in vars(CryptoProvider) if not name.startswith("_")}
    assert seam <= set(vars(Provider))
