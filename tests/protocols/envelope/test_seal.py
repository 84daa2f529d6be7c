"""protocols/envelope/seal.py: a message opens for whom, from whom and where it was meant, or not.

`forged` builds what an attacker can build: anybody may encrypt to a public key, and a party may
sign whatever it likes with its own key.
"""

import hashlib
import random
from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.envelope.claims import Claims, ReplayWindow, check_times
from protocols.envelope.keys import ESP256, HPKE_X25519, HPKE_XWING, KeySet, PrivateKey, Use
from protocols.envelope.seal import (
    BODY_SIZE_MAX,
    MESSAGE_SIZE_MAX,
    PROFILE,
    Context,
    Opened,
    open_sealed,
)
from protocols.errors import EnvelopeError
from tests.protocols.envelope.strategies import values
from tests.protocols.envelope.world import (
    ACK_KEY,
    BODY,
    CLAIMS,
    CLOUD_KEYS,
    CLOUD_OPEN,
    CLOUD_OPEN_XWING,
    DATA_KEY,
    DAY,
    DOWN,
    GATEWAY,
    GATEWAY_KEYS,
    GATEWAY_OPEN,
    HEAD_END,
    NOW,
    ORDER_CLAIMS,
    ORDER_KEY,
    OTHER_DATA_KEY,
    OTHER_GATEWAY,
    OTHER_KEYS,
    OTHER_OPEN,
    PROVIDER,
    STRANGER_KEY,
    TRUSTED,
    UP,
    key,
    opened,
    sealed,
)
from tests.protocols.outcome import outcome

GOOD = sealed()
SEED = 20261121


def refused(message: bytes, **how: Any) -> str:
    """The reason why the message does not open."""
    with pytest.raises(EnvelopeError) as caught:
        opened(message, **how)
    return caught.value.reason


def canon(value: Any) -> bytes:
    """Canonical CBOR from the library alone."""
    return cbor2.dumps(value, canonical=True)


def signed(
    protected: Any = ...,
    payload: Any = ...,
    signature: Any = ...,
    context: Context = UP,
    signer: PrivateKey = DATA_KEY,
) -> list[Any]:
    """The four parts of the inner message, each replaceable; the signature fits the rest."""
    protected = canon({1: ESP256, 4: signer.record.kid}) if protected is ... else protected
    payload = canon([CLAIMS.to_map(), BODY]) if payload is ... else payload
    ctx = canon([PROFILE, *context])
    if signature is ...:
        to_sign = canon(["Signature1", protected, ctx, payload])
        signature = PROVIDER.signer(ESP256, signer.private).sign(to_sign)
    return [protected, {}, payload, signature]


def forged(
    inner: bytes | None = None,
    outer: Any = ...,
    label: Any = -4,
    enc: Any = ...,
    context: Context = UP,
    recipient: PrivateKey = CLOUD_OPEN,
) -> bytes:
    """A message whose encryption is good, with any inner bytes and any outer headers."""
    inner = b"\xd2" + canon(signed()) if inner is None else inner
    record = recipient.record
    outer = canon({1: record.algorithm, 4: record.kid}) if outer is ... else outer
    info = canon(["Encrypt0", outer, canon([PROFILE, *context])])
    real_enc, real_text = PROVIDER.encrypt(record.algorithm, record.public, inner, info)
    return b"\xd0" + canon([outer, {label: real_enc if enc is ... else enc}, real_text])


def in_message(inner: list[Any]) -> bytes:
    """A forged message around these inner parts."""
    return forged(b"\xd2" + canon(inner))


# ---- what opens --------------------------------------------------------------------------------


@pytest.mark.parametrize("recipient", [CLOUD_OPEN, CLOUD_OPEN_XWING], ids=["x25519", "x-wing"])
@pytest.mark.parametrize("size", [0, 1, 1000, 200_000])
def test_a_message_opens_to_what_was_sealed(recipient: PrivateKey, size: int) -> None:
    """Claims, body and the signer's record come out, in both suites."""
    body = random.Random(size).randbytes(size)
    found = opened(sealed(recipient=recipient, body=body))
    assert type(found) is Opened
    assert found == (CLAIMS, body, DATA_KEY.record)
    assert type(found.claims) is Claims
    assert found.signer is TRUSTED.find(DATA_KEY.record.kid, GATEWAY, Use.SIGN_DATA, NOW)


def test_an_order_opens_at_its_gateway() -> None:
    """The way down is the same with the parties exchanged."""
    message = sealed(ORDER_KEY, GATEWAY_OPEN, DOWN, ORDER_CLAIMS)
    found = opened(message, own=GATEWAY_KEYS, use=Use.SIGN_ORDER, context=DOWN)
    assert found == (ORDER_CLAIMS, BODY, ORDER_KEY.record)


def test_the_forger_of_these_tests_makes_good_messages() -> None:
    """So the attacks below fail for the one thing that they change."""
    assert opened(forged()) == opened(GOOD) == opened(in_message(signed()))


def test_the_context_is_not_sent() -> None:
    """Neither tenant, gateway, kind nor body can be read on the wire."""
    message = sealed(body=b"plaintext canary")
    for secret in (b"busbar", b"gw1", b"head-end", b"data", b"canary", CLAIMS.epoch):
        assert secret not in message
    assert message[:1] == b"\xd0"


def test_two_messages_of_the_same_content_differ() -> None:
    """A fresh key for each, so that equal readings do not show."""
    assert sealed() != GOOD
    assert len(sealed()) == len(GOOD)


def test_the_overhead_of_a_message_is_the_documented_one() -> None:
    """219 and 1,308 bytes over the compressed body were measured, claims included."""
    assert len(GOOD) - len(BODY) <= 225
    assert len(sealed(recipient=CLOUD_OPEN_XWING)) - len(BODY) <= 1_315


def test_a_time_that_is_unknown_is_not_judged() -> None:
    """A gateway without a clock still opens its acknowledgements."""
    assert opened(GOOD, now=0) == opened(GOOD)


# ---- one attack for each binding ---------------------------------------------------------------


@pytest.mark.parametrize(
    "context",
    [
        UP._replace(topic="busbar/1/t1/gw1/up/e"),
        UP._replace(topic="busbar/1/t1/gw1/up/d "),
        UP._replace(topic="busbar/1/t2/gw1/up/d"),
        UP._replace(topic="busbar/1/t1/gw2/up/d"),
        UP._replace(topic=""),
        UP._replace(kind="hello"),
        UP._replace(kind="receipt"),
        UP._replace(kind="order"),
        UP._replace(sender=OTHER_GATEWAY),
        UP._replace(sender=HEAD_END, recipient=GATEWAY),
        UP._replace(recipient=OTHER_GATEWAY),
        DOWN,
    ],
)
def test_a_message_that_was_moved_does_not_open(context: Context) -> None:
    """Other topic, kind, sender, recipient or direction: the encryption already fails."""
    assert refused(GOOD, context=context) == "unopenable"


def test_sender_and_topic_are_not_interchangeable() -> None:
    """The parts of the context have their places."""
    swapped = Context(UP.topic, UP.sender, UP.recipient, UP.kind)
    assert refused(GOOD, context=swapped) == "unopenable"
    assert (
        refused(GOOD, context=Context(UP.kind, UP.recipient, UP.sender, UP.topic)) == "unopenable"
    )


def test_a_message_that_is_sealed_again_elsewhere_does_not_verify() -> None:
    """Whoever can open a message may encrypt its inner part anew, for another topic or party; the
    signature is bound to the context by itself."""
    inner = b"\xd2" + canon(signed())
    for context in (
        UP._replace(topic="busbar/1/t1/gw1/up/e"),
        UP._replace(kind="receipt"),
        UP._replace(recipient=OTHER_GATEWAY),
    ):
        own = OTHER_KEYS if context.recipient == OTHER_GATEWAY else CLOUD_KEYS
        recipient = OTHER_OPEN if context.recipient == OTHER_GATEWAY else CLOUD_OPEN
        message = forged(inner, context=context, recipient=recipient)
        assert refused(message, own=own, context=context) == "bad_signature"


def test_an_order_forwarded_to_another_gateway_does_not_open() -> None:
    """Its key does not fit, and sealed again for the right key its signature does not."""
    message = sealed(ORDER_KEY, GATEWAY_OPEN, DOWN, ORDER_CLAIMS)
    there = DOWN._replace(recipient=OTHER_GATEWAY, topic="busbar/1/t1/gw2/dn/c")
    how = {"use": Use.SIGN_ORDER, "context": there}
    assert refused(message, own=OTHER_KEYS, **how) == "unknown_key"
    assert refused(message, own=OTHER_KEYS | GATEWAY_KEYS, **how) == "unopenable"
    inner = signed(payload=canon([ORDER_CLAIMS.to_map(), BODY]), context=DOWN, signer=ORDER_KEY)
    again = forged(b"\xd2" + canon(inner), context=there, recipient=OTHER_OPEN)
    assert refused(again, own=OTHER_KEYS, **how) == "bad_signature"


def test_a_message_of_another_sender_does_not_pass_for_ours() -> None:
    """Gateway 2 signs well, but it is not gateway 1; its own claim to be is named."""
    assert refused(sealed(OTHER_DATA_KEY)) == "key_owner"
    assert refused(sealed(OTHER_DATA_KEY, kid=DATA_KEY.record.kid)) == "bad_signature"


@pytest.mark.parametrize(
    ("signer", "use", "reason"),
    [
        (ACK_KEY, Use.SIGN_ORDER, "key_use"),
        (ORDER_KEY, Use.SIGN_ACK, "key_use"),
        (ORDER_KEY, Use.SIGN_DATA, "key_use"),
        (ORDER_KEY, Use.OPEN, "key_use"),
        (DATA_KEY, Use.SIGN_ORDER, "key_owner"),
    ],
)
def test_a_key_does_one_thing_only(signer: PrivateKey, use: str, reason: str) -> None:
    """The key that acknowledges can not order, whatever it signs."""
    message = sealed(signer, GATEWAY_OPEN, DOWN, ORDER_CLAIMS)
    assert refused(message, own=GATEWAY_KEYS, use=use, context=DOWN) == reason


def trusting(**terms: int) -> KeySet:
    """A key set that holds the gateway's key with other terms."""
    return KeySet((DATA_KEY.record._replace(**terms),))


@pytest.mark.parametrize(
    ("terms", "now", "reason"),
    [
        ({"revoked": NOW - 1}, NOW, "revoked_key"),
        ({"revoked": 1}, 0, "revoked_key"),
        ({"not_after": NOW - 1}, NOW, "key_time"),
        ({"not_before": NOW + 1}, NOW, "key_time"),
        ({}, NOW + 2 * DAY, "key_time"),
        ({}, NOW - 2 * DAY, "key_time"),
    ],
)
def test_a_revoked_or_expired_key_signs_nothing(
    terms: dict[str, int], now: int, reason: str
) -> None:
    """A revocation holds even where the time is unknown."""
    assert opened(GOOD, trusted=trusting()) == opened(GOOD)
    assert refused(GOOD, trusted=trusting(**terms), now=now) == reason


def test_an_unknown_signer_is_named() -> None:
    """A key that no set holds, and an empty set."""
    assert refused(sealed(STRANGER_KEY)) == "unknown_key"
    assert refused(GOOD, trusted=KeySet()) == "unknown_key"
    assert refused(sealed(STRANGER_KEY, kid=DATA_KEY.record.kid)) == "bad_signature"


def test_an_unknown_recipient_key_is_named() -> None:
    """Not encrypted to us: nothing is tried."""
    assert refused(GOOD, own={}) == "unknown_key"
    assert refused(GOOD, own=GATEWAY_KEYS) == "unknown_key"
    assert refused(forged(outer=canon({1: HPKE_X25519, 4: b"\x00" * 8}))) == "unknown_key"


def test_another_key_under_our_name_opens_nothing() -> None:
    """The kid finds the key, it does not prove it."""
    own = {CLOUD_OPEN.record.kid: GATEWAY_OPEN}
    assert refused(GOOD, own=own) == "unopenable"


@pytest.mark.parametrize("algorithm", [ESP256, HPKE_XWING, -65603, 0, 41, None, "x", -65601.0])
def test_the_algorithm_of_the_outer_header_must_be_the_key_records(algorithm: Any) -> None:
    """A message can not choose one."""
    outer = canon({1: algorithm, 4: CLOUD_OPEN.record.kid})
    assert refused(forged(outer=outer)) == "malformed"


@pytest.mark.parametrize("algorithm", [-7, -8, HPKE_X25519, 0, -48])
def test_the_algorithm_of_the_signature_must_be_the_key_records(algorithm: int) -> None:
    """Also when the signature itself would fit."""
    protected = canon({1: algorithm, 4: DATA_KEY.record.kid})
    assert refused(in_message(signed(protected=protected))) == "bad_signature"


def test_a_key_record_of_another_algorithm_verifies_nothing() -> None:
    """A record that is damaged on our side does not let a message through."""
    odd = KeySet((DATA_KEY.record._replace(algorithm=HPKE_X25519),))
    assert refused(GOOD, trusted=odd) == "bad_signature"
    protected = canon({1: HPKE_X25519, 4: DATA_KEY.record.kid})
    assert refused(in_message(signed(protected=protected)), trusted=odd) == "bad_signature"


# ---- signed claims -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 8},
        {"issued_at": NOW},
        {"expires_at": NOW + DAY},
        {"epoch": b"epoch--2"},
        {"nonce": b"n" * 16},
        {"content_type": 3},
    ],
)
def test_edited_claims_do_not_verify(change: dict[str, Any]) -> None:
    """Sequence, times, epoch, nonce and type are under the signature: whoever can open a message
    still can not renumber it."""
    good = signed()
    edited = canon([CLAIMS._replace(**change).to_map(), BODY])
    assert refused(in_message([good[0], {}, edited, good[3]])) == "bad_signature"


def test_an_edited_body_does_not_verify() -> None:
    """The body is under the signature too."""
    good = signed()
    edited = canon([CLAIMS.to_map(), BODY + b"\x00"])
    assert refused(in_message([good[0], {}, edited, good[3]])) == "bad_signature"


def test_a_replayed_message_opens_and_its_claims_give_it_away() -> None:
    """Opening needs no memory; the window of the receiver does the rest."""
    window = ReplayWindow(0, 0).accept(opened(GOOD).claims.sequence)
    with pytest.raises(EnvelopeError) as caught:
        window.accept(opened(GOOD).claims.sequence)
    assert caught.value.reason == "replayed"


def test_an_expired_message_opens_and_its_claims_give_it_away() -> None:
    """Evidence stays readable; what may still act on it is judged after."""
    claims = CLAIMS._replace(expires_at=NOW - 1)
    found = opened(sealed(claims=claims))
    with pytest.raises(EnvelopeError) as caught:
        check_times(found.claims, NOW)
    assert caught.value.reason == "expired"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "malformed"),
        (b"\x00", "malformed"),
        (canon([]), "malformed"),
        (canon([CLAIMS.to_map()]), "malformed"),
        (canon([CLAIMS.to_map(), BODY, 0]), "malformed"),
        (canon({0: CLAIMS.to_map(), 1: BODY}), "malformed"),
        (canon([CLAIMS.to_map(), "body"]), "schema"),
        (canon([CLAIMS.to_map(), None]), "schema"),
        (canon([CLAIMS.to_map(), [1]]), "schema"),
        (canon([{}, BODY]), "schema"),
        (canon([[], BODY]), "schema"),
        (canon([{**CLAIMS.to_map(), 9: 1}, BODY]), "schema"),
        (canon([{**CLAIMS.to_map(), 1: -1}, BODY]), "schema"),
        (canon([{**CLAIMS.to_map(), 1: True}, BODY]), "schema"),
        (canon([CLAIMS.to_map(), BODY]) + b"\x00", "malformed"),
        (b"\xd2" + canon([CLAIMS.to_map(), BODY]), "malformed"),
        (b"\x9f" + canon([CLAIMS.to_map(), BODY])[1:] + b"\xff", "malformed"),
    ],
)
def test_a_signed_but_faulty_payload_is_refused(payload: bytes, reason: str) -> None:
    """A good signature does not excuse a bad form."""
    assert refused(in_message(signed(payload=payload))) == reason


# ---- headers -----------------------------------------------------------------------------------

KID = CLOUD_OPEN.record.kid
OUTER = {
    "no headers": canon({}),
    "no kid": canon({1: HPKE_X25519}),
    "no algorithm": canon({4: KID}),
    "one more": canon({1: HPKE_X25519, 2: [1], 4: KID}),
    "a text kid": canon({1: HPKE_X25519, 4: "kid"}),
    "a number as kid": canon({1: HPKE_X25519, 4: 7}),
    "another label": canon({1: HPKE_X25519, 5: KID}),
    "a label that only equals 1": canon({1.0: HPKE_X25519, 4: KID}),
    "a label that is true": canon({True: HPKE_X25519, 4: KID}),
    "a label that only equals 4": canon({1: HPKE_X25519, 4.0: KID}),
    "an array": canon([HPKE_X25519, KID]),
    "nothing": b"",
    "bytes behind": canon({1: HPKE_X25519, 4: KID}) + b"\x00",
    "out of order": b"\xa2\x04\x48" + KID + b"\x01" + canon(HPKE_X25519),
    "twice": b"\xa3\x01" + canon(HPKE_X25519) + b"\x01" + canon(HPKE_X25519) + b"\x04\x48" + KID,
    "indefinite": b"\xbf\x01" + canon(HPKE_X25519) + b"\x04\x48" + KID + b"\xff",
    "a long number": b"\xa2\x18\x01" + canon(HPKE_X25519) + b"\x04\x48" + KID,
    "a tag": b"\xd8\x20" + canon({1: HPKE_X25519, 4: KID}),
    "no bytes": {1: HPKE_X25519, 4: KID},
    "text": "a2",
    "none": None,
}


@pytest.mark.parametrize("case", OUTER)
def test_an_outer_header_has_exactly_algorithm_and_kid(case: str) -> None:
    """In canonical form, as bytes."""
    outer = OUTER[case]
    assert refused(forged(outer=outer)) == "malformed"


INNER = {case: header for case, header in OUTER.items() if case not in ("no bytes", "text", "none")}


@pytest.mark.parametrize("case", INNER)
def test_an_inner_header_has_exactly_algorithm_and_kid(case: str) -> None:
    """Even under a good signature."""
    header = INNER[case]
    kid, algorithm = DATA_KEY.record.kid, canon(ESP256)
    protected = header.replace(KID, kid).replace(canon(HPKE_X25519), algorithm)
    assert refused(in_message(signed(protected=protected))) == "malformed"


@pytest.mark.parametrize("label", [4, -5, "-4", b"\x23", None, False, -4.0])
def test_the_encapsulated_key_has_its_label(label: Any) -> None:
    """-4 and nothing that only equals it: a broker can not rewrite a message into another form."""
    assert refused(forged(label=label)) == "malformed"


@pytest.mark.parametrize("enc", ["text", 5, [b""], {}, True, None])
def test_the_encapsulated_key_is_bytes(enc: Any) -> None:
    """Of the size of its suite."""
    assert refused(forged(enc=enc)) == "malformed"


def test_the_encapsulated_key_has_its_size() -> None:
    """Moving bytes between it and the ciphertext does not open."""
    outer, headers, text = cbor2.loads(GOOD[1:])
    for cut in (0, 31, 33, 64):
        both = headers[-4] + text
        moved = b"\xd0" + canon([outer, {-4: both[:cut]}, both[cut:]])
        assert refused(moved) == "unopenable"


@pytest.mark.parametrize(
    "change",
    [
        lambda outer, headers, text: [],
        lambda outer, headers, text: [outer, headers],
        lambda outer, headers, text: [outer, headers, text, b""],
        lambda outer, headers, text: {0: outer, 1: headers, 2: text},
        lambda outer, headers, text: [headers, outer, text],
        lambda outer, headers, text: [outer, {}, text],
        lambda outer, headers, text: [outer, [headers[-4]], text],
        lambda outer, headers, text: [outer, {**headers, 5: b""}, text],
        lambda outer, headers, text: [outer, headers, "text"],
        lambda outer, headers, text: [outer, headers, None],
        lambda outer, headers, text: [outer, headers, [text]],
        lambda outer, headers, text: b"",
        lambda outer, headers, text: 5,
        lambda outer, headers, text: None,
    ],
)
def test_the_outer_message_has_exactly_three_parts(change: Callable[..., Any]) -> None:
    """Headers, one unprotected header, ciphertext."""
    assert refused(b"\xd0" + canon(change(*cbor2.loads(GOOD[1:])))) == "malformed"


@pytest.mark.parametrize(
    "inner",
    [
        [],
        signed()[:3],
        [*signed(), b""],
        {0: 1},
        5,
        [signed()[0], [], *signed()[2:]],
        [signed()[0], {4: b""}, *signed()[2:]],
        [signed()[0], None, *signed()[2:]],
        [*signed()[:2], None, signed()[3]],
        [*signed()[:2], "payload", signed()[3]],
        [*signed()[:3], None],
        [*signed()[:3], "s" * 64],
        [None, *signed()[1:]],
        ["protected", *signed()[1:]],
    ],
)
def test_the_inner_message_has_exactly_four_parts(inner: Any) -> None:
    """Whoever encrypts to us may put anything inside."""
    assert refused(in_message(inner)) == "malformed"


@pytest.mark.parametrize("signature", [b"", b"\x00" * 63, b"\x00" * 64, b"\xff" * 64, b"\x00" * 65])
def test_a_signature_of_another_size_or_value_is_refused(signature: bytes) -> None:
    """64 bytes that fit."""
    assert refused(in_message(signed(signature=signature))) == "bad_signature"


@pytest.mark.parametrize(
    "inner",
    [
        b"",
        b"\xd2",
        canon(signed()),  # without its tag
        b"\xd0" + canon(signed()),  # under the other tag
        b"\xd8\x12" + canon(signed()),  # its tag in the long form
        b"\xd2\xd2" + canon(signed()),
        b"\xd9\xd9\xf7\xd2" + canon(signed()),
        b"\xd2" + canon(signed()) + b"\x00",
        GOOD,  # a message inside a message
    ],
)
def test_the_inner_message_is_one_tagged_item(inner: bytes) -> None:
    """Exactly one, under exactly one tag."""
    assert refused(forged(inner)) == "malformed"


def test_an_unsigned_message_is_refused() -> None:
    """Encrypted to us alone proves nothing: the inner payload without a signature is no message."""
    assert refused(forged(canon([CLAIMS.to_map(), BODY]))) == "malformed"


# ---- damage ------------------------------------------------------------------------------------

HEADERS = GOOD.index(cbor2.loads(GOOD[1:])[2])  # where the ciphertext begins


def test_a_flipped_bit_anywhere_is_refused() -> None:
    """Every bit of the headers, and a bit of every third byte of the rest."""
    source = random.Random(SEED)
    places = [(at, bit) for at in range(HEADERS) for bit in range(8)]
    places += [(at, source.randrange(8)) for at in range(HEADERS, len(GOOD), 3)]
    places += [(len(GOOD) - 1, bit) for bit in range(8)]
    reasons = set()
    for at, bit in places:
        damaged = bytearray(GOOD)
        damaged[at] ^= 1 << bit
        reasons.add(refused(bytes(damaged)))
    assert reasons == {"malformed", "unknown_key", "unopenable"}


def test_a_flipped_bit_in_an_x_wing_message_is_refused() -> None:
    """Sampled over both encapsulated keys and the ciphertext."""
    message = sealed(recipient=CLOUD_OPEN_XWING)
    for at in range(1, len(message), 37):
        damaged = bytearray(message)
        damaged[at] ^= 1 << at % 8
        assert refused(bytes(damaged)) in ("malformed", "unknown_key", "unopenable")


def test_a_flipped_bit_inside_is_refused_too() -> None:
    """Whoever can open may change the inside and encrypt again: every bit of it is checked."""
    inner = b"\xd2" + canon(signed())
    for at in range(len(inner)):
        damaged = bytearray(inner)
        damaged[at] ^= 1 << at % 8
        assert refused(forged(bytes(damaged))) in ("malformed", "unknown_key", "bad_signature")


def test_a_cut_message_is_refused() -> None:
    """At every length of the headers, and at every seventh of the rest."""
    lengths = [*range(HEADERS + 2), *range(HEADERS + 2, len(GOOD), 7), len(GOOD) - 1]
    assert {refused(GOOD[:length]) for length in lengths} == {"malformed"}
    # A cut that repairs the length of its last part is well-formed, and does not open.
    outer, headers, text = cbor2.loads(GOOD[1:])
    for length in range(0, len(text), 7):
        assert refused(b"\xd0" + canon([outer, headers, text[:length]])) == "unopenable"


@pytest.mark.parametrize("tail", [b"\x00", b"\xff", b"\xf6", GOOD, GOOD[:1], b"\x00" * 1000])
def test_bytes_behind_a_message_are_refused(tail: bytes) -> None:
    """One message is one item."""
    assert refused(GOOD + tail) == "malformed"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00",
        GOOD[1:],  # without its tag
        b"\xd2" + GOOD[1:],  # under the other tag
        b"\xd8\x10" + GOOD[1:],  # its tag in the long form
        b"\xd0" + GOOD,
        b"\xd9\xd9\xf7" + GOOD,  # self-described CBOR
        b"\xd0\x9f" + GOOD[2:] + b"\xff",  # an indefinite array
        b"\xd0\x98\x03" + GOOD[2:],  # its length in the long form
        GOOD[:2] + b"\x58" + bytes((GOOD[2] & 31,)) + GOOD[3:],  # a long byte string head
        GOOD[:2] + b"\x5f" + GOOD[2:],
        b"\x80",
        b"{}",
        b'{"meter": 1}',
    ],
)
def test_another_form_of_a_message_is_refused(message: bytes) -> None:
    """Untagged, doubly tagged, not canonical, not ours."""
    assert refused(message) == "malformed"


def test_a_message_above_the_cap_is_refused_unread() -> None:
    """The cap itself is allowed, and is judged before anything is parsed."""
    room = MESSAGE_SIZE_MAX - len(sealed(body=bytes(100_000))) + 100_000 - 2
    fitting = sealed(body=bytes(room))
    while len(fitting) < MESSAGE_SIZE_MAX:
        room += MESSAGE_SIZE_MAX - len(fitting)
        fitting = sealed(body=bytes(room))
    assert len(fitting) == MESSAGE_SIZE_MAX
    assert len(opened(fitting).body) == room
    assert refused(sealed(body=bytes(room + 1))) == "oversize"
    assert refused(b"\x00" * (MESSAGE_SIZE_MAX + 1)) == "oversize"
    assert refused(b"\x00" * MESSAGE_SIZE_MAX) == "malformed"


def test_a_zip_bomb_in_a_good_message_is_stopped_by_the_inflater() -> None:
    """A trusted gateway that went wrong does not fill the head end's memory."""
    bomb = PROVIDER.deflate(bytes(BODY_SIZE_MAX + 1))
    body = opened(sealed(body=bomb)).body
    assert len(bomb) < 2000
    with pytest.raises(EnvelopeError) as caught:
        PROVIDER.inflate(body, BODY_SIZE_MAX)
    assert caught.value.reason == "inflate_limit"
    assert PROVIDER.inflate(PROVIDER.deflate(bytes(BODY_SIZE_MAX)), BODY_SIZE_MAX)


# ---- the fuzz sentence -------------------------------------------------------------------------


def try_open(message: bytes) -> Opened | None:
    """The opened message, or None for an EnvelopeError; anything else fails the test."""
    found: Opened | None = outcome(EnvelopeError, opened, message)[0]
    return found


@given(
    st.binary(max_size=300)
    | st.binary(max_size=200).map(lambda tail: b"\xd0" + tail)
    | values().map(lambda value: b"\xd0" + cbor2.dumps(value))
    | st.binary(max_size=100).map(lambda tail: GOOD[:HEADERS] + tail)
)
def test_any_bytes_give_a_message_or_an_envelope_error(data: bytes) -> None:
    """From outside: nothing that is not ours opens."""
    assert try_open(data) is None


@given(st.integers(0), st.integers(0), st.binary(max_size=6))
def test_a_message_with_any_piece_replaced_does_not_open(at: int, size: int, piece: bytes) -> None:
    """Unless the piece is what stood there."""
    start = at % len(GOOD)
    damaged = GOOD[:start] + piece + GOOD[start + size % 8 :]
    found = try_open(damaged)
    assert (found is not None) == (damaged == GOOD)


@given(st.binary(max_size=120) | values().map(lambda value: b"\xd2" + cbor2.dumps(value)))
def test_anything_encrypted_to_us_gives_an_envelope_error(inner: bytes) -> None:
    """Anybody may encrypt to a public key."""
    assert try_open(forged(inner)) is None


@given(st.lists(values(), min_size=3, max_size=5), st.integers(0, 3), values(1))
def test_anything_in_place_of_a_part_gives_an_envelope_error(
    parts: list[Any], at: int, odd: Any
) -> None:
    """Arrays of the right size with the wrong things in them, outside and inside."""
    assert try_open(b"\xd0" + canon(parts)) is None
    inner = signed()
    same = inner[at] == odd and type(inner[at]) is type(odd)
    inner[at] = odd
    assert (try_open(in_message(inner)) is not None) == same


@given(values() | st.lists(values(2), min_size=2, max_size=2))
def test_anything_signed_gives_a_message_or_an_envelope_error(payload: Any) -> None:
    """From inside: a trusted party that went wrong."""
    found = try_open(in_message(signed(payload=canon(payload))))
    assert found is None or type(found.claims) is Claims


def test_a_reason_never_tells_a_secret() -> None:
    """Neither key bytes nor content stand in an error."""
    secrets = [DATA_KEY.private, CLOUD_OPEN.private, BODY, CLAIMS.epoch]
    for message in (GOOD[:-1], GOOD + b"\x00", sealed(STRANGER_KEY), sealed(OTHER_DATA_KEY), b""):
        with pytest.raises(EnvelopeError) as caught:
            opened(message)
        said = f"{caught.value!r} {caught.value.__cause__!r}"
        assert not any(str(one)[2:-1] in said or one.hex() in said for one in secrets)


def test_own_keys_that_are_no_private_keys_open_nothing() -> None:
    """A public record in the place of a key is not tried."""
    assert refused(GOOD, own={CLOUD_OPEN.record.kid: CLOUD_OPEN.record}) == "unknown_key"


def test_the_profile_has_a_version() -> None:
    """A later profile does not open as this one."""
    assert PROFILE == "busbar/1"
    assert (MESSAGE_SIZE_MAX, BODY_SIZE_MAX) == (262_144, 1_048_576)
    assert UP.parts() == ["busbar/1", "data", "gw1", "head-end", "busbar/1/t1/gw1/up/d"]
    other = canon(["busbar/2", *UP])
    info = canon(["Encrypt0", canon({1: HPKE_X25519, 4: KID}), other])
    inner = b"\xd2" + canon(signed())
    enc, text = PROVIDER.encrypt(HPKE_X25519, CLOUD_OPEN.record.public, inner, info)
    message = b"\xd0" + canon([canon({1: HPKE_X25519, 4: KID}), {-4: enc}, text])
    assert refused(message) == "unopenable"


def test_a_key_of_ours_is_found_by_the_name_that_the_message_carries() -> None:
    """The kid on the wire is the public key's hash, in both suites."""
    for one in (CLOUD_OPEN, CLOUD_OPEN_XWING):
        outer = cbor2.loads(cbor2.loads(sealed(recipient=one)[1:])[0])
        assert outer == {1: one.record.algorithm, 4: hashlib.sha256(one.record.public).digest()[:8]}
    fresh = key("another", HEAD_END, Use.OPEN, HPKE_X25519)
    own = {**CLOUD_KEYS, fresh.record.kid: fresh}
    assert open_sealed(
        PROVIDER, own, TRUSTED, Use.SIGN_DATA, NOW, UP, sealed(recipient=fresh)
    ) == opened(GOOD)
