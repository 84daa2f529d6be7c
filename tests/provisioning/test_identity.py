"""What a party is: keys that do one thing each, and never show their private part."""

import pytest

from protocols.envelope.keys import ESP256, HPKE_X25519, KeyRecord, Use
from protocols.envelope.suites import Provider
from provisioning.identity import Identity, keyset_json, make_gateway, make_head_end

NOW = 1_790_000_000_000
DAY_MS = 86_400_000
GATEWAY = make_gateway("gw1", "t1", NOW)
HEAD_END = make_head_end("t1", NOW)


@pytest.mark.parametrize(
    ("identity", "uses"),
    [
        (GATEWAY, [Use.SIGN_DATA, Use.OPEN]),
        (HEAD_END, [Use.SIGN_ACK, Use.SIGN_ORDER, Use.SIGN_CONFIG, Use.OPEN]),
    ],
    ids=["gateway", "head end"],
)
def test_each_use_has_a_key_of_its_own(identity: Identity, uses: list[str]) -> None:
    """A key that acknowledges can not order: no key and no use is shared."""
    records = identity.records()
    assert [record.use for record in records] == uses
    assert len({record.kid for record in records}) == len(uses)
    assert {record.owner for record in records} == {identity.party}
    for record in records:
        assert record.algorithm == (HPKE_X25519 if record.use == Use.OPEN else ESP256)
        assert record.kid == Provider().kid(record.public)
        assert record.revoked == 0


def test_keys_hold_from_yesterday_for_their_life() -> None:
    """Signing keys as long as the certificate, opening keys twice as long."""
    lives = {record.use: record.not_after - NOW for record in GATEWAY.records()}
    assert lives == {Use.SIGN_DATA: 397 * DAY_MS, Use.OPEN: 794 * DAY_MS}
    assert {record.not_before for record in GATEWAY.records()} == {NOW - DAY_MS}


def test_two_identities_share_nothing() -> None:
    """Not even under one name."""
    other = make_gateway("gw1", "t1", NOW)
    assert not {key.private for key in other.keys} & {key.private for key in GATEWAY.keys}
    assert other.tls_key.private_numbers() != GATEWAY.tls_key.private_numbers()


def test_an_identity_does_not_show_its_keys() -> None:
    """It is named in tracebacks and logs."""
    told = f"{GATEWAY!r} {GATEWAY} {GATEWAY.keys!r}"
    assert repr(GATEWAY) == "Identity(gw1)"
    for key in GATEWAY.keys:
        assert key.private.hex() not in told
        assert repr(key.private) not in told


def test_the_public_form_holds_no_private_part() -> None:
    """Of registry.json and keyset.json; both read back as they were."""
    table = keyset_json("t1", HEAD_END.records())
    assert (table["tenant"], table["version"]) == ("t1", 1)
    assert tuple(KeyRecord.from_json(row) for row in table["keys"]) == HEAD_END.records()
    for key in HEAD_END.keys:
        assert key.private.hex() not in str(table)
